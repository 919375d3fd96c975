"""The application's role on PostgreSQL: what it may do, and how it comes to be.

The owner of the tables migrates them. The application connects as another role, which changes rows but deletes
none, and adds to the trail but changes nothing in it.
"""

from collections.abc import Mapping

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from clarity.domain.errors import Misconfigured
from clarity.persistence.all_tables import APPEND_ONLY, TABLES
from clarity.security.scram import scram_verifier

_ADD = ("SELECT", "INSERT")
_CHANGE = (*_ADD, "UPDATE")
PRIVILEGES: Mapping[str, tuple[str, ...]] = {
    **{rows.__tablename__: _ADD if rows in APPEND_ONLY else _CHANGE for rows in TABLES},
    "alembic_version": ("SELECT",),
}
"""What the application may do to each table, and nothing beyond that."""


def quoted(name: str) -> str:
    """Return a name as SQL takes it."""
    return '"' + name.replace('"', '""') + '"'


def _literal(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def grants_sql(role: str) -> str:
    """Return one statement that gives `role` its privileges on the tables there are, and takes all others away.

    It does nothing if there is no such role, or if it is the one that runs the statement: an owner must not lose
    what the next migration needs.
    """
    grants = "\n".join(
        f"    IF to_regclass('{table}') IS NOT NULL THEN\n"
        f"      REVOKE ALL ON TABLE {table} FROM {quoted(role)};\n"
        f"      GRANT {', '.join(privileges)} ON TABLE {table} TO {quoted(role)};\n"
        f"    END IF;"
        for table, privileges in sorted(PRIVILEGES.items())
    )
    return (
        "DO $$\nBEGIN\n"
        f"  IF EXISTS (SELECT FROM pg_roles WHERE rolname = {_literal(role)} AND rolname <> current_user) THEN\n"
        f"    IF NOT has_schema_privilege({_literal(role)}, current_schema(), 'USAGE') THEN\n"
        f"      EXECUTE format('GRANT USAGE ON SCHEMA %I TO %I', current_schema(), {_literal(role)});\n"
        "    END IF;\n"
        f"{grants}\n"
        "  END IF;\nEND $$"
    )


def create_roles_sql(role: str) -> str:
    """Return what an administrator runs to make the application's role. There is no password in it."""
    return (
        f"CREATE ROLE {quoted(role)} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION;\n"
        f"-- Then set its password in psql, which does not show it: \\password {role}\n"
        "-- and run `clarity migrate`, which grants it what it needs."
    )


async def create_app_role(connection: AsyncConnection, role: str, password: str = "") -> bool:
    """Make the application's role, if there is none, and tell whether there is one now.

    There is none if the connection may not make roles; then an administrator runs `create_roles_sql`. Raises
    `Misconfigured` on SQLite, which has no roles.
    """
    if connection.dialect.name != "postgresql":
        raise Misconfigured("SQLite has no roles; they are for PostgreSQL")
    if await connection.scalar(text("SELECT true FROM pg_roles WHERE rolname = :role"), {"role": role}):
        return True
    may_create = text("SELECT rolsuper OR rolcreaterole FROM pg_roles WHERE rolname = current_user")
    if not await connection.scalar(may_create):
        return False
    secret = f" PASSWORD '{scram_verifier(password)}'" if password else ""
    await connection.exec_driver_sql(
        f"CREATE ROLE {quoted(role)} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION{secret}"
    )
    return True
