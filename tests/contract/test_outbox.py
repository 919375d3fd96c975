"""The outbox, on every storage: a message is sent if its cause was kept, at least once, and then forgotten."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta

import pytest

from clarity.application.letters import letter_of
from clarity.application.outbox import MOST_ATTEMPTS, Delivered, OutboxService, keep_delivering
from clarity.application.ports import Work
from clarity.domain.access import SENDER, Action, Actor, Reason, Role
from clarity.domain.accounts import Account
from clarity.domain.audit import Attempt, AuditEvent, Outcome
from clarity.domain.errors import Forbidden, TrailUnavailable, UnauditedAccess, Unavailable
from clarity.domain.ids import AccountId, MessageId
from clarity.domain.messages import Message, MessageKind, Posted
from clarity.domain.records import Resource
from tests.builders import NOW, an_actor, new_id, the_operator
from tests.fakes.accounts import FrontDoor, KeptLetters
from tests.practice import Practice, memory_practice

CONTENT = {
    "day": "2026-03-13",
    "findings": "nothing unusual",
    "link": "https://clinic.test/app/x#token",
    "until": "then",
    "id": "7",
    "role": "nurse",
    "time": "now",
}


@pytest.fixture
def door(practice: Practice) -> FrontDoor:
    return FrontDoor(practice.begin, practice.reading)


def the_sender() -> Actor:
    return replace(the_operator(), id=SENDER, operator="")


@asynccontextmanager
async def causing(door: FrontDoor) -> AsyncIterator[Work]:
    """Begin work that may cause a message."""
    async with door.begin() as work:
        work.note(Attempt(actor=the_operator(), action=Action.CHANGE, at=NOW, resource=Resource.ACCOUNT))
        yield work


async def posted(door: FrontDoor, kind: MessageKind = MessageKind.PASSWORD_RESET) -> Account:
    account = await door.employed()
    async with causing(door) as work:
        await work.outbox.put(Message(to=account.id, kind=kind, content=CONTENT))
    return account


async def listed(door: FrontDoor, *, unsent: bool = False) -> tuple[Posted, ...]:
    return await door.outbox.list(the_operator(), unsent=unsent)


async def of_messages(practice: Practice) -> list[AuditEvent]:
    return [event for event in await practice.events() if event.resource is Resource.MESSAGE]


@pytest.mark.parametrize("kind", MessageKind)
async def test_a_message_of_every_kind_is_sent_once_and_emptied(
    door: FrontDoor, practice: Practice, kind: MessageKind
) -> None:
    account = await posted(door, kind)
    assert await door.outbox.deliver(the_sender()) == Delivered(sent=1)
    assert await door.outbox.deliver(the_sender()) == Delivered()
    (letter,) = door.postman.letters
    assert letter.to == account.email
    assert "$" not in letter.body
    event = (await of_messages(practice))[-1]
    assert (event.actor, event.ids, event.outcome) == (SENDER, (letter.id,), Outcome.SUCCEEDED)
    (kept,) = await listed(door)
    assert (kept.sent_at, kept.emptied, kept.attempts) == (NOW, True, 1)
    assert await listed(door, unsent=True) == ()


async def test_what_was_rolled_back_is_not_said(door: FrontDoor) -> None:
    account = await door.employed()
    with pytest.raises(RuntimeError):
        async with causing(door) as work:
            await work.outbox.put(Message(to=account.id, kind=MessageKind.PASSWORD_CHANGED))
            raise RuntimeError
    assert await listed(door) == ()


async def test_nothing_is_said_that_nobody_did(door: FrontDoor) -> None:
    account = await door.employed()
    with pytest.raises(UnauditedAccess):
        async with door.begin() as work:
            await work.outbox.put(Message(to=account.id, kind=MessageKind.PASSWORD_CHANGED))


async def test_a_message_is_tried_again_after_growing_pauses_and_given_up_in_the_end(
    door: FrontDoor, practice: Practice
) -> None:
    await posted(door)
    door.postman.away = True
    pauses = []
    for _ in range(MOST_ATTEMPTS - 1):
        assert await door.outbox.deliver(the_sender()) == Delivered(postponed=1)
        (waiting,) = await listed(door)
        pauses.append(waiting.due_at - door.at)
        assert await door.outbox.deliver(the_sender()) == Delivered(), "not before it is due"
        door.at = waiting.due_at
    assert pauses[:3] == [timedelta(minutes=1), timedelta(minutes=2), timedelta(minutes=4)]
    assert pauses[-1] == timedelta(hours=2)
    assert await door.outbox.deliver(the_sender()) == Delivered(given_up=1)
    (given_up,) = await listed(door, unsent=True)
    assert given_up.given_up
    door.postman.away, door.at = False, door.at + timedelta(days=1)
    assert await door.outbox.deliver(the_sender()) == Delivered()
    tried = [event for event in await of_messages(practice) if event.action is Action.CHANGE]
    assert len(tried) == MOST_ATTEMPTS
    assert all(event.outcome is not Outcome.SUCCEEDED for event in tried)


async def test_two_senders_at_once_send_each_message_once(door: FrontDoor) -> None:
    for _ in range(5):
        await posted(door)
    done = await asyncio.gather(*(door.outbox.deliver(the_sender()) for _ in range(3)))
    assert sum(one.sent for one in done) == 5
    assert len({letter.id for letter in door.postman.letters}) == len(door.postman.letters) == 5


async def test_a_message_whose_sender_died_is_sent_by_the_next(door: FrontDoor) -> None:
    await posted(door)
    async with door.begin() as work:
        (claimed,) = await work.outbox.claim(NOW, NOW + timedelta(minutes=10), at_most=5)
    assert claimed.message.content == CONTENT
    assert await door.outbox.deliver(the_sender()) == Delivered()
    door.at = NOW + timedelta(minutes=10)
    assert await door.outbox.deliver(the_sender()) == Delivered(sent=1)
    assert (await listed(door))[0].attempts == 2


async def test_a_message_that_cannot_be_written_holds_up_no_other(door: FrontDoor) -> None:
    account = await door.employed()
    async with causing(door) as work:
        await work.outbox.put(Message(to=account.id, kind=MessageKind.PASSWORD_RESET))
    await posted(door)
    assert await door.outbox.deliver(the_sender()) == Delivered(sent=1, given_up=1)


async def test_nobody_is_written_to_whose_account_is_disabled(door: FrontDoor, practice: Practice) -> None:
    account = await posted(door)
    await door.accounts.disable(the_operator(), account.id)
    assert await door.outbox.deliver(the_sender()) == Delivered(given_up=1)
    assert door.postman.letters == []
    assert (await of_messages(practice))[-1].reason is Reason.DISABLED


@pytest.mark.parametrize("role", [role for role in Role if role is not Role.SYSTEM])
async def test_the_outbox_is_for_the_system_alone(role: Role) -> None:
    practice = memory_practice()
    door = FrontDoor(practice.begin, practice.reading)
    await posted(door)
    for attempt in (door.outbox.deliver(an_actor(role)), door.outbox.list(an_actor(role))):
        with pytest.raises(Forbidden):
            await attempt
        assert (await practice.events())[-1].outcome is Outcome.REFUSED
    assert door.postman.letters == []


async def test_the_newest_messages_are_listed_first_without_what_they_say(door: FrontDoor) -> None:
    for _ in range(3):
        await posted(door)
    newest, second = await door.outbox.list(the_operator(), at_most=2)
    (oldest,) = await door.outbox.list(the_operator(), before=second.id)
    assert newest.id > second.id > oldest.id
    assert all(one.message.content == {} and not one.given_up for one in (newest, second, oldest))


async def test_sending_goes_on_until_it_is_told_to_stop_whatever_fails(door: FrontDoor) -> None:
    await posted(door)
    stopping, failing = asyncio.Event(), door.begin

    @asynccontextmanager
    async def away() -> AsyncIterator[Work]:
        outbox_fails.append(True)
        if len(outbox_fails) == 1:
            raise Unavailable
        if len(outbox_fails) == 2:
            raise TrailUnavailable
        async with failing() as work:
            yield work

    outbox_fails: list[bool] = []
    postman = KeptLetters()
    outbox = OutboxService(away, door.reading, postman, lambda: NOW)
    sending = asyncio.create_task(keep_delivering(outbox, the_sender, stopping, pause_seconds=0.001))
    while not postman.letters:
        await asyncio.sleep(0.001)
    stopping.set()
    await asyncio.wait_for(sending, 5)
    assert len(outbox_fails) > 2


async def test_what_is_due_at_the_end_is_still_sent(door: FrontDoor) -> None:
    stopping = asyncio.Event()
    sending = asyncio.create_task(keep_delivering(door.outbox, the_sender, stopping, pause_seconds=600))
    await asyncio.sleep(0)
    await posted(door)
    stopping.set()
    await asyncio.wait_for(sending, 5)
    assert len(door.postman.letters) == 1


def test_a_text_lacks_nothing_that_its_kind_has_no_place_for() -> None:
    account = Account(id=AccountId(new_id()), email="grace@example.org", name="Grace Hopper", role=Role.FRONT_DESK)
    for kind in MessageKind:
        message = Message(to=account.id, kind=kind, content={**CONTENT, "patient": "Ada Lovelace"})
        posted = Posted(id=MessageId(new_id()), message=message, created_at=NOW, due_at=NOW, attempts=1)
        letter = letter_of(posted, account)
        assert "Ada" not in letter.body
        assert "grace" not in repr(letter)
        assert "token" not in repr(message)
