"""The use-cases on credentials of machines, and who asks with one."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from uuid import UUID

from clarity.application.admission import require_right
from clarity.application.open_sessions import account_named
from clarity.application.pages import Page, page_size
from clarity.application.ports import (
    BeginReading,
    BeginWork,
    Clock,
    Cursors,
    MachineKeys,
    NewId,
    RateLimit,
    Work,
)
from clarity.application.retry import retrying
from clarity.application.sessions import REFUSALS_TOLD, network_of
from clarity.domain.access import Action, Actor, Reason, nobody
from clarity.domain.accounts import Account, AccountStatus, actor_of
from clarity.domain.audit import Attempt
from clarity.domain.credentials import MachineCredential, grantable, read_scopes
from clarity.domain.errors import Conflict, StaleWrite, TooMany, Transient, Unauthenticated
from clarity.domain.ids import AccountId, CredentialId, RequestId
from clarity.domain.records import Resource

FAILURES_FROM_ADDRESS = "credential-from-address"
"""What is limited: what does not hold. Whoever shares an address with somebody who guesses is not kept waiting."""

MOST_IN_FORCE = 20
"""How many credentials of one account hold at once: one for each place it runs in, and the next for each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Issued:
    """A new credential and its text, which is shown this once and stored nowhere."""

    credential: MachineCredential
    text: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class CredentialService:
    """The use-cases on credentials. All but `resolve` raise `Forbidden` for all but administrators and the system.

    An account is given by its id or its e-mail address.
    A credential acts as its account, in the role that the account has by then, and never beyond its own scopes.
    """

    begin: BeginWork
    reading: BeginReading
    keys: MachineKeys
    cursors: Cursors
    limits: RateLimit
    now: Clock
    new_id: NewId

    @retrying
    async def issue(
        self, actor: Actor, which: AccountId | str, *, name: str, scopes: Sequence[str], expires_in: timedelta
    ) -> Issued:
        """Make a credential for the account of a machine, with `scopes` such as "patient:view".

        Raises `NotFound` without such an account, `Conflict` if it is a person's, disabled, or has too many, and
        `Invalid` for a scope that its role does not have, or a time that is too long.
        """
        credential_id = CredentialId(self.new_id())
        async with self.begin() as work:
            attempt = self._attempt(work, actor, Action.REGISTER, credential_id)
            account = await account_named(work, which)
            attempt.patient = account.patient
            _require_machine(account)
            credential = MachineCredential(
                id=credential_id,
                account=account.id,
                name=name,
                scopes=read_scopes(scopes, account.role),
                created_at=attempt.at,
                created_by=actor.id,
                expires_at=attempt.at + expires_in,
            )
            await _hold(work, account)
            if await work.credentials.count_in_force(account.id, attempt.at) >= MOST_IN_FORCE:
                raise Conflict(f"the account has {MOST_IN_FORCE} credentials that hold; revoke one first")
            text, digest = self.keys.new(credential_id)
            await work.credentials.add(credential, digest)
        return Issued(credential=credential, text=text)

    @retrying
    async def list(
        self, actor: Actor, which: AccountId | str, *, cursor: str = "", at_most: int = 50
    ) -> Page[MachineCredential]:
        """Return the credentials an account has or had, the newest first. Raises `NotFound` without such an account."""
        context = b"credentials" + actor.id.bytes + str(which).encode()
        before = CredentialId(UUID(bytes=self.cursors.open(cursor, context))) if cursor else None
        size = page_size(at_most)
        async with self.reading(snapshot=True) as work:
            attempt = self._attempt(work, actor, Action.LIST)
            account = await account_named(work, which)
            attempt.patient = account.patient
            found = await work.credentials.find_page(account.id, before=before, at_most=size + 1)
            items = tuple(found[:size])
            attempt.ids = tuple(credential.id for credential in items)
            count = await work.credentials.count(account.id)
        next_cursor = self.cursors.seal(items[-1].id.bytes, context) if len(found) > size else ""
        return Page(items=items, next_cursor=next_cursor, count=count)

    @retrying
    async def revoke(self, actor: Actor, credential_id: CredentialId) -> None:
        """End a credential: the next request that comes with it is refused. Raises `NotFound` if there is none."""
        async with self.begin() as work:
            attempt = self._attempt(work, actor, Action.REVOKE, credential_id)
            credential = await work.credentials.get(credential_id)
            attempt.patient = (await work.accounts.get(credential.account)).patient
            await work.credentials.revoke(credential_id, attempt.at)

    async def resolve(self, text: str, request: RequestId, address: str) -> Actor:
        """Return who asks with the text of a credential. `address` is the client's IP address.

        Raises `Unauthenticated` alike for one that is unknown, expired or revoked, or whose account is disabled, and
        `TooMany` if that happens too often from this address. Everything is read from the database with each request.
        One that holds tells who asks and shows nothing: it leaves no event.
        """
        try:
            credential_id, digest = self.keys.read(text)
        except Unauthenticated:
            await self._refuse(Reason.WRONG_CREDENTIALS, request, address)
            raise
        async with self.reading() as work:
            found = await work.credentials.find(credential_id, digest)
        reason = Reason.WRONG_CREDENTIALS if found is None else self._lapse(*found)
        if found is None or reason is not Reason.NONE:
            await self._refuse(reason, request, address, found)
            raise Unauthenticated
        credential, account = found
        scopes = credential.scopes & grantable(account.role)
        # A machine may hold twenty credentials, and what one of them did is to be told from what the others did.
        return actor_of(account, request, only=scopes, operator=credential.id.hex)

    def _lapse(self, credential: MachineCredential, account: Account) -> Reason:
        """Return why a credential does not hold now, or `Reason.NONE`."""
        if not account.machine or account.status is not AccountStatus.ACTIVE:
            return Reason.DISABLED
        return credential.lapse_at(self.now())

    async def _refuse(
        self, reason: Reason, request: RequestId, address: str, found: tuple[MachineCredential, Account] | None = None
    ) -> None:
        """Leave the event of a refusal, and raise `TooMany` instead if there were too many."""
        network = network_of(address)
        try:
            await self.limits.hit(FAILURES_FROM_ADDRESS, network)
        except TooMany:
            # One event a minute says it; one for each attempt would let anybody fill the trail.
            with suppress(TooMany):
                await self.limits.hit(REFUSALS_TOLD, network)
                await self._record(Reason.TOO_MANY, request, None)
            raise
        await self._record(reason, request, found)

    async def _record(
        self, reason: Reason, request: RequestId, found: tuple[MachineCredential, Account] | None
    ) -> None:
        attempt = Attempt(actor=nobody(request), action=Action.LOG_IN, at=self.now(), resource=Resource.CREDENTIAL)
        if found is not None:
            credential, account = found
            attempt.ids, attempt.patient = (credential.id,), account.patient
        async with self.reading() as work:
            work.note(attempt).refuse(reason)

    def _attempt(self, work: Work, actor: Actor, action: Action, *credentials: CredentialId) -> Attempt:
        attempt = Attempt(actor=actor, action=action, at=self.now(), resource=Resource.CREDENTIAL, ids=credentials)
        require_right(work.note(attempt), action)
        return attempt


def _require_machine(account: Account) -> None:
    if not account.machine:
        raise Conflict("the account is a person's, who logs in")
    if account.status is not AccountStatus.ACTIVE:
        raise Conflict("the account is disabled")


async def _hold(work: Work, account: Account) -> None:
    """Keep an account as it was read: it is not to be disabled between the check and the credential."""
    try:
        await work.accounts.hold(account)
    except StaleWrite:
        raise Transient from None
