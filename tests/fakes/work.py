"""Units of work over memory, with the real ledger: what is unaudited cannot end well here either."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import sha256

from clarity.application.ports import ChartLog
from clarity.domain.audit import Attempt, AuditEvent
from clarity.domain.errors import TrailUnavailable
from clarity.domain.interactions import Interaction, InteractionFilter
from clarity.domain.medications import Prescription, PrescriptionFilter
from clarity.domain.records import Resource
from clarity.persistence.ledger import Ledger
from tests.builders import new_id
from tests.fakes.access_reports import MemoryAccessReportRepository
from tests.fakes.accounts import (
    MemoryAccountRepository,
    MemorySecondFactorRepository,
    MemorySessionRepository,
    MemoryStaff,
)
from tests.fakes.appointments import MemoryAppointmentRepository, MemoryScheduleRepository
from tests.fakes.break_glass import MemoryBreakGlassRepository
from tests.fakes.charts import MemoryChartRepository
from tests.fakes.consents import MemoryConsentRepository
from tests.fakes.credentials import MemoryCredentialRepository
from tests.fakes.disclosures import MemoryDisclosureRepository
from tests.fakes.duplicates import MemoryDuplicateRepository
from tests.fakes.notes import MemoryNoteRepository
from tests.fakes.outbox import MemoryLinkRepository, MemoryOutbox
from tests.fakes.patients import (
    MemoryIdempotencyKeys,
    MemoryPatientRepository,
    MemoryPractitionerRepository,
    MemoryTables,
)
from tests.fakes.sources import MemoryChartSources
from tests.fakes.trail import MemoryTrailReader


@dataclass(slots=True)
class MemoryTrail:
    """A trail that remembers its events, and refuses them while `refusing` is set."""

    events: list[AuditEvent] = field(default_factory=list)
    refusing: bool = False

    async def record(self, events: Sequence[AuditEvent]) -> None:
        if self.refusing:
            raise TrailUnavailable
        self.events.extend(events)


def _interaction_meets(interaction: Interaction, conditions: InteractionFilter) -> bool:
    return conditions.first is None or interaction.id >= conditions.first


def _prescription_meets(prescription: Prescription, conditions: PrescriptionFilter) -> bool:
    return conditions.status is None or prescription.status is conditions.status


class MemoryWork:
    """`Work` over memory."""

    def __init__(self, tables: MemoryTables, staff: MemoryStaff, ledger: Ledger, trail: MemoryTrail) -> None:
        self._trail = trail
        self._tables = tables
        self._staff = staff
        self._ledger = ledger

    @cached_property
    def patients(self) -> MemoryPatientRepository:
        return MemoryPatientRepository(self._tables, self._ledger)

    @cached_property
    def duplicates(self) -> MemoryDuplicateRepository:
        return MemoryDuplicateRepository(self._tables, self.patients, self._ledger)

    @cached_property
    def consents(self) -> MemoryConsentRepository:
        return MemoryConsentRepository(self._tables, self._ledger)

    @cached_property
    def disclosures(self) -> MemoryDisclosureRepository:
        return MemoryDisclosureRepository(self._tables, self._ledger, lambda: self._trail.events)

    @cached_property
    def appointments(self) -> MemoryAppointmentRepository:
        return MemoryAppointmentRepository(self._tables, self._ledger)

    @cached_property
    def schedule(self) -> MemoryScheduleRepository:
        return MemoryScheduleRepository(self._tables, self._ledger)

    @cached_property
    def notes(self) -> MemoryNoteRepository:
        return MemoryNoteRepository(self._tables, self._ledger)

    @cached_property
    def prescriptions(self) -> MemoryChartRepository[Prescription, PrescriptionFilter]:
        return MemoryChartRepository(self._tables, self._ledger, Resource.PRESCRIPTION, meets=_prescription_meets)

    @cached_property
    def interactions(self) -> ChartLog[Interaction, InteractionFilter]:
        return MemoryChartRepository(self._tables, self._ledger, Resource.INTERACTION, meets=_interaction_meets)

    @cached_property
    def sources(self) -> MemoryChartSources:
        return MemoryChartSources(self._tables)

    @cached_property
    def break_glass(self) -> MemoryBreakGlassRepository:
        return MemoryBreakGlassRepository(self._tables, self._ledger, lambda: self._trail.events)

    @cached_property
    def practitioners(self) -> MemoryPractitionerRepository:
        return MemoryPractitionerRepository(self._tables, self._ledger)

    @cached_property
    def accounts(self) -> MemoryAccountRepository:
        return MemoryAccountRepository(self._staff, self._ledger)

    @cached_property
    def sessions(self) -> MemorySessionRepository:
        return MemorySessionRepository(self._staff)

    @cached_property
    def second_factors(self) -> MemorySecondFactorRepository:
        return MemorySecondFactorRepository(self._staff, self._ledger)

    @cached_property
    def links(self) -> MemoryLinkRepository:
        return MemoryLinkRepository(self._staff, self._ledger)

    @cached_property
    def outbox(self) -> MemoryOutbox:
        return MemoryOutbox(self._staff, self._ledger)

    @cached_property
    def credentials(self) -> MemoryCredentialRepository:
        return MemoryCredentialRepository(self._staff, self._ledger)

    @cached_property
    def trail(self) -> MemoryTrailReader:
        return MemoryTrailReader(self._trail.events, self._tables, self._ledger)

    @cached_property
    def access_reports(self) -> MemoryAccessReportRepository:
        return MemoryAccessReportRepository(self._tables, lambda: self._trail.events)

    @cached_property
    def idempotency_keys(self) -> MemoryIdempotencyKeys:
        return MemoryIdempotencyKeys(self._tables)

    def note(self, attempt: Attempt) -> Attempt:
        return self._ledger.note(attempt)

    def query_mac(self, normalised: bytes) -> bytes:
        return sha256(b"a key for tests" + normalised).digest()


@dataclass(slots=True)
class MemoryUnitsOfWork:
    """`BeginWork` and `BeginReading` over memory."""

    tables: MemoryTables = field(default_factory=MemoryTables)
    staff: MemoryStaff = field(default_factory=MemoryStaff)
    trail: MemoryTrail = field(default_factory=MemoryTrail)

    @asynccontextmanager
    async def begin(self) -> AsyncIterator[MemoryWork]:
        ledger, tables, staff = Ledger(), self.tables.copy(), self.staff.copy()
        try:
            yield MemoryWork(tables, staff, ledger, self.trail)
            ledger.check()
        except BaseException as exc:
            ledger.fail(exc)
            await self.trail.record(ledger.events(new_id))
            raise
        self.tables, self.staff = tables, staff
        self.trail.events.extend(ledger.events(new_id))

    @asynccontextmanager
    async def reading(self, *, snapshot: bool = False) -> AsyncIterator[MemoryWork]:
        del snapshot
        ledger = Ledger()
        try:
            yield MemoryWork(self.tables.copy(), self.staff.copy(), ledger, self.trail)
            ledger.check()
        except BaseException as exc:
            ledger.fail(exc)
            await self.trail.record(ledger.events(new_id))
            raise
        await self.trail.record(ledger.events(new_id))
