"""Keys for one test."""

from pathlib import Path

import pytest

from clarity.security.hazmat import random_bytes
from clarity.security.keyring import Keyring, Purpose, initialise
from clarity.security.keystore import FileKeyStore
from clarity.security.roots.file import FileRoot


@pytest.fixture
def root(tmp_path: Path) -> FileRoot:
    return FileRoot.create(tmp_path / "root")


@pytest.fixture
def store(tmp_path: Path, root: FileRoot) -> FileKeyStore:
    """Return a store that has the first generation of every key."""
    store = FileKeyStore(tmp_path / "keys.json")
    initialise(store, root)
    return store


@pytest.fixture
def keyring(store: FileKeyStore, root: FileRoot) -> Keyring:
    return Keyring.open(store, root)


@pytest.fixture
def rotated(keyring: Keyring) -> Keyring:
    """Return `keyring` with a second generation of every key."""
    return Keyring({purpose: {1: keyring.secret(purpose), 2: random_bytes(32)} for purpose in Purpose})
