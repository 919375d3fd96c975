"""Where the records in a patient's chart are kept: those that have an id, a label and an author of their own."""

from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Generic, Protocol, TypeVar
from uuid import UUID

from clarity.application.admission import Admitted
from clarity.application.ports.patients import CountedPage
from clarity.domain.access import Scope
from clarity.domain.charts import ChartRecord
from clarity.domain.ids import PatientId
from clarity.domain.records import Label, Resource, Sealed

LOOKED_THROUGH = 1_000
"""How many records that somebody may see are opened at most for one page that is not counted."""

Entity = TypeVar("Entity", bound=ChartRecord)
Revised_co = TypeVar("Revised_co", bound=ChartRecord, covariant=True)
Conditions_contra = TypeVar("Conditions_contra", contravariant=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordRevision(Generic[Revised_co]):
    """One version of a record as it was: opened, with who wrote it and when."""

    record: Revised_co
    version: int
    written_at: datetime
    written_by: UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class UncountedPage:
    """Some records of a list. `resume` is the last that was looked at, if there may be more behind it."""

    records: Sequence[Sealed]
    resume: UUID | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """Whose records are asked for: the patient's own record, still closed, and all that were merged into it.

    `patients` begins with the patient asked for. What may be seen of records of any of them depends on `whose`.
    """

    whose: Sealed
    patients: tuple[PatientId, ...]


class ChartLog(Protocol[Entity, Conditions_contra]):
    """Records of one kind in charts, to which is only ever added. What it fetches is sealed until it was admitted.

    Of each, the policy sees how its patient's record stands, and what its own row says. What `open` hands out counts as
    disclosed, what `add` writes as changed.
    """

    @property
    def resource(self) -> Resource:
        """The kind."""
        ...

    async def get(self, whose: Sealed, record: UUID) -> Sealed:
        """Fetch one record by its id, to stand as the patient's record `whose` does; it may be of another patient.

        What does not exist comes back as a record that nobody is admitted to.
        """
        ...

    def new(self, whose: Sealed, record: UUID, label: Label, author: UUID) -> Sealed:
        """Return how a record that `author` is about to make in the chart of `whose` will stand."""
        ...

    async def find_page(
        self,
        scope: Scope,
        chart: Chart,
        conditions: Conditions_contra,
        *,
        provided: Callable[[Entity], bool] | None = None,
        after: UUID | None,
        at_most: int,
    ) -> UncountedPage:
        """Return records as `find_counted_page` does, and count nothing.

        At most `LOOKED_THROUGH` are opened to find those that are as `provided`, so that there may be fewer, even none,
        and more behind.
        """
        ...

    def read_through(self, scope: Scope, chart: Chart) -> AsyncGenerator[tuple[Sealed, Entity | None]]:
        """Open, unaudited, the records of a chart that `scope` covers, one after the other, the latest recorded first.

        For whoever judges of them all, and admits and opens what is shown. One that does not open comes as `None`.
        Others are served meanwhile, and no more is fetched at a time than is bearable.
        """
        ...

    def open(self, admitted: Admitted) -> Entity:
        """Return the record inside.

        Raises `NotFound` if its exact label, or that of its patient, forbids it, and `CannotOpen` if it was altered or
        its key is gone.
        """
        ...

    async def add(self, admitted: Admitted, entity: Entity) -> Entity:
        """Store a record that was admitted as `new` as version 1. Raises `NotFound` as `open` does."""
        ...


class ChartRepository(ChartLog[Entity, Conditions_contra], Protocol[Entity, Conditions_contra]):
    """The records of one kind in charts, within one unit of work.

    What `history` hands out counts as disclosed too, what `save` writes as changed.
    """

    async def find_counted_page(
        self,
        scope: Scope,
        chart: Chart,
        conditions: Conditions_contra,
        *,
        provided: Callable[[Entity], bool] | None = None,
        after: UUID | None,
        at_most: int,
    ) -> CountedPage:
        """Return at most `at_most` records of a chart that `scope` covers behind `after`, the latest recorded first.

        They meet `conditions`, which are about what stands outside the seal, and are as `provided`, for which they are
        opened, unaudited. The count is of all such records, and exact up to `COUNTED_EXACTLY`. A record that does not
        open is among them, for whoever opens it to report.
        """
        ...

    async def save(self, entity: Entity) -> Entity:
        """Write the next version of a record that this unit of work opened; the version before is kept.

        Raises `StaleWrite` if it is no longer at its version.
        """
        ...

    async def get_some(self, whose: Sealed, records: Sequence[UUID]) -> Sequence[Sealed]:
        """Fetch as `get` does those of some records that there are."""
        ...

    async def add_some(self, admitted: Sequence[Admitted], entities: Sequence[Entity]) -> None:
        """Store records that were admitted as `new`, in their order, in as few statements as possible.

        Raises `NotFound` as `open` does.
        """
        ...

    async def follow(self, entity: Entity) -> Entity:
        """Write as `save` does what the source of an imported record says of it now.

        What is signed may change so, since it is another system in which it was signed.
        """
        ...

    async def history(
        self, admitted: Admitted, *, before: int | None = None, at_most: int = 50
    ) -> Sequence[RecordRevision[Entity]]:
        """Return the versions of the admitted record below `before`, the newest first.

        Each is decided by its own label, and one that it forbids is left out; the trail says so. Raises `NotFound` as
        `open` does.
        """
        ...
