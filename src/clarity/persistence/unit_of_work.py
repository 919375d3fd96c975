"""Units of work: what is done in one is done and audited together, or not at all. Nobody else commits."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from functools import cached_property
from time import perf_counter
from types import TracebackType
from typing import Any, Protocol

from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from clarity.application.ports import ChartLog, Clock, NewId, Trail
from clarity.application.ports.telemetry import Kind
from clarity.domain.audit import Attempt, AuditEvent, Entry
from clarity.domain.errors import OutcomeUnknown, StorageFailed, TrailUnavailable
from clarity.domain.interactions import Interaction, InteractionFilter
from clarity.domain.medications import Prescription, PrescriptionFilter
from clarity.persistence.access_reports import SqlAccessReportRepository
from clarity.persistence.accounts import SqlAccountRepository, SqlSessionRepository
from clarity.persistence.appointments.repository import (
    AppointmentTable,
    SqlAppointmentRepository,
    SqlScheduleRepository,
)
from clarity.persistence.audit import append
from clarity.persistence.break_glass.repository import BreakGlassTable, SqlBreakGlassRepository
from clarity.persistence.charts import SqlChartRepository
from clarity.persistence.consents.repository import ConsentTable, SqlConsentRepository
from clarity.persistence.credentials import SqlCredentialRepository
from clarity.persistence.disclosures.repository import DisclosureTable, SqlDisclosureRepository
from clarity.persistence.duplicates.mapping import DuplicateTable
from clarity.persistence.duplicates.repository import SqlDuplicateRepository
from clarity.persistence.duplicates.watch import DuplicateWatch
from clarity.persistence.errors import is_unsettled, translated
from clarity.persistence.idempotency import SqlIdempotencyKeys
from clarity.persistence.identifiers import BlindIndexing, IdentifierTable
from clarity.persistence.interactions import InteractionTable
from clarity.persistence.keys import DataKeys
from clarity.persistence.ledger import Ledger
from clarity.persistence.links import SqlLinkRepository
from clarity.persistence.notes import NoteTable, SqlNoteRepository
from clarity.persistence.outbox import SqlOutbox
from clarity.persistence.patients.lists import PatientLists
from clarity.persistence.patients.mapping import PatientTable
from clarity.persistence.patients.repository import SqlPatientRepository
from clarity.persistence.patients.tables import PatientIdentifierRow
from clarity.persistence.practitioners import PractitionerIdentifierRow, SqlPractitionerRepository
from clarity.persistence.prescriptions import PrescriptionTable
from clarity.persistence.second_factors import SqlSecondFactorRepository
from clarity.persistence.sources import ChartSourceRow, SqlChartSources
from clarity.persistence.trail import Examine, SqlTrailReader
from clarity.persistence.watch import Transaction, Watch

Sessions = async_sessionmaker[AsyncSession]

_log = logging.getLogger(__name__)


class Database(Protocol):
    """What units of work need of the engines."""

    @property
    def writing(self) -> Sessions:
        """Sessions with a transaction."""
        ...

    @property
    def reading(self) -> Sessions:
        """Sessions in which each statement stands alone."""
        ...

    @property
    def snapshot(self) -> Sessions:
        """Sessions that read the database as it was at their first statement."""
        ...

    @property
    def dialect_name(self) -> str:
        """Return "postgresql" or "sqlite"."""
        ...

    @property
    def watch(self) -> Watch:
        """Bounds units of work, and tells of them."""
        ...

    def turn(self) -> AbstractAsyncContextManager[None]:
        """Wait until this process may write: SQLite takes one writer at a time."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class TrailTools:
    """How events are written and read, and queries and requests recognised by them."""

    certify: Callable[[AuditEvent], Entry]
    decode: Callable[[bytes], AuditEvent]
    examine: Examine
    query_mac: Callable[[bytes], bytes]
    request_macs: Callable[[bytes], tuple[bytes, ...]]


@dataclass(frozen=True, slots=True)
class Tools:
    """What the repositories of every unit of work share."""

    keys: DataKeys
    index: BlindIndexing
    new_id: NewId
    trail: TrailTools
    patients: PatientTable
    break_glass: BreakGlassTable
    consents: ConsentTable
    disclosures: DisclosureTable
    duplicates: DuplicateTable
    appointments: AppointmentTable
    interactions: InteractionTable
    prescriptions: PrescriptionTable
    notes: NoteTable
    patient_identifiers: IdentifierTable
    patient_lists: PatientLists
    practitioner_identifiers: IdentifierTable
    chart_sources: IdentifierTable

    @classmethod
    def of(cls, keys: DataKeys, index: BlindIndexing, new_id: NewId, trail: TrailTools, now: Clock) -> "Tools":
        """Build the mappers and identifier tables once."""
        patients = PatientTable(keys, now)
        identifiers = IdentifierTable(PatientIdentifierRow, "patient_id", index, new_id)
        return cls(
            keys=keys,
            index=index,
            new_id=new_id,
            trail=trail,
            patients=patients,
            break_glass=BreakGlassTable(keys, now),
            consents=ConsentTable(keys),
            disclosures=DisclosureTable(keys),
            duplicates=DuplicateTable(keys),
            appointments=AppointmentTable(keys),
            interactions=InteractionTable(keys),
            prescriptions=PrescriptionTable(keys),
            notes=NoteTable(keys),
            patient_identifiers=identifiers,
            patient_lists=PatientLists(patients, identifiers),
            practitioner_identifiers=IdentifierTable(PractitionerIdentifierRow, "practitioner_id", index, new_id),
            chart_sources=IdentifierTable(ChartSourceRow, "record_id", index, new_id),
        )


class SqlWork:
    """`Work` over one session. A repository is made when it is first asked for.

    Repositories of an application's own tables write through `session`, and enter in `ledger` what they do.
    """

    def __init__(self, session: AsyncSession, tools: Tools, ledger: Ledger) -> None:
        self.session = session
        self._tools = tools
        self.ledger = ledger

    @cached_property
    def patients(self) -> SqlPatientRepository:
        """The patient records."""
        tools = self._tools
        watch = DuplicateWatch(self.session, tools.duplicates, tools.patient_identifiers, self.ledger, tools.new_id)
        return SqlPatientRepository(
            self.session, tools.patients, tools.patient_identifiers, tools.patient_lists, self.ledger, watch
        )

    @cached_property
    def duplicates(self) -> SqlDuplicateRepository:
        """The duplicate reviews."""
        return SqlDuplicateRepository(self.session, self._tools.duplicates, self.patients, self.ledger)

    @cached_property
    def consents(self) -> SqlConsentRepository:
        """The consents of patients."""
        return SqlConsentRepository(self.session, self._tools.patients, self._tools.consents, self.ledger)

    @cached_property
    def disclosures(self) -> SqlDisclosureRepository:
        """The disclosures outside the practice."""
        tools = self._tools
        return SqlDisclosureRepository(self.session, tools.patients, tools.disclosures, self.ledger, tools.trail.decode)

    @cached_property
    def appointments(self) -> SqlAppointmentRepository:
        """The appointments."""
        return SqlAppointmentRepository(self.session, self._tools.patients, self._tools.appointments, self.ledger)

    @cached_property
    def schedule(self) -> SqlScheduleRepository:
        """When practitioners are there and not booked."""
        return SqlScheduleRepository(self.session, self.ledger)

    @cached_property
    def notes(self) -> SqlNoteRepository:
        """The clinical notes."""
        return SqlNoteRepository(self.session, self._tools.patients, self._tools.notes, self.ledger)

    @cached_property
    def prescriptions(self) -> SqlChartRepository[Prescription, PrescriptionFilter]:
        """The prescriptions."""
        return SqlChartRepository(self.session, self._tools.patients, self._tools.prescriptions, self.ledger)

    @cached_property
    def interactions(self) -> ChartLog[Interaction, InteractionFilter]:
        """The contacts with patients."""
        return SqlChartRepository(self.session, self._tools.patients, self._tools.interactions, self.ledger)

    @cached_property
    def sources(self) -> SqlChartSources:
        """What records in charts were imported from."""
        return SqlChartSources(self.session, self._tools.chart_sources)

    @cached_property
    def break_glass(self) -> SqlBreakGlassRepository:
        """Who broke the glass."""
        tools = self._tools
        return SqlBreakGlassRepository(self.session, tools.break_glass, self.ledger, tools.trail.decode)

    @cached_property
    def practitioners(self) -> SqlPractitionerRepository:
        """The practitioners."""
        return SqlPractitionerRepository(self.session, self._tools.practitioner_identifiers, self.ledger)

    @cached_property
    def accounts(self) -> SqlAccountRepository:
        """The accounts."""
        return SqlAccountRepository(self.session, self._tools.index, self.ledger)

    @cached_property
    def sessions(self) -> SqlSessionRepository:
        """The log-ins."""
        return SqlSessionRepository(self.session)

    @cached_property
    def second_factors(self) -> SqlSecondFactorRepository:
        """The second factors."""
        return SqlSecondFactorRepository(self.session, self.ledger)

    @cached_property
    def links(self) -> SqlLinkRepository:
        """The one-time links."""
        return SqlLinkRepository(self.session, self.ledger)

    @cached_property
    def outbox(self) -> SqlOutbox:
        """The messages to people."""
        return SqlOutbox(self.session, self._tools.new_id, self.ledger)

    @cached_property
    def credentials(self) -> SqlCredentialRepository:
        """The credentials of machines."""
        return SqlCredentialRepository(self.session, self.ledger)

    @cached_property
    def trail(self) -> SqlTrailReader:
        """The audit trail, to read."""
        return SqlTrailReader(self.session, self.ledger, self._tools.trail.examine)

    @cached_property
    def access_reports(self) -> SqlAccessReportRepository:
        """The trail as a report of unusual access reads it."""
        return SqlAccessReportRepository(self.session)

    @cached_property
    def idempotency_keys(self) -> SqlIdempotencyKeys:
        """The idempotency keys."""
        return SqlIdempotencyKeys(self.session, self.ledger, self._tools.trail.request_macs)

    def note(self, attempt: Attempt) -> Attempt:
        """Remember that something is being tried."""
        return self.ledger.note(attempt)

    def query_mac(self, normalised: bytes) -> bytes:
        """Return the HMAC by which the trail recognises a query."""
        return self._tools.trail.query_mac(normalised)


@dataclass(frozen=True, slots=True)
class UnitsOfWork:
    """`BeginWork` and `BeginReading` over one database."""

    database: Database
    trail: Trail
    tools: Tools

    @asynccontextmanager
    async def begin(self) -> AsyncIterator[SqlWork]:
        """Begin a unit of work that writes; its events are rows of the same transaction."""
        ledger, transaction = Ledger(), self.database.watch.transaction(Kind.WRITE)
        try:
            # Leaving the session may find that its connection broke; that is translated too.
            with translated():
                async with self.database.turn(), _Session(self.database.writing) as session, transaction:
                    yield SqlWork(session, self.tools, ledger)
                    ledger.check()
                    entries = [self.tools.trail.certify(event) for event in ledger.events(self.tools.new_id)]
                    await self._append(session, entries)
                    with transaction.committing():
                        await _to_its_end(_commit(session, ledger))
        except BaseException as exc:
            await self._remember(transaction, ledger, exc)
            raise
        transaction.ended()

    @asynccontextmanager
    async def reading(self, *, snapshot: bool = False) -> AsyncIterator[SqlWork]:
        """Begin a unit of work that only reads; the connection goes back before the events are awaited."""
        ledger, transaction = Ledger(), self.database.watch.transaction(Kind.READ)
        sessions = self.database.snapshot if snapshot else self.database.reading
        try:
            with translated():
                async with _Session(sessions) as session, transaction:
                    yield SqlWork(session, self.tools, ledger)
            ledger.check()
        except BaseException as exc:
            await self._remember(transaction, ledger, exc)
            raise
        transaction.ended()
        await self._record(ledger)

    async def _append(self, session: AsyncSession, entries: Sequence[Entry]) -> None:
        """Write events into the transaction of what they tell of; what they cannot be written with is not kept."""
        try:
            with translated():
                await append(session, entries)
        except StorageFailed as refusal:
            _log.error("The audit trail refuses the events of a change: %s", refusal)
            raise TrailUnavailable from None

    async def _remember(self, transaction: Transaction, ledger: Ledger, cause: BaseException) -> None:
        """Write the events of what was refused or failed, whatever happens to the request meanwhile."""
        transaction.ended(cause)
        ledger.fail(cause)
        try:
            await _to_its_end(self._record(ledger))
        except TrailUnavailable:
            # A refusal that the trail does not know of is not given out either. That nobody knows whether something was
            # written tells nothing of anybody, and is not to be taken for nothing having been written.
            if isinstance(cause, Exception) and not isinstance(cause, OutcomeUnknown):
                raise

    async def _record(self, ledger: Ledger) -> None:
        events: Sequence[AuditEvent] = ledger.events(self.tools.new_id)
        if not events:
            return
        began, durable = perf_counter(), False
        try:
            await self.trail.record(events)
            durable = True
        finally:
            self.database.watch.observer.recorded(perf_counter() - began, durable=durable)


class _Session:
    """A session that is closed at the end if it has a connection: to close one without is a task for nothing.

    With its COMMIT a session has given its connection back.
    """

    __slots__ = ("_session",)

    def __init__(self, sessions: Sessions) -> None:
        self._session = sessions()

    async def __aenter__(self) -> AsyncSession:
        return self._session

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session.in_transaction():
            async with self._session:
                pass


async def _commit(session: AsyncSession, ledger: Ledger) -> None:
    try:
        await session.commit()
    except BaseException as exc:
        # SQLite leaves the transaction open when its COMMIT fails, and nobody could begin another on this
        # connection; of any other database, too, it is not known what state it is in.
        await session.invalidate()
        if is_unsettled(exc):
            unknown = OutcomeUnknown()
            ledger.fail(unknown)
            raise unknown from None
        raise
    # Committed with their events: a cancellation that arrives now must not have them told again as failed.
    ledger.attempts.clear()


async def _to_its_end(work: Coroutine[Any, Any, None]) -> None:
    """Await `work` without letting a cancellation interrupt it; the cancellation is raised afterwards."""
    task = asyncio.ensure_future(work)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait([task])  # unlike awaiting the task, this neither cancels it nor raises for it
        except asyncio.CancelledError as exc:
            cancelled = exc
    if cancelled is None:
        task.result()
    else:
        # The request is gone and cannot be told how it ended; that stands in the ledger.
        task.exception()
        raise cancelled
