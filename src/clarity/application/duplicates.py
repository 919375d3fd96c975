"""The use-cases on duplicates: reviewing who may be one person, merging their records, and taking that back."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final
from uuid import UUID

from clarity.application.admission import Admitted, admit, admit_each
from clarity.application.pages import Page, page_size
from clarity.application.ports import BeginReading, BeginWork, Clock, Cursors, Work
from clarity.application.retry import retrying
from clarity.domain.access import Action, Actor, Reason, Relation, right_to, scope_of
from clarity.domain.audit import Attempt
from clarity.domain.duplicates import (
    Compared,
    Duplicate,
    DuplicateStatus,
    Merge,
    compare,
    require_latest,
)
from clarity.domain.errors import CannotOpen, Conflict, NotFound
from clarity.domain.ids import AccountId, DuplicateId, PatientId
from clarity.domain.patients import Patient, Removal
from clarity.domain.records import Resource, Sealed

MERGED: Final = "merged"
"""The reason that a record which ended in a merge was taken away for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reviewed:
    """A review with the records that it is about, as far as the actor sees them, and how those compare.

    Of a merge only the surviving record is shown, which has what the other had.
    """

    review: Duplicate
    records: tuple[Patient, ...]
    compared: tuple[Compared, ...] = ()


@dataclass(frozen=True, slots=True)
class DuplicateService:
    """The use-cases on duplicate reviews. Each is one unit of work, with events for the review and for both patients.

    A review is for those who may view both patients; to anybody else it does not exist.
    """

    begin: BeginWork
    reading: BeginReading
    cursors: Cursors
    now: Clock

    @retrying
    async def list(
        self,
        actor: Actor,
        status: DuplicateStatus = DuplicateStatus.OPEN,
        *,
        cursor: str = "",
        at_most: int = 50,
    ) -> Page[Duplicate]:
        """Return the reviews with `status` of which the actor may view both patients, the oldest first."""
        context = b"duplicates" + actor.id.bytes + status.encode()
        after = DuplicateId(UUID(bytes=self.cursors.open(cursor, context))) if cursor else None
        size = page_size(at_most)
        async with self.reading(snapshot=True) as work:
            attempt = Attempt(actor=actor, action=Action.LIST, at=self.now(), resource=Resource.DUPLICATE)
            work.note(attempt)
            if not right_to(actor, Action.LIST, Resource.DUPLICATE).exists:
                attempt.refuse(Reason.NO_SUCH_RIGHT)
            scope = scope_of(actor, Action.LIST, Resource.DUPLICATE, at=attempt.at)
            sealed = await work.duplicates.find_page(scope, status, after=after, at_most=size + 1)
            count = await work.duplicates.count(scope, status)
            reviews = _open_each(work, admit_each(attempt, sealed[:size]))
        items = tuple(_as_shown(review, actor) for review in reviews)
        more = len(sealed) > size
        next_cursor = self.cursors.seal(sealed[size - 1].id.bytes, context) if more else ""
        return Page(items=items, next_cursor=next_cursor, count=count)

    @retrying
    async def view(self, actor: Actor, review_id: DuplicateId) -> Reviewed:
        """Return one review with both records side by side.

        Raises `NotFound` if there is none, or if one of the two is not the actor's to view.
        """
        async with self.reading(snapshot=True) as work:
            review = await self._open(work, actor, Action.VIEW, review_id)
            records = await self._shown(work, actor, review)
        compared = compare(*records) if len(records) > 1 else ()
        return Reviewed(review=_as_shown(review, actor), records=records, compared=compared)

    @retrying
    async def distinguish(self, actor: Actor, review_id: DuplicateId, note: str) -> Duplicate:
        """Decide that the two are two people: they are not suspected again unless in another kind of identifier.

        Raises `NotFound` as `view` does, and `Conflict` unless the review is open.
        """
        async with self.begin() as work:
            review = await self._open(work, actor, Action.REVIEW, review_id)
            await self._shown(work, actor, review)
            return await work.duplicates.save(review.distinguish(note, self.now(), actor.id))

    @retrying
    async def merge(self, actor: Actor, review_id: DuplicateId, survivor: PatientId, note: str) -> Duplicate:
        """Decide that the two are one person: the other's record ends, and `survivor` gains what they lacked.

        Raises `NotFound` as `view` does; `Conflict` unless the review is open, or if the records cannot be joined
        without widening who sees what; `StaleWrite` if somebody changed one of them meanwhile.
        """
        async with self.begin() as work:
            review = await self._open(work, actor, Action.REVIEW, review_id)
            await self._shown(work, actor, review)
            gone = review.merged_away(survivor)
            at = self.now()
            kept_record = await self._opened(work, actor, Action.MERGE, survivor)
            ending = await self._opened(work, actor, Action.MERGE, gone)
            removal = Removal(reason=MERGED, at=at, by=actor.id, merged_into=survivor)
            moved = await work.duplicates.absorb(kept_record, ending, removal)
            accounts = [one.id for one in await work.accounts.find_by_patient(gone)]
            await self._relink(work, actor, Action.MERGE, accounts, gone, survivor)
            merge = Merge(survivor=survivor, moved=moved, accounts=tuple(accounts))
            merged = await work.duplicates.save(review.merged(merge, note, at, actor.id))
            return _as_shown(merged, actor)

    @retrying
    async def unmerge(self, actor: Actor, review_id: DuplicateId, note: str) -> Duplicate:
        """Take a merge back: what it added and is still there leaves the survivor, and the other record is restored.

        The review is open again. Raises `NotFound` as `view` does, `Conflict` if the two are not merged or the survivor
        was part of a later merge, and `StaleWrite` and `DuplicateMrn` as changing a patient does.
        """
        async with self.begin() as work:
            review = await self._open(work, actor, Action.REVIEW, review_id)
            if review.status is not DuplicateStatus.MERGED:
                await self._shown(work, actor, review)
            merge, gone = review.standing_merge()
            kept_record = await self._surviving(work, actor, merge.survivor)
            require_latest(merge, await work.duplicates.merges_into(merge.survivor))
            restored = await self._opened(work, actor, Action.UNMERGE, gone)
            await work.duplicates.give_back(kept_record, restored, merge.moved)
            await self._relink(work, actor, Action.UNMERGE, merge.accounts, merge.survivor, gone)
            return await work.duplicates.save(review.unmerged(note, self.now(), actor.id))

    async def _open(self, work: Work, actor: Actor, action: Action, review: DuplicateId) -> Duplicate:
        return work.duplicates.open(admit(work, actor, action, await work.duplicates.get(review), at=self.now()))

    async def _opened(self, work: Work, actor: Actor, action: Action, patient: PatientId) -> Patient:
        return work.patients.open(admit(work, actor, action, await work.patients.get(patient), at=self.now()))

    async def _surviving(self, work: Work, actor: Actor, patient: PatientId) -> Patient:
        """Return whose record stayed in a merge that is to be taken back.

        Raises `Conflict` if it ended in another merge since, `NotFound` if it was deleted.
        """
        admitted = admit(work, actor, Action.UNMERGE, await work.patients.get(patient), at=self.now())
        survivor = work.patients.open(admitted)
        if admitted.record.standing is not None and admitted.record.standing.deleted:
            if await work.duplicates.merged_away(patient):
                raise Conflict("the surviving record was merged into another since: take that merge back first")
            admitted.attempt.refuse(Reason.DELETED)
            raise NotFound
        return survivor

    async def _viewed(self, work: Work, actor: Actor, patient: PatientId) -> Patient:
        return await self._opened(work, actor, Action.VIEW, patient)

    async def _shown(self, work: Work, actor: Actor, review: Duplicate) -> tuple[Patient, ...]:
        """Return both patients as the actor views them, and of a merge the one whose record stayed.

        Nobody decides about what they may not see, nor is told what was decided: whatever else may be wrong with a
        request comes afterwards.
        """
        if review.status is DuplicateStatus.MERGED:
            merge, _ = review.standing_merge()
            return (await self._viewed(work, actor, merge.survivor),)
        return await self._viewed(work, actor, review.patient), await self._viewed(work, actor, review.other)

    async def _relink(
        self,
        work: Work,
        actor: Actor,
        action: Action,
        accounts: Iterable[AccountId],
        before: PatientId,
        after: PatientId,
    ) -> None:
        """Link portal accounts of one patient to the other; one that was linked to somebody else since stays so."""
        chosen = frozenset(accounts)
        for account in await work.accounts.find_by_patient(before):
            if account.id in chosen:
                work.note(_relinking(actor, action, account.id, self.now()))
                await work.accounts.save(replace(account, patient=after))


def _relinking(actor: Actor, action: Action, account: AccountId, at: datetime) -> Attempt:
    """Return the attempt at what a merge does to an account: it follows from what was decided of the patients."""
    return Attempt(actor=actor, action=action, at=at, resource=Resource.ACCOUNT, ids=(account,))


def _open_each(work: Work, admitted: Iterable[Admitted]) -> tuple[Duplicate, ...]:
    """Open what was admitted; a review that does not open is left out and noted as failed."""
    reviews = []
    for entry in admitted:
        try:
            reviews.append(work.duplicates.open(entry))
        except CannotOpen:
            _note_broken(work, entry.attempt, entry.record)
    return tuple(reviews)


def _as_shown(review: Duplicate, actor: Actor) -> Duplicate:
    """Return a review without the fields of patients that the actor does not see: that there were any says enough."""
    return review.only(right_to(actor, Action.VIEW).covered(Relation))


def _note_broken(work: Work, attempt: Attempt, record: Sealed) -> None:
    attempt.withhold(record.id, Reason.CANNOT_OPEN)
    broken = replace(attempt, patient=record.patient, ids=(record.id,), emergencies={})
    work.note(broken).fail(CannotOpen())
