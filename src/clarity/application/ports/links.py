"""Where one-time links are kept, and how their tokens are made."""

from datetime import datetime
from typing import Protocol

from clarity.domain.ids import AccountId
from clarity.domain.links import Link


class LinkRepository(Protocol):
    """The one-time links of one unit of work."""

    async def add(self, link: Link) -> None:
        """Store a new link. Older ones of its account for its purpose are good for nothing any more.

        For an account that is not there nothing is stored, after the same work.
        """
        ...

    async def find(self, digest: bytes) -> Link | None:
        """Return the link with this digest, if there is one."""
        ...

    async def spend(self, link: Link, at: datetime) -> None:
        """Use a link. Raises `StaleWrite` if it was used, or made good for nothing, before."""
        ...

    async def revoke_all(self, account: AccountId, at: datetime) -> None:
        """Make every link of an account good for nothing."""
        ...


class LinkTokens(Protocol):
    """The secrets in one-time links."""

    def new(self) -> str:
        """Return 256 random bits, in characters that need no escaping in a URL."""
        ...

    def digest(self, token: str) -> bytes:
        """Return the SHA-256 by which a token is stored, 32 bytes."""
        ...
