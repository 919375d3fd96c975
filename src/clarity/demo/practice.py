"""The made-up practice as a whole: who works there, and who is treated by whom."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, tzinfo
from functools import cached_property
from random import Random

from clarity.application.ports import NewId
from clarity.demo.agendas import APPOINTED, Agenda
from clarity.demo.lives import AGES, patient_of
from clarity.demo.medicines import contacts_of, prescriptions_of
from clarity.demo.notes import visit_notes
from clarity.demo.people import STATE, Registry, email, npi, phone, pick_origin
from clarity.domain.appointments import Appointment
from clarity.domain.ids import PatientId, PractitionerId
from clarity.domain.interactions import Interaction
from clarity.domain.medications import Prescription
from clarity.domain.names import HumanName, NameUse
from clarity.domain.notes import Note
from clarity.domain.patients import Patient
from clarity.domain.people import Address, AddressUse, Gender, TelecomUse
from clarity.domain.practitioners import Practitioner

_DISCIPLINES = (
    *[("Dr.", "MD")] * 6,
    *[("Dr.", "PhD"), ("Dr.", "PsyD"), ("", "LICSW")] * 2,
    *[("", "PMHNP-BC"), ("", "RN")] * 3,
)
_PSYCHIATRISTS, _CHILD_PSYCHIATRISTS, _THERAPISTS, _NURSES = range(4), range(4, 6), range(6, 12), range(12, 18)
_CLINIC_LINES = 800
_CLINIC = Address(
    lines=("1 Commons Way",), city="Boston", state=STATE, postal_code="02114", country="US", use=AddressUse.WORK
)


class SyntheticPractice:
    """`PracticeGenerator` of a psychiatric practice in Massachusetts: everything follows from `seed` and `today`."""

    def __init__(self, seed: int, today: date, zone: tzinfo = UTC) -> None:
        """Load the word lists, which takes a moment. By the clock in `zone` people come and go."""
        self._seed = seed
        self._today = today
        self._registry = Registry()
        self._zone = zone
        self._agenda = Agenda(seed, today, zone)

    @property
    def practitioners(self) -> int:
        """How many practitioners there are."""
        return len(_DISCIPLINES)

    def practitioner(self, number: int, identity: PractitionerId) -> Practitioner:
        """Return a practitioner, from 0."""
        random = self._registry.start(f"{self._seed}/practitioner/{number}")
        female = random.random() < 0.6
        called = self._registry.name(pick_origin(random), female=female)
        title, degree = _DISCIPLINES[number]
        return Practitioner(
            id=identity,
            name=HumanName(
                family=called.family,
                given=called.given,
                prefix=(title,) if title else (),
                suffix=(degree,),
                use=NameUse.OFFICIAL,
            ),
            npi=npi(17_300_000 + 4_211 * number + self._seed % 4_211),
            gender=Gender.FEMALE if female else Gender.MALE,
            telecoms=(
                phone(_CLINIC_LINES + number, TelecomUse.WORK),
                email(called, number, "clinic.example.org", TelecomUse.WORK),
            ),
            addresses=(_CLINIC,),
        )

    def team(self, number: int) -> tuple[int, ...]:
        """Return the numbers of the practitioners who treat patient `number`: a psychiatrist, mostly others too."""
        random = Random(f"{self._seed}/team/{number}")
        youngest, _ = AGES[number % len(AGES)]
        psychiatrists = _CHILD_PSYCHIATRISTS if youngest < 18 else _PSYCHIATRISTS
        team = [psychiatrists[number % len(psychiatrists)]]
        if random.random() < 0.75:
            team.append(random.choice(_THERAPISTS))
        if random.random() < 0.55:
            team.append(random.choice(_NURSES))
        return tuple(team)

    def patient(self, number: int, identity: PatientId, team: Sequence[PractitionerId]) -> Patient:
        """Return a patient, from 0, treated by `team`."""
        return patient_of(self._registry, f"{self._seed}/patient/{number}", number, identity, team, self._today)

    def appointments(
        self, number: int, patient: Patient, practitioner: PractitionerId, now: datetime, new_id: NewId
    ) -> tuple[Appointment, ...]:
        """Return the appointments of patient `number` with who treats them first, around the day that is `now`."""
        if number >= APPOINTED:
            return ()
        first, *_ = self.team(number)
        rank = self._caseloads[first].index(number)
        return tuple(self._agenda.of(number, rank, patient, practitioner, now, new_id))

    def notes(self, number: int, patient: Patient, new_id: NewId) -> tuple[Note, ...]:
        """Return the notes on patient `number` by who treats them first, the oldest first."""
        if number >= APPOINTED:
            return ()
        first, *_ = self.team(number)
        writer = self.practitioner(first, PractitionerId(new_id()))
        return tuple(visit_notes(patient, str(writer.name), self._zone, new_id))

    def medicines(
        self, number: int, patient: Patient, prescriber: PractitionerId, now: datetime, new_id: NewId
    ) -> tuple[tuple[Prescription, ...], tuple[Interaction, ...]]:
        """Return what patient `number` takes, by who treats them first, and what they told lately."""
        if number >= APPOINTED:
            return (), ()
        random = Random(f"{self._seed}/medicines/{number}")
        prescriptions = tuple(prescriptions_of(patient, prescriber, new_id))
        return prescriptions, tuple(contacts_of(patient, prescriptions, random, now, self._zone, new_id))

    @cached_property
    def _caseloads(self) -> dict[int, list[int]]:
        """Who treats whom first, by numbers: of one practitioner, each patient has a place of their own in the day."""
        caseloads: dict[int, list[int]] = {}
        for number in range(APPOINTED):
            caseloads.setdefault(self.team(number)[0], []).append(number)
        return caseloads
