"""What routes ask for: who is calling, which services, and what the headers say. Each is a type to annotate with.

They ask for little themselves: what one of them asks for is solved anew each time, which takes longer than to look.
"""

import re
from datetime import date
from typing import Annotated

from fastapi import Depends, Header, Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from starlette.exceptions import HTTPException

from clarity.api.options import ApiOptions
from clarity.application.access_report import AccessReportService
from clarity.application.accounts import AccountService
from clarity.application.appointments import AppointmentService
from clarity.application.break_glass import BreakGlassService
from clarity.application.chart_search import ChartSearchService
from clarity.application.consents import ConsentService
from clarity.application.credentials import CredentialService
from clarity.application.disclosures import DisclosureService
from clarity.application.duplicates import DuplicateService
from clarity.application.interactions import InteractionService
from clarity.application.life import LifeService
from clarity.application.medications import MedicationService
from clarity.application.notes import NoteService
from clarity.application.open_sessions import OpenSessionService
from clarity.application.passwords import PasswordService
from clarity.application.patients import PatientService
from clarity.application.practitioners import PractitionerService
from clarity.application.research import ResearchService
from clarity.application.schedule import ScheduleService
from clarity.application.second_factors import SecondFactorService
from clarity.application.services import Services
from clarity.application.sessions import SessionService
from clarity.application.trail import TrailService
from clarity.domain.access import Actor
from clarity.domain.errors import Invalid, Unauthenticated
from clarity.domain.ids import RequestId

NO_VERSION = 0
"""The version that no stored record is at."""

_OUR_TAG = re.compile(r'"([1-9][0-9]{0,9})"', re.ASCII)
_BEARER = HTTPBearer(
    scheme_name="accessToken",
    bearerFormat="JWT",
    description="The `access_token` that `POST /api/v1/sessions` gives. It is good for some minutes; then refresh it. "
    "Machines send their credential, which begins with `clarity_`, in its place.",
    auto_error=False,
)


def _running(request: Request) -> Services:
    services: Services = request.app.state.services
    return services


async def _services(request: Request) -> Services:
    return _running(request)


RunningServices = Annotated[Services, Depends(_services)]


async def _patients(request: Request) -> PatientService:
    return _running(request).patients


async def _break_glass(request: Request) -> BreakGlassService:
    return _running(request).break_glass


async def _life(request: Request) -> LifeService:
    return _running(request).life


async def _duplicates(request: Request) -> DuplicateService:
    return _running(request).duplicates


async def _consents(request: Request) -> ConsentService:
    return _running(request).consents


async def _disclosures(request: Request) -> DisclosureService:
    return _running(request).disclosures


async def _medications(request: Request) -> MedicationService:
    return _running(request).medications


async def _interactions(request: Request) -> InteractionService:
    return _running(request).interactions


async def _notes(request: Request) -> NoteService:
    return _running(request).notes


async def _chart_search(request: Request) -> ChartSearchService:
    return _running(request).chart_search


async def _research(request: Request) -> ResearchService:
    return _running(request).research


async def _appointments(request: Request) -> AppointmentService:
    return _running(request).appointments


async def _schedules(request: Request) -> ScheduleService:
    return _running(request).schedule


async def _practitioners(request: Request) -> PractitionerService:
    return _running(request).practitioners


async def _accounts(request: Request) -> AccountService:
    return _running(request).accounts


async def _passwords(request: Request) -> PasswordService:
    return _running(request).passwords


async def _sessions(request: Request) -> SessionService:
    return _running(request).sessions


async def _open_sessions(request: Request) -> OpenSessionService:
    return _running(request).open_sessions


async def _second_factors(request: Request) -> SecondFactorService:
    return _running(request).second_factors


async def _credentials(request: Request) -> CredentialService:
    return _running(request).credentials


async def _access_reports(request: Request) -> AccessReportService:
    return _running(request).access_reports


async def _trail(request: Request) -> TrailService:
    return _running(request).trail


Patients = Annotated[PatientService, Depends(_patients)]
BrokenGlass = Annotated[BreakGlassService, Depends(_break_glass)]
Life = Annotated[LifeService, Depends(_life)]
Duplicates = Annotated[DuplicateService, Depends(_duplicates)]
Consents = Annotated[ConsentService, Depends(_consents)]
Disclosures = Annotated[DisclosureService, Depends(_disclosures)]
Medications = Annotated[MedicationService, Depends(_medications)]
Interactions = Annotated[InteractionService, Depends(_interactions)]
Notes = Annotated[NoteService, Depends(_notes)]
ChartSearch = Annotated[ChartSearchService, Depends(_chart_search)]
Research = Annotated[ResearchService, Depends(_research)]
Appointments = Annotated[AppointmentService, Depends(_appointments)]
Schedules = Annotated[ScheduleService, Depends(_schedules)]
Practitioners = Annotated[PractitionerService, Depends(_practitioners)]
Accounts = Annotated[AccountService, Depends(_accounts)]
OwnPasswords = Annotated[PasswordService, Depends(_passwords)]
Sessions = Annotated[SessionService, Depends(_sessions)]
OpenSessions = Annotated[OpenSessionService, Depends(_open_sessions)]
SecondFactors = Annotated[SecondFactorService, Depends(_second_factors)]
Credentials = Annotated[CredentialService, Depends(_credentials)]
AuditTrail = Annotated[TrailService, Depends(_trail)]
AccessReports = Annotated[AccessReportService, Depends(_access_reports)]


async def _request_id(request: Request) -> RequestId:
    request_id: RequestId = request.state.request_id
    return request_id


RequestIdDep = Annotated[RequestId, Depends(_request_id)]


async def _client_address(request: Request) -> str:
    return request.client.host if request.client else ""


ClientAddress = Annotated[str, Depends(_client_address)]
"""The address the connection came from, or the one that a trusted proxy says it came from; "" if there is none."""


Bearer = Annotated[HTTPAuthorizationCredentials | None, Security(_BEARER)]


async def _actor(request: Request, bearer: HTTPAuthorizationCredentials | None, *, enrolling: bool) -> Actor:
    """Return whose token stands in the one `Authorization` header. Of two, a proxy might have looked at the other."""
    if bearer is None or len(request.headers.getlist("authorization")) > 1:
        raise Unauthenticated
    request_id, address = await _request_id(request), await _client_address(request)
    return await _running(request).authenticate(bearer.credentials, request_id, address, enrolling=enrolling)


async def _current_actor(request: Request, bearer: Bearer) -> Actor:
    return await _actor(request, bearer, enrolling=False)


async def _enrolling_actor(request: Request, bearer: Bearer) -> Actor:
    return await _actor(request, bearer, enrolling=True)


CurrentActor = Annotated[Actor, Depends(_current_actor)]
"""Whoever is logged in, and as strongly as their role needs; nobody else gets as far as the route."""

EnrollingActor = Annotated[Actor, Depends(_enrolling_actor)]
"""Whoever is logged in, be it with a password alone: for what leads to a second factor, and for logging out."""


UserAgent = Annotated[str, Header(alias="User-Agent", include_in_schema=False)]
"""What the client says that it is; nothing but its owner's memory depends on it."""


async def _today(request: Request) -> date:
    options: ApiOptions = request.app.state.options
    return options.today()


Today = Annotated[date, Depends(_today)]
"""The calendar day in the practice."""


async def _version_seen(
    if_match: Annotated[
        str,
        Header(
            alias="If-Match",
            description="The `ETag` of the version that the change is meant for.",
            openapi_examples={"the third version": {"value": '"3"'}},
        ),
    ],
) -> int:
    """Return the version named, or `NO_VERSION` if what is named is none of ours.

    A weak tag matches nothing (RFC 9110, 13.1.1). `*` would say that any version is meant, which is what asking for the
    header is to prevent.
    """
    if if_match.strip() == "*":
        raise HTTPException(428)
    tags = (_OUR_TAG.fullmatch(tag.strip()) for tag in if_match.split(","))
    versions = {int(tag[1]) for tag in tags if tag is not None}
    if len(versions) > 1:
        raise Invalid("If-Match", "must name one version")
    return versions.pop() if versions else NO_VERSION


VersionSeen = Annotated[int, Depends(_version_seen)]
"""The version a client has seen and wants to change."""

IdempotencyKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=255,
        pattern=r"^[\x21-\x7e]+$",
        description="Chosen at random by the client. The same request with the same key is carried out once, however "
        "often it comes; another request with the same key is refused.",
        openapi_examples={"a random UUID": {"value": "7f1d7a54-9a3c-4d0e-8a35-0e3f2f6b8f11"}},
    ),
]
