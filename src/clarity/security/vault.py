"""Sealing and opening: the only way content gets into a table and out of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from uuid import UUID

from clarity.domain.errors import CannotOpen
from clarity.security.envelope import (
    HEADER_BYTES,
    SYSTEM_SUBJECT,
    Place,
    associated_data,
    binding_of,
    generation_of,
    header_of,
    pad,
    unpad,
)
from clarity.security.hazmat import Aead


@dataclass(slots=True)
class Tally:
    """How many values were sealed and opened with the keys of one keyring, and how many did not open."""

    seals: int = 0
    opens: int = 0
    failures: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class DataKey:
    """The key that seals the rows of one subject. It cannot be read out, compared or pickled."""

    subject: UUID
    generation: int
    _aead: Aead = field(repr=False)
    _tally: Tally = field(default_factory=Tally, repr=False)
    _header: bytes = field(init=False, repr=False)
    _binding: bytes = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Compute once what is the same in everything this key seals."""
        object.__setattr__(self, "_header", header_of(self.generation))
        object.__setattr__(self, "_binding", binding_of(self._header))

    def seal(self, place: Place, plaintext: bytes) -> bytes:
        """Return `plaintext` padded, encrypted and bound to `place`, which must be this subject's."""
        if place.subject != self.subject:
            raise ValueError("a data key seals its own subject's rows only")
        self._tally.seals += 1
        return self._aead.encrypt(pad(plaintext), associated_data(self._binding, place), header=self._header)

    def open(self, place: Place, sealed: bytes) -> bytes:
        """Return what was sealed at `place`.

        Raises `CannotOpen` if it was altered, comes from another place, or was sealed for another subject or
        by another generation of the key.
        """
        try:
            plaintext = self._opened(place, sealed)
        except CannotOpen:
            self._tally.failures += 1
            raise
        self._tally.opens += 1
        return plaintext

    def _opened(self, place: Place, sealed: bytes) -> bytes:
        if place.subject != self.subject or sealed[:HEADER_BYTES] != self._header:
            raise CannotOpen
        return unpad(self._aead.decrypt(sealed, associated_data(self._binding, place), skip=HEADER_BYTES))


@dataclass(frozen=True, slots=True, eq=False)
class SystemVault:
    """Seals what belongs to no patient, such as staff accounts, bound to its table and column.

    A value is not bound to its row: whoever can write to the table can exchange two of the same column.
    """

    _keys: Mapping[int, DataKey] = field(repr=False)
    """By generation; the highest seals."""

    def seal(self, table: int, column: int, plaintext: bytes) -> bytes:
        """Return `plaintext` sealed under the current key for this column."""
        return self._keys[max(self._keys)].seal(_place(table, column), plaintext)

    def open(self, table: int, column: int, sealed: bytes) -> bytes:
        """Return what was sealed for this column, or raise `CannotOpen`. The header chooses the key."""
        key = self._keys.get(generation_of(sealed))
        if key is None:
            raise CannotOpen
        return key.open(_place(table, column), sealed)


def _place(table: int, column: int) -> Place:
    return Place(table, column, row=SYSTEM_SUBJECT, subject=SYSTEM_SUBJECT, version=0)
