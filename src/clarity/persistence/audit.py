"""The trail in the database: rows that are only ever added."""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from itertools import chain
from operator import attrgetter
from typing import Any
from uuid import UUID

from sqlalchemy import BindParameter, CheckConstraint, Index, SmallInteger, bindparam, text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from clarity.domain.audit import Entry
from clarity.domain.errors import Unavailable
from clarity.persistence.direct import DirectStatement, on_postgresql, rows_over, within
from clarity.persistence.errors import translated
from clarity.persistence.tables import Base, table_of

_OF_THE_SYSTEM = text("role = 0 AND patient_id IS NULL")


class AuditEventRow(Base):
    """An audit event. `encoded` is the event; the other columns repeat parts of it to find it by.

    There are no foreign keys: an event outlives what it is about, and may be about what never existed.
    """

    __tablename__ = "audit_events"
    __table_args__ = (
        CheckConstraint("length(leaf) = 32 AND length(mac) = 32", name="digests"),
        Index(None, "patient_id", "at"),
        Index(None, "actor_id", "at"),
        # What went wrong or was refused is looked for by itself, and is little of all.
        Index(None, "outcome", "at", postgresql_where=text("outcome <> 1"), sqlite_where=text("outcome <> 1")),
        # Exports, few of all, are compared with the disclosures.
        Index(None, "id", postgresql_where=text("action = 36"), sqlite_where=text("action = 36")),
        # What the system does for many at once is an event that names nobody.
        Index(None, "role", "at", postgresql_where=_OF_THE_SYSTEM, sqlite_where=_OF_THE_SYSTEM),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    at: Mapped[datetime] = mapped_column(index=True)
    actor_id: Mapped[UUID]
    role: Mapped[int] = mapped_column(SmallInteger)
    action: Mapped[int] = mapped_column(SmallInteger)
    resource: Mapped[int] = mapped_column(SmallInteger)
    outcome: Mapped[int] = mapped_column(SmallInteger)
    patient_id: Mapped[UUID | None]
    request_id: Mapped[UUID] = mapped_column(index=True)
    encoded: Mapped[bytes]
    leaf: Mapped[bytes]
    mac: Mapped[bytes]


class AuditSubjectRow(Base):
    """That an event is about a record among several, so that "who saw this patient" finds lists too.

    `at` is the event's own, so that the latest are found first.
    """

    __tablename__ = "audit_subjects"
    __table_args__ = (Index(None, "record_id", "at"),)

    record_id: Mapped[UUID] = mapped_column(primary_key=True)
    event_id: Mapped[UUID] = mapped_column(primary_key=True)
    at: Mapped[datetime] = mapped_column(index=True)


_OF_ENTRY = {
    "id": "event.id",
    "at": "event.at",
    "actor_id": "event.actor",
    "role": "event.role",
    "action": "event.action",
    "resource": "event.resource",
    "outcome": "event.outcome",
    "patient_id": "event.patient",
    "request_id": "event.request",
    "encoded": "encoded",
    "leaf": "leaf",
    "mac": "mac",
}
"""Where in an entry the value of each column stands."""

_values_in: Callable[[Entry], tuple[Any, ...]] = attrgetter(*_OF_ENTRY.values())


def event_values(entry: Entry) -> dict[str, Any]:
    """Return the columns of the row for an entry."""
    return dict(zip(_OF_ENTRY, _values_in(entry), strict=True))


async def append(session: AsyncSession, entries: Sequence[Entry]) -> None:
    """Add events to the trail in the transaction of a session; those that are there already stay as they are."""
    if not on_postgresql(session):
        await _append_each(session, entries)
    elif entries:
        statement, in_order, named = _added(entries)
        await within(session, statement, *in_order, **named)


async def _append_each(session: AsyncSession | AsyncConnection, entries: Sequence[Entry]) -> None:
    """Add events to the trail in a file; those that are there already stay as they are."""
    for rows, values in _rows_of(entries):
        if values:
            await session.execute(sqlite.insert(table_of(rows)).on_conflict_do_nothing(), values)


def _rows_of(entries: Sequence[Entry]) -> tuple[tuple[type[Base], list[dict[str, Any]]], ...]:
    return (AuditEventRow, [event_values(entry) for entry in entries]), (AuditSubjectRow, _subjects_of(entries))


def _subjects_of(entries: Sequence[Entry]) -> list[dict[str, Any]]:
    return [
        {"record_id": record, "event_id": entry.event.id, "at": entry.event.at}
        for entry in entries
        if entry.event.patient is None
        for record in entry.event.ids
    ]


def _arrays(table: type[Base]) -> dict[str, BindParameter[Any]]:
    """Return a parameter for each column, an array with its values of all rows."""
    name = table.__tablename__
    return {column.name: bindparam(f"{name}_{column.name}", type_=ARRAY(column.type)) for column in table.__table__.c}


def _insert_of(table: type[Base]) -> str:
    arrays = _arrays(table)
    values = ", ".join(f":{one.key}" for one in arrays.values())
    into = ("INSERT INTO", table.__tablename__, f"({', '.join(arrays)})")
    return " ".join((*into, "SELECT * FROM", f"unnest({values})", "ON CONFLICT DO NOTHING"))


# One statement, which is a transaction of its own: one round trip where begin, two inserts and commit took four.
_AT_ONCE = DirectStatement(
    text(f"WITH told AS ({_insert_of(AuditEventRow)}) {_insert_of(AuditSubjectRow)}").bindparams(
        *_arrays(AuditEventRow).values(), *_arrays(AuditSubjectRow).values()
    )
)


# So many events are told row by row: each number of them is a statement, which each connection prepares.
_MOST_ROWS = 32


@cache
def _told(count: int) -> DirectStatement:
    """Return the statement that adds so many events, for their values row by row.

    An array for each column, and another table that gets nothing, take the server and the driver twice as long.
    """
    return DirectStatement(
        postgresql.insert(table_of(AuditEventRow))
        .values([{name: bindparam(f"{name}_{row}") for name in _OF_ENTRY} for row in range(count)])
        .on_conflict_do_nothing()
    )


def _added(entries: Sequence[Entry]) -> tuple[DirectStatement, Iterable[Any], Mapping[str, Any]]:
    """Return the statement that adds events, with the values of its parameters in order or by name."""
    if len(entries) <= _MOST_ROWS and not _subjects_of(entries):
        return _told(len(entries)), chain.from_iterable(map(_values_in, entries)), {}
    arrays = {
        f"{table.__tablename__}_{column.name}": [row[column.name] for row in rows]
        for table, rows in _rows_of(entries)
        for column in table.__table__.c
    }
    return _AT_ONCE, (), arrays


@dataclass(slots=True)
class SqlEventStore:
    """The trail's own connection, outside the pool. A connection that broke is closed and made anew."""

    connect: Callable[[], Awaitable[AsyncConnection]]
    turn: Callable[[], AbstractAsyncContextManager[None]]
    dialect: str
    _connection: AsyncConnection | None = field(default=None, init=False)

    async def append(self, entries: Sequence[Entry]) -> None:
        """Return once all of `entries` are durable."""
        try:
            with translated():
                connection = self._connection = self._connection or await self._connected()
                if self.dialect == "postgresql":
                    statement, in_order, named = _added(entries)
                    await rows_over(connection, statement, *in_order, **named)
                else:
                    async with self.turn(), connection.begin():
                        await _append_each(connection, entries)
        except BaseException:
            # Whatever state the connection is in, a new one starts clean; taking leave of it politely might hang.
            broken, self._connection = self._connection, None
            if broken is not None:
                with suppress(Exception):
                    await broken.invalidate()
                    await broken.close()
            raise

    async def aclose(self) -> None:
        """Close the connection."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()

    async def _connected(self) -> AsyncConnection:
        try:
            connection = await self.connect()
            if self.dialect == "postgresql":
                connection = await connection.execution_options(isolation_level="AUTOCOMMIT")
        except (SQLAlchemyError, OSError):
            # No entry is at fault while there is no connection, so whatever the reason, it is tried again.
            raise Unavailable from None
        return connection
