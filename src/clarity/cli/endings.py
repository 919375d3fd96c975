"""How a command ends: its exit status, and one line for whoever has to do something about it."""

import os
import re
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import IntEnum

import typer

from clarity.cli.practice import read_settings
from clarity.domain import errors


class Status(IntEnum):
    """The exit statuses, as `clarity --help` lists them. Scripts rely on them: they are permanent."""

    OK = 0
    REFUSED = 1
    USAGE = 2
    MISCONFIGURED = 3
    UNAVAILABLE = 4
    NOT_ALLOWED = 5
    BROKEN = 70  # EX_SOFTWARE of sysexits.h
    INTERRUPTED = 130


MEANING = {
    Status.OK: "done",
    Status.REFUSED: "something was refused or found wrong: a bad input, a duplicate, no such record",
    Status.USAGE: "the command or a value was not understood",
    Status.MISCONFIGURED: "a setting, key or privilege is missing or unsafe",
    Status.UNAVAILABLE: "the database or a port cannot be had now, or too many attempts: try again",
    Status.NOT_ALLOWED: "not logged in, or not allowed to do this",
    Status.BROKEN: "a fault in Clarity: please report it",
    Status.INTERRUPTED: "interrupted with Ctrl-C",
}
"""What each status says."""

_STATUSES: tuple[tuple[type[errors.ClarityError], Status], ...] = (
    (errors.Misconfigured, Status.MISCONFIGURED),
    (errors.Unavailable, Status.UNAVAILABLE),
    (errors.TooMany, Status.UNAVAILABLE),
    (errors.StorageFailed, Status.UNAVAILABLE),
    (errors.Unauthenticated, Status.NOT_ALLOWED),
    (errors.Forbidden, Status.NOT_ALLOWED),
    (errors.Invalid, Status.USAGE),
)


_NO_ID = re.compile("Input should be a valid UUID.*")
"""What pydantic says of a value that is no id; it goes on to repeat from it."""


@dataclass(slots=True)
class End:
    """Where a command ended."""

    status: int = Status.OK


@contextmanager
def ending() -> Iterator[End]:
    """Turn every way a command can end into a status and at most one line on standard error.

    No traceback: what stands in one may be patient content. A developer asks for it with `CLARITY_DEBUG=1`.
    """
    end = End()
    try:
        yield end
    except typer.Abort:
        say("interrupted")
        end.status = Status.INTERRUPTED
    except typer.TyperException as exc:
        _trace()
        usage = getattr(exc, "ctx", None)
        # What pydantic puts before the message of a parser says nothing to whoever typed the value.
        message = _NO_ID.sub("expected an id, like 0199a0c2-41aa-7d02-8f7c-5e2b9c6d1a08", exc.format_message())
        message = message.replace("Value error, ", "")
        say(f"{message}{f' (see `{usage.command_path} --help`)' if usage else ''}")
        end.status = exc.exit_code
    except errors.ClarityError as exc:
        _trace()
        say(_told(exc))
        end.status = next((status for kind, status in _STATUSES if isinstance(exc, kind)), Status.REFUSED)
    except BrokenPipeError:
        # Whoever read the output has seen enough. Flushing what is left, at exit, must not fail again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        end.status = Status.OK
    except Exception as exc:
        _trace()
        say(f"this should not have happened ({type(exc).__name__}); CLARITY_DEBUG=1 shows where, in development")
        end.status = Status.BROKEN


def say(message: str) -> None:
    """Print one line on standard error."""
    typer.echo(f"clarity: {' '.join(message.split())}", err=True)


def _told(exc: errors.ClarityError) -> str:
    message = str(exc)
    if isinstance(exc, errors.TooMany):
        return f"too many attempts; wait {exc.retry_after_seconds} seconds"
    if isinstance(exc, errors.StorageFailed):
        return f"{message} `clarity doctor` looks for the cause"
    if isinstance(exc, errors.Unavailable) and message == type(exc).__doc__:
        return f"{message} `clarity doctor` looks for the cause if that goes on"
    return message


def _trace() -> None:
    if os.environ.get("CLARITY_DEBUG") == "1" and _environment() == "development":
        traceback.print_exc()


def _environment() -> str:
    """Return where this runs, "" if that cannot be told."""
    if named := os.environ.get("ENVIRONMENT"):
        return named.lower()
    try:
        return read_settings().environment
    except Exception:
        return ""
