"""Practitioners at the command line, as the operator and as whoever logs in."""

import json

import pytest

from clarity.cli.endings import Status
from clarity.domain.access import OPERATOR, Action
from clarity.domain.records import Resource
from tests.bundles import VALID_NPI
from tests.shells import Terminal, is_one_line

ADD = ("practitioner", "add", "--given", "Anna", "--family", "Okafor", "--npi", VALID_NPI)


def test_one_is_added_found_changed_and_sent_away(empty_practice: Terminal) -> None:
    added = empty_practice.run(*ADD, "--specialty", "Psychiatry", "--specialty-code", "2084P0800X")
    assert added.status == Status.OK
    identity = added.out.strip()
    (event,) = [event for event in empty_practice.events() if event.resource is Resource.PRACTITIONER]
    assert (event.actor, event.action, str(event.ids[0])) == (OPERATOR, Action.REGISTER, identity)
    for query in (("--name", "oka"), ("--specialty", "2084p0800x"), ("--npi", VALID_NPI), ("--active",)):
        assert identity in empty_practice.run("practitioner", "list", *query).out, query
    assert "No practitioner" in empty_practice.run("practitioner", "list", "--name", "freud").err
    changed = empty_practice.run("practitioner", "change", identity, "--inactive", "--family", "Freud")
    assert (changed.status, "version 2" in changed.err) == (Status.OK, True)
    shown = json.loads(empty_practice.run("practitioner", "show", identity, "--json").out)
    assert (shown["name"]["family"], shown["name"]["given"], shown["active"]) == ("Freud", ["Anna"], False)
    assert shown["specialty"]["text"] == "Psychiatry"
    assert "inactive" in empty_practice.run("practitioner", "list", "--inactive").out
    blank = empty_practice.run("practitioner", "change", identity, "--specialty", "", "--active")
    assert blank.status == Status.OK
    (listed,) = json.loads(empty_practice.run("practitioner", "list", "--json").out)
    assert "specialty" not in listed


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (("--npi", "1234567890"), Status.USAGE),
        (("--npi", VALID_NPI), Status.REFUSED),
        (("--given", "\x07"), Status.USAGE),
        (("--gender", "x"), Status.USAGE),
    ],
)
def test_what_does_not_fit_is_named(empty_practice: Terminal, arguments: tuple[str, ...], status: Status) -> None:
    assert empty_practice.run(*ADD).status == Status.OK
    ran = empty_practice.run("practitioner", "add", "--family", "Klein", *arguments)
    assert ran.status == status
    assert is_one_line(ran.err)
    assert "1234567890" not in ran.err


def test_whoever_logs_in_acts_as_themselves(practice: Terminal) -> None:
    (first, *_) = json.loads(practice.as_("clinician", "practitioner", "list", "--json").out)
    counted = practice.as_("clinician", "practitioner", "caseload", first["id"], "--json")
    assert counted.status == Status.OK
    everybody = json.loads(practice.run("practitioner", "caseload", first["id"], "--json").out)
    own = json.loads(counted.out)
    assert 0 <= own["total"] <= everybody["total"]
    assert own["total"] == sum(own["counts"].values())
    assert "together" in practice.as_("front-desk", "practitioner", "caseload", first["id"]).out
    assert practice.as_("clinician", *ADD).status == Status.NOT_ALLOWED
    assert practice.as_("patient", "practitioner", "list").status == Status.NOT_ALLOWED
    assert practice.as_("administrator", *ADD).status == Status.OK
