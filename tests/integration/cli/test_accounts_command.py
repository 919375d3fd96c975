"""Who may log in, as the operator says."""

import json
import os
import pwd
from types import SimpleNamespace

import pytest

from clarity.bootstrap import operator
from clarity.cli.endings import Status
from clarity.domain.access import OPERATOR, Action
from clarity.domain.records import Resource
from tests.builders import new_id
from tests.shells import PASSWORD, Terminal, is_one_line


def test_one_is_added_listed_disabled_and_given_a_password(empty_practice: Terminal) -> None:
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


def test_the_operator_stands_in_the_trail(empty_practice: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOGNAME", "somebody-else")
    somebody = SimpleNamespace(pw_name="night shift")
    monkeypatch.setattr(pwd, "getpwuid", {os.getuid(): somebody}.__getitem__)
    empty_practice.run("account", "add", "desk@example.org", "--role", "front-desk", "--name", "Desk", "--generate")
    (event,) = [event for event in empty_practice.events() if event.action is Action.REGISTER]
    assert (event.actor, event.operator, event.resource) == (OPERATOR, "night_shift", Resource.ACCOUNT)


def test_an_operator_without_a_name_is_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pwd, "getpwuid", dict[int, str]().__getitem__)
    assert operator().operator == f"uid-{os.getuid()}"


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
def test_what_does_not_fit_is_named(empty_practice: Terminal, change: dict[str, str], status: Status) -> None:
    options = {"--role": "front-desk", "--name": "Desk", **change}
    arguments = [part for option in options.items() for part in option]
    ran = empty_practice.run("account", "add", "desk@example.org", *arguments, typed=PASSWORD)
    assert ran.status == status
    assert is_one_line(ran.err)
    assert empty_practice.rows("SELECT count(*) FROM accounts") == [(0,)]


def test_a_weak_password_and_one_that_never_comes_are_refused(empty_practice: Terminal) -> None:
    add = ("account", "add", "desk@example.org", "--role", "front-desk", "--name", "Desk")
    for typed in ("secret\n", ""):
        ran = empty_practice.run(*add, "--password-stdin", typed=typed)
        assert ran.status == Status.USAGE
        assert is_one_line(ran.err)
        assert "secret" not in ran.err


def test_an_address_has_one_account(empty_practice: Terminal) -> None:
    add = ("account", "add", "desk@example.org", "--role", "front-desk", "--name", "Desk", "--generate")
    assert empty_practice.run(*add).status == Status.OK
    again = empty_practice.run(*add)
    assert again.status == Status.REFUSED
    assert not again.out


def test_nobody_is_disabled_by_a_wrong_address(empty_practice: Terminal) -> None:
    assert empty_practice.run("account", "disable", "nobody@example.org").status == Status.REFUSED


def test_an_address_that_is_none_is_named_as_it_was_asked_for(empty_practice: Terminal) -> None:
    ran = empty_practice.run("account", "add", "desk", "--role", "front-desk", "--name", "Desk", "--generate")
    assert ran.status == Status.USAGE
    assert ran.err == "clarity: email: must be an e-mail address\n"


def token_in(practice: Terminal) -> str:
    """Return the token of the link in the only letter there is."""
    (letter,) = (practice.data / "outbox").glob("*.eml")
    return letter.read_text().partition("/invitation#")[2].split()[0]


def test_one_is_invited_and_sent_a_link(empty_practice: Terminal) -> None:
    invite = ("account", "invite", "desk@example.org", "--role", "front-desk", "--name", "Desk")
    assert empty_practice.run(*invite).status == Status.OK
    (waiting,) = json.loads(empty_practice.run("outbox", "list", "--json").out)
    assert (waiting["kind"], waiting["state"]) == ("invitation", "waiting")
    assert "1 sent" in empty_practice.run("outbox", "deliver").err
    assert len(token_in(empty_practice)) == 43
    (sent,) = json.loads(empty_practice.run("outbox", "list", "--json").out)
    assert sent["state"] == "sent"
    assert "There is no message" in empty_practice.run("outbox", "list", "--unsent").err
    assert "invited" in empty_practice.run("account", "show", "desk@example.org").out


def test_who_was_invited_chooses_a_password_and_changes_it(empty_practice: Terminal) -> None:
    empty_practice.run("account", "invite", "desk@example.org", "--role", "front-desk", "--name", "Desk")
    empty_practice.run("outbox", "deliver")
    link = f"http://localhost:8000/invitation#{token_in(empty_practice)}"
    assert empty_practice.run("me", "use-link", typed=f"{link}\n{PASSWORD}\n").status == Status.OK
    again = empty_practice.run("me", "use-link", typed=f"{link}\n{PASSWORD}\n")
    assert (again.status, is_one_line(again.err)) == (Status.NOT_ALLOWED, True)
    change = ("me", "password", "--as", "desk@example.org", "--password-stdin")
    assert empty_practice.run(*change, typed=f"{PASSWORD}\nnine lanterns over the harbour\n").status == Status.OK
    find = ("patient", "find", "--as", "desk@example.org", "--password-stdin")
    assert empty_practice.run(*find, typed=PASSWORD).status == Status.NOT_ALLOWED
    assert empty_practice.run(*find, typed="nine lanterns over the harbour").status == Status.OK


def test_an_account_is_disabled_enabled_and_given_a_role(empty_practice: Terminal) -> None:
    add = ("account", "add", "desk@example.org", "--role", "front-desk", "--name", "Desk", "--generate")
    assert empty_practice.run(*add).status == Status.OK
    assert empty_practice.run("account", "disable", "desk@example.org").status == Status.OK
    assert "can log in again" in empty_practice.run("account", "enable", "desk@example.org").err
    assert empty_practice.run("account", "role", "desk@example.org", "--role", "researcher").status == Status.OK
    shown = json.loads(empty_practice.run("account", "show", "desk@example.org", "--json").out)
    assert shown["role"] == "researcher"
    assert empty_practice.run("account", "send-reset", "desk@example.org").status == Status.OK
    assert "password reset" in empty_practice.run("outbox", "list").out


def test_a_machine_has_an_account_and_no_password(empty_practice: Terminal) -> None:
    machine = ("account", "machine", "robot@example.org", "--role", "researcher", "--name", "Nightly report")
    assert empty_practice.run(*machine).status == Status.OK
    assert "machine" in empty_practice.run("account", "list").out
    shown = [line.split() for line in empty_practice.run("account", "show", "robot@example.org").out.splitlines()]
    assert ["Status", "active"] in shown
    assert any(words[:2] == ["Machine", "yes:"] for words in shown)
    assert "There is no message" in empty_practice.run("outbox", "list").err
    assert empty_practice.run("account", "send-reset", "robot@example.org").status == Status.REFUSED


def test_a_link_that_is_missing_and_one_too_many_are_told_apart(empty_practice: Terminal) -> None:
    invite = ("account", "invite", "ada@example.org", "--name", "Ada")
    missing = empty_practice.run(*invite, "--role", "clinician").err
    wrong = empty_practice.run(*invite, "--role", "researcher", "--practitioner", str(new_id())).err
    assert "practitioner: is needed for the account of a clinician or a nurse" in missing
    assert "practitioner: is only for the accounts of clinicians and nurses" in wrong


def test_an_empty_line_is_not_a_missing_one(empty_practice: Terminal) -> None:
    reset = ("account", "reset-password", "ada@example.org", "--password-stdin")
    assert "for the password is empty" in empty_practice.run(*reset, typed="\n").err
    assert "no line on standard input" in empty_practice.run(*reset, typed="").err


@pytest.mark.parametrize(
    "command", [("disable",), ("enable",), ("show",), ("send-reset",), ("role", "--role", "researcher")]
)
def test_an_account_that_is_not_there_is_named(empty_practice: Terminal, command: tuple[str, ...]) -> None:
    ran = empty_practice.run("account", *command, "nobody@example.org")
    assert ran.status == Status.REFUSED
    assert is_one_line(ran.err)
    assert "there is no account nobody@example.org" in ran.err


def test_what_is_no_id_is_said_to_be_none(empty_practice: Terminal) -> None:
    invite = ("account", "invite", "ada@example.org", "--role", "clinician", "--name", "Ada")
    ran = empty_practice.run(*invite, "--practitioner", "Ada Byron")
    assert ran.status == Status.USAGE
    assert "expected an id, like 0199a0c2" in ran.err
    assert "Ada Byron" not in ran.err


def test_the_last_administrator_is_not_disabled(empty_practice: Terminal) -> None:
    add = ("account", "add", "root@example.org", "--role", "administrator", "--name", "Root", "--generate")
    assert empty_practice.run(*add).status == Status.OK
    ran = empty_practice.run("account", "disable", "root@example.org")
    assert (ran.status, is_one_line(ran.err)) == (Status.REFUSED, True)
    assert "last administrator" in ran.err
