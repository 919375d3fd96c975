"""Where patient records are kept."""

from collections.abc import AsyncIterator, Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol
from uuid import UUID

from clarity.application.admission import Admitted, anybody
from clarity.application.pages import COUNTED_EXACTLY
from clarity.domain.access import Action, Scope
from clarity.domain.identifiers import IndexTerm
from clarity.domain.ids import PatientId, PractitionerId
from clarity.domain.patients import LegalHold, Patient, PatientCard, PatientStatus, Removal
from clarity.domain.records import Sealed
from clarity.domain.retention import Kept, Retention


@dataclass(frozen=True, slots=True, kw_only=True)
class Revision:
    """One version of a patient record as it was: opened, with who wrote it and when."""

    patient: Patient
    version: int
    written_at: datetime
    written_by: UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """A legal hold, and the record that stands under it."""

    patient: PatientId
    hold: LegalHold


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundHolds:
    """Some legal holds, how many there are in all, and whether there are more behind these."""

    holds: tuple[Held, ...]
    count: int
    more: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class CountedPage:
    """Some records of a list, and how many it has in all; a count that is not `exact` is a least one."""

    records: Sequence[Sealed]
    count: int
    exact: bool

    @classmethod
    def of(cls, records: Sequence[Sealed], count: int) -> "CountedPage":
        """Say of a count how far it goes."""
        return cls(records=records, count=min(count, COUNTED_EXACTLY), exact=count <= COUNTED_EXACTLY)


@dataclass(frozen=True, slots=True, kw_only=True)
class PatientFilter:
    """The conditions on a patient that stand outside the seal; `None` and empty allow everybody."""

    status: PatientStatus | None = None
    practitioner: PractitionerId | None = None
    terms: tuple[IndexTerm, ...] = ()
    patients: frozenset[PatientId] | None = None


class PatientRepository(Protocol):
    """The patient records of one unit of work. What it fetches is sealed until it has been admitted.

    What `open` and `history` hand out counts as disclosed, what `add` and `save` write as changed; the unit
    of work refuses to end while one of them has no event.
    """

    async def get(self, patient: PatientId) -> Sealed:
        """Fetch one record by its id. What does not exist comes back as a record that nobody is admitted to."""
        ...

    async def get_many(self, patients: Sequence[PatientId]) -> list[Sealed]:
        """Fetch the records that exist among `patients`, in their order."""
        ...

    async def find_page(
        self, scope: Scope, conditions: PatientFilter, *, after: PatientId | None, at_most: int
    ) -> list[Sealed]:
        """Return at most `at_most` records in `scope` in order of their ids, those behind `after`."""
        ...

    async def find_counted_page(
        self, scope: Scope, conditions: PatientFilter, *, after: PatientId | None, at_most: int
    ) -> CountedPage:
        """Return what `find_page` does, and how many there are in all, which is exact up to `COUNTED_EXACTLY`.

        Page and count are of one instant by themselves where `scope` covers no guarded record; others need a snapshot.
        """
        ...

    def find_ids(self, scope: Scope, conditions: PatientFilter) -> AsyncIterator[PatientId]:
        """Return the id of every record in `scope`, as far as that is known unopened, in no order."""
        ...

    async def ids_in(self, scope: Scope, conditions: PatientFilter) -> frozenset[PatientId]:
        """Return what `find_ids` does, all at once and of one instant: for scopes that a tie keeps small."""
        ...

    async def count(self, scope: Scope, conditions: PatientFilter) -> int:
        """Return how many records in `scope` meet `conditions`."""
        ...

    def unsafe_bulk_open(
        self, scope: Scope, conditions: PatientFilter
    ) -> AsyncIterator[tuple[Sealed, PatientCard | None]]:
        """Open every record in `scope` that meets `conditions`, unaudited, for comparison inside the search alone.

        In no order. A record that does not open comes with `None`.
        """
        ...

    async def admissible(self, scope: Scope, patients: Collection[PatientId]) -> frozenset[PatientId]:
        """Return those of `patients` whose records `scope` covers, by their exact labels and their consents too.

        They are opened for that, unaudited, and nothing of them is handed out. What does not open is left out.
        """
        ...

    async def find_by_source(self, source: str) -> PatientId | None:
        """Return the patient that came from this resource of another system, deleted or not, if there is one."""
        ...

    def open(self, admitted: Admitted, *, provided: Callable[[Patient], bool] = anybody) -> Patient:
        """Return the patient inside, with the fields it was admitted for; the others are blank.

        Raises `NotFound` if the exact label forbids it or the whole patient is not as `provided`; nothing was disclosed
        then, and the attempt does not name them. Raises `CannotOpen` if it was altered or its key is gone.
        """
        ...

    async def add(self, patient: Patient) -> Patient:
        """Store a new patient as version 1 under a data key of their own. Raises `DuplicateMrn`."""
        ...

    async def save(self, patient: Patient, *, lose_sight: bool = False) -> Patient:
        """Write a patient that this unit of work opened as its next version and return it, as the actor now sees it.

        Raises `Conflict` if the actor would see nothing more of it, by its new label, unless they mean to `lose_sight`.
        Fields it was not admitted for stay as they were. The version before is kept. Raises `StaleWrite`
        if the record is no longer at `patient.version`, `DuplicateMrn` if a new identifier is taken.
        """
        ...

    def check_label(self, admitted: Admitted) -> None:
        """Raise `NotFound` if the exact label of the admitted record forbids it. Nothing of it is handed out."""
        ...

    def require_also(self, admitted: Admitted, action: Action) -> None:
        """Raise `Forbidden` unless whoever was admitted may do `action` to the record too, by its exact label."""
        ...

    def kept(self, admitted: Admitted, rule: Retention) -> Kept:
        """Return what `rule` says of the admitted record, whatever of it the actor may see. Raises `CannotOpen`."""
        ...

    async def remove(self, patient: Patient, removal: Removal) -> None:
        """Turn a patient that this unit of work opened into a tombstone, its last version saying why.

        Its history stays. Its identifiers are free again and its care team is over; the resources it came from stay
        taken, so that an import does not bring it back. Raises `StaleWrite` as `save` does.
        """
        ...

    async def restore(self, patient: Patient) -> Patient:
        """Undo the removal of a patient that this unit of work opened, and return it as the actor now sees it.

        Its identifiers and its care team are again what they were. Raises `Conflict` if it was not removed,
        `StaleWrite` as `save` does, and `DuplicateMrn` if an identifier was taken meanwhile.
        """
        ...

    async def find_holds(self, scope: Scope, *, after: PatientId | None, at_most: int) -> FoundHolds:
        """Return at most `at_most` legal holds on records in `scope` in order of their ids, those behind `after`.

        Only those returned count as disclosed. Every record is opened for that, since no column tells which are held.
        """
        ...

    async def history(self, admitted: Admitted, *, before: int | None = None, at_most: int = 50) -> list[Revision]:
        """Return the versions of the admitted record below `before`, the newest first.

        Of a record that the actor may see, each version is decided by its own label: one that it forbids is left out,
        further ones take its place, and the trail says so. Raises `NotFound` if the present label forbids the record.
        """
        ...
