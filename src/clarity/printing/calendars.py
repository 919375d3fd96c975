"""Calendars for other programs: iCalendar (RFC 5545)."""

from collections.abc import Iterator
from datetime import datetime

from clarity.domain.schedule import Busy, BusyTimes


class CalendarFeed:
    """`CalendarPress`. Its instants are in UTC, so that it needs no time zones; no line is long enough to be folded."""

    def icalendar(self, times: BusyTimes) -> bytes:
        """Return an iCalendar object with the times, and of each nothing but an id."""
        return "".join(f"{line}\r\n" for line in _lines(times)).encode("ascii")


def _lines(times: BusyTimes) -> Iterator[str]:
    yield "BEGIN:VCALENDAR"
    yield "VERSION:2.0"
    yield "PRODID:-//Clarity//Appointments//EN"
    yield "METHOD:PUBLISH"
    # How often it is worth to look again (RFC 7986, 5.7).
    yield "REFRESH-INTERVAL;VALUE=DURATION:PT15M"
    for one in times.busy:
        yield from _event(one, times.at)
    yield "END:VCALENDAR"


def _event(one: Busy, at: datetime) -> Iterator[str]:
    yield "BEGIN:VEVENT"
    yield f"UID:urn:uuid:{one.appointment}"
    yield f"DTSTAMP:{_utc(at)}"
    yield f"LAST-MODIFIED:{_utc(one.changed_at)}"
    yield f"DTSTART:{_utc(one.span.start)}"
    yield f"DTEND:{_utc(one.span.end)}"
    yield "SUMMARY:Appointment"
    yield "CLASS:CONFIDENTIAL"
    yield "TRANSP:OPAQUE"
    yield "END:VEVENT"


def _utc(instant: datetime) -> str:
    return f"{instant:%Y%m%dT%H%M%SZ}"
