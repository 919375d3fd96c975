"""Whether what the application may do in its database is what it should, by whatever way it came to be able to.

What a role may do through another counts, even if it has to say SET ROLE first: whoever has taken over the application
says that too.
"""

from collections.abc import Iterable, Iterator
from typing import Any

from sqlalchemy import bindparam, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.types import Text

from clarity.persistence.all_tables import APPEND_ONLY
from clarity.persistence.roles import PRIVILEGES, quoted

# With any of these, rows could be changed or destroyed, by a statement or by what a trigger does later, or a table
# could be kept from everybody else.
_DANGEROUS = ("INSERT", "UPDATE", "DELETE", "TRUNCATE", "REFERENCES", "TRIGGER")
_MAINTAIN, _MAINTAIN_SINCE = "MAINTAIN", 170_000
_TRAIL = [rows.__tablename__ for rows in APPEND_ONLY]
# The predefined roles (PostgreSQL, 21.5) by which tables are written or locked, files or programs of the server
# reached, other people's sessions ended, or rows brought in past every trigger.
_PREDEFINED = [
    "pg_write_all_data",
    "pg_maintain",
    "pg_write_server_files",
    "pg_read_server_files",
    "pg_execute_server_program",
    "pg_signal_backend",
    "pg_create_subscription",
]


def _names(*given: str) -> list[Any]:
    return [bindparam(name, type_=ARRAY(Text)) for name in given]


_ROLE = text(
    """
    WITH mine AS (SELECT * FROM pg_roles WHERE pg_has_role(oid, 'MEMBER'))
    SELECT current_user AS name, current_schema() AS schema, current_database() AS database,
      current_setting('server_version_num')::integer AS version,
      bool_or(rolsuper) AS superuser, bool_or(rolcreaterole) AS creates_roles,
      bool_or(rolcreatedb) AS creates_databases,
      bool_or(rolreplication) AS replicates, bool_or(rolbypassrls) AS bypasses,
      bool_or(has_schema_privilege(oid, current_schema(), 'CREATE')) AS creates_tables,
      bool_or(has_database_privilege(oid, current_database(), 'CREATE')) AS creates_schemas,
      bool_or(has_parameter_privilege(oid, 'session_replication_role', 'SET')) AS silences,
      bool_or(oid = (SELECT nspowner FROM pg_namespace WHERE nspname = current_schema())) AS owns_schema,
      bool_or(oid = (SELECT datdba FROM pg_database WHERE datname = current_database())) AS owns_database,
      array_agg(rolname::text ORDER BY rolname) FILTER (WHERE rolname = ANY (:predefined)) AS predefined
    FROM mine
    """
).bindparams(*_names("predefined"))
_HELD = text(
    """
    WITH mine AS (SELECT oid FROM pg_roles WHERE pg_has_role(oid, 'MEMBER'))
    SELECT wanted AS name, pg_has_role(relowner, 'MEMBER') AS owned,
      ARRAY(SELECT privilege FROM unnest(:privileges) AS privilege
        WHERE has_table_privilege(pg_class.oid, privilege)) AS held,
      ARRAY(SELECT privilege FROM unnest(:privileges) AS privilege, mine
        WHERE has_table_privilege(mine.oid, pg_class.oid, privilege)
          OR (privilege IN ('INSERT', 'UPDATE', 'REFERENCES')
            AND has_any_column_privilege(mine.oid, pg_class.oid, privilege))) AS reached,
      ARRAY(SELECT privilege FROM unnest(:privileges) AS privilege, mine
        WHERE has_table_privilege(mine.oid, pg_class.oid, privilege || ' WITH GRANT OPTION')) AS passed_on
    FROM unnest(:tables) AS wanted LEFT JOIN pg_class ON pg_class.oid = to_regclass(wanted)
    ORDER BY wanted
    """
).bindparams(*_names("privileges", "tables"))
# What others made, through which rows can be reached past the privileges on them, or events lost on their way.
_AROUND = text(
    """
    WITH mine AS (SELECT oid FROM pg_roles WHERE pg_has_role(oid, 'MEMBER')),
      ours AS (SELECT oid, relname, relowner, relrowsecurity, relname::text = ANY (:trail) AS of_trail
        FROM pg_class WHERE oid IN (SELECT to_regclass(wanted) FROM unnest(:tables) AS wanted))
    SELECT 'trigger' AS what, tgname::text AS name, relname::text AS relation
      FROM pg_trigger JOIN ours ON ours.oid = tgrelid WHERE of_trail AND NOT tgisinternal
    UNION SELECT 'rule', rulename::text, relname::text FROM pg_rewrite JOIN ours ON ours.oid = ev_class WHERE of_trail
    UNION SELECT 'row security', '', relname::text FROM ours WHERE of_trail AND relrowsecurity
    UNION SELECT 'own function', proname::text, ''
      FROM pg_trigger JOIN ours ON ours.oid = tgrelid JOIN pg_proc ON pg_proc.oid = tgfoid
      WHERE NOT tgisinternal AND pg_has_role(proowner, 'MEMBER')
    UNION SELECT 'function', pg_proc.oid::regprocedure::text, ''
      FROM pg_proc
      WHERE prosecdef
        AND (pronamespace = to_regnamespace(quote_ident(current_schema())) OR proowner IN (SELECT relowner FROM ours))
        AND pronamespace NOT IN ('pg_catalog'::regnamespace, 'information_schema'::regnamespace)
        AND NOT EXISTS (SELECT FROM pg_depend
          WHERE classid = 'pg_proc'::regclass AND objid = pg_proc.oid AND deptype = 'e')
        AND EXISTS (SELECT FROM mine WHERE has_function_privilege(mine.oid, pg_proc.oid, 'EXECUTE'))
    UNION SELECT 'view', seen.oid::regclass::text, ours.relname::text
      FROM pg_rewrite
      JOIN pg_class seen ON seen.oid = ev_class AND seen.relkind = 'v'
      JOIN pg_depend ON classid = 'pg_rewrite'::regclass AND objid = pg_rewrite.oid
        AND refclassid = 'pg_class'::regclass
      JOIN ours ON ours.oid = refobjid
      WHERE NOT coalesce(seen.reloptions && ARRAY['security_invoker=true', 'security_invoker=on'], false)
        AND EXISTS (SELECT FROM mine, unnest(ARRAY['INSERT', 'UPDATE', 'DELETE']) AS privilege
          WHERE has_table_privilege(mine.oid, seen.oid, privilege)
            OR (privilege <> 'DELETE' AND has_any_column_privilege(mine.oid, seen.oid, privilege)))
    ORDER BY 1, 2, 3
    """
).bindparams(*_names("tables", "trail"))


async def check_privileges(connection: AsyncConnection) -> list[str]:
    """Return what is wrong with what this connection may do, each with what to do about it."""
    if connection.dialect.name == "sqlite":
        return await _missing_triggers(connection)
    role = (await connection.execute(_ROLE, {"predefined": _PREDEFINED})).one()
    if role.superuser:
        what = f"the role {role.name} is a superuser, or may become one, from whom nothing is protected"
        return [f"{what}; connect as DB_APP_ROLE"]
    dangerous = [*_DANGEROUS, *([_MAINTAIN] if role.version >= _MAINTAIN_SINCE else [])]
    tables = list(PRIVILEGES)
    held = (await connection.execute(_HELD, {"privileges": ["SELECT", *dangerous], "tables": tables})).all()
    around = (await connection.execute(_AROUND, {"tables": tables, "trail": _TRAIL})).all()
    everywhere = [] if role.predefined else list(_wrong_privileges(role.name, held, dangerous))
    return [*_wrong_attributes(role), *everywhere, *_ways_around(role.name, around)]


def _wrong_attributes(role: Any) -> Iterator[str]:
    name = quoted(role.name)
    for wrong, may, attribute in (
        (role.creates_roles, "create roles", "NOCREATEROLE"),
        (role.creates_databases, "create databases", "NOCREATEDB"),
        (role.replicates, "copy the whole server", "NOREPLICATION"),
        (role.bypasses, "pass over the security of rows", "NOBYPASSRLS"),
    ):
        if wrong:
            yield f"the role {role.name}, or one it may become, may {may}; ALTER ROLE {name} {attribute}"
    for predefined in role.predefined or ():
        yield f"the role {role.name} is a member of {predefined}; REVOKE {predefined} FROM {name}"
    # Whoever owns these drops or replaces what is in them.
    if role.owns_schema and not role.owns_database:
        yield f"the role {role.name}, or one it may become, owns the schema {role.schema}; give it another owner"
    if role.owns_database:
        yield f"the role {role.name}, or one it may become, owns the database {role.database}; give it another owner"
    if role.creates_tables and not (role.owns_schema or role.owns_database):
        yield (
            f"the role {role.name} may create tables and functions in the schema {role.schema};"
            f" REVOKE CREATE ON SCHEMA {quoted(role.schema)} FROM {name}, PUBLIC"
        )
    if role.creates_schemas and not role.owns_database:
        yield (
            f"the role {role.name} may create schemas in the database {role.database};"
            f" REVOKE CREATE ON DATABASE {quoted(role.database)} FROM {name}, PUBLIC"
        )
    if role.silences:
        yield (
            f"the role {role.name} may switch triggers off;"
            f" REVOKE SET ON PARAMETER session_replication_role FROM {name}"
        )


def _wrong_privileges(role: str, tables: Iterable[Any], dangerous: Iterable[str]) -> Iterator[str]:
    for table in tables:
        allowed = PRIVILEGES[table.name]
        missing = [privilege for privilege in allowed if privilege not in table.held]
        excess = [privilege for privilege in dangerous if privilege in table.reached and privilege not in allowed]
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
        elif table.passed_on:
            yield f"the role {role} may pass on what it may do to {table.name}; revoke the GRANT OPTION"


def _ways_around(role: str, made: Iterable[Any]) -> Iterator[str]:
    said = {
        "trigger": "the trigger {name} on {relation} is not of Clarity, and may change or lose events; drop it",
        "rule": "the rule {name} on {relation} is not of Clarity, and may change or lose events; drop it",
        "row security": "the security of rows of {relation} is on, and may hide events; switch it off",
        "own function": "the role {role} owns the function {name}, which triggers call; give it another owner",
        "function": "the role {role} may call {name}, which has its owner's rights; revoke EXECUTE from it and PUBLIC",
        "view": "the role {role} may write to {relation} through the view {name}; revoke that",
    }
    for one in made:
        yield said[one.what].format(role=role, name=one.name, relation=one.relation)


async def _missing_triggers(connection: AsyncConnection) -> list[str]:
    there = set(await connection.scalars(text("SELECT name FROM sqlite_master WHERE type = 'trigger'")))
    wanted = [f"{rows.__tablename__}_refuse_{verb}" for rows in APPEND_ONLY for verb in ("update", "delete")]
    return [
        f"the trigger {name}, which keeps the trail from being changed by mistake, was removed; restore a backup"
        for name in wanted
        if name not in there
    ]
