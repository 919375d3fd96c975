"""What goes wrong in a soak. Each fault is injected, lasts a moment, and is healed before the next."""

import asyncio
import random
import signal
import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

from sqlalchemy import make_url, text

from tests.proxies import AtCommit, FaultProxy
from tests.servers import opened
from tests.soak.stand import Server, Stand

Fault = Callable[[Stand, random.Random], Awaitable[None]]


def faults_of(dialect: str) -> dict[str, Fault]:
    """Return what may happen to a practice on a kind of database, by name."""
    if dialect == "sqlite":
        return {**_OF_SERVERS, "lock-file": _lock_file}
    return {**_OF_SERVERS, **_OF_POSTGRESQL, **_OF_CONNECTIONS}


def order(names: list[str], count: int, chance: random.Random) -> list[str]:
    """Return `count` faults: as many of each kind as of any other, in an order of chance."""
    rounds = [name for _ in range(-(-count // len(names))) for name in chance.sample(names, len(names))]
    return rounds[:count]


async def _kill_server(stand: Stand, chance: random.Random) -> None:
    server = chance.choice(stand.servers)
    server.signal(signal.SIGKILL)
    await server.ended()
    server.start()


async def _stop_server(stand: Stand, chance: random.Random) -> None:
    server = chance.choice(stand.servers)
    server.signal(signal.SIGTERM)
    await server.ended()
    server.start()


async def _freeze_server(stand: Stand, chance: random.Random) -> None:
    server: Server = chance.choice(stand.servers)
    server.signal(signal.SIGSTOP)
    await asyncio.sleep(chance.uniform(0.2, 3))
    server.signal(signal.SIGCONT)


async def _lock_file(stand: Stand, chance: random.Random) -> None:
    path = Path(make_url(stand.direct.url).database or "")
    await asyncio.to_thread(_hold_file, path, chance.uniform(0.5, 7))


def _hold_file(path: Path, seconds: float) -> None:
    """Keep writers out, as a copy of the file by another process does."""
    connection = sqlite3.connect(path, timeout=5, isolation_level=None)
    try:
        connection.execute("BEGIN IMMEDIATE")
        with suppress(TimeoutError):
            asyncio.run(asyncio.wait_for(asyncio.sleep(60), seconds))
        connection.execute("ROLLBACK")
    finally:
        connection.close()


async def _kill_postgres(stand: Stand, _chance: random.Random) -> None:
    assert stand.postgres is not None
    await asyncio.to_thread(stand.postgres.kill)
    await asyncio.to_thread(stand.postgres.start)


async def _lock(table: str, mode: str, stand: Stand, chance: random.Random) -> None:
    """Keep everybody away from a table, as a migration may, for longer than statements may take or for less."""
    assert stand.databases is not None
    async with opened(stand.databases.as_owner(stand.direct)) as database, database.writing() as session:
        await session.execute(text("SET lock_timeout = '10s'"))
        await session.execute(text(f"LOCK TABLE {table} IN {mode} MODE"))
        await asyncio.sleep(chance.uniform(0.3, 4))


async def _end_sessions(stand: Stand, chance: random.Random) -> None:
    assert stand.databases is not None
    # Not those of whoever made the role, which would include our own.
    ended = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{}'"
    statement = ended.format(stand.databases.role)
    for _ in range(chance.randint(1, 3)):
        await stand.databases.run(statement)
        await asyncio.sleep(0.1)


async def _revoke_trail(stand: Stand, chance: random.Random) -> None:
    assert stand.databases is not None
    name, role = make_url(stand.direct.url).database, stand.databases.role
    await stand.databases.run(f"REVOKE INSERT ON audit_events FROM {role}", database=name)
    try:
        await asyncio.sleep(chance.uniform(0.2, 2))
    finally:
        await stand.databases.run(f"GRANT INSERT ON audit_events TO {role}", database=name)


async def _at_commit(how: AtCommit, stand: Stand, chance: random.Random) -> None:
    proxy = _proxy(stand)
    for _ in range(chance.randint(1, 3)):
        proxy.strike(how)
        with suppress(TimeoutError):
            async with asyncio.timeout(5):
                await proxy.struck.wait()
        if how is AtCommit.HOLD:
            await asyncio.sleep(chance.choice((0.5, 2, 9)))
            proxy.release()
    proxy.heal()


async def _slow(stand: Stand, chance: random.Random) -> None:
    _proxy(stand).delay_seconds = chance.uniform(0.005, 0.3)
    await _a_while(stand, chance)


async def _throttle(stand: Stand, chance: random.Random) -> None:
    _proxy(stand).bytes_per_second = chance.randint(2_000, 50_000)
    await _a_while(stand, chance)


async def _blackhole(stand: Stand, chance: random.Random) -> None:
    _proxy(stand).blackhole()
    await _a_while(stand, chance, most=10)


async def _silence(stand: Stand, chance: random.Random) -> None:
    _proxy(stand).silence()
    await _a_while(stand, chance, most=10)


async def _reset(stand: Stand, chance: random.Random) -> None:
    for _ in range(chance.randint(1, 5)):
        _proxy(stand).reset()
        await asyncio.sleep(chance.uniform(0, 0.2))


async def _half_close(stand: Stand, chance: random.Random) -> None:
    for _ in range(chance.randint(1, 3)):
        _proxy(stand).half_close()
        await asyncio.sleep(chance.uniform(0, 0.2))


async def _a_while(stand: Stand, chance: random.Random, most: float = 3) -> None:
    await asyncio.sleep(chance.uniform(0.3, most))
    _proxy(stand).heal()


def _proxy(stand: Stand) -> FaultProxy:
    assert stand.proxy is not None
    return stand.proxy


_OF_SERVERS: dict[str, Fault] = {
    "kill -9 of a server": _kill_server,
    "SIGTERM to a server": _stop_server,
    "SIGSTOP of a server": _freeze_server,
}
_OF_POSTGRESQL: dict[str, Fault] = {
    "kill -9 of PostgreSQL": _kill_postgres,
    "trail locked": partial(_lock, "audit_events", "ACCESS EXCLUSIVE"),
    "patients locked": partial(_lock, "patients", "EXCLUSIVE"),
    "sessions ended": _end_sessions,
    "INSERT on the trail revoked": _revoke_trail,
}
_OF_CONNECTIONS: dict[str, Fault] = {
    "slow network": _slow,
    "throttled network": _throttle,
    "blackhole": _blackhole,
    "silent connections": _silence,
    "connections reset": _reset,
    "connections half-closed": _half_close,
    "cut before COMMIT": partial(_at_commit, AtCommit.CUT_BEFORE),
    "cut after COMMIT": partial(_at_commit, AtCommit.CUT_AFTER),
    "answer to COMMIT held": partial(_at_commit, AtCommit.HOLD),
}
