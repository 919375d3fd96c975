"""Dates may be a year or a month, and stand for all of it."""

from datetime import UTC, date, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clarity.domain.dates import PartialDate, latest_day, years_between
from clarity.domain.errors import Invalid


@pytest.mark.parametrize(
    ("text", "first", "last"),
    [
        ("1985", date(1985, 1, 1), date(1985, 12, 31)),
        ("1984-02", date(1984, 2, 1), date(1984, 2, 29)),
        ("1985-12-10", date(1985, 12, 10), date(1985, 12, 10)),
    ],
)
def test_a_date_keeps_its_precision_and_spans_what_it_can_mean(text: str, first: date, last: date) -> None:
    when = PartialDate.parse(text)
    assert (str(when), when.first, when.last) == (text, first, last)


@pytest.mark.parametrize(
    "text", ["", "85", "1985-13", "1985-02-30", "1985-2-3", "0000", "1985-12-10T00:00", "١٩٨٥", "1985-12-10\n"]
)
def test_what_is_no_date_is_refused_without_repeating_it(text: str) -> None:
    with pytest.raises(Invalid) as refused:
        PartialDate.parse(text)
    assert len(text) < 3 or text not in str(refused.value)


def test_a_day_without_a_month_is_no_date() -> None:
    with pytest.raises(Invalid):
        PartialDate(1985, None, 3)


@given(st.dates())
def test_a_day_survives_writing_and_reading(day: date) -> None:
    assert PartialDate.parse(str(PartialDate.of(day))) == PartialDate.of(day)


def test_a_date_does_not_show_in_a_repr() -> None:
    assert "1985" not in repr(PartialDate(1985))


@pytest.mark.parametrize(
    ("born", "day", "years"),
    [
        (date(2000, 2, 29), date(2018, 2, 28), 17),
        (date(2000, 2, 29), date(2018, 3, 1), 18),
        (date(2000, 2, 29), date(2020, 2, 29), 20),
        (date(2000, 5, 5), date(2020, 5, 4), 19),
        (date(2000, 5, 5), date(2020, 5, 5), 20),
    ],
)
def test_years_are_completed_on_the_birthday(born: date, day: date, years: int) -> None:
    assert years_between(born, day) == years


def test_a_day_begins_where_it_begins_first() -> None:
    assert latest_day(datetime(2026, 3, 14, 9, 59, tzinfo=UTC)) == date(2026, 3, 14)
    assert latest_day(datetime(2026, 3, 14, 10, 0, tzinfo=UTC)) == date(2026, 3, 15)
