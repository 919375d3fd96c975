"""The use-cases on other people's accounts: who may log in, and as what."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from uuid import UUID

from clarity.application.admission import require_right
from clarity.application.links import LinkSender
from clarity.application.open_sessions import account_named
from clarity.application.pages import Page, page_size
from clarity.application.patients import RepeatKey
from clarity.application.ports import Answered, BeginReading, BeginWork, Clock, Cursors, NewId, Passwords, Work
from clarity.application.retry import retrying
from clarity.domain.access import Action, Actor, Reason, Role, right_to
from clarity.domain.accounts import Account, AccountStatus, Credentials
from clarity.domain.audit import Attempt
from clarity.domain.errors import (
    Conflict,
    Forbidden,
    Invalid,
    LastAdministrator,
    NotFound,
    ReusedKey,
    StaleWrite,
    Transient,
)
from clarity.domain.ids import AccountId, PatientId, PractitionerId
from clarity.domain.links import LinkPurpose
from clarity.domain.messages import Message, MessageKind
from clarity.domain.records import Resource


@dataclass(frozen=True, slots=True)
class AccountService:
    """The use-cases on accounts. Each leaves an event that names the account.

    Where one account is meant, it is given by its id or its e-mail address. Raises `Forbidden` for everybody but
    administrators and the system, and for what nobody does to their own account.
    """

    begin: BeginWork
    reading: BeginReading
    now: Clock
    new_id: NewId
    passwords: Passwords
    cursors: Cursors
    links: LinkSender

    async def invite(
        self,
        actor: Actor,
        *,
        email: str,
        name: str,
        role: Role,
        practitioner: PractitionerId | None = None,
        patient: PatientId | None = None,
        repeat: RepeatKey | None = None,
    ) -> Account:
        """Send somebody a link with which they choose a password; then they may log in.

        With `repeat`, a request that comes again finds whom the first one invited. Raises as `add` does.
        """
        account = Account(
            id=AccountId(self.new_id()),
            email=email,
            name=name,
            role=role,
            status=AccountStatus.INVITED,
            practitioner=practitioner,
            patient=patient,
        )
        return await self._store(actor, Credentials(account=account, password_hash=None), repeat)

    async def add(
        self,
        actor: Actor,
        *,
        email: str,
        name: str,
        role: Role,
        password: str,
        practitioner: PractitionerId | None = None,
        patient: PatientId | None = None,
    ) -> Account:
        """Let somebody log in from now on, with a password that is not of their own choosing.

        Raises `Invalid` for a weak password or a link that does not fit the role, `DuplicateEmail` if the
        e-mail address has an account, disabled or not, `PractitionerHasAccount` if another account in use is the
        practitioner's.
        """
        account = Account(
            id=AccountId(self.new_id()),
            email=email,
            name=name,
            role=role,
            practitioner=practitioner,
            patient=patient,
        )
        password_hash = await self._hash(actor, Action.REGISTER, password, about=(email, name))
        return await self._store(actor, Credentials(account=account, password_hash=password_hash))

    async def add_machine(
        self,
        actor: Actor,
        *,
        email: str,
        name: str,
        role: Role,
        practitioner: PractitionerId | None = None,
        patient: PatientId | None = None,
        repeat: RepeatKey | None = None,
    ) -> Account:
        """Make an account that nobody logs in to: a service or a device acts in it by its credentials.

        It has no password, and is sent no mail; its e-mail address is what it is found by. With `repeat`, a request
        that comes again finds what the first one made. Raises as `add` does.
        """
        account = Account(
            id=AccountId(self.new_id()),
            email=email,
            name=name,
            role=role,
            machine=True,
            practitioner=practitioner,
            patient=patient,
        )
        return await self._store(actor, Credentials(account=account, password_hash=None), repeat)

    async def list(self, actor: Actor, *, cursor: str = "", at_most: int = 50) -> Page[Account]:
        """Return accounts in the order they were made."""
        context = b"accounts" + actor.id.bytes
        after = AccountId(UUID(bytes=self.cursors.open(cursor, context))) if cursor else None
        size = page_size(at_most)
        async with self.reading(snapshot=True) as work:
            attempt = self._attempt(work, actor, Action.LIST)
            found = await work.accounts.find_page(after=after, at_most=size + 1)
            items = tuple(found[:size])
            attempt.ids = tuple(account.id for account in items)
            count = await work.accounts.count()
        next_cursor = self.cursors.seal(items[-1].id.bytes, context) if len(found) > size else ""
        return Page(items=items, next_cursor=next_cursor, count=count)

    async def view(self, actor: Actor, which: AccountId | str) -> Account:
        """Return one account. Raises `NotFound` if there is no such account."""
        async with self.reading() as work:
            return await self._find(work, self._attempt(work, actor, Action.VIEW, which), which)

    async def view_own(self, actor: Actor) -> Account:
        """Return the account of `actor`. Raises `Forbidden` for an actor that is no account."""
        async with self.reading() as work:
            attempt = self._note(work, actor, Action.VIEW)
            attempt.ids = (actor.id,)
            if not right_to(actor, Action.VIEW, Resource.ACCOUNT).own:
                attempt.refuse(Reason.NO_SUCH_RIGHT)
                raise Forbidden
            return await self._find(work, attempt, AccountId(actor.id))

    @retrying
    async def disable(self, actor: Actor, which: AccountId | str) -> Account:
        """Keep an account from logging in, and end its sessions and its links. Disabling it again changes nothing.

        Raises `NotFound` if there is no such account, `LastAdministrator` if nobody would be left to enable it.
        """
        async with self.begin() as work:
            attempt, account = await self._others(work, actor, Action.CHANGE_STATUS, which)
            if account.status is not AccountStatus.DISABLED:
                await _require_another_administrator(work, account)
                account = await _save(work, replace(account, status=AccountStatus.DISABLED))
            await work.sessions.revoke_all(account.id, attempt.at)
            await work.links.revoke_all(account.id, attempt.at)
            await work.break_glass.close_all(account.id, attempt.at)
            return account

    @retrying
    async def enable(self, actor: Actor, which: AccountId | str) -> Account:
        """Let a disabled account log in again. Somebody who never chose a password is invited anew.

        Raises `NotFound` if there is no such account, `Invalid` if whom it is linked to is gone,
        `PractitionerHasAccount` if another account has taken its place. Enabling it again changes nothing.
        """
        async with self.begin() as work:
            attempt, account = await self._others(work, actor, Action.CHANGE_STATUS, which)
            if account.status is not AccountStatus.DISABLED:
                return account
            await _require_links(work, account)
            may_log_in = account.machine or await work.accounts.has_password(account.id)
            status = AccountStatus.ACTIVE if may_log_in else AccountStatus.INVITED
            account = await _save(work, replace(account, status=status))
            if status is AccountStatus.INVITED:
                await self.links.send(work, account.id, LinkPurpose.INVITATION, attempt.at)
            return account

    async def change_role(
        self,
        actor: Actor,
        which: AccountId | str,
        role: Role,
        practitioner: PractitionerId | None = None,
        patient: PatientId | None = None,
    ) -> Account:
        """Give an account another role, with the links that belong to it, and end its sessions.

        Raises `NotFound` if there is no such account, `Invalid` for links that do not fit the role,
        `PractitionerHasAccount` if another account in use is the practitioner's, `LastAdministrator` if nobody would
        be left to give the role back.
        """

        def changed(account: Account) -> Account:
            return replace(account, role=role, practitioner=practitioner, patient=patient)

        return await self._change_role(actor, which, changed)

    @retrying
    async def send_reset(self, actor: Actor, which: AccountId | str) -> Account:
        """Send the holder of an account a link to choose another password, or a first one if they were invited.

        The password they have stays good until they do. Raises `NotFound` if there is no such account, `Conflict` if it
        is disabled, or that of a machine.
        """
        async with self.begin() as work:
            attempt = self._attempt(work, actor, Action.RESET_PASSWORD, which)
            account = await self._find(work, attempt, which)
            _require_holder(account)
            if account.status is AccountStatus.DISABLED:
                raise Conflict("the account is disabled; enable it first")
            invited = account.status is AccountStatus.INVITED
            purpose = LinkPurpose.INVITATION if invited else LinkPurpose.PASSWORD_RESET
            await self.links.send(work, account.id, purpose, attempt.at)
            return account

    async def reset_password(self, actor: Actor, which: AccountId | str, password: str) -> Account:
        """Give an account another password and end its sessions and links. Somebody who was invited may log in then.

        Raises `Invalid` for a weak password, `NotFound` if there is no such account, `Conflict` if it is a machine's.
        """
        password_hash = await self._hash(actor, Action.RESET_PASSWORD, password, of=which)
        return await self._replace_password(actor, which, password_hash)

    async def _hash(
        self,
        actor: Actor,
        action: Action,
        password: str,
        *,
        about: tuple[str, ...] = (),
        of: AccountId | str | None = None,
    ) -> str:
        """Hash a password before the transaction: it takes long on purpose, and nobody else should wait for it.

        For whoever may not do `action`, nothing is hashed at all. What is known of its holder does not make a password:
        `about`, or what is known of the account `of`.
        """
        if not right_to(actor, action, Resource.ACCOUNT).everybodys:
            async with self.reading() as work:
                self._attempt(work, actor, action, "" if of is None else of)
        if of is not None:
            try:
                async with self.reading() as work:
                    account = await account_named(work, of)
                about = (account.email, account.name)
            except NotFound:
                pass  # the unit of work that follows says so, and leaves the event
        self.passwords.check_strength(password, about)
        return await self.passwords.hash(password)

    @retrying
    @retrying
    async def _store(self, actor: Actor, credentials: Credentials, repeat: RepeatKey | None = None) -> Account:
        async with self.begin() as work:
            if repeat and (answered := await self._answered(work, actor, repeat)):
                return await self._find(work, self._attempt(work, actor, Action.VIEW, answered), answered)
            attempt = self._attempt(work, actor, Action.REGISTER)
            account = credentials.account
            attempt.ids, attempt.patient = (account.id,), account.patient
            await _require_links(work, account)
            if repeat:
                # Before the account: the same request arriving twice at once must collide here, not on its e-mail.
                answer = Answered(record=account.id, version=1)
                await work.idempotency_keys.add(actor.id, repeat.key, repeat.request, answer)
            added = await work.accounts.add(credentials)
            if added.status is AccountStatus.INVITED:
                await self.links.send(work, added.id, LinkPurpose.INVITATION, attempt.at)
            return added

    @retrying
    async def _change_role(
        self, actor: Actor, which: AccountId | str, changed: Callable[[Account], Account]
    ) -> Account:
        async with self.begin() as work:
            attempt, account = await self._others(work, actor, Action.CHANGE_ROLE, which)
            wanted = changed(account)
            if wanted == account:
                return account
            await _require_links(work, wanted)
            if wanted.role is not Role.ADMINISTRATOR:
                await _require_another_administrator(work, account)
            saved = await _save(work, wanted)
            await work.sessions.revoke_all(saved.id, attempt.at)
            await work.break_glass.close_all(saved.id, attempt.at)
            return saved

    @retrying
    async def _replace_password(self, actor: Actor, which: AccountId | str, password_hash: str) -> Account:
        async with self.begin() as work:
            attempt, account = await self._others(work, actor, Action.RESET_PASSWORD, which)
            _require_holder(account)
            invited = account.status is AccountStatus.INVITED
            status = AccountStatus.ACTIVE if invited else account.status
            saved = await _save(work, replace(account, status=status), password_hash=password_hash)
            await work.sessions.revoke_all(saved.id, attempt.at)
            await work.links.revoke_all(saved.id, attempt.at)
            await work.outbox.put(Message(to=saved.id, kind=MessageKind.PASSWORD_CHANGED))
            return saved

    async def _answered(self, work: Work, actor: Actor, repeat: RepeatKey) -> AccountId | None:
        """Return the account this request made, if it came before; a key that came with another request is noted."""
        try:
            answered = await work.idempotency_keys.find(actor.id, repeat.key, repeat.request)
        except ReusedKey:
            self._note(work, actor, Action.REGISTER)
            raise
        return None if answered is None else AccountId(answered.record)

    def _note(self, work: Work, actor: Actor, action: Action) -> Attempt:
        return work.note(Attempt(actor=actor, action=action, at=self.now(), resource=Resource.ACCOUNT))

    def _attempt(self, work: Work, actor: Actor, action: Action, which: AccountId | str = "") -> Attempt:
        """Note an attempt at somebody's account and ask the policy; raises `Forbidden`."""
        attempt = self._note(work, actor, action)
        attempt.ids = () if isinstance(which, str) else (which,)
        require_right(attempt, action)
        return attempt

    async def _others(
        self, work: Work, actor: Actor, action: Action, which: AccountId | str
    ) -> tuple[Attempt, Account]:
        """Return an account for what nobody does to their own: a mistake would be the last word."""
        attempt = self._attempt(work, actor, action, which)
        account = await self._find(work, attempt, which)
        if account.id == actor.id:
            attempt.refuse(Reason.NO_SUCH_RIGHT)
            raise Forbidden("nobody does this to their own account; ask another administrator")
        return attempt, account

    async def _find(self, work: Work, attempt: Attempt, which: AccountId | str) -> Account:
        """Return one account and name it in `attempt`."""
        account = await account_named(work, which)
        attempt.ids, attempt.patient = (account.id,), account.patient
        return account


async def _save(work: Work, account: Account, *, password_hash: str | None = None) -> Account:
    """Write an account that was read in this unit of work; whoever was faster is read again."""
    try:
        return await work.accounts.save(account, password_hash=password_hash)
    except StaleWrite:
        raise Transient from None


async def _require_links(work: Work, account: Account) -> None:
    if account.practitioner and not await work.practitioners.find([account.practitioner]):
        raise Invalid("practitioner", "names nobody who is known here")
    if account.patient:
        standing = (await work.patients.get(account.patient)).standing
        if standing is None or standing.deleted:
            raise Invalid("patient", "names nobody who is known here")


async def _require_another_administrator(work: Work, account: Account) -> None:
    """Raise `LastAdministrator` if `account` is the only one that may administer accounts.

    They are all held, so that of two administrators who take each other's role at once one stays.
    """
    if account.role is Role.ADMINISTRATOR and await work.accounts.hold_administrators() == {account.id}:
        raise LastAdministrator


def _require_holder(account: Account) -> None:
    if account.machine:
        raise Conflict("nobody logs in to the account of a machine; give it a credential")
