"""The life of a record at the command line."""

import json

from clarity.cli.endings import Status
from clarity.domain.access import Action
from clarity.domain.audit import Outcome
from tests.shells import Terminal, is_one_line


def someone(practice: Terminal) -> str:
    """Return the id of an active patient whom the clinician and the front desk see."""
    found = practice.as_("clinician", "patient", "find", "--status", "active", "--json")
    desk = practice.as_("front-desk", "patient", "find", "--limit", "200", "--json")
    both = {one["id"] for one in json.loads(found.out)["items"]} & {one["id"] for one in json.loads(desk.out)["items"]}
    return str(min(both))


def test_a_patient_is_discharged_taken_back_and_a_death_is_corrected(practice: Terminal) -> None:
    ada = someone(practice)
    steps: tuple[tuple[str, tuple[str, ...], str], ...] = (
        ("clinician", ("discharge", ada), "discharged"),
        ("front-desk", ("reactivate", ada), "active"),
        ("front-desk", ("death", ada, "--on", "2026"), "deceased"),
        ("clinician", ("death", ada, "--correct"), "active"),
    )
    for role, arguments, status in steps:
        ran = practice.as_(role, "patient", *arguments)
        assert ran.status == Status.OK, ran.err
        assert f"{ada} is {status} as of version" in ran.err
    for options in (("--on", "soon"), ("--on", "2026", "--correct")):
        ran = practice.as_("clinician", "patient", "death", ada, *options)
        assert ran.status == Status.USAGE
        assert is_one_line(ran.err)


def test_a_hold_keeps_a_record_and_a_basis_overrides_it(practice: Terminal) -> None:
    ada = someone(practice)
    officer = "compliance-officer"
    assert practice.as_(officer, "patient", "hold", ada, "--basis", "Docket 26-117").status == Status.OK
    listed = json.loads(practice.as_(officer, "patient", "holds", "--json").out)["items"]
    assert [(one["patient"], one["hold"]["basis"]) for one in listed] == [(ada, "Docket 26-117")]
    assert "Docket 26-117" in practice.as_(officer, "patient", "holds").out
    kept = practice.as_("administrator", "patient", "delete", ada, "--reason", "asked to")
    assert (kept.status, "legal hold" in kept.err) == (Status.REFUSED, True)
    assert practice.as_(officer, "patient", "release", ada).status == Status.OK
    gone = practice.as_(officer, "patient", "delete", ada, "--reason", "asked to", "--basis", "Court order")
    assert gone.status == Status.OK, gone.err
    for removal in (
        practice.as_(officer, "patient", "tombstone", ada, "--json"),
        practice.run("patient", "tombstone", ada, "--json"),
    ):
        shown = json.loads(removal.out)
        assert (shown["reason"], shown["basis"]) == ("asked to", "Court order")
    last = practice.events()[-1]
    assert (last.action, last.outcome) == (Action.VIEW_TOMBSTONE, Outcome.SUCCEEDED)
    assert "Court order" in practice.run("patient", "tombstone", ada).out
    refused = practice.as_("clinician", "patient", "tombstone", ada)
    assert refused.status == Status.REFUSED
