"""Appointments, notes, prescriptions and interactions, and where imported ones came from.

Revision 0006.
"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0004"

# Types are written out here, since those of the tables may change and this revision may not.
_UUID = sa.Uuid().with_variant(sa.LargeBinary(16), "sqlite")
_INSTANT = sa.TIMESTAMP(timezone=True).with_variant(sa.BigInteger(), "sqlite")

_SEALED = ("appointments", "notes", "prescriptions", "interactions")
_TABLES = ("appointments", "closures", "notes", "prescriptions", "interactions", "chart_sources")

# What of a contact stays as it was recorded: all but the seal, which one under a newer data key may take the place of.
_KEPT = ("id", "patient_id", "version", "status", "guarded", "created_at", "created_by", "updated_at", "updated_by")
# Whoever runs a statement may have put other things before ours, in a schema of their own or as temporary ones. UA002
# is ours, since PostgreSQL leaves the classes from I to Z to whoever needs one.
_KEEP_INTERACTIONS = """
DO $install$
BEGIN
  EXECUTE format('CREATE FUNCTION %1$I.keep_interactions() RETURNS trigger LANGUAGE plpgsql'
    ' SET search_path = pg_catalog, pg_temp AS %2$L', current_schema(), $body$
BEGIN
  RAISE EXCEPTION USING ERRCODE = 'UA002', TABLE = TG_TABLE_NAME, MESSAGE = 'contacts are only ever added';
END
$body$);
  CREATE TRIGGER interactions_refuse_update BEFORE UPDATE ON interactions
    FOR EACH ROW WHEN ({refused}) EXECUTE FUNCTION keep_interactions();
  CREATE TRIGGER interactions_refuse_delete BEFORE DELETE ON interactions
    FOR EACH ROW EXECUTE FUNCTION keep_interactions();
  CREATE TRIGGER interactions_refuse_truncate BEFORE TRUNCATE ON interactions
    FOR EACH STATEMENT EXECUTE FUNCTION keep_interactions();
END $install$
"""


def upgrade() -> None:
    """Make the tables."""
    _appointments()
    _notes()
    _prescriptions()
    _interactions()
    _sources()
    if op.get_context().dialect.name == "postgresql":
        # Ciphertext does not compress, so trying would only cost.
        for table in _SEALED:
            op.execute(f"ALTER TABLE {table} ALTER COLUMN sealed SET STORAGE EXTERNAL")


def downgrade() -> None:
    """Drop what this revision made."""
    for table in reversed(_TABLES):
        op.drop_table(table)
    if op.get_context().dialect.name == "postgresql":
        op.execute("DROP TYPE uuidrange")
        op.execute("DROP FUNCTION keep_interactions()")


def _appointments() -> None:
    _sealed_table(
        "appointments",
        sa.Column("practitioner_id", _UUID, nullable=False),
        sa.Column("starts_at", _INSTANT, nullable=False),
        sa.Column("ends_at", _INSTANT, nullable=False),
        sa.Column("series_id", _UUID, nullable=True),
        sa.CheckConstraint("starts_at < ends_at", name=op.f("ck_appointments_interval")),
        sa.ForeignKeyConstraint(["practitioner_id"], ["practitioners.id"], name="fk_appointments_practitioner_id"),
        statuses="'booked', 'completed', 'cancelled', 'no-show'",
    )
    op.create_index("ix_appointments_patient_id_starts_at", "appointments", ["patient_id", "starts_at"])
    op.create_index("ix_appointments_practitioner_id_starts_at", "appointments", ["practitioner_id", "starts_at"])
    op.create_index("ix_appointments_series_id", "appointments", ["series_id"])
    if op.get_context().dialect.name == "postgresql":
        # A range of one id is what an index of ranges can compare, with no extension.
        op.execute("CREATE TYPE uuidrange AS RANGE (subtype = uuid)")
    for whose in ("practitioner", "patient"):
        _no_overlap(whose)
    op.create_table(
        "closures",
        sa.Column("id", _UUID, nullable=False),
        sa.Column("practitioner_id", _UUID, nullable=True),
        sa.Column("first_day", sa.Date(), nullable=False),
        sa.Column("last_day", sa.Date(), nullable=False),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("created_at", _INSTANT, nullable=False),
        sa.Column("created_by", _UUID, nullable=False),
        sa.Column("updated_at", _INSTANT, nullable=False),
        sa.Column("updated_by", _UUID, nullable=False),
        sa.CheckConstraint("status IN ('closed', 'withdrawn')", name=op.f("ck_closures_status")),
        sa.CheckConstraint("first_day <= last_day", name=op.f("ck_closures_days")),
        sa.ForeignKeyConstraint(["practitioner_id"], ["practitioners.id"], name="fk_closures_practitioner_id"),
        sa.PrimaryKeyConstraint("id", name="pk_closures"),
    )
    op.create_index("ix_closures_practitioner_id", "closures", ["practitioner_id"])
    op.create_index("ix_closures_status_last_day", "closures", ["status", "last_day"])


def _no_overlap(whose: str) -> None:
    """Let no two that are booked overlap, of one practitioner or of one patient; where one ends, the next may begin."""
    name, column = f"ex_appointments_{whose}", f"{whose}_id"
    if op.get_context().dialect.name == "postgresql":
        op.execute(
            f"ALTER TABLE appointments ADD CONSTRAINT {name} EXCLUDE USING gist"
            f" (uuidrange({column}, {column}, '[]') WITH &&, tstzrange(starts_at, ends_at) WITH &&)"
            " WHERE (status = 'booked')"
        )
        return
    booked = "SELECT 1 FROM appointments WHERE status = 'booked' AND id <> NEW.id"
    overlapping = f"{booked} AND starts_at < NEW.ends_at AND ends_at > NEW.starts_at AND {column} = NEW.{column}"
    for change in ("INSERT", "UPDATE"):
        op.execute(
            f"CREATE TRIGGER {name}_{change.lower()} BEFORE {change} ON appointments"
            f" WHEN NEW.status = 'booked' AND EXISTS ({overlapping}) BEGIN SELECT RAISE(ABORT, '{name}'); END"
        )


def _notes() -> None:
    _sealed_table(
        "notes",
        sa.Column("addendum_to", _UUID, nullable=True),
        sa.Column("amendment_due_on", sa.Date(), nullable=True),
        sa.CheckConstraint("addendum_to IS NULL OR addendum_to <> id", name=op.f("ck_notes_addendum_to")),
        sa.ForeignKeyConstraint(["addendum_to"], ["notes.id"], name="fk_notes_addendum_to"),
        statuses="'draft', 'signed', 'deleted'",
    )
    op.create_index("ix_notes_addendum_to", "notes", ["addendum_to"])
    awaited = sa.text("amendment_due_on IS NOT NULL")
    op.create_index(
        "ix_notes_amendment_due_on_id",
        "notes",
        ["amendment_due_on", "id"],
        postgresql_where=awaited,
        sqlite_where=awaited,
    )


def _prescriptions() -> None:
    _sealed_table("prescriptions", statuses="'active', 'on-hold', 'stopped', 'completed', 'mistaken'")


def _interactions() -> None:
    _sealed_table("interactions", statuses="'recorded'", versions="version = 1")
    changed = " OR ".join(f"OLD.{column} IS DISTINCT FROM NEW.{column}" for column in _KEPT)
    resealed = "OLD.sealed IS DISTINCT FROM NEW.sealed AND NEW.key_generation <= OLD.key_generation"
    refused = f"{changed} OR ({resealed})"
    if op.get_context().dialect.name == "postgresql":
        op.execute(_KEEP_INTERACTIONS.replace("{refused}", refused))
        return
    refuse = "BEGIN SELECT RAISE(ABORT, 'contacts are only ever added'); END"
    refused = refused.replace("IS DISTINCT FROM", "IS NOT")
    op.execute(f"CREATE TRIGGER interactions_refuse_update BEFORE UPDATE ON interactions WHEN {refused} {refuse}")
    op.execute(f"CREATE TRIGGER interactions_refuse_delete BEFORE DELETE ON interactions {refuse}")


def _sources() -> None:
    op.create_table(
        "chart_sources",
        sa.Column("id", _UUID, nullable=False),
        sa.Column("patient_id", _UUID, nullable=False),
        sa.Column("record_id", _UUID, nullable=False),
        sa.Column("kind", sa.Integer(), nullable=False),
        sa.Column("generation_a", sa.Integer(), nullable=False),
        sa.Column("digest_a", sa.LargeBinary(), nullable=False),
        sa.Column("generation_b", sa.Integer(), nullable=True),
        sa.Column("digest_b", sa.LargeBinary(), nullable=True),
        sa.Column("since_version", sa.Integer(), nullable=False),
        sa.Column("until_version", sa.Integer(), nullable=True),
        sa.CheckConstraint(
            "length(digest_a) = 16 AND (digest_b IS NULL OR length(digest_b) = 16)",
            name=op.f("ck_chart_sources_digests"),
        ),
        sa.CheckConstraint("(digest_b IS NULL) = (generation_b IS NULL)", name=op.f("ck_chart_sources_slot_b")),
        sa.ForeignKeyConstraint(["patient_id"], ["patients.id"], name="fk_chart_sources_patient_id"),
        sa.PrimaryKeyConstraint("id", name="pk_chart_sources"),
    )
    op.create_index("ix_chart_sources_patient_id", "chart_sources", ["patient_id"])
    op.create_index("ix_chart_sources_record_id", "chart_sources", ["record_id"])
    for slot in ("a", "b"):
        digest, generation = f"digest_{slot}", f"generation_{slot}"
        op.create_index(f"ix_chart_sources_{digest}_{generation}_kind", "chart_sources", [digest, generation, "kind"])
        for kind, number, columns in (
            ("mrn", 1, ["kind", generation, digest]),
            ("source", 7, [generation, digest, "kind"]),
        ):
            holds = sa.text(f"kind = {number} AND until_version IS NULL")
            op.create_index(
                f"uq_chart_sources_{kind}_{slot}",
                "chart_sources",
                columns,
                unique=True,
                postgresql_where=holds,
                sqlite_where=holds,
            )


def _sealed_table(name: str, *more: sa.schema.SchemaItem, statuses: str, versions: str = "version >= 1") -> None:
    """Make a table of records in charts, with `more` columns and constraints."""
    op.create_table(
        name,
        sa.Column("id", _UUID, nullable=False),
        sa.Column("patient_id", _UUID, nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.Column("key_generation", sa.Integer(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("guarded", sa.Boolean(), nullable=False),
        sa.Column("created_at", _INSTANT, nullable=False),
        sa.Column("created_by", _UUID, nullable=False),
        sa.Column("updated_at", _INSTANT, nullable=False),
        sa.Column("updated_by", _UUID, nullable=False),
        sa.CheckConstraint(versions, name=op.f(f"ck_{name}_version")),
        sa.CheckConstraint(f"status IN ({statuses})", name=op.f(f"ck_{name}_status")),
        sa.ForeignKeyConstraint(["patient_id"], ["patients.id"], name=f"fk_{name}_patient_id"),
        sa.PrimaryKeyConstraint("id", name=f"pk_{name}"),
        *more,
    )
    op.create_index(f"ix_{name}_patient_id_id", name, ["patient_id", "id"])
