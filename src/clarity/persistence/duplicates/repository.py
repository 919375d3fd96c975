"""The duplicate reviews of one unit of work."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from sqlalchemy import ColumnElement, and_, func, or_, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from clarity.application.admission import Admitted
from clarity.domain.access import Action, Scope, right_to, scope_of
from clarity.domain.duplicates import Duplicate, DuplicateStatus, Merge, Moved
from clarity.domain.errors import StaleWrite, UnauditedAccess
from clarity.domain.ids import DuplicateId, PatientId
from clarity.domain.patients import Patient, Removal
from clarity.domain.records import Resource, Sealed
from clarity.persistence.duplicates.mapping import NOBODY, DuplicateTable, written
from clarity.persistence.duplicates.tables import DuplicateRow
from clarity.persistence.ledger import Ledger
from clarity.persistence.patients.repository import SqlPatientRepository
from clarity.persistence.patients.tables import PatientRow
from clarity.persistence.records import as_stored
from clarity.persistence.scopes import in_scope
from clarity.persistence.sealing import SealedRecord

_ROWS_AT_A_TIME = 500
_ONE, _OTHER = aliased(PatientRow), aliased(PatientRow)


@dataclass(frozen=True, slots=True)
class SqlDuplicateRepository:
    """`DuplicateRepository` over one session. Enters in the ledger every review it hands out or writes."""

    session: AsyncSession
    table: DuplicateTable
    patients: SqlPatientRepository
    ledger: Ledger
    _opened: dict[DuplicateId, SealedRecord] = field(default_factory=dict, init=False)

    async def get(self, review: DuplicateId) -> Sealed:
        """Fetch one by its id."""
        found = await self.table.find(self.session, review)
        return found or Sealed(resource=Resource.DUPLICATE, id=review, patient=NOBODY)

    async def find_page(
        self, scope: Scope, status: DuplicateStatus, *, after: DuplicateId | None, at_most: int
    ) -> list[Sealed]:
        """Return at most `at_most` with `status` in order of their ids, those behind `after`."""
        page: list[Sealed] = []
        async for row in self._in_order(_chosen(self.table.fetched, scope, status), after=after, at_a_time=at_most):
            if await self._may_be_shown(scope, row):
                page.append(self.table.record_of(row))
                if len(page) == at_most:
                    break
        return page

    async def count(self, scope: Scope, status: DuplicateStatus) -> int:
        """Return how many `find_page` would find in all; of pairs that are guarded, the labels are opened to tell."""
        guarded = or_(_ONE.guarded, _OTHER.guarded)
        counted = _chosen(select(func.count()).select_from(DuplicateRow), scope, status).where(~guarded)
        count = int((await self.session.execute(counted)).scalar_one())
        if not right_to(scope.actor, Action.VIEW).guarded:
            return count
        chosen = _chosen(self.table.fetched, scope, status).where(guarded)
        async for row in self._in_order(chosen, after=None, at_a_time=_ROWS_AT_A_TIME):
            count += await self._may_be_shown(scope, row)
        return count

    def open(self, admitted: Admitted) -> Duplicate:
        """Return what is inside."""
        record = as_stored(admitted)
        review = self.table.open_review(record)
        self.ledger.disclose(Resource.DUPLICATE, review.id)
        self._opened[review.id] = record
        return review

    async def save(self, review: Duplicate) -> Duplicate:
        """Write the next version of one that this unit of work opened."""
        record = self._opened.get(review.id)
        if record is None:
            raise UnauditedAccess
        if record.version != review.version:
            raise StaleWrite
        version = await self.table.replace(self.session, self.ledger, record, review, written(review))
        return replace(review, version=version)

    async def absorb(self, survivor: Patient, duplicate: Patient, removal: Removal) -> Moved:
        """Take away the record of `duplicate`, add to `survivor` what they lack, and return that."""
        return await self.patients.absorb(survivor, duplicate, removal)

    async def give_back(self, survivor: Patient, duplicate: Patient, moved: Moved) -> None:
        """Take back from `survivor` what is left of `moved`, and restore the record of `duplicate`."""
        await self.patients.give_back(survivor, duplicate, moved)

    async def merges_into(self, survivor: PatientId) -> list[Merge]:
        """Return the merges into a patient that stand."""
        return [merge for merge in await self._merges_of(survivor) if merge.survivor == survivor]

    async def merged_away(self, patient: PatientId) -> bool:
        """Tell whether the record of a patient ended in a merge that stands."""
        return any(merge.survivor != patient for merge in await self._merges_of(patient))

    async def survivors_of(self, patients: Sequence[PatientId]) -> dict[PatientId, PatientId]:
        """Return into whose record each of these was merged, of those whose record ended in a merge."""
        return {absorbed: survivor for absorbed, survivor in await self._merged(patients) if absorbed in patients}

    async def absorbed_by(self, survivors: Sequence[PatientId]) -> list[PatientId]:
        """Return the patients whose records ended in one of these."""
        return [absorbed for absorbed, survivor in await self._merged(survivors) if survivor in survivors]

    async def _merged(self, patients: Sequence[PatientId]) -> list[tuple[PatientId, PatientId]]:
        """Return each merge that stands with one of `patients`: whose record ended, and in whose."""
        pairs = or_(DuplicateRow.patient_id.in_(patients), DuplicateRow.other_id.in_(patients))
        rows = await self.session.execute(
            self.table.fetched.where(DuplicateRow.status == DuplicateStatus.MERGED.value, pairs)
        )
        reviews = [self.table.open_review(self.table.record_of(row)) for row in rows]
        return [
            (review.other if review.merge.survivor == review.patient else review.patient, review.merge.survivor)
            for review in reviews
            if review.merge is not None
        ]

    async def _merges_of(self, patient: PatientId) -> list[Merge]:
        """Return the merges that stand in which the record of a patient stayed or ended."""
        rows = await self.session.execute(
            self.table.fetched.where(
                DuplicateRow.status == DuplicateStatus.MERGED.value,
                or_(DuplicateRow.patient_id == patient, DuplicateRow.other_id == patient),
            )
        )
        merges = [self.table.open_review(self.table.record_of(row)).merge for row in rows]
        return [merge for merge in merges if merge is not None]

    async def _may_be_shown(self, scope: Scope, row: Any) -> bool:
        """Tell whether the exact labels of the two let the actor view them."""
        if not right_to(scope.actor, Action.VIEW).guarded:
            return True
        viewed = scope_of(scope.actor, Action.VIEW, at=scope.at)
        pair = await self.patients.get_many([row.owner_id, row.other_id])
        return all(self.patients.may_show(viewed, record) for record in pair if _stands(record))

    async def _in_order(self, statement: Any, *, after: DuplicateId | None, at_a_time: int) -> AsyncIterator[Any]:
        while True:
            page = statement if after is None else statement.where(DuplicateRow.id > after)
            rows = (await self.session.execute(page.order_by(DuplicateRow.id).limit(at_a_time))).all()
            for row in rows:
                yield row
            if len(rows) < at_a_time:
                return
            after, at_a_time = rows[-1].id, max(at_a_time, _ROWS_AT_A_TIME)


def _stands(record: Sealed) -> bool:
    return record.standing is not None and not record.standing.deleted


def _chosen(statement: Any, scope: Scope, status: DuplicateStatus) -> Any:
    """Return `statement` for the reviews in `scope` of patients who are both the actor's to view.

    Of a merged pair one is a tombstone, which nobody views: that may be whoever's merge the actor could undo.
    """
    viewed = scope_of(scope.actor, Action.VIEW, at=scope.at)
    if status is DuplicateStatus.MERGED:
        undone = scope_of(scope.actor, Action.UNMERGE, at=scope.at)
        seen = and_(_both(undone), or_(_of(viewed, _ONE), _of(viewed, _OTHER)))
    else:
        seen = _both(viewed)
    return (
        statement.join(_ONE, _ONE.id == DuplicateRow.patient_id)
        .join(_OTHER, _OTHER.id == DuplicateRow.other_id)
        .where(DuplicateRow.status == status.value, in_scope(scope, DuplicateRow, DuplicateRow.patient_id), seen)
    )


def _both(scope: Scope) -> ColumnElement[bool]:
    return and_(_of(scope, _ONE), _of(scope, _OTHER))


def _of(scope: Scope, rows: Any) -> ColumnElement[bool]:
    return in_scope(scope, rows, rows.id)
