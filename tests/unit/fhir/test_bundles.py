"""A bundle is taken whole or not at all."""

import json
from dataclasses import replace

import pytest

from clarity.application.imports import BadInput, Incoming
from clarity.domain.identifiers import IndexKind, IndexTerm
from clarity.fhir.bundles import read_bundle
from tests.bundles import (
    LABEL,
    NPI_SYSTEM,
    VALID_NPI,
    Json,
    a_bundle,
    a_fhir_patient,
    a_fhir_practitioner,
    a_reading,
    a_visit,
    an_encounter,
    incoming,
    problem_of,
    unit_of,
    urn,
)

NOBODY = "refers to nobody in this input"


def team_of(unit: Incoming) -> set[IndexTerm]:
    (patient,) = unit.patients
    return set(patient.caregivers)


def source(text: str) -> IndexTerm:
    return IndexTerm(IndexKind.SOURCE, text)


def test_a_bundle_gives_patients_practitioners_and_who_cares_for_whom() -> None:
    ada, anna = a_fhir_patient("ada"), a_fhir_practitioner("anna")
    observations = [{"resourceType": "Observation", "id": str(number)} for number in range(3)]
    unit = incoming(ada, anna, an_encounter(urn(ada), urn(anna)), *observations, system="clinic")
    (patient,), (practitioner,) = unit.patients, unit.practitioners
    assert patient.patient.sources == ("clinic|Patient/ada",)
    assert patient.patient.care_team == frozenset()
    assert practitioner.practitioner.sources == ("clinic|Practitioner/anna",)
    assert team_of(unit) == {source("clinic|Practitioner/anna")}
    assert unit.unplaced == {"Encounter": 1, "Observation": 3}
    assert [one.place.entry for one in (patient, practitioner)] == [1, 2]
    assert unit.ties == ()


def test_order_does_not_matter_within_a_bundle() -> None:
    ada, anna = a_fhir_patient(), a_fhir_practitioner()
    assert team_of(incoming(an_encounter(urn(ada), urn(anna)), anna, ada))


@pytest.mark.parametrize("kind", ["transaction", "batch", "collection", "searchset", "document"])
def test_bundles_that_state_what_is_are_taken(kind: str) -> None:
    assert isinstance(unit_of(a_bundle(a_fhir_patient(), kind=kind)), Incoming)


@pytest.mark.parametrize("kind", ["history", "message", "batch-response", "transaction-response"])
def test_bundles_that_tell_what_was_or_answer_are_not(kind: str) -> None:
    assert "Bundle.type: must be transaction" in problem_of(a_bundle(a_fhir_patient(), kind=kind))


def test_a_resource_may_come_alone() -> None:
    unit = unit_of(a_fhir_patient("ada"))
    assert isinstance(unit, Incoming)
    assert [one.patient.sources for one in unit.patients] == [("import|Patient/ada",)]


@pytest.mark.parametrize(
    ("reference", "term"),
    [
        ("Practitioner/anna", source("import|Practitioner/anna")),
        ("https://fhir.example/r4/Practitioner/anna/_history/2", source("import|Practitioner/anna")),
        (f"Practitioner?identifier={NPI_SYSTEM}|{VALID_NPI}", IndexTerm(IndexKind.NPI, VALID_NPI)),
        (f"Practitioner?identifier={VALID_NPI}", IndexTerm(IndexKind.NPI, VALID_NPI)),
    ],
)
def test_a_practitioner_of_an_earlier_import_is_left_to_be_found(reference: str, term: IndexTerm) -> None:
    ada = a_fhir_patient()
    assert team_of(incoming(ada, an_encounter(urn(ada), reference))) == {term}


def test_a_condition_is_met_within_the_bundle_first() -> None:
    ada, anna = a_fhir_patient(), a_fhir_practitioner("anna", npi=VALID_NPI)
    unit = incoming(ada, anna, an_encounter(urn(ada), f"Practitioner?identifier={NPI_SYSTEM}|{VALID_NPI}"))
    assert team_of(unit) == {source("import|Practitioner/anna")}


def test_a_role_stands_for_its_practitioner() -> None:
    ada, anna = a_fhir_patient(), a_fhir_practitioner("anna")
    role = {"resourceType": "PractitionerRole", "id": "r", "practitioner": {"reference": urn(anna)}}
    loop = {"resourceType": "PractitionerRole", "id": "loop", "practitioner": {"reference": "urn:uuid:loop"}}
    logical = {"resourceType": "PractitionerRole", "id": "l", "practitioner": {"identifier": {"value": "1"}}}
    unit = incoming(ada, anna, role, loop, logical, an_encounter(urn(ada), urn(role), urn(loop), urn(logical)))
    assert team_of(unit) == {source("import|Practitioner/anna")}


def test_relatives_and_organisations_are_no_caregivers() -> None:
    ada = a_fhir_patient()
    sister = {"resourceType": "RelatedPerson", "id": "s"}
    others = ("RelatedPerson/x", "Organization?identifier=http://o|1", "#contained", urn(sister))
    assert team_of(incoming(ada, sister, an_encounter(urn(ada), *others))) == set()


@pytest.mark.parametrize("status", ["cancelled", "entered-in-error"])
def test_an_encounter_that_never_happened_ties_nobody(status: str) -> None:
    ada, anna = a_fhir_patient(), a_fhir_practitioner()
    assert team_of(incoming(ada, anna, an_encounter(urn(ada), urn(anna), status=status))) == set()


@pytest.mark.parametrize(("status", "is_tied"), [("active", True), ("suspended", True), ("inactive", False)])
def test_a_care_team_ties_its_members_while_it_is_at_work(status: str, is_tied: bool) -> None:
    ada, anna = a_fhir_patient(), a_fhir_practitioner("anna")
    team = {
        "resourceType": "CareTeam",
        "id": "t",
        "status": status,
        "subject": {"reference": urn(ada)},
        "participant": [{"member": {"reference": urn(anna)}}, {"member": {"reference": urn(ada)}}, {}],
    }
    assert team_of(incoming(ada, anna, team)) == ({source("import|Practitioner/anna")} if is_tied else set())


def test_a_patient_of_an_earlier_import_gets_ties() -> None:
    anna = a_fhir_practitioner("anna")
    unit = incoming(anna, an_encounter("Patient/ada", urn(anna)), an_encounter("Group/g", urn(anna)))
    (ties,) = unit.ties
    assert ties.source == "import|Patient/ada"
    assert set(ties.caregivers) == {source("import|Practitioner/anna")}
    assert (ties.place.entry, ties.place.element) == (2, "Encounter.subject")


@pytest.mark.parametrize(
    ("change", "entry", "problem"),
    [
        ({"subject": {"reference": "urn:uuid:gone"}}, 3, f"Encounter.subject: {NOBODY}"),
        ({"subject": {"reference": "Patient?identifier=http://x|1"}}, 3, f"Encounter.subject: {NOBODY}"),
        ({"subject": {"reference": "??"}}, 3, "Encounter.subject: is not a reference an import can follow"),
        (
            {"participant": [{}, {"individual": {"reference": "urn:uuid:gone"}}]},
            3,
            f"Encounter.participant.1.individual: {NOBODY}",
        ),
        (
            {"participant": [{"individual": {"reference": "Practitioner?identifier=http://x|1"}}]},
            3,
            f"Encounter.participant.0.individual: {NOBODY}",
        ),
        (
            {"subject": None, "participant": [{"individual": {"reference": "urn:uuid:gone"}}]},
            3,
            f"Encounter.participant.0.individual: {NOBODY}",
        ),
        ({"status": "over"}, 3, "Encounter.status: must be one of the codes that FHIR defines for it"),
        ({"participant": {}}, 3, "Encounter.participant: must be a list"),
        ({"resourceType": "Lovelace"}, 3, "resourceType: is no type of resource in FHIR R4"),
    ],
)
def test_what_leads_nowhere_makes_the_bundle_bad(change: Json, entry: int, problem: str) -> None:
    bundle = a_visit()
    encounter = {**bundle["entry"][2]["resource"], **change}
    bundle["entry"][2]["resource"] = {name: value for name, value in encounter.items() if value is not None}
    bad = unit_of(bundle)
    assert isinstance(bad, BadInput)
    assert (bad.place.entry, bad.problem) == (entry, problem)
    assert (bad.patients, bad.practitioners) == (1, 1)
    assert str(bad) == f"input 1 (0123456789ab), entry {entry}: {problem}"


def test_the_first_of_several_wrongs_is_named_and_everybody_is_counted() -> None:
    wrong = a_fhir_patient(gender="xx")
    bad = unit_of(a_bundle(a_fhir_practitioner(), wrong, wrong, a_fhir_patient()))
    assert isinstance(bad, BadInput)
    assert (bad.place.entry, bad.patients, bad.practitioners) == (3, 3, 1)
    assert bad.problem == "Patient.id: was given before in this input"


def test_a_full_url_names_one_entry() -> None:
    bundle = a_visit()
    bundle["entry"][2]["fullUrl"] = bundle["entry"][0]["fullUrl"]
    assert problem_of(bundle) == "Encounter.fullUrl: was given before in this input"


def test_a_resource_without_an_id_goes_by_the_urn_of_its_entry() -> None:
    bundle = a_bundle(a_fhir_patient("ada"))
    del bundle["entry"][0]["resource"]["id"]
    unit = unit_of(bundle)
    assert isinstance(unit, Incoming)
    assert unit.patients[0].patient.sources == ("import|Patient/urn:uuid:ada",)


@pytest.mark.parametrize(
    ("document", "problem"),
    [
        (b"{}", "resourceType: is missing"),
        (b"[]", "must be an object"),
        (b"7", "must be an object"),
        (b'{"resourceType": "Bundle"}', "Bundle.type: is missing"),
        (
            b'{"resourceType": "Bundle", "type": "party"}',
            "Bundle.type: must be one of the codes that FHIR defines for it",
        ),
        (b'{"resourceType": "Bundle", "type": "batch", "entry": {}}', "Bundle.entry: must be a list"),
        (b'{"resourceType": "Bundle", "type": "batch", "entry": [{}]}', "must be an object"),
        (b'{"resourceType": "Patient"', "breaks off or is not JSON, at character 26"),
        (b'{"resourceType": "Patient", "birthDate": NaN}', "has a number that JSON does not know"),
        (b'{"resourceType": "Patient", "x": -Infinity}', "has a number that JSON does not know"),
        (b'{"resourceType": "Patient", "id": "a", "id": "b"}', "has an object with the same name twice"),
        (b'{"resourceType": "Basic", "x": [{"y": 1, "\\u0079": 2}]}', "has an object with the same name twice"),
        (b'{"resourceType": "Patient", "x": "\xff"}', "is not UTF-8"),
        (b"\xff\xfe{\x00}\x00", "is not UTF-8"),
        (b'{"resourceType": "Patient", "id": "\\ud800"}', "has text that is not Unicode"),
        (b'{"resourceType": "Basic", "x": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "is nested too deeply"),
        (
            b'{"resourceType": "Basic", "x": ' + b'{"a":' * 100_000 + b"1" + b"}" * 100_000 + b"}",
            "is nested too deeply",
        ),
        (b'{"resourceType": "Basic", "x": ' + b"[" * 100_000, "is nested too deeply"),
    ],
)
def test_what_is_no_sound_json_is_refused(document: bytes, problem: str) -> None:
    assert problem_of(document) == problem


def test_a_number_of_a_million_digits_costs_nothing() -> None:
    observation = b'{"resourceType": "Observation", "value": ' + b"9" * 1_000_000 + b"}"
    assert isinstance(unit_of(observation), Incoming)


def test_an_empty_bundle_brings_nothing() -> None:
    unit = unit_of(a_bundle())
    assert isinstance(unit, Incoming)
    assert (unit.patients, unit.practitioners, unit.ties, unit.unplaced) == ((), (), (), {})


def test_a_path_is_no_part_of_what_is_reported() -> None:
    label = replace(LABEL, path="/data/Ada_Lovelace.json")
    bad = read_bundle(b"{", label, a_reading())
    good = read_bundle(json.dumps(a_visit()).encode(), label, a_reading())
    for said in (str(bad), repr(bad), repr(good), str(label), repr(label)):
        assert "Lovelace" not in said
