"""Invitations, machines, second factors, one-time links, the outbox, consents, broken glass and duplicates.

Revision 0002.
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

# Types are written out here, since those of the tables may change and this revision may not.
_UUID = sa.Uuid().with_variant(sa.LargeBinary(16), "sqlite")
_INSTANT = sa.TIMESTAMP(timezone=True).with_variant(sa.BigInteger(), "sqlite")

_TABLES = (
    "second_factors",
    "recovery_codes",
    "one_time_links",
    "credentials",
    "outbox_messages",
    "consents",
    "break_glass",
    "duplicate_reviews",
)
_SEALED = ("consents", "break_glass", "duplicate_reviews")
_IN_USE = "status <> 'disabled'"
_WAITING = "sent_at IS NULL"


def upgrade() -> None:
    """Change accounts and sessions, and make the other tables."""
    _accounts()
    _sessions()
    _second_factors()
    _links()
    _credentials()
    _outbox()
    _consents()
    _break_glass()
    _duplicates()
    if op.get_context().dialect.name == "postgresql":
        for table in _SEALED:
            # Ciphertext does not compress, so trying would only cost.
            op.execute(f"ALTER TABLE {table} ALTER COLUMN sealed SET STORAGE EXTERNAL")


def downgrade() -> None:
    """Drop the tables. Accounts without a password, which there were none of before, stay and stay disabled."""
    for table in reversed(_TABLES):
        op.drop_table(table)
    op.drop_index("uq_accounts_practitioner_id", "accounts")
    op.execute("UPDATE accounts SET status = 'disabled' WHERE status = 'invited' OR password_hash IS NULL")
    # No password has this hash, which does not even open.
    op.execute("UPDATE accounts SET password_hash = email WHERE password_hash IS NULL")
    with op.batch_alter_table("accounts", copy_from=_accounts_as_of_now()) as accounts:
        accounts.drop_column("machine")
        accounts.alter_column("password_hash", existing_type=sa.LargeBinary(), nullable=False)
        accounts.drop_constraint(op.f("ck_accounts_status"), type_="check")
        accounts.create_check_constraint(op.f("ck_accounts_status"), "status IN ('active', 'disabled')")
    op.create_index("ix_accounts_practitioner_id", "accounts", ["practitioner_id"])
    with op.batch_alter_table("sessions", copy_from=_sessions_with(*_session_columns(nullable=False))) as sessions:
        for column in ("refreshed_at", "second_factor", "client"):
            sessions.drop_column(column)


def _accounts() -> None:
    op.drop_index("ix_accounts_practitioner_id", "accounts")
    with op.batch_alter_table("accounts", copy_from=_accounts_before()) as accounts:
        accounts.add_column(sa.Column("machine", sa.Boolean(), nullable=True))
        accounts.alter_column("password_hash", existing_type=sa.LargeBinary(), nullable=True)
        accounts.drop_constraint(op.f("ck_accounts_status"), type_="check")
        accounts.create_check_constraint(op.f("ck_accounts_status"), "status IN ('invited', 'active', 'disabled')")
    op.execute(sa.text("UPDATE accounts SET machine = :no").bindparams(sa.bindparam("no", False, sa.Boolean())))
    with op.batch_alter_table("accounts", copy_from=_accounts_as_of_now(machine_nullable=True)) as accounts:
        accounts.alter_column("machine", existing_type=sa.Boolean(), nullable=False)
    op.create_index(
        "uq_accounts_practitioner_id",
        "accounts",
        ["practitioner_id"],
        unique=True,
        postgresql_where=sa.text(_IN_USE),
        sqlite_where=sa.text(_IN_USE),
    )


def _sessions() -> None:
    with op.batch_alter_table("sessions", copy_from=_sessions_with()) as sessions:
        for column in _session_columns(nullable=True):
            sessions.add_column(column)
    op.execute(
        sa.text("UPDATE sessions SET refreshed_at = created_at, second_factor = :no").bindparams(
            sa.bindparam("no", False, sa.Boolean())
        )
    )
    with op.batch_alter_table("sessions", copy_from=_sessions_with(*_session_columns(nullable=True))) as sessions:
        sessions.alter_column("refreshed_at", existing_type=_INSTANT, nullable=False)
        sessions.alter_column("second_factor", existing_type=sa.Boolean(), nullable=False)


def _session_columns(*, nullable: bool) -> tuple[sa.Column[object], ...]:
    return (
        sa.Column("refreshed_at", _INSTANT, nullable=nullable),
        sa.Column("second_factor", sa.Boolean(), nullable=nullable),
        sa.Column("client", sa.LargeBinary(), nullable=True),
    )


def _accounts_before() -> sa.Table:
    return _accounts_with(statuses="'active', 'disabled'", password_nullable=False)


def _accounts_as_of_now(*, machine_nullable: bool = False) -> sa.Table:
    return _accounts_with(
        sa.Column("machine", sa.Boolean(), nullable=machine_nullable),
        statuses="'invited', 'active', 'disabled'",
        password_nullable=True,
    )


def _accounts_with(*more: sa.Column[object], statuses: str, password_nullable: bool) -> sa.Table:
    """Return the table of accounts; SQLite makes it anew to change it."""
    table = sa.Table(
        "accounts",
        sa.MetaData(),
        sa.Column("id", _UUID, nullable=False),
        sa.Column("email", sa.LargeBinary(), nullable=False),
        sa.Column("name", sa.LargeBinary(), nullable=False),
        sa.Column("password_hash", sa.LargeBinary(), nullable=password_nullable),
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
        *more,
        sa.CheckConstraint("version >= 1", name="ck_accounts_version"),
        sa.CheckConstraint(f"status IN ({statuses})", name="ck_accounts_status"),
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
    sa.Index("ix_accounts_patient_id", table.c.patient_id)
    return table


def _sessions_with(*more: sa.Column[object]) -> sa.Table:
    table = sa.Table(
        "sessions",
        sa.MetaData(),
        sa.Column("id", _UUID, nullable=False),
        sa.Column("account_id", _UUID, nullable=False),
        sa.Column("family_digest", sa.LargeBinary(), nullable=False),
        sa.Column("refresh_digest", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", _INSTANT, nullable=False),
        sa.Column("expires_at", _INSTANT, nullable=False),
        sa.Column("revoked_at", _INSTANT, nullable=True),
        *more,
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name="fk_sessions_account_id"),
        sa.PrimaryKeyConstraint("id", name="pk_sessions"),
        sa.UniqueConstraint("family_digest", name="uq_sessions_family_digest"),
    )
    sa.Index("ix_sessions_account_id", table.c.account_id)
    return table


def _second_factors() -> None:
    op.create_table(
        "second_factors",
        sa.Column("account_id", _UUID, nullable=False),
        sa.Column("secret", sa.LargeBinary(), nullable=False),
        sa.Column("last_step", sa.Integer(), nullable=False),
        sa.Column("created_at", _INSTANT, nullable=False),
        sa.Column("confirmed_at", _INSTANT, nullable=True),
        sa.Column("removed_at", _INSTANT, nullable=True),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name="fk_second_factors_account_id"),
        sa.PrimaryKeyConstraint("account_id", name="pk_second_factors"),
    )
    op.create_table(
        "recovery_codes",
        sa.Column("account_id", _UUID, nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", _INSTANT, nullable=False),
        sa.Column("used_at", _INSTANT, nullable=True),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name="fk_recovery_codes_account_id"),
        sa.PrimaryKeyConstraint("account_id", "digest", name="pk_recovery_codes"),
    )


def _links() -> None:
    op.create_table(
        "one_time_links",
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("account_id", _UUID, nullable=False),
        sa.Column("purpose", sa.String(), nullable=False),
        sa.Column("created_at", _INSTANT, nullable=False),
        sa.Column("expires_at", _INSTANT, nullable=False),
        sa.Column("used_at", _INSTANT, nullable=True),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name="fk_one_time_links_account_id"),
        sa.PrimaryKeyConstraint("digest", name="pk_one_time_links"),
    )
    op.create_index("ix_one_time_links_account_id", "one_time_links", ["account_id"])


def _credentials() -> None:
    op.create_table(
        "credentials",
        sa.Column("id", _UUID, nullable=False),
        sa.Column("account_id", _UUID, nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("name", sa.LargeBinary(), nullable=False),
        sa.Column("scopes", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", _INSTANT, nullable=False),
        sa.Column("created_by", _UUID, nullable=False),
        sa.Column("expires_at", _INSTANT, nullable=False),
        sa.Column("revoked_at", _INSTANT, nullable=True),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name="fk_credentials_account_id"),
        sa.PrimaryKeyConstraint("id", name="pk_credentials"),
        sa.UniqueConstraint("digest", name="uq_credentials_digest"),
    )
    op.create_index("ix_credentials_account_id", "credentials", ["account_id"])


def _outbox() -> None:
    op.create_table(
        "outbox_messages",
        sa.Column("id", _UUID, nullable=False),
        sa.Column("account_id", _UUID, nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=True),
        sa.Column("created_at", _INSTANT, nullable=False),
        sa.Column("due_at", _INSTANT, nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("sent_at", _INSTANT, nullable=True),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name="fk_outbox_messages_account_id"),
        sa.PrimaryKeyConstraint("id", name="pk_outbox_messages"),
    )
    op.create_index("ix_outbox_messages_account_id", "outbox_messages", ["account_id"])
    op.create_index(
        "ix_outbox_messages_due_at",
        "outbox_messages",
        ["due_at"],
        postgresql_where=sa.text(_WAITING),
        sqlite_where=sa.text(_WAITING),
    )


def _consents() -> None:
    op.create_table(
        "consents",
        *_sealed(),
        sa.CheckConstraint("version >= 1", name=op.f("ck_consents_version")),
        sa.ForeignKeyConstraint(["id"], ["patients.id"], name="fk_consents_id"),
        sa.PrimaryKeyConstraint("id", name="pk_consents"),
    )


def _break_glass() -> None:
    op.create_table(
        "break_glass",
        *_sealed(),
        sa.Column("patient_id", _UUID, nullable=False),
        sa.Column("expires_at", _INSTANT, nullable=False),
        sa.Column("closed_at", _INSTANT, nullable=True),
        sa.CheckConstraint("version >= 1", name=op.f("ck_break_glass_version")),
        sa.CheckConstraint("status IN ('unreviewed', 'reviewed')", name=op.f("ck_break_glass_status")),
        sa.ForeignKeyConstraint(["patient_id"], ["patients.id"], name="fk_break_glass_patient_id"),
        sa.PrimaryKeyConstraint("id", name="pk_break_glass"),
    )
    op.create_index("ix_break_glass_patient_id_expires_at", "break_glass", ["patient_id", "expires_at"])
    op.create_index("ix_break_glass_created_by_id", "break_glass", ["created_by", "id"])
    op.create_index("ix_break_glass_status_id", "break_glass", ["status", "id"])


def _duplicates() -> None:
    op.create_table(
        "duplicate_reviews",
        *_sealed(),
        sa.Column("patient_id", _UUID, nullable=False),
        sa.Column("other_id", _UUID, nullable=False),
        sa.CheckConstraint("version >= 1", name=op.f("ck_duplicate_reviews_version")),
        sa.CheckConstraint("status IN ('open', 'distinct', 'merged')", name=op.f("ck_duplicate_reviews_status")),
        sa.ForeignKeyConstraint(["patient_id"], ["patients.id"], name="fk_duplicate_reviews_patient_id"),
        sa.ForeignKeyConstraint(["other_id"], ["patients.id"], name="fk_duplicate_reviews_other_id"),
        sa.PrimaryKeyConstraint("id", name="pk_duplicate_reviews"),
        sa.UniqueConstraint("patient_id", "other_id", name="uq_duplicate_reviews_patient_id_other_id"),
    )
    op.create_index("ix_duplicate_reviews_other_id", "duplicate_reviews", ["other_id"])
    op.create_index("ix_duplicate_reviews_status_id", "duplicate_reviews", ["status", "id"])


def _sealed() -> tuple[sa.Column[object], ...]:
    return (
        sa.Column("id", _UUID, nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.Column("key_generation", sa.Integer(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("guarded", sa.Boolean(), nullable=False),
        *_written(),
    )


def _written() -> tuple[sa.Column[object], ...]:
    return (
        sa.Column("created_at", _INSTANT, nullable=False),
        sa.Column("created_by", _UUID, nullable=False),
        sa.Column("updated_at", _INSTANT, nullable=False),
        sa.Column("updated_by", _UUID, nullable=False),
    )
