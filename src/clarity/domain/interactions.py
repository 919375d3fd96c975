"""Contacts between patients and the system: messages, calls, what an app reports, what a twin was asked."""

from dataclasses import dataclass, field
from datetime import MAXYEAR, UTC, datetime
from enum import StrEnum
from typing import Final
from uuid import UUID

from clarity.domain.dates import CLOCKS_DIFFER, microseconds_of
from clarity.domain.errors import Invalid
from clarity.domain.ids import InteractionId, PatientId, PrescriptionId
from clarity.domain.records import Label, Notice
from clarity.domain.values import allow_text, require_text

MAX_PAYLOAD: Final = 16_000
"""How many characters what went over the channel may have: pages of some hundreds have to stay bearable."""

RECORDED: Final = "recorded"
"""The one status of a contact: nothing of it is ever changed."""

_FIRST_YEAR: Final = 1900


class Channel(StrEnum):
    """By what way a contact came about."""

    MESSAGE = "message"
    EMAIL = "email"
    SMS = "sms"
    CALL = "call"
    VIDEO = "video"
    APP_EVENT = "app-event"
    TWIN_QUERY = "twin-query"


class Direction(StrEnum):
    """From whom a contact came."""

    FROM_PATIENT = "from-patient"
    TO_PATIENT = "to-patient"


class DoseOutcome(StrEnum):
    """What became of a dose that was due."""

    TAKEN = "taken"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True, kw_only=True)
class Interaction:
    """One contact between a patient and the system. It is recorded once, and stays as it is.

    `occurred_at` has its offset from UTC. `payload` is what went over the channel, such as the text of a message or
    what an app sent. `prescription` is one of the patient's that it is about; with it, `dose` may say what became of a
    dose of it at that instant. `author` is the account that recorded it.
    """

    id: InteractionId
    patient: PatientId
    channel: Channel = field(repr=False)
    direction: Direction = field(repr=False)
    occurred_at: datetime = field(repr=False)
    summary: str = field(repr=False)
    payload: str = field(default="", repr=False)
    prescription: PrescriptionId | None = field(default=None, repr=False)
    dose: DoseOutcome | None = field(default=None, repr=False)
    author: UUID | None = None
    label: Label = field(default=Label.NORMAL, repr=False)
    notice: Notice | None = field(default=None, repr=False)
    version: int = 0

    def __post_init__(self) -> None:
        """Raise `Invalid` naming the first field that breaks a rule."""
        if self.occurred_at.tzinfo is None:
            raise Invalid("occurred_at", "must have its offset from UTC")
        if self.occurred_at.year < _FIRST_YEAR:
            raise Invalid("occurred_at", f"must not be before {_FIRST_YEAR}")
        require_text("summary", self.summary)
        allow_text("payload", self.payload, at_most=MAX_PAYLOAD)
        if self.dose is not None and self.prescription is None:
            raise Invalid("prescription", "name the prescription that the dose is of")
        if self.label is Label.PSYCHOTHERAPY:
            raise Invalid("label", "is psychotherapy for psychotherapy notes alone")

    @property
    def status(self) -> str:
        """Where it stands: recorded, for good."""
        return RECORDED

    def require_past(self, now: datetime) -> None:
        """Raise `Invalid` if it is said to be of an instant to come."""
        if self.occurred_at > now + CLOCKS_DIFFER:
            raise Invalid("occurred_at", "must not be in the future")


@dataclass(frozen=True, slots=True, kw_only=True)
class InteractionFilter:
    """The conditions on a contact that stand outside the seal: it has `first` as its id, or one made later."""

    first: UUID | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class InteractionQuery:
    """Which contacts are asked for: by one channel, of the time from `since` until before `until`, or of a dose."""

    channel: Channel | None = None
    since: datetime | None = None
    until: datetime | None = None
    doses_of: PrescriptionId | None = None

    def __post_init__(self) -> None:
        """Raise `Invalid` for a time that is none."""
        for name in ("since", "until"):
            at: datetime | None = getattr(self, name)
            if at is not None and (at.tzinfo is None or not _FIRST_YEAR <= at.year < MAXYEAR):
                raise Invalid(name, f"must be an instant from {_FIRST_YEAR} to {MAXYEAR} with its offset from UTC")
        if self.since is not None and self.until is not None and self.until <= self.since:
            raise Invalid("until", "must be later than since")

    def is_met_by(self, interaction: Interaction) -> bool:
        """Tell whether a contact is one of those asked for."""
        return (
            (self.channel is None or interaction.channel is self.channel)
            and (self.since is None or interaction.occurred_at >= self.since)
            and (self.until is None or interaction.occurred_at < self.until)
            and (self.doses_of is None or (interaction.dose is not None and interaction.prescription == self.doses_of))
        )

    @property
    def conditions(self) -> InteractionFilter:
        """What of it can be told unopened: what was recorded before it happened was not recorded."""
        return InteractionFilter(first=None if self.since is None else first_id_at(self.since - CLOCKS_DIFFER))

    @property
    def spelt(self) -> bytes:
        """This question in one spelling; empty for all."""
        times = (None if at is None else at.astimezone(UTC).isoformat() for at in (self.since, self.until))
        parts = (self.channel, *times, self.doses_of)
        return "|".join(str(part or "") for part in parts).encode() if any(parts) else b""


def first_id_at(instant: datetime) -> UUID:
    """Return the least id that is made at an instant: UUIDv7 begin with the milliseconds since 1970 (RFC 9562, 5.7)."""
    return UUID(int=max(0, microseconds_of(instant) // 1_000) << 80)
