"""Folders to run commands in: empty, with keys and tables, and with a made-up practice."""

import shutil
from pathlib import Path

import pytest

from clarity.cli import main
from clarity.cli.endings import Status
from tests.shells import PATIENTS, Terminal, settle


@pytest.fixture
def terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Terminal:
    return Terminal(tmp_path, monkeypatch, capsys)


@pytest.fixture(scope="session")
def made_up(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder in which `clarity demo` ran once; tests work on copies."""
    folder = tmp_path_factory.mktemp("demo")
    with pytest.MonkeyPatch.context() as patch:
        settle(folder, patch)
        assert main(("demo", "--no-serve", "--patients", str(PATIENTS))) == Status.OK
    return folder


@pytest.fixture
def practice(terminal: Terminal, made_up: Path) -> Terminal:
    shutil.copytree(made_up / "clarity-data", terminal.data)
    return terminal


@pytest.fixture
def empty_practice(terminal: Terminal) -> Terminal:
    assert terminal.run("keys", "init").status == Status.OK
    assert terminal.run("migrate").status == Status.OK
    return terminal
