"""Second factors: the secrets of one-time passwords, sealed, and the digests of recovery codes."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import ColumnElement, ForeignKey, and_, func, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from clarity.domain.errors import Conflict, StaleWrite
from clarity.domain.ids import AccountId
from clarity.domain.records import Resource
from clarity.domain.second_factors import SecondFactor
from clarity.persistence.ledger import Ledger
from clarity.persistence.tables import UNTRACKED, Base, write_one
from clarity.persistence.types import EncryptedString


class SecondFactorRow(Base):
    """The one-time passwords of an account (RFC 6238). It counts once it was confirmed with one of them.

    `last_step` is the time step of the last one that was accepted, so that none is accepted twice. When it is removed,
    its secret is emptied; the row stays, and takes the next one in.
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


@dataclass(frozen=True, slots=True)
class SqlSecondFactorRepository:
    """`SecondFactorRepository` over one session. Whatever is asked before a write is asked again by its WHERE."""

    session: AsyncSession
    ledger: Ledger

    async def find(self, account: AccountId) -> SecondFactor | None:
        """Return the second factor of an account, confirmed or not, if there is one."""
        row = SecondFactorRow
        statement = select(row.secret, row.created_at, row.confirmed_at, row.last_step)
        statement = statement.where(row.account_id == account, row.removed_at.is_(None))
        found = (await self.session.execute(statement)).first()
        if found is None:
            return None
        return SecondFactor(
            account=account,
            secret=found.secret,
            created_at=found.created_at,
            confirmed_at=found.confirmed_at,
            last_step=found.last_step,
        )

    async def add(self, factor: SecondFactor) -> None:
        """Store a factor that has yet to be confirmed, or raise `Conflict` if the account has one that counts."""
        row = SecondFactorRow
        content = {
            "secret": factor.secret,
            "last_step": factor.last_step,
            "created_at": factor.created_at,
            "confirmed_at": factor.confirmed_at,
            "removed_at": None,
        }
        free = update(row).where(row.account_id == factor.account)
        free = free.where(or_(row.confirmed_at.is_(None), row.removed_at.is_not(None)))
        try:
            await write_one(self.session, free.values(content))
        except StaleWrite:
            there = select(row.account_id).where(row.account_id == factor.account)
            if (await self.session.execute(there)).first() is not None:
                raise Conflict from None
            await self.session.execute(insert(row).values(account_id=factor.account, **content))
        self.ledger.change(Resource.ACCOUNT, factor.account)

    async def confirm(self, factor: SecondFactor, step: int, at: datetime) -> None:
        """Let `factor` count from now on, or raise `StaleWrite` if it changed."""
        row = SecondFactorRow
        statement = update(row).where(_is_still(factor), row.confirmed_at.is_(None))
        await write_one(self.session, statement.values(confirmed_at=at, last_step=step))
        self.ledger.change(Resource.ACCOUNT, factor.account)

    async def spend_step(self, factor: SecondFactor, step: int) -> None:
        """Remember that the code of `step` was accepted, or raise `StaleWrite` if it or a later one was before."""
        statement = update(SecondFactorRow).where(_is_still(factor), SecondFactorRow.last_step < step)
        await write_one(self.session, statement.values(last_step=step))
        self.ledger.change(Resource.ACCOUNT, factor.account)

    async def spend_recovery_code(self, account: AccountId, digest: bytes, at: datetime) -> None:
        """Remember that a recovery code was used, or raise `StaleWrite` if it is none or was used before."""
        row = RecoveryCodeRow
        statement = update(row).where(row.account_id == account, row.digest == digest, row.used_at.is_(None))
        await write_one(self.session, statement.values(used_at=at))
        self.ledger.change(Resource.ACCOUNT, account)

    async def replace_recovery_codes(self, account: AccountId, digests: Sequence[bytes], at: datetime) -> None:
        """Store new recovery codes; those there were are good for nothing any more."""
        await self._take_back_recovery_codes(account, at)
        new = [{"account_id": account, "digest": digest, "created_at": at, "used_at": None} for digest in digests]
        await self.session.execute(insert(RecoveryCodeRow), new)
        self.ledger.change(Resource.ACCOUNT, account)

    async def count_recovery_codes(self, account: AccountId) -> int:
        """Return how many recovery codes are left."""
        row = RecoveryCodeRow
        statement = select(func.count()).where(row.account_id == account, row.used_at.is_(None))
        return (await self.session.execute(statement)).scalar_one()

    async def remove(self, account: AccountId, at: datetime) -> None:
        """Take the second factor away, its secret and its recovery codes with it. Without one, nothing changes."""
        row = SecondFactorRow
        statement = update(row).where(row.account_id == account, row.removed_at.is_(None))
        await self.session.execute(statement.values(removed_at=at, secret=""), execution_options=UNTRACKED)
        await self._take_back_recovery_codes(account, at)
        self.ledger.change(Resource.ACCOUNT, account)

    async def _take_back_recovery_codes(self, account: AccountId, at: datetime) -> None:
        row = RecoveryCodeRow
        statement = update(row).where(row.account_id == account, row.used_at.is_(None))
        await self.session.execute(statement.values(used_at=at), execution_options=UNTRACKED)


def _is_still(factor: SecondFactor) -> ColumnElement[bool]:
    """Return the condition that a factor was neither removed nor replaced since it was read."""
    row = SecondFactorRow
    return and_(row.account_id == factor.account, row.created_at == factor.created_at, row.removed_at.is_(None))
