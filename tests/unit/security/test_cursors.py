"""Cursors: what a client carries and cannot use for anything else."""

import base64
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clarity.domain.errors import Invalid
from clarity.security.cursors import Cursors
from clarity.security.hazmat import random_bytes
from clarity.security.keyring import Keyring, Purpose

ALPHABET = string.ascii_letters + string.digits + "-_"
CURSORS = Cursors(Keyring({purpose: {1: random_bytes(32)} for purpose in Purpose}))


@given(payload=st.binary(max_size=2000), context=st.binary(max_size=100))
def test_a_cursor_opens_in_its_context(payload: bytes, context: bytes) -> None:
    cursor = CURSORS.seal(payload, context)
    assert set(cursor) <= set(ALPHABET)
    assert CURSORS.open(cursor, context) == payload


@pytest.mark.parametrize("context", [b"", b"patients by age", b"patients by nam", b"patients by name "])
def test_a_cursor_of_another_query_is_refused(context: bytes) -> None:
    cursor = CURSORS.seal(b"Lovelace", b"patients by name")
    with pytest.raises(Invalid) as caught:
        CURSORS.open(cursor, context)
    assert caught.value.field == "cursor"
    assert caught.value.rule == "is not one of ours or belongs to another query"
    assert caught.value.__cause__ is None


def test_a_cursor_altered_anywhere_is_refused() -> None:
    cursor = CURSORS.seal(b"Lovelace", b"context")
    for position, character in enumerate(cursor):
        other = ALPHABET[(ALPHABET.index(character) + 1) % len(ALPHABET)]
        with pytest.raises(Invalid):
            CURSORS.open(cursor[:position] + other + cursor[position + 1 :], b"context")


def test_a_cursor_cut_off_anywhere_is_refused() -> None:
    cursor = CURSORS.seal(b"Lovelace", b"context")
    for length in range(len(cursor)):
        with pytest.raises(Invalid):
            CURSORS.open(cursor[:length], b"context")


@given(cursor=st.text())
def test_whatever_else_comes_is_refused(cursor: str) -> None:
    with pytest.raises(Invalid):
        CURSORS.open(cursor, b"context")


@pytest.mark.parametrize("suffix", ["=", "==", "\n", " ", "A", ".", "é"])
def test_one_cursor_has_one_spelling(suffix: str) -> None:
    with pytest.raises(Invalid):
        CURSORS.open(CURSORS.seal(b"Lovelace", b"context") + suffix, b"context")


def test_the_payload_and_its_length_stay_hidden() -> None:
    short, long = CURSORS.seal(b"Li", b""), CURSORS.seal(b"Wolfeschlegelsteinhausenbergerdorff", b"")
    assert len(short) == len(long)
    assert b"Wolfe" not in base64.urlsafe_b64decode(long + "==")


def test_cursors_outlive_a_rotation(keyring: Keyring, rotated: Keyring) -> None:
    cursor = Cursors(keyring).seal(b"Lovelace", b"context")
    assert Cursors(rotated).open(cursor, b"context") == b"Lovelace"
    with pytest.raises(Invalid):
        Cursors(keyring).open(Cursors(rotated).seal(b"Lovelace", b"context"), b"context")


def test_cursors_of_another_practice_are_refused(keyring: Keyring) -> None:
    with pytest.raises(Invalid):
        Cursors(keyring).open(CURSORS.seal(b"Lovelace", b"context"), b"context")


def test_cursors_show_nothing_of_their_keys() -> None:
    assert "b'" not in repr(CURSORS)
