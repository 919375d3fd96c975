"""The trail at the command line: who may read it, what they are shown, and the file they take away."""

import csv
import json
import stat

from clarity.cli.endings import Status
from clarity.domain.access import Action
from clarity.domain.records import Resource
from tests.shells import Terminal


def test_an_officer_asks_who_saw_a_patient_and_takes_it_away(practice: Terminal) -> None:
    patients = json.loads(practice.as_("clinician", "patient", "find", "--json", "--limit", "1").out)["items"]
    patient = patients[0]["id"]
    saw = practice.as_("compliance-officer", "audit", "who-saw", patient)
    assert (saw.status, saw.err.endswith(" events.\n")) == (Status.OK, True)
    assert all(text in saw.out for text in ("operator", "register: patient", "clinician@demo.example", "patient"))
    told = json.loads(practice.as_("compliance-officer", "audit", "who-saw", patient, "--json").out)
    assert told["items"][0]["event"]["actor"]["role"] == "compliance-officer"
    assert all(item["verified"] for item in told["items"])
    did = json.loads(practice.run("audit", "what-did", "clinician@demo.example", "--action", "log-in", "--json").out)
    assert [item["event"]["action"] for item in did["items"]] == ["log_in"]
    assert did["total"] == {"count": 1, "exact": True}

    file = practice.folder / "trail.csv"
    assert practice.as_("compliance-officer", "audit", "export", "--output", str(file)).status == Status.OK
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert not file.with_name("trail.csv.part").exists()
    with file.open(newline="") as table:
        rows = list(csv.DictReader(table))
    assert {"register", "log_in", "list"} <= {row["action"] for row in rows}
    before = file.read_bytes()
    assert practice.run("audit", "export", "--output", str(file)).status == Status.REFUSED
    assert file.read_bytes() == before
    lines = practice.folder / "trail.ndjson"
    assert (
        practice.run("audit", "export", "-o", str(lines), "--format", "fhir", "--patient", patient).status == Status.OK
    )
    assert {json.loads(line)["resourceType"] for line in lines.read_text().splitlines()} == {"AuditEvent"}
    asked = [event for event in practice.events() if event.resource is Resource.AUDIT_EVENT]
    assert {event.action for event in asked} == {Action.LIST, Action.EXPORT}


def test_who_may_not_and_what_cannot_be_asked(practice: Terminal) -> None:
    refused = practice.as_("nurse", "audit", "list")
    assert (refused.status, refused.out) == (Status.NOT_ALLOWED, "")
    for wrong in (
        ("what-did", "Lovelace"),
        ("what-did", ""),
        ("list", "--account", ""),
        ("export", "--output", "-"),
        ("list", "--outcome", "good"),
        ("list", "--since", "yesterday"),
        ("list", "--since", "2026-03-14", "--until", "2026-03-13"),
        ("who-saw", "MRN-0001"),
        ("export", "--output", "no/such/folder/file"),
    ):
        ended = practice.run("audit", *wrong)
        assert (ended.status, ended.out, ended.err.count("\n")) == (Status.USAGE, "", 1), wrong
    assert practice.run("audit", "what-did", "nobody@demo.example").status == Status.REFUSED
