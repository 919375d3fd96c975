"""One-time links: who holds one may choose the password of an account."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import ForeignKey, insert, literal, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from clarity.domain.ids import AccountId
from clarity.domain.links import Link, LinkPurpose
from clarity.domain.records import Resource
from clarity.persistence.accounts import AccountRow
from clarity.persistence.ledger import Ledger
from clarity.persistence.tables import UNTRACKED, Base, write_one


class LinkRow(Base):
    """A link that was sent to the e-mail address of an account. Only the SHA-256 of its token is stored, 32 bytes."""

    __tablename__ = "one_time_links"

    digest: Mapped[bytes] = mapped_column(primary_key=True)
    account_id: Mapped[UUID] = mapped_column(ForeignKey("accounts.id"), index=True)
    purpose: Mapped[str]
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    used_at: Mapped[datetime | None]


@dataclass(frozen=True, slots=True)
class SqlLinkRepository:
    """`LinkRepository` over one session."""

    session: AsyncSession
    ledger: Ledger

    async def add(self, link: Link) -> None:
        """Store a new link in place of older ones; for an account that is not there, do the same in vain."""
        row = LinkRow
        older = update(row).where(row.account_id == link.account, row.purpose == link.purpose.value)
        older = older.where(row.used_at.is_(None)).values(used_at=link.created_at)
        await self.session.execute(older, execution_options=UNTRACKED)
        values = {
            row.digest: link.digest,
            row.purpose: link.purpose.value,
            row.created_at: link.created_at,
            row.expires_at: link.expires_at,
        }
        chosen = [literal(value, column.type) for column, value in values.items()]
        source = select(*chosen, AccountRow.id).where(AccountRow.id == link.account)
        await self.session.execute(insert(row).from_select([*values, row.account_id], source))

    async def find(self, digest: bytes) -> Link | None:
        """Return the link with this digest, if there is one."""
        row = (await self.session.execute(select(*LinkRow.__table__.columns).where(LinkRow.digest == digest))).first()
        if row is None:
            return None
        return Link(
            digest=row.digest,
            account=AccountId(row.account_id),
            purpose=LinkPurpose(row.purpose),
            created_at=row.created_at,
            expires_at=row.expires_at,
            used_at=row.used_at,
        )

    async def spend(self, link: Link, at: datetime) -> None:
        """Use a link, or raise `StaleWrite` if it was used before. The account is accounted for by an event."""
        row = LinkRow
        statement = update(row).where(row.digest == link.digest, row.used_at.is_(None))
        await write_one(self.session, statement.values(used_at=at))
        self.ledger.change(Resource.ACCOUNT, link.account)

    async def revoke_all(self, account: AccountId, at: datetime) -> None:
        """Make every link of an account good for nothing."""
        statement = update(LinkRow).where(LinkRow.account_id == account, LinkRow.used_at.is_(None))
        await self.session.execute(statement.values(used_at=at), execution_options=UNTRACKED)
