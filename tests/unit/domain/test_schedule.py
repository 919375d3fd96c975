"""The practice's calendar: clocks that change, hours, closed days, series, and what is free."""

from contextlib import suppress
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as some

from clarity.domain.errors import Invalid
from clarity.domain.ids import ClosureId, PractitionerId
from clarity.domain.practice_hours import PracticeHours, Span
from clarity.domain.schedule import (
    Calendar,
    Closure,
    ClosureStatus,
    Fold,
    Frequency,
    Recurrence,
    instant_at,
    span_of,
)
from tests.builders import new_id

NEW_YORK, LORD_HOWE = ZoneInfo("America/New_York"), ZoneInfo("Australia/Lord_Howe")
ANNA, CARL = (PractitionerId(new_id()) for _ in range(2))
NOW = datetime(2026, 3, 14, 9, 26, 53, tzinfo=UTC)
MONDAY = date(2026, 3, 16)
CALENDAR = Calendar(NEW_YORK)
ALWAYS = Calendar(NEW_YORK, PracticeHours.parse("mon-sun 00:00-24:00"))


def at(hour: int, minute: int = 0, *, day: date = MONDAY) -> datetime:
    return instant_at(datetime.combine(day, time(hour, minute)), NEW_YORK)


def between(start: datetime, end: datetime) -> Span:
    return Span(start, end)


def refused(span: Span, *closures: Closure, calendar: Calendar = CALENDAR, outside_hours: bool = False) -> str:
    with pytest.raises(Invalid) as raised:
        calendar.require_bookable(span, ANNA, closures, now=NOW, outside_hours=outside_hours)
    return f"{raised.value.field} {raised.value.rule}"


def test_a_time_that_the_clocks_leave_out_is_none() -> None:
    for missing, zone in (
        (datetime(2026, 3, 8, 2, 0), NEW_YORK),
        (datetime(2026, 3, 8, 2, 59), NEW_YORK),
        (datetime(2026, 10, 4, 2, 15), LORD_HOWE),  # by half an hour
    ):
        for fold in (None, Fold.FIRST, Fold.SECOND):
            with pytest.raises(Invalid, match="does not exist"):
                instant_at(missing, zone, fold)
    assert instant_at(datetime(2026, 3, 8, 1, 59), NEW_YORK) == datetime(2026, 3, 8, 6, 59, tzinfo=UTC)
    assert instant_at(datetime(2026, 3, 8, 3, 0), NEW_YORK) == datetime(2026, 3, 8, 7, 0, tzinfo=UTC)


def test_a_time_that_comes_twice_needs_to_be_said_which() -> None:
    twice = datetime(2026, 11, 1, 1, 30)
    with pytest.raises(Invalid, match="comes twice"):
        instant_at(twice, NEW_YORK)
    assert instant_at(twice, NEW_YORK, Fold.FIRST) == datetime(2026, 11, 1, 5, 30, tzinfo=UTC)
    assert instant_at(twice, NEW_YORK, Fold.SECOND) == datetime(2026, 11, 1, 6, 30, tzinfo=UTC)
    once = datetime(2026, 11, 1, 2, 0)
    assert instant_at(once, NEW_YORK) == instant_at(once, NEW_YORK, Fold.SECOND)


@given(some.datetimes(min_value=datetime(1971, 1, 1), max_value=datetime(2100, 1, 1)), some.sampled_from(Fold))
def test_every_instant_shows_the_time_it_was_made_from(local: datetime, fold: Fold) -> None:
    local = local.replace(fold=0)
    for zone in (NEW_YORK, LORD_HOWE):
        with suppress(Invalid):  # as the clocks leave it out
            assert instant_at(local, zone, fold).astimezone(zone).replace(tzinfo=None, fold=0) == local


def test_what_is_booked_is_a_time_to_come_of_usual_length() -> None:
    CALENDAR.require_bookable(span_of(at(9), 50), ANNA, (), now=NOW)
    late = NOW.replace(second=0, microsecond=0)
    ALWAYS.require_bookable(span_of(late, 30), ANNA, (), now=NOW)  # somebody at the door
    assert "past" in refused(between(late - timedelta(minutes=1), late + timedelta(minutes=29)), calendar=ALWAYS)
    assert "three years" in refused(span_of(at(9, day=date(2030, 3, 18)), 30))
    for minutes in (4, 721, -30, 0):
        with pytest.raises(Invalid, match="minutes"):
            span_of(at(9), minutes)
    with pytest.raises(Invalid, match="full minute"):
        span_of(at(9) + timedelta(seconds=1), 30)
    assert "minutes" in refused(between(at(9), at(9) + timedelta(minutes=30, seconds=30)))
    with pytest.raises(Invalid):
        span_of(datetime.max.replace(tzinfo=UTC, second=0, microsecond=0), 30)


def test_hours_are_kept_unless_it_is_meant_otherwise() -> None:
    for span in (span_of(at(6, 45), 30), span_of(at(19, 45), 30), span_of(at(9, day=date(2026, 3, 21)), 30)):
        assert "outside the hours" in refused(span)
        CALENDAR.require_bookable(span, ANNA, (), now=NOW, outside_hours=True)
    for span in (span_of(at(7), 30), span_of(at(19, 30), 30), span_of(at(23, 45, day=MONDAY), 30)):
        assert ALWAYS.is_open(span)
    assert CALENDAR.is_open(span_of(at(19, 30), 30))
    # On the Sunday on which clocks go forward the night is an hour shorter, and the hours are by the clock.
    sundays = Calendar(NEW_YORK, PracticeHours.parse("sun-sun 01:00-04:00"))
    opening = sundays.opening(date(2026, 3, 8))
    assert opening is not None
    assert opening.end - opening.start == timedelta(hours=2)


def test_a_closed_day_is_closed_also_for_what_begins_before_it() -> None:
    tuesday = MONDAY + timedelta(days=1)
    closed = Closure(id=ClosureId(new_id()), first_day=tuesday, last_day=tuesday)
    over_midnight = span_of(at(23, 45), 30)
    assert "closed" in refused(span_of(at(9, day=tuesday), 30), closed)
    assert "closed" in refused(over_midnight, closed, calendar=ALWAYS, outside_hours=True)
    ALWAYS.require_bookable(span_of(at(23, 30), 30), ANNA, (closed,), now=NOW)
    of_carl = Closure(id=ClosureId(new_id()), first_day=MONDAY, last_day=MONDAY, practitioner=CARL)
    taken_back = Closure(id=closed.id, first_day=MONDAY, last_day=tuesday, status=ClosureStatus.WITHDRAWN)
    CALENDAR.require_bookable(span_of(at(9), 30), ANNA, (of_carl, taken_back), now=NOW)
    for last in (MONDAY - timedelta(days=1), MONDAY + timedelta(days=366)):
        with pytest.raises(Invalid, match="last_day"):
            Closure(id=closed.id, first_day=MONDAY, last_day=last)


def test_a_series_is_on_the_same_weekday_at_the_same_time() -> None:
    def days(frequency: Frequency, first: date, times: int) -> list[str]:
        found = Recurrence(frequency=frequency, times=times).from_(datetime.combine(first, time(9)))
        return [f"{one:%m-%d %H}" for one in found]

    assert days(Frequency.WEEKLY, MONDAY, 3) == ["03-16 09", "03-23 09", "03-30 09"]
    assert days(Frequency.FORTNIGHTLY, MONDAY, 3) == ["03-16 09", "03-30 09", "04-13 09"]
    assert days(Frequency.MONTHLY, MONDAY, 3) == ["03-16 09", "04-20 09", "05-18 09"]  # the third Monday
    fifth = date(2026, 10, 30)  # the fifth Friday, of which November has none
    assert days(Frequency.MONTHLY, fifth, 4) == ["10-30 09", "11-27 09", "12-25 09", "01-29 09"]
    for times in (1, 105):
        with pytest.raises(Invalid, match="times"):
            Recurrence(frequency=Frequency.WEEKLY, times=times)


def test_what_is_free_is_what_is_left_within_the_hours() -> None:
    busy = [between(at(9, 10), at(10)), between(at(8), at(9)), between(at(19, 30), at(21)), between(at(6), at(7, 30))]
    friday = MONDAY - timedelta(days=3)

    def free(first: date, last: date, minutes: int, *closures: Closure, now: datetime = NOW) -> list[datetime]:
        return [one.start for one in CALENDAR.free(first, last, ANNA, minutes, closures=closures, busy=busy, now=now)]

    found = free(friday, MONDAY, 60)
    assert (found[0], found[-1], len(found)) == (at(10), at(18), 9)
    assert free(MONDAY, MONDAY, 10)[:5] == [at(7, 30), at(7, 40), at(7, 50), at(9), at(10)]
    assert free(MONDAY, MONDAY, 60, now=at(12, 20))[0] == at(13)
    closed = Closure(id=ClosureId(new_id()), first_day=MONDAY, last_day=MONDAY)
    assert free(MONDAY, MONDAY, 60, closed) == []


@given(
    some.lists(some.tuples(some.integers(0, 1500), some.integers(5, 200)), max_size=8),
    some.integers(5, 240),
    some.integers(0, 1440),
)
def test_nothing_that_is_free_is_taken_over_or_outside_the_hours(
    booked: list[tuple[int, int]], minutes: int, now: int
) -> None:
    start = at(0)
    busy = [between(start + timedelta(minutes=at_), start + timedelta(minutes=at_ + length)) for at_, length in booked]
    clock = start + timedelta(minutes=now)
    last = None
    for slot in CALENDAR.free(MONDAY, MONDAY, ANNA, minutes, closures=(), busy=busy, now=clock):
        assert slot.start >= clock
        assert slot.end - slot.start == timedelta(minutes=minutes)
        assert CALENDAR.is_open(slot)
        assert not any(slot.overlaps(one) for one in busy)
        assert last is None or slot.start >= last.end
        last = slot
