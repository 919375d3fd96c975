"""Pseudonyms of patients for research: keyed, so that nobody without the key store can trace or guess one."""

from uuid import UUID

from clarity.security.hazmat import hkdf_sha256, hmac_sha256
from clarity.security.keyring import Keyring, Purpose

PSEUDONYM_BYTES = 16
"""Among a million patients, two pseudonyms of 128 bits collide with a probability below 2^-88."""

_MOST_DAYS = 365


class ResearchPseudonyms:
    """Pseudonyms and shifts by HMAC-SHA-256 of the patient's id, each under a key of its own (HKDF, RFC 5869).

    They come from the oldest generation of the index root: a rotation adds one, and researchers go on seeing the same
    subjects. When the oldest is destroyed, every subject gets another pseudonym and another shift.
    """

    def __init__(self, keyring: Keyring) -> None:
        """Derive both keys."""
        oldest = keyring.secret(Purpose.INDEX, keyring.generations(Purpose.INDEX)[-1])
        self._name_key = hkdf_sha256(oldest, info=b"clarity research: pseudonym")
        self._shift_key = hkdf_sha256(oldest, info=b"clarity research: date shift")

    def of(self, patient: UUID) -> bytes:
        """Return the pseudonym, 16 bytes."""
        return hmac_sha256(self._name_key, patient.bytes)[:PSEUDONYM_BYTES]

    def shift_days(self, patient: UUID) -> int:
        """Return the shift, from 1 to 365 days, each as likely as the others but for 2^-55."""
        return 1 + int.from_bytes(hmac_sha256(self._shift_key, patient.bytes)[:8]) % _MOST_DAYS
