"""The stamp that tells a search index which records of patients changed since it last looked.

Revision 0004.
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

# All columns but the stamp itself: with recursive triggers on, stamping would otherwise call for a stamp.
_WATCHED = "id, sealed, key_generation, version, status, guarded, created_at, created_by, updated_at, updated_by"
_STAMPED = ("INSERT", f"UPDATE OF {_WATCHED}")
# A key that was destroyed, or came back from a backup, by whatever way.
_KEY_CHANGES = ("UPDATE OF wrapped", "DELETE")
_WENT_OR_CAME = "(OLD.wrapped IS NULL) <> (NEW.wrapped IS NULL)"

# Whoever runs a statement may have put other things before ours, in a schema of their own or as temporary ones. A
# trigger that is always on fires for rows that another server sent, too, whose numbers are of that server.
_ON_POSTGRESQL = """
DO $install$
BEGIN
  EXECUTE format('CREATE FUNCTION %1$I.stamp_change() RETURNS trigger LANGUAGE plpgsql'
    ' SET search_path = pg_catalog, pg_temp AS %2$L', current_schema(), $body$
BEGIN
  NEW.changed_in := pg_current_xact_id()::text::bigint;
  RETURN NEW;
END
$body$);
  EXECUTE format('CREATE FUNCTION %1$I.stamp_patient_of_key() RETURNS trigger LANGUAGE plpgsql'
    ' SET search_path = pg_catalog, %1$I, pg_temp AS %2$L', current_schema(), $body$
BEGIN
  UPDATE patients SET changed_in = 0 WHERE id = OLD.subject_id;
  RETURN NULL;
END
$body$);
  CREATE TRIGGER patients_stamp_change BEFORE INSERT OR UPDATE ON patients
    FOR EACH ROW EXECUTE FUNCTION stamp_change();
  CREATE TRIGGER data_keys_stamp_update AFTER UPDATE OF wrapped ON data_keys
    FOR EACH ROW WHEN ((OLD.wrapped IS NULL) <> (NEW.wrapped IS NULL)) EXECUTE FUNCTION stamp_patient_of_key();
  CREATE TRIGGER data_keys_stamp_delete AFTER DELETE ON data_keys
    FOR EACH ROW EXECUTE FUNCTION stamp_patient_of_key();
  ALTER TABLE patients ENABLE ALWAYS TRIGGER patients_stamp_change;
  ALTER TABLE data_keys ENABLE ALWAYS TRIGGER data_keys_stamp_update;
  ALTER TABLE data_keys ENABLE ALWAYS TRIGGER data_keys_stamp_delete;
END $install$
"""


def upgrade() -> None:
    """Stamp every change of a record, by the transaction or by a counter."""
    op.add_column("patients", sa.Column("changed_in", sa.BigInteger(), server_default=sa.text("0"), nullable=False))
    op.create_index("ix_patients_changed_in", "patients", ["changed_in"])
    if op.get_context().dialect.name == "postgresql":
        op.execute(_ON_POSTGRESQL)
    else:
        _on_sqlite()


def downgrade() -> None:
    """Drop the stamps and what made them."""
    if op.get_context().dialect.name == "postgresql":
        for table, name in (
            ("patients", "patients_stamp_change"),
            ("data_keys", "data_keys_stamp_update"),
            ("data_keys", "data_keys_stamp_delete"),
        ):
            op.execute(f"DROP TRIGGER IF EXISTS {name} ON {table}")
        op.execute("DROP FUNCTION IF EXISTS stamp_change()")
        op.execute("DROP FUNCTION IF EXISTS stamp_patient_of_key()")
    else:
        for table, changes in (("patients", _STAMPED), ("data_keys", _KEY_CHANGES)):
            for change in changes:
                op.execute(f"DROP TRIGGER IF EXISTS {_named(table, change)}")
        op.drop_table("search_clock")
    op.drop_index("ix_patients_changed_in", "patients")
    op.drop_column("patients", "changed_in")


def _on_sqlite() -> None:
    """Make the clock, which has no counterpart in PostgreSQL, and what moves it.

    Two files are told apart by the lot drawn here, a file and an earlier copy of it by the count alone.
    """
    op.create_table(
        "search_clock",
        sa.Column("store_id", sa.LargeBinary(16), nullable=False),
        sa.Column("counter", sa.BigInteger(), nullable=False),
    )
    op.execute("INSERT INTO search_clock VALUES (randomblob(16), 0)")
    for change in _STAMPED:
        _stamp_on_sqlite("patients", change, "NEW.id")
    for change in _KEY_CHANGES:
        condition = f"WHEN {_WENT_OR_CAME}" if change != "DELETE" else ""
        _stamp_on_sqlite("data_keys", change, "OLD.subject_id", condition)


def _stamp_on_sqlite(table: str, change: str, patient: str, condition: str = "") -> None:
    counted = "UPDATE search_clock SET counter = counter + 1"
    stamped = "UPDATE patients SET changed_in = (SELECT counter FROM search_clock) WHERE id"
    name = _named(table, change)
    op.execute(
        f"CREATE TRIGGER {name} AFTER {change} ON {table} {condition} BEGIN {counted}; {stamped} = {patient}; END"
    )


def _named(table: str, change: str) -> str:
    return f"{table}_stamp_{change.partition(' ')[0].lower()}"
