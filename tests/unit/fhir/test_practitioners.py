"""Practitioners come as they are, their NPI included, valid or not."""

import json

import pytest

from clarity.domain.ids import PractitionerId
from clarity.domain.names import HumanName, NameUse
from clarity.domain.people import Address, Gender, Telecom, TelecomSystem
from clarity.domain.practitioners import Practitioner
from clarity.fhir.practitioners import practitioner_to_fhir, read_practitioner
from tests.builders import new_id
from tests.bundles import NPI_SYSTEM, VALID_NPI, Json, a_bundle, a_fhir_practitioner, problem_of

SOURCE = "import|Practitioner/d1"


def read(resource: Json, identity: PractitionerId | None = None) -> Practitioner:
    return read_practitioner(json.dumps(resource).encode(), identity or PractitionerId(new_id()), SOURCE)


def test_what_goes_out_comes_back_as_it_was() -> None:
    practitioner = Practitioner(
        id=PractitionerId(new_id()),
        name=HumanName(family="Freud", given=("Anna",), prefix=("Dr.",), use=NameUse.OFFICIAL),
        npi=VALID_NPI,
        gender=Gender.FEMALE,
        telecoms=(Telecom(system=TelecomSystem.EMAIL, value="anna@example.com"),),
        addresses=(Address(lines=("20 Maresfield Gardens",), city="London"),),
        sources=(SOURCE,),
        active=False,
    )
    assert read(practitioner_to_fhir(practitioner), practitioner.id) == practitioner


def test_an_npi_is_kept_as_it_came() -> None:
    others = {"system": "http://licences.example", "value": "L-1"}
    npis = [{"system": NPI_SYSTEM, "value": "160"}, {"system": NPI_SYSTEM, "value": VALID_NPI}]
    practitioner = read(a_fhir_practitioner("d1", identifier=[others, *npis]))
    assert practitioner.npi == "160"
    assert not practitioner.npi_valid
    assert read(a_fhir_practitioner("d1", npi=VALID_NPI)).npi_valid


def test_the_name_in_use_is_taken() -> None:
    maiden = {"use": "maiden", "family": "Byron"}
    assert read(a_fhir_practitioner("d1", name=[maiden, {"family": "Freud"}])).name.family == "Freud"


@pytest.mark.parametrize(
    ("elements", "problem"),
    [
        ({"name": None}, "Practitioner.name: is missing"),
        ({"name": [{"use": "pen"}]}, "Practitioner.name.0.use: must be one of the codes that FHIR defines for it"),
        ({"gender": "xx"}, "Practitioner.gender: must be one of the codes that FHIR defines for it"),
        ({"active": "yes"}, "Practitioner.active: must be true or false"),
        (
            {"identifier": [{"system": NPI_SYSTEM, "value": "1" * 41}]},
            "Practitioner.identifier: must be at most 40 characters",
        ),
    ],
)
def test_what_is_wrong_is_named_by_its_element(elements: Json, problem: str) -> None:
    assert problem_of(a_bundle(a_fhir_practitioner("d1", **elements))) == problem
