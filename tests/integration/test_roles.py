"""The application's role can do what it needs, and nothing that would harm the trail; whoever checks is told so."""

from base64 import b64decode
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID

import pytest
from sqlalchemy import delete, insert, make_url, select, text, update
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from clarity.domain.errors import Misconfigured
from clarity.persistence import migrations
from clarity.persistence.all_tables import APPEND_ONLY, TABLES
from clarity.persistence.engine import EngineOptions, unpooled
from clarity.persistence.errors import state_of
from clarity.persistence.privileges import check_privileges
from clarity.persistence.roles import create_app_role, create_roles_sql
from clarity.persistence.tables import Base
from clarity.security.scram import scram_verifier
from tests.builders import new_id
from tests.servers import PostgresDatabases

NOT_ALLOWED = "42501"
PASSWORD = "correct horse"
POWERFUL = {
    "pg_write_all_data",
    "pg_maintain",
    "pg_write_server_files",
    "pg_read_server_files",
    "pg_execute_server_program",
    "pg_signal_backend",
    "pg_create_subscription",
}
SAMPLES = {UUID: new_id(), datetime: datetime.now(UTC), int: 1, bytes: bytes(32)}


@pytest.fixture
def application(postgresql_options: EngineOptions) -> EngineOptions:
    return postgresql_options


@pytest.fixture
def owner(postgres: PostgresDatabases, application: EngineOptions) -> EngineOptions:
    return postgres.as_owner(application)


def name_of(options: EngineOptions) -> str:
    return make_url(options.url).username or ""


def as_role(options: EngineOptions, role: str, password: str) -> EngineOptions:
    url = make_url(options.url).set(username=role, password=password)
    return replace(options, url=url.render_as_string(hide_password=False))


async def run(options: EngineOptions, *statements: str) -> None:
    async with unpooled(options).begin() as connection:
        for statement in statements:
            await connection.exec_driver_sql(statement)


async def problems(options: EngineOptions) -> list[str]:
    async with unpooled(options).connect() as connection:
        return await check_privileges(connection)


async def refused(connection: AsyncConnection, statement: object) -> bool:
    """Tell whether the role may not run a statement; any other error is raised."""
    try:
        async with connection.begin():
            await connection.execute(statement)  # type: ignore[call-overload]  # all kinds of statements
    except DBAPIError as exc:
        if state_of(exc) != NOT_ALLOWED:
            raise
        return True
    return False


@pytest.mark.parametrize("rows", APPEND_ONLY)
async def test_the_application_adds_to_the_trail_and_changes_nothing_in_it(
    application: EngineOptions, rows: type[Base]
) -> None:
    values = {column.name: SAMPLES[column.type.python_type] for column in rows.__table__.columns}
    async with unpooled(application).connect() as connection:
        assert not await refused(connection, insert(rows).values(values))
        assert not await refused(connection, select(rows))
        assert await refused(connection, update(rows).values(values))
        assert await refused(connection, delete(rows))
        assert await refused(connection, text(f"TRUNCATE {rows.__tablename__}"))
        assert await refused(connection, text(f"ALTER TABLE {rows.__tablename__} DISABLE TRIGGER ALL"))
        assert await refused(connection, text(f"DROP TABLE {rows.__tablename__}"))


@pytest.mark.parametrize("rows", [rows for rows in TABLES if rows not in APPEND_ONLY])
async def test_the_application_changes_rows_and_deletes_none(application: EngineOptions, rows: type[Base]) -> None:
    first = next(iter(rows.__table__.columns))
    async with unpooled(application).connect() as connection:
        assert not await refused(connection, select(rows.__table__))
        assert not await refused(connection, update(rows).values({first.name: first}))
        assert await refused(connection, delete(rows))


async def test_the_application_cannot_say_that_it_was_migrated(application: EngineOptions) -> None:
    async with unpooled(application).connect() as connection:
        assert await migrations.current(application)
        assert await refused(connection, text("UPDATE alembic_version SET version_num = '4711'"))
        assert await refused(connection, text("CREATE TABLE own (id integer)"))


async def test_nothing_is_wrong_with_a_role_that_a_migration_equipped(application: EngineOptions) -> None:
    assert await problems(application) == []


async def test_a_superuser_is_refused(owner: EngineOptions) -> None:
    (problem,) = await problems(owner)
    assert "superuser" in problem


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("GRANT UPDATE ON audit_events TO {role}", "UPDATE on audit_events"),
        ("GRANT UPDATE (mac) ON audit_events TO {role}", "UPDATE on audit_events"),
        ("GRANT DELETE, TRUNCATE ON audit_subjects TO {role}", "DELETE, TRUNCATE on audit_subjects"),
        ("GRANT TRIGGER ON audit_events TO {role}", "TRIGGER on audit_events"),
        ("GRANT DELETE ON patients TO PUBLIC", "DELETE on patients"),
        ("GRANT INSERT ON alembic_version TO {role}", "INSERT on alembic_version"),
        ("REVOKE INSERT ON audit_events FROM {role}", "lacks INSERT on audit_events"),
        ("REVOKE SELECT, UPDATE ON sessions FROM {role}", "lacks SELECT, UPDATE on sessions"),
        ("GRANT CREATE ON SCHEMA public TO PUBLIC", "REVOKE CREATE ON SCHEMA"),
        ("GRANT REFERENCES (id) ON audit_events TO {role}", "REFERENCES on audit_events"),
        ("GRANT INSERT ON audit_events TO {role} WITH GRANT OPTION", "may pass on"),
        ("GRANT CREATE ON DATABASE {database} TO PUBLIC", "REVOKE CREATE ON DATABASE"),
        ("ALTER SCHEMA public OWNER TO {role}", "owns the schema public"),
        ("ALTER DATABASE {database} OWNER TO {role}", "owns the database"),
        ("ALTER FUNCTION require_audit_event() OWNER TO {role}", "owns the function require_audit_event"),
        ("ALTER TABLE audit_events ENABLE ROW LEVEL SECURITY", "rows of audit_events"),
        ("CREATE RULE lose AS ON INSERT TO audit_subjects DO INSTEAD NOTHING", "rule lose on audit_subjects"),
        (
            "CREATE TRIGGER lose BEFORE INSERT ON audit_events EXECUTE FUNCTION suppress_redundant_updates_trigger()",
            "trigger lose on audit_events",
        ),
        (
            "CREATE FUNCTION tidy() RETURNS void LANGUAGE sql SECURITY DEFINER AS 'DELETE FROM audit_events'",
            "may call tidy()",
        ),
        ("ALTER TABLE accounts OWNER TO {role}", "owns the table accounts"),
        ("ALTER TABLE audit_subjects RENAME TO gone", "audit_subjects is missing"),
    ],
)
async def test_whoever_checks_is_told_what_is_wrong(
    application: EngineOptions, owner: EngineOptions, statement: str, said: str
) -> None:
    database = make_url(application.url).database
    await run(owner, statement.format(role=name_of(application), database=database))
    found = await problems(application)
    await run(owner, f"ALTER DATABASE {database} OWNER TO CURRENT_USER")
    (problem,) = found
    assert said in problem


@pytest.fixture
async def other_role(postgres: PostgresDatabases, owner: EngineOptions) -> AsyncIterator[str]:
    role = f"{postgres.role}_other"
    await run(owner, f"CREATE ROLE {role} LOGIN PASSWORD '{PASSWORD}'")
    yield role
    await run(owner, f"DROP OWNED BY {role} CASCADE", f"DROP ROLE {role}")


async def test_what_a_role_may_do_through_another_counts(
    application: EngineOptions, owner: EngineOptions, other_role: str
) -> None:
    role = name_of(application)
    await run(owner, f"GRANT DELETE ON audit_events TO {other_role}", f"GRANT {other_role} TO {role}")
    (problem,) = await problems(application)
    assert "DELETE on audit_events" in problem


async def test_who_may_become_the_owner_counts_as_the_owner(
    application: EngineOptions, owner: EngineOptions, other_role: str
) -> None:
    role = name_of(application)
    await run(
        owner,
        f"ALTER TABLE accounts OWNER TO {other_role}",
        f"GRANT SELECT, INSERT, UPDATE ON accounts TO {role}",
        f"ALTER ROLE {role} NOINHERIT",
        f"GRANT {other_role} TO {role}",
    )
    (problem,) = await problems(application)
    await run(owner, f"ALTER ROLE {role} INHERIT")
    assert "owns the table accounts, or may become its owner" in problem


async def test_what_a_role_may_do_by_becoming_another_counts_too(
    application: EngineOptions, owner: EngineOptions, other_role: str
) -> None:
    role = name_of(application)
    await run(
        owner,
        f"GRANT UPDATE (mac) ON audit_events TO {other_role}",
        f"ALTER ROLE {role} NOINHERIT",
        f"GRANT {other_role} TO {role}",
    )
    (problem,) = await problems(application)
    await run(owner, f"ALTER ROLE {role} INHERIT")
    assert "UPDATE on audit_events" in problem


ATTRIBUTES = (
    ("CREATEROLE", "may create roles"),
    ("CREATEDB", "may create databases"),
    ("REPLICATION", "copy the whole server"),
    ("BYPASSRLS", "security of rows"),
)


async def test_a_role_with_more_than_a_log_in_is_refused_and_so_is_one_that_may_become_such(
    application: EngineOptions, owner: EngineOptions, other_role: str
) -> None:
    role = name_of(application)
    for attribute, said in ATTRIBUTES:
        await run(owner, f"ALTER ROLE {role} {attribute}")
        (problem,) = await problems(application)
        await run(owner, f"ALTER ROLE {role} NO{attribute}")
        assert said in problem
    await run(owner, f"GRANT {other_role} TO {role}")
    assert await problems(application) == []
    for attribute, said in (*ATTRIBUTES, ("SUPERUSER", "may become one")):
        await run(owner, f"ALTER ROLE {other_role} {attribute}")
        (problem,) = await problems(application)
        await run(owner, f"ALTER ROLE {other_role} NO{attribute}")
        assert said in problem


async def test_a_role_that_the_server_knows_as_powerful_is_refused(
    application: EngineOptions, owner: EngineOptions
) -> None:
    role = name_of(application)
    async with unpooled(owner).connect() as connection:
        there = await connection.scalars(text("SELECT rolname FROM pg_roles WHERE rolname LIKE 'pg\\_%'"))
    for powerful in POWERFUL & set(there):
        await run(owner, f"GRANT {powerful} TO {role}")
        (problem,) = await problems(application)
        await run(owner, f"REVOKE {powerful} FROM {role}")
        assert f"is a member of {powerful}" in problem


async def test_a_role_that_may_switch_triggers_off_is_refused(application: EngineOptions, owner: EngineOptions) -> None:
    role = name_of(application)
    await run(owner, f"GRANT SET ON PARAMETER session_replication_role TO {role}")
    (problem,) = await problems(application)
    await run(owner, f"REVOKE SET ON PARAMETER session_replication_role FROM {role}")
    assert "may switch triggers off" in problem


async def test_rows_are_not_written_through_a_view(application: EngineOptions, owner: EngineOptions) -> None:
    role = name_of(application)
    await run(
        owner,
        "CREATE VIEW recent AS SELECT * FROM audit_events",
        "CREATE VIEW own WITH (security_invoker = true) AS SELECT * FROM audit_events",
        f"GRANT SELECT, UPDATE ON own TO {role}",
        f"GRANT SELECT ON recent TO {role}",
    )
    assert await problems(application) == []
    await run(owner, f"GRANT UPDATE (mac) ON recent TO {role}")
    (problem,) = await problems(application)
    assert "write to audit_events through the view recent" in problem


async def test_a_migration_gives_what_is_missing_and_takes_what_is_too_much(
    application: EngineOptions, owner: EngineOptions
) -> None:
    role = name_of(application)
    await run(
        owner,
        f"GRANT DELETE, UPDATE ON audit_events TO {role}",
        f"REVOKE INSERT ON patients FROM {role}",
        "REVOKE USAGE ON SCHEMA public FROM PUBLIC",
    )
    await migrations.upgrade(owner, app_role=role)
    assert await problems(application) == []


async def test_a_migration_works_without_the_role_and_makes_none(owner: EngineOptions) -> None:
    await migrations.upgrade(owner, app_role="nobody's role")
    async with unpooled(owner).connect() as connection:
        assert not (await connection.scalars(text("SELECT rolname FROM pg_roles WHERE rolname LIKE 'nobody%'"))).all()


async def test_an_owner_who_is_also_the_application_keeps_what_the_next_migration_needs(
    postgres: PostgresDatabases, other_role: str
) -> None:
    own = as_role(postgres.owner_of(await postgres.create(template="template0", beside=True)), other_role, PASSWORD)
    await run(postgres.as_owner(own), f"GRANT CREATE ON SCHEMA public TO {other_role}")
    try:
        await migrations.upgrade(own, app_role=other_role)
        await migrations.downgrade(own, "base", app_role=other_role)
        await migrations.upgrade(own, app_role=other_role)
    finally:
        await run(postgres.as_owner(own), f"DROP OWNED BY {other_role} CASCADE")


@pytest.fixture
async def new_role(postgres: PostgresDatabases, owner: EngineOptions) -> AsyncIterator[str]:
    role = f"{postgres.role}_new"
    yield role
    await run(owner, f"DROP OWNED BY {role} CASCADE", f"DROP ROLE {role}")


async def test_a_role_is_made_once_and_a_migration_equips_it(owner: EngineOptions, new_role: str) -> None:
    for _ in range(2):
        async with unpooled(owner).begin() as connection:
            assert await create_app_role(connection, new_role, PASSWORD)
    await migrations.upgrade(owner, app_role=new_role)
    assert await problems(as_role(owner, new_role, PASSWORD)) == []


async def test_a_role_is_made_by_the_statements_that_are_printed(owner: EngineOptions, new_role: str) -> None:
    await run(owner, create_roles_sql(new_role))
    await migrations.upgrade(owner, app_role=new_role)
    async with unpooled(owner).connect() as connection:
        assert await connection.scalar(
            text("SELECT has_table_privilege(:role, 'patients', 'UPDATE')"), {"role": new_role}
        )


async def test_who_may_not_make_roles_is_told(application: EngineOptions) -> None:
    async with unpooled(application).connect() as connection:
        assert not await create_app_role(connection, "somebody")


async def test_the_server_would_have_made_the_same_of_the_password(owner: EngineOptions, other_role: str) -> None:
    password = "correct horse ' \\ battery"
    async with unpooled(owner).begin() as connection:
        quoted = await connection.scalar(text("SELECT quote_literal(CAST(:password AS text))"), {"password": password})
        await connection.exec_driver_sql(f"ALTER ROLE {other_role} PASSWORD {quoted}")
        stored = await connection.scalar(
            text("SELECT rolpassword FROM pg_authid WHERE rolname = :role"), {"role": other_role}
        )
    assert isinstance(stored, str)
    salt = stored.split("$")[1].split(":")[1]
    assert scram_verifier(password, salt=b64decode(salt)) == stored


def test_a_password_that_clients_would_normalise_is_refused() -> None:
    with pytest.raises(Misconfigured, match="ASCII"):
        scram_verifier("pässword")


# SQLite


async def test_sqlite_has_no_roles(sqlite_options: EngineOptions) -> None:
    async with unpooled(sqlite_options).connect() as connection:
        assert await check_privileges(connection) == []
        with pytest.raises(Misconfigured, match="no roles"):
            await create_app_role(connection, "somebody")


async def test_a_trigger_that_was_removed_is_missed(sqlite_options: EngineOptions) -> None:
    await run(sqlite_options, "DROP TRIGGER audit_events_refuse_delete")
    (problem,) = await problems(sqlite_options)
    assert "audit_events_refuse_delete" in problem
