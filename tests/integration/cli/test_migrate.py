"""The tables, from one form to the next."""

import pytest

from clarity.cli.endings import Status
from tests.shells import Terminal, is_one_line


def test_what_is_pending_is_listed_and_then_done(terminal: Terminal) -> None:
    check = terminal.run("migrate", "--check")
    assert check.status == Status.REFUSED
    assert check.out
    assert not terminal.data.exists()
    assert terminal.run("migrate").status == Status.OK
    assert terminal.run("migrate", "--check").status == Status.OK
    assert (terminal.data / "clarity.db").stat().st_mode & 0o777 == 0o600
    assert "Nothing was pending" in terminal.run("migrate").err


@pytest.mark.parametrize("url", ["", "postgresql://somebody@localhost/clarity"])
def test_the_statements_are_printed_without_a_database(terminal: Terminal, url: str) -> None:
    if url:
        terminal.set(async_database_uri=url)
    ran = terminal.run("migrate", "--sql")
    assert ran.status == Status.OK
    assert "CREATE TABLE patients" in ran.out
    assert ("DO $$" in ran.out) == bool(url)
    assert not terminal.data.exists()


def test_tables_that_are_missing_keep_the_server_from_starting(terminal: Terminal) -> None:
    terminal.run("keys", "init")
    ran = terminal.run("serve", "--port", "0")
    assert ran.status == Status.MISCONFIGURED
    assert "clarity migrate" in ran.err


def test_without_tables_a_command_says_what_makes_them(terminal: Terminal) -> None:
    terminal.run("keys", "init")
    for command in (["account", "list"], ["import", "."], ["patient", "find", "--token", "x"]):
        ran = terminal.run(*command)
        assert ran.status == Status.MISCONFIGURED
        assert is_one_line(ran.err)
        assert "clarity migrate" in ran.err
    assert not (terminal.data / "clarity.db").exists()


def test_roles_are_for_postgresql(terminal: Terminal) -> None:
    assert terminal.run("migrate", "--create-roles").status == Status.MISCONFIGURED
