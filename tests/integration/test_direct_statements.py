"""What the driver is asked itself is watched, bounded and translated like what goes through SQLAlchemy."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from hashlib import sha256
from typing import Any

import pytest
from sqlalchemy import BigInteger, bindparam, literal, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from clarity.application.ports import PatientFilter
from clarity.application.ports.telemetry import Kind, Shape
from clarity.audit.encoding import Notary
from clarity.domain.access import Action, Role, scope_of
from clarity.domain.errors import PoolExhausted, TimedOut, Unavailable
from clarity.domain.ids import EventId
from clarity.domain.patients import PatientStatus
from clarity.persistence.audit import AuditEventRow, append
from clarity.persistence.direct import DirectStatement, Lent
from clarity.persistence.engine import Database, EngineOptions
from clarity.persistence.errors import translated
from clarity.persistence.patients.mapping import PatientTable
from clarity.security.keyring import Keyring
from tests.builders import NOW, a_patient, a_practitioner, an_actor, new_id
from tests.integration.test_watch import Notes, units, watched
from tests.practice import sql_practice

COUNTED = DirectStatement(text("SELECT count(*) + :more FROM patients").bindparams(bindparam("more", type_=BigInteger)))
FOR_EVER = DirectStatement(text("SELECT pg_sleep(600)"))
PROCESS = DirectStatement(text("SELECT pg_backend_pid()"))


async def asked(database: Database, statement: DirectStatement, **values: Any) -> Sequence[Any]:
    async with database.reading() as session:
        lent = Lent.to(session)
        assert lent is not None
        with translated():
            return await lent.rows(statement, **values)


async def test_a_direct_statement_is_told_of_like_any_other(postgresql_options: EngineOptions) -> None:
    notes = Notes()
    async with watched(postgresql_options, notes) as database:
        rows = await asked(database, COUNTED, more=7)
    assert [tuple(row) for row in rows] == [(7,)]
    assert notes.statements == [(Shape("SELECT", ("patients",)), Kind.READ, False)]


async def test_what_reads_a_record_makes_no_session_until_it_is_used_as_one(
    postgresql_options: EngineOptions, keyring: Keyring
) -> None:
    async with units(postgresql_options, Notes(), keyring) as work, work.reading() as one:
        assert (await one.patients.get(a_patient().id)).standing is None
        assert "sync_session" not in vars(one.session)
        assert await one.session.scalar(text("SELECT 1")) == 1
        assert one.session.in_transaction()


async def test_in_place_of_nobody_another_is_fetched_alone_or_with_others(
    postgresql_options: EngineOptions, keyring: Keyring
) -> None:
    async with watched(postgresql_options, Notes()) as database, sql_practice(database, keyring) as practice:
        ada = await practice.stored(a_patient())
        table = PatientTable(keyring, lambda: NOW)
        async with database.reading() as session:
            assert await table.find(session, ada.id) is not None
            lent = Lent.to(session)
            assert lent is not None
            for ids in ([new_id()], [new_id(), new_id()], [new_id(), ada.id]):
                rows = await table.fetch_each(lent, ids)
                assert [row[0] for row in rows.values()] == [ada.id] * len(ids)


async def test_an_event_that_is_sent_again_is_kept_once_and_as_it_was_alone_or_with_others(
    postgresql_options: EngineOptions, keyring: Keyring
) -> None:
    notary = Notary(lambda leaf: sha256(b"another key" + leaf).digest())
    async with watched(postgresql_options, Notes()) as database, sql_practice(database, keyring) as practice:
        await practice.stored(a_patient())
        [event] = await practice.events()
        again, another = notary.certify(event), notary.certify(replace(event, id=EventId(new_id())))
        for told in ([again], [again, another]):
            async with database.writing() as session:
                await append(session, told)
                await session.commit()
        assert await practice.events() == [event, another.event]
        async with database.reading() as session:
            macs = (await session.scalars(select(AuditEventRow.mac).order_by(AuditEventRow.id))).all()
        assert macs[0] != again.mac
        assert macs[1] == another.mac


async def test_nobody_is_answered_by_the_values_that_a_statement_was_built_with() -> None:
    somebodys = DirectStatement(select(bindparam("whose", 17), literal(1), bindparam("now", callable_=lambda: 5)))
    assert somebodys.values({"whose": 4}) == [4, 1, 5]
    with pytest.raises(KeyError):
        somebodys.values({})


async def test_a_page_with_its_total_is_one_statement_with_one_plan(
    postgresql_options: EngineOptions, keyring: Keyring
) -> None:
    notes = Notes()
    plans = DirectStatement(
        text("SELECT generic_plans > custom_plans FROM pg_prepared_statements WHERE statement ~ 'LIMIT [3]'")
    )
    scope = scope_of(an_actor(Role.FRONT_DESK), Action.LIST, at=NOW)
    async with (
        watched(replace(postgresql_options, pool_size=1, max_overflow=0), notes) as database,
        sql_practice(database, keyring) as practice,
    ):
        stored = [(await practice.stored(a_patient())).id for _ in range(4)]
        notes.statements.clear()
        for after in (None, stored[1]):
            for _ in range(12):
                async with practice.reading() as work:
                    page = await work.patients.find_counted_page(scope, PatientFilter(), after=after, at_most=3)
                    assert (len(page.records), page.count) == (3 if after is None else 2, 4)
        assert len(notes.statements) == 24
        assert [tuple(row) for row in await asked(database, plans)] == [(True,), (True,)]


async def test_a_list_is_not_answered_by_the_statement_of_one_that_reads_otherwise(
    postgresql: Database, keyring: Keyring
) -> None:
    scope = scope_of(an_actor(Role.FRONT_DESK), Action.LIST, at=NOW)
    async with sql_practice(postgresql, keyring) as practice:
        anna = await practice.employed(a_practitioner())
        ada = (await practice.stored(a_patient(care_team=frozenset({anna.id})))).id
        bob = (await practice.stored(a_patient(discharged=date(2026, 1, 1)))).id
        for conditions, after, expected in (
            (PatientFilter(), None, [ada, bob]),
            (PatientFilter(), ada, [bob]),
            (PatientFilter(status=PatientStatus.DISCHARGED), None, [bob]),
            (PatientFilter(status=PatientStatus.ACTIVE), None, [ada]),
            (PatientFilter(practitioner=anna.id), None, [ada]),
        ):
            async with practice.reading() as work:
                page = await work.patients.find_counted_page(scope, conditions, after=after, at_most=9)
                assert [record.patient for record in page.records] == expected
                assert page.count == len(expected) + (after is not None)


async def test_within_a_transaction_the_driver_is_not_asked(postgresql_options: EngineOptions) -> None:
    async with watched(postgresql_options, Notes()) as database:
        for sessions in (database.snapshot, database.writing):
            async with sessions() as session:
                assert Lent.to(session) is None


async def test_a_connection_that_was_in_a_transaction_is_lent_outside_of_it(postgresql_options: EngineOptions) -> None:
    # The first is the same throughout a transaction.
    state = DirectStatement(text("SELECT now(), current_setting('transaction_isolation')"))
    async with watched(replace(postgresql_options, pool_size=1), Notes()) as database:
        for sessions in (database.snapshot, database.writing):
            async with sessions() as session:
                await session.execute(text("SELECT 1"))
            [[first, isolation]], [[second, _]] = await asked(database, state), await asked(database, state)
            assert first < second
            assert isolation == "read committed"


async def test_a_direct_statement_ends_at_its_limit_and_its_connection_goes_on(
    postgresql_options: EngineOptions,
) -> None:
    notes = Notes()
    bounded = replace(postgresql_options, statement_timeout_ms=100, pool_size=1)
    async with watched(bounded, notes) as database:
        [[before]] = await asked(database, PROCESS)
        with pytest.raises(TimedOut):
            async with asyncio.timeout(5):
                await asked(database, FOR_EVER)
        assert [tuple(row) for row in await asked(database, PROCESS)] == [(before,)]
    assert notes.failed == [(Shape("SELECT", ()), Kind.READ, "57", True)]


async def test_whoever_is_cancelled_leaves_no_connection_that_waits_for_an_answer(
    postgresql_options: EngineOptions,
) -> None:
    notes = Notes()
    async with watched(replace(postgresql_options, pool_size=1), notes) as database:
        [[before]] = await asked(database, PROCESS)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await asked(database, FOR_EVER)
        assert [tuple(row) for row in await asked(database, PROCESS)] != [(before,)]
    assert [error for _, _, error, _ in notes.failed] == ["interrupted"]


async def test_whoever_finds_all_connections_lent_waits_and_is_told_when_it_takes_too_long(
    postgresql_options: EngineOptions,
) -> None:
    few = replace(postgresql_options, pool_size=1, pool_timeout_seconds=0.2)
    async with watched(few, Notes()) as database:
        async with database.reading() as session:
            await session.execute(text("SELECT 1"))
            with pytest.raises(PoolExhausted):
                await asked(database, PROCESS)
        assert await asked(database, PROCESS)


async def ended(other: AsyncSession, statement: DirectStatement) -> None:
    """End the connection on which a statement runs, as soon as it does."""
    end = text(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE query = :asked AND state = 'active' AND pid <> pg_backend_pid()"
    )
    while not (await other.execute(end, {"asked": statement.text})).all():
        await asyncio.sleep(0.01)


async def test_if_a_connection_is_lost_another_is_asked(postgresql_options: EngineOptions) -> None:
    soon = DirectStatement(text("SELECT count(*), pg_sleep(0.3) FROM patients"))
    async with watched(replace(postgresql_options, pool_size=2), Notes()) as database, database.reading() as other:
        asking = asyncio.create_task(asked(database, soon))
        await ended(other, soon)
        assert [row[0] for row in await asking] == [0]


async def test_if_that_is_lost_too_it_is_told_as_such(postgresql_options: EngineOptions) -> None:
    async with watched(replace(postgresql_options, pool_size=2), Notes()) as database, database.reading() as other:
        asking = asyncio.create_task(asked(database, FOR_EVER))
        await ended(other, FOR_EVER)
        await ended(other, FOR_EVER)
        with pytest.raises(Unavailable):
            await asking
        assert await asked(database, COUNTED, more=0)
