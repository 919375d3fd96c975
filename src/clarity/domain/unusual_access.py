"""Unusual access: what in one day of the trail a compliance officer should look at, and by which rules it is found.

Each rule is one sentence that an officer can check by hand, and none of them says that something was wrong. That such
rules find what people later judge to be wrong, the surname among them: Boxwala et al., "Using statistical and machine
learning to help institutions detect suspicious access to electronic health records", JAMIA 2011, 18(4), 498-505.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta, tzinfo
from enum import StrEnum
from statistics import median
from typing import Final
from uuid import UUID

from clarity.domain.access import Role
from clarity.domain.dates import CLOCKS_DIFFER
from clarity.domain.ids import AccountId, BreakGlassId, PatientId, PractitionerId
from clarity.domain.names import HumanName, fold
from clarity.domain.practice_hours import PracticeHours, Span, on_weekend
from clarity.domain.records import Resource
from clarity.domain.values import Confidential

WATCHED_ROLES: Final = frozenset(
    {
        Role.ADMINISTRATOR,
        Role.CLINICIAN,
        Role.NURSE,
        Role.FRONT_DESK,
        Role.COMPLIANCE_OFFICER,
        Role.RESEARCHER,
    }
)
"""The staff. Patients and devices reach the patient they are linked to and nobody else."""

LOOKED_AT: Final = frozenset({Resource.PATIENT, Resource.CONSENT, Resource.DISCLOSURE})
"""The kinds of records that show something of a patient to whoever reads or writes them."""

DAYS_BEFORE: Final = 28
"""How many days before the one reported on are compared with it: four of each weekday."""

REVIEW_WITHIN: Final = timedelta(hours=72)
"""How long broken glass may wait for its review: over a weekend. The practice's own choice; no rule says how long."""

MOST_NAMED: Final = 50
"""How many patients a finding names; it counts them all."""

# A modified z-score above 3.5 is an outlier; 0.6745 makes of the median absolute deviation what a standard deviation
# is to normal data (Iglewicz and Hoaglin, How to Detect and Handle Outliers, ASQC 1993, 3.3).
_OUTLIER, _NORMAL = 3.5, 0.6745
# Of counts that hardly vary any other would be an outlier, so they are taken to vary by a tenth, and by one patient.
_LEAST_DEVIATION = 0.1
# From fewer values nothing can be told of what is usual.
_ENOUGH = 5
# Nobody who saw fewer patients in a day than treats them anyway stands out.
_FLOOR = 20
_FLOOR_WITHOUT_COMPARISON = 100

_USUAL_ON_DAYS = 2
# A front desk is busy with a record for some time after something was written to it: letters, calls, bills.
_RECENT = timedelta(days=30)
_BY_CARE_TEAM = frozenset({Role.CLINICIAN, Role.NURSE})


class Unusual(StrEnum):
    """What about an access is unusual."""

    VOLUME = "volume"
    HOURS = "hours"
    NO_TIE = "no-tie"
    FAMILY_NAME = "same-family-name"
    UNREVIEWED = "break-glass-unreviewed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """That an account was shown something of a patient, or wrote it. `listed` if it was one of a list."""

    at: datetime
    account: AccountId
    role: Role
    patient: PatientId
    listed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Tie:
    """That `who`, a practitioner or an account, had a tie to a patient from one instant to another."""

    who: UUID
    since: datetime
    until: datetime | None = None

    def held_about(self, at: datetime) -> bool:
        """Tell whether the tie held within a minute of an instant."""
        # Servers stamp what they write and what they show, each by its own clock.
        return self.since - CLOCKS_DIFFER <= at and (self.until is None or at <= self.until + CLOCKS_DIFFER)


@dataclass(frozen=True, slots=True, kw_only=True)
class PatientTies:
    """All ties there ever were to one patient: care team and broken glass; and when their record was written."""

    care_team: tuple[Tie, ...] = ()
    emergencies: tuple[Tie, ...] = ()
    written: tuple[datetime, ...] = ()

    def explain(self, look: Look, practitioner: PractitionerId | None) -> bool:
        """Tell whether the looker had a tie to the patient at the time.

        Clinicians and nurses: `practitioner` was on the care team, or the account had broken the glass. The front desk,
        which sees everybody: somebody cared for the patient, or the record was written in the 30 days before; being one
        of a list is no look of theirs. Other roles see removals, holds and names for accountings, not records.
        """
        if look.role in _BY_CARE_TEAM:
            team = any(tie.who == practitioner and tie.held_about(look.at) for tie in self.care_team)
            return team or any(tie.who == look.account and tie.held_about(look.at) for tie in self.emergencies)
        if look.role is not Role.FRONT_DESK or look.listed:
            return True
        return any(tie.held_about(look.at) for tie in self.care_team) or any(
            look.at - _RECENT <= at <= look.at + CLOCKS_DIFFER for at in self.written
        )


NO_TIES: Final = PatientTies()


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitingGlass:
    """Broken glass that nobody had reviewed in time."""

    id: BreakGlassId
    account: AccountId
    patient: PatientId
    opened_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Holder(Confidential):
    """Whoever holds an account: what they are called, and the practitioner they are."""

    account: AccountId
    role: Role
    name: str
    practitioner: PractitionerId | None = None
    also: tuple[HumanName, ...] = ()
    """What the practitioner is called."""

    def shares_family_name(self, families: frozenset[str]) -> bool:
        """Tell whether the holder has one of some folded family names.

        The name of an account is a text, so whole words behind the first are compared, and what stands before a comma:
        "Grace Hopper MD" and "Hopper, Grace" have the name "hopper".
        """
        if not families.isdisjoint(family_names(self.also)):
            return True
        text = fold(self.name.split(",")[0])
        return any(text == family or f" {family} " in f"{text} " for family in families)


def family_names(names: Iterable[HumanName]) -> frozenset[str]:
    """Return the folded family names of a person; of a name that is only known as a text its last word."""
    found = {fold(name.family) or " ".join(fold(name.text.split(",")[0]).split()[-1:]) for name in names}
    return frozenset(found - {""})


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something unusual that one account did: how often, between which instants, and with whose records.

    `count` is of patients, and of looks for the hours; `limit` the count up to which the volume would have been usual.
    `patients` are `MOST_NAMED` at most. `glasses` is the broken glass that waits. Nobody's name stands in it but the
    holder's.
    """

    kind: Unusual
    account: AccountId
    role: Role
    name: str = field(default="", repr=False)
    count: int
    limit: int | None = None
    patients: tuple[PatientId, ...] = ()
    glasses: tuple[BreakGlassId, ...] = ()
    first_at: datetime
    last_at: datetime


Volumes = Mapping[tuple[AccountId, Role], int]
"""How many patients each account saw in a day."""


def volume_limit(sample: Sequence[int]) -> float | None:
    """Return the count up to which a volume is usual beside `sample`, or `None` if that is too small to tell."""
    if len(sample) < _ENOUGH:
        return None
    middle = median(sample)
    deviation = max(median(abs(one - middle) for one in sample), _LEAST_DEVIATION * middle, 1)
    return middle + _OUTLIER * deviation / _NORMAL


def usual_volume(account: AccountId, role: Role, that_day: Volumes, before: Iterable[Volumes]) -> int:
    """Return how many patients an account may see in a day without standing out.

    That is both by its own days before and by the days of the others of its role, that day included.
    """
    days = tuple(before)
    own = [day[account, role] for day in days if (account, role) in day]
    others = [
        count
        for day in (*days, that_day)
        for (other, others_role), count in day.items()
        if others_role is role and other != account
    ]
    limits = [limit for limit in map(volume_limit, (own, others)) if limit is not None]
    return int(max(_FLOOR, *limits)) if limits else _FLOOR_WITHOUT_COMPARISON


@dataclass(frozen=True, slots=True)
class UsualHours:
    """At which hours somebody usually looks at patients: those of the practice, and each account's own.

    An hour of the clock on the wall is an account's own if it looked then on two days or more of those before; hours of
    the weekend are others than those of the week.
    """

    zone: tzinfo
    practice: PracticeHours
    own: frozenset[tuple[AccountId, bool, int]]

    @classmethod
    def of(cls, zone: tzinfo, practice: PracticeHours, active: Iterable[tuple[AccountId, datetime]]) -> "UsualHours":
        """Return the usual hours of accounts that were `active` at some instants of the days before."""
        days: dict[tuple[AccountId, bool, int], set[date]] = defaultdict(set)
        for account, at in active:
            local = at.astimezone(zone)
            days[account, on_weekend(local), local.hour].add(local.date())
        own = frozenset(hour for hour, seen in days.items() if len(seen) >= _USUAL_ON_DAYS)
        return cls(zone, practice, own)

    def include(self, look: Look) -> bool:
        """Tell whether a look came at a usual hour."""
        local = look.at.astimezone(self.zone)
        return self.practice.include(local) or (look.account, on_weekend(local), local.hour) in self.own


@dataclass(slots=True)
class _Tally:
    """What was counted of one account under one rule. Looks come patient by patient."""

    role: Role
    first_at: datetime
    last_at: datetime
    looks: int = 0
    patients: int = 0
    named: list[PatientId] = field(default_factory=list)
    _latest: PatientId | None = None

    def add(self, look: Look) -> None:
        self.looks += 1
        self.first_at, self.last_at = min(self.first_at, look.at), max(self.last_at, look.at)
        if look.patient != self._latest:
            self._latest = look.patient
            self.patients += 1
            if len(self.named) < MOST_NAMED:
                self.named.append(look.patient)


@dataclass(slots=True)
class Watch:
    """Looks through one day, some patients at a time; holds no more than a few numbers of each account.

    `limits` has the usual volume of each account that saw somebody that day, `holders` whoever holds one.
    """

    hours: UsualHours
    holders: Mapping[AccountId, Holder]
    limits: Mapping[tuple[AccountId, Role], int]
    _tallies: dict[tuple[Unusual, AccountId, Role], _Tally] = field(default_factory=dict, init=False)
    _patient: PatientId | None = field(default=None, init=False)
    _shared: dict[AccountId, bool] = field(default_factory=dict, init=False)

    def look_through(
        self,
        looks: Iterable[Look],
        ties: Mapping[PatientId, PatientTies],
        names: Mapping[PatientId, tuple[HumanName, ...]],
    ) -> None:
        """Apply the rules to all looks at some patients, patient by patient."""
        families = {patient: family_names(known) for patient, known in names.items()}
        for look in looks:
            holder = self.holders.get(look.account)
            self._tally(Unusual.VOLUME, look)
            if not self.hours.include(look):
                self._tally(Unusual.HOURS, look)
            practitioner = holder.practitioner if holder is not None else None
            if not ties.get(look.patient, NO_TIES).explain(look, practitioner):
                self._tally(Unusual.NO_TIE, look)
            if holder is not None and self._shares(holder, look.patient, families.get(look.patient, frozenset())):
                self._tally(Unusual.FAMILY_NAME, look)

    def findings(self, waiting: Iterable[WaitingGlass]) -> tuple[Finding, ...]:
        """Return what was found, in the order of accounts and rules."""
        found = [
            self._finding(kind, account, tally)
            for (kind, account, role), tally in self._tallies.items()
            if kind is not Unusual.VOLUME or self._is_far_more(account, role, tally)
        ]
        found.extend(self._unreviewed(waiting))
        order = list(Unusual)
        return tuple(sorted(found, key=lambda one: (one.account, one.role, order.index(one.kind))))

    def _is_far_more(self, account: AccountId, role: Role, tally: _Tally) -> bool:
        # Of a day that is not over somebody may have begun to work after the limits were told.
        return (account, role) in self.limits and tally.patients > self.limits[account, role]

    def _tally(self, kind: Unusual, look: Look) -> None:
        key = (kind, look.account, look.role)
        if key not in self._tallies:
            self._tallies[key] = _Tally(look.role, look.at, look.at)
        self._tallies[key].add(look)

    def _shares(self, holder: Holder, patient: PatientId, families: frozenset[str]) -> bool:
        """Tell whether a holder has the family name of a patient; looks come patient by patient, so one is kept."""
        if patient != self._patient:
            self._patient = patient
            self._shared.clear()
        if holder.account not in self._shared:
            self._shared[holder.account] = holder.shares_family_name(families)
        return self._shared[holder.account]

    def _finding(self, kind: Unusual, account: AccountId, tally: _Tally) -> Finding:
        return Finding(
            kind=kind,
            account=account,
            role=tally.role,
            name=self._name_of(account),
            count=tally.looks if kind is Unusual.HOURS else tally.patients,
            limit=self.limits.get((account, tally.role)) if kind is Unusual.VOLUME else None,
            patients=tuple(tally.named),
            first_at=tally.first_at,
            last_at=tally.last_at,
        )

    def _unreviewed(self, waiting: Iterable[WaitingGlass]) -> Iterable[Finding]:
        by_account: dict[AccountId, list[WaitingGlass]] = defaultdict(list)
        for glass in waiting:
            by_account[glass.account].append(glass)
        for account, glasses in by_account.items():
            glasses.sort(key=lambda one: (one.opened_at, one.id))
            yield Finding(
                kind=Unusual.UNREVIEWED,
                account=account,
                role=self.holders[account].role if account in self.holders else Role.NOBODY,
                name=self._name_of(account),
                count=len(glasses),
                patients=tuple(dict.fromkeys(one.patient for one in glasses))[:MOST_NAMED],
                glasses=tuple(one.id for one in glasses)[:MOST_NAMED],
                first_at=glasses[0].opened_at,
                last_at=glasses[-1].opened_at,
            )

    def _name_of(self, account: AccountId) -> str:
        return self.holders[account].name if account in self.holders else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessReport:
    """What was unusual in one calendar day in the practice. `span` ends early if the day is not over."""

    day: date
    span: Span
    findings: tuple[Finding, ...]
    over: bool = True

    @property
    def counts(self) -> dict[Unusual, int]:
        """How many findings there are of each kind."""
        return {kind: sum(one.kind is kind for one in self.findings) for kind in Unusual}
