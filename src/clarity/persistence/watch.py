"""Watching the database: what is slow is logged and counted, and what takes too long is ended.

Of a statement nothing is told but its verb and the names of our own tables. Its text holds no content, as every value
is a bound parameter, but that is a promise of many places, and this one need not rely on it.
"""

import asyncio
import logging
import re
from asyncio import CancelledError
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from time import monotonic, perf_counter
from types import TracebackType
from typing import Any, Self

from sqlalchemy import AsyncAdaptedQueuePool, Connection, Engine, PoolProxiedConnection, event
from sqlalchemy.engine.interfaces import ExceptionContext
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from clarity.application.ports.telemetry import (
    UNOBSERVED,
    DatabaseObserver,
    End,
    Kind,
    PoolState,
    Shape,
    current_request,
)
from clarity.domain.errors import OutcomeUnknown, TimedOut, Transient
from clarity.persistence.errors import state_in, state_of
from clarity.persistence.tables import Base

KIND = "clarity_kind"
"""The execution option of an engine that says what its statements are for."""

_WATCH = "clarity_watch"

_VERBS = frozenset({"SELECT", "INSERT", "UPDATE", "DELETE", "BEGIN"})
_WRITES = re.compile("INSERT|UPDATE|DELETE")
_NAMED = re.compile(r'(?:FROM|JOIN|INTO|UPDATE|,)\s+"?([a-z_]+)')
# PostgreSQL, appendix A: the classes that can reach us; what SQLite calls its own; and ours.
_CLASSES = frozenset({"08", "0A", "22", "23", "25", "28", "3D", "40", "42", "53", "54", "55", "57", "58", "XX"})
_OF_SQLITE = frozenset(
    {"BUSY", "CANTOPEN", "CONSTRAINT", "CORRUPT", "FULL", "INTERRUPT", "IOERR", "LOCKED", "READONLY"}
)
_AT_ITS_LIMIT = frozenset({"57014", "SQLITE_INTERRUPT"})
# So many steps of SQLite's machine take some tenths of a millisecond; a look at the clock takes a thousandth of that.
_STEPS = 20_000

_log = logging.getLogger(__name__)


@lru_cache(maxsize=2048)
def shape_of(statement: str) -> Shape:
    """Return the verb of a statement and the tables it names, in their order, without repetition.

    The verb of several statements in one is that of the first that writes.
    """
    verb = statement.lstrip()[:6].partition(" ")[0].upper()
    if verb == "WITH":
        writes = _WRITES.search(statement)
        verb = "SELECT" if writes is None else writes[0]
    names = dict.fromkeys(_NAMED.findall(statement))
    tables = tuple(name for name in names if name in Base.metadata.tables)
    return Shape(verb if verb in _VERBS else "OTHER", tables)


def class_of(state: str) -> str:
    """Return the class of a SQLSTATE or of SQLite's result code, out of a closed set."""
    if state.startswith("SQLITE_"):
        name = state.split("_")[1]
        return name if name in _OF_SQLITE else "other"
    return state[:2] if state[:2] in _CLASSES else "other"


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """What is told of one database, and when something is slow. Zero switches a limit off."""

    observer: DatabaseObserver = UNOBSERVED
    slow_statement_seconds: float = 0.25
    long_transaction_seconds: float = 1.0
    transaction_timeout_seconds: float = 60.0
    limits: "Limits" = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Begin with nothing under way."""
        object.__setattr__(self, "limits", Limits(self.transaction_timeout_seconds))

    def attach(self, engine: Engine) -> None:
        """Watch the statements of an engine, and of those that share its connections."""

        def began(_connection: Any, _cursor: Any, _statement: Any, _values: Any, context: Any, _many: Any) -> None:
            context.clarity_began = perf_counter()

        def ended(connection: Connection, _cursor: Any, statement: str, _values: Any, context: Any, _many: Any) -> None:
            self._answered(connection, statement, perf_counter() - context.clarity_began)

        engine.update_execution_options(**{_WATCH: self})
        event.listen(engine, "before_cursor_execute", began)
        event.listen(engine, "after_cursor_execute", ended)
        event.listen(engine, "handle_error", self._failed)

    def transaction(self, kind: Kind) -> "Transaction":
        """Return what watches one unit of work while it has a connection."""
        return Transaction(self, kind)

    def _answered(self, connection: Connection, statement: str, seconds: float) -> None:
        self.answered(shape_of(statement), _kind_of(connection), seconds)

    def answered(self, shape: Shape, kind: Kind, seconds: float) -> None:
        """Tell of a statement that was answered; for whoever asks a driver itself."""
        slow = 0 < self.slow_statement_seconds <= seconds
        self.observer.statement(shape, kind, seconds, slow=slow)
        if slow:
            _tell("slow statement", kind, seconds, verb=shape.verb, tables=",".join(shape.tables) or "-")

    def _failed(self, failure: ExceptionContext) -> None:
        began = getattr(failure.execution_context, "clarity_began", None)
        if failure.connection is None or failure.statement is None or began is None:
            return
        kind, cause = _kind_of(failure.connection), failure.original_exception
        told = failure.sqlalchemy_exception
        state = state_of(told) if isinstance(told, DBAPIError) else ""
        self._gave_up(shape_of(failure.statement), kind, perf_counter() - began, cause, state)

    def failed(self, shape: Shape, kind: Kind, seconds: float, cause: BaseException) -> None:
        """Tell of a statement that was not answered; for whoever asks a driver itself."""
        self._gave_up(shape, kind, seconds, cause, state_in(cause))

    def _gave_up(self, shape: Shape, kind: Kind, seconds: float, cause: BaseException, state: str) -> None:
        # The server's own limit, ours for a file, or the driver's for a server that does not answer.
        cancelled = state in _AT_ITS_LIMIT or isinstance(cause, TimeoutError)
        gone = isinstance(cause, CancelledError)
        error = "interrupted" if gone else "timeout" if cancelled and not state else class_of(state)
        self.observer.failed_statement(shape, kind, seconds, error, cancelled=cancelled)
        if cancelled:
            _tell("cancelled statement", kind, seconds, verb=shape.verb, tables=",".join(shape.tables) or "-")


class Limits:
    """Cuts short the units of work of one event loop that take longer than `seconds`.

    All have the same time, so those that began first end first, and one timer for all costs each of them nothing.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._under_way: dict[Transaction, float] = {}
        """When each has to end, in this order."""
        self._look: asyncio.TimerHandle | None = None

    def set_on(self, transaction: "Transaction") -> None:
        """Let one end in time that begins now."""
        if not self._seconds:
            return
        self._under_way[transaction] = monotonic() + self._seconds
        if self._look is None:
            self._look = asyncio.get_running_loop().call_later(self._seconds, self._look_again)

    def lift(self, transaction: "Transaction") -> None:
        """Let one take its time from now on."""
        self._under_way.pop(transaction, None)

    def _look_again(self) -> None:
        """Cut short what had its time, and look again when the next will have."""
        self._look = None
        now = monotonic()
        for transaction, until in list(self._under_way.items()):
            if until > now:
                self._look = asyncio.get_running_loop().call_later(until - now, self._look_again)
                return
            self.lift(transaction)
            transaction.cut_short()


class Transaction:
    """One unit of work: ended with `TimedOut` when its time is over, but never while it commits."""

    __slots__ = ("_began", "_kind", "_seconds", "_task", "_was_cut_short", "_watch")

    def __init__(self, watch: Watch, kind: Kind) -> None:
        self._watch = watch
        self._kind = kind
        self._seconds = 0.0
        self._began = perf_counter()
        self._task: Any = None
        self._was_cut_short = False

    async def __aenter__(self) -> Self:
        self._began = perf_counter()
        self._task = asyncio.current_task()
        self._watch.limits.set_on(self)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._seconds = perf_counter() - self._began
        self._watch.limits.lift(self)
        if self._was_cut_short:  # whatever the cancellation became on its way here
            self._task.uncancel()
            raise TimedOut from None

    def cut_short(self) -> None:
        """Cancel the task that it is done in: its time is over."""
        self._was_cut_short = True
        self._task.cancel()

    @contextmanager
    def committing(self) -> Iterator[None]:
        """Lift the limit for the COMMIT inside, of which nobody may say how it ended if it is cut short."""
        if self._was_cut_short:
            raise TimedOut
        self._watch.limits.lift(self)
        began = perf_counter()
        yield
        self._watch.observer.commit(perf_counter() - began)

    def ended(self, error: BaseException | None = None) -> None:
        """Tell how the unit of work ended, and warn if it took long."""
        long = 0 < self._watch.long_transaction_seconds <= self._seconds
        end = _end_of(error)
        self._watch.observer.transaction(self._kind, self._seconds, end, long=long)
        if long:
            _tell("long transaction", self._kind, self._seconds, end=end.replace(" ", "-"))


def _end_of(error: BaseException | None) -> End:
    if error is None:
        return End.DONE
    ends = ((TimedOut, End.TIMED_OUT), (OutcomeUnknown, End.UNKNOWN), (Transient, End.LOST_RACE))
    return next((end for kind, end in ends if isinstance(error, kind)), End.ROLLED_BACK)


def _kind_of(connection: Connection | Engine) -> Kind:
    kind: Kind = connection.get_execution_options().get(KIND, Kind.WRITE)
    return kind


def watch_of(connection: Connection | Engine) -> tuple[Watch, Kind]:
    """Return what watches a connection, or those of an engine, and what its statements are for."""
    return connection.get_execution_options()[_WATCH], _kind_of(connection)


def _tell(what: str, kind: Kind, seconds: float, **more: str) -> None:
    request = current_request.get()
    milliseconds = round(seconds * 1_000, 1)
    fields = {"request": str(request or "-"), "kind": kind.value, **more, "duration_ms": milliseconds}
    _log.warning("%s %s", what, " ".join(f"{name}={value}" for name, value in fields.items()), extra={"fields": fields})


@dataclass(slots=True)
class _Deadline:
    """When the statement that runs on one connection has to end."""

    at: float = field(default=float("inf"))

    def is_over(self) -> int:
        """Tell SQLite whether to interrupt it. Called in the connection's own thread."""
        return int(monotonic() > self.at)


def limit_statements_of_file(engine: Engine, timeout_ms: int) -> None:
    """End the statements of an SQLite engine after `timeout_ms`, as a server does, and when nobody waits any more."""
    seconds = timeout_ms / 1000

    def prepare(connection: Any, record: Any) -> None:
        deadline = record.info[_Deadline] = _Deadline()
        connection.run_async(lambda driver: driver.set_progress_handler(deadline.is_over, _STEPS))

    def begin(connection: Connection, *_: Any) -> None:
        connection.info[_Deadline].at = monotonic() + seconds

    def end(connection: Connection, *_: Any) -> None:
        connection.info[_Deadline].at = float("inf")

    def give_up(failure: ExceptionContext) -> None:
        if failure.connection is not None and not failure.connection.invalidated:
            # Who was cancelled leaves a statement running in the connection's thread, and others wait behind it.
            gone = isinstance(failure.original_exception, CancelledError)
            failure.connection.info[_Deadline].at = 0.0 if gone else float("inf")

    if timeout_ms:
        event.listen(engine, "connect", prepare)
        event.listen(engine, "before_cursor_execute", begin)
        event.listen(engine, "after_cursor_execute", end)
        event.listen(engine, "handle_error", give_up)


class WatchedPool(AsyncAdaptedQueuePool):
    """A pool of connections that counts who waits for one."""

    # What the library logs of a pool, with messages of exceptions in it, must not be taken for a log of ours.
    _sqla_logger_namespace = "sqlalchemy.pool.WatchedPool"

    name = "all"
    observer: DatabaseObserver = UNOBSERVED
    waiting = 0

    def connect(self) -> PoolProxiedConnection:
        """Return a connection."""
        began, in_time = perf_counter(), True
        self.waiting += 1
        try:
            return super().connect()
        except PoolTimeout:
            in_time = False
            raise
        finally:
            self.waiting -= 1
            self.observer.connection(self.name, perf_counter() - began, in_time=in_time)

    def recreate(self) -> "WatchedPool":
        """Return an empty pool like this one."""
        pool = super().recreate()
        return named(pool, self.name, self.observer)

    @property
    def state(self) -> PoolState:
        """How the pool stands."""
        overflow = max(0, self.overflow())
        return PoolState(self.name, self.size(), self.checkedin(), self.checkedout(), overflow, self.waiting)


def named(pool: Any, name: str, observer: DatabaseObserver) -> WatchedPool:
    """Return the pool of an engine, given a name and somebody to tell of it."""
    watched: WatchedPool = pool
    watched.name, watched.observer = name, observer
    return watched


def states_of(engines: Sequence[Engine]) -> list[PoolState]:
    """Return how the pools of some engines stand, each once."""
    pools = {id(engine.pool): engine.pool for engine in engines}
    return [pool.state for pool in pools.values() if isinstance(pool, WatchedPool)]
