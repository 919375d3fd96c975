"""Where records in charts came from, in a dictionary."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from clarity.application.ports import SourcedRecord
from clarity.domain.errors import DuplicateIdentifier
from tests.fakes.patients import MemoryTables


@dataclass(slots=True)
class MemoryChartSources:
    """`ChartSources` over `MemoryTables`."""

    tables: MemoryTables

    async def find(self, sources: Sequence[str]) -> dict[str, SourcedRecord]:
        return {one: self.tables.sources[one] for one in sources if one in self.tables.sources}

    async def add(self, records: Mapping[str, SourcedRecord]) -> None:
        if records.keys() & self.tables.sources.keys():
            raise DuplicateIdentifier
        self.tables.sources.update(records)
