"""Whether all is well, and what is said where it is not."""

import re

from clarity.cli.endings import Status
from tests.shells import Terminal


def test_a_practice_in_order_is_well(practice: Terminal) -> None:
    ran = practice.run("doctor")
    assert ran.status == Status.OK
    assert "fail" not in ran.out
    assert "All is well" in ran.err


def test_it_looks_on_where_nothing_is_there(terminal: Terminal) -> None:
    ran = terminal.run("doctor")
    assert ran.status == Status.REFUSED
    assert "clarity keys init" in ran.out
    assert "clarity migrate" in ran.out
    assert re.search(r"ok +disk", ran.out)
    assert not terminal.data.exists()


def test_a_wrong_setting_is_a_finding(terminal: Terminal) -> None:
    terminal.set(db_pool_size="many")
    ran = terminal.run("doctor")
    assert ran.status == Status.REFUSED
    assert "DB_POOL_SIZE" in ran.out


def test_it_finds_what_was_tampered_with(practice: Terminal) -> None:
    (practice.data / "clarity.db").chmod(0o644)
    practice.data.chmod(0o755)
    (practice.data / "root.key").write_text("5a" * 32)
    practice.rows("DROP TRIGGER audit_events_refuse_delete")
    practice.rows("UPDATE alembic_version SET version_num = version_num WHERE false")
    ran = practice.run("doctor")
    assert ran.status == Status.REFUSED
    failed = re.findall(r"^ ?fail +(data folder|keys|database file|append-only trail) ", ran.out, re.MULTILINE)
    assert failed == ["data folder", "keys", "database file", "append-only trail"]


def test_of_tables_that_are_behind_it_says_only_that(terminal: Terminal) -> None:
    terminal.run("keys", "init")
    terminal.run("migrate", "0003")
    ran = terminal.run("doctor")
    assert ran.status == Status.REFUSED
    assert re.findall(r"^ ?fail +(\w+)", ran.out, re.MULTILINE) == ["tables"]


def test_an_unsafe_production_is_not_well(practice: Terminal) -> None:
    practice.set(environment="production")
    ran = practice.run("doctor")
    assert ran.status == Status.REFUSED
    assert "SQLite is for development" in " ".join(ran.out.split())


def test_a_database_that_does_not_answer_is_a_finding(practice: Terminal) -> None:
    practice.set(async_database_uri="postgresql://clarity:wrong@127.0.0.1:1/clarity")
    ran = practice.run("doctor")
    assert ran.status == Status.REFUSED
    assert re.search(r"fail +database", ran.out)
    assert re.search(r"ok +key store", ran.out)


def test_it_asks_for_a_list_of_stolen_passwords_and_tries_it(practice: Terminal) -> None:
    practice.set(environment="staging")
    assert "STOLEN_PASSWORDS" in practice.run("doctor").out
    stolen = practice.data / "stolen"
    stolen.write_text("no digest\n")
    practice.set(environment="development", stolen_passwords=str(stolen))
    ran = practice.run("doctor")
    assert ran.status == Status.REFUSED
    assert re.search(r"fail +stolen passwords", ran.out)
    stolen.write_text(f"{'0' * 40}:1\n")
    assert re.search(r"ok +stolen passwords", practice.run("doctor").out)
