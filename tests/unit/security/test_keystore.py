"""The key store as a file."""

import json
import os
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from threading import Barrier

import pytest

from clarity.domain.errors import Misconfigured
from clarity.security.keystore import FileKeyStore, Purpose, StoredKey, open_store

NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)


def a_stored_key(purpose: Purpose = Purpose.KEK, generation: int = 1) -> StoredKey:
    return StoredKey(purpose=purpose, generation=generation, created_at=NOON, root="1a2b3c4d", wrapped=bytes(range(60)))


def a_store(folder: Path) -> FileKeyStore:
    store = FileKeyStore(folder / "keys.json")
    store.add([a_stored_key(), a_stored_key(Purpose.SYSTEM)])
    return store


def test_what_is_stored_comes_back(tmp_path: Path) -> None:
    a_store(tmp_path)
    opened = open_store(f"file:{tmp_path / 'keys.json'}")
    assert opened.load() == (a_stored_key(), a_stored_key(Purpose.SYSTEM))


def test_a_store_that_was_never_made_is_empty(tmp_path: Path) -> None:
    assert FileKeyStore(tmp_path / "keys.json").load() == ()
    assert list(tmp_path.iterdir()) == []


def test_the_file_is_its_owners_only_and_nothing_is_left_beside_it(tmp_path: Path) -> None:
    store = a_store(tmp_path)
    store.add([a_stored_key(generation=2)])
    assert store.path.stat().st_mode & 0o777 == 0o600
    assert sorted(path.name for path in tmp_path.iterdir()) == ["keys.json", "keys.json.lock"]


def test_the_file_is_readable_json_without_a_key_in_it(tmp_path: Path) -> None:
    content = json.loads(a_store(tmp_path).path.read_text())
    assert content["format"] == "clarity-key-store"
    assert content["version"] == 1
    assert content["keys"][0].keys() == {"purpose", "generation", "created_at", "root", "wrapped"}


def test_keys_are_added_all_or_none(tmp_path: Path) -> None:
    store = a_store(tmp_path)
    before = store.path.read_bytes()
    with pytest.raises(Misconfigured, match=r"keys\.json has these keys already"):
        store.add([a_stored_key(generation=2), a_stored_key()])
    assert store.path.read_bytes() == before


def test_of_two_writers_one_waits_for_the_other(tmp_path: Path) -> None:
    store = FileKeyStore(tmp_path / "keys.json")
    together = Barrier(8)

    def add(generation: int) -> None:
        together.wait()
        store.add([a_stored_key(generation=generation)])

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(add, range(1, 9)))
    assert sorted(key.generation for key in store.load()) == list(range(1, 9))


def test_a_replaced_file_is_replaced_where_a_link_points(tmp_path: Path) -> None:
    (tmp_path / "volume").mkdir()
    (tmp_path / "keys.json").symlink_to(tmp_path / "volume" / "keys.json")
    a_store(tmp_path)
    assert (tmp_path / "keys.json").is_symlink()
    assert len(FileKeyStore(tmp_path / "volume" / "keys.json").load()) == 2


def test_a_file_cut_off_anywhere_is_refused(tmp_path: Path) -> None:
    store = a_store(tmp_path)
    content = store.path.read_bytes().rstrip()
    for length in range(len(content)):
        store.path.write_bytes(content[:length])
        with pytest.raises(Misconfigured, match=r"keys\.json was cut off or edited.*restore it from its backup"):
            store.load()


@pytest.mark.parametrize(
    ("was", "becomes"),
    [
        ('"kek"', '"kekk"'),
        ('"generation": 1', '"generation": 0'),
        ('"generation": 1', '"generation": "1"'),
        ('"generation": 1', '"generation": 4294967296'),
        ('"version": 1', '"version": 2'),
        ("clarity-key-store", "other"),
        ('"created_at": "', '"created_at": "x'),
        ('"wrapped": "', '"wrapped": "!'),
        ('"system"', '"kek"'),
        ('"format"', '"comment": "", "format"'),
        ('"root"', '"roots"'),
        ("kek", "k\\ud800k"),
    ],
)
def test_an_edited_file_is_refused_without_repeating_it(tmp_path: Path, was: str, becomes: str) -> None:
    store = a_store(tmp_path)
    content = store.path.read_text()
    assert was in content
    store.path.write_text(content.replace(was, becomes, 1))
    with pytest.raises(Misconfigured, match="cut off or edited") as caught:
        store.load()
    assert caught.value.__cause__ is None


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    store = a_store(tmp_path)
    store.path.write_bytes(store.path.read_bytes().replace(b"1a2b3c4d", b"\xff\xfe3c4d"))
    with pytest.raises(Misconfigured, match="cut off or edited"):
        store.load()


def test_a_damaged_file_is_not_added_to(tmp_path: Path) -> None:
    store = a_store(tmp_path)
    store.path.write_bytes(b"{")
    with pytest.raises(Misconfigured, match="cut off or edited"):
        store.add([a_stored_key(generation=2)])
    assert store.path.read_bytes() == b"{"


def test_a_file_open_to_others_is_refused(tmp_path: Path) -> None:
    store = a_store(tmp_path)
    store.path.chmod(0o640)
    with pytest.raises(Misconfigured, match=r"mode 0640.*chmod 600"):
        store.load()


def test_a_store_that_cannot_be_written_says_why(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match="cannot be written: No such file or directory"):
        FileKeyStore(tmp_path / "nowhere" / "keys.json").add([a_stored_key()])


def test_a_write_that_fails_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = a_store(tmp_path)
    before = store.path.read_bytes()

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(Misconfigured, match="cannot be written: No space left"):
        store.add([a_stored_key(generation=2)])
    assert store.path.read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["keys.json", "keys.json.lock"]


@pytest.mark.parametrize("spec", ["", "file:", "keys.json", "redis:keys", "/etc/keys.json"])
def test_other_kinds_of_store_are_refused(spec: str) -> None:
    with pytest.raises(Misconfigured, match="KEY_STORE: set file:PATH"):
        open_store(spec)
