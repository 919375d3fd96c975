"""What a patient is, what may be shown of one, and whom a query means."""

from collections.abc import Callable
from dataclasses import fields, replace
from datetime import UTC, date, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clarity.domain.dates import PartialDate
from clarity.domain.errors import Conflict, Invalid
from clarity.domain.identifiers import Identifier, IdentifierKind, npi_is_valid
from clarity.domain.names import NameUse
from clarity.domain.patients import (
    ALL_FIELDS,
    FIELD_BITS,
    Death,
    Patient,
    PatientCard,
    PatientField,
    PatientQuery,
    PatientSort,
    PatientStatus,
)
from clarity.domain.people import Address, Coding, Concept, EmergencyContact, Telecom, TelecomSystem
from clarity.domain.records import Label
from tests.builders import NOW, TODAY, a_name, a_patient
from tests.strategies import patients

SHOWN_IN_REPR = {"id", "care_team", "version"}


def card_of(patient: Patient) -> PatientCard:
    return PatientCard(
        changed_at=NOW, id=patient.id, names=patient.names, born=patient.born, identifiers=patient.identifiers
    )


def is_found(patient: Patient, **asked: Any) -> bool:
    return card_of(patient).matches(PatientQuery(**asked), TODAY)


def test_a_patient_may_appear_in_a_log() -> None:
    ada = a_patient(ssn="999-12-3456", email="ada@example.org", notes="prefers Earl Grey", mrn="MRN-77")
    shown = repr(ada)
    for content in ("Lovelace", "Ada", "1985", "999", "example", "Grey", "MRN-77"):
        assert content not in shown
    assert {item.name for item in fields(Patient) if item.repr} == SHOWN_IN_REPR


def test_the_status_follows_from_the_record() -> None:
    ada = a_patient()
    assert ada.status is PatientStatus.ACTIVE
    assert ada.discharge(TODAY, at=NOW).status is PatientStatus.DISCHARGED
    assert replace(ada.discharge(TODAY, at=NOW), death=Death()).status is PatientStatus.DECEASED


def test_nobody_is_discharged_twice() -> None:
    with pytest.raises(Conflict):
        a_patient().discharge(TODAY, at=NOW).discharge(TODAY, at=NOW)


def test_a_patient_goes_by_the_first_name_that_is_not_an_old_one() -> None:
    maiden, usual = a_name("Byron", use=NameUse.MAIDEN), a_name("King", use=NameUse.USUAL)
    assert a_patient(names=(maiden, usual)).name == usual
    assert a_patient(names=(maiden,)).name == maiden


@pytest.mark.parametrize(
    "broken",
    [
        {"names": ()},
        {"notes": "x" * 100_001},
        {"notes": "\x00"},
        {"label": Label.PSYCHOTHERAPY},
        {"sources": ("s",) * 101},
    ],
)
def test_a_patient_that_breaks_a_rule_cannot_be_made(broken: dict[str, Any]) -> None:
    with pytest.raises(Invalid) as refused:
        replace(a_patient(), **broken)
    assert refused.value.field == next(iter(broken))


def test_a_death_at_an_instant_needs_its_offset() -> None:
    Death(instant=datetime(2026, 1, 1, tzinfo=UTC))
    with pytest.raises(Invalid):
        Death(instant=datetime(2026, 1, 1))


def test_a_death_at_a_local_time_of_long_ago_is_not_taken_for_one_that_can_be_kept() -> None:
    with pytest.raises(Invalid):
        Death(instant=datetime(1900, 1, 1, tzinfo=ZoneInfo("Europe/Amsterdam")))


def test_numbers_of_two_assigners_are_two_wherever_a_bar_stands() -> None:
    one, other = Identifier.mrn("b|c", "a"), Identifier.mrn("c", "a|b")
    assert one.terms.isdisjoint(other.terms)


def test_what_is_not_shown_is_blank_and_comes_back() -> None:
    ada = a_patient(notes="private", ssn="999-12-3456")
    shown = ALL_FIELDS & ~PatientField.NOTES
    seen = ada.only(shown)
    assert (seen.notes, seen.identifiers) == ("", ada.identifiers)
    edited = replace(seen, mothers_maiden_name="Byron")
    assert edited.with_hidden_of(ada, shown) == replace(ada, mothers_maiden_name="Byron")


@given(patients, st.integers(1, 2**31 - 1))
def test_a_version_is_the_same_patient_with_another_number(patient: Patient, version: int) -> None:
    assert patient.at_version(version) == replace(patient, version=version)


def test_every_field_has_a_bit_and_every_bit_a_field() -> None:
    assert set(FIELD_BITS) == {item.name for item in fields(Patient)} - {"id", "version", "notice"}
    assert len(set(FIELD_BITS.values())) == len(FIELD_BITS)


def test_being_one_of_several_is_not_being_the_first_of_them() -> None:
    twin = replace(a_patient(), multiple_birth=True)
    assert replace(twin, multiple_birth=1).changed_from(twin) == PatientField.MULTIPLE_BIRTH


def test_changes_are_named_field_by_field() -> None:
    ada = a_patient()
    assert ada.changed_from(ada) == PatientField(0)
    assert replace(ada, notes="x", gender=a_patient().gender).changed_from(ada) == PatientField.NOTES


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ({}, True),
        ({"name": ""}, True),
        ({"name": "'"}, True),
        ({"name": "love"}, True),
        ({"name": "ada LOVE"}, True),
        ({"name": "byron"}, True),
        ({"name": "byron lovelace"}, False),
        ({"min_age": 40, "max_age": 40}, True),
        ({"max_age": 39}, False),
        ({"min_age": 41}, False),
        ({"born_from": date(1985, 12, 10), "born_to": date(1985, 12, 10)}, True),
        ({"born_from": date(1985, 12, 11)}, False),
        ({"born_to": date(1985, 12, 9)}, False),
        ({"identifier": "X1", "identifier_system": "urn:a"}, True),
        ({"identifier": "X1", "identifier_system": "urn:b"}, False),
    ],
)
def test_whom_a_query_means(asked: dict[str, Any], found: bool) -> None:
    passport = Identifier(kind=IdentifierKind.PASSPORT, value="X1", system="urn:a")
    ada = a_patient(names=(a_name(), a_name("Byron", use=NameUse.MAIDEN)), born="1985-12-10", identifiers=(passport,))
    assert is_found(ada, **asked) is found


@pytest.mark.parametrize(
    ("born", "asked", "found"),
    [
        ("1985", {"min_age": 41, "max_age": 41}, True),
        ("1985", {"min_age": 40, "max_age": 40}, True),
        ("1985", {"min_age": 42}, False),
        ("1985", {"max_age": 39}, False),
        ("1985", {"born_from": date(1985, 6, 1), "born_to": date(1985, 6, 2)}, True),
        ("1985-12", {"born_from": date(1985, 6, 1), "born_to": date(1985, 6, 2)}, False),
        ("2000-02-29", {"min_age": 26, "max_age": 26}, True),
    ],
)
def test_a_birth_date_known_in_part_matches_if_any_day_of_it_would(
    born: str,
    asked: dict[str, Any],
    found: bool,
) -> None:
    assert is_found(a_patient(born=born), **asked) is found


@given(st.dates(date(1900, 1, 1), TODAY), st.integers(0, 120), st.integers(0, 120))
def test_an_age_range_includes_both_its_bounds_and_nothing_else(born: date, low: int, high: int) -> None:
    low, high = sorted((low, high))
    ada = a_patient(born=str(PartialDate.of(born)))
    assert is_found(ada, min_age=low, max_age=high) is (low <= ada.age_on(TODAY) <= high)


def test_order_by_name_ignores_case_and_accents_and_by_age_puts_the_youngest_first() -> None:
    patients = [
        a_patient(name=a_name(family, given), born=born)
        for family, given, born in (
            ("Zorn", "Eva", "1990-01-01"),
            ("álvarez", "Bo", "1950-01-01"),
            ("Alvarez", "Al", "2010-05-05"),
        )
    ]
    by_name = PatientQuery()
    by_age = PatientQuery(sort=PatientSort.AGE)
    cards = [card_of(patient) for patient in patients]
    assert [card.names[0].given[0] for card in sorted(cards, key=lambda card: card.sort_key(by_name))] == [
        "Al",
        "Bo",
        "Eva",
    ]
    assert [card.names[0].given[0] for card in sorted(cards, key=lambda card: card.sort_key(by_age))] == [
        "Al",
        "Eva",
        "Bo",
    ]


@pytest.mark.parametrize(
    ("broken", "field"),
    [
        ({"min_age": -1}, "min_age"),
        ({"max_age": 151}, "max_age"),
        ({"min_age": 5, "max_age": 4}, "max_age"),
        ({"born_from": date(2020, 1, 2), "born_to": date(2020, 1, 1)}, "born_to"),
        ({"identifier_system": "urn:a"}, "identifier_system"),
        ({"name": "x" * 501}, "name"),
        ({"ssn": "\x00"}, "ssn"),
    ],
)
def test_a_query_nobody_could_match_is_refused(broken: dict[str, Any], field: str) -> None:
    with pytest.raises(Invalid) as refused:
        PatientQuery(**broken)
    assert refused.value.field == field


def test_two_spellings_of_one_question_are_one_question() -> None:
    assert PatientQuery(name="García  maría").normalised == PatientQuery(name="MARIA GARCIA").normalised
    assert PatientQuery(name="Garcia").normalised != PatientQuery(name="Garci").normalised


@pytest.mark.parametrize("text", ["999-12-3456", "999123456", " 999 12 3456 "])
def test_a_social_security_number_is_kept_in_one_spelling(text: str) -> None:
    assert Identifier.ssn(text).value == "999-12-3456"


@pytest.mark.parametrize("text", ["99912345", "9991234567", "abc-de-fghi", "٩٩٩١٢٣٤٥٦"])
def test_a_social_security_number_has_nine_digits(text: str) -> None:
    with pytest.raises(Invalid) as refused:
        Identifier.ssn(text)
    assert text not in str(refused.value)


@pytest.mark.parametrize(
    ("npi", "valid"), [("1234567893", True), ("1234567890", False), ("160", False), ("123456789३", False), ("", False)]
)
def test_the_check_digit_of_an_npi(npi: str, valid: bool) -> None:
    assert npi_is_valid(npi) is valid


@pytest.mark.parametrize(
    "broken",
    [
        lambda: Telecom(system=TelecomSystem.EMAIL, value="nobody"),
        lambda: Telecom(system=TelecomSystem.PHONE, value=" "),
        lambda: Telecom(system=TelecomSystem.PHONE, value="1", rank=0),
        Address,
        lambda: Address(city="x", latitude=91),
        lambda: Address(city="x", longitude=-181),
        Coding,
        Concept,
        EmergencyContact,
        lambda: Identifier(kind=IdentifierKind.OTHER, value=""),
    ],
)
def test_a_value_that_says_nothing_cannot_be_made(broken: Callable[[], object]) -> None:
    with pytest.raises(Invalid):
        broken()
