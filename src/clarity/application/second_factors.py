"""The use-cases on second factors: one-time codes of a device, and recovery codes for when it is lost."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime

from clarity.application.admission import require_right
from clarity.application.open_sessions import account_named
from clarity.application.ports import BeginReading, BeginWork, Clock, OneTimeCodes, Passwords, RateLimit, Work
from clarity.application.retry import retrying
from clarity.domain.access import Action, Actor, Reason, right_to
from clarity.domain.accounts import Account
from clarity.domain.audit import Attempt
from clarity.domain.errors import (
    Conflict,
    Forbidden,
    Invalid,
    NotFound,
    StaleWrite,
    TooMany,
    Transient,
    Unavailable,
    WrongCredentials,
)
from clarity.domain.ids import AccountId
from clarity.domain.messages import Message, MessageKind
from clarity.domain.records import Resource
from clarity.domain.second_factors import NEEDS_SECOND_FACTOR, SecondFactor

# What is limited, for an account alone: only whoever has its password, or a session of it, gets as far.
CODES_OF_ACCOUNT = "second-factor"
PASSWORDS_AGAIN = "password-again"

RECOVERY_CODES = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Enrolment:
    """What a device needs to make the codes of an account: the secret, and the same as an `otpauth` address."""

    secret: str = field(repr=False)
    uri: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class SecondFactorState:
    """Whether an account has a second factor, since when, and with how many recovery codes left."""

    required: bool
    confirmed_at: datetime | None
    recovery_codes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """A code that matches, and is good as long as nobody has spent it.

    `step` is the time step of a code from a device; without one, `digest` is that of a recovery code.
    """

    factor: SecondFactor
    step: int | None = None
    digest: bytes = field(default=b"", repr=False)

    async def spend(self, work: Work, attempt: Attempt) -> None:
        """Spend the code in the unit of work that it is good for. Raises `WrongCredentials` if it was spent before."""
        try:
            if self.step is None:
                await work.second_factors.spend_recovery_code(self.factor.account, self.digest, attempt.at)
            else:
                await work.second_factors.spend_step(self.factor, self.step)
        except StaleWrite:
            attempt.refuse(Reason.SECOND_FACTOR if self.step is None else Reason.REPLAYED)
            raise WrongCredentials from None


def proof_of(codes: OneTimeCodes, factor: SecondFactor, code: str, at: datetime) -> Proof:
    """Return what `code` proves, whichever kind of code it is. Raises `WrongCredentials` if it proves nothing."""
    try:
        return Proof(factor=factor, step=codes.step_of(factor.secret, code, at))
    except WrongCredentials:
        return Proof(factor=factor, digest=codes.recovery_digest(code))


@dataclass(frozen=True, slots=True)
class SecondFactorService:
    """The use-cases on second factors. Each leaves an event that names the account.

    Whoever changes one proves again who they are: by the password to enrol, by a code afterwards (ASVS 5.0, 7.5.1). All
    other sessions end with it (7.4.3), the holder is told by e-mail, and the account has a new version, so that a
    log-in that was under way fails.
    """

    begin: BeginWork
    reading: BeginReading
    codes: OneTimeCodes
    passwords: Passwords
    limits: RateLimit
    now: Clock
    required: bool

    async def view(self, actor: Actor) -> SecondFactorState:
        """Return how it stands with the second factor of `actor`."""
        async with self.reading() as work:
            self._own(work, actor, Action.VIEW)
            factor = await work.second_factors.find(AccountId(actor.id))
            left = await work.second_factors.count_recovery_codes(AccountId(actor.id))
        return SecondFactorState(
            required=self.required and actor.role in NEEDS_SECOND_FACTOR,
            confirmed_at=None if factor is None else factor.confirmed_at,
            recovery_codes=left,
        )

    async def enrol(self, actor: Actor, password: str) -> Enrolment:
        """Make a secret for the device of `actor`. It counts once `confirm` was given a code from it.

        Raises `Invalid` for a wrong password, `Conflict` if there is a second factor that counts.
        """
        account = await self._require_password(actor, password)
        secret = self.codes.new_secret()
        await self._add(actor, account, secret)
        return Enrolment(secret=secret, uri=self.codes.uri(secret, account.email))

    async def confirm(self, actor: Actor, code: str) -> tuple[str, ...]:
        """Let the second factor count, given a code from the device, and return recovery codes, shown this once.

        The session of `actor` counts as one with a second factor from now on. Raises `Invalid` for a wrong code,
        `Conflict` if there is nothing to confirm.
        """
        await self._limit(actor, Action.ENROL_SECOND_FACTOR, CODES_OF_ACCOUNT)
        factor = await self._find(actor)
        if factor is None or factor.counts:
            raise Conflict("there is no second factor that waits to be confirmed")
        async with self._judged(actor, Action.ENROL_SECOND_FACTOR):
            step = self.codes.step_of(factor.secret, code, self.now())
        return await self._confirm(actor, factor, step)

    async def renew_recovery_codes(self, actor: Actor, code: str) -> tuple[str, ...]:
        """Return new recovery codes, shown this once, given a code; the old ones are good for nothing any more.

        Raises `Invalid` for a wrong code, `Conflict` without a second factor.
        """
        return await self._renew(actor, await self._proof(actor, Action.ENROL_SECOND_FACTOR, code))

    async def remove(self, actor: Actor, code: str) -> None:
        """Take the second factor of `actor` away, given a code.

        Raises `Invalid` for a wrong code, `Conflict` without a second factor.
        """
        await self._remove(actor, await self._proof(actor, Action.REMOVE_SECOND_FACTOR, code))

    @retrying
    async def remove_of(self, actor: Actor, which: AccountId | str) -> Account:
        """Take the second factor of somebody's account away, given by its id or e-mail address; its sessions end.

        Raises `Forbidden` for everybody but administrators and the system, and for one's own account, where a code is
        asked for; `NotFound` if there is no such account.
        """
        async with self.begin() as work:
            attempt = self._note(work, actor, Action.REMOVE_SECOND_FACTOR)
            attempt.ids = () if isinstance(which, str) else (which,)
            require_right(attempt, Action.REMOVE_SECOND_FACTOR)
            account = await account_named(work, which)
            attempt.ids, attempt.patient = (account.id,), account.patient
            if account.id == actor.id:
                attempt.refuse(Reason.NO_SUCH_RIGHT)
                raise Forbidden
            await work.second_factors.remove(account.id, attempt.at)
            await work.sessions.revoke_all(account.id, attempt.at)
            await work.outbox.put(_told(account.id))
            return await _next_version(work, account)

    @retrying
    async def _add(self, actor: Actor, account: Account, secret: str) -> None:
        async with self.begin() as work:
            attempt = self._own(work, actor, Action.ENROL_SECOND_FACTOR)
            try:
                # A password that was changed since it was verified proves nothing any more.
                await work.accounts.hold(account)
                await work.second_factors.add(SecondFactor(account=account.id, secret=secret, created_at=attempt.at))
            except StaleWrite:
                raise Unavailable from None
            except Conflict:
                raise Conflict("there is a second factor; remove it first") from None

    @retrying
    async def _confirm(self, actor: Actor, factor: SecondFactor, step: int) -> tuple[str, ...]:
        async with self.begin() as work:
            attempt = self._own(work, actor, Action.ENROL_SECOND_FACTOR)
            try:
                await work.second_factors.confirm(factor, step, attempt.at)
            except StaleWrite:
                raise Conflict("there is no second factor that waits to be confirmed") from None
            recovery_codes = await self._new_recovery_codes(work, factor.account, attempt.at)
            await self._changed(work, actor, attempt, given=True)
        return recovery_codes

    @retrying
    async def _renew(self, actor: Actor, proof: Proof) -> tuple[str, ...]:
        async with self.begin() as work:
            attempt = self._own(work, actor, Action.ENROL_SECOND_FACTOR)
            await _spend(work, proof, attempt)
            await work.outbox.put(_told(proof.factor.account))
            return await self._new_recovery_codes(work, proof.factor.account, attempt.at)

    @retrying
    async def _remove(self, actor: Actor, proof: Proof) -> None:
        async with self.begin() as work:
            attempt = self._own(work, actor, Action.REMOVE_SECOND_FACTOR)
            await _spend(work, proof, attempt)
            await work.second_factors.remove(proof.factor.account, attempt.at)
            await self._changed(work, actor, attempt, given=False)

    async def _changed(self, work: Work, actor: Actor, attempt: Attempt, *, given: bool) -> None:
        """End what was opened under the other rule, and let the session of `actor` count by the new one."""
        account = await work.accounts.get(AccountId(actor.id))
        await work.sessions.revoke_all(account.id, attempt.at, but=actor.session)
        if actor.session is not None:
            await work.sessions.set_second_factor(actor.session, given=given)
        await work.outbox.put(_told(account.id))
        await _next_version(work, account)

    async def _new_recovery_codes(self, work: Work, account: AccountId, at: datetime) -> tuple[str, ...]:
        made = tuple(self.codes.new_recovery_code() for _ in range(RECOVERY_CODES))
        await work.second_factors.replace_recovery_codes(account, [self.codes.recovery_digest(one) for one in made], at)
        return made

    async def _require_password(self, actor: Actor, password: str) -> Account:
        """Return the account of `actor`, having verified its password. Leaves an event only if it refuses."""
        await self._limit(actor, Action.ENROL_SECOND_FACTOR, PASSWORDS_AGAIN)
        async with self.reading() as work:
            found = await work.accounts.find_by_email((await work.accounts.get(AccountId(actor.id))).email)
        if found is None or found.password_hash is None:
            raise NotFound
        try:
            await self.passwords.verify(found.password_hash, password)
        except WrongCredentials:
            await self._refuse(actor, Action.ENROL_SECOND_FACTOR, Reason.WRONG_CREDENTIALS)
            raise Invalid("password", "is not the right one") from None
        return found.account

    async def _proof(self, actor: Actor, action: Action, code: str) -> Proof:
        """Return what a code of `actor` proves, yet to be spent. Leaves an event only if it refuses."""
        await self._limit(actor, action, CODES_OF_ACCOUNT)
        factor = await self._find(actor)
        if factor is None or not factor.counts:
            raise Conflict("there is no second factor")
        async with self._judged(actor, action):
            return proof_of(self.codes, factor, code, self.now())

    async def _find(self, actor: Actor) -> SecondFactor | None:
        async with self.reading() as work:
            return await work.second_factors.find(AccountId(actor.id))

    async def _limit(self, actor: Actor, action: Action, what: str) -> None:
        """Count an attempt of somebody who may make it."""
        if not right_to(actor, action, Resource.ACCOUNT).own:
            await self._refuse(actor, action, Reason.NO_SUCH_RIGHT)
            raise Forbidden
        try:
            await self.limits.hit(what, str(actor.id))
        except TooMany:
            await self._refuse(actor, action, Reason.TOO_MANY)
            raise

    @asynccontextmanager
    async def _judged(self, actor: Actor, action: Action) -> AsyncIterator[None]:
        """Record that a code was wrong, and say so of the field it came in."""
        try:
            yield
        except WrongCredentials:
            await self._refuse(actor, action, Reason.SECOND_FACTOR)
            raise _wrong_code() from None

    async def _refuse(self, actor: Actor, action: Action, reason: Reason) -> None:
        async with self.reading() as work:
            attempt = self._note(work, actor, action)
            attempt.ids, attempt.patient = (actor.id,), actor.patient
            attempt.refuse(reason)

    def _note(self, work: Work, actor: Actor, action: Action) -> Attempt:
        return work.note(Attempt(actor=actor, action=action, at=self.now(), resource=Resource.ACCOUNT))

    def _own(self, work: Work, actor: Actor, action: Action) -> Attempt:
        """Note an attempt of `actor` at their own account and ask the policy; raises `Forbidden`."""
        attempt = self._note(work, actor, action)
        attempt.ids, attempt.patient = (actor.id,), actor.patient
        require_right(attempt, action, own=True)
        return attempt


async def _spend(work: Work, proof: Proof, attempt: Attempt) -> None:
    try:
        await proof.spend(work, attempt)
    except WrongCredentials:
        raise _wrong_code() from None


def _told(account: AccountId) -> Message:
    """Return the message to the holder, who may not be the one who changed it (ASVS 5.0, 6.3.7)."""
    return Message(to=account, kind=MessageKind.SECOND_FACTOR_CHANGED)


def _wrong_code() -> Invalid:
    return Invalid("code", "is not the right one, or was used before")


async def _next_version(work: Work, account: Account) -> Account:
    """Write the account as it is, so that whatever was decided about the version before does not hold."""
    try:
        return await work.accounts.save(account)
    except StaleWrite:
        raise Transient from None
