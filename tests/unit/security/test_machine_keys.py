"""The texts of credentials: recognisable, never twice the same, and spelt in one way."""

import re
from hashlib import sha256

import pytest

from clarity.domain.credentials import PREFIX
from clarity.domain.errors import Unauthenticated
from clarity.domain.ids import CredentialId
from clarity.security.machine_keys import MachineKeys
from tests.builders import new_id

KEYS = MachineKeys()


def test_a_text_names_its_credential_and_is_stored_by_its_digest() -> None:
    credential = CredentialId(new_id())
    text, digest = KEYS.new(credential)
    assert re.fullmatch(r"clarity_[0-9a-f]{32}_[0-9a-f]{64}", text)
    assert digest == sha256(text.encode()).digest()
    assert KEYS.read(text) == (credential, digest)


def test_no_two_secrets_are_the_same() -> None:
    credential = CredentialId(new_id())
    assert len({KEYS.new(credential)[1] for _ in range(1_000)}) == 1_000


def test_another_id_makes_another_digest() -> None:
    text, digest = KEYS.new(CredentialId(new_id()))
    other = f"{PREFIX}{new_id().hex}_{text.rpartition('_')[2]}"
    assert KEYS.read(other)[1] != digest


@pytest.mark.parametrize("spell", [str.upper, str.title, "{}\n".format, " {}".format, "{}0".format, "{}é".format])
def test_another_spelling_is_none(spell: object) -> None:
    assert callable(spell)
    with pytest.raises(Unauthenticated):
        KEYS.read(spell(KEYS.new(CredentialId(new_id()))[0]))


@pytest.mark.parametrize("text", ["", PREFIX, f"{PREFIX}_", "e30.e30.e30", f"{PREFIX}{'0' * 32}_{'٠' * 64}", "\ud800"])
def test_what_is_no_credential_is_refused(text: str) -> None:
    with pytest.raises(Unauthenticated):
        KEYS.read(text)
