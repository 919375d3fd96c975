"""The routes on disclosures outside the practice, their accounting, and their shapes."""

import asyncio
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Self
from uuid import UUID

from fastapi import Header, Query, Response
from pydantic import ConfigDict, Field
from starlette.exceptions import HTTPException

from clarity.api.dependencies import CurrentActor, Disclosures, IdempotencyKey, RunningServices, VersionSeen
from clarity.api.problems import documented
from clarity.api.routing import JSON, router_of
from clarity.api.wire import Day, Instant, Json, Limit, PageOut, Received, Value, Wire, page_of
from clarity.application.pages import MAX_PAGE
from clarity.application.patients import RepeatKey
from clarity.domain.audit import AuditEvent
from clarity.domain.disclosures import (
    Accounting,
    Authority,
    Disclosure,
    DisclosureStatus,
    Exemption,
    ExportReason,
    Means,
    Series,
    Suspension,
)
from clarity.domain.errors import Conflict, Forbidden, NotFound, ReusedKey, StaleWrite
from clarity.domain.ids import DisclosureId, EventId, PatientId
from clarity.domain.values import MAX_ITEMS, MAX_TEXT

_BODY = documented(HTTPException(413), HTTPException(415))
_VERSIONED = documented(HTTPException(428), StaleWrite(), Conflict("the disclosure was marked as mistaken"))
_ETAG: dict[str, Any] = {
    "headers": {"ETag": {"description": "The version of the disclosure.", "schema": {"type": "string"}}}
}
of_patient = router_of("patients/{patient_id}/disclosures")
accountings = router_of("patients/{patient_id}/accounting")
router = router_of("disclosures")
for _one in (of_patient, accountings):
    _one.tags = ["disclosures"]

Text = Annotated[str, Field(max_length=MAX_TEXT)]


class SeriesValue(Value):
    """That a disclosure was repeated, to the same recipient for a single purpose (45 CFR 164.528(b)(3))."""

    means = Series

    last_on: Day
    """The day of the last."""
    frequency: Text = ""
    """How often, such as "monthly"; needed without `number`."""
    number: int | None = None
    """How many there were in all, with the first."""


class SuspensionIn(Value):
    """The statement of an agency or official that the patient is not to be told for a time."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "authority": "law-enforcement",
                    "stated_by": "Det. R. Ortiz, Portland Police Bureau",
                    "stated_on": "2026-03-13",
                    "until": "2026-04-10",
                    "oral": True,
                }
            ]
        }
    )
    means = Suspension

    authority: Authority
    """Whether the disclosure was one to a health oversight agency (45 CFR 164.512(d)) or to law enforcement (f)."""
    stated_by: Text
    """Who made the statement."""
    stated_on: Day
    until: Day
    """The last day of the suspension: 30 days after an oral statement at most (45 CFR 164.528(a)(2)(ii)(C))."""
    oral: bool = False
    document: Text = ""
    """The written statement and where it is kept; needed unless it was `oral`."""


class DisclosureFields(Wire):
    """What went outside the practice, with what 45 CFR 164.528(b)(2) wants told of it."""

    made_on: Day
    """The day it was made, or of a series the first was (b)(2)(i)."""
    recipient: Text
    """The name of the entity or person who received it (b)(2)(ii)."""
    address: Text = ""
    """Their address, if it is known (b)(2)(ii)."""
    what: Text
    """A brief description of what was disclosed (b)(2)(iii)."""
    purpose: Text = ""
    """A brief statement of the purpose (b)(2)(iv)."""
    request: Text = ""
    """Instead of it, the written request and where its copy is, to go with the accounting (b)(2)(iv)."""
    means: Means
    events: Annotated[tuple[EventId, ...], Field(max_length=MAX_ITEMS)] = ()
    """The events of the trail that it was made by, if this system made it."""
    series: SeriesValue | None = None
    exemption: Exemption | None = None
    """Why it does not have to be accounted for (45 CFR 164.528(a)(1)), if it does not."""


_EXAMPLE: dict[str, Any] = {
    "made_on": "2026-03-12",
    "recipient": "Multnomah County Health Department",
    "address": "426 SW Stark Street, Portland, OR 97204",
    "what": "Diagnosis and date of a reportable disease",
    "purpose": "Required by state law to report this disease (public health)",
    "means": "fax",
}


class RecordedDisclosureIn(DisclosureFields, Received):
    """A disclosure to be written down."""

    model_config = ConfigDict(json_schema_extra={"examples": [_EXAMPLE]})

    def canonical(self, patient: PatientId) -> bytes:
        """Return this request in one spelling, by which a repetition of it is recognised."""
        return b"record disclosure " + patient.bytes + self.model_dump_json().encode()

    def disclosure(self, disclosure: DisclosureId, patient: PatientId, at: datetime, account: UUID) -> Disclosure:
        """Return the disclosure described, as recorded by an account at an instant."""
        return Disclosure(id=disclosure, patient=patient, recorded_at=at, recorded_by=account, **self.content())


class MistakeIn(Received):
    """Why something should never have been entered."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"why": "Entered in the record of another patient."}]})

    why: Text


class SuspensionOut(Wire):
    """Until when the patient is not told, and who said so."""

    authority: Authority
    stated_by: str
    stated_on: Day
    until: Day
    oral: bool
    document: str


class RecordedDisclosureOut(DisclosureFields):
    """A disclosure as it was written down."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    **_EXAMPLE,
                    "id": "019a9d5c-60b1-7e52-9a4c-77d0a2b1c3e4",
                    "patient": "019a9d5c-1c0a-7f3e-8b52-0e61d9a4c7b8",
                    "request": "",
                    "events": [],
                    "status": "accountable",
                    "mistake": "",
                    "recorded_at": "2026-03-14T09:26:53Z",
                    "recorded_by": "019a9d5c-2b6f-7d11-8f0a-13c5d7e9b2a6",
                    "version": 1,
                }
            ]
        }
    )

    id: DisclosureId
    patient: PatientId
    """Whose record it was of; another than was asked for if that was merged into theirs."""
    status: DisclosureStatus
    citation: str | None = None
    """The paragraph that an exemption rests on."""
    mistake: str
    """Why it should never have been entered, if it is mistaken."""
    suspension: SuspensionOut | None = None
    recorded_at: Instant
    recorded_by: UUID
    """The account that recorded it."""
    version: int
    """To be named in `If-Match`, as `"1"`."""

    @classmethod
    def of(cls, disclosure: Disclosure) -> Self:
        """Return the shape of `disclosure`."""
        content = {name: getattr(disclosure, name) for name in cls.model_fields if name not in {"citation", "series"}}
        series = _series(disclosure)
        citation = disclosure.exemption and disclosure.exemption.citation
        return cls.model_validate({**content, "series": series, "citation": citation})


class DisclosurePageOut(PageOut[RecordedDisclosureOut]):
    """Some of what was written down of a patient, newest first."""


class AccountedOut(Wire):
    """One line of an accounting."""

    made_on: Day
    recipient: str
    address: str
    what: str
    purpose: str
    request: str
    series: SeriesValue | None


class AccountingOut(Wire):
    """What a patient is told of the disclosures of a period (45 CFR 164.528)."""

    patient: PatientId
    name: str
    practice: str
    given_on: Day
    since: Day
    until: Day
    disclosures: tuple[AccountedOut, ...]
    """The oldest first."""

    @classmethod
    def of(cls, accounting: Accounting) -> Self:
        """Return the shape of `accounting`."""
        return cls(
            patient=accounting.patient,
            name=accounting.name,
            practice=accounting.practice,
            given_on=accounting.given_on,
            since=accounting.period.since,
            until=accounting.period.until,
            disclosures=tuple(_accounted(one) for one in accounting.disclosures),
        )


def _accounted(one: Disclosure) -> AccountedOut:
    return AccountedOut(
        made_on=one.made_on,
        recipient=one.recipient,
        address=one.address,
        what=one.what,
        purpose=one.purpose,
        request=one.request,
        series=_series(one),
    )


def _series(one: Disclosure) -> SeriesValue | None:
    return None if one.series is None else SeriesValue.model_validate(one.series)


class ExportOut(Wire):
    """An export that the trail tells of, and nothing accounts for."""

    event: EventId
    at: Instant
    account: UUID
    resource: str
    patient: PatientId | None
    """The one patient it is about; null if it is about several, or about none in particular."""
    records: int
    """How many records it names."""
    request: UUID

    @classmethod
    def of(cls, event: AuditEvent) -> Self:
        """Return the shape of `event`."""
        return cls(
            event=event.id,
            at=event.at,
            account=event.actor,
            resource=event.resource.title,
            patient=event.patient,
            records=event.ids_count,
            request=event.request,
        )


class UnfoundedOut(Wire):
    """That a disclosure names an event that is not in the trail, did not succeed, or is about others."""

    disclosure: DisclosureId
    event: EventId
    patient: PatientId


class ReconciledPageOut(Wire):
    """What came of a page of the comparison: perhaps nothing, and yet there is a next one."""

    next_cursor: str | None
    """Where the next page begins; null behind the last."""


class ExportPageOut(ReconciledPageOut):
    """Exports that nothing accounts for, the oldest first."""

    items: tuple[ExportOut, ...]


class UnfoundedPageOut(ReconciledPageOut):
    """What disclosures claim of the trail and the trail does not say."""

    items: tuple[UnfoundedOut, ...]


class ExportReasonIn(Received):
    """Why an export is no disclosure to account for."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"reason": "within-practice"}]})

    reason: Exemption
    """`within-practice` for what nobody outside received; the others are the exceptions of 45 CFR 164.528(a)(1)."""


class ExportReasonOut(Wire):
    """A reason as it was given."""

    event: EventId
    reason: Exemption
    citation: str
    at: Instant
    by: UUID

    @classmethod
    def of(cls, given: ExportReason) -> Self:
        """Return the shape of `given`."""
        return cls(event=given.event, reason=given.reason, citation=given.reason.citation, at=given.at, by=given.by)


class AccountingFormat(StrEnum):
    """How an accounting may come."""

    JSON = "json"
    CSV = "csv"
    PDF = "pdf"


class AccountingQuery(Wire):
    """Which time is accounted for, and as what. A period that is misspelt is refused: another would look the same."""

    model_config = ConfigDict(strict=False, extra="forbid")

    since: Day | None = Field(None, alias="from", description="The first day; six years before today if absent.")
    until: Day | None = Field(None, description="The last day; today if absent.")
    wanted: AccountingFormat | None = Field(None, alias="format", description="Takes the place of `Accept`.")


_MEDIA_TYPES = {
    AccountingFormat.JSON: JSON,
    AccountingFormat.CSV: "text/csv",
    AccountingFormat.PDF: "application/pdf",
}
_ACCOUNTED: dict[str, Any] = {
    "description": "The accounting, in the format that was asked for.",
    "content": {
        "text/csv": {"schema": {"type": "string"}},
        "application/pdf": {"schema": {"type": "string", "format": "binary"}},
    },
}


@of_patient.get("", responses=documented(NotFound()))
async def list_disclosures(
    patient_id: PatientId, actor: CurrentActor, disclosures: Disclosures, cursor: str = "", limit: Limit = 50
) -> DisclosurePageOut:
    """List what was written down of a patient, newest first: what is exempt, suspended or mistaken too.

    For the care team and compliance officers. The patient is shown the accounting.
    """
    page = await disclosures.list(actor, patient_id, cursor=cursor, at_most=limit)
    return DisclosurePageOut(**page_of(page, tuple(RecordedDisclosureOut.of(one) for one in page.items)))


@of_patient.post("", status_code=201, responses={201: _ETAG, **_BODY, **documented(NotFound(), ReusedKey())})
async def record_disclosure(
    patient_id: PatientId,
    disclosure: Json[RecordedDisclosureIn],
    actor: CurrentActor,
    disclosures: Disclosures,
    services: RunningServices,
    response: Response,
    idempotency_key: IdempotencyKey = None,
) -> RecordedDisclosureOut:
    """Write down a disclosure outside the practice, by this system or any other means.

    With an `Idempotency-Key`, a request that comes again shows what the first one recorded.
    """
    disclosure_id, now = DisclosureId(services.new_id()), services.now()
    repeat = RepeatKey(key=idempotency_key, request=disclosure.canonical(patient_id)) if idempotency_key else None
    recorded = await disclosures.record(
        actor, patient_id, lambda by: disclosure.disclosure(disclosure_id, patient_id, now, by), repeat=repeat
    )
    return _tagged(recorded, response)


@of_patient.put("/{disclosure_id}", responses={200: _ETAG, **_BODY, **_VERSIONED, **documented(NotFound())})
async def correct_disclosure(
    patient_id: PatientId,
    disclosure_id: DisclosureId,
    disclosure: Json[RecordedDisclosureIn],
    actor: CurrentActor,
    disclosures: Disclosures,
    version: VersionSeen,
    response: Response,
) -> RecordedDisclosureOut:
    """Correct a disclosure, as a compliance officer: all of it is replaced, and the version before is kept.

    Events may be added and not taken out; a suspension stays as it is.
    """
    content = disclosure.content()
    return _tagged(await disclosures.correct(actor, patient_id, disclosure_id, content, version=version), response)


@of_patient.post("/{disclosure_id}/mistaken", responses={200: _ETAG, **_BODY, **_VERSIONED, **documented(NotFound())})
async def mark_disclosure_mistaken(
    patient_id: PatientId,
    disclosure_id: DisclosureId,
    mistake: Json[MistakeIn],
    actor: CurrentActor,
    disclosures: Disclosures,
    version: VersionSeen,
    response: Response,
) -> RecordedDisclosureOut:
    """Mark a disclosure as entered in error, as a compliance officer. It stays, and no accounting has it."""
    marked = await disclosures.mark_mistaken(actor, patient_id, disclosure_id, mistake.why, version=version)
    return _tagged(marked, response)


@of_patient.put("/{disclosure_id}/suspension", responses={200: _ETAG, **_BODY, **_VERSIONED, **documented(NotFound())})
async def suspend_disclosure(
    patient_id: PatientId,
    disclosure_id: DisclosureId,
    suspension: Json[SuspensionIn],
    actor: CurrentActor,
    disclosures: Disclosures,
    version: VersionSeen,
    response: Response,
) -> RecordedDisclosureOut:
    """Leave a disclosure out of accountings for a time (45 CFR 164.528(a)(2)), as a compliance officer.

    A later statement takes the place of an earlier one, such as a written one of an oral one.
    """
    stated = Suspension(**suspension.content())
    suspended = await disclosures.suspend(actor, patient_id, disclosure_id, stated, version=version)
    return _tagged(suspended, response)


@accountings.get("", response_model=AccountingOut, responses={200: _ACCOUNTED, **documented(NotFound())})
async def account_for_disclosures(
    patient_id: PatientId,
    actor: CurrentActor,
    disclosures: Disclosures,
    query: Annotated[AccountingQuery, Query()],
    accept: Annotated[str, Header(include_in_schema=False)] = "",
) -> AccountingOut | Response:
    """Give the accounting of disclosures (45 CFR 164.528), to the patient or for them by a compliance officer.

    What is exempt, suspended or mistaken is not in it, and it does not say whether there is any. As JSON, as a table
    (CSV) or as a document to read (PDF), by `format` or by what `Accept` names.
    """
    accounting = await disclosures.account_for(actor, patient_id, since=query.since, until=query.until)
    form = query.wanted or _accepted(accept)
    if form is AccountingFormat.JSON:
        return AccountingOut.of(accounting)
    draw = disclosures.press.pdf if form is AccountingFormat.PDF else disclosures.press.csv
    content = await asyncio.to_thread(draw, accounting)
    # The name of a file is read by whoever looks over a shoulder: it says what it is, and not of whom.
    named = {"Content-Disposition": f'attachment; filename="accounting-of-disclosures.{form}"'}
    return Response(content, media_type=_MEDIA_TYPES[form], headers=named)


@router.get("/unaccounted-exports", responses=documented(Forbidden()))
async def list_unaccounted_exports(
    actor: CurrentActor, disclosures: Disclosures, cursor: str = "", limit: Limit = MAX_PAGE
) -> ExportPageOut:
    """List the exports in the trail that have neither a disclosure nor a reason why not. For compliance officers."""
    page = await disclosures.unaccounted_exports(actor, cursor=cursor, at_most=limit)
    return ExportPageOut(items=tuple(ExportOut.of(event) for event in page.items), next_cursor=page.next_cursor or None)


@router.get("/unfounded", responses=documented(Forbidden()))
async def list_unfounded_disclosures(
    actor: CurrentActor, disclosures: Disclosures, cursor: str = "", limit: Limit = MAX_PAGE
) -> UnfoundedPageOut:
    """List what disclosures claim of the trail and the trail does not say. For compliance officers."""
    page = await disclosures.unfounded(actor, cursor=cursor, at_most=limit)
    return UnfoundedPageOut(
        items=tuple(UnfoundedOut.model_validate(one) for one in page.items), next_cursor=page.next_cursor or None
    )


@router.put("/exports/{event_id}/reason", responses={**_BODY, **documented(NotFound(), Forbidden())})
async def explain_export(
    event_id: EventId, reason: Json[ExportReasonIn], actor: CurrentActor, disclosures: Disclosures
) -> ExportReasonOut:
    """Say why an export is no disclosure to account for: all events of its request. A later reason takes its place."""
    return ExportReasonOut.of(await disclosures.explain(actor, event_id, reason.reason))


def _tagged(disclosure: Disclosure, response: Response) -> RecordedDisclosureOut:
    response.headers["ETag"] = f'"{disclosure.version}"'
    return RecordedDisclosureOut.of(disclosure)


def _accepted(accept: str) -> AccountingFormat:
    """Return the first format that `Accept` names, or JSON if it names none of them."""
    for one in accept.split(","):
        media_type = one.partition(";")[0].strip().lower()
        for form, offered in _MEDIA_TYPES.items():
            if media_type == offered:
                return form
    return AccountingFormat.JSON
