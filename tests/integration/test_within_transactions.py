"""What the driver is asked in the transaction of a session is in that transaction, and fails as other statements do."""

import asyncio

import pytest
from sqlalchemy import select, text

from clarity.domain.errors import StaleWrite
from clarity.persistence.direct import DirectStatement, within
from clarity.persistence.engine import Database, EngineOptions, connect
from clarity.persistence.errors import translated

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


async def test_a_connection_on_which_somebody_was_cancelled_is_given_up(database: Database) -> None:
    async with database.writing() as session:
        ((_, before),) = await within(session, COUNT)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await within(session, FOR_EVER)
    async with database.writing() as session:
        ((_, after),) = await within(session, COUNT)
    assert after != before
    await database.dispose()
