"""The data keys of patients, wrapped: one row for each generation."""

from datetime import datetime
from typing import Any, Protocol
from uuid import UUID

from sqlalchemy import CheckConstraint
from sqlalchemy.orm import Mapped, mapped_column

from clarity.persistence.tables import Base
from clarity.security.keyring import WrappedKey
from clarity.security.vault import DataKey


class DataKeyRow(Base):
    """A patient's data key, wrapped by a key-encryption key. Destroying it empties `wrapped` for good."""

    __tablename__ = "data_keys"
    __table_args__ = (CheckConstraint("(wrapped IS NULL) = (destroyed_at IS NOT NULL)", name="destroyed"),)

    subject_id: Mapped[UUID] = mapped_column(primary_key=True)
    generation: Mapped[int] = mapped_column(primary_key=True)
    kek_generation: Mapped[int]
    wrapped: Mapped[bytes | None]
    created_at: Mapped[datetime]
    destroyed_at: Mapped[datetime | None]


class DataKeys(Protocol):
    """What persistence needs of the keyring."""

    def new_data_key(self, subject: UUID, generation: int = 1) -> tuple[WrappedKey, DataKey]:
        """Make a data key."""
        ...

    def unwrap(self, wrapped: WrappedKey) -> DataKey:
        """Return the key inside, or raise `CannotOpen`."""
        ...


def wrapped_key(subject: UUID, generation: int, kek_generation: int | None, wrapped: bytes | None) -> WrappedKey | None:
    """Return the wrapped key that a fetched row brought along, or `None` if it was destroyed or is not there."""
    if wrapped is None or kek_generation is None:
        return None
    return WrappedKey(subject, generation, kek_generation, wrapped)


def key_columns(wrapped: WrappedKey, at: datetime) -> dict[str, Any]:
    """Return the columns of a new data key."""
    return {
        "subject_id": wrapped.subject,
        "generation": wrapped.generation,
        "kek_generation": wrapped.kek_generation,
        "wrapped": wrapped.wrapped,
        "created_at": at,
    }
