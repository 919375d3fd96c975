"""Where it is kept which records in charts came from which resources of other systems."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol
from uuid import UUID

from clarity.domain.ids import PatientId


class SourcedRecord(NamedTuple):
    """A record in a chart, and whose it is."""

    patient: PatientId
    record: UUID


class ChartSources(Protocol):
    """The resources that records in charts came from, each of one record only."""

    async def find(self, sources: Sequence[str]) -> Mapping[str, SourcedRecord]:
        """Return the records that came from some resources, by those from which any did."""
        ...

    async def add(self, records: Mapping[str, SourcedRecord]) -> None:
        """Remember what some new records came from. Raises `DuplicateIdentifier` if another one came from there."""
        ...
