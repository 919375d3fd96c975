"""What the driver is asked in the transaction of a session is in that transaction, and fails as other statements do."""

import asyncio

import pytest
from sqlalchemy import select, text

from clarity.domain.errors import StaleWrite, Transient
from clarity.persistence.direct import DirectStatement, within
from clarity.persistence.engine import Database, EngineOptions, connect, unpooled
from clarity.persistence.errors import translated
from tests.servers import PostgresDatabases

ENTER = DirectStatement(
    text(
        "INSERT INTO record_versions (table_number, column_number, row_id, version, patient_id, sealed, key_generation,"
        " written_at, written_by) VALUES (1, 1, gen_random_uuid(), 1, gen_random_uuid(), '', 1, now(),"
        " gen_random_uuid())"
    )
)
AGAIN = DirectStatement(
    text("INSERT INTO record_versions SELECT * FROM record_versions WHERE xmin = pg_current_xact_id()::xid")
)
COUNT = DirectStatement(text("SELECT count(*)::int, pg_backend_pid() FROM record_versions"))
FOR_EVER = DirectStatement(text("SELECT pg_sleep(600)"))


@pytest.fixture
async def database(postgresql_options: EngineOptions) -> Database:
    return connect(postgresql_options)


async def test_all_of_them_are_in_one_transaction_and_are_taken_back_with_it(database: Database) -> None:
    async with database.writing() as session:
        for entered in (1, 2):
            assert not await within(session, ENTER)
            ((count, _),) = await within(session, COUNT)
            assert count == entered
        assert await session.scalar(text("SELECT count(*) FROM record_versions")) == 2
        await session.rollback()
        # The session begins anew, and so must they.
        ((count, _),) = await within(session, COUNT)
        assert count == 0
        assert session.in_transaction()
    await database.dispose()


async def test_a_broken_constraint_means_the_same_however_it_was_asked(database: Database) -> None:
    async with database.writing() as session:
        await within(session, ENTER)
        with pytest.raises(StaleWrite), translated():
            await within(session, AGAIN)
    async with database.writing() as session:
        assert await session.scalar(select(text("count(*) FROM record_versions"))) == 0
    await database.dispose()


@pytest.mark.parametrize("first", [True, False])
async def test_a_connection_on_which_somebody_was_cancelled_is_given_up(database: Database, *, first: bool) -> None:
    async with database.writing() as session:
        ((_, before),) = await within(session, COUNT)
        if first:
            await session.commit()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await within(session, FOR_EVER)
    async with database.writing() as session:
        ((_, after),) = await within(session, COUNT)
    assert after != before
    await database.dispose()


async def test_a_statement_that_a_migration_outdated_loses_one_race_and_no_more(
    database: Database, postgres: PostgresDatabases, postgresql_options: EngineOptions
) -> None:
    everything, owner = DirectStatement(text("SELECT * FROM record_versions")), postgres.as_owner(postgresql_options)
    async with database.writing() as session:
        await within(session, everything)
    engine = unpooled(owner)
    async with engine.begin() as connection:
        await connection.execute(text("ALTER TABLE record_versions ADD COLUMN another integer"))
    await engine.dispose()
    with pytest.raises(Transient), translated():
        async with database.writing() as session:
            await within(session, everything)
    async with database.writing() as session:
        assert not await within(session, everything)
    await database.dispose()
