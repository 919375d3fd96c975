"""The outbox: messages to people, written in the transaction that causes them and sent afterwards."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ForeignKey, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from clarity.persistence.tables import Base
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
