"""Messages to people: where they wait, and who carries them."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from clarity.domain.ids import MessageId
from clarity.domain.messages import Message, Posted


class Outbox(Protocol):
    """The messages of one unit of work, written in its transaction and sent after it."""

    async def put(self, message: Message) -> None:
        """Have a message sent if this unit of work ends well.

        For an account that is not there nothing is stored, after the same work. Raises `UnauditedAccess` if nothing was
        attempted that could have caused it.
        """
        ...

    async def is_due(self, now: datetime) -> bool:
        """Tell whether a message waits that is due."""
        ...

    async def claim(self, now: datetime, until: datetime, *, at_most: int) -> list[Posted]:
        """Return messages that are due, the oldest first, each with one more attempt.

        Nobody else is given them before `until`.
        """
        ...

    async def finish(self, message: MessageId, at: datetime) -> None:
        """Remember that a message was sent, and empty it."""
        ...

    async def postpone(self, message: MessageId, due_at: datetime) -> None:
        """Have a message tried again, and not before `due_at`."""
        ...

    async def give_up(self, message: MessageId) -> None:
        """Empty a message that was not sent: it is not tried again."""
        ...

    async def find_page(self, *, before: MessageId | None, at_most: int, unsent: bool) -> list[Posted]:
        """Return at most `at_most` messages older than `before`, the newest first, without their content.

        With `unsent`, those alone that were not sent.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    """A message as it is sent: to an e-mail address, in plain text. The same `id` is the same letter again."""

    id: MessageId
    to: str = field(repr=False)
    subject: str
    body: str = field(repr=False)


class Postman(Protocol):
    """Who carries letters."""

    async def send(self, letter: Letter) -> None:
        """Return once somebody else has taken charge of the letter. Raises `Undeliverable` if nobody has."""
        ...
