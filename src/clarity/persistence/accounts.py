"""Accounts and sessions: who may log in, sealed under the system key, and the log-ins that are open."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, cast
from uuid import UUID

from sqlalchemy import (
    CheckConstraint,
    CursorResult,
    ForeignKey,
    Index,
    UniqueConstraint,
    and_,
    any_,
    bindparam,
    func,
    insert,
    or_,
    select,
    text,
    update,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from clarity.domain.access import Role
from clarity.domain.accounts import Account, AccountStatus, Credentials, Holder, Session
from clarity.domain.errors import Invalid, NotFound, StaleWrite
from clarity.domain.identifiers import IndexKind
from clarity.domain.ids import AccountId, PatientId, PractitionerId, SessionId
from clarity.domain.records import Resource
from clarity.persistence.direct import DirectStatement, Lent, array_of
from clarity.persistence.identifiers import BlindIndexing
from clarity.persistence.ledger import Ledger
from clarity.persistence.tables import UNTRACKED, AuditColumns, Base, write_one
from clarity.persistence.types import EncryptedString, Uuid16

_ROWS_AT_A_TIME = 500
_IN_USE = text("status <> 'disabled'")
_STATUSES = ", ".join(f"'{status.value}'" for status in AccountStatus)


class AccountRow(AuditColumns, Base):
    """An account. The e-mail is found, and kept unique, by its blind index in slots A and B."""

    __tablename__ = "accounts"
    __table_args__ = (
        CheckConstraint("version >= 1", name="version"),
        CheckConstraint(f"status IN ({_STATUSES})", name="status"),
        UniqueConstraint("email_generation_a", "email_digest_a"),
        UniqueConstraint("email_generation_b", "email_digest_b"),
        # Two people who act as one practitioner could not be told apart.
        Index(
            "uq_accounts_practitioner_id",
            "practitioner_id",
            unique=True,
            postgresql_where=_IN_USE,
            sqlite_where=_IN_USE,
        ),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    email: Mapped[str] = mapped_column(EncryptedString("accounts", "email"))
    name: Mapped[str] = mapped_column(EncryptedString("accounts", "name"))
    password_hash: Mapped[str | None] = mapped_column(EncryptedString("accounts", "password_hash"))
    role: Mapped[int]
    status: Mapped[str]
    machine: Mapped[bool]
    practitioner_id: Mapped[UUID | None] = mapped_column(ForeignKey("practitioners.id"))
    patient_id: Mapped[UUID | None] = mapped_column(ForeignKey("patients.id"), index=True)
    email_generation_a: Mapped[int]
    email_digest_a: Mapped[bytes]
    email_generation_b: Mapped[int | None]
    email_digest_b: Mapped[bytes | None]
    version: Mapped[int]


class SessionRow(Base):
    """A log-in. Of its refresh tokens only SHA-256 digests are stored, 32 bytes each.

    `client` is where it came from, for its owner to recognise; `second_factor` whether that was given too.
    """

    __tablename__ = "sessions"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    account_id: Mapped[UUID] = mapped_column(ForeignKey("accounts.id"), index=True)
    family_digest: Mapped[bytes] = mapped_column(unique=True)
    refresh_digest: Mapped[bytes]
    created_at: Mapped[datetime]
    refreshed_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    revoked_at: Mapped[datetime | None]
    second_factor: Mapped[bool]
    client: Mapped[str | None] = mapped_column(EncryptedString("sessions", "client"))


ACCOUNT_COLUMNS = (
    AccountRow.id,
    AccountRow.email,
    AccountRow.name,
    AccountRow.role,
    AccountRow.status,
    AccountRow.machine,
    AccountRow.practitioner_id,
    AccountRow.patient_id,
    AccountRow.version,
)
_SESSION = (
    SessionRow.id,
    SessionRow.family_digest,
    SessionRow.refresh_digest,
    SessionRow.created_at,
    SessionRow.refreshed_at,
    SessionRow.expires_at,
    SessionRow.revoked_at,
    SessionRow.second_factor,
)
_HOLDER = (
    AccountRow.id,
    AccountRow.role,
    AccountRow.status,
    AccountRow.machine,
    AccountRow.practitioner_id,
    AccountRow.patient_id,
)
_OF_ACCOUNT = SessionRow.account_id == AccountRow.id
# Built once: one of the first two runs with every request.
_HELD = select(*_HOLDER, *_SESSION).join(SessionRow, _OF_ACCOUNT)
_BY_SESSION = _HELD.where(SessionRow.id == bindparam("session"))
_BY_SESSIONS = DirectStatement(_HELD.where(SessionRow.id == any_(bindparam("sessions", type_=ARRAY(Uuid16)))))
_BY_FAMILY = (
    select(*ACCOUNT_COLUMNS, *_SESSION)
    .join(SessionRow, _OF_ACCOUNT)
    .where(SessionRow.family_digest == bindparam("family"))
)


async def _held(lent: Lent, sessions: Sequence[UUID]) -> dict[UUID, Sequence[Any]]:
    """Return the rows of those of the sessions that exist."""
    rows = await lent.rows(_BY_SESSIONS, sessions=array_of(sessions))
    return {row[len(_HOLDER)]: row for row in rows}


@dataclass(frozen=True, slots=True)
class SqlAccountRepository:
    """`AccountRepository` over one session."""

    session: AsyncSession
    index: BlindIndexing
    ledger: Ledger

    async def get(self, account: AccountId) -> Account:
        """Return one account, or raise `NotFound`."""
        row = (await self.session.execute(select(*ACCOUNT_COLUMNS).where(AccountRow.id == account))).first()
        if row is None:
            raise NotFound
        return to_account(row)

    async def find(self, accounts: Sequence[AccountId]) -> list[Account]:
        """Return those that exist among `accounts`, in their order."""
        found: dict[AccountId, Account] = {}
        for start in range(0, len(accounts), _ROWS_AT_A_TIME):
            some = accounts[start : start + _ROWS_AT_A_TIME]
            rows = await self.session.execute(select(*ACCOUNT_COLUMNS).where(AccountRow.id.in_(some)))
            found.update((AccountId(row.id), to_account(row)) for row in rows)
        return [found[account] for account in accounts if account in found]

    async def find_by_email(self, email: str) -> Credentials | None:
        """Return the account with this e-mail and its password hash, if there is one."""
        try:
            values = self.index.candidates(IndexKind.ACCOUNT_EMAIL, email)
        except Invalid:
            return None
        rows = AccountRow
        matches = [
            condition
            for value in values
            for condition in (
                and_(rows.email_generation_a == value.generation, rows.email_digest_a == value.digest),
                and_(rows.email_generation_b == value.generation, rows.email_digest_b == value.digest),
            )
        ]
        row = (await self.session.execute(select(*ACCOUNT_COLUMNS, rows.password_hash).where(or_(*matches)))).first()
        return None if row is None else Credentials(account=to_account(row), password_hash=row.password_hash)

    async def find_page(self, *, after: AccountId | None, at_most: int) -> list[Account]:
        """Return at most `at_most` accounts in order of their ids, those behind `after`."""
        statement = select(*ACCOUNT_COLUMNS).order_by(AccountRow.id).limit(at_most)
        if after is not None:
            statement = statement.where(AccountRow.id > after)
        return [to_account(row) for row in await self.session.execute(statement)]

    async def find_by_patient(self, patient: PatientId) -> list[Account]:
        """Return the accounts that are linked to a patient, in order of their ids."""
        statement = select(*ACCOUNT_COLUMNS).where(AccountRow.patient_id == patient).order_by(AccountRow.id)
        return [to_account(row) for row in await self.session.execute(statement)]

    async def find_active(self, role: Role) -> list[AccountId]:
        """Return the accounts of people in a role that may log in now."""
        row = AccountRow
        active = (row.role == int(role), row.status == AccountStatus.ACTIVE.value, row.machine.is_(False))
        statement = select(row.id).where(*active)
        return [AccountId(one) for one in await self.session.scalars(statement.order_by(row.id))]

    async def count(self) -> int:
        """Return how many accounts there are."""
        return (await self.session.execute(select(func.count()).select_from(AccountRow))).scalar_one()

    async def has_password(self, account: AccountId) -> bool:
        """Tell whether a password was ever chosen for an account."""
        statement = select(AccountRow.password_hash.is_not(None)).where(AccountRow.id == account)
        return (await self.session.execute(statement)).scalar_one()

    async def hold_administrators(self) -> frozenset[AccountId]:
        """Return the administrators who may log in, locked in the order of their ids so that nobody waits in a ring.

        PostgreSQL looks again at a row it had to wait for. SQLite needs no lock: whoever writes is the only one.
        """
        row = AccountRow
        active = (row.role == int(Role.ADMINISTRATOR), row.status == AccountStatus.ACTIVE.value, row.machine.is_(False))
        statement = select(row.id).where(*active).order_by(row.id).with_for_update()
        return frozenset(AccountId(one) for one in await self.session.scalars(statement))

    async def add(self, credentials: Credentials) -> Account:
        """Store a new account as version 1. Breaks a unique constraint if its e-mail is taken."""
        stamp = self.ledger.stamp()
        saved = replace(credentials.account, version=1)
        statement = insert(AccountRow).values(
            id=saved.id,
            password_hash=credentials.password_hash,
            created_at=stamp.at,
            created_by=stamp.by,
            updated_at=stamp.at,
            updated_by=stamp.by,
            **self._columns(saved),
        )
        await self.session.execute(statement)
        self.ledger.change(Resource.ACCOUNT, saved.id, version=saved.version)
        return saved

    async def save(self, account: Account, *, password_hash: str | None = None) -> Account:
        """Write the next version, with a new password if one is given, or raise `StaleWrite`."""
        stamp = self.ledger.stamp()
        saved = replace(account, version=account.version + 1)
        statement = update(AccountRow).where(AccountRow.id == account.id, AccountRow.version == account.version)
        statement = statement.values(updated_at=stamp.at, updated_by=stamp.by, **self._columns(saved))
        if password_hash is not None:
            statement = statement.values(password_hash=password_hash)
        await write_one(self.session, statement)
        self.ledger.change(Resource.ACCOUNT, saved.id, version=saved.version)
        return saved

    async def hold(self, account: Account) -> None:
        """Keep an account as it is until the transaction ends, or raise `StaleWrite` if it was changed before.

        A shared row lock on PostgreSQL. SQLite needs none: whoever writes there is the only one who does.
        """
        unchanged = select(AccountRow.id).where(AccountRow.id == account.id, AccountRow.version == account.version)
        if (await self.session.execute(unchanged.with_for_update(read=True))).first() is None:
            raise StaleWrite

    def _columns(self, account: Account) -> dict[str, Any]:
        value = self.index.candidates(IndexKind.ACCOUNT_EMAIL, account.email)[0]
        return {
            "email": account.email,
            "name": account.name,
            "role": int(account.role),
            "status": account.status.value,
            "machine": account.machine,
            "practitioner_id": account.practitioner,
            "patient_id": account.patient,
            "email_generation_a": value.generation,
            "email_digest_a": value.digest,
            "email_generation_b": None,
            "email_digest_b": None,
            "version": account.version,
        }


@dataclass(frozen=True, slots=True)
class SqlSessionRepository:
    """`SessionRepository` over one session of the database."""

    session: AsyncSession

    async def add(self, session: Session) -> None:
        """Store a new session."""
        await self.session.execute(
            insert(SessionRow).values(
                id=session.id,
                account_id=session.account,
                family_digest=session.family_digest,
                refresh_digest=session.refresh_digest,
                created_at=session.created_at,
                refreshed_at=session.refreshed_at,
                expires_at=session.expires_at,
                revoked_at=session.revoked_at,
                second_factor=session.second_factor,
                client=session.client,
            )
        )

    async def find(self, session: SessionId) -> tuple[Session, Holder] | None:
        """Return a session with the holder of its account, in one statement, if there is one."""
        if (lent := Lent.to(self.session)) is None:
            row: Sequence[Any] | None = (await self.session.execute(_BY_SESSION, {"session": session})).first()
        else:
            row = await lent.gathered(_BY_SESSIONS, _held)(session)
        if row is None:
            return None
        holder = _to_holder(row)
        return _to_session(row[len(_HOLDER) :], holder.id), holder

    async def find_by_family(self, digest: bytes) -> tuple[Session, Account] | None:
        """Return the session with this `family_digest` and its account, in one statement, if there is one."""
        row = (await self.session.execute(_BY_FAMILY, {"family": digest})).first()
        if row is None:
            return None
        account = to_account(row)
        return _to_session(row[len(ACCOUNT_COLUMNS) :], account.id), account

    async def find_open(
        self, account: AccountId, *, now: datetime, refreshed_after: datetime, at_most: int
    ) -> list[Session]:
        """Return the sessions of an account that are good `now` and were refreshed since, the newest first."""
        statement = select(*_SESSION, SessionRow.client).where(
            SessionRow.account_id == account,
            SessionRow.revoked_at.is_(None),
            SessionRow.expires_at > now,
            SessionRow.refreshed_at > refreshed_after,
        )
        statement = statement.order_by(SessionRow.created_at.desc(), SessionRow.id.desc()).limit(at_most)
        return [_to_session(row, account, row.client or "") for row in await self.session.execute(statement)]

    async def rotate(self, session: Session, digest: bytes, at: datetime, *, expires_at: datetime) -> None:
        """Replace the refresh token of `session`, or raise `StaleWrite` if it was replaced or revoked meanwhile."""
        statement = update(SessionRow).where(
            SessionRow.id == session.id,
            SessionRow.refresh_digest == session.refresh_digest,
            SessionRow.revoked_at.is_(None),
        )
        await write_one(self.session, statement.values(refresh_digest=digest, refreshed_at=at, expires_at=expires_at))

    async def revoke(self, session: SessionId, at: datetime) -> None:
        """End a session; ending it again changes nothing."""
        statement = update(SessionRow).where(SessionRow.id == session, SessionRow.revoked_at.is_(None))
        await self.session.execute(statement.values(revoked_at=at), execution_options=UNTRACKED)

    async def set_second_factor(self, session: SessionId, *, given: bool) -> None:
        """Let an open session count as one in which the second factor was given, or no longer."""
        statement = update(SessionRow).where(SessionRow.id == session, SessionRow.revoked_at.is_(None))
        await self.session.execute(statement.values(second_factor=given), execution_options=UNTRACKED)

    async def revoke_all(self, account: AccountId, at: datetime, *, but: SessionId | None = None) -> int:
        """End every session of an account, except one, and return how many were open."""
        statement = update(SessionRow).where(SessionRow.account_id == account, SessionRow.revoked_at.is_(None))
        if but is not None:
            statement = statement.where(SessionRow.id != but)
        result = await self.session.execute(statement.values(revoked_at=at), execution_options=UNTRACKED)
        return cast("CursorResult[Any]", result).rowcount


def to_account(row: Sequence[Any]) -> Account:
    """Return the account in a row that begins with `ACCOUNT_COLUMNS`."""
    account, email, name, role, status, machine, practitioner, patient, version = row[: len(ACCOUNT_COLUMNS)]
    return Account(
        id=AccountId(account),
        email=email,
        name=name,
        role=Role(role),
        status=AccountStatus(status),
        machine=machine,
        practitioner=None if practitioner is None else PractitionerId(practitioner),
        patient=None if patient is None else PatientId(patient),
        version=version,
    )


def _to_holder(row: Sequence[Any]) -> Holder:
    """Return the holder in a row that begins with `_HOLDER`."""
    account, role, status, machine, practitioner, patient = row[: len(_HOLDER)]
    return Holder(
        id=AccountId(account),
        role=Role(role),
        status=AccountStatus(status),
        machine=machine,
        practitioner=None if practitioner is None else PractitionerId(practitioner),
        patient=None if patient is None else PatientId(patient),
    )


def _to_session(row: Sequence[Any], account: AccountId, client: str = "") -> Session:
    session, family, refresh, began_at, refreshed_at, expires_at, revoked_at, second_factor = row[: len(_SESSION)]
    return Session(
        id=SessionId(session),
        account=account,
        family_digest=family,
        refresh_digest=refresh,
        created_at=began_at,
        refreshed_at=refreshed_at,
        expires_at=expires_at,
        revoked_at=revoked_at,
        second_factor=second_factor,
        client=client,
    )
