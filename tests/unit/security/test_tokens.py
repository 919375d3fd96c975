"""Access tokens, and the ways people have got past those of others."""

import base64
import hmac
import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from clarity.application.ports import AccessClaims, Tokens
from clarity.domain.errors import Unauthenticated, WrongCredentials
from clarity.domain.ids import AccountId, SessionId
from clarity.security.hazmat import hmac_sha256, random_bytes, sha256
from clarity.security.keyring import Keyring, Purpose
from clarity.security.tokens import AccessTokens, new_refresh_token, refresh_digest

ACCOUNT = AccountId(UUID("018f0000-0000-7000-8000-000000000001"))
SESSION = SessionId(UUID("018f0000-0000-7000-8000-000000000002"))
NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)
SOMEBODY = AccessTokens(Keyring({purpose: {1: random_bytes(32)} for purpose in Purpose}))


@pytest.fixture
def tokens(keyring: Keyring) -> AccessTokens:
    return AccessTokens(keyring)


@pytest.fixture
def key(keyring: Keyring) -> bytes:
    return keyring.secret(Purpose.TOKEN)


def segment(content: Mapping[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(content).encode()).rstrip(b"=").decode()


def content_of(token: str, part: int) -> dict[str, Any]:
    text = token.split(".")[part]
    content: dict[str, Any] = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    return content


def signed(key: bytes, header: Mapping[str, Any], claims: Mapping[str, Any]) -> str:
    """Sign whatever is asked for, as somebody would who had the key but not this code."""
    signing_input = f"{segment(header)}.{segment(claims)}"
    signature = base64.urlsafe_b64encode(hmac_sha256(key, signing_input.encode())).rstrip(b"=").decode()
    return f"{signing_input}.{signature}"


def refused(tokens: AccessTokens, token: str, now: datetime = NOON) -> None:
    with pytest.raises(Unauthenticated) as caught:
        tokens.read(token, now)
    assert not isinstance(caught.value, WrongCredentials)
    assert caught.value.__cause__ is None


def test_a_token_says_who_asks_and_until_when(tokens: AccessTokens) -> None:
    port: Tokens = tokens
    assert port.ttl_seconds == 600
    assert port.read(port.issue(ACCOUNT, SESSION, NOON), NOON) == AccessClaims(
        account=ACCOUNT, session=SESSION, expires_at=NOON + timedelta(minutes=10)
    )


def test_a_token_has_the_claims_and_header_written_down(tokens: AccessTokens, key: bytes) -> None:
    token = tokens.issue(ACCOUNT, SESSION, NOON)
    assert content_of(token, 0) == {"alg": "HS256", "kid": "1", "typ": "at+jwt"}
    claims = content_of(token, 1)
    assert len(claims.pop("jti")) == 32
    assert claims == {
        "iss": "clarity",
        "aud": "clarity-api",
        "sub": str(ACCOUNT),
        "sid": str(SESSION),
        "iat": int(NOON.timestamp()),
        "exp": int(NOON.timestamp()) + 600,
    }
    # What this test signs by hand is accepted, so the refusals below are not for a mistake in signing.
    tokens.read(signed(key, content_of(token, 0), content_of(token, 1)), NOON)


def test_no_two_tokens_are_the_same(tokens: AccessTokens) -> None:
    assert tokens.issue(ACCOUNT, SESSION, NOON) != tokens.issue(ACCOUNT, SESSION, NOON)


def test_a_token_expires_by_the_time_passed_in(tokens: AccessTokens) -> None:
    token = tokens.issue(ACCOUNT, SESSION, NOON)
    end = NOON + timedelta(seconds=600)
    tokens.read(token, end - SECOND)
    refused(tokens, token, end)
    refused(tokens, token, end + timedelta(days=365))
    in_a_century = NOON.replace(year=2126)
    tokens.read(tokens.issue(ACCOUNT, SESSION, in_a_century), in_a_century)
    short = AccessTokens(Keyring({purpose: {1: bytes(32)} for purpose in Purpose}), ttl_seconds=5)
    assert short.read(short.issue(ACCOUNT, SESSION, NOON), NOON).expires_at == NOON + 5 * SECOND


def test_a_token_that_is_remembered_expires_too_and_lasts_no_longer_than_its_key(keyring: Keyring) -> None:
    tokens, token = AccessTokens(keyring), AccessTokens(keyring).issue(ACCOUNT, SESSION, NOON)
    end = NOON + timedelta(seconds=600)
    for _ in range(2):
        assert tokens.read(token, end - SECOND).session == SESSION
        assert tokens.remembered == 1
        with pytest.raises(Unauthenticated, match="expired"):
            tokens.read(token, end)
        refused(tokens, token, NOON - timedelta(minutes=2))
        refused(SOMEBODY, token)


def test_of_those_who_ask_with_many_tokens_each_stays_who_they_are(keyring: Keyring) -> None:
    tokens = AccessTokens(keyring, remembers=3)
    sessions = [SessionId(UUID(int=number)) for number in range(10)]
    given = {session: tokens.issue(ACCOUNT, session, NOON) for session in sessions}
    for session in (*sessions, *reversed(sessions)):
        assert tokens.read(given[session], NOON).session == session
        assert tokens.remembered <= 3


def test_what_was_refused_is_not_remembered(tokens: AccessTokens) -> None:
    token = tokens.issue(ACCOUNT, SESSION, NOON)
    for other in (token[:-1], token + "A", SOMEBODY.issue(ACCOUNT, SESSION, NOON), "", "a" * 5_000):
        refused(tokens, other)
    assert tokens.remembered == 0


def test_a_token_from_the_future_is_refused(tokens: AccessTokens) -> None:
    tokens.read(tokens.issue(ACCOUNT, SESSION, NOON + timedelta(minutes=1)), NOON)
    refused(tokens, tokens.issue(ACCOUNT, SESSION, NOON + timedelta(minutes=1, seconds=1)), NOON)


@pytest.mark.parametrize("purpose", sorted(set(Purpose) - {Purpose.TOKEN}))
def test_a_key_for_another_purpose_signs_no_token(keyring: Keyring, tokens: AccessTokens, purpose: Purpose) -> None:
    claims = content_of(tokens.issue(ACCOUNT, SESSION, NOON), 1)
    for kid in ("1", str(purpose), f"{purpose}/1", f"{purpose}:1", f"../{purpose}/1"):
        header = {"alg": "HS256", "kid": kid, "typ": "at+jwt"}
        refused(tokens, signed(keyring.secret(purpose), header, claims))


def test_a_refresh_token_is_no_access_token(tokens: AccessTokens) -> None:
    refused(tokens, new_refresh_token())
    refused(tokens, f"{new_refresh_token()}.{new_refresh_token()}")
    refused(tokens, ".".join(new_refresh_token() for _ in range(3)))


def test_an_expired_token_says_so(tokens: AccessTokens) -> None:
    with pytest.raises(Unauthenticated, match="expired"):
        tokens.read(tokens.issue(ACCOUNT, SESSION, NOON), NOON + timedelta(hours=1))


def test_a_token_altered_anywhere_is_refused(tokens: AccessTokens) -> None:
    token = tokens.issue(ACCOUNT, SESSION, NOON)
    tokens.read(token, NOON)
    for position, character in enumerate(token):
        other = "A" if character != "A" else "B"
        refused(tokens, token[:position] + other + token[position + 1 :])


def test_a_token_cut_off_anywhere_is_refused(tokens: AccessTokens) -> None:
    token = tokens.issue(ACCOUNT, SESSION, NOON)
    for length in range(len(token)):
        refused(tokens, token[:length])


@pytest.mark.parametrize("algorithm", ["none", "None", "NONE", "nOnE", "", "HS384", "HS512", "RS256", "hs256", None, 1])
def test_a_token_does_not_choose_its_algorithm(tokens: AccessTokens, key: bytes, algorithm: object) -> None:
    header = {"alg": algorithm, "kid": "1", "typ": "at+jwt"}
    token = signed(key, header, content_of(tokens.issue(ACCOUNT, SESSION, NOON), 1))
    refused(tokens, token)
    refused(tokens, token.rpartition(".")[0] + ".")


@pytest.mark.parametrize("size", [384, 512])
def test_a_stronger_algorithm_is_refused_as_well(tokens: AccessTokens, key: bytes, size: int) -> None:
    token = tokens.issue(ACCOUNT, SESSION, NOON)
    body = segment(content_of(token, 0) | {"alg": f"HS{size}"}) + "." + segment(content_of(token, 1))
    signature = hmac.digest(key, body.encode(), f"sha{size}")
    refused(tokens, f"{body}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}")


def test_a_token_without_an_algorithm_is_refused(tokens: AccessTokens, key: bytes) -> None:
    claims = content_of(tokens.issue(ACCOUNT, SESSION, NOON), 1)
    refused(tokens, signed(key, {"kid": "1", "typ": "at+jwt"}, claims))


def test_a_token_that_pyjwt_left_unsigned_is_refused(tokens: AccessTokens) -> None:
    claims = content_of(tokens.issue(ACCOUNT, SESSION, NOON), 1)
    refused(tokens, jwt.encode(claims, "", algorithm="none", headers={"kid": "1", "typ": "at+jwt"}))


def test_a_key_pair_of_somebody_else_is_no_way_in(tokens: AccessTokens) -> None:
    """Signed with RSA, or with the text of a public key as if it were a shared secret."""
    pair = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    public = pair.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    claims = content_of(tokens.issue(ACCOUNT, SESSION, NOON), 1)
    headers = {"kid": "1", "typ": "at+jwt"}
    refused(tokens, jwt.encode(claims, pair, algorithm="RS256", headers=headers))
    refused(tokens, signed(public, {"alg": "HS256", **headers}, claims))
    refused(tokens, signed(b"", {"alg": "HS256", **headers}, claims))


def test_a_key_that_comes_with_the_token_is_not_used(tokens: AccessTokens) -> None:
    own_key = random_bytes(32)
    k = base64.urlsafe_b64encode(own_key).rstrip(b"=").decode()
    claims = content_of(tokens.issue(ACCOUNT, SESSION, NOON), 1)
    header = {"alg": "HS256", "kid": "1", "typ": "at+jwt", "jwk": {"kty": "oct", "k": k}}
    refused(tokens, signed(own_key, header, claims))
    refused(tokens, signed(own_key, header | {"jku": "https://example.org/keys"}, claims))


@pytest.mark.parametrize("kid", ["2", "0", "", "01", "1 ", "+1", "１", "../1", "kek", None, 1, ["1"], {"1": 1}])
def test_another_key_id_is_refused(tokens: AccessTokens, key: bytes, kid: object) -> None:
    claims = content_of(tokens.issue(ACCOUNT, SESSION, NOON), 1)
    refused(tokens, signed(key, {"alg": "HS256", "kid": kid, "typ": "at+jwt"}, claims))


def test_a_token_without_a_key_id_is_refused(tokens: AccessTokens, key: bytes) -> None:
    claims = content_of(tokens.issue(ACCOUNT, SESSION, NOON), 1)
    refused(tokens, signed(key, {"alg": "HS256", "typ": "at+jwt"}, claims))


@pytest.mark.parametrize("typ", ["JWT", "jwt", "AT+JWT", "application/at+jwt", "", None, 1, ["at+jwt"]])
def test_a_token_of_another_type_is_refused(tokens: AccessTokens, key: bytes, typ: object) -> None:
    claims = content_of(tokens.issue(ACCOUNT, SESSION, NOON), 1)
    refused(tokens, signed(key, {"alg": "HS256", "kid": "1", "typ": typ}, claims))


@pytest.mark.parametrize(
    "changes",
    [
        {"aud": "another-api"},
        {"aud": ["clarity-api"]},
        {"aud": ["clarity-api", "another-api"]},
        {"aud": ""},
        {"iss": "somebody"},
        {"iss": ["clarity"]},
        {"sub": "me"},
        {"sub": 1},
        {"sid": "this"},
        {"sid": 1},
        {"exp": "never"},
        {"exp": 1e300},
        {"exp": -(10**18)},
        {"exp": [1]},
        {"iat": "long ago"},
        {"iat": [1]},
        {"iat": 1e300},
        {"jti": 7},
    ],
)
def test_other_claims_are_refused_even_if_signed(tokens: AccessTokens, key: bytes, changes: dict[str, object]) -> None:
    token = tokens.issue(ACCOUNT, SESSION, NOON)
    refused(tokens, signed(key, content_of(token, 0), content_of(token, 1) | changes))


@pytest.mark.parametrize("claim", ["iss", "aud", "sub", "sid", "iat", "exp", "jti"])
def test_a_missing_claim_is_refused_even_if_signed(tokens: AccessTokens, key: bytes, claim: str) -> None:
    token = tokens.issue(ACCOUNT, SESSION, NOON)
    claims = content_of(token, 1)
    refused(tokens, signed(key, content_of(token, 0), claims | {claim: None}))
    del claims[claim]
    refused(tokens, signed(key, content_of(token, 0), claims))


def test_critical_and_detached_headers_are_refused(tokens: AccessTokens, key: bytes) -> None:
    token = tokens.issue(ACCOUNT, SESSION, NOON)
    header, claims = content_of(token, 0), content_of(token, 1)
    extras: list[dict[str, object]] = [
        {"crit": ["exp"], "exp": 1},
        {"crit": []},
        {"b64": False, "crit": ["b64"]},
    ]
    for extra in extras:
        refused(tokens, signed(key, header | extra, claims))


@pytest.mark.parametrize("prefix", ["", ".", "..", "a.", "Bearer "])
@pytest.mark.parametrize("suffix", ["", ".", "..", ".a", "=", "\n", " ", "é", "\ud800", "A" * 5000])
def test_a_token_with_anything_around_it_is_refused(tokens: AccessTokens, prefix: str, suffix: str) -> None:
    token = tokens.issue(ACCOUNT, SESSION, NOON)
    if prefix or suffix:
        refused(tokens, prefix + token + suffix)


@given(token=st.text() | st.text(alphabet="abcAB01-_.=", max_size=60))
def test_whatever_else_comes_is_refused(token: str) -> None:
    refused(SOMEBODY, token)


def test_a_payload_that_is_no_object_is_refused(tokens: AccessTokens, key: bytes) -> None:
    header = segment({"alg": "HS256", "kid": "1", "typ": "at+jwt"})
    for payload in (b"[]", b"1", b'"x"', b"null", b"{", b"\xff", b"[" * 1000):
        body = header + "." + base64.urlsafe_b64encode(payload).rstrip(b"=").decode()
        signature = base64.urlsafe_b64encode(hmac_sha256(key, body.encode())).rstrip(b"=").decode()
        refused(tokens, f"{body}.{signature}")


def test_tokens_of_another_practice_are_refused(tokens: AccessTokens) -> None:
    refused(tokens, SOMEBODY.issue(ACCOUNT, SESSION, NOON))


def test_tokens_of_another_issuer_with_the_same_key_are_refused(keyring: Keyring, tokens: AccessTokens) -> None:
    refused(tokens, AccessTokens(keyring, issuer="staging").issue(ACCOUNT, SESSION, NOON))


def test_tokens_outlive_a_rotation(keyring: Keyring, rotated: Keyring) -> None:
    before, after = AccessTokens(keyring), AccessTokens(rotated)
    assert after.read(before.issue(ACCOUNT, SESSION, NOON), NOON).account == ACCOUNT
    assert content_of(after.issue(ACCOUNT, SESSION, NOON), 0)["kid"] == "2"
    refused(before, after.issue(ACCOUNT, SESSION, NOON))


def test_a_key_is_used_only_under_its_own_id(rotated: Keyring) -> None:
    tokens = AccessTokens(rotated)
    token = tokens.issue(ACCOUNT, SESSION, NOON)
    header = content_of(token, 0) | {"kid": "1"}
    refused(tokens, signed(rotated.secret(Purpose.TOKEN, 2), header, content_of(token, 1)))


def test_refresh_tokens_are_256_random_bits(tokens: AccessTokens) -> None:
    made = {new_refresh_token() for _ in range(100)}
    assert len(made) == 100
    assert {len(base64.urlsafe_b64decode(token + "=")) for token in made} == {32}
    assert refresh_digest("token") == tokens.refresh_digest("token") == sha256(b"token")
    assert len(tokens.new_refresh_token()) == 43


def test_any_text_has_a_refresh_digest() -> None:
    assert len(refresh_digest("\ud800")) == 32


def test_nothing_secret_is_shown(tokens: AccessTokens) -> None:
    assert "b'" not in repr(tokens)
