"""The command line as somebody uses it: right and wrong input, exit statuses, and what it says on the way."""

import io
import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from clarity.audit.encoding import decode
from clarity.cli import main
from clarity.cli.accounts import ROLES
from clarity.cli.endings import MEANING, Status, ending
from clarity.domain.access import OPERATOR, Action, Role
from clarity.domain.audit import AuditEvent, Outcome
from clarity.domain.errors import TooMany
from clarity.domain.records import Resource
from tests.bundles import a_bundle, a_fhir_patient

PATIENTS = 24
PASSWORD = "quiet ferns along the river"
_SETTINGS = re.compile(r"ENVIRONMENT|DATA_DIR|DEBUG|SQL_ECHO|CLARITY_\w+|\w*DATABASE_UR[IL]|(DB|KEY|PRACTICE)_\w+")


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
        for name in os.environ:
            if _SETTINGS.fullmatch(name):
                monkeypatch.delenv(name)
        monkeypatch.chdir(folder)

    @property
    def data(self) -> Path:
        return self.folder / "clarity-data"

    def set(self, **settings: str) -> None:
        for name, value in settings.items():
            self._monkeypatch.setenv(name.upper(), value)

    def run(self, *arguments: str, typed: str = "") -> Ran:
        self._monkeypatch.setattr(sys, "stdin", io.StringIO(typed))
        self._capsys.readouterr()
        status = main(arguments)
        out, err = self._capsys.readouterr()
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

    def passwords(self) -> dict[str, str]:
        lines = (self.data / "demo-credentials").read_text().splitlines()
        return dict(line.split("\t") for line in lines)

    def as_(self, role: str, *arguments: str, typed: str = "") -> Ran:
        """Run a command as the demonstration's account of a role."""
        email = f"{role}@demo.example"
        return self.run(*arguments, "--as", email, typed=f"{self.passwords()[email]}\n{typed}")


@pytest.fixture
def terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Terminal:
    return Terminal(tmp_path, monkeypatch, capsys)


@pytest.fixture(scope="module")
def made_up(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder in which `clarity demo` ran once; tests work on copies."""
    folder = tmp_path_factory.mktemp("demo")
    with started("demo", "--no-serve", "--patients", str(PATIENTS), folder=folder) as process:
        process.communicate()
    assert process.returncode == Status.OK
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


def started(*arguments: str, folder: Path, **settings: str) -> subprocess.Popen[str]:
    """Start a command as a process of its own."""
    environment = {name: value for name, value in os.environ.items() if not _SETTINGS.fullmatch(name)}
    return subprocess.Popen(  # noqa: S603 - our own arguments
        [sys.executable, "-m", "clarity", *arguments],
        cwd=folder,
        env={**environment, **settings},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def fail(cause: Exception) -> None:
    """Raise what was given."""
    raise cause


def is_one_line(message: str) -> bool:
    return message.startswith("clarity: ") and message.count("\n") == 1


class TestHelp:
    def test_it_lists_the_exit_statuses(self, terminal: Terminal) -> None:
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
            "account add", "account list", "account disable", "account reset-password",
        ],
    )  # fmt: skip
    def test_every_command_explains_itself(self, terminal: Terminal, command: str) -> None:
        ran = terminal.run(*command.split(), "--help")
        assert ran.status == Status.OK
        assert f"Usage: clarity {command}" in ran.out
        assert not ran.err

    def test_it_answers_without_loading_what_commands_need(self) -> None:
        heavy = {"sqlalchemy", "pydantic", "fastapi", "cryptography", "uvicorn", "alembic", "msgspec", "faker"}
        script = f"import sys; from clarity.cli import main; main(['--help']); print({heavy!r} & set(sys.modules))"
        ran = subprocess.run(  # noqa: S603 - our own arguments
            [sys.executable, "-c", script], capture_output=True, text=True, check=True
        )
        assert ran.stdout.splitlines()[-1] == "set()"

    def test_the_version_is_told(self, terminal: Terminal) -> None:
        assert re.fullmatch(r"clarity \d+\.\d+\.\d+\n", terminal.run("--version").out)

    def test_the_roles_named_are_all_that_accounts_can_have(self) -> None:
        assert {Role.titled(title) for title in ROLES} == set(Role) - {Role.SYSTEM, Role.NOBODY}


class TestEndings:
    @pytest.mark.parametrize(
        "arguments", [("nonsense",), ("account", "add"), ("patient", "show", "12"), ("serve", "--port", "x")]
    )
    def test_what_is_not_understood_is_said_in_one_line(self, terminal: Terminal, arguments: tuple[str, ...]) -> None:
        ran = terminal.run(*arguments)
        assert ran.status == Status.USAGE
        assert is_one_line(ran.err)
        assert "--help`" in ran.err

    def test_a_fault_shows_nothing_of_what_it_is_about(self, capsys: pytest.CaptureFixture[str]) -> None:
        with ending() as end:
            fail(ValueError("Ada Lovelace"))
        err = capsys.readouterr().err
        assert end.status == Status.BROKEN
        assert is_one_line(err)
        assert "Ada" not in err

    @pytest.mark.parametrize(("environment", "tracebacks"), [("development", 1), ("production", 0)])
    def test_a_developer_sees_where_and_nobody_else(
        self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, environment: str, tracebacks: int
    ) -> None:
        monkeypatch.setenv("CLARITY_DEBUG", "1")
        monkeypatch.setenv("ENVIRONMENT", environment)
        with ending():
            fail(ValueError("somewhere"))
        assert capsys.readouterr().err.count("Traceback") == tracebacks

    def test_too_many_attempts_say_how_long_to_wait(self, capsys: pytest.CaptureFixture[str]) -> None:
        with ending() as end:
            fail(TooMany(17))
        assert end.status == Status.UNAVAILABLE
        assert "17 seconds" in capsys.readouterr().err

    def test_a_wrong_setting_is_named_and_its_value_is_not(self, terminal: Terminal) -> None:
        terminal.set(practice_time_zone="Atlantis/Poseidonis")
        ran = terminal.run("account", "list")
        assert ran.status == Status.MISCONFIGURED
        assert is_one_line(ran.err)
        assert "PRACTICE_TIME_ZONE" in ran.err
        assert "Poseidonis" not in ran.err


class TestKeys:
    def test_they_are_made_once_and_for_their_owner(self, terminal: Terminal) -> None:
        assert terminal.run("keys", "init").status == Status.OK
        files = [terminal.data / "root.key", terminal.data / "keys.json"]
        assert [file.stat().st_mode & 0o777 for file in (terminal.data, *files)] == [0o700, 0o600, 0o600]
        before = [file.read_bytes() for file in files]
        again = terminal.run("keys", "init")
        assert again.status == Status.MISCONFIGURED
        assert is_one_line(again.err)
        assert [file.read_bytes() for file in files] == before

    def test_a_root_of_ones_own_is_used(self, terminal: Terminal) -> None:
        terminal.data.mkdir()
        root = terminal.data / "root.key"
        root.touch(mode=0o600)
        root.write_text("5a" * 32)
        assert terminal.run("keys", "init").status == Status.OK
        assert root.read_text() == "5a" * 32
        assert terminal.run("migrate").status == Status.OK
        assert terminal.run("account", "list").status == Status.OK

    def test_a_store_without_its_root_is_not_given_a_new_one(self, empty_practice: Terminal) -> None:
        (empty_practice.data / "root.key").unlink()
        assert empty_practice.run("keys", "init").status == Status.MISCONFIGURED
        assert not (empty_practice.data / "root.key").exists()

    def test_without_keys_nothing_starts_and_the_missing_one_is_named(self, terminal: Terminal) -> None:
        for command in (["account", "list"], ["serve", "--port", "0"], ["import", "."]):
            ran = terminal.run(*command)
            assert ran.status == Status.MISCONFIGURED
            assert is_one_line(ran.err)
            assert "clarity-data/root.key" in ran.err
            assert "clarity keys init" in ran.err

    def test_a_wrong_root_is_told_from_the_right_one(self, empty_practice: Terminal) -> None:
        (empty_practice.data / "root.key").write_text("5a" * 32)
        ran = empty_practice.run("serve", "--port", "0")
        assert ran.status == Status.MISCONFIGURED
        assert is_one_line(ran.err)
        assert len(re.findall(r"\b[0-9a-f]{8}\b", ran.err)) == 2

    def test_a_root_that_others_can_read_is_refused(self, empty_practice: Terminal) -> None:
        (empty_practice.data / "root.key").chmod(0o644)
        ran = empty_practice.run("account", "list")
        assert ran.status == Status.MISCONFIGURED
        assert "chmod 600" in ran.err


class TestMigrate:
    def test_what_is_pending_is_listed_and_then_done(self, terminal: Terminal) -> None:
        check = terminal.run("migrate", "--check")
        assert check.status == Status.REFUSED
        assert check.out
        assert not terminal.data.exists()
        assert terminal.run("migrate").status == Status.OK
        assert terminal.run("migrate", "--check").status == Status.OK
        assert (terminal.data / "clarity.db").stat().st_mode & 0o777 == 0o600
        assert "Nothing was pending" in terminal.run("migrate").err

    @pytest.mark.parametrize("url", ["", "postgresql://somebody@localhost/clarity"])
    def test_the_statements_are_printed_without_a_database(self, terminal: Terminal, url: str) -> None:
        if url:
            terminal.set(async_database_uri=url)
        ran = terminal.run("migrate", "--sql")
        assert ran.status == Status.OK
        assert "CREATE TABLE patients" in ran.out
        assert ("DO $$" in ran.out) == bool(url)
        assert not terminal.data.exists()

    def test_tables_that_are_missing_keep_the_server_from_starting(self, terminal: Terminal) -> None:
        terminal.run("keys", "init")
        ran = terminal.run("serve", "--port", "0")
        assert ran.status == Status.MISCONFIGURED
        assert "clarity migrate" in ran.err

    def test_a_command_that_meets_no_tables_says_where_to_look(self, terminal: Terminal) -> None:
        terminal.run("keys", "init")
        ran = terminal.run("account", "list")
        assert ran.status == Status.UNAVAILABLE
        assert "clarity doctor" in ran.err

    def test_roles_are_for_postgresql(self, terminal: Terminal) -> None:
        assert terminal.run("migrate", "--create-roles").status == Status.MISCONFIGURED


class TestAccounts:
    def test_one_is_added_listed_disabled_and_given_a_password(self, empty_practice: Terminal) -> None:
        add = ("account", "add", "desk@example.org", "--role", "front-desk", "--name", "Desk")
        assert empty_practice.run(*add, "--password-stdin", typed=f"{PASSWORD}\n").status == Status.OK
        assert empty_practice.run("patient", "find", "--as", "desk@example.org", typed=PASSWORD).status == Status.OK
        reset = empty_practice.run("account", "reset-password", "desk@example.org", "--generate")
        new_password = reset.out.strip()
        assert "\n" not in new_password
        find = ("patient", "find", "--as", "desk@example.org", "--password-stdin")
        assert empty_practice.run(*find, typed=PASSWORD).status == Status.NOT_ALLOWED
        assert empty_practice.run(*find, typed=new_password).status == Status.OK
        assert empty_practice.run("account", "disable", "desk@example.org").status == Status.OK
        assert empty_practice.run(*find, typed=new_password).status == Status.NOT_ALLOWED
        assert "disabled" in empty_practice.run("account", "list").out
        (listed,) = json.loads(empty_practice.run("account", "list", "--json").out)
        assert listed["role"] == "front-desk"
        assert PASSWORD not in json.dumps(listed)

    def test_the_operator_stands_in_the_trail(self, empty_practice: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("LOGNAME", "night shift")
        empty_practice.run("account", "add", "desk@example.org", "--role", "front-desk", "--name", "Desk", "--generate")
        (event,) = [event for event in empty_practice.events() if event.action is Action.REGISTER]
        assert (event.actor, event.operator, event.resource) == (OPERATOR, "night_shift", Resource.ACCOUNT)

    @pytest.mark.parametrize(
        ("change", "status"),
        [
            ({"--role": "surgeon"}, Status.USAGE),
            ({"--role": "clinician"}, Status.USAGE),
            ({"--role": "system"}, Status.USAGE),
            ({"--patient": "0199a0c2-0000-7000-8000-000000000000"}, Status.USAGE),
            ({"--name": " "}, Status.USAGE),
        ],
    )
    def test_what_does_not_fit_is_named(self, empty_practice: Terminal, change: dict[str, str], status: Status) -> None:
        options = {"--role": "front-desk", "--name": "Desk", **change}
        arguments = [part for option in options.items() for part in option]
        ran = empty_practice.run("account", "add", "desk@example.org", *arguments, typed=PASSWORD)
        assert ran.status == status
        assert is_one_line(ran.err)
        assert empty_practice.rows("SELECT count(*) FROM accounts") == [(0,)]

    def test_a_weak_password_and_one_that_never_comes_are_refused(self, empty_practice: Terminal) -> None:
        add = ("account", "add", "desk@example.org", "--role", "front-desk", "--name", "Desk")
        for typed in ("secret\n", ""):
            ran = empty_practice.run(*add, "--password-stdin", typed=typed)
            assert ran.status == Status.USAGE
            assert is_one_line(ran.err)
            assert "secret" not in ran.err

    def test_an_address_has_one_account(self, empty_practice: Terminal) -> None:
        add = ("account", "add", "desk@example.org", "--role", "front-desk", "--name", "Desk", "--generate")
        assert empty_practice.run(*add).status == Status.OK
        again = empty_practice.run(*add)
        assert again.status == Status.REFUSED
        assert not again.out

    def test_nobody_is_disabled_by_a_wrong_address(self, empty_practice: Terminal) -> None:
        assert empty_practice.run("account", "disable", "nobody@example.org").status == Status.REFUSED


class TestPatients:
    def test_each_role_finds_whom_it_may_see(self, practice: Terminal) -> None:
        found = {
            role: json.loads(practice.as_(role, "patient", "find", "--json", "--limit", "200").out)
            for role in ("front-desk", "clinician", "patient", "administrator", "researcher")
        }
        counts = {role: len(page["items"]) for role, page in found.items()}
        # One of the first 24 is restricted, which the front desk does not see.
        assert counts["front-desk"] == PATIENTS - 1
        assert 0 < counts["clinician"] < PATIENTS
        assert counts["patient"] == 1
        assert counts["administrator"] == counts["researcher"] == 0
        assert all(page["total"] == {"count": counts[role], "exact": True} for role, page in found.items())
        assert all("notes" in item for item in found["clinician"]["items"])
        assert not any("notes" in item for item in found["front-desk"]["items"])

    def test_the_conditions_add_up(self, practice: Terminal) -> None:
        everybody = json.loads(practice.as_("front-desk", "patient", "find", "--json", "--limit", "200").out)["items"]
        someone = everybody[0]
        fragment = someone["names"][0]["family"][:3].lower()
        for condition in (
            [fragment],
            ["--mrn", someone["identifiers"][0]["value"]],
            ["--born-from", someone["born"], "--born-to", someone["born"]],
            ["--phone", someone["telecoms"][0]["value"]],
            ["--status", "active", "--sort", "age", "--descending"],
        ):
            items = json.loads(practice.as_("front-desk", "patient", "find", "--json", *condition).out)["items"]
            assert someone["id"] in {item["id"] for item in items}
            assert len(items) < len(everybody)

    def test_pages_are_joined_up_to_the_limit(self, practice: Terminal) -> None:
        ran = practice.as_("front-desk", "patient", "find", "--limit", "3")
        assert len(re.findall(r"[0-9a-f]{8}-[0-9a-f-]{27}", ran.out)) == 3
        assert f"3 of {PATIENTS - 1} patients" in ran.err

    def test_a_number_can_be_kept_off_the_command_line(self, practice: Terminal) -> None:
        everybody = json.loads(practice.as_("clinician", "patient", "find", "--json").out)["items"]
        numbers = [
            (item["id"], number["value"])
            for item in everybody
            for number in item["identifiers"]
            if number["kind"] == "ssn"
        ]
        patient, ssn = numbers[0]
        ran = practice.as_("clinician", "patient", "find", "--ssn", "-", "--json", typed=f"{ssn}\n")
        assert [item["id"] for item in json.loads(ran.out)["items"]] == [patient]
        assert practice.events()[-2].action is Action.SEARCH_BY_SSN

    def test_a_search_is_audited_between_log_in_and_log_out(self, practice: Terminal) -> None:
        before = len(practice.events())
        found = json.loads(practice.as_("clinician", "patient", "find", "--json").out)["items"]
        events = practice.events()[before:]
        assert [event.action for event in events] == [Action.LOG_IN, Action.SEARCH, Action.LOG_OUT]
        assert {str(one) for one in events[1].ids} == {item["id"] for item in found}
        assert events[1].role is Role.CLINICIAN
        assert practice.rows("SELECT count(*) FROM sessions WHERE revoked_at IS NULL") == [(0,)]

    def test_a_page_shows_what_the_reader_may_see(self, practice: Terminal) -> None:
        (own,) = json.loads(practice.as_("patient", "patient", "find", "--json").out)["items"]
        clinician = practice.as_("clinician", "patient", "show", own["id"], "--history")
        assert clinician.status == Status.OK
        for part in (
            own["names"][0]["family"],
            own["identifiers"][0]["value"],
            "Notes",
            "Dr. ",
            "registered",
            "operator",
        ):
            assert part in clinician.out
        patient = practice.as_("patient", "patient", "show", own["id"])
        assert own["names"][0]["family"] in patient.out
        assert "Notes" not in patient.out
        as_json = json.loads(practice.as_("clinician", "patient", "show", own["id"], "--json").out)
        assert as_json["id"] == own["id"]
        assert as_json["notes"]

    def test_what_one_may_not_see_looks_like_what_does_not_exist(self, practice: Terminal) -> None:
        (own,) = json.loads(practice.as_("patient", "patient", "find", "--json").out)["items"]
        hidden = practice.as_("administrator", "patient", "show", own["id"])
        absent = practice.as_("administrator", "patient", "show", "0199a0c2-0000-7000-8000-000000000000")
        assert hidden == absent
        assert hidden.status == Status.REFUSED
        assert is_one_line(hidden.err)
        refused = [event for event in practice.events() if event.outcome is Outcome.REFUSED]
        assert len(refused) == 2

    def test_without_a_name_or_with_a_wrong_one_nothing_is_shown(self, practice: Terminal) -> None:
        nobody = practice.run("patient", "find")
        wrong = practice.run("patient", "find", "--as", "clinician@demo.example", typed="not this one at all\n")
        unknown = practice.run("patient", "find", "--as", "nobody@demo.example", typed="not this one at all\n")
        forged = practice.run("patient", "find", "--token", "forged")
        for ran in (nobody, wrong, unknown, forged):
            assert ran.status == Status.NOT_ALLOWED
            assert not ran.out
            assert is_one_line(ran.err)
        assert wrong == unknown
        assert "--as EMAIL" in nobody.err

    def test_nobody_matching_is_no_error(self, practice: Terminal) -> None:
        ran = practice.as_("clinician", "patient", "find", "xyzzy")
        assert ran.status == Status.OK
        assert not ran.out
        assert "Nobody" in ran.err

    def test_bounds_that_exclude_each_other_are_named(self, practice: Terminal) -> None:
        ran = practice.as_("clinician", "patient", "find", "--min-age", "70", "--max-age", "7")
        assert ran.status == Status.USAGE
        assert "max_age" in ran.err


class TestImport:
    def test_counts_are_printed_and_again_everything_was_here(self, empty_practice: Terminal) -> None:
        folder = empty_practice.folder / "in"
        folder.mkdir()
        (folder / "ada_lovelace.json").write_text(json.dumps(a_bundle(a_fhir_patient("p1"))))
        first = empty_practice.run("import", "in/ada_lovelace.json")
        assert first.status == Status.OK
        assert re.search(r"Patients +1 +0 +0 +0", first.out)
        again = empty_practice.run("import", "in")
        assert again.status == Status.OK
        assert re.search(r"Patients +0 +0 +1 +0", again.out)
        assert "nothing has changed" in again.err

    def test_a_bad_input_is_named_without_its_path_or_content(self, empty_practice: Terminal) -> None:
        folder = empty_practice.folder / "in"
        folder.mkdir()
        (folder / "good.json").write_text(json.dumps(a_bundle(a_fhir_patient(family="Hopper"))))
        (folder / "lovelace.json").write_text(json.dumps(a_bundle(a_fhir_patient(birthDate=None))))
        (folder / "cut.json").write_text('{"resourceType": "Bundle", "entry": [{"resource": {"family": "Lovel')
        ran = empty_practice.run("import", "in", "nowhere.json", "--show-paths")
        assert ran.status == Status.REFUSED
        bad = re.findall(r"^input (\d) \((?:[0-9a-f]{12}|unreadable)\)(?:, entry \d+)?: (.+)$", ran.out, re.MULTILINE)
        assert [position for position, _ in bad] == ["1", "3", "4"]
        assert "birthDate" in bad[1][1]
        assert re.search(r"Patients +1 +0 +0 +1", ran.out)
        assert "3 of 4" in ran.err
        for secret in ("ovelace", "Lovel", "Ada", "nowhere", "1985", "cut.json"):
            assert secret not in ran.out + ran.err
        assert "no terminal" in ran.err

    def test_what_has_no_place_is_counted_by_name(self, empty_practice: Terminal) -> None:
        claim = {"resourceType": "Claim", "id": "c1"}
        bundle = a_bundle(a_fhir_patient("p1"), claim, {**claim, "id": "c2"})
        (empty_practice.folder / "one.json").write_text(json.dumps(bundle))
        ran = empty_practice.run("import", "one.json", "--source", "elsewhere")
        assert ran.status == Status.OK
        assert "Claim 2" in ran.out

    def test_a_folder_without_files_is_not_a_success(self, empty_practice: Terminal) -> None:
        (empty_practice.folder / "in").mkdir()
        ran = empty_practice.run("import", "in")
        assert ran.status == Status.REFUSED
        assert "nothing to import" in ran.err


class TestDoctor:
    def test_a_practice_in_order_is_well(self, practice: Terminal) -> None:
        ran = practice.run("doctor")
        assert ran.status == Status.OK
        assert "fail" not in ran.out
        assert "All is well" in ran.err

    def test_it_looks_on_where_nothing_is_there(self, terminal: Terminal) -> None:
        ran = terminal.run("doctor")
        assert ran.status == Status.REFUSED
        assert "clarity keys init" in ran.out
        assert "clarity migrate" in ran.out
        assert re.search(r"ok +disk", ran.out)
        assert not terminal.data.exists()

    def test_a_wrong_setting_is_a_finding(self, terminal: Terminal) -> None:
        terminal.set(db_pool_size="many")
        ran = terminal.run("doctor")
        assert ran.status == Status.REFUSED
        assert "DB_POOL_SIZE" in ran.out

    def test_it_finds_what_was_tampered_with(self, practice: Terminal) -> None:
        (practice.data / "clarity.db").chmod(0o644)
        practice.data.chmod(0o755)
        (practice.data / "root.key").write_text("5a" * 32)
        practice.rows("DROP TRIGGER audit_events_refuse_delete")
        practice.rows("UPDATE alembic_version SET version_num = version_num WHERE false")
        ran = practice.run("doctor")
        assert ran.status == Status.REFUSED
        failed = re.findall(r"^ ?fail +(data folder|keys|database file|append-only trail) ", ran.out, re.MULTILINE)
        assert failed == ["data folder", "keys", "database file", "append-only trail"]

    def test_an_unsafe_production_is_not_well(self, practice: Terminal) -> None:
        practice.set(environment="production")
        ran = practice.run("doctor")
        assert ran.status == Status.REFUSED
        assert "SQLite is for development" in " ".join(ran.out.split())

    def test_a_database_that_does_not_answer_is_a_finding(self, practice: Terminal) -> None:
        practice.set(async_database_uri="postgresql://clarity:wrong@127.0.0.1:1/clarity")
        ran = practice.run("doctor")
        assert ran.status == Status.REFUSED
        assert re.search(r"fail +database", ran.out)
        assert re.search(r"ok +key store", ran.out)


class TestDemo:
    def test_it_makes_everything_for_its_owner_alone(self, practice: Terminal) -> None:
        modes = {path.name: path.stat().st_mode & 0o777 for path in practice.data.iterdir()}
        assert {"clarity.db", "demo-credentials", "keys.json", "root.key"} <= modes.keys()
        assert set(modes.values()) == {0o600}
        done = Counter((event.action, event.resource) for event in practice.events())
        assert done[Action.REGISTER, Resource.PATIENT] == PATIENTS
        assert done[Action.REGISTER, Resource.ACCOUNT] == len(practice.passwords())

    def test_a_second_run_keeps_data_and_passwords(self, practice: Terminal) -> None:
        before, events = practice.passwords(), len(practice.events())
        ran = practice.run("demo", "--no-serve", "--patients", str(PATIENTS))
        assert ran.status == Status.OK
        assert practice.passwords() == before
        assert all(password in ran.out for password in before.values())
        # Listing the accounts is all it does.
        assert {event.action for event in practice.events()[events:]} == {Action.LIST}

    def test_what_it_tells_to_try_finds_somebody(self, practice: Terminal) -> None:
        told = practice.run("demo", "--no-serve", "--patients", str(PATIENTS)).out
        fragment = re.search(r"patient find (\w+) --as clinician@", told)
        assert fragment
        assert json.loads(practice.as_("clinician", "patient", "find", fragment[1], "--json").out)["items"]

    def test_lost_passwords_are_replaced(self, practice: Terminal) -> None:
        old = practice.passwords()
        (practice.data / "demo-credentials").unlink()
        assert practice.run("demo", "--no-serve", "--patients", str(PATIENTS)).status == Status.OK
        assert not old.items() & practice.passwords().items()
        assert practice.as_("nurse", "patient", "find").status == Status.OK

    def test_a_key_store_that_is_gone_is_not_made_anew(self, practice: Terminal) -> None:
        (practice.data / "keys.json").unlink()
        ran = practice.run("demo", "--no-serve")
        assert ran.status == Status.MISCONFIGURED
        assert not (practice.data / "keys.json").exists()

    def test_it_is_for_development(self, terminal: Terminal) -> None:
        terminal.set(environment="production")
        ran = terminal.run("demo", "--no-serve")
        assert ran.status == Status.MISCONFIGURED
        assert not terminal.data.exists()

    def test_a_run_that_was_killed_is_completed_by_the_next(self, terminal: Terminal) -> None:
        with started("demo", "--no-serve", "--patients", "120", folder=terminal.folder) as killed:
            deadline = time.monotonic() + 60
            while not _patients_in(terminal) and time.monotonic() < deadline:
                time.sleep(0.005)
            killed.kill()
            killed.communicate()
        assert killed.returncode == -signal.SIGKILL
        assert 0 < _patients_in(terminal) < 120
        assert not (terminal.data / "demo-credentials").exists()
        assert terminal.run("demo", "--no-serve", "--patients", "120").status == Status.OK
        assert _patients_in(terminal) == 120
        done = Counter((event.action, event.resource) for event in terminal.events())
        assert done[Action.REGISTER, Resource.PATIENT] == 120
        assert terminal.as_("clinician", "patient", "find").status == Status.OK


def _patients_in(terminal: Terminal) -> int:
    try:
        ((count,),) = terminal.rows("SELECT count(*) FROM patients")
    except sqlite3.OperationalError:
        return 0
    return int(count)
