"""The routes on a patient's prescriptions, and their shapes."""

import json
from datetime import date
from decimal import Decimal
from typing import Annotated, Any, Self
from uuid import UUID

from fastapi import Query, Request, Response
from pydantic import BeforeValidator, ConfigDict, Field, PlainSerializer, WithJsonSchema
from starlette.exceptions import HTTPException

from clarity.api.dependencies import CurrentActor, IdempotencyKey, Medications, RunningServices, VersionSeen
from clarity.api.patients.shapes import HistoryQuery, NoticeOut
from clarity.api.problems import documented
from clarity.api.routing import router_of
from clarity.api.wire import Day, Instant, Json, Limit, PageOut, PartialDateText, Received, Value, Wire, fault, page_of
from clarity.application.medications import Flagged, PrescriptionsAsked
from clarity.application.patients import RepeatKey
from clarity.application.ports import RecordRevision
from clarity.domain.adherence import Adherence
from clarity.domain.dosages import Dosage, Dose, DoseUnit, PeriodUnit, Route, Timing, read_amount
from clarity.domain.errors import Conflict, Invalid, NotFound, ReusedKey, StaleWrite
from clarity.domain.ids import PatientId, PractitionerId, PrescriptionId
from clarity.domain.medications import Activity, Likeness, Overlap, Prescription, PrescriptionStatus, Substance
from clarity.domain.records import Label
from clarity.domain.values import MAX_TEXT

_BODY = documented(HTTPException(413), HTTPException(415))
_ENDED = Conflict("the prescription has ended; prescribe anew")
_ETAG: dict[str, Any] = {
    "headers": {"ETag": {"description": "The version of the prescription.", "schema": {"type": "string"}}}
}
_CHANGED = {200: _ETAG, **_BODY, **documented(NotFound(), StaleWrite(), HTTPException(428), _ENDED)}
router = router_of("patients/{patient_id}/prescriptions")
router.tags = ["prescriptions"]

Text = Annotated[str, Field(max_length=MAX_TEXT)]


def _decimal(value: object) -> object:
    """Return a number as it was written: a text, or a JSON number, whose shortest spelling it is."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return value
    try:
        return read_amount(value if isinstance(value, str) else json.dumps(value))
    except (Invalid, ValueError):  # so long a number that it is not even written
        raise fault('must be a decimal number such as "12.5"') from None


def _spelt(number: Decimal) -> str:
    return f"{number:f}"


DecimalText = Annotated[
    Decimal,
    BeforeValidator(_decimal),
    PlainSerializer(_spelt, return_type=str),
    WithJsonSchema({"type": ["string", "number"], "examples": ["12.5"]}),
]
"""A decimal number, which is given as a text: as a JSON number many a reader would make another of it."""


class DoseValue(Value):
    """How much at a time."""

    means = Dose

    value: DecimalText
    unit: DoseUnit | None = None
    """A unit of UCUM, by case: `mg`, `ug`, `[iU]`, `{tablet}`. Null only for what another system did not say."""


class TimingValue(Value):
    """How often: so many times within each period (FHIR R4, `Timing.repeat`). Every 6 hours: 1, "6", `h`."""

    means = Timing

    frequency: int = 1
    period: DecimalText = Decimal(1)
    period_unit: PeriodUnit = PeriodUnit.DAY


class DosageValue(Value):
    """How a medicine is to be taken. Whoever orders it says how much, by what route, and how often or for what."""

    means = Dosage

    dose: DoseValue | None = None
    route: Route | None = None
    """Of the routes of SNOMED CT in practice, in words."""
    timing: TimingValue | None = None
    as_needed: bool = False
    as_needed_for: Text = ""
    """For what it is taken as needed."""
    instruction: Text = ""
    """What else there is to say to whoever takes it."""


class SubstanceValue(Value):
    """An ingredient. With those of combinations named, overlaps are found that their names do not tell."""

    means = Substance

    name: Text
    code: str = ""
    """Its code in RxNorm (term type IN or PIN)."""


class PrescriptionFields(Wire):
    """What somebody is to take."""

    name: Text
    """The drug, as a normalised name of RxNorm has it if there is one: the substances are read from that."""
    code: str = ""
    """Its code in RxNorm."""
    ingredients: Annotated[tuple[SubstanceValue, ...], Field(max_length=20)] = ()
    dosage: DosageValue
    start: PartialDateText
    """The first day, as exactly as it is known."""
    until: Day | None = None
    """The last day that is planned, if one is."""
    indication: Text = ""
    """For what it is taken."""
    prescribed_by: Text = ""
    """Who prescribed it, if that is nobody here."""
    label: Label = Label.NORMAL
    """A prescription is at least as confidential as the patient's record, and `restricted` or `part2` if it says so."""


_EXAMPLE: dict[str, Any] = {
    "name": "Sertraline 50 MG Oral Tablet",
    "code": "312941",
    "ingredients": [{"name": "Sertraline", "code": "36437"}],
    "dosage": {
        "dose": {"value": "50", "unit": "mg"},
        "route": "oral",
        "timing": {"frequency": 1, "period": "1", "period_unit": "d"},
        "instruction": "In the morning, with food.",
    },
    "start": "2026-03-14",
    "indication": "Major depressive disorder",
    "prescribed_by": "Dr. Quentin Farnsworth, Harbor Primary Care",
}


class PrescriptionIn(PrescriptionFields, Received):
    """A medicine to be ordered."""

    model_config = ConfigDict(json_schema_extra={"examples": [_EXAMPLE]})

    def canonical(self, patient: PatientId) -> bytes:
        """Return this request in one spelling, by which a repetition of it is recognised."""
        return b"prescribe " + patient.bytes + self.model_dump_json().encode()

    def prescription(self, prescription: PrescriptionId, patient: PatientId) -> Prescription:
        """Return the prescription described."""
        return Prescription(id=prescription, patient=patient, **self.content())


class PrescriptionChangeIn(PrescriptionFields, Received):
    """A prescription with other content, whole. The drug stays the same."""

    model_config = ConfigDict(json_schema_extra={"examples": [{**_EXAMPLE, "since": "2026-03-20"}]})

    since: Day | None = None
    """The first day of the new dosage: the one before is kept as what held until then. Null if it takes the place of
    what was wrong from the start."""

    def changes(self) -> dict[str, Any]:
        """Return the content to be written."""
        return {name: value for name, value in self.content().items() if name != "since"}


class HoldIn(Received):
    """Why a medicine is not to be taken for the time being."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"reason": "Nausea", "day": "2026-03-14"}]})

    reason: Text
    day: Day | None = None
    """The first day; today if null. Not to come, and not before the start."""


class ResumptionIn(Received):
    """From when on a medicine is to be taken again."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"day": "2026-03-14"}]})

    day: Day | None = None
    """The first day; today if null. Not to come, and not before the hold."""


class StopIn(Received):
    """Why a medicine is not to be taken any more."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"reason": "No response in six weeks"}]})

    reason: Text
    day: Day | None = None
    """The first day on which it is not taken; today if null. Not to come, and not before the start."""
    completed: bool = False
    """Whether it was taken to its end, and not stopped before."""


class PrescriptionMistakeIn(Received):
    """Why something should never have been entered."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"why": "Entered in the record of another patient."}]})

    why: Text


class HoldOut(Wire):
    """A time in which a medicine was not to be taken."""

    since: Day
    until: Day | None
    """The day from which it was to be taken again; null while the hold lasts."""
    reason: str


class EndOut(Wire):
    """That a medicine is not to be taken any more."""

    on: PartialDateText | None
    """The first day on which it was not; null if that is not known."""
    known_on: Day
    """The day by which that was known."""
    reason: str
    completed: bool


class FormerDosageOut(Wire):
    """How a medicine was to be taken before."""

    dosage: DosageValue
    until: Day
    """The first day on which that held no longer."""


class PrescriptionOut(PrescriptionFields):
    """A prescription as it stands."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    **_EXAMPLE,
                    "id": "019a9d5c-60b1-7e52-9a4c-77d0a2b1c3e4",
                    "patient": "019a9d5c-1c0a-7f3e-8b52-0e61d9a4c7b8",
                    "status": "active",
                    "activity": None,
                    "prescriber": "019a9d5c-2b6f-7d11-8f0a-13c5d7e9b2a6",
                    "former": [],
                    "holds": [],
                    "end": None,
                    "mistake": "",
                    "sources": [],
                    "author": "019a9d5c-2b6f-7d11-8f0a-13c5d7e9b2a7",
                    "notice": None,
                    "version": 1,
                }
            ]
        }
    )

    id: PrescriptionId
    patient: PatientId
    """Whose record it is of; another than was asked for if that was merged into theirs."""
    status: PrescriptionStatus
    activity: Activity | None = None
    """Whether it held on the day that was asked for: `perhaps`, where it is not known when it began or ended."""
    prescriber: PractitionerId | None
    former: tuple[FormerDosageOut, ...]
    holds: tuple[HoldOut, ...]
    end: EndOut | None = None
    mistake: str
    """Why it should never have been entered, if it is mistaken."""
    sources: tuple[str, ...]
    """The resources of other systems that it was imported from."""
    author: UUID | None
    """The account that entered it."""
    notice: NoticeOut | None = None
    """What has to go with it under 42 CFR Part 2."""
    version: int
    """To be named in `If-Match`, as `"1"`."""

    @classmethod
    def of(cls, prescription: Prescription, on: date | None = None) -> Self:
        """Return the shape of `prescription`, as it held on a day."""
        activity = None if on is None else prescription.activity_on(on)
        return cls.model_validate(prescription).model_copy(update={"activity": activity})


class OverlapOut(Wire):
    """That two prescriptions have a drug or substances in common, and days on which both hold."""

    prescriptions: tuple[PrescriptionId, PrescriptionId]
    likeness: Likeness
    substances: tuple[str, ...]
    since: Day
    """The first of these days."""
    until: Day | None
    """The last; null if there is none."""
    notice: NoticeOut | None = None
    """What has to go with it under 42 CFR Part 2."""

    @classmethod
    def of(cls, overlap: Overlap) -> Self:
        """Return the shape of `overlap`."""
        return cls.model_validate(overlap)


class OrderedOut(PrescriptionOut):
    """A prescription that was ordered or changed, with what it overlaps with of what the caller may see."""

    overlaps: tuple[OverlapOut, ...] = ()
    compared_with_all: bool = True
    """Whether it was compared with all that the caller may see."""

    @classmethod
    def with_overlaps(cls, ordered: Flagged) -> Self:
        """Return the shape of the one prescription of `ordered`."""
        (prescription,) = ordered.prescriptions.items
        overlaps = tuple(map(OverlapOut.of, ordered.overlaps))
        return cls.of(prescription).model_copy(update={"overlaps": overlaps, "compared_with_all": ordered.complete})


class PrescriptionPageOut(PageOut[PrescriptionOut]):
    """Some of a patient's prescriptions, the latest recorded first."""

    overlaps: tuple[OverlapOut, ...]
    """What those on this page overlap with, of all that the caller may see."""
    compared_with_all: bool
    """Whether they were compared with all of that."""


class PrescriptionListQuery(Wire):
    """Which prescriptions are listed."""

    model_config = ConfigDict(strict=False, extra="forbid")

    on: Day | None = None
    """Those that held on this day, by what is known now: active, on hold, or perhaps."""
    status: PrescriptionStatus | None = None
    cursor: str = ""
    """The `next_cursor` of the page before."""
    limit: Limit = 50


class AdherenceQuery(Wire):
    """Of which days adherence is told."""

    model_config = ConfigDict(strict=False, extra="forbid")

    since: Day | None = None
    """The first day; 29 days before the last if absent."""
    until: Day | None = None
    """The last day; today if absent."""


class AdherenceOut(Wire):
    """How much was taken of what was prescribed, by the contacts that tell of doses."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "since": "2026-02-13",
                    "until": "2026-03-14",
                    "days": 30,
                    "taken": 27,
                    "skipped": 2,
                    "due": "30.000",
                    "covered": 27,
                    "dose_ratio": "0.900",
                    "days_covered": "0.900",
                }
            ]
        }
    )

    since: Day
    until: Day
    days: int
    """On how many of these days it was to be taken."""
    taken: int
    """How many doses were taken on them, as was told."""
    skipped: int
    due: DecimalText | None
    """How many doses were due; null for what is taken as needed, or nobody said how often."""
    covered: int | None
    """On how many days what was taken sufficed."""
    dose_ratio: DecimalText | None
    """Doses taken over doses due, at most 1 (Osterberg and Blaschke, N Engl J Med 2005;353:487-497)."""
    days_covered: DecimalText | None
    """The proportion of days covered, as the Pharmacy Quality Alliance has it, by doses taken in the place of doses
    dispensed. From 0.8 on a patient counts as adherent with most medicines."""
    notice: NoticeOut | None = None
    """What has to go with it under 42 CFR Part 2."""

    @classmethod
    def of(cls, adherence: Adherence) -> Self:
        """Return the shape of `adherence`."""
        return cls.model_validate(adherence)


class PrescriptionRevisionOut(Wire):
    """One version of a prescription."""

    version: int
    written_at: Instant
    written_by: UUID
    """The account that wrote it."""
    prescription: PrescriptionOut

    @classmethod
    def of(cls, revision: RecordRevision[Prescription]) -> Self:
        """Return the shape of `revision`."""
        return cls(
            version=revision.version,
            written_at=revision.written_at,
            written_by=revision.written_by,
            prescription=PrescriptionOut.of(revision.record),
        )


class PrescriptionHistoryOut(Wire):
    """The versions of a prescription, the newest first: what was believed at which time."""

    items: tuple[PrescriptionRevisionOut, ...]
    next_before: int | None
    """To be given as `before`, for those below; null if there are none."""


@router.get("", responses=documented(NotFound()))
async def list_prescriptions(
    patient_id: PatientId,
    query: Annotated[PrescriptionListQuery, Query()],
    actor: CurrentActor,
    medications: Medications,
) -> PrescriptionPageOut:
    """List the prescriptions of a patient: all, those of a status, or those that held on a day, be it long ago.

    Duplicates and overlapping orders of one substance are told beside them.
    """
    asked = PrescriptionsAsked(on=query.on, status=query.status)
    found = await medications.list(actor, patient_id, asked, cursor=query.cursor, at_most=query.limit)
    items = tuple(PrescriptionOut.of(one, query.on) for one in found.prescriptions.items)
    return PrescriptionPageOut(
        **page_of(found.prescriptions, items),
        overlaps=tuple(map(OverlapOut.of, found.overlaps)),
        compared_with_all=found.complete,
    )


@router.post("", status_code=201, responses={201: _ETAG, **_BODY, **documented(NotFound(), ReusedKey())})
async def prescribe(
    patient_id: PatientId,
    order: Json[PrescriptionIn],
    actor: CurrentActor,
    services: RunningServices,
    request: Request,
    response: Response,
    idempotency_key: IdempotencyKey = None,
) -> OrderedOut:
    """Prescribe a medicine, and be told what it overlaps with. For clinicians of the care team.

    With an `Idempotency-Key`, a request that comes again shows what the first one ordered.
    """
    repeat = RepeatKey(key=idempotency_key, request=order.canonical(patient_id)) if idempotency_key else None
    described = order.prescription(PrescriptionId(services.new_id()), patient_id)
    ordered = OrderedOut.with_overlaps(await services.medications.prescribe(actor, described, repeat=repeat))
    response.headers["Location"] = f"{request.url.path}/{ordered.id}"
    response.headers["ETag"] = f'"{ordered.version}"'
    return ordered


@router.get("/{prescription_id}", responses={200: _ETAG, **documented(NotFound())})
async def view_prescription(
    patient_id: PatientId,
    prescription_id: PrescriptionId,
    actor: CurrentActor,
    medications: Medications,
    response: Response,
) -> PrescriptionOut:
    """Show one prescription. 404 also means that it is not yours to see."""
    return _tagged(await medications.view(actor, patient_id, prescription_id), response)


@router.put("/{prescription_id}", responses=_CHANGED)
async def change_prescription(
    patient_id: PatientId,
    prescription_id: PrescriptionId,
    change: Json[PrescriptionChangeIn],
    actor: CurrentActor,
    medications: Medications,
    version: VersionSeen,
    response: Response,
) -> OrderedOut:
    """Change a prescription: all of its content is replaced but for the drug, and the version before is kept."""
    changed = OrderedOut.with_overlaps(
        await medications.change(
            actor, patient_id, prescription_id, change.changes(), since=change.since, version=version
        )
    )
    response.headers["ETag"] = f'"{changed.version}"'
    return changed


@router.post("/{prescription_id}/hold", responses=_CHANGED)
async def hold_prescription(
    patient_id: PatientId,
    prescription_id: PrescriptionId,
    hold: Json[HoldIn],
    actor: CurrentActor,
    medications: Medications,
    version: VersionSeen,
    response: Response,
) -> PrescriptionOut:
    """Say that a medicine is not to be taken for the time being."""
    held = await medications.hold(actor, patient_id, prescription_id, hold.reason, day=hold.day, version=version)
    return _tagged(held, response)


@router.post("/{prescription_id}/resume", responses=_CHANGED)
async def resume_prescription(
    patient_id: PatientId,
    prescription_id: PrescriptionId,
    resumption: Json[ResumptionIn],
    actor: CurrentActor,
    medications: Medications,
    version: VersionSeen,
    response: Response,
) -> PrescriptionOut:
    """Say that a medicine on hold is to be taken again."""
    resumed = await medications.resume(actor, patient_id, prescription_id, day=resumption.day, version=version)
    return _tagged(resumed, response)


@router.post("/{prescription_id}/stop", responses=_CHANGED)
async def stop_prescription(
    patient_id: PatientId,
    prescription_id: PrescriptionId,
    stop: Json[StopIn],
    actor: CurrentActor,
    medications: Medications,
    version: VersionSeen,
    response: Response,
) -> PrescriptionOut:
    """Say that a medicine is not to be taken any more, and why."""
    stopped = await medications.stop(
        actor, patient_id, prescription_id, stop.reason, day=stop.day, completed=stop.completed, version=version
    )
    return _tagged(stopped, response)


@router.post("/{prescription_id}/mistaken", responses=_CHANGED)
async def mark_prescription_mistaken(
    patient_id: PatientId,
    prescription_id: PrescriptionId,
    mistake: Json[PrescriptionMistakeIn],
    actor: CurrentActor,
    medications: Medications,
    version: VersionSeen,
    response: Response,
) -> PrescriptionOut:
    """Mark a prescription as entered in error. It stays, and held on no day."""
    marked = await medications.mark_mistaken(actor, patient_id, prescription_id, mistake.why, version=version)
    return _tagged(marked, response)


@router.get("/{prescription_id}/history", responses=documented(NotFound()))
async def view_prescription_history(
    patient_id: PatientId,
    prescription_id: PrescriptionId,
    query: Annotated[HistoryQuery, Query()],
    actor: CurrentActor,
    medications: Medications,
) -> PrescriptionHistoryOut:
    """Show the versions of a prescription, the newest first."""
    revisions = await medications.history(actor, patient_id, prescription_id, before=query.before, at_most=query.limit)
    more = len(revisions) == query.limit and revisions[-1].version > 1
    return PrescriptionHistoryOut(
        items=tuple(map(PrescriptionRevisionOut.of, revisions)),
        next_before=revisions[-1].version if more else None,
    )


@router.get("/{prescription_id}/adherence", responses=documented(NotFound()))
async def view_adherence(
    patient_id: PatientId,
    prescription_id: PrescriptionId,
    query: Annotated[AdherenceQuery, Query()],
    actor: CurrentActor,
    medications: Medications,
) -> AdherenceOut:
    """Tell how much was taken of what was prescribed, by the contacts that tell of doses, in at most 366 days."""
    found = await medications.adherence(actor, patient_id, prescription_id, since=query.since, until=query.until)
    return AdherenceOut.of(found)


def _tagged(prescription: Prescription, response: Response) -> PrescriptionOut:
    response.headers["ETag"] = f'"{prescription.version}"'
    return PrescriptionOut.of(prescription)
