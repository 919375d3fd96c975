"""Where second factors are kept, and how codes are made and read."""

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from clarity.domain.ids import AccountId
from clarity.domain.second_factors import SecondFactor


class SecondFactorRepository(Protocol):
    """The second factors of one unit of work. Each write counts as a change of the account."""

    async def find(self, account: AccountId) -> SecondFactor | None:
        """Return the second factor of an account, confirmed or not, if there is one."""
        ...

    async def add(self, factor: SecondFactor) -> None:
        """Store a factor that has yet to be confirmed, in the place of one that never was or that was removed.

        Raises `Conflict` if the account has one that counts.
        """
        ...

    async def confirm(self, factor: SecondFactor, step: int, at: datetime) -> None:
        """Let `factor` count from now on, its code of `step` being spent. Raises `StaleWrite` if it changed."""
        ...

    async def spend_step(self, factor: SecondFactor, step: int) -> None:
        """Remember that the code of `step` was accepted.

        Raises `StaleWrite` if that code or a later one was accepted before, or `factor` is no longer the one there.
        """
        ...

    async def spend_recovery_code(self, account: AccountId, digest: bytes, at: datetime) -> None:
        """Remember that a recovery code was used. Raises `StaleWrite` if there is none, or it was used before."""
        ...

    async def replace_recovery_codes(self, account: AccountId, digests: Sequence[bytes], at: datetime) -> None:
        """Store new recovery codes by their digests, 32 bytes each; those there were are good for nothing any more."""
        ...

    async def count_recovery_codes(self, account: AccountId) -> int:
        """Return how many recovery codes are left."""
        ...

    async def remove(self, account: AccountId, at: datetime) -> None:
        """Take the second factor away, its secret and its recovery codes with it. Without one, nothing changes."""
        ...


class OneTimeCodes(Protocol):
    """Codes that are good once: those of a device (RFC 6238) and those to recover without it."""

    def new_secret(self) -> str:
        """Return 160 random bits as base32, 32 characters."""
        ...

    def uri(self, secret: str, account: str) -> str:
        """Return the `otpauth` address by which an authenticator takes in `secret`, labelled with `account`."""
        ...

    def step_of(self, secret: str, code: str, at: datetime) -> int:
        """Return the time step whose code this is: that of `at`, the one before or the one after.

        Raises `WrongCredentials` if it is none of them.
        """
        ...

    def new_recovery_code(self) -> str:
        """Return at least 120 random bits, to be written down."""
        ...

    def recovery_digest(self, code: str) -> bytes:
        """Return the SHA-256, 32 bytes, of a recovery code however it was typed.

        Raises `WrongCredentials` for what cannot be one.
        """
        ...
