"""The sealed format, byte for byte."""

import math
import struct
from uuid import UUID

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st

from clarity.domain.errors import CannotOpen
from clarity.security.envelope import SYSTEM_SUBJECT, Place, generation_of, pad, unpad
from clarity.security.hazmat import Aead, random_bytes
from clarity.security.vault import DataKey, SystemVault

KEY = bytes(range(32))
SUBJECT = UUID("018f0000-0000-7000-8000-000000000001")
ROW = UUID("018f0000-0000-7000-8000-0000000000aa")
PLACE = Place(table=1, column=2, row=ROW, subject=SUBJECT, version=5)
PLAINTEXT = b'{"family": "Alc\xc3\xa1ntar"}'

ASSOCIATED = (
    b"clarity1"  # the product and the version of this format
    b"\x01"  # format version
    b"\x01"  # suite: AES-256-GCM
    b"\x00\x00\x00\x07"  # generation of the data key
    b"\x00\x00\x00\x01"  # table
    b"\x00\x00\x00\x02"  # column
    b"\x01\x8f\x00\x00\x00\x00\x70\x00\x80\x00\x00\x00\x00\x00\x00\xaa"  # row
    b"\x01\x8f\x00\x00\x00\x00\x70\x00\x80\x00\x00\x00\x00\x00\x00\x01"  # patient
    b"\x00\x00\x00\x05"  # row version
)
SEALED = bytes.fromhex(
    "010100000007"
    "0102030405060708090a0b0c"
    "7ec83cb481fd9cff6e984365517f89ebe32d959fe54f2d45a15ff9249eb676c5"
    "84e49bdf6eb5ec9fb0acbae5c5dbf85d9ef64fe0d4993671367d0ccd6f01340c"
    "fba646060549579d4b5a80ea5caa0fe3"
)


def a_key(subject: UUID = SUBJECT, generation: int = 7, key: bytes = KEY) -> DataKey:
    return DataKey(subject, generation, Aead(key))


def test_the_format_is_the_one_written_down() -> None:
    """A value sealed by the first version, kept for ever: if this fails, old records no longer open."""
    header, nonce, ciphertext = SEALED[:6], SEALED[6:18], SEALED[18:]
    assert header == b"\x01\x01\x00\x00\x00\x07"
    padded = AESGCM(KEY).decrypt(nonce, ciphertext, ASSOCIATED)
    assert padded == PLAINTEXT + b"\x80" + bytes(64 - len(PLAINTEXT) - 1)
    assert a_key().open(PLACE, SEALED) == PLAINTEXT


def test_what_is_sealed_now_has_the_same_format(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.urandom", lambda n: bytes(range(1, n + 1)))
    assert a_key().seal(PLACE, PLAINTEXT) == SEALED


def test_a_bit_flipped_anywhere_does_not_open() -> None:
    for position in range(8 * len(SEALED)):
        altered = bytearray(SEALED)
        altered[position // 8] ^= 1 << position % 8
        with pytest.raises(CannotOpen):
            a_key().open(PLACE, bytes(altered))


def test_a_value_cut_off_anywhere_does_not_open() -> None:
    for length in range(len(SEALED)):
        with pytest.raises(CannotOpen):
            a_key().open(PLACE, SEALED[:length])


def test_a_longer_value_does_not_open() -> None:
    with pytest.raises(CannotOpen):
        a_key().open(PLACE, SEALED + b"\0")


@pytest.mark.parametrize(
    "elsewhere",
    [
        PLACE._replace(table=2),
        PLACE._replace(column=1),
        PLACE._replace(row=SUBJECT),
        PLACE._replace(version=4),
        PLACE._replace(version=6),
        PLACE._replace(table=2, column=1),
    ],
)
def test_a_value_moved_elsewhere_does_not_open(elsewhere: Place) -> None:
    with pytest.raises(CannotOpen):
        a_key().open(elsewhere, SEALED)


def test_a_value_moved_to_another_patient_does_not_open() -> None:
    somebody_else = UUID("018f0000-0000-7000-8000-000000000002")
    with pytest.raises(CannotOpen):
        a_key().open(PLACE._replace(subject=somebody_else), SEALED)
    with pytest.raises(CannotOpen):
        a_key(subject=somebody_else).open(PLACE, SEALED)
    # Even if both patients had the same key, the associated data would still tell them apart.
    with pytest.raises(CannotOpen):
        a_key(subject=somebody_else).open(PLACE._replace(subject=somebody_else), SEALED)


def test_another_generation_does_not_open_even_with_the_same_key() -> None:
    with pytest.raises(CannotOpen):
        a_key(generation=8).open(PLACE, SEALED)
    with pytest.raises(CannotOpen):
        a_key(generation=8).open(PLACE, b"\x01\x01\x00\x00\x00\x08" + SEALED[6:])


def test_another_key_does_not_open() -> None:
    with pytest.raises(CannotOpen):
        a_key(key=random_bytes(32)).open(PLACE, SEALED)


def test_a_key_does_not_seal_for_somebody_else() -> None:
    with pytest.raises(ValueError, match="own subject"):
        a_key(subject=ROW).seal(PLACE, PLAINTEXT)


@given(
    plaintext=st.binary(max_size=5000),
    table=st.integers(0, 2**32 - 1),
    column=st.integers(0, 2**32 - 1),
    row=st.uuids(),
    subject=st.uuids(),
    version=st.integers(0, 2**32 - 1),
    generation=st.integers(0, 2**32 - 1),
)
def test_whatever_is_sealed_opens_in_its_place(
    plaintext: bytes, table: int, column: int, row: UUID, subject: UUID, version: int, generation: int
) -> None:
    key = a_key(subject, generation)
    place = Place(table, column, row, subject, version)
    sealed = key.seal(place, plaintext)
    assert generation_of(sealed) == generation
    assert key.open(place, sealed) == plaintext
    assert plaintext not in sealed or len(plaintext) < 8


def test_the_same_content_is_never_sealed_alike() -> None:
    key = a_key()
    assert len({key.seal(PLACE, PLAINTEXT) for _ in range(100)}) == 100


@pytest.mark.parametrize(
    "malformed",
    [
        b"",
        SEALED[:6],
        SEALED[:-1],
        b"\x00" + SEALED[1:],
        b"\x02" + SEALED[1:],
        SEALED[:1] + b"\x02" + SEALED[2:],
    ],
)
def test_an_unknown_header_names_no_generation(malformed: bytes) -> None:
    with pytest.raises(CannotOpen):
        generation_of(malformed)


def expected_length(needed: int) -> int:
    """Return the padded length by its definition in words, not by its formula."""
    for power in (64, 128, 256, 512, 1024):
        if needed <= power:
            return power
    # Padmé: a float whose mantissa has as many bits as its exponent, rounded up.
    exponent = math.floor(math.log2(needed))
    mantissa_bits = math.floor(math.log2(exponent)) + 1
    step = 1 << (exponent - mantissa_bits)
    return math.ceil(needed / step) * step


def test_every_length_is_padded_as_defined_and_comes_back() -> None:
    for size in range(3001):
        plaintext = b"\x80\x00" * (size // 2) + b"\x00" * (size % 2)
        padded = pad(plaintext)
        assert len(padded) == expected_length(size + 1)
        assert padded == plaintext + b"\x80" + bytes(len(padded) - size - 1)
        assert unpad(padded) == plaintext


@given(size=st.integers(min_value=1024, max_value=1 << 22))
def test_long_values_grow_by_at_most_12_percent(size: int) -> None:
    padded = len(pad(bytes(size)))
    assert size < padded <= 1.12 * (size + 1)
    assert padded == expected_length(size + 1)


def test_lengths_reveal_little() -> None:
    """Of a hundred thousand lengths, an observer sees a few dozen."""
    assert len({expected_length(size + 1) for size in range(100_000)}) < 150


@pytest.mark.parametrize("padded", [b"", bytes(64), b"\x01" * 64, b"a" * 63 + b"\x81", b"\x80" + b"\x01" * 63])
def test_what_was_not_padded_does_not_open(padded: bytes) -> None:
    with pytest.raises(CannotOpen):
        unpad(padded)


def test_keys_and_vaults_show_nothing_secret() -> None:
    key = a_key()
    vault = SystemVault({1: a_key(SYSTEM_SUBJECT, 1)})
    for shown in (repr(key), str(key), repr(vault)):
        assert KEY.hex() not in shown
        assert str(KEY)[2:-1] not in shown
        assert "Aead" not in shown
    assert repr(key) == f"DataKey(subject={SUBJECT!r}, generation=7)"


def test_a_system_value_opens_in_its_column_only() -> None:
    vault = SystemVault({1: a_key(SYSTEM_SUBJECT, 1)})
    sealed = vault.seal(9, 3, b"staff@example.org")
    assert vault.open(9, 3, sealed) == b"staff@example.org"
    for table, column in ((9, 4), (3, 9), (8, 3)):
        with pytest.raises(CannotOpen):
            vault.open(table, column, sealed)


def test_a_system_value_survives_a_rotation_of_its_key() -> None:
    old, new = a_key(SYSTEM_SUBJECT, 1), a_key(SYSTEM_SUBJECT, 2, random_bytes(32))
    sealed = SystemVault({1: old}).seal(9, 3, b"before")
    rotated = SystemVault({1: old, 2: new})
    assert rotated.open(9, 3, sealed) == b"before"
    assert generation_of(rotated.seal(9, 3, b"after")) == 2
    with pytest.raises(CannotOpen):
        SystemVault({2: new}).open(9, 3, sealed)


def test_a_system_value_is_bound_like_a_row_without_a_patient() -> None:
    sealed = SystemVault({1: a_key(SYSTEM_SUBJECT, 1)}).seal(9, 3, b"secret")
    associated = b"clarity1\x01\x01\x00\x00\x00\x01" + struct.pack(">II16x16xI", 9, 3, 0)
    assert AESGCM(KEY).decrypt(sealed[6:18], sealed[18:], associated).startswith(b"secret\x80")
