"""The routes on which people see where they are logged in, and end what should not go on."""

from typing import Self

from clarity.api.dependencies import CurrentActor, OpenSessions
from clarity.api.problems import documented
from clarity.api.routing import router_of
from clarity.api.wire import Instant, Wire
from clarity.domain.access import Actor
from clarity.domain.accounts import Session
from clarity.domain.errors import Forbidden, NotFound
from clarity.domain.ids import AccountId, SessionId

router = router_of("me")
of_accounts = router_of("accounts")
_OWN = documented(Forbidden())
_OF_OTHERS = documented(Forbidden(), NotFound())


class OpenSessionOut(Wire):
    """A log-in that is open."""

    id: SessionId
    client: str
    """Where it was opened: the address, and what the client said that it is."""
    created_at: Instant
    refreshed_at: Instant
    expires_at: Instant
    """When it ends at the latest. It ends before, if it is not refreshed for some time."""
    second_factor: bool
    """Whether a second factor was given."""
    current: bool
    """Whether it is the one that this request came with."""

    @classmethod
    def of(cls, session: Session, actor: Actor) -> Self:
        """Return the shape of `session` as `actor` sees it."""
        return cls(
            id=session.id,
            client=session.client,
            created_at=session.created_at,
            refreshed_at=session.refreshed_at,
            expires_at=session.expires_at,
            second_factor=session.second_factor,
            current=session.id == actor.session,
        )


class OpenSessionsOut(Wire):
    """The log-ins of one account that are open, the newest first, at most 200."""

    items: tuple[OpenSessionOut, ...]


@router.get("/sessions", responses=_OWN)
async def list_own_sessions(actor: CurrentActor, sessions: OpenSessions) -> OpenSessionsOut:
    """List where the caller is logged in."""
    return _listed(await sessions.list_own(actor), actor)


@router.delete("/sessions", status_code=204, responses=_OWN)
async def end_other_sessions(actor: CurrentActor, sessions: OpenSessions) -> None:
    """End all sessions of the caller but the one of this request."""
    await sessions.end_others(actor)


@router.delete("/sessions/{session_id}", status_code=204, responses=documented(Forbidden(), NotFound()))
async def end_own_session(session_id: SessionId, actor: CurrentActor, sessions: OpenSessions) -> None:
    """End one session of the caller, which may be the one of this request."""
    await sessions.end_own(actor, session_id)


@of_accounts.get("/{account_id}/sessions", responses=_OF_OTHERS)
async def list_sessions_of_account(
    account_id: AccountId, actor: CurrentActor, sessions: OpenSessions
) -> OpenSessionsOut:
    """List where somebody is logged in. For administrators."""
    return _listed(await sessions.list_of(actor, account_id), actor)


@of_accounts.delete("/{account_id}/sessions", status_code=204, responses=_OF_OTHERS)
async def end_sessions_of_account(account_id: AccountId, actor: CurrentActor, sessions: OpenSessions) -> None:
    """End all sessions of somebody. For administrators."""
    await sessions.end_all_of(actor, account_id)


def _listed(found: tuple[Session, ...], actor: Actor) -> OpenSessionsOut:
    return OpenSessionsOut(items=tuple(OpenSessionOut.of(session, actor) for session in found))
