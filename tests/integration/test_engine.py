"""Connections hold what is promised of them: turns, snapshots, time limits, replacements, and silence about values."""

import asyncio
import gc
import logging
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import pytest
from sqlalchemy import Select, delete, func, insert, make_url, select, text, update
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from clarity.domain.errors import Misconfigured, PoolExhausted, Unavailable
from clarity.persistence import engine
from clarity.persistence.audit import AuditEventRow, AuditSubjectRow
from clarity.persistence.engine import Database, EngineOptions, connect
from clarity.persistence.errors import translated
from clarity.persistence.idempotency import IdempotencyKeyRow
from clarity.persistence.tables import Base
from tests.builders import new_id
from tests.proxies import FaultProxy, proxied
from tests.servers import opened

COUNT: Select[int] = select(func.count()).select_from(IdempotencyKeyRow)
MARK = b"Quetzalcoatl-4711"


async def add(session: AsyncSession, mark: bytes = b"") -> None:
    """Insert a row into a table that anybody may fill."""
    values = {"actor_id": new_id(), "key_digest": mark or new_id().bytes, "request_mac": b"", "record_id": new_id()}
    await session.execute(insert(IdempotencyKeyRow).values(**values, version=1, created_at=datetime.now(UTC)))


async def stored(database: Database) -> None:
    async with database.turn(), database.writing() as session:
        await add(session)
        await session.commit()


async def counted(database: Database) -> int:
    async with database.reading() as session:
        return (await session.execute(COUNT)).scalar_one()


async def test_what_was_not_committed_is_not_kept(database: Database) -> None:
    async with database.turn(), database.writing() as session:
        await add(session)
    assert await counted(database) == 0
    await stored(database)
    assert await counted(database) == 1


async def test_a_reading_session_sees_what_was_committed_meanwhile(database: Database) -> None:
    async with database.reading() as session:
        assert (await session.execute(COUNT)).scalar_one() == 0
        await stored(database)
        assert (await session.execute(COUNT)).scalar_one() == 1


async def test_a_snapshot_stays_as_it_was_at_its_first_statement(database: Database) -> None:
    async with database.snapshot() as session:
        assert (await session.execute(COUNT)).scalar_one() == 0
        await stored(database)
        assert (await session.execute(COUNT)).scalar_one() == 0
    assert await counted(database) == 1


async def test_a_snapshot_cannot_write(database: Database) -> None:
    async with database.snapshot() as session:
        with pytest.raises(DBAPIError, match=r"read-only|readonly"):
            await add(session)


async def test_a_reading_session_cannot_write_to_a_file(sqlite: Database) -> None:
    async with sqlite.reading() as session:
        with pytest.raises(DBAPIError, match="readonly"):
            await add(session)


async def test_neither_errors_nor_logs_repeat_a_value(
    database_options: EngineOptions, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "sqlalchemy")
    loud = replace(database_options, echo=True)
    async with opened(loud) as database, database.turn(), database.writing() as session:
        with pytest.raises(IntegrityError) as broken:
            await session.execute(insert(IdempotencyKeyRow).values(actor_id=new_id(), key_digest=MARK))
    assert "INSERT INTO idempotency_keys" in caplog.text
    assert MARK.decode() not in caplog.text
    assert MARK.decode() not in repr(broken.value)


async def test_the_address_stays_out_of_repr(postgresql_options: EngineOptions) -> None:
    password = make_url(postgresql_options.url).password
    assert password
    assert str(password) not in repr(postgresql_options)


async def test_who_waits_too_long_for_a_connection_is_told(postgresql_options: EngineOptions) -> None:
    small = replace(postgresql_options, pool_size=1, max_overflow=0, pool_timeout_seconds=0.05)
    async with opened(small) as database, database.reading() as session:
        await session.execute(COUNT)
        async with asyncio.timeout(3):
            with pytest.raises(PoolExhausted), translated():
                await counted(database)


async def test_the_trail_needs_no_connection_of_the_pool(database_options: EngineOptions) -> None:
    small = replace(database_options, pool_size=1, max_overflow=0, pool_timeout_seconds=0.05)
    async with opened(small) as database, database.reading() as session:
        await session.execute(COUNT)
        connection = await database.trail_connection()
        async with database.turn(), connection.begin():
            assert await connection.scalar(COUNT) == 0
        await connection.close()


async def test_whoever_disposes_leaves_no_connection_behind(database_options: EngineOptions) -> None:
    database = connect(database_options)
    await stored(database)
    async with database.reading() as first, database.reading() as second, database.snapshot() as third:
        for session in (first, second, third):
            await session.execute(COUNT)
    await database.dispose()
    del database
    gc.collect()  # an open connection would warn, and a warning is an error


# PostgreSQL


async def test_an_address_that_the_server_turns_away_is_the_operators_to_set_right(
    postgresql_options: EngineOptions,
) -> None:
    url = make_url(postgresql_options.url).set(database="nowhere")
    async with opened(replace(postgresql_options, url=url.render_as_string(hide_password=False))) as database:
        with pytest.raises(Misconfigured, match="3D000"), translated():
            await counted(database)


async def test_a_server_that_is_not_there_is_unavailable(tmp_path: Path) -> None:
    async with opened(EngineOptions(url=f"postgresql+asyncpg:///x?host={tmp_path}")) as database:
        with pytest.raises(Unavailable), translated():
            await counted(database)


async def test_a_connection_that_the_server_closed_is_replaced_unnoticed(postgresql: Database) -> None:
    own = text("SELECT pg_backend_pid()")
    async with postgresql.reading() as session:
        first = (await session.execute(own)).scalar_one()
    connection = await postgresql.trail_connection()
    await connection.execute(text("SELECT pg_terminate_backend(:pid, 5000)"), {"pid": first})
    await connection.close()
    async with postgresql.reading() as session:
        assert (await session.execute(own)).scalar_one() != first


async def test_a_statement_ends_at_its_time_limit(postgresql_options: EngineOptions) -> None:
    async with opened(replace(postgresql_options, statement_timeout_ms=50)) as database, database.reading() as session:
        with pytest.raises(Unavailable), translated():
            await session.execute(text("SELECT pg_sleep(5)"))


async def test_a_transaction_that_nobody_goes_on_with_is_ended(postgresql_options: EngineOptions) -> None:
    limited = replace(postgresql_options, idle_in_transaction_timeout_ms=50)
    async with opened(limited) as database, database.writing() as session:
        await add(session)
        pid = (await session.execute(text("SELECT pg_backend_pid()"))).scalar_one()
        async with opened(postgresql_options) as other, other.reading() as witness:
            there = text("SELECT count(*) FROM pg_stat_activity WHERE pid = :pid")
            async with asyncio.timeout(10):
                while (await witness.execute(there, {"pid": pid})).scalar_one():
                    await witness.execute(text("SELECT pg_sleep(0.01)"))
        with pytest.raises(Unavailable), translated():
            await session.execute(COUNT)


async def test_sessions_are_set_up_for_short_statements(postgresql: Database) -> None:
    async with postgresql.reading() as session:
        for name, value in {"jit": "off", "TimeZone": "UTC", "application_name": "clarity"}.items():
            assert (await session.execute(text(f"SHOW {name}"))).scalar_one() == value


async def test_a_cancelled_statement_leaves_the_pool_as_it_was(postgresql_options: EngineOptions) -> None:
    small = replace(postgresql_options, pool_size=1, max_overflow=0, pool_timeout_seconds=5)
    async with opened(small) as database:

        async def linger() -> None:
            async with database.reading() as session:
                started.set()
                await session.execute(text("SELECT pg_sleep(60)"))

        started = asyncio.Event()
        task = asyncio.create_task(linger())
        await started.wait()
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await counted(database) == 0


@asynccontextmanager
async def relayed(options: EngineOptions) -> AsyncIterator[tuple[FaultProxy, Database]]:
    """Open a database through a proxy."""
    # A connection that the proxy silenced is lost in any case; nobody shall wait for it.
    async with proxied(options) as proxy, asyncio.timeout(20), opened(proxy.options) as database:
        yield proxy, database


async def test_a_connection_that_a_firewall_forgot_is_replaced_unnoticed(
    postgresql_options: EngineOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "_IDLE_SECONDS", 0.0)
    monkeypatch.setattr(engine, "_PING_SECONDS", 0.1)
    async with relayed(replace(postgresql_options, statement_timeout_ms=1000)) as (proxy, database):
        assert await counted(database) == 0
        proxy.silence()
        assert await counted(database) == 0


async def test_a_connection_that_was_only_idle_is_used_again(
    postgresql: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "_IDLE_SECONDS", 0.0)
    own = text("SELECT pg_backend_pid()")
    used = []
    for _ in range(2):
        async with postgresql.reading() as session:
            used.append((await session.execute(own)).scalar_one())
    assert used[0] == used[1]


async def test_who_waits_for_a_server_that_went_silent_is_told_and_the_connection_dropped(
    postgresql_options: EngineOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "_GRACE_SECONDS", 0.1)
    limited = replace(postgresql_options, statement_timeout_ms=100, pool_size=1, max_overflow=0)
    async with relayed(limited) as (proxy, database):
        assert await counted(database) == 0
        proxy.silence()
        with pytest.raises(Unavailable), translated():
            await counted(database)
        assert await counted(database) == 0


# SQLite


def path_of(options: EngineOptions) -> Path:
    return Path(make_url(options.url).database or "")


async def test_a_new_file_and_its_folder_are_for_their_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "new" / "practice.db"
    async with opened(EngineOptions(url=f"sqlite+aiosqlite:///{path}")) as database:
        async with database.writing() as session:
            await session.execute(text("CREATE TABLE scratch (id INTEGER)"))
            await session.commit()
        modes = {file.name: file.stat().st_mode & 0o777 for file in path.parent.iterdir()}
    assert modes == {"practice.db": 0o600, "practice.db-wal": 0o600, "practice.db-shm": 0o600}
    assert path.parent.stat().st_mode & 0o777 == 0o700


def test_a_file_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(Misconfigured, match=r"practice\.db cannot be opened"):
        connect(EngineOptions(url=f"sqlite+aiosqlite:///{tmp_path}/file/practice.db"))


@pytest.mark.parametrize(
    ("pragma", "value"),
    [
        ("journal_mode", "wal"),
        ("synchronous", 2),
        ("secure_delete", 1),
        ("foreign_keys", 1),
        ("recursive_triggers", 1),
        ("trusted_schema", 0),
    ],
)
async def test_every_connection_to_a_file_is_careful(sqlite: Database, pragma: str, value: object) -> None:
    async with sqlite.writing() as writing, sqlite.reading() as reading, sqlite.snapshot() as snapshot:
        for session in (writing, reading, snapshot):
            assert (await session.execute(text(f"PRAGMA {pragma}"))).scalar_one() == value


async def test_writers_of_a_process_take_turns_in_the_order_they_came(sqlite: Database) -> None:
    order = []

    async def write(number: int) -> None:
        async with sqlite.turn(), sqlite.writing() as session:
            await add(session)
            order.append(number)
            await session.commit()

    await asyncio.gather(*(write(number) for number in range(20)))
    assert order == list(range(20))
    assert await counted(sqlite) == 20


async def test_who_waits_too_long_for_a_turn_is_told(sqlite_options: EngineOptions) -> None:
    async with opened(replace(sqlite_options, pool_timeout_seconds=0.05)) as database:
        async with database.turn(), asyncio.timeout(10):
            with pytest.raises(PoolExhausted):
                async with database.turn():
                    pass
        await stored(database)


async def test_who_is_cancelled_while_waiting_for_a_turn_holds_nobody_up(sqlite: Database) -> None:
    async with sqlite.turn():
        task = asyncio.create_task(stored(sqlite))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    await stored(sqlite)


async def test_a_writer_waits_for_another_process_and_does_not_fail(
    sqlite: Database, sqlite_options: EngineOptions
) -> None:
    async with opened(sqlite_options) as other, other.writing() as session:
        await add(session)
        task = asyncio.create_task(stored(sqlite))
        await asyncio.sleep(0.1)
        assert not task.done()
        await session.commit()
    await task
    assert await counted(sqlite) == 2


async def test_a_transaction_takes_the_lock_when_it_begins_and_not_at_its_first_write(sqlite: Database) -> None:
    async with sqlite.writing() as session:
        await session.execute(COUNT)
        path = (await session.execute(text("SELECT file FROM pragma_database_list"))).scalar_one()
        other = sqlite3.connect(path, timeout=0, isolation_level=None)
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            other.execute("BEGIN IMMEDIATE")
        other.close()


@pytest.mark.parametrize("rows", [AuditEventRow, AuditSubjectRow])
async def test_the_trail_in_a_file_refuses_to_be_changed(sqlite: Database, rows: type[Base]) -> None:
    samples = {UUID: new_id(), datetime: datetime.now(UTC), int: 1, bytes: bytes(32)}
    values = {column.name: samples[column.type.python_type] for column in rows.__table__.columns}
    async with sqlite.turn(), sqlite.writing() as session:
        await session.execute(insert(rows).values(values))
        await session.commit()
        replacement = insert(rows).prefix_with("OR REPLACE").values(values)
        for statement in (update(rows).values(values), delete(rows), replacement):
            with pytest.raises(IntegrityError, match="only ever added"):
                await session.execute(statement)
            await session.rollback()


async def test_what_was_deleted_does_not_stay_in_the_file(sqlite_options: EngineOptions) -> None:
    async with opened(sqlite_options) as database:
        for statement in (None, "DELETE FROM idempotency_keys"):
            async with database.turn(), database.writing() as session:
                if statement:
                    await session.execute(text(statement))
                else:
                    await add(session, MARK)
                await session.commit()
    path = path_of(sqlite_options)
    assert [file.name for file in path.parent.glob("practice.db*")] == ["practice.db"]
    assert MARK not in path.read_bytes()


async def test_the_contents_of_a_full_disk_are_not_lost(sqlite: Database) -> None:
    await stored(sqlite)
    async with sqlite.turn(), sqlite.writing() as session:
        pages = (await session.execute(text("PRAGMA page_count"))).scalar_one()
        await session.execute(text(f"PRAGMA max_page_count = {pages}"))
        with pytest.raises(Unavailable), translated():
            for _ in range(100):
                await add(session, bytes(4096))
    assert await counted(sqlite) == 1
