"""The use-cases on accounts: who may log in, and as what."""

from dataclasses import dataclass, replace

from clarity.application.admission import require_right
from clarity.application.pages import page_size
from clarity.application.ports import BeginReading, BeginWork, Clock, NewId, Passwords, Work
from clarity.application.retry import retrying
from clarity.domain.access import Action, Actor, Reason, Role, right_to
from clarity.domain.accounts import Account, AccountStatus, Credentials
from clarity.domain.audit import Attempt
from clarity.domain.errors import Forbidden, Invalid, NotFound
from clarity.domain.ids import AccountId, PatientId, PractitionerId
from clarity.domain.records import Resource


@dataclass(frozen=True, slots=True)
class AccountService:
    """The use-cases on accounts. Each leaves an event that names the account.

    Where one account is meant, it is given by its id or its e-mail address. Raises `Forbidden` for everybody but
    administrators and the system.
    """

    begin: BeginWork
    reading: BeginReading
    now: Clock
    new_id: NewId
    passwords: Passwords

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
        """Let somebody log in from now on.

        Raises `Invalid` for a weak password or a link that does not fit the role, `DuplicateEmail` if the
        e-mail address has an account, disabled or not.
        """
        account = Account(
            id=AccountId(self.new_id()),
            email=email,
            name=name,
            role=role,
            practitioner=practitioner,
            patient=patient,
        )
        password_hash = await self._hash(actor, Action.REGISTER, password)
        return await self._store(actor, Credentials(account=account, password_hash=password_hash))

    async def list(self, actor: Actor, *, after: AccountId | None = None, at_most: int = 50) -> tuple[Account, ...]:
        """Return the accounts behind `after` in the order they were made, at most `at_most` of them."""
        size = page_size(at_most)
        async with self.reading() as work:
            attempt = self._attempt(work, actor, Action.LIST)
            found = tuple(await work.accounts.find_page(after=after, at_most=size))
            attempt.ids = tuple(account.id for account in found)
        return found

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
        """Keep an account from logging in and end its sessions. Disabling it again changes nothing.

        Raises `NotFound` if there is no such account.
        """
        async with self.begin() as work:
            attempt = self._attempt(work, actor, Action.CHANGE_STATUS)
            account = await self._find(work, attempt, which)
            if account.status is not AccountStatus.DISABLED:
                account = await work.accounts.save(replace(account, status=AccountStatus.DISABLED))
            await work.sessions.revoke_all(account.id, attempt.at)
            return account

    async def reset_password(self, actor: Actor, which: AccountId | str, password: str) -> Account:
        """Give an account another password and end its sessions.

        Raises `Invalid` for a weak password, `NotFound` if there is no such account.
        """
        password_hash = await self._hash(actor, Action.RESET_PASSWORD, password)
        return await self._replace_password(actor, which, password_hash)

    async def _hash(self, actor: Actor, action: Action, password: str) -> str:
        """Hash a password before the transaction: it takes long on purpose, and nobody else should wait for it.

        For whoever may not do `action`, nothing is hashed at all.
        """
        if not right_to(actor, action, Resource.ACCOUNT).everybodys:
            async with self.reading() as work:
                self._attempt(work, actor, action)
        self.passwords.check_strength(password)
        return await self.passwords.hash(password)

    @retrying
    async def _store(self, actor: Actor, credentials: Credentials) -> Account:
        async with self.begin() as work:
            attempt = self._attempt(work, actor, Action.REGISTER)
            account = credentials.account
            attempt.ids, attempt.patient = (account.id,), account.patient
            await _require_links(work, account)
            return await work.accounts.add(credentials)

    @retrying
    async def _replace_password(self, actor: Actor, which: AccountId | str, password_hash: str) -> Account:
        async with self.begin() as work:
            attempt = self._attempt(work, actor, Action.RESET_PASSWORD)
            account = await self._find(work, attempt, which)
            saved = await work.accounts.save(account, password_hash=password_hash)
            await work.sessions.revoke_all(saved.id, attempt.at)
            return saved

    def _note(self, work: Work, actor: Actor, action: Action) -> Attempt:
        return work.note(Attempt(actor=actor, action=action, at=self.now(), resource=Resource.ACCOUNT))

    def _attempt(self, work: Work, actor: Actor, action: Action) -> Attempt:
        """Note an attempt at somebody's account and ask the policy; raises `Forbidden`."""
        attempt = self._note(work, actor, action)
        require_right(attempt, action)
        return attempt

    async def _find(self, work: Work, attempt: Attempt, which: AccountId | str) -> Account:
        """Return one account and name it in `attempt`."""
        if isinstance(which, str):
            found = await work.accounts.find_by_email(which)
            if found is None:
                raise NotFound
            account = found.account
        else:
            attempt.ids = (which,)
            account = await work.accounts.get(which)
        attempt.ids, attempt.patient = (account.id,), account.patient
        return account


async def _require_links(work: Work, account: Account) -> None:
    if account.practitioner and not await work.practitioners.find([account.practitioner]):
        raise Invalid("practitioner", "names nobody who is known here")
    if account.patient:
        standing = (await work.patients.get(account.patient)).standing
        if standing is None or standing.deleted:
            raise Invalid("patient", "names nobody who is known here")
