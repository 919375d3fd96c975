"""A practice to be fuzzed: `clarity serve` over it, somebody in each role, and something of every kind."""

import asyncio
import json
import re
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

from httpx import Client, HTTPTransport, Response
from pydantic import SecretStr

from clarity.api.patients.shapes import RegistrationIn
from clarity.application.services import Services
from clarity.bootstrap import engine_options, open_keyring, operator, running
from clarity.config import Settings
from clarity.domain.access import Role
from clarity.domain.accounts import AccountStatus
from clarity.domain.audit import AuditEvent
from clarity.domain.credentials import grantable, write_scope
from clarity.domain.errors import Conflict, NotFound
from clarity.domain.identifiers import Identifier
from clarity.domain.ids import AccountId, PatientId, PractitionerId, SessionId
from clarity.domain.records import Label
from clarity.security.tokens import AccessTokens
from clarity.upkeep import make_keys
from tests.api.clinic import WHOLE
from tests.builders import a_practitioner, new_id
from tests.practice import Practice, events_in
from tests.servers import PostgresDatabases, migrated_file, opened, postgres_databases
from tests.shells import PASSWORD, surroundings

ROLES = (
    "administrator",
    "clinician",
    "nurse",
    "front-desk",
    "compliance-officer",
    "researcher",
    "patient",
    "device",
    "machine",
    "none",
    "expired",
)
"""Who calls. A `device` and a `machine`, which may do what a clinician may, come with a credential; `expired` with a
token that was good once."""

DATABASES = ("sqlite", "postgresql")
_KEEPER = "keeper@clinic.example"
_PEOPLE: dict[str, Role] = {role.title: role for role in Role if role not in {Role.SYSTEM, Role.NOBODY, Role.DEVICE}}
_MACHINES: dict[str, Role] = {"device": Role.DEVICE, "machine": Role.CLINICIAN}
_START_SECONDS = 300.0

CONSENT = {
    "labels": ["part2"],
    "purposes": ["treatment"],
    "from_whom": "Harbor Recovery Program",
    "to_whom": "My treating providers",
    "what": "All of it",
    "since": "2025-01-01T00:00:00Z",
    "until": "2099-01-01T00:00:00Z",
    "signed_by": "The patient",
    "signed_on": "2025-01-01",
    "document": "Cabinet 3",
}


@dataclass(slots=True)
class FuzzedPractice:
    """A running server, and what there is behind it.

    `known` are ids of what is there, by kind: "patients", "accounts" and so on. `log` is all that the server wrote.
    """

    database: str
    settings: Settings
    address: str
    log: Path
    server: subprocess.Popen[bytes]
    known: dict[str, list[str]]
    _tokens: dict[str, str] = field(default_factory=dict)
    # Attempts to log in are limited by address, and a machine has more of its own than it needs.
    _addresses: Iterator[int] = field(default_factory=lambda: count(2))

    def token(self, role: str) -> str:
        """Return what somebody in a role shows, "" for nobody; whoever was put out before is let in again."""
        if role not in self._tokens:
            self._tokens[role] = self._admitted(role)
        return self._tokens[role]

    def forget(self, role: str) -> None:
        """Give up the token of a role, which was refused."""
        if role not in {"none", "expired"}:
            self._tokens.pop(role, None)

    def events(self) -> list[AuditEvent]:
        """Return the trail."""

        async def read() -> list[AuditEvent]:
            async with opened(engine_options(self.settings)) as database:
                return await events_in(database)

        return asyncio.run(read())

    def _admitted(self, role: str) -> str:
        if role == "none":
            return ""
        if role == "expired":
            keys = AccessTokens(open_keyring(self.settings))
            return keys.issue(AccountId(new_id()), SessionId(new_id()), datetime.now(UTC) - timedelta(days=2))
        if role in _MACHINES:
            return asyncio.run(_issued(self.settings, role))
        email = _email_of(role)
        answer = self._log_in(email)
        if answer.status_code != 201:
            asyncio.run(_repaired(self.settings, email, role))
            answer = self._log_in(email)
        return str(answer.raise_for_status().json()["access_token"])

    def _log_in(self, email: str) -> Response:
        number = next(self._addresses)
        own = f"127.0.{number // 250}.{number % 250 + 2}"
        with Client(transport=HTTPTransport(local_address=own), base_url=self.address, timeout=60) as client:
            return client.post("/api/v1/sessions", json={"email": email, "password": PASSWORD})

    def keeper(self) -> Client:
        """Return a client for an administrator nobody fuzzes with."""
        token = self._log_in(_KEEPER).raise_for_status().json()["access_token"]
        return Client(base_url=f"{self.address}/api/v1", headers={"Authorization": f"Bearer {token}"}, timeout=60)

    def client(self, role: str) -> Client:
        """Return a client for somebody in a role."""
        headers = {"Authorization": f"Bearer {token}"} if (token := self.token(role)) else {}
        return Client(base_url=f"{self.address}/api/v1", headers=headers, timeout=60)


def _email_of(role: str) -> str:
    return f"{role}@clinic.example"


@contextmanager
def databases(kind: str, folder: Path) -> Iterator[Any]:
    """Yield a function that returns the address of a new, migrated database of a kind."""
    numbers = count()

    def new_file() -> str:
        path = folder / f"practice-{next(numbers)}.db"
        migrated_file(path)
        return f"sqlite:///{path}"

    with nullcontext() if kind == "sqlite" else postgres_databases() as servers:
        if isinstance(servers, PostgresDatabases):
            made = servers
            yield lambda: made.application_of(asyncio.run(made.create())).url
        else:
            yield new_file


@contextmanager
def fuzzed_practice(kind: str, url: str, folder: Path) -> Iterator[FuzzedPractice]:
    """Fill a practice on a migrated, empty database and serve it while the block runs."""
    settings = Settings(
        data_dir=folder / "data",
        async_database_uri=SecretStr(url),
        session_idle_minutes=1_440,
        access_token_ttl_seconds=86_400,
    )
    folder.mkdir(parents=True, exist_ok=True)
    make_keys(settings)
    known = asyncio.run(_filled(settings))
    log = folder / "log"
    environment = surroundings() | {
        "DATA_DIR": str(settings.data_dir),
        "ASYNC_DATABASE_URI": url,
        "ACCESS_TOKEN_TTL_SECONDS": "86400",
        "SESSION_IDLE_MINUTES": "1440",
    }
    with log.open("wb") as output:
        server = subprocess.Popen(
            [sys.executable, "-m", "clarity", "serve", "--port", "0"],
            cwd=folder,
            env=environment,
            stdout=output,
            stderr=output,
        )
    try:
        practice = FuzzedPractice(kind, settings, _address_of(server, log), log, server, known)
        _add_what_people_make(practice)
        yield practice
    finally:
        server.terminate()
        with suppress(subprocess.TimeoutExpired):
            server.wait(30)
        server.kill()
        server.wait()


def _address_of(server: subprocess.Popen[bytes], log: Path) -> str:
    until = time.monotonic() + _START_SECONDS
    while not (found := re.search(r"Serving on (\S+);", log.read_text())):
        if server.poll() is not None or time.monotonic() > until:
            raise RuntimeError(f"the server did not start:\n{log.read_text()}")
        time.sleep(0.02)
    return found[1]


async def _filled(settings: Settings) -> dict[str, list[str]]:
    """Store patients with every label, those who treat some of them, and an account in every role."""
    async with running(settings) as services:
        practice = _practice_of(services)
        employed = [(await practice.employed(a_practitioner())).id for _ in range(5)]
        team = frozenset(employed[:3])
        patients = [
            (await practice.stored(_patient(label, team if tied else frozenset({employed[4]})))).id
            for label in (Label.NORMAL, Label.NORMAL, Label.RESTRICTED, Label.PART2)
            for tied in (True, False)
        ]
        accounts = [await _employed(services, _KEEPER, Role.ADMINISTRATOR)]
        for title, role in _PEOPLE.items():
            linked = employed.pop(0) if role in {Role.CLINICIAN, Role.NURSE} else None
            accounts.append(await _employed(services, _email_of(title), role, linked, patients[0]))
        for title, role in _MACHINES.items():
            machine = await services.accounts.add_machine(
                operator(),
                email=_email_of(title),
                name=title,
                role=role,
                practitioner=employed.pop(0) if role is Role.CLINICIAN else None,
                patient=patients[0] if role is Role.DEVICE else None,
            )
            accounts.append(machine.id)
    return {
        "patients": [str(one) for one in patients],
        "practitioners": [str(one) for one in team],
        "accounts": [str(one) for one in accounts],
    }


def _practice_of(services: Services) -> Practice:
    async def no_events() -> list[AuditEvent]:
        return []

    async def nothing(_patient: PatientId) -> None:
        return None

    return Practice(services.accounts.begin, services.accounts.reading, no_events, lambda: None, nothing)


def _patient(label: Label, team: frozenset[PractitionerId]) -> Any:
    identity = PatientId(new_id())
    whole = RegistrationIn.model_validate_json(json.dumps(WHOLE)).patient(identity)
    identifiers = (Identifier.mrn(f"MRN-{identity.hex}"), Identifier.ssn("999-12-3456"))
    return replace(whole, identifiers=identifiers, label=label, care_team=team, notes="Sleeps badly since October.")


async def _employed(
    services: Services,
    email: str,
    role: Role,
    practitioner: PractitionerId | None = None,
    patient: PatientId | None = None,
) -> AccountId:
    account = await services.accounts.add(
        operator(),
        email=email,
        name="Somebody",
        role=role,
        password=PASSWORD,
        practitioner=practitioner,
        patient=patient if role is Role.PATIENT else None,
    )
    return account.id


async def _repaired(settings: Settings, email: str, title: str) -> None:
    """Give an account back what was taken from it: its status, its role, its password."""
    async with running(settings) as services:
        account = await services.accounts.view(operator(), email)
        if account.status is AccountStatus.DISABLED:
            await services.accounts.enable(operator(), email)
        if account.role is not _PEOPLE[title]:
            await services.accounts.change_role(
                operator(), email, _PEOPLE[title], practitioner=account.practitioner, patient=account.patient
            )
        with suppress(Conflict, NotFound):
            await services.second_factors.remove_of(operator(), email)
        await services.accounts.reset_password(operator(), email, PASSWORD)


async def _issued(settings: Settings, title: str) -> str:
    """Make a credential with every scope that the role of a machine may have."""
    async with running(settings) as services:
        account = await services.accounts.view(operator(), _email_of(title))
        if account.status is AccountStatus.DISABLED:
            await services.accounts.enable(operator(), account.id)
        with suppress(StopAsyncIteration):
            async for credential in _held(services, account.id):
                await services.credentials.revoke(operator(), credential)
        issued = await services.credentials.issue(
            operator(),
            account.id,
            name="fuzzing",
            scopes=sorted(map(write_scope, grantable(_MACHINES[title]))),
            expires_in=timedelta(days=1),
        )
        return issued.text


async def _held(services: Services, account: AccountId) -> AsyncIterator[Any]:
    for credential in (await services.credentials.list(operator(), account)).items:
        if credential.revoked_at is None:
            yield credential.id


def _add_what_people_make(practice: FuzzedPractice) -> None:
    """Let people do what leaves something behind, and note its ids."""
    known = practice.known
    disclosure = {
        "made_on": "2026-03-12",
        "recipient": "Multnomah County Health Department",
        "address": "426 SW Stark Street, Portland, OR 97204",
        "what": "Diagnosis and date of a reportable disease",
        "purpose": "Required by state law to report this disease (public health)",
        "means": "fax",
    }
    with (
        practice.client("clinician") as clinician,
        practice.client("front-desk") as desk,
        practice.client("compliance-officer") as officer,
        practice.keeper() as keeper,
    ):
        told = clinician.post(f"/patients/{known['patients'][0]}/consents", json=CONSENT)
        known["consents"] = [told.raise_for_status().json()["id"]]
        emergency = {"patient": known["patients"][1], "reason": "Found unconscious."}
        known["glasses"] = [clinician.post("/break-glass", json=emergency).json()["id"]]
        listed = desk.get("/duplicates").json()["items"]
        known["duplicates"] = [one["id"] for one in listed]
        known["sessions"] = [one["id"] for one in keeper.get("/me/sessions").json()["items"]]
        told = clinician.post(f"/patients/{known['patients'][0]}/disclosures", json=disclosure)
        known["disclosures"] = [told.raise_for_status().json()["id"]]
        # An export, which somebody has to account for, and what was written of it.
        officer.get("/audit/export", params={"format": "csv"}).raise_for_status()
        trail = officer.get("/audit", params={"action": "export"}).raise_for_status().json()["items"]
        known["events"] = [one["id"] for one in trail]
        machine = known["accounts"][-1]
        practice.token("machine")
        held = keeper.get(f"/accounts/{machine}/credentials").json()["items"]
        known["credentials"] = [one["id"] for one in held]
