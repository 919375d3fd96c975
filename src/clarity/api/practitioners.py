"""The routes on practitioners, and their shapes."""

from dataclasses import replace
from typing import Annotated, Any, Self

from fastapi import Query, Request, Response
from pydantic import ConfigDict
from starlette.exceptions import HTTPException

from clarity.api.dependencies import (
    CurrentActor,
    IdempotencyKey,
    Patients,
    Practitioners,
    RunningServices,
    Today,
    VersionSeen,
)
from clarity.api.patients.answers import shown_page
from clarity.api.patients.shapes import PatientPageOut
from clarity.api.people import AddressInOut, ConceptInOut, NameInOut, TelecomInOut
from clarity.api.problems import documented
from clarity.api.routing import router_of
from clarity.api.wire import Json, Limit, PageOut, Received, Wire, page_of
from clarity.application.patients import RepeatKey
from clarity.application.ports import PatientFilter
from clarity.application.practitioners import Caseload
from clarity.domain.errors import DuplicateNpi, Forbidden, NotFound, ReusedKey, StaleWrite
from clarity.domain.ids import PractitionerId
from clarity.domain.patients import PatientStatus
from clarity.domain.people import Gender
from clarity.domain.practitioners import PROVIDER_TAXONOMY, Practitioner, PractitionerQuery

_BODY = documented(HTTPException(413), HTTPException(415))
_ETAG: dict[str, Any] = {
    "headers": {"ETag": {"description": "The version, to name in `If-Match`.", "schema": {"type": "string"}}}
}
_EXAMPLE: dict[str, Any] = {
    "name": {"prefix": ["Dr."], "given": ["Anna"], "family": "Okafor"},
    "npi": "1234567893",
    "specialty": {
        "codings": [{"system": PROVIDER_TAXONOMY, "code": "2084P0800X", "display": "Psychiatry Physician"}],
        "text": "Psychiatry",
    },
    "gender": "female",
    "telecoms": [{"system": "email", "value": "anna.okafor@example.org", "use": "work"}],
    "addresses": [],
    "active": True,
}

router = router_of("practitioners")


class PractitionerIn(Received):
    """A practitioner, whole: what is left out is recorded as empty."""

    model_config = ConfigDict(json_schema_extra={"examples": [_EXAMPLE]})

    name: NameInOut
    npi: str = ""
    """The National Provider Identifier: ten digits, of which the last checks the others. Nobody else may have it."""
    specialty: ConceptInOut | None = None
    """What they are trained in, as a text or by its code in the NUCC provider taxonomy."""
    gender: Gender = Gender.UNKNOWN
    telecoms: tuple[TelecomInOut, ...] = ()
    addresses: tuple[AddressInOut, ...] = ()
    active: bool = True
    """Whoever is not active joins no care team; those they are in they stay in."""

    @property
    def canonical(self) -> bytes:
        """This request in one spelling, by which a repetition of it is recognised."""
        return b"register practitioner " + self.model_dump_json().encode()

    def practitioner(self, practitioner_id: PractitionerId) -> Practitioner:
        """Return the practitioner described, as `practitioner_id`."""
        return Practitioner(id=practitioner_id, **self.content())

    def replacing(self, practitioner: Practitioner) -> Practitioner:
        """Return `practitioner` with this content. Where they were imported from stays."""
        return replace(practitioner, **self.content())


class PractitionerOut(Wire):
    """Somebody who cares for patients, whether or not they have an account here."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"id": "019a9d5c-41aa-7d02-8f7c-5e2b9c6d1a08", "version": 1, "npi_valid": True, **_EXAMPLE},
            ]
        }
    )

    id: PractitionerId
    version: int
    """Rises by one with each change. The `ETag` is the same in quotation marks."""
    name: NameInOut
    npi: str
    """The National Provider Identifier as it was recorded."""
    npi_valid: bool
    """Whether its check digit holds. One that was imported may fail."""
    specialty: ConceptInOut | None
    gender: Gender
    telecoms: tuple[TelecomInOut, ...]
    addresses: tuple[AddressInOut, ...]
    active: bool

    @classmethod
    def of(cls, practitioner: Practitioner) -> Self:
        """Return the shape of `practitioner`."""
        return cls.model_validate(practitioner)


class PractitionerPageOut(PageOut[PractitionerOut]):
    """Some of the practitioners."""


class PractitionerListQuery(Wire):
    """Which practitioners are listed."""

    model_config = ConfigDict(strict=False, extra="forbid")

    active: bool | None = None
    """Only those who work here, or only those who do not any more."""
    cursor: str = ""
    """The `next_cursor` of the page before."""
    limit: Limit = 50


class PractitionerSearchIn(Received):
    """Which practitioners are looked for. Conditions add up; one that is left out allows everybody."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"name": "oka ann", "specialty": "psychiatry"}]})

    name: str = ""
    """Fragments of the name, in any order. Case, accents, apostrophes and hyphens do not matter."""
    specialty: str = ""
    """A code of the specialty, or a fragment of its words."""
    npi: str = ""
    active: bool | None = None
    cursor: str | None = None
    """The `next_cursor` of the page before."""
    limit: Limit = 50

    def query(self) -> PractitionerQuery:
        """Return the query described. Raises `Invalid` if nobody could match."""
        return PractitionerQuery(name=self.name, specialty=self.specialty, npi=self.npi, active=self.active)


class CaseloadCountsOut(Wire):
    """How many patients there are of each status."""

    active: int
    discharged: int
    deceased: int


class CaseloadOut(Wire):
    """How many patients a practitioner cares for, of those the caller may see."""

    practitioner: PractitionerId
    total: int
    counts: CaseloadCountsOut

    @classmethod
    def of(cls, caseload: Caseload) -> Self:
        """Return the shape of `caseload`."""
        counts = CaseloadCountsOut.model_validate({status.value: count for status, count in caseload.counts.items()})
        return cls(practitioner=caseload.practitioner, total=caseload.total, counts=counts)


class CaseloadQuery(Wire):
    """Which of a practitioner's patients are listed."""

    model_config = ConfigDict(strict=False, extra="forbid")

    status: PatientStatus | None = None
    cursor: str = ""
    """The `next_cursor` of the page before."""
    limit: Limit = 50


def _shown(practitioner: Practitioner, response: Response) -> PractitionerOut:
    response.headers["ETag"] = f'"{practitioner.version}"'
    return PractitionerOut.of(practitioner)


@router.post(
    "", status_code=201, responses={201: _ETAG, **_BODY, **documented(Forbidden(), DuplicateNpi(), ReusedKey())}
)
async def register_practitioner(
    registration: Json[PractitionerIn],
    actor: CurrentActor,
    services: RunningServices,
    request: Request,
    response: Response,
    idempotency_key: IdempotencyKey = None,
) -> PractitionerOut:
    """Register a practitioner. With an `Idempotency-Key`, the same request is carried out once."""
    practitioner = registration.practitioner(PractitionerId(services.new_id()))
    repeat = RepeatKey(key=idempotency_key, request=registration.canonical) if idempotency_key else None
    registered = await services.practitioners.register(actor, practitioner, repeat=repeat)
    response.headers["Location"] = f"{request.url.path}/{registered.id}"
    return _shown(registered, response)


@router.get("", responses=documented(Forbidden()))
async def list_practitioners(
    query: Annotated[PractitionerListQuery, Query()], actor: CurrentActor, practitioners: Practitioners
) -> PractitionerPageOut:
    """List who could be in a care team, in the order they came."""
    wanted = PractitionerQuery(active=query.active)
    page = await practitioners.list(actor, wanted, cursor=query.cursor, at_most=query.limit)
    return PractitionerPageOut(**page_of(page, tuple(map(PractitionerOut.of, page.items))))


@router.post("/search", responses={**_BODY, **documented(Forbidden())})
async def search_practitioners(
    search: Json[PractitionerSearchIn], actor: CurrentActor, practitioners: Practitioners
) -> PractitionerPageOut:
    """Find practitioners by name, specialty or NPI, in the order they came."""
    page = await practitioners.list(actor, search.query(), cursor=search.cursor or "", at_most=search.limit)
    return PractitionerPageOut(**page_of(page, tuple(map(PractitionerOut.of, page.items))))


@router.get("/{practitioner_id}", responses={200: _ETAG, **documented(Forbidden(), NotFound())})
async def view_practitioner(
    practitioner_id: PractitionerId, actor: CurrentActor, practitioners: Practitioners, response: Response
) -> PractitionerOut:
    """Show one practitioner."""
    return _shown(await practitioners.view(actor, practitioner_id), response)


@router.put(
    "/{practitioner_id}",
    responses={
        200: _ETAG,
        **_BODY,
        **documented(Forbidden(), NotFound(), StaleWrite(), HTTPException(428), DuplicateNpi()),
    },
)
async def replace_practitioner(
    practitioner_id: PractitionerId,
    record: Json[PractitionerIn],
    actor: CurrentActor,
    practitioners: Practitioners,
    version: VersionSeen,
    response: Response,
) -> PractitionerOut:
    """Record a practitioner anew: what is left out is emptied. What changes nothing makes no new version.

    An NPI that was imported and fails its check may stay; any other has to hold.
    """
    changed = await practitioners.change(actor, practitioner_id, record.replacing, version=version)
    return _shown(changed, response)


@router.get(
    "/{practitioner_id}/patients",
    response_model=PatientPageOut,
    responses=documented(Forbidden(), NotFound()),
)
async def list_patients_of_practitioner(
    practitioner_id: PractitionerId,
    query: Annotated[CaseloadQuery, Query()],
    actor: CurrentActor,
    practitioners: Practitioners,
    patients: Patients,
    today: Today,
) -> Response:
    """List the patients a practitioner cares for, of those the caller may see, in the order they were registered."""
    practitioner = await practitioners.view(actor, practitioner_id)
    conditions = PatientFilter(status=query.status, practitioner=practitioner.id)
    page = await patients.list(actor, conditions, cursor=query.cursor, at_most=query.limit)
    return shown_page(page, today)


@router.get("/{practitioner_id}/caseload", responses=documented(Forbidden(), NotFound()))
async def view_caseload(
    practitioner_id: PractitionerId, actor: CurrentActor, practitioners: Practitioners
) -> CaseloadOut:
    """Count the patients a practitioner cares for, of those the caller may see."""
    return CaseloadOut.of(await practitioners.caseload(actor, practitioner_id))
