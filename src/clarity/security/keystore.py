"""The key store: the keys of this practice at rest, each wrapped by the root.

It is never kept in the data database, nor in its backups: whoever steals one of the two has nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal, Protocol

import msgspec

from clarity.domain.errors import Misconfigured
from clarity.security.private_files import locked, read_private, replace_private

_WHAT = "key store"
_AT_MOST_BYTES = 1 << 20


class Purpose(StrEnum):
    """What a key is for. The texts are permanent: they are bound into every wrapped key."""

    KEK = "kek"
    INDEX = "index-root"
    SYSTEM = "system"
    AUDIT = "audit-mac"
    TOKEN = "token"
    CURSOR = "cursor"


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredKey:
    """One generation of one key, wrapped under the root that has the fingerprint `root`."""

    purpose: Purpose
    generation: Annotated[int, msgspec.Meta(ge=1, le=0xFFFFFFFF)]
    created_at: Annotated[datetime, msgspec.Meta(tz=True)]
    root: str
    wrapped: bytes = field(repr=False)

    @property
    def associated(self) -> bytes:
        """What the wrapped key is bound to, so that it cannot pass for another."""
        return associated_data(self.purpose, self.generation)


def associated_data(purpose: Purpose, generation: int) -> bytes:
    """Return what a key of this purpose and generation is bound to when the root wraps it."""
    return f"clarity key store 1|{purpose}|{generation}".encode()


class KeyStore(Protocol):
    """Where wrapped keys are kept."""

    @property
    def name(self) -> str:
        """Where the store is, for messages to the operator."""
        ...

    def load(self) -> tuple[StoredKey, ...]:
        """Return every key; none if nothing was ever stored. Raises `Misconfigured` if it cannot be read."""
        ...

    def add(self, keys: Sequence[StoredKey]) -> None:
        """Store all of `keys`, durably, or none: raises `Misconfigured` if one of them is there already."""
        ...


class _Content(msgspec.Struct, forbid_unknown_fields=True):
    """What the file holds, as JSON."""

    format: Literal["clarity-key-store"]
    version: Literal[1]
    keys: list[StoredKey]


@dataclass(frozen=True, slots=True)
class FileKeyStore:
    """A `KeyStore` in a JSON file of mode 0600. Every change replaces the whole file."""

    path: Path

    @property
    def name(self) -> str:
        """Return the path."""
        return str(self.path)

    def load(self) -> tuple[StoredKey, ...]:
        """Return every key; none if there is no file. Raises `Misconfigured` if it was cut off or edited."""
        try:
            content = read_private(self.path, _WHAT, at_most=_AT_MOST_BYTES)
        except FileNotFoundError:
            return ()
        try:
            keys = tuple(msgspec.json.decode(content, type=_Content).keys)
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise self._damaged() from None
        if len({(key.purpose, key.generation) for key in keys}) < len(keys):
            raise self._damaged()
        return keys

    def add(self, keys: Sequence[StoredKey]) -> None:
        """Store all of `keys`, durably, or none: raises `Misconfigured` if one of them is there already."""
        try:
            with locked(self.path):
                content = _Content("clarity-key-store", 1, [*self.load(), *keys])
                if len({(key.purpose, key.generation) for key in content.keys}) < len(content.keys):
                    raise Misconfigured(f"the key store {self.path} has these keys already")
                replace_private(self.path, msgspec.json.format(msgspec.json.encode(content)) + b"\n")
        except OSError as exc:
            raise Misconfigured(f"the key store {self.path} cannot be written: {exc.strerror}") from None

    def _damaged(self) -> Misconfigured:
        return Misconfigured(
            f"the key store {self.path} was cut off or edited and cannot be read; restore it from its backup"
        )


def open_store(spec: str) -> FileKeyStore:
    """Return the store that `KEY_STORE` names, as `file:PATH`. Raises `Misconfigured`."""
    scheme, _, path = spec.partition(":")
    if scheme != "file" or not path:
        raise Misconfigured("KEY_STORE: set file:PATH, the path of the key store")
    return FileKeyStore(Path(path))
