"""Sealing and opening: the only way content gets into a table and out of it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from uuid import UUID

from clarity.domain.errors import CannotOpen
from clarity.security.envelope import (
    HEADER_BYTES,
    SYSTEM_SUBJECT,
    Place,
    associated_data,
    associated_data_of_subject,
    binding_of,
    generation_of,
    header_of,
    pad,
    unpad,
)
from clarity.security.hazmat import Aead, decrypt_once


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


class SubjectOpener:
    """Opens the rows of one table of subjects, each with its own key, which is used once and not remembered.

    Does what `DataKey.open` does, without an object for each key and each place: for whoever opens a million.
    """

    def __init__(
        self, unwrap: Callable[[bytes, bytes, int, int], bytes], table: int, column: int, tally: Tally
    ) -> None:
        """Open what was sealed for one column, with the bytes of keys that `unwrap` returns."""
        self._unwrap = unwrap
        self._table = table
        self._column = column
        self._tally = tally
        self._headers: dict[int, tuple[bytes, bytes]] = {}

    def open(
        self, subject: bytes, version: int, sealed: bytes, generation: int, kek_generation: int, wrapped: bytes
    ) -> bytes:
        """Return what was sealed for the row that a subject (16 bytes) is, or raise `CannotOpen`."""
        header, binding = self._headers.get(generation) or self._headers_of(generation)
        if not sealed.startswith(header):
            self._tally.failures += 1
            raise CannotOpen
        bound_to = associated_data_of_subject(binding, self._table, self._column, subject, version)
        try:
            key = self._unwrap(wrapped, subject, generation, kek_generation)
            plaintext = unpad(decrypt_once(key, sealed, bound_to, skip=HEADER_BYTES))
        except CannotOpen:
            self._tally.failures += 1
            raise
        self._tally.opens += 1
        return plaintext

    def _headers_of(self, generation: int) -> tuple[bytes, bytes]:
        header = header_of(generation)
        return self._headers.setdefault(generation, (header, binding_of(header)))


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
