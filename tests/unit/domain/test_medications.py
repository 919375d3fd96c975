"""Prescriptions: what is refused, when they hold, which overlap, and how much was taken."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest

from clarity.domain.adherence import adherence_to, looked_back, period_of
from clarity.domain.dates import PartialDate
from clarity.domain.dosages import Dosage, Dose, DoseUnit, PeriodUnit, Route, Timing
from clarity.domain.errors import Conflict, Invalid
from clarity.domain.ids import PatientId, PrescriptionId
from clarity.domain.interactions import DoseOutcome, InteractionQuery, first_id_at
from clarity.domain.medications import (
    Activity,
    End,
    Likeness,
    Prescription,
    PrescriptionStatus,
    Substance,
    overlap_of,
    overlaps_among,
    substances_in,
)
from clarity.domain.records import Label
from tests.builders import NOW, TODAY, a_prescription, an_interaction, new_id

PATIENT = PatientId(new_id())
TWICE = Timing(frequency=2)


def mg(value: str) -> Dose:
    return Dose(value=Decimal(value), unit=DoseUnit.MILLIGRAM)


def ordered(**content: Any) -> Prescription:
    return a_prescription(PATIENT, **content)


@pytest.mark.parametrize(
    ("value", "unit"),
    [
        ("-50", "mg"),
        ("0", "mg"),
        ("NaN", "mg"),
        ("Infinity", "mg"),
        ("100001", "mg"),
        ("0.0000001", "mg"),
        ("101", "{tablet}"),
        ("500.5", "g"),
        ("1e9", None),
    ],
)
def test_a_dose_that_nobody_means_is_refused_by_its_value(value: str, unit: str | None) -> None:
    with pytest.raises(Invalid) as refused:
        Dose(value=Decimal(value), unit=None if unit is None else DoseUnit(unit))
    assert refused.value.field == "value"


def test_units_are_ucum_and_are_read_as_people_write_them() -> None:
    written = {"mg": "mg", "mcg": "ug", "µg": "ug", "IU": "[iU]", "units": "[iU]", "ml": "mL", "Tablets": "{tablet}"}
    assert {word: DoseUnit.written(word).value for word in written} == written
    assert DoseUnit.written("[iU]") is DoseUnit.INTERNATIONAL_UNIT
    for unknown in ("", "stone", "Mg/day", "tablespoonful"):
        with pytest.raises(Invalid, match="unit"):
            DoseUnit.written(unknown)


def test_every_route_has_a_code_of_its_own() -> None:
    assert len({route.code for route in Route}) == len(Route)
    assert all(Route.coded(route.code) is route for route in Route)
    with pytest.raises(Invalid, match="route"):
        Route.coded("123")


@pytest.mark.parametrize(
    ("timing", "field"),
    [
        ({"frequency": 0}, "frequency"),
        ({"frequency": 289}, "frequency"),
        ({"frequency": 2, "period_unit": PeriodUnit.MINUTE}, "frequency"),
        ({"period": Decimal(0)}, "period"),
        ({"period": Decimal(-1)}, "period"),
        ({"period": Decimal("NaN")}, "period"),
    ],
)
def test_as_often_as_nobody_means_is_refused(timing: dict[str, Any], field: str) -> None:
    with pytest.raises(Invalid) as refused:
        Timing(**timing)
    assert refused.value.field == field


def test_how_often_comes_to_so_many_a_day() -> None:
    assert Timing(period=Decimal(6), period_unit=PeriodUnit.HOUR).per_day == 4
    assert Timing(period_unit=PeriodUnit.WEEK).per_day * 7 == 1
    assert str(Timing(period=Decimal(6), period_unit=PeriodUnit.HOUR)) == "1x/6 h"


@pytest.mark.parametrize(
    ("dosage", "field"),
    [
        (Dosage(), "dosage.dose"),
        (Dosage(dose=Dose(value=Decimal(1))), "dosage.dose.unit"),
        (Dosage(dose=mg("5"), timing=TWICE), "dosage.route"),
        (Dosage(dose=mg("5"), route=Route.ORAL), "dosage.timing"),
        (Dosage(dose=mg("5"), route=Route.ORAL, as_needed=True), "dosage.as_needed_for"),
    ],
)
def test_an_order_says_how_much_by_what_route_and_how_often(dosage: Dosage, field: str) -> None:
    with pytest.raises(Invalid) as refused:
        ordered(dosage=dosage).require_order(TODAY)
    assert refused.value.field == field


@pytest.mark.parametrize(
    ("content", "field"),
    [
        ({"name": " "}, "name"),
        ({"code": "RX-12"}, "code"),
        ({"start": "1850"}, "start"),
        ({"start": "2026-03-10", "until": date(2026, 3, 9)}, "until"),
        ({"end": End(on=PartialDate.parse("2025-12"), known_on=TODAY)}, "end.on"),
        ({"label": Label.PSYCHOTHERAPY}, "label"),
    ],
)
def test_a_prescription_that_is_none_is_refused_by_its_field(content: dict[str, Any], field: str) -> None:
    with pytest.raises(Invalid) as refused:
        ordered(**content)
    assert refused.value.field == field
    with pytest.raises(Invalid, match="start"):
        ordered(start="2027-06-01").require_order(TODAY)
    with pytest.raises(Invalid, match="prescribed_by"):
        replace(ordered(), prescribed_by="").require_order(TODAY)


def test_a_contact_that_is_none_is_refused_by_its_field() -> None:
    with pytest.raises(Invalid, match="prescription"):
        an_interaction(PATIENT, dose=DoseOutcome.TAKEN)
    with pytest.raises(Invalid, match="offset"):
        an_interaction(PATIENT, occurred_at=datetime(2026, 1, 1))
    with pytest.raises(Invalid, match="future"):
        an_interaction(PATIENT, occurred_at=NOW + timedelta(days=1)).require_past(NOW)


def test_it_holds_from_its_start_to_its_end_but_for_pauses() -> None:
    order = ordered(start="2026-01-10")
    order = order.held(date(2026, 2, 1), "Nausea", TODAY)
    assert order.status is PrescriptionStatus.ON_HOLD
    order = order.resumed(date(2026, 2, 5), TODAY).stopped(date(2026, 3, 1), "Remission", TODAY)
    assert order.status is PrescriptionStatus.STOPPED
    on = {day: order.activity_on(date.fromisoformat(day)) for day in ("2026-01-09", "2026-01-10", "2026-01-31")}
    assert list(on.values()) == [Activity.NO, Activity.ACTIVE, Activity.ACTIVE]
    held = [order.activity_on(date(2026, 2, day)) for day in (1, 4, 5)]
    assert held == [Activity.ON_HOLD, Activity.ON_HOLD, Activity.ACTIVE]
    assert order.activity_on(date(2026, 2, 28)) is Activity.ACTIVE
    assert order.activity_on(date(2026, 3, 1)) is Activity.NO
    assert order.marked_mistaken("Of another patient.").activity_on(date(2026, 1, 20)) is Activity.NO


def test_what_is_known_to_the_year_or_not_at_all_is_perhaps() -> None:
    vague = ordered(start="2020")
    assert [vague.activity_on(date(year, 6, 1)) for year in (2019, 2020, 2021)] == [
        *(Activity.NO, Activity.PERHAPS, Activity.ACTIVE)
    ]
    stopped = ordered(start="2020-01-01", end=End(on=None, known_on=TODAY))
    assert stopped.activity_on(date(2021, 1, 1)) is Activity.PERHAPS
    assert stopped.activity_on(TODAY) is Activity.NO
    planned = ordered(start="2026-01-01", until=date(2026, 1, 14))
    assert [planned.activity_on(date(2026, 1, day)) for day in (14, 15)] == [Activity.ACTIVE, Activity.NO]


def test_what_is_done_to_it_has_its_order_in_time() -> None:
    order = ordered(start="2026-01-10")
    held = order.held(TODAY, "Surgery", TODAY)
    too_early: tuple[tuple[Callable[[], object], str], ...] = (
        (lambda: order.stopped(date(2026, 1, 9), "x", TODAY), "day"),
        (lambda: order.stopped(TODAY + timedelta(days=1), "x", TODAY), "day"),
        (lambda: order.stopped(TODAY, " ", TODAY), "reason"),
        (lambda: held.resumed(TODAY - timedelta(days=1), TODAY), "day"),
        (lambda: held.resumed(TODAY, TODAY).held(date(2026, 2, 1), "x", TODAY), "day"),
        (lambda: order.changed({"code": "999"}, since=None, today=TODAY), "code"),
        (lambda: order.changed({}, since=date(2026, 1, 10), today=TODAY), "since"),
    )
    for refused, why in too_early:
        with pytest.raises(Invalid) as invalid:
            refused()
        assert invalid.value.field == why
    stopped = order.stopped(TODAY, "Done", TODAY, completed=True)
    assert stopped.status is PrescriptionStatus.COMPLETED
    too_late: tuple[Callable[[], object], ...] = (
        lambda: held.held(TODAY, "x", TODAY),
        lambda: order.resumed(TODAY, TODAY),
        lambda: stopped.stopped(TODAY, "x", TODAY),
        lambda: stopped.changed({}, since=None, today=TODAY),
        lambda: order.marked_mistaken("x").marked_mistaken("y"),
    )
    for late in too_late:
        with pytest.raises(Conflict):
            late()


def test_a_changed_dosage_holds_from_its_day_and_a_corrected_one_from_the_start() -> None:
    order, more = ordered(start="2026-01-10"), Dosage(dose=mg("100"), route=Route.ORAL, timing=Timing())
    changed = order.changed({"dosage": more}, since=date(2026, 2, 1), today=TODAY)
    assert changed.dosage_on(date(2026, 1, 31)) == order.dosage
    assert changed.dosage_on(date(2026, 2, 1)) == more
    assert order.changed({"dosage": more}, since=None, today=TODAY).dosage_on(date(2026, 1, 10)) == more


@pytest.mark.parametrize(
    ("name", "substances"),
    [
        ("lisinopril 10 MG Oral Tablet", ("lisinopril",)),
        ("24 HR Metformin hydrochloride 500 MG Extended Release Oral Tablet", ("metformin",)),
        ("Abuse-Deterrent 12 HR Oxycodone Hydrochloride 15 MG Extended Release Oral Tablet", ("oxycodone",)),
        ("1 ML Epoetin Alfa 4000 UNT/ML Injection [Epogen]", ("epoetin alfa",)),
        ("Acetaminophen 300 MG / HYDROcodone Bitartrate 5 MG [Vicodin]", ("acetaminophen", "hydrocodone")),
        ("lithium carbonate 300 MG Oral Capsule", ("lithium",)),
        ("Yaz 28 Day Pack", ()),
        ("Sertraline", ()),
    ],
)
def test_a_name_of_rxnorm_tells_its_substances(name: str, substances: tuple[str, ...]) -> None:
    assert substances_in(name) == substances


def test_orders_of_one_substance_overlap_on_the_days_that_both_hold() -> None:
    first = ordered(name="Sertraline 50 MG Oral Tablet", code="312941", start="2026-01-01", until=date(2026, 2, 28))
    second = ordered(name="sertraline hydrochloride 100 MG Oral Tablet", code="312938", start="2026-02-01")
    overlap = overlap_of(first, second)
    assert overlap is not None
    assert (overlap.likeness, overlap.substances) == (Likeness.SAME_SUBSTANCE, ("sertraline",))
    assert (overlap.since, overlap.until) == (date(2026, 2, 1), date(2026, 2, 28))
    again = replace(second, id=PrescriptionId(new_id()), code="312941", name="Zoloft")
    same = overlap_of(first, again)
    assert same is not None
    assert (same.likeness, same.substances) == (Likeness.SAME_DRUG, ())
    later = ordered(name="Sertraline 50 MG Oral Tablet", start="2026-03-01")
    combined = ordered(
        name="Symbyax", start="2026-01-15", ingredients=(Substance(name="Olanzapine"), Substance(name="Sertraline"))
    )
    other = ordered(name="Olanzapine 5 MG Oral Tablet", start="2026-01-20")
    assert overlap_of(first, later) is None
    assert overlap_of(first, second.marked_mistaken("Twice")) is None
    assert overlap_of(first, replace(second, end=End(on=None, known_on=TODAY))) is None
    pairs = {frozenset(one.prescriptions) for one in overlaps_among((first, combined, other, later))}
    assert pairs == {
        frozenset({first.id, combined.id}),
        frozenset({combined.id, other.id}),
        frozenset({combined.id, later.id}),
    }
    assert len(overlaps_among((first, combined, other, later), at_most=2)) == 2


def told(*days: int, outcome: DoseOutcome = DoseOutcome.TAKEN) -> list[tuple[date, DoseOutcome]]:
    return [(date(2026, 2, day), outcome) for day in days]


def test_adherence_is_of_the_doses_due_and_of_the_days_covered() -> None:
    twice = ordered(start="2026-01-01", dosage=Dosage(dose=mg("50"), route=Route.ORAL, timing=TWICE))
    doses = [*told(1, 1, 2, 3, 3, 3), *told(2, outcome=DoseOutcome.SKIPPED)]
    found = adherence_to(twice, doses, date(2026, 2, 1), date(2026, 2, 4))
    assert (found.days, found.due, found.taken, found.skipped) == (4, Decimal(8), 6, 1)
    assert (found.dose_ratio, found.days_covered) == (Decimal("0.750"), Decimal("0.500"))
    paused = twice.held(date(2026, 2, 3), "Nausea", TODAY)
    assert adherence_to(paused, doses, date(2026, 2, 1), date(2026, 2, 4)).days == 2


def test_a_dose_that_lasts_covers_the_days_it_lasts() -> None:
    weekly = ordered(
        start="2026-01-01",
        dosage=Dosage(dose=mg("70"), route=Route.ORAL, timing=Timing(period_unit=PeriodUnit.WEEK)),
    )
    assert looked_back(weekly, date(2026, 2, 5)) == date(2026, 1, 29)
    found = adherence_to(weekly, told(3), date(2026, 2, 5), date(2026, 2, 14))
    assert (found.covered, found.days, found.taken) == (5, 10, 0)


def test_of_what_is_taken_as_needed_adherence_is_not_told() -> None:
    needed = Dosage(dose=mg("1"), route=Route.ORAL, as_needed=True, as_needed_for="anxiety")
    found = adherence_to(ordered(dosage=needed), told(1), date(2026, 2, 1), date(2026, 2, 4))
    assert (found.due, found.dose_ratio, found.days_covered, found.taken) == (None, None, None, 1)


@pytest.mark.parametrize(
    ("since", "until", "field"),
    [
        (date(2026, 2, 2), date(2026, 2, 1), "until"),
        (date(2025, 1, 1), date(2026, 2, 1), "since"),
        (None, TODAY + timedelta(days=1), "until"),
        (None, date.min, "until"),
        (date.min, None, "since"),
    ],
)
def test_a_period_that_is_none_is_refused_by_its_field(since: date | None, until: date | None, field: str) -> None:
    assert period_of(None, None, TODAY) == (TODAY - timedelta(days=29), TODAY)
    with pytest.raises(Invalid) as refused:
        period_of(since, until, TODAY)
    assert refused.value.field == field


def test_contacts_are_asked_for_by_times_that_there_are() -> None:
    beginning = datetime(2026, 1, 1, tzinfo=UTC)
    early, late = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=timezone(timedelta(hours=-12)))
    for since, until, field in ((early, None, "since"), (None, late, "until"), (beginning, beginning, "until")):
        with pytest.raises(Invalid) as refused:
            InteractionQuery(since=since, until=until)
        assert refused.value.field == field
    assert first_id_at(beginning) < new_id()
