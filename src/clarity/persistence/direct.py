"""Statements of which PostgreSQL's driver is asked itself, since they run with every read.

What lies before the driver takes several times as long as the driver and the server together take for a record. Such a
statement is built like all others, and compiled once; the watch is told of it as of any other.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import cached_property, partial
from itertools import repeat
from time import perf_counter
from typing import Any, TypeVar

from asyncpg.exceptions import InterfaceError as DriverMisused
from asyncpg.exceptions import InternalClientError as DriverConfused
from asyncpg.exceptions import PostgresError
from sqlalchemy import BindParameter, ClauseElement, Connection, Dialect
from sqlalchemy.dialects.postgresql import asyncpg
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession
from sqlalchemy.orm import Session, SessionTransaction
from sqlalchemy.util import await_, greenlet_spawn

from clarity.application.ports.telemetry import Kind, Shape
from clarity.persistence.errors import state_in
from clarity.persistence.gathering import Answer, Gathering, Key
from clarity.persistence.watch import Watch, shape_of, watch_of

# PostgreSQL, appendix A: connection exceptions, and a server that ends or ended this connection.
_LOST = ("08", "57P")
# Data exceptions, and what is damaged.
_OF_A_VALUE = ("22", "XX")
# What the cursor remembers of a statement does not hold any more after DDL.
_OUTDATED = "0A000"
_BEGAN = "clarity_began"

Id = TypeVar("Id")

_dialect: Callable[[], Dialect] = asyncpg.dialect
_CursorFailed: type[Exception] = asyncpg.AsyncAdapt_asyncpg_dbapi.Error


# PostgreSQL, `estimate_array_length`: how long an array of unknown length is taken to be.
_GUESSED = 10


def array_of(ids: Sequence[Id]) -> list[Id | None]:
    """Return `ids` as an array parameter, if they are few followed by what is nobody's id.

    For an array that is shorter than it guesses, the server would plan each time anew, which takes longer than to find
    what is asked for.
    """
    return [*ids, *repeat(None, _GUESSED - len(ids))]


class DirectStatement:
    """A statement whose parameters and results are what the driver takes and gives: ids, instants, numbers, bytes."""

    def __init__(self, statement: ClauseElement) -> None:
        """Take a statement, to compile it when it is first asked. A parameter called for its value is called each time.

        One that has a name has to be given a value each time, even where the statement was built with one: that was
        somebody's, and the statement may run for another.
        """
        self._statement = statement

    @cached_property
    def _compiled(self) -> Any:
        return self._statement.compile(dialect=_dialect())

    @cached_property
    def text(self) -> str:
        """What the driver is asked."""
        return str(self._compiled)

    @cached_property
    def shape(self) -> Shape:
        """By which the watch tells one statement from another."""
        return shape_of(self.text)

    @cached_property
    def _parameters(self) -> list[tuple[str, BindParameter[Any] | None]]:
        return [(name, _own(self._compiled.binds[name])) for name in self._compiled.positiontup]

    def values(self, given: Mapping[str, Any], in_order: Sequence[Any] = ()) -> Sequence[Any]:
        """Return the value of each parameter in the order of the text, in which they may be given too."""
        return in_order or [
            given[name] if own is None or name in given else own.effective_value for name, own in self._parameters
        ]


def _own(parameter: BindParameter[Any]) -> BindParameter[Any] | None:
    """Return a parameter that has a value of its own, `None` for one that has a name."""
    return None if parameter.callable is None and not parameter.unique else parameter


class Lent:
    """Connections of a pool, each lent to one statement that is a transaction of its own."""

    def __init__(self, engine: AsyncEngine) -> None:
        """Take them from the pool of `engine`, and tell what watches it."""
        self._engine = engine.sync_engine
        self._watch, self._kind = watch_of(self._engine)
        self._gathered: dict[object, Gathering[Any, Any]] = {}

    @classmethod
    def to(cls, session: AsyncSession) -> "Lent | None":
        """Return what lends connections to a session whose statements stand alone; `None` to any other."""
        return session.lent if isinstance(session, LentSession) else None

    @property
    def offered(self) -> dict[str, Any]:
        """How sessions are made that may be lent them."""
        return {"class_": LentSession, "lent": self}

    def gathered(
        self, what: object, ask: "Callable[[Lent, Sequence[Key]], Awaitable[Mapping[Key, Answer]]]"
    ) -> "Gathering[Key, Answer]":
        """Return what gathers the keys that `ask` is asked for: one for each `what`, whose `ask` is always the same."""
        gathering = self._gathered.get(what)
        if gathering is None:
            gathering = self._gathered[what] = Gathering(partial(ask, self), is_of_one=_is_of_one)
        return gathering

    async def aclose(self) -> None:
        """Leave no statement under way that was gathered."""
        for gathering in self._gathered.values():
            await gathering.aclose()

    async def rows(self, statement: DirectStatement, **values: Any) -> Sequence[Any]:
        """Return the rows. Raises the driver's own errors, which `translated` knows.

        If the connection is lost, another is asked, once: what reads may be asked again, and many may wait for it.
        """
        asked = statement.values(values)
        try:
            return await self._once(statement, asked)
        except (ConnectionError, DriverMisused, DriverConfused, PostgresError) as exc:
            if isinstance(exc, PostgresError) and not state_in(exc).startswith(_LOST):
                raise
        return await self._once(statement, asked)

    async def _once(self, statement: DirectStatement, values: Sequence[Any]) -> Sequence[Any]:
        rows: Sequence[Any] = await greenlet_spawn(self._rows, statement, values)
        return rows

    def _rows(self, statement: DirectStatement, values: Sequence[Any]) -> Any:
        lent = self._engine.pool.connect()
        try:
            return await_(_asked(lent.driver_connection, statement, values, self._watch, self._kind))
        except BaseException as exc:
            if not isinstance(exc, PostgresError):
                # Nobody knows what state it is in, nor whether an answer is still to come.
                lent.invalidate()
            raise
        finally:
            lent.close()


class LentSession(AsyncSession):
    """A session whose statements stand alone, and may be asked of the driver by a connection that is `lent`.

    It becomes a session when it is used as one for the first time. Few reads do, and to make a session takes as long as
    to decide about a record.
    """

    def __init__(self, bind: AsyncEngine | None = None, *, lent: Lent, **options: Any) -> None:
        self.lent = lent
        self._unmade: dict[str, Any] | None = {"bind": bind, **options}

    def __getattr__(self, name: str) -> Any:
        # Nothing is missed any more of what has become a session.
        options, self._unmade = self._unmade, None
        if options is None:
            raise AttributeError(name)
        super().__init__(**options)
        return getattr(self, name)

    def in_transaction(self) -> bool:
        """Tell whether it has a connection."""
        return self._unmade is None and super().in_transaction()


def _is_of_one(exc: Exception) -> bool:
    """Tell whether one record may be at fault: damaged, or with a value that cannot be."""
    return isinstance(exc, PostgresError) and state_in(exc).startswith(_OF_A_VALUE)


def on_postgresql(session: AsyncSession) -> bool:
    """Tell whether a session is of PostgreSQL, whose driver such statements are for."""
    return session.get_bind().dialect.name == "postgresql"


async def within(session: AsyncSession, statement: DirectStatement, *in_order: Any, **values: Any) -> Sequence[Any]:
    """Return the rows of a statement in the transaction of a session; of one that has none, nothing.

    Raises the driver's own errors, which `translated` knows, and those of whoever is asked for a connection.
    """
    rows: Sequence[Any] = await session.run_sync(_within, statement, statement.values(values, in_order))
    return rows


def _within(session: Session, statement: DirectStatement, values: Sequence[Any]) -> Sequence[Any]:
    began: tuple[SessionTransaction, Connection] | None = session.info.get(_BEGAN)
    is_first = began is None or began[0] is not session.get_transaction()
    connection = session.connection() if began is None or is_first else began[1]
    try:
        if is_first:
            rows = _begun_with(connection, statement, values)
            session.info[_BEGAN] = session.get_transaction(), connection
            return rows
        return await_(_asked(connection.connection.driver_connection, statement, values, *watch_of(connection)))
    except BaseException as exc:
        if not isinstance(exc, PostgresError) or state_in(exc) == _OUTDATED:
            connection.invalidate()  # as SQLAlchemy does: nobody knows what state it is in
        raise


def _begun_with(connection: Connection, statement: DirectStatement, values: Sequence[Any]) -> Sequence[Any]:
    """Return the rows of the first statement of a transaction, which SQLAlchemy's cursor begins with it.

    Its engine takes several times as long around that as the cursor and the driver together.
    """
    watch, kind = watch_of(connection)
    began = perf_counter()
    try:
        rows = _by_cursor(connection.connection.cursor(), statement, values)
    except BaseException as exc:
        watch.failed(statement.shape, kind, perf_counter() - began, exc)
        raise
    watch.answered(statement.shape, kind, perf_counter() - began)
    return rows


def _by_cursor(cursor: Any, statement: DirectStatement, values: Sequence[Any]) -> Sequence[Any]:
    try:
        cursor.execute(statement.text, values)
    except _CursorFailed as exc:
        raise exc.__cause__ or exc from None
    rows: Sequence[Any] = cursor.fetchall()
    return rows


async def rows_over(
    connection: AsyncConnection, statement: DirectStatement, *in_order: Any, **values: Any
) -> Sequence[Any]:
    """Return the rows by a connection of one's own that is not in a transaction. Raises the driver's own errors.

    After any of them the connection is to be given up.
    """
    inner: Any = connection.sync_connection
    asked = statement.values(values, in_order)
    return await _asked(inner.connection.driver_connection, statement, asked, *watch_of(inner))


async def _asked(
    driver: Any, statement: DirectStatement, values: Sequence[Any], watch: Watch, kind: Kind
) -> Sequence[Any]:
    began = perf_counter()
    try:
        rows: Sequence[Any] = await driver.fetch(statement.text, *values)
    except BaseException as exc:
        watch.failed(statement.shape, kind, perf_counter() - began, exc)
        raise
    watch.answered(statement.shape, kind, perf_counter() - began)
    return rows
