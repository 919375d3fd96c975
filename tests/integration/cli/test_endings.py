"""How commands end when they are not understood, or when something goes wrong."""

import pytest

from clarity.cli.endings import Status, ending
from clarity.domain.errors import TooMany
from tests.shells import Terminal, is_one_line


def fail(cause: Exception) -> None:
    """Raise what was given."""
    raise cause


@pytest.mark.parametrize(
    "arguments", [("nonsense",), ("account", "add"), ("patient", "show", "12"), ("serve", "--port", "x")]
)
def test_what_is_not_understood_is_said_in_one_line(terminal: Terminal, arguments: tuple[str, ...]) -> None:
    ran = terminal.run(*arguments)
    assert ran.status == Status.USAGE
    assert is_one_line(ran.err)
    assert "--help`" in ran.err


def test_what_is_no_id_is_told_what_one_looks_like_and_not_repeated(terminal: Terminal) -> None:
    ran = terminal.run("patient", "show", "zqcanary")
    assert ran.status == Status.USAGE
    assert "expected an id, like 0199a0c2-" in ran.err
    assert "zqcanary"[0] + "`" not in ran.err


def test_a_fault_shows_nothing_of_what_it_is_about(capsys: pytest.CaptureFixture[str]) -> None:
    with ending() as end:
        fail(ValueError("Ada Lovelace"))
    err = capsys.readouterr().err
    assert end.status == Status.BROKEN
    assert is_one_line(err)
    assert "Ada" not in err


@pytest.mark.parametrize(("environment", "tracebacks"), [("development", 1), ("production", 0)])
def test_a_developer_sees_where_and_nobody_else(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, environment: str, tracebacks: int
) -> None:
    monkeypatch.setenv("CLARITY_DEBUG", "1")
    monkeypatch.setenv("ENVIRONMENT", environment)
    with ending():
        fail(ValueError("somewhere"))
    assert capsys.readouterr().err.count("Traceback") == tracebacks


def test_what_a_file_says_of_the_environment_counts_too(terminal: Terminal, capsys: pytest.CaptureFixture[str]) -> None:
    terminal.set(clarity_debug="1")
    (terminal.folder / ".env").write_text("ENVIRONMENT=production\n")
    with ending():
        fail(ValueError("somewhere"))
    assert "Traceback" not in capsys.readouterr().err
    (terminal.folder / ".env").unlink()
    with ending():
        fail(ValueError("somewhere"))
    assert "Traceback" in capsys.readouterr().err


def test_too_many_attempts_say_how_long_to_wait(capsys: pytest.CaptureFixture[str]) -> None:
    with ending() as end:
        fail(TooMany(17))
    assert end.status == Status.UNAVAILABLE
    assert "17 seconds" in capsys.readouterr().err


def test_a_wrong_setting_is_named_and_its_value_is_not(terminal: Terminal) -> None:
    terminal.set(practice_time_zone="Atlantis/Poseidonis")
    ran = terminal.run("account", "list")
    assert ran.status == Status.MISCONFIGURED
    assert is_one_line(ran.err)
    assert "PRACTICE_TIME_ZONE" in ran.err
    assert "Poseidonis" not in ran.err


def test_unsafe_settings_are_named_before_keys_and_database_are_there(terminal: Terminal) -> None:
    terminal.set(environment="production", second_factor="optional", public_url="http://clinic.example.org")
    ran = terminal.run("serve", "--port", "0")
    assert ran.status == Status.MISCONFIGURED
    for setting in ("SECOND_FACTOR", "PUBLIC_URL", "KEY_ROOT"):
        assert setting in ran.err
