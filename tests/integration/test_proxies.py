"""The proxy does what it says, with the driver on one side and PostgreSQL on the other."""

import asyncio
import struct
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import asyncpg
import pytest
from sqlalchemy import make_url

from tests.proxies import AtCommit, Commits, FaultProxy, Messages, proxied
from tests.servers import PostgresDatabases

_open: Callable[..., Awaitable[Any]] = asyncpg.connect
_BROKEN = (OSError, asyncpg.PostgresConnectionError, asyncpg.exceptions.InterfaceError)


@pytest.fixture
async def proxy(postgres: PostgresDatabases) -> AsyncIterator[FaultProxy]:
    async with proxied(postgres.server) as proxy, asyncio.timeout(10):
        yield proxy


@pytest.fixture
async def connection(proxy: FaultProxy) -> AsyncIterator[Any]:
    connection = await connected(proxy)
    await connection.execute("CREATE TEMPORARY TABLE kept (n integer)")
    yield connection
    connection.terminate()


async def connected(proxy: FaultProxy) -> Any:
    url = make_url(proxy.options.url)
    return await _open(
        host=url.host,
        port=url.port,
        user=url.username,
        password=url.password,
        database=url.database,
        ssl="prefer",  # asks for encryption first, which this server does not have
        timeout=2,
    )


async def test_an_ordinary_proxy_changes_nothing(connection: Any) -> None:
    many = "x" * 300_000
    assert await connection.fetchval("SELECT $1::text", many) == many


async def test_what_is_delayed_comes_late_and_whole(proxy: FaultProxy, connection: Any) -> None:
    proxy.delay_seconds = 0.02
    began = time.monotonic()
    assert await connection.fetchval("SELECT 'whole'") == "whole"
    assert time.monotonic() - began >= 0.04


async def test_what_is_throttled_comes_slowly_and_whole(proxy: FaultProxy, connection: Any) -> None:
    proxy.bytes_per_second = 20_000
    began = time.monotonic()
    assert len(await connection.fetchval("SELECT repeat('x', 4000)")) == 4000
    assert time.monotonic() - began >= 0.15


async def test_a_reset_breaks_every_connection_and_not_the_next(proxy: FaultProxy, connection: Any) -> None:
    waiting = asyncio.create_task(connection.fetchval("SELECT pg_sleep(5)"))
    await asyncio.sleep(0)
    proxy.reset()
    with pytest.raises(_BROKEN):
        await waiting
    other = await connected(proxy)
    assert await other.fetchval("SELECT 1") == 1
    other.terminate()


async def test_a_blackhole_takes_everything_and_answers_nothing_until_it_ends(
    proxy: FaultProxy, connection: Any
) -> None:
    proxy.blackhole()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await connected(proxy)
    asked = asyncio.create_task(connection.fetchval("SELECT 1"))
    done, _ = await asyncio.wait({asked}, timeout=0.1)
    assert not done
    proxy.blackhole(ended=True)
    assert await asked == 1


async def test_silent_connections_stay_so_and_others_are_heard(proxy: FaultProxy, connection: Any) -> None:
    proxy.silence()
    asked = asyncio.create_task(connection.fetchval("SELECT 1"))
    done, _ = await asyncio.wait({asked}, timeout=0.1)
    assert not done
    other = await connected(proxy)
    assert await other.fetchval("SELECT 1") == 1
    other.terminate()
    proxy.heal()
    with pytest.raises(_BROKEN):
        await asked


async def test_a_half_closed_connection_is_one_from_which_nothing_comes_any_more(
    proxy: FaultProxy, connection: Any
) -> None:
    proxy.half_close()
    with pytest.raises(_BROKEN):
        await connection.fetchval("SELECT 1")


@pytest.mark.parametrize("prepared", [False, True])
@pytest.mark.parametrize(("how", "expected"), [(AtCommit.CUT_BEFORE, "aborted"), (AtCommit.CUT_AFTER, "committed")])
async def test_a_connection_is_cut_on_either_side_of_a_commit(
    proxy: FaultProxy, connection: Any, how: AtCommit, expected: str, *, prepared: bool
) -> None:
    witness = await connected(proxy)
    commit = (await connection.prepare("COMMIT")).fetch if prepared else lambda: connection.execute("commit;")
    await connection.execute("BEGIN")
    transaction = await connection.fetchval("SELECT pg_current_xact_id()::text")
    proxy.strike(how)
    with pytest.raises(_BROKEN):
        await commit()
    assert proxy.struck.is_set()
    while (ended := await witness.fetchval(f"SELECT pg_xact_status('{transaction}')")) == "in progress":
        await asyncio.sleep(0.01)
    assert ended == expected
    witness.terminate()


async def test_the_answer_to_a_commit_is_held_until_it_is_released(proxy: FaultProxy, connection: Any) -> None:
    await connection.execute("BEGIN; INSERT INTO kept VALUES (1)")
    proxy.strike(AtCommit.HOLD)
    committing = asyncio.create_task(connection.execute("COMMIT"))
    done, _ = await asyncio.wait({committing}, timeout=0.1)
    assert not done
    proxy.release()
    assert await committing == "COMMIT"
    assert await connection.fetchval("SELECT count(*) FROM kept") == 1


def test_messages_are_found_however_the_stream_was_cut() -> None:
    first = struct.pack("!II", 8, 80_877_103)
    startup = struct.pack("!II", 12, 196_608) + b"user"
    query = b"Q" + struct.pack("!I", 11) + b"COMMIT\0"
    stream = first + startup + query + query
    for size in (1, 3, 7, len(stream)):
        messages = Messages(untyped=True)
        found = [one for start in range(0, len(stream), size) for one in messages.feed(stream[start : start + size])]
        assert found == [first, startup, query, query]


def test_a_commit_is_told_from_what_only_mentions_it() -> None:
    def simple(text: str) -> bytes:
        return b"Q" + struct.pack("!I", 5 + len(text)) + text.encode() + b"\0"

    for text, expected in {"COMMIT": True, " end;": True, "SELECT 'COMMIT'": False, "ENDLESS": False}.items():
        assert Commits().is_one(simple(text)) is expected
