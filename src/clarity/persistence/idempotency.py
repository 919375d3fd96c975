"""Idempotency keys: that a request was answered, in the transaction that answered it."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import insert, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from clarity.application.ports import Answered
from clarity.domain.errors import ReusedKey
from clarity.persistence.ledger import Ledger
from clarity.persistence.tables import Base, table_of


class IdempotencyKeyRow(Base):
    """An answered request. `key_digest` and `request_mac` are HMACs, so that neither tells what was asked."""

    __tablename__ = "idempotency_keys"

    actor_id: Mapped[UUID] = mapped_column(primary_key=True)
    key_digest: Mapped[bytes] = mapped_column(primary_key=True)
    request_mac: Mapped[bytes]
    record_id: Mapped[UUID]
    version: Mapped[int]
    created_at: Mapped[datetime] = mapped_column(index=True)


@dataclass(frozen=True, slots=True)
class SqlIdempotencyKeys:
    """`IdempotencyKeys` over one session."""

    session: AsyncSession
    ledger: Ledger
    macs: Callable[[bytes], tuple[bytes, ...]]
    """Returns HMACs under every live key, the newest first: a request may come again after the key was changed."""

    async def find(self, actor: UUID, key: str, request: bytes) -> Answered | None:
        """Return how this actor's request with `key` was answered, if it was."""
        statement = select(IdempotencyKeyRow.request_mac, IdempotencyKeyRow.record_id, IdempotencyKeyRow.version).where(
            IdempotencyKeyRow.actor_id == actor, IdempotencyKeyRow.key_digest.in_(self._digests(key))
        )
        row = (await self.session.execute(statement)).first()
        if row is None:
            return None
        if row.request_mac not in self._request_macs(request):
            raise ReusedKey
        return Answered(record=row.record_id, version=row.version)

    async def add(self, actor: UUID, key: str, request: bytes, answered: Answered) -> None:
        """Remember the answer."""
        await self.session.execute(
            insert(table_of(IdempotencyKeyRow)),
            {
                "actor_id": actor,
                "key_digest": self._digests(key)[0],
                "request_mac": self._request_macs(request)[0],
                "record_id": answered.record,
                "version": answered.version,
                "created_at": self.ledger.stamp().at,
            },
        )

    def _digests(self, key: str) -> tuple[bytes, ...]:
        return self.macs(b"key\x00" + key.encode())

    def _request_macs(self, request: bytes) -> tuple[bytes, ...]:
        return self.macs(b"request\x00" + request)
