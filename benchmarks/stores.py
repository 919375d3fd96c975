"""One PostgreSQL server for both sides, set up as a good administrator would for the machine it runs on."""

import os
import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from benchmarks import peer
from benchmarks.driver import connected
from benchmarks.loading import Practice
from clarity.upkeep import make_keys
from tests.servers import PostgresDatabases, postgres_server

DEBIAN = Path("/usr/lib/postgresql")
_TRIGRAMS = "pg_trgm.so"
_PEER = "plaintext"


def programs_with_trigrams() -> Path | None:
    """Return the newest PostgreSQL of Debian's on this machine that has `pg_trgm`, if there is one."""
    found = [version for version in DEBIAN.glob("*") if (version / "lib" / _TRIGRAMS).exists()]
    return max(found, key=lambda version: int(version.name)) / "bin" if found else None


def settings_for_this_machine() -> dict[str, str]:
    """Return what is set otherwise than by default: a quarter of memory for buffers, at most 4 GB, and fast disks."""
    megabytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20
    return {
        "shared_buffers": f"{min(megabytes // 4, 4096)}MB",
        "effective_cache_size": f"{megabytes // 2}MB",
        "work_mem": "64MB",
        "maintenance_work_mem": "512MB",
        "random_page_cost": "1.1",
        "effective_io_concurrency": "200",
        "max_wal_size": "8GB",
        "checkpoint_timeout": "15min",
        "fsync": "on",
        "full_page_writes": "on",
        "synchronous_commit": "on",
        "autovacuum": "on",
        "max_connections": "50",
    }


@asynccontextmanager
async def prepared(seed: int, *, with_peer: bool) -> AsyncIterator[Practice]:
    """Run a server with an empty practice, and beside it the peer's empty table; both are gone afterwards."""
    async with AsyncExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="clarity-search-"))
        programs = programs_with_trigrams() if with_peer else None
        server = stack.enter_context(postgres_server(settings_for_this_machine(), programs=programs))
        databases = PostgresDatabases(server, "wal_log")
        await databases.prepare()
        name = await databases.create()
        peer_url = ""
        if programs is not None:
            await databases.run(f"CREATE DATABASE {_PEER} TEMPLATE template0 ENCODING 'UTF8'")
            peer_url = databases.owner_of(_PEER).url
            async with connected(peer_url) as plain:
                await peer.make_table(plain)
        practice = Practice(
            data_dir=str(Path(folder) / "data"),
            url=databases.application_of(name).url,
            owner_url=databases.owner_of(name).url,
            peer_url=peer_url,
            seed=seed,
        )
        make_keys(practice.settings)
        yield practice


async def shown_settings(practice: Practice) -> dict[str, str]:
    """Return the version of the server, and what is not as it comes."""
    return await settings_at(practice.owner_url)


async def settings_at(url: str) -> dict[str, str]:
    """Return the version of the server at `url`, and what is not as it comes."""
    async with connected(url) as connection:
        rows = await connection.fetch(
            "SELECT name, current_setting(name) AS value FROM pg_settings"
            " WHERE source IN ('command line', 'configuration file') AND name = ANY($1) ORDER BY name",
            [*settings_for_this_machine(), "jit", "max_parallel_workers_per_gather"],
        )
        version = await connection.fetchval("SHOW server_version")
        return {"server_version": version, **{row["name"]: row["value"] for row in rows}}


async def size_of(url: str) -> int:
    """Return how many bytes a database takes on disk."""
    async with connected(url) as connection:
        return int(await connection.fetchval("SELECT pg_database_size(current_database())"))
