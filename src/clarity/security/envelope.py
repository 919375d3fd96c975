"""The format of everything sealed: header, padding, and the place a sealed value is bound to.

    byte 0      format version = 1
    byte 1      suite: 1 = AES-256-GCM
    bytes 2-5   generation of the data key, u32 big-endian
    bytes 6-17  nonce, random
    18..        ciphertext of the padded plaintext, then the tag, 16 bytes

The associated data repeats the header and adds the place, so what was moved to another row, table, column,
patient or version does not open. Its fields have fixed widths, so no two places share one encoding.
"""

import struct
from typing import Final, NamedTuple
from uuid import UUID

from clarity.domain.errors import CannotOpen
from clarity.security.hazmat import NONCE_BYTES, TAG_BYTES

SYSTEM_SUBJECT: Final = UUID(int=0)
"""Whom a row belongs to that belongs to no patient."""

HEADER_BYTES: Final = 6

_VERSION: Final = 1
_SUITE_AES_256_GCM: Final = 1
_HEADER: Final = struct.Struct(">BBI")
_MAGIC: Final = b"clarity1"
_ASSOCIATED: Final = struct.Struct(f">{len(_MAGIC) + HEADER_BYTES}sII16s16sI")

_MARK: Final = b"\x80"
_SMALLEST: Final = 64
_LARGEST_POWER: Final = 1024
_SHORTEST_SEALED: Final = HEADER_BYTES + NONCE_BYTES + _SMALLEST + TAG_BYTES


class Place(NamedTuple):
    """Where a sealed value stands. `subject` is the patient it belongs to, or `SYSTEM_SUBJECT`.

    Tables and columns are named by their permanent numbers; `version` is the row's.
    """

    table: int
    column: int
    row: UUID
    subject: UUID
    version: int


def header_of(generation: int) -> bytes:
    """Return the first six bytes of what a key of this `generation` seals."""
    return _HEADER.pack(_VERSION, _SUITE_AES_256_GCM, generation)


def binding_of(header: bytes) -> bytes:
    """Return the part of the associated data that is the same for all that one key seals."""
    return _MAGIC + header


def associated_data(binding: bytes, place: Place) -> bytes:
    """Return the 58 bytes that tie a sealed value to its `place` under the key of `binding`."""
    return _ASSOCIATED.pack(binding, place.table, place.column, place.row.bytes, place.subject.bytes, place.version)


def associated_data_of_subject(binding: bytes, table: int, column: int, subject: bytes, version: int) -> bytes:
    """Return the same for the row that a subject itself is, whose id has 16 bytes."""
    return _ASSOCIATED.pack(binding, table, column, subject, subject, version)


def generation_of(sealed: bytes) -> int:
    """Return the generation of the key that sealed this, unverified until it opens.

    Raises `CannotOpen` if this is not a sealed value of a known version and suite.
    """
    if len(sealed) < _SHORTEST_SEALED:
        raise CannotOpen
    version, suite, generation = _HEADER.unpack_from(sealed)
    if version != _VERSION or suite != _SUITE_AES_256_GCM:
        raise CannotOpen
    return int(generation)


def pad(plaintext: bytes) -> bytes:
    """Return `plaintext`, a mark and zeros (ISO/IEC 7816-4), so that the length tells little.

    The result has 64, 128, 256, 512 or 1,024 bytes, above that a Padmé length: at most 12 % more than needed
    (Nikitin et al., "Reducing Metadata Leakage from Encrypted Files and Communication with PURBs", 2019).
    """
    needed = len(plaintext) + 1
    return plaintext + _MARK.ljust(_padded_length(needed) - needed + 1, b"\0")


def unpad(padded: bytes) -> bytes:
    """Return what `pad` was given, or raise `CannotOpen`.

    Only for what has been authenticated: whether this fails would tell an attacker about the plaintext.
    """
    marked = padded.rstrip(b"\0")
    if not marked.endswith(_MARK):
        raise CannotOpen
    return marked[:-1]


def _padded_length(needed: int) -> int:
    if needed <= _SMALLEST:
        return _SMALLEST
    if needed <= _LARGEST_POWER:
        return 1 << (needed - 1).bit_length()
    # Padmé: of a length with exponent e, only the first log2(e) + 1 bits after the leading one may be set.
    exponent = needed.bit_length() - 1
    low_bits = exponent - exponent.bit_length()
    granule = (1 << low_bits) - 1
    return (needed + granule) & ~granule
