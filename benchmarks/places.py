"""One PostgreSQL server with a database for each side of a comparison, durable as a practice's would be."""

import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from sqlalchemy import make_url
from uuid_utils.compat import uuid7

from benchmarks.driver import connected
from benchmarks.loading import Practice, load
from benchmarks.peers import Place, side_named
from benchmarks.people import People, Person
from benchmarks.stores import settings_at, settings_for_this_machine
from clarity.upkeep import make_keys
from tests.servers import PostgresDatabases, postgres_server

_CONNECTIONS = "250"


@dataclass(slots=True)
class Places:
    """Makes places on one server. What is made is gone when the server is."""

    databases: PostgresDatabases
    folder: Path
    made: int = 0

    async def empty(self, side: str) -> Place:
        """Make a place for a side: for ours a migrated database and a folder for the keys, for others nothing yet."""
        self.made += 1
        folder = str(self.folder / f"{side}{self.made}")
        if side.startswith("ours"):
            name = await self.databases.create(beside=True)
            return Place(self.databases.application_of(name).url, self.databases.owner_of(name).url, folder)
        name = f"peer_{side}_{self.made}"
        await self.databases.run(f"CREATE DATABASE {name} TEMPLATE template0 ENCODING 'UTF8'")
        url = self.databases.owner_of(name).url
        return Place(url, url, folder)

    async def filled(self, side: str, people: Sequence[tuple[UUID, Person]]) -> Place:
        """Make a place where some people are there already."""
        place = await self.empty(side)
        async with side_named(side)(place) as peer:
            await peer.prepare()
            await peer.load(people)
        async with connected(place.owner_url) as owner:
            await owner.execute("VACUUM ANALYZE")
            await owner.execute("CHECKPOINT")
        return place

    async def copied(self, place: Place, side: str) -> Place:
        """Make a place for a side of ours that has what another has, with its keys."""
        name = await self.databases.create(template=make_url(place.owner_url).database, beside=True)
        urls = self.databases.application_of(name).url, self.databases.owner_of(name).url
        copy = Place(*urls, place.folder)
        async with side_named(side)(copy) as peer:
            await peer.prepare()
        return copy

    async def ours_of(self, patients: int, seed: int) -> Place:
        """Make a place for ours with so many patients, sealed and copied by every core."""
        place = await self.empty("ours")
        practice = Practice(place.folder, place.url, place.owner_url, "", seed, with_ssn=True)
        make_keys(practice.settings)
        await load(practice, 0, patients)
        return place

    async def settings(self) -> dict[str, str]:
        """Return the version of the server, and what is not as it comes."""
        return await settings_at(self.databases.server.url)

    async def connections(self, place: Place) -> int:
        """Return how many connections are open to the database of a place, besides the one that asks."""
        async with connected(place.owner_url) as owner:
            counted = "SELECT count(*) FROM pg_stat_activity WHERE datname = $1 AND pid <> pg_backend_pid()"
            return int(await owner.fetchval(counted, make_url(place.url).database))


@asynccontextmanager
async def places() -> AsyncIterator[Places]:
    """Run a server for places."""
    settings = {**settings_for_this_machine(), "max_connections": _CONNECTIONS}
    with tempfile.TemporaryDirectory(prefix="clarity-sides-") as folder, postgres_server(settings) as server:
        databases = PostgresDatabases(server, "wal_log")
        await databases.prepare()
        yield Places(databases, Path(folder))


def identified(people: People) -> Iterator[tuple[UUID, Person]]:
    """Return people with ids, the same for every side."""
    for person in people.some(0, people.count):
        yield uuid7(), person
