"""The routes on patients. Names and identifiers travel in bodies, never in URLs, which end up in logs."""

from typing import Annotated, Any

from fastapi import Body, Query, Request, Response
from starlette.exceptions import HTTPException

from clarity.api.dependencies import CurrentActor, IdempotencyKey, Patients, RunningServices, Today, VersionSeen
from clarity.api.patients.answers import shown, shown_page
from clarity.api.patients.shapes import (
    CareTeamInOut,
    HistoryOut,
    HistoryQuery,
    LabelIn,
    PatientIn,
    PatientListQuery,
    PatientOut,
    PatientPageOut,
    PatientPatchIn,
    PatientSearchIn,
    PatientSimilarIn,
    RegistrationIn,
    RevisionOut,
    SimilarOut,
    SimilarPageOut,
)
from clarity.api.problems import documented
from clarity.api.routing import JSON, MERGE_PATCH, UNAVAILABLE, router_of
from clarity.api.wire import Json, page_of, renamed
from clarity.application.patients import RepeatKey
from clarity.domain.errors import Conflict, DuplicateMrn, Forbidden, NotFound, ReusedKey, StaleWrite, TooMany, WarmingUp
from clarity.domain.ids import PatientId

BODY = documented(HTTPException(413), HTTPException(415))
SEARCHED = {**BODY, **documented(*UNAVAILABLE, WarmingUp(3))}
ETAG: dict[str, Any] = {
    "headers": {"ETag": {"description": "The version, to name in `If-Match`.", "schema": {"type": "string"}}}
}
CHANGED = {200: ETAG, **BODY, **documented(NotFound(), StaleWrite(), HTTPException(428))}

router = router_of("patients")


@router.post(
    "",
    status_code=201,
    response_model=PatientOut,
    responses={201: ETAG, **BODY, **documented(Forbidden(), DuplicateMrn(), ReusedKey())},
)
async def register_patient(
    registration: Json[RegistrationIn],
    actor: CurrentActor,
    services: RunningServices,
    today: Today,
    request: Request,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Register a patient.

    With an `Idempotency-Key`, a request that comes again shows the patient whom it registered the first time.
    """
    patient = registration.patient(PatientId(services.new_id()))
    repeat = RepeatKey(key=idempotency_key, request=registration.canonical) if idempotency_key else None
    registered = await services.patients.register(actor, patient, repeat=repeat)
    return shown(registered, today, status_code=201, location=f"{request.url.path}/{registered.id}")


@router.get("", response_model=PatientPageOut)
async def list_patients(
    query: Annotated[PatientListQuery, Query()], actor: CurrentActor, patients: Patients, today: Today
) -> Response:
    """List the patients the caller may see, in the order they were registered."""
    page = await patients.list(actor, query.conditions(), cursor=query.cursor, at_most=query.limit)
    return shown_page(page, today)


@router.post("/search", response_model=PatientPageOut, responses={**SEARCHED, **documented(Forbidden(), TooMany(30))})
async def search_patients(
    search: Json[PatientSearchIn], actor: CurrentActor, patients: Patients, today: Today
) -> Response:
    """Find patients among those the caller may see.

    Searching by social security number needs a role that may, and is limited in how often it is done.
    """
    page = await patients.search(actor, search.query(), cursor=search.cursor or "", at_most=search.limit)
    return shown_page(page, today)


@router.post("/similar", responses=SEARCHED)
async def find_similar_patients(
    similar: Json[PatientSimilarIn], actor: CurrentActor, patients: Patients, today: Today
) -> SimilarPageOut:
    """Find patients by a name that was heard, among those the caller may see: misspelt, or sounding alike."""
    page = await patients.similar(actor, similar.query(), at_most=similar.limit)
    return SimilarPageOut(**page_of(page, tuple(SimilarOut.of(one, today) for one in page.items)))


@router.get("/{patient_id}", response_model=PatientOut, responses={200: ETAG, **documented(NotFound())})
async def view_patient(patient_id: PatientId, actor: CurrentActor, patients: Patients, today: Today) -> Response:
    """Show one patient. 404 also means that the patient is not yours to see."""
    return shown(await patients.view(actor, patient_id), today)


@router.put(
    "/{patient_id}", response_model=PatientOut, responses={**CHANGED, **documented(Forbidden(), DuplicateMrn())}
)
async def replace_patient(
    patient_id: PatientId,
    record: Json[PatientIn],
    actor: CurrentActor,
    patients: Patients,
    today: Today,
    version: VersionSeen,
) -> Response:
    """Record a patient anew: what is left out is emptied, except what the caller does not see, which stays.

    Changing identifiers needs a role that may see everybody's. What changes nothing makes no new version.
    """
    return shown(await patients.change(actor, patient_id, record.replacing, version=version), today)


@router.patch(
    "/{patient_id}",
    response_model=PatientOut,
    responses={**CHANGED, **documented(Forbidden(), DuplicateMrn())},
    openapi_extra={
        "requestBody": {"content": {JSON: {"schema": {"$ref": "#/components/schemas/PatientPatchIn"}}}},
    },
)
async def change_patient(
    patient_id: PatientId,
    patch: Annotated[Json[PatientPatchIn], Body(media_type=MERGE_PATCH)],
    actor: CurrentActor,
    patients: Patients,
    today: Today,
    version: VersionSeen,
) -> Response:
    """Change parts of a patient record (RFC 7396), as the caller sees it. Otherwise like replacing it."""
    return shown(await patients.change(actor, patient_id, patch.changing, version=version), today)


@router.put(
    "/{patient_id}/label",
    status_code=204,
    response_class=Response,
    responses={
        204: ETAG,
        **BODY,
        **documented(NotFound(), StaleWrite(), HTTPException(428), Conflict("you would lose sight of this record")),
    },
)
async def relabel_patient(
    patient_id: PatientId, label: Json[LabelIn], actor: CurrentActor, patients: Patients, version: VersionSeen
) -> Response:
    """Say how confidential a record is. Whom that hides it from does not see it any more from now on.

    The caller may be among them, if they say so; a consent recorded first prevents that.
    """
    written = await patients.relabel(actor, patient_id, label.label, version=version, lose_sight=label.lose_sight)
    return Response(status_code=204, headers={"ETag": f'"{written}"'})


@router.put("/{patient_id}/care-team", responses=CHANGED)
async def change_care_team(
    patient_id: PatientId,
    care_team: Json[CareTeamInOut],
    actor: CurrentActor,
    patients: Patients,
    version: VersionSeen,
    response: Response,
) -> CareTeamInOut:
    """Say who cares for a patient from now on. Clinicians and nurses see the patients in whose care team they are.

    The answer is the care team alone, which is all that this right covers.
    """
    team = frozenset(care_team.practitioners)
    with renamed(care_team="practitioners"):
        changed = await patients.change_care_team(actor, patient_id, team, version=version)
    response.headers["ETag"] = f'"{changed.version}"'
    return CareTeamInOut(practitioners=tuple(sorted(changed.care_team)))


@router.get("/{patient_id}/history", responses=documented(NotFound()))
async def view_patient_history(
    patient_id: PatientId,
    query: Annotated[HistoryQuery, Query()],
    actor: CurrentActor,
    patients: Patients,
    today: Today,
) -> HistoryOut:
    """Show the versions of a patient record, the newest first."""
    revisions = await patients.history(actor, patient_id, before=query.before, at_most=query.limit)
    more = len(revisions) == query.limit and revisions[-1].version > 1
    return HistoryOut(
        items=tuple(RevisionOut.of(revision, today) for revision in revisions),
        next_before=revisions[-1].version if more else None,
    )
