"""Duplicate reviews in a dictionary."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from uuid import UUID

from clarity.application.admission import Admitted
from clarity.domain.access import Action, Scope, scope_of
from clarity.domain.duplicates import Duplicate, DuplicateStatus, Merge, Moved
from clarity.domain.errors import StaleWrite, UnauditedAccess
from clarity.domain.ids import DuplicateId, PatientId
from clarity.domain.patients import Patient, Removal
from clarity.domain.records import Resource, Sealed, Standing
from clarity.persistence.ledger import Ledger
from tests.fakes.patients import MemoryPatientRepository, MemoryTables


@dataclass(slots=True)
class MemoryDuplicateRepository:
    """`DuplicateRepository` over `MemoryTables`."""

    tables: MemoryTables
    patients: MemoryPatientRepository
    ledger: Ledger
    _opened: dict[DuplicateId, int] = field(default_factory=dict)

    async def get(self, review: DuplicateId) -> Sealed:
        if review not in self.tables.duplicates:
            return Sealed(resource=Resource.DUPLICATE, id=review, patient=PatientId(UUID(int=0)))
        return _sealed(self.tables.duplicates[review])

    async def find_page(
        self, scope: Scope, status: DuplicateStatus, *, after: DuplicateId | None, at_most: int
    ) -> list[Sealed]:
        return [_sealed(one) for one in self._chosen(scope, status) if after is None or one.id > after][:at_most]

    async def count(self, scope: Scope, status: DuplicateStatus) -> int:
        return len(self._chosen(scope, status))

    def open(self, admitted: Admitted) -> Duplicate:
        review = self.tables.duplicates[DuplicateId(admitted.record.id)]
        self.ledger.disclose(Resource.DUPLICATE, review.id)
        self._opened[review.id] = review.version
        return review

    async def save(self, review: Duplicate) -> Duplicate:
        if review.id not in self._opened:
            raise UnauditedAccess
        if self.tables.duplicates[review.id].version != review.version:
            raise StaleWrite
        self.ledger.stamp()
        saved = replace(review, version=review.version + 1)
        self.tables.duplicates[review.id] = saved
        self.ledger.change(Resource.DUPLICATE, review.id, version=saved.version)
        return saved

    async def absorb(self, survivor: Patient, duplicate: Patient, removal: Removal) -> Moved:
        return await self.patients.absorb(survivor, duplicate, removal)

    async def give_back(self, survivor: Patient, duplicate: Patient, moved: Moved) -> None:
        await self.patients.give_back(survivor, duplicate, moved)

    async def merges_into(self, survivor: PatientId) -> list[Merge]:
        merges = [one.merge for one in self.tables.duplicates.values() if one.status is DuplicateStatus.MERGED]
        return [merge for merge in merges if merge is not None and merge.survivor == survivor]

    async def survivors_of(self, patients: Sequence[PatientId]) -> dict[PatientId, PatientId]:
        merges = [(one, one.merge.survivor) for one in self.tables.duplicates.values() if one.merge is not None]
        absorbed = {one.other if survivor == one.patient else one.patient: survivor for one, survivor in merges}
        return {one: survivor for one, survivor in absorbed.items() if one in patients}

    async def absorbed_by(self, survivors: Sequence[PatientId]) -> list[PatientId]:
        return [
            one.other if one.merge.survivor == one.patient else one.patient
            for one in self.tables.duplicates.values()
            if one.merge is not None and one.merge.survivor in survivors
        ]

    async def merged_away(self, patient: PatientId) -> bool:
        reviews = [one for one in self.tables.duplicates.values() if one.status is DuplicateStatus.MERGED]
        return any(
            one.merge is not None and one.merge.survivor != patient and patient in {one.patient, one.other}
            for one in reviews
        )

    def _chosen(self, scope: Scope, status: DuplicateStatus) -> list[Duplicate]:
        if not scope.right.everybodys:
            return []
        found = [one for one in self.tables.duplicates.values() if one.status is status and self._seen(scope, one)]
        return sorted(found, key=lambda one: one.id)

    def _seen(self, scope: Scope, review: Duplicate) -> bool:
        pair = (review.patient, review.other)
        viewed = [self._covers(scope_of(scope.actor, Action.VIEW, at=scope.at), one) for one in pair]
        if review.status is not DuplicateStatus.MERGED:
            return all(viewed)
        undone = scope_of(scope.actor, Action.UNMERGE, at=scope.at)
        return any(viewed) and all(self._covers(undone, one) for one in pair)

    def _covers(self, scope: Scope, patient: PatientId) -> bool:
        stored = self.tables.patients[patient][-1]
        record = self.tables.sealed(stored)
        return scope.after_opening(record, stored.patient.label, self.tables.consents_of(patient)).allowed


def _sealed(review: Duplicate) -> Sealed:
    return Sealed(
        resource=Resource.DUPLICATE,
        id=review.id,
        patient=review.patient,
        standing=Standing(),
        version=review.version,
    )
