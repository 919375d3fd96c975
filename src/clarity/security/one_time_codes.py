"""One-time codes: those of an authenticator (RFC 6238), and recovery codes for when it is lost."""

import base64
import re
from datetime import datetime
from typing import Final

from clarity.domain.errors import WrongCredentials
from clarity.security.hazmat import equal, random_bytes, sha256, totp, totp_uri

STEP_SECONDS: Final = 30
"""RFC 6238, 4.1. Authenticators assume it, and ASVS 5.0, 6.5.5 allows no more."""

DIGITS: Final = 6

_SECRET_BYTES: Final = 20  # RFC 4226, 4, R6 recommends 160 bits
# RFC 6238, 5.2 recommends at most one step for delay and for a clock that is off; so three codes are good at any time.
_WINDOW: Final = (-1, 0, 1)
_RECOVERY_BYTES: Final = 15  # 120 bits, where ASVS 5.0, 6.5.2 asks for 112 to store a plain hash; 24 letters of base32
_CODE = re.compile(r"[0-9]{6}", re.ASCII)
_RECOVERY_CODE = re.compile(r"[A-Z2-7]{24}", re.ASCII)


class OneTimeCodes:
    """Makes and reads codes of six digits by HMAC-SHA-1, which is what every authenticator understands.

    That SHA-1 collides does no harm here: an HMAC needs no resistance to collisions (RFC 4226, B.2).
    """

    def __init__(self, issuer: str = "Clarity") -> None:
        """Let authenticators show `issuer` beside the account."""
        self._issuer = issuer

    def new_secret(self) -> str:
        """Return 160 random bits as base32, 32 characters."""
        return base64.b32encode(random_bytes(_SECRET_BYTES)).decode()

    def uri(self, secret: str, account: str) -> str:
        """Return the `otpauth` address of a secret, with the account and who issued it as its label."""
        return totp_uri(base64.b32decode(secret), DIGITS, STEP_SECONDS, account=account, issuer=self._issuer)

    def step_of(self, secret: str, code: str, at: datetime) -> int:
        """Return the time step whose code this is, or raise `WrongCredentials`. All three steps are compared."""
        typed = _compact(code)
        if not _CODE.fullmatch(typed):
            raise WrongCredentials
        key, now = base64.b32decode(secret), int(at.timestamp()) // STEP_SECONDS
        steps = [now + offset for offset in _WINDOW if now + offset >= 0]
        matching = [step for step in steps if equal(totp(key, DIGITS, STEP_SECONDS, step), typed.encode())]
        if not matching:
            raise WrongCredentials
        return matching[-1]

    def new_recovery_code(self) -> str:
        """Return 120 random bits as base32, in six groups of four."""
        letters = base64.b32encode(random_bytes(_RECOVERY_BYTES)).decode()
        return "-".join(letters[start : start + 4] for start in range(0, len(letters), 4))

    def recovery_digest(self, code: str) -> bytes:
        """Return the SHA-256 of a recovery code without its hyphens and in capitals, or raise `WrongCredentials`."""
        typed = _compact(code).upper()
        if not _RECOVERY_CODE.fullmatch(typed):
            raise WrongCredentials
        return sha256(typed.encode())


def _compact(code: str) -> str:
    """Leave out what authenticators and people put between groups."""
    return code.replace(" ", "").replace("-", "")
