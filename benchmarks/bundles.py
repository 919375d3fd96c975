"""FHIR files of made-up patients, in the form and the proportions of Synthea's: a bundle for each, indented, gzip.

A bundle has 300 resources, of each type as many as the files of Synthea 2.4 have on average, and as many bytes. Of the
people of one practice (`benchmarks/people.py`) all is different but the organisations and the practitioners, of whom a
hundred patients share twenty.
"""

import gzip
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias
from uuid import UUID, uuid5

from benchmarks.people import Person
from clarity.demo.people import STATE, npi, ssn

Json: TypeAlias = dict[str, Any]

OF_EACH = {
    "Encounter": 28,
    "Condition": 7,
    "Claim": 35,
    "ExplanationOfBenefit": 28,
    "Observation": 138,
    "Procedure": 21,
    "Immunization": 12,
    "MedicationRequest": 7,
    "DiagnosticReport": 10,
    "CarePlan": 3,
    "Goal": 2,
    "ImagingStudy": 1,
    "AllergyIntolerance": 1,
}
"""How many resources a bundle has beside one patient and, of each, three practitioners and organisations."""

STAFF = 3
_PRACTITIONERS = 20
_SPACE = UUID("5f0f2c1e-0c64-4c0e-9a0e-3f6f6f6b7a11")
_TERMS, _CORE = "http://terminology.hl7.org/CodeSystem", "http://hl7.org/fhir/us/core/StructureDefinition"
_SNOMED, _LOINC = "http://snomed.info/sct", "http://loinc.org"
_OMB = "urn:oid:2.16.840.1.113883.6.238"
_HOSPITAL = "http://hospital.example.org"
_DAY = "2019-03-{:02}T09:{:02}:00+00:00"
# An explanation of benefit lists what was paid for each item; one of Synthea's has 5,800 bytes.
_ITEMS = 9


def resources_in_a_bundle() -> int:
    """Return how many resources one bundle has."""
    return 1 + 2 * STAFF + sum(OF_EACH.values())


def write_bundles(folder: Path, people: Iterator[Person]) -> int:
    """Write a bundle for each of `people` and return how many resources that was."""
    count = 0
    for person in people:
        bundle = bundle_of(person)
        document = json.dumps(bundle, indent=2).encode()
        (folder / f"{person.number:06}.json.gz").write_bytes(gzip.compress(document, compresslevel=6))
        count += len(bundle["entry"])
    return count


def write_patients(folder: Path, people: Iterator[Person]) -> int:
    """Write one file with a patient in each line, as bulk exports do, and return how many it has."""
    lines = [json.dumps(_patient(person)) for person in people]
    (folder / "Patient.ndjson.gz").write_bytes(gzip.compress("\n".join(lines).encode(), compresslevel=6))
    return len(lines)


def bundle_of(person: Person) -> Json:
    """Return everything that is known of one patient."""
    return {
        "resourceType": "Bundle",
        "type": "transaction",
        "entry": [
            {"fullUrl": f"urn:uuid:{one['id']}", "resource": one, "request": {"method": "POST", "url": name}}
            for one in _resources_of(person)
            for name in (one["resourceType"],)
        ],
    }


@dataclass(frozen=True, slots=True)
class _Record:
    """What the resources of one patient refer to."""

    person: Person

    def id(self, kind: str, number: int) -> str:
        return str(uuid5(_SPACE, f"{kind} {number} of {self.person.number}"))

    def to(self, kind: str, number: int) -> Json:
        return {"reference": f"urn:uuid:{self.id(kind, number % OF_EACH.get(kind, 1))}"}

    @property
    def patient(self) -> Json:
        return {"reference": f"urn:uuid:{_patient_id(self.person)}"}

    def staff(self, number: int) -> Json:
        return {"reference": f"urn:uuid:{_staff_id('Practitioner', _staff_of(self.person, number))}"}

    def place(self, number: int) -> Json:
        return {"reference": f"urn:uuid:{_staff_id('Organization', _staff_of(self.person, number))}"}


def _resources_of(person: Person) -> Iterator[Json]:
    yield _patient(person)
    for number in range(STAFF):
        yield _organisation(_staff_of(person, number))
        yield _practitioner(_staff_of(person, number))
    record = _Record(person)
    for name, count in OF_EACH.items():
        for number in range(count):
            tag = {"tag": [{"system": "https://example.org/tags", "code": "made-up"}]}
            yield {"resourceType": name, "id": record.id(name, number), **_MADE[name](record, number), "meta": tag}


def _staff_of(person: Person, number: int) -> int:
    return (person.number * 7 + number) % _PRACTITIONERS + person.number // 100 * _PRACTITIONERS


def _staff_id(kind: str, number: int) -> str:
    return str(uuid5(_SPACE, f"{kind} {number}"))


def _patient_id(person: Person) -> str:
    return str(uuid5(_SPACE, f"Patient {person.number}"))


def _concept(system: str, code: str, display: str) -> Json:
    return {"coding": [{"system": system, "code": code, "display": display}], "text": display}


def _identifier(code: str, display: str, system: str, value: str) -> Json:
    return {"type": _concept(f"{_TERMS}/v2-0203", code, display), "system": system, "value": value}


def _category(name: str, code: str, display: str) -> Json:
    coded = {"url": "ombCategory", "valueCoding": {"system": _OMB, "code": code, "display": display}}
    return {"url": f"{_CORE}/{name}", "extension": [coded, {"url": "text", "valueString": display}]}


def _patient(person: Person) -> Json:
    identity, place = _patient_id(person), [("latitude", 42.1 + person.number % 97 / 100), ("longitude", -71.3)]
    return {
        "resourceType": "Patient",
        "id": identity,
        "text": {"status": "generated", "div": '<div xmlns="http://www.w3.org/1999/xhtml">Made up.</div>'},
        "extension": [
            _category("us-core-race", "2106-3", "White"),
            _category("us-core-ethnicity", "2186-5", "Not Hispanic or Latino"),
            {"url": f"{_CORE}/us-core-birthsex", "valueCode": "F" if person.female else "M"},
            {
                "url": "http://hl7.org/fhir/StructureDefinition/patient-birthPlace",
                "valueAddress": {"city": person.city, "state": STATE, "country": "US"},
            },
        ],
        "identifier": [
            {"system": "https://example.org/patients", "value": identity},
            _identifier("MR", "Medical Record Number", _HOSPITAL, identity),
            _identifier("SS", "Social Security Number", "http://hl7.org/fhir/sid/us-ssn", ssn(person.number)),
            _identifier("DL", "Driver's License", "urn:oid:2.16.840.1.113883.4.3.25", f"S9{person.number:07}"),
        ],
        "name": [{"use": "official", "family": person.family, "given": [person.given]}],
        "telecom": [{"system": "phone", "value": person.phone, "use": "home"}],
        "gender": person.gender.value,
        "birthDate": person.born.isoformat(),
        "address": [
            {
                "line": [person.line],
                "city": person.city,
                "state": STATE,
                "postalCode": person.postal_code,
                "country": "US",
                "extension": [
                    {
                        "url": "http://hl7.org/fhir/StructureDefinition/geolocation",
                        "extension": [{"url": name, "valueDecimal": value} for name, value in place],
                    }
                ],
            }
        ],
        "maritalStatus": _concept(f"{_TERMS}/v3-MaritalStatus", "S", "Never Married"),
        "multipleBirthBoolean": False,
        "communication": [{"language": _concept("urn:ietf:bcp:47", "en-US", "English")}],
    }


def _organisation(number: int) -> Json:
    return {
        "resourceType": "Organization",
        "id": _staff_id("Organization", number),
        "active": True,
        "type": [_concept(f"{_TERMS}/organization-type", "prov", "Healthcare Provider")],
        "name": f"Practice {number}",
        "telecom": [{"system": "phone", "value": "6175550100"}],
        "address": [{"line": ["1 Main Street"], "city": "Ashwick", "state": STATE, "country": "US"}],
    }


def _practitioner(number: int) -> Json:
    return {
        "resourceType": "Practitioner",
        "id": _staff_id("Practitioner", number),
        "identifier": [{"system": "http://hl7.org/fhir/sid/us-npi", "value": npi(number)}],
        "active": True,
        "name": [{"family": f"Carer{number}", "given": ["Kim"], "prefix": ["Dr."]}],
        "gender": "female",
    }


def _period(number: int) -> Json:
    return {"start": _DAY.format(number % 28 + 1, 10), "end": _DAY.format(number % 28 + 1, 25)}


def _encounter(record: _Record, number: int) -> Json:
    return {
        "status": "finished",
        "class": {"system": f"{_TERMS}/v3-ActCode", "code": "AMB"},
        "type": [_concept(_SNOMED, "185349003", "Encounter for check up (procedure)")],
        "subject": record.patient,
        "participant": [{"individual": record.staff(number % STAFF)}],
        "period": _period(number),
        "serviceProvider": record.place(number % STAFF),
    }


def _of(record: _Record, number: int, **more: object) -> Json:
    return {"status": "completed", "subject": record.patient, "encounter": record.to("Encounter", number), **more}


def _condition(record: _Record, number: int) -> Json:
    return {
        "clinicalStatus": {"coding": [{"system": f"{_TERMS}/condition-clinical", "code": "active"}]},
        "code": _concept(_SNOMED, "370143000", "Major depressive disorder (disorder)"),
        "subject": record.patient,
        "encounter": record.to("Encounter", number),
        "onsetDateTime": _DAY.format(number % 28 + 1, 10),
    }


def _item(number: int) -> Json:
    return {
        "sequence": number + 1,
        "productOrService": _concept(_SNOMED, "185349003", "Encounter for check up (procedure)"),
        "servicedPeriod": _period(number),
        "locationCodeableConcept": _concept(f"{_TERMS}/ex-serviceplace", "21", "Inpatient Hospital"),
        "net": {"value": 129.16, "currency": "USD"},
    }


def _claim(record: _Record, number: int) -> Json:
    return {
        "status": "active",
        "type": {"coding": [{"system": f"{_TERMS}/claim-type", "code": "institutional"}]},
        "use": "claim",
        "patient": record.patient,
        "billablePeriod": _period(number),
        "provider": record.place(number % STAFF),
        "diagnosis": [{"sequence": 1, "diagnosisReference": record.to("Condition", number)}],
        "insurance": [{"sequence": 1, "focal": True, "coverage": {"display": "private"}}],
        "item": [{**_item(number), "encounter": [record.to("Encounter", number)]}],
        "total": {"value": 129.16, "currency": "USD"},
    }


def _explanation(record: _Record, number: int) -> Json:
    staff = record.staff(number % STAFF)
    referral = {
        "resourceType": "ServiceRequest",
        "id": "referral",
        "status": "completed",
        "intent": "order",
        "subject": record.patient,
        "requester": staff,
        "performer": [staff],
    }
    paid = {
        "category": _concept("https://bluebutton.cms.gov/resources/variables/line_sbmtd_chrg_amt", "1", "Charge"),
        "amount": {"value": 103.3, "currency": "USD"},
    }
    return {
        **_claim(record, number),
        "contained": [referral],
        "insurer": {"display": "private"},
        "provider": staff,
        "claim": record.to("Claim", number),
        "careTeam": [{"sequence": 1, "provider": staff}],
        "item": [{**_item(place), "adjudication": [paid] * 3} for place in range(_ITEMS)],
        "payment": {"amount": {"value": 103.3, "currency": "USD"}},
    }


def _observation(record: _Record, number: int) -> Json:
    kind = _concept(f"{_TERMS}/observation-category", "vital-signs", "vital-signs")
    measured = {"value": 170 + number / 7, "unit": "cm", "system": "http://unitsofmeasure.org", "code": "cm"}
    at = _DAY.format(number % 28 + 1, 15)
    return {
        **_of(record, number, status="final", category=[kind], code=_concept(_LOINC, "8302-2", "Body Height")),
        "effectiveDateTime": at,
        "issued": at,
        "valueQuantity": measured,
    }


def _order(record: _Record, number: int) -> Json:
    return {
        "status": "stopped",
        "intent": "order",
        "medicationCodeableConcept": _concept(
            "http://www.nlm.nih.gov/research/umls/rxnorm", "310965", "Ibuprofen 200 MG"
        ),
        "subject": record.patient,
        "encounter": record.to("Encounter", number),
        "authoredOn": _DAY.format(number % 28 + 1, 12),
        "requester": record.staff(number % STAFF),
        "reasonReference": [record.to("Condition", number)],
    }


def _coded(name: str, system: str, code: str, display: str) -> Callable[[_Record, int], Json]:
    """Return what makes a resource that says little more than a code."""

    def made(record: _Record, number: int) -> Json:
        return _of(record, number, **{name: _concept(system, code, display)}, performedPeriod=_period(number))

    return made


_MADE: dict[str, Callable[[_Record, int], Json]] = {
    "Encounter": _encounter,
    "Condition": _condition,
    "Claim": _claim,
    "ExplanationOfBenefit": _explanation,
    "Observation": _observation,
    "Procedure": _coded("code", _SNOMED, "73761001", "Colonoscopy"),
    "Immunization": _coded("vaccineCode", "http://hl7.org/fhir/sid/cvx", "140", "Influenza, seasonal, injectable"),
    "MedicationRequest": _order,
    "DiagnosticReport": _coded("code", _LOINC, "57698-3", "Lipid Panel"),
    "CarePlan": _coded("category", _SNOMED, "91251008", "Physical therapy procedure"),
    "Goal": _coded("description", _SNOMED, "413350009", "Finding"),
    "ImagingStudy": _coded("bodySite", _SNOMED, "72696002", "Knee"),
    "AllergyIntolerance": _coded("code", _SNOMED, "300916003", "Latex allergy"),
}
