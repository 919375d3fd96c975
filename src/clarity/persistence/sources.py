"""Where records in charts came from: the blind index of the resource of another system that each was imported from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import ForeignKey, insert, or_, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from clarity.application.ports import SourcedRecord
from clarity.domain.identifiers import IndexKind, IndexTerm
from clarity.domain.ids import PatientId
from clarity.persistence.identifiers import IdentifierTable, identifier_rules
from clarity.persistence.tables import Base, IdentifierColumns, table_of

_DIGESTS_AT_A_TIME = 500


class ChartSourceRow(IdentifierColumns, Base):
    """That a record in a patient's chart came from a resource of another system, which may do so only once.

    There is no foreign key to the record: its table depends on its kind.
    """

    __tablename__ = "chart_sources"
    __table_args__ = (*identifier_rules("chart_sources"),)

    patient_id: Mapped[UUID] = mapped_column(ForeignKey("patients.id"), index=True)
    record_id: Mapped[UUID] = mapped_column(index=True)


@dataclass(frozen=True, slots=True)
class SqlChartSources:
    """`ChartSources` over one session."""

    session: AsyncSession
    table: IdentifierTable

    async def find(self, sources: Sequence[str]) -> dict[str, SourcedRecord]:
        """Return the records that came from some resources, by those from which any did."""
        asked = {
            (value.generation, value.digest): source
            for source in sources
            for value in self.table.candidates(_term(source))
        }
        digests = sorted({digest for _, digest in asked})
        found: dict[str, SourcedRecord] = {}
        for start in range(0, len(digests), _DIGESTS_AT_A_TIME):
            for row in await self.session.execute(_holding(digests[start : start + _DIGESTS_AT_A_TIME])):
                for slot in ((row.generation_a, row.digest_a), (row.generation_b, row.digest_b)):
                    if slot in asked:
                        found[asked[slot]] = SourcedRecord(PatientId(row.patient_id), row.record_id)
        return found

    async def add(self, records: Mapping[str, SourcedRecord]) -> None:
        """Remember what some new records came from; breaks a unique index if another one came from there."""
        rows = [
            {**row, "patient_id": holder.patient}
            for source, holder in records.items()
            for row in self.table.new_rows(holder.record, [_term(source)])
        ]
        if rows:
            await self.session.execute(insert(table_of(ChartSourceRow)), rows)


def _term(source: str) -> IndexTerm:
    return IndexTerm(IndexKind.SOURCE, source)


def _holding(digests: Sequence[bytes]) -> Any:
    rows = ChartSourceRow
    columns = rows.patient_id, rows.record_id, rows.generation_a, rows.digest_a, rows.generation_b, rows.digest_b
    return select(*columns).where(
        rows.kind == IndexKind.SOURCE.value,
        rows.until_version.is_(None),
        or_(rows.digest_a.in_(digests), rows.digest_b.in_(digests)),
    )
