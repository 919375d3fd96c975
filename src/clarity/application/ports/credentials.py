"""Where the credentials of machines are kept, and how their secrets are made and read."""

from datetime import datetime
from typing import Protocol

from clarity.domain.accounts import Account
from clarity.domain.credentials import MachineCredential
from clarity.domain.ids import AccountId, CredentialId


class MachineKeys(Protocol):
    """The texts that machines show with each request."""

    def new(self, credential: CredentialId) -> tuple[str, bytes]:
        """Return the text of a new credential, with 256 random bits in it, and the SHA-256 by which it is stored."""
        ...

    def read(self, text: str) -> tuple[CredentialId, bytes]:
        """Return which credential a text names, and its SHA-256. Raises `Unauthenticated` if it is not spelt as one."""
        ...


class CredentialRepository(Protocol):
    """The credentials of one unit of work."""

    async def add(self, credential: MachineCredential, digest: bytes) -> None:
        """Store a new credential with the digest of its text."""
        ...

    async def get(self, credential: CredentialId) -> MachineCredential:
        """Return one credential, or raise `NotFound`."""
        ...

    async def find(self, credential: CredentialId, digest: bytes) -> tuple[MachineCredential, Account] | None:
        """Return the credential that has both with its account, in one statement, if there is one."""
        ...

    async def find_page(
        self, account: AccountId, *, before: CredentialId | None, at_most: int
    ) -> list[MachineCredential]:
        """Return at most `at_most` credentials of an account with ids below `before`, the newest first."""
        ...

    async def count(self, account: AccountId) -> int:
        """Return how many credentials an account has had."""
        ...

    async def count_in_force(self, account: AccountId, at: datetime) -> int:
        """Return how many credentials of an account hold at an instant."""
        ...

    async def revoke(self, credential: CredentialId, at: datetime) -> None:
        """End a credential; ending it again changes nothing."""
        ...
