"""One-time links: who holds one may choose the password of an account."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import ForeignKey
from sqlalchemy.orm import Mapped, mapped_column

from clarity.persistence.tables import Base


class LinkRow(Base):
    """A link that was sent to the e-mail address of an account. Only the SHA-256 of its token is stored, 32 bytes."""

    __tablename__ = "one_time_links"

    digest: Mapped[bytes] = mapped_column(primary_key=True)
    account_id: Mapped[UUID] = mapped_column(ForeignKey("accounts.id"), index=True)
    purpose: Mapped[str]
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    used_at: Mapped[datetime | None]
