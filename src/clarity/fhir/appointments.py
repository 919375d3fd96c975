"""Appointments as FHIR R4 resources.

Lost on the way in: narrative, priority, slots, what an appointment is based on, requested periods, whoever else takes
part, and of several practitioners all but the first who did not decline.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta

from clarity.application.imports import NOBODY, IncomingRecord, LeftOut
from clarity.domain.appointments import Appointment, AppointmentKind, AppointmentStatus, Cancellation
from clarity.domain.errors import Invalid
from clarity.domain.identifiers import IndexTerm
from clarity.domain.ids import AppointmentId, PatientId, PractitionerId
from clarity.domain.records import Label
from clarity.domain.values import within
from clarity.fhir import resources
from clarity.fhir.charting import Chartable, all_of, digest_of, in_words_of_fhir, label_of, words_for
from clarity.fhir.datatypes import read_date_time
from clarity.fhir.resources import ParticipationStatus

_STATUSES = {
    resources.AppointmentStatus.BOOKED: AppointmentStatus.BOOKED,
    resources.AppointmentStatus.ARRIVED: AppointmentStatus.BOOKED,
    resources.AppointmentStatus.CHECKED_IN: AppointmentStatus.BOOKED,
    resources.AppointmentStatus.FULFILLED: AppointmentStatus.COMPLETED,
    resources.AppointmentStatus.CANCELLED: AppointmentStatus.CANCELLED,
    resources.AppointmentStatus.NO_SHOW: AppointmentStatus.NO_SHOW,
}
# HL7 v2 table 0276, to which appointmentType is bound as preferred. Others are kept as `service` alone.
_KINDS = {
    "CHECKUP": AppointmentKind.FOLLOW_UP,
    "EMERGENCY": AppointmentKind.EMERGENCY,
    "FOLLOWUP": AppointmentKind.FOLLOW_UP,
    "ROUTINE": AppointmentKind.FOLLOW_UP,
}
_ELEMENTS = {
    "starts_at": "start",
    "ends_at": "end",
    "place": "participant.actor",
    "reason": "reasonCode",
    "notes": "comment",
    "service": "serviceType",
}
_NO_REASON = "The source gives no reason."


def read_appointment(resource: resources.Appointment, about: Chartable) -> IncomingRecord | LeftOut:
    """Return the appointment of an `Appointment`, or why there is none. Raises `Invalid` naming the element."""
    status = _STATUSES.get(resource.status)
    if status is None:
        in_error = resource.status is resources.AppointmentStatus.ENTERED_IN_ERROR
        return about.left_out("entered in error" if in_error else "not booked")
    if status is AppointmentStatus.CANCELLED and not resource.start:
        return about.left_out("cancelled before it had a time")
    subject = _subject(resource.participant, about)
    if subject is None:
        return about.left_out("of no patient")
    number, practitioner = _practitioner(resource.participant, about)
    if practitioner is None:
        return about.left_out("with no practitioner")
    start, end = _times(resource)
    label = label_of(resource.meta)
    if label is Label.PSYCHOTHERAPY:
        return about.left_out("marked as psychotherapy notes are")
    with in_words_of_fhir(_ELEMENTS):
        record = Appointment(
            id=AppointmentId(about.around.new_id()),
            patient=PatientId(NOBODY),
            practitioner=PractitionerId(NOBODY),
            starts_at=start,
            ends_at=end,
            kind=_kind(resource),
            place=_place(resource.participant),
            reason=words_for(resource.reason_code) or resource.description,
            notes="\n".join(text for text in (resource.comment, resource.patient_instruction) if text),
            status=status,
            cancellation=_cancellation(resource, start) if status is AppointmentStatus.CANCELLED else None,
            service=all_of((resource.appointment_type, *resource.service_type)),
            label=label,
            sources=(about.source,),
            source_digest=digest_of(resource),
        )
    return about.incoming(
        record, subject=subject, at=start, practitioner=practitioner, element=f"participant.{number}.actor"
    )


def subject_of(resource: resources.Appointment) -> resources.Reference | None:
    """Return the reference to the patient, as far as it can be told by itself."""
    actors = [one.actor for one in resource.participant if one.actor is not None]
    return next((actor for actor in actors if "Patient" in actor.reference), None)


def _subject(participants: Sequence[resources.AppointmentParticipant], about: Chartable) -> str | None:
    found: dict[str, None] = {}
    unknown: Invalid | None = None
    for number, participant in enumerate(participants):
        if participant.actor is not None and participant.actor.reference:
            try:
                source = about.around.ties.patient(participant.actor.reference)
            except Invalid as exc:  # a room, perhaps, which a reference alone does not tell
                unknown = unknown or exc.within(f"participant.{number}.actor")
                continue
            if source is not None:
                found[source] = None
    if len(found) > 1:
        raise Invalid("participant", "names more than one patient")
    if not found and unknown is not None:
        raise unknown
    return next(iter(found), None)


def _practitioner(
    participants: Sequence[resources.AppointmentParticipant], about: Chartable
) -> tuple[int, IndexTerm | None]:
    for number, participant in enumerate(participants):
        if participant.status is not ParticipationStatus.DECLINED:
            term = about.practitioner(participant.actor)
            if term is not None:
                return number, term
    return 0, None


def _times(resource: resources.Appointment) -> tuple[datetime, datetime]:
    start, end = (_instant(name, text) for name, text in (("start", resource.start), ("end", resource.end)))
    if start is None:
        raise Invalid("start", "is missing")
    if end is None and resource.minutes_duration is not None:
        try:
            end = start + timedelta(minutes=resource.minutes_duration)
        except OverflowError:
            raise Invalid("minutesDuration", "must end within the calendar") from None
    if end is None:
        raise Invalid("end", "is missing")
    return start, end


def _instant(field: str, text: str) -> datetime | None:
    if not text:
        return None
    with within(field):
        _, instant = read_date_time(text)
        if instant is None:
            raise Invalid("", "must have a time of day")
    return instant


def _kind(resource: resources.Appointment) -> AppointmentKind:
    concept = resource.appointment_type
    codes = [coding.code for coding in concept.coding] if concept is not None else []
    return next((_KINDS[code] for code in codes if code in _KINDS), AppointmentKind.OTHER)


def _place(participants: Sequence[resources.AppointmentParticipant]) -> str:
    actors = [one.actor for one in participants if one.actor is not None]
    return next((actor.display for actor in actors if "Location" in actor.reference and actor.display), "")


def _cancellation(resource: resources.Appointment, start: datetime) -> Cancellation:
    at = _instant("meta.lastUpdated", resource.meta.last_updated) or start
    with in_words_of_fhir({"reason": "cancelationReason"}):
        return Cancellation(reason=words_for([resource.cancelation_reason]) or _NO_REASON, by=NOBODY, at=at)
