"""The routes on the life of a record: discharge, return, death, legal holds, and its end.

Those who see a record name in `If-Match` the version they saw. Administrators and compliance officers see none: what
they do to a record, they do to it as it stands.
"""

from datetime import datetime
from typing import Annotated, Any, Self
from uuid import UUID

from fastapi import Query, Response
from pydantic import ConfigDict
from starlette.exceptions import HTTPException

from clarity.api.dependencies import CurrentActor, Life, Today, VersionSeen
from clarity.api.patients.answers import shown
from clarity.api.patients.routes import BODY, CHANGED, ETAG
from clarity.api.patients.shapes import PatientOut
from clarity.api.people import DeathInOut
from clarity.api.problems import documented
from clarity.api.routing import router_of
from clarity.api.wire import Day, Json, Limit, PageOut, Received, Wire, page_of, renamed
from clarity.application.ports import Held
from clarity.domain.errors import Conflict, Forbidden, NotFound, Retained, StaleWrite
from clarity.domain.ids import PatientId

_DEATH = {"death.day": "day", "death.instant": "instant"}
_HELD: dict[int | str, dict[str, Any]] = {**BODY, **documented(NotFound())}

router = router_of("patients")
of_holds = router_of("legal-holds")


class DischargeIn(Received):
    """The end of a patient's care."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"day": "2026-03-14"}]})

    day: Day
    """Not to come, and not before birth."""


class LegalHoldIn(Received):
    """For which matter a record has to be kept."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"basis": "Preservation letter of 3 March, docket 26-117"}]}
    )

    basis: str


class DeletionIn(Received):
    """Why a record goes."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"reason": "Registered by mistake: a test entry", "basis": ""}]}
    )

    reason: str
    basis: str = ""
    """On what ground it goes although it has to be kept. For compliance officers alone."""


class TombstoneOut(Wire):
    """Why a record was taken away, and by whom."""

    reason: str
    basis: str
    """On what ground, if it had to be kept."""
    at: datetime
    by: UUID
    """The account that did it."""
    merged_into: PatientId | None
    """The record that it went into, if it was one of two of the same person."""


class LegalHoldOut(Wire):
    """A legal hold."""

    patient: PatientId
    """The record that it keeps."""
    basis: str
    since: datetime
    by: UUID
    """The account that placed it."""

    @classmethod
    def of(cls, held: Held) -> Self:
        """Return the shape of `held`."""
        return cls(patient=held.patient, basis=held.hold.basis, since=held.hold.since, by=held.hold.by)


class LegalHoldPageOut(PageOut[LegalHoldOut]):
    """Some of the legal holds."""


class LegalHoldListQuery(Wire):
    """Where a page of legal holds begins."""

    model_config = ConfigDict(strict=False, extra="forbid")

    cursor: str = ""
    """The `next_cursor` of the page before."""
    limit: Limit = 50


@router.post(
    "/{patient_id}/discharge",
    response_model=PatientOut,
    responses={**CHANGED, **documented(Conflict("the patient was already discharged"))},
)
async def discharge_patient(
    patient_id: PatientId,
    discharge: Json[DischargeIn],
    actor: CurrentActor,
    life: Life,
    today: Today,
    version: VersionSeen,
) -> Response:
    """End the care of a patient as of a day."""
    return shown(await life.discharge(actor, patient_id, discharge.day, version=version), today)


@router.post(
    "/{patient_id}/reactivate",
    response_model=PatientOut,
    responses={
        200: ETAG,
        **documented(NotFound(), StaleWrite(), HTTPException(428), Conflict("the patient was not discharged")),
    },
)
async def reactivate_patient(
    patient_id: PatientId, actor: CurrentActor, life: Life, today: Today, version: VersionSeen
) -> Response:
    """Take a discharged patient back into care."""
    return shown(await life.reactivate(actor, patient_id, version=version), today)


@router.post(
    "/{patient_id}/death",
    response_model=PatientOut,
    responses={**CHANGED, **documented(Conflict("the patient's death is already recorded"))},
)
async def record_death(
    patient_id: PatientId,
    death: Json[DeathInOut],
    actor: CurrentActor,
    life: Life,
    today: Today,
    version: VersionSeen,
) -> Response:
    """Record that a patient died, and when, as exactly as that is known; `{}` if only that they died."""
    with renamed(**_DEATH):
        died = death.means(**death.content())
        return shown(await life.record_death(actor, patient_id, died, version=version), today)


@router.delete(
    "/{patient_id}/death",
    response_model=PatientOut,
    responses={
        200: ETAG,
        **documented(NotFound(), StaleWrite(), HTTPException(428), Conflict("no death of the patient is recorded")),
    },
)
async def correct_death(
    patient_id: PatientId, actor: CurrentActor, life: Life, today: Today, version: VersionSeen
) -> Response:
    """Take back that a patient died, which was a mistake."""
    return shown(await life.correct_death(actor, patient_id, version=version), today)


@router.put(
    "/{patient_id}/legal-hold",
    status_code=204,
    responses={**_HELD, **documented(Conflict("the record already stands under a legal hold"))},
)
async def place_legal_hold(patient_id: PatientId, hold: Json[LegalHoldIn], actor: CurrentActor, life: Life) -> None:
    """Keep a record for a legal matter: until the hold is released, it is not deleted. For compliance officers."""
    await life.place_hold(actor, patient_id, hold.basis)


@router.delete(
    "/{patient_id}/legal-hold",
    status_code=204,
    responses=documented(NotFound(), Conflict("the record does not stand under a legal hold")),
)
async def release_legal_hold(patient_id: PatientId, actor: CurrentActor, life: Life) -> None:
    """End the legal hold on a record. For compliance officers."""
    await life.release_hold(actor, patient_id)


@router.post(
    "/{patient_id}/delete",
    status_code=204,
    responses={**_HELD, **documented(Forbidden(), Retained("this record is kept into 2036"))},
)
async def delete_patient(patient_id: PatientId, deletion: Json[DeletionIn], actor: CurrentActor, life: Life) -> None:
    """Take a record away: nobody reaches it any more, and its history stays. For administrators.

    A record that has to be kept goes only by a compliance officer who says on what ground.
    """
    await life.delete(actor, patient_id, deletion.reason, basis=deletion.basis)


@router.get("/{patient_id}/tombstone", responses=documented(NotFound()))
async def view_tombstone(patient_id: PatientId, actor: CurrentActor, life: Life) -> TombstoneOut:
    """Show why a record was taken away. For compliance officers."""
    return TombstoneOut.model_validate(await life.tombstone(actor, patient_id))


@of_holds.get("", responses=documented(Forbidden()))
async def list_legal_holds(
    query: Annotated[LegalHoldListQuery, Query()], actor: CurrentActor, life: Life
) -> LegalHoldPageOut:
    """List the legal holds, in the order of the records' ids. For compliance officers."""
    page = await life.holds(actor, cursor=query.cursor, at_most=query.limit)
    return LegalHoldPageOut(**page_of(page, tuple(map(LegalHoldOut.of, page.items))))
