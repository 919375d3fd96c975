"""An emergency at the command line, from breaking the glass to its review."""

import json

from clarity.cli.endings import Status
from clarity.domain.access import Action, Purpose
from tests.shells import Terminal

REASON = "Found unconscious; nobody of the team can be reached."


def not_theirs(practice: Terminal) -> dict[str, str]:
    """Return somebody whom the front desk knows and the nurse does not see, as id and MRN."""
    everybody = json.loads(practice.as_("front-desk", "patient", "find", "--json", "--limit", "200").out)["items"]
    seen = {item["id"] for item in json.loads(practice.as_("nurse", "patient", "find", "--json").out)["items"]}
    one = next(item for item in everybody if item["id"] not in seen)
    mrn = next(number["value"] for number in one["identifiers"] if number["kind"] == "mrn")
    return {"id": one["id"], "mrn": mrn}


def test_an_emergency_from_the_first_to_the_last(practice: Terminal) -> None:
    patient = not_theirs(practice)
    assert practice.as_("nurse", "patient", "show", patient["id"]).status == Status.REFUSED
    opened = practice.as_(
        "nurse", "break-glass", "open", "--mrn", "-", "--reason", "-", typed=f"{patient['mrn']}\n{REASON}\n"
    )
    assert (opened.status, "You may see" in opened.err) == (Status.OK, True)
    glass = opened.out.strip()
    assert practice.as_("nurse", "patient", "show", patient["id"]).status == Status.OK
    assert Purpose.EMERGENCY in {event.purpose for event in practice.events() if event.action is Action.VIEW}
    own = json.loads(practice.as_("nurse", "break-glass", "queue", "--json").out)
    assert [one["id"] for one in own["items"]] == [glass]
    assert practice.as_("nurse", "break-glass", "close", glass).status == Status.OK
    assert practice.as_("nurse", "patient", "show", patient["id"]).status == Status.REFUSED
    assert practice.as_("nurse", "break-glass", "close", glass).status == Status.REFUSED

    queue = practice.as_("compliance-officer", "break-glass", "queue", "--status", "unreviewed")
    assert all(text in queue.out for text in (glass, patient["id"], "nurse", "waits"))
    sheet = practice.as_("compliance-officer", "break-glass", "show", glass)
    assert REASON in sheet.out
    assert "this practice" in sheet.out
    judged = ("break-glass", "review", glass, "--outcome", "justified", "--note", "On call that night.")
    assert practice.as_("compliance-officer", *judged).err.endswith("Reviewed: justified.\n")
    assert practice.as_("compliance-officer", *judged).status == Status.REFUSED
    told = json.loads(practice.as_("compliance-officer", "break-glass", "show", glass, "--json").out)
    assert (told["review"]["outcome"], told["reason"], told["patient"]) == ("justified", REASON, patient["id"])
    assert "Nothing waits" in practice.as_("compliance-officer", "break-glass", "queue", "--status", "unreviewed").err


def test_who_may_not_is_told_so(practice: Terminal) -> None:
    patient = not_theirs(practice)["id"]
    for role in ("front-desk", "compliance-officer", "administrator", "patient", "researcher"):
        refused = practice.as_(role, "break-glass", "open", patient, "--reason", REASON)
        assert (refused.status, refused.out) == (Status.NOT_ALLOWED, "")
    for wrong in (("--minutes", "0"), ("--minutes", "61"), ("--mrn", "MRN-1")):
        refused = practice.as_("nurse", "break-glass", "open", patient, "--reason", REASON, *wrong)
        assert (refused.status, refused.out) == (Status.USAGE, "")
    assert practice.as_("front-desk", "break-glass", "queue").status == Status.NOT_ALLOWED
