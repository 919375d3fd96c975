"""The routes on the log of contacts between a patient and the system, and their shapes."""

from typing import Annotated, Any, Self
from uuid import UUID

from fastapi import Query, Request, Response
from pydantic import ConfigDict, Field
from starlette.exceptions import HTTPException

from clarity.api.dependencies import CurrentActor, IdempotencyKey, Interactions, RunningServices
from clarity.api.patients.shapes import NoticeOut
from clarity.api.problems import documented
from clarity.api.routing import router_of
from clarity.api.wire import Instant, Json, Limit, PageOut, Received, Wire, page_of
from clarity.application.patients import RepeatKey
from clarity.domain.errors import NotFound, ReusedKey
from clarity.domain.ids import InteractionId, PatientId, PrescriptionId
from clarity.domain.interactions import MAX_PAYLOAD, Channel, Direction, DoseOutcome, Interaction, InteractionQuery
from clarity.domain.records import Label
from clarity.domain.values import MAX_TEXT

_BODY = documented(HTTPException(413), HTTPException(415))
router = router_of("patients/{patient_id}/interactions")
router.tags = ["interactions"]


class InteractionFields(Wire):
    """One contact between a patient and the system."""

    channel: Channel
    direction: Direction
    occurred_at: Instant
    """When it came about, which may be long before it is recorded."""
    summary: Annotated[str, Field(max_length=MAX_TEXT)]
    """What it was about, in a few words."""
    payload: Annotated[str, Field(max_length=MAX_PAYLOAD)] = ""
    """What went over the channel: the text of a message, what an app sent."""
    prescription: PrescriptionId | None = None
    """One of the patient's prescriptions that it is about."""
    dose: DoseOutcome | None = None
    """What became of a dose of the prescription at that instant. Adherence is told from these."""
    label: Label = Label.NORMAL
    """A contact is at least as confidential as the patient's record, and `restricted` or `part2` if it says so."""


_EXAMPLE: dict[str, Any] = {
    "channel": "app-event",
    "direction": "from-patient",
    "occurred_at": "2026-03-12T20:03:11Z",
    "summary": "Check-in of the evening",
    "payload": "Slept six hours. Mood 6 of 10.",
}


class InteractionIn(InteractionFields, Received):
    """A contact to be recorded."""

    model_config = ConfigDict(json_schema_extra={"examples": [_EXAMPLE]})

    def canonical(self, patient: PatientId) -> bytes:
        """Return this request in one spelling, by which a repetition of it is recognised."""
        return b"record interaction " + patient.bytes + self.model_dump_json().encode()

    def interaction(self, interaction: InteractionId, patient: PatientId) -> Interaction:
        """Return the contact described."""
        return Interaction(id=interaction, patient=patient, **self.content())


class InteractionOut(InteractionFields):
    """A contact as it was recorded."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    **_EXAMPLE,
                    "id": "019a9d5c-60b1-7e52-9a4c-77d0a2b1c3e4",
                    "patient": "019a9d5c-1c0a-7f3e-8b52-0e61d9a4c7b8",
                    "prescription": None,
                    "dose": None,
                    "label": "normal",
                    "author": "019a9d5c-2b6f-7d11-8f0a-13c5d7e9b2a6",
                    "notice": None,
                }
            ]
        }
    )

    id: InteractionId
    patient: PatientId
    """Whose record it was of; another than was asked for if that was merged into theirs."""
    author: UUID | None
    """The account that recorded it."""
    notice: NoticeOut | None = None
    """What has to go with it under 42 CFR Part 2."""

    @classmethod
    def of(cls, interaction: Interaction) -> Self:
        """Return the shape of `interaction`."""
        return cls.model_validate(interaction)


class InteractionPageOut(PageOut[InteractionOut]):
    """Some of the contacts, the latest recorded first. `total` has those on this page and is never exact."""


class InteractionListQuery(Wire):
    """Which contacts are asked for. Conditions add up."""

    model_config = ConfigDict(strict=False, extra="forbid")

    channel: Channel | None = None
    since: Instant | None = None
    """The first instant at which they came about."""
    until: Instant | None = None
    """The first instant beyond."""
    cursor: str = ""
    """The `next_cursor` of the page before."""
    limit: Limit = 50

    def query(self) -> InteractionQuery:
        """Return the query described."""
        return InteractionQuery(channel=self.channel, since=self.since, until=self.until)


@router.get("", responses=documented(NotFound()))
async def list_interactions(
    patient_id: PatientId,
    query: Annotated[InteractionListQuery, Query()],
    actor: CurrentActor,
    interactions: Interactions,
) -> InteractionPageOut:
    """List the contacts with a patient, the latest recorded first, by channel and time. They are not counted.

    A page may have fewer than asked for, even none, and a `next_cursor`: then what is looked for is rare, and the
    search goes on there.
    """
    page = await interactions.list(actor, patient_id, query.query(), cursor=query.cursor, at_most=query.limit)
    return InteractionPageOut(**page_of(page, tuple(map(InteractionOut.of, page.items))))


@router.post("", status_code=201, responses={**_BODY, **documented(NotFound(), ReusedKey())})
async def record_interaction(
    patient_id: PatientId,
    interaction: Json[InteractionIn],
    actor: CurrentActor,
    services: RunningServices,
    request: Request,
    response: Response,
    idempotency_key: IdempotencyKey = None,
) -> InteractionOut:
    """Record a contact: as the patient, their device, or who cares for them. It can neither be changed nor taken back.

    With an `Idempotency-Key`, a request that comes again shows what the first one recorded.
    """
    repeat = RepeatKey(key=idempotency_key, request=interaction.canonical(patient_id)) if idempotency_key else None
    described = interaction.interaction(InteractionId(services.new_id()), patient_id)
    recorded = await services.interactions.record(actor, described, repeat=repeat)
    response.headers["Location"] = f"{request.url.path}/{recorded.id}"
    return InteractionOut.of(recorded)


@router.get("/{interaction_id}", responses=documented(NotFound()))
async def view_interaction(
    patient_id: PatientId, interaction_id: InteractionId, actor: CurrentActor, interactions: Interactions
) -> InteractionOut:
    """Show one contact. 404 also means that it is not yours to see."""
    return InteractionOut.of(await interactions.view(actor, patient_id, interaction_id))
