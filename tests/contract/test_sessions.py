"""Sessions, on every storage."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from hashlib import sha256

import pytest

from clarity.domain.accounts import Account, Session
from clarity.domain.errors import StaleWrite, Unauthenticated
from clarity.domain.ids import SessionId
from tests.builders import NOW, new_id, the_operator
from tests.fakes.accounts import FrontDoor, holder_of
from tests.practice import Practice

LATER = NOW + timedelta(minutes=1)
END = LATER + timedelta(minutes=1)


@pytest.fixture
def door(practice: Practice) -> FrontDoor:
    return FrontDoor(practice.begin, practice.reading)


def a_session(account: Account, family: str = "family") -> Session:
    return Session(
        id=SessionId(new_id()),
        account=account.id,
        family_digest=sha256(family.encode()).digest(),
        refresh_digest=sha256(b"first").digest(),
        refreshed_at=NOW,
        created_at=NOW,
        expires_at=NOW + timedelta(hours=12, microseconds=1),
    )


async def added(practice: Practice, session: Session) -> Session:
    async with practice.begin() as work:
        await work.sessions.add(session)
    return session


async def found(practice: Practice, session: Session) -> Session:
    async with practice.reading() as work:
        pair = await work.sessions.find(session.id)
    assert pair is not None
    return pair[0]


async def test_a_session_comes_back_with_its_account(practice: Practice, door: FrontDoor) -> None:
    account, other = await door.employed(), await door.employed()
    session = await added(practice, a_session(account))
    await added(practice, a_session(other, "another family"))
    async with practice.reading() as work:
        assert await work.sessions.find(session.id) == (session, holder_of(account))
        assert await work.sessions.find_by_family(session.family_digest) == (session, account)


async def test_what_is_no_session_is_not_found(practice: Practice, door: FrontDoor) -> None:
    session = await added(practice, a_session(await door.employed()))
    async with practice.reading() as work:
        assert await work.sessions.find(SessionId(new_id())) is None
        assert await work.sessions.find_by_family(session.refresh_digest) is None


async def test_a_refresh_token_is_replaced_once(practice: Practice, door: FrontDoor) -> None:
    session = await added(practice, a_session(await door.employed()))
    async with practice.begin() as work:
        await work.sessions.rotate(session, sha256(b"second").digest(), LATER, expires_at=END)
    rotated = replace(session, refresh_digest=sha256(b"second").digest(), refreshed_at=LATER, expires_at=END)
    assert await found(practice, session) == rotated
    with pytest.raises(StaleWrite):
        async with practice.begin() as work:
            await work.sessions.rotate(session, sha256(b"third").digest(), LATER, expires_at=END)
    assert await found(practice, session) == rotated


async def test_a_revoked_session_is_not_refreshed(practice: Practice, door: FrontDoor) -> None:
    session = await added(practice, a_session(await door.employed()))
    async with practice.begin() as work:
        await work.sessions.revoke(session.id, NOW)
    with pytest.raises(StaleWrite):
        async with practice.begin() as work:
            await work.sessions.rotate(session, sha256(b"second").digest(), LATER, expires_at=END)


async def test_a_session_ends_once_and_alone(practice: Practice, door: FrontDoor) -> None:
    account = await door.employed()
    session = await added(practice, a_session(account))
    other = await added(practice, a_session(account, "another family"))
    for minutes in range(2):
        async with practice.begin() as work:
            await work.sessions.revoke(session.id, NOW + timedelta(minutes=minutes))
    assert (await found(practice, session)).revoked_at == NOW
    assert (await found(practice, other)).revoked_at is None


async def test_all_sessions_of_one_account_end_together(practice: Practice, door: FrontDoor) -> None:
    account, other = await door.employed(), await door.employed()
    sessions = [await added(practice, a_session(account, f"family {number}")) for number in range(3)]
    elsewhere = await added(practice, a_session(other, "another family"))
    async with practice.begin() as work:
        await work.sessions.revoke(sessions[0].id, NOW)
    later = NOW + timedelta(minutes=1)
    async with practice.begin() as work:
        assert await work.sessions.revoke_all(account.id, later) == 2
    assert [(await found(practice, session)).revoked_at for session in sessions] == [NOW, later, later]
    assert (await found(practice, elsewhere)).revoked_at is None


async def test_logging_in_refreshing_and_logging_out(door: FrontDoor) -> None:
    opened = await door.logged_in(await door.employed())
    refreshed = await door.refreshed(opened)
    assert await door.holds(refreshed)
    await door.sessions.log_out(await door.caller(refreshed))
    assert not await door.holds(refreshed)
    with pytest.raises(Unauthenticated):
        await door.refreshed(refreshed)


async def test_a_replayed_refresh_token_ends_the_session_although_the_request_fails(door: FrontDoor) -> None:
    opened = await door.logged_in(await door.employed())
    newest = await door.refreshed(await door.refreshed(opened))
    with pytest.raises(Unauthenticated):
        await door.refreshed(opened)
    assert not await door.holds(newest)


async def test_of_many_who_refresh_at_once_at_most_one_goes_on(door: FrontDoor) -> None:
    opened = await door.logged_in(await door.employed())
    outcomes = await asyncio.gather(*[door.refreshed(opened) for _ in range(8)], return_exceptions=True)
    refused = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
    assert len(refused) == 7
    assert all(isinstance(outcome, Unauthenticated) for outcome in refused)


async def test_an_account_cannot_be_disabled_between_the_check_and_the_session_of_a_log_in(
    practice: Practice, door: FrontDoor
) -> None:
    if practice.database is None:
        pytest.skip("units of work over memory do not wait for each other")
    account = await door.employed()
    async with practice.begin() as work:
        await work.accounts.hold(account)
        disabling = asyncio.ensure_future(door.accounts.disable(the_operator(), account.id))
        # Whoever does not wait is done long before this; whoever waits, waits for the end of this block.
        assert await asyncio.wait({disabling}, timeout=0.5) == (set(), {disabling})
        await work.sessions.add(session := a_session(account))
    await disabling
    assert (await found(practice, session)).revoked_at == NOW
