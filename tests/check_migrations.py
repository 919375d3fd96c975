"""Check that migrations lead to the tables which the code declares, and back to nothing, on both databases.

Run as `python -m tests.check_migrations`; `make check` does.
"""

import asyncio
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, inspect, text

from clarity.persistence import migrations
from clarity.persistence.all_tables import metadata
from clarity.persistence.engine import EngineOptions, unpooled
from tests.servers import PostgresDatabases, postgres_databases

Result = TypeVar("Result")

_PREFIXES = {"primary key": "pk", "foreign keys": "fk", "unique": "uq", "checks": "ck", "indexes": ("ix", "uq")}
# Where PostgreSQL cuts a name, without a word.
_LONGEST_NAME = 63

_LEFT_OVER = {
    "sqlite": "SELECT name FROM sqlite_master",
    "postgresql": (
        "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace"
        " UNION ALL SELECT proname FROM pg_proc WHERE pronamespace = 'public'::regnamespace"
        " UNION ALL SELECT typname FROM pg_type WHERE typnamespace = 'public'::regnamespace AND typtype <> 'b'"
        "  AND typrelid = 0"
    ),
}
# What migrations make beside the tables that the code declares; the last is on SQLite alone, and its triggers use it.
_UNDECLARED = ("alembic_version", "search_clock")
# What keeps appointments from overlapping, beside the tables too: SQLite has no exclusion, and triggers in its place.
_EXCLUDING = {
    "sqlite": (
        "SELECT name FROM sqlite_master WHERE type = 'trigger' AND name LIKE 'ex_%'",
        {
            f"ex_appointments_{whose}_{change}"
            for whose in ("patient", "practitioner")
            for change in ("insert", "update")
        },
    ),
    "postgresql": (
        "SELECT conname FROM pg_constraint WHERE contype = 'x'",
        {"ex_appointments_patient", "ex_appointments_practitioner"},
    ),
}
_COMPRESSED = text(
    "SELECT attrelid::regclass FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid"
    " WHERE relnamespace = 'public'::regnamespace AND attname = 'sealed' AND attstorage <> 'e'"
)


async def on(options: EngineOptions, look: Callable[[Connection], Result]) -> Result:
    """Return what `look` sees on a connection."""
    async with unpooled(options).begin() as connection:
        return await connection.run_sync(look)


def structure(connection: Connection) -> dict[str, dict[str, Any]]:
    """Return the tables as the database has them: all that matters about them, and nothing that depends on order."""
    inspector = inspect(connection)
    return {
        table: {
            "columns": {
                column["name"]: (str(column["type"]), column["nullable"], column["default"])
                for column in inspector.get_columns(table)
            },
            "primary key": _named([inspector.get_pk_constraint(table)], "constrained_columns"),
            "foreign keys": _named(
                inspector.get_foreign_keys(table),
                "constrained_columns",
                "referred_table",
                "referred_columns",
                "options",
            ),
            "unique": _named(inspector.get_unique_constraints(table), "column_names"),
            "checks": _named(inspector.get_check_constraints(table), "sqltext"),
            "indexes": _named(
                [one for one in inspector.get_indexes(table) if not _excludes(one["name"])],
                "column_names",
                "unique",
                "dialect_options",
            ),
        }
        for table in inspector.get_table_names()
        if table not in _UNDECLARED
    }


def _excludes(name: str | None) -> bool:
    return name is not None and name.startswith("ex_")


def _named(items: Any, *what: str) -> dict[str, list[str]]:
    return {str(item["name"]): [_text_of(item.get(key)) for key in what] for item in items}


def _text_of(value: Any) -> str:
    return str({name: str(part) for name, part in value.items()} if isinstance(value, dict) else value)


def unlike(migrated: dict[str, dict[str, Any]], declared: dict[str, dict[str, Any]]) -> Iterator[str]:
    """Yield what is different between two structures, item by item."""
    for table in sorted(migrated.keys() | declared.keys()):
        there, wanted = migrated.get(table, {}), declared.get(table, {})
        for part in sorted(there.keys() | wanted.keys()):
            ours, theirs = there.get(part, {}), wanted.get(part, {})
            for name in sorted(ours.keys() | theirs.keys()):
                if ours.get(name) != theirs.get(name):
                    yield f"{table}, {part}, {name}: migrated {ours.get(name)}, declared {theirs.get(name)}"


def differences(connection: Connection) -> list[str]:
    """Return what the next generated migration would contain."""

    def is_declared(name: str | None, kind: str, _parents: object) -> bool:
        return name not in _UNDECLARED if kind == "table" else not _excludes(name)

    options = {"compare_type": True, "compare_server_default": True, "include_name": is_declared}
    context = MigrationContext.configure(connection, opts=options)
    return [f"not in step with the code: {difference}" for difference in compare_metadata(context, metadata())]


def unconventional(tables: dict[str, dict[str, Any]]) -> Iterator[str]:
    """Yield every constraint and index whose name is not the one that the naming convention gives it."""
    for table, parts in tables.items():
        for part, prefixes in _PREFIXES.items():
            for name in parts[part]:
                prefix, _, rest = name.partition("_")
                if prefix not in prefixes or not rest.startswith(table) or len(name) > _LONGEST_NAME:
                    yield f"unconventional name of one of the {part} of {table}: {name}"


async def problems_with(migrated: EngineOptions, declared: EngineOptions) -> list[str]:
    """Return what is wrong with the migrations; two empty databases are needed to find out."""
    problems = []
    revisions = migrations.revisions_after()
    await migrations.upgrade(migrated)
    after_first = await on(migrated, structure)
    await migrations.downgrade(migrated, "base")
    for revision in revisions:  # each must be able to go back alone
        await migrations.upgrade(migrated, revision)
        await migrations.downgrade(migrated, "-1")
        await migrations.upgrade(migrated, revision)
    problems += [f"up, down, up: {problem}" for problem in unlike(await on(migrated, structure), after_first)]
    await on(declared, metadata().create_all)
    as_declared = await on(declared, structure)
    problems += unlike(after_first, as_declared)
    problems += [*await on(migrated, differences), *unconventional(after_first)]
    excluding, names = _EXCLUDING[migrated.dialect_name]
    found = set(await on(migrated, lambda connection: connection.scalars(text(excluding)).all()))
    problems += [f"appointments may overlap: {name} is missing" for name in names - found]
    if migrated.dialect_name == "postgresql":
        compressed = await on(migrated, lambda connection: connection.scalars(_COMPRESSED).all())
        problems += [f"{table}: ciphertext does not compress, so its storage is EXTERNAL" for table in compressed]
    await migrations.downgrade(migrated, "base")
    left = await on(migrated, lambda connection: connection.scalars(text(_LEFT_OVER[migrated.dialect_name])).all())
    return problems + [f"left behind by the way down: {name}" for name in left if "alembic_version" not in name]


async def _on_sqlite() -> list[str]:
    with tempfile.TemporaryDirectory() as folder:
        migrated, declared = (
            EngineOptions(url=f"sqlite+aiosqlite:///{Path(folder) / name}") for name in ("migrated", "declared")
        )
        return await problems_with(migrated, declared)


async def _on_postgresql(postgres: PostgresDatabases) -> list[str]:
    migrated = await postgres.create(template="template0")
    declared = await postgres.create(template="template0", beside=True)
    return await problems_with(postgres.owner_of(migrated), postgres.owner_of(declared))


def main() -> int:
    """Check both databases, print what is wrong, and return the exit status."""
    problems = [f"SQLite: {problem}" for problem in asyncio.run(_on_sqlite())]
    with postgres_databases() as postgres:
        problems += [f"PostgreSQL: {problem}" for problem in asyncio.run(_on_postgresql(postgres))]
    print("\n".join(problems) or "Migrations lead to the tables of the code and back, on SQLite and on PostgreSQL.")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
