"""The tables of patients and of their identifiers."""

from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from clarity.domain.patients import PatientStatus
from clarity.persistence.identifiers import identifier_rules
from clarity.persistence.tables import Base, IdentifierColumns, SealedColumns

_STATUSES = ", ".join(f"'{status.value}'" for status in PatientStatus)


class PatientRow(SealedColumns, Base):
    """A patient. All content is in `sealed`; `status` follows from it. To register somebody is to author nothing.

    `changed_in` is written by triggers alone: the number of the transaction that changed the row last, on SQLite that
    of the change. See `persistence/changes.py`.
    """

    authored = False

    __tablename__ = "patients"
    __table_args__ = (
        CheckConstraint("version >= 1", name="version"),
        CheckConstraint(f"status IN ({_STATUSES})", name="status"),
        Index(None, "status", "id"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    changed_in: Mapped[int] = mapped_column(BigInteger, server_default=text("0"), index=True)


class PatientIdentifierRow(IdentifierColumns, Base):
    """The blind index of one identifier of a patient."""

    __tablename__ = "patient_identifiers"
    __table_args__ = (*identifier_rules("patient_identifiers"),)

    patient_id: Mapped[UUID] = mapped_column(ForeignKey("patients.id"), index=True)
