"""The use-cases on disclosures: written down, corrected, accounted for, and compared with the trail."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from typing import Any
from uuid import UUID

from clarity.application.admission import Admitted, admit, admit_new, require_right
from clarity.application.charts import merged_into
from clarity.application.pages import Page, page_size
from clarity.application.patients import RepeatKey
from clarity.application.ports import (
    AccountingPress,
    Answered,
    BeginReading,
    BeginWork,
    Clock,
    Cursors,
    NewId,
    Work,
)
from clarity.application.retry import retrying
from clarity.domain.access import Action, Actor
from clarity.domain.audit import Attempt, AuditEvent
from clarity.domain.disclosures import (
    Accounting,
    AccountingPeriod,
    Disclosure,
    Exemption,
    ExportReason,
    Suspension,
    Unfounded,
)
from clarity.domain.errors import CannotOpen, Invalid, StaleWrite
from clarity.domain.ids import DisclosureId, EventId, PatientId
from clarity.domain.records import Resource

_NOT_OF_THIS_PATIENT = "names an event that is not in the trail, did not succeed, or is about others"


@dataclass(frozen=True, slots=True, kw_only=True)
class DisclosureService:
    """The use-cases on disclosures. Each is one unit of work and leaves an audit event.

    `practice` is the name that an accounting is given in, and `today` the calendar day there.
    """

    begin: BeginWork
    reading: BeginReading
    cursors: Cursors
    press: AccountingPress
    now: Clock
    today: Callable[[], date]
    new_id: NewId
    practice: str

    @retrying
    async def record(
        self,
        actor: Actor,
        patient: PatientId,
        disclosure: Callable[[UUID], Disclosure],
        *,
        repeat: RepeatKey | None = None,
    ) -> Disclosure:
        """Write down what `disclosure` makes for the account that does so.

        With `repeat`, a request that comes again finds what the first one wrote. Raises `NotFound` if there is no such
        patient or their disclosures are not for `actor`, and `Invalid` for a day to come, and for events that are not
        in the trail or are about others.
        """
        async with self.begin() as work:
            admitted, patients = await self._admitted(work, actor, Action.REGISTER, patient)
            if repeat and (answered := await work.idempotency_keys.find(actor.id, repeat.key, repeat.request)):
                admitted.attempt.action = Action.LIST  # nothing is recorded this time
                return await self._opened(work, admitted, patients, DisclosureId(answered.record))
            made = disclosure(actor.id)
            await self._check(work, patients, made)
            admitted.attempt.ids = (made.id,)
            if repeat:
                answer = Answered(record=made.id, version=1)
                await work.idempotency_keys.add(actor.id, repeat.key, repeat.request, answer)
            return await work.disclosures.add(admitted, made)

    @retrying
    async def list(self, actor: Actor, patient: PatientId, *, cursor: str = "", at_most: int = 50) -> Page[Disclosure]:
        """Return what was written down of a patient, newest first: exempt, suspended and mistaken ones too.

        Raises `NotFound` as `record` does. What does not open is left out and noted as failed.
        """
        context = b"disclosures" + actor.id.bytes + patient.bytes
        after = DisclosureId(UUID(bytes=self.cursors.open(cursor, context))) if cursor else None
        size = page_size(at_most)
        async with self.reading(snapshot=True) as work:
            admitted, patients = await self._admitted(work, actor, Action.LIST, patient)
            found = await work.disclosures.find_page(patients, after=after, at_most=size + 1)
            count = await work.disclosures.count(patients)
            admitted.attempt.ids = tuple(record.id for record in found[:size])
            items = []
            for record in found[:size]:
                try:
                    items.append(work.disclosures.open(admitted, record))
                except CannotOpen as exc:
                    _note_broken(work, admitted.attempt, record.id, exc)
        next_cursor = self.cursors.seal(found[size - 1].id.bytes, context) if len(found) > size else ""
        return Page(items=tuple(items), next_cursor=next_cursor, count=count)

    @retrying
    async def correct(
        self, actor: Actor, patient: PatientId, disclosure: DisclosureId, content: dict[str, Any], *, version: int
    ) -> Disclosure:
        """Write other content in the place of what was wrong; the version before is kept.

        Raises `NotFound` and `Invalid` as `record` does, `StaleWrite` unless it is at `version`, and `Conflict` if it
        is mistaken.
        """
        async with self.begin() as work:
            admitted, patients = await self._admitted(work, actor, Action.CHANGE, patient)
            stored = await self._opened(work, admitted, patients, disclosure, version=version)
            changed = stored.corrected(content)
            await self._check(work, patients, changed)
            return await work.disclosures.save(changed)

    @retrying
    async def mark_mistaken(
        self, actor: Actor, patient: PatientId, disclosure: DisclosureId, why: str, *, version: int
    ) -> Disclosure:
        """Say that something was entered in error. It stays, and no accounting has it. Raises as `correct` does."""
        async with self.begin() as work:
            admitted, patients = await self._admitted(work, actor, Action.CHANGE, patient)
            stored = await self._opened(work, admitted, patients, disclosure, version=version)
            return await work.disclosures.save(stored.marked_mistaken(why))

    @retrying
    async def suspend(
        self, actor: Actor, patient: PatientId, disclosure: DisclosureId, suspension: Suspension, *, version: int
    ) -> Disclosure:
        """Leave something out of the accounting for a time, on a statement of whom it was made to.

        Raises as `correct` does.
        """
        async with self.begin() as work:
            admitted, patients = await self._admitted(work, actor, Action.CHANGE, patient)
            stored = await self._opened(work, admitted, patients, disclosure, version=version)
            return await work.disclosures.save(stored.suspended(suspension, self.today()))

    @retrying
    async def account_for(
        self, actor: Actor, patient: PatientId, *, since: date | None = None, until: date | None = None
    ) -> Accounting:
        """Return the accounting of a period, at most six years back from today, which is if none is named.

        That it was given, by whom, of which disclosures and for which period, stands in the trail. Raises `NotFound`
        if there is no such patient or it is not for `actor`, `Invalid` if the period is none, and `CannotOpen` if one
        of the disclosures does not open: an accounting that leaves one out is none.
        """
        day = self.today()
        period = AccountingPeriod.asked(since, until, day)
        async with self.reading(snapshot=True) as work:
            named = admit(work, actor, Action.ACCOUNT_FOR, await work.patients.get(patient), at=self.now())
            name = str(work.patients.open(named).name)
            admitted, patients = await self._admitted(work, actor, Action.ACCOUNT_FOR, patient)
            admitted.attempt.query_mac = work.query_mac(f"accounting|{period.since}|{period.until}".encode())
            told = await work.disclosures.find_accounted(admitted, patients, period, on=day)
            admitted.attempt.ids = tuple(one.id for one in told)
        return Accounting(
            patient=patient, name=name, practice=self.practice, period=period, given_on=day, disclosures=tuple(told)
        )

    @retrying
    async def unaccounted_exports(self, actor: Actor, *, cursor: str = "", at_most: int = 50) -> Page[AuditEvent]:
        """Return the exports in the trail that have neither a disclosure nor a reason why not, oldest first.

        A page may have fewer than were asked for, even none, and yet have a next one; how many there are in all is not
        told. Raises `Forbidden` for whoever does not review disclosures.
        """
        context = b"unaccounted exports" + actor.id.bytes
        after = EventId(UUID(bytes=self.cursors.open(cursor, context))) if cursor else None
        async with self.reading(snapshot=True) as work:
            attempt = self._reviewing(work, actor)
            found, resume = await work.disclosures.find_unaccounted(after=after, at_most=page_size(at_most))
            attempt.ids = tuple(event.id for event in found)
        next_cursor = self.cursors.seal(resume.bytes, context) if resume else ""
        return Page(items=tuple(found), next_cursor=next_cursor, count=len(found), exact=False)

    @retrying
    async def unfounded(self, actor: Actor, *, cursor: str = "", at_most: int = 50) -> Page[Unfounded]:
        """Return what disclosures claim of the trail and the trail does not say, as `unaccounted_exports` does."""
        context = b"unfounded disclosures" + actor.id.bytes
        after = _pair(self.cursors.open(cursor, context)) if cursor else None
        async with self.reading(snapshot=True) as work:
            attempt = self._reviewing(work, actor)
            claims, resume = await work.disclosures.find_unfounded(after=after, at_most=page_size(at_most))
            # What was done with a record before it was merged into this one is about the same person.
            found = [
                one for one in claims if one.about is None or one.about not in await merged_into(work, one.patient)
            ]
            attempt.ids = tuple(dict.fromkeys(one.disclosure for one in found))
        next_cursor = self.cursors.seal(resume[0].bytes + resume[1].bytes, context) if resume else ""
        return Page(items=tuple(found), next_cursor=next_cursor, count=len(found), exact=False)

    @retrying
    async def explain(self, actor: Actor, event: EventId, reason: Exemption) -> ExportReason:
        """Say why an export is no disclosure to account for; a later reason takes the place of an earlier one.

        It holds for all events of that export, in however many pieces it left. Raises `Forbidden` for whoever does not
        review disclosures, and `NotFound` if the trail has no such export.
        """
        async with self.begin() as work:
            attempt = admit_new(work, actor, Action.REVIEW, Resource.DISCLOSURE, event, at=self.now())
            attempt.ids = tuple(await work.disclosures.events_of_export(event))
            given = {
                one: ExportReason(id=self.new_id(), event=EventId(one), reason=reason, at=attempt.at, by=actor.id)
                for one in attempt.ids
            }
            await work.disclosures.explain(tuple(given.values()))
            return given[event]

    async def _admitted(
        self, work: Work, actor: Actor, action: Action, patient: PatientId
    ) -> tuple[Admitted, tuple[PatientId, ...]]:
        """Admit to a patient's disclosures; return that with every record that is theirs since merges."""
        admitted = admit(work, actor, action, await work.disclosures.get(patient), at=self.now())
        return admitted, await merged_into(work, patient)

    async def _opened(
        self,
        work: Work,
        admitted: Admitted,
        patients: tuple[PatientId, ...],
        disclosure: DisclosureId,
        *,
        version: int | None = None,
    ) -> Disclosure:
        admitted.attempt.ids = (disclosure,)
        record = await work.disclosures.find(patients, disclosure)
        # Of a record that was merged into this one, the trail names the record itself.
        admitted.attempt.patient = record.patient
        if version is not None and record.version != version:
            raise StaleWrite
        return work.disclosures.open(admitted, record)

    async def _check(self, work: Work, patients: tuple[PatientId, ...], made: Disclosure) -> None:
        made.require_past(self.today())
        if made.events and not await work.disclosures.made_by(patients, made.events):
            raise Invalid("events", _NOT_OF_THIS_PATIENT)

    def _reviewing(self, work: Work, actor: Actor) -> Attempt:
        attempt = Attempt(actor=actor, action=Action.REVIEW, at=self.now(), resource=Resource.DISCLOSURE)
        require_right(work.note(attempt), Action.REVIEW)
        return attempt


def _note_broken(work: Work, attempt: Attempt, record: UUID, exc: CannotOpen) -> None:
    attempt.ids = tuple(one for one in attempt.ids if one != record)
    broken = Attempt(
        actor=attempt.actor,
        action=attempt.action,
        at=attempt.at,
        resource=attempt.resource,
        patient=attempt.patient,
        ids=(record,),
    )
    work.note(broken).fail(exc)


def _pair(spelt: bytes) -> tuple[DisclosureId, EventId]:
    return DisclosureId(UUID(bytes=spelt[:16])), EventId(UUID(bytes=spelt[16:]))
