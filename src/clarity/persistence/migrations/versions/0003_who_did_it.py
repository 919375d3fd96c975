"""Disclosures, reports of unusual access, and the trail by patient and time.

Revision 0003.
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

# Types are written out here, since those of the tables may change and this revision may not.
_UUID = sa.Uuid().with_variant(sa.LargeBinary(16), "sqlite")
_INSTANT = sa.TIMESTAMP(timezone=True).with_variant(sa.BigInteger(), "sqlite")

_TABLES = ("disclosures", "disclosure_events", "export_reasons", "access_reports")
_DID_NOT_SUCCEED = "outcome <> 1"
_EXPORTED = "action = 36"
_OF_THE_SYSTEM = "role = 0 AND patient_id IS NULL"


def upgrade() -> None:
    """Make the tables, and let the trail be read by record and time."""
    _disclosures()
    _access_reports()
    _subjects_by_time()
    op.create_index(
        "ix_audit_events_id",
        "audit_events",
        ["id"],
        postgresql_where=sa.text(_EXPORTED),
        sqlite_where=sa.text(_EXPORTED),
    )
    op.create_index("ix_audit_events_request_id", "audit_events", ["request_id"])
    op.create_index(
        "ix_audit_events_outcome_at",
        "audit_events",
        ["outcome", "at"],
        postgresql_where=sa.text(_DID_NOT_SUCCEED),
        sqlite_where=sa.text(_DID_NOT_SUCCEED),
    )
    op.create_index(
        "ix_audit_events_role_at",
        "audit_events",
        ["role", "at"],
        postgresql_where=sa.text(_OF_THE_SYSTEM),
        sqlite_where=sa.text(_OF_THE_SYSTEM),
    )


def downgrade() -> None:
    """Drop what this revision made, and the guard that came with it."""
    if op.get_context().dialect.name == "postgresql":
        op.execute("DROP FUNCTION IF EXISTS require_audit_event() CASCADE")
    op.drop_index("ix_audit_events_role_at", "audit_events")
    op.drop_index("ix_audit_events_outcome_at", "audit_events")
    op.drop_index("ix_audit_events_request_id", "audit_events")
    op.drop_index("ix_audit_events_id", "audit_events")
    op.drop_index("ix_audit_subjects_at", "audit_subjects")
    op.drop_index("ix_audit_subjects_record_id_at", "audit_subjects")
    with op.batch_alter_table("audit_subjects", copy_from=_subjects(at_nullable=False)) as subjects:
        subjects.drop_column("at")
    _keep_subjects()
    for table in reversed(_TABLES):
        op.drop_table(table)


def _disclosures() -> None:
    op.create_table(
        "disclosures",
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
        sa.CheckConstraint("version >= 1", name=op.f("ck_disclosures_version")),
        sa.CheckConstraint("status IN ('accountable', 'exempt', 'mistaken')", name=op.f("ck_disclosures_status")),
        sa.ForeignKeyConstraint(["patient_id"], ["patients.id"], name="fk_disclosures_patient_id"),
        sa.PrimaryKeyConstraint("id", name="pk_disclosures"),
    )
    op.create_index("ix_disclosures_patient_id_id", "disclosures", ["patient_id", "id"])
    op.create_table(
        "disclosure_events",
        sa.Column("disclosure_id", _UUID, nullable=False),
        sa.Column("event_id", _UUID, nullable=False),
        sa.ForeignKeyConstraint(["disclosure_id"], ["disclosures.id"], name="fk_disclosure_events_disclosure_id"),
        sa.PrimaryKeyConstraint("disclosure_id", "event_id", name="pk_disclosure_events"),
    )
    op.create_index("ix_disclosure_events_event_id", "disclosure_events", ["event_id"])
    op.create_table(
        "export_reasons",
        sa.Column("id", _UUID, nullable=False),
        sa.Column("event_id", _UUID, nullable=False),
        sa.Column("reason", sa.SmallInteger(), nullable=False),
        sa.Column("created_at", _INSTANT, nullable=False),
        sa.Column("created_by", _UUID, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_export_reasons"),
    )
    op.create_index("ix_export_reasons_event_id", "export_reasons", ["event_id"])
    if op.get_context().dialect.name == "postgresql":
        # Ciphertext does not compress, so trying would only cost.
        op.execute("ALTER TABLE disclosures ALTER COLUMN sealed SET STORAGE EXTERNAL")


def _access_reports() -> None:
    op.create_table(
        "access_reports",
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("findings", sa.Integer(), nullable=False),
        sa.Column("created_at", _INSTANT, nullable=False),
        sa.PrimaryKeyConstraint("day", name="pk_access_reports"),
    )


def _subjects_by_time() -> None:
    """Give every subject the instant of its event, so that one index finds the latest first."""
    if op.get_context().dialect.name == "sqlite":
        op.execute("DROP TRIGGER audit_subjects_refuse_update")
        op.execute("DROP TRIGGER audit_subjects_refuse_delete")
    with op.batch_alter_table("audit_subjects", copy_from=_subjects()) as subjects:
        subjects.add_column(sa.Column("at", _INSTANT, nullable=True))
    # A subject without an event there cannot be; if there is, it is not what keeps a practice from starting.
    events = sa.table("audit_events", sa.column("id"), sa.column("at"))
    rows = sa.table("audit_subjects", sa.column("event_id"), sa.column("at"))
    of_its_event = sa.select(events.c.at).where(events.c.id == rows.c.event_id).scalar_subquery()
    op.execute(rows.update().values(at=sa.func.coalesce(of_its_event, sa.literal_column(_the_beginning()))))
    with op.batch_alter_table("audit_subjects", copy_from=_subjects(at_nullable=True)) as subjects:
        subjects.alter_column("at", existing_type=_INSTANT, nullable=False)
    op.create_index("ix_audit_subjects_record_id_at", "audit_subjects", ["record_id", "at"])
    op.create_index("ix_audit_subjects_at", "audit_subjects", ["at"])
    _keep_subjects()


def _keep_subjects() -> None:
    """Make the triggers of SQLite anew, which go when it puts a table in the place of another."""
    if op.get_context().dialect.name == "sqlite":
        for verb in ("update", "delete"):
            op.execute(
                f"CREATE TRIGGER audit_subjects_refuse_{verb} BEFORE {verb.upper()} ON audit_subjects"
                " BEGIN SELECT RAISE(ABORT, 'rows of audit_subjects are only ever added'); END"
            )


def _the_beginning() -> str:
    return "0" if op.get_context().dialect.name == "sqlite" else "to_timestamp(0)"


def _subjects(*, at_nullable: bool | None = None) -> sa.Table:
    """Return the table of subjects, with `at` unless that is `None`; SQLite makes it anew to change it."""
    at = [] if at_nullable is None else [sa.Column("at", _INSTANT, nullable=at_nullable)]
    return sa.Table(
        "audit_subjects",
        sa.MetaData(),
        sa.Column("record_id", _UUID, nullable=False),
        sa.Column("event_id", _UUID, nullable=False),
        *at,
        sa.PrimaryKeyConstraint("record_id", "event_id", name="pk_audit_subjects"),
    )
