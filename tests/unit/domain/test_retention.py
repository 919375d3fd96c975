"""How long a record is kept."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from clarity.domain.access import OPERATOR
from clarity.domain.dates import PartialDate, latest_day, years_between
from clarity.domain.errors import Retained
from clarity.domain.patients import Death, LegalHold
from clarity.domain.retention import Kept, Retention, years_after
from tests.builders import NOW, TODAY, a_patient

DAYS = st.dates(date(1900, 1, 1), date(2200, 12, 31))
INSTANTS = DAYS.map(lambda day: datetime(day.year, day.month, day.day, 9, 30, tzinfo=UTC))
BIRTHS = st.one_of(
    DAYS.map(PartialDate.of),
    DAYS.map(lambda day: PartialDate(day.year, day.month)),
    DAYS.map(lambda day: PartialDate(day.year)),
)
YEARS = st.integers(1, 60)
GONE = a_patient(discharged=date(1900, 1, 1))


def end_of(years: int, born: PartialDate, changed_at: datetime, discharged: date = date(1900, 1, 1)) -> date:
    """Return when the record of a discharged patient may go."""
    until = Retention(years).of(replace(GONE, born=born, discharged=discharged), changed_at).until
    assert until is not None
    return until


@given(YEARS, BIRTHS, INSTANTS, INSTANTS)
def test_what_happens_later_is_kept_no_shorter(years: int, born: PartialDate, one: datetime, other: datetime) -> None:
    first, second = sorted((one, other))
    assert end_of(years, born, first) <= end_of(years, born, second)


@given(YEARS, DAYS, DAYS, INSTANTS)
def test_who_is_born_later_is_kept_no_shorter(years: int, one: date, other: date, changed_at: datetime) -> None:
    elder, younger = (PartialDate.of(day) for day in sorted((one, other)))
    assert end_of(years, elder, changed_at) <= end_of(years, younger, changed_at)


@given(YEARS, YEARS, BIRTHS, INSTANTS)
def test_more_years_keep_no_shorter(one: int, other: int, born: PartialDate, changed_at: datetime) -> None:
    fewer, more = sorted((one, other))
    assert end_of(fewer, born, changed_at) <= end_of(more, born, changed_at)


@given(YEARS, BIRTHS, INSTANTS, DAYS)
def test_nothing_goes_before_its_years_are_over(
    years: int, born: PartialDate, changed_at: datetime, discharged: date
) -> None:
    until = end_of(years, born, changed_at, discharged)
    assert years_between(changed_at.date(), until) >= years
    assert years_between(discharged, until) >= years


@given(YEARS, BIRTHS, INSTANTS)
def test_nothing_goes_before_majority_and_ten_years(years: int, born: PartialDate, changed_at: datetime) -> None:
    assert years_between(born.last, end_of(years, born, changed_at)) >= 28


@given(YEARS, DAYS, INSTANTS)
def test_a_birth_that_is_not_exact_is_taken_for_the_last_it_can_mean(
    years: int, born: date, changed_at: datetime
) -> None:
    exact, month, year = PartialDate.of(born), PartialDate(born.year, born.month), PartialDate(born.year)
    ends = [end_of(years, one, changed_at) for one in (exact, month, year)]
    assert ends == sorted(ends)


@given(DAYS, YEARS)
def test_years_are_complete_on_the_day_that_ends_them(day: date, years: int) -> None:
    assert years_between(day, years_after(day, years)) == years
    assert years_between(day, years_after(day, years) - timedelta(days=1)) == years - 1


@pytest.mark.parametrize(
    ("day", "years", "end"),
    [
        (date(2024, 2, 29), 10, date(2034, 3, 1)),
        (date(2024, 2, 29), 28, date(2052, 2, 29)),
        (date(2072, 2, 29), 28, date(2100, 3, 1)),
        (date(2026, 3, 14), 9000, date.max),
    ],
)
def test_leap_days_and_the_end_of_the_calendar(day: date, years: int, end: date) -> None:
    assert years_after(day, years) == end


@pytest.mark.parametrize(
    ("born", "discharged", "end"),
    [
        ("1985-12-10", "2020-05-01", "2030-05-01"),
        # Seventeen at discharge: ten years from then would end earlier.
        ("2003-06-01", "2020-05-01", "2031-06-01"),
        ("2003-06", "2020-05-01", "2031-06-30"),
        ("2003", "2020-05-01", "2031-12-31"),
        # Of age at discharge, and until recently not.
        ("2001-06-01", "2020-05-01", "2030-05-01"),
        # On the day of majority, both ends are the same.
        ("2002-05-01", "2020-05-01", "2030-05-01"),
    ],
)
def test_ten_years_and_for_minors_until_28(born: str, discharged: str, end: str) -> None:
    changed_at = datetime(2020, 1, 1, tzinfo=UTC)
    assert end_of(10, PartialDate.parse(born), changed_at, date.fromisoformat(discharged)) == date.fromisoformat(end)


def test_who_came_of_age_in_care_is_kept_until_28_also_where_the_years_are_few() -> None:
    changed_at = datetime(2020, 1, 1, tzinfo=UTC)
    assert end_of(5, PartialDate.parse("2000-06-01"), changed_at) == date(2028, 6, 1)


@pytest.mark.parametrize(
    ("death", "last"),
    [
        (Death(day=PartialDate.parse("2021")), date(2021, 12, 31)),
        (Death(day=PartialDate.parse("2021-02-03")), date(2021, 2, 3)),
        (Death(instant=datetime(2021, 2, 3, 12, tzinfo=UTC)), date(2021, 2, 4)),
        (Death(), date(2020, 1, 1)),
    ],
)
def test_the_years_begin_with_the_last_that_happened(death: Death, last: date) -> None:
    changed_at = datetime(2020, 1, 1, tzinfo=UTC)
    assert Retention(10).of(replace(GONE, death=death), changed_at).until == years_after(last, 10)
    assert Retention(10).of(replace(GONE, discharged=None, death=death), changed_at).until == years_after(last, 10)


@given(INSTANTS)
def test_a_change_counts_from_the_day_that_it_is_anywhere(changed_at: datetime) -> None:
    old = PartialDate.parse("1850")
    assert end_of(10, old, changed_at) == years_after(latest_day(changed_at), 10)


def test_whoever_is_in_care_is_kept() -> None:
    kept = Retention(1).of(a_patient(), datetime(1950, 1, 1, tzinfo=UTC))
    assert kept.until is None
    with pytest.raises(Retained, match="as long as the patient is in care"):
        kept.require_over(date.max)


def test_a_hold_keeps_what_else_might_go() -> None:
    held = GONE.hold(LegalHold(basis="Docket 26-117", since=NOW, by=OPERATOR))
    kept = Retention(1).of(held, datetime(1950, 1, 1, tzinfo=UTC))
    with pytest.raises(Retained, match="legal hold"):
        kept.require_over(date.max)
    Retention(1).of(held.release(), datetime(1950, 1, 1, tzinfo=UTC)).require_over(TODAY)


@given(DAYS, DAYS)
def test_a_record_may_go_from_its_day_on(until: date, today: date) -> None:
    assume(until != today)
    Kept(until=until).require_over(until)
    if today > until:
        Kept(until=until).require_over(today)
    else:
        with pytest.raises(Retained) as refusal:
            Kept(until=until).require_over(today)
        assert str(until.year) in str(refusal.value)
        assert str(until) not in str(refusal.value)
