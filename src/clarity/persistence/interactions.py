"""The log of contacts between patients and the system, and its table."""

from collections.abc import Iterable
from uuid import UUID

from sqlalchemy import CheckConstraint, ColumnElement, ForeignKey, Index
from sqlalchemy.orm import Mapped, mapped_column

from clarity.domain.interactions import Interaction, InteractionFilter
from clarity.domain.records import Resource
from clarity.persistence.charts import ChartTable
from clarity.persistence.keys import DataKeys
from clarity.persistence.tables import Base, SealedColumns


class InteractionRow(SealedColumns, Base):
    """A contact between a patient and the system. By which channel, when and what about is sealed.

    The database refuses to delete one, and to change anything of it; sealed anew, under a newer key, it may be.
    """

    __tablename__ = "interactions"
    __table_args__ = (
        CheckConstraint("version = 1", name="version"),
        CheckConstraint("status IN ('recorded')", name="status"),
        Index(None, "patient_id", "id"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    patient_id: Mapped[UUID] = mapped_column(ForeignKey("patients.id"))


class InteractionTable(ChartTable[Interaction, InteractionFilter]):
    """The log of contacts."""

    def __init__(self, keys: DataKeys) -> None:
        super().__init__(InteractionRow, Interaction, Resource.INTERACTION, keys)

    def chosen(self, conditions: InteractionFilter) -> Iterable[ColumnElement[bool]]:
        """Return what `conditions` ask of columns."""
        if conditions.first is not None:
            yield InteractionRow.id >= conditions.first
