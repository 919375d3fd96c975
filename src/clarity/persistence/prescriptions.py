"""Prescriptions, and their table."""

from collections.abc import Iterable
from uuid import UUID

from sqlalchemy import CheckConstraint, ColumnElement, ForeignKey, Index
from sqlalchemy.orm import Mapped, mapped_column

from clarity.domain.medications import Prescription, PrescriptionFilter
from clarity.domain.records import Resource
from clarity.persistence.charts import ChartTable
from clarity.persistence.keys import DataKeys
from clarity.persistence.tables import Base, SealedColumns


class PrescriptionRow(SealedColumns, Base):
    """A prescription. What of, how much and from when to when is sealed."""

    __tablename__ = "prescriptions"
    __table_args__ = (
        CheckConstraint("version >= 1", name="version"),
        CheckConstraint("status IN ('active', 'on-hold', 'stopped', 'completed', 'mistaken')", name="status"),
        Index(None, "patient_id", "id"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    patient_id: Mapped[UUID] = mapped_column(ForeignKey("patients.id"))


class PrescriptionTable(ChartTable[Prescription, PrescriptionFilter]):
    """The prescriptions."""

    def __init__(self, keys: DataKeys) -> None:
        super().__init__(PrescriptionRow, Prescription, Resource.PRESCRIPTION, keys)

    def chosen(self, conditions: PrescriptionFilter) -> Iterable[ColumnElement[bool]]:
        """Return what `conditions` ask of columns."""
        if conditions.status is not None:
            yield PrescriptionRow.status == conditions.status.value
