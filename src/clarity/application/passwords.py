"""The use-cases by which people choose their own passwords: invited, logged in, or having forgotten the last."""

from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import timedelta

from clarity.application.links import LinkSender
from clarity.application.pacing import paced
from clarity.application.ports import BeginReading, BeginWork, Clock, NewId, Passwords, RateLimit
from clarity.application.retry import retrying
from clarity.application.second_factors import PASSWORDS_AGAIN
from clarity.application.sessions import REFUSALS_TOLD, network_of, typed_email
from clarity.domain.access import Action, Actor, Reason, nobody, right_to
from clarity.domain.accounts import Account, AccountStatus, Credentials, actor_of
from clarity.domain.audit import Attempt
from clarity.domain.errors import (
    DeadLink,
    Forbidden,
    Invalid,
    NotFound,
    StaleWrite,
    TooMany,
    Unavailable,
    WrongCredentials,
)
from clarity.domain.ids import AccountId, RequestId
from clarity.domain.links import Link, LinkPurpose
from clarity.domain.messages import Message, MessageKind
from clarity.domain.records import Resource

# What is limited. Links cannot be guessed, so for them it is the hashing that is spared.
RESETS_FROM_ADDRESS = "reset-from-address"
RESETS_OF_ACCOUNT = "reset"
LINKS_FROM_ADDRESS = "link-from-address"

_ACTIONS = {LinkPurpose.INVITATION: Action.ACTIVATE, LinkPurpose.PASSWORD_RESET: Action.RESET_PASSWORD}
_STATUSES = {LinkPurpose.INVITATION: AccountStatus.INVITED, LinkPurpose.PASSWORD_RESET: AccountStatus.ACTIVE}


@dataclass(frozen=True, slots=True)
class PasswordService:
    """The use-cases on one's own password. Each leaves an event that names the account.

    Whatever changes a password makes every link of the account good for nothing, and is told to its holder (OWASP ASVS
    5.0, 6.3.7). `address` is the client's IP address.
    """

    begin: BeginWork
    reading: BeginReading
    passwords: Passwords
    limits: RateLimit
    links: LinkSender
    now: Clock
    new_id: NewId
    reset_pace: timedelta = timedelta(0)

    async def change(self, actor: Actor, current: str, new: str) -> None:
        """Replace the password of `actor`, given the one they have (ASVS 5.0, 6.2.3). All other sessions end (7.4.3).

        Raises `Invalid` for "current" if it is wrong, for "password" if the new one is weak; `TooMany` after too many
        attempts.
        """
        await self._limit_own(actor)
        async with self.reading() as work:
            found = await work.accounts.find_by_email((await work.accounts.get(AccountId(actor.id))).email)
        if found is None or found.password_hash is None:
            raise NotFound
        try:
            await self.passwords.verify(found.password_hash, current)
        except WrongCredentials:
            await self._refuse_own(actor, Reason.WRONG_CREDENTIALS)
            raise Invalid("current", "is not the right one") from None
        account = found.account
        self.passwords.check_strength(new, (account.email, account.name))
        await self._change(actor, account, await self.passwords.hash(new))

    async def request_reset(self, email: str, request: RequestId, address: str) -> None:
        """Send a link to choose another password to this e-mail address, if somebody logs in with it.

        What is answered, and the work that it takes, are the same if nobody does (ASVS 5.0, 6.3.8). Nobody is sent more
        than a few in an hour. Raises `TooMany` if this address asks too often.
        """
        await self._limit(Action.REQUEST_RESET, request, network_of(address), RESETS_FROM_ADDRESS)
        async with paced(self.reset_pace):
            await self._request_reset(email, request)

    async def activate(self, token: str, password: str, *, request: RequestId, address: str) -> Account:
        """Let somebody who was invited log in from now on, with the password that they chose.

        Raises `DeadLink` if the token is not one of an invitation that is still good, `Invalid` for a weak password,
        which leaves the link good; `TooMany` if this address tries too often.
        """
        return await self._choose(LinkPurpose.INVITATION, token, password, request, address)

    async def reset_by_link(self, token: str, password: str, *, request: RequestId, address: str) -> Account:
        """Replace the password of whoever was sent a link, and end every session. Their second factor stays.

        Raises as `activate` does.
        """
        return await self._choose(LinkPurpose.PASSWORD_RESET, token, password, request, address)

    @retrying
    async def _change(self, actor: Actor, account: Account, password_hash: str) -> None:
        async with self.begin() as work:
            attempt = work.note(self._attempt(actor, Action.CHANGE_PASSWORD, account))
            try:
                await work.accounts.save(account, password_hash=password_hash)
            except StaleWrite:
                raise Unavailable from None
            await work.sessions.revoke_all(account.id, attempt.at, but=actor.session)
            await work.links.revoke_all(account.id, attempt.at)
            await work.outbox.put(Message(to=account.id, kind=MessageKind.PASSWORD_CHANGED))

    @retrying
    async def _request_reset(self, email: str, request: RequestId) -> None:
        async with self.begin() as work:
            found = await work.accounts.find_by_email(email)
            attempt = work.note(self._attempt(nobody(request), Action.REQUEST_RESET, None))
            reason = await self._refusal(found, email)
            # To an account that nobody has, the link is sent with the same statements, which store nothing. The event
            # names it, too: an event with no id is written sooner.
            to = decoy = AccountId(self.new_id())
            if reason is Reason.NONE and found is not None:
                to = found.account.id
            else:
                attempt.refuse(reason)
            attempt.ids = (decoy if found is None else found.account.id,)
            await self.links.send(work, to, LinkPurpose.PASSWORD_RESET, attempt.at)

    async def _refusal(self, found: Credentials | None, email: str) -> Reason:
        """Return why nobody is sent a link, or `Reason.NONE`."""
        try:
            await self.limits.hit(RESETS_OF_ACCOUNT, str(found.account.id) if found else typed_email(email))
        except TooMany:
            return Reason.TOO_MANY
        if found is None:
            return Reason.NO_SUCH_RECORD
        usable = found.account.status is AccountStatus.ACTIVE and not found.account.machine
        return Reason.NONE if usable else Reason.DISABLED

    async def _choose(
        self, purpose: LinkPurpose, token: str, password: str, request: RequestId, address: str
    ) -> Account:
        """Choose a password by a link. All that may be refused is, before the link is spent."""
        action = _ACTIONS[purpose]
        await self._limit(action, request, network_of(address), LINKS_FROM_ADDRESS)
        async with self.reading() as work:
            link = await work.links.find(self.links.tokens.digest(token))
            account = None if link is None else await work.accounts.get(link.account)
        reason = self._lapse(link, account, purpose)
        if link is None or account is None or reason is not Reason.NONE:
            async with self.reading() as work:
                work.note(self._attempt(nobody(request), action, account)).refuse(reason)
            raise DeadLink
        self.passwords.check_strength(password, (account.email, account.name))
        return await self._spend(link, account, await self.passwords.hash(password), request)

    def _lapse(self, link: Link | None, account: Account | None, purpose: LinkPurpose) -> Reason:
        """Return why a link is not good, or `Reason.NONE`."""
        if link is None or account is None:
            return Reason.NO_SUCH_RECORD
        reason = link.lapse_at(self.now(), purpose)
        if reason is Reason.NONE and (account.status is not _STATUSES[purpose] or account.machine):
            return Reason.DISABLED
        return reason

    @retrying
    async def _spend(self, link: Link, account: Account, password_hash: str, request: RequestId) -> Account:
        async with self.begin() as work:
            attempt = work.note(self._attempt(actor_of(account, request), _ACTIONS[link.purpose], account))
            try:
                await work.links.spend(link, attempt.at)
            except StaleWrite:
                attempt.actor = nobody(request)
                attempt.refuse(Reason.REPLAYED)
                raise DeadLink from None
            try:
                chosen = replace(account, status=AccountStatus.ACTIVE)
                saved = await work.accounts.save(chosen, password_hash=password_hash)
            except StaleWrite:
                raise Unavailable from None
            await work.sessions.revoke_all(saved.id, attempt.at)
            await work.links.revoke_all(saved.id, attempt.at)
            if link.purpose is LinkPurpose.PASSWORD_RESET:
                await work.outbox.put(Message(to=saved.id, kind=MessageKind.PASSWORD_CHANGED))
            return saved

    async def _limit(self, action: Action, request: RequestId, network: str, what: str) -> None:
        try:
            await self.limits.hit(what, network)
        except TooMany:
            # One event a minute says it; one for each attempt would let anybody fill the trail.
            with suppress(TooMany):
                await self.limits.hit(REFUSALS_TOLD, network)
                async with self.reading() as work:
                    work.note(self._attempt(nobody(request), action, None)).refuse(Reason.TOO_MANY)
            raise

    async def _limit_own(self, actor: Actor) -> None:
        if not right_to(actor, Action.CHANGE_PASSWORD, Resource.ACCOUNT).own:
            await self._refuse_own(actor, Reason.NO_SUCH_RIGHT)
            raise Forbidden
        try:
            await self.limits.hit(PASSWORDS_AGAIN, str(actor.id))
        except TooMany:
            await self._refuse_own(actor, Reason.TOO_MANY)
            raise

    async def _refuse_own(self, actor: Actor, reason: Reason) -> None:
        async with self.reading() as work:
            attempt = work.note(self._attempt(actor, Action.CHANGE_PASSWORD, None))
            attempt.ids, attempt.patient = (actor.id,), actor.patient
            attempt.refuse(reason)

    def _attempt(self, actor: Actor, action: Action, account: Account | None) -> Attempt:
        attempt = Attempt(actor=actor, action=action, at=self.now(), resource=Resource.ACCOUNT)
        if account is not None:
            attempt.ids, attempt.patient = (account.id,), account.patient
        return attempt
