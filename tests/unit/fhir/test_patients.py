"""What FHIR says of a patient is what the practice knows, and the other way round."""

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clarity.domain.dates import PartialDate
from clarity.domain.identifiers import Identifier, IdentifierKind, IdentifierUse
from clarity.domain.ids import PatientId
from clarity.domain.names import HumanName, NameUse, Period
from clarity.domain.patients import Death, Patient, PatientField
from clarity.domain.people import (
    Address,
    AddressType,
    AddressUse,
    BirthSex,
    Category,
    Coding,
    Concept,
    EmergencyContact,
    Gender,
    Language,
    Telecom,
    TelecomSystem,
    TelecomUse,
)
from clarity.fhir.datatypes import IDENTIFIER_TYPES
from clarity.fhir.patients import patient_to_fhir, read_patient
from tests.builders import new_id
from tests.bundles import CORE, FHIR, OMB, a_bundle, a_fhir_patient, a_full_fhir_patient, an_identifier, problem_of

SOURCE = "import|Patient/p1"

# White space at the ends and empty strings are no text in FHIR.
text = st.text(alphabet=st.characters(codec="utf-8", exclude_categories=("C", "Z")), min_size=1, max_size=12)
dates = st.builds(PartialDate.of, st.dates()) | st.builds(PartialDate, st.integers(1, 9999), st.integers(1, 12))
instants = st.datetimes(
    min_value=datetime(2, 1, 1),
    max_value=datetime(9998, 1, 1),
    timezones=st.sampled_from([UTC, timezone(timedelta(hours=-4))]),
)
maybe_text = st.just("") | text
periods = st.none() | st.builds(Period, start=dates) | st.builds(Period, end=dates)


def some(of: st.SearchStrategy[Any], at_least: int = 0) -> st.SearchStrategy[tuple[Any, ...]]:
    return st.lists(of, min_size=at_least, max_size=2).map(tuple)


def one_of(enum: Any) -> st.SearchStrategy[Any]:
    return st.none() | st.sampled_from(enum)


codings = st.builds(Coding, system=maybe_text, code=text, display=maybe_text)
concepts = st.builds(Concept, codings=some(codings, 1), text=maybe_text)
names = st.builds(
    HumanName,
    family=text,
    given=some(text),
    prefix=some(text),
    suffix=some(text),
    text=maybe_text,
    use=one_of(NameUse),
    period=periods,
)
telecoms = st.builds(
    Telecom,
    system=st.sampled_from([system for system in TelecomSystem if system is not TelecomSystem.EMAIL]),
    value=text,
    use=one_of(TelecomUse),
    rank=st.none() | st.integers(1, 9),
    period=periods,
)
addresses = st.builds(
    Address,
    lines=some(text, 1),
    city=maybe_text,
    district=maybe_text,
    state=maybe_text,
    postal_code=maybe_text,
    country=maybe_text,
    text=maybe_text,
    use=one_of(AddressUse),
    type=one_of(AddressType),
    period=periods,
    latitude=st.none() | st.floats(-90, 90),
    longitude=st.none() | st.floats(-180, 180),
)
identifiers = st.builds(
    Identifier, kind=st.just(IdentifierKind.OTHER), value=text, use=one_of(IdentifierUse), period=periods
) | st.builds(
    Identifier,
    kind=st.sampled_from([IdentifierKind.MRN, IdentifierKind.PASSPORT, IdentifierKind.DRIVERS_LICENSE]),
    value=text,
    system=maybe_text,
    type=st.none(),
)
categories = st.builds(Category, text=text, omb=some(codings), detailed=some(codings))
patients = st.builds(
    Patient,
    id=st.builds(new_id),
    names=some(names, 1),
    born=dates,
    gender=st.sampled_from(Gender),
    identifiers=some(identifiers),
    telecoms=some(telecoms),
    addresses=some(addresses),
    birth_sex=one_of(BirthSex),
    marital_status=st.none() | concepts,
    languages=some(st.builds(Language, language=concepts, preferred=st.none() | st.booleans())),
    death=st.none() | st.just(Death()) | st.builds(Death, day=dates) | st.builds(Death, instant=instants),
    race=st.none() | categories,
    ethnicity=st.none() | categories,
    mothers_maiden_name=maybe_text,
    birth_place=st.none() | addresses,
    multiple_birth=st.none() | st.booleans() | st.integers(1, 9),
    contacts=some(
        st.builds(
            EmergencyContact,
            name=st.none() | names,
            relationships=some(concepts),
            telecoms=some(telecoms, 1),
            address=st.none() | addresses,
            gender=one_of(Gender),
            period=periods,
        )
    ),
    sources=st.just((SOURCE,)),
)


def read(resource: dict[str, Any]) -> Patient:
    return read_patient(json.dumps(resource).encode(), PatientId(new_id()), SOURCE)


def typed(identifier: Identifier) -> Identifier:
    """Return an identifier whose kind is also said by its type, as it comes back from FHIR."""
    codes = {IdentifierKind.MRN: "MR", IdentifierKind.PASSPORT: "PPN", IdentifierKind.DRIVERS_LICENSE: "DL"}
    if identifier.type is not None or identifier.kind not in codes:
        return identifier
    concept = Concept(codings=(Coding(system=IDENTIFIER_TYPES, code=codes[identifier.kind]),))
    return Identifier(kind=identifier.kind, value=identifier.value, system=identifier.system, type=concept)


@given(patients)
def test_what_goes_out_comes_back_as_it_was(patient: Patient) -> None:
    resource = json.dumps(patient_to_fhir(patient)).encode()
    came_back = read_patient(resource, patient.id, SOURCE)
    assert not came_back.changed_from(patient) & ~PatientField.IDENTIFIERS
    assert came_back.identifiers == tuple(map(typed, patient.identifiers))
    assert repr(came_back.multiple_birth) == repr(patient.multiple_birth)


def test_everything_that_fhir_says_of_a_patient_is_taken_in() -> None:
    patient = read(a_full_fhir_patient())
    assert patient.born == PartialDate(1985, 12)
    assert patient.gender is Gender.FEMALE
    assert patient.sources == (SOURCE,)
    assert patient.names == (
        HumanName(use=NameUse.OFFICIAL, family="Lovelace", given=("Ada", "King"), prefix=("Mrs.",)),
        HumanName(use=NameUse.MAIDEN, family="Byron", given=("Ada",), suffix=("II",), text="Ada Byron"),
    )
    assert [(one.kind, one.value) for one in patient.identifiers] == [
        (IdentifierKind.MRN, "S-1"),
        (IdentifierKind.SSN, "999-16-5745"),
        (IdentifierKind.DRIVERS_LICENSE, "D-1"),
        (IdentifierKind.PASSPORT, "X-1"),
        (IdentifierKind.OTHER, "E-1"),
    ]
    assert patient.identifiers[0].use is IdentifierUse.USUAL
    assert patient.identifiers[0].period == Period(start=PartialDate(2001, 2))
    assert patient.telecoms == (
        Telecom(system=TelecomSystem.PHONE, value="555-0123", use=TelecomUse.MOBILE, rank=1),
        Telecom(system=TelecomSystem.EMAIL, value="ada@example.com"),
        Telecom(system=TelecomSystem.OTHER, value="none given"),
    )
    assert patient.addresses == (
        Address(
            use=AddressUse.HOME,
            type=AddressType.BOTH,
            lines=("12 Ockham Park",),
            city="Ripley",
            district="Surrey",
            state="MA",
            postal_code="01013",
            country="US",
            text="12 Ockham Park, Ripley",
            period=Period(start=PartialDate(2001, 5, 6)),
            latitude=42.3,
            longitude=-70.86926700000002,
        ),
    )
    assert patient.race == Category(
        text="White European",
        omb=(Coding(system=OMB, code="2106-3", display="White"),),
        detailed=(Coding(system=OMB, code="2108-9"),),
    )
    assert patient.ethnicity == Category(text="unknown")
    assert patient.birth_sex is BirthSex.FEMALE
    assert patient.mothers_maiden_name == "Anne Milbanke"
    assert patient.birth_place == Address(city="London", country="GB")
    assert patient.death == Death(instant=datetime(2020, 11, 28, 4, 30, 0, 500_000, tzinfo=UTC))
    assert patient.marital_status == Concept(codings=(Coding(system="http://m.example", code="M", display="Married"),))
    assert patient.multiple_birth == 2
    assert patient.languages == (Language(language=Concept(text="English"), preferred=True),)
    assert patient.contacts == (
        EmergencyContact(
            relationships=(Concept(text="mother"),),
            name=HumanName(family="Milbanke"),
            telecoms=(Telecom(system=TelecomSystem.PHONE, value="555-0199"),),
            address=Address(city="Kirkby"),
            gender=Gender.FEMALE,
            period=Period(end=PartialDate(1852)),
        ),
    )


@pytest.mark.parametrize(
    ("elements", "death"),
    [
        ({}, None),
        ({"deceasedBoolean": False}, None),
        ({"deceasedBoolean": True}, Death()),
        ({"deceasedDateTime": "2020"}, Death(day=PartialDate(2020))),
        ({"deceasedDateTime": "2016-12-31T23:59:60Z"}, Death(instant=datetime(2016, 12, 31, 23, 59, 59, tzinfo=UTC))),
    ],
)
def test_a_death_is_known_as_exactly_as_the_source_says(elements: dict[str, Any], death: Death | None) -> None:
    assert read(a_fhir_patient("p1", **elements)).death == death


def test_a_social_security_number_that_is_none_is_kept_as_another_number() -> None:
    patient = read(a_fhir_patient("p1", identifier=[an_identifier("999-AB-1234", "SS")]))
    assert [(one.kind, one.value) for one in patient.identifiers] == [(IdentifierKind.OTHER, "999-AB-1234")]


def test_a_type_of_identifier_counts_in_its_own_code_system_only() -> None:
    elsewhere = {"type": {"coding": [{"system": "http://x.example", "code": "MR"}]}, "value": "1"}
    before_r4 = {"type": {"coding": [{"system": "http://hl7.org/fhir/v2/0203", "code": "MR"}]}, "value": "2"}
    patient = read(a_fhir_patient("p1", identifier=[elsewhere, before_r4]))
    assert [one.kind for one in patient.identifiers] == [IdentifierKind.OTHER, IdentifierKind.MRN]


def test_a_category_without_the_text_that_us_core_requires_is_told_by_its_codes() -> None:
    parts = [{"url": "ombCategory", "valueCoding": {"code": code, "display": name}} for code, name in ("aA", "bB")]
    empty: dict[str, Any] = {"url": f"{CORE}/us-core-ethnicity", "extension": []}
    race = {"url": f"{CORE}/us-core-race", "extension": parts}
    patient = read(a_fhir_patient("p1", extension=[race, empty]))
    assert patient.race is not None
    assert patient.race.text == "A, B"
    assert patient.ethnicity is None


@pytest.mark.parametrize(
    ("elements", "problem"),
    [
        ({"birthDate": None}, "Patient.birthDate: is missing"),
        ({"birthDate": ""}, "Patient.birthDate: must be a date such as 1985, 1985-04 or 1985-04-12"),
        ({"birthDate": "2023-02-29"}, "Patient.birthDate: must be a date of the calendar"),
        ({"birthDate": 1985}, "Patient.birthDate: must be a string"),
        ({"gender": "xx"}, "Patient.gender: must be one of the codes that FHIR defines for it"),
        ({"name": None}, "Patient.name: a patient needs a name"),
        ({"name": {"family": "F"}}, "Patient.name: must be a list"),
        ({"name": ["F"]}, "Patient.name.0: must be an object"),
        (
            {"name": [{"family": "F", "use": "pen"}]},
            "Patient.name.0.use: must be one of the codes that FHIR defines for it",
        ),
        ({"name": [{"family": 3}]}, "Patient.name.0.family: must be a string"),
        (
            {"name": [{"family": "F"}, {"prefix": ["Mx"]}]},
            "Patient.name.1.family: a name needs a family name, a given name or a text",
        ),
        ({"name": [{"family": "F", "given": ["a", 5]}]}, "Patient.name.0.given.1: must be a string"),
        ({"name": [{"family": "a\u0000b"}]}, "Patient.name.0.family: must not contain control characters"),
        (
            {"name": [{"family": "F", "period": {"start": "2002", "end": "2001"}}]},
            "Patient.name.0.period.end: must not be before the start",
        ),
        (
            {"name": [{"family": "F", "period": {"start": "2002-01-01T10:00"}}]},
            "Patient.name.0.period.start: must be a date, or a date and time with an offset from UTC",
        ),
        (
            {"telecom": [{"system": "pigeon", "value": "coo"}]},
            "Patient.telecom.0.system: must be one of the codes that FHIR defines for it",
        ),
        (
            {"telecom": [{"system": "phone", "value": "1", "use": "beach"}]},
            "Patient.telecom.0.use: must be one of the codes that FHIR defines for it",
        ),
        ({"telecom": [{"value": "1"}]}, "Patient.telecom.0.system: is missing"),
        (
            {"telecom": [{"system": "phone", "value": "1", "rank": 0}]},
            "Patient.telecom.0.rank: must be a whole number within its bounds",
        ),
        (
            {"address": [{"city": "C", "use": "beach"}]},
            "Patient.address.0.use: must be one of the codes that FHIR defines for it",
        ),
        (
            {"address": [{"city": "C", "type": "castle"}]},
            "Patient.address.0.type: must be one of the codes that FHIR defines for it",
        ),
        (
            {"identifier": [{"value": "1", "use": "never"}]},
            "Patient.identifier.0.use: must be one of the codes that FHIR defines for it",
        ),
        (
            {"identifier": [{"value": "1", "type": {"coding": [{"system": "s"}]}}]},
            "Patient.identifier.0.type.coding.0.code: a coding needs a code or a display",
        ),
        ({"identifier": [{"value": "1" * 201}]}, "Patient.identifier.0.value: must be at most 200 characters"),
        ({"communication": [{}]}, "Patient.communication.0.language: is missing"),
        ({"communication": [{"language": {}}]}, "Patient.communication.0.language: is missing"),
        (
            {"deceasedBoolean": False, "deceasedDateTime": "2020"},
            "Patient.deceasedDateTime: must not be given beside deceasedBoolean",
        ),
        ({"deceasedDateTime": "2020-01-01T25:00:00Z"}, "Patient.deceasedDateTime: must be a time of the clock"),
        ({"deceasedDateTime": "0001-01-01T00:00:00+14:00"}, "Patient.deceasedDateTime: must be a time of the clock"),
        (
            {"multipleBirthBoolean": True, "multipleBirthInteger": 2},
            "Patient.multipleBirthInteger: must not be given beside multipleBirthBoolean",
        ),
        (
            {"multipleBirthInteger": 10**30},
            "Patient.multipleBirthInteger: must be a whole number within its bounds",
        ),
        (
            {"contact": [{"name": {"family": "F"}, "gender": "xx"}]},
            "Patient.contact.0.gender: must be one of the codes that FHIR defines for it",
        ),
        (
            {"extension": [{"url": f"{CORE}/us-core-birthsex", "valueCode": "X"}]},
            "Patient.extension.0.valueCode: must be one of the codes that FHIR defines for it",
        ),
        (
            {"extension": [{"url": f"{CORE}/us-core-birthsex", "valueCode": "F"}] * 2},
            "Patient.extension.1.url: was given before and may be given only once",
        ),
        ({"extension": [{}]}, "Patient.extension.0.url: is missing"),
        (
            {
                "address": [
                    {
                        "city": "C",
                        "extension": [
                            {
                                "url": f"{FHIR}/geolocation",
                                "extension": [{"url": "latitude", "valueDecimal": 91}],
                            }
                        ],
                    }
                ]
            },
            "Patient.address.0.latitude: must be from -90 to 90 degrees",
        ),
        ({"id": None, "identifier": 3}, "Patient.identifier: must be a list"),
        ({"id": "a/b"}, "Patient.id: must be letters, digits, hyphens and full stops"),
    ],
)
def test_what_is_wrong_is_named_by_its_element(elements: dict[str, Any], problem: str) -> None:
    bundle = a_bundle(a_fhir_patient(family="Lovelace"))
    resource = {**bundle["entry"][0]["resource"], **elements}
    bundle["entry"][0]["resource"] = {name: value for name, value in resource.items() if value is not None}
    assert problem_of(bundle) == problem
