"""The API over some storage, and the people who call it."""

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from fastapi import FastAPI, routing
from httpx import ASGITransport, AsyncClient, Request, Response

from clarity.api.app import create_app
from clarity.api.options import ApiOptions
from clarity.api.patients.shapes import EXAMPLE
from clarity.application.access_report import AccessReportService
from clarity.application.appointments import AppointmentService
from clarity.application.break_glass import BreakGlassService
from clarity.application.chart_search import ChartSearchService
from clarity.application.consents import ConsentService
from clarity.application.credentials import CredentialService
from clarity.application.demo import DemoService
from clarity.application.disclosures import DisclosureService
from clarity.application.duplicates import DuplicateService
from clarity.application.imports import ImportService
from clarity.application.interactions import InteractionService
from clarity.application.life import LifeService
from clarity.application.medications import MedicationService
from clarity.application.notes import NoteService
from clarity.application.patients import PatientService
from clarity.application.ports import BeginReading, BeginWork, Clock, PatientSearch
from clarity.application.practitioners import PractitionerService
from clarity.application.readiness import Readiness
from clarity.application.research import ResearchService
from clarity.application.retry import CountedOnce
from clarity.application.schedule import ScheduleService
from clarity.application.services import Services
from clarity.application.trail import TrailService
from clarity.application.trail_csv import CsvTrail
from clarity.cache.rates import MemoryRateLimit
from clarity.domain.access import Role
from clarity.domain.break_glass import DEFAULT_MINUTES
from clarity.domain.ids import PatientId, PractitionerId
from clarity.domain.patients import Patient
from clarity.domain.practice_hours import PracticeHours
from clarity.domain.practitioners import Practitioner
from clarity.domain.retention import Retention
from clarity.domain.schedule import Calendar
from clarity.domain.trail import ExportFormat
from clarity.fhir.audit_events import FhirTrail
from clarity.persistence.full_text import SqliteFullText
from clarity.printing.accountings import PaperPress
from clarity.printing.calendars import CalendarFeed
from clarity.search.streaming import StreamingSearch
from clarity.security.cursors import Cursors
from clarity.security.keyring import Keyring
from clarity.security.machine_keys import MachineKeys
from clarity.security.pseudonyms import ResearchPseudonyms
from clarity.security.tokens import AccessTokens
from tests.builders import NOW, TODAY, a_practitioner, new_id
from tests.canaries import plant_content, saw
from tests.fakes.accounts import ADDRESS, PASSWORD, FrontDoor
from tests.practice import Practice

MOST_BYTES = 64 * 1024
CALENDAR = Calendar(ZoneInfo("America/New_York"))
WHOLE: dict[str, Any] = {
    **EXAMPLE,
    "birth_sex": "F",
    "marital_status": {"codings": [{"system": "http://example.org/marital", "code": "M", "display": "Married"}]},
    "death": {"instant": "2026-01-31T23:05:00-05:00"},
    "race": {"text": "White", "omb": [{"code": "2106-3"}], "detailed": [{"code": "2108-9"}]},
    "ethnicity": {"text": "Hispanic or Latino"},
    "mothers_maiden_name": "Ybarra",
    "birth_place": {"city": "Oaxaca", "country": "MX", "latitude": 17.0654, "longitude": -96.7236},
    "multiple_birth": 2,
}


async def _plant_sent(request: Request) -> None:
    """Let what callers send of anybody be looked for in the log, in errors and in refusals."""
    with suppress(ValueError, RuntimeError):  # not JSON, or a stream
        plant_content(json.loads(request.content))


async def _look_at_refusal(answer: Response) -> None:
    """Hand over whatever an answer says that shows nobody anything, and plant the tokens of one that does."""
    if answer.status_code >= 400 or answer.request.url.path == "/metrics":
        await answer.aread()
        saw("a refusal", f"{answer.text}\n{dict(answer.headers)}")
    elif answer.status_code == 201:
        await answer.aread()
        with suppress(ValueError):
            plant_content({name: value for name, value in answer.json().items() if name.endswith("_token")})


@dataclass(slots=True, repr=False)
class Clinic:
    """A practice one can call."""

    practice: Practice
    door: FrontDoor
    app: FastAPI

    def caller(self, token: str = "") -> AsyncClient:
        """Return somebody with an access token, or with none."""
        transport = ASGITransport(self.app, client=(ADDRESS, 40_000))
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        hooks: dict[str, list[Any]] = {"request": [_plant_sent], "response": [_look_at_refusal]}
        return AsyncClient(
            transport=transport, base_url="http://clinic.test/api/v1", headers=headers, event_hooks=hooks
        )

    async def logged_in(
        self, role: Role, *, practitioner: PractitionerId | None = None, patient: PatientId | None = None
    ) -> AsyncClient:
        """Return somebody who has just logged in, in an account of their own."""
        account = await self.door.employed(role, practitioner=practitioner, patient=patient)
        opened = await self.caller().post("/sessions", json={"email": account.email, "password": PASSWORD})
        return self.caller(opened.json()["access_token"])

    async def clinician(self) -> tuple[AsyncClient, Practitioner]:
        """Return a clinician who has logged in, and the practitioner they are."""
        practitioner = await self.practice.employed(a_practitioner())
        return await self.logged_in(Role.CLINICIAN, practitioner=practitioner.id), practitioner

    async def front_desk(self) -> AsyncClient:
        """Return somebody at the front desk who has logged in."""
        return await self.logged_in(Role.FRONT_DESK)


@dataclass(slots=True, repr=False)
class Chart:
    """One patient, and a clinician who has their chart open."""

    clinician: AsyncClient
    practitioner: Practitioner
    patient: Patient

    @property
    def path(self) -> str:
        """Where the patient is."""
        return f"/patients/{self.patient.id}"

    async def view(self) -> Response:
        """View the patient."""
        return await self.clinician.get(self.path)

    async def replace(self, body: Any) -> Response:
        """Record the patient anew, whatever the version."""
        headers = {"If-Match": (await self.view()).headers["ETag"], "Content-Type": "application/json"}
        return await self.clinician.put(self.path, content=json.dumps(body), headers=headers)


def seen(version: int) -> dict[str, str]:
    """Return the header that says which version was seen."""
    return {"If-Match": f'"{version}"'}


def fields(problem: Response) -> list[str]:
    """Return the fields that a problem names."""
    return [error["field"] for error in problem.json()["errors"]]


def code(problem: Response) -> str:
    """Return what kind of problem an answer is, having checked that it is a well-formed one."""
    assert problem.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = problem.json()
    assert body["status"] == problem.status_code
    assert body["title"]
    assert "instance" not in body
    return str(body["type"]).removeprefix("urn:clarity:problem:")


def told(answer: Response) -> tuple[int, dict[str, str], bytes]:
    """Return all that an answer tells but its own number and the time."""
    headers = {name: value for name, value in answer.headers.items() if name not in {"x-request-id", "date"}}
    return answer.status_code, headers, answer.content


def services(
    begin: BeginWork,
    reading: BeginReading,
    door: FrontDoor,
    keyring: Keyring,
    search: PatientSearch,
    *,
    now: Clock = lambda: NOW,
) -> Services:
    """Return every use-case over some storage."""
    cursors, limits = Cursors(keyring), CountedOnce(MemoryRateLimit())
    return Services(
        patients=PatientService(
            begin=begin,
            reading=reading,
            search_index=search,
            cursors=cursors,
            limits=limits,
            now=now,
            today=lambda: TODAY,
        ),
        life=LifeService(begin, reading, cursors, Retention(), now, lambda: TODAY),
        break_glass=BreakGlassService(
            begin=begin,
            reading=reading,
            cursors=cursors,
            limits=limits,
            now=now,
            new_id=new_id,
            at_most=timedelta(minutes=DEFAULT_MINUTES),
            practice="Harbor Psychiatry",
        ),
        trail=TrailService(
            reading, cursors, now, {ExportFormat.CSV: CsvTrail(), ExportFormat.FHIR: FhirTrail("Harbor Psychiatry")}
        ),
        duplicates=DuplicateService(begin, reading, cursors, now),
        consents=ConsentService(begin, reading, now),
        disclosures=DisclosureService(
            begin=begin,
            reading=reading,
            cursors=cursors,
            press=PaperPress(),
            now=now,
            today=lambda: TODAY,
            new_id=new_id,
            practice="Harbor Psychiatry",
        ),
        notes=NoteService(begin=begin, reading=reading, cursors=cursors, now=now, today=lambda: TODAY, new_id=new_id),
        chart_search=ChartSearchService(
            reading=reading, full_text=SqliteFullText(), cursors=cursors, now=now, zone=UTC
        ),
        medications=MedicationService(
            begin=begin, reading=reading, cursors=cursors, now=now, today=lambda: TODAY, zone=UTC
        ),
        interactions=InteractionService(begin, reading, cursors, now),
        research=ResearchService(reading, ResearchPseudonyms(keyring), cursors, now),
        appointments=AppointmentService(
            begin=begin, reading=reading, cursors=cursors, now=now, new_id=new_id, calendar=CALENDAR
        ),
        schedule=ScheduleService(begin=begin, reading=reading, now=now, press=CalendarFeed(), calendar=CALENDAR),
        practitioners=PractitionerService(begin, reading, cursors, now),
        accounts=replace(door.accounts, cursors=cursors),
        passwords=replace(door.own_passwords, limits=limits),
        outbox=door.outbox,
        sessions=replace(door.sessions, tokens=AccessTokens(keyring), limits=limits),
        open_sessions=door.open_sessions,
        second_factors=replace(door.second_factors, limits=limits),
        credentials=CredentialService(
            begin=begin,
            reading=reading,
            keys=MachineKeys(),
            cursors=cursors,
            limits=limits,
            now=lambda: door.at,
            new_id=new_id,
        ),
        access_reports=AccessReportService(
            begin=begin, reading=reading, now=now, new_id=new_id, zone=UTC, hours=PracticeHours()
        ),
        imports=ImportService(begin=begin, now=now),
        demo=DemoService(begin=begin, reading=reading, accounts=door.accounts, now=now, new_id=new_id),
        limits=limits,
        now=now,
        new_id=new_id,
        ready=all_well,
    )


async def all_well() -> Readiness:
    """Return what a probe finds that finds nothing wrong."""
    return Readiness({"database": "", "tables": "", "keys": "", "trail": ""})


# By the identity of a route: itself, how it was included, but for the app, and what FastAPI made of it.
_ROUTES: dict[int, tuple[Any, Any, Any]] = {}


@contextmanager
def remembered_routes() -> Iterator[None]:
    """Let an app take over the routes of a former one, which include the same in the same way.

    Its first request makes FastAPI look at the parameters of each function anew, for longer than most tests take. It
    finds the same for each app, unless somebody overrides dependencies, which nobody here does.
    """
    made_anew = vars(routing)["_EffectiveRouteContext"].from_api_route

    def made(*, original_route: Any, include_context: Any) -> Any:
        included = replace(include_context, dependency_overrides_provider=None)
        _, known, context = _ROUTES.get(id(original_route), (None, None, None))
        if known != included:
            context = made_anew(original_route=original_route, include_context=included)
            _ROUTES[id(original_route)] = original_route, included, context
        return context

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("fastapi.routing._EffectiveRouteContext.from_api_route", made)
        yield


@asynccontextmanager
async def _streaming_search() -> AsyncIterator[PatientSearch]:
    yield StreamingSearch(lambda: TODAY)


@asynccontextmanager
async def opened_clinic(
    practice: Practice,
    keyring: Keyring,
    *,
    second_factor_required: bool = False,
    search: AbstractAsyncContextManager[PatientSearch] | None = None,
    **options: Any,
) -> AsyncIterator[Clinic]:
    """Start the API over a practice, with such options; with this `search`, or one that needs no index."""
    door = FrontDoor(practice.begin, practice.reading, second_factor_required=second_factor_required)

    @asynccontextmanager
    async def open_services() -> AsyncIterator[Services]:
        async with search or _streaming_search() as opened:
            yield services(practice.begin, practice.reading, door, keyring, opened, now=practice.clock)

    app = create_app(open_services, ApiOptions(today=lambda: TODAY, max_body_bytes=MOST_BYTES, **options))
    clinic = Clinic(practice, door, app)
    async with AsyncExitStack() as stack:
        stack.enter_context(remembered_routes())
        await stack.enter_async_context(app.router.lifespan_context(app))
        yield clinic
