"""Where audit events go."""

from collections.abc import Sequence
from typing import Protocol

from clarity.domain.audit import AuditEvent, Entry


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
