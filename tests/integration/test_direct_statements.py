"""What the driver is asked itself is watched, bounded and translated like what goes through SQLAlchemy."""

import asyncio
from dataclasses import replace

import pytest
from sqlalchemy import BigInteger, bindparam, text

from clarity.application.ports.telemetry import Kind, Shape
from clarity.domain.errors import TimedOut, Unavailable
from clarity.persistence.direct import DirectStatement
from clarity.persistence.engine import EngineOptions
from clarity.persistence.errors import translated
from tests.integration.test_watch import Notes, watched

COUNTED = DirectStatement(text("SELECT count(*) + :more FROM patients").bindparams(bindparam("more", type_=BigInteger)))
FOR_EVER = DirectStatement(text("SELECT pg_sleep(600)"))


async def test_a_direct_statement_is_told_of_like_any_other(postgresql_options: EngineOptions) -> None:
    notes = Notes()
    async with watched(postgresql_options, notes) as database, database.reading() as session:
        rows = await COUNTED.rows(await session.connection(), more=7)
    assert rows is not None
    assert [tuple(row) for row in rows] == [(7,)]
    assert notes.statements == [(Shape("SELECT", ("patients",)), Kind.READ, False)]


async def test_within_a_transaction_the_driver_is_not_asked(postgresql_options: EngineOptions) -> None:
    notes = Notes()
    async with watched(postgresql_options, notes) as database:
        for sessions in (database.snapshot, database.writing):
            async with sessions() as session:
                assert await COUNTED.rows(await session.connection(), more=7) is None
    assert notes.statements == []


async def test_a_direct_statement_ends_at_its_limit_and_its_connection_goes_on(
    postgresql_options: EngineOptions,
) -> None:
    notes = Notes()
    bounded = replace(postgresql_options, statement_timeout_ms=100, pool_size=1)
    async with watched(bounded, notes) as database:
        with pytest.raises(TimedOut), translated():
            async with database.reading() as session, asyncio.timeout(5):
                await FOR_EVER.rows(await session.connection())
        async with database.reading() as session:
            assert await COUNTED.rows(await session.connection(), more=0) is not None
    assert notes.failed == [(Shape("SELECT", ()), Kind.READ, "57", True)]


async def test_whoever_is_cancelled_leaves_no_connection_that_waits_for_an_answer(
    postgresql_options: EngineOptions,
) -> None:
    notes = Notes()
    async with watched(replace(postgresql_options, pool_size=1), notes) as database:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1), database.reading() as session:
                before = await session.scalar(text("SELECT pg_backend_pid()"))
                await FOR_EVER.rows(await session.connection())
        async with database.reading() as session:
            assert await session.scalar(text("SELECT pg_backend_pid()")) != before
    assert [error for _, _, error, _ in notes.failed] == ["interrupted"]


async def test_a_connection_that_broke_under_a_direct_statement_is_told_as_such(
    postgresql_options: EngineOptions,
) -> None:
    async with watched(replace(postgresql_options, pool_size=2), Notes()) as database, database.reading() as other:
        with pytest.raises(Unavailable), translated():
            async with database.reading() as session:
                process = await session.scalar(text("SELECT pg_backend_pid()"))
                asking = asyncio.create_task(FOR_EVER.rows(await session.connection()))
                await asyncio.sleep(0)
                await other.execute(text("SELECT pg_terminate_backend(:process)"), {"process": process})
                await asking
        async with database.reading() as session:
            assert await COUNTED.rows(await session.connection(), more=0) is not None
