"""The composition root: settings become adapters, adapters become services. Here, and nowhere else, they meet."""

import asyncio
import os
import pwd
import re
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from functools import partial

from uuid_utils.compat import uuid7

import clarity
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
from clarity.application.links import LinkSender
from clarity.application.medications import MedicationService
from clarity.application.notes import NoteService
from clarity.application.open_sessions import OpenSessionService
from clarity.application.outbox import OutboxService
from clarity.application.passwords import PasswordService
from clarity.application.patients import PatientService
from clarity.application.ports import Clock, PatientSearch, Postman, Trail
from clarity.application.ports.frames import FrameStore
from clarity.application.ports.telemetry import UNOBSERVED, DatabaseObserver
from clarity.application.practitioners import PractitionerService
from clarity.application.rates import REQUESTS_FROM_ADDRESS, REQUESTS_OF_ACCOUNT
from clarity.application.readiness import Lookout
from clarity.application.research import ResearchService
from clarity.application.retry import CountedOnce
from clarity.application.schedule import ScheduleService
from clarity.application.second_factors import SecondFactorService
from clarity.application.services import Probe, Services
from clarity.application.sessions import SessionService
from clarity.application.trail import TrailService
from clarity.application.trail_csv import CsvTrail
from clarity.audit.encoding import Examiner, Notary, decode
from clarity.audit.trail import GroupCommitTrail
from clarity.cache.rates import RULES, MemoryRateLimit
from clarity.config import DatabaseAddress, SecondFactorUse, Settings
from clarity.domain.access import OPERATOR, POLICY, Actor, of_system
from clarity.domain.ids import RequestId
from clarity.domain.links import LinkPurpose
from clarity.domain.practice_hours import PracticeHours
from clarity.domain.retention import Retention
from clarity.domain.schedule import Calendar
from clarity.domain.trail import ExportFormat
from clarity.fhir.audit_events import FhirTrail
from clarity.mail.addresses import open_postman
from clarity.persistence.audit import SqlEventStore
from clarity.persistence.engine import Database, EngineOptions, connect
from clarity.persistence.full_text import SqliteFullText
from clarity.persistence.standing import standing
from clarity.persistence.types import use_system_seal
from clarity.persistence.unit_of_work import Tools, TrailTools, UnitsOfWork
from clarity.printing.accountings import PaperPress
from clarity.printing.calendars import CalendarFeed
from clarity.search.streaming import StreamingSearch
from clarity.security.blind_index import BlindIndex
from clarity.security.cursors import Cursors
from clarity.security.frames import SealedFrames
from clarity.security.keyring import Keyring
from clarity.security.keystore import open_store
from clarity.security.links import LinkTokens
from clarity.security.machine_keys import MachineKeys
from clarity.security.macs import AuditKeys
from clarity.security.one_time_codes import OneTimeCodes
from clarity.security.passwords import Passwords
from clarity.security.pseudonyms import ResearchPseudonyms
from clarity.security.roots import open_root
from clarity.security.strength import StolenPasswords
from clarity.security.tokens import AccessTokens
from clarity.telemetry.metrics import Metrics, Sources
from clarity.telemetry.observer import Telemetry
from clarity.telemetry.traces import Traces, exporting

_LAST_TRACES_SECONDS = 3.0


def now() -> datetime:
    """Return the present instant, in UTC."""
    return datetime.now(UTC)


def operator() -> Actor:
    """Return the system actor behind the command line, with the operating-system user's name.

    It is the name of who runs the process, not what the environment says: anybody can set `LOGNAME`.
    """
    try:
        user = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # a container may run as somebody who has no name
        user = f"uid-{os.getuid()}"
    return of_system(OPERATOR, RequestId(uuid7()), operator=re.sub(r"[^A-Za-z0-9._$-]", "_", user)[:32])


def open_keyring(settings: Settings) -> Keyring:
    """Unwrap the keys of this practice. Raises `Misconfigured`, saying which key is missing or wrong."""
    return Keyring.open(open_store(settings.key_store), open_root(settings.key_root))


def engine_options(settings: Settings, address: DatabaseAddress | None = None) -> EngineOptions:
    """Return how to connect to the application's database, or to the one at `address`."""
    address = address or settings.database
    return EngineOptions(
        url=address.url,
        tls=address.tls_context(),
        application_name=address.application_name or "clarity",
        connect_timeout_seconds=address.connect_timeout_seconds or 10.0,
        pool_size=settings.db_pool_size,
        max_overflow=settings.db_max_overflow,
        pool_timeout_seconds=settings.db_pool_timeout,
        pool_recycle_seconds=settings.db_pool_recycle,
        statement_timeout_ms=settings.db_statement_timeout_ms,
        transaction_timeout_ms=settings.db_transaction_timeout_ms,
        slow_statement_ms=settings.db_slow_statement_ms,
        long_transaction_ms=settings.db_long_transaction_ms,
        idle_in_transaction_timeout_ms=settings.db_idle_in_transaction_timeout_ms,
        echo=settings.sql_echo,
    )


def units_of_work(
    database: Database, keyring: Keyring, trail: Trail, region: str = "US", clock: Clock = now
) -> UnitsOfWork:
    """Return the units of work over one database. From here on its encrypted columns open with `keyring`."""
    for dialect in database.dialects:
        use_system_seal(dialect, keyring.system_vault())
    keys = AuditKeys(keyring)
    trail_tools = TrailTools(
        certify=Notary(keys.mac).certify,
        decode=decode,
        examine=Examiner(keys.vouches).examine,
        query_mac=keys.query_mac,
        request_macs=keys.query_macs,
    )
    tools = Tools.of(keyring, BlindIndex(keyring, region), uuid7, trail_tools, clock)
    return UnitsOfWork(database, trail, tools)


@asynccontextmanager
async def opened_trail(
    database: Database, keyring: Keyring, *, timeout_seconds: float = 5.0, capacity: int = 10_000
) -> AsyncIterator[GroupCommitTrail]:
    """Open the audit trail over a connection of its own; at the end what waits is written."""
    store = SqlEventStore(database.trail_connection, database.turn, database.dialect_name)
    certify = Notary(AuditKeys(keyring).mac).certify
    trail = GroupCommitTrail(store, certify, timeout_seconds=timeout_seconds, capacity=capacity)
    try:
        yield trail
    finally:
        await trail.aclose()


def assemble(
    settings: Settings,
    keyring: Keyring,
    units: UnitsOfWork,
    passwords: Passwords,
    ready: Probe,
    search: PatientSearch,
) -> Services:
    """Join adapters and services."""
    cursors, limits, codes = Cursors(keyring), CountedOnce(MemoryRateLimit(_rules(settings))), OneTimeCodes()
    idle, required = timedelta(minutes=settings.session_idle_minutes), _requires_second_factor(settings)
    links = _link_sender(settings)
    hours = PracticeHours.parse(settings.practice_hours)
    calendar = Calendar(settings.practice_time_zone, hours)
    accounts = AccountService(
        begin=units.begin,
        reading=units.reading,
        now=now,
        new_id=uuid7,
        passwords=passwords,
        cursors=cursors,
        links=links,
    )
    return Services(
        patients=PatientService(
            begin=units.begin,
            reading=units.reading,
            search_index=search,
            cursors=cursors,
            limits=limits,
            now=now,
            today=partial(today, settings),
        ),
        life=LifeService(
            begin=units.begin,
            reading=units.reading,
            cursors=cursors,
            retention=Retention(settings.retention_years),
            now=now,
            today=partial(today, settings),
        ),
        break_glass=BreakGlassService(
            begin=units.begin,
            reading=units.reading,
            cursors=cursors,
            limits=limits,
            now=now,
            new_id=uuid7,
            at_most=timedelta(minutes=settings.break_glass_minutes),
            practice=settings.practice_name,
        ),
        trail=TrailService(
            units.reading,
            cursors,
            now,
            {ExportFormat.CSV: CsvTrail(), ExportFormat.FHIR: FhirTrail(settings.practice_name)},
        ),
        duplicates=DuplicateService(units.begin, units.reading, cursors, now),
        consents=ConsentService(units.begin, units.reading, now),
        disclosures=DisclosureService(
            begin=units.begin,
            reading=units.reading,
            cursors=cursors,
            press=PaperPress(),
            now=now,
            today=partial(today, settings),
            new_id=uuid7,
            practice=settings.practice_name,
        ),
        notes=NoteService(
            begin=units.begin,
            reading=units.reading,
            cursors=cursors,
            now=now,
            today=partial(today, settings),
            new_id=uuid7,
        ),
        chart_search=ChartSearchService(
            reading=units.reading,
            full_text=SqliteFullText(),
            cursors=cursors,
            now=now,
            zone=settings.practice_time_zone,
        ),
        medications=MedicationService(
            begin=units.begin,
            reading=units.reading,
            cursors=cursors,
            now=now,
            today=partial(today, settings),
            zone=settings.practice_time_zone,
        ),
        interactions=InteractionService(units.begin, units.reading, cursors, now),
        research=ResearchService(units.reading, ResearchPseudonyms(keyring), cursors, now),
        appointments=AppointmentService(
            begin=units.begin,
            reading=units.reading,
            cursors=cursors,
            now=now,
            new_id=uuid7,
            calendar=calendar,
        ),
        schedule=ScheduleService(
            begin=units.begin, reading=units.reading, now=now, press=CalendarFeed(), calendar=calendar
        ),
        practitioners=PractitionerService(units.begin, units.reading, cursors, now),
        accounts=accounts,
        passwords=PasswordService(
            begin=units.begin,
            reading=units.reading,
            passwords=passwords,
            limits=limits,
            links=links,
            now=now,
            new_id=uuid7,
            reset_pace=timedelta(milliseconds=100),
        ),
        outbox=OutboxService(begin=units.begin, reading=units.reading, postman=_postman(settings), now=now),
        sessions=SessionService(
            begin=units.begin,
            reading=units.reading,
            passwords=passwords,
            tokens=AccessTokens(keyring, ttl_seconds=settings.access_token_ttl_seconds),
            codes=codes,
            limits=limits,
            now=now,
            new_id=uuid7,
            session_ttl=timedelta(hours=settings.session_ttl_hours),
            session_idle=idle,
            second_factor_required=required,
        ),
        open_sessions=OpenSessionService(units.begin, units.reading, now, idle),
        second_factors=SecondFactorService(
            begin=units.begin,
            reading=units.reading,
            codes=codes,
            passwords=passwords,
            limits=limits,
            now=now,
            required=required,
        ),
        credentials=CredentialService(
            begin=units.begin,
            reading=units.reading,
            keys=MachineKeys(),
            cursors=cursors,
            limits=limits,
            now=now,
            new_id=uuid7,
        ),
        access_reports=AccessReportService(
            begin=units.begin,
            reading=units.reading,
            now=now,
            new_id=uuid7,
            zone=settings.practice_time_zone,
            hours=hours,
        ),
        imports=ImportService(begin=units.begin, now=now),
        demo=DemoService(begin=units.begin, reading=units.reading, accounts=accounts, now=now, new_id=uuid7),
        limits=limits,
        now=now,
        new_id=uuid7,
        ready=ready,
    )


def _rules(settings: Settings) -> dict[str, str]:
    per_minute = {
        REQUESTS_OF_ACCOUNT: settings.requests_per_minute_of_account,
        REQUESTS_FROM_ADDRESS: settings.requests_per_minute_from_address,
    }
    return {**RULES, **{what: f"{number} per minute" if number else "" for what, number in per_minute.items()}}


def _link_sender(settings: Settings) -> LinkSender:
    return LinkSender(
        tokens=LinkTokens(),
        public_url=settings.public_url,
        lifetimes={
            LinkPurpose.INVITATION: timedelta(hours=settings.invitation_ttl_hours),
            LinkPurpose.PASSWORD_RESET: timedelta(minutes=settings.reset_ttl_minutes),
        },
    )


def _postman(settings: Settings) -> Postman:
    return open_postman(settings.mail_address, settings.mail_from, settings.mail_ssl_root_cert)


def _requires_second_factor(settings: Settings) -> bool:
    return settings.second_factor is SecondFactorUse.REQUIRED


def today(settings: Settings) -> date:
    """Return the calendar day in the practice."""
    return now().astimezone(settings.practice_time_zone).date()


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """What a search is made of: the practice as far as it is open, and who is told how the search stands.

    `frames` is where something may be kept sealed between two runs; `None` if nothing is to be kept.
    """

    settings: Settings
    keyring: Keyring = field(repr=False)
    database: Database
    units: UnitsOfWork
    frames: FrameStore | None
    lookout: Lookout
    sources: Sources


OpenSearch = Callable[[Opened], AbstractAsyncContextManager[PatientSearch]]


@asynccontextmanager
async def streaming_search(opened: Opened) -> AsyncIterator[StreamingSearch]:
    """Open the search of a process that ends soon: it keeps nothing, and reads what it compares."""
    yield StreamingSearch(partial(today, opened.settings))


@asynccontextmanager
async def running(
    settings: Settings, telemetry: Telemetry | None = None, open_search: OpenSearch = streaming_search
) -> AsyncIterator[Services]:
    """Open everything the use-cases need, and close it at the end. What happens meanwhile is told to `telemetry`.

    Raises `Misconfigured` if a key is missing or wrong, a setting is not safe enough for the environment, or the policy
    has no rows for a kind of record.
    """
    settings.check_start()
    POLICY.require_complete()
    async with AsyncExitStack() as stack:
        keyring = open_keyring(settings)
        if telemetry is not None:
            await stack.enter_async_context(_tracing(settings, telemetry))
        observer: DatabaseObserver = telemetry or UNOBSERVED
        database = connect(engine_options(settings), observer)
        stack.push_async_callback(database.dispose)
        trail = await stack.enter_async_context(
            opened_trail(
                database,
                keyring,
                timeout_seconds=settings.audit_timeout_seconds,
                capacity=settings.audit_queue_size,
            )
        )
        stolen = StolenPasswords(settings.stolen_passwords) if settings.stolen_passwords else None
        passwords = Passwords(stolen=stolen)
        stack.callback(passwords.close)
        units = units_of_work(database, keyring, trail, settings.practice_region)

        sources = telemetry.metrics.sources if telemetry else Sources()
        sources.pools, sources.trail, sources.seals = database, trail, keyring.tally
        lookout = _lookout(database, keyring, trail, sources)
        stack.push_async_callback(lookout.aclose)
        opened = Opened(
            settings=settings,
            keyring=keyring,
            database=database,
            units=units,
            frames=_frames(settings, keyring),
            lookout=lookout,
            sources=sources,
        )
        search = await stack.enter_async_context(open_search(opened))
        yield assemble(settings, keyring, units, passwords, lookout, search)


def _frames(settings: Settings, keyring: Keyring) -> FrameStore | None:
    path = settings.search_snapshot_path
    return SealedFrames(path, keyring) if path else None


def new_telemetry() -> Telemetry:
    """Return what counts, and traces too once something runs with it and a collector is named."""
    return Telemetry(Metrics(clarity.__version__))


@asynccontextmanager
async def _tracing(settings: Settings, telemetry: Telemetry) -> AsyncIterator[None]:
    """Send traces to the collector of the settings meanwhile, if they name one."""
    endpoint = settings.otel_exporter_otlp_endpoint
    if endpoint is None:
        yield
        return
    provider = exporting(endpoint, clarity.__version__)
    telemetry.traces = Traces(provider)
    try:
        yield
    finally:
        telemetry.traces = None
        # What a collector does not take in time is lost: no answer and no event depends on it.
        with suppress(TimeoutError):
            await asyncio.wait_for(asyncio.to_thread(provider.shutdown), _LAST_TRACES_SECONDS)


def _lookout(database: Database, keyring: Keyring, trail: GroupCommitTrail, sources: Sources) -> Lookout:
    """Return who looks whether a server can do its work, and notes for the figures how many messages wait."""

    async def look_at_database() -> dict[str, str]:
        found = await standing(database.reading, keyring)
        sources.outbox_waiting = found.messages_waiting
        lookout.notes["tables"] = found.note
        return {"database": "", "tables": found.tables, "keys": found.keys}

    async def look_at_trail() -> dict[str, str]:
        return {"trail": trail.trouble}

    lookout = Lookout({("database", "tables", "keys"): look_at_database, ("trail",): look_at_trail})
    return lookout
