"""What changed since somebody last looked, where transactions of PostgreSQL run beside one another."""

import asyncio
import os
import random
import signal
import subprocess
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from uuid import UUID

import pytest
from sqlalchemy import make_url, text
from sqlalchemy.ext.asyncio import AsyncConnection

from clarity.application.ports.search import Horizon
from clarity.domain.errors import HorizonLost
from clarity.domain.ids import PatientId
from clarity.domain.patients import Patient
from clarity.persistence.changes import SqlChangeFeed
from clarity.persistence.engine import Database, EngineOptions, unpooled
from clarity.persistence.trail_guard import MIGRATING
from clarity.security.keyring import Keyring
from tests.builders import a_patient
from tests.practice import Practice, sql_practice
from tests.servers import PostgresDatabases, PostgresServer, opened, postgres_files, postgres_programs

TOUCH = "UPDATE patients SET version = version + 1 WHERE id = '{}' RETURNING version"
MANY_SAVEPOINTS = (
    "DO $$ BEGIN FOR n IN 1..100 LOOP BEGIN UPDATE patients SET version = version + 1 WHERE id = '{}';"
    " EXCEPTION WHEN division_by_zero THEN NULL; END; END LOOP; END $$"
)
FORGET = "UPDATE data_keys SET wrapped = NULL, destroyed_at = now() WHERE subject_id = '{}'"
# Numbers as they come with a dump from a cluster that has seen more.
FROM_AFAR = (
    "ALTER TABLE patients DISABLE TRIGGER patients_stamp_change",
    "UPDATE patients SET changed_in = 1000000000000",
    "ALTER TABLE patients ENABLE ALWAYS TRIGGER patients_stamp_change",
)


@dataclass(slots=True)
class Ward:
    """Some patients, who writes to their rows, and who looks what changed."""

    owner: EngineOptions
    feed: SqlChangeFeed
    patients: Sequence[Patient]
    horizon: Horizon

    async def look(self) -> set[PatientId]:
        """Return whose rows came, and look from there the next time."""
        changes = await self.feed.since(self.horizon)
        assert changes.complete
        self.horizon = changes.horizon
        came = [patient.id for patient in self.patients for change in changes.changed if change.id == patient.id.bytes]
        assert len(came) == len(changes.changed)
        return set(came)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncConnection]:
        """Begin a transaction of the owner of the tables, which is committed at the end."""
        engine = unpooled(self.owner)
        try:
            async with engine.begin() as connection:
                await connection.execute(text(MIGRATING))
                yield connection
        finally:
            await engine.dispose()

    async def touched(self, patient: Patient) -> None:
        """Write to a row in a transaction of its own."""
        async with self.transaction() as connection:
            await touch(connection, patient)


async def touch(connection: AsyncConnection, patient: Patient) -> int:
    """Write to a row and return its version."""
    return int((await connection.exec_driver_sql(TOUCH.format(patient.id))).scalar_one())


async def shut_down(server: PostgresServer) -> None:
    """Let a server end in good order."""
    status = server.data / "postmaster.pid"
    os.kill(int(status.read_text().partition("\n")[0]), signal.SIGINT)
    async with asyncio.timeout(30):
        while status.exists():
            await asyncio.sleep(0.01)


def address_of(options: EngineOptions) -> str:
    return make_url(options.url).set(drivername="postgresql").render_as_string(hide_password=False)


def run(program: str, *arguments: str, told: bytes = b"") -> bytes:
    """Run a program of PostgreSQL and return what it says."""
    command = [str(postgres_programs() / program), *arguments]
    return subprocess.run(command, check=True, capture_output=True, input=told).stdout


async def now(feed: SqlChangeFeed) -> Horizon:
    async with feed.all_since(None) as stream:
        return stream.horizon


@pytest.fixture
async def practice(postgresql: Database, keyring: Keyring) -> AsyncIterator[Practice]:
    async with sql_practice(postgresql, keyring) as practice:
        yield practice


@pytest.fixture
async def ward(
    practice: Practice,
    postgres: PostgresDatabases,
    postgresql: Database,
    postgresql_options: EngineOptions,
    keyring: Keyring,
) -> AsyncIterator[Ward]:
    patients = [await practice.stored(a_patient()) for _ in range(3)]
    feed = SqlChangeFeed(postgresql, keyring)
    yield Ward(postgres.as_owner(postgresql_options), feed, patients, await now(feed))
    await feed.aclose()


async def test_who_commits_after_younger_ones_is_not_missed(ward: Ward) -> None:
    ada, bob, eve = ward.patients
    async with ward.transaction() as old:
        await touch(old, ada)
        await ward.touched(bob)
        assert await ward.look() == {bob.id}
        assert await ward.look() == set()
        async with ward.transaction() as younger:
            await touch(younger, eve)
            assert await ward.look() == set()
        assert await ward.look() == {eve.id}
    assert await ward.look() == {ada.id}
    assert await ward.look() == set()


async def test_what_was_written_within_savepoints_is_not_missed(ward: Ward) -> None:
    ada, bob, eve = ward.patients
    async with ward.transaction() as connection:
        async with connection.begin_nested(), connection.begin_nested():
            await touch(connection, ada)
        assert await ward.look() == set()
        undone = await connection.begin_nested()
        await touch(connection, bob)
        await undone.rollback()
        assert await ward.look() == set()
    assert await ward.look() == {ada.id}
    async with ward.transaction() as connection:
        # More than the server keeps in memory of each transaction.
        await connection.exec_driver_sql(MANY_SAVEPOINTS.format(eve.id))
        assert await ward.look() == set()
    assert await ward.look() == {eve.id}


async def test_what_was_rolled_back_never_comes(ward: Ward) -> None:
    with pytest.raises(ZeroDivisionError):
        async with ward.transaction() as connection:
            await touch(connection, ward.patients[0])
            raise ZeroDivisionError
    assert await ward.look() == set()


@pytest.mark.parametrize("where", ["here", "in another database"])
async def test_nothing_comes_again_because_a_transaction_is_open(
    ward: Ward, postgres: PostgresDatabases, where: str
) -> None:
    ada, bob, eve = ward.patients
    options = ward.owner if where == "here" else postgres.server
    async with unpooled(options).connect() as connection:
        await connection.exec_driver_sql("SELECT pg_current_xact_id()")
        if where == "here":
            await connection.execute(text(MIGRATING))
            await touch(connection, eve)
        for _ in range(3):
            for patient in (ada, bob):
                await ward.touched(patient)
                assert await ward.look() == {patient.id}
            assert await ward.look() == set()
        await connection.commit()
    assert await ward.look() == ({eve.id} if where == "here" else set())


async def test_numbers_of_another_cluster_do_not_come_again_and_again(ward: Ward) -> None:
    ada = ward.patients[0]
    for statement in FROM_AFAR:
        async with ward.transaction() as connection:
            await connection.exec_driver_sql(statement)
    assert await ward.look() == set()
    await ward.touched(ada)
    assert await ward.look() == {ada.id}
    assert await ward.look() == set()


async def test_a_restored_dump_is_another_store_and_is_stamped_on(
    ward: Ward, postgres: PostgresDatabases, keyring: Keyring
) -> None:
    name = await postgres.create(template="template0", beside=True)
    dump = await asyncio.to_thread(run, "pg_dump", "-d", address_of(ward.owner))
    restored = ("-q", "-v", "ON_ERROR_STOP=1", "-d", address_of(postgres.owner_of(name)))
    await asyncio.to_thread(run, "psql", *restored, told=dump)
    async with opened(postgres.owner_of(name)) as database:
        feed = SqlChangeFeed(database, keyring)
        with pytest.raises(HorizonLost):
            await feed.since(ward.horizon)
        there = Ward(postgres.owner_of(name), feed, ward.patients, await now(feed))
        await there.touched(ward.patients[0])
        assert await there.look() == {ward.patients[0].id}
        await feed.aclose()


async def test_another_table_in_the_place_of_this_one_is_another_store(ward: Ward) -> None:
    async with ward.transaction() as connection:
        # The log of contacts refuses to be emptied.
        await connection.exec_driver_sql("SET LOCAL session_replication_role = replica")
        await connection.exec_driver_sql("TRUNCATE patients CASCADE")
    with pytest.raises(HorizonLost):
        await ward.look()


async def test_who_switches_triggers_off_is_stamped_all_the_same(ward: Ward) -> None:
    ada = ward.patients[0]
    async with ward.transaction() as connection:
        await connection.exec_driver_sql("SET LOCAL session_replication_role = replica")
        await touch(connection, ada)
    assert await ward.look() == {ada.id}


async def test_another_table_of_that_name_does_not_keep_a_forgotten_name_in_memory(ward: Ward) -> None:
    ada = ward.patients[0]
    async with ward.transaction() as connection:
        await connection.exec_driver_sql("CREATE TEMPORARY TABLE patients (id uuid, changed_in bigint)")
        await connection.exec_driver_sql(FORGET.format(ada.id))
    assert await ward.look() == {ada.id}


async def test_a_lost_connection_is_made_anew(ward: Ward) -> None:
    ada = ward.patients[0]
    await ward.touched(ada)
    assert await ward.look() == {ada.id}
    await ward.touched(ada)
    async with ward.transaction() as connection:
        ended = "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
        await connection.exec_driver_sql(
            f"{ended} WHERE datname = current_database() AND pid <> pg_backend_pid() AND query LIKE '%changed_in%'"
        )
    assert await ward.look() == {ada.id}


async def test_every_version_that_was_committed_before_a_look_is_known_after_it(ward: Ward) -> None:
    lot = random.Random(20_260_314)
    committed: dict[PatientId, int] = {}
    known: dict[PatientId, int] = {}

    async def write() -> None:
        engine = unpooled(ward.owner)
        async with engine.connect() as connection:
            for _ in range(25):
                await connection.execute(text(MIGRATING))
                patient = lot.choice(ward.patients)
                savepoint = await connection.begin_nested()
                version = await touch(connection, patient)
                await asyncio.sleep(lot.random() / 500)
                if lot.random() < 0.3:
                    await savepoint.rollback()
                    await connection.commit()
                elif lot.random() < 0.2:
                    await connection.rollback()
                else:
                    await connection.commit()
                    committed[patient.id] = max(version, committed.get(patient.id, 0))
        await engine.dispose()

    async def look_on(writers: Sequence["asyncio.Task[None]"]) -> int:
        looks = 0
        while True:
            over = all(writer.done() for writer in writers)
            before = dict(committed)
            changes = await ward.feed.since(ward.horizon)
            ward.horizon = changes.horizon
            for change in changes.changed:
                known[PatientId(UUID(bytes=change.id))] = change.version
            assert all(known.get(patient, 0) >= version for patient, version in before.items())
            looks += 1
            if over:
                return looks

    async with asyncio.TaskGroup() as group:
        writers = [group.create_task(write()) for _ in range(4)]
        looking = group.create_task(look_on(writers))
    assert looking.result() > 10
    assert known == committed


@pytest.mark.soak
@pytest.mark.parametrize("what", ["promoted", "crashed"])
async def test_a_server_that_was_promoted_or_crashed_is_another_store(keyring: Keyring, what: str) -> None:
    with postgres_files({"wal_level": "replica", "restore_command": "false"}) as server:
        server.start()
        databases = PostgresDatabases(server.options, "file_copy")
        await databases.prepare()
        options = databases.application_of(await databases.create())
        async with opened(options) as database:
            horizon = await now(SqlChangeFeed(database, keyring))
        if what == "promoted":
            await shut_down(server)
            # It takes itself for a copy that is brought up to date from an archive, in which nothing is left.
            (server.data / "recovery.signal").touch()
        server.kill()
        server.start()
        async with opened(options) as database:
            feed = SqlChangeFeed(database, keyring)
            with pytest.raises(HorizonLost):
                await feed.since(horizon)
            await feed.aclose()
