"""One-time links and the outbox in dictionaries."""

from dataclasses import dataclass, replace
from datetime import datetime

from clarity.domain.errors import StaleWrite
from clarity.domain.ids import AccountId, MessageId
from clarity.domain.links import Link
from clarity.domain.messages import Message, Posted
from clarity.domain.records import Resource
from clarity.persistence.ledger import Ledger
from tests.builders import new_id
from tests.fakes.accounts import MemoryStaff


@dataclass(frozen=True, slots=True)
class MemoryLinkRepository:
    """`LinkRepository` over `MemoryStaff`."""

    staff: MemoryStaff
    ledger: Ledger

    async def add(self, link: Link) -> None:
        for one in self._open(link.account):
            if one.purpose is link.purpose:
                self.staff.links[one.digest] = replace(one, used_at=link.created_at)
        if link.account in self.staff.accounts:
            self.staff.links[link.digest] = link

    async def find(self, digest: bytes) -> Link | None:
        return self.staff.links.get(digest)

    async def spend(self, link: Link, at: datetime) -> None:
        stored = self.staff.links[link.digest]
        if stored.used_at is not None:
            raise StaleWrite
        self.staff.links[link.digest] = replace(stored, used_at=at)
        self.ledger.change(Resource.ACCOUNT, link.account)

    async def revoke_all(self, account: AccountId, at: datetime) -> None:
        for one in self._open(account):
            self.staff.links[one.digest] = replace(one, used_at=at)

    def _open(self, account: AccountId) -> list[Link]:
        return [one for one in self.staff.links.values() if one.account == account and one.used_at is None]


@dataclass(frozen=True, slots=True)
class MemoryOutbox:
    """`Outbox` over `MemoryStaff`."""

    staff: MemoryStaff
    ledger: Ledger

    async def put(self, message: Message) -> None:
        at = self.ledger.stamp().at
        if message.to in self.staff.accounts:
            posted = Posted(id=MessageId(new_id()), message=message, created_at=at, due_at=at, attempts=0)
            self.staff.messages[posted.id] = posted

    async def is_due(self, now: datetime) -> bool:
        return bool(self._due(now))

    async def claim(self, now: datetime, until: datetime, *, at_most: int) -> list[Posted]:
        claimed = [replace(one, due_at=until, attempts=one.attempts + 1) for one in self._due(now)[:at_most]]
        for one in claimed:
            self._write(one)
        return claimed

    async def finish(self, message: MessageId, at: datetime) -> None:
        if (posted := self._unsent(message)) is not None:
            self._write(replace(_empty(posted), sent_at=at))
            self.ledger.change(Resource.MESSAGE, message)

    async def postpone(self, message: MessageId, due_at: datetime) -> None:
        if (posted := self._unsent(message)) is not None:
            self._write(replace(posted, due_at=due_at))

    async def give_up(self, message: MessageId) -> None:
        if (posted := self._unsent(message)) is not None:
            self._write(_empty(posted))

    async def find_page(self, *, before: MessageId | None, at_most: int, unsent: bool) -> list[Posted]:
        found = [
            replace(one, message=replace(one.message, content={}))
            for one in self.staff.messages.values()
            if (before is None or one.id < before) and not (unsent and one.sent_at is not None)
        ]
        return sorted(found, key=lambda one: one.id, reverse=True)[:at_most]

    def _due(self, now: datetime) -> list[Posted]:
        waiting = [one for one in self.staff.messages.values() if one.due_at <= now and not one.emptied]
        return sorted(waiting, key=lambda one: (one.due_at, one.id))

    def _unsent(self, message: MessageId) -> Posted | None:
        posted = self.staff.messages.get(message)
        return posted if posted is not None and posted.sent_at is None else None

    def _write(self, posted: Posted) -> None:
        self.staff.messages[posted.id] = posted


def _empty(posted: Posted) -> Posted:
    return replace(posted, message=replace(posted.message, content={}), emptied=True)
