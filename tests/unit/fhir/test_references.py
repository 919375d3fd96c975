"""References lead to one resource, to several, or nowhere."""

import pytest

from clarity.domain.errors import Invalid
from clarity.fhir.references import Directory, Known, identity_of, parse_reference
from clarity.fhir.resources import Identifier

DOCTOR = Known("Practitioner", "d-1")
URL = "http://fhir.example/r4/Practitioner/d-1"


def a_directory() -> Directory:
    directory = Directory()
    directory.add(DOCTOR, [Identifier(system="http://npi", value="7"), Identifier(system="http://old", value="8")])
    directory.add_url(URL, DOCTOR)
    directory.add(Known("Practitioner", "d-2"), [Identifier(system="http://old", value="8")])
    directory.add(Known("Practitioner", "d-3"), [Identifier(system="http://else", value="7")])
    directory.add_url("urn:uuid:6d705d81-8546-43b2-b336-31a282128f2d", DOCTOR)
    return directory


def found(text: str) -> Known | None:
    reference = parse_reference(text)
    assert reference is not None
    return a_directory().find(reference)


@pytest.mark.parametrize(
    "text",
    [
        "urn:uuid:6d705d81-8546-43b2-b336-31a282128f2d",
        "Practitioner/d-1",
        "Practitioner/d-1/_history/3",
        URL,
        f"{URL}/_history/3",
        "https://elsewhere.example/Practitioner/d-1",
        "Practitioner?identifier=http://npi|7",
        "Practitioner?identifier=http%3A%2F%2Fnpi%7C7",
        "http://fhir.example/r4/Practitioner?identifier=http://npi|7",
    ],
)
def test_every_form_of_reference_leads_to_the_same_resource(text: str) -> None:
    assert found(text) == DOCTOR


@pytest.mark.parametrize(
    "text",
    [
        "urn:uuid:00000000-0000-0000-0000-000000000000",
        "Practitioner/d-9",
        "Patient/d-1",
        "Patient?identifier=http://npi|7",
        "Practitioner?identifier=http://npi|9",
        "Practitioner?identifier=http://none|7",
        "Practitioner?identifier=|7",
    ],
)
def test_a_reference_may_lead_nowhere(text: str) -> None:
    assert found(text) is None


@pytest.mark.parametrize("text", ["Practitioner?identifier=http://old|8", "Practitioner?identifier=7"])
def test_a_condition_that_several_meet_leads_to_none_of_them(text: str) -> None:
    with pytest.raises(Invalid, match="more than one"):
        found(text)


@pytest.mark.parametrize(
    "text",
    [
        "Practitioner",
        "Practitioner/",
        "Practitioner/a b",
        "Practitioner?name=x",
        "Practitioner?identifier=",
        "Practitioner?identifier=1&identifier=2",
        "ftp://x/Practitioner/1",
        "urn:uuid:",
        "Practitioner/" + "1" * 129,
    ],
)
def test_other_texts_are_no_references(text: str) -> None:
    with pytest.raises(Invalid, match="can follow"):
        parse_reference(text)


def test_a_contained_resource_is_nobody_to_import() -> None:
    assert parse_reference("#doctor") is None


def test_a_resource_goes_by_its_id_or_else_by_its_urn() -> None:
    urn = "urn:uuid:6d705d81-8546-43b2-b336-31a282128f2d"
    assert identity_of("Patient", "p-1", urn).source("hospital") == "hospital|Patient/p-1"
    assert identity_of("Patient", "", urn).source("hospital") == f"hospital|Patient/{urn}"
    for resource_id, full_url in (("", ""), ("", "http://fhir.example/Patient/1"), ("a b", urn), ("1" * 129, urn)):
        with pytest.raises(Invalid, match="id"):
            identity_of("Patient", resource_id, full_url)


def test_nothing_is_given_twice() -> None:
    directory = a_directory()
    with pytest.raises(Invalid, match="id: was given before"):
        directory.add(DOCTOR)
    with pytest.raises(Invalid, match="fullUrl: was given before"):
        directory.add_url(URL, Known("Patient", "p"))


def test_references_do_not_show_in_a_repr() -> None:
    reference = parse_reference("Practitioner?identifier=http://npi|secret")
    assert "secret" not in repr((reference, Known("Patient", "secret")))
