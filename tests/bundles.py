"""FHIR resources and bundles to import. Each builder takes what matters to a test and makes up the rest."""

import json
from base64 import b64encode
from pathlib import Path
from typing import Any
from uuid import uuid4

from clarity.application.imports import BadInput, Incoming, InputLabel
from clarity.fhir.bundles import read_bundle
from clarity.fhir.circle import Reading
from clarity.fhir.inputs import FhirInputs
from clarity.fhir.prescriptions import RXNORM
from clarity.fhir.strict import allow_all
from tests.builders import TODAY, new_id

Json = dict[str, Any]

MRN_SYSTEM = "http://hospital.example"
NPI_SYSTEM = "http://hl7.org/fhir/sid/us-npi"
VALID_NPI = "1234567893"  # the example of the check digit's own specification
IDENTIFIER_TYPES = "http://terminology.hl7.org/CodeSystem/v2-0203"
CORE = "http://hl7.org/fhir/us/core/StructureDefinition"
FHIR = "http://hl7.org/fhir/StructureDefinition"
OMB = "urn:oid:2.16.840.1.113883.6.238"
LABEL = InputLabel(1, "0123456789ab")


def an_identifier(value: str, code: str = "MR", system: str = MRN_SYSTEM) -> Json:
    """Return an identifier of a type of HL7 v2 table 0203."""
    return {"type": {"coding": [{"system": IDENTIFIER_TYPES, "code": code}]}, "system": system, "value": value}


def a_fhir_patient(resource_id: str | None = None, *, family: str = "Lovelace", mrn: str = "", **more: Any) -> Json:
    """Return a `Patient` resource; an element given as `None` is left out."""
    resource_id = resource_id or str(uuid4())
    patient = {
        "resourceType": "Patient",
        "id": resource_id,
        "name": [{"use": "official", "family": family, "given": ["Ada", "King"]}],
        "birthDate": "1985-12-10",
        "gender": "female",
        "identifier": [an_identifier(mrn or f"MRN-{resource_id}")],
        **more,
    }
    return {name: value for name, value in patient.items() if value is not None}


def a_full_fhir_patient() -> Json:
    """Return a `Patient` resource that has everything this practice takes in, and some things it does not."""
    home = {
        "use": "home",
        "type": "both",
        "line": ["12 Ockham Park", None],
        "city": "Ripley",
        "district": "Surrey",
        "state": "MA",
        "postalCode": "01013",
        "country": "US",
        "text": "12 Ockham Park, Ripley",
        "period": {"start": "2001-05-06T07:08:09Z"},
        "extension": [
            {
                "url": f"{FHIR}/geolocation",
                "extension": [
                    {"url": "latitude", "valueDecimal": 42.3},
                    {"url": "longitude", "valueDecimal": -70.86926700000002},
                ],
            }
        ],
    }
    race = {
        "url": f"{CORE}/us-core-race",
        "extension": [
            {"url": "ombCategory", "valueCoding": {"system": OMB, "code": "2106-3", "display": "White"}},
            {"url": "detailed", "valueCoding": {"system": OMB, "code": "2108-9"}},
            {"url": "text", "valueString": "White European"},
        ],
    }
    mother = {
        "relationship": [{"text": "mother"}],
        "name": {"family": "Milbanke"},
        "telecom": [{"system": "phone", "value": "555-0199"}],
        "address": {"city": "Kirkby"},
        "gender": "female",
        "period": {"end": "1852"},
    }
    return {
        "resourceType": "Patient",
        "id": "p1",
        "meta": {"versionId": "4"},
        "text": {"status": "generated", "div": "<div/>"},
        "extension": [
            race,
            {"url": f"{CORE}/us-core-ethnicity", "extension": [{"url": "text", "valueString": "unknown"}]},
            {"url": f"{CORE}/us-core-birthsex", "valueCode": "F"},
            {"url": f"{FHIR}/patient-mothersMaidenName", "valueString": "Anne Milbanke"},
            {"url": f"{FHIR}/patient-birthPlace", "valueAddress": {"city": "London", "country": "GB"}},
            {"url": "http://example.org/of-no-concern", "valueInteger": 7},
        ],
        "identifier": [
            {**an_identifier("S-1", "MR"), "use": "usual", "period": {"start": "2001-02"}},
            {"system": "http://hl7.org/fhir/sid/us-ssn", "value": "999 16 5745"},
            an_identifier("D-1", "DL", "urn:oid:2.16.840.1.113883.4.3.25"),
            an_identifier("X-1", "PPN", "http://passports.example"),
            {"system": "http://elsewhere.example", "value": "E-1"},
            {"system": "http://no-value.example"},
        ],
        "name": [
            {"use": "official", "family": "Lovelace", "given": ["Ada", None, "King"], "prefix": ["Mrs."]},
            {"use": "maiden", "family": "Byron", "given": ["Ada"], "suffix": ["II"], "text": "Ada Byron"},
        ],
        "telecom": [
            {"system": "phone", "value": "555-0123", "use": "mobile", "rank": 1},
            {"system": "email", "value": "ada@example.com"},
            {"system": "email", "value": "none given"},
            {"use": "home"},
        ],
        "gender": "female",
        "birthDate": "1985-12",
        "deceasedDateTime": "2020-11-27T23:30:00.5-05:00",
        "address": [home, {"use": "old"}],
        "maritalStatus": {"coding": [{"system": "http://m.example", "code": "M", "display": "Married"}]},
        "multipleBirthInteger": 2,
        "communication": [{"language": {"text": "English"}, "preferred": True}],
        "contact": [mother, {"organization": {"display": "an organisation alone"}}],
    }


def a_fhir_practitioner(resource_id: str | None = None, *, family: str = "Freud", npi: str = "", **more: Any) -> Json:
    """Return a `Practitioner` resource; an element given as `None` is left out."""
    practitioner = {
        "resourceType": "Practitioner",
        "id": resource_id or str(uuid4()),
        "name": [{"family": family, "given": ["Anna"], "prefix": ["Dr."]}],
        "identifier": [{"system": NPI_SYSTEM, "value": npi}] if npi else None,
        **more,
    }
    return {name: value for name, value in practitioner.items() if value is not None}


def an_encounter(subject: str, *practitioners: str, **more: Any) -> Json:
    """Return an `Encounter` resource that refers to its subject and participants as written."""
    return {
        "resourceType": "Encounter",
        "id": str(uuid4()),
        "status": "finished",
        "class": {"code": "AMB"},
        "subject": {"reference": subject},
        "participant": [{"individual": {"reference": practitioner}} for practitioner in practitioners],
        **more,
    }


def an_order(subject: str, name: str = "sertraline 50 MG Oral Tablet", **more: Any) -> Json:
    """Return a `MedicationRequest` resource; an element given as `None` is left out."""
    order = {
        "resourceType": "MedicationRequest",
        "id": str(uuid4()),
        "status": "active",
        "intent": "order",
        "medicationCodeableConcept": {"coding": [{"system": RXNORM, "code": "312941"}], "text": name},
        "subject": {"reference": subject},
        "authoredOn": "2026-01-05T09:00:00+01:00",
        **more,
    }
    return {name: value for name, value in order.items() if value is not None}


def a_document(subject: str, text: str = "Slept well.", **more: Any) -> Json:
    """Return a `DocumentReference` resource with a text; an element given as `None` is left out."""
    document = {
        "resourceType": "DocumentReference",
        "id": str(uuid4()),
        "status": "current",
        "type": {"coding": [{"system": "http://loinc.org", "code": "11506-3", "display": "Progress note"}]},
        "subject": {"reference": subject},
        "date": "2026-01-05T10:30:00.5+01:00",
        "author": [{"display": "Dr. Anna Freud"}],
        "content": [{"attachment": an_attachment(text)}],
        **more,
    }
    return {name: value for name, value in document.items() if value is not None}


def an_attachment(text: str | bytes, kind: str = "text/plain; charset=utf-8") -> Json:
    """Return an attachment that carries a text."""
    data = text if isinstance(text, bytes) else text.encode()
    return {"contentType": kind, "data": b64encode(data).decode()}


def a_fhir_appointment(subject: str, practitioner: str, **more: Any) -> Json:
    """Return an `Appointment` resource; an element given as `None` is left out."""
    appointment = {
        "resourceType": "Appointment",
        "id": str(uuid4()),
        "status": "booked",
        "start": "2026-04-01T09:00:00+02:00",
        "end": "2026-04-01T09:50:00+02:00",
        "participant": [
            {"actor": {"reference": subject}, "status": "accepted"},
            {"actor": {"reference": practitioner}, "status": "accepted"},
        ],
        **more,
    }
    return {name: value for name, value in appointment.items() if value is not None}


def urn(resource: Json) -> str:
    """Return how resources of the same bundle refer to this one."""
    return f"urn:uuid:{resource['id']}"


def a_bundle(*resources: Json, kind: str = "transaction") -> Json:
    """Return a bundle of resources as Synthea writes them."""
    return {
        "resourceType": "Bundle",
        "type": kind,
        "entry": [
            {
                "fullUrl": urn(resource),
                "resource": resource,
                "request": {"method": "POST", "url": resource["resourceType"]},
            }
            for resource in resources
        ],
    }


def a_visit(patient: Json | None = None, practitioner: Json | None = None) -> Json:
    """Return a bundle of a patient, a practitioner and the encounter where they met."""
    patient, practitioner = patient or a_fhir_patient(), practitioner or a_fhir_practitioner()
    return a_bundle(patient, practitioner, an_encounter(urn(patient), urn(practitioner)))


def a_reading(system: str = "import") -> Reading:
    """Return how resources are read when nothing special is asked for."""
    return Reading(system, new_id, allow_all, TODAY)


def unit_of(bundle: Json | bytes, label: InputLabel = LABEL, system: str = "import") -> Incoming | BadInput:
    """Return what reading a bundle gives."""
    document = bundle if isinstance(bundle, bytes) else json.dumps(bundle).encode()
    return read_bundle(document, label, a_reading(system))


def incoming(*resources: Json, system: str = "import") -> Incoming:
    """Return the unit that a bundle of good resources makes."""
    unit = unit_of(a_bundle(*resources), system=system)
    assert isinstance(unit, Incoming), unit
    return unit


def problem_of(bundle: Json | bytes) -> str:
    """Return what is wrong with a bad bundle."""
    unit = unit_of(bundle)
    assert isinstance(unit, BadInput)
    return unit.problem


def write_lines(path: Path, *resources: Json) -> Path:
    """Write resources as NDJSON and return where."""
    path.write_text("".join(json.dumps(resource) + "\n" for resource in resources))
    return path


def inputs_of(*paths: Path, system: str = "import", strict: bool = False) -> FhirInputs:
    """Return the inputs that an import of these paths reads."""
    return FhirInputs(paths, system=system, new_id=new_id, today=TODAY, strict=strict)
