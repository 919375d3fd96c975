"""The guard in PostgreSQL itself: no transaction that changes something of a patient commits without an event of it.

Units of work see to that already. The guard holds whoever goes around them: bulk statements, SQL typed by hand, a
repository that forgets to enter what it does. Other databases have no triggers that wait for the COMMIT.
"""

from collections.abc import Iterator, Mapping

from sqlalchemy import bindparam, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.types import Text

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

GUARDED: Mapping[type[Base], str] = {
    PatientRow: "id",
    ConsentRow: "id",
    PatientIdentifierRow: "patient_id",
    CareTeamRow: "patient_id",
    RecordVersionRow: "patient_id",
    BreakGlassRow: "patient_id",
    DisclosureRow: "patient_id",
    AppointmentRow: "patient_id",
    NoteRow: "patient_id",
    PrescriptionRow: "patient_id",
    InteractionRow: "patient_id",
    ChartSourceRow: "patient_id",
    DataKeyRow: "subject_id",
    # A review is opened on the occasion of one of the two, of whom the event is.
    DuplicateRow: "patient_id, other_id",
    # The patient is the one of the disclosure.
    DisclosureEventRow: "disclosure_id",
}
"""Each table that holds something of a patient, with the columns that tell of whom."""

UNGUARDED: Mapping[type[Base], str] = {
    AccountRow: "an account is no part of a record, though a patient may have one; its events are about the account",
    IdempotencyKeyRow: "which record a request made or changed, written together with the record",
    ExportReasonRow: "why an event of the trail is no disclosure; it names the event and nobody",
    SessionRow: "of accounts",
    SecondFactorRow: "of accounts",
    RecoveryCodeRow: "of accounts",
    LinkRow: "of accounts",
    CredentialRow: "of accounts",
    MessageRow: "to accounts",
    PractitionerRow: "of those who treat",
    ClosureRow: "of those who treat",
    PractitionerIdentifierRow: "of those who treat",
    AccessReportRow: "how many days of the trail were looked through",
    AuditEventRow: "the trail itself, to which is only ever added",
    AuditSubjectRow: "the trail itself, to which is only ever added",
}
"""Every other table, and why changing it takes no event of a patient."""

# Said by an owner in the transaction of a migration; of anybody else it means nothing.
MIGRATING = "SET LOCAL clarity.migrating = 'yes'"

# Outcome 1 is success and role 0 the system; what was refused accounts for no change. UA001 is ours, since PostgreSQL
# leaves the classes from I to Z to whoever needs one. An event of this transaction is one with its number. Who wrote it
# within a savepoint left the number of that; then, of all that is visible here, only what this transaction wrote is
# still in progress. The events of a patient are looked through from the newest, so that usually the first is the one;
# a clock that is off only makes it a later one. What comes first follows from the rest too, and is mostly all that is
# done: of a new row of one patient, there is an event about them.
_BODY = """
DECLARE
  top bigint;
  mine CONSTANT xid := pg_current_xact_id()::xid;
  changed record;
  concerned uuid[];
  satisfied uuid[];
  patient uuid;
  audited boolean;
BEGIN
  IF TG_OP = 'INSERT' THEN
    CASE TG_ARGV[0]
      WHEN 'patient_id' THEN patient := NEW.patient_id;
      WHEN 'id' THEN patient := NEW.id;
      WHEN 'subject_id' THEN patient := NEW.subject_id;
      ELSE
    END CASE;
    PERFORM FROM audit_events
      WHERE outcome = 1 AND patient_id = patient AND xmin = mine ORDER BY at DESC LIMIT 1;
    IF FOUND THEN
      RETURN NULL;
    END IF;
  END IF;
  FOR side IN 1..2 LOOP
    IF side = 1 THEN
      CONTINUE WHEN TG_OP = 'DELETE';
      changed := NEW;
    ELSE
      CONTINUE WHEN TG_OP = 'INSERT';
      changed := OLD;
    END IF;
    CASE TG_ARGV[0]
      WHEN 'id' THEN concerned := ARRAY[changed.id];
      WHEN 'patient_id' THEN concerned := ARRAY[changed.patient_id];
      WHEN 'subject_id' THEN concerned := ARRAY[changed.subject_id];
      WHEN 'patient_id, other_id' THEN concerned := ARRAY[changed.patient_id, changed.other_id];
      WHEN 'disclosure_id' THEN
        concerned := ARRAY(SELECT patient_id FROM disclosures WHERE id = changed.disclosure_id);
    END CASE;
    CONTINUE WHEN concerned = satisfied;
    audited := false;
    FOREACH patient IN ARRAY concerned LOOP
      PERFORM FROM audit_events
        WHERE patient_id = patient AND xmin = mine AND outcome = 1 ORDER BY at DESC LIMIT 1;
      audited := FOUND;
      EXIT WHEN audited;
    END LOOP;
    IF NOT audited THEN
      PERFORM FROM audit_events
        WHERE role = 0 AND patient_id IS NULL AND xmin = mine
          AND outcome = 1
        ORDER BY at DESC LIMIT 1;
      audited := FOUND;
    END IF;
    IF NOT audited THEN
      top := pg_current_xact_id()::text::bigint;
      BEGIN
        PERFORM FROM (
          SELECT (xmin::text::bigint - top) & 4294967295 AS later FROM audit_events
            WHERE patient_id = ANY (concerned) AND outcome = 1
          UNION ALL
          SELECT (audit_events.xmin::text::bigint - top) & 4294967295 FROM audit_subjects
            JOIN audit_events ON audit_events.id = event_id
            WHERE record_id = ANY (concerned) AND outcome = 1
          UNION ALL
          SELECT (xmin::text::bigint - top) & 4294967295 FROM audit_events
            WHERE role = 0 AND patient_id IS NULL AND outcome = 1
        ) told
        WHERE CASE
          WHEN later = 0 THEN true
          WHEN later < 2147483648 THEN pg_xact_status((top + later)::text::xid8) = 'in progress'
          ELSE false END
        LIMIT 1;
        audited := FOUND;
      EXCEPTION WHEN invalid_parameter_value THEN
        -- The number of some event of long ago would be one that comes yet.
        audited := false;
      END;
    END IF;
    IF NOT audited THEN
      IF current_setting('clarity.migrating', true) = 'yes'
        AND pg_has_role((SELECT relowner FROM pg_class WHERE oid = TG_RELID), 'USAGE') THEN
        RETURN NULL;
      END IF;
      RAISE EXCEPTION USING ERRCODE = 'UA001', TABLE = TG_TABLE_NAME,
        MESSAGE = 'something of a patient was changed without an audit event of the same transaction';
    END IF;
    satisfied := concerned;
  END LOOP;
  RETURN NULL;
END
"""


# The trigger as it is made, for whoever suspects that it is another by now: for each row, after INSERT, DELETE and
# UPDATE (`pg_trigger.h`), of any column, without a condition.
_INTACT = (
    "tgenabled IN ('O', 'A') AND tginitdeferred AND tgtype = 29 AND tgqual IS NULL AND tgattr = ''"
    " AND tgargs = convert_to(columns, 'UTF8') || '\\x00'"
)

# Whoever runs a statement may have put other tables before ours, in a schema of their own or as temporary ones.
# And a plan that was made while the trail was short would read all of it once it is long.
_INSTALL = """
DO $install$
DECLARE
  guarded regclass;
  columns text;
  name text;
BEGIN
  EXECUTE format('CREATE OR REPLACE FUNCTION %1$I.require_audit_event() RETURNS trigger LANGUAGE plpgsql'
    ' SET search_path = pg_catalog, %1$I, pg_temp SET enable_seqscan = off SET enable_bitmapscan = off AS %2$L',
    current_schema(), $body${body}$body$);
  FOR guarded, name, columns IN
    SELECT to_regclass(wanted.relation), wanted.name, wanted.columns
    FROM unnest(ARRAY[{tables}], ARRAY[{triggers}], ARRAY[{columns}]) AS wanted (relation, name, columns)
    WHERE to_regclass(wanted.relation) IS NOT NULL
  LOOP
    CONTINUE WHEN EXISTS (SELECT FROM pg_trigger WHERE tgrelid = guarded AND tgname = name AND {intact});
    EXECUTE format('DROP TRIGGER IF EXISTS %I ON %s', name, guarded);
    EXECUTE format('CREATE CONSTRAINT TRIGGER %I AFTER INSERT OR UPDATE OR DELETE ON %s'
      ' DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION require_audit_event(%L)', name, guarded, columns);
  END LOOP;
END $install$
"""


def install_sql() -> str:
    """Return one statement that puts the guard on every table there is that needs it.

    Locks no table that has it already, so that it may be run again under a server.
    """
    parts = {"tables": _listed(0), "triggers": _listed(1), "columns": _listed(2), "intact": _INTACT, "body": _BODY}
    statement = _INSTALL
    for name, part in parts.items():
        statement = statement.replace(f"{{{name}}}", part)
    return statement


def remove_sql() -> str:
    """Return one statement that takes the guard off every table."""
    return "DROP FUNCTION IF EXISTS require_audit_event() CASCADE"


_THERE = text(
    """
    SELECT relation, tgname IS NOT NULL AS present, {intact} AND prosrc = :body AND NOT prosecdef
      AND proconfig[1] LIKE 'search\\_path=pg\\_catalog, %, pg\\_temp' AS intact
    FROM unnest(:tables, :triggers, :columns) AS wanted (relation, name, columns)
    LEFT JOIN pg_trigger ON tgrelid = to_regclass(relation) AND tgname = name
    LEFT JOIN pg_proc ON pg_proc.oid = tgfoid
    WHERE to_regclass(relation) IS NOT NULL
    """.replace("{intact}", _INTACT)
).bindparams(*(bindparam(name, type_=ARRAY(Text)) for name in ("tables", "triggers", "columns")))
_ADVICE = "run `clarity migrate`, or set DB_TRAIL_GUARD=false if this engine has no deferred constraint triggers"


async def check_guard(connection: AsyncConnection) -> list[str]:
    """Return where the guard is missing or is not what it was made as, each with what to do about it.

    There is none on SQLite, and nothing is missing there.
    """
    if connection.dialect.name != "postgresql":
        return []
    tables, triggers, columns = (list(each) for each in zip(*_triggers(), strict=True))
    given = {"body": _BODY, "tables": tables, "triggers": triggers, "columns": columns}
    found = (await connection.execute(_THERE, given)).all()
    missing = sorted(row.relation for row in found if not row.present)
    altered = sorted(row.relation for row in found if row.present and not row.intact)
    problems = []
    if missing:
        problems.append(f"nothing keeps {', '.join(missing)} from being changed without an event; {_ADVICE}")
    if altered:
        problems.append(
            f"what keeps {', '.join(altered)} from being changed without an event is of another version, or"
            " was altered or switched off; run `clarity migrate` after an upgrade, else find out by whom first"
        )
    return problems


def _triggers() -> Iterator[tuple[str, str, str]]:
    """Yield each guarded table, the name of its trigger, and the columns that tell of whom its rows are."""
    for rows, columns in GUARDED.items():
        yield rows.__tablename__, f"{rows.__tablename__}_require_audit_event", columns


def _listed(position: int) -> str:
    return ", ".join(f"'{each[position]}'" for each in _triggers())
