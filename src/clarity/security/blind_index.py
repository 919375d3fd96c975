"""Finding an identifier without storing it: a keyed digest that only the holder of the index root can compute."""

import struct
from dataclasses import dataclass

from clarity.domain.errors import Invalid
from clarity.domain.identifiers import IndexKind
from clarity.security.hazmat import hkdf_sha256, hmac_sha256
from clarity.security.keyring import Keyring, Purpose
from clarity.security.normalise import NORMALISERS, Normaliser

DIGEST_BYTES = 16

_INFO = struct.Struct(">II")


@dataclass(frozen=True, slots=True)
class IndexValue:
    """The digest of an identifier under one generation of the index root, 16 bytes.

    Sixteen bytes of HMAC-SHA-256 leave 2^128 values: among a million identifiers, two that differ collide with a
    probability below 2^-88.
    """

    generation: int
    digest: bytes


class BlindIndex:
    """Computes digests. Each kind has a key of its own, so an e-mail of a patient and of a clinician do not match.

    `region` is where telephone numbers without a country code belong (ISO 3166-1 alpha-2). Numbers that were
    indexed under another region are not found, so it stays as it was when the practice began.
    """

    def __init__(self, keyring: Keyring, region: str = "US") -> None:
        """Use every generation of the index root in `keyring`."""
        self._keyring = keyring
        self._region = region
        self._keys: dict[tuple[int, IndexKind], bytes] = {}

    def of(self, kind: IndexKind, text: str) -> IndexValue:
        """Return the digest under the newest generation. Raises `Invalid` if nothing of `text` can be looked up."""
        return self._value(self._keyring.current(Purpose.INDEX), kind, self._normalised(kind, text))

    def candidates(self, kind: IndexKind, text: str) -> tuple[IndexValue, ...]:
        """Return the digest under each generation, the newest first: what was indexed may not be re-indexed yet.

        Raises `Invalid` as `of` does.
        """
        normalised = self._normalised(kind, text)
        generations = self._keyring.generations(Purpose.INDEX)
        return tuple(self._value(generation, kind, normalised) for generation in generations)

    def _normalised(self, kind: IndexKind, text: str) -> bytes:
        normaliser = NORMALISERS[kind]
        # A lone surrogate has no UTF-8 form, and the error for that would carry the text.
        normalised = normaliser.apply(text, self._region).encode("utf-8", "surrogatepass")
        if not normalised:
            raise Invalid("", f"must have {normaliser.needs}")
        return normalised

    def _value(self, generation: int, kind: IndexKind, normalised: bytes) -> IndexValue:
        key = self._keys.get((generation, kind))
        if key is None:
            root = self._keyring.secret(Purpose.INDEX, generation)
            key = self._keys[generation, kind] = _key_of(root, kind, NORMALISERS[kind])
        return IndexValue(generation, hmac_sha256(key, normalised)[:DIGEST_BYTES])


def _key_of(root: bytes, kind: IndexKind, normaliser: Normaliser) -> bytes:
    return hkdf_sha256(root, info=b"clarity blind index" + _INFO.pack(kind, normaliser.version))
