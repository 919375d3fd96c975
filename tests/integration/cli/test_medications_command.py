"""Prescriptions and contacts at the command line, as whoever logs in."""

import json

from clarity.cli.endings import Status
from tests.integration.cli.test_disclosures_command import somebody
from tests.shells import Terminal

ORDER = (
    *("--name", "Zolpidem 5 MG Oral Tablet", "--dose", "50 mg", "--route", "oral"),
    *("--times", "1", "--for", "insomnia", "--start", "2026-01-10"),
)


def test_a_prescription_from_its_order_to_its_end_and_what_was_told_of_it(practice: Terminal) -> None:
    patient = somebody(practice)

    def medications(*arguments: str, typed: str = "") -> str:
        ran = practice.as_("clinician", "medication", *arguments, typed=typed)
        assert ran.status == Status.OK, ran.err
        return ran.out

    order = medications("prescribe", patient, *ORDER).strip()
    again = json.loads(medications("prescribe", patient, *ORDER, "--json"))
    assert [one["prescriptions"] for one in again["overlaps"]] == [[again["id"], order]]
    medications("mistaken", patient, again["id"], "--version", "1", "--why", "-", typed="Ordered twice.\n")
    medications("change", patient, order, "--version", "1", "--dose", "100 mg", "--since", "2026-02-01")
    medications("hold", patient, order, "--version", "2", "--reason", "Surgery", "--day", "2026-02-10")
    medications("resume", patient, order, "--version", "3", "--day", "2026-02-12")
    listed = {
        one["id"]: one for one in json.loads(medications("list", patient, "--on", "2026-02-11", "--json"))["items"]
    }
    assert (listed[order]["activity"], listed[order]["dosage"]["dose"]["value"]) == ("on-hold", "100")

    contact = ("interaction", "add", patient, "--channel", "app-event", "--summary", "Evening dose by the lighthouse")
    dose = ("--at", "2026-02-20T20:00", "--prescription", order, "--dose", "taken")
    assert practice.as_("clinician", *contact, *dose).status == Status.OK
    shown = practice.as_("clinician", "interaction", "list", patient, "--channel", "app-event", "--since", "2026-02-20")
    assert "Evening dose by the lighthouse" in shown.out
    kept = json.loads(practice.as_("clinician", "interaction", "list", patient, "--json").out)
    assert [one["dose"] for one in kept["items"] if one.get("prescription") == order] == ["taken"]
    period = ("--since", "2026-02-20", "--until", "2026-02-21")
    assert json.loads(medications("adherence", patient, order, *period, "--json"))["dose_ratio"] == "0.500"

    medications("stop", patient, order, "--version", "4", "--reason", "Remission", "--day", "2026-03-01")
    assert "Remission" in medications("show", patient, order)
    assert order not in medications("list", patient, "--on", "2026-03-01", "--json")
    versions = json.loads(medications("history", patient, order, "--json"))
    assert [one["prescription"]["status"] for one in versions][:2] == ["stopped", "active"]
    assert "mistaken" in medications("list", patient, "--all")


def test_what_a_command_does_not_understand_it_says_how_to_say(practice: Terminal) -> None:
    patient = "0199a0c2-41aa-7d02-8f7c-5e2b9c6d1a08"
    order = ("medication", "prescribe", patient, "--name", "Sertraline", "--route", "oral", "--times", "1")
    for arguments, hint in (
        ((*order, "--dose", "-5 mg"), "more than zero"),
        ((*order, "--dose", "5 stone"), "mg"),
        ((*order, "--dose", "lots"), "12.5"),
        ((*order, "--dose", "5 mg", "--start", "2026-02-30"), "date"),
        ((*order, "--dose", "5 mg", "--until", "soon"), "2026-03-13"),
        (("medication", "change", patient, patient, "--version", "1"), "--dose"),
        (("medication", "list", patient, "--all", "--on", "2026-01-01"), "--all"),
        (("interaction", "list", patient, "--since", "soon"), "2026-03-13"),
    ):
        ran = practice.as_("clinician", *arguments)
        assert (ran.status, hint in ran.err) == (Status.USAGE, True), (arguments, ran.err)
