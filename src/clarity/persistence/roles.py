"""The application's role on PostgreSQL: what it may do, how it comes to be, and whether what is so is what should be.

The owner of the tables migrates them. The application connects as another role, which changes rows but deletes
none, and adds to the trail but changes nothing in it.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from sqlalchemy import bindparam, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.types import Text

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

# With any of these, rows could be changed or destroyed, by a statement or by what a trigger does later.
_DANGEROUS = ("INSERT", "UPDATE", "DELETE", "TRUNCATE", "TRIGGER")


def _quote(name: str) -> str:
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
        f"      REVOKE ALL ON TABLE {table} FROM {_quote(role)};\n"
        f"      GRANT {', '.join(privileges)} ON TABLE {table} TO {_quote(role)};\n"
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
        f"CREATE ROLE {_quote(role)} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION;\n"
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
        f"CREATE ROLE {_quote(role)} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION{secret}"
    )
    return True


_ROLE = text(
    "SELECT rolname, rolsuper, rolcreaterole, current_schema() AS schema,"
    " has_schema_privilege(current_schema(), 'CREATE') AS creates"
    " FROM pg_roles WHERE rolname = current_user"
)
_HELD = text(
    "SELECT wanted AS name, pg_has_role(relowner, 'MEMBER') AS owned,"
    " ARRAY(SELECT privilege FROM unnest(:privileges) privilege WHERE has_table_privilege(pg_class.oid, privilege)"
    "  OR (privilege IN ('INSERT', 'UPDATE') AND has_any_column_privilege(pg_class.oid, privilege))) AS held"
    " FROM unnest(:tables) wanted LEFT JOIN pg_class ON pg_class.oid = to_regclass(wanted) ORDER BY wanted"
).bindparams(bindparam("privileges", type_=ARRAY(Text)), bindparam("tables", type_=ARRAY(Text)))


async def check_privileges(connection: AsyncConnection) -> list[str]:
    """Return what is wrong with what this connection may do, each with what to do about it."""
    if connection.dialect.name == "sqlite":
        return await _missing_triggers(connection)
    role = (await connection.execute(_ROLE)).one()
    if role.rolsuper:
        return [f"the role {role.rolname} is a superuser, from whom nothing is protected; connect as DB_APP_ROLE"]
    problems = []
    if role.rolcreaterole:
        problems.append(f"the role {role.rolname} may create roles; ALTER ROLE {_quote(role.rolname)} NOCREATEROLE")
    if role.creates:
        problems.append(
            f"the role {role.rolname} may create tables and functions in the schema {role.schema};"
            f" REVOKE CREATE ON SCHEMA {_quote(role.schema)} FROM {_quote(role.rolname)}, PUBLIC"
        )
    held = await connection.execute(_HELD, {"privileges": list({"SELECT", *_DANGEROUS}), "tables": list(PRIVILEGES)})
    return [*problems, *_wrong_privileges(role.rolname, held.all())]


def _wrong_privileges(role: str, tables: Iterable[Any]) -> Iterator[str]:
    for table in tables:
        allowed = PRIVILEGES[table.name]
        missing = [privilege for privilege in allowed if privilege not in table.held]
        excess = [privilege for privilege in _DANGEROUS if privilege in table.held and privilege not in allowed]
        if table.owned is None:
            yield f"the table {table.name} is missing; run `clarity migrate`"
        elif table.owned:
            yield f"the role {role} owns the table {table.name}, or may become its owner; connect as DB_APP_ROLE"
        elif missing:
            yield (
                f"the role {role} lacks {', '.join(missing)} on {table.name};"
                " name it in DB_APP_ROLE and run `clarity migrate`"
            )
        elif excess:
            yield (
                f"the role {role} has {', '.join(excess)} on {table.name};"
                " revoke that from it, from PUBLIC and from the roles it is a member of"
            )


async def _missing_triggers(connection: AsyncConnection) -> list[str]:
    there = set(await connection.scalars(text("SELECT name FROM sqlite_master WHERE type = 'trigger'")))
    wanted = [f"{rows.__tablename__}_refuse_{verb}" for rows in APPEND_ONLY for verb in ("update", "delete")]
    return [
        f"the trigger {name}, which keeps the trail from being changed by mistake, was removed; restore a backup"
        for name in wanted
        if name not in there
    ]
