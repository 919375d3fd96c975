"""The outbox: messages to people, written in the transaction that causes them and sent afterwards."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ForeignKey, Index, insert, literal, select, text, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from clarity.application.ports import NewId
from clarity.domain.errors import CannotOpen, StaleWrite
from clarity.domain.ids import AccountId, MessageId
from clarity.domain.messages import Message, MessageKind, Posted
from clarity.domain.records import Resource
from clarity.persistence.accounts import AccountRow
from clarity.persistence.ledger import Ledger
from clarity.persistence.tables import UNTRACKED, Base, write_one
from clarity.persistence.types import EncryptedJSON

_WAITING = text("sent_at IS NULL")


class MessageRow(Base):
    """A message to the holder of an account. Once it is sent, `content` is emptied."""

    __tablename__ = "outbox_messages"
    __table_args__ = (Index(None, "due_at", postgresql_where=_WAITING, sqlite_where=_WAITING),)

    id: Mapped[UUID] = mapped_column(primary_key=True)
    account_id: Mapped[UUID] = mapped_column(ForeignKey("accounts.id"), index=True)
    kind: Mapped[str]
    content: Mapped[dict[str, Any] | None] = mapped_column(EncryptedJSON("outbox_messages", "content", dict[str, str]))
    created_at: Mapped[datetime]
    due_at: Mapped[datetime]
    attempts: Mapped[int]
    sent_at: Mapped[datetime | None]


_ENVELOPE = (
    MessageRow.id,
    MessageRow.account_id,
    MessageRow.kind,
    MessageRow.created_at,
    MessageRow.due_at,
    MessageRow.attempts,
    MessageRow.sent_at,
    MessageRow.content.is_(None).label("emptied"),
)


@dataclass(frozen=True, slots=True)
class SqlOutbox:
    """`Outbox` over one session."""

    session: AsyncSession
    new_id: NewId
    ledger: Ledger

    async def put(self, message: Message) -> None:
        """Have a message sent if this transaction ends well; for an account that is not there, do the same in vain."""
        at, row = self.ledger.stamp().at, MessageRow
        values = {
            row.id: self.new_id(),
            row.kind: message.kind.value,
            row.content: dict(message.content),
            row.created_at: at,
            row.due_at: at,
            row.attempts: 0,
        }
        chosen = [literal(value, column.type) for column, value in values.items()]
        source = select(*chosen, AccountRow.id).where(AccountRow.id == message.to)
        await self.session.execute(insert(row).from_select([*values, row.account_id], source))

    async def is_due(self, now: datetime) -> bool:
        """Tell whether a message waits that is due."""
        return (await self.session.execute(self._due(now).limit(1))).first() is not None

    async def claim(self, now: datetime, until: datetime, *, at_most: int) -> list[Posted]:
        """Return messages that are due, the oldest first; whoever moves the time one is due next has claimed it."""
        row = MessageRow
        claimed = []
        for found in (await self.session.execute(self._due(now).limit(at_most))).all():
            mine = update(row).where(row.id == found.id, row.due_at == found.due_at, row.content.is_not(None))
            try:
                await write_one(self.session, mine.values(due_at=until, attempts=row.attempts + 1))
            except StaleWrite:
                continue  # another process was faster
            content = await self._content(found.id)
            claimed.append(_to_posted(found, content, due_at=until, attempts=found.attempts + 1))
        return claimed

    async def finish(self, message: MessageId, at: datetime) -> None:
        """Remember that a message was sent, and empty it."""
        await self._write(message, sent_at=at, content=None)
        self.ledger.change(Resource.MESSAGE, message)

    async def postpone(self, message: MessageId, due_at: datetime) -> None:
        """Have a message tried again, and not before `due_at`."""
        await self._write(message, due_at=due_at)

    async def give_up(self, message: MessageId) -> None:
        """Empty a message that was not sent: it is not tried again."""
        await self._write(message, content=None)

    async def find_page(self, *, before: MessageId | None, at_most: int, unsent: bool) -> list[Posted]:
        """Return at most `at_most` messages older than `before`, the newest first, without their content."""
        statement = select(*_ENVELOPE).order_by(MessageRow.id.desc()).limit(at_most)
        if before is not None:
            statement = statement.where(MessageRow.id < before)
        if unsent:
            statement = statement.where(MessageRow.sent_at.is_(None))
        return [_to_posted(found, {}) for found in await self.session.execute(statement)]

    def _due(self, now: datetime) -> Any:
        row = MessageRow
        waiting = (row.sent_at.is_(None), row.content.is_not(None), row.due_at <= now)
        return select(*_ENVELOPE).where(*waiting).order_by(row.due_at, row.id)

    async def _write(self, message: MessageId, **values: Any) -> None:
        row = MessageRow
        statement = update(row).where(row.id == message, row.sent_at.is_(None)).values(values)
        await self.session.execute(statement, execution_options=UNTRACKED)

    async def _content(self, message: UUID) -> dict[str, str]:
        """Return what a message says, or nothing if that does not open: one that was altered holds up no other."""
        try:
            content = await self.session.scalar(select(MessageRow.content).where(MessageRow.id == message))
        except CannotOpen:
            return {}
        return content or {}


def _to_posted(
    row: Any, content: dict[str, str], *, due_at: datetime | None = None, attempts: int | None = None
) -> Posted:
    return Posted(
        id=MessageId(row.id),
        message=Message(to=AccountId(row.account_id), kind=MessageKind(row.kind), content=content),
        created_at=row.created_at,
        due_at=due_at or row.due_at,
        attempts=row.attempts if attempts is None else attempts,
        sent_at=row.sent_at,
        emptied=row.emptied,
    )
