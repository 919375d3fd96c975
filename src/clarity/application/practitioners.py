"""The use-cases on practitioners."""

import json
from collections.abc import Callable, Mapping
from dataclasses import astuple, dataclass, replace
from uuid import UUID

from clarity.application.admission import admit_new, require_right
from clarity.application.pages import Page, page_size
from clarity.application.patients import RepeatKey
from clarity.application.ports import (
    Answered,
    BeginReading,
    BeginWork,
    Clock,
    Cursors,
    PatientFilter,
    Work,
)
from clarity.application.retry import retrying
from clarity.domain.access import Action, Actor, Reason, right_to, scope_of
from clarity.domain.audit import Attempt
from clarity.domain.errors import NotFound, ReusedKey, StaleWrite
from clarity.domain.identifiers import typed_npi
from clarity.domain.ids import PractitionerId
from clarity.domain.patients import PatientStatus
from clarity.domain.practitioners import EVERYBODY, Practitioner, PractitionerQuery, check_typed_specialty
from clarity.domain.records import Resource

_COUNTED = tuple(status for status in PatientStatus if status is not PatientStatus.DELETED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Caseload:
    """How many patients a practitioner cares for, by status, of those whom the asker may see."""

    practitioner: PractitionerId
    counts: Mapping[PatientStatus, int]

    @property
    def total(self) -> int:
        """How many they are together."""
        return sum(self.counts.values())


@dataclass(frozen=True, slots=True)
class PractitionerService:
    """The use-cases on practitioners: staff see who could be on a care team, administrators say who that is.

    Each raises `Forbidden` for those whose role may not do it.
    """

    begin: BeginWork
    reading: BeginReading
    cursors: Cursors
    now: Clock

    @retrying
    async def register(
        self, actor: Actor, practitioner: Practitioner, *, repeat: RepeatKey | None = None
    ) -> Practitioner:
        """Register a practitioner and return them as version 1.

        With `repeat`, a request that comes again finds what the first one made. Raises `Invalid` for an NPI that was
        never issued or a specialty whose code cannot be one, `DuplicateNpi` for an NPI that a practitioner has.
        """
        async with self.begin() as work:
            if repeat and (answered := await self._answered(work, actor, repeat)):
                self._attempt(work, actor, Action.VIEW, answered)
                return await _find(work, answered)
            admit_new(work, actor, Action.REGISTER, Resource.PRACTITIONER, practitioner.id, at=self.now())
            if repeat:
                # Before the practitioner: the same request arriving twice at once must collide here, not on its NPI.
                answer = Answered(record=practitioner.id, version=1)
                await work.idempotency_keys.add(actor.id, repeat.key, repeat.request, answer)
            check_typed_specialty(practitioner.specialty)
            return await work.practitioners.add(await _with_claimed_npi(work, practitioner))

    @retrying
    async def change(
        self,
        actor: Actor,
        practitioner_id: PractitionerId,
        edit: Callable[[Practitioner], Practitioner],
        *,
        version: int,
    ) -> Practitioner:
        """Let `edit` change a practitioner, and return the outcome.

        An edit that changes nothing makes no new version, and where somebody came from is not changed by any. Raises
        `NotFound`, `StaleWrite` unless the record is at `version`, and as `register` does for an NPI or a code
        that is new to it: what was imported may stay as it came.
        """
        async with self.begin() as work:
            self._attempt(work, actor, Action.CHANGE, practitioner_id)
            practitioner = await _find(work, practitioner_id)
            if practitioner.version != version:
                raise StaleWrite
            edited = replace(edit(practitioner), id=practitioner.id, version=version, sources=practitioner.sources)
            check_typed_specialty(edited.specialty, practitioner.specialty)
            if edited.npi != practitioner.npi:
                edited = await _with_claimed_npi(work, edited)
            return practitioner if edited == practitioner else await work.practitioners.save(edited)

    @retrying
    async def view(self, actor: Actor, practitioner_id: PractitionerId) -> Practitioner:
        """Return one practitioner. Raises `NotFound` if there is none."""
        async with self.reading() as work:
            self._attempt(work, actor, Action.VIEW, practitioner_id)
            return await _find(work, practitioner_id)

    @retrying
    async def list(
        self, actor: Actor, query: PractitionerQuery = EVERYBODY, *, cursor: str = "", at_most: int = 50
    ) -> Page[Practitioner]:
        """Return the practitioners who meet `query`, in the order they came."""
        spelt = json.dumps(astuple(query)).encode()
        context = b"practitioners" + actor.id.bytes + spelt
        after = PractitionerId(UUID(bytes=self.cursors.open(cursor, context))) if cursor else None
        size = page_size(at_most)
        async with self.reading(snapshot=True) as work:
            attempt = self._attempt(work, actor, Action.LIST)
            if query != EVERYBODY:
                attempt.query_mac = work.query_mac(b"practitioners" + spelt)
            found = await work.practitioners.find_page(query, after=after, at_most=size + 1)
            items = tuple(found[:size])
            attempt.ids = tuple(practitioner.id for practitioner in items)
            count = await work.practitioners.count(query)
        next_cursor = self.cursors.seal(items[-1].id.bytes, context) if len(found) > size else ""
        return Page(items=items, next_cursor=next_cursor, count=count)

    @retrying
    async def caseload(self, actor: Actor, practitioner_id: PractitionerId) -> Caseload:
        """Return how many patients a practitioner cares for, of those in the actor's own reach. Raises `NotFound`."""
        async with self.reading(snapshot=True) as work:
            attempt = self._attempt(work, actor, Action.VIEW, practitioner_id)
            await _find(work, practitioner_id)
            counted = work.note(Attempt(actor=actor, action=Action.LIST, at=attempt.at))
            if not right_to(actor, Action.LIST).exists:
                counted.refuse(Reason.NO_SUCH_RIGHT)
            scope = scope_of(actor, Action.LIST, at=attempt.at)
            counts: dict[PatientStatus, int] = {
                status: await work.patients.count(scope, PatientFilter(status=status, practitioner=practitioner_id))
                for status in _COUNTED
            }
        return Caseload(practitioner=practitioner_id, counts=counts)

    def _attempt(self, work: Work, actor: Actor, action: Action, *practitioners: PractitionerId) -> Attempt:
        attempt = Attempt(actor=actor, action=action, at=self.now(), resource=Resource.PRACTITIONER, ids=practitioners)
        require_right(work.note(attempt), action)
        return attempt

    async def _answered(self, work: Work, actor: Actor, repeat: RepeatKey) -> PractitionerId | None:
        """Return whom this request made, if it came before; a key that came with another request is noted."""
        try:
            answered = await work.idempotency_keys.find(actor.id, repeat.key, repeat.request)
        except ReusedKey:
            attempt = Attempt(actor=actor, action=Action.REGISTER, at=self.now(), resource=Resource.PRACTITIONER)
            work.note(attempt)
            raise
        return None if answered is None else PractitionerId(answered.record)


async def _find(work: Work, practitioner: PractitionerId) -> Practitioner:
    found = await work.practitioners.find([practitioner])
    if not found:
        raise NotFound
    return found[0]


async def _with_claimed_npi(work: Work, practitioner: Practitioner) -> Practitioner:
    """Return a practitioner with the NPI as it is kept, having made sure that nobody else has it."""
    if not practitioner.npi.strip():
        return replace(practitioner, npi="")
    npi = typed_npi(practitioner.npi)
    await work.practitioners.claim_npi(npi, practitioner.id)
    return replace(practitioner, npi=npi)
