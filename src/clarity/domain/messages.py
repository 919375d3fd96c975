"""Messages to people: what is said to the holder of an account outside the application, by e-mail."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from clarity.domain.ids import AccountId, MessageId


class MessageKind(StrEnum):
    """What a message is about. Its text is fixed: nothing of a patient can stand in one."""

    INVITATION = "invitation"
    PASSWORD_RESET = "password reset"
    PASSWORD_CHANGED = "password changed"
    SECOND_FACTOR_CHANGED = "second factor changed"
    BREAK_GLASS_ALERT = "break-glass alert"
    ACCESS_REPORT = "access report"


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """A message to the holder of an account.

    `content` fills the places that the text of its kind has, by name: "link" for those that carry one. What a kind has
    no place for is not sent.
    """

    to: AccountId
    kind: MessageKind
    content: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Posted:
    """A message as the outbox keeps it: when it is due next, and how often it was tried.

    Its content is taken out once it was sent, and when it was given up; then there is nothing left to send.
    """

    id: MessageId
    message: Message
    created_at: datetime
    due_at: datetime
    attempts: int
    sent_at: datetime | None = None
    emptied: bool = False

    @property
    def given_up(self) -> bool:
        """Whether nobody tries to send it any more."""
        return self.emptied and self.sent_at is None
