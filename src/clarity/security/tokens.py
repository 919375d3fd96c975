"""Access tokens, which say who is asking, and refresh tokens, which get new ones."""

import base64
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, Final, NamedTuple
from uuid import UUID

import jwt
from jwt.types import Options

from clarity.application.ports import AccessClaims
from clarity.domain.dates import CLOCKS_DIFFER
from clarity.domain.errors import Unauthenticated
from clarity.domain.ids import AccountId, SessionId
from clarity.security.hazmat import random_bytes, sha256
from clarity.security.keyring import Keyring, Purpose

_ALGORITHM: Final = "HS256"
_AUDIENCE: Final = "clarity-api"
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

# As in RFC 9068, 2.1, so that no JWT made for another end passes for an access token.
_TYPE: Final = "at+jwt"

_OPTIONS: Final[Options] = {
    "require": ["iss", "aud", "sub", "sid", "iat", "exp", "jti"],
    "strict_aud": True,
    "enforce_minimum_key_length": True,
    # PyJWT would read the clock; `read` compares with the caller's `now` instead.
    "verify_exp": False,
    "verify_iat": False,
    "verify_nbf": False,
}


class _Verified(NamedTuple):
    claims: AccessClaims
    issued_at: datetime


def new_refresh_token() -> str:
    """Return 256 random bits as base64url, 43 characters."""
    return base64.urlsafe_b64encode(random_bytes(32)).rstrip(b"=").decode()


def refresh_digest(token: str) -> bytes:
    """Return the SHA-256 by which a refresh token is stored. It needs no salt: the token is random."""
    return sha256(token.encode("utf-8", "surrogatepass"))


class AccessTokens:
    """Makes and reads access tokens: JSON Web Tokens (RFC 7519) with HMAC-SHA-256 under the token key.

    A token says who asks and in which session, never what they may do: that is looked up with each request.
    The `kid` is the generation of the key, so that tokens outlive a rotation.

    What was verified is remembered by the whole token, as long as these keys are: the `remembers` last used. Whether it
    has expired is asked each time.
    """

    def __init__(
        self, keyring: Keyring, issuer: str = "clarity", ttl_seconds: int = 600, *, remembers: int = 10_000
    ) -> None:
        """Sign with the newest token key in `keyring` and read with every one."""
        self.ttl_seconds = ttl_seconds
        self._issuer = issuer
        self._newest = str(keyring.current(Purpose.TOKEN))
        self._keys = {
            str(generation): keyring.secret(Purpose.TOKEN, generation)
            for generation in keyring.generations(Purpose.TOKEN)
        }
        # `lru_cache` is bounded, safe under threads, and does not remember what raised.
        self._verified = lru_cache(maxsize=remembers)(self._verify)

    @property
    def remembered(self) -> int:
        """How many tokens are remembered."""
        return self._verified.cache_info().currsize

    new_refresh_token = staticmethod(new_refresh_token)
    refresh_digest = staticmethod(refresh_digest)

    def issue(self, account: AccountId, session: SessionId, now: datetime) -> str:
        """Return a token that is good for `ttl_seconds` from `now` on."""
        issued_at = int(now.timestamp())
        claims = {
            "iss": self._issuer,
            "aud": _AUDIENCE,
            "sub": str(account),
            "sid": str(session),
            "iat": issued_at,
            "exp": issued_at + self.ttl_seconds,
            "jti": random_bytes(16).hex(),
        }
        headers = {"typ": _TYPE, "kid": self._newest}
        return jwt.encode(claims, self._keys[self._newest], _ALGORITHM, headers)

    def read(self, token: str, now: datetime) -> AccessClaims:
        """Return what a token says. Raises `Unauthenticated` if it is not ours, was altered or has expired."""
        claims, issued_at = self._verified(token)
        if now >= claims.expires_at:
            raise Unauthenticated("The access token has expired.")
        if issued_at > now + CLOCKS_DIFFER:
            raise Unauthenticated
        return claims

    def _verify(self, token: str) -> "_Verified":
        """Return what a token says that somebody signed here, be it good at this time or not."""
        try:
            claims = self._signed(token)
            return _Verified(
                AccessClaims(
                    account=AccountId(UUID(claims["sub"])),
                    session=SessionId(UUID(claims["sid"])),
                    expires_at=_EPOCH + timedelta(seconds=claims["exp"]),
                ),
                issued_at=_EPOCH + timedelta(seconds=claims["iat"]),
            )
        except (jwt.PyJWTError, AttributeError, OverflowError, TypeError, ValueError):
            raise Unauthenticated from None

    def _signed(self, token: str) -> dict[str, Any]:
        # PyJWT reads padded base64 too (RFC 7515 forbids it); a token is to have one spelling.
        if "=" in token:
            raise Unauthenticated
        # The signature covers the header, so what is compared here is not believed before it is verified.
        header = jwt.get_unverified_header(token)
        key = self._keys.get(header.get("kid", ""))
        if key is None or header.get("typ") != _TYPE:
            raise Unauthenticated
        # The one algorithm is ours to name: a token that chooses its own could choose "none" (RFC 8725, 3.1).
        return jwt.decode(
            token, key, algorithms=[_ALGORITHM], options=_OPTIONS, audience=_AUDIENCE, issuer=self._issuer
        )
