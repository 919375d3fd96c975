"""How a database stands, for whoever watches a server: asked in a few short statements."""

from dataclasses import dataclass

from sqlalchemy import func, select, text
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from clarity.persistence.errors import translated
from clarity.persistence.keys import DataKeyRow
from clarity.persistence.outbox import MessageRow
from clarity.security.keyring import WrappedKey

_REVISION = text("SELECT version_num FROM alembic_version")
OLDEST_KEY = (
    select(DataKeyRow.subject_id, DataKeyRow.generation, DataKeyRow.kek_generation, DataKeyRow.wrapped)
    .where(DataKeyRow.wrapped.is_not(None))
    .order_by(DataKeyRow.subject_id)
    .limit(1)
)
# What was given up is emptied without having been sent, and waits no more.
_WAITING = select(func.count()).where(MessageRow.sent_at.is_(None), MessageRow.content.is_not(None))


@dataclass(frozen=True, slots=True)
class Standing:
    """The revision of the tables, the oldest data key that there is, and how many messages wait to be sent."""

    revision: str
    oldest_key: WrappedKey | None
    messages_waiting: int


async def standing(sessions: async_sessionmaker[AsyncSession]) -> Standing:
    """Return how the database stands. Raises `Unavailable` or `StorageFailed` if it does not answer, or not that."""
    with translated():
        async with sessions() as session:
            revision = await session.scalar(_REVISION)
            key = (await session.execute(OLDEST_KEY)).one_or_none()
            waiting = await session.scalar(_WAITING)
    wrapped = key and WrappedKey(key.subject_id, key.generation, key.kek_generation, key.wrapped)
    return Standing(str(revision or ""), wrapped, waiting or 0)
