"""How a database stands, for whoever watches a server: asked in three short statements."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import func, select, text
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from clarity.domain.errors import CannotOpen, StorageFailed
from clarity.persistence.errors import translated
from clarity.persistence.keys import DataKeyRow, DataKeys
from clarity.persistence.outbox import MessageRow
from clarity.security.keyring import WrappedKey

# By their files: loading Alembic takes longer than most commands of the command line.
_VERSIONS = Path(__file__).parent / "migrations" / "versions"
REVISIONS = tuple(sorted(path.name.partition("_")[0] for path in _VERSIONS.glob("[0-9]*_*.py")))
"""The revisions of the tables that this version knows, the oldest first."""

_REVISION = text("SELECT version_num FROM alembic_version")
_OLDEST_KEY = (
    select(DataKeyRow.subject_id, DataKeyRow.generation, DataKeyRow.kek_generation, DataKeyRow.wrapped)
    .where(DataKeyRow.wrapped.is_not(None))
    .order_by(DataKeyRow.subject_id)
    .limit(1)
)
# What was given up is emptied without having been sent, and waits no more.
_WAITING = select(func.count()).where(MessageRow.sent_at.is_(None), MessageRow.content.is_not(None))


@dataclass(frozen=True, slots=True)
class Standing:
    """What is wrong with the tables and with the keys, "" where nothing is, and what is worth knowing of the tables.

    `messages_waiting` is how many messages wait to be sent.
    """

    tables: str
    keys: str
    note: str = ""
    messages_waiting: int = 0


async def standing(sessions: async_sessionmaker[AsyncSession], keys: DataKeys) -> Standing:
    """Return how the database stands. Raises `Unavailable` if it does not answer."""
    try:
        with translated():
            async with sessions() as session:
                revision = await session.scalar(_REVISION)
                oldest = (await session.execute(_OLDEST_KEY)).one_or_none()
                waiting = await session.scalar(_WAITING)
    except StorageFailed:  # it answers, and has no such tables, or they are not ours to read
        return Standing("are missing", "cannot be told")
    return Standing(
        tables="are behind this version" if revision in REVISIONS[:-1] else "",
        keys="" if oldest is None else _trouble_with(keys, oldest),
        # Those who migrate before they start the new version find that the old one goes on.
        note="" if revision in REVISIONS else "are ahead of this version",
        messages_waiting=waiting or 0,
    )


def _trouble_with(keys: DataKeys, row: Any) -> str:
    try:
        keys.unwrap(WrappedKey(row.subject_id, row.generation, row.kek_generation, row.wrapped))
    except CannotOpen:
        return "are not those of this database"
    return ""
