"""Credentials of machines: services and devices that act under an account which nobody logs in to."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ForeignKey, bindparam, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from clarity.domain.access import Action
from clarity.domain.accounts import Account
from clarity.domain.credentials import MachineCredential
from clarity.domain.errors import NotFound
from clarity.domain.ids import AccountId, CredentialId
from clarity.domain.records import Resource
from clarity.persistence.accounts import ACCOUNT_COLUMNS, AccountRow, to_account
from clarity.persistence.ledger import Ledger
from clarity.persistence.tables import UNTRACKED, Base
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


_CREDENTIAL = (
    CredentialRow.id.label("credential_id"),
    CredentialRow.account_id,
    CredentialRow.name.label("credential_name"),
    CredentialRow.scopes,
    CredentialRow.created_at,
    CredentialRow.created_by,
    CredentialRow.expires_at,
    CredentialRow.revoked_at,
)
# Built once: it runs with every request of a machine.
_SHOWN = (
    select(*ACCOUNT_COLUMNS, *_CREDENTIAL)
    .join(CredentialRow, CredentialRow.account_id == AccountRow.id)
    .where(CredentialRow.id == bindparam("credential"), CredentialRow.digest == bindparam("digest"))
)


@dataclass(frozen=True, slots=True)
class SqlCredentialRepository:
    """`CredentialRepository` over one session."""

    session: AsyncSession
    ledger: Ledger

    async def add(self, credential: MachineCredential, digest: bytes) -> None:
        """Store a new credential with the digest of its text."""
        await self.session.execute(
            insert(CredentialRow).values(
                id=credential.id,
                account_id=credential.account,
                digest=digest,
                name=credential.name,
                scopes=sorted((int(resource), int(action)) for resource, action in credential.scopes),
                created_at=credential.created_at,
                created_by=credential.created_by,
                expires_at=credential.expires_at,
                revoked_at=credential.revoked_at,
            )
        )
        self.ledger.change(Resource.CREDENTIAL, credential.id)

    async def get(self, credential: CredentialId) -> MachineCredential:
        """Return one credential, or raise `NotFound`."""
        row = (await self.session.execute(select(*_CREDENTIAL).where(CredentialRow.id == credential))).first()
        if row is None:
            raise NotFound
        return _to_credential(row)

    async def find(self, credential: CredentialId, digest: bytes) -> tuple[MachineCredential, Account] | None:
        """Return the credential that has both with its account, in one statement, if there is one."""
        row = (await self.session.execute(_SHOWN, {"credential": credential, "digest": digest})).first()
        return None if row is None else (_to_credential(row), to_account(row))

    async def find_page(
        self, account: AccountId, *, before: CredentialId | None, at_most: int
    ) -> list[MachineCredential]:
        """Return at most `at_most` credentials of an account with ids below `before`, the newest first."""
        statement = select(*_CREDENTIAL).where(CredentialRow.account_id == account)
        if before is not None:
            statement = statement.where(CredentialRow.id < before)
        rows = await self.session.execute(statement.order_by(CredentialRow.id.desc()).limit(at_most))
        return [_to_credential(row) for row in rows]

    async def count(self, account: AccountId) -> int:
        """Return how many credentials an account has had."""
        counted = select(func.count()).select_from(CredentialRow).where(CredentialRow.account_id == account)
        return int((await self.session.execute(counted)).scalar_one())

    async def count_in_force(self, account: AccountId, at: datetime) -> int:
        """Return how many credentials of an account hold at an instant."""
        counted = (
            select(func.count())
            .select_from(CredentialRow)
            .where(
                CredentialRow.account_id == account, CredentialRow.revoked_at.is_(None), CredentialRow.expires_at > at
            )
        )
        return int((await self.session.execute(counted)).scalar_one())

    async def revoke(self, credential: CredentialId, at: datetime) -> None:
        """End a credential; ending it again changes nothing."""
        statement = update(CredentialRow).where(CredentialRow.id == credential, CredentialRow.revoked_at.is_(None))
        await self.session.execute(statement.values(revoked_at=at), execution_options=UNTRACKED)
        self.ledger.change(Resource.CREDENTIAL, credential)


def _to_credential(row: Any) -> MachineCredential:
    return MachineCredential(
        id=CredentialId(row.credential_id),
        account=AccountId(row.account_id),
        name=row.credential_name,
        scopes=frozenset((Resource(resource), Action(action)) for resource, action in row.scopes),
        created_at=row.created_at,
        created_by=row.created_by,
        expires_at=row.expires_at,
        revoked_at=row.revoked_at,
    )
