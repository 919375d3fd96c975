"""What those who run the service see of it. Adapters tell it as it happens, or are asked how they stand.

Nothing that is told may come from a request or a record: it is names of tables, templates of routes, codes and
durations.
"""

from collections.abc import Sequence
from contextvars import ContextVar
from enum import StrEnum
from typing import NamedTuple, Protocol

from clarity.domain.ids import RequestId

current_request: ContextVar[RequestId | None] = ContextVar("current_request", default=None)
"""The request that is being answered, so that a line of the log can name it. Nothing is decided by it."""


class Kind(StrEnum):
    """What a statement or a transaction is for."""

    READ = "read"
    WRITE = "write"
    TRAIL = "trail"


class End(StrEnum):
    """How a transaction ended."""

    DONE = "done"
    ROLLED_BACK = "rolled back"
    LOST_RACE = "lost race"
    TIMED_OUT = "timed out"
    UNKNOWN = "unknown"


class Shape(NamedTuple):
    """What a statement is, without anything that is in it."""

    verb: str
    tables: tuple[str, ...]


class PoolState(NamedTuple):
    """How a pool of connections stands.

    `idle` and `in_use` count those that are open, `overflow` those of them beyond its size, `waiting` who wants one.
    """

    name: str
    size: int
    idle: int
    in_use: int
    overflow: int
    waiting: int


class DatabaseObserver(Protocol):
    """Is told what happens at the database. Durations are seconds."""

    def statement(self, shape: Shape, kind: Kind, seconds: float, *, slow: bool = False) -> None:
        """Tell of a statement that was answered."""
        ...

    def failed_statement(self, shape: Shape, kind: Kind, seconds: float, error: str, *, cancelled: bool) -> None:
        """Tell of a statement that was not; `error` is the class of its SQLSTATE or a word of ours."""
        ...

    def transaction(self, kind: Kind, seconds: float, end: End, *, long: bool) -> None:
        """Tell of a unit of work that ended."""
        ...

    def commit(self, seconds: float) -> None:
        """Tell how long a COMMIT took."""
        ...

    def connection(self, pool: str, seconds: float, *, in_time: bool) -> None:
        """Tell how long somebody waited for a connection, and whether they got one in time."""
        ...

    def recorded(self, seconds: float, *, durable: bool) -> None:
        """Tell how long somebody waited for the trail."""
        ...


class Watched(Protocol):
    """One request that is being answered."""

    @property
    def trace(self) -> str:
        """The id of its trace, 32 hexadecimal digits, or "" if there is none."""
        ...

    def ended(self, route: str, status: int, seconds: float) -> None:
        """Tell how it ended. `route` is the template of the path, `status` 0 if the client was gone before."""
        ...


class RequestObserver(Protocol):
    """Is told of requests."""

    def request(self, request: RequestId, method: str, parent: str = "") -> Watched:
        """Tell that a request begins; `method` is a known one or "other".

        `parent` is a W3C `traceparent` from somebody who is trusted. What is no such thing is left out.
        """
        ...

    def watch(self, gate: "GateSource") -> None:
        """Ask the gate from now on how many are inside."""
        ...


class GateSource(Protocol):
    """Tells how many requests are worked on, wait, and were turned away since the start."""

    @property
    def inside(self) -> int:
        """How many are worked on."""
        ...

    @property
    def waiting(self) -> int:
        """How many wait."""
        ...

    @property
    def shed(self) -> int:
        """How many were turned away."""
        ...


class PoolSource(Protocol):
    """Tells how pools stand."""

    def pools(self) -> Sequence[PoolState]:
        """Return the state of every pool."""
        ...


class TrailSource(Protocol):
    """Tells how the trail stands, and what it did since it was opened."""

    @property
    def depth(self) -> int:
        """How many events are not durable yet."""
        ...

    @property
    def delay_seconds(self) -> float:
        """How long the oldest of them has waited."""
        ...

    @property
    def events_written(self) -> int:
        """How many events were made durable."""
        ...

    @property
    def batches_written(self) -> int:
        """In how many batches."""
        ...

    @property
    def failures(self) -> int:
        """How many events were refused, given up or turned away."""
        ...

    @property
    def trouble(self) -> str:
        """Why an event recorded now would not be durable in time, "" if it should be."""
        ...


class SealSource(Protocol):
    """Tells how much was sealed and opened."""

    @property
    def seals(self) -> int:
        """How many values were sealed."""
        ...

    @property
    def opens(self) -> int:
        """How many were opened."""
        ...

    @property
    def failures(self) -> int:
        """How many did not open."""
        ...


class IndexState(StrEnum):
    """How a search index stands. It answers while it is `SERVING`, and at no other time."""

    LOADING = "loading"
    BUILDING = "building"
    SERVING = "serving"
    REBUILDING = "rebuilding"


class SearchSource(Protocol):
    """Tells how the search index of a server stands."""

    @property
    def state(self) -> IndexState:
        """What it does."""
        ...

    @property
    def patients(self) -> int:
        """How many patients are in it, or were taken in so far."""
        ...

    @property
    def memory_bytes(self) -> int:
        """How much memory it takes."""
        ...

    @property
    def lag_seconds(self) -> float:
        """How long ago it was up to date for certain."""
        ...

    @property
    def refreshes(self) -> int:
        """How often it was brought up to date."""
        ...

    @property
    def rebuilds(self) -> int:
        """How often it had to be built anew while it served."""
        ...


class Unobserved:
    """Is told everything and keeps nothing."""

    @property
    def trace(self) -> str:
        """No trace."""
        return ""

    def statement(self, shape: Shape, kind: Kind, seconds: float, *, slow: bool = False) -> None:
        """Keep nothing."""

    def failed_statement(self, shape: Shape, kind: Kind, seconds: float, error: str, *, cancelled: bool) -> None:
        """Keep nothing."""

    def transaction(self, kind: Kind, seconds: float, end: End, *, long: bool) -> None:
        """Keep nothing."""

    def commit(self, seconds: float) -> None:
        """Keep nothing."""

    def connection(self, pool: str, seconds: float, *, in_time: bool) -> None:
        """Keep nothing."""

    def recorded(self, seconds: float, *, durable: bool) -> None:
        """Keep nothing."""

    def request(self, request: RequestId, method: str, parent: str = "") -> "Unobserved":
        """Keep nothing."""
        del request, method, parent
        return self

    def ended(self, route: str, status: int, seconds: float) -> None:
        """Keep nothing."""

    def watch(self, gate: GateSource) -> None:
        """Keep nothing."""


UNOBSERVED = Unobserved()
