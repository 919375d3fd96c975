"""Migrations happen once, whole or not at all, however many try."""

import asyncio
import pkgutil
import sys
from dataclasses import replace
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path

import pytest
from sqlalchemy import Connection, Engine, event, insert, text

import clarity.persistence
from clarity.domain.errors import Misconfigured, StorageFailed, Transient, Unavailable
from clarity.persistence import migrations
from clarity.persistence.all_tables import TABLES
from clarity.persistence.audit import AuditSubjectRow
from clarity.persistence.engine import EngineOptions, unpooled
from clarity.persistence.tables import Base
from tests.builders import new_id
from tests.check_migrations import differences, on, structure, unconventional, unlike
from tests.servers import PostgresDatabases

HEAD = migrations.revisions_after()[-1]


async def run(options: EngineOptions, *statements: str) -> None:
    async with unpooled(options).begin() as connection:
        for statement in statements:
            await connection.exec_driver_sql(statement)


def add_row(connection: Connection) -> None:
    connection.execute(insert(AuditSubjectRow).values(record_id=new_id(), event_id=new_id(), at=datetime.now(UTC)))


@pytest.fixture
async def empty_postgresql(postgres: PostgresDatabases) -> EngineOptions:
    return postgres.owner_of(await postgres.create(template="template0"))


@pytest.fixture
def empty_sqlite(tmp_path: Path) -> EngineOptions:
    return EngineOptions(url=f"sqlite+aiosqlite:///{tmp_path}/a practice.db")


@pytest.fixture(params=["sqlite", "postgresql"])
def empty(request: pytest.FixtureRequest) -> EngineOptions:
    options: EngineOptions = request.getfixturevalue(f"empty_{request.param}")
    return options


async def test_who_asks_is_told_what_is_missing(empty: EngineOptions) -> None:
    assert await migrations.current(empty) == ""
    assert await migrations.pending(empty) == migrations.revisions_after()
    await migrations.upgrade(empty)
    assert await migrations.current(empty) == HEAD
    assert await migrations.pending(empty) == []


async def test_migrating_again_changes_nothing(empty: EngineOptions) -> None:
    await migrations.upgrade(empty)
    before = await on(empty, structure)
    await on(empty, add_row)
    await migrations.upgrade(empty)
    assert await on(empty, structure) == before
    async with unpooled(empty).connect() as connection:
        assert await connection.scalar(text("SELECT count(*) FROM audit_subjects")) == 1


async def test_of_many_who_migrate_at_once_each_succeeds(empty: EngineOptions) -> None:
    await asyncio.gather(*(migrations.upgrade(empty) for _ in range(3)))
    assert await on(empty, differences) == []


async def test_of_many_processes_that_migrate_at_once_each_succeeds(empty: EngineOptions) -> None:
    program = (
        "import asyncio, sys; from clarity.persistence import engine, migrations;"
        "asyncio.run(migrations.upgrade(engine.EngineOptions(url=sys.argv[1])))"
    )
    processes = [
        await asyncio.create_subprocess_exec(sys.executable, "-W", "error", "-c", program, empty.url) for _ in range(3)
    ]
    assert [await process.wait() for process in processes] == [0, 0, 0]
    assert await on(empty, differences) == []


async def test_a_migration_that_fails_leaves_nothing(empty: EngineOptions) -> None:
    await run(empty, "CREATE TABLE audit_subjects (id INTEGER)")  # the last that is made
    with pytest.raises((StorageFailed, Unavailable)):
        await migrations.upgrade(empty)
    assert list(await on(empty, structure)) == ["audit_subjects"]
    assert await migrations.current(empty) == ""


async def test_the_way_down_takes_rows_along(empty: EngineOptions) -> None:
    await migrations.upgrade(empty)
    await on(empty, add_row)
    await migrations.downgrade(empty, "base")
    assert await on(empty, structure) == {}


async def test_the_statements_for_somebody_who_runs_them_by_hand_do_the_same(empty: EngineOptions) -> None:
    script = migrations.sql(empty.dialect_name, app_role="nobody_has_this_role")
    async with unpooled(empty).connect() as connection:
        driver = (await connection.get_raw_connection()).driver_connection
        assert driver is not None
        await (driver.executescript(script) if empty.dialect_name == "sqlite" else driver.execute(script))
    assert await migrations.current(empty) == HEAD
    assert await on(empty, differences) == []


async def test_a_revision_that_nobody_knows_is_said_to_be_unknown(empty: EngineOptions) -> None:
    with pytest.raises(Misconfigured, match="does not know"):
        await migrations.upgrade(empty, "4711")
    with pytest.raises(Misconfigured, match="does not know"):
        migrations.sql(empty.dialect_name, "4711")
    await migrations.upgrade(empty)
    await run(empty, "UPDATE alembic_version SET version_num = '4711'")
    with pytest.raises(Misconfigured, match="does not know"):
        await migrations.pending(empty)


async def test_a_migration_may_take_its_time(empty_postgresql: EngineOptions) -> None:
    await migrations.upgrade(replace(empty_postgresql, statement_timeout_ms=1, idle_in_transaction_timeout_ms=1))
    assert await migrations.current(empty_postgresql) == HEAD


async def test_a_migration_does_not_keep_everybody_waiting_behind_it(
    empty_postgresql: EngineOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    await migrations.upgrade(empty_postgresql)
    monkeypatch.setattr(migrations, "_LOCK_TIMEOUT", "50ms")
    async with unpooled(empty_postgresql).begin() as reader:
        await reader.execute(text("SELECT FROM accounts"))
        async with asyncio.timeout(10):
            with pytest.raises(Transient):
                await migrations.downgrade(empty_postgresql, "base")
    assert await migrations.current(empty_postgresql) == HEAD


async def test_tables_may_be_replaced_while_others_refer_to_them(empty_sqlite: EngineOptions) -> None:
    enforced = []

    def look(connection: Connection) -> None:
        enforced.append(connection.exec_driver_sql("PRAGMA foreign_keys").scalar_one())

    event.listen(Engine, "begin", look)
    try:
        await migrations.upgrade(empty_sqlite)
    finally:
        event.remove(Engine, "begin", look)
    assert set(enforced) == {0}


async def test_a_reference_that_leads_nowhere_stops_a_migration(empty_sqlite: EngineOptions) -> None:
    await migrations.upgrade(empty_sqlite)
    lost = "INSERT INTO care_team_members (patient_id, practitioner_id, since_version) VALUES (x'00', x'00', 1)"
    async with unpooled(empty_sqlite).connect() as connection:
        driver = (await connection.get_raw_connection()).driver_connection
        assert driver is not None
        await driver.executescript(f"PRAGMA foreign_keys = OFF; {lost}")
    with pytest.raises(StorageFailed):
        await migrations.upgrade(empty_sqlite)


def test_every_table_is_listed() -> None:
    for module in pkgutil.walk_packages(clarity.persistence.__path__, "clarity.persistence."):
        if ".migrations" not in module.name:
            import_module(module.name)
    assert set(TABLES) == {mapper.class_ for mapper in Base.registry.mappers}


# The check itself


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("DROP INDEX ix_sessions_account_id", "ix_sessions_account_id"),
        ("ALTER TABLE sessions ADD COLUMN extra INTEGER", "sessions, columns, extra"),
        ("ALTER TABLE sessions DROP COLUMN revoked_at", "sessions, columns, revoked_at"),
        (
            "DROP INDEX uq_sessions_made; CREATE UNIQUE INDEX uq_sessions_made ON sessions (id)",
            "sessions, indexes, uq_sessions_made",
        ),
        ("CREATE TABLE stray (id INTEGER)", "stray, columns, id"),
    ],
)
async def test_the_check_tells_what_is_different(owner_options: EngineOptions, change: str, said: str) -> None:
    await run(owner_options, "CREATE UNIQUE INDEX uq_sessions_made ON sessions (id) WHERE account_id IS NOT NULL")
    before = await on(owner_options, structure)
    await run(owner_options, *change.split(";"))
    problems = list(unlike(await on(owner_options, structure), before))
    assert problems
    assert said in problems[0]


@pytest.mark.parametrize(
    ("part", "name", "said"),
    [
        ("checks", "ck_rooms_beds", 0),
        ("checks", "rooms_beds", 1),
        ("primary key", "rooms_pkey", 1),
        ("primary key", "None", 1),
        ("indexes", "uq_rooms_number", 0),
        ("indexes", "pk_rooms_number", 1),
        ("foreign keys", "fk_beds_room_id", 1),
        ("unique", "uq_rooms_" + "x" * 60, 1),
    ],
)
def test_the_check_knows_conventional_names(part: str, name: str, said: int) -> None:
    parts: dict[str, dict[str, list[str]]] = {
        each: {} for each in ("primary key", "foreign keys", "unique", "checks", "indexes")
    }
    assert len(list(unconventional({"rooms": parts | {part: {name: []}}}))) == said
