"""The tables of disclosures."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index, SmallInteger
from sqlalchemy.orm import Mapped, mapped_column

from clarity.persistence.tables import Base, SealedColumns


class DisclosureRow(SealedColumns, Base):
    """That something of a patient's record went to somebody outside the practice.

    To whom, when, what and what for are sealed. `status` says whether it has to be accounted for (45 CFR 164.528).
    """

    __tablename__ = "disclosures"
    __table_args__ = (
        CheckConstraint("version >= 1", name="version"),
        CheckConstraint("status IN ('accountable', 'exempt', 'mistaken')", name="status"),
        Index(None, "patient_id", "id"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    patient_id: Mapped[UUID] = mapped_column(ForeignKey("patients.id"))


class DisclosureEventRow(Base):
    """That a disclosure was made by what an event of the trail tells of, such as an export."""

    __tablename__ = "disclosure_events"

    disclosure_id: Mapped[UUID] = mapped_column(ForeignKey("disclosures.id"), primary_key=True)
    event_id: Mapped[UUID] = mapped_column(primary_key=True, index=True)


class ExportReasonRow(Base):
    """Why an export that the trail tells of is no disclosure to account for. The newest row of an event holds.

    `reason` is the number of an `Exemption`.

    There is no foreign key: of the trail, nothing depends on another table.
    """

    __tablename__ = "export_reasons"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    event_id: Mapped[UUID] = mapped_column(index=True)
    reason: Mapped[int] = mapped_column(SmallInteger)
    created_at: Mapped[datetime]
    created_by: Mapped[UUID]
