"""Second factors: the secrets of one-time passwords, sealed, and the digests of recovery codes."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import ForeignKey
from sqlalchemy.orm import Mapped, mapped_column

from clarity.persistence.tables import Base
from clarity.persistence.types import EncryptedString


class SecondFactorRow(Base):
    """The one-time passwords of an account (RFC 6238). It counts once it was confirmed with one of them.

    `last_step` is the time step of the last one that was accepted, so that none is accepted twice.
    """

    __tablename__ = "second_factors"

    account_id: Mapped[UUID] = mapped_column(ForeignKey("accounts.id"), primary_key=True)
    secret: Mapped[str] = mapped_column(EncryptedString("second_factors", "secret"))
    last_step: Mapped[int]
    created_at: Mapped[datetime]
    confirmed_at: Mapped[datetime | None]
    removed_at: Mapped[datetime | None]


class RecoveryCodeRow(Base):
    """A code that takes the place of a one-time password, once. Only its SHA-256 digest is stored, 32 bytes."""

    __tablename__ = "recovery_codes"

    account_id: Mapped[UUID] = mapped_column(ForeignKey("accounts.id"), primary_key=True)
    digest: Mapped[bytes] = mapped_column(primary_key=True)
    created_at: Mapped[datetime]
    used_at: Mapped[datetime | None]
