"""A second factor and sessions, as their owner and the operator handle them at the command line."""

import re
from datetime import UTC, datetime, timedelta

import pytest

from clarity.cli.endings import Status
from clarity.domain.access import Action
from clarity.security.one_time_codes import STEP_SECONDS
from tests.fakes.accounts import code_of
from tests.shells import Terminal, is_one_line

EMAIL = "front-desk@demo.example"
FIND = ("patient", "find", "--limit", "1")


def code(secret: str, *, steps: int = 0) -> str:
    """Return what a device shows now, or will some steps later."""
    return code_of(secret, datetime.now(UTC) + steps * timedelta(seconds=STEP_SECONDS))


@pytest.fixture
def recovery(practice: Terminal, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Enrol a second factor for the front desk, and return its recovery codes."""
    shown: list[str] = []

    def device() -> str:
        (secret,) = re.findall(r"the secret: ([A-Z2-7]{32})", "".join(shown))
        return code(secret)

    monkeypatch.setattr("clarity.cli.me.note", shown.append)
    monkeypatch.setattr("clarity.cli.identity.Caller.ask_code", lambda _caller: device())
    ran = practice.as_("front-desk", "me", "enrol")
    assert ran.status == Status.OK
    monkeypatch.undo()
    monkeypatch.chdir(practice.folder)
    assert any(line.startswith("otpauth://totp/Clarity:front-desk") for line in shown)
    return ran.out.split()


def test_a_code_is_asked_for_after_the_password_or_given_with_it(practice: Terminal, recovery: list[str]) -> None:
    assert len(recovery) == 10
    for more, typed in ((("--password-stdin",), f"{recovery[0]}\n"), (("--code", recovery[1]), "")):
        assert practice.as_("front-desk", *FIND, *more, typed=typed).status == Status.OK
    for typed in (recovery[0], "000000"):
        refused = practice.as_("front-desk", *FIND, typed=f"{typed}\n")
        assert (refused.status, refused.err) == (Status.NOT_ALLOWED, "clarity: The credentials do not match.\n")
    nothing = practice.as_("front-desk", *FIND, "--password-stdin")
    assert nothing.status == Status.USAGE
    assert is_one_line(nothing.err)


def test_recovery_codes_are_renewed_and_the_factor_is_given_up(practice: Terminal, recovery: list[str]) -> None:
    renewed = practice.as_("front-desk", "me", "recovery-codes", typed=f"{recovery[0]}\n{recovery[1]}\n")
    assert renewed.status == Status.OK
    new = renewed.out.split()
    assert len(new) == 10
    assert practice.as_("front-desk", *FIND, typed=f"{recovery[2]}\n").status == Status.NOT_ALLOWED
    assert practice.as_("front-desk", "me", "remove-second-factor", typed=f"{new[0]}\n{new[1]}\n").status == Status.OK
    assert practice.as_("front-desk", *FIND).status == Status.OK


def test_the_operator_takes_a_lost_factor_away(practice: Terminal, recovery: list[str]) -> None:
    assert recovery
    assert practice.run("account", "remove-second-factor", EMAIL).status == Status.OK
    assert practice.as_("front-desk", *FIND).status == Status.OK
    for command in (("account", "remove-second-factor"), ("session", "list"), ("session", "revoke")):
        nobody = practice.run(*command, "nobody@demo.example")
        assert nobody.status == Status.REFUSED
        assert "`clarity account list`" in nobody.err
    assert Action.REMOVE_SECOND_FACTOR in {event.action for event in practice.events()}


def test_where_it_is_required_a_command_says_how_to_enrol(practice: Terminal) -> None:
    practice.set(second_factor="required")
    refused = practice.as_("front-desk", *FIND)
    assert refused.status == Status.NOT_ALLOWED
    assert is_one_line(refused.err)
    assert "clarity me enrol --as EMAIL" in refused.err
    # The session that found this out is not left open.
    assert practice.rows("SELECT count(*) FROM sessions WHERE revoked_at IS NULL") == [(0,)]


def test_sessions_are_listed_and_ended(practice: Terminal) -> None:
    listed = practice.as_("front-desk", "me", "sessions")
    assert listed.status == Status.OK
    (this,) = re.findall(r"[0-9a-f]{8}-[0-9a-f-]{27}", listed.out)
    assert "(this one)" in listed.out
    assert "clarity command line" in listed.out
    assert practice.as_("front-desk", "me", "end-session", this).status == Status.REFUSED
    ended = practice.as_("front-desk", "me", "end-session")
    assert (ended.status, ended.err) == (Status.OK, "Ended 0 sessions.\n")
    assert practice.run("session", "list", EMAIL).err == "The account is not logged in anywhere.\n"
    assert practice.run("session", "revoke", EMAIL).err == "Ended 0 sessions.\n"
    assert practice.run("session", "list", "nobody@demo.example").status == Status.REFUSED
