"""Where it is kept which patients may be one person."""

from collections.abc import Sequence
from typing import Protocol

from clarity.application.admission import Admitted
from clarity.domain.access import Scope
from clarity.domain.duplicates import Duplicate, DuplicateStatus, Merge, Moved
from clarity.domain.ids import DuplicateId, PatientId
from clarity.domain.patients import Patient, Removal
from clarity.domain.records import Sealed


class DuplicateRepository(Protocol):
    """The duplicate reviews of one unit of work, sealed under the key of the patient with the smaller id.

    They open by themselves: whatever writes a patient, in the same transaction and with an event of its own, opens a
    review for each living patient who has the same social security number, e-mail or telephone number.
    """

    async def get(self, review: DuplicateId) -> Sealed:
        """Fetch one by its id. What does not exist comes back as a record that nobody is admitted to."""
        ...

    async def find_page(
        self, scope: Scope, status: DuplicateStatus, *, after: DuplicateId | None, at_most: int
    ) -> list[Sealed]:
        """Return at most `at_most` with `status` in order of their ids, those behind `after`.

        In `scope`, and of patients who are both the actor's to view; of a merge, the one whose record stands.
        """
        ...

    async def count(self, scope: Scope, status: DuplicateStatus) -> int:
        """Return how many `find_page` would find in all."""
        ...

    def open(self, admitted: Admitted) -> Duplicate:
        """Return what is inside. Raises `CannotOpen` if it was altered or its key is gone."""
        ...

    async def save(self, review: Duplicate) -> Duplicate:
        """Write the next version of one that this unit of work opened. Raises `StaleWrite`."""
        ...

    async def absorb(self, survivor: Patient, duplicate: Patient, removal: Removal) -> Moved:
        """Take away the record of `duplicate`, add to `survivor` what they lack, and return that.

        Both were opened by this unit of work, and are merged whole, whatever of them the actor may see. Raises
        `StaleWrite` as saving does, and `Conflict` if the outcome would hold too much, or would let somebody see by the
        survivor's consents what they were not given for.
        """
        ...

    async def give_back(self, survivor: Patient, duplicate: Patient, moved: Moved) -> None:
        """Take back from `survivor` what is left of `moved`, and restore the record of `duplicate`.

        Raises `NotFound` unless that was merged into the survivor's, `StaleWrite` and `DuplicateMrn` as saving does.
        """
        ...

    async def merges_into(self, survivor: PatientId) -> list[Merge]:
        """Return the merges into a patient that stand, to be compared or kept up, never to be shown."""
        ...

    async def merged_away(self, patient: PatientId) -> bool:
        """Tell whether the record of a patient ended in a merge that stands."""
        ...

    async def survivors_of(self, patients: Sequence[PatientId]) -> dict[PatientId, PatientId]:
        """Return into whose record each of these was merged, of those whose record ended in a merge that stands."""
        ...

    async def absorbed_by(self, survivors: Sequence[PatientId]) -> list[PatientId]:
        """Return the patients whose records ended in one of these by a merge that stands."""
        ...
