"""The use-cases on prescriptions: ordered, changed, held, stopped; compared with each other and with what was taken."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import date, datetime, tzinfo
from typing import Any

from clarity.application.charts import Charting, ChartLogging, PageAsked
from clarity.application.pages import Page
from clarity.application.patients import RepeatKey
from clarity.application.ports import BeginReading, BeginWork, Chart, Clock, Cursors, RecordRevision, Work
from clarity.application.retry import retrying
from clarity.domain.access import Action, Actor, scope_of
from clarity.domain.adherence import Adherence, adherence_to, looked_back, period_of
from clarity.domain.audit import Attempt
from clarity.domain.errors import Invalid
from clarity.domain.ids import PatientId, PrescriptionId
from clarity.domain.interactions import Interaction, InteractionQuery
from clarity.domain.medications import (
    MAX_OVERLAPS,
    Activity,
    Overlap,
    Prescription,
    PrescriptionFilter,
    PrescriptionStatus,
    overlap_of,
    overlaps_among,
)
from clarity.domain.records import Resource

# Ten thousand contacts of one year: more than one an hour.
_ROUNDS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class PrescriptionsAsked:
    """Which prescriptions of a patient are asked for: those that held on a day, those of a status, or all."""

    on: date | None = None
    status: PrescriptionStatus | None = None

    def page(self, cursor: str, at_most: int) -> PageAsked[Prescription, PrescriptionFilter]:
        """Return the question for a page of them."""
        on = self.on
        return PageAsked(
            conditions=PrescriptionFilter(status=self.status),
            provided=None if on is None else lambda one: one.activity_on(on) is not Activity.NO,
            spelt=f"prescriptions|{on or ''}|{self.status or ''}".encode(),
            cursor=cursor,
            at_most=at_most,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Flagged:
    """Prescriptions, and which of them overlap with others of the patient in a drug or a substance.

    Only what the actor may see is compared; `complete` tells whether all of that was, and all is told.
    """

    prescriptions: Page[Prescription]
    overlaps: tuple[Overlap, ...] = field(default=(), repr=False)
    complete: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class MedicationService:
    """The use-cases on prescriptions. Each is one unit of work and leaves an audit event.

    `today` is the calendar day in the practice, and `zone` its time zone. All raise `NotFound` if there is no such
    patient or prescription, or it is not for the actor to do this to; those that take a `version` raise `StaleWrite`
    unless the prescription is at it, and `Conflict` if it is not in a state that allows this.
    """

    begin: BeginWork
    reading: BeginReading
    cursors: Cursors
    now: Clock
    today: Callable[[], date]
    zone: tzinfo

    @retrying
    async def prescribe(self, actor: Actor, order: Prescription, *, repeat: RepeatKey | None = None) -> Flagged:
        """Order a medicine for a patient, in the name of the actor's practitioner; tell with what it overlaps.

        With `repeat`, a request that comes again finds what the first one ordered. Raises `Invalid` naming the field
        that is missing or breaks a rule.
        """
        async with self.begin() as work:
            charting = self._charting(work, actor)
            if repeat and (before := await charting.answered(order.patient, repeat)):
                return await self._with_overlaps(charting, order.patient, before)
            admitted = await charting.admit_new(order)
            made = replace(order, prescriber=actor.practitioner)
            made.require_order(self.today())
            if repeat:
                await charting.remember(made, repeat)
            return await self._with_overlaps(charting, order.patient, await work.prescriptions.add(admitted, made))

    @retrying
    async def list(
        self, actor: Actor, patient: PatientId, asked: PrescriptionsAsked, *, cursor: str = "", at_most: int = 50
    ) -> Flagged:
        """Return the prescriptions of a patient that the actor may see, the latest recorded first, and their overlaps.

        Those that held on a day are told by what is known now of when they began, paused and ended.
        """
        async with self.reading(snapshot=True) as work:
            charting = self._charting(work, actor)
            page, attempt, chart = await charting.page_in_chart(patient, asked.page(cursor, at_most), self.cursors)
            others, complete = await self._beside(charting, attempt, chart, page.items)
        named = {one.id for one in page.items}
        overlaps = overlaps_among((*page.items, *others))
        concerned = tuple(one for one in overlaps if not named.isdisjoint(one.prescriptions))
        return Flagged(prescriptions=page, overlaps=concerned, complete=complete and len(overlaps) < MAX_OVERLAPS)

    @retrying
    async def view(self, actor: Actor, patient: PatientId, prescription: PrescriptionId) -> Prescription:
        """Return one prescription."""
        async with self.reading(snapshot=True) as work:
            return await self._charting(work, actor).open(Action.VIEW, patient, prescription)

    @retrying
    async def history(
        self,
        actor: Actor,
        patient: PatientId,
        prescription: PrescriptionId,
        *,
        before: int | None = None,
        at_most: int = 20,
    ) -> tuple[RecordRevision[Prescription], ...]:
        """Return the versions of a prescription below `before`, the newest first: what was believed at which time."""
        async with self.reading(snapshot=True) as work:
            charting = self._charting(work, actor)
            return await charting.history(patient, prescription, before=before, at_most=at_most)

    @retrying
    async def change(
        self,
        actor: Actor,
        patient: PatientId,
        prescription: PrescriptionId,
        content: dict[str, Any],
        *,
        since: date | None = None,
        version: int,
    ) -> Flagged:
        """Write other content, of which the dosage holds `since` a day, or from the start; tell with what it overlaps.

        Raises `Invalid` as `prescribe` does, and for another drug.
        """
        today = self.today()

        def changed(stored: Prescription) -> Prescription:
            made = stored.changed(content, since=since, today=today)
            if not made.sources:
                made.require_order(today)
            return made

        async with self.begin() as work:
            charting = self._charting(work, actor)
            stored = await charting.open(Action.CHANGE, patient, prescription, version=version)
            return await self._with_overlaps(charting, patient, await work.prescriptions.save(changed(stored)))

    @retrying
    async def hold(
        self,
        actor: Actor,
        patient: PatientId,
        prescription: PrescriptionId,
        reason: str,
        *,
        day: date | None = None,
        version: int,
    ) -> Prescription:
        """Say that it is not to be taken for the time being, from `day` on or today. Raises `Invalid` for the day."""
        today = self.today()
        return await self._edit(
            actor,
            Action.CHANGE,
            (patient, prescription, version),
            lambda stored: stored.held(day or today, reason, today),
        )

    @retrying
    async def resume(
        self, actor: Actor, patient: PatientId, prescription: PrescriptionId, *, day: date | None = None, version: int
    ) -> Prescription:
        """Say that it is to be taken again, from `day` on or today. Raises `Invalid` for the day."""
        today = self.today()
        return await self._edit(
            actor, Action.CHANGE, (patient, prescription, version), lambda stored: stored.resumed(day or today, today)
        )

    @retrying
    async def stop(
        self,
        actor: Actor,
        patient: PatientId,
        prescription: PrescriptionId,
        reason: str,
        *,
        day: date | None = None,
        completed: bool = False,
        version: int,
    ) -> Prescription:
        """Say that it is not to be taken any more, from `day` on or today, and why. Raises `Invalid` for the day."""
        today = self.today()
        return await self._edit(
            actor,
            Action.STOP,
            (patient, prescription, version),
            lambda stored: stored.stopped(day or today, reason, today, completed=completed),
        )

    @retrying
    async def mark_mistaken(
        self, actor: Actor, patient: PatientId, prescription: PrescriptionId, why: str, *, version: int
    ) -> Prescription:
        """Say that it was entered in error. It stays, and held on no day."""
        return await self._edit(
            actor, Action.CHANGE, (patient, prescription, version), lambda stored: stored.marked_mistaken(why)
        )

    @retrying
    async def adherence(
        self,
        actor: Actor,
        patient: PatientId,
        prescription: PrescriptionId,
        *,
        since: date | None = None,
        until: date | None = None,
    ) -> Adherence:
        """Return how much was taken of what was prescribed, by the contacts that tell of doses, as of today.

        Without a period, it is of the last thirty days. Raises `Invalid` for a period that is none, that reaches into
        the future, or in which more was told than is looked through.
        """
        first, last = period_of(since, until, self.today())
        async with self.reading(snapshot=True) as work:
            stored = await self._charting(work, actor).open(Action.VIEW, patient, prescription)
            told = await self._doses(work, actor, stored, patient, looked_back(stored, first))
        doses = ((one.occurred_at.astimezone(self.zone).date(), one.dose) for one in told)
        return adherence_to(stored, [(day, dose) for day, dose in doses if dose is not None], first, last)

    async def _doses(
        self, work: Work, actor: Actor, prescription: Prescription, patient: PatientId, since: date
    ) -> tuple[Interaction, ...]:
        beginning = datetime(since.year, since.month, since.day, tzinfo=self.zone)
        query = InteractionQuery(since=beginning, doses_of=prescription.id)
        logging = ChartLogging(work, work.interactions, actor, self.now())
        attempt, chart = await logging.chart(Action.LIST, patient)
        attempt.query_mac = work.query_mac(query.spelt)
        told, complete = await logging.beside(
            attempt, chart, query.conditions, provided=query.is_met_by, rounds=_ROUNDS
        )
        if not complete:
            raise Invalid("since", "is too far back for all that was told since; ask for a shorter period")
        return told

    async def _edit(
        self,
        actor: Actor,
        action: Action,
        place: tuple[PatientId, PrescriptionId, int],
        edit: Callable[[Prescription], Prescription],
    ) -> Prescription:
        patient, prescription, version = place
        async with self.begin() as work:
            stored = await self._charting(work, actor).open(action, patient, prescription, version=version)
            return await work.prescriptions.save(edit(stored))

    async def _with_overlaps(
        self, charting: Charting[Prescription, PrescriptionFilter], patient: PatientId, one: Prescription
    ) -> Flagged:
        """Return a prescription with what it overlaps with, of which whoever may list none is told nothing."""
        page = Page(items=(one,), count=1)
        scope = scope_of(charting.actor, Action.LIST, Resource.PRESCRIPTION, at=charting.at)
        if not scope.right.exists:
            return Flagged(prescriptions=page, complete=False)
        attempt, chart = await charting.chart(Action.LIST, patient)
        others, complete = await self._beside(charting, attempt, chart, page.items)
        found = (overlap_of(one, other) for other in others)
        overlaps = tuple(overlap for overlap in found if overlap is not None)
        return Flagged(prescriptions=page, overlaps=overlaps, complete=complete)

    async def _beside(
        self,
        charting: Charting[Prescription, PrescriptionFilter],
        attempt: Attempt,
        chart: Chart,
        items: tuple[Prescription, ...],
    ) -> tuple[tuple[Prescription, ...], bool]:
        """Open what overlaps with `items` and is not among them."""
        named = {one.id for one in items}
        return await charting.beside(
            attempt,
            chart,
            PrescriptionFilter(),
            provided=lambda other: other.id not in named and any(overlap_of(one, other) for one in items),
        )

    def _charting(self, work: Work, actor: Actor) -> Charting[Prescription, PrescriptionFilter]:
        return Charting(work, work.prescriptions, actor, self.now())
