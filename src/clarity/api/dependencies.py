"""What routes ask for: who is calling, which services, and what the headers say. Each is a type to annotate with."""

import re
from datetime import date
from typing import Annotated

from fastapi import Depends, Header, Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from starlette.exceptions import HTTPException

from clarity.api.options import ApiOptions
from clarity.application.access_report import AccessReportService
from clarity.application.accounts import AccountService
from clarity.application.break_glass import BreakGlassService
from clarity.application.consents import ConsentService
from clarity.application.credentials import CredentialService
from clarity.application.disclosures import DisclosureService
from clarity.application.duplicates import DuplicateService
from clarity.application.life import LifeService
from clarity.application.open_sessions import OpenSessionService
from clarity.application.passwords import PasswordService
from clarity.application.patients import PatientService
from clarity.application.practitioners import PractitionerService
from clarity.application.research import ResearchService
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


async def _services(request: Request) -> Services:
    services: Services = request.app.state.services
    return services


RunningServices = Annotated[Services, Depends(_services)]


async def _patients(services: RunningServices) -> PatientService:
    return services.patients


async def _break_glass(services: RunningServices) -> BreakGlassService:
    return services.break_glass


async def _life(services: RunningServices) -> LifeService:
    return services.life


async def _duplicates(services: RunningServices) -> DuplicateService:
    return services.duplicates


async def _consents(services: RunningServices) -> ConsentService:
    return services.consents


async def _disclosures(services: RunningServices) -> DisclosureService:
    return services.disclosures


async def _research(services: RunningServices) -> ResearchService:
    return services.research


async def _practitioners(services: RunningServices) -> PractitionerService:
    return services.practitioners


async def _accounts(services: RunningServices) -> AccountService:
    return services.accounts


async def _passwords(services: RunningServices) -> PasswordService:
    return services.passwords


async def _sessions(services: RunningServices) -> SessionService:
    return services.sessions


async def _open_sessions(services: RunningServices) -> OpenSessionService:
    return services.open_sessions


async def _second_factors(services: RunningServices) -> SecondFactorService:
    return services.second_factors


async def _credentials(services: RunningServices) -> CredentialService:
    return services.credentials


async def _access_reports(services: RunningServices) -> AccessReportService:
    return services.access_reports


async def _trail(services: RunningServices) -> TrailService:
    return services.trail


Patients = Annotated[PatientService, Depends(_patients)]
BrokenGlass = Annotated[BreakGlassService, Depends(_break_glass)]
Life = Annotated[LifeService, Depends(_life)]
Duplicates = Annotated[DuplicateService, Depends(_duplicates)]
Consents = Annotated[ConsentService, Depends(_consents)]
Disclosures = Annotated[DisclosureService, Depends(_disclosures)]
Research = Annotated[ResearchService, Depends(_research)]
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


async def _access_token(
    request: Request, bearer: Annotated[HTTPAuthorizationCredentials | None, Security(_BEARER)]
) -> str:
    """Return the token of the one `Authorization` header. Of two, a proxy might have looked at the other."""
    if bearer is None or len(request.headers.getlist("authorization")) > 1:
        raise Unauthenticated
    return bearer.credentials


AccessToken = Annotated[str, Depends(_access_token)]


async def _client_address(request: Request) -> str:
    return request.client.host if request.client else ""


ClientAddress = Annotated[str, Depends(_client_address)]
"""The address the connection came from, or the one that a trusted proxy says it came from; "" if there is none."""


async def _current_actor(
    token: AccessToken, services: RunningServices, request_id: RequestIdDep, address: ClientAddress
) -> Actor:
    return await services.authenticate(token, request_id, address)


async def _enrolling_actor(
    token: AccessToken, services: RunningServices, request_id: RequestIdDep, address: ClientAddress
) -> Actor:
    return await services.authenticate(token, request_id, address, enrolling=True)


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
