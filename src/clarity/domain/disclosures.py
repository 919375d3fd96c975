"""Disclosures outside the practice, and the accounting of them that a patient has a right to (45 CFR 164.528)."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import Any, Final, Self
from uuid import UUID

from clarity.domain.access import Action
from clarity.domain.audit import AuditEvent
from clarity.domain.errors import Conflict, Invalid
from clarity.domain.ids import DisclosureId, EventId, PatientId
from clarity.domain.values import MAX_INTEGER, Confidential, allow_text, require_few, require_text

ACCOUNTED_YEARS: Final = 6
"""How far back from the day of the request a patient may ask (45 CFR 164.528(a)(1))."""

ORAL_SUSPENSION_DAYS: Final = 30
"""How long a suspension lasts at most that was only asked for orally (45 CFR 164.528(a)(2)(ii)(C))."""

_FIRST_YEAR: Final = 1900


class DisclosureStatus(StrEnum):
    """Whether a disclosure has to be accounted for. What was entered in error stays, and says so."""

    ACCOUNTABLE = "accountable"
    EXEMPT = "exempt"
    MISTAKEN = "mistaken"


class Exemption(StrEnum):
    """Why something is left out of the accounting: the exceptions of 45 CFR 164.528(a)(1), and no disclosure at all."""

    TREATMENT_PAYMENT_OPERATIONS = "treatment-payment-operations"
    TO_THE_INDIVIDUAL = "to-the-individual"
    INCIDENTAL = "incidental"
    AUTHORIZED = "authorized"
    DIRECTORY_OR_INVOLVED_PERSONS = "directory-or-involved-persons"
    NATIONAL_SECURITY = "national-security"
    CUSTODY = "custody"
    LIMITED_DATA_SET = "limited-data-set"
    BEFORE_COMPLIANCE_DATE = "before-compliance-date"
    WITHIN_PRACTICE = "within-practice"

    @property
    def number(self) -> int:
        """By which it is stored outside a seal. The numbers are permanent."""
        return _NUMBERS[self]

    @property
    def citation(self) -> str:
        """The paragraph that it rests on."""
        if self is Exemption.WITHIN_PRACTICE:
            return "45 CFR 160.103"  # a disclosure is a release outside the entity that holds the information
        return f"45 CFR 164.528(a)(1)({_PARAGRAPHS[self]})"


_PARAGRAPHS = {
    Exemption.TREATMENT_PAYMENT_OPERATIONS: "i",
    Exemption.TO_THE_INDIVIDUAL: "ii",
    Exemption.INCIDENTAL: "iii",
    Exemption.AUTHORIZED: "iv",
    Exemption.DIRECTORY_OR_INVOLVED_PERSONS: "v",
    Exemption.NATIONAL_SECURITY: "vi",
    Exemption.CUSTODY: "vii",
    Exemption.LIMITED_DATA_SET: "viii",
    Exemption.BEFORE_COMPLIANCE_DATE: "ix",
}


_NUMBERS = {
    Exemption.WITHIN_PRACTICE: 0,
    Exemption.TREATMENT_PAYMENT_OPERATIONS: 1,
    Exemption.TO_THE_INDIVIDUAL: 2,
    Exemption.INCIDENTAL: 3,
    Exemption.AUTHORIZED: 4,
    Exemption.DIRECTORY_OR_INVOLVED_PERSONS: 5,
    Exemption.NATIONAL_SECURITY: 6,
    Exemption.CUSTODY: 7,
    Exemption.LIMITED_DATA_SET: 8,
    Exemption.BEFORE_COMPLIANCE_DATE: 9,
}


class Means(StrEnum):
    """How a disclosure was made. Of what this system did, the trail has the events."""

    THIS_SYSTEM = "this-system"
    PAPER = "paper"
    TELEPHONE = "telephone"
    FAX = "fax"
    ELECTRONIC = "electronic"
    IN_PERSON = "in-person"


class Authority(StrEnum):
    """Who may have the accounting of a disclosure to them suspended (45 CFR 164.528(a)(2)(i))."""

    HEALTH_OVERSIGHT = "health-oversight"
    LAW_ENFORCEMENT = "law-enforcement"


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Series(Confidential):
    """That a disclosure was repeated, to the same recipient for a single purpose (45 CFR 164.528(b)(3)).

    `frequency` says how often ("monthly"), `number` how many there were in all with the first; one of them is needed.
    `last_on` is the day of the last.
    """

    last_on: date
    frequency: str = ""
    number: int | None = None

    def __post_init__(self) -> None:
        """Raise `Invalid` unless it says how often."""
        allow_text("frequency", self.frequency)
        if self.number is None and not self.frequency.strip():
            raise Invalid("frequency", "say how often, or in number how many times")
        if self.number is not None and not 2 <= self.number <= MAX_INTEGER:
            raise Invalid("number", f"must be from 2 to {MAX_INTEGER}")


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Suspension(Confidential):
    """That a patient is not told of a disclosure for a time, on the statement of an agency or official.

    `stated_by` is the identity of whoever made the statement, which has to be documented if it was oral (45 CFR
    164.528(a)(2)(ii)(A)); `document` is the written statement, and where it is kept. It lasts through `until`.
    """

    authority: Authority
    stated_by: str
    stated_on: date
    until: date
    oral: bool = False
    document: str = ""

    def __post_init__(self) -> None:
        """Raise `Invalid` naming the first field that breaks a rule."""
        require_text("stated_by", self.stated_by)
        allow_text("document", self.document)
        if not (self.oral or self.document.strip()):
            raise Invalid("document", "name the written statement and where it is kept, or say that it was oral")
        if self.until < self.stated_on:
            raise Invalid("until", "must not be before stated_on")
        if self.oral and self.until > self.stated_on + timedelta(days=ORAL_SUSPENSION_DAYS):
            raise Invalid("until", f"an oral statement suspends for {ORAL_SUSPENSION_DAYS} days at most")

    def holds_on(self, day: date) -> bool:
        """Tell whether it lasts on a day."""
        return day <= self.until


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Disclosure(Confidential):
    """That something of one patient's record went to somebody outside the practice, with what 164.528(b)(2) wants told.

    That is the date (i), in full, of the first if there is a `series`; who received it, and their address if that is
    known (ii); a brief description (iii); and the purpose, or instead of it a copy of the written request, which
    `request` says where to find (iv). `events` are those of the trail that it was made by; other means have none.

    It is exempt from the accounting if there is an `exemption`, and mistaken if `mistake` says why it should never have
    been entered. `recorded_by` is the account that entered it.
    """

    id: DisclosureId
    patient: PatientId
    made_on: date
    recipient: str
    address: str = ""
    what: str
    purpose: str = ""
    request: str = ""
    means: Means
    events: tuple[EventId, ...] = ()
    series: Series | None = None
    exemption: Exemption | None = None
    suspension: Suspension | None = None
    mistake: str = ""
    recorded_at: datetime
    recorded_by: UUID
    version: int = 0

    def __post_init__(self) -> None:
        """Raise `Invalid` naming the first field that breaks a rule."""
        if self.made_on.year < _FIRST_YEAR:
            raise Invalid("made_on", f"must not be before {_FIRST_YEAR}")
        for name in ("recipient", "what"):
            require_text(name, getattr(self, name))
        for name in ("address", "purpose", "request", "mistake"):
            allow_text(name, getattr(self, name))
        if not self.purpose.strip() and not self.request.strip():
            raise Invalid("purpose", "state the purpose, or in request where the copy of the written request is")
        self._check_events()
        if self.series is not None and self.series.last_on <= self.made_on:
            raise Invalid("series.last_on", "must be after made_on, the day of the first")
        if self.exemption is Exemption.WITHIN_PRACTICE:
            raise Invalid("exemption", "what stays within the practice is no disclosure; do not record it as one")

    def _check_events(self) -> None:
        require_few("events", self.events)
        if len(set(self.events)) < len(self.events):
            raise Invalid("events", "must name each only once")
        if self.means is Means.THIS_SYSTEM and not self.events:
            raise Invalid("events", "name the events of the trail that it was made by, or other means")
        if self.means is not Means.THIS_SYSTEM and self.events:
            raise Invalid("events", "only what this system did has events")

    @property
    def status(self) -> DisclosureStatus:
        """Whether it has to be accounted for."""
        if self.mistake:
            return DisclosureStatus.MISTAKEN
        return DisclosureStatus.ACCOUNTABLE if self.exemption is None else DisclosureStatus.EXEMPT

    @property
    def last_on(self) -> date:
        """The day of the last, or of the only one."""
        return self.made_on if self.series is None else self.series.last_on

    def suspended_on(self, day: date) -> bool:
        """Tell whether the patient is not told of it on a day."""
        return self.suspension is not None and self.suspension.holds_on(day)

    def accounted_on(self, day: date) -> bool:
        """Tell whether an accounting that is given on a day has it, if its period does."""
        return self.status is DisclosureStatus.ACCOUNTABLE and not self.suspended_on(day)

    def require_past(self, today: date) -> None:
        """Raise `Invalid` if it, or a statement about it, is said to be of a day to come."""
        if self.made_on > today:
            raise Invalid("made_on", "must not be in the future")
        if self.last_on > today:
            raise Invalid("series.last_on", "must not be in the future")

    def corrected(self, content: dict[str, Any]) -> Self:
        """Return it with other content. Raises `Conflict` if it is mistaken, `Invalid` if it would lose an event."""
        self._require_standing()
        changed = replace(self, **content)
        if not set(self.events) <= set(changed.events):
            raise Invalid("events", "may be added to; to take one out, mark the disclosure as mistaken")
        return changed

    def marked_mistaken(self, why: str) -> Self:
        """Return it as entered in error. Raises `Conflict` if that was said before."""
        self._require_standing()
        require_text("why", why)
        return replace(self, mistake=why)

    def suspended(self, suspension: Suspension, today: date) -> Self:
        """Return it with the patient not told of it for a time; a later statement takes the place of an earlier one.

        Raises `Conflict` if it is mistaken, and `Invalid` if the statement is said to be of a day to come.
        """
        self._require_standing()
        if suspension.stated_on > today:
            raise Invalid("stated_on", "must not be in the future")
        return replace(self, suspension=suspension)

    def _require_standing(self) -> None:
        if self.mistake:
            raise Conflict("the disclosure was marked as mistaken; record it anew")


@dataclass(frozen=True, slots=True)
class AccountingPeriod:
    """The days that an accounting is for, both of them included."""

    since: date
    until: date

    @classmethod
    def asked(cls, since: date | None, until: date | None, today: date) -> Self:
        """Return the period asked for on a day: six years, or as much less as the patient wants (164.528(a)(3)).

        Raises `Invalid` for what lies further back or in the future.
        """
        earliest = years_before(today, ACCOUNTED_YEARS)
        period = cls(since or earliest, until or today)
        if period.since < earliest:
            raise Invalid("from", f"must not be before {earliest}: the accounting reaches {ACCOUNTED_YEARS} years back")
        if period.until > today:
            raise Invalid("until", "must not be in the future")
        if period.since > period.until:
            raise Invalid("until", "must not be before from")
        return period

    def covers(self, disclosure: Disclosure) -> bool:
        """Tell whether a disclosure, or any of a series, was made in this period."""
        return disclosure.made_on <= self.until and disclosure.last_on >= self.since


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Accounting(Confidential):
    """What a patient is told: the disclosures of a period, the oldest first, as they stood on the day it was given.

    It says nothing of what is left out but the rules: a suspended disclosure must not be told from none.
    """

    patient: PatientId
    name: str
    practice: str
    period: AccountingPeriod
    given_on: date
    disclosures: tuple[Disclosure, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportReason:
    """Why an export is no disclosure to account for, as one account saw it. No free text: no row seals it."""

    id: UUID
    event: EventId
    reason: Exemption
    at: datetime
    by: UUID


@dataclass(frozen=True, slots=True)
class Unfounded:
    """That a disclosure names an event that is not in the trail, did not succeed, or is about others.

    `about` is the one patient that the event is about, if that is it.
    """

    disclosure: DisclosureId
    event: EventId
    patient: PatientId
    about: PatientId | None = None


def accounted_on(disclosures: Iterable[Disclosure], period: AccountingPeriod, day: date) -> list[Disclosure]:
    """Return those that an accounting of a period has if it is given on a day."""
    return [one for one in disclosures if one.accounted_on(day) and period.covers(one)]


def chronologically(disclosure: Disclosure) -> tuple[date, DisclosureId]:
    """Return the key that sorts disclosures as an accounting has them: the oldest first."""
    return disclosure.made_on, disclosure.id


def may_be_about(event: AuditEvent, named: frozenset[PatientId], patients: Sequence[PatientId]) -> bool:
    """Tell whether an event may be about one of `patients`; `named` are those that an event of several names.

    One that names nobody may be about anybody if it took something out, such as the whole trail, or if it was about
    more records than it lists. A log-in, say, is about nobody's.
    """
    if event.patient is not None:
        return event.patient in patients
    if named:
        return not named.isdisjoint(patients)
    return event.action is Action.EXPORT or event.ids_count > len(event.ids)


def accounted(named: frozenset[PatientId], disclosed: frozenset[PatientId]) -> bool:
    """Tell whether an export of several patients has its disclosures: one of each that it names, or any."""
    return bool(disclosed) and named <= disclosed


def years_before(day: date, years: int) -> date:
    """Return the same day some years before; of 29 February, the day before it where there is none."""
    try:
        return day.replace(year=day.year - years)
    except ValueError:
        return day.replace(year=day.year - years, day=28)
