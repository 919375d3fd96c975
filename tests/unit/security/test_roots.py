"""The root key in its file."""

import base64
import os
import re
from pathlib import Path

import pytest

from clarity.domain.errors import CannotOpen, Misconfigured
from clarity.security.roots import open_root
from clarity.security.roots.file import FileRoot

KEY = bytes(range(100, 132))


def written(path: Path, text: str, mode: int = 0o600) -> Path:
    path.write_text(text)
    path.chmod(mode)
    return path


def test_a_new_root_is_32_bytes_in_hexadecimal_for_its_owner_only(tmp_path: Path) -> None:
    FileRoot.create(tmp_path / "root")
    assert re.fullmatch(r"[0-9a-f]{64}\n", (tmp_path / "root").read_text())
    assert (tmp_path / "root").stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["root"]


def test_a_root_wraps_the_same_after_it_is_loaded_again(tmp_path: Path) -> None:
    made = FileRoot.create(tmp_path / "root")
    loaded = open_root(f"file:{tmp_path / 'root'}")
    assert loaded.id == made.id
    assert loaded.unwrap(made.wrap(KEY, b"purpose"), b"purpose") == KEY


def test_a_wrapped_key_is_bound_to_its_purpose_and_its_root(tmp_path: Path) -> None:
    root, other = FileRoot.create(tmp_path / "root"), FileRoot.create(tmp_path / "other")
    wrapped = root.wrap(KEY, b"purpose")
    assert KEY not in wrapped
    with pytest.raises(CannotOpen):
        root.unwrap(wrapped, b"another purpose")
    with pytest.raises(CannotOpen):
        other.unwrap(wrapped, b"purpose")


@pytest.mark.parametrize("end", ["", "\n", "\r\n", "  \n\n"])
@pytest.mark.parametrize("text", [KEY.hex(), KEY.hex().upper(), base64.b64encode(KEY).decode()])
def test_a_root_may_be_written_in_hexadecimal_or_base64(tmp_path: Path, text: str, end: str) -> None:
    root = FileRoot.load(written(tmp_path / "root", text + end))
    assert root.id == FileRoot.load(written(tmp_path / "plain", KEY.hex())).id


def test_the_fingerprint_is_not_a_part_of_the_key(tmp_path: Path) -> None:
    root = FileRoot.load(written(tmp_path / "root", KEY.hex()))
    assert re.fullmatch(r"[0-9a-f]{8}", root.id)
    assert root.id not in KEY.hex()


def test_a_root_shows_nothing_of_its_key(tmp_path: Path) -> None:
    root = FileRoot.load(written(tmp_path / "root", KEY.hex()))
    assert repr(root) == f"FileRoot(name={str(tmp_path / 'root')!r}, id={root.id!r})"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n",
        KEY.hex()[:-1],
        KEY.hex()[:-2],
        KEY.hex() + "00",
        KEY.hex()[:-1] + "g",
        base64.b64encode(KEY[:-1]).decode(),
        base64.b64encode(KEY + b"\0").decode(),
        base64.b64encode(KEY).decode()[:-1],
        base64.b64encode(KEY).decode().replace("c", "c!"),
        "key: " + KEY.hex(),
        "pässword",
    ],
)
def test_anything_else_in_the_file_is_refused_without_repeating_it(tmp_path: Path, text: str) -> None:
    path = written(tmp_path / "root", text)
    with pytest.raises(Misconfigured, match=r"does not hold 32 bytes.*restore it") as caught:
        FileRoot.load(path)
    assert str(path) in str(caught.value)
    assert not text.strip() or text not in str(caught.value)
    assert caught.value.__cause__ is None


def test_a_large_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match="too large"):
        FileRoot.load(written(tmp_path / "root", " " * 5000))


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644, 0o610, 0o601, 0o602, 0o777])
def test_a_file_open_to_others_is_refused(tmp_path: Path, mode: int) -> None:
    path = written(tmp_path / "root", KEY.hex(), mode)
    with pytest.raises(Misconfigured, match=f"mode {mode:04o}.*chmod 600 {path}"):
        FileRoot.load(path)


def test_a_stricter_mode_is_taken(tmp_path: Path) -> None:
    assert FileRoot.load(written(tmp_path / "root", KEY.hex(), 0o400)).id


def test_a_missing_file_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match=f"no key root at {tmp_path / 'root'}.*clarity keys init"):
        FileRoot.load(tmp_path / "root")


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match="not a regular file"):
        FileRoot.load(tmp_path)
    os.mkfifo(tmp_path / "pipe", 0o600)
    with pytest.raises(Misconfigured, match="not a regular file"):
        FileRoot.load(tmp_path / "pipe")
    written(tmp_path / "file", "")
    with pytest.raises(Misconfigured, match="cannot be read: Not a directory"):
        FileRoot.load(tmp_path / "file" / "root")


def test_a_root_is_never_overwritten(tmp_path: Path) -> None:
    path = written(tmp_path / "root", KEY.hex())
    with pytest.raises(Misconfigured, match="never overwritten"):
        FileRoot.create(path)
    assert path.read_text() == KEY.hex()


def test_a_root_is_not_made_through_a_dangling_link(tmp_path: Path) -> None:
    (tmp_path / "root").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(Misconfigured, match="never overwritten"):
        FileRoot.create(tmp_path / "root")


def test_a_root_that_cannot_be_made_says_why(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match="cannot be made: No such file or directory"):
        FileRoot.create(tmp_path / "nowhere" / "root")


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("pkcs11:token=practice", "file roots only, no pkcs11"),
        ("awskms:alias/practice", "file roots only, no awskms"),
        ("vault:secret", "set file:PATH"),
        ("file:", "set file:PATH"),
        ("file", "set file:PATH"),
        ("/etc/clarity/root", "set file:PATH"),
        ("", "set file:PATH"),
    ],
)
def test_other_kinds_of_root_are_refused(spec: str, message: str) -> None:
    with pytest.raises(Misconfigured, match=f"KEY_ROOT: .*{message}"):
        open_root(spec)
