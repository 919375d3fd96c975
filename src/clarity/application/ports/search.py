"""Finding patients by what is sealed, and what an index of them is told."""

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple, Protocol

from clarity.application.ports.work import Work
from clarity.domain.access import Scope
from clarity.domain.ids import PatientId
from clarity.domain.likeness import SimilarQuery
from clarity.domain.patients import Patient, PatientQuery, PatientStatus
from clarity.domain.people import BirthSex, Gender
from clarity.domain.records import Label


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """One page of a search: ids in the order asked for, and how many match in all.

    `keys` has the sort key of each id, the place where a next page would begin; `unopened` are the records
    in scope that could not be compared because they do not open. A count that is not `exact` is a least one.
    """

    patients: tuple[PatientId, ...]
    keys: tuple[tuple[str, ...], ...] = field(repr=False)
    count: int
    exact: bool
    more: bool
    unopened: tuple[PatientId, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundAlike:
    """Patients whose names are like one that was heard, the most alike first, and how many there are in all.

    `unopened` are the records in scope that could not be compared. A count that is not `exact` is a least one.
    """

    patients: tuple[PatientId, ...]
    count: int
    exact: bool
    unopened: tuple[PatientId, ...] = ()


class PatientSearch(Protocol):
    """Finding patients by what is sealed."""

    def needs_snapshot(self, query: PatientQuery | SimilarQuery) -> bool:
        """Tell whether a search needs a unit of work whose statements all see one state of the database."""
        ...

    async def find(
        self, work: Work, scope: Scope, query: PatientQuery, *, after: tuple[str, ...] | None, at_most: int
    ) -> Found:
        """Return the page behind the sort key `after` of the patients in `scope` that match `query`.

        What is outside `scope` is neither returned nor counted. Sees every write that was committed before it began.
        """
        ...

    async def similar(self, work: Work, scope: Scope, query: SimilarQuery, *, at_most: int) -> FoundAlike:
        """Return the patients in `scope` whose names are most like what was heard, by score, then name, then id.

        Holds to what `find` holds to.
        """
        ...

    def score(self, query: SimilarQuery, patient: Patient) -> float:
        """Return from 0 to 1 how much a patient is like what was heard; 0 is not to be found by it at all."""
        ...


@dataclass(frozen=True, slots=True)
class Reach:
    """Which records a search may find.

    Those labelled as in `free` it may; those labelled as in `judged` it may where the policy says so of the opened
    record; others it may not. Where `among` is not `None`, only these patients come into question.
    """

    free: frozenset[Label]
    judged: frozenset[Label]
    among: frozenset[PatientId] | None = None


class IndexEntry(NamedTuple):
    """What an index holds of one patient: names folded, days as proleptic Gregorian ordinals.

    `family` and `given` are the sort key of the name the patient goes by; `names` are the search texts of all names,
    that one first. `born_first` and `born_last` are the first and the last day the date of birth can mean; `changed`
    is the instant of the last change in microseconds since 1970 in UTC. `id` has 16 bytes. It has no `repr` worth
    having: it is content.
    """

    id: bytes
    version: int
    family: str
    given: str
    names: tuple[str, ...]
    born_first: int
    born_last: int
    status: PatientStatus
    label: Label
    gender: Gender
    birth_sex: BirthSex | None
    changed: int

    def __repr__(self) -> str:
        """Name the type and nothing it holds."""
        return "<IndexEntry>"


class Absence(Enum):
    """Why a record is not in the index."""

    DELETED = "deleted"
    FORGOTTEN = "forgotten"
    UNOPENED = "unopened"


class IndexGap(NamedTuple):
    """That a record is not to be found any more, or not to be compared. `changed` is that of an `IndexEntry`."""

    id: bytes
    version: int
    why: Absence
    changed: int = 0


class Tally(NamedTuple):
    """How many records there are, those neither deleted nor forgotten, and two sums over them.

    `instants` adds up the low 32 bits of when each was changed last. It tells histories apart that parted, as after a
    restore: what was written since in the one and in the other may be as much.
    """

    records: int
    versions: int
    instants: int


def instant_in_tally(changed: int) -> int:
    """Return what an instant in microseconds adds to `Tally.instants`: a sum of more would not fit in 64 bits."""
    return changed & 0xFFFFFFFF


IndexChange = IndexEntry | IndexGap


@dataclass(frozen=True, slots=True)
class Horizon:
    """Up to where changes are known. `store` names the database they were read from, `place` is its own to read."""

    store: bytes
    place: str


@dataclass(frozen=True, slots=True)
class Changes:
    """What changed since a horizon, each record once and as it is now, and the horizon that follows.

    Where `complete` is false there was more than fits: nothing of it counts, and `ChangeFeed.all_since` has it.
    """

    horizon: Horizon
    changed: Sequence[IndexChange]
    complete: bool = True


@dataclass(frozen=True, slots=True)
class ChangeStream:
    """Many changes, in batches, and the horizon that follows once all of them were read."""

    horizon: Horizon
    batches: AsyncIterator[Sequence[IndexChange]]


class ChangeFeed(Protocol):
    """Tells what changed in the records of patients, whoever changed it, in whatever process."""

    async def since(self, horizon: Horizon) -> Changes:
        """Return what transactions changed that committed after `horizon` was taken, in one round trip.

        A record may come again that did not change. Raises `HorizonLost`.
        """
        ...

    def all_since(self, horizon: Horizon | None) -> AbstractAsyncContextManager[ChangeStream]:
        """Stream what `since` returns, however much it is; without a horizon, every record. Raises `HorizonLost`."""
        ...

    async def tally(self) -> Tally:
        """Return what tells whether an index holds the records as they are."""
        ...
