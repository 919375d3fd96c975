"""The table of broken glass, and what the policy asks of it."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import BindParameter, CheckConstraint, ColumnElement, ForeignKey, Index, bindparam, exists, select
from sqlalchemy.orm import Mapped, mapped_column

from clarity.application.ports import Clock
from clarity.domain.dates import CLOCKS_DIFFER
from clarity.persistence.tables import Base, SealedColumns
from clarity.persistence.types import GatheredIds, Instant


class BreakGlassRow(SealedColumns, Base):
    """That the account in `created_by` broke the glass for a patient: until `expires_at`, or until it closed it.

    The reason, what 42 CFR 2.51 wants recorded, and the outcome of the review are sealed.
    """

    __tablename__ = "break_glass"
    __table_args__ = (
        CheckConstraint("version >= 1", name="version"),
        CheckConstraint("status IN ('unreviewed', 'reviewed')", name="status"),
        Index(None, "patient_id", "expires_at"),
        Index(None, "created_by", "id"),
        Index(None, "status", "id"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    patient_id: Mapped[UUID] = mapped_column(ForeignKey("patients.id"))
    expires_at: Mapped[datetime]
    closed_at: Mapped[datetime | None]


def emergencies_of(patient: Any, now: Clock) -> Any:
    """Return the column `emergencies` of a select: the accounts that broke the glass for the patient and still may."""
    return (
        select(GatheredIds(BreakGlassRow.created_by))
        .where(
            BreakGlassRow.patient_id == patient,
            BreakGlassRow.closed_at.is_(None),
            BreakGlassRow.expires_at > bindparam("now", callable_=now, type_=Instant),
            BreakGlassRow.created_at <= bindparam("soon", callable_=lambda: now() + CLOCKS_DIFFER, type_=Instant),
        )
        .scalar_subquery()
        .label("emergencies")
    )


def broke_glass_for(
    account: BindParameter[UUID], patient: Any, at: BindParameter[datetime], soon: BindParameter[datetime]
) -> ColumnElement[bool]:
    """Return the condition that `account` broke the glass for the patient in column `patient`, and may at `at`.

    `soon` is as much later as clocks may differ.
    """
    return exists().where(
        BreakGlassRow.created_by == account,
        BreakGlassRow.patient_id == patient,
        BreakGlassRow.closed_at.is_(None),
        BreakGlassRow.expires_at > at,
        BreakGlassRow.created_at <= soon,
    )
