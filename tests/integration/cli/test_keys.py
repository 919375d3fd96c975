"""Keys: made once, never overwritten, and nothing starts without the right ones."""

import re

from clarity.cli.endings import Status
from tests.shells import Terminal, is_one_line


def test_they_are_made_once_and_for_their_owner(terminal: Terminal) -> None:
    assert terminal.run("keys", "init").status == Status.OK
    files = [terminal.data / "root.key", terminal.data / "keys.json"]
    assert [file.stat().st_mode & 0o777 for file in (terminal.data, *files)] == [0o700, 0o600, 0o600]
    before = [file.read_bytes() for file in files]
    again = terminal.run("keys", "init")
    assert again.status == Status.MISCONFIGURED
    assert is_one_line(again.err)
    assert [file.read_bytes() for file in files] == before


def test_a_root_of_ones_own_is_used(terminal: Terminal) -> None:
    terminal.data.mkdir()
    root = terminal.data / "root.key"
    root.touch(mode=0o600)
    root.write_text("5a" * 32)
    assert terminal.run("keys", "init").status == Status.OK
    assert root.read_text() == "5a" * 32
    assert terminal.run("migrate").status == Status.OK
    assert terminal.run("account", "list").status == Status.OK


def test_a_store_without_its_root_is_not_given_a_new_one(empty_practice: Terminal) -> None:
    (empty_practice.data / "root.key").unlink()
    assert empty_practice.run("keys", "init").status == Status.MISCONFIGURED
    assert not (empty_practice.data / "root.key").exists()


def test_without_keys_nothing_starts_and_the_missing_one_is_named(terminal: Terminal) -> None:
    for command in (["account", "list"], ["serve", "--port", "0"], ["import", "."]):
        ran = terminal.run(*command)
        assert ran.status == Status.MISCONFIGURED
        assert is_one_line(ran.err)
        assert "clarity-data/root.key" in ran.err
        assert "clarity keys init" in ran.err


def test_a_wrong_root_is_told_from_the_right_one(empty_practice: Terminal) -> None:
    (empty_practice.data / "root.key").write_text("5a" * 32)
    ran = empty_practice.run("serve", "--port", "0")
    assert ran.status == Status.MISCONFIGURED
    assert is_one_line(ran.err)
    assert len(re.findall(r"\b[0-9a-f]{8}\b", ran.err)) == 2


def test_a_root_that_others_can_read_is_refused(empty_practice: Terminal) -> None:
    (empty_practice.data / "root.key").chmod(0o644)
    ran = empty_practice.run("account", "list")
    assert ran.status == Status.MISCONFIGURED
    assert "chmod 600" in ran.err


def test_keys_that_did_not_write_the_database_are_refused_before_they_write_in_it(practice: Terminal) -> None:
    for lost in ("root.key", "keys.json"):
        (practice.data / lost).unlink()
    assert practice.run("keys", "init").status == Status.OK
    events = practice.rows("SELECT count(*) FROM audit_events")
    for command in (["account", "list"], ["serve", "--port", "0"], ["import", "."], ["demo", "--no-serve"]):
        ran = practice.run(*command)
        assert ran.status == Status.MISCONFIGURED
        assert is_one_line(ran.err)
        assert "written with other keys" in ran.err
    assert practice.rows("SELECT count(*) FROM audit_events") == events
    ran = practice.run("doctor")
    assert ran.status == Status.REFUSED
    assert re.search(r"^1 of \d+ is not well", ran.err)
