"""Where trust begins: the key that wraps all others, and never leaves its place."""

from pathlib import Path
from typing import Protocol

from clarity.domain.errors import Misconfigured
from clarity.security.roots.file import FileRoot


class KeyRoot(Protocol):
    """A key that wraps the keys of the key store."""

    @property
    def id(self) -> str:
        """A fingerprint of the key, 8 hexadecimal digits, from which nothing about the key follows."""
        ...

    @property
    def name(self) -> str:
        """Where the key is, for messages to the operator."""
        ...

    def wrap(self, plaintext: bytes, associated: bytes) -> bytes:
        """Return a key wrapped, bound to `associated`."""
        ...

    def unwrap(self, wrapped: bytes, associated: bytes) -> bytes:
        """Return the key inside, or raise `CannotOpen`."""
        ...


def open_root(spec: str) -> KeyRoot:
    """Return the root that `KEY_ROOT` names, as `file:PATH`. Raises `Misconfigured`."""
    scheme, colon, rest = spec.partition(":")
    if scheme in {"pkcs11", "awskms"} and colon:
        raise Misconfigured(f"KEY_ROOT: this version has file roots only, no {scheme}; set file:PATH")
    if scheme != "file" or not rest:
        raise Misconfigured("KEY_ROOT: set file:PATH, the path of a file with the root key")
    return FileRoot.load(Path(rest))
