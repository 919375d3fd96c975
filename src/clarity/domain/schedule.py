"""When somebody can be seen: the practice's calendar, the days on which it is closed, series, and what is free."""

from calendar import monthrange
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta, tzinfo
from enum import StrEnum
from itertools import islice
from typing import Final

from clarity.domain.errors import Invalid
from clarity.domain.ids import AppointmentId, ClosureId, PractitionerId
from clarity.domain.practice_hours import PracticeHours, Span, day_in

SHORTEST: Final = timedelta(minutes=5)
LONGEST: Final = timedelta(hours=12)
FURTHEST: Final = timedelta(days=3 * 366)
"""How far ahead something may be planned: what is later than that is a slip of the pen."""

MOST_IN_SERIES: Final = 104
"""How many appointments one series may have: two years of weeks."""

MOST_DAYS_CLOSED: Final = 366
MOST_DAYS_SEARCHED: Final = 62
_MINUTE: Final = timedelta(minutes=1)
_DAY: Final = timedelta(days=1)


class Fold(StrEnum):
    """Which of two is meant where the clocks are put back, and a time on the wall comes twice."""

    FIRST = "first"
    SECOND = "second"


def instant_at(local: datetime, zone: tzinfo, fold: Fold | None = None) -> datetime:
    """Return the instant (UTC) at which the clock on a wall in `zone` shows `local`, which says nothing of a zone.

    Raises `Invalid` for a time that the clocks leave out as they are put forward, and, unless `fold` says which is
    meant, for one that comes twice as they are put back.
    """
    try:
        first, second = (local.replace(tzinfo=zone, fold=one).astimezone(UTC) for one in (0, 1))
    except OverflowError:
        raise Invalid("starts_at", "must be a time of the calendar") from None
    if first == second:
        return first
    if first.astimezone(zone).replace(tzinfo=None, fold=0) != local.replace(fold=0):
        raise Invalid("starts_at", "does not exist on that day: the clocks are put forward past it")
    if fold is None:
        raise Invalid("starts_at", "comes twice on that day, as the clocks are put back: say which with fold")
    return first if fold is Fold.FIRST else second


def span_of(start: datetime, minutes: int) -> Span:
    """Return the span from `start` (any zone) of so many minutes. Raises `Invalid` unless it is one to be seen in."""
    try:
        begin = start.astimezone(UTC)
        span = Span(begin, begin + timedelta(minutes=minutes))
    except OverflowError:
        raise Invalid("starts_at", "must be a time of the calendar") from None
    _require_usual(span)
    return span


def _require_usual(span: Span) -> None:
    if span.start.second or span.start.microsecond:
        raise Invalid("starts_at", "must be a full minute")
    length = span.end - span.start
    if not SHORTEST <= length <= LONGEST or length % _MINUTE:
        raise Invalid("minutes", f"must be whole ones, from {SHORTEST // _MINUTE} to {LONGEST // _MINUTE}")


class ClosureStatus(StrEnum):
    """Whether days are closed, or were taken back."""

    CLOSED = "closed"
    WITHDRAWN = "withdrawn"


@dataclass(frozen=True, slots=True, kw_only=True)
class Closure:
    """Days, the last included, on which nothing is booked: with one `practitioner`, or in the whole practice."""

    id: ClosureId
    first_day: date
    last_day: date
    practitioner: PractitionerId | None = None
    status: ClosureStatus = ClosureStatus.CLOSED

    def __post_init__(self) -> None:
        """Raise `Invalid` unless the days are in order, and few enough not to be a slip."""
        if not self.first_day <= self.last_day:
            raise Invalid("last_day", "must not be before first_day")
        if self.last_day - self.first_day >= timedelta(days=MOST_DAYS_CLOSED):
            raise Invalid("last_day", f"must be within {MOST_DAYS_CLOSED} days; close what is later by itself")

    def holds_for(self, practitioner: PractitionerId, day: date) -> bool:
        """Tell whether nothing is booked with `practitioner` on `day`."""
        whose = self.practitioner is None or self.practitioner == practitioner
        return whose and self.status is ClosureStatus.CLOSED and self.first_day <= day <= self.last_day


@dataclass(frozen=True, slots=True)
class Calendar:
    """The practice's calendar: its time zone, and its hours by the clock on its wall."""

    zone: tzinfo
    hours: PracticeHours = field(default_factory=PracticeHours)

    def instant(self, when: datetime, fold: Fold | None = None) -> datetime:
        """Return the instant (UTC) that is meant, be it said as one or as a time on the wall of the practice.

        Raises `Invalid` as `instant_at` does, and for a `fold` where there is nothing to choose from.
        """
        if when.tzinfo is None:
            return instant_at(when, self.zone, fold)
        if fold is not None:
            raise Invalid("fold", "is for a time that does not say how far it is from UTC")
        try:
            return when.astimezone(UTC)
        except OverflowError:
            raise Invalid("starts_at", "must be a time of the calendar") from None

    def days_of(self, span: Span) -> Iterator[date]:
        """Yield the days of the practice that a span touches."""
        day, last = (one.astimezone(self.zone).date() for one in (span.start, span.end - timedelta(microseconds=1)))
        while day <= last:
            yield day
            day += _DAY

    def day(self, day: date) -> Span:
        """Return a day of the practice. Raises `Invalid` for one at the end of the calendar."""
        try:
            return day_in(self.zone, day)
        except OverflowError:
            raise Invalid("day", "must be a day of the calendar") from None

    def opening(self, day: date) -> Span | None:
        """Return from when to when the practice is open on `day`, closures aside; `None` if it is not."""
        if not self.hours.first_weekday <= day.weekday() <= self.hours.last_weekday:
            return None
        midnight = datetime.combine(day, datetime.min.time())
        opens, closes = (
            (midnight + timedelta(minutes=one)).replace(tzinfo=self.zone).astimezone(UTC)
            for one in (self.hours.opens, self.hours.closes)
        )
        return Span(opens, closes) if opens < closes else None

    def is_open(self, span: Span) -> bool:
        """Tell whether the whole of a span is within the hours; one past midnight is where both days are open."""
        for day in self.days_of(span):
            whole, opening = day_in(self.zone, day), self.opening(day)
            part = Span(max(span.start, whole.start), min(span.end, whole.end))
            if opening is None or not (opening.start <= part.start and part.end <= opening.end):
                return False
        return True

    def require_bookable(
        self,
        span: Span,
        practitioner: PractitionerId,
        closures: Sequence[Closure],
        *,
        now: datetime,
        outside_hours: bool = False,
    ) -> None:
        """Raise `Invalid` unless something may be booked with `practitioner` from one instant until another.

        That is a time to come, not too far ahead, as long as appointments are, on no closed day, and, unless it is
        meant to be `outside_hours`, while the practice is open.
        """
        _require_usual(span)
        if span.start < now - _MINUTE:
            raise Invalid("starts_at", "must not be in the past")
        if span.start > now + FURTHEST:
            raise Invalid("starts_at", "must be within three years")
        if any(closure.holds_for(practitioner, day) for day in self.days_of(span) for closure in closures):
            raise Invalid("starts_at", "is on a day that is closed")
        if not outside_hours and not self.is_open(span):
            raise Invalid("starts_at", "is outside the hours of the practice; say outside_hours if that is meant")

    def free(
        self,
        first: date,
        last: date,
        practitioner: PractitionerId,
        minutes: int,
        *,
        closures: Sequence[Closure],
        busy: Iterable[Span],
        now: datetime,
    ) -> Iterator[Span]:
        """Yield what is free of `practitioner` from one day to another, in slots of so many minutes, one after another.

        A slot begins where the practice opens, where something ends, or where the slot before it ends.
        """
        taken = sorted(busy, key=lambda one: one.start)
        length = timedelta(minutes=minutes)
        for offset in range((last - first).days + 1):
            day = first + offset * _DAY
            opening = self.opening(day)
            if opening is None or any(closure.holds_for(practitioner, day) for closure in closures):
                continue
            start = opening.start
            if start < now:
                # By the clock that slots begin by, the next one that is still to come.
                start += -((start - now) // length) * length
            for one in [*(one for one in taken if opening.start < one.end and one.start < opening.end), None]:
                end = opening.end if one is None else one.start
                while start + length <= end:
                    yield Span(start, start + length)
                    start += length
                start = start if one is None else max(start, one.end)


class Frequency(StrEnum):
    """How often what recurs does. `monthly` is on the same weekday: the second Tuesday, or the last for a fifth."""

    WEEKLY = "weekly"
    FORTNIGHTLY = "fortnightly"
    MONTHLY = "monthly"


@dataclass(frozen=True, slots=True, kw_only=True)
class Recurrence:
    """How a series goes on: so many `times` in all, the first included."""

    frequency: Frequency
    times: int

    def __post_init__(self) -> None:
        """Raise `Invalid` for a series of one, or one without an end in sight."""
        if not 2 <= self.times <= MOST_IN_SERIES:
            raise Invalid("times", f"must be from 2 to {MOST_IN_SERIES}")

    def from_(self, local: datetime) -> Iterator[datetime]:
        """Yield each time by the clock on the wall, which shows the same at all of them, summer and winter."""
        return islice(self._unending(local), self.times)

    def _unending(self, local: datetime) -> Iterator[datetime]:
        week = (local.day - 1) // 7
        year, month = local.year, local.month
        while True:
            yield local
            if self.frequency is not Frequency.MONTHLY:
                local += timedelta(weeks=1 if self.frequency is Frequency.WEEKLY else 2)
                continue
            year, month = year + month // 12, month % 12 + 1
            local = datetime.combine(_weekday_of_month(year, month, local.weekday(), week), local.time())


def _weekday_of_month(year: int, month: int, weekday: int, week: int) -> date:
    """Return the weekday in a week of a month, counted from 0; the last one where there is no fifth."""
    first = date(year, month, 1)
    day = 1 + (weekday - first.weekday()) % 7 + 7 * week
    return first.replace(day=day if day <= monthrange(year, month)[1] else day - 7)


@dataclass(frozen=True, slots=True, kw_only=True)
class Busy:
    """That a practitioner is booked from one instant until another (UTC): by which appointment, and not with whom."""

    appointment: AppointmentId
    span: Span
    changed_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class BusyTimes:
    """When a practitioner is booked, as of an instant (UTC), for a calendar elsewhere."""

    practitioner: PractitionerId
    at: datetime
    busy: tuple[Busy, ...]
