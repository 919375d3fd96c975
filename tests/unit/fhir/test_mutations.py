"""Whatever is done to a bundle, reading it ends well or names a place, and never quotes what stood there."""

import copy
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clarity.application.imports import BadInput, Incoming
from clarity.fhir.bundles import read_bundle
from clarity.fhir.circle import Reading
from clarity.fhir.patients import patient_to_fhir
from clarity.fhir.practitioners import practitioner_to_fhir
from clarity.fhir.strict import allow_all, strict_check
from tests.builders import TODAY, new_id
from tests.bundles import (
    LABEL,
    VALID_NPI,
    Json,
    a_bundle,
    a_document,
    a_fhir_appointment,
    a_fhir_practitioner,
    a_full_fhir_patient,
    an_encounter,
    an_order,
    urn,
)

CANARY = "Zanzibarina"
values = st.one_of(
    st.sampled_from(
        [
            None,
            True,
            0,
            -1,
            10**40,
            1e308,
            "",
            " ",
            CANARY,
            f"{CANARY} - at `$.{CANARY}`",
            f"Expected `{CANARY}`",
            f"{CANARY}\u0000",
            f"Patient/{CANARY}",
            f"Patient?identifier={CANARY}|{CANARY}",
            f"urn:uuid:{CANARY}",
            f"#{CANARY}",
            "2020-13-45",
            "0000",
            "9999-12-31T23:59:59-14:00",
            "0001-01-01T00:00:00+14:00",
            [],
            [CANARY],
            [[CANARY]],
            [None],
            {},
            {CANARY: CANARY},
            {"reference": CANARY},
            {"url": CANARY, "valueString": CANARY},
        ]
    ),
    st.text(max_size=5).map(lambda text: text + CANARY),
    st.integers(),
)


def the_bundle() -> Json:
    ada, anna = a_full_fhir_patient(), a_fhir_practitioner("d1", npi=VALID_NPI, address=[{"city": "Vienna"}])
    role = {"resourceType": "PractitionerRole", "id": "r1", "practitioner": {"reference": urn(anna)}}
    team = {
        "resourceType": "CareTeam",
        "id": "t1",
        "status": "active",
        "subject": {"reference": urn(ada)},
        "participant": [{"member": {"reference": "Practitioner/d1"}}],
    }
    observation = {"resourceType": "Observation", "id": "o1", "status": "final", "code": {"text": "pulse"}}
    visit = an_encounter(urn(ada), urn(anna), urn(role), id="e1")
    medication = {"resourceType": "Medication", "id": "m1", "code": {"text": "lithium"}}
    dosage = {
        "timing": {"repeat": {"frequency": 2, "period": 1.5, "periodUnit": "d", "boundsPeriod": {"start": "2026-01"}}},
        "route": {"coding": [{"system": "http://snomed.info/sct", "code": "26643006"}]},
        "doseAndRate": [{"doseQuantity": {"value": 12.5, "unit": "mg"}}],
    }
    charts = (
        an_order(urn(ada), id="o2", dosageInstruction=[dosage], status="stopped", requester={"reference": urn(anna)}),
        an_order(urn(ada), id="o3", medicationCodeableConcept=None, medicationReference={"reference": urn(medication)}),
        a_document(urn(ada), id="n1", context={"period": {"start": "2026-01-05"}}),
        a_fhir_appointment(urn(ada), urn(anna), id="a1", status="cancelled", cancelationReason={"text": "snow"}),
    )
    return a_bundle(ada, anna, role, team, visit, observation, medication, *charts)


def places(node: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the paths to everything in a JSON value."""
    items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    return [path, *(place for key, child in items for place in places(child, (*path, key)))]


PLACES = [path for path in places(the_bundle()) if path]


@st.composite
def mutated(draw: st.DrawFn) -> Json:
    """Return the bundle with a few things removed, replaced, doubled or renamed."""
    bundle: Any = copy.deepcopy(the_bundle())
    for *way, key in draw(st.lists(st.sampled_from(PLACES), min_size=1, max_size=4)):
        parent = bundle
        for step in way:
            try:
                parent = parent[step]
            except (KeyError, IndexError, TypeError):
                break
        else:
            _mutate(draw, parent, key)
    return bundle  # type: ignore[no-any-return]


def _mutate(draw: st.DrawFn, parent: Any, key: Any) -> None:
    if isinstance(key, int):
        is_there = isinstance(parent, list) and key < len(parent)
    else:
        is_there = isinstance(parent, dict) and key in parent
    if not is_there:
        return  # an earlier mutation took it away
    match draw(st.sampled_from(["remove", "replace", "double", "rename"])):
        case "remove":
            del parent[key]
        case "double" if isinstance(parent, list):
            parent.append(copy.deepcopy(parent[key]))
        case "rename" if isinstance(parent, dict):
            parent[CANARY] = parent.pop(key)
        case _:
            parent[key] = draw(values)


def test_the_bundle_is_sound_before_it_is_mutated() -> None:
    assert isinstance(read(the_bundle(), Reading("import", new_id, strict_check(), TODAY)), Incoming)


def read(bundle: Any, reading: Reading) -> Incoming | BadInput:
    return read_bundle(json.dumps(bundle).encode(), LABEL, reading)


def assert_sound(unit: Incoming | BadInput) -> None:
    assert CANARY.lower() not in (str(unit) + repr(unit)).lower()
    if isinstance(unit, Incoming):
        for patient in unit.patients:
            json.dumps(patient_to_fhir(patient.patient))
            assert patient.patient.sources
        for practitioner in unit.practitioners:
            json.dumps(practitioner_to_fhir(practitioner.practitioner))
    else:
        assert unit.problem


@settings(max_examples=400, deadline=None)
@given(mutated())
def test_a_mutated_bundle_is_taken_or_refused(bundle: Json) -> None:
    assert_sound(read(bundle, Reading("import", new_id, allow_all, TODAY)))


@settings(max_examples=100, deadline=None)
@given(mutated())
def test_a_mutated_bundle_is_taken_or_refused_strictly(bundle: Json) -> None:
    assert_sound(read(bundle, Reading("import", new_id, strict_check(), TODAY)))


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_a_bundle_of_damaged_bytes_is_taken_or_refused(data: st.DataObject) -> None:
    document = bytearray(json.dumps(the_bundle()).encode())
    for _ in range(data.draw(st.integers(1, 4))):
        document[data.draw(st.integers(0, len(document) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.none() | st.integers(0, len(document)))
    assert_sound(read_bundle(bytes(document[:cut]), LABEL, Reading("import", new_id, allow_all, TODAY)))


@pytest.mark.parametrize("path", PLACES, ids=lambda path: ".".join(map(str, path)))
def test_no_single_value_is_ever_quoted(path: tuple[Any, ...]) -> None:
    bundle: Any = the_bundle()
    parent = bundle
    for step in path[:-1]:
        parent = parent[step]
    for value in (CANARY, {CANARY: CANARY}, [CANARY], 7):
        parent[path[-1]] = value
        assert_sound(read(bundle, Reading("import", new_id, allow_all, TODAY)))
