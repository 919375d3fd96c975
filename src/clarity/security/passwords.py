"""Passwords: how they are hashed without letting log-ins exhaust the machine."""

import asyncio
import base64
import unicodedata
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from threading import BoundedSemaphore
from typing import TypeVar

from argon2 import Parameters, PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError, VerifyMismatchError
from argon2.profiles import RFC_9106_LOW_MEMORY

from clarity.domain.errors import CannotOpen, Unavailable, WrongCredentials
from clarity.security.hazmat import random_bytes
from clarity.security.strength import StolenPasswords, require_strong

_T = TypeVar("_T")


class Passwords:
    """Hashes and verifies passwords with Argon2id (RFC 9106), a few at a time.

    The default parameters are the second recommended option of RFC 9106, section 4: 3 passes over 64 MiB in 4 lanes,
    a salt of 128 and a tag of 256 bits. Each hash in progress holds that memory, so at most `at_once` run, at
    most `waiting` wait, and whoever comes after gets `Unavailable`.
    """

    def __init__(
        self,
        parameters: Parameters = RFC_9106_LOW_MEMORY,
        *,
        at_once: int = 2,
        waiting: int = 32,
        stolen: StolenPasswords | None = None,
    ) -> None:
        """Start no thread yet; each starts when it is first needed. Passwords in `stolen` are refused."""
        self._stolen = stolen
        self._hasher = PasswordHasher.from_parameters(parameters)
        self._threads = ThreadPoolExecutor(at_once, thread_name_prefix="argon2")
        self._places = BoundedSemaphore(at_once + waiting)
        self._nobody = _unmatched(parameters)

    def check_strength(self, password: str, about: Iterable[str] = ()) -> None:
        """Raise `Invalid` unless somebody of whom `about` is known may use the password; see `require_strong`."""
        require_strong(password, about, self._stolen)

    async def hash(self, password: str) -> str:
        """Return the encoded hash with its parameters and salt. Raises `Unavailable` if too many wait."""
        return await self._in_thread(lambda: self._hasher.hash(_bytes_of(password)))

    async def verify(self, encoded: str, password: str) -> None:
        """Return if `password` is the one that was hashed.

        Raises `WrongCredentials` if not, `CannotOpen` if `encoded` is no hash, `Unavailable` if too many wait.
        """
        await self._in_thread(lambda: self._verify(encoded, password))

    async def verify_nobody(self, password: str) -> None:
        """Raise `WrongCredentials` after the time that `verify` takes, which would tell an unknown account."""
        await self.verify(self._nobody, password)

    def needs_rehash(self, encoded: str) -> bool:
        """Tell whether the hash was made with other parameters than today's. Raises `CannotOpen` if it is none."""
        try:
            return self._hasher.check_needs_rehash(encoded)
        except InvalidHashError:
            raise CannotOpen from None

    def close(self) -> None:
        """Let the hashes in progress end, and drop those that wait."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _verify(self, encoded: str, password: str) -> None:
        try:
            self._hasher.verify(encoded, _bytes_of(password))
        except VerifyMismatchError:
            raise WrongCredentials from None
        except (InvalidHashError, VerificationError):
            raise CannotOpen from None

    async def _in_thread(self, work: Callable[[], _T]) -> _T:
        if not self._places.acquire(blocking=False):
            raise Unavailable
        try:
            running = self._threads.submit(work)
        except RuntimeError:  # closed
            self._places.release()
            raise Unavailable from None
        # A caller that goes away leaves its hash running, so the place is given back by the thread and not here.
        running.add_done_callback(self._leave)
        return await asyncio.wrap_future(running)

    def _leave(self, _ended: Future[_T]) -> None:
        self._places.release()


def _normalised(password: str) -> str:
    """Return the characters that count, however a keyboard composed them (NFKC; NIST SP 800-63B-4, 3.1.1.2)."""
    return unicodedata.normalize("NFKC", password)


def _bytes_of(password: str) -> bytes:
    # A lone surrogate has no UTF-8 form, and the error for that would carry the password.
    return _normalised(password).encode("utf-8", "surrogatepass")


def _unmatched(parameters: Parameters) -> str:
    """Return a well-formed hash with a random tag: it costs what any other does to verify, and matches nothing."""
    salt, tag = (
        base64.b64encode(random_bytes(length)).decode().rstrip("=")
        for length in (parameters.salt_len, parameters.hash_len)
    )
    costs = f"m={parameters.memory_cost},t={parameters.time_cost},p={parameters.parallelism}"
    return f"$argon2id$v={parameters.version}${costs}${salt}${tag}"
