"""A server that is killed while it writes, and one that is asked to stop: what was acknowledged is there, once."""

import asyncio
import json
import random
import signal
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import pytest
from httpx import AsyncClient, Timeout, TransportError
from pydantic import SecretStr
from sqlalchemy import select

from clarity.audit.encoding import decode
from clarity.bootstrap import operator, running
from clarity.config import Settings
from clarity.domain.access import Action, Role
from clarity.domain.audit import AuditEvent, Outcome
from clarity.domain.identifiers import IndexKind
from clarity.domain.records import Resource
from clarity.persistence.audit import AuditEventRow
from clarity.persistence.engine import Database
from clarity.persistence.history import RecordVersionRow
from clarity.persistence.idempotency import IdempotencyKeyRow
from clarity.persistence.keys import DataKeyRow
from clarity.persistence.patients.tables import PatientIdentifierRow, PatientRow
from clarity.upkeep import make_keys
from tests.serving import Clinic
from tests.shells import PASSWORD, surroundings

_EMAIL = "desk@clinic.example"
_CLIENTS = 6
_PATCHES = 2
_SECONDS = 30.0


@pytest.fixture
async def clinic(tmp_path: Path, database_url: str) -> Clinic:
    """Make keys, and an account for the front desk."""
    settings = Settings(data_dir=tmp_path / "data", async_database_uri=SecretStr(database_url))
    make_keys(settings)
    async with running(settings) as services:
        await services.accounts.add(operator(), email=_EMAIL, name="Desk", role=Role.FRONT_DESK, password=PASSWORD)
    return Clinic(tmp_path, surroundings() | {"DATA_DIR": str(settings.data_dir), "ASYNC_DATABASE_URI": database_url})


@asynccontextmanager
async def logged_in(address: str) -> AsyncIterator[AsyncClient]:
    async with AsyncClient(base_url=address, timeout=Timeout(_SECONDS)) as client:
        answer = await client.post("/api/v1/sessions", json={"email": _EMAIL, "password": PASSWORD})
        client.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"
        yield client


@dataclass(slots=True)
class Load:
    """Clients that register patients and change them; and what they were told of it.

    `asked` are the registrations, by MRN; `acknowledged` the version that each patient was said to be at, and
    `changing` those of them for whom the answer to a change is still awaited.
    """

    client: AsyncClient
    asked: set[str] = field(default_factory=set)
    acknowledged: dict[UUID, int] = field(default_factory=dict)
    changing: set[UUID] = field(default_factory=set)
    mrns: dict[UUID, str] = field(default_factory=dict)
    _numbers: Iterable[int] = field(default_factory=lambda: iter(range(100_000)))

    async def go_on(self) -> None:
        """Write until the server is gone."""
        try:
            for number in self._numbers:
                await self._one_patient(f"MRN-{number:05}")
        except TransportError:
            return

    async def register(self, mrn: str) -> UUID:
        """Register a patient; the same MRN makes the same request."""
        self.asked.add(mrn)
        answer = await self.client.post("/api/v1/patients", json=a_body(mrn), headers={"Idempotency-Key": f"key-{mrn}"})
        assert answer.status_code == 201, answer.text
        patient = UUID(answer.json()["id"])
        self.mrns[patient] = mrn
        return patient

    async def _one_patient(self, mrn: str) -> None:
        patient = await self.register(mrn)
        self.acknowledged[patient] = 1
        for version in range(1, 1 + _PATCHES):
            self.changing.add(patient)
            answer = await self.client.patch(
                f"/api/v1/patients/{patient}",
                json={"telecoms": [{"system": "phone", "value": f"(617) 555-01{version:02}"}]},
                headers={"If-Match": f'"{version}"'},
            )
            assert answer.status_code == 200, answer.text
            self.acknowledged[patient] = version + 1
            self.changing.discard(patient)

    def writes(self) -> int:
        return sum(self.acknowledged.values())


def a_body(mrn: str) -> dict[str, Any]:
    return {
        "names": [{"family": "Lovelace", "given": ["Ada"], "use": "official"}],
        "born": "1985-12-10",
        "gender": "female",
        "identifiers": [{"kind": "mrn", "value": mrn}],
    }


@dataclass(frozen=True, slots=True)
class Stored:
    """What a database holds of patients, and what its trail says was written."""

    patients: dict[UUID, int]
    sealed: dict[tuple[UUID, int], bytes]
    keys: list[UUID]
    mrns: list[UUID]
    answered: list[UUID]
    events: list[AuditEvent]

    @classmethod
    async def of(cls, database: Database) -> "Stored":
        async with database.snapshot() as session:
            rows = (await session.execute(select(PatientRow.id, PatientRow.version, PatientRow.sealed))).all()
            before = await session.execute(
                select(RecordVersionRow.row_id, RecordVersionRow.version, RecordVersionRow.sealed)
            )
            keys = await session.scalars(select(DataKeyRow.subject_id).where(DataKeyRow.wrapped.is_not(None)))
            mrns = await session.scalars(
                select(PatientIdentifierRow.patient_id).where(PatientIdentifierRow.kind == IndexKind.MRN)
            )
            answered = await session.scalars(select(IdempotencyKeyRow.record_id))
            encoded = await session.scalars(select(AuditEventRow.encoded))
            events = [decode(data) for data in encoded]
            return cls(
                patients={row.id: row.version for row in rows},
                sealed={(row[0], row[1]): row[2] for row in (*rows, *before)},
                keys=list(keys),
                mrns=list(mrns),
                answered=list(answered),
                events=[event for event in events if event.resource is Resource.PATIENT],
            )

    def written(self) -> Counter[tuple[UUID | None, int, Action, bytes]]:
        """Count what the trail says was written: whose record, which version, how, and the digest of the bytes."""
        return Counter(
            (event.patient, event.version, event.action, event.sealed_digest)
            for event in self.events
            if event.version and event.outcome is Outcome.SUCCEEDED
        )


def assert_whole(stored: Stored) -> None:
    """Hold everything stored against the trail: every version of every patient, and nothing without a patient."""
    expected = {(patient, version) for patient, newest in stored.patients.items() for version in range(1, newest + 1)}
    assert stored.sealed.keys() == expected
    assert stored.written() == Counter(
        (patient, version, Action.REGISTER if version == 1 else Action.CHANGE, sha256(sealed).digest())
        for (patient, version), sealed in stored.sealed.items()
    )
    for of_each in (stored.keys, stored.mrns, stored.answered):
        assert Counter(of_each) == Counter(stored.patients.keys())


async def test_what_was_acknowledged_survives_a_killed_server_and_nothing_else_is_half_there(
    clinic: Clinic, database: Database
) -> None:
    wanted = random.randrange(20, 120)  # another moment each time; what is asserted holds at all of them
    async with clinic.serving() as (server, address), logged_in(address) as client:
        load = Load(client)
        clients = [asyncio.create_task(load.go_on()) for _ in range(_CLIENTS)]
        async with asyncio.timeout(_SECONDS):
            while load.writes() < wanted:
                await asyncio.sleep(0.001)
        server.kill()
        assert await server.wait() == -signal.SIGKILL
        await asyncio.gather(*clients)

    stored = await Stored.of(database)
    assert_whole(stored)
    for patient, version in load.acknowledged.items():
        assert stored.patients[patient] in ({version, version + 1} if patient in load.changing else {version})
    unanswered = load.asked - set(load.mrns.values())
    assert len(unanswered) + len(load.changing) == _CLIENTS
    assert len(stored.patients.keys() - load.acknowledged.keys()) <= len(unanswered)

    # Whoever was not answered asks again, and is served as if nothing had happened.
    async with clinic.serving() as (_, address), logged_in(address) as client:
        load.client = client
        again = {await load.register(mrn) for mrn in unanswered}
        assert not again & load.acknowledged.keys()
        for patient, mrn in load.mrns.items():
            answer = await client.get(f"/api/v1/patients/{patient}")
            assert answer.json()["identifiers"][0]["value"] == mrn
            assert answer.headers["ETag"] == f'"{stored.patients.get(patient, 1)}"'
    complete = await Stored.of(database)
    assert_whole(complete)
    assert complete.patients.keys() == load.acknowledged.keys() | again
    assert len(complete.patients) == len(load.asked)


async def test_a_server_that_is_told_to_stop_answers_what_it_began(clinic: Clinic, database: Database) -> None:
    async with clinic.serving() as (server, address), logged_in(address) as client:
        body = json.dumps(a_body("MRN-00001")).encode()
        host, port = urlsplit(address).hostname, urlsplit(address).port
        reader, writer = await asyncio.open_connection(host, port)
        lines = (
            "POST /api/v1/patients HTTP/1.1",
            f"Host: {host}",
            f"Authorization: {client.headers['Authorization']}",
            "Content-Type: application/json",
            f"Content-Length: {len(body)}",
            "Idempotency-Key: key-00001",
            "Expect: 100-continue",
        )
        writer.write("".join(f"{line}\r\n" for line in (*lines, "")).encode())
        async with asyncio.timeout(_SECONDS):
            # So the server says that it has begun to read this request.
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 100 ")
            writer.write(body[:10])
            server.send_signal(signal.SIGTERM)
            await _nobody_listens(host, port)
            assert server.returncode is None
            writer.write(body[10:])
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            assert head.startswith("HTTP/1.1 201 ")
            answered = json.loads(await reader.read())
            assert await server.wait() == 0
        writer.close()
    stored = await Stored.of(database)
    assert_whole(stored)
    assert stored.patients == {UUID(answered["id"]): 1}
    assert "Traceback" not in (clinic.folder / "log-0").read_text()


async def _nobody_listens(host: str | None, port: int | None) -> None:
    """Return as soon as new connections are refused."""
    while True:
        try:
            _, writer = await asyncio.open_connection(host, port)
        except ConnectionRefusedError:
            return
        except ConnectionResetError:
            continue  # it had been put in the queue of the listening socket as that was closed
        writer.close()
        await asyncio.sleep(0.01)
