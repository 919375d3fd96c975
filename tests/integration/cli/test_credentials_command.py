"""Credentials of machines at the command line: made, used, listed and ended."""

import json
import re

import pytest

from clarity.cli.endings import Status
from clarity.domain.access import OPERATOR, Action
from clarity.domain.records import Resource
from tests.shells import PASSWORD, Ran, Terminal, is_one_line

MACHINE = "report@example.org"


def with_a_machine(terminal: Terminal) -> Terminal:
    made = terminal.run("account", "machine", MACHINE, "--role", "front-desk", "--name", "Nightly report")
    assert made.status == Status.OK
    return terminal


def issued(terminal: Terminal, *scopes: str, email: str = MACHINE) -> Ran:
    options = [part for scope in scopes for part in ("--scope", scope)]
    return terminal.run("credential", "issue", email, "--name", "Server 2", *options)


def test_a_machine_works_until_its_credential_is_revoked(empty_practice: Terminal) -> None:
    practice = with_a_machine(empty_practice)
    made = issued(practice, "patient:search", "patient:view")
    assert made.status == Status.OK
    text = made.out.strip()
    assert re.fullmatch(r"clarity_[0-9a-f]{32}_[0-9a-f]{64}", text)
    assert text not in made.err
    practice.set(clarity_token=text)
    assert practice.run("patient", "find", "--json").status == Status.OK
    assert practice.run("practitioner", "list").status == Status.NOT_ALLOWED
    (listed,) = json.loads(practice.run("credential", "list", MACHINE, "--json").out)
    assert listed["scopes"] == ["patient:search", "patient:view"]
    table = practice.run("credential", "list", MACHINE).out
    assert listed["id"] in table
    assert text.rpartition("_")[2] not in table
    assert practice.run("credential", "revoke", listed["id"]).status == Status.OK
    refused = practice.run("patient", "find", "--json")
    assert (refused.status, is_one_line(refused.err)) == (Status.NOT_ALLOWED, True)
    assert text not in refused.err
    assert "revoked" in practice.run("credential", "list", MACHINE).out
    acts = [event.action for event in practice.events() if event.resource is Resource.CREDENTIAL]
    assert acts == [Action.REGISTER, Action.LIST, Action.LIST, Action.REVOKE, Action.LOG_IN, Action.LIST]
    made_by = next(event for event in practice.events() if event.resource is Resource.CREDENTIAL)
    assert made_by.actor == OPERATOR


@pytest.mark.parametrize(
    ("scopes", "status"),
    [
        ((), Status.USAGE),
        (("patient:delete",), Status.USAGE),
        (("patient:zqcanary",), Status.USAGE),
        (("credential:register",), Status.USAGE),
    ],
)
def test_a_scope_that_does_not_fit_is_refused(
    empty_practice: Terminal, scopes: tuple[str, ...], status: Status
) -> None:
    ran = issued(with_a_machine(empty_practice), *scopes)
    assert (ran.status, ran.out) == (status, "")
    assert is_one_line(ran.err)
    assert "zqcanary" not in ran.err


def test_a_scope_that_does_not_fit_is_told_what_does(empty_practice: Terminal) -> None:
    assert "patient:search" in issued(with_a_machine(empty_practice), "patient:fly").err


def test_people_and_strangers_get_none(empty_practice: Terminal) -> None:
    add = ("account", "add", "desk@example.org", "--role", "front-desk", "--name", "Desk", "--password-stdin")
    assert empty_practice.run(*add, typed=f"{PASSWORD}\n").status == Status.OK
    for email in ("desk@example.org", "nobody@example.org"):
        ran = issued(empty_practice, "patient:view", email=email)
        assert (ran.status, ran.out) == (Status.REFUSED, "")
    assert empty_practice.run("credential", "list", "nobody@example.org").status == Status.REFUSED
    unknown = "0199a0c2-0000-7000-8000-000000000000"
    assert empty_practice.run("credential", "revoke", unknown).status == Status.REFUSED
