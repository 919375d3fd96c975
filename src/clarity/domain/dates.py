"""Dates as medicine knows them: sometimes only a year or a month."""

import re
from calendar import monthrange
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Final, Self

from clarity.domain.errors import Invalid
from clarity.domain.values import Confidential

CLOCKS_DIFFER: Final = timedelta(minutes=1)
"""How far apart the clocks of two servers of one practice may be: they are set by the network."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_PATTERN = re.compile(r"(\d{4})(?:-(\d{2})(?:-(\d{2}))?)?", re.ASCII)


@dataclass(frozen=True, slots=True, repr=False)
class PartialDate(Confidential):
    """A FHIR `date`: a year, a year and month, or a day (FHIR R4, 2.24.0.1). It stands for its whole span."""

    year: int
    month: int | None = None
    day: int | None = None

    def __post_init__(self) -> None:
        """Raise `Invalid` unless the calendar has such a year, month or day."""
        if self.month is None and self.day is not None:
            raise Invalid("", "a day needs its month")
        try:
            date(self.year, self.month or 1, self.day or 1)
        except ValueError:
            raise Invalid("", "must be a date of the calendar") from None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the date written as `YYYY`, `YYYY-MM` or `YYYY-MM-DD`, or raise `Invalid`."""
        match = _PATTERN.fullmatch(text)
        if match is None:
            raise Invalid("", "must be a date such as 1985, 1985-04 or 1985-04-12")
        year, month, day = match.groups()
        return cls(int(year), int(month) if month else None, int(day) if day else None)

    @classmethod
    def of(cls, day: date) -> Self:
        """Return `day` as an exact date."""
        return cls(day.year, day.month, day.day)

    @property
    def first(self) -> date:
        """The first day it can mean."""
        return date(self.year, self.month or 1, self.day or 1)

    @property
    def last(self) -> date:
        """The last day it can mean."""
        month = self.month or 12
        return date(self.year, month, self.day or monthrange(self.year, month)[1])

    def __str__(self) -> str:
        """Write the date as FHIR does, in its own precision."""
        if self.day is not None:
            return f"{self.year:04}-{self.month:02}-{self.day:02}"
        return f"{self.year:04}" if self.month is None else f"{self.year:04}-{self.month:02}"


def years_between(start: date, day: date) -> int:
    """Return the years completed from `start` to `day`; from 29 February, they complete on 1 March."""
    return day.year - start.year - ((day.month, day.day) < (start.month, start.day))


def latest_day(at: datetime) -> date:
    """Return the day it is at an instant (UTC) where days begin first, fourteen hours before UTC."""
    return (at + timedelta(hours=14)).date()


def microseconds_of(instant: datetime) -> int:
    """Return the microseconds from 1970 in UTC to `instant`."""
    return (instant - _EPOCH) // _MICROSECOND


def instant_of(microseconds: int) -> datetime:
    """Return the instant so many microseconds after 1970 began in UTC."""
    return _EPOCH + microseconds * _MICROSECOND
