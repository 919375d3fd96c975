"""The use-cases on the sessions that are open: seeing where one is logged in, and ending what should not go on."""

from dataclasses import dataclass
from datetime import timedelta

from clarity.application.admission import require_right
from clarity.application.ports import BeginReading, BeginWork, Clock, Work
from clarity.application.retry import retrying
from clarity.domain.access import Action, Actor, Reason
from clarity.domain.accounts import Account, Session
from clarity.domain.audit import Attempt
from clarity.domain.errors import NotFound
from clarity.domain.ids import AccountId, SessionId
from clarity.domain.records import Resource

MOST_LISTED = 200
"""How many sessions are listed, the newest: a list is to be read. Ending all ends the others too."""


@dataclass(frozen=True, slots=True)
class OpenSessionService:
    """The use-cases on open sessions. Each leaves an event that names them.

    What is ended is so with its next request, in every process: sessions are read from the database each time.
    """

    begin: BeginWork
    reading: BeginReading
    now: Clock
    session_idle: timedelta

    async def list_own(self, actor: Actor) -> tuple[Session, ...]:
        """Return the sessions in which `actor` is logged in, the newest first."""
        async with self.reading() as work:
            attempt = self._attempt(work, actor, Action.LIST, own=True)
            return await self._open(work, attempt, AccountId(actor.id))

    async def list_of(self, actor: Actor, which: AccountId | str) -> tuple[Session, ...]:
        """Return the open sessions of an account, given by its id or e-mail address, the newest first.

        Raises `Forbidden` for everybody but administrators and the system, `NotFound` if there is no such account.
        """
        async with self.reading() as work:
            attempt = self._attempt(work, actor, Action.LIST)
            account = await account_named(work, which)
            attempt.patient = account.patient
            return await self._open(work, attempt, account.id)

    @retrying
    async def end_own(self, actor: Actor, session: SessionId) -> None:
        """End one session of `actor`. Raises `NotFound` if there is none, or if it is somebody else's."""
        async with self.begin() as work:
            attempt = self._attempt(work, actor, Action.REVOKE, own=True)
            attempt.ids = (session,)
            found = await work.sessions.find(session)
            reason = self._reason(actor, found[0] if found else None)
            if reason is not Reason.NONE:
                attempt.refuse(reason)
                raise NotFound
            await work.sessions.revoke(session, attempt.at)

    @retrying
    async def end_others(self, actor: Actor) -> int:
        """End every session of `actor` but the one they act in, and return how many were open."""
        async with self.begin() as work:
            attempt = self._attempt(work, actor, Action.REVOKE, own=True)
            await self._open(work, attempt, AccountId(actor.id), but=actor.session)
            return await work.sessions.revoke_all(AccountId(actor.id), attempt.at, but=actor.session)

    @retrying
    async def end_all_of(self, actor: Actor, which: AccountId | str) -> int:
        """End every session of an account, given by its id or e-mail address, and return how many were open.

        Raises `Forbidden` for everybody but administrators and the system, `NotFound` if there is no such account.
        """
        async with self.begin() as work:
            attempt = self._attempt(work, actor, Action.REVOKE)
            account = await account_named(work, which)
            attempt.patient = account.patient
            await self._open(work, attempt, account.id)
            return await work.sessions.revoke_all(account.id, attempt.at)

    def _reason(self, actor: Actor, session: Session | None) -> Reason:
        """Return why `actor` may not end a session, or `Reason.NONE`."""
        if session is None:
            return Reason.NO_SUCH_RECORD
        return session.lapse_at(self.now(), self.session_idle) if session.account == actor.id else Reason.NO_TIE

    async def _open(
        self, work: Work, attempt: Attempt, account: AccountId, *, but: SessionId | None = None
    ) -> tuple[Session, ...]:
        """Return the open sessions of an account, and name them in `attempt`."""
        since = attempt.at - self.session_idle
        found = await work.sessions.find_open(account, now=attempt.at, refreshed_after=since, at_most=MOST_LISTED)
        attempt.ids = tuple(session.id for session in found if session.id != but)
        return tuple(found)

    def _attempt(self, work: Work, actor: Actor, action: Action, *, own: bool = False) -> Attempt:
        attempt = work.note(Attempt(actor=actor, action=action, at=self.now(), resource=Resource.SESSION))
        require_right(attempt, action, own=own)
        return attempt


async def account_named(work: Work, which: AccountId | str) -> Account:
    """Return one account, given by its id or e-mail address. Raises `NotFound` if there is none."""
    if not isinstance(which, str):
        return await work.accounts.get(which)
    found = await work.accounts.find_by_email(which)
    if found is None:
        raise NotFound
    return found.account
