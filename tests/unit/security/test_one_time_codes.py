"""One-time codes: the vectors of RFC 6238, and codes that are none."""

import base64
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clarity.application.ports import OneTimeCodes as Port
from clarity.domain.errors import WrongCredentials
from clarity.security.hazmat import sha256
from clarity.security.one_time_codes import OneTimeCodes

CODES = OneTimeCodes()
SECRET = base64.b32encode(b"12345678901234567890").decode()
STEP = timedelta(seconds=30)


def at(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


@pytest.mark.parametrize(
    ("seconds", "code"),
    [
        (59, "287082"),
        (1111111109, "081804"),
        (1111111111, "050471"),
        (1234567890, "005924"),
        (2000000000, "279037"),
        (20000000000, "353130"),
    ],
)
def test_codes_are_those_of_rfc_6238(seconds: int, code: str) -> None:
    port: Port = CODES
    assert port.step_of(SECRET, code, at(seconds)) == seconds // 30


def test_a_code_is_good_for_one_step_each_way_and_no_more() -> None:
    middle, code = at(1234567890), "005924"
    step = 1234567890 // 30
    for offset in (-1, 0, 1):
        assert CODES.step_of(SECRET, code, middle + offset * STEP) == step
    for offset in (-2, 2, 100):
        with pytest.raises(WrongCredentials):
            CODES.step_of(SECRET, code, middle + offset * STEP)


@pytest.mark.parametrize("typed", ["005 924", " 005924", "005-924", "005924 "])
def test_a_code_may_be_typed_in_groups(typed: str) -> None:
    assert CODES.step_of(SECRET, typed, at(1234567890)) == 1234567890 // 30


@pytest.mark.parametrize(
    "typed",
    ["", "5924", "0005924", "005925", "００５９２４", "٠٠٥٩٢٤", "005924\n", "+05924", "0x5924", "\ud800", "5" * 10_000],
)
def test_what_is_not_six_digits_that_match_is_no_code(typed: str) -> None:
    with pytest.raises(WrongCredentials):
        CODES.step_of(SECRET, typed, at(1234567890))


@given(typed=st.text(max_size=40))
def test_no_text_is_read_as_a_recovery_code_and_a_code_of_a_device(typed: str) -> None:
    read = 0
    for reading in (lambda: CODES.step_of(SECRET, typed, at(1234567890)), lambda: CODES.recovery_digest(typed)):
        try:
            reading()
        except WrongCredentials:
            continue
        read += 1
    assert read <= 1


def test_before_the_first_steps_there_is_nothing_to_compare_with() -> None:
    assert CODES.step_of(SECRET, "755224", at(0)) == 0  # the first value of RFC 4226, Appendix D
    with pytest.raises(WrongCredentials):
        CODES.step_of(SECRET, "000000", at(0))


def test_secrets_are_160_random_bits() -> None:
    made = {CODES.new_secret() for _ in range(100)}
    assert len(made) == 100
    assert {len(base64.b32decode(secret)) for secret in made} == {20}


def test_an_authenticator_reads_everything_from_the_address() -> None:
    uri = urlsplit(CODES.uri(SECRET, "anna.okafor+x@example.org"))
    assert (uri.scheme, uri.netloc, unquote(uri.path)) == ("otpauth", "totp", "/Clarity:anna.okafor+x@example.org")
    assert parse_qs(uri.query) == {
        "secret": [SECRET],
        "issuer": ["Clarity"],
        "algorithm": ["SHA1"],
        "digits": ["6"],
        "period": ["30"],
    }


def test_recovery_codes_are_120_random_bits_in_groups() -> None:
    made = {CODES.new_recovery_code() for _ in range(100)}
    assert len(made) == 100
    for code in made:
        groups = code.split("-")
        assert [len(group) for group in groups] == [4] * 6
        assert len(base64.b32decode("".join(groups))) * 8 == 120


def test_a_recovery_code_is_stored_by_its_digest_however_it_is_typed() -> None:
    code = "K7QD-2MZX-PL4N-WV6T-AH3R-YE5S"
    expected = sha256(b"K7QD2MZXPL4NWV6TAH3RYE5S")
    for typed in (code, code.lower(), code.replace("-", " "), code.replace("-", "")):
        assert CODES.recovery_digest(typed) == expected


@pytest.mark.parametrize(
    "typed", ["", "K7QD", "K7QD-2MZX-PL4N-WV6T-AH3R-YE5", "K7QD-2MZX-PL4N-WV6T-AH3R-YE51", "\ud800"]
)
def test_what_cannot_be_a_recovery_code_is_none(typed: str) -> None:
    with pytest.raises(WrongCredentials):
        CODES.recovery_digest(typed)
