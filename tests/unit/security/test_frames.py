"""Sealed frames open as they were written, or not at all."""

import os
import signal
import stat
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from clarity.domain.errors import CannotOpen, Misconfigured
from clarity.security.frames import SealedFrames
from clarity.security.keyring import Keyring, Purpose
from clarity.security.private_files import replacing_private
from tests.builders import a_keyring

FRAMES = (b"horizon", b"Lovelace Ada \xfe" * 300, b"", b"Hopper Grace \xfe" * 300)
HEADER = 34


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "search.snapshot"


@pytest.fixture
def written(path: Path, keyring: Keyring) -> SealedFrames:
    frames = SealedFrames(path, keyring)
    assert frames.write(len(FRAMES), FRAMES)
    return frames


def rotated(keyring: Keyring) -> Keyring:
    """Return the same keys with a key-encryption key that is newer."""
    secrets = {purpose: {1: keyring.secret(purpose)} for purpose in Purpose}
    secrets[Purpose.KEK][2] = bytes(32)
    return Keyring(secrets)


def sealed_frames(content: bytes) -> list[bytes]:
    """Return the frames of a file with their lengths."""
    found, at = [], HEADER
    while at < len(content):
        (size,) = struct.unpack_from(">I", content, at)
        found.append(content[at : at + 4 + size])
        at += 4 + size
    return found


def test_frames_come_back_as_they_were(written: SealedFrames) -> None:
    assert tuple(written.read()) == FRAMES


def test_the_file_is_its_owners_and_has_nothing_in_the_clear(written: SealedFrames, path: Path) -> None:
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    content = path.read_bytes()
    for text in (b"Lovelace", b"ace Ada", b"Hopper", b"horizon"):
        assert text not in content
    assert str(path) in repr(written)


def test_two_files_of_the_same_frames_have_nothing_in_common(written: SealedFrames, path: Path) -> None:
    first = sealed_frames(path.read_bytes())
    written.write(len(FRAMES), FRAMES)
    for one, other in zip(first, sealed_frames(path.read_bytes()), strict=True):
        assert one[16:] != other[16:]


@pytest.mark.parametrize("at", ["header", "version", "generation", "count", "id", "length", "frame", "tag"])
def test_an_altered_byte_is_noticed(written: SealedFrames, path: Path, at: str) -> None:
    places = {"header": 0, "version": 9, "generation": 13, "count": 17, "id": 20, "length": 37, "frame": 60, "tag": -1}
    content = bytearray(path.read_bytes())
    content[places[at]] ^= 1
    path.write_bytes(content)
    with pytest.raises(CannotOpen):
        tuple(written.read())


def test_a_file_that_ends_anywhere_else_than_it_did_is_noticed(written: SealedFrames, path: Path) -> None:
    content = path.read_bytes()
    cuts = {0, 1, HEADER - 1, HEADER, HEADER + 2, len(content) - 1, len(content) - len(sealed_frames(content)[-1])}
    for end in cuts:
        path.write_bytes(content[:end])
        with pytest.raises(CannotOpen):
            tuple(written.read())
    path.write_bytes(content + b"\0")
    with pytest.raises(CannotOpen):
        tuple(written.read())


def test_frames_in_another_order_are_noticed(written: SealedFrames, path: Path) -> None:
    content = path.read_bytes()
    first, second, third, fourth = sealed_frames(content)
    for order in ([first, fourth, third, second], [second, first, third, fourth], [first, second, second, fourth]):
        path.write_bytes(content[:HEADER] + b"".join(order))
        with pytest.raises(CannotOpen):
            tuple(written.read())


def test_a_frame_of_another_file_is_noticed(written: SealedFrames, path: Path) -> None:
    """Nor does it help to exchange the header with it: the key comes from there, and the first frame binds the rest."""
    old = path.read_bytes()
    written.write(len(FRAMES), FRAMES)
    new = path.read_bytes()
    path.write_bytes(new[:HEADER] + b"".join([*sealed_frames(new)[:3], sealed_frames(old)[3]]))
    with pytest.raises(CannotOpen):
        tuple(written.read())
    path.write_bytes(old[:HEADER] + b"".join(sealed_frames(new)))
    with pytest.raises(CannotOpen):
        tuple(written.read())


def test_another_practice_and_an_older_key_do_not_open(written: SealedFrames, path: Path, keyring: Keyring) -> None:
    assert tuple(written.read())
    for other in (a_keyring(), rotated(keyring)):
        with pytest.raises(CannotOpen):
            tuple(SealedFrames(path, other).read())


def test_a_file_that_others_may_read_is_refused(written: SealedFrames, path: Path) -> None:
    path.chmod(0o640)
    with pytest.raises(Misconfigured):
        tuple(written.read())


def test_no_file_is_said_to_be_none(path: Path, keyring: Keyring) -> None:
    frames = SealedFrames(path, keyring)
    with pytest.raises(FileNotFoundError):
        tuple(frames.read())
    frames.remove()


def test_what_fails_while_it_is_written_leaves_the_file_as_it_was(written: SealedFrames, path: Path) -> None:
    def failing() -> Iterator[bytes]:
        yield b"first"
        raise LookupError

    with pytest.raises(LookupError):
        written.write(2, failing())
    assert tuple(written.read()) == FRAMES
    assert {file.name for file in path.parent.glob("*search*")} == {path.name, f"{path.name}.lock"}


def test_two_do_not_write_at_the_same_time(written: SealedFrames, path: Path) -> None:
    with replacing_private(path):
        assert not written.write(1, [b"other"])
    assert path.read_bytes() == b""  # what the first wrote
    assert written.write(len(FRAMES), FRAMES)
    assert tuple(written.read()) == FRAMES


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path, keyring: Keyring) -> None:
    with pytest.raises(Misconfigured, match="missing/search"):
        SealedFrames(tmp_path / "missing" / "search", keyring).write(1, [b""])


def test_removed_is_gone(written: SealedFrames, path: Path) -> None:
    written.remove()
    assert not path.exists()


def test_nothing_is_left_at_the_end_of_a_link(path: Path, keyring: Keyring) -> None:
    elsewhere = path.with_name("elsewhere")
    path.symlink_to(elsewhere)
    frames = SealedFrames(path, keyring)
    assert frames.write(len(FRAMES), FRAMES)
    assert not elsewhere.exists()
    assert tuple(frames.read()) == FRAMES
    frames.remove()
    assert not path.exists()


_KILLED = """
import os, signal, sys
from pathlib import Path
from clarity.security.private_files import replacing_private
with replacing_private(Path(sys.argv[1])) as file:
    file.write(b"half of it")
    file.flush()
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_process_killed_while_it_writes_leaves_the_file_as_it_was(written: SealedFrames, path: Path) -> None:
    killed = subprocess.run([sys.executable, "-c", _KILLED, os.fspath(path)], check=False)
    assert killed.returncode == -signal.SIGKILL
    left = path.with_name(f".{path.name}.new")
    assert left.read_bytes() == b"half of it"
    assert tuple(written.read()) == FRAMES
    assert written.write(len(FRAMES), FRAMES)
    assert not left.exists()
