"""The use-cases as one bundle: what the API and the command line are given to work with."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from clarity.application.access_report import AccessReportService
from clarity.application.accounts import AccountService
from clarity.application.appointments import AppointmentService
from clarity.application.break_glass import BreakGlassService
from clarity.application.chart_search import ChartSearchService
from clarity.application.consents import ConsentService
from clarity.application.credentials import CredentialService
from clarity.application.demo import DemoService
from clarity.application.disclosures import DisclosureService
from clarity.application.duplicates import DuplicateService
from clarity.application.imports import ImportService
from clarity.application.interactions import InteractionService
from clarity.application.life import LifeService
from clarity.application.medications import MedicationService
from clarity.application.notes import NoteService
from clarity.application.open_sessions import OpenSessionService
from clarity.application.outbox import OutboxService
from clarity.application.passwords import PasswordService
from clarity.application.patients import PatientService
from clarity.application.ports import Clock, NewId, RateLimit
from clarity.application.practitioners import PractitionerService
from clarity.application.rates import REQUESTS_OF_ACCOUNT
from clarity.application.readiness import Readiness
from clarity.application.research import ResearchService
from clarity.application.schedule import ScheduleService
from clarity.application.second_factors import SecondFactorService
from clarity.application.sessions import SessionService
from clarity.application.trail import TrailService
from clarity.domain.access import Actor
from clarity.domain.credentials import PREFIX
from clarity.domain.ids import RequestId

Probe = Callable[[], Awaitable[Readiness]]
"""Tells which of the things that are needed can be reached now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """Every use-case of a running practice, and the clock and ids it goes by."""

    patients: PatientService
    life: LifeService
    break_glass: BreakGlassService
    trail: TrailService
    duplicates: DuplicateService
    consents: ConsentService
    disclosures: DisclosureService
    medications: MedicationService
    interactions: InteractionService
    notes: NoteService
    chart_search: ChartSearchService
    research: ResearchService
    appointments: AppointmentService
    schedule: ScheduleService
    practitioners: PractitionerService
    accounts: AccountService
    passwords: PasswordService
    outbox: OutboxService
    sessions: SessionService
    open_sessions: OpenSessionService
    second_factors: SecondFactorService
    credentials: CredentialService
    access_reports: AccessReportService
    imports: ImportService
    demo: DemoService
    limits: RateLimit
    now: Clock
    new_id: NewId
    ready: Probe

    async def authenticate(self, bearer: str, request: RequestId, address: str, *, enrolling: bool = False) -> Actor:
        """Return who asks with an access token, or with the credential of a machine: the beginning tells which.

        Raises `Unauthenticated` alike if it does not hold, and `TooMany` if their account asks too often. A machine
        enrols nothing, and needs no second factor.
        """
        if bearer.startswith(PREFIX):
            actor = await self.credentials.resolve(bearer, request, address)
        else:
            actor = await self.sessions.resolve(bearer, request, enrolling=enrolling)
        await self.limits.hit(REQUESTS_OF_ACCOUNT, str(actor.id))
        return actor
