"""The command line with arguments nobody would type, on a practice of its own, in this process."""

import contextlib
import io
import os
import re
import signal
import sys
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from clarity.cli import main
from clarity.cli.app import command_line
from clarity.cli.endings import Status

_BETWEEN = b"\0"
# These go on until somebody ends them, or make a whole practice.
_LEFT_OUT = {"serve", "demo"}
_MOST_ARGUMENTS = 12
_SECONDS = 60
_VALUES = ("", "-1", "0", "019a9d5c-41aa-7d02-8f7c-5e2b9c6d1a08", "nurse@clinic.example", "1985-04-12", "a.csv", "--")


def command(data: bytes) -> None:
    """Run a command, whose arguments are parted by zeros: it ends with a status of its own, and says so in one line."""
    arguments = [part.decode("utf-8", "surrogateescape") for part in data.split(_BETWEEN)][:_MOST_ARGUMENTS]
    if _LEFT_OUT & set(arguments) or any(argument.startswith("/") or ".." in argument for argument in arguments):
        return
    out, err = io.StringIO(), io.StringIO()
    with _surroundings(), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            status = main(arguments)
        except SystemExit as exc:
            status = int(exc.code or 0)
    told = err.getvalue()
    if status not in list(Status) or status == Status.BROKEN or "Traceback" in told + out.getvalue():
        raise AssertionError(f"ended with {status}: {told[:300]}")


def commands() -> Iterator[bytes]:
    """Yield every command there is, bare, with its options, and with values for its arguments."""
    for path, options in _paths(command_line(), ()):
        if _LEFT_OUT & set(path):
            continue
        words = _BETWEEN.join(part.encode() for part in path)
        yield words
        yield words + _BETWEEN + b"--help"
        for value in _VALUES:
            yield words + _BETWEEN + value.encode()
            for option in options:
                yield _BETWEEN.join((words, option.encode(), value.encode()))


def _paths(group: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], list[str]]]:
    for name, one in getattr(group, "commands", {}).items():
        yield from _paths(one, (*path, name))
    if path:
        yield path, [option for parameter in group.params for option in parameter.opts if option.startswith("-")]


@cache
def _practice() -> tempfile.TemporaryDirectory[str]:
    """Return a folder with keys and an empty database."""
    folder = tempfile.TemporaryDirectory(prefix="clarity-fuzz-")
    said = io.StringIO()
    with _in(Path(folder.name)), contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        for arguments in (["keys", "init"], ["migrate"]):
            if status := main(arguments):
                raise RuntimeError(f"{arguments} ended with {status}")
    return folder


@contextlib.contextmanager
def _surroundings() -> Iterator[None]:
    def give_up(*_: object) -> None:
        raise TimeoutError("a command takes longer than a minute")

    with _in(Path(_practice().name)):
        before, typed = signal.signal(signal.SIGALRM, give_up), sys.stdin
        sys.stdin = io.StringIO("")
        signal.alarm(_SECONDS)
        try:
            yield
        finally:
            signal.alarm(0)
            signal.signal(signal.SIGALRM, before)
            sys.stdin = typed


@contextlib.contextmanager
def _in(folder: Path) -> Iterator[None]:
    """Work in a folder, without the settings of whoever runs this."""
    settings = {
        name: value for name, value in os.environ.items() if re.search("DATABASE_UR|_DIR$|^KEY_|ENVIRONMENT", name)
    }
    for name in settings:
        del os.environ[name]
    try:
        with contextlib.chdir(folder):
            yield
    finally:
        os.environ.update(settings)
