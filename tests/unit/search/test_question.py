"""Ages become days of birth without anybody being let in or left out."""

from datetime import date, timedelta

from hypothesis import given
from hypothesis import strategies as st

from clarity.domain.dates import years_between
from clarity.domain.patients import PatientQuery
from clarity.search.question import Question

todays = st.dates() | st.sampled_from([date(2024, 2, 29), date(2023, 2, 28), date(2023, 3, 1), date(60, 2, 29)])


@given(todays, st.integers(0, 150), st.integers(-3, 3))
def test_a_day_is_within_an_age_exactly_if_somebody_born_on_it_has_it(today: date, age: int, days: int) -> None:
    question = Question.of(PatientQuery(min_age=age, max_age=age), today)
    near = today.toordinal() - age * 365 - age // 4 + days
    for ordinal in range(max(near - 40, 1), min(max(near + 40, 1), date.max.toordinal())):
        born = date.fromordinal(ordinal)
        assert (question.born_since <= ordinal <= question.born_by) is (years_between(born, today) == age)


@given(st.dates(), st.integers(0, 3_000))
def test_days_of_birth_are_bounds_that_are_included(first: date, days: int) -> None:
    last = first + timedelta(days) if (date.max - first).days > days else first
    question = Question.of(PatientQuery(born_from=first, born_to=last), date(2024, 1, 1))
    assert (question.born_since, question.born_by) == (first.toordinal(), last.toordinal())
    assert question.asks_birth is not (first == date.min and last == date.max)


def test_a_question_shows_nothing_in_a_repr() -> None:
    assert "lovelace" not in repr(Question.of(PatientQuery(name="Lovelace"), date(2024, 1, 1)))
