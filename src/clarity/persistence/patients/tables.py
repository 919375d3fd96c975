"""The tables of patients and of what ties others to them."""

from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from clarity.domain.patients import PatientStatus
from clarity.persistence.identifiers import identifier_indexes
from clarity.persistence.tables import Base, IdentifierColumns, Lasting, SealedColumns

_STATUSES = ", ".join(f"'{status.value}'" for status in PatientStatus)
_HOLDS = text("until_version IS NULL")


class PatientRow(SealedColumns, Base):
    """A patient. All content is in `sealed`; `status` follows from it."""

    __tablename__ = "patients"
    __table_args__ = (
        CheckConstraint("version >= 1", name="version"),
        CheckConstraint(f"status IN ({_STATUSES})", name="status"),
        Index(None, "status", "id"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    status: Mapped[str]


class PatientIdentifierRow(IdentifierColumns, Base):
    """The blind index of one identifier of a patient."""

    __tablename__ = "patient_identifiers"
    __table_args__ = (*identifier_indexes("patient_identifiers"),)

    patient_id: Mapped[UUID] = mapped_column(ForeignKey("patients.id"), index=True)


class CareTeamRow(Lasting, Base):
    """That a practitioner is, or was, on the care team of a patient."""

    __tablename__ = "care_team_members"
    __table_args__ = (Index(None, "practitioner_id", "patient_id", postgresql_where=_HOLDS, sqlite_where=_HOLDS),)

    patient_id: Mapped[UUID] = mapped_column(ForeignKey("patients.id"), primary_key=True)
    practitioner_id: Mapped[UUID] = mapped_column(ForeignKey("practitioners.id"), primary_key=True)
    since_version: Mapped[int] = mapped_column(primary_key=True)
