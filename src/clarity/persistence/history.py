"""The versions of sealed rows that were replaced: copies of the ciphertext, never opened on the way."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Insert, insert, literal, select
from sqlalchemy.orm import Mapped, mapped_column

from clarity.persistence.registry import number_of
from clarity.persistence.tables import Base


class RecordVersionRow(Base):
    """A version of a sealed row as it was, with who wrote it and when (UTC)."""

    __tablename__ = "record_versions"

    table_number: Mapped[int] = mapped_column(primary_key=True)
    column_number: Mapped[int] = mapped_column(primary_key=True)
    row_id: Mapped[UUID] = mapped_column(primary_key=True)
    version: Mapped[int] = mapped_column(primary_key=True)
    patient_id: Mapped[UUID] = mapped_column(index=True)
    sealed: Mapped[bytes]
    key_generation: Mapped[int]
    written_at: Mapped[datetime]
    written_by: Mapped[UUID]


_COLUMNS = (
    "table_number",
    "column_number",
    "row_id",
    "version",
    "patient_id",
    "sealed",
    "key_generation",
    "written_at",
    "written_by",
)


def keep_version(rows: Any, row: UUID, version: int, *, patient: str = "patient_id") -> Insert:
    """Return the statement that copies one sealed row at `version` before it is replaced.

    `rows` is the class of the table, `patient` names its column that holds the patient.
    """
    current = select(
        *(literal(number) for number in number_of(rows.__tablename__)),
        rows.id,
        rows.version,
        getattr(rows, patient),
        rows.sealed,
        rows.key_generation,
        rows.updated_at,
        rows.updated_by,
    ).where(rows.id == row, rows.version == version)
    return insert(RecordVersionRow).from_select(list(_COLUMNS), current)
