"""Duplicates: pairs of patients that share an identifier which people seldom share, and what was found out."""

from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from clarity.persistence.tables import Base, SealedColumns


class DuplicateRow(SealedColumns, Base):
    """That two patients may be one. What was found out is sealed under the key of the one in `patient_id`."""

    __tablename__ = "duplicate_reviews"
    __table_args__ = (
        CheckConstraint("version >= 1", name="version"),
        CheckConstraint("status IN ('open', 'distinct', 'merged')", name="status"),
        UniqueConstraint("patient_id", "other_id"),
        Index(None, "status", "id"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    patient_id: Mapped[UUID] = mapped_column(ForeignKey("patients.id"))
    other_id: Mapped[UUID] = mapped_column(ForeignKey("patients.id"), index=True)
