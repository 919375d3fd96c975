"""While the trail cannot be written nothing of a patient leaves, by whatever route, and afterwards all is as before."""

import asyncio
import shutil
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from uuid import UUID

import pytest
from httpx import AsyncClient, Response
from sqlalchemy import make_url

from clarity.domain.patients import Patient
from clarity.domain.records import Resource
from clarity.persistence import engine
from clarity.persistence.engine import EngineOptions, unpooled
from clarity.security.keyring import Keyring
from tests.api.clinic import code, opened_clinic, seen
from tests.api.house import LABELS, ROLES, SSN, Caller, House, furnished
from tests.api.test_operations import OF_AUTHORS, OPERATIONS, Documented, Operation, documented
from tests.builders import a_patient
from tests.practice import Practice, sql_practice
from tests.servers import PostgresDatabases, PostgresServer, opened, postgres_files

NOTES = "Sleeps badly since October."
# The trail gives up within this, and so does what waits for a table or for the file.
_SECONDS = 0.25
_AT_ONCE = 6
_RECOVERY_SECONDS = 10.0
_OF_NO_PATIENT = {Resource.ACCOUNT, Resource.SESSION, Resource.CREDENTIAL}

Trouble = Callable[[EngineOptions, EngineOptions], AbstractAsyncContextManager[None]]
RETRYABLE = {"trail-unavailable", "busy", "unavailable", "overloaded", "transient"}


@pytest.fixture
async def impatient(
    database_options: EngineOptions, keyring: Keyring, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Practice]:
    """Return a practice on each database that waits for nothing long, with room for few events at once."""
    monkeypatch.setattr(engine, "_BUSY_SECONDS", _SECONDS)
    options = replace(database_options, pool_timeout_seconds=10, statement_timeout_ms=int(_SECONDS * 1000))
    async with (
        opened(options) as database,
        sql_practice(database, keyring, timeout_seconds=2 * _SECONDS, capacity=_AT_ONCE - 1) as practice,
    ):
        yield practice


@dataclass(slots=True)
class Ask:
    """Something that somebody asks for, and was shown before."""

    one: Documented
    operation: Operation
    caller: Caller
    ids: dict[str, object]

    async def answer(self) -> Response:
        """Ask for it."""
        return await self.one.by(self.caller.http, self.ids, self.operation)


@dataclass(slots=True)
class Round:
    """Everything of patients that the routes of the documentation show, each to somebody who may see it."""

    house: House
    asks: list[Ask] = field(default_factory=list)
    seen: list[Response] = field(default_factory=list)

    async def begin(self) -> None:
        """Find out what is shown while all is well, by asking for everything there is."""
        for one in documented(self.house.clinic):
            operation = OPERATIONS.get(one.name)
            if operation is None or operation.resource in _OF_NO_PATIENT or operation.alone or one.name in OF_AUTHORS:
                continue
            caller = next(caller for caller in map(self.house.caller, ROLES) if operation.is_for(caller, self.house))
            ids = {"patient_id": self.house.normal_patient_of(caller).id, "practitioner_id": self.house.stranger}
            ask = Ask(one, operation, caller, dict(ids))
            answer = await ask.answer()
            if answer.is_success and answer.content:
                self.asks.append(ask)
                self.seen.append(answer)

    async def again(self) -> list[Response]:
        """Ask for all of it again, for several at once: more than the queue of the trail has room for."""
        several = asyncio.Semaphore(_AT_ONCE)

        async def answer(ask: Ask) -> Response:
            async with several:
                return await ask.answer()

        return list(await asyncio.gather(*map(answer, self.asks)))

    def tells(self, answer: Response) -> bool:
        """Tell whether something of a patient stands in an answer."""
        names = [str(known.id) for known in self.house.known]
        return any(word in answer.text for word in (NOTES, SSN, *names))

    async def audited(self, answers: Sequence[Response]) -> bool:
        """Tell whether the trail has events of the requests that were answered so."""
        told = {event.request for event in await self.house.clinic.practice.events()}
        return told >= {UUID(answer.headers["x-request-id"]) for answer in answers}


@asynccontextmanager
async def _revoked(application: EngineOptions, owner: EngineOptions) -> AsyncIterator[None]:
    """Take away what the trail needs: on SQLite, which has no rights, a trigger does."""
    if application.dialect_name == "sqlite":
        take = "CREATE TRIGGER full BEFORE INSERT ON audit_events BEGIN SELECT RAISE(ABORT, 'no'); END"
        give = "DROP TRIGGER full"
    else:
        role = make_url(application.url).username
        take, give = f"REVOKE INSERT ON audit_events FROM {role}", f"GRANT INSERT ON audit_events TO {role}"
    await _run(owner, take)
    yield
    await _run(owner, give)


async def _run(options: EngineOptions, statement: str) -> None:
    other = unpooled(options)
    async with other.begin() as connection:
        await connection.exec_driver_sql(statement)
    await other.dispose()


@asynccontextmanager
async def _locked(_: EngineOptions, owner: EngineOptions) -> AsyncIterator[None]:
    """Let another session hold the table of events, or on SQLite the file."""
    other = unpooled(owner)
    async with other.begin() as connection:
        if owner.dialect_name == "postgresql":
            await connection.exec_driver_sql("LOCK TABLE audit_events IN EXCLUSIVE MODE")
        yield
    await other.dispose()


@asynccontextmanager
async def _flusher_dying(application: EngineOptions, owner: EngineOptions) -> AsyncIterator[None]:
    """Let the task that writes the trail die again and again, of what nobody foresaw."""
    dying = asyncio.create_task(_kill_flushers())
    async with _locked(application, owner):
        yield
    dying.cancel()
    with suppress(asyncio.CancelledError):
        await dying


async def _kill_flushers() -> None:
    while True:
        for task in asyncio.all_tasks():
            if task.get_name() == "audit-trail":
                task.cancel()
        await asyncio.sleep(_SECONDS / 10)


@pytest.mark.parametrize(
    "trouble", [_revoked, *(pytest.param(trouble, marks=pytest.mark.soak) for trouble in (_locked, _flusher_dying))]
)
async def test_nothing_leaves_while_the_trail_cannot_be_written_and_afterwards_all_is_well(
    impatient: Practice,
    keyring: Keyring,
    database_options: EngineOptions,
    owner_options: EngineOptions,
    trouble: Trouble,
) -> None:
    async with opened_clinic(impatient, keyring) as clinic:
        rounds = Round(await furnished(clinic, LABELS[:1]))
        await rounds.begin()
        telling = {ask.one.name for ask, answer in zip(rounds.asks, rounds.seen, strict=True) if rounds.tells(answer)}
        assert telling >= {"list_patients", "search_patients", "view_patient", "view_patient_history"}
        assert await rounds.audited(rounds.seen)
        async with trouble(database_options, owner_options):
            answers = await rounds.again()
        assert "trail-unavailable" in {code(answer) for answer in answers}
        for ask, answer in zip(rounds.asks, answers, strict=True):
            assert answer.status_code == 503, (ask.one.name, answer.text)
            assert code(answer) in RETRYABLE, ask.one.name
            assert not rounds.tells(answer), ask.one.name
            assert int(answer.headers["retry-after"]) > 0
        readings = [ask for ask in rounds.asks if ask.one.method == "GET"]
        await recovered(readings[0].answer)
        again = [await ask.answer() for ask in readings]
        assert [answer.status_code for answer in again] == [200] * len(again)
        assert await rounds.audited(again)


async def test_who_leaves_before_the_trail_has_it_is_shown_nothing_and_harms_nobody(
    impatient: Practice, keyring: Keyring, owner_options: EngineOptions
) -> None:
    async with opened_clinic(impatient, keyring) as clinic:
        desk = await clinic.front_desk()
        ada = await impatient.stored(a_patient())
        async with _locked(owner_options, owner_options):
            gone = [asyncio.create_task(desk.get(f"/patients/{ada.id}")) for _ in range(3)]
            await asyncio.sleep(_SECONDS / 5)
            for request in gone:
                request.cancel()
            await asyncio.wait(gone)
            shown = [task.result() for task in gone if not task.cancelled()]
            assert not [answer.text for answer in shown if answer.status_code != 503]
        await recovered(lambda: desk.get(f"/patients/{ada.id}"))


async def recovered(ask: Callable[[], Awaitable[Response]]) -> None:
    """Ask until there is an answer: whoever was writing to the trail may be pausing before the next try."""
    async with asyncio.timeout(_RECOVERY_SECONDS):
        while not (await ask()).is_success:
            await asyncio.sleep(_SECONDS / 5)


# A disk that is full


@contextmanager
def disk(folder: Path, megabytes: int) -> Iterator[Path]:
    """Let a folder have room for so much and no more."""
    folder.mkdir()
    mounting = ("/bin/mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "none", folder)
    if subprocess.run(mounting, stderr=subprocess.DEVNULL, check=False).returncode:
        pytest.skip("mounting a small disk is not permitted here")
    try:
        yield folder
    finally:
        subprocess.run(("/bin/umount", folder), check=True)


@contextmanager
def filled(folder: Path) -> Iterator[None]:
    """Leave no room on a small disk meanwhile."""
    filler = folder / "filler"
    with suppress(OSError), filler.open("wb") as file:
        while True:
            file.write(bytes(1 << 20))
    try:
        yield
    finally:
        filler.unlink()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Return a folder with room for four megabytes."""
    with disk(tmp_path / "disk", 4) as folder:
        yield folder


@pytest.fixture
def postgres_on_a_small_disk() -> Iterator[PostgresServer]:
    """Return a server whose databases have 200 megabytes, in the folder `disk` of its own."""
    with postgres_files({"fsync": "on"}) as server, disk(server.folder / "disk", 200) as folder:
        subprocess.run(("/bin/mv", server.data, folder / "data"), check=True)
        server.data.symlink_to(folder / "data")
        server.start()
        try:
            yield server
        finally:
            server.stop()


async def test_nothing_leaves_while_the_disk_is_full(small_disk: Path, sqlite_template: Path, keyring: Keyring) -> None:
    path = shutil.copy(sqlite_template, small_disk / "practice.db")
    async with (
        opened(EngineOptions(url=f"sqlite+aiosqlite:///{path}")) as database,
        sql_practice(database, keyring, timeout_seconds=2 * _SECONDS) as practice,
        opened_clinic(practice, keyring) as clinic,
    ):
        ada = await practice.stored(a_patient(notes=NOTES))
        desk = await clinic.front_desk()
        with filled(small_disk):
            answers = [await desk.get(f"/patients/{ada.id}") for _ in range(2)]
            # What is in the log of the database already has its place; a change needs more than that.
            changes = [await changed(desk, ada) for _ in range(2)]
        for answer in (*answers, *changes):
            assert answer.status_code == 503 or await _told(practice, answer)
            assert answer.status_code == 503 or answer is not changes[-1]
        assert 503 in {answer.status_code for answer in (*answers, *changes)}
        await recovered(lambda: desk.get(f"/patients/{ada.id}"))


@pytest.mark.soak
async def test_nothing_leaves_while_the_disk_of_the_server_is_full(
    postgres_on_a_small_disk: PostgresServer, keyring: Keyring
) -> None:
    server = postgres_on_a_small_disk
    databases = PostgresDatabases(server.options, "wal_log")
    await databases.prepare()
    async with (
        opened(databases.application_of(await databases.create())) as database,
        sql_practice(database, keyring, timeout_seconds=2 * _SECONDS) as practice,
        opened_clinic(practice, keyring) as clinic,
    ):
        ada = await practice.stored(a_patient(notes=NOTES))
        desk = await clinic.front_desk()
        shown: list[Response] = []
        with filled(server.folder / "disk"):
            # What tables and log have room for already is still taken.
            while (answer := await desk.get(f"/patients/{ada.id}")).status_code == 200 and len(shown) < 2_000:
                shown.append(answer)
            assert (answer.status_code, NOTES in answer.text) == (503, False)
            assert (await changed(desk, ada)).status_code == 503
        server.stop()  # if it has not given up itself
        server.start()
        await recovered(lambda: desk.get(f"/patients/{ada.id}"))
        for answer in shown:
            assert await _told(practice, answer)
        assert (await changed(desk, ada)).status_code == 200


async def changed(desk: AsyncClient, patient: Patient) -> Response:
    return await desk.patch(f"/patients/{patient.id}", json={"gender": "other"}, headers=seen(1))


async def _told(practice: Practice, answer: Response) -> bool:
    return UUID(answer.headers["x-request-id"]) in {event.request for event in await practice.events()}
