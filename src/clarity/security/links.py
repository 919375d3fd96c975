"""The secrets in one-time links."""

from clarity.security.hazmat import sha256
from clarity.security.tokens import new_refresh_token


class LinkTokens:
    """Makes tokens of 256 bits, of which NIST SP 800-63B-4, 3.1.2.2, asks 112 for a digest to need no salt."""

    def new(self) -> str:
        """Return 256 random bits as base64url, 43 characters."""
        return new_refresh_token()

    def digest(self, token: str) -> bytes:
        """Return the SHA-256 by which a token is stored, 32 bytes."""
        return sha256(token.encode("utf-8", "surrogatepass"))
