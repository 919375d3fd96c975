"""The rules of unusual access, by numbers and names that an officer could check by hand."""

from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as some

from clarity.domain.access import Role
from clarity.domain.errors import Invalid
from clarity.domain.ids import AccountId, PatientId, PractitionerId
from clarity.domain.names import HumanName
from clarity.domain.practice_hours import PracticeHours, day_in
from clarity.domain.unusual_access import (
    DAYS_BEFORE,
    MOST_NAMED,
    Holder,
    Look,
    PatientTies,
    Tie,
    Unusual,
    UsualHours,
    Watch,
    family_names,
    usual_volume,
    volume_limit,
)
from tests.builders import a_name, new_id

NEW_YORK = ZoneInfo("America/New_York")
NOON = datetime(2026, 3, 13, 16, 0, tzinfo=UTC)
ONE, OTHER = AccountId(new_id()), AccountId(new_id())
ALWAYS = PracticeHours.parse("mon-sun 00:00-24:00")


def a_look(account: AccountId = ONE, *, at: datetime = NOON, patient: PatientId | None = None) -> Look:
    return Look(at=at, account=account, role=Role.NURSE, patient=patient or PatientId(new_id()), listed=False)


def a_holder(name: str, also: Iterable[HumanName] = ()) -> Holder:
    return Holder(account=ONE, role=Role.NURSE, name=name, also=tuple(also))


def usual(practice: PracticeHours = ALWAYS, active: Iterable[tuple[AccountId, datetime]] = ()) -> UsualHours:
    return UsualHours.of(NEW_YORK, practice, active)


@pytest.mark.parametrize(
    ("day", "hours"), [(date(2026, 3, 7), 24), (date(2026, 3, 8), 23), (date(2026, 11, 1), 25), (date(2026, 1, 1), 24)]
)
def test_a_day_is_as_long_as_the_clocks_make_it(day: date, hours: int) -> None:
    span = day_in(NEW_YORK, day)
    assert span.end - span.start == timedelta(hours=hours)
    assert span.start.astimezone(NEW_YORK).hour == 0


@pytest.mark.parametrize(
    "text", ["", "mon-fri", "mon-fri 7-20", "fri-mon 07:00-20:00", "mon-fri 20:00-07:00", "mon-fri 07:60-20:00",
             "mon-fri 07:00-24:01", "mon-abc 07:00-20:00", "mon-fri 07:00-07:00", "mon-fri 25:00-26:00"],
)  # fmt: skip
def test_hours_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(Invalid, match="practice_hours"):
        PracticeHours.parse(text)


def test_hours_are_those_of_the_clock_on_the_wall() -> None:
    hours = PracticeHours.parse("Mon-Fri 07:00-20:00")
    assert hours == PracticeHours()
    assert hours.include(datetime(2026, 3, 13, 7, 0, tzinfo=NEW_YORK))
    assert hours.include(datetime(2026, 3, 13, 19, 59, 59, tzinfo=NEW_YORK))
    assert not hours.include(datetime(2026, 3, 13, 20, 0, tzinfo=NEW_YORK))
    assert not hours.include(datetime(2026, 3, 13, 6, 59, 59, tzinfo=NEW_YORK))
    assert not hours.include(datetime(2026, 3, 14, 12, 0, tzinfo=NEW_YORK))


def test_the_limit_is_the_median_and_some_deviations_more() -> None:
    assert volume_limit([1, 2, 3, 4]) is None
    # The median is 30, the median deviation from it 10: 30 + 3.5 · 10 / 0.6745.
    assert volume_limit([10, 20, 30, 40, 50]) == pytest.approx(81.8903, abs=1e-4)
    assert volume_limit([10, 20, 30, 40, 5_000]) == pytest.approx(81.8903, abs=1e-4)
    # Counts that do not vary are taken to vary by a tenth.
    assert volume_limit([100] * 9) == pytest.approx(151.8903, abs=1e-4)
    assert volume_limit([0] * 9) == pytest.approx(5.189, abs=1e-4)


def test_a_volume_is_usual_by_ones_own_days_or_by_those_of_others() -> None:
    busy = [{(ONE, Role.NURSE): 200, (OTHER, Role.NURSE): 10}] * DAYS_BEFORE
    assert usual_volume(ONE, Role.NURSE, {}, busy) == 303
    assert usual_volume(OTHER, Role.NURSE, {}, busy) == 303
    assert usual_volume(OTHER, Role.CLINICIAN, {}, busy) == 100
    quiet = [{(ONE, Role.NURSE): 1, (OTHER, Role.NURSE): 1}] * DAYS_BEFORE
    assert usual_volume(ONE, Role.NURSE, {}, quiet) == 20


@given(some.lists(some.integers(0, 100_000), max_size=60))
def test_no_limit_is_below_what_is_common(sample: list[int]) -> None:
    limit = volume_limit(sample)
    if limit is not None:
        assert sum(one <= limit for one in sample) * 2 >= len(sample)


@given(some.integers(0, 19), some.integers(1, 5))
def test_nobody_stands_out_by_few_patients(patients: int, looks: int) -> None:
    seen = sorted(new_id() for _ in range(patients))
    watch = Watch(usual(), {}, {(ONE, Role.NURSE): usual_volume(ONE, Role.NURSE, {(ONE, Role.NURSE): patients}, [])})
    ties = {PatientId(one): PatientTies(emergencies=(Tie(who=ONE, since=NOON),)) for one in seen}
    watch.look_through([a_look(patient=PatientId(one)) for one in seen for _ in range(looks)], ties, {})
    assert watch.findings(()) == ()


def test_a_finding_counts_all_patients_and_names_some() -> None:
    watch = Watch(usual(), {}, {(ONE, Role.NURSE): 100})
    seen = sorted(PatientId(new_id()) for _ in range(101))
    for start in range(0, 101, 10):
        looks = [
            a_look(patient=one, at=NOON + timedelta(seconds=hour))
            for one in seen[start : start + 10]
            for hour in (1, 2)
        ]
        watch.look_through(looks, {one: PatientTies(emergencies=(Tie(who=ONE, since=NOON),)) for one in seen}, {})
    [found] = watch.findings(())
    assert (found.kind, found.count, found.limit) == (Unusual.VOLUME, 101, 100)
    assert found.patients == tuple(seen[:MOST_NAMED])
    assert (found.first_at, found.last_at) == (NOON + timedelta(seconds=1), NOON + timedelta(seconds=2))


def test_an_hour_is_ones_own_after_two_days_and_not_on_the_other_kind_of_day() -> None:
    night = datetime(2026, 3, 11, 3, 15, tzinfo=NEW_YORK)
    once = usual(PracticeHours(), [(ONE, night), (ONE, night + timedelta(minutes=30))])
    assert not once.include(a_look(at=night + timedelta(days=2)))
    twice = usual(PracticeHours(), [(ONE, night), (ONE, night + timedelta(days=1))])
    assert twice.include(a_look(at=night + timedelta(days=2, minutes=40)))
    assert not twice.include(a_look(at=night + timedelta(days=2, minutes=-16)))
    assert not twice.include(a_look(OTHER, at=night + timedelta(days=2)))
    assert not twice.include(a_look(at=night + timedelta(days=3)))  # a Saturday


@pytest.mark.parametrize(
    ("holder", "patient", "same"),
    [
        (a_holder("Grace Hopper"), a_name("Hopper", "Eva"), True),
        (a_holder("Grace Hopper MD"), a_name("HOPPER", "Eva"), True),
        (a_holder("Hopper, Grace"), a_name("Hopper", "Eva"), True),
        (a_holder("Jan van der Berg"), a_name("van der Berg", "Eva"), True),
        (a_holder("O'Brien-Smith, Pat"), a_name("OBrien Smith", "Eva"), True),
        (a_holder("Dr. A.", [a_name("Muñoz", "Ana")]), a_name("Munoz", "Eva"), True),
        (a_holder("Grace Hopper"), HumanName(text="Eva Hopper"), True),
        (a_holder("Grace Hopper"), a_name("Hop", "Eva"), False),
        (a_holder("Grace Hopper"), a_name("Grace", "Eva"), False),
        (a_holder("Grace Hopper"), a_name("Copper", "Grace"), False),
        (a_holder("Dr. A.", [a_name("Weiss-Huber", "Ana")]), a_name("Weiss", "Eva"), False),
        (a_holder("Grace Hopper"), HumanName(given=("Eva",)), False),
    ],
)
def test_a_family_name_is_the_same_however_it_is_written(holder: Holder, patient: HumanName, *, same: bool) -> None:
    assert holder.shares_family_name(family_names([a_name("Zzz", "Eva"), patient])) is same
    assert "Hopper" not in repr(holder)


def test_two_clocks_may_differ_by_a_minute() -> None:
    practitioner = PractitionerId(new_id())
    ties = PatientTies(care_team=(Tie(who=practitioner, since=NOON, until=NOON + timedelta(hours=1)),))
    minute, moment = timedelta(minutes=1), timedelta(microseconds=1)
    for at, tied in (
        (NOON - minute, True),
        (NOON - minute - moment, False),
        (NOON + timedelta(hours=1) + minute, True),
        (NOON + timedelta(hours=1) + minute + moment, False),
    ):
        assert ties.explain(a_look(at=at), practitioner) is tied
        assert not ties.explain(a_look(at=at), None)
