"""The log of contacts between patients and the system: its table."""

from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index
from sqlalchemy.orm import Mapped, mapped_column

from clarity.persistence.tables import Base, SealedColumns


class InteractionRow(SealedColumns, Base):
    """A contact between a patient and the system. By which channel, when and what about is sealed."""

    __tablename__ = "interactions"
    __table_args__ = (
        CheckConstraint("version = 1", name="version"),
        CheckConstraint("status IN ('recorded')", name="status"),
        Index(None, "patient_id", "id"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    patient_id: Mapped[UUID] = mapped_column(ForeignKey("patients.id"))
