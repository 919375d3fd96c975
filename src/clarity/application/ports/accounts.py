"""Where accounts and log-ins are kept."""

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from clarity.domain.access import Role
from clarity.domain.accounts import Account, Credentials, Holder, Session
from clarity.domain.ids import AccountId, PatientId, SessionId


class AccountRepository(Protocol):
    """The accounts of one unit of work."""

    async def get(self, account: AccountId) -> Account:
        """Return one account, or raise `NotFound`."""
        ...

    async def find(self, accounts: Sequence[AccountId]) -> list[Account]:
        """Return those that exist among `accounts`, in their order."""
        ...

    async def find_by_email(self, email: str) -> Credentials | None:
        """Return the account with this e-mail and its password hash, if there is one."""
        ...

    async def find_page(self, *, after: AccountId | None, at_most: int) -> list[Account]:
        """Return at most `at_most` accounts in order of their ids, those behind `after`."""
        ...

    async def find_active(self, role: Role) -> list[AccountId]:
        """Return the accounts of people in a role that may log in now, in order of their ids."""
        ...

    async def count(self) -> int:
        """Return how many accounts there are."""
        ...

    async def has_password(self, account: AccountId) -> bool:
        """Tell whether a password was ever chosen for an account."""
        ...

    async def hold_administrators(self) -> frozenset[AccountId]:
        """Return the administrators who may log in, and keep them so until the unit of work ends."""
        ...

    async def add(self, credentials: Credentials) -> Account:
        """Store a new account as version 1. Raises `DuplicateEmail`, `PractitionerHasAccount`."""
        ...

    async def save(self, account: Account, *, password_hash: str | None = None) -> Account:
        """Write the next version, with a new password if one is given, or raise `StaleWrite`."""
        ...

    async def find_by_patient(self, patient: PatientId) -> list[Account]:
        """Return the accounts that are linked to a patient, in order of their ids."""
        ...

    async def hold(self, account: Account) -> None:
        """Keep an account as it is until the unit of work ends. Raises `StaleWrite` if it was changed before."""
        ...


class SessionRepository(Protocol):
    """The log-ins of one unit of work."""

    async def add(self, session: Session) -> None:
        """Store a new session."""
        ...

    async def find(self, session: SessionId) -> tuple[Session, Holder] | None:
        """Return a session with the holder of its account, in one statement, if there is one.

        Nothing sealed is read: who asks is looked up so with every request.
        """
        ...

    async def find_by_family(self, digest: bytes) -> tuple[Session, Account] | None:
        """Return the session with this `family_digest` and its account, in one statement, if there is one."""
        ...

    async def find_open(
        self, account: AccountId, *, now: datetime, refreshed_after: datetime, at_most: int
    ) -> list[Session]:
        """Return the sessions of an account that are good `now` and were refreshed since, the newest first."""
        ...

    async def rotate(self, session: Session, digest: bytes, at: datetime, *, expires_at: datetime) -> None:
        """Replace the refresh token of `session`, and let it end at `expires_at`.

        Raises `StaleWrite` if it was replaced or revoked meanwhile.
        """
        ...

    async def revoke(self, session: SessionId, at: datetime) -> None:
        """End a session; ending it again changes nothing."""
        ...

    async def set_second_factor(self, session: SessionId, *, given: bool) -> None:
        """Let an open session count as one in which the second factor was given, or no longer."""
        ...

    async def revoke_all(self, account: AccountId, at: datetime, *, but: SessionId | None = None) -> int:
        """End every session of an account, except one, and return how many were open."""
        ...
