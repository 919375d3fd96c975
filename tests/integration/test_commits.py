"""What happens when a unit of work ends at the worst moment: in its COMMIT."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager

import pytest
from sqlalchemy import Connection, Engine, event, func, insert, make_url, select, text
from sqlalchemy.exc import OperationalError

from clarity.application.admission import admit, admit_new
from clarity.bootstrap import units_of_work
from clarity.domain.access import Action, Reason
from clarity.domain.audit import Outcome
from clarity.domain.errors import Conflict, NotFound, OutcomeUnknown, TrailUnavailable, Unavailable
from clarity.domain.patients import Patient
from clarity.domain.records import Resource
from clarity.persistence.care_team import CareTeamRow
from clarity.persistence.engine import Database, EngineOptions
from clarity.persistence.errors import is_unsettled
from clarity.persistence.patients.tables import PatientRow
from clarity.persistence.unit_of_work import SqlWork
from tests.builders import NOW, a_keyring, a_patient, an_actor, new_id, the_operator
from tests.fakes.work import MemoryTrail
from tests.practice import Practice, sql_practice
from tests.servers import PostgresDatabases


@pytest.fixture
async def practice(database: Database) -> AsyncIterator[Practice]:
    async with sql_practice(database, a_keyring()) as practice:
        yield practice


@contextmanager
def at_commit(database: Database, act: Callable[[Connection], object]) -> Iterator[None]:
    """Do something when the next transaction is about to be committed."""
    engine: Engine = database.writing.kw["bind"].sync_engine
    event.listen(engine, "commit", act, once=True)
    yield
    if event.contains(engine, "commit", act):
        event.remove(engine, "commit", act)


async def register(practice: Practice, patient: Patient) -> None:
    async with practice.begin() as work:
        admit_new(work, the_operator(), Action.REGISTER, Resource.PATIENT, patient.id, at=NOW)
        await work.patients.add(patient)


async def test_a_cancellation_does_not_interrupt_a_commit(practice: Practice, database: Database) -> None:
    ada = a_patient()
    registering = asyncio.create_task(register(practice, ada))
    with at_commit(database, lambda _: registering.cancel()), pytest.raises(asyncio.CancelledError):
        await registering
    assert (await practice.opened(ada.id)).id == ada.id
    told = [(told.action, told.outcome) for told in await practice.events()]
    assert told == [(Action.REGISTER, Outcome.SUCCEEDED), (Action.VIEW, Outcome.SUCCEEDED)]


async def test_a_second_cancellation_does_not_either(practice: Practice, database: Database) -> None:
    ada = a_patient()
    registering = asyncio.create_task(register(practice, ada))

    def cancel() -> None:
        registering.cancel()

    def cancel_again_and_again(_: Connection) -> None:
        cancel()
        asyncio.get_running_loop().call_soon(cancel)
        asyncio.get_running_loop().call_later(0.001, cancel)

    with at_commit(database, cancel_again_and_again), pytest.raises(asyncio.CancelledError):
        await registering
    assert (await practice.opened(ada.id)).id == ada.id


async def test_a_connection_that_breaks_in_a_commit_leaves_an_outcome_that_nobody_knows(
    postgresql: Database,
) -> None:
    async with sql_practice(postgresql, a_keyring()) as practice:
        ada = a_patient()

        def cut(connection: Connection) -> None:
            connection.exec_driver_sql("SELECT pg_terminate_backend(pg_backend_pid())")

        with at_commit(postgresql, cut), pytest.raises(OutcomeUnknown):
            await register(practice, ada)
        (told,) = await practice.events()
        assert (told.outcome, told.patient) == (Outcome.UNKNOWN, ada.id)
        with pytest.raises(NotFound):
            await practice.opened(ada.id)


async def test_an_outcome_that_nobody_knows_is_said_to_be_so_even_if_the_trail_cannot_take_it(
    postgresql: Database,
) -> None:
    async with sql_practice(postgresql, a_keyring()) as practice:

        def cut(connection: Connection) -> None:
            practice.refuse_events()
            connection.exec_driver_sql("SELECT pg_terminate_backend(pg_backend_pid())")

        with at_commit(postgresql, cut), pytest.raises(OutcomeUnknown):
            await register(practice, a_patient())


async def test_a_change_whose_events_are_refused_is_not_kept_and_the_trail_is_said_to_be_why(
    postgresql: Database, postgres: PostgresDatabases, postgresql_options: EngineOptions
) -> None:
    trail = MemoryTrail()  # the right is back before the failure is told: both are a database's, a moment apart
    units = units_of_work(postgresql, a_keyring(), trail)
    name = make_url(postgresql_options.url).database
    await postgres.run(f"REVOKE INSERT ON audit_events FROM {postgres.role}", database=name)
    with pytest.raises(TrailUnavailable):
        async with units.begin() as work:
            admit_new(work, the_operator(), Action.REGISTER, Resource.PATIENT, (ada := a_patient()).id, at=NOW)
            await work.patients.add(ada)
    assert [told.outcome for told in trail.events] == [Outcome.FAILED]
    async with postgresql.reading() as session:
        assert await session.scalar(select(func.count()).select_from(PatientRow)) == 0


async def test_a_commit_that_the_end_of_the_loop_cancels_is_not_said_to_have_failed(
    practice: Practice, database: Database
) -> None:
    def cancel(_: Connection) -> None:
        committing = asyncio.current_task()
        assert committing is not None
        asyncio.get_running_loop().call_soon(committing.cancel)

    with at_commit(database, cancel), pytest.raises(OutcomeUnknown):
        await register(practice, a_patient())
    told = {event.outcome for event in await practice.events()}
    assert Outcome.UNKNOWN in told
    assert Outcome.FAILED not in told


def test_a_commit_that_sqlite_could_not_write_may_come_back_after_a_crash() -> None:
    broken = sqlite3.OperationalError()
    broken.sqlite_errorname = "SQLITE_IOERR_FSYNC"
    assert is_unsettled(OperationalError("COMMIT", {}, broken))


@pytest.mark.parametrize("snapshot", [None, False, True])
async def test_a_connection_that_breaks_before_a_refusal_is_not_a_failure_nobody_foresaw(
    postgresql: Database, snapshot: bool | None
) -> None:
    async with sql_practice(postgresql, a_keyring()) as practice:
        ada = await practice.stored(a_patient())
        begin = practice.begin() if snapshot is None else practice.reading(snapshot=snapshot)
        with pytest.raises((Unavailable, NotFound)):
            async with begin as work:
                assert isinstance(work, SqlWork)
                sealed = await work.patients.get(ada.id)
                backend = await work.session.scalar(text("SELECT pg_backend_pid()"))
                async with postgresql.reading() as other:
                    await other.execute(text("SELECT pg_terminate_backend(:pid, 5000)"), {"pid": backend})
                admit(work, an_actor(), Action.VIEW, sealed, at=NOW)
        refusal = (await practice.events())[-1]
        assert (refusal.outcome, refusal.reason) == (Outcome.REFUSED, Reason.NO_TIE)


async def test_an_error_in_a_commit_leaves_nothing_and_the_next_unit_of_work_begins(
    practice: Practice, database: Database
) -> None:
    def refuse(_: Connection) -> None:
        raise ZeroDivisionError

    ada, bob = a_patient(), a_patient()
    with at_commit(database, refuse), pytest.raises(ZeroDivisionError):
        await register(practice, ada)
    (told,) = await practice.events()
    assert (told.outcome, told.version, told.sealed_digest) == (Outcome.FAILED, 0, b"")
    await register(practice, bob)
    with pytest.raises(NotFound):
        await practice.opened(ada.id)


async def test_a_commit_that_sqlite_refuses_does_not_hold_up_the_next(sqlite: Database) -> None:
    async with sql_practice(sqlite, a_keyring()) as practice:
        with pytest.raises(Conflict):
            async with practice.begin() as work:
                assert isinstance(work, SqlWork)
                await work.session.execute(text("PRAGMA defer_foreign_keys = ON"))
                await work.session.execute(
                    insert(CareTeamRow).values(patient_id=new_id(), practitioner_id=new_id(), since_version=1)
                )
        await register(practice, a_patient())
