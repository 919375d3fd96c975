"""Accounts from invitation to the end, links that work once, and the messages that carry them, on every storage."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from clarity.domain.access import SENDER, Action, Actor, Reason, Role
from clarity.domain.accounts import Account, AccountStatus
from clarity.domain.audit import Attempt, Outcome
from clarity.domain.errors import (
    Conflict,
    DeadLink,
    Forbidden,
    Invalid,
    LastAdministrator,
    PractitionerHasAccount,
    TooMany,
    WrongCredentials,
)
from clarity.domain.ids import RequestId
from clarity.domain.links import LinkPurpose
from clarity.domain.messages import Message, MessageKind
from clarity.domain.records import Resource
from tests.builders import NOW, a_practitioner, an_actor, new_id, the_operator
from tests.fakes.accounts import ADDRESS, LINK_LIFETIMES, PASSWORD, FrontDoor
from tests.practice import Practice

NEW_PASSWORD = "nine lanterns over the harbour"


@pytest.fixture
def door(practice: Practice) -> FrontDoor:
    return FrontDoor(practice.begin, practice.reading)


def the_sender() -> Actor:
    return replace(the_operator(), id=SENDER, operator="")


async def token_sent(door: FrontDoor) -> str:
    """Send what is due, and return the token of the link in the newest letter."""
    await door.outbox.deliver(the_sender())
    link = next(line for line in door.postman.letters[-1].body.splitlines() if "#" in line)
    return link.partition("#")[2]


async def invited(door: FrontDoor, role: Role = Role.FRONT_DESK) -> Account:
    return await door.accounts.invite(
        the_operator(), email=f"{new_id().hex}@example.org", name="Grace Hopper", role=role
    )


async def activate(door: FrontDoor, token: str, password: str = PASSWORD) -> Account:
    return await door.own_passwords.activate(token, password, request=RequestId(new_id()), address=ADDRESS)


async def reset(door: FrontDoor, token: str, password: str = NEW_PASSWORD) -> Account:
    return await door.own_passwords.reset_by_link(token, password, request=RequestId(new_id()), address=ADDRESS)


async def ask_for_reset(door: FrontDoor, email: str) -> None:
    await door.own_passwords.request_reset(email, RequestId(new_id()), ADDRESS)


async def reset_token(door: FrontDoor, account: Account) -> str:
    await ask_for_reset(door, account.email)
    return await token_sent(door)


async def test_who_is_invited_chooses_a_password_and_logs_in(door: FrontDoor, practice: Practice) -> None:
    account = await invited(door)
    assert account.status is AccountStatus.INVITED
    with pytest.raises(WrongCredentials):
        await door.logged_in(account)
    activated = await activate(door, await token_sent(door))
    assert activated == replace(account, status=AccountStatus.ACTIVE, version=2)
    assert (await door.logged_in(account)).account == activated
    letter = door.postman.letters[-1]
    assert letter.to == account.email
    assert "https://clinic.test/app/invitation#" in letter.body
    event = next(event for event in await practice.events() if event.action is Action.ACTIVATE)
    assert (event.actor, event.ids, event.version, event.outcome) == (account.id, (account.id,), 2, Outcome.SUCCEEDED)


async def test_a_link_works_once(door: FrontDoor, practice: Practice) -> None:
    await invited(door)
    token = await token_sent(door)
    account = await activate(door, token)
    with pytest.raises(DeadLink):
        await activate(door, token, NEW_PASSWORD)
    await door.logged_in(account)
    refused = (await practice.events())[-2]
    assert (refused.action, refused.outcome, refused.reason) == (Action.ACTIVATE, Outcome.REFUSED, Reason.REPLAYED)


async def test_of_two_who_use_a_link_at_once_one_does(door: FrontDoor) -> None:
    account = await invited(door)
    token = await token_sent(door)
    passwords = [PASSWORD, NEW_PASSWORD]
    ended = await asyncio.gather(*(activate(door, token, one) for one in passwords), return_exceptions=True)
    assert [type(one) for one in ended if isinstance(one, BaseException)] == [DeadLink]
    winner = next(password for password, one in zip(passwords, ended, strict=True) if isinstance(one, Account))
    loser = next(password for password in passwords if password != winner)
    await door.logged_in(account, password=winner)
    with pytest.raises(WrongCredentials):
        await door.logged_in(account, password=loser)


@pytest.mark.parametrize("purpose", LinkPurpose)
async def test_a_link_expires_to_the_second(door: FrontDoor, purpose: LinkPurpose) -> None:
    if purpose is LinkPurpose.INVITATION:
        await invited(door)
        token, use = await token_sent(door), activate
    else:
        token, use = await reset_token(door, await door.employed()), reset
    door.at = NOW + LINK_LIFETIMES[purpose]
    with pytest.raises(DeadLink):
        await use(door, token)
    door.at -= timedelta(seconds=1)
    await use(door, token)


async def test_a_link_is_good_for_its_own_purpose_alone(door: FrontDoor) -> None:
    await invited(door)
    with pytest.raises(DeadLink):
        await reset(door, await token_sent(door))
    account = await door.employed()
    with pytest.raises(DeadLink):
        await activate(door, await reset_token(door, account), NEW_PASSWORD)
    await door.logged_in(account)


@pytest.mark.parametrize("token", ["", "x" * 43, "\x00", "\ud800"])
async def test_what_is_no_link_opens_nothing(door: FrontDoor, token: str) -> None:
    await invited(door)
    for use in (activate, reset):
        with pytest.raises(DeadLink):
            await use(door, token)


async def test_a_weak_password_leaves_the_link_good(door: FrontDoor) -> None:
    await invited(door)
    token = await token_sent(door)
    with pytest.raises(Invalid):
        await activate(door, token, "short")
    await activate(door, token)


async def test_a_newer_link_takes_the_place_of_older_ones(door: FrontDoor) -> None:
    account = await door.employed()
    first = await reset_token(door, account)
    second = await reset_token(door, account)
    with pytest.raises(DeadLink):
        await reset(door, first)
    await reset(door, second)


async def test_a_reset_ends_every_session_and_is_told(door: FrontDoor) -> None:
    account = await door.employed()
    session = await door.logged_in(account)
    await reset(door, await reset_token(door, account))
    assert not await door.holds(session)
    with pytest.raises(WrongCredentials):
        await door.logged_in(account)
    await door.logged_in(account, password=NEW_PASSWORD)
    await door.outbox.deliver(the_sender())
    assert door.postman.letters[-1].subject == "Your password for Clarity was changed"


async def changed_by_operator(door: FrontDoor, account: Account) -> None:
    await door.accounts.reset_password(the_operator(), account.id, NEW_PASSWORD)


async def changed_by_holder(door: FrontDoor, account: Account) -> None:
    caller = await door.caller(await door.logged_in(account))
    await door.own_passwords.change(caller, PASSWORD, NEW_PASSWORD)


async def disabled(door: FrontDoor, account: Account) -> None:
    await door.accounts.disable(the_operator(), account.id)


async def disabled_and_enabled(door: FrontDoor, account: Account) -> None:
    await disabled(door, account)
    await door.accounts.enable(the_operator(), account.id)


@pytest.mark.parametrize("happens", [changed_by_operator, changed_by_holder, disabled, disabled_and_enabled])
async def test_a_link_does_not_outlive_what_it_was_sent_for(
    door: FrontDoor, happens: Callable[[FrontDoor, Account], Awaitable[None]]
) -> None:
    account = await door.employed()
    token = await reset_token(door, account)
    await happens(door, account)
    with pytest.raises(DeadLink):
        await reset(door, token)


async def test_an_account_that_is_disabled_while_a_password_is_hashed_stays_disabled(door: FrontDoor) -> None:
    account = await door.employed()
    token = await reset_token(door, account)
    door.meanwhile = lambda: disabled(door, account)
    with pytest.raises(DeadLink):
        await reset(door, token)
    assert (await door.accounts.view(the_operator(), account.id)).status is AccountStatus.DISABLED


async def test_a_changed_password_ends_the_other_sessions(door: FrontDoor, practice: Practice) -> None:
    account = await door.employed()
    here, elsewhere = await door.logged_in(account), await door.logged_in(account)
    await door.own_passwords.change(await door.caller(here), PASSWORD, NEW_PASSWORD)
    assert await door.holds(here)
    assert not await door.holds(elsewhere)
    await door.logged_in(account, password=NEW_PASSWORD)
    event = next(event for event in await practice.events() if event.action is Action.CHANGE_PASSWORD)
    assert (event.actor, event.ids, event.outcome) == (account.id, (account.id,), Outcome.SUCCEEDED)


async def test_who_does_not_know_the_password_does_not_change_it(door: FrontDoor, practice: Practice) -> None:
    account = await door.employed()
    caller = await door.caller(await door.logged_in(account))
    with pytest.raises(Invalid) as refusal:
        await door.own_passwords.change(caller, NEW_PASSWORD, NEW_PASSWORD)
    assert refusal.value.field == "current"
    with pytest.raises(Invalid) as refusal:
        await door.own_passwords.change(caller, PASSWORD, "short")
    assert refusal.value.field == "password"
    door.limits.at_most["password-again"] = 2
    with pytest.raises(TooMany):
        await door.own_passwords.change(caller, PASSWORD, NEW_PASSWORD)
    await door.logged_in(account)
    refused = [event.reason for event in await practice.events() if event.action is Action.CHANGE_PASSWORD]
    assert refused == [Reason.WRONG_CREDENTIALS, Reason.TOO_MANY]


async def nobody(door: FrontDoor) -> str:
    del door
    return "nobody@example.org"


async def somebody_disabled(door: FrontDoor) -> str:
    account = await door.employed()
    await disabled(door, account)
    return account.email


async def somebody_invited(door: FrontDoor) -> str:
    email = (await invited(door)).email
    await door.outbox.deliver(the_sender())
    return email


async def a_machine(door: FrontDoor) -> str:
    machine = await door.accounts.add_machine(
        the_operator(), email=f"{new_id().hex}@example.org", name="Nightly report", role=Role.RESEARCHER
    )
    return machine.email


@pytest.mark.parametrize("whose", [nobody, somebody_disabled, somebody_invited, a_machine])
async def test_who_cannot_log_in_is_sent_no_link_and_nothing_tells(
    door: FrontDoor, practice: Practice, whose: Callable[[FrontDoor], Awaitable[str]]
) -> None:
    email = await whose(door)
    letters = len(door.postman.letters)
    await ask_for_reset(door, email)
    await door.outbox.deliver(the_sender())
    assert len(door.postman.letters) == letters
    asked = [event for event in await practice.events() if event.action is Action.REQUEST_RESET]
    assert [(event.outcome, len(event.ids)) for event in asked] == [(Outcome.REFUSED, 1)]
    with pytest.raises(WrongCredentials):
        await door.sessions.log_in(email, PASSWORD, RequestId(new_id()), ADDRESS)


async def test_nobody_is_sent_more_than_a_few_links(door: FrontDoor) -> None:
    account = await door.employed()
    door.limits.at_most["reset"] = 2
    for typed in (account.email, account.email.upper(), f" {account.email}", account.email):
        await ask_for_reset(door, typed)
    await door.outbox.deliver(the_sender())
    assert len(door.postman.letters) == 2
    await reset(door, await token_sent(door))


async def test_asking_for_links_is_limited_for_each_address(door: FrontDoor) -> None:
    door.limits.at_most["reset-from-address"] = 2
    for _ in range(2):
        await ask_for_reset(door, "nobody@example.org")
    with pytest.raises(TooMany):
        await ask_for_reset(door, "nobody@example.org")


async def test_an_enabled_account_goes_on_where_it_was(door: FrontDoor) -> None:
    account, newcomer = await door.employed(), await invited(door)
    await door.outbox.deliver(the_sender())
    for one in (account, newcomer):
        await disabled(door, one)
    assert (await door.accounts.enable(the_operator(), account.email)).status is AccountStatus.ACTIVE
    await door.logged_in(account)
    assert (await door.accounts.enable(the_operator(), newcomer.id)).status is AccountStatus.INVITED
    await activate(door, await token_sent(door))
    await door.logged_in(newcomer)


async def test_a_practitioner_has_one_account_in_use(door: FrontDoor, practice: Practice) -> None:
    anna = (await practice.employed(a_practitioner())).id
    first = await door.employed(Role.CLINICIAN, practitioner=anna)
    with pytest.raises(PractitionerHasAccount):
        await door.employed(Role.NURSE, practitioner=anna)
    other = await door.employed()
    with pytest.raises(PractitionerHasAccount):
        await door.accounts.change_role(the_operator(), other.id, Role.NURSE, practitioner=anna)
    await disabled(door, first)
    await door.accounts.change_role(the_operator(), other.id, Role.NURSE, practitioner=anna)
    with pytest.raises(PractitionerHasAccount):
        await door.accounts.enable(the_operator(), first.id)


async def test_a_changed_role_ends_the_sessions_and_brings_its_own_links(door: FrontDoor, practice: Practice) -> None:
    anna = (await practice.employed(a_practitioner())).id
    account = await door.employed(Role.CLINICIAN, practitioner=anna)
    session = await door.logged_in(account)
    with pytest.raises(Invalid):
        await door.accounts.change_role(the_operator(), account.id, Role.RESEARCHER, practitioner=anna)
    with pytest.raises(Invalid):
        await door.accounts.change_role(the_operator(), account.id, Role.NURSE, practitioner=a_practitioner().id)
    assert await door.holds(session)
    changed = await door.accounts.change_role(the_operator(), account.id, Role.RESEARCHER)
    assert changed == replace(account, role=Role.RESEARCHER, practitioner=None, version=2)
    assert not await door.holds(session)


async def test_nobody_acts_on_their_own_account(door: FrontDoor, practice: Practice) -> None:
    account = await door.employed(Role.ADMINISTRATOR)
    await door.employed(Role.ADMINISTRATOR)
    own = an_actor(Role.ADMINISTRATOR, actor_id=account.id)
    attempts = (
        door.accounts.disable(own, account.id),
        door.accounts.enable(own, account.email),
        door.accounts.change_role(own, account.id, Role.RESEARCHER),
        door.accounts.reset_password(own, account.id, NEW_PASSWORD),
    )
    for attempt in attempts:
        with pytest.raises(Forbidden):
            await attempt
        event = (await practice.events())[-1]
        assert (event.outcome, event.reason, event.ids) == (Outcome.REFUSED, Reason.NO_SUCH_RIGHT, (account.id,))
    assert await door.accounts.view(own, account.id) == account


async def test_a_refused_attempt_says_at_whose_account(door: FrontDoor, practice: Practice) -> None:
    target = (await door.employed(Role.RESEARCHER)).id
    desk = an_actor(Role.FRONT_DESK)
    for attempt in (
        door.accounts.view(desk, target),
        door.accounts.change_role(desk, target, Role.ADMINISTRATOR),
        door.accounts.disable(desk, target),
        door.accounts.send_reset(desk, target),
        door.accounts.reset_password(desk, target, NEW_PASSWORD),
        door.second_factors.remove_of(desk, target),
    ):
        with pytest.raises(Forbidden):
            await attempt
        event = (await practice.events())[-1]
        assert (event.actor, event.outcome, event.ids) == (desk.id, Outcome.REFUSED, (target,))


async def test_the_last_administrator_stays(door: FrontDoor) -> None:
    last, other = await door.employed(Role.ADMINISTRATOR), await door.employed(Role.ADMINISTRATOR)
    await door.accounts.add_machine(the_operator(), email="a@example.org", name="Robot", role=Role.ADMINISTRATOR)
    await invited(door, Role.ADMINISTRATOR)
    await disabled(door, other)
    with pytest.raises(LastAdministrator):
        await disabled(door, last)
    with pytest.raises(LastAdministrator):
        await door.accounts.change_role(the_operator(), last.id, Role.RESEARCHER)
    await door.accounts.enable(the_operator(), other.id)
    await disabled(door, last)


async def test_of_two_administrators_who_disable_each_other_one_stays(door: FrontDoor) -> None:
    ada, eve = await door.employed(Role.ADMINISTRATOR), await door.employed(Role.ADMINISTRATOR)
    ended = await asyncio.gather(
        door.accounts.disable(an_actor(Role.ADMINISTRATOR, actor_id=ada.id), eve.id),
        door.accounts.disable(an_actor(Role.ADMINISTRATOR, actor_id=eve.id), ada.id),
        return_exceptions=True,
    )
    assert [type(one) for one in ended if isinstance(one, BaseException)] == [LastAdministrator]


async def test_a_machine_has_no_password_and_gets_no_mail(door: FrontDoor) -> None:
    email = await a_machine(door)
    machine = await door.accounts.view(the_operator(), email)
    assert (machine.machine, machine.status) == (True, AccountStatus.ACTIVE)
    for attempt in (
        door.accounts.send_reset(the_operator(), machine.id),
        door.accounts.reset_password(the_operator(), machine.id, NEW_PASSWORD),
    ):
        with pytest.raises(Conflict):
            await attempt
    async with door.begin() as work:
        work.note(an_attempt())
        await work.outbox.put(Message(to=machine.id, kind=MessageKind.SECOND_FACTOR_CHANGED))
    assert (await door.outbox.deliver(the_sender())).given_up == 1
    assert door.postman.letters == []


async def test_an_administrator_sends_the_link_that_fits(door: FrontDoor) -> None:
    account, newcomer = await door.employed(), await invited(door)
    await door.accounts.send_reset(the_operator(), account.id)
    await reset(door, await token_sent(door))
    first = token_sent_to(door, newcomer)
    await door.accounts.send_reset(the_operator(), newcomer.id)
    with pytest.raises(DeadLink):
        await activate(door, first)
    await activate(door, await token_sent(door))
    await disabled(door, account)
    with pytest.raises(Conflict):
        await door.accounts.send_reset(the_operator(), account.id)


def token_sent_to(door: FrontDoor, account: Account) -> str:
    letter = next(letter for letter in door.postman.letters if letter.to == account.email)
    return letter.body.partition("#")[2].split()[0]


def an_attempt() -> Attempt:
    return Attempt(actor=the_operator(), action=Action.CHANGE, at=NOW, resource=Resource.ACCOUNT)
