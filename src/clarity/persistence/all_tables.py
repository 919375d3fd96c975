"""Every table of Clarity in one place, for what has to know them all: migrations, privileges, tests."""

from sqlalchemy import MetaData

from clarity.persistence.access_reports import AccessReportRow
from clarity.persistence.accounts import AccountRow, SessionRow
from clarity.persistence.appointments.tables import AppointmentRow, ClosureRow
from clarity.persistence.audit import AuditEventRow, AuditSubjectRow
from clarity.persistence.break_glass.tables import BreakGlassRow
from clarity.persistence.care_team import CareTeamRow
from clarity.persistence.consents.tables import ConsentRow
from clarity.persistence.credentials import CredentialRow
from clarity.persistence.disclosures.tables import DisclosureEventRow, DisclosureRow, ExportReasonRow
from clarity.persistence.duplicates.tables import DuplicateRow
from clarity.persistence.history import RecordVersionRow
from clarity.persistence.idempotency import IdempotencyKeyRow
from clarity.persistence.interactions import InteractionRow
from clarity.persistence.keys import DataKeyRow
from clarity.persistence.links import LinkRow
from clarity.persistence.notes import NoteRow
from clarity.persistence.outbox import MessageRow
from clarity.persistence.patients.tables import PatientIdentifierRow, PatientRow
from clarity.persistence.practitioners import PractitionerIdentifierRow, PractitionerRow
from clarity.persistence.prescriptions import PrescriptionRow
from clarity.persistence.second_factors import RecoveryCodeRow, SecondFactorRow
from clarity.persistence.sources import ChartSourceRow
from clarity.persistence.tables import Base

# Nothing that an event once said is ever changed.
APPEND_ONLY = (AuditEventRow, AuditSubjectRow)
# In the order in which writers take them: a migration that takes them in another waits for who waits for it.
TABLES: tuple[type[Base], ...] = (
    RecordVersionRow,
    DataKeyRow,
    PatientRow,
    PatientIdentifierRow,
    CareTeamRow,
    PractitionerRow,
    PractitionerIdentifierRow,
    AccountRow,
    SessionRow,
    SecondFactorRow,
    RecoveryCodeRow,
    LinkRow,
    CredentialRow,
    MessageRow,
    ConsentRow,
    BreakGlassRow,
    DuplicateRow,
    AppointmentRow,
    ClosureRow,
    NoteRow,
    PrescriptionRow,
    InteractionRow,
    ChartSourceRow,
    DisclosureRow,
    DisclosureEventRow,
    ExportReasonRow,
    AccessReportRow,
    IdempotencyKeyRow,
    *APPEND_ONLY,
)


def metadata() -> MetaData:
    """Return the tables as the code declares them."""
    return Base.metadata
