"""The routes on clinical notes and on requests to amend them, and their shapes."""

import re
from typing import Annotated, Any, Final, NamedTuple, Self
from uuid import UUID

from fastapi import Depends, Query, Request, Response
from pydantic import ConfigDict, Field
from starlette.exceptions import HTTPException

from clarity.api.dependencies import CurrentActor, IdempotencyKey, Notes, VersionSeen
from clarity.api.options import ROOT
from clarity.api.patients.routes import BODY, CHANGED, ETAG
from clarity.api.patients.shapes import HistoryQuery, NoticeOut
from clarity.api.problems import documented
from clarity.api.routing import router_of
from clarity.api.wire import Day, Instant, Json, Limit, PageOut, Received, Wire, page_of
from clarity.application.notes import NotesAsked, OpenRequests
from clarity.application.pages import MAX_PAGE
from clarity.application.patients import RepeatKey
from clarity.application.ports import RecordRevision
from clarity.domain.amendments import MAX_STATEMENT, Amendment, AmendmentStatus, DenialGround
from clarity.domain.errors import Conflict, Forbidden, NotFound, ReusedKey, StaleWrite
from clarity.domain.ids import AmendmentId, NoteId, PatientId
from clarity.domain.note_templates import NOTE_TEMPLATES
from clarity.domain.notes import MAX_BODY_BYTES, Note, NoteContent, NoteKind, NoteStatus
from clarity.domain.records import Label
from clarity.domain.values import MAX_ITEMS, MAX_TEXT

PATHS: Final = re.compile(rf"{ROOT}/patients/[^/]+/notes(/[^/]+)?$")
"""Where whole notes are sent."""

MAX_REQUEST_BYTES: Final = 3 * MAX_BODY_BYTES + 64 * 1024
"""How large a request with a note may be: a client that escapes all but ASCII sends thrice the bytes of its UTF-8."""

_SIGNED = Conflict("status: the note is signed, and is not changed any more; write an addendum to it")
_UNCHANGEABLE = {**CHANGED, **documented(_SIGNED)}
_ACTED: dict[int | str, dict[str, Any]] = {
    200: ETAG,
    **documented(NotFound(), StaleWrite(), HTTPException(428), _SIGNED),
}
_DECIDED = {**CHANGED, **documented(Conflict("amendment: the request was denied before"))}

router = router_of("patients/{patient_id}/notes")
router.tags = ["notes"]
amendments = router_of("amendments")
amendments.tags = ["notes"]
templates = router_of("note-templates")
templates.tags = ["notes"]

Said = Annotated[str, Field(max_length=MAX_STATEMENT)]

_EXAMPLE: dict[str, Any] = {
    "kind": "progress",
    "title": "Third visit",
    "body": "## Subjective\n\nSleeps through most nights.\n\n## Plan\n\nContinue; see again in four weeks.\n",
    "about": "2026-03-12T10:30:00-04:00",
    "encounter": "Office visit",
}
_IDS = {
    "id": "019a9d5c-60b1-7e52-9a4c-77d0a2b1c3e4",
    "patient": "019a9d5c-1c0a-7f3e-8b52-0e61d9a4c7b8",
    "author": "019a9d5c-2b6f-7d11-8f0a-13c5d7e9b2a6",
}


class NoteIn(Received):
    """A note as its author writes it."""

    model_config = ConfigDict(json_schema_extra={"examples": [_EXAMPLE]})

    kind: NoteKind
    title: str = ""
    """One line."""
    body: str = ""
    """Markdown, at most 1,000,000 bytes as UTF-8; it may be empty until the note is signed."""
    about: Instant | None = None
    """When what it tells of took place."""
    encounter: Annotated[str, Field(max_length=MAX_TEXT)] = ""
    """On which occasion."""
    label: Label | None = None
    """Left out, it is what the kind wants, or that of the note that an addendum adds to."""
    addendum_to: NoteId | None = None
    """Of an addendum, the signed note that it adds to."""

    def canonical(self, patient: PatientId) -> bytes:
        """Return this request in one spelling, by which a repetition of it is recognised."""
        return b"draft note " + patient.bytes + self.model_dump_json().encode()

    def note(self) -> NoteContent:
        """Return the content described."""
        return NoteContent(**self.content())


class CosignatureOut(Wire):
    """Who signed a note beside its author."""

    by: UUID
    at: Instant


class SaidOut(Wire):
    """What was said after a denial."""

    text: str
    at: Instant
    by: UUID


class ExtensionOut(Wire):
    """That more time was taken to decide, and what the patient was told of it."""

    reason: str
    until: Day
    at: Instant
    by: UUID


class AcceptanceOut(Wire):
    """That a request was accepted, by which addendum, and who was told."""

    addendum: NoteId
    told: tuple[str, ...]
    at: Instant
    by: UUID


class DenialOut(Wire):
    """That a request was denied, and why."""

    ground: DenialGround
    citation: str
    """The paragraph that the ground rests on."""
    basis: str
    at: Instant
    by: UUID


class AmendmentOut(Wire):
    """A request to amend a note, and what came of it (45 CFR 164.526)."""

    id: AmendmentId
    what: str
    why: str
    status: AmendmentStatus
    received_on: Day
    due_on: Day
    """The last day on which it is decided in time."""
    requested_at: Instant
    requested_by: UUID
    by_patient: bool
    """False if staff entered it for them."""
    extension: ExtensionOut | None
    acceptance: AcceptanceOut | None
    denial: DenialOut | None
    disagreement: SaidOut | None
    """The patient's statement, which goes along with the note (164.526(d)(5))."""
    rebuttal: SaidOut | None


class NoteSummaryOut(Wire):
    """A note without what it says."""

    id: NoteId
    patient: PatientId
    """Whose record it was of; another than was asked for if that was merged into theirs."""
    kind: NoteKind
    title: str
    status: NoteStatus
    label: Label
    about: Instant | None = None
    addendum_to: NoteId | None = None
    author: UUID | None = None
    """The account that drafted it."""
    written_by: str
    """Who wrote it, if it was imported."""
    signed_at: Instant | None = None
    due_on: Day | None = None
    """By when the first open request to amend it has to be decided."""
    notice: NoticeOut | None = None
    """What has to go with it under 42 CFR Part 2."""
    version: int
    """To be named in `If-Match`, as `"1"`."""


class NoteOut(NoteSummaryOut):
    """A note, with what was asked to be amended in it, which goes along with it."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    **_EXAMPLE,
                    **_IDS,
                    "status": "signed",
                    "label": "normal",
                    "addendum_to": None,
                    "written_by": "",
                    "signed_at": "2026-03-12T15:02:11Z",
                    "due_on": None,
                    "notice": None,
                    "sources": [],
                    "cosignatures": [],
                    "amendments": [],
                    "version": 2,
                }
            ]
        }
    )

    body: str
    """Markdown, as it was written. It may hold links and HTML: whoever renders it decides what of that is live."""
    encounter: str
    sources: tuple[str, ...]
    """Where it came from, if it was imported."""
    cosignatures: tuple[CosignatureOut, ...]
    amendments: tuple[AmendmentOut, ...]

    @classmethod
    def of(cls, note: Note) -> Self:
        """Return the shape of `note`."""
        return cls.model_validate(note)


class NotePageOut(PageOut[NoteSummaryOut]):
    """Some of a patient's notes, the latest recorded first."""


class NoteRevisionOut(Wire):
    """One version of a note as it was."""

    version: int
    written_at: Instant
    written_by: UUID
    """The account that wrote it."""
    note: NoteOut

    @classmethod
    def of(cls, revision: RecordRevision[Note]) -> Self:
        """Return the shape of `revision`."""
        return cls(
            version=revision.version,
            written_at=revision.written_at,
            written_by=revision.written_by,
            note=NoteOut.of(revision.record),
        )


class NoteHistoryOut(Wire):
    """Versions of a note, the newest first: those that were drafts, for its author alone."""

    items: tuple[NoteRevisionOut, ...]
    next_before: int | None
    """What to ask for as `before` to go on; null behind the first version."""


class NoteListQuery(Wire):
    """Which notes are listed. Conditions add up."""

    model_config = ConfigDict(strict=False, extra="forbid")

    kind: NoteKind | None = None
    status: NoteStatus | None = None
    addendum_to: NoteId | None = None
    """The note that they add to."""
    cursor: str = ""
    """The `next_cursor` of the page before."""
    limit: Limit = 50

    def asked(self) -> NotesAsked:
        """Return what is asked for."""
        return NotesAsked(kind=self.kind, status=self.status, addendum_to=self.addendum_to)


class AmendmentRequestIn(Received):
    """What a patient wants amended in a note, and why (45 CFR 164.526(b)(1))."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"what": "I never took lithium.", "why": "It was my brother who took it; we spoke of him."}]
        }
    )

    what: Said
    why: Said
    received_on: Day | None = None
    """If staff enter it, the day it was received, from which the times count; today if left out."""


class ExtensionIn(Received):
    """Why a decision takes longer, and until when: what the patient was told in writing (164.526(b)(2)(ii))."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"reason": "The record of the hospital was asked for.", "until": "2026-06-10"}]}
    )

    reason: Said
    until: Day
    """At most 30 days after the 60 within which a request is acted on."""


class AcceptanceIn(Received):
    """How a request was met, and who was told of it (164.526(c))."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "addendum": "019a9d5c-60b1-7e52-9a4c-77d0a2b1c3e4",
                    "told": ["The patient, by letter", "Dr. Ortiz, whom the patient named"],
                }
            ]
        }
    )

    addendum: NoteId
    """The signed addendum to the note that amends it."""
    told: Annotated[tuple[str, ...], Field(max_length=MAX_ITEMS)]
    """The patient at least (c)(2), and whom they named or who may rely on what was amended (c)(3)."""


class DenialIn(Received):
    """Why a request is denied (164.526(a)(2), (d)(1))."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"ground": "accurate-and-complete", "basis": "The laboratory confirmed the level of 3 March."}]
        }
    )

    ground: DenialGround
    basis: Said
    """In plain language, as the patient is told."""


class StatementIn(Received):
    """What is said after a denial: in disagreement (164.526(d)(2)), or to rebut that (d)(3)."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"text": "The tube was not mine; two were mixed up."}]})

    text: Said


class OpenRequestsOut(Wire):
    """A note with open requests to amend it."""

    patient: PatientId
    """By way of whom the note is reached."""
    note: NoteSummaryOut
    amendments: tuple[AmendmentOut, ...]

    @classmethod
    def of(cls, found: OpenRequests) -> Self:
        """Return the shape of what was `found`."""
        note = NoteSummaryOut.model_validate(found.note)
        return cls(patient=found.patient, note=note, amendments=tuple(map(_amendment, found.note.open_amendments)))


class OpenRequestsPageOut(Wire):
    """Notes with open requests, those that are due first. They are not counted."""

    items: tuple[OpenRequestsOut, ...]
    next_cursor: str | None
    """Where the next page begins; null behind the last."""


class NoteTemplateOut(Wire):
    """A skeleton of a note, to be filled in."""

    name: str
    title: str
    kind: NoteKind
    source: str
    """Where its headings come from."""
    body: str
    """Markdown."""


class NoteTemplatesOut(Wire):
    """Every skeleton."""

    items: tuple[NoteTemplateOut, ...]


class AmendmentAt(NamedTuple):
    """Which request to amend which note is meant, and which version of the note was seen."""

    place: tuple[PatientId, NoteId, AmendmentId]
    version: int


async def _amendment_at(
    patient_id: PatientId, note_id: NoteId, amendment_id: AmendmentId, version: VersionSeen
) -> AmendmentAt:
    return AmendmentAt((patient_id, note_id, amendment_id), version)


AmendmentSeen = Annotated[AmendmentAt, Depends(_amendment_at)]


@router.get("", responses=documented(NotFound()))
async def list_notes(
    patient_id: PatientId, query: Annotated[NoteListQuery, Query()], actor: CurrentActor, notes: Notes
) -> NotePageOut:
    """List a patient's notes, the latest recorded first, without what they say."""
    page = await notes.list(actor, patient_id, query.asked(), cursor=query.cursor, at_most=query.limit)
    return NotePageOut(**page_of(page, tuple(map(NoteSummaryOut.model_validate, page.items))))


@router.post("", status_code=201, responses={201: ETAG, **BODY, **documented(NotFound(), ReusedKey())})
async def draft_note(
    patient_id: PatientId,
    note: Json[NoteIn],
    actor: CurrentActor,
    notes: Notes,
    request: Request,
    response: Response,
    idempotency_key: IdempotencyKey = None,
) -> NoteOut:
    """Begin a note. Until it is signed it exists for its author alone, who may edit it and throw it away.

    With an `Idempotency-Key`, a request that comes again shows the note that it began the first time.
    """
    repeat = RepeatKey(key=idempotency_key, request=note.canonical(patient_id)) if idempotency_key else None
    drafted = await notes.draft(actor, patient_id, note.note(), repeat=repeat)
    response.headers["Location"] = f"{request.url.path}/{drafted.id}"
    return _shown(drafted, response)


@router.get("/{note_id}", responses={200: ETAG, **documented(NotFound())})
async def view_note(
    patient_id: PatientId, note_id: NoteId, actor: CurrentActor, notes: Notes, response: Response
) -> NoteOut:
    """Show a note. 404 also means that it is not yours to see."""
    return _shown(await notes.view(actor, patient_id, note_id), response)


@router.put("/{note_id}", responses=_UNCHANGEABLE)
async def edit_note(
    patient_id: PatientId,
    note_id: NoteId,
    note: Json[NoteIn],
    actor: CurrentActor,
    notes: Notes,
    version: VersionSeen,
    response: Response,
) -> NoteOut:
    """Write a draft anew, as its author: what is left out is emptied. What changes nothing makes no new version."""
    return _shown(await notes.edit(actor, patient_id, note_id, note.note(), version=version), response)


@router.delete(
    "/{note_id}",
    status_code=204,
    responses=documented(NotFound(), StaleWrite(), HTTPException(428), _SIGNED),
)
async def delete_note(
    patient_id: PatientId, note_id: NoteId, actor: CurrentActor, notes: Notes, version: VersionSeen
) -> None:
    """Throw a draft away, as its author."""
    await notes.delete(actor, patient_id, note_id, version=version)


@router.post("/{note_id}/sign", responses=_ACTED)
async def sign_note(
    patient_id: PatientId,
    note_id: NoteId,
    actor: CurrentActor,
    notes: Notes,
    version: VersionSeen,
    response: Response,
) -> NoteOut:
    """Sign a draft, as its author. From then on nothing of it changes, and whoever may see such notes sees it."""
    return _shown(await notes.sign(actor, patient_id, note_id, version=version), response)


@router.post("/{note_id}/cosign", responses=_ACTED)
async def cosign_note(
    patient_id: PatientId,
    note_id: NoteId,
    actor: CurrentActor,
    notes: Notes,
    version: VersionSeen,
    response: Response,
) -> NoteOut:
    """Sign a note of somebody else too, once, as a clinician."""
    return _shown(await notes.cosign(actor, patient_id, note_id, version=version), response)


@router.get("/{note_id}/history", responses=documented(NotFound()))
async def view_note_history(
    patient_id: PatientId,
    note_id: NoteId,
    query: Annotated[HistoryQuery, Query()],
    actor: CurrentActor,
    notes: Notes,
) -> NoteHistoryOut:
    """Show the versions of a note, the newest first; those that were drafts, to its author alone."""
    revisions = await notes.history(actor, patient_id, note_id, before=query.before, at_most=query.limit)
    more = len(revisions) == query.limit and revisions[-1].version > 1
    return NoteHistoryOut(
        items=tuple(map(NoteRevisionOut.of, revisions)), next_before=revisions[-1].version if more else None
    )


@router.post("/{note_id}/amendments", responses=_UNCHANGEABLE)
async def request_amendment(
    patient_id: PatientId,
    note_id: NoteId,
    wanted: Json[AmendmentRequestIn],
    actor: CurrentActor,
    notes: Notes,
    version: VersionSeen,
    response: Response,
) -> NoteOut:
    """Ask to amend a signed note (45 CFR 164.526), as the patient, or for them as who cares for them."""
    asked = await notes.request_amendment(actor, patient_id, note_id, **wanted.content(), version=version)
    return _shown(asked, response)


@router.post("/{note_id}/amendments/{amendment_id}/extend", responses=_DECIDED)
async def extend_amendment(
    request: AmendmentSeen,
    extension: Json[ExtensionIn],
    actor: CurrentActor,
    notes: Notes,
    response: Response,
) -> NoteOut:
    """Take up to 30 days more to decide, once, as a clinician who told the patient in writing why."""
    extended = await notes.extend_amendment(actor, *request.place, **extension.content(), version=request.version)
    return _shown(extended, response)


@router.post("/{note_id}/amendments/{amendment_id}/accept", responses=_DECIDED)
async def accept_amendment(
    request: AmendmentSeen,
    acceptance: Json[AcceptanceIn],
    actor: CurrentActor,
    notes: Notes,
    response: Response,
) -> NoteOut:
    """Accept a request, as a clinician, once an addendum to the note that amends it is signed."""
    accepted = await notes.accept_amendment(actor, *request.place, **acceptance.content(), version=request.version)
    return _shown(accepted, response)


@router.post("/{note_id}/amendments/{amendment_id}/deny", responses=_DECIDED)
async def deny_amendment(
    request: AmendmentSeen,
    denial: Json[DenialIn],
    actor: CurrentActor,
    notes: Notes,
    response: Response,
) -> NoteOut:
    """Deny a request, as a clinician, on one of the four grounds that there are.

    The patient is told in writing, with how to disagree and where to complain (45 CFR 164.526(d)(1)).
    """
    denied = await notes.deny_amendment(actor, *request.place, **denial.content(), version=request.version)
    return _shown(denied, response)


@router.post("/{note_id}/amendments/{amendment_id}/disagree", responses=_DECIDED)
async def disagree_with_denial(
    request: AmendmentSeen,
    statement: Json[StatementIn],
    actor: CurrentActor,
    notes: Notes,
    response: Response,
) -> NoteOut:
    """Disagree with a denial, as the patient, or for them. The statement goes along with the note from then on."""
    said = await notes.disagree(actor, *request.place, statement.text, version=request.version)
    return _shown(said, response)


@router.post("/{note_id}/amendments/{amendment_id}/rebut", responses=_DECIDED)
async def rebut_disagreement(
    request: AmendmentSeen,
    statement: Json[StatementIn],
    actor: CurrentActor,
    notes: Notes,
    response: Response,
) -> NoteOut:
    """Rebut a statement of disagreement, as a clinician; the patient gets a copy (45 CFR 164.526(d)(3))."""
    said = await notes.rebut(actor, *request.place, statement.text, version=request.version)
    return _shown(said, response)


@amendments.get("", responses=documented(Forbidden()))
async def list_open_amendments(
    actor: CurrentActor, notes: Notes, cursor: str = "", limit: Limit = MAX_PAGE
) -> OpenRequestsPageOut:
    """List the open requests to amend notes of the patients whom a clinician treats, those that are due first."""
    page = await notes.open_requests(actor, cursor=cursor, at_most=limit)
    return OpenRequestsPageOut(items=tuple(map(OpenRequestsOut.of, page.items)), next_cursor=page.next_cursor or None)


@templates.get("")
async def list_note_templates(actor: CurrentActor) -> NoteTemplatesOut:
    """List the skeletons that notes may begin with."""
    del actor  # whoever is logged in: there is nothing of anybody in them
    return NoteTemplatesOut(items=tuple(map(NoteTemplateOut.model_validate, NOTE_TEMPLATES)))


def _amendment(amendment: Amendment) -> AmendmentOut:
    return AmendmentOut.model_validate(amendment)


def _shown(note: Note, response: Response) -> NoteOut:
    response.headers["ETag"] = f'"{note.version}"'
    return NoteOut.of(note)
