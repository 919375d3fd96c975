"""Shells for tests: a folder to run `clarity` in, in this process or in one of its own."""

import io
import os
import re
import sqlite3
import subprocess
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from argon2.profiles import CHEAPEST

from clarity.audit.encoding import decode
from clarity.cli import main
from clarity.domain.audit import AuditEvent
from clarity.security.passwords import Passwords
from tests.canaries import plant, saw

PATIENTS = 24
PASSWORD = "quiet ferns along the river"
_SETTINGS = re.compile(
    r"ENVIRONMENT|DATA_DIR|DEBUG|SQL_ECHO|CLARITY_\w+|\w*DATABASE_UR[IL]|SECOND_FACTOR|PUBLIC_URL|MAIL_\w+|SESSION_\w+"
    r"|(DB|KEY|PRACTICE)_\w+|MAX_\w+|REQUESTS?_\w+|DRAIN_SECONDS|KEEP_ALIVE_SECONDS"
    r"|TRUSTED_PROXIES|ALLOWED_HOSTS|CORS_ORIGINS"
)


@dataclass(frozen=True, slots=True)
class Ran:
    """How a command ended, and what it printed."""

    status: int
    out: str
    err: str


class Terminal:
    """Runs commands in one folder, as a shell would; what is `typed` comes from a pipe."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        self._monkeypatch = monkeypatch
        self._capsys = capsys
        settle(folder, monkeypatch)

    @property
    def data(self) -> Path:
        return self.folder / "clarity-data"

    def set(self, **settings: str) -> None:
        for name, value in settings.items():
            self._monkeypatch.setenv(name.upper(), value)

    def setting(self, name: str) -> str:
        return os.environ[name.upper()]

    def run(self, *arguments: str, typed: str = "") -> Ran:
        self._monkeypatch.setattr(sys, "stdin", io.StringIO(typed))
        self._capsys.readouterr()
        status = main(arguments)
        out, err = self._capsys.readouterr()
        plant(*typed.splitlines())
        saw("standard error", err)
        return Ran(status, out, err)

    def events(self) -> list[AuditEvent]:
        """Return the trail, the oldest event first."""
        return [decode(encoded) for (encoded,) in self.rows("SELECT encoded FROM audit_events ORDER BY id")]

    def rows(self, query: str) -> list[Any]:
        connection = sqlite3.connect(self.data / "clarity.db")
        try:
            return connection.execute(query).fetchall()
        finally:
            connection.close()

    def patients(self) -> int:
        """Return how many patients are stored; 0 while there are no tables."""
        try:
            ((count,),) = self.rows("SELECT count(*) FROM patients")
        except sqlite3.OperationalError:
            return 0
        return int(count)

    def passwords(self) -> dict[str, str]:
        lines = (self.data / "demo-credentials").read_text().splitlines()
        return dict(line.split("\t") for line in lines)

    def as_(self, role: str, *arguments: str, typed: str = "") -> Ran:
        """Run a command as the demonstration's account of a role."""
        email = f"{role}@demo.example"
        return self.run(*arguments, "--as", email, typed=f"{self.passwords()[email]}\n{typed}")


def settle(folder: Path, patch: pytest.MonkeyPatch) -> None:
    """Let commands run in `folder` without any setting, and hash passwords for a thousandth of what it costs.

    Whoever acts as somebody logs in for every command. What hashing has to cost is held by the tests of passwords;
    commands that run as processes of their own pay it.
    """
    for name in os.environ:
        if _SETTINGS.fullmatch(name):
            patch.delenv(name)
    patch.chdir(folder)
    patch.setattr("clarity.bootstrap.Passwords", partial(Passwords, CHEAPEST))


def surroundings() -> dict[str, str]:
    """Return the environment of this process without any setting of Clarity."""
    return {name: value for name, value in os.environ.items() if not _SETTINGS.fullmatch(name)}


def started(*arguments: str, folder: Path, **settings: str) -> subprocess.Popen[str]:
    """Start a command as a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "clarity", *arguments],
        cwd=folder,
        env={**surroundings(), **settings},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def is_one_line(message: str) -> bool:
    return message.startswith("clarity: ") and message.count("\n") == 1
