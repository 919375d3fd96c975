"""Duplicates: pairs of patients who may be one person, how they compare, and what a merge of them moves."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields, replace
from datetime import datetime
from enum import StrEnum
from typing import Any, Final, Self
from uuid import UUID

from clarity.domain.dates import PartialDate
from clarity.domain.errors import Conflict, Invalid, NotFound
from clarity.domain.identifiers import Identifier, IdentifierKind, IdentifierUse, IndexKind, IndexTerm, as_compared
from clarity.domain.ids import AccountId, DuplicateId, PatientId, PractitionerId
from clarity.domain.names import HumanName, NameUse, fold
from clarity.domain.patients import FIELD_BITS, Death, LegalHold, Patient, PatientField
from clarity.domain.people import (
    Address,
    BirthSex,
    Category,
    Concept,
    EmergencyContact,
    Gender,
    Insurance,
    Language,
    Telecom,
    TelecomSystem,
)
from clarity.domain.records import Label
from clarity.domain.values import Confidential, allow_text

WATCHED: Final = frozenset({IndexKind.SSN, IndexKind.EMAIL, IndexKind.PHONE})
"""What two people seldom share: by these, two records are found to be perhaps of one person."""

MOST_SHARING: Final = 10
"""A value that more patients than this have besides is a switchboard or a placeholder, and says nothing of anybody."""

# Part 2 asks for a consent where `restricted` asks for a tie.
_STRICTNESS = (Label.NORMAL, Label.RESTRICTED, Label.PART2)
# Does not say of what: whoever merges may not see it.
_TOO_MUCH = "together, the two records hold more than one record may"
_NOT_CALLED_BY = (NameUse.OLD, NameUse.MAIDEN)
_REACHED_BY_PHONE = (TelecomSystem.PHONE, TelecomSystem.SMS, TelecomSystem.FAX)


class DuplicateStatus(StrEnum):
    """What became of a review."""

    OPEN = "open"
    DISTINCT = "distinct"
    MERGED = "merged"


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Moved(Confidential):
    """What a merge added to the survivor, in the survivor's own fields: taking back takes back this and no more.

    `label` is the one that the merge made the record's, if it is stricter than `own_label`; `notes` is what was put
    behind theirs. `version` is the one that the merge wrote.
    """

    names: tuple[HumanName, ...] = ()
    identifiers: tuple[Identifier, ...] = ()
    telecoms: tuple[Telecom, ...] = ()
    addresses: tuple[Address, ...] = ()
    languages: tuple[Language, ...] = ()
    contacts: tuple[EmergencyContact, ...] = ()
    insurances: tuple[Insurance, ...] = ()
    gender: Gender | None = None
    birth_sex: BirthSex | None = None
    marital_status: Concept | None = None
    death: Death | None = None
    race: Category | None = None
    ethnicity: Category | None = None
    mothers_maiden_name: str | None = None
    birth_place: Address | None = None
    multiple_birth: bool | int | None = None
    legal_hold: LegalHold | None = None
    care_team: tuple[PractitionerId, ...] = ()
    notes: str = ""
    label: Label | None = None
    own_label: Label | None = None
    version: int = 0

    def added_to(self, survivor: Patient) -> Patient:
        """Return `survivor` with all of this. Raises `Conflict` if that is more than one record may hold."""
        gained: dict[str, Any] = {name: (*getattr(survivor, name), *getattr(self, name)) for name in _LISTS}
        gained |= {name: value for name in _SINGLE if (value := getattr(self, name)) is not None}
        gained["care_team"] = survivor.care_team | frozenset(self.care_team)
        gained["notes"] = survivor.notes + self.notes
        gained["label"] = self.label or survivor.label
        try:
            return replace(survivor, **gained)
        except Invalid:
            raise Conflict(_TOO_MUCH) from None

    def taken_from(self, survivor: Patient) -> Patient:
        """Return `survivor` without what is still there of this. What was changed since the merge stays.

        The label is made less strict again only if nothing was written since: what was, was written under it.
        """
        left: dict[str, Any] = {name: _without(getattr(survivor, name), getattr(self, name)) for name in _LISTS}
        for name in _SINGLE:
            value = getattr(self, name)
            if value is not None and _same(getattr(survivor, name), value):
                left[name] = _BLANK[name]
        left["care_team"] = survivor.care_team - frozenset(self.care_team)
        left["notes"] = _cut(survivor.notes, self.notes)
        if self.own_label is not None and survivor.version == self.version:
            left["label"] = self.own_label
        if not left["names"]:
            del left["names"]  # a record without a name belongs to nobody
        return replace(survivor, **left)

    def kept_in(self, imported: Patient, stored: Patient) -> Patient:
        """Return `imported` with what is still in `stored` of this: its source knows nothing of the merge."""
        kept: dict[str, Any] = {}
        for name in _LISTS:
            present, now = getattr(stored, name), getattr(imported, name)
            missing = tuple(item for item in getattr(self, name) if item in present and item not in now)
            if missing:
                kept[name] = (*now, *missing)
        for name in _SINGLE:
            value = getattr(self, name)
            if value is not None and getattr(imported, name) == _BLANK[name] and getattr(stored, name) == value:
                kept[name] = value
        return replace(imported, **kept) if kept else imported

    def only(self, shown: PatientField) -> Self:
        """Return this with the fields outside `shown` blank."""
        hidden = (item for item in fields(self) if item.name in FIELD_BITS and FIELD_BITS[item.name] not in shown)
        blank: dict[str, Any] = {item.name: item.default for item in hidden}
        return replace(self, **blank)

    @property
    def filled(self) -> PatientField:
        """The fields of the survivor that the merge added to."""
        filled = PatientField(0)
        for item in fields(self):
            if item.name in FIELD_BITS and getattr(self, item.name) not in {None, (), ""}:
                filled |= FIELD_BITS[item.name]
        return filled


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Merge(Confidential):
    """A merge that stands: which record survived, what it gained, and the portal accounts that went along."""

    survivor: PatientId
    moved: Moved
    accounts: tuple[AccountId, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Duplicate(Confidential):
    """Two patients who may be one person, of whom `patient` has the smaller id.

    `kinds` are those in which they ever collided. `note`, `decided_at` and `decided_by` are of the last decision.
    """

    id: DuplicateId
    patient: PatientId
    other: PatientId
    kinds: tuple[IndexKind, ...]
    opened_at: datetime
    status: DuplicateStatus = DuplicateStatus.OPEN
    note: str = ""
    decided_at: datetime | None = None
    decided_by: UUID | None = None
    merge: Merge | None = None
    version: int = 0

    def __post_init__(self) -> None:
        """Raise `Invalid` if the note is too long."""
        allow_text("note", self.note)

    def collided(self, kinds: Iterable[IndexKind], at: datetime) -> Self:
        """Return this review after the two collided; what was found distinct opens again only for another kind."""
        new = set(kinds) - set(self.kinds)
        if not new or self.status is DuplicateStatus.MERGED:
            return self
        opened_at = at if self.status is DuplicateStatus.DISTINCT else self.opened_at
        kinds = tuple(sorted({*self.kinds, *new}))
        return replace(self, kinds=kinds, status=DuplicateStatus.OPEN, opened_at=opened_at)

    def distinguish(self, note: str, at: datetime, by: UUID) -> Self:
        """Return this review as decided: two people. Raises `Conflict` unless it is open."""
        self._require_open()
        return replace(self, status=DuplicateStatus.DISTINCT, note=note, decided_at=at, decided_by=by)

    def merged_away(self, survivor: PatientId) -> PatientId:
        """Return whose record ends if `survivor`'s is to stay.

        Raises `Conflict` unless the review is open, `Invalid` if `survivor` is neither of the two.
        """
        self._require_open()
        if survivor not in {self.patient, self.other}:
            raise Invalid("survivor", "must be one of the two patients")
        return self.other if survivor == self.patient else self.patient

    def merged(self, merge: Merge, note: str, at: datetime, by: UUID) -> Self:
        """Return this review as decided: one person, whose records were merged."""
        return replace(self, status=DuplicateStatus.MERGED, merge=merge, note=note, decided_at=at, decided_by=by)

    def standing_merge(self) -> tuple[Merge, PatientId]:
        """Return the merge with the patient whose record ended in it. Raises `Conflict` if there is none."""
        if self.status is not DuplicateStatus.MERGED or self.merge is None:
            raise Conflict("the two records are not merged")
        survivor = self.merge.survivor
        return self.merge, self.other if survivor == self.patient else self.patient

    def only(self, shown: PatientField) -> Self:
        """Return this review with the fields of patients outside `shown` blank, also in what a merge moved."""
        if self.merge is None:
            return self
        return replace(self, merge=replace(self.merge, moved=self.merge.moved.only(shown)))

    def unmerged(self, note: str, at: datetime, by: UUID) -> Self:
        """Return this review as open again."""
        return replace(self, status=DuplicateStatus.OPEN, merge=None, note=note, decided_at=at, decided_by=by)

    def _require_open(self) -> None:
        if self.status is DuplicateStatus.MERGED:
            raise Conflict("the two records are merged already")
        if self.status is not DuplicateStatus.OPEN:
            raise Conflict("the two were found to be distinct already")


def in_order(one: PatientId, other: PatientId) -> tuple[PatientId, PatientId]:
    """Return the two as a review names them, so that each pair exists once."""
    return (one, other) if one < other else (other, one)


def watched(terms: Iterable[IndexTerm]) -> frozenset[IndexTerm]:
    """Return those of `terms` that people seldom share."""
    return frozenset(term for term in terms if term.kind in WATCHED)


def moving(survivor: Patient, duplicate: Patient, at: datetime) -> Moved:
    """Return what `survivor` lacks and `duplicate` has: what a merge adds to them, at an instant.

    Names come as old ones, and so does a medical record number where the assigner gave the survivor another. Born,
    discharge and sources are never moved. Raises `Conflict` if both are under a legal hold: with the one that the
    outcome could have, the other would be released.
    """
    if survivor.legal_hold is not None and duplicate.legal_hold is not None:
        raise Conflict(_TOO_MUCH)
    lists: dict[str, Any] = {
        name: tuple(prepared(item) for item in _lacking(getattr(survivor, name), getattr(duplicate, name), key))
        for name, (key, prepared) in _moved_as(survivor).items()
    }
    single: dict[str, Any] = {
        name: value
        for name in _SINGLE
        if getattr(survivor, name) == _BLANK[name] and not _same(value := getattr(duplicate, name), _BLANK[name])
    }
    label = max(survivor.label, duplicate.label, key=_STRICTNESS.index)
    stricter = label is not survivor.label
    return Moved(
        **lists,
        **single,
        care_team=tuple(sorted(duplicate.care_team - survivor.care_team)),
        notes=f"\n\n[From the merged record {duplicate.id}, {at.date()}]\n{duplicate.notes}" if duplicate.notes else "",
        label=label if stricter else None,
        own_label=survivor.label if stricter else None,
    )


class Likeness(StrEnum):
    """How a field of two records compares."""

    EQUAL = "equal"
    SIMILAR = "similar"
    DIFFERENT = "different"
    ONE_SIDED = "one-sided"


@dataclass(frozen=True, slots=True)
class Compared:
    """One field of two records."""

    field: PatientField
    likeness: Likeness


def compare(one: Patient, other: Patient) -> tuple[Compared, ...]:
    """Return how two records compare, in the order of their fields, leaving out what both leave blank.

    Lists are equal if they say the same in any order, and similar if they have anything in common.
    """
    found = []
    for name in _COMPARED:
        bit, key = FIELD_BITS[name], _KEYS.get(name, _itself)
        mine, theirs = _said(getattr(one, name), key), _said(getattr(other, name), key)
        if not mine and not theirs:
            continue
        if not mine or not theirs:
            likeness = Likeness.ONE_SIDED
        elif mine == theirs:
            likeness = Likeness.EQUAL
        elif mine & theirs or _overlap(getattr(one, name), getattr(other, name)):
            likeness = Likeness.SIMILAR
        else:
            likeness = Likeness.DIFFERENT
        found.append(Compared(bit, likeness))
    return tuple(found)


def require_latest(merge: Merge, others: Iterable[Merge]) -> None:
    """Raise `Conflict` if one of `others` was merged into the same survivor later: it built on what this one left."""
    for other in others:
        if other.survivor == merge.survivor and other.moved.version > merge.moved.version:
            raise Conflict("another record was merged into the same one since: take that merge back first")


def require_merged(removed: Patient, survivor: PatientId) -> None:
    """Raise `NotFound` unless a record was taken away because it was merged into the survivor's."""
    if removed.removal is None or removed.removal.merged_into != survivor:
        raise NotFound


def _moved_as(survivor: Patient) -> dict[str, tuple[Callable[[Any], object], Callable[[Any], object]]]:
    assigners = {mrn.system for mrn in survivor.mrns}

    def prepared(identifier: Identifier) -> Identifier:
        doubled = identifier.kind is IdentifierKind.MRN and identifier.system in assigners
        return replace(identifier, use=IdentifierUse.OLD) if doubled else identifier

    keep = {name: (_KEYS.get(name, _itself), _itself) for name in _LISTS}
    return keep | {"names": (_name_key, _as_old_name), "identifiers": (_identifier_key, prepared)}


def _lacking(mine: tuple[Any, ...], theirs: tuple[Any, ...], key: Callable[[Any], object]) -> list[Any]:
    known, found = {key(item) for item in mine}, []
    for item in theirs:
        if key(item) not in known:
            known.add(key(item))
            found.append(item)
    return found


def _as_old_name(name: HumanName) -> HumanName:
    return name if name.use in _NOT_CALLED_BY else replace(name, use=NameUse.OLD)


def _itself(item: object) -> object:
    return item


def _name_key(name: HumanName) -> object:
    return (fold(name.family), tuple(map(fold, name.given)), tuple(map(fold, name.suffix)))


def _identifier_key(identifier: Identifier) -> object:
    return (identifier.kind, identifier.system, as_compared(identifier.value))


def _telecom_key(telecom: Telecom) -> object:
    if telecom.system in _REACHED_BY_PHONE:
        digits = "".join(character for character in telecom.value if character.isdigit())
        return (telecom.system, digits or telecom.value)
    return (telecom.system, telecom.value.strip().casefold())


def _language_key(language: Language) -> object:
    return language.language


def _text_key(text: str) -> object:
    return fold(text)


def _said(value: object, key: Callable[[Any], object]) -> frozenset[object]:
    """Return what a field says, as a set; empty if it is blank."""
    if isinstance(value, tuple | frozenset):
        return frozenset(key(item) for item in value)
    if value in (None, "", Gender.UNKNOWN):
        return frozenset()
    return frozenset({(type(value), key(value))})


def _overlap(one: object, other: object) -> bool:
    """Tell whether two dates that are not equal may still mean one day."""
    if not isinstance(one, PartialDate) or not isinstance(other, PartialDate):
        return False
    return one.first <= other.last and other.first <= one.last


def _same(one: object, other: object) -> bool:
    # `True` equals 1, but being one of several is not being the first of them.
    return one == other and type(one) is type(other)


def _without(items: tuple[Any, ...], gone: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return `items` without one of each of `gone`, the last that there is."""
    left = list(reversed(items))
    for item in gone:
        if item in left:
            left.remove(item)
    return tuple(reversed(left))


def _cut(text: str, part: str) -> str:
    before, found, after = text.rpartition(part) if part else (text, "", "")
    return before + after if found or not part else text


_LISTS = ("names", "identifiers", "telecoms", "addresses", "languages", "contacts", "insurances")
_BLANK: dict[str, Any] = {
    "gender": Gender.UNKNOWN,
    "birth_sex": None,
    "marital_status": None,
    "death": None,
    "race": None,
    "ethnicity": None,
    "mothers_maiden_name": "",
    "birth_place": None,
    "multiple_birth": None,
    "legal_hold": None,
}
_SINGLE = tuple(_BLANK)
_KEYS: dict[str, Callable[[Any], object]] = {
    "names": _name_key,
    "identifiers": _identifier_key,
    "telecoms": _telecom_key,
    "languages": _language_key,
    "mothers_maiden_name": _text_key,
}
_COMPARED = (
    "names",
    "born",
    "gender",
    "identifiers",
    "telecoms",
    "addresses",
    "birth_sex",
    "marital_status",
    "languages",
    "death",
    "race",
    "ethnicity",
    "mothers_maiden_name",
    "birth_place",
    "multiple_birth",
    "contacts",
    "insurances",
    "care_team",
)
