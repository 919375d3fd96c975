"""What `clarity --help` says, and how quickly."""

import re
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from typer.main import get_command

from clarity.cli.accounts import ROLES
from clarity.cli.app import app
from clarity.cli.endings import MEANING, Status
from clarity.domain.access import Role
from tests.shells import Terminal


def test_it_lists_the_exit_statuses(terminal: Terminal) -> None:
    ran = terminal.run("--help")
    told = " ".join(ran.out.split())
    assert ran.status == Status.OK
    assert set(MEANING) == set(Status)
    for status, meaning in MEANING.items():
        assert f"{status.value} {meaning}" in told


@pytest.mark.parametrize(
    "command",
    [
        "serve", "openapi", "migrate", "demo", "import", "doctor", "keys init", "patient find", "patient show",
        "patient similar",
        "account add", "account list", "account disable", "account reset-password", "account remove-second-factor",
        "session list", "session revoke", "me enrol", "me recovery-codes", "me remove-second-factor", "me sessions",
        "me end-session",
        "policy show", "policy explain",
    ],
)  # fmt: skip
def test_every_command_explains_itself(terminal: Terminal, command: str) -> None:
    ran = terminal.run(*command.split(), "--help")
    assert ran.status == Status.OK
    assert f"Usage: clarity {command}" in ran.out
    assert not ran.err


def test_paragraphs_are_as_wide_as_the_terminal_and_not_as_the_source(terminal: Terminal) -> None:
    terminal.set(columns="80")
    assert "outside development with anything unsafe." in terminal.run("serve", "--help").out


def test_it_answers_without_loading_what_commands_need() -> None:
    heavy = {"sqlalchemy", "pydantic", "fastapi", "cryptography", "uvicorn", "alembic", "msgspec", "faker"}
    script = f"import sys; from clarity.cli import main; main(['--help']); print({heavy!r} & set(sys.modules))"
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert ran.stdout.splitlines()[-1] == "set()"


def test_the_version_is_told(terminal: Terminal) -> None:
    assert re.fullmatch(r"clarity \d+\.\d+\.\d+\n", terminal.run("--version").out)


def test_the_roles_named_are_all_that_accounts_can_have() -> None:
    assert {Role.titled(title) for title in ROLES} == set(Role) - {Role.SYSTEM, Role.NOBODY}


def test_whoever_logs_in_for_a_command_can_give_a_code_with_it() -> None:
    options = {
        name: {option for parameter in command.params for option in parameter.opts}
        for name, command in commands(get_command(app), "clarity")
    }
    with_log_in = {name for name, given in options.items() if "--as" in given}
    assert with_log_in >= {"clarity patient find", "clarity consent add", "clarity me enrol"}
    assert not {name for name in with_log_in if "--code" not in options[name]}


def commands(known: Any, name: str) -> Iterator[tuple[str, Any]]:
    """Return every command below one that Click knows, by its whole name."""
    if not hasattr(known, "commands"):
        yield name, known
    for word, below in getattr(known, "commands", {}).items():
        yield from commands(below, f"{name} {word}")
