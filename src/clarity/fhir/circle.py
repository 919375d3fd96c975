"""Resources that may refer to one another: those of a bundle, or of the files of a folder."""

from dataclasses import dataclass, field
from datetime import date

from msgspec import Raw

from clarity.application.imports import (
    BadInput,
    IncomingPatient,
    IncomingPractitioner,
    IncomingRecord,
    LeftOut,
    Place,
)
from clarity.application.ports import NewId
from clarity.domain.errors import Invalid
from clarity.domain.ids import PatientId, PractitionerId
from clarity.domain.records import Resource
from clarity.domain.values import within
from clarity.fhir import resources
from clarity.fhir.appointments import read_appointment, subject_of
from clarity.fhir.charting import Chartable, Meanings, Surroundings
from clarity.fhir.decoding import decode
from clarity.fhir.documents import read_document
from clarity.fhir.patients import read_patient
from clarity.fhir.practitioners import read_practitioner
from clarity.fhir.prescriptions import read_prescription
from clarity.fhir.references import Directory, Known, identity_of
from clarity.fhir.resource_types import RESOURCE_TYPES
from clarity.fhir.specialties import Specialties
from clarity.fhir.strict import Check
from clarity.fhir.ties import Ties

CHARTED = {
    "Appointment": Resource.APPOINTMENT,
    "DocumentReference": Resource.NOTE,
    "MedicationRequest": Resource.PRESCRIPTION,
}
"""The types of resources that become records in charts."""

PLACED = frozenset({"Patient", "Practitioner", *CHARTED})
"""The types of resources that are kept. The others are counted, and some are read for what they tell of these."""

_MEANING = frozenset({"Condition", "Medication"})

# An error of the domain names a field of ours; whoever repairs the source looks for the element of FHIR.
_ELEMENTS = {
    "addresses": "address",
    "codings": "coding",
    "contacts": "contact",
    "identifiers": "identifier",
    "languages": "communication",
    "lines": "line",
    "mothers_maiden_name": "extension(mothersMaidenName)",
    "names": "name",
    "npi": "identifier",
    "postal_code": "postalCode",
    "telecoms": "telecom",
}


@dataclass(frozen=True, slots=True)
class Reading:
    """How resources are read: `system` is the name of their source, `check` what is demanded of all of them.

    `today` is the day on which they are read.
    """

    system: str
    new_id: NewId
    check: Check
    today: date


@dataclass(frozen=True, slots=True)
class Met:
    """A resource whose identity is known, and which is not mapped yet."""

    known: Known
    resource: bytes | Raw = field(repr=False)
    place: Place


class Circle:
    """What has been read of resources that belong together, as far as one is needed to understand another.

    With `is_large`, patients are not found by their identifiers: to keep those of a million would take a gigabyte. Nor
    is remembered which records there were, nor what conditions mean.
    """

    def __init__(self, reading: Reading, *, is_large: bool = False) -> None:
        self._reading = reading
        self._is_large = is_large
        self._directory = Directory()
        self.ties = Ties(reading.system, self._directory)
        self.specialties = Specialties(reading.system, self.ties.practitioner)
        self._meanings = Meanings()
        self._around = Surroundings(self.ties, self._meanings, reading.today, reading.new_id)

    @staticmethod
    def type_of(resource: bytes | Raw) -> str:
        """Return the type of a resource. Raises `Invalid` if it is no resource."""
        name = decode(resource, resources.Head).resource_type
        if name not in RESOURCE_TYPES:
            raise Invalid("resourceType", "is no type of resource in FHIR R4")
        return name

    def meet(self, name: str, resource: bytes | Raw, place: Place, full_url: str = "") -> Met:
        """Check a resource of type `name`; remember who it is about, and what it says of who cares for whom."""
        with within(name):
            self._reading.check(name, bytes(resource))
            known = self._identity(name, resource, full_url)
            self._directory.add_url(full_url, known)
            if name == "PractitionerRole":
                role = decode(resource, resources.PractitionerRole)
                self.ties.add_role(known, role)
                self.specialties.add(role, place)
            elif name == "Encounter":
                self.ties.add_encounter(decode(resource, resources.Encounter), place)
            elif name == "CareTeam":
                self.ties.add_care_team(decode(resource, resources.CareTeam), place)
            elif name == "Medication" or (name in _MEANING and not self._is_large):
                self._meanings.add(name, resource, full_url)
        return Met(known, resource, place)

    def met_before(self, resource: bytes, place: Place) -> Met | None:
        """Return a patient or a record that was met when `resource` was read first; `None` for anything else."""
        name = decode(resource, resources.Head).resource_type
        if name != "Patient" and name not in CHARTED:
            return None
        return Met(Known(name, decode(resource, resources.Identified).id), resource, place)

    @staticmethod
    def subject_of(name: str, resource: bytes) -> str:
        """Return the reference of a resource of type `name` to the patient whose record it becomes; "" for none."""
        try:
            if name == "Appointment":
                subject = subject_of(decode(resource, resources.Appointment))
            else:
                subject = decode(resource, resources.Subjected).subject
        except Invalid:
            return ""  # which `record` says of it
        return "" if subject is None else subject.reference

    def chart_of(self, subject: str) -> str:
        """Return the source of the patient that a reference leads to, or "". To be called when all has been read."""
        try:
            return (self.ties.patient(subject) or "") if subject else ""
        except Invalid:
            return ""

    def record(self, met: Met) -> IncomingRecord | LeftOut | BadInput:
        """Return the record of a resource that was met, why there is none, or what is wrong.

        To be called when all has been read, and the ties are settled.
        """
        name, source = met.known.type, met.known.source(self._reading.system)
        about = Chartable(known=met.known, source=source, place=met.place, around=self._around)
        try:
            with within(name):
                if name == "Appointment":
                    return read_appointment(decode(met.resource, resources.Appointment), about)
                if name == "MedicationRequest":
                    return read_prescription(decode(met.resource, resources.MedicationRequest), about)
                return read_document(decode(met.resource, resources.DocumentReference), about)
        except Invalid as exc:
            return bad_input(met.place, exc)

    def read(self, met: Met) -> IncomingPatient | IncomingPractitioner | BadInput:
        """Return the patient or practitioner of a resource that was met, or what is wrong.

        Before the first patient is read, the ties have to be settled.
        """
        source = met.known.source(self._reading.system)
        caregivers = self.ties.of(source) if met.known.type == "Patient" else {}
        try:
            with within(met.known.type):
                if met.known.type == "Practitioner":
                    identity = PractitionerId(self._reading.new_id())
                    return IncomingPractitioner(read_practitioner(met.resource, identity, source), met.place)
                patient = read_patient(met.resource, PatientId(self._reading.new_id()), source)
        except Invalid as exc:
            return bad_input(met.place, exc)
        return caregivers if isinstance(caregivers, BadInput) else IncomingPatient(patient, caregivers, met.place)

    def _identity(self, name: str, resource: bytes | Raw, full_url: str) -> Known:
        """Return what a resource goes by, so that references find it; what is not kept needs no id."""
        if name not in PLACED and name != "PractitionerRole":
            return Known(name, "")
        about = decode(resource, resources.Identified)
        if name not in PLACED and not about.id:
            return Known(name, full_url)
        known = identity_of(name, about.id, full_url)
        if name in CHARTED and self._is_large:
            return known
        self._directory.add(known, () if self._is_large and name == "Patient" else about.identifier)
        return known


def bad_input(place: Place, error: Invalid) -> BadInput:
    """Return what is wrong at a place, in the words of FHIR."""
    element = ".".join(_ELEMENTS.get(step, step) for step in error.field.split("."))
    return BadInput(place, f"{element}: {error.rule}" if element else error.rule)
