"""What a patient is on the wire, and back."""

import json
from dataclasses import fields as fields_of
from dataclasses import is_dataclass, replace
from functools import reduce
from operator import or_
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from clarity.api import people
from clarity.api.faults import faults_in
from clarity.api.patients.answers import shown, shown_page
from clarity.api.patients.shapes import (
    PatientIn,
    PatientOut,
    PatientPageOut,
    PatientPatchIn,
    RegistrationIn,
    merged,
)
from clarity.api.wire import Value, page_of
from clarity.application.pages import Page
from clarity.domain.access import POLICY, Action, Relation, Role
from clarity.domain.ids import PractitionerId
from clarity.domain.patients import FIELD_BITS, Patient, PatientField
from clarity.domain.records import Notice, Resource
from tests.builders import TODAY, a_patient
from tests.canaries import hits
from tests.strategies import patients


@given(patients)
def test_a_patient_comes_back_from_the_wire_unchanged(patient: Patient) -> None:
    written = PatientIn.model_validate(patient).model_dump_json()
    assert PatientIn.model_validate_json(written).replacing(patient) == patient


@given(patients)
def test_a_patch_that_says_nothing_changes_nothing(patient: Patient) -> None:
    assert PatientPatchIn.model_validate_json(b"{}").changing(patient) == patient


@given(patients)
def test_everything_recorded_is_shown(patient: Patient) -> None:
    shown = json.loads(PatientOut.of(patient, TODAY).model_dump_json())
    written = json.loads(PatientIn.model_validate(patient).model_dump_json())
    assert {name: shown[name] for name in written} == written


@given(patient=patients, notes=st.text(alphabet='a"\\/\n\t\u2028\U0001f43e'), noticed=st.booleans())
def test_a_patient_is_written_as_their_shape_is(patient: Patient, notes: str, noticed: bool) -> None:
    notice = Notice(text="It is protected.", consent=patient.id, scope="To all") if noticed else None
    patient = replace(
        patient,
        notes=notes,
        notice=notice,
        care_team=frozenset(PractitionerId(UUID(int=number)) for number in (3, 1, 2)),
    )
    shape = PatientOut.of(patient, TODAY)
    assert shown(patient, TODAY).body == shape.model_dump_json().encode()
    page = Page(items=(patient, patient), next_cursor="there", count=7, exact=False)
    assert shown_page(page, TODAY).body == PatientPageOut(**page_of(page, (shape, shape))).model_dump_json().encode()


def test_a_record_is_whole_on_the_wire() -> None:
    shown = {name for name, bit in FIELD_BITS.items() if bit in shown_to_anybody()}
    assert FIELD_BITS.keys() - shown == {"sources", "legal_hold", "removal"}
    assert PatientIn.model_fields.keys() == shown - {"discharged", "care_team"}
    beside = {one.name for one in fields_of(Patient)} - FIELD_BITS.keys()
    assert PatientOut.model_fields.keys() == shown | beside | {"status", "age"}


def shown_to_anybody() -> PatientField:
    """Return the fields that some role of an account sees of a record: nobody else calls the API."""
    people = (role for role in Role if role not in (Role.SYSTEM, Role.NOBODY))
    rights = (POLICY.right(role, Resource.PATIENT, Action.VIEW) for role in people)
    return reduce(or_, (right.covered(Relation) for right in rights))


SHAPES = [shape for shape in vars(people).values() if isinstance(shape, type) and issubclass(shape, Value)]


@pytest.mark.parametrize("shape", [shape for shape in SHAPES if shape is not Value], ids=lambda shape: shape.__name__)
def test_a_value_is_whole_on_the_wire(shape: type[Value]) -> None:
    assert is_dataclass(shape.means)
    assert shape.model_fields.keys() == {one.name for one in fields_of(shape.means)}


def test_a_shape_does_not_show_what_it_holds() -> None:
    patient = a_patient(ssn="999-21-4813", notes="Zqcanary.")
    for shape in (
        PatientIn.model_validate(patient),
        PatientOut.of(patient, TODAY),
        RegistrationIn.model_validate_json(PatientIn.model_validate(patient).model_dump_json()),
        PatientPatchIn.model_validate_json('{"notes": "Zqcanary."}'),
    ):
        for text in (repr(shape), str(shape)):
            assert not hits(["999-21-4813", "Zqcanary", "Lovelace"], [text.encode()])


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_numbers_are_finite(number: str) -> None:
    with pytest.raises(ValidationError, match="finite"):
        people.AddressInOut.model_validate_json(f'{{"latitude": {number}}}')


def test_an_error_of_a_shape_does_not_show_what_it_was_given() -> None:
    with pytest.raises(ValidationError) as caught:
        PatientIn.model_validate_json(
            '{"names": [{"family": {"Zqcanary": 1}}], "born": "Zqcanary", "gender": "Zqcanary"}'
        )
    assert "Zqcanary" not in str(caught.value)


# RFC 7396, appendix A, as far as the target is an object.
@pytest.mark.parametrize(
    ("target", "patch", "result"),
    [
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
        (["a", "b"], ["c", "d"], ["c", "d"]),
        ({"a": "foo"}, "bar", "bar"),
    ],
)
def test_a_patch_merges_as_its_standard_says(target: Any, patch: Any, result: Any) -> None:
    assert merged(target, patch) == result


@pytest.mark.parametrize("kind", ["Zqcanary", "value_error", "assertion_error", "uuid_parsing", "int_parsing_size"])
def test_a_fault_of_any_kind_is_told_in_our_words(kind: str) -> None:
    error = {
        "type": kind,
        "loc": ("body", "born"),
        "msg": "Zqcanary",
        "input": "Zqcanary",
        "ctx": {"error": "Zqcanary"},
    }
    (fault,) = faults_in([error])
    assert fault.field == "born"
    assert fault.rule
    assert "Zqcanary" not in fault.rule
