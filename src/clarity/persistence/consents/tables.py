"""The table of consents, and how a record brings its patient's along."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, ColumnElement, ForeignKey, Select, and_, exists
from sqlalchemy.orm import Mapped, aliased, mapped_column

from clarity.domain.ids import PatientId
from clarity.persistence.keys import DataKeyRow, wrapped_key
from clarity.persistence.tables import Base, SealedColumns
from clarity.security.keyring import WrappedKey


class ConsentRow(SealedColumns, Base):
    """All consents of one patient, sealed together: `id` is the patient's."""

    __tablename__ = "consents"
    __table_args__ = (CheckConstraint("version >= 1", name="version"),)

    id: Mapped[UUID] = mapped_column(ForeignKey("patients.id"), primary_key=True)


@dataclass(frozen=True, slots=True)
class SealedRegister:
    """A patient's consents as they were fetched: still closed, with the wrapped key that opens them."""

    patient: PatientId
    version: int
    ciphertext: bytes
    wrapped: WrappedKey | None


_REGISTER = aliased(ConsentRow)
_REGISTER_KEY = aliased(DataKeyRow)


REGISTER_COLUMNS = (
    _REGISTER.version.label("consents_version"),
    _REGISTER.sealed.label("consents_sealed"),
    _REGISTER.key_generation.label("consents_generation"),
    _REGISTER_KEY.kek_generation.label("consents_kek_generation"),
    _REGISTER_KEY.wrapped.label("consents_wrapped"),
)
"""What `with_consents` adds to a select, and `register_of` reads."""


def with_consents(statement: Select[Any], patient: Any) -> Select[Any]:
    """Return a select that brings along the consents of the patient in column `patient`, behind its own columns."""
    key = and_(_REGISTER_KEY.subject_id == patient, _REGISTER_KEY.generation == _REGISTER.key_generation)
    return (
        statement.add_columns(*REGISTER_COLUMNS)
        .outerjoin(_REGISTER, _REGISTER.id == patient)
        .outerjoin(_REGISTER_KEY, key)
    )


def register_of(columns: Sequence[Any], patient: PatientId) -> SealedRegister | None:
    """Return the consents that a row brought along in these columns, or `None` if the patient never gave any."""
    version, sealed, generation, kek_generation, wrapped = columns
    if sealed is None:
        return None
    return SealedRegister(patient, version, sealed, wrapped_key(patient, generation, kek_generation, wrapped))


def register_is_as(fetched: SealedRegister | None, patient: PatientId) -> ColumnElement[bool]:
    """Return the condition that the patient's consents are those that were fetched, and none if none were."""
    register = exists().where(ConsentRow.id == patient)
    return ~register if fetched is None else register.where(ConsentRow.version == fetched.version)
