"""The tables of appointments and closures."""

from datetime import date, datetime
from uuid import UUID

from sqlalchemy import CheckConstraint, Date, ForeignKey, Index
from sqlalchemy.orm import Mapped, mapped_column

from clarity.persistence.tables import AuditColumns, Base, SealedColumns


class AppointmentRow(SealedColumns, Base):
    """An appointment from `starts_at` until `ends_at` (UTC). What it is about is sealed.

    The database keeps two that are booked from overlapping, of one practitioner and of one patient: PostgreSQL by
    exclusion, SQLite by triggers. `series_id` is what those that recur have in common.
    """

    participant = "practitioner_id"

    __tablename__ = "appointments"
    __table_args__ = (
        CheckConstraint("version >= 1", name="version"),
        CheckConstraint("status IN ('booked', 'completed', 'cancelled', 'no-show')", name="status"),
        CheckConstraint("starts_at < ends_at", name="interval"),
        Index(None, "patient_id", "id"),
        Index(None, "patient_id", "starts_at"),
        Index(None, "practitioner_id", "starts_at"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    patient_id: Mapped[UUID] = mapped_column(ForeignKey("patients.id"))
    practitioner_id: Mapped[UUID] = mapped_column(ForeignKey("practitioners.id"))
    starts_at: Mapped[datetime]
    ends_at: Mapped[datetime]
    series_id: Mapped[UUID | None] = mapped_column(index=True)


class ClosureRow(AuditColumns, Base):
    """Days by the practice's calendar, the last included, on which nothing is booked: with one practitioner, or at all.

    `status` is "closed", or "withdrawn" where that was taken back.
    """

    __tablename__ = "closures"
    __table_args__ = (
        CheckConstraint("status IN ('closed', 'withdrawn')", name="status"),
        CheckConstraint("first_day <= last_day", name="days"),
        Index(None, "status", "last_day"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    practitioner_id: Mapped[UUID | None] = mapped_column(ForeignKey("practitioners.id"), index=True)
    first_day: Mapped[date] = mapped_column(Date)
    last_day: Mapped[date] = mapped_column(Date)
    status: Mapped[str]
