"""Sending what waits in the outbox, at least once each, by however many processes."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta

from clarity.application.admission import require_right
from clarity.application.letters import letter_of
from clarity.application.pages import page_size
from clarity.application.ports import BeginReading, BeginWork, Clock, Postman
from clarity.application.retry import retrying
from clarity.domain.access import Action, Actor, Reason, right_to
from clarity.domain.accounts import Account, AccountStatus
from clarity.domain.audit import Attempt
from clarity.domain.errors import ClarityError, Undeliverable
from clarity.domain.ids import MessageId
from clarity.domain.messages import Posted
from clarity.domain.records import Resource

MOST_ATTEMPTS = 12
"""How often a message is tried: over about nine hours, by when its link has expired or a mail server is back."""

_FIRST_PAUSE, _LONGEST_PAUSE = timedelta(minutes=1), timedelta(hours=2)
# Longer than it takes to send one batch to a server that lets every attempt wait until it is given up.
_CLAIMED_FOR = timedelta(minutes=10)
_BATCH = 10

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Delivered:
    """How many messages were sent, are to be tried again, and were given up."""

    sent: int = 0
    postponed: int = 0
    given_up: int = 0

    def __add__(self, other: "Delivered") -> "Delivered":
        return Delivered(self.sent + other.sent, self.postponed + other.postponed, self.given_up + other.given_up)


@dataclass(frozen=True, slots=True)
class OutboxService:
    """The use-cases on the outbox. Each message leaves an event when it was sent, and one each time it was not."""

    begin: BeginWork
    reading: BeginReading
    postman: Postman
    now: Clock

    async def deliver(self, actor: Actor) -> Delivered:
        """Send every message that is due, and return how that went. Raises `Forbidden`."""
        if not right_to(actor, Action.CHANGE, Resource.MESSAGE).everybodys:
            async with self.reading() as work:
                attempt = Attempt(actor=actor, action=Action.CHANGE, at=self.now(), resource=Resource.MESSAGE)
                require_right(work.note(attempt), Action.CHANGE)
        total = Delivered()
        while claimed := await self._claim():
            for posted, account in claimed:
                total += await self._deliver(actor, posted, account)
        return total

    async def list(
        self, actor: Actor, *, before: MessageId | None = None, at_most: int = 50, unsent: bool = False
    ) -> tuple[Posted, ...]:
        """Return messages, the newest first, without what they say. Raises `Forbidden`."""
        size = page_size(at_most)
        async with self.reading() as work:
            attempt = work.note(Attempt(actor=actor, action=Action.LIST, at=self.now(), resource=Resource.MESSAGE))
            require_right(attempt, Action.LIST)
            found = tuple(await work.outbox.find_page(before=before, at_most=size, unsent=unsent))
            attempt.ids = tuple(posted.id for posted in found)
        return found

    async def _claim(self) -> Sequence[tuple[Posted, Account]]:
        # Asked outside a transaction first: mostly there is nothing, and SQLite has one writer at a time.
        async with self.reading() as work:
            if not await work.outbox.is_due(self.now()):
                return []
        return await self._claim_due()

    @retrying
    async def _claim_due(self) -> Sequence[tuple[Posted, Account]]:
        async with self.begin() as work:
            at = self.now()
            claimed = await work.outbox.claim(at, at + _CLAIMED_FOR, at_most=_BATCH)
            return [(posted, await work.accounts.get(posted.message.to)) for posted in claimed]

    async def _deliver(self, actor: Actor, posted: Posted, account: Account) -> Delivered:
        if account.machine or account.status is AccountStatus.DISABLED:
            return await self._give_up(actor, posted, Reason.DISABLED)
        try:
            letter = letter_of(posted, account)
        except KeyError:
            return await self._give_up(actor, posted, Reason.INVALID)
        try:
            await self.postman.send(letter)
        except Undeliverable as exc:
            _log.warning("message %s was not sent (attempt %d): %s", posted.id, posted.attempts, exc)
            if posted.attempts >= MOST_ATTEMPTS:
                return await self._give_up(actor, posted, Reason.BUSY)
            return await self._postpone(actor, posted)
        return await self._finish(actor, posted)

    @retrying
    async def _finish(self, actor: Actor, posted: Posted) -> Delivered:
        async with self.begin() as work:
            attempt = work.note(self._attempt(actor, posted))
            await work.outbox.finish(posted.id, attempt.at)
        return Delivered(sent=1)

    @retrying
    async def _postpone(self, actor: Actor, posted: Posted) -> Delivered:
        pause = min(_FIRST_PAUSE * 2 ** (posted.attempts - 1), _LONGEST_PAUSE)
        async with self.begin() as work:
            attempt = work.note(self._attempt(actor, posted))
            attempt.fail(Undeliverable())
            await work.outbox.postpone(posted.id, attempt.at + pause)
        return Delivered(postponed=1)

    @retrying
    async def _give_up(self, actor: Actor, posted: Posted, reason: Reason) -> Delivered:
        async with self.begin() as work:
            attempt = work.note(self._attempt(actor, posted))
            attempt.refuse(reason)
            await work.outbox.give_up(posted.id)
        return Delivered(given_up=1)

    def _attempt(self, actor: Actor, posted: Posted) -> Attempt:
        return Attempt(actor=actor, action=Action.CHANGE, at=self.now(), resource=Resource.MESSAGE, ids=(posted.id,))


async def keep_delivering(
    outbox: OutboxService, actor: Callable[[], Actor], stopping: asyncio.Event, *, pause_seconds: float
) -> None:
    """Send what is due again and again until `stopping` is set, and then once more.

    Whatever fails is tried again after a pause: a database that is away stops nothing but the messages in it.
    """
    stopped = False
    while not stopped:
        stopped = stopping.is_set()
        try:
            await outbox.deliver(actor())
        except ClarityError as exc:
            _log.warning("the outbox waits: %s", type(exc).__name__)
        if not stopped:
            try:
                await asyncio.wait_for(stopping.wait(), pause_seconds)
            except TimeoutError:
                continue
