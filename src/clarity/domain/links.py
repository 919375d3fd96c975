"""One-time links: who holds one may choose the password of an account, once."""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from clarity.domain.access import Reason
from clarity.domain.ids import AccountId


class LinkPurpose(StrEnum):
    """What a link is good for. One is never good for another."""

    INVITATION = "invitation"
    PASSWORD_RESET = "password reset"


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """A link that was sent to the e-mail address of an account.

    `digest` is the SHA-256 of its token, 32 bytes. `used_at` is when it was used, or made good for nothing.
    """

    digest: bytes = field(repr=False)
    account: AccountId
    purpose: LinkPurpose
    created_at: datetime
    expires_at: datetime
    used_at: datetime | None = None

    def lapse_at(self, instant: datetime, purpose: LinkPurpose) -> Reason:
        """Return why the link is not good for `purpose` at an instant, or `Reason.NONE`."""
        if self.purpose is not purpose:
            return Reason.NO_SUCH_RIGHT
        if self.used_at is not None:
            return Reason.REPLAYED
        return Reason.NONE if instant < self.expires_at else Reason.EXPIRED
