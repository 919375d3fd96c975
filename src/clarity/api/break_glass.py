"""The routes on broken glass, and their shapes."""

from typing import Annotated, Any, Self
from uuid import UUID

from fastapi import Query
from pydantic import ConfigDict, Field
from starlette.exceptions import HTTPException

from clarity.api.dependencies import BrokenGlass, CurrentActor, IdempotencyKey, RunningServices
from clarity.api.problems import documented
from clarity.api.routing import router_of
from clarity.api.wire import Instant, Json, Limit, PageOut, Received, Wire, page_of
from clarity.application.break_glass import Report
from clarity.application.patients import RepeatKey
from clarity.domain.access import Role
from clarity.domain.break_glass import MAX_NAME, BreakGlassStatus, ReviewOutcome
from clarity.domain.errors import Conflict, Forbidden, Invalid, NotFound, ReusedKey, TooMany
from clarity.domain.identifiers import Identifier
from clarity.domain.ids import AccountId, BreakGlassId, PatientId
from clarity.domain.values import MAX_TEXT

_BODY = documented(HTTPException(413), HTTPException(415))
_EXAMPLE: dict[str, Any] = {
    "mrn": "MRN-0001",
    "reason": "Found unconscious in the waiting room; I need to know what she takes.",
    "minutes": 30,
}

router = router_of("break-glass")


class BreakGlassIn(Received):
    """That somebody needs one patient's record in an emergency. Exactly one of `patient` and `mrn` is given."""

    model_config = ConfigDict(json_schema_extra={"examples": [_EXAMPLE]})

    patient: PatientId | None = None
    """The id of the record, if it is known."""
    mrn: Annotated[str, Field(max_length=200)] = ""
    """The whole medical record number."""
    mrn_system: Annotated[str, Field(max_length=500)] = ""
    """Who assigned the number; only needed where several patients have it."""
    reason: Annotated[str, Field(max_length=MAX_TEXT)]
    """The nature of the emergency (42 CFR 2.51(c)(4)). It is kept with the patient's record and read in the review."""
    minutes: int | None = None
    """For how long, if less than the practice allows will do."""
    affiliation: Annotated[str, Field(max_length=MAX_NAME)] = ""
    """The health care facility that the caller belongs to (42 CFR 2.51(c)(1)), if that is not this practice."""

    def who(self) -> PatientId | Identifier:
        """Return which patient is meant, or raise `Invalid`."""
        if self.mrn_system and not self.mrn:
            raise Invalid("mrn_system", "belongs to mrn")
        if (self.patient is None) == (not self.mrn):
            raise Invalid("patient", "give either patient or mrn")
        if self.patient is not None:
            return self.patient
        try:
            return Identifier.mrn(self.mrn, self.mrn_system)
        except Invalid as exc:
            raise Invalid("mrn_system" if exc.field == "system" else "mrn", exc.rule) from None

    def canonical(self) -> bytes:
        """Return this request in one spelling, by which a repetition of it is recognised."""
        return b"break glass " + self.model_dump_json().encode()


class BreakGlassReviewIn(Received):
    """How broken glass is judged."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"outcome": "justified", "note": "On call that night; talked to the ward."}]}
    )

    outcome: ReviewOutcome
    note: Annotated[str, Field(max_length=MAX_TEXT)]
    """What the outcome rests on."""


class DisclosureOut(Wire):
    """What 42 CFR 2.51(c) wants recorded of a disclosure in an emergency."""

    medical_personnel: str
    """The name of those to whom it was made (c)(1)."""
    affiliation: str
    """The health care facility they belong to (c)(1)."""
    disclosed_by: str
    """The name of the person who made it (c)(2)."""
    disclosed_at: Instant
    """When it was made (c)(3). The instant of each look is in the audit trail."""
    nature_of_emergency: str
    """What the emergency was (c)(4)."""


class BreakGlassReviewOut(Wire):
    """How it was judged."""

    outcome: ReviewOutcome
    note: str
    by: UUID
    """The account of the compliance officer."""
    at: Instant


class BreakGlassUsesOut(Wire):
    """What was done under it, by the audit trail."""

    count: int
    """How many requests showed something of the patient for the purpose of an emergency."""
    first_at: Instant | None
    last_at: Instant | None


class BreakGlassOut(Wire):
    """Access to one patient in an emergency. It ends by itself at `expires_at`."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": "019a9d5c-60b1-7e52-9a4c-77d0a2b1c3e4",
                    "patient": "019a9d5c-1c0a-7f3e-8b52-0e61d9a4c7b8",
                    "account": "019a9d5c-2b6f-7d11-8f0a-13c5d7e9b2a6",
                    "name": "Grace Hopper",
                    "role": "clinician",
                    "status": "reviewed",
                    "open": False,
                    "opened_at": "2026-03-14T09:26:53Z",
                    "expires_at": "2026-03-14T09:56:53Z",
                    "closed_at": "2026-03-14T09:41:07Z",
                    "alerted": 1,
                    "disclosure": {
                        "medical_personnel": "Grace Hopper",
                        "affiliation": "Harbor Psychiatry",
                        "disclosed_by": "Grace Hopper",
                        "disclosed_at": "2026-03-14T09:26:53Z",
                        "nature_of_emergency": _EXAMPLE["reason"],
                    },
                    "uses": {"count": 2, "first_at": "2026-03-14T09:27:01Z", "last_at": "2026-03-14T09:38:40Z"},
                    "review": {
                        "outcome": "justified",
                        "note": "On call that night; talked to the ward.",
                        "by": "019a9d5c-3c7f-7a22-8e0b-24d6e8f0c3b7",
                        "at": "2026-03-15T08:02:11Z",
                    },
                }
            ]
        }
    )

    id: BreakGlassId
    patient: PatientId
    account: AccountId
    """The account that broke the glass; nobody else may see anything by it."""
    name: str
    role: str
    status: BreakGlassStatus
    open: bool
    """Whether it gives access now."""
    opened_at: Instant
    expires_at: Instant
    closed_at: Instant | None
    """When it was ended before its time."""
    alerted: int
    """How many compliance officers were told of it."""
    disclosure: DisclosureOut
    uses: BreakGlassUsesOut
    review: BreakGlassReviewOut | None

    @classmethod
    def of(cls, report: Report, services: RunningServices) -> Self:
        """Return the shape of `report` as it is now."""
        glass = report.glass
        role: Role = glass.role
        return cls(
            id=glass.id,
            patient=glass.patient,
            account=glass.account,
            name=glass.name,
            role=role.title,
            status=glass.status,
            open=glass.holds_at(services.now()),
            opened_at=glass.opened_at,
            expires_at=glass.expires_at,
            closed_at=glass.closed_at,
            alerted=glass.alerted,
            disclosure=DisclosureOut(
                medical_personnel=glass.name,
                affiliation=glass.affiliation,
                disclosed_by=glass.disclosed_by,
                disclosed_at=glass.opened_at,
                nature_of_emergency=glass.reason,
            ),
            uses=BreakGlassUsesOut.model_validate(report.uses),
            review=None if glass.review is None else BreakGlassReviewOut.model_validate(glass.review),
        )


class BreakGlassPageOut(PageOut[BreakGlassOut]):
    """Some of the review queue."""


@router.post("", status_code=201, responses={**_BODY, **documented(NotFound(), Forbidden(), ReusedKey(), TooMany(120))})
async def break_glass(
    request: Json[BreakGlassIn],
    actor: CurrentActor,
    glass: BrokenGlass,
    services: RunningServices,
    idempotency_key: IdempotencyKey = None,
) -> BreakGlassOut:
    """Break the glass: see one patient's record for a limited time, without a tie to them.

    For clinicians and nurses. Every compliance officer is told at once, and reviews it afterwards. Nothing can be
    changed by it, and psychotherapy notes stay closed. With an `Idempotency-Key`, a request that comes again shows
    what the first one opened.
    """
    repeat = RepeatKey(key=idempotency_key, request=request.canonical()) if idempotency_key else None
    report = await glass.open(
        actor,
        request.who(),
        request.reason,
        minutes=request.minutes,
        affiliation=request.affiliation,
        repeat=repeat,
    )
    return BreakGlassOut.of(report, services)


@router.get("", responses=documented(Forbidden()))
async def list_broken_glass(
    actor: CurrentActor,
    glass: BrokenGlass,
    services: RunningServices,
    status: Annotated[BreakGlassStatus | None, Query(description="`unreviewed` is what waits for a review.")] = None,
    cursor: str = "",
    limit: Limit = 50,
) -> BreakGlassPageOut:
    """List the review queue: what was not reviewed first, the oldest before all. Carers see what they opened."""
    page = await glass.list(actor, status=status, cursor=cursor, at_most=limit)
    items = tuple(BreakGlassOut.of(report, services) for report in page.items)
    return BreakGlassPageOut(**page_of(page, items))


@router.get("/{glass_id}", responses=documented(NotFound()))
async def view_broken_glass(
    glass_id: BreakGlassId, actor: CurrentActor, glass: BrokenGlass, services: RunningServices
) -> BreakGlassOut:
    """Show one, with what was done under it. 404 also means that it is neither yours nor yours to review."""
    return BreakGlassOut.of(await glass.view(actor, glass_id), services)


@router.post("/{glass_id}/close", responses=documented(NotFound(), Conflict("this access has ended before")))
async def close_broken_glass(
    glass_id: BreakGlassId, actor: CurrentActor, glass: BrokenGlass, services: RunningServices
) -> BreakGlassOut:
    """End your own access before its time, from the next request on."""
    return BreakGlassOut.of(await glass.close(actor, glass_id), services)


@router.post(
    "/{glass_id}/review",
    responses={**_BODY, **documented(NotFound(), Forbidden(), Conflict("this was reviewed before"))},
)
async def review_broken_glass(
    glass_id: BreakGlassId,
    review: Json[BreakGlassReviewIn],
    actor: CurrentActor,
    glass: BrokenGlass,
    services: RunningServices,
) -> BreakGlassOut:
    """Judge it, once, as a compliance officer. What is judged unjustified ends at once."""
    return BreakGlassOut.of(await glass.review(actor, glass_id, review.outcome, review.note), services)
