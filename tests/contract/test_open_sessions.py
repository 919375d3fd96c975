"""Open sessions, on every storage: who sees them, and what ends them."""

from datetime import timedelta

import pytest

from clarity.domain.access import Action, Reason, Role
from clarity.domain.audit import Outcome
from clarity.domain.errors import Forbidden, NotFound, Unauthenticated
from clarity.domain.ids import AccountId, RequestId, SessionId
from clarity.domain.records import Resource
from tests.builders import NOW, an_actor, new_id, the_operator
from tests.fakes.accounts import ADDRESS, PASSWORD, FrontDoor
from tests.practice import Practice


@pytest.fixture
def door(practice: Practice) -> FrontDoor:
    return FrontDoor(practice.begin, practice.reading, session_idle=timedelta(minutes=30))


async def test_people_see_where_they_are_logged_in(door: FrontDoor, practice: Practice) -> None:
    account = await door.employed()
    agent = "Mozilla/5.0\x00 (X11;\r\n Linux)\u202e " + "x" * 5_000
    first = await door.sessions.log_in(account.email, PASSWORD, RequestId(new_id()), ADDRESS, agent=agent)
    door.at += timedelta(minutes=1)
    second = await door.logged_in(account)
    await door.logged_in(await door.employed())
    caller = await door.caller(second)
    found = await door.open_sessions.list_own(caller)
    assert [session.created_at for session in found] == [NOW + timedelta(minutes=1), NOW]
    assert found[0].id == caller.session
    assert found[0].client == ADDRESS
    assert found[1].client.startswith(f"{ADDRESS} Mozilla/5.0 (X11; Linux) xxx")
    assert found[1].client.isprintable()
    assert len(found[1].client) == 200
    assert found[1].id == (await door.caller(first)).session
    event = (await practice.events())[-1]
    assert (event.actor, event.action, event.resource) == (account.id, Action.LIST, Resource.SESSION)
    assert set(event.ids) == {session.id for session in found}


async def test_what_has_ended_is_not_listed(door: FrontDoor) -> None:
    account = await door.employed()
    idle, ended = await door.logged_in(account), await door.logged_in(account)
    kept = await door.logged_in(account)
    await door.sessions.log_out(await door.caller(ended))
    door.at += timedelta(minutes=29)
    kept = await door.refreshed(kept)
    assert len(await door.open_sessions.list_own(await door.caller(kept))) == 2
    door.at += timedelta(minutes=1)
    assert not await door.holds(idle)
    [listed] = await door.open_sessions.list_own(await door.caller(kept))
    assert listed.refreshed_at == NOW + timedelta(minutes=29)


async def test_a_session_that_nobody_refreshes_ends(door: FrontDoor, practice: Practice) -> None:
    opened = await door.logged_in(await door.employed())
    door.tokens.ttl_seconds = 86_400
    opened = await door.refreshed(opened)
    door.at += timedelta(minutes=30) - timedelta(microseconds=1)
    assert await door.holds(opened)
    door.at += timedelta(microseconds=1)
    assert not await door.holds(opened)
    with pytest.raises(Unauthenticated):
        await door.refreshed(opened)
    event = (await practice.events())[-1]
    assert (event.action, event.outcome, event.reason) == (Action.REFRESH, Outcome.REFUSED, Reason.EXPIRED)


async def test_people_end_one_session_of_theirs(door: FrontDoor, practice: Practice) -> None:
    account = await door.employed()
    stolen, opened = await door.logged_in(account), await door.logged_in(account)
    caller = await door.caller(opened)
    lost = (await door.caller(stolen)).session
    assert lost is not None
    await door.open_sessions.end_own(caller, lost)
    assert not await door.holds(stolen)
    assert await door.holds(opened)
    with pytest.raises(Unauthenticated):
        await door.refreshed(stolen)
    event = [event for event in await practice.events() if event.action is Action.REVOKE][-1]
    assert (event.actor, event.resource, event.ids) == (account.id, Resource.SESSION, (lost,))


async def test_the_session_of_somebody_else_looks_like_none(door: FrontDoor, practice: Practice) -> None:
    caller = await door.caller(await door.logged_in(await door.employed()))
    victim = await door.logged_in(await door.employed())
    theirs = (await door.caller(victim)).session
    assert theirs is not None
    ended = await door.logged_in(await door.employed())
    over = (await door.caller(ended)).session
    assert over is not None
    await door.sessions.log_out(await door.caller(ended))
    said = set()
    for session in (theirs, SessionId(new_id()), over):
        with pytest.raises(NotFound) as refused:
            await door.open_sessions.end_own(caller, session)
        said.add(str(refused.value))
    assert len(said) == 1
    reasons = [event.reason for event in await practice.events() if event.action is Action.REVOKE]
    assert reasons == [Reason.NO_TIE, Reason.NO_SUCH_RECORD, Reason.NO_TIE]
    assert await door.holds(victim)


async def test_people_end_all_their_sessions_but_this(door: FrontDoor) -> None:
    account = await door.employed()
    others = [await door.logged_in(account) for _ in range(3)]
    bystander, opened = await door.logged_in(await door.employed()), await door.logged_in(account)
    assert await door.open_sessions.end_others(await door.caller(opened)) == 3
    assert [await door.holds(other) for other in others] == [False] * 3
    assert await door.holds(opened)
    assert await door.holds(bystander)


async def test_administrators_see_and_end_the_sessions_of_an_account(door: FrontDoor, practice: Practice) -> None:
    account = await door.employed(Role.FRONT_DESK)
    opened, bystander = await door.logged_in(account), await door.logged_in(await door.employed())
    administrator = an_actor(Role.ADMINISTRATOR)
    [listed] = await door.open_sessions.list_of(administrator, account.id)
    assert listed.account == account.id
    assert await door.open_sessions.end_all_of(administrator, account.id) == 1
    assert not await door.holds(opened)
    assert await door.holds(bystander)
    events = [event for event in await practice.events() if event.actor == administrator.id]
    assert [(event.action, event.ids) for event in events] == [
        (Action.LIST, (listed.id,)),
        (Action.REVOKE, (listed.id,)),
    ]
    assert await door.open_sessions.list_of(the_operator(), account.email) == ()
    for which in (AccountId(new_id()), "nobody@example.org"):
        with pytest.raises(NotFound):
            await door.open_sessions.list_of(administrator, which)
        with pytest.raises(NotFound):
            await door.open_sessions.end_all_of(administrator, which)


async def test_nobody_else_sees_or_ends_the_sessions_of_an_account(door: FrontDoor) -> None:
    account = await door.employed(Role.FRONT_DESK)
    opened = await door.logged_in(account)
    for role in set(Role) - {Role.ADMINISTRATOR, Role.SYSTEM}:
        with pytest.raises(Forbidden):
            await door.open_sessions.list_of(an_actor(role), account.id)
        with pytest.raises(Forbidden):
            await door.open_sessions.end_all_of(an_actor(role), account.id)
    assert await door.holds(opened)


async def test_a_session_that_came_with_another_account_says_who_that_is_and_nobody_else(door: FrontDoor) -> None:
    """A confused deputy: the token names one account, the session in it belongs to another."""
    one, other = await door.employed(Role.ADMINISTRATOR), await door.employed(Role.DEVICE)
    session = (await door.caller(await door.logged_in(other))).session
    assert session is not None
    with pytest.raises(Unauthenticated):
        await door.sessions.resolve(door.tokens.issue(one.id, session, door.at), RequestId(new_id()))
