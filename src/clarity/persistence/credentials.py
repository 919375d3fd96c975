"""Credentials of machines: services and devices that act under an account which nobody logs in to."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import ForeignKey
from sqlalchemy.orm import Mapped, mapped_column

from clarity.persistence.tables import Base
from clarity.persistence.types import EncryptedJSON, EncryptedString


class CredentialRow(Base):
    """A key that a machine shows with each request. Only its SHA-256 digest is stored, 32 bytes.

    `scopes` has the permanent numbers of the kinds of records and the actions that it is good for.
    """

    __tablename__ = "credentials"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    account_id: Mapped[UUID] = mapped_column(ForeignKey("accounts.id"), index=True)
    digest: Mapped[bytes] = mapped_column(unique=True)
    name: Mapped[str] = mapped_column(EncryptedString("credentials", "name"))
    scopes: Mapped[list[tuple[int, int]]] = mapped_column(EncryptedJSON("credentials", "scopes", list[tuple[int, int]]))
    created_at: Mapped[datetime]
    created_by: Mapped[UUID]
    expires_at: Mapped[datetime]
    revoked_at: Mapped[datetime | None]
