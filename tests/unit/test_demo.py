"""The made-up practice: plausible, the same for the same seed, belonging to nobody, completed when interrupted."""

import re
from collections import Counter
from datetime import date
from uuid import UUID

import pytest

from clarity.application.demo import DEMO_ACCOUNTS, DemoService
from clarity.application.ports import PatientFilter
from clarity.demo.practice import SyntheticPractice
from clarity.domain.access import Action, Role, scope_of
from clarity.domain.audit import Outcome
from clarity.domain.errors import WrongCredentials
from clarity.domain.identifiers import IdentifierKind, npi_is_valid
from clarity.domain.ids import PatientId, PractitionerId, RequestId
from clarity.domain.medications import PrescriptionStatus
from clarity.domain.notes import NoteKind, NoteStatus
from clarity.domain.patients import Patient, PatientStatus
from clarity.domain.people import TelecomSystem
from clarity.domain.practitioners import Practitioner
from clarity.domain.records import Label, Resource
from tests.builders import NOW, TODAY, new_id, the_operator
from tests.fakes.accounts import ADDRESS, FrontDoor
from tests.fakes.work import MemoryUnitsOfWork

PATIENTS = 200


@pytest.fixture(scope="module")
def made_up() -> SyntheticPractice:
    return SyntheticPractice(1, TODAY)


@pytest.fixture(scope="module")
def staff(made_up: SyntheticPractice) -> list[Practitioner]:
    return [made_up.practitioner(number, PractitionerId(new_id())) for number in range(made_up.practitioners)]


@pytest.fixture(scope="module")
def patients(made_up: SyntheticPractice, staff: list[Practitioner]) -> list[Patient]:
    return [
        made_up.patient(number, PatientId(new_id()), [staff[member].id for member in made_up.team(number)])
        for number in range(PATIENTS)
    ]


@pytest.fixture
def units() -> MemoryUnitsOfWork:
    return MemoryUnitsOfWork()


@pytest.fixture
def door(units: MemoryUnitsOfWork) -> FrontDoor:
    return FrontDoor(units.begin, units.reading)


@pytest.fixture
def demo(units: MemoryUnitsOfWork, door: FrontDoor) -> DemoService:
    return DemoService(units.begin, units.reading, door.accounts, lambda: NOW, new_id)


class Interrupted(Exception):
    """The process was killed."""


def nobody_watches(_there: int, _of: int) -> None:
    """Take progress and show it to nobody."""


def test_a_person_follows_from_seed_and_number_alone(made_up: SyntheticPractice) -> None:
    identity = PatientId(UUID(int=7))
    made_up.patient(3, identity, [])
    again = SyntheticPractice(1, TODAY)
    for number in (60, 17, 0):
        assert again.patient(number, identity, []) == made_up.patient(number, identity, [])
        assert again.team(number) == made_up.team(number)
    assert SyntheticPractice(2, TODAY).patient(17, identity, []) != made_up.patient(17, identity, [])


@pytest.mark.parametrize("today", [date(2028, 2, 29), date(2027, 3, 1), date(2026, 12, 31)])
def test_any_day_is_one_to_begin_on(today: date) -> None:
    made_up = SyntheticPractice(1, today)
    assert all(made_up.patient(number, PatientId(new_id()), []).born.last <= today for number in range(40))


def test_minors_and_elders_those_who_left_and_those_who_died_are_among_them(patients: list[Patient]) -> None:
    ages = [patient.age_on(TODAY) for patient in patients]
    assert min(ages) < 13
    assert max(ages) > 85
    assert 0.1 < sum(age < 18 for age in ages) / PATIENTS < 0.3
    statuses = Counter(patient.status for patient in patients)
    assert statuses[PatientStatus.ACTIVE] > PATIENTS / 2
    assert statuses[PatientStatus.DISCHARGED] >= 5
    assert statuses[PatientStatus.DECEASED] >= 3
    assert 5 <= sum(patient.label is Label.RESTRICTED for patient in patients) < PATIENTS / 5


def test_every_record_says_what_a_practice_knows(patients: list[Patient]) -> None:
    for patient in patients:
        assert patient.notes
        assert patient.care_team
        assert patient.contacts
        assert patient.addresses[0].postal_code
        assert patient.telecoms
        assert any(language.preferred for language in patient.languages)
        if patient.age_on(TODAY) < 18:
            assert str(patient.contacts[0].relationships[0]) == "mother"
            assert str(patient.marital_status) == "Never Married"
    assert sum(bool(patient.insurances) for patient in patients) > 0.9 * PATIENTS
    assert any(not name.search_text.isascii() for patient in patients for name in patient.names)


def test_notes_end_with_the_treatment(patients: list[Patient]) -> None:
    for patient in patients:
        dates = [date.fromisoformat(found) for found in re.findall(r"^\d{4}-\d{2}-\d{2}", patient.notes, re.MULTILINE)]
        assert len(dates) >= 2
        assert dates == sorted(dates, reverse=True)
        died = patient.death.day.first if patient.death and patient.death.day else TODAY
        assert dates[0] <= min(TODAY, patient.discharged or TODAY, died)


def test_medicines_are_as_the_notes_have_them(made_up: SyntheticPractice, patients: list[Patient]) -> None:
    prescribed = 0
    for number, patient in enumerate(patients):
        prescriptions, told = made_up.medicines(number, patient, PractitionerId(new_id()), NOW, new_id)
        prescribed += len(prescriptions)
        for one in prescriptions:
            assert str(one.start) in patient.notes
            assert one.name.lower() in patient.notes.lower()
            assert (one.status is PrescriptionStatus.ACTIVE) == (patient.status is PatientStatus.ACTIVE)
        assert {one.prescription for one in told} <= {None, *(one.id for one in prescriptions)}
        assert all(one.occurred_at <= NOW for one in told)
    assert prescribed > PATIENTS // 2


def test_each_entry_of_the_notes_is_a_signed_note(made_up: SyntheticPractice, patients: list[Patient]) -> None:
    for number, patient in enumerate(patients[:25]):
        notes = made_up.notes(number, patient, new_id)
        days = [str(note.about.date()) for note in notes if note.about is not None]
        assert days == re.findall(r"^\d{4}-\d{2}-\d{2}", patient.notes, re.MULTILINE)[::-1]
        assert [note.kind for note in notes] == [NoteKind.INTAKE, *[NoteKind.PROGRESS] * (len(notes) - 1)]
        for note in notes:
            assert note.status is NoteStatus.SIGNED
            assert note.written_by
            assert note.body.startswith("- ")


def test_nothing_can_belong_to_somebody(patients: list[Patient], staff: list[Practitioner]) -> None:
    telecoms = [telecom for patient in patients for telecom in patient.telecoms]
    telecoms += [telecom for practitioner in staff for telecom in practitioner.telecoms]
    telecoms += [telecom for patient in patients for contact in patient.contacts for telecom in contact.telecoms]
    for telecom in telecoms:
        if telecom.system is TelecomSystem.PHONE:
            assert re.fullmatch(r"\(\d{3}\) 555-01\d\d", telecom.value)
        else:
            assert telecom.value.endswith("example.org")
            assert telecom.value.isascii()
    numbers = [number for patient in patients for number in patient.identifiers if number.kind is IdentifierKind.SSN]
    assert all(re.fullmatch(r"9\d\d-[0-4]\d-\d{4}", number.value) for number in numbers)
    assert len({number.value for number in numbers}) == len(numbers)
    assert all(practitioner.npi.startswith("2") and npi_is_valid(practitioner.npi) for practitioner in staff)
    assert len({practitioner.npi for practitioner in staff}) == len(staff)


def test_an_account_of_each_role_that_logs_in_finds_its_work(
    made_up: SyntheticPractice, patients: list[Patient]
) -> None:
    assert {account.role for account in DEMO_ACCOUNTS} == set(Role) - {Role.SYSTEM, Role.NOBODY, Role.DEVICE}
    for account in DEMO_ACCOUNTS:
        if account.practitioner is not None:
            assert sum(account.practitioner in made_up.team(number) for number in range(PATIENTS)) >= 10
        if account.patient is not None:
            own = patients[account.patient]
            assert own.age_on(TODAY) >= 18
            assert own.status is PatientStatus.ACTIVE


async def test_an_interrupted_run_is_completed_by_the_next(
    demo: DemoService, units: MemoryUnitsOfWork, made_up: SyntheticPractice
) -> None:
    def killed_midway(there: int, _of: int) -> None:
        if there >= 20:
            raise Interrupted

    with pytest.raises(Interrupted):
        await demo.fill(the_operator(), lambda: made_up, 50, progress=killed_midway)
    told: list[tuple[int, int]] = []
    added = await demo.fill(the_operator(), lambda: made_up, 50, progress=lambda there, of: told.append((there, of)))
    assert added == 30
    assert told[0] == (20, 50)
    assert told[-1] == (50, 50)
    async with units.reading() as work:
        assert await work.patients.count(scope_of(the_operator(), Action.LIST, at=NOW), PatientFilter()) == 50
        assert await work.practitioners.count() == made_up.practitioners


async def test_what_is_there_is_neither_made_up_again_nor_changed(
    demo: DemoService, made_up: SyntheticPractice
) -> None:
    await demo.fill(the_operator(), lambda: made_up, 5, progress=nobody_watches)

    def nobody_is_made_up() -> SyntheticPractice:
        raise AssertionError("nobody is missing")

    assert await demo.fill(the_operator(), nobody_is_made_up, 5, progress=nobody_watches) == 0


async def test_every_person_who_is_added_is_audited(
    demo: DemoService, units: MemoryUnitsOfWork, made_up: SyntheticPractice
) -> None:
    await demo.fill(the_operator(), lambda: made_up, 25, progress=nobody_watches)
    done = Counter((event.resource, event.outcome) for event in units.trail.events)
    assert done[Resource.PATIENT, Outcome.SUCCEEDED] == 25
    assert done[Resource.PRACTITIONER, Outcome.SUCCEEDED] == made_up.practitioners
    assert {event.operator for event in units.trail.events} == {"tester"}


async def test_the_accounts_are_linked_and_log_in(
    demo: DemoService, door: FrontDoor, made_up: SyntheticPractice
) -> None:
    await demo.fill(the_operator(), lambda: made_up, 3, progress=nobody_watches)
    passwords = {account.email: f"the key under the mat of {account.email}" for account in DEMO_ACCOUNTS}
    assert await demo.open_accounts(
        the_operator(), passwords, unknown=frozenset(passwords), progress=nobody_watches
    ) == len(DEMO_ACCOUNTS)
    for account in DEMO_ACCOUNTS:
        opened = await door.sessions.log_in(account.email, passwords[account.email], RequestId(new_id()), ADDRESS)
        assert opened.account.role is account.role
        assert (opened.account.practitioner is None) == (account.practitioner is None)
        assert (opened.account.patient is None) == (account.patient is None)


async def test_a_password_that_is_known_stays_and_one_that_was_lost_is_replaced(
    demo: DemoService, door: FrontDoor, made_up: SyntheticPractice
) -> None:
    await demo.fill(the_operator(), lambda: made_up, 1, progress=nobody_watches)
    first = {account.email: f"the key under the mat of {account.email}" for account in DEMO_ACCOUNTS}
    second = {email: f"{password}, moved" for email, password in first.items()}
    kept, lost = DEMO_ACCOUNTS[0].email, DEMO_ACCOUNTS[1].email
    await demo.open_accounts(the_operator(), first, unknown=frozenset(first), progress=nobody_watches)
    assert await demo.open_accounts(the_operator(), second, unknown=frozenset({lost}), progress=nobody_watches) == 0
    await door.sessions.log_in(kept, first[kept], RequestId(new_id()), ADDRESS)
    await door.sessions.log_in(lost, second[lost], RequestId(new_id()), ADDRESS)
    with pytest.raises(WrongCredentials):
        await door.sessions.log_in(lost, first[lost], RequestId(new_id()), ADDRESS)
