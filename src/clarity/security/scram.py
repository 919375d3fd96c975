"""What PostgreSQL keeps of a password, so that the password itself never travels in a statement."""

from base64 import b64encode

from clarity.domain.errors import Misconfigured
from clarity.security.hazmat import hmac_sha256, pbkdf2_sha256, random_bytes, sha256

# What PostgreSQL does itself, and the least that RFC 7677 allows.
_ITERATIONS = 4096
_SALT_BYTES = 16


def scram_verifier(password: str, salt: bytes | None = None) -> str:
    """Return the SCRAM-SHA-256 verifier of a password (RFC 5803), as `CREATE ROLE … PASSWORD` takes it.

    A password in clear would stand in the log of a server that logs statements. Raises `Misconfigured` if it
    is not ASCII, which clients normalise in different ways.
    """
    if not password.isascii():
        raise Misconfigured("a database password has only ASCII characters")
    salt = salt or random_bytes(_SALT_BYTES)
    salted = pbkdf2_sha256(password.encode(), salt, _ITERATIONS)
    stored_key = sha256(hmac_sha256(salted, b"Client Key"))
    server_key = hmac_sha256(salted, b"Server Key")
    return f"SCRAM-SHA-256${_ITERATIONS}:{_text(salt)}${_text(stored_key)}:{_text(server_key)}"


def _text(data: bytes) -> str:
    return b64encode(data).decode()
