"""An event store in memory that goes wrong as it is told."""

import asyncio
from collections import deque
from collections.abc import Sequence
from enum import Enum, auto
from uuid import UUID

from clarity.domain.audit import Entry
from clarity.domain.errors import Unavailable


class Fault(Enum):
    """What may happen to one append."""

    NONE = auto()
    BREAKS_BEFORE_COMMIT = auto()
    BREAKS_AFTER_COMMIT = auto()
    SOCKET_DIES = auto()
    DRIVER_CANCELS = auto()
    HANGS = auto()
    HANGS_AFTER_COMMIT = auto()
    SLOW = auto()


class ScriptedStore:
    """An `EventStore`. Its appends meet the `faults` in order, and after the last of them go well.

    A slow one goes on when `gate` is set. `poison` has the ids that are refused, with an error that quotes
    what it should not. `begun` gets the number of entries of each append as it begins.
    """

    def __init__(self, *faults: Fault) -> None:
        self.faults = deque(faults)
        self.rows: dict[UUID, Entry] = {}
        self.inserted: list[UUID] = []
        self.batches: list[list[UUID]] = []
        self.poison: set[UUID] = set()
        self.gate = asyncio.Event()
        self.begun: asyncio.Queue[int] = asyncio.Queue()
        self.times_closed = 0

    async def append(self, entries: Sequence[Entry]) -> None:
        """Insert where the id is new, unless the script or the poison say otherwise."""
        fault = self.faults.popleft() if self.faults else Fault.NONE
        self.batches.append([entry.event.id for entry in entries])
        self.begun.put_nowait(len(entries))
        match fault:
            case Fault.BREAKS_BEFORE_COMMIT:
                raise Unavailable
            case Fault.SOCKET_DIES:
                raise ConnectionResetError
            case Fault.DRIVER_CANCELS:
                raise asyncio.CancelledError
            case Fault.HANGS:
                await asyncio.Event().wait()
            case Fault.SLOW:
                await self.gate.wait()
        if not self.poison.isdisjoint(entry.event.id for entry in entries):
            raise RuntimeError("check constraint violated by ('Ada Lovelace')")
        self._commit(entries)
        if fault is Fault.BREAKS_AFTER_COMMIT:
            raise Unavailable
        if fault is Fault.HANGS_AFTER_COMMIT:
            await asyncio.Event().wait()

    async def aclose(self) -> None:
        """Count that it was closed."""
        self.times_closed += 1

    def _commit(self, entries: Sequence[Entry]) -> None:
        for entry in entries:
            if entry.event.id not in self.rows:
                self.rows[entry.event.id] = entry
                self.inserted.append(entry.event.id)
