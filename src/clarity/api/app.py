"""The application: routers, what surrounds them, and the services it opens and closes."""

import json
import re
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any
from uuid import UUID

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException

import clarity
from clarity.api import (
    access_report,
    accounts,
    appointments,
    audit,
    break_glass,
    chart_search,
    consents,
    credentials,
    disclosures,
    duplicates,
    health,
    interactions,
    me,
    medications,
    metrics,
    notes,
    open_sessions,
    passwords,
    practitioners,
    research,
    schedule,
    second_factors,
    sessions,
)
from clarity.api.bodies import WholeBodies
from clarity.api.cors import CrossOrigin, Preflights
from clarity.api.middleware import AddressLimit, Answering, BodyLimit
from clarity.api.options import ROOT, ApiOptions
from clarity.api.overload import Admission, Gate
from clarity.api.patients import life
from clarity.api.patients import routes as patients
from clarity.api.problems import MEDIA_TYPE, ProblemOut, answer, documented
from clarity.api.proxies import AllowedHosts, TrustedProxies
from clarity.application.ports import RateLimit
from clarity.application.services import Services
from clarity.domain.errors import ClarityError, SecondFactorMissing

_DESCRIPTION = """Clinical data for psychiatric care: patients, and who cares for them.

- **Lists** are pages: go on with `next_cursor` until it is null. `total` counts all that the caller may see.
- **Changes** name the version they are meant for in `If-Match`; it came as `ETag`. 412 says that somebody was faster.
- **Problems** are `application/problem+json` (RFC 9457). Compare `type`. Values that were sent are never repeated.
- **404** means that there is none, or that it is not yours to see or to act on, whatever the reason. **403** is for
  making new ones, for what the role has nothing to do with, and for a part of a change that it may not make.
- Each answer has an `X-Request-Id`, by which those who run the service find it in the log.
- A name that occurs twice in one JSON object counts with its last value.
"""
_TAGS = [
    {"name": "sessions", "description": "Log in, stay logged in, log out."},
    {"name": "me", "description": "Who is logged in."},
    {"name": "password-resets", "description": "Forgotten passwords."},
    {"name": "invitations", "description": "First passwords, for those who were invited."},
    {"name": "accounts", "description": "Who may log in, and as what. For administrators."},
    {"name": "credentials", "description": "What machines show instead of logging in. For administrators."},
    {"name": "patients", "description": "Patient records, as far as the caller's role and ties reach."},
    {"name": "legal-holds", "description": "The records that are kept for legal matters."},
    {"name": "duplicates", "description": "Patients who may be one person, and the merging of their records."},
    {"name": "consents", "description": "What patients allowed in writing, and take back."},
    {"name": "appointments", "description": "When patients are seen by whom, and when practitioners are free."},
    {"name": "disclosures", "description": "What went outside the practice, and the accounting of it."},
    {"name": "prescriptions", "description": "What patients are to take, and how much of it they took."},
    {"name": "interactions", "description": "The log of contacts between a patient and the system."},
    {"name": "notes", "description": "Clinical notes: drafted, signed, and amended on the patient's request."},
    {"name": "chart", "description": "A patient's notes and prescriptions, searched for words."},
    {"name": "break-glass", "description": "Access to one patient in an emergency, and its review."},
    {"name": "research", "description": "Patients, de-identified, for researchers."},
    {"name": "audit", "description": "Who did what to whose record, and what was unusual. For compliance officers."},
    {"name": "practitioners", "description": "Those who care for patients."},
    {"name": "health", "description": "For those who run the service."},
]


class Api(FastAPI):
    """The application, which documents its problems too."""

    def openapi(self) -> dict[str, Any]:
        """Return the OpenAPI document."""
        if self.openapi_schema is None:
            document = super().openapi()
            problem = ProblemOut.model_json_schema(ref_template="#/components/schemas/{model}")
            document["components"]["schemas"].update(problem.pop("$defs"), ProblemOut=problem)
            _drop_unused_schemas(document)
            for operations in document["paths"].values():
                for operation in operations.values():
                    _document_weakness(operation)
        return super().openapi()


def _drop_unused_schemas(document: dict[str, Any]) -> None:
    """Leave out the schemas that nothing refers to: FastAPI describes the numbers of an enumeration sent as words."""
    used = set(re.findall(r'"#/components/schemas/([^"]+)"', json.dumps(document)))
    schemas = document["components"]["schemas"]
    document["components"]["schemas"] = {name: schema for name, schema in schemas.items() if name in used}


def _document_weakness(operation: dict[str, Any]) -> None:
    """Say of an operation for which one logs in that a session or a credential may be too weak for it."""
    if "security" in operation:
        ((status, said),) = documented(SecondFactorMissing()).items()
        response = operation["responses"].setdefault(str(status), said)
        response["content"][MEDIA_TYPE]["examples"] |= said["content"][MEDIA_TYPE]["examples"]


def _operation_id(route: APIRoute) -> str:
    return route.name


def _surround(app: FastAPI, options: ApiOptions, new_id: Callable[[], UUID]) -> None:
    """Put around the routes what happens to every request: what is added last comes first."""
    gate = Gate(options.max_concurrent_requests, options.max_waiting_requests)
    app.state.gate = gate
    options.observer.watch(gate)
    app.state.draining = False

    def limits() -> RateLimit:
        services: Services = app.state.services
        return services.limits

    app.add_middleware(Admission, gate=gate, seconds=options.request_timeout_seconds)
    app.add_middleware(WholeBodies, gate=gate, max_bytes=options.max_body_bytes)
    app.add_middleware(BodyLimit, max_bytes=options.max_body_bytes, larger=[(notes.PATHS, notes.MAX_REQUEST_BYTES)])
    app.add_middleware(AddressLimit, limits=limits)
    if options.allowed_hosts:
        app.add_middleware(AllowedHosts, hosts=options.allowed_hosts)
    cross_origin = CrossOrigin(options.cors_origins)
    if options.cors_origins:
        app.add_middleware(Preflights, cross_origin=cross_origin)
    app.add_middleware(
        Answering,
        new_id=new_id,
        private=ROOT,
        cross_origin=cross_origin,
        secure=options.secure,
        observer=options.observer,
    )
    if options.trusted_proxies or options.trusts_local:
        app.add_middleware(TrustedProxies, trusted=options.trusted_proxies, local=options.trusts_local)


def create_app(open_services: Callable[[], AbstractAsyncContextManager[Services]], options: ApiOptions) -> FastAPI:
    """Return the application. It opens its services when it starts and closes them when it ends."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with open_services() as services:
            app.state.services = services
            yield

    app = Api(
        title=options.title,
        version=clarity.__version__,
        description=_DESCRIPTION,
        openapi_tags=_TAGS,
        lifespan=lifespan,
        generate_unique_id_function=_operation_id,
        separate_input_output_schemas=False,
        # Its pages load their scripts from other people's servers.
        docs_url=None,
        redoc_url=None,
        # A redirect would repeat the path to whatever host the request named.
        redirect_slashes=False,
        # It records the messages of exceptions, which quote what was sent.
        telemetry={"tracing": False, "metrics": False, "logs": False, "auto_configure": False},
    )

    def new_id() -> UUID:
        services: Services = app.state.services
        return services.new_id()

    app.state.options = options
    for kind in (ClarityError, RequestValidationError, HTTPException):
        app.add_exception_handler(kind, answer)
    _surround(app, options, new_id)
    routers = (
        sessions.router,
        me.router,
        passwords.of_me,
        passwords.resets,
        passwords.invitations,
        accounts.router,
        second_factors.router,
        open_sessions.router,
        second_factors.of_accounts,
        open_sessions.of_accounts,
        patients.router,
        life.router,
        life.of_holds,
        break_glass.router,
        audit.router,
        duplicates.router,
        consents.router,
        disclosures.of_patient,
        disclosures.accountings,
        disclosures.router,
        medications.router,
        interactions.router,
        notes.router,
        notes.amendments,
        notes.templates,
        chart_search.router,
        research.router,
        access_report.router,
        appointments.router,
        schedule.of_practitioner,
        schedule.closures,
        practitioners.router,
        credentials.of_accounts,
        credentials.router,
        health.router,
        metrics.router,
    )
    for router in routers:
        app.include_router(router)
    return app
