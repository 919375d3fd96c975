"""Things to test with. Each builder takes what matters to a test and makes up the rest."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from secrets import token_bytes
from typing import Any
from uuid import UUID

from uuid_utils.compat import uuid7

from clarity.application.admission import Admitted
from clarity.domain.access import OPERATOR, Action, Actor, Consent, Purpose, Role, scope_of
from clarity.domain.appointments import Appointment, AppointmentStatus
from clarity.domain.audit import Attempt
from clarity.domain.dates import PartialDate
from clarity.domain.dosages import Dosage, Dose, DoseUnit, Route, Timing
from clarity.domain.identifiers import Identifier
from clarity.domain.ids import (
    AppointmentId,
    ConsentId,
    InteractionId,
    PatientId,
    PractitionerId,
    PrescriptionId,
    RequestId,
)
from clarity.domain.interactions import Channel, Direction, DoseOutcome, Interaction
from clarity.domain.medications import Prescription
from clarity.domain.names import HumanName, NameUse
from clarity.domain.patients import ALL_FIELDS, Patient
from clarity.domain.people import Gender, Telecom, TelecomSystem
from clarity.domain.practitioners import Practitioner
from clarity.domain.records import Label, Sealed
from clarity.security.keyring import Keyring
from clarity.security.keyring import Purpose as KeyPurpose
from tests.canaries import plant

COMMONEST = ("Lovelace", "quiet ferns along the river", "Harbor Recovery Program", "Substance use treatment records")
"""Content that is in most databases of a test run: names, a password, the words of a consent."""

NOW = datetime(2026, 3, 14, 9, 26, 53, tzinfo=UTC)
TODAY = date(2026, 3, 14)


def new_id() -> UUID:
    """Return a UUIDv7."""
    return uuid7()


def a_keyring() -> Keyring:
    """Return a keyring with one random generation of every key."""
    return Keyring({purpose: {1: token_bytes(32)} for purpose in KeyPurpose})


def a_name(family: str = "Lovelace", given: str = "Ada", use: NameUse | None = NameUse.OFFICIAL) -> HumanName:
    """Return a name; several given names are separated by spaces."""
    plant(family, *given.split())
    return HumanName(family=family, given=tuple(given.split()), use=use)


def a_patient(
    *,
    name: HumanName | None = None,
    born: str = "1985-12-10",
    mrn: str = "",
    ssn: str = "",
    email: str = "",
    phone: str = "",
    gender: Gender = Gender.FEMALE,
    identifiers: tuple[Identifier, ...] = (),
    names: tuple[HumanName, ...] = (),
    care_team: frozenset[PractitionerId] = frozenset(),
    notes: str = "",
    label: Label = Label.NORMAL,
    discharged: date | None = None,
    sources: tuple[str, ...] = (),
    patient_id: PatientId | None = None,
) -> Patient:
    """Return a patient nobody has stored yet, with an MRN of their own unless one is given."""
    plant(mrn, ssn, email, phone, notes)
    identity = patient_id or PatientId(new_id())
    telecoms = []
    if email:
        telecoms.append(Telecom(system=TelecomSystem.EMAIL, value=email))
    if phone:
        telecoms.append(Telecom(system=TelecomSystem.PHONE, value=phone))
    numbers = [Identifier.mrn(mrn or f"MRN-{identity.hex}"), *identifiers]
    if ssn:
        numbers.append(Identifier.ssn(ssn))
    return Patient(
        id=identity,
        names=names or (name or a_name(),),
        born=PartialDate.parse(born),
        gender=gender,
        identifiers=tuple(numbers),
        telecoms=tuple(telecoms),
        care_team=care_team,
        notes=notes,
        label=label,
        discharged=discharged,
        sources=sources,
    )


def a_practitioner(*, name: HumanName | None = None, npi: str = "", sources: tuple[str, ...] = ()) -> Practitioner:
    """Return a practitioner nobody has stored yet."""
    return Practitioner(id=PractitionerId(new_id()), name=name or a_name("Freud", "Anna"), npi=npi, sources=sources)


def an_appointment(
    patient: PatientId,
    practitioner: PractitionerId,
    starts_at: datetime,
    *,
    minutes: int = 30,
    label: Label = Label.NORMAL,
    status: AppointmentStatus = AppointmentStatus.BOOKED,
) -> Appointment:
    """Return an appointment nobody has booked yet."""
    place, reason, notes = "Harbor House, room 214", "Lithium levels after the move", "Brings her sister along"
    plant(place, reason, notes)
    return Appointment(
        id=AppointmentId(new_id()),
        patient=patient,
        practitioner=practitioner,
        starts_at=starts_at,
        ends_at=starts_at + timedelta(minutes=minutes),
        label=label,
        status=status,
        place=place,
        reason=reason,
        notes=notes,
    )


def a_consent(
    *,
    labels: tuple[Label, ...] = (Label.PART2,),
    purposes: tuple[Purpose, ...] = (Purpose.TREATMENT,),
    recipients: tuple[PractitionerId, ...] = (),
    since: datetime = NOW - timedelta(days=30),
    until: datetime | None = None,
    withdrawn_at: datetime | None = None,
) -> Consent:
    """Return a consent nobody has recorded yet, in force for treatment by everybody unless that matters."""
    plant("Harbor Recovery Program", "Substance use treatment records", "Form P2-1, scanned")
    return Consent(
        id=ConsentId(new_id()),
        labels=labels,
        purposes=purposes,
        from_whom="Harbor Recovery Program",
        to_whom="My treating providers",
        what="Substance use treatment records",
        since=since,
        until=until,
        ends_with="" if until else "end of treatment",
        signed_by="the patient",
        signed_on=since.date(),
        document="Form P2-1, scanned",
        recipients=recipients,
        recorded_at=since,
        recorded_by=OPERATOR,
        withdrawn_at=withdrawn_at,
        withdrawn_by=OPERATOR if withdrawn_at else None,
    )


def a_prescription(
    patient: PatientId, *, name: str = "Sertraline 50 MG Oral Tablet", start: str = "2026-01-10", **content: Any
) -> Prescription:
    """Return a prescription nobody has stored yet: of 50 mg once a day by mouth, unless that matters."""
    plant(name, "Major depressive disorder", "Dr. Quentin Farnsworth")
    dosage = Dosage(dose=Dose(value=Decimal(50), unit=DoseUnit.MILLIGRAM), route=Route.ORAL, timing=Timing())
    written: dict[str, Any] = {
        "dosage": dosage,
        "indication": "Major depressive disorder",
        "prescribed_by": "Dr. Quentin Farnsworth",
    }
    return Prescription(
        id=PrescriptionId(new_id()),
        patient=patient,
        name=name,
        start=PartialDate.parse(start),
        **(written | content),
    )


def an_interaction(
    patient: PatientId,
    *,
    channel: Channel = Channel.MESSAGE,
    occurred_at: datetime = NOW - timedelta(hours=3),
    prescription: PrescriptionId | None = None,
    dose: DoseOutcome | None = None,
    label: Label = Label.NORMAL,
) -> Interaction:
    """Return a contact nobody has recorded yet."""
    plant("Asked about the evening dose", "Is it all right to take it at nine?")
    return Interaction(
        id=InteractionId(new_id()),
        patient=patient,
        channel=channel,
        direction=Direction.FROM_PATIENT,
        occurred_at=occurred_at,
        summary="Asked about the evening dose",
        payload="Is it all right to take it at nine?",
        prescription=prescription,
        dose=dose,
        label=label,
    )


def an_actor(
    role: Role = Role.CLINICIAN,
    *,
    practitioner: PractitionerId | None = None,
    patient: PatientId | None = None,
    actor_id: UUID | None = None,
) -> Actor:
    """Return somebody acting in one request of their own."""
    return Actor(
        id=actor_id or new_id(),
        role=role,
        request=RequestId(new_id()),
        practitioner=practitioner,
        patient=patient,
    )


def the_operator() -> Actor:
    """Return the system actor behind the command line."""
    return Actor(
        id=OPERATOR,
        role=Role.SYSTEM,
        request=RequestId(new_id()),
        purpose=Purpose.SYSTEM_ADMINISTRATION,
        operator="tester",
    )


def unsafe_admitted(record: Sealed) -> Admitted:
    """Return an admission that no policy gave and no unit of work has noted."""
    attempt = Attempt(actor=the_operator(), action=Action.VIEW, at=NOW, patient=record.patient, ids=(record.id,))
    return Admitted(record, attempt, ALL_FIELDS, scope_of(attempt.actor, attempt.action, record.resource, at=NOW))
