"""The versions of sealed rows that were replaced: copies of the ciphertext, never opened on the way."""

from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any
from uuid import UUID

from sqlalchemy import Insert, Update, bindparam, insert, literal, select, update
from sqlalchemy.orm import Mapped, mapped_column

from clarity.persistence.direct import DirectStatement
from clarity.persistence.registry import number_of
from clarity.persistence.tables import Base, table_of


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


@dataclass(frozen=True, slots=True)
class Replacing:
    """The statements that keep a version of a row and put the next in its place.

    The row is the parameter `row`, the version `was`, and what a column is to hold has its name behind `new_`.
    """

    keep: Insert
    put: Update
    at_once: DirectStatement
    """Does both, and returns the row. PostgreSQL reads for each of the two what was there before either."""


@lru_cache(maxsize=256)
def replacing(rows: Any, names: tuple[str, ...], *, patient: str) -> Replacing:
    """Return the statements for the columns with these names of the table of `rows`, built once.

    `patient` names the column that holds the patient.
    """
    keep = _keep_version(rows, patient)
    there = table_of(rows)
    put = update(there).where(there.c.id == bindparam("row"), there.c.version == bindparam("was"))
    put = put.values({name: bindparam(f"new_{name}") for name in names})
    return Replacing(keep, put, DirectStatement(put.add_cte(keep.cte("kept")).returning(there.c.id)))


def _keep_version(rows: Any, patient: str) -> Insert:
    current = select(
        *(literal(number) for number in number_of(rows.__tablename__)),
        rows.id,
        rows.version,
        getattr(rows, patient),
        rows.sealed,
        rows.key_generation,
        rows.updated_at,
        rows.updated_by,
    ).where(rows.id == bindparam("row"), rows.version == bindparam("was"))
    return insert(table_of(RecordVersionRow)).from_select(list(_COLUMNS), current)
