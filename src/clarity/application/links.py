"""Sending one-time links: each is made, stored and put in the outbox within the unit of work that calls for it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from clarity.application.ports import LinkTokens, Work
from clarity.domain.ids import AccountId
from clarity.domain.links import Link, LinkPurpose
from clarity.domain.messages import Message, MessageKind

_KINDS = {
    LinkPurpose.INVITATION: MessageKind.INVITATION,
    LinkPurpose.PASSWORD_RESET: MessageKind.PASSWORD_RESET,
}
_PAGES = {LinkPurpose.INVITATION: "invitation", LinkPurpose.PASSWORD_RESET: "password-reset"}


@dataclass(frozen=True, slots=True)
class LinkSender:
    """Makes links below `public_url`, each good for the lifetime of its purpose.

    The token stands behind "#": what stands there is sent to no server, and so is in no log and no Referer (RFC 9110,
    10.1.3).
    """

    tokens: LinkTokens
    public_url: str
    lifetimes: Mapping[LinkPurpose, timedelta]

    async def send(self, work: Work, account: AccountId, purpose: LinkPurpose, at: datetime) -> None:
        """Have a link sent to the holder of an account; older ones for this purpose are good for nothing any more.

        If there is no such account, nobody is sent anything, after the same work.
        """
        token, expires_at = self.tokens.new(), at + self.lifetimes[purpose]
        link = Link(
            digest=self.tokens.digest(token), account=account, purpose=purpose, created_at=at, expires_at=expires_at
        )
        content = {
            "link": f"{self.public_url.rstrip('/')}/{_PAGES[purpose]}#{token}",
            "until": f"{expires_at:%Y-%m-%d %H:%M} UTC",
        }
        await work.links.add(link)
        await work.outbox.put(Message(to=account, kind=_KINDS[purpose], content=content))
