"""Prescriptions: what somebody is to take, how, from when to when, and why not any longer."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from enum import StrEnum
from typing import Any, Final, Self
from uuid import UUID

from clarity.domain.dates import PartialDate
from clarity.domain.dosages import Dosage
from clarity.domain.errors import Conflict, Invalid
from clarity.domain.ids import PatientId, PractitionerId, PrescriptionId
from clarity.domain.people import Concept
from clarity.domain.records import Label, Notice
from clarity.domain.values import Confidential, allow_text, require_few, require_text, within

FIRST_YEAR: Final = 1900
_AHEAD: Final = timedelta(days=366)
"""How far ahead an order may begin, or a dosage of it: beyond a year it is a slip of the hand."""

MAX_OVERLAPS: Final = 100
"""How many pairs are told at most: whoever is told as many looks at the orders themselves."""

_RXNORM = re.compile(r"[0-9]{1,8}", re.ASCII)


class PrescriptionStatus(StrEnum):
    """Where a prescription stands. What was entered in error stays, and says so."""

    ACTIVE = "active"
    ON_HOLD = "on-hold"
    STOPPED = "stopped"
    COMPLETED = "completed"
    MISTAKEN = "mistaken"


class Activity(StrEnum):
    """Whether somebody was to take a medicine on a day: perhaps, where it is not known when they began or ended."""

    ACTIVE = "active"
    ON_HOLD = "on-hold"
    PERHAPS = "perhaps"
    NO = "no"


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Substance(Confidential):
    """An ingredient: its name, and its code in RxNorm (term type IN or PIN) if that is known."""

    name: str
    code: str = ""

    def __post_init__(self) -> None:
        """Raise `Invalid` naming the first field that breaks a rule."""
        require_text("name", self.name)
        _allow_code(self.code)


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Hold(Confidential):
    """A time in which a medicine was not to be taken: from the day `since`, until the day of `until` if it is over."""

    since: date
    until: date | None = None
    reason: str = ""

    def __post_init__(self) -> None:
        """Raise `Invalid` unless it is a time."""
        allow_text("reason", self.reason)
        if self.until is not None and self.until < self.since:
            raise Invalid("until", "must not be before since")

    def covers(self, day: date) -> bool:
        """Tell whether it holds on a day."""
        return self.since <= day and (self.until is None or day < self.until)


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class End(Confidential):
    """That a medicine is not to be taken any more, from the day `on`; `None` if that is not known.

    `known_on` is the day by which that was known: it is over then at the latest. `completed` tells that it was taken
    to its end, and not stopped before.
    """

    on: PartialDate | None
    known_on: date
    reason: str = ""
    completed: bool = False

    def __post_init__(self) -> None:
        """Raise `Invalid` if the reason is no text."""
        allow_text("reason", self.reason)


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class FormerDosage(Confidential):
    """How a medicine was to be taken before the day `until`."""

    dosage: Dosage
    until: date


@dataclass(frozen=True, slots=True, kw_only=True)
class Prescription:
    """That one patient is to take one medicine.

    `code` is that of the drug in RxNorm (digits), if it is known, and `name` how it was written. `ingredients` are the
    substances in it, several for a combination. It begins on `start`, which may be known to the year; `until` is the
    last day that was planned, if any. `holds` and `former` are in order of time. It is mistaken if `mistake` says why
    it should never have been entered. Who prescribed it is a practitioner here, or in `prescribed_by` a name; `sources`
    are the resources of other systems that it was imported from, and `coded` is what the drug is called there.
    """

    id: PrescriptionId
    patient: PatientId
    name: str = field(repr=False)
    start: PartialDate = field(repr=False)
    code: str = field(default="", repr=False)
    ingredients: tuple[Substance, ...] = field(default=(), repr=False)
    dosage: Dosage = field(default=Dosage(), repr=False)
    until: date | None = field(default=None, repr=False)
    indication: str = field(default="", repr=False)
    prescriber: PractitionerId | None = None
    prescribed_by: str = field(default="", repr=False)
    former: tuple[FormerDosage, ...] = field(default=(), repr=False)
    holds: tuple[Hold, ...] = field(default=(), repr=False)
    end: End | None = field(default=None, repr=False)
    mistake: str = field(default="", repr=False)
    coded: Concept | None = field(default=None, repr=False)
    sources: tuple[str, ...] = field(default=(), repr=False)
    source_digest: bytes = field(default=b"", repr=False)
    author: UUID | None = None
    label: Label = field(default=Label.NORMAL, repr=False)
    notice: Notice | None = field(default=None, repr=False)
    version: int = 0

    def __post_init__(self) -> None:
        """Raise `Invalid` naming the first field that breaks a rule."""
        require_text("name", self.name)
        _allow_code(self.code)
        require_few("ingredients", self.ingredients, at_most=20)
        for name in ("indication", "prescribed_by", "mistake"):
            allow_text(name, getattr(self, name))
        for name in ("former", "holds", "sources"):
            require_few(name, getattr(self, name))
        if self.start.year < FIRST_YEAR:
            raise Invalid("start", f"must not be before {FIRST_YEAR}")
        if self.until is not None and self.until < self.start.first:
            raise Invalid("until", "must not be before start")
        if self.end is not None and self.end.on is not None and self.end.on.last < self.start.first:
            raise Invalid("end.on", "must not be before start")
        if self.label is Label.PSYCHOTHERAPY:
            raise Invalid("label", "is psychotherapy for psychotherapy notes alone")

    @property
    def status(self) -> PrescriptionStatus:
        """Where it stands."""
        if self.mistake:
            return PrescriptionStatus.MISTAKEN
        if self.end is not None:
            return PrescriptionStatus.COMPLETED if self.end.completed else PrescriptionStatus.STOPPED
        return PrescriptionStatus.ON_HOLD if self._held else PrescriptionStatus.ACTIVE

    @property
    def _held(self) -> bool:
        return bool(self.holds) and self.holds[-1].until is None

    def activity_on(self, day: date) -> Activity:
        """Tell whether the patient was to take it on a day, by what is known now of when it began, paused and ended."""
        if self.mistake or day < self.start.first or (self.until is not None and day > self.until):
            return Activity.NO
        certain = self.start.last <= day
        if (end := self.end) is not None:
            last = end.known_on if end.on is None else end.on.last
            if day >= last:
                return Activity.NO
            certain = certain and end.on is not None and day < end.on.first
        if any(hold.covers(day) for hold in self.holds):
            return Activity.ON_HOLD
        return Activity.ACTIVE if certain else Activity.PERHAPS

    def dosage_on(self, day: date) -> Dosage:
        """Return how it was to be taken on a day."""
        return next((one.dosage for one in self.former if day < one.until), self.dosage)

    @property
    def last_day(self) -> date | None:
        """The last day that it may be taken; `None` if none is known."""
        days = [self.until] if self.until is not None else []
        if self.end is not None and self.end.on is not None:
            days.append(self.end.on.last - timedelta(days=1))
        return min(days, default=None)

    def require_order(self, today: date) -> None:
        """Raise `Invalid` naming what is missing, or too far ahead, for it to be an order that is given on a day."""
        with within("dosage"):
            self.dosage.require_complete()
        if self.start.first > today + _AHEAD:
            raise Invalid("start", "must not be more than a year ahead")
        if self.prescriber is None and not self.prescribed_by.strip():
            raise Invalid("prescribed_by", "say who prescribes it: this account is no practitioner's")

    def changed(self, content: dict[str, Any], *, since: date | None, today: date) -> Self:
        """Return it with other content, in which the drug is the same.

        With `since`, the dosage holds from that day, and the one before is kept as what held until then; without, it
        takes the place of what was wrong from the start. Raises `Conflict` if it has ended, and `Invalid` as `order`
        does, for another drug, or for a day that was not before.
        """
        self._require_standing()
        changed = replace(self, **content)
        if changed.code != self.code:
            raise Invalid("code", "is that of another drug; stop this prescription and prescribe the other")
        if not self.code and changed.name != self.name:
            raise Invalid("name", "is that of another drug; stop this prescription and prescribe the other")
        if since is not None:
            if since <= max([self.start.first, *(one.until for one in self.former)]):
                raise Invalid("since", "must be after start, and after the last change of the dosage")
            if since > today + _AHEAD:
                raise Invalid("since", "must not be more than a year ahead")
            changed = replace(changed, former=(*self.former, FormerDosage(dosage=self.dosage, until=since)))
        return changed

    def held(self, day: date, reason: str, today: date) -> Self:
        """Return it as not to be taken from a day on, for the time being. Raises `Conflict` if that is so already."""
        self._require_standing()
        if self._held:
            raise Conflict("the prescription is on hold already")
        require_text("reason", reason)
        self._require_within(day, today)
        if self.holds and day < (self.holds[-1].until or day):
            raise Invalid("day", "must not be before the end of the last hold")
        return replace(self, holds=(*self.holds, Hold(since=day, reason=reason)))

    def resumed(self, day: date, today: date) -> Self:
        """Return it as to be taken again from a day on. Raises `Conflict` if it is not on hold."""
        self._require_standing()
        if not self._held:
            raise Conflict("the prescription is not on hold")
        last = self.holds[-1]
        self._require_within(day, today)
        if day < last.since:
            raise Invalid("day", "must not be before the hold began")
        return replace(self, holds=(*self.holds[:-1], replace(last, until=day)))

    def stopped(self, day: date, reason: str, today: date, *, completed: bool = False) -> Self:
        """Return it as not to be taken any more from a day on. Raises `Conflict` if it has ended already."""
        self._require_standing()
        require_text("reason", reason)
        self._require_within(day, today)
        end = End(on=PartialDate.of(day), known_on=today, reason=reason, completed=completed)
        return replace(self, end=end)

    def marked_mistaken(self, why: str) -> Self:
        """Return it as entered in error. Raises `Conflict` if that was said before."""
        if self.mistake:
            raise Conflict("the prescription was marked as mistaken already")
        require_text("why", why)
        return replace(self, mistake=why)

    def _require_standing(self) -> None:
        if self.mistake:
            raise Conflict("the prescription was marked as mistaken; prescribe anew")
        if self.end is not None:
            raise Conflict("the prescription has ended; prescribe anew")

    def _require_within(self, day: date, today: date) -> None:
        if day < self.start.first:
            raise Invalid("day", "must not be before the prescription's start")
        if day > today:
            raise Invalid("day", "must not be in the future")


@dataclass(frozen=True, slots=True, kw_only=True)
class PrescriptionFilter:
    """The conditions on a prescription that stand outside the seal; `None` allows all."""

    status: PrescriptionStatus | None = None


class Likeness(StrEnum):
    """What two prescriptions have in common: the very drug, or a substance in it."""

    SAME_DRUG = "same-drug"
    SAME_SUBSTANCE = "same-substance"


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Overlap(Confidential):
    """That two prescriptions of one patient have a drug or substances in common, and days on which both hold.

    `since` is the first of these days and `until` the last, if there is one. What tells of a record under 42 CFR Part 2
    has its `notice`.
    """

    prescriptions: tuple[PrescriptionId, PrescriptionId]
    likeness: Likeness
    substances: tuple[str, ...]
    since: date
    until: date | None
    notice: Notice | None = None


def overlap_of(one: Prescription, other: Prescription) -> Overlap | None:
    """Return how two prescriptions overlap, if they do. One that ended on an unknown day overlaps with nothing."""
    if one.id == other.id or not all(_has_days(each) for each in (one, other)):
        return None
    since = max(one.start.first, other.start.first)
    until = min((each.last_day for each in (one, other) if each.last_day is not None), default=None)
    if until is not None and until < since:
        return None
    theirs = dict(_substances_of(other))
    shared = tuple(dict.fromkeys(name for key, name in _substances_of(one) if key in theirs))
    same = bool(one.code) and one.code == other.code
    if not shared and not same:
        return None
    return Overlap(
        prescriptions=(one.id, other.id),
        likeness=Likeness.SAME_DRUG if same else Likeness.SAME_SUBSTANCE,
        substances=shared,
        since=since,
        until=until,
        notice=one.notice or other.notice,
    )


def overlaps_among(prescriptions: tuple[Prescription, ...], *, at_most: int = MAX_OVERLAPS) -> tuple[Overlap, ...]:
    """Return which of some prescriptions overlap, each pair once, those of the first ones first; at most `at_most`."""
    found: list[Overlap] = []
    for place, one in enumerate(prescriptions):
        for other in prescriptions[place + 1 :]:
            if (overlap := overlap_of(one, other)) is not None:
                found.append(overlap)
            if len(found) == at_most:
                return tuple(found)
    return tuple(found)


def _has_days(one: Prescription) -> bool:
    return not one.mistake and (one.end is None or one.end.on is not None)


def _allow_code(code: str) -> None:
    if code and not _RXNORM.fullmatch(code):
        raise Invalid("code", "must be a code of RxNorm: at most 8 digits")


# A normalised name of RxNorm has for each ingredient its name and strength ("RxNorm Overview", National Library of
# Medicine): "Acetaminophen 325 MG / oxyCODONE Hydrochloride 5 MG Oral Tablet", perhaps with an amount of the product or
# how long it lasts in front, and a brand in brackets behind.
_BRAND = re.compile(r"\s*\[[^\]]*\]")
_IN_FRONT = re.compile(r"\A(?:abuse-deterrent\s+|[\d.]+\s*(?:hr|ml|actuat|mg|unt)\s+)+", re.IGNORECASE)
_OF_STRENGTH = re.compile(r"(?P<name>\D.*?)\s+[\d.,]+\s*(?:mg|mcg|ug|g|unt|meq|mmol|ml|iu|%)(?![a-z])", re.IGNORECASE)
_SALT = re.compile(
    "acetate|aspartate|besylate|bitartrate|bromide|calcium|carbonate|chloride|citrate|dihydrate|dihydrochloride"
    "|dimesylate|disodium|embonate|fumarate|gluconate|hydrobromide|hydrochloride|hyclate|lactate|magnesium|maleate"
    "|medoxomil|mesylate|monohydrate|nitrate|oxalate|pamoate|phosphate|potassium|propionate|saccharate|sodium"
    "|succinate|sulfate|tartrate|trihydrate"
)


def _substances_of(prescription: Prescription) -> Iterator[tuple[str, str]]:
    """Yield keys by which substances are the same, each with a name; those in the drug's name if none are given."""
    for substance in prescription.ingredients:
        if substance.code:
            yield substance.code, substance.name
        yield _without_salt(substance.name), substance.name
    if not prescription.ingredients:
        for name in substances_in(prescription.name):
            yield name, name


def substances_in(name: str) -> tuple[str, ...]:
    """Return the substances that a name of RxNorm tells, without their salts; none if it is no such name."""
    parts = _IN_FRONT.sub("", _BRAND.sub("", name)).split(" / ")
    matches = [_OF_STRENGTH.match(part) for part in parts]
    return tuple(dict.fromkeys(_without_salt(match["name"]) for match in matches if match))


def _without_salt(name: str) -> str:
    words = name.casefold().split()
    while len(words) > 1 and _SALT.fullmatch(words[-1]):
        words.pop()
    return " ".join(words)
