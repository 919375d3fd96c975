"""What a connection finds out about its database: who answers, over what, at what time, and what we may do there."""

from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from clarity.persistence.engine import EngineOptions, unpooled
from clarity.persistence.errors import translated
from clarity.persistence.keys import DataKeyRow
from clarity.persistence.privileges import check_privileges
from clarity.persistence.roles import create_app_role
from clarity.persistence.stamps import check_stamps
from clarity.persistence.trail_guard import check_guard
from clarity.security.keyring import WrappedKey

_SERVER = text(
    "SELECT current_setting('server_version') AS version, clock_timestamp() AS clock, current_user AS role,"
    " (SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()) AS tls"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What one connection found. `clock` is the server's time; in `problems` stands what we may do and should not.

    In `unguarded` stands what may be changed without an event of the same transaction, in `unstamped` what may be
    without searches learning of it.
    """

    server: str
    clock: datetime
    role: str
    tls: bool
    problems: tuple[str, ...]
    unguarded: tuple[str, ...] = ()
    unstamped: tuple[str, ...] = ()


async def inspect(options: EngineOptions) -> Found:
    """Connect once and look around. Raises `Unavailable` if nobody answers."""
    engine = unpooled(options)
    try:
        with translated():
            async with engine.connect() as connection:
                return await _look_around(connection)
    finally:
        await engine.dispose()


async def first_data_key(options: EngineOptions) -> WrappedKey | None:
    """Return the oldest data key that was not destroyed, or `None` where there is no patient yet."""
    oldest = select(DataKeyRow).where(DataKeyRow.wrapped.is_not(None)).order_by(DataKeyRow.subject_id).limit(1)
    engine = unpooled(options)
    try:
        with translated():
            async with engine.connect() as connection:
                row = (await connection.execute(oldest)).one_or_none()
    finally:
        await engine.dispose()
    return row and WrappedKey(row.subject_id, row.generation, row.kek_generation, row.wrapped)


async def make_role(options: EngineOptions, role: str, password: str) -> bool:
    """Make the application's role, as `create_app_role` does, in a transaction of its own."""
    engine = unpooled(options)
    try:
        with translated():
            async with engine.begin() as connection:
                return await create_app_role(connection, role, password)
    finally:
        await engine.dispose()


async def _look_around(connection: AsyncConnection) -> Found:
    problems, unstamped = tuple(await check_privileges(connection)), tuple(await check_stamps(connection))
    if connection.dialect.name == "sqlite":
        version = await connection.scalar(text("SELECT sqlite_version()"))
        # There is no server, and so no other clock.
        clock = datetime.now(UTC)
        return Found(
            server=f"SQLite {version}", clock=clock, role="", tls=False, problems=problems, unstamped=unstamped
        )
    row = (await connection.execute(_SERVER)).one()
    return Found(
        server=f"PostgreSQL {row.version}",
        clock=row.clock,
        role=row.role,
        tls=bool(row.tls),
        problems=problems,
        unguarded=tuple(await check_guard(connection)),
        unstamped=unstamped,
    )
