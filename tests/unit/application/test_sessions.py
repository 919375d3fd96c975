"""Logging in, staying logged in, and what happens to those who should not be."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from clarity.application.sessions import (
    ATTEMPTS_ON_ACCOUNT,
    LOG_INS_FROM_ADDRESS,
    REFRESHES_FROM_ADDRESS,
    REFUSALS_TOLD,
    Opened,
)
from clarity.domain.access import ANONYMOUS, POLICY, USUAL_PURPOSE, Action, Policy, Purpose, Reason, Role
from clarity.domain.audit import AuditEvent, Outcome
from clarity.domain.errors import (
    TooMany,
    TrailUnavailable,
    Unauthenticated,
    Unavailable,
    WrongCredentials,
)
from clarity.domain.ids import AccountId, PatientId, PractitionerId, RequestId, SessionId
from clarity.domain.records import Resource
from tests.builders import an_actor, new_id, the_operator
from tests.fakes.accounts import PASSWORD, FrontDoor
from tests.fakes.work import MemoryUnitsOfWork

WRONG = "loud ferns along the river"


def last_event(units: MemoryUnitsOfWork) -> AuditEvent:
    return units.trail.events[-1]


def open_sessions(units: MemoryUnitsOfWork) -> int:
    return sum(session.revoked_at is None for session in units.staff.sessions.values())


async def an_unknown_account(_door: FrontDoor) -> tuple[str, str]:
    return "nobody@example.org", PASSWORD


async def a_wrong_password(door: FrontDoor) -> tuple[str, str]:
    return (await door.employed()).email, WRONG


async def a_disabled_account(door: FrontDoor) -> tuple[str, str]:
    account = await door.employed()
    await door.accounts.disable(the_operator(), account.id)
    return account.email, PASSWORD


async def a_disabled_account_and_a_wrong_password(door: FrontDoor) -> tuple[str, str]:
    return (await a_disabled_account(door))[0], WRONG


REFUSALS: dict[Callable[[FrontDoor], Awaitable[tuple[str, str]]], Reason] = {
    an_unknown_account: Reason.WRONG_CREDENTIALS,
    a_wrong_password: Reason.WRONG_CREDENTIALS,
    a_disabled_account: Reason.DISABLED,
    a_disabled_account_and_a_wrong_password: Reason.WRONG_CREDENTIALS,
}


async def test_a_session_tells_who_asks_in_which_role_and_why(door: FrontDoor) -> None:
    account = await door.employed(Role.COMPLIANCE_OFFICER)
    opened = await door.logged_in(account)
    request = RequestId(new_id())
    caller = await door.sessions.resolve(opened.access_token, request)
    assert (caller.id, caller.role, caller.request) == (account.id, Role.COMPLIANCE_OFFICER, request)
    assert caller.purpose is Purpose.OPERATIONS
    assert caller.session is not None
    assert opened.expires_in_seconds == door.tokens.ttl_seconds


def test_every_role_has_a_purpose() -> None:
    assert set(USUAL_PURPOSE) == set(Role)


async def test_links_come_with_the_account(door: FrontDoor, units: MemoryUnitsOfWork) -> None:
    account = await door.employed()
    opened = await door.logged_in(account)
    linked = replace(account, role=Role.NURSE, practitioner=PractitionerId(new_id()))
    units.staff.accounts[account.id] = replace(units.staff.accounts[account.id], account=linked)
    assert (await door.caller(opened)).practitioner == linked.practitioner
    portal = replace(account, role=Role.PATIENT, patient=PatientId(new_id()))
    units.staff.accounts[account.id] = replace(units.staff.accounts[account.id], account=portal)
    caller = await door.caller(opened)
    assert (caller.patient, caller.practitioner) == (portal.patient, None)


@pytest.mark.parametrize("situation", REFUSALS)
async def test_a_refused_log_in_says_the_same_after_the_same_work_whatever_the_reason(
    door: FrontDoor, units: MemoryUnitsOfWork, situation: Callable[[FrontDoor], Awaitable[tuple[str, str]]]
) -> None:
    email, password = await situation(door)
    verified, events = door.passwords.verified, len(units.trail.events)
    with pytest.raises(WrongCredentials) as refusal:
        await door.sessions.log_in(email, password, RequestId(new_id()), "198.51.100.7")
    assert (type(refusal.value), str(refusal.value)) == (WrongCredentials, "The credentials do not match.")
    assert door.passwords.verified == verified + 1
    assert len(units.trail.events) == events + 1
    assert open_sessions(units) == 0


@pytest.mark.parametrize("situation", REFUSALS)
async def test_a_refused_log_in_is_remembered_as_nobodys_attempt_on_the_account(
    door: FrontDoor, units: MemoryUnitsOfWork, situation: Callable[[FrontDoor], Awaitable[tuple[str, str]]]
) -> None:
    email, password = await situation(door)
    with pytest.raises(WrongCredentials):
        await door.sessions.log_in(email, password, RequestId(new_id()), "198.51.100.7")
    event = last_event(units)
    assert (event.actor, event.role, event.action) == (ANONYMOUS, Role.NOBODY, Action.LOG_IN)
    assert (event.outcome, event.reason) == (Outcome.REFUSED, REFUSALS[situation])
    assert event.ids == tuple(units.staff.accounts)


async def test_a_log_in_is_remembered_as_the_accounts_own(door: FrontDoor, units: MemoryUnitsOfWork) -> None:
    account = await door.employed(Role.FRONT_DESK)
    events = len(units.trail.events)
    await door.logged_in(account)
    event = last_event(units)
    assert (event.actor, event.role, event.purpose) == (account.id, Role.FRONT_DESK, Purpose.OPERATIONS)
    assert (event.action, event.resource, event.ids) == (Action.LOG_IN, Resource.ACCOUNT, (account.id,))
    assert (event.outcome, event.reason) == (Outcome.SUCCEEDED, Reason.NONE)
    assert len(units.trail.events) == events + 1


async def test_a_refusal_that_the_trail_cannot_take_is_not_given_out(door: FrontDoor, units: MemoryUnitsOfWork) -> None:
    account = await door.employed()
    units.trail.refusing = True
    with pytest.raises(TrailUnavailable):
        await door.logged_in(account, password=WRONG)


async def test_a_hash_of_yesterdays_parameters_is_made_again_at_log_in(
    door: FrontDoor, units: MemoryUnitsOfWork
) -> None:
    account = await door.employed()
    await door.logged_in(account)
    assert units.staff.accounts[account.id].account.version == 1
    door.passwords.parameters = "stronger"
    opened = await door.logged_in(account)
    assert str(units.staff.accounts[account.id].password_hash).startswith("stronger:")
    assert opened.account.version == 2
    assert last_event(units).version == 2
    hashed = door.passwords.hashed
    await door.logged_in(account)
    assert door.passwords.hashed == hashed


async def test_a_wrong_password_never_becomes_the_hash(door: FrontDoor, units: MemoryUnitsOfWork) -> None:
    account = await door.employed()
    door.passwords.parameters = "stronger"
    with pytest.raises(WrongCredentials):
        await door.logged_in(account, password=WRONG)
    assert str(units.staff.accounts[account.id].password_hash).startswith("today:")


@pytest.mark.parametrize("outdated", [False, True])
async def test_a_password_that_was_reset_while_it_was_verified_opens_nothing(
    door: FrontDoor, units: MemoryUnitsOfWork, *, outdated: bool
) -> None:
    account = await door.employed()
    if outdated:
        door.passwords.parameters = "stronger"
    door.meanwhile = lambda: door.accounts.reset_password(the_operator(), account.id, "another river, other ferns")
    with pytest.raises(Unavailable):
        await door.logged_in(account)
    assert open_sessions(units) == 0
    assert last_event(units).reason is Reason.STALE
    await door.logged_in(account, password="another river, other ferns")


async def test_an_account_that_was_disabled_while_its_password_was_verified_opens_nothing(
    door: FrontDoor, units: MemoryUnitsOfWork
) -> None:
    account = await door.employed()
    door.meanwhile = lambda: door.accounts.disable(the_operator(), account.id)
    with pytest.raises(Unavailable):
        await door.logged_in(account)
    assert open_sessions(units) == 0


@pytest.mark.parametrize("action", [Action.LOG_IN, Action.REFRESH])
async def test_a_role_without_the_right_to_sessions_gets_none(
    door: FrontDoor, units: MemoryUnitsOfWork, monkeypatch: pytest.MonkeyPatch, action: Action
) -> None:
    account = await door.employed(Role.DEVICE)
    opened = await door.logged_in(account)
    cells = {
        place: cell for place, cell in POLICY.cells.items() if place[:3] != (Role.DEVICE, Resource.ACCOUNT, action)
    }
    monkeypatch.setattr("clarity.application.sessions.POLICY", Policy(cells))
    with pytest.raises(Unauthenticated):
        await (door.logged_in(account) if action is Action.LOG_IN else door.refreshed(opened))
    event = last_event(units)
    assert (event.action, event.outcome, event.reason) == (action, Outcome.REFUSED, Reason.NO_SUCH_RIGHT)


async def test_attempts_on_an_account_are_limited_for_one_address_and_no_other(
    door: FrontDoor, units: MemoryUnitsOfWork
) -> None:
    account = await door.employed()
    door.limits.at_most[ATTEMPTS_ON_ACCOUNT] = 3
    for _ in range(3):
        with pytest.raises(WrongCredentials):
            await door.logged_in(account, password=WRONG, address="203.0.113.66")
    verified = door.passwords.verified
    with pytest.raises(TooMany):
        await door.logged_in(account, address="203.0.113.66")
    assert door.passwords.verified == verified
    assert open_sessions(units) == 0
    await door.logged_in(account, address="198.51.100.7")


async def test_an_unknown_account_is_limited_like_any_other(door: FrontDoor) -> None:
    door.limits.at_most[ATTEMPTS_ON_ACCOUNT] = 2
    outcomes = []
    for spelling in ("nobody@example.org", " Nobody@Example.ORG", "NOBODY@example.org "):
        with pytest.raises((WrongCredentials, TooMany)) as refusal:
            await door.sessions.log_in(spelling, WRONG, RequestId(new_id()), "203.0.113.66")
        outcomes.append(refusal.type)
    assert outcomes == [WrongCredentials, WrongCredentials, TooMany]


async def test_another_spelling_of_the_address_gives_no_more_attempts(door: FrontDoor) -> None:
    await door.employed(email="zoë@example.org")
    door.limits.at_most[ATTEMPTS_ON_ACCOUNT] = 1
    with pytest.raises(WrongCredentials):
        await door.sessions.log_in("zoë@example.org", WRONG, RequestId(new_id()), "203.0.113.66")
    for spelling in ("ZOË@example.org", "zoe\u0308@example.org", "\tzoë@example.org "):
        with pytest.raises(TooMany):
            await door.sessions.log_in(spelling, PASSWORD, RequestId(new_id()), "203.0.113.66")


async def test_log_ins_from_one_address_are_limited_whichever_account_is_tried(door: FrontDoor) -> None:
    account = await door.employed()
    door.limits.at_most[LOG_INS_FROM_ADDRESS] = 3
    for number in range(3):
        with pytest.raises(WrongCredentials):
            await door.sessions.log_in(f"{number}@example.org", WRONG, RequestId(new_id()), "203.0.113.66")
    with pytest.raises(TooMany):
        await door.logged_in(account, address="203.0.113.66")
    await door.logged_in(account, address="203.0.113.67")


@pytest.mark.parametrize(
    ("first", "second", "shared"),
    [
        ("2001:db8:1:2::1", "2001:db8:1:2:ffff::9", True),
        ("2001:db8:1:2::1", "2001:db8:1:3::1", False),
        ("::ffff:203.0.113.66", "203.0.113.66", True),
        ("::ffff:203.0.113.66", "::ffff:203.0.113.67", False),
        ("a socket", "another socket", False),
    ],
)
async def test_addresses_that_one_client_can_choose_from_count_as_one(
    door: FrontDoor, first: str, second: str, *, shared: bool
) -> None:
    account = await door.employed()
    door.limits.at_most[LOG_INS_FROM_ADDRESS] = 1
    await door.logged_in(account, address=first)
    if shared:
        with pytest.raises(TooMany):
            await door.logged_in(account, address=second)
    else:
        await door.logged_in(account, address=second)


@pytest.mark.parametrize("what", [LOG_INS_FROM_ADDRESS, ATTEMPTS_ON_ACCOUNT, REFRESHES_FROM_ADDRESS])
async def test_too_many_attempts_are_remembered_without_filling_the_trail(
    door: FrontDoor, units: MemoryUnitsOfWork, what: str
) -> None:
    account = await door.employed()
    opened = await door.logged_in(account, address="198.51.100.7")
    events = len(units.trail.events)
    door.limits.at_most |= {what: 0, REFUSALS_TOLD: 1}
    for _ in range(5):
        with pytest.raises(TooMany) as refusal:
            await (door.refreshed(opened) if what is REFRESHES_FROM_ADDRESS else door.logged_in(account))
        assert refusal.value.retry_after_seconds == 60
    assert len(units.trail.events) == events + 1
    event = last_event(units)
    assert (event.actor, event.outcome, event.reason) == (ANONYMOUS, Outcome.REFUSED, Reason.TOO_MANY)


async def test_revoking_disabling_and_changing_hold_with_the_next_request(
    door: FrontDoor, units: MemoryUnitsOfWork
) -> None:
    account = await door.employed(Role.FRONT_DESK)
    opened = await door.logged_in(account)
    changed = replace(account, role=Role.RESEARCHER)
    units.staff.accounts[account.id] = replace(units.staff.accounts[account.id], account=changed)
    assert (await door.caller(opened)).role is Role.RESEARCHER
    await door.sessions.log_out(await door.caller(opened))
    assert not await door.holds(opened)


async def test_a_disabled_account_is_nobody_even_while_a_session_stands_open(
    door: FrontDoor, units: MemoryUnitsOfWork
) -> None:
    account = await door.employed()
    opened = await door.logged_in(account)
    await door.accounts.disable(the_operator(), account.id)
    for session in list(units.staff.sessions.values()):
        units.staff.sessions[session.id] = replace(session, revoked_at=None)
    assert not await door.holds(opened)
    with pytest.raises(Unauthenticated):
        await door.refreshed(opened)
    assert last_event(units).reason is Reason.DISABLED


async def test_a_token_for_a_session_that_is_not_there_is_good_for_nothing(door: FrontDoor) -> None:
    account = await door.employed()
    token = door.tokens.issue(account.id, SessionId(new_id()), door.at)
    with pytest.raises(Unauthenticated):
        await door.sessions.resolve(token, RequestId(new_id()))


async def test_a_token_for_the_session_of_another_account_is_good_for_nothing(
    door: FrontDoor, units: MemoryUnitsOfWork
) -> None:
    await door.logged_in(await door.employed())
    [session] = units.staff.sessions
    token = door.tokens.issue(AccountId(new_id()), session, door.at)
    with pytest.raises(Unauthenticated):
        await door.sessions.resolve(token, RequestId(new_id()))


async def test_telling_who_asks_leaves_no_event(door: FrontDoor, units: MemoryUnitsOfWork) -> None:
    opened = await door.logged_in(await door.employed())
    events = len(units.trail.events)
    await door.caller(opened)
    assert len(units.trail.events) == events


async def test_a_session_ends_at_its_time_however_often_it_is_refreshed(
    door: FrontDoor, units: MemoryUnitsOfWork
) -> None:
    door.session_ttl = timedelta(hours=1)
    opened = await door.logged_in(await door.employed())
    door.at += timedelta(minutes=59)
    opened = await door.refreshed(opened)
    assert await door.holds(opened)
    door.at += timedelta(minutes=1)
    assert not await door.holds(opened)
    with pytest.raises(Unauthenticated):
        await door.refreshed(opened)
    event = last_event(units)
    assert (event.actor, event.reason) == (ANONYMOUS, Reason.EXPIRED)


async def test_a_session_opened_by_a_clock_that_was_ahead_ends_with_the_others_once_it_is_refreshed(
    door: FrontDoor,
) -> None:
    door.session_ttl, ahead = timedelta(hours=1), timedelta(days=365)
    door.at += ahead
    opened = await door.logged_in(await door.employed())
    door.at -= ahead
    opened = await door.refreshed(opened)
    door.at += timedelta(hours=1) - timedelta(microseconds=1)
    opened = await door.refreshed(opened)
    assert await door.holds(opened)
    door.at += timedelta(microseconds=1)
    with pytest.raises(Unauthenticated):
        await door.refreshed(opened)


async def test_refreshing_gives_new_tokens_and_an_event(door: FrontDoor, units: MemoryUnitsOfWork) -> None:
    account = await door.employed()
    opened = await door.logged_in(account)
    events = len(units.trail.events)
    again = await door.refreshed(opened)
    assert again.refresh_token != opened.refresh_token
    assert again.access_token != opened.access_token
    assert await door.holds(again)
    event = last_event(units)
    assert (event.actor, event.action, event.ids) == (account.id, Action.REFRESH, (account.id,))
    assert event.outcome is Outcome.SUCCEEDED
    assert len(units.trail.events) == events + 1


@pytest.mark.parametrize("rotations", [1, 2, 5])
async def test_a_spent_refresh_token_ends_the_session_however_long_ago_it_was_spent(
    door: FrontDoor, units: MemoryUnitsOfWork, rotations: int
) -> None:
    account = await door.employed()
    bystander = await door.logged_in(account)
    stolen = newest = await door.logged_in(account)
    for _ in range(rotations):
        newest = await door.refreshed(newest)
    with pytest.raises(Unauthenticated):
        await door.refreshed(stolen)
    event = last_event(units)
    assert (event.actor, event.action, event.ids) == (ANONYMOUS, Action.REFRESH, (account.id,))
    assert (event.outcome, event.reason) == (Outcome.REFUSED, Reason.REPLAYED)
    assert not await door.holds(newest)
    with pytest.raises(Unauthenticated):
        await door.refreshed(newest)
    assert await door.holds(bystander)


async def test_an_unknown_refresh_token_is_refused_and_remembered(door: FrontDoor, units: MemoryUnitsOfWork) -> None:
    await door.logged_in(await door.employed())
    with pytest.raises(Unauthenticated):
        await door.sessions.refresh("a.b", RequestId(new_id()), "198.51.100.7")
    event = last_event(units)
    assert (event.actor, event.action, event.ids) == (ANONYMOUS, Action.REFRESH, ())
    assert (event.outcome, event.reason) == (Outcome.REFUSED, Reason.NO_SUCH_RECORD)
    assert open_sessions(units) == 1


async def test_of_two_who_refresh_at_once_one_wins_and_the_session_stays_with_them(
    door: FrontDoor, units: MemoryUnitsOfWork
) -> None:
    opened = await door.logged_in(await door.employed())
    won: list[Opened] = []

    async def win() -> None:
        won.append(await door.refreshed(opened))

    door.meanwhile = win
    with pytest.raises(Unauthenticated):
        await door.refreshed(opened)
    assert last_event(units).reason is Reason.STALE
    assert await door.holds(await door.refreshed(won[0]))


async def test_a_session_that_was_revoked_meanwhile_is_not_refreshed(door: FrontDoor, units: MemoryUnitsOfWork) -> None:
    account = await door.employed()
    opened = await door.logged_in(account)
    door.meanwhile = lambda: door.accounts.disable(the_operator(), account.id)
    with pytest.raises(Unauthenticated):
        await door.refreshed(opened)
    assert open_sessions(units) == 0


async def test_logging_out_ends_this_session_and_no_other(door: FrontDoor, units: MemoryUnitsOfWork) -> None:
    account = await door.employed()
    here, there = await door.logged_in(account), await door.logged_in(account)
    await door.sessions.log_out(await door.caller(here))
    event = last_event(units)
    assert (event.actor, event.action, event.ids) == (account.id, Action.LOG_OUT, (account.id,))
    assert not await door.holds(here)
    assert await door.holds(there)
    with pytest.raises(Unauthenticated):
        await door.refreshed(here)


async def test_who_came_without_a_session_cannot_log_out(door: FrontDoor) -> None:
    with pytest.raises(Unauthenticated):
        await door.sessions.log_out(an_actor(Role.ADMINISTRATOR))


async def test_what_a_client_is_given_stays_out_of_repr(door: FrontDoor) -> None:
    opened = await door.logged_in(await door.employed(email="grace@example.org"))
    for secret in (opened.access_token, opened.refresh_token, "grace@example.org"):
        assert secret not in repr(opened)


async def test_only_digests_of_refresh_tokens_are_stored(door: FrontDoor, units: MemoryUnitsOfWork) -> None:
    opened = await door.logged_in(await door.employed())
    [session] = units.staff.sessions.values()
    family, _, secret = opened.refresh_token.partition(".")
    stored = session.family_digest + session.refresh_digest
    assert len(stored) == 64
    assert not [part for part in (family, secret) if part.encode() in stored]
