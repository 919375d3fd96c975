"""Clinical notes."""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from clarity.domain.errors import Invalid
from clarity.domain.ids import NoteId, PatientId
from clarity.domain.records import Label, Notice


class NoteKind(StrEnum):
    """What a note is for."""

    PROGRESS = "progress"
    INTAKE = "intake"
    DISCHARGE = "discharge"
    PSYCHOTHERAPY = "psychotherapy"
    ADDENDUM = "addendum"


class NoteStatus(StrEnum):
    """Where a note stands: not finished by its author, not to be changed any more, or thrown away unsigned."""

    DRAFT = "draft"
    SIGNED = "signed"
    DELETED = "deleted"


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """A clinical note. Its body is Markdown."""

    id: NoteId
    patient: PatientId
    kind: NoteKind = field(repr=False)
    body: str = field(repr=False)
    author: UUID | None = None
    signed_at: datetime | None = field(default=None, repr=False)
    label: Label = field(default=Label.NORMAL, repr=False)
    notice: Notice | None = field(default=None, repr=False)
    version: int = 0

    def __post_init__(self) -> None:
        """Raise `Invalid` if the kind and the label do not belong together."""
        if (self.kind is NoteKind.PSYCHOTHERAPY) != (self.label is Label.PSYCHOTHERAPY):
            raise Invalid("label", "is psychotherapy for psychotherapy notes, and for no others")

    @property
    def status(self) -> NoteStatus:
        """Where the note stands."""
        return NoteStatus.DRAFT if self.signed_at is None else NoteStatus.SIGNED


@dataclass(frozen=True, slots=True, kw_only=True)
class NoteFilter:
    """The conditions on a note that stand outside the seal; `None` allows all."""

    status: NoteStatus | None = None
    addendum_to: NoteId | None = None
