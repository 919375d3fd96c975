"""The routes on a patient's appointments, and their shapes."""

import re
from dataclasses import replace
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Self
from uuid import UUID

from fastapi import Body, Query, Response
from pydantic import BeforeValidator, ConfigDict, Field, WithJsonSchema
from starlette.exceptions import HTTPException

from clarity.api.dependencies import Appointments, CurrentActor, IdempotencyKey, RunningServices, VersionSeen
from clarity.api.patients.shapes import NoticeOut
from clarity.api.people import ConceptInOut
from clarity.api.problems import documented
from clarity.api.routing import MERGE_PATCH, router_of
from clarity.api.wire import Instant, Json, Limit, PageOut, Received, Wire, fault, page_of
from clarity.application.appointments import NewTime, TimetableAsked
from clarity.application.patients import RepeatKey
from clarity.application.ports import RecordRevision
from clarity.domain.access import PART2_NOTICE
from clarity.domain.appointments import (
    MAX_NOTES,
    Appointment,
    AppointmentFilter,
    AppointmentKind,
    AppointmentStatus,
    Cancellation,
    Setting,
)
from clarity.domain.errors import Conflict, NotFound, Overlapping, ReusedKey, StaleWrite
from clarity.domain.ids import AppointmentId, PatientId, PractitionerId, SeriesId
from clarity.domain.records import Label
from clarity.domain.schedule import LONGEST, MOST_IN_SERIES, Calendar, Fold, Frequency, Recurrence, span_of
from clarity.domain.values import MAX_TEXT

_BODY = documented(HTTPException(413), HTTPException(415))
_CHANGED = documented(
    NotFound(), HTTPException(428), StaleWrite(), Conflict("the appointment is cancelled already"), Overlapping()
)
_ETAG: dict[str, Any] = {
    "headers": {"ETag": {"description": "The version of the appointment.", "schema": {"type": "string"}}}
}
_WHEN = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}(:\d{2}(\.\d{1,6})?)?(Z|[+-]\d{2}:\d{2})?", re.ASCII)
_EXAMPLE: dict[str, Any] = {
    "practitioner": "019a9d5c-1f3b-7a42-8c60-5b8e2d7f9a10",
    "starts_at": "2026-11-16T09:00",
    "minutes": 50,
    "kind": "therapy",
    "setting": "in-person",
    "place": "Room 214",
    "reason": "Sleep, and the return to work",
}
_SHOWN: dict[str, Any] = {
    "id": "019a9d5c-7d20-7c11-a7e5-3f6b9c2d1e04",
    "patient": "019a9d5c-1c0a-7f3e-8b52-0e61d9a4c7b8",
    "practitioner": _EXAMPLE["practitioner"],
    "starts_at": "2026-11-16T14:00:00Z",
    "ends_at": "2026-11-16T14:50:00Z",
    "status": "cancelled",
    "kind": "therapy",
    "setting": "in-person",
    "place": "Room 214",
    "reason": "Sleep, and the return to work",
    "notes": "",
    "label": "part2",
    "service": {"text": "Psychotherapy, 50 minutes"},
    "series": "019a9d5c-7d20-7c11-a7e5-3f6b9c2d1e03",
    "cancellation": {
        "reason": "Has a cold",
        "at": "2026-11-15T18:20:07Z",
        "by": "019a9d5c-4b11-7e0a-b7f3-2c9d5e6f7a81",
        "by_patient": True,
    },
    "notice": {
        "text": PART2_NOTICE,
        "consent": "019a9d5c-5f0a-7b11-9c36-2d7e41f0c5aa",
        "scope": "Substance use treatment since 2024, for treatment, to my treating providers",
    },
    "version": 2,
}
router = router_of("patients/{patient_id}/appointments")
router.tags = ["appointments"]


def _when(value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        return datetime.fromisoformat(value if _WHEN.fullmatch(value) else "")
    except ValueError:
        raise fault("must be a time such as 2026-11-16T09:00, or an instant such as 2026-11-16T14:00:00Z") from None


When = Annotated[
    datetime,
    BeforeValidator(_when),
    WithJsonSchema({"type": "string", "examples": ["2026-11-16T09:00", "2026-11-16T14:00:00Z"]}),
]
"""A time on the wall of the practice, or an instant with its offset from UTC (RFC 3339)."""

Text = Annotated[str, Field(max_length=MAX_TEXT)]
Notes = Annotated[str, Field(max_length=MAX_NOTES)]
Minutes = Annotated[int, Field(ge=5, le=LONGEST.total_seconds() // 60)]


class TimeIn(Received):
    """When something is to be."""

    starts_at: When
    """By the clock in the practice, or an instant that says how far it is from UTC. A full minute that is to come.

    A time that the clocks leave out as they are put forward is refused; so is one that comes twice as they are put
    back, unless `fold` says which is meant."""
    fold: Fold | None = None
    """Which of the two is meant where a time by the clock comes twice."""
    outside_hours: bool = False
    """Whether a time is meant at which the practice is not open, as in an emergency. On a closed day there is none."""

    def at(self, calendar: Calendar) -> datetime:
        """Return the instant that is meant, by the practice's calendar."""
        return calendar.instant(self.starts_at, self.fold)


class AppointmentIn(TimeIn):
    """An appointment to be booked."""

    model_config = ConfigDict(json_schema_extra={"examples": [_EXAMPLE]})

    practitioner: PractitionerId
    minutes: Minutes
    kind: AppointmentKind
    setting: Setting = Setting.IN_PERSON
    place: Text = ""
    """A room, or what leads to a meeting by video or telephone."""
    reason: Text = ""
    notes: Notes = ""
    label: Label = Label.NORMAL
    """An appointment is at least as confidential as the patient's record, and `restricted` or `part2` if it says so."""

    def canonical(self, patient: PatientId) -> bytes:
        """Return this request in one spelling, by which a repetition of it is recognised."""
        return type(self).__name__.encode() + patient.bytes + self.model_dump_json().encode()

    def appointment(self, appointment: AppointmentId, patient: PatientId, calendar: Calendar) -> Appointment:
        """Return the appointment described."""
        span = span_of(self.at(calendar), self.minutes)
        return Appointment(
            id=appointment,
            patient=patient,
            practitioner=self.practitioner,
            starts_at=span.start,
            ends_at=span.end,
            kind=self.kind,
            setting=self.setting,
            place=self.place,
            reason=self.reason,
            notes=self.notes,
            label=self.label,
        )


class SeriesIn(AppointmentIn):
    """A series of appointments to be booked: all at the same time by the clock in the practice."""

    model_config = ConfigDict(json_schema_extra={"examples": [{**_EXAMPLE, "frequency": "weekly", "times": 12}]})

    frequency: Frequency
    """`monthly` is on the same weekday of the month: the second Tuesday, or the last one where there is no fifth."""
    times: Annotated[int, Field(ge=2, le=MOST_IN_SERIES)]
    """How many there are, with the first."""


class MoveIn(TimeIn):
    """Where an appointment is to be moved."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"starts_at": "2026-11-17T09:00", "following": True}]})

    minutes: Minutes | None = None
    """How long it is from then on, if not as long as it was."""
    practitioner: PractitionerId | None = None
    """With whom it is from then on, if with another."""
    following: bool = False
    """Whether all that are still to come in its series move as far, by the clock."""


class CancellationIn(Received):
    """Why an appointment is cancelled."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"reason": "Has a cold", "following": False}]})

    reason: Text
    following: bool = False
    """Whether all that are still to come in its series are cancelled too."""


class AppointmentPatchIn(Received):
    """What may be changed of an appointment besides its time, each field by itself. `null` empties a text."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"setting": "video", "place": "meet.example/214"}]})

    kind: AppointmentKind = AppointmentKind.OTHER
    setting: Setting = Setting.IN_PERSON
    place: Text | None = None
    reason: Text | None = None
    notes: Notes | None = None
    label: Label = Label.NORMAL

    def changing(self, appointment: Appointment) -> Appointment:
        """Return `appointment` with what this says."""
        said: dict[str, Any] = {
            name: "" if (value := getattr(self, name)) is None else value for name in self.model_fields_set
        }
        return replace(appointment, **said)


class CancellationOut(Wire):
    """Why an appointment was cancelled, when, and by whom."""

    reason: str
    at: Instant
    by: UUID
    """The account."""
    by_patient: bool
    """Whether that was the patient's own."""

    @classmethod
    def of(cls, cancellation: Cancellation | None) -> Self | None:
        """Return the shape of `cancellation`."""
        return None if cancellation is None else cls.model_validate(cancellation)


class AppointmentOut(Wire):
    """An appointment."""

    model_config = ConfigDict(json_schema_extra={"examples": [_SHOWN]})

    id: AppointmentId
    patient: PatientId
    """Whose record it was booked for: that of the path, or one that was merged into it."""
    practitioner: PractitionerId
    starts_at: Instant
    ends_at: Instant
    status: AppointmentStatus
    kind: AppointmentKind
    setting: Setting
    place: str
    reason: str
    notes: str
    label: Label
    service: ConceptInOut | None
    """What it is for, in words of where it was imported from; null for what was booked here."""
    series: SeriesId | None
    """What those that were booked together have in common."""
    cancellation: CancellationOut | None
    notice: NoticeOut | None
    """What has to go with this record if it is passed on; null for the patient, and if it is not under Part 2."""
    version: int
    """Rises by one with each change. The `ETag` is the same in quotation marks."""

    @classmethod
    def of(cls, one: Appointment) -> Self:
        """Return the shape of an appointment."""
        apart = {"cancellation", "notice", "service"}
        same = {name: getattr(one, name) for name in cls.model_fields if name not in apart}
        notice = None if one.notice is None else NoticeOut.model_validate(one.notice)
        service = None if one.service is None else ConceptInOut.model_validate(one.service)
        return cls(cancellation=CancellationOut.of(one.cancellation), notice=notice, service=service, **same)


class AppointmentPageOut(PageOut[AppointmentOut]):
    """Some of a patient's appointments, in order of time."""


class AppointmentsOut(Wire):
    """Appointments that were booked, moved or cancelled together, in order of time: first the one that was named."""

    items: tuple[AppointmentOut, ...]


class AppointmentRevisionOut(Wire):
    """One version of an appointment as it was."""

    appointment: AppointmentOut
    written_at: Instant
    written_by: UUID

    @classmethod
    def of(cls, revision: RecordRevision[Appointment]) -> Self:
        """Return the shape of a version."""
        shown = AppointmentOut.of(replace(revision.record, version=revision.version))
        return cls(appointment=shown, written_at=revision.written_at, written_by=revision.written_by)


class AppointmentHistoryOut(Wire):
    """Versions of an appointment, the newest first."""

    items: tuple[AppointmentRevisionOut, ...]
    next_before: int | None
    """What to ask for as `before` to go further back; null at the first version."""


class TimeOrder(StrEnum):
    """Which way a list goes."""

    EARLIEST = "earliest"
    LATEST = "latest"


class AppointmentListQuery(Wire):
    """Which of a patient's appointments are listed."""

    model_config = ConfigDict(strict=False, extra="forbid")

    since: Instant | None = Field(None, alias="from", description="Those that end behind this instant.")
    until: Instant | None = Field(None, description="Those that begin before this instant.")
    status: AppointmentStatus | None = None
    practitioner: PractitionerId | None = None
    series: SeriesId | None = None
    order: TimeOrder = TimeOrder.EARLIEST
    """Whether the earliest or the latest come first."""
    cursor: str = ""
    """The `next_cursor` of the page before."""
    limit: Limit = 50

    def asked(self) -> TimetableAsked:
        """Return the question."""
        conditions = AppointmentFilter(
            since=self.since,
            until=self.until,
            status=self.status,
            practitioner=self.practitioner,
            series=self.series,
        )
        latest_first = self.order is TimeOrder.LATEST
        return TimetableAsked(conditions=conditions, latest_first=latest_first, cursor=self.cursor, at_most=self.limit)


class AppointmentHistoryQuery(Wire):
    """Which versions are shown."""

    model_config = ConfigDict(strict=False, extra="forbid")

    before: int | None = Field(None, ge=1, le=2**31 - 1, description="Only versions below this one.")
    limit: Limit = 20


@router.get("", responses=documented(NotFound()))
async def list_appointments(
    patient_id: PatientId,
    query: Annotated[AppointmentListQuery, Query()],
    actor: CurrentActor,
    appointments: Appointments,
) -> AppointmentPageOut:
    """List a patient's appointments in order of time: past ones, those to come, those that were cancelled or missed."""
    page = await appointments.list(actor, patient_id, query.asked())
    return AppointmentPageOut(**page_of(page, tuple(map(AppointmentOut.of, page.items))))


@router.post("", status_code=201, responses={201: _ETAG, **_BODY, **documented(NotFound(), ReusedKey(), Overlapping())})
async def book_appointment(
    patient_id: PatientId,
    wanted: Json[AppointmentIn],
    actor: CurrentActor,
    services: RunningServices,
    response: Response,
    idempotency_key: IdempotencyKey = None,
) -> AppointmentOut:
    """Book an appointment. 409 says that the time is taken, of the practitioner or of the patient.

    With an `Idempotency-Key`, a request that comes again shows what the first one booked.
    """
    appointments = services.appointments
    repeat = RepeatKey(key=idempotency_key, request=wanted.canonical(patient_id)) if idempotency_key else None
    appointment = wanted.appointment(AppointmentId(services.new_id()), patient_id, appointments.calendar)
    (booked,) = await appointments.book(actor, appointment, outside_hours=wanted.outside_hours, repeat=repeat)
    return _tagged(booked, response)


@router.post(
    "/series", status_code=201, responses={201: _ETAG, **_BODY, **documented(NotFound(), ReusedKey(), Overlapping())}
)
async def book_series(
    patient_id: PatientId,
    wanted: Json[SeriesIn],
    actor: CurrentActor,
    services: RunningServices,
    response: Response,
    idempotency_key: IdempotencyKey = None,
) -> AppointmentsOut:
    """Book a series of appointments, all of them or none.

    A problem names the one that it is about by its number, from 0: `occurrences.3.starts_at`.
    """
    appointments = services.appointments
    repeat = RepeatKey(key=idempotency_key, request=wanted.canonical(patient_id)) if idempotency_key else None
    first = wanted.appointment(AppointmentId(services.new_id()), patient_id, appointments.calendar)
    recurrence = Recurrence(frequency=wanted.frequency, times=wanted.times)
    booked = await appointments.book(actor, first, recurrence, outside_hours=wanted.outside_hours, repeat=repeat)
    return _all_tagged(booked, response)


@router.get("/{appointment_id}", responses={200: _ETAG, **documented(NotFound())})
async def view_appointment(
    patient_id: PatientId,
    appointment_id: AppointmentId,
    actor: CurrentActor,
    appointments: Appointments,
    response: Response,
) -> AppointmentOut:
    """Show one appointment."""
    return _tagged(await appointments.view(actor, patient_id, appointment_id), response)


@router.patch("/{appointment_id}", responses={200: _ETAG, **_BODY, **_CHANGED})
async def change_appointment(
    patient_id: PatientId,
    appointment_id: AppointmentId,
    patch: Annotated[Json[AppointmentPatchIn], Body(media_type=MERGE_PATCH)],
    actor: CurrentActor,
    appointments: Appointments,
    version: VersionSeen,
    response: Response,
) -> AppointmentOut:
    """Change what an appointment is for, where and how it is, or its notes (RFC 7396)."""
    changed = await appointments.change(actor, patient_id, appointment_id, patch.changing, version=version)
    return _tagged(changed, response)


@router.post("/{appointment_id}/move", responses={200: _ETAG, **_BODY, **_CHANGED})
async def move_appointment(
    patient_id: PatientId,
    appointment_id: AppointmentId,
    to: Json[MoveIn],
    actor: CurrentActor,
    appointments: Appointments,
    version: VersionSeen,
    response: Response,
) -> AppointmentsOut:
    """Move an appointment to another time or another practitioner, alone or with those that follow in its series."""
    wanted = NewTime(
        starts_at=to.at(appointments.calendar),
        minutes=to.minutes,
        practitioner=to.practitioner,
        outside_hours=to.outside_hours,
    )
    moved = await appointments.move(actor, patient_id, appointment_id, wanted, version=version, following=to.following)
    return _all_tagged(moved, response)


@router.post("/{appointment_id}/cancel", responses={200: _ETAG, **_BODY, **_CHANGED})
async def cancel_appointment(
    patient_id: PatientId,
    appointment_id: AppointmentId,
    why: Json[CancellationIn],
    actor: CurrentActor,
    appointments: Appointments,
    version: VersionSeen,
    response: Response,
) -> AppointmentsOut:
    """Cancel an appointment, alone or with those that follow in its series. Patients cancel their own, in time."""
    cancelled = await appointments.cancel(
        actor, patient_id, appointment_id, why.reason, version=version, following=why.following
    )
    return _all_tagged(cancelled, response)


@router.post("/{appointment_id}/complete", responses={200: _ETAG, **_CHANGED})
async def complete_appointment(
    patient_id: PatientId,
    appointment_id: AppointmentId,
    actor: CurrentActor,
    appointments: Appointments,
    version: VersionSeen,
    response: Response,
) -> AppointmentOut:
    """Say that an appointment took place, once it has begun. One that was taken for missed may turn out so."""
    return _tagged(await appointments.complete(actor, patient_id, appointment_id, version=version), response)


@router.post("/{appointment_id}/no-show", responses={200: _ETAG, **_CHANGED})
async def mark_no_show(
    patient_id: PatientId,
    appointment_id: AppointmentId,
    actor: CurrentActor,
    appointments: Appointments,
    version: VersionSeen,
    response: Response,
) -> AppointmentOut:
    """Say that the patient did not come, once an appointment has begun."""
    return _tagged(await appointments.miss(actor, patient_id, appointment_id, version=version), response)


@router.get("/{appointment_id}/history", responses=documented(NotFound()))
async def view_appointment_history(
    patient_id: PatientId,
    appointment_id: AppointmentId,
    query: Annotated[AppointmentHistoryQuery, Query()],
    actor: CurrentActor,
    appointments: Appointments,
) -> AppointmentHistoryOut:
    """Show the versions of an appointment, the newest first."""
    revisions = await appointments.history(actor, patient_id, appointment_id, before=query.before, at_most=query.limit)
    more = len(revisions) == query.limit and revisions[-1].version > 1
    return AppointmentHistoryOut(
        items=tuple(map(AppointmentRevisionOut.of, revisions)),
        next_before=revisions[-1].version if more else None,
    )


def _tagged(appointment: Appointment, response: Response) -> AppointmentOut:
    response.headers["ETag"] = f'"{appointment.version}"'
    return AppointmentOut.of(appointment)


def _all_tagged(appointments: tuple[Appointment, ...], response: Response) -> AppointmentsOut:
    response.headers["ETag"] = f'"{appointments[0].version}"'
    return AppointmentsOut(items=tuple(map(AppointmentOut.of, appointments)))
