"""What every use-case on records in a chart does: find one or a page of them, decide, open, and leave an event."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Generic, TypeVar
from uuid import UUID

from clarity.application.admission import Admitted, admit, admit_each
from clarity.application.pages import Page, page_size
from clarity.application.patients import RepeatKey, answered_before
from clarity.application.ports import Answered, Chart, ChartLog, ChartRepository, Cursors, RecordRevision, Work
from clarity.domain.access import Action, Actor, decide, scope_of
from clarity.domain.audit import Attempt
from clarity.domain.charts import ChartRecord
from clarity.domain.errors import CannotOpen, NotFound, StaleWrite
from clarity.domain.ids import PatientId
from clarity.domain.records import Sealed

Entity = TypeVar("Entity", bound=ChartRecord)
Conditions = TypeVar("Conditions")

_AT_A_TIME = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class PageAsked(Generic[Entity, Conditions]):
    """Which page of which records is asked for: those that meet `conditions` and are as `provided`.

    `spelt` spells both, for the trail, and since a cursor belongs to one question.
    """

    conditions: Conditions
    provided: Callable[[Entity], bool] | None = None
    spelt: bytes = b""
    cursor: str = ""
    at_most: int = 50


@dataclass(frozen=True, slots=True)
class ChartLogging(Generic[Entity, Conditions]):
    """What `actor` does to `records` of one kind that are only ever added, in patients' charts, in one unit of work."""

    work: Work
    records: ChartLog[Entity, Conditions]
    actor: Actor
    at: datetime

    async def find(self, action: Action, patient: PatientId, record: UUID) -> Sealed:
        """Fetch a record in a patient's chart, or an absent one if there is none with this id in it."""
        found = await self.records.get(await self.work.patients.get(patient), record)
        # Unless it is plainly for the actor, the same is done whether it is not, is somebody else's or is none.
        if found.patient != patient or not self._is_plainly_for(action, found):
            merged = await merged_into(self.work, patient)
            if found.patient not in merged:
                return Sealed(resource=self.records.resource, id=record, patient=patient)
        return found

    def _is_plainly_for(self, action: Action, found: Sealed) -> bool:
        """Tell whether the actor may do `action` to a record, and no label that is yet to be read may forbid it."""
        standing = found.standing
        if standing is None or standing.guarded:
            return False
        return decide(scope_of(self.actor, action, self.records.resource, at=self.at), found).allowed

    async def open(self, action: Action, patient: PatientId, record: UUID, *, version: int | None = None) -> Entity:
        """Open a record in a patient's chart to do `action` to it.

        Raises `NotFound` if there is none or it is not for the actor, and `StaleWrite` unless it is at `version`.
        """
        found = await self.find(action, patient, record)
        entity = self.records.open(admit(self.work, self.actor, action, found, at=self.at))
        if version is not None and entity.version != version:
            raise StaleWrite
        return entity

    async def admit_new(self, entity: Entity, *, action: Action = Action.REGISTER) -> Admitted:
        """Admit a record that is about to be made in the chart of its patient, for `ChartLog.add`.

        Raises `NotFound` if there is no such patient, or none for whom the actor may make one.
        """
        whose = await self.work.patients.get(entity.patient)
        new = self.records.new(whose, entity.id, entity.label, self.actor.id)
        return admit(self.work, self.actor, action, new, at=self.at)

    async def answered(self, patient: PatientId, repeat: RepeatKey) -> Entity | None:
        """Return what an earlier request with this key made, for whoever may still make such, if there was one.

        Raises `ReusedKey` if the key came with another request, and `NotFound` as `open` does.
        """
        answered = await answered_before(self.work, self.actor, repeat, self.records.resource, at=self.at)
        return None if answered is None else await self.open(Action.REGISTER, patient, answered.record)

    async def remember(self, entity: Entity, repeat: RepeatKey) -> None:
        """Remember what a request with this key makes."""
        answered = Answered(record=entity.id, version=1)
        await self.work.idempotency_keys.add(self.actor.id, repeat.key, repeat.request, answered)

    async def chart(self, action: Action, patient: PatientId) -> tuple[Attempt, Chart]:
        """Admit the actor to a patient's records, of which there may be none; return the noted attempt too.

        Raises `NotFound` if there is no such patient or they are not for the actor.
        """
        whose = await self.work.patients.get(patient)
        asked = replace(whose, resource=self.records.resource)
        admitted = admit(self.work, self.actor, action, asked, at=self.at)
        self.work.patients.check_label(admitted)
        return admitted.attempt, Chart(whose=whose, patients=await merged_into(self.work, patient))

    async def uncounted_page(
        self,
        patient: PatientId,
        asked: PageAsked[Entity, Conditions],
        cursors: Cursors,
        *,
        action: Action = Action.LIST,
    ) -> Page[Entity]:
        """Return a page as `Charting.page` does, and count nothing but what is on it.

        It may have fewer records than were asked for, even none, and yet have a next one.
        """
        context, after, size = self._place(patient, asked, cursors)
        attempt, chart = await self._chart_of(action, patient, asked)
        scope = scope_of(self.actor, action, self.records.resource, at=self.at)
        found = await self.records.find_page(
            scope, chart, asked.conditions, provided=asked.provided, after=after, at_most=size
        )
        items = self.open_each(admit_each(attempt, found.records))
        next_cursor = cursors.seal(found.resume.bytes, context) if found.resume else ""
        return Page(items=items, next_cursor=next_cursor, count=len(items), exact=False)

    async def beside(
        self,
        attempt: Attempt,
        chart: Chart,
        conditions: Conditions,
        *,
        provided: Callable[[Entity], bool],
        rounds: int = 1,
    ) -> tuple[tuple[Entity, ...], bool]:
        """Open the records in a chart that are as `provided`, beside those that a noted attempt names already.

        Each of the `rounds` looks through as many as one page does, at most. Tells whether that were all.
        """
        named = attempt.ids
        scope = scope_of(self.actor, attempt.action, self.records.resource, at=self.at)
        records: list[Sealed] = []
        after: UUID | None = None
        for _ in range(rounds):
            found = await self.records.find_page(
                scope, chart, conditions, provided=provided, after=after, at_most=_AT_A_TIME
            )
            records += (record for record in found.records if record.id not in named)
            after = found.resume
            if after is None:
                break
        opened = self.open_each(admit_each(attempt, records))
        attempt.ids = (*named, *attempt.ids)
        return opened, after is None

    def open_each(self, admitted: Iterable[Admitted]) -> tuple[Entity, ...]:
        """Open what was admitted; what does not open is left out and noted as failed."""
        opened = []
        for entry in admitted:
            try:
                opened.append(self.records.open(entry))
            except CannotOpen as exc:
                self._note_broken(entry, exc)
            except NotFound:
                continue
        return tuple(opened)

    def _place(
        self, patient: PatientId, asked: PageAsked[Entity, Conditions], cursors: Cursors
    ) -> tuple[bytes, UUID | None, int]:
        """Return what cursors of this question are bound to, the record that the page begins behind, and its size."""
        kind = self.records.resource
        context = b"|".join((b"chart", kind.name.encode(), self.actor.id.bytes, patient.bytes, asked.spelt))
        after = UUID(bytes=cursors.open(asked.cursor, context)) if asked.cursor else None
        return context, after, page_size(asked.at_most)

    async def _chart_of(
        self, action: Action, patient: PatientId, asked: PageAsked[Entity, Conditions]
    ) -> tuple[Attempt, Chart]:
        attempt, chart = await self.chart(action, patient)
        if asked.spelt:
            attempt.query_mac = self.work.query_mac(asked.spelt)
        return attempt, chart

    def _note_broken(self, entry: Admitted, exc: CannotOpen) -> None:
        attempt, record = entry.attempt, entry.record
        attempt.ids = tuple(one for one in attempt.ids if one != record.id)
        broken = Attempt(
            actor=attempt.actor,
            action=attempt.action,
            at=attempt.at,
            resource=attempt.resource,
            patient=record.patient,
            ids=(record.id,),
        )
        self.work.note(broken).fail(exc)


@dataclass(frozen=True, slots=True)
class Charting(ChartLogging[Entity, Conditions]):
    """What `actor` does to `records` of one kind that change, in patients' charts, within one unit of work."""

    records: ChartRepository[Entity, Conditions]

    async def page(
        self,
        patient: PatientId,
        asked: PageAsked[Entity, Conditions],
        cursors: Cursors,
        *,
        action: Action = Action.LIST,
    ) -> Page[Entity]:
        """Return a page of the records in a patient's chart that the actor may see, the latest recorded first.

        Raises as `chart` does. What does not open is left out and noted as failed.
        """
        page, _, _ = await self.page_in_chart(patient, asked, cursors, action=action)
        return page

    async def page_in_chart(
        self,
        patient: PatientId,
        asked: PageAsked[Entity, Conditions],
        cursors: Cursors,
        *,
        action: Action = Action.LIST,
    ) -> tuple[Page[Entity], Attempt, Chart]:
        """Return what `page` does, with the noted attempt and the chart, for whoever looks for more `beside` it."""
        context, after, size = self._place(patient, asked, cursors)
        attempt, chart = await self._chart_of(action, patient, asked)
        scope = scope_of(self.actor, action, self.records.resource, at=self.at)
        found = await self.records.find_counted_page(
            scope, chart, asked.conditions, provided=asked.provided, after=after, at_most=size + 1
        )
        items = self.open_each(admit_each(attempt, found.records[:size]))
        more = len(found.records) > size
        next_cursor = cursors.seal(found.records[size - 1].id.bytes, context) if more else ""
        page = Page(items=items, next_cursor=next_cursor, count=found.count, exact=found.exact)
        return page, attempt, chart

    async def history(
        self, patient: PatientId, record: UUID, *, before: int | None = None, at_most: int = 20
    ) -> tuple[RecordRevision[Entity], ...]:
        """Return the versions of a record below `before`, the newest first. Raises `NotFound` as `open` does."""
        found = await self.find(Action.VIEW_HISTORY, patient, record)
        admitted = admit(self.work, self.actor, Action.VIEW_HISTORY, found, at=self.at)
        return tuple(await self.records.history(admitted, before=before, at_most=page_size(at_most)))


async def merged_into(work: Work, patient: PatientId) -> tuple[PatientId, ...]:
    """Return a patient with those whose records were merged into theirs, however often."""
    found = [patient]
    latest = [patient]
    while latest:
        latest = [one for one in await work.duplicates.absorbed_by(latest) if one not in found]
        found.extend(latest)
    return tuple(found)
