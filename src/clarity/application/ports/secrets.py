"""Passwords, tokens, cursors, and how often something may be tried."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from clarity.domain.ids import AccountId, SessionId


class Passwords(Protocol):
    """Hashing of passwords, slow on purpose."""

    def check_strength(self, password: str, about: Iterable[str] = ()) -> None:
        """Raise `Invalid` unless the password may be used by somebody of whom `about` is known."""
        ...

    async def hash(self, password: str) -> str:
        """Return the encoded hash of a password."""
        ...

    async def verify(self, encoded: str, password: str) -> None:
        """Return if the password is the right one, or raise `WrongCredentials`."""
        ...

    async def verify_nobody(self, password: str) -> None:
        """Spend the time that `verify` takes and raise `WrongCredentials`."""
        ...

    def needs_rehash(self, encoded: str) -> bool:
        """Tell whether the hash was made with weaker parameters than today's."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessClaims:
    """What an access token says of its bearer."""

    account: AccountId
    session: SessionId
    expires_at: datetime


class Tokens(Protocol):
    """Access tokens, which say who is asking, and refresh tokens, which get new ones."""

    @property
    def ttl_seconds(self) -> int:
        """How long an access token is good for."""
        ...

    def issue(self, account: AccountId, session: SessionId, now: datetime) -> str:
        """Return a signed access token."""
        ...

    def read(self, token: str, now: datetime) -> AccessClaims:
        """Return what a token says, or raise `Unauthenticated` if it is not ours or has expired."""
        ...

    def new_refresh_token(self) -> str:
        """Return 256 random bits."""
        ...

    def refresh_digest(self, token: str) -> bytes:
        """Return the SHA-256 by which a refresh token is stored."""
        ...


class Cursors(Protocol):
    """The places in a list that a client carries for us."""

    def seal(self, payload: bytes, context: bytes) -> str:
        """Return a cursor that opens only with the same `context`."""
        ...

    def open(self, cursor: str, context: bytes) -> bytes:
        """Return the payload, or raise `Invalid` if it is not ours or belongs to another list."""
        ...


class RateLimit(Protocol):
    """How often something may be tried."""

    async def hit(self, what: str, who: str) -> None:
        """Count one attempt at `what` by `who`, or raise `TooMany`. `who` is never kept in plaintext."""
        ...
