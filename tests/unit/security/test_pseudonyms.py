"""Pseudonyms of research subjects and the shifts of their dates."""

from itertools import pairwise
from secrets import token_bytes

from clarity.security.hazmat import hkdf_sha256, hmac_sha256
from clarity.security.keyring import Keyring, Purpose
from clarity.security.pseudonyms import PSEUDONYM_BYTES, ResearchPseudonyms
from tests.builders import a_keyring, new_id

IDS = [new_id() for _ in range(3_000)]


def rotated(secrets: dict[int, bytes]) -> ResearchPseudonyms:
    return ResearchPseudonyms(
        Keyring({purpose: secrets if purpose is Purpose.INDEX else {1: token_bytes(32)} for purpose in Purpose})
    )


def test_a_pseudonym_is_an_hmac_under_a_key_of_its_own() -> None:
    keyring = a_keyring()
    root = keyring.secret(Purpose.INDEX)
    key = hkdf_sha256(root, info=b"clarity research: pseudonym")
    pseudonym = ResearchPseudonyms(keyring).of(IDS[0])
    assert pseudonym == hmac_sha256(key, IDS[0].bytes)[:PSEUDONYM_BYTES]
    assert pseudonym != hmac_sha256(root, IDS[0].bytes)[:PSEUDONYM_BYTES]


def test_pseudonyms_differ_and_are_in_no_order_of_ids() -> None:
    pseudonyms = ResearchPseudonyms(a_keyring())
    found = [pseudonyms.of(one) for one in IDS]
    assert len(set(found)) == len(IDS)
    rising = sum(before < after for before, after in pairwise(found))
    # Half of the neighbours, give or take ten standard deviations of sqrt(n / 12).
    assert abs(rising - len(IDS) / 2) < 160


def test_shifts_are_from_one_day_to_a_year_and_take_every_value() -> None:
    pseudonyms = ResearchPseudonyms(a_keyring())
    shifts = [pseudonyms.shift_days(one) for one in IDS]
    assert min(shifts) >= 1
    assert max(shifts) <= 365
    assert len(set(shifts)) > 350
    assert 165 < sum(shifts) / len(shifts) < 201
    assert shifts == [pseudonyms.shift_days(one) for one in IDS]


def test_a_rotation_of_the_index_root_changes_no_subject() -> None:
    first, second = token_bytes(32), token_bytes(32)
    before, after, alone = rotated({1: first}), rotated({1: first, 2: second}), rotated({2: second})
    for one in IDS[:20]:
        assert (before.of(one), before.shift_days(one)) == (after.of(one), after.shift_days(one))
        assert before.of(one) != alone.of(one)
