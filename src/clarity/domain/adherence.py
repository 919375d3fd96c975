"""How much of what was prescribed was taken, as far as anybody told."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from fractions import Fraction
from math import ceil
from typing import Final

from clarity.domain.dosages import Timing
from clarity.domain.errors import Invalid
from clarity.domain.interactions import DoseOutcome
from clarity.domain.medications import FIRST_YEAR, Activity, Prescription
from clarity.domain.records import Notice
from clarity.domain.values import Confidential

MAX_DAYS: Final = 366
_USUAL_DAYS: Final = 30

ADHERENT: Final = Decimal("0.8")
"""From which proportion of days covered on a patient counts as adherent with most medicines (Pharmacy Quality
Alliance, PDC measures, which CMS uses for the Star Ratings of Medicare Part D)."""

_THOUSANDTH: Final = Decimal("0.001")


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Adherence(Confidential):
    """What was told of the doses of one prescription from the day `since` through `until`.

    `days` are those of the period on which it was to be taken. `due` is how many doses were due on them, and `covered`
    on how many the doses taken sufficed; both are `None` where it was taken as needed, or nobody said how often. The
    `notice` is that of the prescription.
    """

    since: date
    until: date
    days: int
    taken: int
    skipped: int
    due: Decimal | None
    covered: int | None
    notice: Notice | None = None

    @property
    def dose_ratio(self) -> Decimal | None:
        """Of the doses prescribed, the share that was taken over the period, at most 1.

        Osterberg and Blaschke, Adherence to Medication, N Engl J Med 2005;353:487-497.
        """
        return None if not self.due else min(Decimal(1), self.taken / self.due).quantize(_THOUSANDTH)

    @property
    def days_covered(self) -> Decimal | None:
        """The proportion of days covered (PDC): the days on which the patient had what they needed, of all days.

        As the Pharmacy Quality Alliance defines it, but by the doses that were taken, where it has those that were
        dispensed.
        """
        if self.covered is None or not self.days:
            return None
        return (Decimal(self.covered) / self.days).quantize(_THOUSANDTH)


def period_of(since: date | None, until: date | None, today: date) -> tuple[date, date]:
    """Return the days asked for, by default the last thirty; raises `Invalid` unless adherence can be told of them."""
    last = until or today
    if last > today:
        raise Invalid("until", "must not be in the future")
    if last.year < FIRST_YEAR:
        raise Invalid("until", f"must not be before {FIRST_YEAR}")
    first = since or last - timedelta(days=_USUAL_DAYS - 1)
    if last < first:
        raise Invalid("until", "must not be before since")
    if (last - first).days >= MAX_DAYS:
        raise Invalid("since", f"must be less than {MAX_DAYS} days before until")
    return first, last


def looked_back(prescription: Prescription, since: date) -> date:
    """Return the first day whose doses may matter to a period that begins on a day: one a week lasts for a week."""
    timings = (dosage.timing for dosage in (prescription.dosage, *(one.dosage for one in prescription.former)))
    longest = max((ceil(1 / timing.per_day) for timing in timings if timing is not None), default=1)
    return since - timedelta(days=min(longest, MAX_DAYS))


def adherence_to(
    prescription: Prescription, told: Iterable[tuple[date, DoseOutcome]], since: date, until: date
) -> Adherence:
    """Return what the doses told of, each with its day, say of a period. Days before it count for what lasts longer."""
    doses = list(told)
    taken = Counter(day for day, outcome in doses if outcome is DoseOutcome.TAKEN)
    days = [day for day in _days(since, until) if prescription.activity_on(day) is Activity.ACTIVE]
    timings = [(day, _regular(prescription, day)) for day in days]
    regular = [(day, timing) for day, timing in timings if timing is not None]
    due = sum((timing.per_day for _, timing in regular), Fraction()) if len(regular) == len(days) else None
    counted = frozenset(days)
    return Adherence(
        since=since,
        until=until,
        days=len(days),
        taken=sum(number for day, number in taken.items() if day in counted),
        skipped=sum(day in counted and outcome is DoseOutcome.SKIPPED for day, outcome in doses),
        due=None if due is None else _decimal(due),
        covered=None if due is None else sum(_is_covered(day, timing, taken) for day, timing in regular),
        notice=prescription.notice,
    )


def _is_covered(day: date, timing: Timing, taken: Counter[date]) -> bool:
    """Tell whether what was taken suffices for a day: all doses of it, or one that lasts as long."""
    if timing.per_day >= 1:
        return taken[day] >= int(timing.per_day)
    lasting = ceil(1 / timing.per_day)
    return any(taken[day - timedelta(days=back)] for back in range(lasting))


def _regular(prescription: Prescription, day: date) -> Timing | None:
    dosage = prescription.dosage_on(day)
    return None if dosage.as_needed else dosage.timing


def _days(since: date, until: date) -> Iterator[date]:
    return (since + timedelta(days=number) for number in range((until - since).days + 1))


def _decimal(number: Fraction) -> Decimal:
    return (Decimal(number.numerator) / Decimal(number.denominator)).quantize(_THOUSANDTH)
