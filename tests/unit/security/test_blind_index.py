"""Exact look-ups: which spellings are the same, and that digests tell nothing and do not mix."""

import hmac

import phonenumbers
import pytest
from hypothesis import given
from hypothesis import strategies as st
from phonenumbers import PhoneNumberFormat

from clarity.domain.errors import Invalid
from clarity.domain.identifiers import IndexKind
from clarity.security.blind_index import BlindIndex, IndexValue
from clarity.security.hazmat import hkdf_sha256
from clarity.security.keyring import Keyring, Purpose
from clarity.security.normalise import NORMALISERS

PARTS = st.tuples(st.from_regex(r"[0-9]{3}", fullmatch=True), st.from_regex(r"[0-9]{3}", fullmatch=True))
GAPS = st.sampled_from(["", " ", ".", "-"])
AMERICAN = st.tuples(
    *(
        st.sampled_from(["", "+1", "+1 ", "+1-", "1-"]),
        st.sampled_from(["", "("]),
        PARTS,
        st.sampled_from(["", ")", ") "]),
    ),
    *(GAPS, GAPS, st.from_regex(r"[0-9]{4}", fullmatch=True)),
)
SAME = [
    (
        IndexKind.MRN,
        "hospital|AB-12",
        ["hospital|ab-12", " Hospital | AB-12 ", "hospital|AB-12", "HOSPITAL|AB\u200b-12"],
    ),
    (IndexKind.MRN, "|A 1", ["A 1", "| a\u00a0 1", "a\t1"]),
    (IndexKind.MRN_VALUE, "AB 12", ["ab 12", "  aB   12\n", "\ufeffAB 12"]),
    (IndexKind.MRN_VALUE, "STRASSE", ["straße"]),
    (IndexKind.SSN, "999-12-3456", ["999123456", "999 12 3456", "９９９-12-3456", "٩٩٩123456"]),
    (IndexKind.EMAIL, "Ada.Lovelace+x@Example.org", [" ada.lovelace+X@example.ORG "]),
    (IndexKind.EMAIL, "jos\u00e9@example.org", ["jose\u0301@example.org", "JOSE\u0301@example.org"]),
    (IndexKind.PHONE, "555-123-4567", ["(555) 123 4567", "+1 555.123.4567", "1-555-1234567", "555-123-4567 x12"]),
    (IndexKind.PHONE, "+49 30 123456", ["+49 (0)30 123456", "011 49 30 123456", "+4930123456"]),
    (IndexKind.PHONE, "12", ["1 2", "no 12"]),
    (IndexKind.EXTERNAL, "S99 98", [" S99   98 ", "Ｓ99 98"]),
    (IndexKind.SOURCE, "urn:uuid:e\u0301", ["urn:uuid:\u00e9 "]),
    (IndexKind.NPI, "1234567893", ["1234 567 893", "NPI 1234567893"]),
    (IndexKind.ACCOUNT_EMAIL, "Ada@Example.org", ["ada@example.org"]),
]
DIFFERENT = [
    (IndexKind.MRN, "hospital|1", "clinic|1"),
    (IndexKind.MRN, "hospital|1", "|hospital1"),
    (IndexKind.MRN, "a|1", "1|a"),
    (IndexKind.MRN, "|12", "|1 2"),
    (IndexKind.EMAIL, "ada.lovelace@example.org", "adalovelace@example.org"),
    (IndexKind.EMAIL, "ada+x@example.org", "ada@example.org"),
    (IndexKind.PHONE, "+1 555 123 4567", "+49 555 123 4567"),
    (IndexKind.PHONE, "12", "+12"),
    (IndexKind.EXTERNAL, "aB", "Ab"),
    (IndexKind.SOURCE, "Patient/A", "Patient/a"),
    (IndexKind.SOURCE, "a  b", "a b"),
    (IndexKind.SOURCE, "１", "1"),
]
NOTHING = [
    (IndexKind.MRN, "", "must have a value"),
    (IndexKind.MRN, "hospital|", "must have a value"),
    (IndexKind.MRN, "hospital| \u200b ", "must have a value"),
    (IndexKind.MRN_VALUE, " \u00a0", "must have a value"),
    (IndexKind.SSN, "99912345", "must have nine digits"),
    (IndexKind.SSN, "9991234567", "must have nine digits"),
    (IndexKind.SSN, "none", "must have nine digits"),
    (IndexKind.EMAIL, "  ", "must have a value"),
    (IndexKind.PHONE, "n/a", "must have digits"),
    (IndexKind.PHONE, "+", "must have digits"),
    (IndexKind.EXTERNAL, "\t", "must have a value"),
    (IndexKind.SOURCE, " ", "must have a value"),
    (IndexKind.NPI, "unknown", "must have digits"),
    (IndexKind.ACCOUNT_EMAIL, "", "must have a value"),
]


@pytest.fixture
def index(keyring: Keyring) -> BlindIndex:
    return BlindIndex(keyring)


@pytest.mark.parametrize(("kind", "text", "spellings"), SAME)
def test_spellings_of_one_identifier_are_the_same(
    index: BlindIndex, kind: IndexKind, text: str, spellings: list[str]
) -> None:
    for spelling in spellings:
        assert index.of(kind, spelling) == index.of(kind, text), ascii(spelling)


@pytest.mark.parametrize(("kind", "one", "other"), DIFFERENT)
def test_different_identifiers_stay_different(index: BlindIndex, kind: IndexKind, one: str, other: str) -> None:
    assert index.of(kind, one) != index.of(kind, other)


@pytest.mark.parametrize(("kind", "text", "rule"), NOTHING)
def test_what_says_nothing_is_invalid_and_not_repeated(
    index: BlindIndex, kind: IndexKind, text: str, rule: str
) -> None:
    for look_up in (index.of, index.candidates):
        with pytest.raises(Invalid) as caught:
            look_up(kind, text)
        assert (caught.value.field, caught.value.rule) == ("", rule)


def test_every_kind_has_a_rule() -> None:
    assert NORMALISERS.keys() == set(IndexKind)


def test_the_same_text_has_another_digest_in_each_kind(index: BlindIndex) -> None:
    digests = {index.of(kind, "999123456").digest for kind in IndexKind}
    assert len(digests) == len(IndexKind)


def test_a_digest_is_the_one_written_down(keyring: Keyring, index: BlindIndex) -> None:
    info = b"clarity blind index" + b"\x00\x00\x00\x03" + b"\x00\x00\x00\x01"
    key = hkdf_sha256(keyring.secret(Purpose.INDEX), info=info)
    digest = hmac.digest(key, b"999123456", "sha256")[:16]
    assert index.of(IndexKind.SSN, "999-12-3456") == IndexValue(generation=1, digest=digest)


def test_digests_need_the_index_root(keyring: Keyring, index: BlindIndex) -> None:
    secrets = {purpose: {1: keyring.secret(purpose)} for purpose in Purpose}
    other = BlindIndex(Keyring(secrets | {Purpose.INDEX: {1: bytes(32)}}))
    assert index.of(IndexKind.SSN, "999123456") != other.of(IndexKind.SSN, "999123456")


def test_through_a_rotation_both_generations_are_looked_up_the_newest_first(
    index: BlindIndex, rotated: Keyring
) -> None:
    new, old = BlindIndex(rotated).candidates(IndexKind.SSN, "999123456")
    assert old == index.of(IndexKind.SSN, "999123456")
    assert new == BlindIndex(rotated).of(IndexKind.SSN, "999123456")
    assert (new.generation, old.generation) == (2, 1)
    assert new.digest != old.digest


def test_numbers_without_a_country_belong_to_the_region(keyring: Keyring) -> None:
    german = BlindIndex(keyring, region="DE")
    assert german.of(IndexKind.PHONE, "030 123456") == german.of(IndexKind.PHONE, "+49 30 123456")
    assert german.of(IndexKind.PHONE, "030 123456") != BlindIndex(keyring).of(IndexKind.PHONE, "030 123456")


@pytest.mark.parametrize("region", ["US", "DE", "GB", "FR", "IT", "BR", "IN", "JP", "ZA", "MX"])
def test_a_number_is_the_same_in_every_usual_format(index: BlindIndex, keyring: Keyring, region: str) -> None:
    number = phonenumbers.example_number(region)
    assert number is not None
    e164 = index.of(IndexKind.PHONE, phonenumbers.format_number(number, PhoneNumberFormat.E164))
    for style in (PhoneNumberFormat.INTERNATIONAL, PhoneNumberFormat.RFC3966):
        assert index.of(IndexKind.PHONE, phonenumbers.format_number(number, style)) == e164
    national = phonenumbers.format_number(number, PhoneNumberFormat.NATIONAL)
    assert BlindIndex(keyring, region).of(IndexKind.PHONE, national) == e164


@pytest.mark.parametrize("kind", sorted(set(IndexKind) - {IndexKind.PHONE}))
@given(text=st.text())
def test_normalising_twice_is_normalising_once(kind: IndexKind, text: str) -> None:
    rule = NORMALISERS[kind].apply
    once = rule(text, "US")
    assert rule(once, "US") == once


@pytest.mark.parametrize("kind", [IndexKind.MRN, IndexKind.MRN_VALUE, IndexKind.EMAIL, IndexKind.ACCOUNT_EMAIL])
@given(text=st.text())
def test_case_is_ignored_in_every_script(kind: IndexKind, text: str) -> None:
    rule = NORMALISERS[kind].apply
    assert rule(text.casefold(), "US") == rule(text, "US")


def test_a_lone_surrogate_is_indexed_and_never_shown(index: BlindIndex) -> None:
    assert index.of(IndexKind.EXTERNAL, "a\ud800") != index.of(IndexKind.EXTERNAL, "a")


def test_an_index_shows_nothing_of_its_keys(keyring: Keyring, index: BlindIndex) -> None:
    index.of(IndexKind.SSN, "999123456")
    assert keyring.secret(Purpose.INDEX).hex() not in repr(index)
    assert "b'" not in repr(index)


@given(AMERICAN)
def test_a_number_that_is_not_asked_of_the_library_is_what_it_would_say(
    written: tuple[str, str, tuple[str, str], str, str, str, str],
) -> None:
    country, opening, (area, exchange), closing, gap, other, line = written
    text = f"{country}{opening}{area}{closing}{gap}{exchange}{other}{line}"
    asked = phonenumbers.format_number(phonenumbers.parse(text, "US"), PhoneNumberFormat.E164)
    assert NORMALISERS[IndexKind.PHONE].apply(text, "US") == asked
