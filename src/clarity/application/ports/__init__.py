"""What the use-cases need of the outside world. Each port's docstring is its contract; adapters only meet it."""

from clarity.application.ports.access_reports import AccessReportRepository
from clarity.application.ports.accounts import AccountRepository, SessionRepository
from clarity.application.ports.appointments import (
    AppointmentRepository,
    CalendarPress,
    ScheduleRepository,
    TimePlace,
)
from clarity.application.ports.basics import Clock, NewId
from clarity.application.ports.break_glass import BreakGlassRepository, QueuePlace
from clarity.application.ports.charts import Chart, ChartLog, ChartRepository, RecordRevision, UncountedPage
from clarity.application.ports.consents import ConsentRepository
from clarity.application.ports.credentials import CredentialRepository, MachineKeys
from clarity.application.ports.disclosures import AccountingPress, DisclosureRepository
from clarity.application.ports.duplicates import DuplicateRepository
from clarity.application.ports.full_text import FullText, Text, TextFound, TextsFound
from clarity.application.ports.links import LinkRepository, LinkTokens
from clarity.application.ports.notes import DueNote, NoteRepository
from clarity.application.ports.outbox import Letter, Outbox, Postman
from clarity.application.ports.patients import CountedPage, FoundHolds, Held, PatientFilter, PatientRepository, Revision
from clarity.application.ports.practitioners import PractitionerRepository
from clarity.application.ports.research import Pseudonyms
from clarity.application.ports.search import Found, FoundAlike, PatientSearch
from clarity.application.ports.second_factors import OneTimeCodes, SecondFactorRepository
from clarity.application.ports.secrets import AccessClaims, Cursors, Passwords, RateLimit, Tokens
from clarity.application.ports.sources import ChartSources, SourcedRecord
from clarity.application.ports.trail import EventStore, Trail, TrailCount, TrailFormat, TrailPage, TrailReader
from clarity.application.ports.work import Answered, BeginReading, BeginWork, IdempotencyKeys, Work

__all__ = [
    "AccessClaims",
    "AccessReportRepository",
    "AccountRepository",
    "AccountingPress",
    "Answered",
    "AppointmentRepository",
    "BeginReading",
    "BeginWork",
    "BreakGlassRepository",
    "CalendarPress",
    "Chart",
    "ChartLog",
    "ChartRepository",
    "ChartSources",
    "Clock",
    "ConsentRepository",
    "CountedPage",
    "CredentialRepository",
    "Cursors",
    "DisclosureRepository",
    "DueNote",
    "DuplicateRepository",
    "EventStore",
    "Found",
    "FoundAlike",
    "FoundHolds",
    "FullText",
    "Held",
    "IdempotencyKeys",
    "Letter",
    "LinkRepository",
    "LinkTokens",
    "MachineKeys",
    "NewId",
    "NoteRepository",
    "OneTimeCodes",
    "Outbox",
    "Passwords",
    "PatientFilter",
    "PatientRepository",
    "PatientSearch",
    "Postman",
    "PractitionerRepository",
    "Pseudonyms",
    "QueuePlace",
    "RateLimit",
    "RecordRevision",
    "Revision",
    "ScheduleRepository",
    "SecondFactorRepository",
    "SessionRepository",
    "SourcedRecord",
    "Text",
    "TextFound",
    "TextsFound",
    "TimePlace",
    "Tokens",
    "Trail",
    "TrailCount",
    "TrailFormat",
    "TrailPage",
    "TrailReader",
    "UncountedPage",
    "Work",
]
