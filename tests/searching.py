"""The search of a server over a practice to test with."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from clarity.application.ports.search import ChangeFeed
from clarity.persistence.changes import SqlChangeFeed
from clarity.search.resident import ResidentSearch
from clarity.search.snapshot import Snapshot
from clarity.search.streaming import StreamingSearch
from clarity.security.keyring import Keyring
from tests.builders import TODAY
from tests.fakes.changes import MemoryChangeFeed
from tests.fakes.work import MemoryUnitsOfWork
from tests.practice import Practice


@asynccontextmanager
async def changes_in(practice: Practice, keyring: Keyring) -> AsyncIterator[ChangeFeed]:
    """Open what tells what changed in a practice."""
    if practice.database is None:
        units = practice.begin.__self__  # type: ignore[attr-defined]  # it is a bound method
        assert isinstance(units, MemoryUnitsOfWork)
        yield MemoryChangeFeed(lambda: units.tables)
        return
    feed = SqlChangeFeed(practice.database, keyring)
    try:
        yield feed
    finally:
        await feed.aclose()


async def unrecorded(count: int) -> None:
    """Leave the trail to the events that a test looks at."""
    del count


@asynccontextmanager
async def resident_search(
    practice: Practice, keyring: Keyring, snapshot: Snapshot | None = None, *, idle_seconds: float = 60
) -> AsyncIterator[ResidentSearch]:
    """Run an index over a practice."""
    async with changes_in(practice, keyring) as feed:
        search = ResidentSearch(
            feed,
            StreamingSearch(lambda: TODAY),
            unrecorded,
            today=lambda: TODAY,
            snapshot=snapshot,
            idle_seconds=idle_seconds,
            patience_seconds=20,
        )
        async with search.running():
            yield search
