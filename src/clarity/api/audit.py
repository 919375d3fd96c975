"""The routes on the audit trail, and their shapes. No content comes in by their addresses: ids, instants and words."""

from collections.abc import AsyncIterator
from dataclasses import replace
from enum import IntEnum
from typing import Annotated, Any, Self
from uuid import UUID

from fastapi import Query, Response
from fastapi.responses import StreamingResponse
from pydantic import BeforeValidator, ConfigDict, PlainSerializer, WithJsonSchema

from clarity.api.dependencies import AuditTrail, CurrentActor
from clarity.api.problems import documented
from clarity.api.routing import router_of
from clarity.api.wire import Instant, Limit, PageOut, Wire, fault, page_of
from clarity.application.trail import ExportPiece
from clarity.application.trail_csv import fields_of
from clarity.domain.access import Action, Purpose, Reason, Role
from clarity.domain.audit import AuditEvent, Outcome
from clarity.domain.errors import Forbidden
from clarity.domain.ids import EventId, PatientId, RequestId
from clarity.domain.records import Resource
from clarity.domain.trail import ExportFormat, TrailLine, TrailQuery

router = router_of("audit")


def _words(kind: type[IntEnum]) -> tuple[BeforeValidator, PlainSerializer, WithJsonSchema]:
    """Return what makes of the members of `kind` the words that stand for them."""
    members = {one.name.lower(): one for one in kind}

    def read(value: object) -> object:
        if isinstance(value, kind):
            return value
        if not isinstance(value, str) or value not in members:
            raise fault(f"must be one of {', '.join(members)}")
        return members[value]

    def write(value: IntEnum) -> str:
        return value.name.lower()

    schema = {"type": "string", "enum": list(members)}
    return BeforeValidator(read), PlainSerializer(write, return_type=str), WithJsonSchema(schema)


ActionWord = Annotated[Action, *_words(Action)]
OutcomeWord = Annotated[Outcome, *_words(Outcome)]
PurposeWord = Annotated[Purpose, *_words(Purpose)]
ReasonWord = Annotated[Reason, *_words(Reason)]
ResourceWord = Annotated[Resource, *_words(Resource)]


class AuditActorOut(Wire):
    """Who did it."""

    id: UUID
    """The account; small numbers stand for what acts without one."""
    role: str
    name: str
    """The name of the account now, or what acts by itself is called; "" for an account that is not known."""
    email: str
    operator: str
    """Who ran the command line, by their name on that machine."""


class AuditEventOut(Wire):
    """Who did what to whose record, when, why and with what end. There is no content in it."""

    actor: AuditActorOut
    purpose: PurposeWord
    action: ActionWord
    resource: ResourceWord
    """What it was done to."""
    patient: PatientId | None
    """Whose record, if it is about one patient."""
    ids: tuple[UUID, ...]
    """The records, by their ids; the patients of a list stand here."""
    ids_count: int
    """How many records; if that is more than stand in `ids`, only their digest was kept."""
    outcome: OutcomeWord
    reason: ReasonWord
    """Why it was refused or failed."""
    request: RequestId
    """The `X-Request-Id` of the answer; several events of one request have the same."""
    fields: tuple[str, ...]
    """What was shown of a patient, or changed."""
    version: int
    """The version that a change made; 0 if it made none."""
    query_mac: str
    """By this the same question is recognised; what was asked cannot be read from it."""

    @classmethod
    def of(cls, event: AuditEvent, line: TrailLine) -> Self:
        """Return the shape of `event`, with the name of who acted."""
        role: Role = event.role
        return cls(
            actor=AuditActorOut(
                id=event.actor, role=role.title, name=line.name, email=line.email, operator=event.operator
            ),
            purpose=event.purpose,
            action=event.action,
            resource=event.resource,
            patient=event.patient,
            ids=event.ids,
            ids_count=event.ids_count,
            outcome=event.outcome,
            reason=event.reason,
            request=event.request,
            fields=fields_of(event),
            version=event.version,
            query_mac=event.query_mac.hex(),
        )


class AuditEntryOut(Wire):
    """An event as it was found in the trail."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": "019a9d5c-7d20-7a41-b5e8-61c3f0d2a9b4",
                    "at": "2026-03-14T09:27:01.204511Z",
                    "verified": True,
                    "event": {
                        "actor": {
                            "id": "019a9d5c-2b6f-7d11-8f0a-13c5d7e9b2a6",
                            "role": "clinician",
                            "name": "Grace Hopper",
                            "email": "grace.hopper@example.org",
                            "operator": "",
                        },
                        "purpose": "emergency",
                        "action": "view",
                        "resource": "patient",
                        "patient": "019a9d5c-1c0a-7f3e-8b52-0e61d9a4c7b8",
                        "ids": ["019a9d5c-1c0a-7f3e-8b52-0e61d9a4c7b8"],
                        "ids_count": 1,
                        "outcome": "succeeded",
                        "reason": "none",
                        "request": "019a9d5c-7d1e-7c02-9a77-0b4d6e8f1a23",
                        "fields": ["names", "born", "notes"],
                        "version": 0,
                        "query_mac": "",
                    },
                }
            ]
        }
    )

    id: EventId
    at: Instant
    verified: bool
    """Whether it is what was written: its bytes have the MAC of this practice, and its columns say the same."""
    event: AuditEventOut | None
    """Null if it was altered so far that it cannot be read, or taken away."""

    @classmethod
    def of(cls, line: TrailLine) -> Self:
        """Return the shape of `line`."""
        entry = line.entry
        event = None if entry.event is None else AuditEventOut.of(entry.event, line)
        at = entry.place.at if entry.event is None else entry.event.at
        return cls(id=entry.place.id, at=at, verified=entry.verified, event=event)


class AuditPageOut(PageOut[AuditEntryOut]):
    """Some of the trail."""


class AuditQuery(Wire):
    """Which events are asked for. Conditions add up; several values of one allow each of them."""

    model_config = ConfigDict(strict=False, extra="forbid")

    patient: PatientId | None = None
    """Who saw this patient: what was done with their record, and the lists that showed them."""
    actor: UUID | None = None
    """What this account did."""
    since: Instant | None = None
    """The first instant."""
    until: Instant | None = None
    """The first instant beyond."""
    action: tuple[ActionWord, ...] = ()
    resource: tuple[ResourceWord, ...] = ()
    outcome: tuple[OutcomeWord, ...] = ()
    request: RequestId | None = None
    """All of one request, by the `X-Request-Id` of its answer."""

    def query(self) -> TrailQuery:
        """Return the query described."""
        return TrailQuery(
            patient=self.patient,
            actor=self.actor,
            since=self.since,
            until=self.until,
            actions=frozenset(self.action),
            resources=frozenset(self.resource),
            outcomes=frozenset(self.outcome),
            request=self.request,
        )


class AuditListQuery(AuditQuery):
    """Which events are listed."""

    oldest_first: bool = False
    cursor: str = ""
    """The `next_cursor` of the page before."""
    limit: Limit = 50


class AuditExportQuery(AuditQuery):
    """Which events are exported, and how they are written."""

    format: ExportFormat = ExportFormat.CSV


_EXPORTED: dict[str, Any] = {
    "description": "The events, the oldest first. One that broke off has no last chunk: the connection ends early.",
    "content": {
        "text/csv": {"schema": {"type": "string"}, "example": "at,event,verified,actor,actor_name\r\n"},
        "application/fhir+ndjson": {
            "schema": {"type": "string"},
            "example": '{"resourceType":"AuditEvent","id":"019a9d5c-7d20-7a41-b5e8-61c3f0d2a9b4"}\n',
        },
    },
}


@router.get("", responses=documented(Forbidden()))
async def list_audit_events(
    query: Annotated[AuditListQuery, Query()], actor: CurrentActor, trail: AuditTrail
) -> AuditPageOut:
    """Read the trail, the latest first: who saw a patient, what an account did. For compliance officers.

    Each answer is itself an event of the trail. A page may have fewer events than asked for, even none, and a
    `next_cursor`: then what is looked for is rare, and the search goes on there.
    """
    asked = replace(query.query(), oldest_first=query.oldest_first)
    page = await trail.list(actor, asked, cursor=query.cursor, at_most=query.limit)
    return AuditPageOut(**page_of(page, tuple(map(AuditEntryOut.of, page.items))))


@router.get("/export", response_class=StreamingResponse, responses={200: _EXPORTED, **documented(Forbidden())})
async def export_audit_events(
    query: Annotated[AuditExportQuery, Query()], actor: CurrentActor, trail: AuditTrail
) -> Response:
    """Write down what the trail has by now, as CSV or as FHIR R4 AuditEvents (IHE BALP), the oldest first.

    What leaves is in the trail before it does. If the trail fails meanwhile the connection is cut: whoever got the last
    chunk (RFC 9112, 7.1) has all of it.
    """
    pieces = trail.export(actor, query.query(), query.format)
    # A refusal, or a trail that is down, is an answer of its own as long as nothing was sent.
    first = await anext(pieces)
    headers = {"Content-Disposition": f'attachment; filename="audit.{_SUFFIX[query.format]}"'}
    media_type = trail.formats[query.format].media_type
    return StreamingResponse(_bytes_of(first, pieces), media_type=media_type, headers=headers)


_SUFFIX = {ExportFormat.CSV: "csv", ExportFormat.FHIR: "ndjson"}


async def _bytes_of(first: ExportPiece, rest: AsyncIterator[ExportPiece]) -> AsyncIterator[bytes]:
    yield first.data
    async for piece in rest:
        yield piece.data
