"""The strict check reads whole resources, and still quotes nothing."""

import json
from typing import Any

import pytest

from clarity.application.imports import BadInput, Incoming
from clarity.domain.errors import Invalid, Misconfigured
from clarity.fhir import strict
from clarity.fhir.bundles import read_bundle
from clarity.fhir.circle import Reading
from clarity.fhir.resource_types import RESOURCE_TYPES
from clarity.fhir.strict import strict_check
from tests.builders import TODAY, new_id
from tests.bundles import LABEL, Json, a_bundle, a_fhir_patient, a_visit

REMOVED_IN_R4B = {
    "EffectEvidenceSynthesis",
    "MedicinalProduct",
    "MedicinalProductAuthorization",
    "MedicinalProductContraindication",
    "MedicinalProductIndication",
    "MedicinalProductIngredient",
    "MedicinalProductInteraction",
    "MedicinalProductManufactured",
    "MedicinalProductPackaged",
    "MedicinalProductPharmaceutical",
    "MedicinalProductUndesirableEffect",
    "RiskEvidenceSynthesis",
    "SubstanceNucleicAcid",
    "SubstancePolymer",
    "SubstanceProtein",
    "SubstanceReferenceInformation",
    "SubstanceSourceMaterial",
    "SubstanceSpecification",
}


def strictly(bundle: Json) -> Incoming | BadInput:
    return read_bundle(json.dumps(bundle).encode(), LABEL, Reading("import", new_id, strict_check(), TODAY))


def test_a_sound_bundle_passes() -> None:
    assert isinstance(strictly(a_visit()), Incoming)


@pytest.mark.parametrize(
    ("resource", "problem"),
    [
        ({"resourceType": "Observation", "code": {}}, "Observation.status: is missing"),
        (a_fhir_patient(Lovelace="x"), "Patient: has an element that FHIR does not define"),
        (a_fhir_patient(photo=[{"Lovelace": "x"}]), "Patient.photo.0: has an element that FHIR does not define"),
        (a_fhir_patient(active="Lovelace"), "Patient.active: has the wrong type or form"),
        (a_fhir_patient(photo=[{"creation": "Lovelace"}]), "Patient.photo.0.creation: breaks a rule of FHIR R4"),
        (
            {"resourceType": "MedicinalProduct"},
            "MedicinalProduct.resourceType: was removed from FHIR in R4B, so it cannot be checked",
        ),
    ],
)
def test_what_is_not_mapped_is_checked_too(resource: dict[str, Any], problem: str) -> None:
    bad = strictly(a_bundle({"id": "x", **resource}))
    assert isinstance(bad, BadInput)
    assert bad.problem == problem


def test_the_types_are_those_of_r4_and_r4b() -> None:
    check = strict_check()
    unknown = set()
    for name in RESOURCE_TYPES:
        try:
            check(name, b"{}")
        except Invalid as exc:
            if exc.field == "resourceType":
                unknown.add(name)
    assert unknown == REMOVED_IN_R4B


def test_without_its_package_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> None:
        raise ModuleNotFoundError(name=name)

    monkeypatch.setattr(strict, "import_module", absent)
    with pytest.raises(Misconfigured, match=r"clarity\[strict\]"):
        strict_check()
