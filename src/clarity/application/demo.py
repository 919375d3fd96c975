"""A practice to develop and demonstrate with: made-up patients, those who treat them, and an account for each role."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Protocol

from clarity.application.accounts import AccountService
from clarity.application.admission import admit_new
from clarity.application.charts import Charting, ChartLogging
from clarity.application.pages import MAX_PAGE
from clarity.application.ports import BeginReading, BeginWork, Clock, NewId, Work
from clarity.application.retry import retrying
from clarity.domain.access import Action, Actor, Role
from clarity.domain.accounts import Account
from clarity.domain.appointments import Appointment
from clarity.domain.identifiers import IndexKind, IndexTerm
from clarity.domain.ids import PatientId, PractitionerId
from clarity.domain.interactions import Interaction
from clarity.domain.medications import Prescription
from clarity.domain.notes import Note
from clarity.domain.patients import Patient
from clarity.domain.practitioners import Practitioner
from clarity.domain.records import Resource

# Each transaction waits for the disk once, and no other writer should wait for one of them for long.
_PATIENTS_AT_ONCE = 20

Progress = Callable[[int, int], None]
"""Told how many are there, of how many."""


class PracticeGenerator(Protocol):
    """Makes up the people of a practice, each by a number from 0: the same number is the same person."""

    @property
    def practitioners(self) -> int:
        """How many practitioners there are."""
        ...

    def practitioner(self, number: int, identity: PractitionerId) -> Practitioner:
        """Return a practitioner."""
        ...

    def team(self, number: int) -> tuple[int, ...]:
        """Return the numbers of the practitioners who treat patient `number`."""
        ...

    def patient(self, number: int, identity: PatientId, team: Sequence[PractitionerId]) -> Patient:
        """Return a patient treated by `team`."""
        ...

    def appointments(
        self, number: int, patient: Patient, practitioner: PractitionerId, now: datetime, new_id: NewId
    ) -> Sequence[Appointment]:
        """Return the appointments of patient `number` with who treats them first, around the day that is `now`."""
        ...

    def medicines(
        self, number: int, patient: Patient, prescriber: PractitionerId, now: datetime, new_id: NewId
    ) -> tuple[Sequence[Prescription], Sequence[Interaction]]:
        """Return what patient `number` takes, prescribed by who treats them first, and what they told lately."""
        ...

    def notes(self, number: int, patient: Patient, new_id: NewId) -> Sequence[Note]:
        """Return the notes on patient `number`, the oldest first."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoAccount:
    """An account of the demonstration; one for a clinician, nurse or patient says which by number."""

    role: Role
    practitioner: int | None = None
    patient: int | None = None

    @property
    def email(self) -> str:
        """What the account logs in with."""
        return f"{self.role.title}@demo.example"


DEMO_ACCOUNTS = (
    DemoAccount(role=Role.ADMINISTRATOR),
    DemoAccount(role=Role.CLINICIAN, practitioner=0),
    DemoAccount(role=Role.NURSE, practitioner=12),
    DemoAccount(role=Role.FRONT_DESK),
    DemoAccount(role=Role.COMPLIANCE_OFFICER),
    DemoAccount(role=Role.RESEARCHER),
    DemoAccount(role=Role.PATIENT, patient=0),
)
"""One for each role that people log in with."""


@dataclass(frozen=True, slots=True)
class DemoService:
    """Fills a practice with made-up people.

    What is there already stays as it is, however it was changed meanwhile. So a run that was interrupted is completed
    by the next, which finds people again by the source their records name.
    """

    begin: BeginWork
    reading: BeginReading
    accounts: AccountService
    now: Clock
    new_id: NewId

    async def fill(
        self,
        actor: Actor,
        make_up: Callable[[], PracticeGenerator],
        patients: int,
        *,
        progress: Progress,
    ) -> int:
        """Add the patients numbered below `patients` that are not there, and return how many that were.

        `make_up` is called only if one is missing.
        """
        missing = await self._missing(patients)
        progress(patients - len(missing), patients)
        if missing:
            generator = make_up()
            staff = await self._employ(actor, generator)
            for start in range(0, len(missing), _PATIENTS_AT_ONCE):
                await self._register(actor, generator, staff, missing[start : start + _PATIENTS_AT_ONCE])
                progress(min(patients, patients - len(missing) + start + _PATIENTS_AT_ONCE), patients)
        return len(missing)

    async def open_accounts(
        self, actor: Actor, passwords: Mapping[str, str], *, unknown: frozenset[str], progress: Progress
    ) -> int:
        """Let the demonstration's accounts log in with `passwords`, by e-mail address; return how many were made.

        An account that is there keeps its password, unless its address is among `unknown`.
        """
        there = {account.email for account in await self._every_account(actor)}
        for done, account in enumerate(DEMO_ACCOUNTS):
            progress(done, len(DEMO_ACCOUNTS))
            password = passwords[account.email]
            if account.email not in there:
                await self._open_account(actor, account, password)
            elif account.email in unknown:
                await self.accounts.reset_password(actor, account.email, password)
        return sum(account.email not in there for account in DEMO_ACCOUNTS)

    async def _missing(self, patients: int) -> list[int]:
        async with self.reading(snapshot=True) as work:
            return [number for number in range(patients) if not await work.patients.find_by_source(_patient(number))]

    @retrying
    async def _employ(self, actor: Actor, generator: PracticeGenerator) -> dict[int, PractitionerId]:
        """Return who works here, by number, after adding those who did not."""
        async with self.begin() as work:
            terms = [IndexTerm(IndexKind.SOURCE, _practitioner(number)) for number in range(generator.practitioners)]
            known = {
                source: found.id for found in await work.practitioners.find_by_terms(terms) for source in found.sources
            }
            staff = {}
            for number in range(generator.practitioners):
                source = _practitioner(number)
                staff[number] = known.get(source) or PractitionerId(self.new_id())
                if source not in known:
                    admit_new(work, actor, Action.REGISTER, Resource.PRACTITIONER, staff[number], at=self.now())
                    made_up = generator.practitioner(number, staff[number])
                    await work.practitioners.add(replace(made_up, sources=(source,)))
        return staff

    @retrying
    async def _register(
        self, actor: Actor, generator: PracticeGenerator, staff: Mapping[int, PractitionerId], numbers: Sequence[int]
    ) -> None:
        async with self.begin() as work:
            for number in numbers:
                identity = PatientId(self.new_id())
                admit_new(work, actor, Action.REGISTER, Resource.PATIENT, identity, at=self.now())
                team = [staff[member] for member in generator.team(number)]
                made_up = generator.patient(number, identity, team)
                await work.patients.add(replace(made_up, sources=(_patient(number),)))
                planned = generator.appointments(number, made_up, team[0], self.now(), self.new_id)
                await self._appoint(work, actor, planned)
                charting = Charting(work, work.notes, actor, self.now())
                for note in generator.notes(number, made_up, self.new_id):
                    await work.notes.add(await charting.admit_new(note), note)
                prescriptions, told = generator.medicines(number, made_up, team[0], self.now(), self.new_id)
                await self._prescribe(work, actor, prescriptions, told)

    async def _appoint(self, work: Work, actor: Actor, appointments: Sequence[Appointment]) -> None:
        """Add appointments as they are, past ones too, which nobody could book any more."""
        charting = Charting(work, work.appointments, actor, self.now())
        for one in appointments:
            await work.appointments.add(await charting.admit_new(one), one)

    async def _prescribe(
        self, work: Work, actor: Actor, prescriptions: Sequence[Prescription], told: Sequence[Interaction]
    ) -> None:
        """Add prescriptions as they are, those that ended too, and what was told of them."""
        charting = Charting(work, work.prescriptions, actor, self.now())
        for one in prescriptions:
            await work.prescriptions.add(await charting.admit_new(one), one)
        logging = ChartLogging(work, work.interactions, actor, self.now())
        for contact in told:
            await work.interactions.add(await logging.admit_new(contact), contact)

    async def _every_account(self, actor: Actor) -> list[Account]:
        accounts: list[Account] = []
        page = await self.accounts.list(actor, at_most=MAX_PAGE)
        accounts.extend(page.items)
        while page.next_cursor:
            page = await self.accounts.list(actor, cursor=page.next_cursor, at_most=MAX_PAGE)
            accounts.extend(page.items)
        return accounts

    async def _open_account(self, actor: Actor, account: DemoAccount, password: str) -> None:
        practitioner, patient = None, None
        async with self.reading() as work:
            if account.practitioner is not None:
                term = IndexTerm(IndexKind.SOURCE, _practitioner(account.practitioner))
                (practitioner,) = await work.practitioners.find_by_terms([term])
            if account.patient is not None:
                patient = await work.patients.find_by_source(_patient(account.patient))
        await self.accounts.add(
            actor,
            email=account.email,
            name=str(practitioner.name) if practitioner else f"Demo {account.role.title}",
            role=account.role,
            password=password,
            practitioner=practitioner.id if practitioner else None,
            patient=patient,
        )


def _practitioner(number: int) -> str:
    return f"demo|Practitioner/{number}"


def _patient(number: int) -> str:
    return f"demo|Patient/{number}"
