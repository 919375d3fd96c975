"""The primitives against published vectors."""

import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clarity.domain.errors import CannotOpen
from clarity.security.hazmat import Aead, equal, hkdf_sha256, hmac_sha256, random_bytes, sha256

# McGrew and Viega, "The Galois/Counter Mode of Operation (GCM)", test case 16: AES-256 with associated data.
GCM_KEY = bytes.fromhex("feffe9928665731c6d6a8f9467308308" * 2)
GCM_NONCE = bytes.fromhex("cafebabefacedbaddecaf888")
GCM_PLAINTEXT = bytes.fromhex(
    "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72"
    "1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39"
)
GCM_ASSOCIATED = bytes.fromhex("feedfacedeadbeeffeedfacedeadbeefabaddad2")
GCM_CIPHERTEXT = bytes.fromhex(
    "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa"
    "8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662"
)
GCM_TAG = bytes.fromhex("76fc6ece0f4e1768cddf8853bb2d551b")


def test_aes_gcm_opens_the_published_ciphertext() -> None:
    sealed = GCM_NONCE + GCM_CIPHERTEXT + GCM_TAG
    assert Aead(GCM_KEY).decrypt(sealed, GCM_ASSOCIATED) == GCM_PLAINTEXT


def test_aes_gcm_makes_the_published_ciphertext_with_the_published_nonce(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("os.urandom", lambda n: GCM_NONCE[:n])
    sealed = Aead(GCM_KEY).encrypt(GCM_PLAINTEXT, GCM_ASSOCIATED)
    assert sealed == GCM_NONCE + GCM_CIPHERTEXT + GCM_TAG


def test_the_empty_ciphertext_opens() -> None:
    # The same paper, test case 13: no plaintext, no associated data.
    tag = bytes.fromhex("530f8afbc74536b9a963b4f1c4cb738b")
    assert Aead(bytes(32)).decrypt(bytes(12) + tag, b"") == b""


def test_one_flipped_bit_anywhere_does_not_open() -> None:
    for position in range(12 + 60 + 16):
        sealed = bytearray(GCM_NONCE + GCM_CIPHERTEXT + GCM_TAG)
        sealed[position] ^= 1
        with pytest.raises(CannotOpen):
            Aead(GCM_KEY).decrypt(bytes(sealed), GCM_ASSOCIATED)


@pytest.mark.parametrize("associated", [b"", GCM_ASSOCIATED[:-1], GCM_ASSOCIATED + b"\0"])
def test_other_associated_data_does_not_open(associated: bytes) -> None:
    with pytest.raises(CannotOpen):
        Aead(GCM_KEY).decrypt(GCM_NONCE + GCM_CIPHERTEXT + GCM_TAG, associated)


def test_nothing_shorter_opens() -> None:
    for length in range(12 + 60 + 16):
        with pytest.raises(CannotOpen):
            Aead(GCM_KEY).decrypt((GCM_NONCE + GCM_CIPHERTEXT + GCM_TAG)[:length], GCM_ASSOCIATED)


@given(plaintext=st.binary(), associated=st.binary(), header=st.binary(max_size=20))
def test_what_was_encrypted_comes_back(plaintext: bytes, associated: bytes, header: bytes) -> None:
    aead = Aead(random_bytes(32))
    sealed = aead.encrypt(plaintext, associated, header=header)
    assert sealed.startswith(header)
    assert len(sealed) == len(header) + 12 + len(plaintext) + 16
    assert aead.decrypt(sealed, associated, skip=len(header)) == plaintext


def test_each_encryption_has_a_nonce_of_its_own() -> None:
    aead = Aead(random_bytes(32))
    assert len({aead.encrypt(b"the same", b"")[:12] for _ in range(1000)}) == 1000


@pytest.mark.parametrize("length", [0, 16, 24, 31, 33])
def test_only_256_bit_keys_are_taken(length: int) -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        Aead(bytes(length))


def test_hkdf_gives_the_published_key() -> None:
    # RFC 5869, A.3: SHA-256, no salt, no info.
    assert hkdf_sha256(b"\x0b" * 22, info=b"", length=42) == bytes.fromhex(
        "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8"
    )


@given(secret=st.binary(min_size=1), info=st.binary(), length=st.integers(min_value=1, max_value=200))
def test_hkdf_follows_its_definition(secret: bytes, info: bytes, length: int) -> None:
    # RFC 5869, 2.2 and 2.3, written out: without a salt, 32 zeros.
    pseudorandom_key = hmac.digest(bytes(32), secret, "sha256")
    expected, block = b"", b""
    while len(expected) < length:
        block = hmac.digest(pseudorandom_key, block + info + bytes([len(expected) // 32 + 1]), "sha256")
        expected += block
    assert hkdf_sha256(secret, info=info, length=length) == expected[:length]


@pytest.mark.parametrize(
    ("key", "message", "digest"),
    [
        # RFC 4231, test cases 1, 2 and 6.
        (b"\x0b" * 20, b"Hi There", "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"),
        (
            b"Jefe",
            b"what do ya want for nothing?",
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
        ),
        (
            b"\xaa" * 131,
            b"Test Using Larger Than Block-Size Key - Hash Key First",
            "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
        ),
    ],
)
def test_hmac_gives_the_published_digest(key: bytes, message: bytes, digest: str) -> None:
    assert hmac_sha256(key, message).hex() == digest


def test_sha256_gives_the_published_digest() -> None:
    # FIPS 180-4 examples: "abc".
    assert sha256(b"abc").hex() == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_equal_tells_whether_all_bytes_are_the_same() -> None:
    assert equal(b"digest", b"digest")
    assert not equal(b"digest", b"digesu")
    assert not equal(b"digest", b"diges")


def test_random_bytes_differ_and_have_the_length_asked_for() -> None:
    assert len(random_bytes(33)) == 33
    assert random_bytes(32) != random_bytes(32)


def test_a_cipher_shows_nothing_of_its_key() -> None:
    assert GCM_KEY.hex() not in repr(Aead(GCM_KEY))
    assert str(GCM_KEY) not in repr(Aead(GCM_KEY))
