"""Requests for accounts that come again under their idempotency key, on every storage."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from clarity.application.patients import RepeatKey
from clarity.domain.access import Action, Actor, Reason, Role
from clarity.domain.accounts import Account
from clarity.domain.audit import Outcome
from clarity.domain.errors import DuplicateEmail, Forbidden, ReusedKey
from tests.builders import an_actor, the_operator
from tests.contract.test_account_life import the_sender
from tests.fakes.accounts import FrontDoor
from tests.practice import Practice

KEY = RepeatKey(key="k1", request=b"the body")
Make = Callable[..., Awaitable[Account]]


@pytest.fixture
def door(practice: Practice) -> FrontDoor:
    return FrontDoor(practice.begin, practice.reading)


@pytest.fixture(params=["invite", "add_machine"])
def make(request: pytest.FixtureRequest, door: FrontDoor) -> Make:
    use_case: Make = getattr(door.accounts, request.param)

    async def made(actor: Actor, repeat: RepeatKey = KEY) -> Account:
        return await use_case(actor, email="ada@example.org", name="Ada", role=Role.RESEARCHER, repeat=repeat)

    return made


async def test_a_request_for_an_account_that_comes_again_finds_what_the_first_made(
    practice: Practice, door: FrontDoor, make: Make
) -> None:
    administrator = an_actor(Role.ADMINISTRATOR)
    first = await make(administrator)
    await door.outbox.deliver(the_sender())
    sent = len(door.postman.letters)
    assert await make(administrator) == first
    await door.outbox.deliver(the_sender())
    assert len(door.postman.letters) == sent
    assert (await door.accounts.list(the_operator())).count == 1
    told = [event for event in await practice.events() if event.actor == administrator.id]
    assert [(event.action, event.ids) for event in told] == [(Action.REGISTER, (first.id,)), (Action.VIEW, (first.id,))]


async def test_a_key_of_an_account_belongs_to_one_request_and_to_one_actor(practice: Practice, make: Make) -> None:
    administrator = an_actor(Role.ADMINISTRATOR)
    await make(administrator)
    with pytest.raises(ReusedKey):
        await make(administrator, RepeatKey(key=KEY.key, request=b"another body"))
    event = (await practice.events())[-1]
    assert (event.action, event.outcome, event.reason) == (Action.REGISTER, Outcome.FAILED, Reason.CONFLICT)
    with pytest.raises(DuplicateEmail):
        await make(an_actor(Role.ADMINISTRATOR))


async def test_a_repeated_request_for_an_account_is_decided_again(make: Make) -> None:
    administrator = an_actor(Role.ADMINISTRATOR)
    await make(administrator)
    with pytest.raises(Forbidden):
        await make(an_actor(Role.CLINICIAN, actor_id=administrator.id))


async def test_a_request_for_an_account_that_arrives_twice_at_once_happens_once(door: FrontDoor, make: Make) -> None:
    administrator = an_actor(Role.ADMINISTRATOR)
    made = await asyncio.gather(*(make(administrator) for _ in range(4)))
    assert len({account.id for account in made}) == 1
    assert (await door.accounts.list(the_operator())).count == 1
