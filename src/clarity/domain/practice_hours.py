"""The practice's calendar: when a day in it begins and ends, and at which hours somebody is expected to work."""

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from typing import Final, Self

from clarity.domain.errors import Invalid

_WEEKDAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_SATURDAY = 5
_SPELT = re.compile(r"([a-z]{3})-([a-z]{3}) (\d\d):(\d\d)-(\d\d):(\d\d)", re.ASCII)


@dataclass(frozen=True, slots=True)
class Span:
    """The instants from `start` until `end` (UTC), the end left out."""

    start: datetime
    end: datetime

    def overlaps(self, other: Self) -> bool:
        """Tell whether both have an instant in common: where one ends, another may begin."""
        return self.start < other.end and other.start < self.end


def day_in(zone: tzinfo, day: date) -> Span:
    """Return the calendar day `day` in `zone`: 23 or 25 hours where the clocks change in it."""
    start, end = (datetime.combine(one, time(), zone).astimezone(UTC) for one in (day, day + timedelta(days=1)))
    return Span(start, end)


def on_weekend(day: date) -> bool:
    """Tell whether a day is a Saturday or a Sunday."""
    return day.weekday() >= _SATURDAY


@dataclass(frozen=True, slots=True, kw_only=True)
class PracticeHours:
    """The hours at which the practice is open: the same on each of its weekdays, 0 for Monday.

    `opens` and `closes` are minutes from midnight by the clock on the wall. Holidays are not known.
    """

    first_weekday: int = 0
    last_weekday: int = 4
    opens: int = 7 * 60
    closes: int = 20 * 60

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the hours written as "mon-fri 07:00-20:00". Raises `Invalid` if they are written otherwise."""
        spelt = _SPELT.fullmatch(text.strip().lower())
        if spelt is None or spelt[1] not in _WEEKDAYS or spelt[2] not in _WEEKDAYS:
            raise Invalid("practice_hours", "must be written like mon-fri 07:00-20:00")
        opens, closes = (int(spelt[hour]) * 60 + int(spelt[hour + 1]) for hour in (3, 5))
        hours = cls(
            first_weekday=_WEEKDAYS.index(spelt[1]),
            last_weekday=_WEEKDAYS.index(spelt[2]),
            opens=opens,
            closes=closes,
        )
        minutes_fit = int(spelt[4]) < 60 and int(spelt[6]) < 60 and closes <= 24 * 60
        if hours.first_weekday > hours.last_weekday or not opens < closes or not minutes_fit:
            raise Invalid("practice_hours", "must begin before they end; always open is mon-sun 00:00-24:00")
        return hours

    def include(self, local: datetime) -> bool:
        """Tell whether the practice is open at an instant, given by the clock on its wall."""
        weekday_fits = self.first_weekday <= local.weekday() <= self.last_weekday
        return weekday_fits and self.opens <= local.hour * 60 + local.minute < self.closes
