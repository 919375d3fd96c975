"""Prescriptions: their table."""

from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index
from sqlalchemy.orm import Mapped, mapped_column

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
