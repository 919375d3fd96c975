"""Clinical notes: drafted, signed, and from then on only added to."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import Any, Final, Self
from uuid import UUID

from clarity.domain.amendments import Amendment, AmendmentStatus
from clarity.domain.dates import CLOCKS_DIFFER, PartialDate
from clarity.domain.errors import Conflict, Invalid, NotFound
from clarity.domain.ids import AmendmentId, NoteId, PatientId
from clarity.domain.people import Concept
from clarity.domain.records import DRAFT, TOMBSTONE, Label, Notice
from clarity.domain.values import MAX_TEXT, Confidential, allow_text, allow_texts, require_few, require_text

MAX_BODY_BYTES: Final = 1_000_000
"""How long a body may be, in bytes of UTF-8: some 150,000 words, more than any visit gives occasion to write."""

MAX_TITLE: Final = 200
MOST_AMENDMENTS: Final = 20
MOST_COSIGNATURES: Final = 20

_FIRST_YEAR: Final = 1900
_MINUTE = timedelta(minutes=1)


class NoteKind(StrEnum):
    """What a note is for. Psychotherapy notes are those of 45 CFR 164.501, kept apart from the rest of the record."""

    PROGRESS = "progress"
    INTAKE = "intake"
    DISCHARGE = "discharge"
    PSYCHOTHERAPY = "psychotherapy"
    ADDENDUM = "addendum"


class NoteStatus(StrEnum):
    """Where a note stands: not finished by its author, not to be changed any more, or thrown away unsigned."""

    DRAFT = DRAFT
    SIGNED = "signed"
    DELETED = TOMBSTONE


_AS_STRICT: Mapping[Label, frozenset[Label]] = {
    Label.NORMAL: frozenset({Label.NORMAL, Label.RESTRICTED, Label.PART2}),
    Label.RESTRICTED: frozenset({Label.RESTRICTED, Label.PART2}),
    Label.PART2: frozenset({Label.PART2}),
    Label.PSYCHOTHERAPY: frozenset({Label.PSYCHOTHERAPY}),
}
"""By the label of a note, those that an addendum to it may have: an addendum tells of what it adds to."""


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Cosignature(Confidential):
    """That an account other than the author's signed a note too."""

    by: UUID
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class NoteContent(Confidential):
    """What an author says of a note. Without a label it has the one that its kind, or what it adds to, wants."""

    kind: NoteKind
    title: str = ""
    body: str = ""
    about: datetime | None = None
    encounter: str = ""
    label: Label | None = None
    addendum_to: NoteId | None = None

    def fields_beside(self, original: "Note | None") -> dict[str, Any]:
        """Return the fields of the note that it makes, which adds to `original` if that was found."""
        label = self.label
        if label is None and self.kind is NoteKind.PSYCHOTHERAPY:
            label = Label.PSYCHOTHERAPY
        elif label is None:
            label = Label.NORMAL if original is None else original.label
        return {item.name: getattr(self, item.name) for item in fields(self)} | {"label": label}


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Note(Confidential):
    """A clinical note. Its body is Markdown; `about` is when what it tells of took place.

    `author` is the account that drafted it. One that was imported names in `written_by` who wrote it, who may have no
    account, in `sources` where it came from, and in `source_type` what it is called there; its `about_day` is when what
    it tells of took place, if no time of day is known. `addendum_to` is the note that it adds to.
    """

    id: NoteId
    patient: PatientId
    kind: NoteKind
    title: str = ""
    body: str = ""
    about: datetime | None = None
    about_day: PartialDate | None = None
    encounter: str = ""
    addendum_to: NoteId | None = None
    author: UUID | None = None
    written_by: str = ""
    sources: tuple[str, ...] = ()
    source_type: Concept | None = None
    source_digest: bytes = b""
    signed_at: datetime | None = None
    cosignatures: tuple[Cosignature, ...] = ()
    amendments: tuple[Amendment, ...] = ()
    deleted_at: datetime | None = None
    label: Label = Label.NORMAL
    notice: Notice | None = None
    version: int = 0

    def __post_init__(self) -> None:
        """Raise `Invalid` naming the first field that breaks a rule."""
        if (self.kind is NoteKind.ADDENDUM) != (self.addendum_to is not None):
            raise Invalid("addendum_to", "is the note that an addendum adds to; no other kind of note has it")
        if self.addendum_to == self.id:
            raise Invalid("addendum_to", _NOT_ITSELF)
        if self.kind is not NoteKind.ADDENDUM and (self.kind is NoteKind.PSYCHOTHERAPY) != self.is_psychotherapy:
            raise Invalid("label", "is psychotherapy for psychotherapy notes, and for no others")
        self._check_texts()
        if self.about is not None:
            _require_instant("about", self.about)
        require_few("cosignatures", self.cosignatures, at_most=MOST_COSIGNATURES)
        require_few("amendments", self.amendments, at_most=MOST_AMENDMENTS)

    def _check_texts(self) -> None:
        _allow_line("title", self.title, at_most=MAX_TITLE)
        _allow_line("written_by", self.written_by)
        allow_text("encounter", self.encounter)
        require_few("sources", self.sources)
        allow_texts("sources", self.sources)
        # A character takes at most four bytes.
        if 4 * len(self.body) > MAX_BODY_BYTES and _bytes_of(self.body) > MAX_BODY_BYTES:
            raise Invalid("body", f"must be at most {MAX_BODY_BYTES:,} bytes as UTF-8")
        allow_text("body", self.body, at_most=MAX_BODY_BYTES)

    @property
    def status(self) -> NoteStatus:
        """Where the note stands."""
        if self.deleted_at is not None:
            return NoteStatus.DELETED
        return NoteStatus.DRAFT if self.signed_at is None else NoteStatus.SIGNED

    @property
    def is_psychotherapy(self) -> bool:
        """Whether it is kept apart as a psychotherapy note (45 CFR 164.501), or adds to one that is."""
        return self.label is Label.PSYCHOTHERAPY

    @property
    def due_on(self) -> date | None:
        """By when the first of the open requests for amendment has to be decided; `None` if there is none."""
        return min((one.due_on for one in self.open_amendments), default=None)

    @property
    def open_amendments(self) -> tuple[Amendment, ...]:
        """The requests for amendment that were not decided."""
        return tuple(one for one in self.amendments if one.status is AmendmentStatus.OPEN)

    def require_adds_to(self, original: "Note | None") -> None:
        """Raise `Invalid` unless this is no addendum, or `original` is the note that it may add to.

        `original` is `None` if its author sees no such note of this patient.
        """
        if self.addendum_to is None:
            return
        if original is None or original.status is not NoteStatus.SIGNED:
            raise Invalid("addendum_to", "must be another note of this patient that you see, and that is signed")
        if original.addendum_to == self.id:
            raise Invalid("addendum_to", _NOT_ITSELF)
        if self.label not in _AS_STRICT[original.label]:
            allowed = ", ".join(sorted(_AS_STRICT[original.label]))
            raise Invalid("label", f"must be as strict as that of the note it adds to: one of {allowed}")

    def edited(self, content: Mapping[str, Any]) -> Self:
        """Return this draft with other content. Raises `Conflict` if it is none any more."""
        self._require_draft()
        return replace(self, **content)

    def deleted(self, at: datetime) -> Self:
        """Return this draft as thrown away. Raises `Conflict` if it is none any more."""
        self._require_draft()
        return replace(self, deleted_at=at)

    def signed(self, at: datetime) -> Self:
        """Return this draft as signed. Raises `Conflict` if it was before, and `Invalid` if it is not fit to be."""
        self._require_draft()
        require_text("body", self.body, at_most=MAX_BODY_BYTES)
        if self.about is not None and self.about > at + CLOCKS_DIFFER:
            raise Invalid("about", "must not be in the future when the note is signed")
        return replace(self, signed_at=at)

    def cosigned(self, by: UUID, at: datetime) -> Self:
        """Return this note with one more signature.

        Raises `Conflict` unless it is signed, by somebody else, and `by` did not co-sign it before.
        """
        self._require_signed()
        if by == self.author:
            raise Conflict("cosignatures: a note is co-signed by somebody other than its author")
        if any(one.by == by for one in self.cosignatures):
            raise Conflict("cosignatures: you co-signed this note before")
        return replace(self, cosignatures=(*self.cosignatures, Cosignature(by=by, at=at)))

    def with_request(self, request: Amendment) -> Self:
        """Return this note with one more request for amendment. Raises `Conflict` unless it is signed."""
        self._require_signed()
        return replace(self, amendments=(*self.amendments, request))

    def with_amendment(self, amendment: AmendmentId, act: Callable[[Amendment], Amendment]) -> Self:
        """Return this note with what `act` makes of one request. Raises `NotFound` if it is not of this note."""
        if all(one.id != amendment for one in self.amendments):
            raise NotFound
        return replace(self, amendments=tuple(act(one) if one.id == amendment else one for one in self.amendments))

    def require_follows(self, before: "Note") -> None:
        """Raise `Conflict` unless this may be stored in the place of `before`.

        Of a signed note nothing changes but that signatures and requests for amendment are added, and that more is
        said of these; of a deleted one nothing at all.
        """
        fixed = _FIXED if before.status is NoteStatus.DRAFT else _FIXED_ONCE_SIGNED
        for name in fixed:
            if getattr(self, name) != getattr(before, name):
                raise Conflict(f"{name}: {_SIGNED}")
        if before.status is NoteStatus.DELETED:
            raise Conflict("status: the note was deleted")
        self._require_added_to(before)

    def require_corrects(self, before: "Note") -> None:
        """Raise `Conflict` unless this is what the source of the imported `before` says of it now.

        What was written here follows nobody. Signatures and requests that were added here stay.
        """
        if not before.sources or any(getattr(self, name) != getattr(before, name) for name in _OF_THE_SOURCE):
            raise Conflict("sources: a note follows the source that it was imported from, and no other")
        self._require_added_to(before)

    def _require_added_to(self, before: "Note") -> None:
        if self.cosignatures[: len(before.cosignatures)] != before.cosignatures:
            raise Conflict(f"cosignatures: {_SIGNED}")
        if len(self.amendments) < len(before.amendments) or not all(
            now.continues(was) for was, now in zip(before.amendments, self.amendments, strict=False)
        ):
            raise Conflict("amendments: what was said of a request stays")

    def _require_draft(self) -> None:
        if self.status is not NoteStatus.DRAFT:
            raise Conflict(f"status: {_SIGNED}")

    def _require_signed(self) -> None:
        if self.status is not NoteStatus.SIGNED:
            raise Conflict("status: the note is a draft; sign it first")


@dataclass(frozen=True, slots=True, kw_only=True)
class NoteFilter:
    """The conditions on a note that stand outside the seal; `None` allows all."""

    status: NoteStatus | None = None
    addendum_to: NoteId | None = None

    def met_by(self, note: Note) -> bool:
        """Tell whether a note meets them."""
        return (self.status is None or note.status is self.status) and (
            self.addendum_to is None or note.addendum_to == self.addendum_to
        )


_SIGNED = "the note is signed, and is not changed any more; write an addendum to it"
_NOT_ITSELF = "must not be the note itself, or one that adds to it"
_FIXED = ("id", "patient", "author", "written_by", "sources")
_OF_THE_SOURCE = ("id", "patient", "author", "sources")
_ADDED_TO = frozenset({"cosignatures", "amendments", "notice", "version"})
_FIXED_ONCE_SIGNED = tuple(item.name for item in fields(Note) if item.name not in _ADDED_TO)


def _allow_line(field: str, text: str, *, at_most: int = MAX_TEXT) -> None:
    """Raise `Invalid` unless `text` is at most one line."""
    allow_text(field, text, at_most=at_most)
    if "\t" in text or len(text.splitlines()) > 1 or text.endswith(("\n", "\r")):
        raise Invalid(field, "must be one line, without tabs")


def _bytes_of(text: str) -> int:
    return len(text.encode(errors="surrogatepass"))


def _require_instant(field: str, instant: datetime) -> None:
    """Raise `Invalid` unless an instant has an offset from UTC that FHIR can say (FHIR R4, 2.24.0.1)."""
    offset = instant.utcoffset()
    if offset is None or offset % _MINUTE:
        raise Invalid(field, "must have an offset from UTC, in whole minutes")
    if instant.year < _FIRST_YEAR:
        raise Invalid(field, f"must not be before {_FIRST_YEAR}")
