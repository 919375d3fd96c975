"""The keys of this practice in memory: unwrapped from the key store once, then asked for by purpose.

root -> key store: one key for each purpose and generation
     -> data key of each patient, wrapped by the newest key-encryption key (KEK), in the database
     -> sealed records
"""

import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache, partial
from typing import Self
from uuid import UUID

from clarity.domain.errors import CannotOpen, Misconfigured
from clarity.security.envelope import SYSTEM_SUBJECT
from clarity.security.hazmat import KEY_BYTES, Aead, random_bytes
from clarity.security.keystore import KeyStore, Purpose, StoredKey, associated_data
from clarity.security.roots import KeyRoot
from clarity.security.vault import DataKey, SubjectOpener, SystemVault, Tally

__all__ = ["Keyring", "Purpose", "WrappedKey", "initialise"]

_WRAPPING = struct.Struct(">8s16sII")


@dataclass(frozen=True, slots=True)
class WrappedKey:
    """A data key as the database keeps it: wrapped by the KEK of `kek_generation`, 60 bytes."""

    subject: UUID
    generation: int
    kek_generation: int
    wrapped: bytes = field(repr=False)


class Keyring:
    """Every key this process may use. It never changes: after a rotation, a new one is opened.

    Unwrapped data keys are remembered, the `cache_size` last used, by their whole `WrappedKey`. So only
    somebody who has just read the wrapped row can use one, and a destroyed data key is dead at once.
    """

    def __init__(self, secrets: Mapping[Purpose, Mapping[int, bytes]], cache_size: int = 10_000) -> None:
        """Hold 32-byte `secrets`, at least one generation of each purpose."""
        self._secrets = {purpose: dict(secrets[purpose]) for purpose in Purpose}
        self._newest = {purpose: max(generations) for purpose, generations in self._secrets.items()}
        self._keks = {generation: Aead(key) for generation, key in self._secrets[Purpose.KEK].items()}
        self.tally = Tally()
        """What was done with the data keys of this keyring."""
        self._system = SystemVault(
            {
                generation: DataKey(SYSTEM_SUBJECT, generation, Aead(key), self.tally)
                for generation, key in self._secrets[Purpose.SYSTEM].items()
            }
        )
        self._unwrap = _remembering_unwrapper(self._keks, cache_size, self.tally)

    @classmethod
    def open(cls, store: KeyStore, root: KeyRoot, cache_size: int = 10_000) -> Self:
        """Return the keys of `store`, unwrapped by `root`.

        Raises `Misconfigured`, naming what is missing or wrong.
        """
        stored = store.load()
        if not stored:
            raise Misconfigured(
                f"the key store {store.name} holds no keys;"
                " put it back, or make the first ones with `clarity keys init`"
            )
        secrets: dict[Purpose, dict[int, bytes]] = {}
        for key in stored:
            secrets.setdefault(key.purpose, {})[key.generation] = _unwrapped(key, store, root)
        missing = ", ".join(purpose for purpose in Purpose if purpose not in secrets)
        if missing:
            raise Misconfigured(f"the key store {store.name} holds no key for {missing}; restore it from its backup")
        return cls(secrets, cache_size)

    def __repr__(self) -> str:
        """Name the purposes and their newest generations."""
        return f"<Keyring {', '.join(f'{purpose}={newest}' for purpose, newest in self._newest.items())}>"

    def current(self, purpose: Purpose) -> int:
        """Return the newest generation."""
        return self._newest[purpose]

    def generations(self, purpose: Purpose) -> tuple[int, ...]:
        """Return every generation, the newest first."""
        return tuple(sorted(self._secrets[purpose], reverse=True))

    def secret(self, purpose: Purpose, generation: int | None = None) -> bytes:
        """Return the 32 bytes of a generation, by default the newest, or raise `CannotOpen` without it."""
        wanted = self._newest[purpose] if generation is None else generation
        try:
            return self._secrets[purpose][wanted]
        except KeyError:
            raise CannotOpen from None

    def system_vault(self) -> SystemVault:
        """Return what seals the rows that belong to no patient."""
        return self._system

    def new_data_key(self, subject: UUID, generation: int = 1) -> tuple[WrappedKey, DataKey]:
        """Make a data key for `subject` and wrap it under the newest KEK."""
        kek_generation = self._newest[Purpose.KEK]
        key = random_bytes(KEY_BYTES)
        wrapped = self._keks[kek_generation].encrypt(key, _wrapping(subject.bytes, generation, kek_generation))
        made = DataKey(subject, generation, Aead(key), self.tally)
        return WrappedKey(subject, generation, kek_generation, wrapped), made

    def unwrap(self, wrapped: WrappedKey) -> DataKey:
        """Return the data key inside.

        Raises `CannotOpen` if it was altered, belongs to another subject or generation, or its KEK is gone.
        """
        return self._unwrap(wrapped.wrapped, wrapped.subject, wrapped.generation, wrapped.kek_generation)

    def subject_opener(self, table: int, column: int) -> SubjectOpener:
        """Return what opens all rows of a table of subjects, past the keys that are remembered."""
        return SubjectOpener(partial(_unwrapped_key, self._keks), table, column, self.tally)


def initialise(store: KeyStore, root: KeyRoot, *, now: datetime | None = None) -> None:
    """Make the first generation of every key. Raises `Misconfigured` if `store` has keys already."""
    if store.load():
        raise Misconfigured(f"the key store {store.name} has keys already; they are never overwritten")
    store.add(
        [
            StoredKey(
                purpose=purpose,
                generation=1,
                created_at=now or datetime.now(UTC),
                root=root.id,
                wrapped=root.wrap(random_bytes(KEY_BYTES), associated_data(purpose, 1)),
            )
            for purpose in Purpose
        ]
    )


def _unwrapped(key: StoredKey, store: KeyStore, root: KeyRoot) -> bytes:
    if key.root != root.id:
        raise Misconfigured(
            f"the key store {store.name} was made under root {key.root}, "
            f"but the root at {root.name} is {root.id}; set KEY_ROOT to the right one"
        )
    try:
        secret = root.unwrap(key.wrapped, key.associated)
    except CannotOpen:
        secret = b""
    if len(secret) != KEY_BYTES:
        raise Misconfigured(
            f"the {key.purpose} key, generation {key.generation}, in the key store {store.name} was altered; "
            "restore the key store from its backup"
        )
    return secret


def _remembering_unwrapper(
    keks: Mapping[int, Aead], cache_size: int, tally: Tally
) -> Callable[[bytes, UUID, int, int], DataKey]:
    # `lru_cache` is bounded, safe under threads, and does not remember what raised.
    @lru_cache(maxsize=cache_size)
    def unwrap(wrapped: bytes, subject: UUID, generation: int, kek_generation: int) -> DataKey:
        key = _unwrapped_key(keks, wrapped, subject.bytes, generation, kek_generation)
        return DataKey(subject, generation, Aead(key), tally)

    return unwrap


def _unwrapped_key(
    keks: Mapping[int, Aead], wrapped: bytes, subject: bytes, generation: int, kek_generation: int
) -> bytes:
    kek = keks.get(kek_generation)
    if kek is None:
        raise CannotOpen
    return kek.decrypt(wrapped, _wrapping(subject, generation, kek_generation))


def _wrapping(subject: bytes, generation: int, kek_generation: int) -> bytes:
    """Return what a wrapped data key is bound to."""
    return _WRAPPING.pack(b"datakey1", subject, generation, kek_generation)
