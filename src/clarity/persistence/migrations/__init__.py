"""Migrations: from one form of the tables to the next and back, by Alembic, which is configured here alone."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.script.revision import RevisionError
from alembic.util import CommandError
from sqlalchemy import Connection, event, text
from sqlalchemy.exc import DBAPIError

from clarity.domain.errors import Misconfigured
from clarity.persistence.engine import EngineOptions, unpooled
from clarity.persistence.errors import state_of, translated

# An arbitrary number, by which migrators on one PostgreSQL server know each other.
_LOCK = 0x636C6172
# Alembic keeps the migration that runs in variables of the process; a lock belongs to an event loop.
_ALONE: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Lock] = WeakKeyDictionary()
# Who waits for a table longer than this keeps everybody else waiting behind them.
_LOCK_TIMEOUT = "10s"
_DEADLOCK, _MOST_DEADLOCKS = "40P01", 10


async def upgrade(
    options: EngineOptions, revision: str = "head", *, app_role: str = "", trail_guard: bool = True
) -> None:
    """Bring the tables to `revision` and give `app_role`, if there is one of that name, what it needs.

    At the newest revision PostgreSQL gets the `trail_guard` too, or loses it. All of it happens or nothing. Somebody
    else who migrates at the same time waits, then finds nothing to do.
    """
    await _migrate(options, lambda config: command.upgrade(config, revision), app_role, trail_guard=trail_guard)


async def downgrade(options: EngineOptions, revision: str, *, app_role: str = "") -> None:
    """Take the tables back to `revision`, with the loss of what only later ones can hold; "base" is none at all."""
    await _migrate(options, lambda config: command.downgrade(config, revision), app_role)


def sql(dialect_name: str, revision: str = "head", *, app_role: str = "", trail_guard: bool = True) -> str:
    """Return the statements of an upgrade, for somebody who runs them by hand; "OLD:NEW" begins at a revision."""
    output = StringIO()
    with _named_revisions():
        config = _config(dialect=dialect_name, app_role=app_role, trail_guard=trail_guard, output=output)
        command.upgrade(config, revision, sql=True)
    return output.getvalue()


async def current(options: EngineOptions) -> str:
    """Return the revision of the tables, "" if there are none."""
    engine = unpooled(options)
    try:
        with translated():
            async with engine.connect() as connection:
                return await connection.run_sync(_revision)
    finally:
        await engine.dispose()


async def pending(options: EngineOptions) -> list[str]:
    """Return the revisions that the tables are behind, the next first.

    Raises `Misconfigured` if they are ahead, at a revision that only a newer version knows.
    """
    return revisions_after(await current(options))


def revisions_after(revision: str = "") -> list[str]:
    """Return the revisions that follow one, the next first; all of them after ""."""
    with _named_revisions():
        behind = ScriptDirectory.from_config(_config()).iterate_revisions("head", revision or "base")
        return [script.revision for script in behind][::-1]


async def _migrate(
    options: EngineOptions, change: Callable[[Config], None], app_role: str, *, trail_guard: bool = True
) -> None:
    # A migration takes as long as it takes.
    engine = unpooled(replace(options, statement_timeout_ms=0, idle_in_transaction_timeout_ms=0))
    if options.dialect_name == "sqlite":
        event.listen(engine.sync_engine, "connect", _allow_tables_to_be_replaced)
    try:
        with translated(), _named_revisions():
            async with _ALONE.setdefault(asyncio.get_running_loop(), asyncio.Lock()), engine.connect() as connection:
                if options.dialect_name == "postgresql":
                    await connection.execute(text(f"SELECT pg_advisory_lock({_LOCK})"))
                    await connection.execute(text(f"SET lock_timeout = '{_LOCK_TIMEOUT}'"))
                    # The lock and the setting belong to the session. The transaction is Alembic's to begin.
                    await connection.commit()
                await _until_it_wins(
                    lambda: connection.run_sync(
                        lambda sync: change(_config(connection=sync, app_role=app_role, trail_guard=trail_guard))
                    )
                )
    finally:
        await engine.dispose()


async def _until_it_wins(migrate: Callable[[], Awaitable[None]]) -> None:
    """Migrate again if writers of a server that serves took the same tables in another order, and won."""
    for _ in range(_MOST_DEADLOCKS):
        try:
            return await migrate()
        except DBAPIError as exc:
            if state_of(exc) != _DEADLOCK:
                raise
    return await migrate()


@contextmanager
def _named_revisions() -> Iterator[None]:
    """Say in our words that there is no such revision, or that there is no way to it."""
    try:
        yield
    except (CommandError, RevisionError):
        raise Misconfigured("this version does not know that revision of the tables, or no way to it") from None


def _allow_tables_to_be_replaced(connection: Any, _record: Any) -> None:
    """Let a migration put a table in the place of another; the references are checked before it ends."""
    connection.run_async(lambda driver: driver.execute("PRAGMA foreign_keys = OFF"))


def _revision(connection: Connection) -> str:
    return MigrationContext.configure(connection).get_current_revision() or ""


def _config(*, output: StringIO | None = None, **attributes: object) -> Config:
    config = Config(output_buffer=output, attributes=attributes)
    # The percent sign is special in what looks like an .ini file.
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    return config
