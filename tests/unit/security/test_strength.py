"""Which passwords may be used."""

import time
from contextlib import suppress
from hashlib import sha1
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clarity.domain.errors import Invalid, Misconfigured
from clarity.security.passwords import Passwords
from clarity.security.strength import StolenPasswords, require_strong


@pytest.mark.parametrize(
    "password",
    [
        "plum orbit walnut 7",
        "correct battery horse",
        "пароль из нескольких слов",
        "😀😃😄😁😆😅😂🤣😊😇🙂🙃😉😌😍",
        "fifteen chars o",
        "1234567890 trees",
        "4@8({[<3691!|0$5+7%2" * 12,
    ],
)
def test_long_passwords_of_any_characters_are_allowed(password: str) -> None:
    require_strong(password)


@pytest.mark.parametrize("password", ["", "Tr0ub4dor&3", "fourteen chars", "😀" * 14, "e\u0301" * 14])
def test_short_passwords_are_refused(password: str) -> None:
    with pytest.raises(Invalid, match="at least 15 characters") as caught:
        require_strong(password)
    assert caught.value.field == "password"
    assert not password or password not in str(caught.value)


def test_at_least_64_characters_are_allowed_and_256_at_most() -> None:
    varied = "".join(chr(0x4E00 + 7 * position) for position in range(257))
    require_strong(varied[:64])
    require_strong(varied[:256])
    with pytest.raises(Invalid, match="at most 256 characters"):
        require_strong(varied)


@pytest.mark.parametrize(
    "password",
    [
        "passwordpassword",
        "Password12345678",
        "PASSWORDPASSWORD1",
        "correct horse battery staple",
        "123456789012345",
        "12345678901234567890",
        "987654321098765",
        "qwertyuiopasdfgh",
        "abcdefghijklmnop",
        "ponmlkjihgfedcba",
        "aaaaaaaaaaaaaaa",
        "               ",
        "abcabcabcabcabcab",
        "MyDog MyDog MyDog ",
        "ｐａｓｓｗｏｒｄｐａｓｓｗｏｒｄ",
        "P@ssw0rdP@ssw0rd",
        "michaeljordan23",
        "jennifer19850412",
        "Summer2026Summer2026",
        "xxxxxxxyyyyyyyy",
        "clarity clinic password",
    ],
)
def test_passwords_that_are_tried_first_are_refused(password: str) -> None:
    with pytest.raises(Invalid, match="tried first") as caught:
        require_strong(password)
    assert password not in str(caught.value)


def test_what_is_known_of_somebody_makes_no_password() -> None:
    password = "Przybylski.Kazimierz"
    require_strong(password)
    with pytest.raises(Invalid, match="tried first"):
        require_strong(password, ["Kazimierz Przybylski", "kazimierz.przybylski@example.org"])


@settings(max_examples=50, deadline=None)
@given(st.text(alphabet="4@8({[<3691!|0$5+7%2abc", min_size=48, max_size=72))
def test_judging_a_password_takes_no_time_to_speak_of(password: str) -> None:
    began = time.process_time()
    with suppress(Invalid):
        require_strong(password)
    assert time.process_time() - began < 0.5


def a_list_of(tmp_path: Path, *passwords: str, ending: str = "\r\n") -> StolenPasswords:
    digests = sorted(sha1(password.encode(), usedforsecurity=False).hexdigest().upper() for password in passwords)
    path = tmp_path / "stolen"
    path.write_bytes("".join(f"{digest}:{17 * number}{ending}" for number, digest in enumerate(digests)).encode())
    return StolenPasswords(path)


@pytest.mark.parametrize("count", [1, 2, 3, 100])
@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_every_password_of_a_list_is_found_in_it_and_no_other(tmp_path: Path, count: int, ending: str) -> None:
    passwords = [f"a quiet river {number}" for number in range(count)]
    stolen = a_list_of(tmp_path, *passwords, ending=ending)
    assert all(password in stolen for password in passwords)
    assert not any(f"another river {number}" in stolen for number in range(100))


def test_a_stolen_password_is_refused_however_long_it_is(tmp_path: Path) -> None:
    stolen = a_list_of(tmp_path, "plum orbit walnut 7")
    with pytest.raises(Invalid, match="stolen") as caught:
        Passwords(stolen=stolen).check_strength("plum orbit walnut 7")
    assert "plum" not in str(caught.value)
    Passwords(stolen=stolen).check_strength("plum orbit walnut 8")


@pytest.mark.parametrize("content", [b"", b"password\n", b"0123:5\n"])
def test_what_is_no_list_of_digests_refuses_the_start(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "stolen"
    path.write_bytes(content)
    with pytest.raises(Misconfigured, match="SHA-1"):
        StolenPasswords(path)
    with pytest.raises(Misconfigured, match="cannot be read"):
        StolenPasswords(tmp_path / "absent")
