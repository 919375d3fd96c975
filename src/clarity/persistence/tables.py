"""What all tables share: one `Base`, names for every constraint, and the columns around a seal."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar, cast
from uuid import UUID

from sqlalchemy import CursorResult, Integer, LargeBinary, MetaData, Result, Table, Update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from clarity.domain.errors import StaleWrite
from clarity.persistence.types import Instant, Uuid16

# The names by which a broken constraint is recognised; PostgreSQL cuts names at 63 bytes.
NAMING_CONVENTION = {
    "pk": "pk_%(table_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
}


# Rows are written by statements, and no session keeps a copy of one that would have to be brought into step.
UNTRACKED = {"synchronize_session": False}


async def write_one(session: AsyncSession, statement: Update) -> None:
    """Run an update that names one row at one version; raises `StaleWrite` if there is no such row any more."""
    require_one(await session.execute(statement, execution_options=UNTRACKED))


def require_one(result: Result[Any]) -> None:
    """Raise `StaleWrite` if an update of one row found none."""
    if cast("CursorResult[Any]", result).rowcount == 0:
        raise StaleWrite


class Base(DeclarativeBase):
    """The root of every table."""

    metadata = MetaData(naming_convention=NAMING_CONVENTION)
    type_annotation_map: ClassVar[dict[Any, Any]] = {
        UUID: Uuid16,
        datetime: Instant,
        bytes: LargeBinary,
        int: Integer,
    }


class OwnBase(DeclarativeBase):
    """The root of the tables of an application built on this package, which it migrates itself."""

    metadata = MetaData(naming_convention=NAMING_CONVENTION)
    type_annotation_map = Base.type_annotation_map


def table_of(rows: Any) -> Table:
    """Return the table of a class. An insert into the class itself goes by the ORM and takes three times as long."""
    table: Table = rows.__table__
    return table


@dataclass(frozen=True, slots=True)
class Stamp:
    """Who writes, and when (UTC)."""

    at: datetime
    by: UUID


class AuditColumns:
    """Who wrote a row first and last, and when (UTC)."""

    created_at: Mapped[datetime]
    created_by: Mapped[UUID]
    updated_at: Mapped[datetime]
    updated_by: Mapped[UUID]


class SealedColumns(AuditColumns):
    """A row whose content is one ciphertext under its patient's data key.

    `version` counts the writes from 1. `key_generation` says which of the patient's data keys opens it;
    `status` where the record stands, of which "deleted" makes it a tombstone; `guarded` that its label is not
    normal. Whoever made the row is the author of the record if those of the table are `authored`; those that are
    `drafted` exist for their author alone while their status is "draft". `participant` names the column of a
    practitioner whom the record is about, if there is one.
    """

    authored: ClassVar[bool] = True
    drafted: ClassVar[bool] = False
    participant: ClassVar[str | None] = None

    sealed: Mapped[bytes]
    key_generation: Mapped[int]
    version: Mapped[int]
    status: Mapped[str]
    guarded: Mapped[bool]


class Lasting:
    """A tie to a record from one of its versions to another: `until_version` is empty while it holds.

    Ties are never deleted, so the record's ties at any of its versions can be told.
    """

    since_version: Mapped[int]
    until_version: Mapped[int | None]


class IdentifierColumns(Lasting):
    """The blind index of one identifier: a truncated HMAC (16 bytes) in slot A, and in B during a rotation.

    A generation is that of the index root which made the digest.
    """

    id: Mapped[UUID] = mapped_column(primary_key=True)
    kind: Mapped[int]
    generation_a: Mapped[int]
    digest_a: Mapped[bytes]
    generation_b: Mapped[int | None]
    digest_b: Mapped[bytes | None]
