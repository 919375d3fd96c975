"""Appointments: when a patient is seen by whom, and what came of it."""

from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Self
from uuid import UUID

from clarity.domain.errors import Conflict, Invalid
from clarity.domain.ids import AppointmentId, PatientId, PractitionerId, SeriesId
from clarity.domain.people import Concept
from clarity.domain.practice_hours import Span
from clarity.domain.records import Label, Notice
from clarity.domain.values import allow_text, require_text

MAX_NOTES = 4_000


class AppointmentStatus(StrEnum):
    """Where an appointment stands."""

    BOOKED = "booked"
    COMPLETED = "completed"
    CANCELLED = "cancelled"
    NO_SHOW = "no-show"


class AppointmentKind(StrEnum):
    """What an appointment is for."""

    INTAKE = "intake"
    FOLLOW_UP = "follow-up"
    THERAPY = "therapy"
    MEDICATION = "medication"
    ASSESSMENT = "assessment"
    EMERGENCY = "emergency"
    OTHER = "other"


class Setting(StrEnum):
    """How patient and practitioner meet."""

    IN_PERSON = "in-person"
    VIDEO = "video"
    TELEPHONE = "telephone"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cancellation:
    """Why an appointment was cancelled, by which account and when (UTC), and whether that was the patient's own."""

    reason: str = field(repr=False)
    by: UUID
    at: datetime
    by_patient: bool = False

    def __post_init__(self) -> None:
        """Raise `Invalid` without a reason."""
        require_text("reason", self.reason)


@dataclass(frozen=True, slots=True, kw_only=True)
class Appointment:
    """An appointment of a patient with a practitioner, from `starts_at` until `ends_at` (UTC).

    `place` is a room, or whatever leads to a meeting by video or telephone. Those of one `series` were booked together.
    One that was imported names in `sources` where it came from, and in `service` what it is for in words of there.
    """

    id: AppointmentId
    patient: PatientId
    practitioner: PractitionerId
    starts_at: datetime
    ends_at: datetime
    kind: AppointmentKind = field(default=AppointmentKind.FOLLOW_UP, repr=False)
    setting: Setting = field(default=Setting.IN_PERSON, repr=False)
    place: str = field(default="", repr=False)
    reason: str = field(default="", repr=False)
    notes: str = field(default="", repr=False)
    status: AppointmentStatus = AppointmentStatus.BOOKED
    cancellation: Cancellation | None = field(default=None, repr=False)
    series: SeriesId | None = None
    service: Concept | None = field(default=None, repr=False)
    sources: tuple[str, ...] = field(default=(), repr=False)
    source_digest: bytes = field(default=b"", repr=False)
    label: Label = field(default=Label.NORMAL, repr=False)
    author: UUID | None = None
    notice: Notice | None = field(default=None, repr=False)
    version: int = 0

    def __post_init__(self) -> None:
        """Raise `Invalid` naming the first field that breaks a rule."""
        if self.starts_at.tzinfo is None or self.ends_at.tzinfo is None:
            raise Invalid("starts_at", "must say how far it is from UTC")
        if not self.starts_at < self.ends_at:
            raise Invalid("ends_at", "must be after starts_at")
        allow_text("place", self.place)
        allow_text("reason", self.reason)
        allow_text("notes", self.notes, at_most=MAX_NOTES)
        if self.label is Label.PSYCHOTHERAPY:
            raise Invalid("label", "is for psychotherapy notes; an appointment is none (45 CFR 164.501)")
        if (self.status is AppointmentStatus.CANCELLED) != (self.cancellation is not None):
            raise Invalid("cancellation", "belongs to what was cancelled, and to nothing else")

    @property
    def span(self) -> Span:
        """From when to when it is."""
        return Span(self.starts_at, self.ends_at)

    def moved(self, span: Span, practitioner: PractitionerId | None = None) -> Self:
        """Return it at another time, or with another practitioner. Raises `Conflict` unless it is booked."""
        self._require_booked()
        who = practitioner or self.practitioner
        return replace(self, starts_at=span.start, ends_at=span.end, practitioner=who)

    def cancelled(self, cancellation: Cancellation) -> Self:
        """Return it as cancelled. Raises `Conflict` unless it is booked, and for a patient who comes too late."""
        self._require_booked()
        if cancellation.by_patient and self.starts_at <= cancellation.at:
            raise Conflict("the appointment has begun")
        return replace(self, status=AppointmentStatus.CANCELLED, cancellation=cancellation)

    def completed(self, now: datetime) -> Self:
        """Return it as one that took place, be it that it was taken for missed."""
        return self._come_to(AppointmentStatus.COMPLETED, now)

    def missed(self, now: datetime) -> Self:
        """Return it as one to which the patient did not come, be it that it was taken for completed."""
        return self._come_to(AppointmentStatus.NO_SHOW, now)

    def _come_to(self, status: AppointmentStatus, now: datetime) -> Self:
        if self.status in {AppointmentStatus.CANCELLED, status}:
            raise Conflict(f"the appointment is {self.status} already")
        if now < self.starts_at:
            raise Conflict("the appointment has not begun")
        return replace(self, status=status)

    def _require_booked(self) -> None:
        if self.status is not AppointmentStatus.BOOKED:
            raise Conflict(f"the appointment is {self.status} already")


@dataclass(frozen=True, slots=True, kw_only=True)
class AppointmentFilter:
    """The conditions on an appointment that stand outside the seal; `None` allows all.

    It overlaps the time from `since` until `until` (UTC, left out).
    """

    since: datetime | None = None
    until: datetime | None = None
    status: AppointmentStatus | None = None
    practitioner: PractitionerId | None = None
    series: SeriesId | None = None
