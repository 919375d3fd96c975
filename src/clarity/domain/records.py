"""What every stored record has in common: its kind, its label, and what may be known before it is opened."""

from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from uuid import UUID

from clarity.domain.ids import PatientId, PractitionerId


class Resource(IntEnum):
    """The kinds of things that access is decided for. The numbers are permanent: audit events hold them."""

    PATIENT = 1
    PRACTITIONER = 2
    ACCOUNT = 3
    SESSION = 4
    CONSENT = 5
    BREAK_GLASS = 6
    CREDENTIAL = 7
    DUPLICATE = 8
    RESEARCH_SUBJECT = 9
    MESSAGE = 10
    AUDIT_EVENT = 11
    DISCLOSURE = 12
    APPOINTMENT = 13
    NOTE = 14
    PRESCRIPTION = 15
    INTERACTION = 16
    SCHEDULE = 17

    @property
    def title(self) -> str:
        """The kind as it is written: "break glass"."""
        return self.name.lower().replace("_", " ")


DRAFT = "draft"
"""The status of a record that its author has not finished: for everybody else there is none."""

TOMBSTONE = "deleted"
"""The status of a record of any kind that was taken away. Its row and its history stay."""


class Label(StrEnum):
    """How confidential a record is beyond the ordinary."""

    NORMAL = "normal"
    RESTRICTED = "restricted"
    PSYCHOTHERAPY = "psychotherapy"
    PART2 = "part2"


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What the policy may know of a record before it is opened; all of it stands outside the seal.

    `guarded` says that the label is not normal, without saying which it is: the record's own, or that of the patient
    whose it is. `emergencies` are the accounts that broke the glass for the patient, as long as that holds.
    `participants` are practitioners whom the record itself is about, such as those of an appointment. Of a `draft`,
    nobody knows but its author. `person` is whose record it is where another one's was merged into theirs.
    """

    care_team: frozenset[PractitionerId] = frozenset()
    author: UUID | None = None
    guarded: bool = False
    deleted: bool = False
    emergencies: frozenset[UUID] = frozenset()
    participants: frozenset[PractitionerId] = frozenset()
    draft: bool = False
    person: PatientId | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """What goes with a record under 42 CFR Part 2 wherever it is shown (42 CFR 2.32).

    `text` is the statement, and `consent` the consent that the record is shown under, with its scope in words; there is
    none for its author, and in an emergency.
    """

    text: str
    consent: UUID | None = None
    scope: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sealed:
    """A record as it was fetched: still closed. `standing` is `None` if there is no such record.

    An absent record is fetched as an empty one, so that absence and refusal take the same path.
    """

    resource: Resource
    id: UUID
    patient: PatientId
    standing: Standing | None = None
    version: int = 0
