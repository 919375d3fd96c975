"""The use-cases on patient records."""

import asyncio
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from functools import partial
from uuid import UUID

from clarity.application.admission import Admitted, admit, admit_each, admit_new, anybody, require_right
from clarity.application.pages import Page, page_size
from clarity.application.ports import (
    Answered,
    BeginReading,
    BeginWork,
    Clock,
    Cursors,
    PatientFilter,
    PatientSearch,
    RateLimit,
    Revision,
    Work,
)
from clarity.application.retry import retrying
from clarity.domain.access import Action, Actor, Reason, Relation, Role, right_to, scope_of
from clarity.domain.audit import Attempt, Outcome
from clarity.domain.errors import CannotOpen, Conflict, Forbidden, Invalid, NotFound, ReusedKey, StaleWrite
from clarity.domain.ids import PatientId, PractitionerId
from clarity.domain.likeness import MOST_ALIKE, Resembling, SimilarQuery
from clarity.domain.patients import FIELD_BITS, Patient, PatientField, PatientQuery
from clarity.domain.records import Label, Resource

# A page of 50 takes 5 ms to open, in which nobody else would be answered.
_OPENED_IN_A_STEP = 12
# These have use-cases of their own, with rights of their own.
_CHANGED_APART = PatientField.CARE_TEAM | PatientField.DISCHARGED | PatientField.LEGAL_HOLD | PatientField.REMOVAL


@dataclass(frozen=True, slots=True, kw_only=True)
class RepeatKey:
    """The idempotency key a client sent, with the bytes of the request it belongs to."""

    key: str
    request: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class PatientService:
    """The use-cases on patient records. Each is one unit of work and leaves an audit event."""

    begin: BeginWork
    reading: BeginReading
    search_index: PatientSearch
    cursors: Cursors
    limits: RateLimit
    now: Clock
    today: Callable[[], date]

    @retrying
    async def register(self, actor: Actor, patient: Patient, *, repeat: RepeatKey | None = None) -> Patient:
        """Register a new patient and return them as version 1.

        With `repeat`, a request that comes again finds what the first one made. Raises `Forbidden` unless the
        actor may see everybody's demographics, since `DuplicateMrn` tells that somebody has this MRN.
        """
        async with self.begin() as work:
            if repeat and (answered := await answered_before(work, actor, repeat, Resource.PATIENT, at=self.now())):
                sealed = await work.patients.get(PatientId(answered.record))
                return work.patients.open(admit(work, actor, Action.VIEW, sealed, at=self.now()))
            admit_new(work, actor, Action.REGISTER, Resource.PATIENT, patient.id, at=self.now())
            _require_fields(patient.filled, right_to(actor, Action.REGISTER).covered(Relation))
            patient.require_born(self.now())
            patient.require_died(self.now())
            await _require_practitioners(work, patient.care_team)
            if repeat:
                # Before the patient: the same request arriving twice at once must collide here, not on its MRN.
                answered = Answered(record=patient.id, version=1)
                await work.idempotency_keys.add(actor.id, repeat.key, repeat.request, answered)
            return await work.patients.add(patient)

    @retrying
    async def view(self, actor: Actor, patient_id: PatientId) -> Patient:
        """Return one patient.

        Raises `NotFound` if there is none, or if `actor` may not know that there is one.
        """
        async with self.reading() as work:
            sealed = await work.patients.get(patient_id)
            admitted = admit(work, actor, Action.VIEW, sealed, at=self.now())
            return work.patients.open(admitted)

    @retrying
    async def change(
        self, actor: Actor, patient_id: PatientId, edit: Callable[[Patient], Patient], *, version: int
    ) -> Patient:
        """Let `edit` change a patient as the actor sees them, and return the outcome.

        What the actor does not see stays as it is, and an edit that changes nothing makes no new version.
        Raises `NotFound` as `view` does, `StaleWrite` unless the record is at `version`, `Invalid` for a field
        that is not the actor's to change, `Forbidden` for an identifier or a death without the right to that.
        """
        async with self.begin() as work:
            admitted, patient = await self._open(work, actor, Action.CHANGE, patient_id, version)
            edited = edit(patient)
            changed = edited.changed_from(patient)
            _require_fields(changed, admitted.fields & ~_CHANGED_APART)
            edited.require_born(self.now())
            if PatientField.IDENTIFIERS in changed:
                require_right(admitted.attempt, Action.CHANGE_IDENTIFIERS)
            if PatientField.DEATH in changed:
                work.patients.require_also(admitted, Action.RECORD_DEATH)
                edited.require_died(self.now())
            return await work.patients.save(edited) if changed else patient

    @retrying
    async def relabel(
        self, actor: Actor, patient_id: PatientId, label: Label, *, version: int, lose_sight: bool = False
    ) -> int:
        """Make `label` the record's label and return the number of the version that has it.

        Whoever it is hidden from by that does not see it any more from the next request on. Raises as `change` does,
        and `Conflict` if the actor would be among them, unless they mean to `lose_sight`.
        """
        async with self.begin() as work:
            admitted, patient = await self._open(work, actor, Action.CHANGE, patient_id, version)
            _require_fields(PatientField.LABEL, admitted.fields)
            if label is patient.label:
                return patient.version
            saved = await work.patients.save(replace(patient, label=label), lose_sight=lose_sight)
            return saved.version

    @retrying
    async def change_care_team(
        self, actor: Actor, patient_id: PatientId, care_team: frozenset[PractitionerId], *, version: int
    ) -> Patient:
        """Make `care_team` the patient's care team.

        Raises as `change` does, and `Conflict` if that leaves a record that is not labelled normal with nobody.
        """
        async with self.begin() as work:
            admitted, patient = await self._open(work, actor, Action.CHANGE_CARE_TEAM, patient_id, version)
            await _require_practitioners(work, care_team - patient.care_team)
            if care_team == patient.care_team:
                return patient
            if not care_team and admitted.guarded and actor.role is not Role.SYSTEM:
                raise Conflict("nobody but the patient would reach this record; name somebody who cares for them")
            return await work.patients.save(replace(patient, care_team=care_team))

    @retrying
    async def history(
        self, actor: Actor, patient_id: PatientId, *, before: int | None = None, at_most: int = 20
    ) -> tuple[Revision, ...]:
        """Return the versions of a record below `before`, the newest first. Raises `NotFound` as `view` does."""
        async with self.reading(snapshot=True) as work:
            sealed = await work.patients.get(patient_id)
            admitted = admit(work, actor, Action.VIEW_HISTORY, sealed, at=self.now())
            return tuple(await work.patients.history(admitted, before=before, at_most=page_size(at_most)))

    @retrying
    async def list(
        self, actor: Actor, conditions: PatientFilter, *, cursor: str = "", at_most: int = 50
    ) -> Page[Patient]:
        """Return the patients the actor may see, in the order they were registered."""
        context = b"list" + actor.id.bytes + _spelt(conditions)
        after = PatientId(UUID(bytes=self.cursors.open(cursor, context))) if cursor else None
        size = page_size(at_most)
        scope = scope_of(actor, Action.LIST, at=self.now())
        async with self.reading(snapshot=bool(scope.right.guarded)) as work:
            attempt = self._attempt(work, actor, Action.LIST, at=scope.at)
            found = await work.patients.find_counted_page(scope, conditions, after=after, at_most=size + 1)
            items = await self._open_each(work, admit_each(attempt, found.records[:size]))
        more = len(found.records) > size
        next_cursor = self.cursors.seal(found.records[size - 1].id.bytes, context) if more else ""
        return Page(items=items, next_cursor=next_cursor, count=found.count, exact=found.exact)

    @retrying
    async def search(self, actor: Actor, query: PatientQuery, *, cursor: str = "", at_most: int = 50) -> Page[Patient]:
        """Return the patients the actor may see that match `query`, in its order.

        Raises `Forbidden` for a social security number without the right to search by it, and `TooMany` if
        that is done too often.
        """
        action = Action.SEARCH_BY_SSN if query.ssn else Action.SEARCH
        context = b"search" + actor.id.bytes + query.normalised
        after = tuple(json.loads(self.cursors.open(cursor, context))) if cursor else None
        async with self.reading(snapshot=self.search_index.needs_snapshot(query)) as work:
            attempt = self._attempt(work, actor, action, asked=query.normalised)
            if query.ssn:
                await self._require_ssn_search(attempt)
            found = await self.search_index.find(
                work, scope_of(actor, action, at=attempt.at), query, after=after, at_most=page_size(at_most)
            )
            self._note_all_broken(work, attempt, found.unopened)
            # What was answered from memory may have changed since: who does not match as they are opened is left out.
            matches = partial(query.is_still_met_by, today=self.today())
            items = await self._open_found(work, attempt, found.patients, matches)
        next_cursor = self.cursors.seal(json.dumps(found.keys[-1]).encode(), context) if found.more else ""
        return Page(items=items, next_cursor=next_cursor, count=found.count, exact=found.exact)

    @retrying
    async def similar(self, actor: Actor, query: SimilarQuery, *, at_most: int = 20) -> Page[Resembling]:
        """Return the patients the actor may see whose names are like what was heard, the most alike first.

        It has one page, of up to `MOST_ALIKE`.
        """
        size = page_size(at_most, most=MOST_ALIKE)
        async with self.reading(snapshot=self.search_index.needs_snapshot(query)) as work:
            attempt = self._attempt(work, actor, Action.SEARCH, asked=query.normalised)
            scope = scope_of(actor, Action.SEARCH, at=attempt.at)
            found = await self.search_index.similar(work, scope, query, at_most=size)
            self._note_all_broken(work, attempt, found.unopened)
            score = partial(self.search_index.score, query)
            opened = await self._open_found(work, attempt, found.patients, lambda patient: score(patient) > 0)
        alike = (Resembling(patient, score(patient)) for patient in opened)
        items = sorted(alike, key=lambda one: (-one.score, one.patient.name.sort_key, one.patient.id))
        return Page(items=tuple(items), count=found.count, exact=found.exact)

    async def _open(
        self, work: Work, actor: Actor, action: Action, patient_id: PatientId, version: int
    ) -> tuple[Admitted, Patient]:
        return await open_at_version(work, actor, action, patient_id, version, at=self.now())

    def _attempt(
        self, work: Work, actor: Actor, action: Action, *, at: datetime | None = None, asked: bytes = b""
    ) -> Attempt:
        """Note the attempt at a list, or at what was asked. A role without any right gets nobody, as if none were."""
        attempt = work.note(Attempt(actor=actor, action=action, at=at or self.now()))
        if asked:
            attempt.query_mac = work.query_mac(asked)
        if not right_to(actor, action).exists:
            attempt.refuse(Reason.NO_SUCH_RIGHT)
        return attempt

    async def _open_found(
        self, work: Work, attempt: Attempt, found: Iterable[PatientId], matches: Callable[[Patient], bool]
    ) -> tuple[Patient, ...]:
        """Decide and open what an index found, each once; what is not as it said is left out."""
        records = await work.patients.get_many(tuple(dict.fromkeys(found)))
        return await self._open_each(work, admit_each(attempt, records), provided=matches)

    async def _open_each(
        self, work: Work, admitted: Iterable[Admitted], *, provided: Callable[[Patient], bool] = anybody
    ) -> tuple[Patient, ...]:
        """Open what was admitted; a record that does not open is left out and noted as failed."""
        patients = []
        for place, entry in enumerate(admitted, 1):
            if place % _OPENED_IN_A_STEP == 0:
                await asyncio.sleep(0)
            try:
                patients.append(work.patients.open(entry, provided=provided))
            except CannotOpen:
                self._note_broken(work, entry.attempt, entry.record.patient)
            except NotFound:
                continue
        return tuple(patients)

    def _note_all_broken(self, work: Work, attempt: Attempt, patients: Iterable[PatientId]) -> None:
        for patient in patients:
            self._note_broken(work, attempt, patient)

    def _note_broken(self, work: Work, attempt: Attempt, patient: PatientId) -> None:
        attempt.withhold(patient, Reason.CANNOT_OPEN)
        broken = Attempt(actor=attempt.actor, action=attempt.action, at=attempt.at, patient=patient, ids=(patient,))
        work.note(broken).fail(CannotOpen())

    async def _require_ssn_search(self, attempt: Attempt) -> None:
        if attempt.outcome is not Outcome.SUCCEEDED:
            raise Forbidden
        await self.limits.hit("ssn-search", str(attempt.actor.id))


async def answered_before(
    work: Work, actor: Actor, repeat: RepeatKey, resource: Resource, *, at: datetime
) -> Answered | None:
    """Return how this request for a new record was answered, if it was; a key of another request is noted."""
    try:
        return await work.idempotency_keys.find(actor.id, repeat.key, repeat.request)
    except ReusedKey:
        work.note(Attempt(actor=actor, action=Action.REGISTER, at=at, resource=resource))
        raise


async def open_at_version(
    work: Work, actor: Actor, action: Action, patient_id: PatientId, version: int, *, at: datetime
) -> tuple[Admitted, Patient]:
    """Open a record to change it; raises `StaleWrite` unless it is at `version`."""
    admitted = admit(work, actor, action, await work.patients.get(patient_id), at=at)
    patient = work.patients.open(admitted)
    if patient.version != version:
        raise StaleWrite
    return admitted, patient


def _spelt(conditions: PatientFilter) -> bytes:
    terms = sorted((term.kind, term.text) for term in conditions.terms)
    return json.dumps([conditions.status, str(conditions.practitioner), terms]).encode()


def _require_fields(wanted: PatientField, allowed: PatientField) -> None:
    if beyond := wanted & ~allowed:
        raise Invalid(next(name for name, bit in FIELD_BITS.items() if bit in beyond), "is not yours to set")


async def _require_practitioners(work: Work, practitioners: frozenset[PractitionerId]) -> None:
    found = await work.practitioners.find(sorted(practitioners)) if practitioners else []
    if len(found) != len(practitioners):
        raise Invalid("care_team", "names a practitioner who is not known here")
    if not all(practitioner.active for practitioner in found):
        raise Invalid("care_team", "names a practitioner who does not work here any more")
