"""Accounts and sessions in dictionaries, and what logging in needs besides them."""

from base64 import b32decode
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, fields, replace
from datetime import datetime, timedelta
from hashlib import sha256

from clarity.application.accounts import AccountService
from clarity.application.links import LinkSender
from clarity.application.open_sessions import OpenSessionService
from clarity.application.outbox import OutboxService
from clarity.application.passwords import PasswordService
from clarity.application.ports import AccessClaims, BeginReading, BeginWork, Letter, Work
from clarity.application.second_factors import SecondFactorService
from clarity.application.sessions import Opened, SessionService
from clarity.domain.access import Actor, Role
from clarity.domain.accounts import Account, AccountStatus, Credentials, Holder, Session
from clarity.domain.credentials import MachineCredential
from clarity.domain.errors import (
    Conflict,
    DuplicateEmail,
    Invalid,
    NotFound,
    PractitionerHasAccount,
    StaleWrite,
    TooMany,
    Unauthenticated,
    Undeliverable,
    WrongCredentials,
)
from clarity.domain.ids import AccountId, CredentialId, MessageId, PatientId, PractitionerId, RequestId, SessionId
from clarity.domain.links import Link, LinkPurpose
from clarity.domain.messages import Posted
from clarity.domain.records import Resource
from clarity.domain.second_factors import SecondFactor
from clarity.persistence.ledger import Ledger
from clarity.security.cursors import Cursors
from clarity.security.hazmat import totp
from clarity.security.links import LinkTokens
from clarity.security.one_time_codes import DIGITS, STEP_SECONDS, OneTimeCodes
from tests.builders import NOW, a_keyring, new_id, the_operator

PASSWORD = "quiet ferns along the river"
ADDRESS = "198.51.100.7"
LINK_LIFETIMES = {LinkPurpose.INVITATION: timedelta(hours=72), LinkPurpose.PASSWORD_RESET: timedelta(minutes=30)}


def holder_of(account: Account) -> Holder:
    """Return what decides what may be done for an account."""
    return Holder(**{one.name: getattr(account, one.name) for one in fields(Holder)})


@dataclass(slots=True)
class MemoryStaff:
    """Every account and session. A unit of work writes to a copy, which takes its place at the end."""

    accounts: dict[AccountId, Credentials] = field(default_factory=dict)
    sessions: dict[SessionId, Session] = field(default_factory=dict)
    factors: dict[AccountId, SecondFactor] = field(default_factory=dict)
    recovery_codes: dict[AccountId, frozenset[bytes]] = field(default_factory=dict)
    links: dict[bytes, Link] = field(default_factory=dict)
    messages: dict[MessageId, Posted] = field(default_factory=dict)
    credentials: dict[CredentialId, tuple[MachineCredential, bytes]] = field(default_factory=dict)

    def copy(self) -> "MemoryStaff":
        """Return what can be changed without changing this."""
        return MemoryStaff(
            dict(self.accounts),
            dict(self.sessions),
            dict(self.factors),
            dict(self.recovery_codes),
            dict(self.links),
            dict(self.messages),
            dict(self.credentials),
        )


@dataclass(frozen=True, slots=True)
class MemoryAccountRepository:
    """`AccountRepository` over `MemoryStaff`."""

    staff: MemoryStaff
    ledger: Ledger

    async def get(self, account: AccountId) -> Account:
        if account not in self.staff.accounts:
            raise NotFound
        return self.staff.accounts[account].account

    async def find(self, accounts: Sequence[AccountId]) -> list[Account]:
        return [self.staff.accounts[account].account for account in accounts if account in self.staff.accounts]

    async def find_by_email(self, email: str) -> Credentials | None:
        return next((one for one in self.staff.accounts.values() if _folded(one.account.email) == _folded(email)), None)

    async def find_page(self, *, after: AccountId | None, at_most: int) -> list[Account]:
        found = sorted(account for account in self.staff.accounts if after is None or account > after)
        return [self.staff.accounts[account].account for account in found[:at_most]]

    async def find_active(self, role: Role) -> list[AccountId]:
        accounts = (one.account for one in self.staff.accounts.values())
        active = (one for one in accounts if one.status is AccountStatus.ACTIVE and not one.machine)
        return sorted(one.id for one in active if one.role is role)

    async def count(self) -> int:
        return len(self.staff.accounts)

    async def has_password(self, account: AccountId) -> bool:
        return self.staff.accounts[account].password_hash is not None

    async def find_by_patient(self, patient: PatientId) -> list[Account]:
        return sorted(
            (one.account for one in self.staff.accounts.values() if one.account.patient == patient),
            key=lambda one: one.id,
        )

    async def hold_administrators(self) -> frozenset[AccountId]:
        everybody = [one.account for one in self.staff.accounts.values()]
        return frozenset(
            one.id
            for one in everybody
            if one.role is Role.ADMINISTRATOR and one.status is AccountStatus.ACTIVE and not one.machine
        )

    async def add(self, credentials: Credentials) -> Account:
        self.ledger.stamp()
        await self._require_unique(credentials.account)
        saved = replace(credentials.account, version=1)
        self.staff.accounts[saved.id] = replace(credentials, account=saved)
        self.ledger.change(Resource.ACCOUNT, saved.id, version=saved.version)
        return saved

    async def save(self, account: Account, *, password_hash: str | None = None) -> Account:
        self.ledger.stamp()
        await self.hold(account)
        await self._require_unique(account)
        saved = replace(account, version=account.version + 1)
        kept = self.staff.accounts[account.id].password_hash
        self.staff.accounts[saved.id] = Credentials(
            account=saved, password_hash=kept if password_hash is None else password_hash
        )
        self.ledger.change(Resource.ACCOUNT, saved.id, version=saved.version)
        return saved

    async def hold(self, account: Account) -> None:
        if account.id not in self.staff.accounts or (await self.get(account.id)).version != account.version:
            raise StaleWrite

    async def _require_unique(self, account: Account) -> None:
        found = await self.find_by_email(account.email)
        if found is not None and found.account.id != account.id:
            raise DuplicateEmail
        for one in (other.account for other in self.staff.accounts.values()):
            both_in_use = AccountStatus.DISABLED not in {account.status, one.status}
            if both_in_use and one.id != account.id and one.practitioner == account.practitioner is not None:
                raise PractitionerHasAccount


@dataclass(frozen=True, slots=True)
class MemorySessionRepository:
    """`SessionRepository` over `MemoryStaff`."""

    staff: MemoryStaff

    async def add(self, session: Session) -> None:
        self.staff.sessions[session.id] = session

    async def find(self, session: SessionId) -> tuple[Session, Holder] | None:
        found = self.staff.sessions.get(session)
        if found is None:
            return None
        # Who asks is looked up with every request: nothing that is sealed is read then.
        return replace(found, client=""), holder_of(self.staff.accounts[found.account].account)

    async def find_by_family(self, digest: bytes) -> tuple[Session, Account] | None:
        found = next((one for one in self.staff.sessions.values() if one.family_digest == digest), None)
        return None if found is None else (replace(found, client=""), self.staff.accounts[found.account].account)

    async def find_open(
        self, account: AccountId, *, now: datetime, refreshed_after: datetime, at_most: int
    ) -> list[Session]:
        found = [
            one
            for one in self.staff.sessions.values()
            if one.account == account
            and one.revoked_at is None
            and one.expires_at > now
            and one.refreshed_at > refreshed_after
        ]
        return sorted(found, key=lambda one: (one.created_at, one.id), reverse=True)[:at_most]

    async def rotate(self, session: Session, digest: bytes, at: datetime, *, expires_at: datetime) -> None:
        stored = self.staff.sessions[session.id]
        if stored.revoked_at is not None or stored.refresh_digest != session.refresh_digest:
            raise StaleWrite
        self.staff.sessions[session.id] = replace(stored, refresh_digest=digest, refreshed_at=at, expires_at=expires_at)

    async def revoke(self, session: SessionId, at: datetime) -> None:
        stored = self.staff.sessions.get(session)
        if stored is not None and stored.revoked_at is None:
            self.staff.sessions[session] = replace(stored, revoked_at=at)

    async def set_second_factor(self, session: SessionId, *, given: bool) -> None:
        stored = self.staff.sessions[session]
        if stored.revoked_at is None:
            self.staff.sessions[session] = replace(stored, second_factor=given)

    async def revoke_all(self, account: AccountId, at: datetime, *, but: SessionId | None = None) -> int:
        still_open = [
            one
            for one in self.staff.sessions.values()
            if one.account == account and one.revoked_at is None and one.id != but
        ]
        for session in still_open:
            await self.revoke(session.id, at)
        return len(still_open)


@dataclass(frozen=True, slots=True)
class MemorySecondFactorRepository:
    """`SecondFactorRepository` over `MemoryStaff`."""

    staff: MemoryStaff
    ledger: Ledger

    async def find(self, account: AccountId) -> SecondFactor | None:
        return self.staff.factors.get(account)

    async def add(self, factor: SecondFactor) -> None:
        there = self.staff.factors.get(factor.account)
        if there is not None and there.counts:
            raise Conflict
        self._write(factor)

    async def confirm(self, factor: SecondFactor, step: int, at: datetime) -> None:
        there = self._still(factor)
        if there.counts:
            raise StaleWrite
        self._write(replace(there, confirmed_at=at, last_step=step))

    async def spend_step(self, factor: SecondFactor, step: int) -> None:
        there = self._still(factor)
        if step <= there.last_step:
            raise StaleWrite
        self._write(replace(there, last_step=step))

    async def spend_recovery_code(self, account: AccountId, digest: bytes, at: datetime) -> None:
        left = self.staff.recovery_codes.get(account, frozenset())
        if digest not in left:
            raise StaleWrite
        self.staff.recovery_codes[account] = left - {digest}
        self.ledger.change(Resource.ACCOUNT, account)

    async def replace_recovery_codes(self, account: AccountId, digests: Sequence[bytes], at: datetime) -> None:
        self.staff.recovery_codes[account] = frozenset(digests)
        self.ledger.change(Resource.ACCOUNT, account)

    async def count_recovery_codes(self, account: AccountId) -> int:
        return len(self.staff.recovery_codes.get(account, ()))

    async def remove(self, account: AccountId, at: datetime) -> None:
        self.staff.factors.pop(account, None)
        self.staff.recovery_codes.pop(account, None)
        self.ledger.change(Resource.ACCOUNT, account)

    def _still(self, factor: SecondFactor) -> SecondFactor:
        there = self.staff.factors.get(factor.account)
        if there is None or there.created_at != factor.created_at:
            raise StaleWrite
        return there

    def _write(self, factor: SecondFactor) -> None:
        self.staff.factors[factor.account] = factor
        self.ledger.change(Resource.ACCOUNT, factor.account)


@dataclass(slots=True)
class KeptLetters:
    """A `Postman` who keeps every letter, and takes none while `away`."""

    letters: list[Letter] = field(default_factory=list)
    away: bool = False

    async def send(self, letter: Letter) -> None:
        if self.away:
            raise Undeliverable
        self.letters.append(letter)


@dataclass(slots=True)
class PlainPasswords:
    """`Passwords` that hash at once, and count what a real one would have spent time on.

    Hashes made under another `parameters` need to be made again.
    """

    parameters: str = "today"
    hashed: int = 0
    verified: int = 0

    def check_strength(self, password: str, about: Iterable[str] = ()) -> None:
        del about
        if len(password) < 15:
            raise Invalid("password", "must have at least 15 characters")

    async def hash(self, password: str) -> str:
        self.hashed += 1
        return f"{self.parameters}:{sha256(password.encode()).hexdigest()}"

    async def verify(self, encoded: str, password: str) -> None:
        self.verified += 1
        if encoded.partition(":")[2] != sha256(password.encode()).hexdigest():
            raise WrongCredentials

    async def verify_nobody(self, password: str) -> None:
        await self.verify("", password)

    def needs_rehash(self, encoded: str) -> bool:
        return encoded.partition(":")[0] != self.parameters


@dataclass(slots=True)
class PlainTokens:
    """`Tokens` without signatures: one is good if it was issued here."""

    ttl_seconds: int = 600
    issued: dict[str, AccessClaims] = field(default_factory=dict)

    def issue(self, account: AccountId, session: SessionId, now: datetime) -> str:
        token = f"access-{new_id()}"
        expires_at = now + timedelta(seconds=self.ttl_seconds)
        self.issued[token] = AccessClaims(account=account, session=session, expires_at=expires_at)
        return token

    def read(self, token: str, now: datetime) -> AccessClaims:
        if token not in self.issued or now >= self.issued[token].expires_at:
            raise Unauthenticated
        return self.issued[token]

    def new_refresh_token(self) -> str:
        return f"refresh-{new_id()}"

    def refresh_digest(self, token: str) -> bytes:
        return sha256(token.encode()).digest()


@dataclass(slots=True)
class CountedLimits:
    """`RateLimit` that counts for ever, and allows `at_most` attempts at what is named there."""

    at_most: dict[str, int] = field(default_factory=dict)
    hits: Counter[tuple[str, str]] = field(default_factory=Counter)

    async def hit(self, what: str, who: str) -> None:
        self.hits[what, who] += 1
        if self.hits[what, who] > self.at_most.get(what, 1_000_000):
            raise TooMany(60)


@dataclass(slots=True)
class FrontDoor:
    """Logging in to some storage. `at` is the time by its clock.

    `meanwhile` runs once, as soon as something has been read: what another request does between a check and its use.
    """

    begin: BeginWork
    storage: BeginReading
    at: datetime = NOW
    passwords: PlainPasswords = field(default_factory=PlainPasswords)
    tokens: PlainTokens = field(default_factory=PlainTokens)
    limits: CountedLimits = field(default_factory=CountedLimits)
    session_ttl: timedelta = timedelta(hours=12)
    session_idle: timedelta = timedelta(hours=12)
    second_factor_required: bool = False
    codes: OneTimeCodes = field(default_factory=OneTimeCodes)
    meanwhile: Callable[[], Awaitable[object]] | None = None
    cursors: Cursors = field(default_factory=lambda: Cursors(a_keyring()))
    postman: KeptLetters = field(default_factory=KeptLetters)

    @property
    def accounts(self) -> AccountService:
        """The use-cases on accounts."""
        return AccountService(
            begin=self.begin,
            reading=self.reading,
            now=lambda: self.at,
            new_id=new_id,
            passwords=self.passwords,
            cursors=self.cursors,
            links=self.links,
        )

    @property
    def links(self) -> LinkSender:
        """Who sends one-time links."""
        return LinkSender(LinkTokens(), "https://clinic.test/app/", LINK_LIFETIMES)

    @property
    def own_passwords(self) -> PasswordService:
        """The use-cases on one's own password."""
        return PasswordService(
            begin=self.begin,
            reading=self.reading,
            passwords=self.passwords,
            limits=self.limits,
            links=self.links,
            now=lambda: self.at,
            new_id=new_id,
        )

    @property
    def outbox(self) -> OutboxService:
        """The use-cases on the outbox."""
        return OutboxService(self.begin, self.reading, self.postman, lambda: self.at)

    @property
    def sessions(self) -> SessionService:
        """The use-cases on sessions."""
        return SessionService(
            begin=self.begin,
            reading=self.reading,
            passwords=self.passwords,
            tokens=self.tokens,
            codes=self.codes,
            limits=self.limits,
            now=lambda: self.at,
            new_id=new_id,
            session_ttl=self.session_ttl,
            session_idle=self.session_idle,
            second_factor_required=self.second_factor_required,
        )

    @property
    def open_sessions(self) -> OpenSessionService:
        """The use-cases on open sessions."""
        return OpenSessionService(self.begin, self.reading, lambda: self.at, self.session_idle)

    @property
    def second_factors(self) -> SecondFactorService:
        """The use-cases on second factors."""
        return SecondFactorService(
            begin=self.begin,
            reading=self.reading,
            codes=self.codes,
            passwords=self.passwords,
            limits=self.limits,
            now=lambda: self.at,
            required=self.second_factor_required,
        )

    @asynccontextmanager
    async def reading(self, *, snapshot: bool = False) -> AsyncIterator[Work]:
        """Read, and let happen what happens meanwhile."""
        async with self.storage(snapshot=snapshot) as work:
            yield work
        happens, self.meanwhile = self.meanwhile, None
        if happens is not None:
            await happens()

    async def employed(
        self,
        role: Role = Role.FRONT_DESK,
        *,
        email: str = "",
        name: str = "Grace Hopper",
        practitioner: PractitionerId | None = None,
        patient: PatientId | None = None,
    ) -> Account:
        """Add an account with `PASSWORD`, as the operator."""
        return await self.accounts.add(
            the_operator(),
            email=email or f"{new_id().hex}@example.org",
            name=name,
            role=role,
            password=PASSWORD,
            practitioner=practitioner,
            patient=patient,
        )

    async def logged_in(
        self, account: Account, *, password: str = PASSWORD, address: str = ADDRESS, code: str = ""
    ) -> Opened:
        """Log in to an account, or try to."""
        return await self.sessions.log_in(account.email, password, RequestId(new_id()), address, code=code)

    async def refreshed(self, opened: Opened, *, address: str = ADDRESS) -> Opened:
        """Spend the refresh token of a session, or try to."""
        return await self.sessions.refresh(opened.refresh_token, RequestId(new_id()), address)

    async def caller(self, opened: Opened, *, enrolling: bool = False) -> Actor:
        """Return who asks with the access token of a session."""
        return await self.sessions.resolve(opened.access_token, RequestId(new_id()), enrolling=enrolling)

    async def enrolled(self, opened: Opened) -> tuple[str, tuple[str, ...]]:
        """Enrol a second factor in a session and return its secret and recovery codes. The code of now is spent."""
        caller = await self.caller(opened, enrolling=True)
        secret = (await self.second_factors.enrol(caller, PASSWORD)).secret
        return secret, await self.second_factors.confirm(caller, self.code(secret))

    def code(self, secret: str, *, steps: int = 0) -> str:
        """Return what a device shows, by default now."""
        return code_of(secret, self.at + steps * timedelta(seconds=STEP_SECONDS))

    async def holds(self, opened: Opened) -> bool:
        """Tell whether the access token of a session is still good for anything."""
        try:
            await self.caller(opened)
        except Unauthenticated:
            return False
        return True


def code_of(secret: str, at: datetime) -> str:
    """Return what a device shows at an instant."""
    return totp(b32decode(secret), DIGITS, STEP_SECONDS, int(at.timestamp()) // STEP_SECONDS).decode()


def _folded(email: str) -> str:
    return email.strip().casefold()
