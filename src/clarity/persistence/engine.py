"""Connections to the database: one `Database` for each process, which writes, reads, and reads as of one instant."""

import asyncio
import os
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from types import MappingProxyType
from typing import Any

import asyncpg
from sqlalchemy import Connection, Dialect, NullPool, event, make_url
from sqlalchemy.engine.interfaces import ExceptionContext
from sqlalchemy.exc import DisconnectionError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession, async_sessionmaker, create_async_engine

from clarity.application.ports.telemetry import UNOBSERVED, DatabaseObserver, Kind, PoolState
from clarity.domain.errors import Misconfigured, PoolExhausted
from clarity.persistence.direct import Lent
from clarity.persistence.watch import KIND, Watch, WatchedPool, limit_statements_of_file, named, states_of

Sessions = async_sessionmaker[AsyncSession]

# Whoever waits for another process to finish writing to the SQLite file waits this long.
_BUSY_SECONDS = 5.0
# A firewall may forget a connection that nothing passed over; below this age nobody looks.
_IDLE_SECONDS = 30.0
_PING_SECONDS = 2.0
# The server ends a statement at its time limit; this much later the client stops hoping for an answer.
_GRACE_SECONDS = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineOptions:
    """Where to connect and how. `url` names an async driver; zero switches a time limit off."""

    url: str = field(repr=False)
    tls: ssl.SSLContext | str | None = None
    application_name: str = "clarity"
    connect_timeout_seconds: float = 10.0
    pool_size: int = 15
    max_overflow: int = 0
    pool_timeout_seconds: float = 30.0
    pool_recycle_seconds: int = 1800
    statement_timeout_ms: int = 30_000
    transaction_timeout_ms: int = 60_000
    idle_in_transaction_timeout_ms: int = 60_000
    slow_statement_ms: float = 250
    long_transaction_ms: float = 1_000
    echo: bool = False

    @property
    def dialect_name(self) -> str:
        """Return "postgresql" or "sqlite"."""
        return make_url(self.url).get_backend_name()

    def watched_by(self, observer: DatabaseObserver) -> Watch:
        """Return what watches this database and tells `observer`."""
        return Watch(
            observer=observer,
            slow_statement_seconds=self.slow_statement_ms / 1000,
            long_transaction_seconds=self.long_transaction_ms / 1000,
            transaction_timeout_seconds=self.transaction_timeout_ms / 1000,
        )


class Database:
    """The engines of one database. Whoever made it disposes of it."""

    def __init__(
        self,
        writing: AsyncEngine,
        reading: AsyncEngine,
        snapshot: AsyncEngine,
        trail: AsyncEngine,
        changes: AsyncEngine,
        turn: Callable[[], AbstractAsyncContextManager[None]],
        watch: Watch,
    ) -> None:
        self._lent = Lent(reading) if reading.dialect.name == "postgresql" else None
        lent = {} if self._lent is None else self._lent.offered
        self.writing: Sessions = async_sessionmaker(writing, expire_on_commit=False)
        """Sessions with a transaction."""
        self.reading: Sessions = async_sessionmaker(reading, expire_on_commit=False, **lent)
        """Sessions in which each statement stands alone."""
        self.snapshot: Sessions = async_sessionmaker(snapshot, expire_on_commit=False)
        """Sessions that read the database as it was at their first statement, and cannot write."""
        self.turn = turn
        """Waits until this process may write, in order of arrival; raises `PoolExhausted` after `pool_timeout`."""
        self.watch = watch
        """Bounds units of work, and tells of them."""
        self._trail = trail
        self._changes = changes
        self._engines = (writing, reading, snapshot, trail, changes)

    @property
    def dialect_name(self) -> str:
        """Return "postgresql" or "sqlite"."""
        return self._trail.dialect.name

    @property
    def dialects(self) -> frozenset[Dialect]:
        """Return the dialect of every engine, for `use_system_seal`."""
        return frozenset(engine.dialect for engine in self._engines)

    async def trail_connection(self) -> AsyncConnection:
        """Open a connection that no pool knows of. Whoever asked closes it."""
        return await self._trail.connect()

    async def changes_connection(self) -> AsyncConnection:
        """Open a connection that no pool knows of and that only reads. Whoever asked closes it."""
        return await self._changes.connect()

    def pools(self) -> list[PoolState]:
        """Return how each pool of connections stands."""
        return states_of([engine.sync_engine for engine in self._engines])

    async def dispose(self) -> None:
        """Close every connection that is not in use."""
        if self._lent is not None:
            await self._lent.aclose()
        for engine in self._engines:
            await engine.dispose()


def connect(options: EngineOptions, observer: DatabaseObserver = UNOBSERVED) -> Database:
    """Make the engines of a database. They connect when they are first used; an SQLite file is made at once.

    What happens at the database is told to `observer`.
    """
    watch = options.watched_by(observer)
    return _postgresql(options, watch) if options.dialect_name == "postgresql" else _sqlite(options, watch)


def unpooled(options: EngineOptions) -> AsyncEngine:
    """Make an engine that keeps no connections and whose transactions write, for migrations and for the trail."""
    if options.dialect_name == "postgresql":
        return _postgresql_engine(options, poolclass=NullPool)
    return _sqlite_engine(options, _SQLITE_WRITER, begin="BEGIN IMMEDIATE", poolclass=NullPool)


def _postgresql(options: EngineOptions, watch: Watch) -> Database:
    engine = _postgresql_engine(
        options,
        poolclass=WatchedPool,
        pool_size=options.pool_size,
        max_overflow=options.max_overflow,
        pool_timeout=options.pool_timeout_seconds,
        pool_recycle=options.pool_recycle_seconds,
        pool_use_lifo=True,
    )
    event.listen(engine.sync_engine, "checkin", _remember_use)
    event.listen(engine.sync_engine, "checkout", _check_connection)
    named(engine.pool, "all", watch.observer)
    watch.attach(engine.sync_engine)
    return Database(
        writing=engine,
        # The driver keeps the isolation level for itself until it begins, so that choosing one costs nothing.
        reading=_of_kind(engine, Kind.READ, isolation_level="AUTOCOMMIT"),
        snapshot=_of_kind(engine, Kind.READ, isolation_level="REPEATABLE READ", postgresql_readonly=True),
        trail=_trail(options, watch),
        changes=_of_kind(_postgresql_engine(options, _READS_ONLY, poolclass=NullPool), Kind.READ),
        turn=nullcontext,
        watch=watch,
    )


def _of_kind(engine: AsyncEngine, kind: Kind, **options: Any) -> AsyncEngine:
    return engine.execution_options(**options, **{KIND: kind})


def _trail(options: EngineOptions, watch: Watch) -> AsyncEngine:
    engine = unpooled(options)
    watch.attach(engine.sync_engine)
    return _of_kind(engine, Kind.TRAIL)


_READS_ONLY = {"default_transaction_read_only": "on"}


def _postgresql_engine(
    options: EngineOptions, settings: Mapping[str, str] = MappingProxyType({}), **pool: Any
) -> AsyncEngine:
    limit_ms = options.statement_timeout_ms
    engine = create_async_engine(
        options.url,
        echo=options.echo,
        hide_parameters=True,
        connect_args={
            "async_creator_fn": _connect,
            "ssl": options.tls,
            "timeout": options.connect_timeout_seconds,
            # For a server that answers no more at all; one that does enforces the limit itself.
            "command_timeout": limit_ms / 1000 + _GRACE_SECONDS if limit_ms else None,
            "server_settings": {
                "application_name": options.application_name,
                "statement_timeout": str(limit_ms),
                "idle_in_transaction_session_timeout": str(options.idle_in_transaction_timeout_ms),
                # Compiling takes longer than any of our statements: they fetch by index, a page at a time.
                "jit": "off",
                "timezone": "UTC",
                **settings,
            },
        },
        **pool,
    )
    event.listen(engine.sync_engine, "handle_error", _drop_what_timed_out)
    return engine


_open_connection: Callable[..., Awaitable[Any]] = asyncpg.connect


# The driver has no error of its own for it.
_NO_TLS = "rejected SSL upgrade"


async def _connect(*arguments: Any, **options: Any) -> Any:
    """Connect, and tell what an operator has to set right from what may pass."""
    try:
        return await _open_connection(*arguments, **options)
    except ssl.SSLCertVerificationError as exc:
        raise Misconfigured(f"the database's TLS certificate is not the one expected: {exc.verify_message}") from None
    except (asyncpg.InvalidAuthorizationSpecificationError, asyncpg.InvalidCatalogNameError) as exc:
        raise Misconfigured(
            f"the database turns us away ({exc.sqlstate}); check the role, the password and the name in its address"
        ) from None
    except OSError as exc:  # of a socket, of TLS, of looking up a name
        if _NO_TLS in str(exc):
            raise Misconfigured("the database speaks no TLS, and its address asks for it") from None
        raise ConnectionError("the database does not answer") from None


def _drop_what_timed_out(context: ExceptionContext) -> None:
    """Give up a connection whose server did not answer in time, rather than wait for it again in a rollback."""
    if isinstance(context.original_exception, TimeoutError):
        context.is_disconnect = True
        context.invalidate_pool_on_disconnect = False


def _remember_use(_connection: Any, record: Any) -> None:
    record.info["used_at"] = monotonic()


def _check_connection(connection: Any, record: Any, _proxy: Any) -> None:
    """Let the pool replace a connection that the server closed, or that a firewall may have forgotten.

    SQLAlchemy's own test before every use costs three round trips with this driver.
    """
    driver = connection.driver_connection
    idle_seconds = monotonic() - record.info.get("used_at", monotonic())
    if driver.is_closed():
        raise DisconnectionError
    if idle_seconds > _IDLE_SECONDS:
        try:
            # Not an empty statement: on a connection that ran none but prepared ones the driver fails at its answer.
            connection.run_async(lambda driver: driver.execute("SELECT 1", timeout=_PING_SECONDS))
        except (OSError, connection.dbapi.asyncpg.PostgresError, connection.dbapi.asyncpg.InterfaceError):
            driver.terminate()  # nobody there would hear that we leave
            raise DisconnectionError from None


# `synchronous` FULL keeps a commit through a loss of power. Freed pages are overwritten, so that what was deleted
# does not stay in the file. Without recursive triggers, INSERT OR REPLACE would delete past the triggers that
# keep the trail.
_SQLITE_SAFETY = """
PRAGMA synchronous = FULL;
PRAGMA secure_delete = ON;
PRAGMA foreign_keys = ON;
PRAGMA recursive_triggers = ON;
PRAGMA trusted_schema = OFF;
PRAGMA temp_store = MEMORY;
"""
_SQLITE_WRITER = f"PRAGMA journal_mode = WAL; {_SQLITE_SAFETY}"
_SQLITE_READER = f"{_SQLITE_SAFETY} PRAGMA query_only = ON;"


def _sqlite(options: EngineOptions, watch: Watch) -> Database:
    pool = WatchedPool
    writing = _sqlite_engine(
        options, _SQLITE_WRITER, begin="BEGIN IMMEDIATE", poolclass=pool, pool_size=1, max_overflow=0
    )
    readers: dict[str, Any] = {
        "poolclass": pool,
        "pool_size": options.pool_size,
        "max_overflow": options.max_overflow,
        "pool_timeout": options.pool_timeout_seconds,
    }
    # Nothing to roll back after single statements, and each attempt would be a trip to the connection's thread.
    reading = _sqlite_engine(options, _SQLITE_READER, skip_autocommit_rollback=True, **readers)
    snapshot = _sqlite_engine(options, _SQLITE_READER, begin="BEGIN", **readers)
    for name, engine in (("writing", writing), ("reading", reading), ("snapshot", snapshot)):
        named(engine.pool, name, watch.observer)
        watch.attach(engine.sync_engine)
    changes = _sqlite_engine(options, _SQLITE_READER, poolclass=NullPool)
    watch.attach(changes.sync_engine)
    return Database(
        writing=writing,
        reading=_of_kind(reading, Kind.READ),
        snapshot=_of_kind(snapshot, Kind.READ),
        trail=_trail(options, watch),
        changes=_of_kind(changes, Kind.READ),
        turn=_Turns(options.pool_timeout_seconds).next,
        watch=watch,
    )


def _sqlite_engine(options: EngineOptions, pragmas: str, *, begin: str = "", **pool: Any) -> AsyncEngine:
    """Make an engine that takes control of transactions from Python's driver, which would begin them too late."""
    _make_private_file(Path(make_url(options.url).database or ""))
    engine = create_async_engine(
        options.url,
        echo=options.echo,
        hide_parameters=True,
        connect_args={"isolation_level": None, "timeout": _BUSY_SECONDS},
        **pool,
    )

    def prepare(connection: Any, _record: Any) -> None:
        connection.run_async(lambda driver: driver.executescript(pragmas))

    def begin_transaction(connection: Connection) -> None:
        connection.exec_driver_sql(begin)

    def roll_back(connection: Any, _record: Any, _error: Any) -> None:
        # SQLite keeps a closed connection, and its lock on the file, until no statement of it is remembered any more.
        with suppress(connection.dbapi.Error, ValueError):
            connection.run_async(lambda driver: driver.rollback())

    event.listen(engine.sync_engine, "connect", prepare)
    event.listen(engine.sync_engine, "invalidate", roll_back)
    limit_statements_of_file(engine.sync_engine, options.statement_timeout_ms)
    if begin:
        event.listen(engine.sync_engine, "begin", begin_transaction)
    return engine


def _make_private_file(path: Path) -> None:
    """Make the file and its folder if they are missing, for their owner only; SQLite's other files take after it."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    except OSError as exc:
        raise Misconfigured(f"the database {path} cannot be opened: {exc.strerror}") from None


class _Turns:
    """One writer at a time, in order of arrival."""

    def __init__(self, timeout_seconds: float) -> None:
        self._timeout_seconds = timeout_seconds
        self._lock = asyncio.Lock()

    @asynccontextmanager
    async def next(self) -> AsyncIterator[None]:
        """Wait for one's turn, or raise `PoolExhausted` if it does not come in time."""
        try:
            async with asyncio.timeout(self._timeout_seconds):
                await self._lock.acquire()
        except TimeoutError:
            raise PoolExhausted from None
        try:
            yield
        finally:
            self._lock.release()
