"""Logging in and staying logged in."""

import unicodedata
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from functools import lru_cache
from ipaddress import IPv6Address, IPv6Network, ip_address

from clarity.application.ports import (
    BeginReading,
    BeginWork,
    Clock,
    NewId,
    OneTimeCodes,
    Passwords,
    RateLimit,
    Tokens,
)
from clarity.application.retry import retrying
from clarity.application.second_factors import CODES_OF_ACCOUNT, Proof, proof_of
from clarity.domain.access import POLICY, Action, Actor, Reason, nobody
from clarity.domain.accounts import Account, AccountStatus, Credentials, Holder, Session, actor_of
from clarity.domain.audit import Attempt
from clarity.domain.errors import (
    SecondFactorMissing,
    SecondFactorRequired,
    StaleWrite,
    TooMany,
    Unauthenticated,
    Unavailable,
    WrongCredentials,
)
from clarity.domain.ids import RequestId, SessionId
from clarity.domain.records import Resource
from clarity.domain.second_factors import NEEDS_SECOND_FACTOR

# What is limited. Never an account alone: whoever knows an e-mail address could then lock its owner out.
ATTEMPTS_ON_ACCOUNT = "log-in"
LOG_INS_FROM_ADDRESS = "log-in-from-address"
REFRESHES_FROM_ADDRESS = "refresh-from-address"
REFUSALS_TOLD = "too-many-recorded"

_LONGEST_CLIENT = 200
# Each request comes from an address, and most from one that others came from.
_REMEMBERED_ADDRESSES = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """What a client is given to go on with. The refresh token works once, and brings the next."""

    access_token: str = field(repr=False)
    refresh_token: str = field(repr=False)
    expires_in_seconds: int
    account: Account


@dataclass(frozen=True, slots=True)
class SessionService:
    """The use-cases on sessions: who is asking, and for how long they may go on asking.

    Every event is about the account. Its actor is the account where the caller proved to be it, and
    `ANONYMOUS` where not. A session ends `session_ttl` after its log-in, however often it is refreshed, and
    `session_idle` after its last refresh. With `second_factor_required`, those roles that need a second factor do
    nothing but enrol one in a session that was opened without.
    """

    begin: BeginWork
    reading: BeginReading
    passwords: Passwords
    tokens: Tokens
    codes: OneTimeCodes
    limits: RateLimit
    now: Clock
    new_id: NewId
    session_ttl: timedelta
    session_idle: timedelta
    second_factor_required: bool

    async def log_in(
        self, email: str, password: str, request: RequestId, address: str, *, code: str = "", agent: str = ""
    ) -> Opened:
        """Open a session for the account with this e-mail, given a `code` too if it has a second factor.

        `address` is the client's IP address, and `agent` what it says that it is.

        Raises `WrongCredentials` for an unknown account, a wrong password and a disabled account alike, after the
        same time, and for a wrong or used code; `SecondFactorRequired` if the password is right and a code is missing;
        `TooMany` if this address tries too often; `Unavailable` if the account is being changed.
        """
        network = network_of(address)
        await self._limit(Action.LOG_IN, request, network, LOG_INS_FROM_ADDRESS, network)
        await self._limit(Action.LOG_IN, request, network, ATTEMPTS_ON_ACCOUNT, f"{network} {typed_email(email)}")
        # Leaves no event of its own: nothing of the account is shown before the event that follows.
        async with self.reading() as work:
            found = await work.accounts.find_by_email(email)
        reason = await self._refusal(found, password)
        if found is None or reason is not Reason.NONE:
            await self._record(Action.LOG_IN, request, reason, None if found is None else found.account)
            raise WrongCredentials
        proof = await self._second_factor(found.account, code, request)
        # Hashing takes long on purpose, so it is done before the transaction and not while others wait for it.
        outdated = found.password_hash is not None and self.passwords.needs_rehash(found.password_hash)
        new_hash = await self.passwords.hash(password) if outdated else None
        try:
            return await self._open(found.account, new_hash, proof, _client(address, agent), request)
        except StaleWrite:
            raise Unavailable from None

    async def refresh(self, refresh_token: str, request: RequestId, address: str) -> Opened:
        """Give new tokens for a refresh token, which is spent by it. `address` is the client's IP address.

        Raises `Unauthenticated` if the token is unknown or spent or its session has ended. A token that was
        spent before has been copied, by whoever came first or second: its session ends (RFC 9700, 4.14.2).
        """
        network = network_of(address)
        await self._limit(Action.REFRESH, request, network, REFRESHES_FROM_ADDRESS, network)
        family = refresh_token.partition(".")[0]
        async with self.reading() as work:
            found = await work.sessions.find_by_family(self.tokens.refresh_digest(family))
        if found is None:
            await self._record(Action.REFRESH, request, Reason.NO_SUCH_RECORD, None)
            raise Unauthenticated
        session, account = found
        reason = self._lapse(session, account)
        if reason is not Reason.NONE:
            await self._record(Action.REFRESH, request, reason, account)
            raise Unauthenticated
        if session.refresh_digest != self.tokens.refresh_digest(refresh_token):
            await self._end_replayed(session, account, request)
            raise Unauthenticated
        try:
            return await self._rotate(session, account, family, request)
        except StaleWrite:
            raise Unauthenticated from None

    @retrying
    async def log_out(self, actor: Actor) -> None:
        """End the session that `actor` came with: neither of its tokens is good for anything from now on."""
        if actor.session is None:
            raise Unauthenticated
        async with self.begin() as work:
            attempt = work.note(
                Attempt(actor=actor, action=Action.LOG_OUT, at=self.now(), resource=Resource.ACCOUNT, ids=(actor.id,))
            )
            await work.sessions.revoke(actor.session, attempt.at)

    async def resolve(self, access_token: str, request: RequestId, *, enrolling: bool = False) -> Actor:
        """Return who is asking. Raises `Unauthenticated` if the token or its session no longer holds.

        Raises `SecondFactorMissing` if the session lacks one that the role needs, unless the caller is `enrolling`.

        Only the session is taken from the token. Everything else is read from the database, so that what was revoked,
        disabled or changed is so with the next request. This tells who asks and shows nothing: it leaves no event, but
        one a minute of a session that is too weak for what it tries.
        """
        claims = self.tokens.read(access_token, self.now())
        async with self.reading() as work:
            found = await work.sessions.find(claims.session)
        if found is None:
            raise Unauthenticated
        session, holder = found
        if holder.id != claims.account or self._lapse(session, holder) is not Reason.NONE:
            raise Unauthenticated
        if not enrolling and self._too_weak(session, holder):
            await self._tell_once(str(holder.id), Action.LOG_IN, request, Reason.SECOND_FACTOR, holder)
            raise SecondFactorMissing
        return actor_of(holder, request, session=session.id)

    async def _limit(self, action: Action, request: RequestId, network: str, what: str, who: str) -> None:
        try:
            await self.limits.hit(what, who)
        except TooMany:
            await self._tell_once(network, action, request, Reason.TOO_MANY, None)
            raise

    async def _tell_once(
        self, who: str, action: Action, request: RequestId, reason: Reason, account: Holder | None
    ) -> None:
        """Leave one event a minute of what is refused to `who`: one for each would let anybody fill the trail."""
        with suppress(TooMany):
            await self.limits.hit(REFUSALS_TOLD, who)
            await self._record(action, request, reason, account)

    async def _refusal(self, found: Credentials | None, password: str) -> Reason:
        """Return why a log-in is refused, or `Reason.NONE`. A password is verified in every case."""
        try:
            if found is None or found.password_hash is None:
                await self.passwords.verify_nobody(password)
                return Reason.WRONG_CREDENTIALS
            await self.passwords.verify(found.password_hash, password)
        except WrongCredentials:
            return Reason.WRONG_CREDENTIALS
        return _standing(found.account, Action.LOG_IN)

    def _lapse(self, session: Session, account: Holder) -> Reason:
        """Return why a session does not hold now, or `Reason.NONE`."""
        reason = session.lapse_at(self.now(), self.session_idle)
        return _standing(account, Action.REFRESH) if reason is Reason.NONE else reason

    def _too_weak(self, session: Session, account: Holder) -> bool:
        return self.second_factor_required and not session.second_factor and account.role in NEEDS_SECOND_FACTOR

    async def _second_factor(self, account: Account, code: str, request: RequestId) -> Proof | None:
        """Return what `code` proves, yet to be spent, or `None` if the account has no second factor.

        Only somebody who has the password gets as far as this, so that attempts may be counted for the account alone.
        """
        async with self.reading() as work:
            factor = await work.second_factors.find(account.id)
        if factor is None or not factor.counts:
            return None
        if not code:
            await self._record(Action.LOG_IN, request, Reason.SECOND_FACTOR, account)
            raise SecondFactorRequired
        try:
            await self.limits.hit(CODES_OF_ACCOUNT, str(account.id))
            return proof_of(self.codes, factor, code, self.now())
        except (TooMany, WrongCredentials) as exc:
            reason = Reason.TOO_MANY if isinstance(exc, TooMany) else Reason.SECOND_FACTOR
            await self._record(Action.LOG_IN, request, reason, account)
            raise

    async def _record(self, action: Action, request: RequestId, reason: Reason, account: Holder | None) -> None:
        """Leave the event of a refusal."""
        async with self.reading() as work:
            work.note(self._attempt(nobody(request), action, account)).refuse(reason)

    @retrying
    async def _open(
        self, account: Account, new_hash: str | None, proof: Proof | None, client: str, request: RequestId
    ) -> Opened:
        """Open a session; raises `StaleWrite` if the account was changed after its password was verified.

        Raises `WrongCredentials` if what is to prove the second factor was spent before, or is being spent just now.
        """
        family, at = self.tokens.new_refresh_token(), self.now()
        refresh_token = self._next_token(family)
        session = Session(
            id=SessionId(self.new_id()),
            account=account.id,
            family_digest=self.tokens.refresh_digest(family),
            refresh_digest=self.tokens.refresh_digest(refresh_token),
            created_at=at,
            refreshed_at=at,
            expires_at=at + self.session_ttl,
            second_factor=proof is not None,
            client=client,
        )
        async with self.begin() as work:
            attempt = work.note(self._attempt(actor_of(account, request, session=session.id), Action.LOG_IN, account))
            if proof is not None:
                try:
                    await proof.spend(work, attempt)
                except WrongCredentials:
                    attempt.actor = nobody(request)
                    raise
            if new_hash is None:
                await work.accounts.hold(account)
            else:
                account = await work.accounts.save(account, password_hash=new_hash)
            await work.sessions.add(session)
        return self._opened(session, account, refresh_token)

    @retrying
    async def _rotate(self, session: Session, account: Account, family: str, request: RequestId) -> Opened:
        """Replace the refresh token; raises `StaleWrite` if it was replaced or revoked meanwhile."""
        refresh_token = self._next_token(family)
        async with self.begin() as work:
            attempt = work.note(self._attempt(actor_of(account, request, session=session.id), Action.REFRESH, account))
            # Opened while a clock was ahead, it would outlast the others by as much as that was set back since.
            ends = min(session.expires_at, attempt.at + self.session_ttl)
            await work.sessions.rotate(session, self.tokens.refresh_digest(refresh_token), attempt.at, expires_at=ends)
        return self._opened(session, account, refresh_token)

    @retrying
    async def _end_replayed(self, session: Session, account: Account, request: RequestId) -> None:
        async with self.begin() as work:
            attempt = work.note(self._attempt(nobody(request), Action.REFRESH, account))
            attempt.refuse(Reason.REPLAYED)
            await work.sessions.revoke(session.id, attempt.at)

    def _attempt(self, actor: Actor, action: Action, account: Holder | None) -> Attempt:
        attempt = Attempt(actor=actor, action=action, at=self.now(), resource=Resource.ACCOUNT)
        if account is not None:
            attempt.ids, attempt.patient = (account.id,), account.patient
        return attempt

    def _next_token(self, family: str) -> str:
        return f"{family}.{self.tokens.new_refresh_token()}"

    def _opened(self, session: Session, account: Account, refresh_token: str) -> Opened:
        return Opened(
            access_token=self.tokens.issue(account.id, session.id, self.now()),
            refresh_token=refresh_token,
            expires_in_seconds=self.tokens.ttl_seconds,
            account=account,
        )


def _standing(account: Holder, action: Action) -> Reason:
    """Return why an account may not do `action` to itself, or `Reason.NONE`."""
    if account.status is not AccountStatus.ACTIVE:
        return Reason.DISABLED
    allowed = POLICY.right(account.role, Resource.ACCOUNT, action).exists
    return Reason.NONE if allowed else Reason.NO_SUCH_RIGHT


def _client(address: str, agent: str) -> str:
    """Return where a log-in came from, for its holder to recognise: one line, of what can be printed."""
    text = " ".join(f"{address} {agent}"[: 4 * _LONGEST_CLIENT].split())
    return "".join(character for character in text if character.isprintable())[:_LONGEST_CLIENT]


@lru_cache(maxsize=_REMEMBERED_ADDRESSES)
def network_of(address: str) -> str:
    """Return what one client has of the Internet: an IPv4 address, or the /64 it can choose IPv6 addresses from."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return address
    if isinstance(parsed, IPv6Address):
        mapped = parsed.ipv4_mapped
        return str(mapped or IPv6Network((int(parsed), 64), strict=False))
    return str(parsed)


def typed_email(email: str) -> str:
    """Return an e-mail address as all its spellings that find the same account agree on it.

    An attacker who spells it another way each time would otherwise have as many attempts as there are ways.
    """
    folded = unicodedata.normalize("NFC", email).strip().casefold()
    return unicodedata.normalize("NFC", folded)
