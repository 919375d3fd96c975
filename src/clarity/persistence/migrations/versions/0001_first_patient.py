"""Patients, their identifiers and care teams, practitioners, accounts, keys, and the trail.

Revision 0001.
"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

# Types are written out here, since those of the tables may change and this revision may not.
_UUID = sa.Uuid().with_variant(sa.LargeBinary(16), "sqlite")
_INSTANT = sa.TIMESTAMP(timezone=True).with_variant(sa.BigInteger(), "sqlite")

_TABLES = (
    "patients",
    "record_versions",
    "data_keys",
    "practitioners",
    "care_team_members",
    "patient_identifiers",
    "practitioner_identifiers",
    "accounts",
    "sessions",
    "idempotency_keys",
    "audit_events",
    "audit_subjects",
)
_SEALED = ("patients", "record_versions", "practitioners")
_HOLDS = "until_version IS NULL"
_APPEND_ONLY = ("audit_events", "audit_subjects")


def upgrade() -> None:
    """Make the tables."""
    _patients()
    _practitioners()
    _care_team_members()
    _identifiers("patient_identifiers", "patient_id", "patients")
    _identifiers("practitioner_identifiers", "practitioner_id", "practitioners")
    _accounts()
    _sessions()
    _idempotency_keys()
    _audit()
    if op.get_context().dialect.name == "postgresql":
        for table in _SEALED:
            # Ciphertext does not compress, so trying would only cost.
            op.execute(f"ALTER TABLE {table} ALTER COLUMN sealed SET STORAGE EXTERNAL")
    else:
        for table in _APPEND_ONLY:
            for verb in ("update", "delete"):
                op.execute(
                    f"CREATE TRIGGER {table}_refuse_{verb} BEFORE {verb.upper()} ON {table}"
                    f" BEGIN SELECT RAISE(ABORT, 'rows of {table} are only ever added'); END"
                )


def downgrade() -> None:
    """Drop the tables, and with them their indexes and triggers."""
    for table in reversed(_TABLES):
        op.drop_table(table)


def _written() -> tuple[sa.Column[object], ...]:
    return (
        sa.Column("created_at", _INSTANT, nullable=False),
        sa.Column("created_by", _UUID, nullable=False),
        sa.Column("updated_at", _INSTANT, nullable=False),
        sa.Column("updated_by", _UUID, nullable=False),
    )


def _lasting() -> tuple[sa.Column[object], ...]:
    return (
        sa.Column("since_version", sa.Integer(), nullable=False),
        sa.Column("until_version", sa.Integer(), nullable=True),
    )


def _patients() -> None:
    op.create_table(
        "patients",
        sa.Column("id", _UUID, nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.Column("key_generation", sa.Integer(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("guarded", sa.Boolean(), nullable=False),
        *_written(),
        sa.CheckConstraint("version >= 1", name=op.f("ck_patients_version")),
        sa.CheckConstraint(
            "status IN ('active', 'discharged', 'deceased', 'deleted')", name=op.f("ck_patients_status")
        ),
        sa.PrimaryKeyConstraint("id", name="pk_patients"),
    )
    op.create_index("ix_patients_status_id", "patients", ["status", "id"])
    op.create_table(
        "record_versions",
        sa.Column("table_number", sa.Integer(), nullable=False),
        sa.Column("column_number", sa.Integer(), nullable=False),
        sa.Column("row_id", _UUID, nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("patient_id", _UUID, nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.Column("key_generation", sa.Integer(), nullable=False),
        sa.Column("written_at", _INSTANT, nullable=False),
        sa.Column("written_by", _UUID, nullable=False),
        sa.PrimaryKeyConstraint("table_number", "column_number", "row_id", "version", name="pk_record_versions"),
    )
    op.create_index("ix_record_versions_patient_id", "record_versions", ["patient_id"])
    op.create_table(
        "data_keys",
        sa.Column("subject_id", _UUID, nullable=False),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("kek_generation", sa.Integer(), nullable=False),
        sa.Column("wrapped", sa.LargeBinary(), nullable=True),
        sa.Column("created_at", _INSTANT, nullable=False),
        sa.Column("destroyed_at", _INSTANT, nullable=True),
        sa.CheckConstraint("(wrapped IS NULL) = (destroyed_at IS NOT NULL)", name=op.f("ck_data_keys_destroyed")),
        sa.PrimaryKeyConstraint("subject_id", "generation", name="pk_data_keys"),
    )


def _practitioners() -> None:
    op.create_table(
        "practitioners",
        sa.Column("id", _UUID, nullable=False),
        sa.Column("active", sa.Boolean(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        *_written(),
        sa.CheckConstraint("version >= 1", name=op.f("ck_practitioners_version")),
        sa.PrimaryKeyConstraint("id", name="pk_practitioners"),
    )


def _care_team_members() -> None:
    op.create_table(
        "care_team_members",
        sa.Column("patient_id", _UUID, nullable=False),
        sa.Column("practitioner_id", _UUID, nullable=False),
        *_lasting(),
        sa.ForeignKeyConstraint(["patient_id"], ["patients.id"], name="fk_care_team_members_patient_id"),
        sa.ForeignKeyConstraint(["practitioner_id"], ["practitioners.id"], name="fk_care_team_members_practitioner_id"),
        sa.PrimaryKeyConstraint("patient_id", "practitioner_id", "since_version", name="pk_care_team_members"),
    )
    _index(
        "ix_care_team_members_practitioner_id_patient_id",
        "care_team_members",
        "practitioner_id",
        "patient_id",
        where=_HOLDS,
    )


def _identifiers(table: str, owner: str, owners: str) -> None:
    op.create_table(
        table,
        sa.Column("id", _UUID, nullable=False),
        sa.Column(owner, _UUID, nullable=False),
        sa.Column("kind", sa.Integer(), nullable=False),
        sa.Column("generation_a", sa.Integer(), nullable=False),
        sa.Column("digest_a", sa.LargeBinary(), nullable=False),
        sa.Column("generation_b", sa.Integer(), nullable=True),
        sa.Column("digest_b", sa.LargeBinary(), nullable=True),
        *_lasting(),
        sa.CheckConstraint(
            "length(digest_a) = 16 AND (digest_b IS NULL OR length(digest_b) = 16)", name=op.f(f"ck_{table}_digests")
        ),
        sa.CheckConstraint("(digest_b IS NULL) = (generation_b IS NULL)", name=op.f(f"ck_{table}_slot_b")),
        sa.ForeignKeyConstraint([owner], [f"{owners}.id"], name=f"fk_{table}_{owner}"),
        sa.PrimaryKeyConstraint("id", name=f"pk_{table}"),
    )
    op.create_index(f"ix_{table}_{owner}", table, [owner])
    for slot in ("a", "b"):
        digest, generation = f"digest_{slot}", f"generation_{slot}"
        op.create_index(f"ix_{table}_{digest}_{generation}_kind", table, [digest, generation, "kind"])
        # The orders differ, because SQLite tells a broken index by its columns alone.
        _index(f"uq_{table}_mrn_{slot}", table, "kind", generation, digest, where=f"kind = 1 AND {_HOLDS}", unique=True)
        _index(
            f"uq_{table}_source_{slot}", table, generation, digest, "kind", where=f"kind = 7 AND {_HOLDS}", unique=True
        )


def _index(name: str, table: str, *columns: str, where: str, unique: bool = False) -> None:
    condition = sa.text(where)
    op.create_index(name, table, list(columns), unique=unique, postgresql_where=condition, sqlite_where=condition)


def _accounts() -> None:
    op.create_table(
        "accounts",
        sa.Column("id", _UUID, nullable=False),
        sa.Column("email", sa.LargeBinary(), nullable=False),
        sa.Column("name", sa.LargeBinary(), nullable=False),
        sa.Column("password_hash", sa.LargeBinary(), nullable=False),
        sa.Column("role", sa.Integer(), nullable=False),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("practitioner_id", _UUID, nullable=True),
        sa.Column("patient_id", _UUID, nullable=True),
        sa.Column("email_generation_a", sa.Integer(), nullable=False),
        sa.Column("email_digest_a", sa.LargeBinary(), nullable=False),
        sa.Column("email_generation_b", sa.Integer(), nullable=True),
        sa.Column("email_digest_b", sa.LargeBinary(), nullable=True),
        sa.Column("version", sa.Integer(), nullable=False),
        *_written(),
        sa.CheckConstraint("version >= 1", name=op.f("ck_accounts_version")),
        sa.CheckConstraint("status IN ('active', 'disabled')", name=op.f("ck_accounts_status")),
        sa.ForeignKeyConstraint(["practitioner_id"], ["practitioners.id"], name="fk_accounts_practitioner_id"),
        sa.ForeignKeyConstraint(["patient_id"], ["patients.id"], name="fk_accounts_patient_id"),
        sa.PrimaryKeyConstraint("id", name="pk_accounts"),
        sa.UniqueConstraint(
            "email_generation_a", "email_digest_a", name="uq_accounts_email_generation_a_email_digest_a"
        ),
        sa.UniqueConstraint(
            "email_generation_b", "email_digest_b", name="uq_accounts_email_generation_b_email_digest_b"
        ),
    )
    op.create_index("ix_accounts_practitioner_id", "accounts", ["practitioner_id"])
    op.create_index("ix_accounts_patient_id", "accounts", ["patient_id"])


def _sessions() -> None:
    op.create_table(
        "sessions",
        sa.Column("id", _UUID, nullable=False),
        sa.Column("account_id", _UUID, nullable=False),
        sa.Column("family_digest", sa.LargeBinary(), nullable=False),
        sa.Column("refresh_digest", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", _INSTANT, nullable=False),
        sa.Column("expires_at", _INSTANT, nullable=False),
        sa.Column("revoked_at", _INSTANT, nullable=True),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name="fk_sessions_account_id"),
        sa.PrimaryKeyConstraint("id", name="pk_sessions"),
        sa.UniqueConstraint("family_digest", name="uq_sessions_family_digest"),
    )
    op.create_index("ix_sessions_account_id", "sessions", ["account_id"])


def _idempotency_keys() -> None:
    op.create_table(
        "idempotency_keys",
        sa.Column("actor_id", _UUID, nullable=False),
        sa.Column("key_digest", sa.LargeBinary(), nullable=False),
        sa.Column("request_mac", sa.LargeBinary(), nullable=False),
        sa.Column("record_id", _UUID, nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("created_at", _INSTANT, nullable=False),
        sa.PrimaryKeyConstraint("actor_id", "key_digest", name="pk_idempotency_keys"),
    )
    op.create_index("ix_idempotency_keys_created_at", "idempotency_keys", ["created_at"])


def _audit() -> None:
    op.create_table(
        "audit_events",
        sa.Column("id", _UUID, nullable=False),
        sa.Column("at", _INSTANT, nullable=False),
        sa.Column("actor_id", _UUID, nullable=False),
        sa.Column("role", sa.SmallInteger(), nullable=False),
        sa.Column("action", sa.SmallInteger(), nullable=False),
        sa.Column("resource", sa.SmallInteger(), nullable=False),
        sa.Column("outcome", sa.SmallInteger(), nullable=False),
        sa.Column("patient_id", _UUID, nullable=True),
        sa.Column("request_id", _UUID, nullable=False),
        sa.Column("encoded", sa.LargeBinary(), nullable=False),
        sa.Column("leaf", sa.LargeBinary(), nullable=False),
        sa.Column("mac", sa.LargeBinary(), nullable=False),
        sa.CheckConstraint("length(leaf) = 32 AND length(mac) = 32", name=op.f("ck_audit_events_digests")),
        sa.PrimaryKeyConstraint("id", name="pk_audit_events"),
    )
    op.create_index("ix_audit_events_at", "audit_events", ["at"])
    op.create_index("ix_audit_events_patient_id_at", "audit_events", ["patient_id", "at"])
    op.create_index("ix_audit_events_actor_id_at", "audit_events", ["actor_id", "at"])
    op.create_table(
        "audit_subjects",
        sa.Column("record_id", _UUID, nullable=False),
        sa.Column("event_id", _UUID, nullable=False),
        sa.PrimaryKeyConstraint("record_id", "event_id", name="pk_audit_subjects"),
    )
