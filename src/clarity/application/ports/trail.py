"""Where audit events go."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from clarity.domain.audit import AuditEvent, Entry
from clarity.domain.trail import TrailEntry, TrailLine, TrailPlace, TrailQuery


class Trail(Protocol):
    """The audit trail, for events outside a transaction."""

    async def record(self, events: Sequence[AuditEvent]) -> None:
        """Return once the events are durable. Raises `TrailUnavailable` if they cannot be, now."""
        ...


class EventStore(Protocol):
    """Where the trail keeps its entries, over one connection of its own that no request waits for.

    One task at a time uses it. It cancels what takes too long, which then ends promptly.
    """

    async def append(self, entries: Sequence[Entry]) -> None:
        """Return once all of `entries` are durable. An entry whose id is there already stays as it is.

        Connects if need be, and anew after each failure. Raises `Unavailable` if it should be tried again (the
        connection broke, the outcome is unknown), anything else if one of `entries` would be refused again.
        """
        ...

    async def aclose(self) -> None:
        """Close the connection."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class TrailPage:
    """Some of the events that meet a query. `resume` is behind which place to go on, or `None` if nothing is left.

    There may be fewer than were asked for, even none, and yet more behind: looking for what is rare ends at a bound.
    """

    entries: tuple[TrailEntry, ...]
    resume: TrailPlace | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TrailCount:
    """How many events meet a query; a lower bound unless `exact`."""

    count: int
    exact: bool


class TrailReader(Protocol):
    """The trail of one unit of work, to read. What is handed out needs an event of its own, like every record."""

    async def find_page(self, query: TrailQuery, *, after: TrailPlace | None, at_most: int) -> TrailPage:
        """Return at most `at_most` events that meet `query`, those behind `after`, in the order it asks for.

        The work is bounded, however long the trail is.
        """
        ...

    async def latest(self) -> datetime | None:
        """Return the instant of the latest event, which a clock may have dated ahead, or `None` if there is none."""
        ...

    async def count(self, query: TrailQuery) -> TrailCount:
        """Return how many events meet `query`, as far as that is told with bounded work."""
        ...


class TrailFormat(Protocol):
    """A way to write the trail down for other programs, in UTF-8."""

    @property
    def media_type(self) -> str:
        """What it is to those who receive it."""
        ...

    def head(self) -> bytes:
        """Return what comes before everything."""
        ...

    def written(self, lines: Iterable[TrailLine]) -> bytes:
        """Return some events, written down."""
        ...
