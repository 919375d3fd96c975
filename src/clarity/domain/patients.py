"""Patients: the person, what is known about them, and how a search describes them."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, dataclass, field, fields, replace
from datetime import date, datetime, timedelta
from enum import IntFlag, StrEnum
from functools import lru_cache
from typing import Any, Self
from uuid import UUID

from clarity.domain.dates import PartialDate, latest_day, microseconds_of, years_between
from clarity.domain.errors import Conflict, Invalid
from clarity.domain.identifiers import Identifier, IdentifierKind, IndexKind, IndexTerm, as_compared
from clarity.domain.ids import PatientId, PractitionerId
from clarity.domain.names import HumanName, NameUse, fragments_of
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
from clarity.domain.records import TOMBSTONE, Label, Notice
from clarity.domain.values import MAX_INTEGER, Confidential, allow_text, require_few, require_text

MAX_NOTES = 100_000
_INDEXED_TELECOMS = {
    TelecomSystem.EMAIL: IndexKind.EMAIL,
    TelecomSystem.PHONE: IndexKind.PHONE,
    TelecomSystem.SMS: IndexKind.PHONE,
}
_SEVERAL = ("names", "identifiers", "telecoms", "addresses", "languages", "contacts", "insurances", "sources")
_LEAST_CALLED_BY = (NameUse.OLD, NameUse.MAIDEN)
_NO_OFFSET = timedelta(0)
_MINUTE = timedelta(minutes=1)


class PatientStatus(StrEnum):
    """Where the patient stands with the practice. It follows from the record and is never set by itself."""

    ACTIVE = "active"
    DISCHARGED = "discharged"
    DECEASED = "deceased"
    DELETED = TOMBSTONE


class PatientField(IntFlag):
    """The parts of a patient record that access rules and audit events name. The bits are permanent."""

    NAMES = 1 << 0
    IDENTIFIERS = 1 << 1
    TELECOMS = 1 << 2
    ADDRESSES = 1 << 3
    BORN = 1 << 4
    GENDER = 1 << 5
    BIRTH_SEX = 1 << 6
    MARITAL_STATUS = 1 << 7
    LANGUAGES = 1 << 8
    DEATH = 1 << 9
    RACE = 1 << 10
    ETHNICITY = 1 << 11
    MOTHERS_MAIDEN_NAME = 1 << 12
    BIRTH_PLACE = 1 << 13
    MULTIPLE_BIRTH = 1 << 14
    CONTACTS = 1 << 15
    INSURANCES = 1 << 16
    NOTES = 1 << 17
    DISCHARGED = 1 << 18
    LABEL = 1 << 19
    SOURCES = 1 << 20
    CARE_TEAM = 1 << 21
    LEGAL_HOLD = 1 << 22
    REMOVAL = 1 << 23


@dataclass(frozen=True, slots=True, repr=False)
class Death(Confidential):
    """That the patient died, and when, as exactly as that is known."""

    day: PartialDate | None = None
    instant: datetime | None = None

    def __post_init__(self) -> None:
        """Raise `Invalid` unless the instant has an offset from UTC in whole minutes (FHIR R4, 2.24.0.1).

        Local times of long ago are off by seconds, which no format that it is kept or sent in can say.
        """
        offset = _NO_OFFSET if self.instant is None else self.instant.utcoffset()
        if offset is None or offset % _MINUTE:
            raise Invalid("instant", "must have an offset from UTC, in whole minutes")


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class LegalHold(Confidential):
    """That a record must be kept for a legal matter, whatever its retention says; `basis` names the matter."""

    basis: str
    since: datetime
    by: UUID

    def __post_init__(self) -> None:
        """Raise `Invalid` without a basis."""
        require_text("basis", self.basis)


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Removal(Confidential):
    """Why a record was taken away: `basis` on what ground before its time, if so; `merged_into` where it went."""

    reason: str
    at: datetime
    by: UUID
    basis: str = ""
    merged_into: PatientId | None = None

    def __post_init__(self) -> None:
        """Raise `Invalid` without a reason."""
        require_text("reason", self.reason)
        allow_text("basis", self.basis)


@dataclass(frozen=True, slots=True, kw_only=True)
class Patient:
    """A person under this practice's care.

    Whatever could identify the person stays out of `repr`, so a patient may appear in a log or a
    traceback without being disclosed by it. `notes` are the practice's working notes about the patient;
    `sources` are the resources of other systems the record came from; `care_team` holds practitioners. A `notice` is
    not part of the record: it goes with it where the law wants one.
    """

    id: PatientId
    names: tuple[HumanName, ...] = field(repr=False)
    born: PartialDate = field(repr=False)
    gender: Gender = field(default=Gender.UNKNOWN, repr=False)
    identifiers: tuple[Identifier, ...] = field(default=(), repr=False)
    telecoms: tuple[Telecom, ...] = field(default=(), repr=False)
    addresses: tuple[Address, ...] = field(default=(), repr=False)
    birth_sex: BirthSex | None = field(default=None, repr=False)
    marital_status: Concept | None = field(default=None, repr=False)
    languages: tuple[Language, ...] = field(default=(), repr=False)
    death: Death | None = field(default=None, repr=False)
    race: Category | None = field(default=None, repr=False)
    ethnicity: Category | None = field(default=None, repr=False)
    mothers_maiden_name: str = field(default="", repr=False)
    birth_place: Address | None = field(default=None, repr=False)
    multiple_birth: bool | int | None = field(default=None, repr=False)
    contacts: tuple[EmergencyContact, ...] = field(default=(), repr=False)
    insurances: tuple[Insurance, ...] = field(default=(), repr=False)
    notes: str = field(default="", repr=False)
    discharged: date | None = field(default=None, repr=False)
    label: Label = field(default=Label.NORMAL, repr=False)
    sources: tuple[str, ...] = field(default=(), repr=False)
    legal_hold: LegalHold | None = field(default=None, repr=False)
    removal: Removal | None = field(default=None, repr=False)
    care_team: frozenset[PractitionerId] = frozenset()
    notice: Notice | None = field(default=None, repr=False)
    version: int = 0

    def __post_init__(self) -> None:
        """Raise `Invalid` naming the first field that breaks a rule."""
        if not self.names:
            raise Invalid("names", "a patient needs a name")
        for name in _SEVERAL:
            if entries := getattr(self, name):
                require_few(name, entries)
        allow_text("notes", self.notes, at_most=MAX_NOTES)
        allow_text("mothers_maiden_name", self.mothers_maiden_name, at_most=200)
        if self.multiple_birth is not None and not 0 <= self.multiple_birth <= MAX_INTEGER:
            raise Invalid("multiple_birth", f"must be from 0 to {MAX_INTEGER}, or true or false")
        if self.label is Label.PSYCHOTHERAPY:
            raise Invalid(
                "label", "a patient record is normal, restricted or part2; only notes are psychotherapy notes"
            )

    @property
    def status(self) -> PatientStatus:
        """Where the patient stands with the practice."""
        if self.removal is not None:
            return PatientStatus.DELETED
        if self.death is not None:
            return PatientStatus.DECEASED
        return PatientStatus.DISCHARGED if self.discharged is not None else PatientStatus.ACTIVE

    @property
    def name(self) -> HumanName:
        """The name the patient goes by: the first that is not an old one."""
        return called_by(self.names)

    @property
    def mrns(self) -> tuple[Identifier, ...]:
        """The medical record numbers, at most one for each assigner in practice; imported patients may lack one."""
        return tuple(identifier for identifier in self.identifiers if identifier.kind is IdentifierKind.MRN)

    @property
    def terms(self) -> frozenset[IndexTerm]:
        """Every text by which this patient can be found exactly."""
        found = {term for identifier in self.identifiers for term in identifier.terms}
        found |= {IndexTerm(IndexKind.SOURCE, source) for source in self.sources}
        found |= {
            IndexTerm(_INDEXED_TELECOMS[telecom.system], telecom.value)
            for telecom in self.telecoms
            if telecom.system in _INDEXED_TELECOMS
        }
        return frozenset(found)

    def age_on(self, day: date) -> int:
        """Return the years completed by `day`; born on 29 February, they complete on 1 March.

        Where only the month or year of birth is known, the greatest age it can be.
        """
        return years_between(self.born.first, day)

    def require_born(self, at: datetime) -> None:
        """Raise `Invalid` if the patient is not born yet at an instant, wherever on Earth."""
        if self.born.first > latest_day(at):
            raise Invalid("born", "must not be in the future")

    def require_died(self, at: datetime) -> None:
        """Raise `Invalid` if the patient died before birth, or after an instant, wherever on Earth."""
        day, instant = (None, None) if self.death is None else (self.death.day, self.death.instant)
        if day is not None and day.first > latest_day(at):
            raise Invalid("death.day", "must not be in the future")
        if day is not None and day.last < self.born.first:
            raise Invalid("death.day", "must not be before birth")
        if instant is not None and instant > at:
            raise Invalid("death.instant", "must not be in the future")
        if instant is not None and latest_day(instant) < self.born.first:
            raise Invalid("death.instant", "must not be before birth")

    def discharge(self, day: date, *, at: datetime) -> Self:
        """Return this patient as discharged on `day`, which at the present instant is not to come."""
        if self.discharged is not None:
            raise Conflict("the patient was already discharged")
        if day > latest_day(at):
            raise Invalid("day", "must not be in the future")
        if day < self.born.first:
            raise Invalid("day", "must not be before birth")
        return replace(self, discharged=day)

    def reactivate(self) -> Self:
        """Return this patient as taken back into care."""
        if self.death is not None:
            raise Conflict("the patient is deceased")
        if self.discharged is None:
            raise Conflict("the patient was not discharged")
        return replace(self, discharged=None)

    def die(self, death: Death, *, at: datetime) -> Self:
        """Return this patient as deceased, which at the present instant is not to come."""
        if self.death is not None:
            raise Conflict("the patient's death is already recorded")
        deceased = replace(self, death=death)
        deceased.require_died(at)
        return deceased

    def correct_death(self) -> Self:
        """Return this patient as alive: that they died was a mistake."""
        if self.death is None:
            raise Conflict("no death of the patient is recorded")
        return replace(self, death=None)

    def hold(self, hold: LegalHold) -> Self:
        """Return this patient's record as kept for a legal matter."""
        if self.legal_hold is not None:
            raise Conflict("the record already stands under a legal hold")
        return replace(self, legal_hold=hold)

    def release(self) -> Self:
        """Return this patient's record as not held any more."""
        if self.legal_hold is None:
            raise Conflict("the record does not stand under a legal hold")
        return replace(self, legal_hold=None)

    def at_version(self, version: int) -> Self:
        """Return this patient as the version with a number. No rule is asked a second time: it breaks none."""
        written = object.__new__(type(self))
        for name, put in _SETTERS:
            put(written, version if name == "version" else getattr(self, name))
        return written

    def only(self, shown: PatientField) -> Self:
        """Return this patient with every optional field outside `shown` left blank.

        Names and date of birth stay: a record without them belongs to nobody.
        """
        hidden = hidden_by(shown)
        if all(getattr(self, name) == default for name, default in hidden.items()):
            return self
        seen = object.__new__(type(self))
        for name, put in _SETTERS:
            # No rule is asked a second time: what is left blank breaks none.
            put(seen, hidden[name] if name in hidden else getattr(self, name))
        return seen

    def with_hidden_of(self, original: Self, shown: PatientField) -> Self:
        """Return this patient with the fields outside `shown` as they are in `original`."""
        hidden = {name: getattr(original, name) for name, bit in FIELD_BITS.items() if bit not in shown}
        return replace(self, **hidden) if hidden else self

    @property
    def filled(self) -> PatientField:
        """The fields that say something."""
        # In plain numbers: flags take ten times as long to add up, and whoever is registered is asked twice.
        bits = (bit for name, default, bit in _OPTIONAL if getattr(self, name) != default)
        return PatientField(sum(bits, _ALWAYS_FILLED))

    def changed_from(self, original: Self) -> PatientField:
        """Return the fields in which this patient differs from `original`."""
        changed = PatientField(0)
        for name, bit in FIELD_BITS.items():
            mine, theirs = getattr(self, name), getattr(original, name)
            # `True` equals 1, but being one of several is not being the first of them.
            if mine != theirs or type(mine) is not type(theirs):
                changed |= bit
        return changed


def called_by(names: tuple[HumanName, ...]) -> HumanName:
    """Return the name a person goes by: the first that is not an old one."""
    return names[called_first(name.use for name in names)]


def called_first(uses: Iterable[NameUse | None]) -> int:
    """Return which of a person's names, given what each is used for, the person goes by."""
    return next((place for place, use in enumerate(uses) if use not in _LEAST_CALLED_BY), 0)


FIELD_BITS = {bit.name.lower(): bit for bit in PatientField if bit.name is not None}
_DEFAULTS = {
    item.name: item.default for item in fields(Patient) if item.name in FIELD_BITS and item.default is not MISSING
}
_OPTIONAL = tuple((name, default, int(FIELD_BITS[name])) for name, default in _DEFAULTS.items())
_ALWAYS_FILLED = int(PatientField.NAMES | PatientField.BORN)
_SETTERS = tuple((item.name, Patient.__dict__[item.name].__set__) for item in fields(Patient))
ALL_FIELDS = ~PatientField(0)
DEMOGRAPHICS = ALL_FIELDS & ~(
    PatientField.NOTES | PatientField.RACE | PatientField.ETHNICITY | PatientField.LEGAL_HOLD | PatientField.REMOVAL
)


def hidden_by(shown: PatientField) -> Mapping[str, Any]:
    """Return the optional fields outside `shown`, with what they are when blank."""
    # By a plain number: to ask a flag costs as much as all else that is done to show a record.
    return _hidden_by(int(shown))


@lru_cache(maxsize=256)
def _hidden_by(shown: int) -> Mapping[str, Any]:
    return {name: default for name, default in _DEFAULTS.items() if not shown & FIELD_BITS[name]}


class PatientSort(StrEnum):
    """The order of a list of patients. By age means the youngest first, by last change the latest."""

    NAME = "name"
    AGE = "age"
    CHANGED = "changed"


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class PatientQuery(Confidential):
    """Which patients are looked for. Conditions add up; an absent one allows everybody.

    `name` is one or more fragments, each of which must occur in one and the same name, in any order.
    Ages are completed years and birth dates days, bounds included. A birth date known only by month or
    year matches if any day it can mean would.
    """

    name: str = ""
    mrn: str = ""
    ssn: str = ""
    email: str = ""
    phone: str = ""
    identifier: str = ""
    identifier_system: str = ""
    min_age: int | None = None
    max_age: int | None = None
    born_from: date | None = None
    born_to: date | None = None
    gender: Gender | None = None
    birth_sex: BirthSex | None = None
    status: PatientStatus | None = None
    practitioner: PractitionerId | None = None
    sort: PatientSort = PatientSort.NAME
    descending: bool = False
    fragments: tuple[str, ...] = field(default=(), init=False, compare=False)
    """The folded fragments of a name a match must have."""

    def __post_init__(self) -> None:
        """Raise `Invalid` if nobody could match, or a text is unreasonably long."""
        for name in ("name", "mrn", "ssn", "email", "phone", "identifier", "identifier_system"):
            allow_text(name, getattr(self, name), at_most=500)
        for name in ("min_age", "max_age"):
            age: int | None = getattr(self, name)
            if age is not None and not 0 <= age <= 150:
                raise Invalid(name, "must be from 0 to 150 years")
        if self.min_age is not None and self.max_age is not None and self.max_age < self.min_age:
            raise Invalid("max_age", "must not be below min_age")
        if self.born_from and self.born_to and self.born_to < self.born_from:
            raise Invalid("born_to", "must not be before born_from")
        if self.identifier_system and not self.identifier:
            raise Invalid("identifier_system", "needs an identifier")
        # Folded once, since a search asks it of every patient.
        object.__setattr__(self, "fragments", fragments_of(self.name))

    @property
    def terms(self) -> tuple[IndexTerm, ...]:
        """The exact identifiers a match must have."""
        asked = (
            (IndexKind.MRN_VALUE, self.mrn),
            (IndexKind.SSN, self.ssn),
            (IndexKind.EMAIL, self.email),
            (IndexKind.PHONE, self.phone),
            (IndexKind.EXTERNAL, self.identifier),
        )
        return tuple(IndexTerm(kind, text) for kind, text in asked if text)

    @property
    def normalised(self) -> bytes:
        """What is asked, in one spelling for each meaning: the same for two searches that cannot differ."""
        given = (item for item in fields(self) if item.init)
        asked = {item.name: str(value) for item in given if (value := getattr(self, item.name)) != item.default}
        asked["name"] = " ".join(sorted(self.fragments))
        return json.dumps(asked, sort_keys=True, ensure_ascii=False).encode()

    def is_still_met_by(self, patient: Patient, today: date) -> bool:
        """Tell whether a whole patient meets all but what exact identifiers answer."""
        return (
            self.status in {None, patient.status}
            and (self.practitioner is None or self.practitioner in patient.care_team)
            and self.is_met_by(patient, today)
        )

    def is_met_by(self, patient: "Patient | PatientCard", today: date) -> bool:
        """Tell whether a patient meets the conditions that only the content can answer."""
        return (
            self._has_age(patient.born, today)
            and self._is_born(patient.born)
            and self.gender in {None, patient.gender}
            and self.birth_sex in {None, patient.birth_sex}
            and (not self.fragments or any(name.has(self.fragments) for name in patient.names))
            and self._is_numbered(patient.identifiers)
        )

    def _has_age(self, born: PartialDate, today: date) -> bool:
        if self.min_age is None and self.max_age is None:
            return True
        oldest, youngest = years_between(born.first, today), years_between(born.last, today)
        least = 0 if self.min_age is None else self.min_age
        return oldest >= least and (self.max_age is None or youngest <= self.max_age)

    def _is_born(self, born: PartialDate) -> bool:
        return (self.born_from is None or born.last >= self.born_from) and (
            self.born_to is None or born.first <= self.born_to
        )

    def _is_numbered(self, identifiers: tuple[Identifier, ...]) -> bool:
        if not self.identifier_system:
            return True
        asked = (self.identifier_system, as_compared(self.identifier))
        return any((identifier.system, as_compared(identifier.value)) == asked for identifier in identifiers)


def sort_key(sort: PatientSort, name: tuple[str, str, str], born: int, changed: int) -> tuple[str, ...]:
    """Return the texts by which patients are put in order.

    `name` is the folded family name, the folded given names and the id in hexadecimal digits, which breaks ties; `born`
    the ordinal of a day, `changed` microseconds since 1970.
    """
    if sort is PatientSort.NAME:
        return name
    # Complements put the youngest, and the latest, first, while keys stay text that sorts upwards.
    if sort is PatientSort.AGE:
        return (f"{3_700_000 - born:07}", *name)
    return (f"{2**62 - changed:020}", *name)


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class PatientCard(Confidential):
    """What a search compares of one patient, and nothing else."""

    id: PatientId
    names: tuple[HumanName, ...]
    born: PartialDate
    gender: Gender = Gender.UNKNOWN
    birth_sex: BirthSex | None = None
    identifiers: tuple[Identifier, ...] = ()
    changed_at: datetime

    def matches(self, query: PatientQuery, today: date) -> bool:
        """Tell whether this patient meets the conditions of `query` that only the content can answer."""
        return query.is_met_by(self, today)

    def sort_key(self, query: PatientQuery) -> tuple[str, ...]:
        """Return what the patient is ordered by, ties broken by id. Only keys of one query compare."""
        family, given = called_by(self.names).sort_key
        name = (family, given, self.id.hex)
        return sort_key(query.sort, name, self.born.first.toordinal(), microseconds_of(self.changed_at))
