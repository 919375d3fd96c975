"""What a researcher sees of a patient has nothing by which the person could be told (45 CFR 164.514(b)(2))."""

import json
import re
from dataclasses import asdict, replace
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from clarity.domain.dates import PartialDate
from clarity.domain.deidentification import OLDEST_AGE, SPARSE_ZIPS, ResearchSubject, deidentified
from clarity.domain.identifiers import Identifier, IdentifierKind
from clarity.domain.names import HumanName
from clarity.domain.patients import Death, Patient
from clarity.domain.people import (
    Address,
    AddressUse,
    BirthSex,
    Category,
    Coding,
    Concept,
    EmergencyContact,
    Gender,
    Insurance,
    Language,
    Telecom,
    TelecomSystem,
)
from tests.builders import TODAY, a_patient
from tests.strategies import patients

PSEUDONYM = "00112233445566778899aabbccddeeff"
MARITAL = "http://terminology.hl7.org/CodeSystem/v3-MaritalStatus"
# Nothing of this looks like a code of a closed list, so whatever of it is found came through.
secrets = st.text(alphabet="QXZqxz", min_size=4, max_size=12).map(lambda text: f"Qz{text}")
concepts = st.builds(
    lambda text, code, display: Concept(text=text, codings=(Coding(system=MARITAL, code=code, display=display),)),
    secrets,
    secrets,
    secrets,
)
categories = st.builds(
    lambda text, code: Category(text=text, omb=(Coding(code=code, display=text),), detailed=(Coding(code=code),)),
    secrets,
    secrets,
)
days = st.dates(date(1900, 1, 1), TODAY).map(PartialDate.of)
secretive = st.builds(
    Patient,
    id=st.uuids(),
    names=st.builds(lambda text: (HumanName(family=text, given=(text,)),), secrets),
    born=days,
    identifiers=st.builds(
        lambda text, digits: (
            Identifier(kind=IdentifierKind.PASSPORT, value=text, system=text),
            Identifier.ssn(digits),
        ),
        secrets,
        st.from_regex(r"9[0-9]{2}-[1-9][0-9]-[0-9]{3}[1-9]", fullmatch=True),
    ),
    telecoms=st.builds(
        lambda text: (
            Telecom(system=TelecomSystem.EMAIL, value=f"{text}@{text}.example"),
            Telecom(system=TelecomSystem.URL, value=f"https://{text}.example"),
        ),
        secrets,
    ),
    addresses=st.builds(
        lambda text, zip_code: (
            Address(
                lines=(text,),
                city=text,
                district=text,
                state=text,
                postal_code=zip_code,
                text=text,
                latitude=42.123456,
                longitude=-71.654321,
            ),
        ),
        secrets,
        st.from_regex(r"[0-9]{5}(-[0-9]{4})?", fullmatch=True) | secrets,
    ),
    marital_status=concepts,
    languages=concepts.map(lambda concept: (Language(language=concept),)),
    death=st.none() | days.map(lambda day: Death(day=day)) | secrets.map(lambda _: Death()),
    race=categories,
    ethnicity=categories,
    mothers_maiden_name=secrets,
    birth_place=secrets.map(lambda text: Address(city=text)),
    contacts=secrets.map(lambda text: (EmergencyContact(name=HumanName(family=text)),)),
    insurances=secrets.map(lambda text: (Insurance(payer=text, member_id=text),)),
    notes=secrets,
    discharged=st.none() | st.dates(date(1980, 1, 1), TODAY),
    sources=secrets.map(lambda text: (text,)),
)


def seen(patient: Patient, *, shift: int = 100, today: date = TODAY) -> ResearchSubject:
    return deidentified(patient, pseudonym=PSEUDONYM, shift_days=shift, today=today)


def as_json(subject: ResearchSubject) -> str:
    return json.dumps(asdict(subject))


def values_in(value: Any) -> list[Any]:
    return [one for item in value for one in values_in(item)] if isinstance(value, list | tuple) else [value]


@given(secretive, st.integers(1, 365))
def test_nothing_of_the_person_comes_through(patient: Patient, shift: int) -> None:
    found = as_json(seen(patient, shift=shift))
    assert "qz" not in found.lower()
    assert "71.654" not in found
    assert str(patient.id) not in found
    assert patient.id.hex not in found
    ssn = patient.identifiers[-1].value
    assert ssn not in found
    assert ssn.replace("-", "") not in found
    assert re.search(r"[0-9]-", found) is None
    for day in (
        patient.born.first,
        patient.discharged,
        patient.death and patient.death.day and patient.death.day.first,
    ):
        if day:
            assert f"{day:%m-%d}" not in found
            assert f"{day:%Y%m%d}" not in found
    assert patient.addresses[0].postal_code not in found


CODES: dict[str, set[str | None]] = {
    "gender": {one.value for one in Gender},
    "birth_sex": {one.value for one in BirthSex} | {None},
    "state": {"", "MA"},
    "zip3": {""},
}


@given(patients, st.integers(1, 365))
@example(a_patient(born="0001-01-01"), 365)
def test_whatever_was_recorded_only_codes_of_closed_lists_and_numbers_are_shown(patient: Patient, shift: int) -> None:
    subject = asdict(seen(patient, shift=shift))
    texts = {name: [one for one in values_in(value) if isinstance(one, str)] for name, value in subject.items()}
    assert texts.pop("pseudonym") == [PSEUDONYM]
    for name, found in texts.items():
        for text in found:
            assert text in CODES.get(name, ()) or re.fullmatch(r"[a-z]{2,3}|other|[a-z-]{4,45}|", text), name
    assert 0 <= subject["age"] <= OLDEST_AGE


def test_codes_are_carried_over() -> None:
    patient = replace(
        a_patient(born="1985-12-10"),
        birth_sex=BirthSex.FEMALE,
        marital_status=Concept(text="Wed in 2009 to Bob", codings=(Coding(system=MARITAL, code="M"),)),
        languages=(
            Language(language=Concept(codings=(Coding(system="urn:ietf:bcp:47", code="en-US"),))),
            Language(language=Concept(codings=(Coding(system="urn:ietf:bcp:47", code="nus"),), text="Nuer")),
        ),
        race=Category(
            text="Ugly words", omb=(Coding(code="2106-3"), Coding(code="1002-5")), detailed=(Coding(code="1735-0"),)
        ),
        ethnicity=Category(text="x", omb=(Coding(code="2186-5"),)),
        addresses=(Address(lines=("1 A Road",), city="Boston", state="Massachusetts", postal_code="02115-1234"),),
    )
    assert seen(patient) == ResearchSubject(
        pseudonym=PSEUDONYM,
        age=40,
        gender=Gender.FEMALE,
        birth_sex=BirthSex.FEMALE,
        marital_status="married",
        languages=("en", "other"),
        race=("american-indian-or-alaska-native", "white"),
        ethnicity=("not-hispanic-or-latino",),
        state="MA",
        zip3="021",
        birth_year=1985,
    )


@pytest.mark.parametrize("prefix", sorted(SPARSE_ZIPS))
def test_sparse_zip_codes_are_zeroed(prefix: str) -> None:
    patient = replace(a_patient(), addresses=(Address(state="VT", postal_code=f"{prefix}17"),))
    assert seen(patient).zip3 == "000"


def test_the_list_of_hhs_is_among_the_sparse_ones() -> None:
    of_hhs = "036 692 878 059 790 879 063 821 884 102 823 890 203 830 893 556 831"
    assert set(of_hhs.split()) <= SPARSE_ZIPS
    assert len(of_hhs.split()) == 17


@pytest.mark.parametrize(
    ("address", "place"),
    [
        (Address(state="ma", postal_code="02115", country="USA"), ("MA", "021")),
        (Address(state="MA", postal_code="021154321", country="U.S."), ("MA", "021")),
        (Address(state="Bayern", postal_code="80331", country="DE"), ("", "")),
        (Address(state="Lovelace Manor", postal_code="2115"), ("", "")),
        (Address(state="MA", postal_code="021"), ("MA", "")),
        (Address(city="Boston"), ("", "")),
    ],
)
def test_a_place_is_a_state_and_three_digits(address: Address, place: tuple[str, str]) -> None:
    subject = seen(replace(a_patient(), addresses=(address,)))
    assert (subject.state, subject.zip3) == place


def test_the_place_is_where_the_patient_lives_now() -> None:
    old = Address(state="NY", postal_code="10001", use=AddressUse.OLD)
    work = Address(state="NH", postal_code="03055", use=AddressUse.WORK)
    home = Address(state="MA", postal_code="02115", use=AddressUse.HOME)
    assert seen(replace(a_patient(), addresses=(old, work, home))).state == "MA"
    assert seen(replace(a_patient(), addresses=(old, work))).state == "NH"
    assert seen(replace(a_patient(), addresses=(old,))).state == ""


@given(st.dates(date(1850, 1, 1), TODAY), st.integers(1, 365))
def test_ages_over_89_are_one_and_no_year_tells_them(born: date, shift: int) -> None:
    patient = replace(a_patient(), born=PartialDate.of(born), discharged=date(2020, 5, 1))
    subject = seen(patient, shift=shift)
    age_today = patient.age_on(TODAY)
    if age_today >= OLDEST_AGE:
        assert subject.age == OLDEST_AGE
    if subject.age == OLDEST_AGE:
        assert (subject.birth_year, subject.discharge_year) == (None, None)
        assert age_today >= OLDEST_AGE - 1
    else:
        assert 0 <= age_today - subject.age <= 1


@pytest.mark.parametrize("born", ["1936-01-01", "1936-03-14", "1936-03-15", "1936-12-31", "1990-07-04"])
def test_an_age_does_not_change_on_a_birthday(born: str) -> None:
    patient = a_patient(born=born)
    days = [date(2026, 1, 1) + timedelta(days=number) for number in range(365)]
    assert len({seen(patient, today=day) for day in days}) == 1


def test_the_dead_have_the_age_they_reached() -> None:
    died = replace(a_patient(born="1930-06-01"), death=Death(day=PartialDate.parse("1980-05-31")))
    assert seen(died).age == 49
    assert seen(died).death_year == 1980
    assert seen(replace(died, death=Death(day=PartialDate.parse("2020-06-02")))).age == OLDEST_AGE
    assert seen(replace(died, death=Death(day=PartialDate.parse("2020-06-02")))).death_year is None
    of_unknown_day = seen(replace(died, death=Death()))
    assert (of_unknown_day.deceased, of_unknown_day.age, of_unknown_day.death_year) == (True, OLDEST_AGE, None)
    late = Death(instant=datetime(2001, 1, 1, 3, tzinfo=UTC))
    assert seen(replace(died, death=late), shift=1).death_year == 2000


@given(st.dates(date(1986, 1, 1), TODAY), st.integers(0, 3_000), st.integers(1, 365))
def test_dates_are_moved_together(discharged: date, later: int, shift: int) -> None:
    died = PartialDate.of(discharged + timedelta(days=later))
    patient = replace(a_patient(), discharged=discharged, death=Death(day=died))
    subject = seen(patient, shift=shift)
    assert subject.days_from_discharge_to_death == later
    assert subject.discharge_year == (discharged - timedelta(days=shift)).year
    assert subject.death_year == (died.first - timedelta(days=shift)).year
    years = [subject.birth_year, subject.discharge_year, subject.death_year]
    assert all(earlier <= after for earlier, after in pairwise(year for year in years if year is not None))


def test_dates_that_are_not_exact_give_no_distance() -> None:
    patient = replace(
        a_patient(born="1985"), discharged=date(2020, 1, 5), death=Death(day=PartialDate.parse("2021-03"))
    )
    subject = seen(patient)
    assert (subject.birth_year, subject.days_from_discharge_to_death) == (1985, None)
