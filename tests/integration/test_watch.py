"""What is slow is told without content, and what takes too long is ended: statements, and units of work as a whole."""

import asyncio
import logging
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from time import perf_counter

import pytest
from sqlalchemy import TextClause, text

from clarity.application.ports.telemetry import End, Kind, Shape, Unobserved, current_request
from clarity.bootstrap import opened_trail, units_of_work
from clarity.domain.errors import OutcomeUnknown, PoolExhausted, TimedOut, Transient
from clarity.domain.ids import RequestId
from clarity.persistence.engine import Database, EngineOptions, connect
from clarity.persistence.errors import translated
from clarity.persistence.unit_of_work import UnitsOfWork
from clarity.persistence.watch import Watch, class_of, shape_of
from clarity.security.keyring import Keyring
from tests.builders import a_patient, new_id
from tests.practice import sql_practice

FOR_EVER = {
    "postgresql": text("SELECT pg_sleep(600)"),
    "sqlite": text("WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"),
}


@dataclass(slots=True)
class Notes(Unobserved):
    """Writes down what it is told."""

    statements: list[tuple[Shape, Kind, bool]] = field(default_factory=list)
    failed: list[tuple[Shape, Kind, str, bool]] = field(default_factory=list)
    transactions: list[tuple[Kind, End, bool]] = field(default_factory=list)
    commits: int = 0
    connections: list[tuple[str, bool]] = field(default_factory=list)
    waits: list[bool] = field(default_factory=list)

    def statement(self, shape: Shape, kind: Kind, seconds: float, *, slow: bool = False) -> None:
        self.statements.append((shape, kind, slow))

    def failed_statement(self, shape: Shape, kind: Kind, seconds: float, error: str, *, cancelled: bool) -> None:
        self.failed.append((shape, kind, error, cancelled))

    def transaction(self, kind: Kind, seconds: float, end: End, *, long: bool) -> None:
        self.transactions.append((kind, end, long))

    def commit(self, seconds: float) -> None:
        self.commits += 1

    def connection(self, pool: str, seconds: float, *, in_time: bool) -> None:
        self.connections.append((pool, in_time))

    def recorded(self, seconds: float, *, durable: bool) -> None:
        self.waits.append(durable)


@asynccontextmanager
async def watched(options: EngineOptions, notes: Notes) -> AsyncIterator[Database]:
    database = connect(options, notes)
    try:
        yield database
    finally:
        await database.dispose()


@asynccontextmanager
async def units(options: EngineOptions, notes: Notes, keyring: Keyring) -> AsyncIterator[UnitsOfWork]:
    async with watched(options, notes) as database, opened_trail(database, keyring) as trail:
        yield units_of_work(database, keyring, trail)


def endless(database: Database) -> TextClause:
    return FOR_EVER[database.dialect_name]


async def test_a_unit_of_work_is_told_of_in_all_its_parts(database_options: EngineOptions, keyring: Keyring) -> None:
    notes = Notes()
    async with watched(database_options, notes) as database, sql_practice(database, keyring) as practice:
        patient = await practice.stored(a_patient())
        written = [shape.tables for shape, kind, _ in notes.statements if (shape.verb, kind) == ("INSERT", Kind.WRITE)]
        assert {"data_keys", "patients", "patient_identifiers", "audit_events"} <= {
            one for some in written for one in some
        }
        assert (notes.transactions, notes.commits, notes.waits) == ([(Kind.WRITE, End.DONE, False)], 1, [])
        await practice.opened(patient.id)
        assert notes.transactions[1:] == [(Kind.READ, End.DONE, False)]
        assert notes.waits == [True]
        kinds = {(shape.tables[0], kind) for shape, kind, _ in notes.statements if shape.tables}
        assert {("patients", Kind.READ), ("audit_events", Kind.TRAIL), ("audit_events", Kind.WRITE)} <= kinds
        assert {in_time for _, in_time in notes.connections} == {True}
        assert sum(state.in_use + state.waiting for state in database.pools()) == 0
        assert sum(state.idle for state in database.pools()) > 0


async def test_a_slow_statement_is_logged_by_its_tables_and_request_alone(
    database_options: EngineOptions, keyring: Keyring, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "clarity")
    notes, request = Notes(), RequestId(new_id())
    slow = replace(database_options, slow_statement_ms=0.0001, long_transaction_ms=0.0001)
    async with watched(slow, notes) as database, sql_practice(database, keyring) as practice:
        current_request.set(request)
        await practice.stored(a_patient(mrn="MRN-canary-1", notes="Quetzalcoatl"))
    assert all(slow for _, _, slow in notes.statements)
    assert notes.transactions == [(Kind.WRITE, End.DONE, True)]
    slow_ones = rf"slow statement request={request} kind=write verb=INSERT tables=(\w+,)*patients(,\w+)* duration_ms="
    assert re.search(slow_ones, caplog.text)
    assert f"long transaction request={request} kind=write end=done duration_ms=" in caplog.text
    assert "canary" not in caplog.text
    assert "Quetzalcoatl" not in caplog.text
    assert "VALUES" not in caplog.text


async def test_a_statement_ends_at_its_limit(database_options: EngineOptions, caplog: pytest.LogCaptureFixture) -> None:
    notes = Notes()
    async with watched(replace(database_options, statement_timeout_ms=100), notes) as database:
        for sessions in (database.reading, database.snapshot, database.writing):
            with pytest.raises(TimedOut), translated():
                async with sessions() as session, asyncio.timeout(5):
                    await session.execute(endless(database))
        async with database.reading() as session:
            assert await session.scalar(text("SELECT 1")) == 1
    assert [kind for _, kind, _, cancelled in notes.failed if cancelled] == [Kind.READ, Kind.READ, Kind.WRITE]
    assert {error for _, _, error, _ in notes.failed} <= {"57", "INTERRUPT"}
    assert caplog.text.count("cancelled statement request=-") == 3


async def test_a_unit_of_work_ends_at_its_limit_and_leaves_nothing(
    database_options: EngineOptions, keyring: Keyring
) -> None:
    notes = Notes()
    short = replace(database_options, transaction_timeout_ms=150, statement_timeout_ms=2_000)
    async with units(short, notes, keyring) as work:
        began = perf_counter()
        for begin in (work.begin, work.reading):
            with pytest.raises(TimedOut):
                async with begin() as one:
                    await one.session.execute(FOR_EVER[work.database.dialect_name])
        for begin in (work.begin, work.reading):
            with pytest.raises(TimedOut):
                async with begin():
                    await asyncio.sleep(3)
        assert perf_counter() - began < 3
        assert [end for _, end, _ in notes.transactions] == [End.TIMED_OUT] * 4
        async with work.begin() as one:
            await one.session.execute(text("SELECT 1"))
        assert notes.transactions[-1][1] is End.DONE


async def test_each_unit_of_work_has_its_own_time() -> None:
    watch = Watch(transaction_timeout_seconds=0.05)
    async with watch.transaction(Kind.READ):
        await asyncio.sleep(0.03)
    began = perf_counter()
    with pytest.raises(TimedOut):
        async with watch.transaction(Kind.READ):
            await asyncio.sleep(3)
    assert 0.045 < perf_counter() - began < 1
    task = asyncio.current_task()
    assert task is not None
    assert not task.cancelling()


async def test_a_commit_is_never_cut_short() -> None:
    notes = Notes()
    transaction = Watch(observer=notes, transaction_timeout_seconds=0.02).transaction(Kind.WRITE)
    async with transaction:
        with transaction.committing():
            await asyncio.sleep(0.05)
    transaction.ended()
    assert notes.transactions == [(Kind.WRITE, End.DONE, False)]


@pytest.mark.parametrize(
    ("error", "end"),
    [
        (OutcomeUnknown(), End.UNKNOWN),
        (Transient(), End.LOST_RACE),
        (TimedOut(), End.TIMED_OUT),
        (ValueError(), End.ROLLED_BACK),
        (None, End.DONE),
    ],
)
async def test_how_a_unit_of_work_ended_is_told(error: BaseException | None, end: End) -> None:
    notes = Notes()
    transaction = Watch(observer=notes).transaction(Kind.READ)
    async with transaction:
        pass
    transaction.ended(error)
    assert notes.transactions == [(Kind.READ, end, False)]


async def test_who_waits_for_a_connection_is_seen(database_options: EngineOptions) -> None:
    notes = Notes()
    small = replace(database_options, pool_size=1, max_overflow=0, pool_timeout_seconds=0.05)
    async with watched(small, notes) as database, database.reading() as session:
        await session.execute(text("SELECT 1"))

        async def another() -> None:
            async with database.reading() as waiting:
                await waiting.execute(text("SELECT 1"))

        task = asyncio.create_task(another())
        await asyncio.sleep(0.01)
        in_use = [(state.in_use, state.waiting) for state in database.pools() if state.in_use]
        with pytest.raises(PoolExhausted), translated():
            await task
    assert in_use == [(1, 1)]
    assert [in_time for _, in_time in notes.connections] == [True, False]


@pytest.mark.parametrize(
    ("statement", "shape"),
    [
        ("SELECT patients.id FROM patients JOIN data_keys ON true", Shape("SELECT", ("patients", "data_keys"))),
        ("INSERT INTO accounts (id) VALUES ($1)", Shape("INSERT", ("accounts",))),
        ("UPDATE accounts SET status = 'Lovelace'", Shape("UPDATE", ("accounts",))),
        ("WITH new AS (INSERT INTO patients VALUES ($1)) SELECT 1", Shape("INSERT", ("patients",))),
        ("WITH old AS (SELECT id FROM patients) SELECT id FROM old", Shape("SELECT", ("patients",))),
        ("BEGIN IMMEDIATE", Shape("BEGIN", ())),
        ("SELECT 1 FROM lovelace, byron", Shape("SELECT", ())),
        ("lovelace", Shape("OTHER", ())),
        ("", Shape("OTHER", ())),
    ],
)
def test_of_a_statement_only_its_verb_and_our_tables_are_told(statement: str, shape: Shape) -> None:
    assert shape_of(statement) == shape


@pytest.mark.parametrize(
    ("state", "told"),
    [
        ("57014", "57"),
        ("SQLITE_BUSY_SNAPSHOT", "BUSY"),
        ("SQLITE_LOVELACE", "other"),
        ("LOVELACE", "other"),
        ("", "other"),
    ],
)
def test_errors_are_told_out_of_a_closed_set(state: str, told: str) -> None:
    assert class_of(state) == told


async def test_what_the_library_logs_of_our_pool_is_not_taken_for_ours(
    database_options: EngineOptions, caplog: pytest.LogCaptureFixture
) -> None:
    for logger in ("", "sqlalchemy"):
        caplog.set_level(logging.INFO, logger)
    async with watched(database_options, Notes()) as database, database.reading() as session:
        await session.execute(text("SELECT 1"))
    names = {record.name for record in caplog.records if "Pool" in record.getMessage()}
    assert names
    assert not any(name.startswith("clarity") for name in names)


async def test_a_connection_that_is_given_up_leaves_the_file_to_others(sqlite: Database) -> None:
    async with sqlite.writing() as session:
        driver = (await (await session.connection()).get_raw_connection()).driver_connection
        assert driver is not None
        remembered = await driver.execute("SELECT name FROM sqlite_master")
        assert await remembered.fetchone()
        await session.invalidate()
    async with asyncio.timeout(2), sqlite.writing() as session:
        assert await session.scalar(text("SELECT 1")) == 1
