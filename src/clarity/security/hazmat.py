"""The primitives everything else is built on. Dangerous: ask for `DataKey`, `Keyring` or `Cursors` instead.

Nothing here knows what it protects: a key used for two purposes, associated data left out, a digest compared
with `==` all work, and are all wrong. This is the only module that imports `cryptography`.
"""

import hmac
import os
from hashlib import pbkdf2_hmac
from hashlib import sha1 as _sha1
from hashlib import sha256 as _sha256

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA1, SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.twofactor.totp import TOTP

from clarity.domain.errors import CannotOpen

KEY_BYTES = 32
NONCE_BYTES = 12
TAG_BYTES = 16


class Aead:
    """AES-256-GCM under one key (NIST SP 800-38D), with a fresh random nonce for each encryption.

    At most 2^32 encryptions under one key (NIST SP 800-38D, 8.3): past that, two equal random nonces are too
    likely, and two equal nonces give away the authentication key. A patient's data key and a key that wraps
    them stay below it by many orders of magnitude, so nothing counts.
    """

    __slots__ = ("_cipher",)

    def __init__(self, key: bytes) -> None:
        """Expand the `key`, 32 bytes. This costs more than a small encryption, so keep the object."""
        if len(key) != KEY_BYTES:
            raise ValueError("an AES-256 key has 32 bytes")
        self._cipher = AESGCM(key)

    def encrypt(self, plaintext: bytes, associated: bytes, *, header: bytes = b"") -> bytes:
        """Return `header` ‖ nonce (12 bytes) ‖ ciphertext ‖ tag (16 bytes).

        The header is put in front as it is; whoever relies on it repeats it in `associated`.
        """
        nonce = os.urandom(NONCE_BYTES)
        return header + nonce + self._cipher.encrypt(nonce, plaintext, associated)

    def decrypt(self, nonce_and_ciphertext: bytes, associated: bytes, *, skip: int = 0) -> bytes:
        """Return the plaintext behind a header of `skip` bytes, or raise `CannotOpen` if it was altered."""
        start = skip + NONCE_BYTES
        if len(nonce_and_ciphertext) < start + TAG_BYTES:
            raise CannotOpen
        try:
            return self._cipher.decrypt(nonce_and_ciphertext[skip:start], nonce_and_ciphertext[start:], associated)
        except InvalidTag:
            raise CannotOpen from None


def decrypt_once(key: bytes, nonce_and_ciphertext: bytes, associated: bytes, *, skip: int = 0) -> bytes:
    """Return what `Aead(key).decrypt` returns, for a key that opens nothing else."""
    start = skip + NONCE_BYTES
    try:
        return AESGCM(key).decrypt(nonce_and_ciphertext[skip:start], nonce_and_ciphertext[start:], associated)
    except (InvalidTag, ValueError):  # altered; or too short for a nonce, or no key of ours
        raise CannotOpen from None


def unsafe_sha1(data: bytes) -> bytes:
    """Return the SHA-1 of `data`, 20 bytes: for looking up what others listed by it, and for nothing that protects."""
    return _sha1(data, usedforsecurity=False).digest()


def random_bytes(n: int) -> bytes:
    """Return `n` bytes from the operating system's generator."""
    return os.urandom(n)


def hkdf_sha256(secret: bytes, *, info: bytes, length: int = KEY_BYTES) -> bytes:
    """Return a key for the purpose `info` names (RFC 5869; no salt, since `secret` is uniformly random)."""
    return HKDF(SHA256(), length, salt=None, info=info).derive(secret)


def hmac_sha256(key: bytes, message: bytes) -> bytes:
    """Return the HMAC-SHA-256 (RFC 2104), 32 bytes."""
    return hmac.digest(key, message, "sha256")


def sha256(data: bytes) -> bytes:
    """Return the SHA-256 digest (FIPS 180-4), 32 bytes."""
    return _sha256(data).digest()


def equal(a: bytes, b: bytes) -> bool:
    """Tell whether two byte strings are equal, in a time that does not depend on where they differ."""
    return hmac.compare_digest(a, b)


def pbkdf2_sha256(password: bytes, salt: bytes, iterations: int) -> bytes:
    """Return the PBKDF2-HMAC-SHA-256 (RFC 8018), 32 bytes."""
    return pbkdf2_hmac("sha256", password, salt, iterations)


def totp(key: bytes, digits: int, step_seconds: int, step: int) -> bytes:
    """Return the one-time password of a time step (RFC 6238 with HMAC-SHA-1), as ASCII digits."""
    return TOTP(key, digits, SHA1(), step_seconds).generate(step * step_seconds)


def totp_uri(key: bytes, digits: int, step_seconds: int, *, account: str, issuer: str) -> str:
    """Return the `otpauth` address by which an authenticator takes in `key`."""
    return TOTP(key, digits, SHA1(), step_seconds).get_provisioning_uri(account, issuer)
