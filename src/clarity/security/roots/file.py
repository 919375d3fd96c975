"""A root key in a file that only its owner can read."""

import base64
import binascii
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from clarity.domain.errors import Misconfigured
from clarity.security.hazmat import KEY_BYTES, Aead, hkdf_sha256, random_bytes
from clarity.security.private_files import create_private, read_private

_WHAT = "key root"
_AT_MOST_BYTES = 1024
_HEX_DIGITS = 2 * KEY_BYTES


@dataclass(frozen=True, slots=True, eq=False)
class FileRoot:
    """A root made from 32 random bytes, written as hexadecimal digits or base64 in a file of mode 0600."""

    name: str
    id: str
    _aead: Aead = field(repr=False)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Return the root in the file at `path`. Raises `Misconfigured`, saying what to do."""
        try:
            content = read_private(path, _WHAT, at_most=_AT_MOST_BYTES)
        except FileNotFoundError:
            raise Misconfigured(
                f"there is no key root at {path}; put it back, or make the first one with `clarity keys init`"
            ) from None
        try:
            return cls._of(path, _decoded(content.strip()))
        except ValueError:
            raise Misconfigured(
                f"the key root {path} does not hold 32 bytes as 64 hexadecimal digits or as base64; "
                "restore it from its backup"
            ) from None

    @classmethod
    def create(cls, path: Path) -> Self:
        """Write a new root key to `path` and return it. Raises `Misconfigured` if anything is there."""
        key = random_bytes(KEY_BYTES)
        try:
            create_private(path, key.hex().encode() + b"\n")
        except FileExistsError:
            raise Misconfigured(f"there is a file at {path} already; a key root is never overwritten") from None
        except OSError as exc:
            raise Misconfigured(f"the key root {path} cannot be made: {exc.strerror}") from None
        return cls._of(path, key)

    @classmethod
    def _of(cls, path: Path, key: bytes) -> Self:
        # The fingerprint and the wrapping key are derived apart: knowing one says nothing about the other.
        fingerprint = hkdf_sha256(key, info=b"clarity root: fingerprint", length=4)
        return cls(str(path), fingerprint.hex(), Aead(hkdf_sha256(key, info=b"clarity root: wrap")))

    def wrap(self, plaintext: bytes, associated: bytes) -> bytes:
        """Return a key wrapped, bound to `associated`."""
        return self._aead.encrypt(plaintext, associated)

    def unwrap(self, wrapped: bytes, associated: bytes) -> bytes:
        """Return the key inside, or raise `CannotOpen`."""
        return self._aead.decrypt(wrapped, associated)


def _decoded(text: bytes) -> bytes:
    """Return the 32 bytes, or raise `ValueError`. The encodings cannot be mistaken: 64 characters or 44."""
    key = binascii.unhexlify(text) if len(text) == _HEX_DIGITS else base64.b64decode(text, validate=True)
    if len(key) != KEY_BYTES:
        raise ValueError("not 32 bytes")
    return key
