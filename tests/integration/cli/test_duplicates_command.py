"""Duplicates at the command line, as whoever logs in."""

import json
from typing import Any

from clarity.cli.endings import Status
from clarity.domain.access import Action
from tests.bundles import a_bundle, a_fhir_patient, an_identifier
from tests.canaries import contents, hits
from tests.shells import Terminal

CANARIES = ("Quetzalcoatlova", "Zerubbabelsson", "555-01-9876")


def two_of_one(practice: Terminal) -> dict[str, Any]:
    """Import one person twice; return the review."""
    ssn = an_identifier(CANARIES[2], "SS")
    for number, family in enumerate(CANARIES[:2]):
        patient = a_fhir_patient(
            f"twin-{number}",
            identifier=[an_identifier(f"T-{number}"), ssn],
            name=[{"family": family, "given": ["Ada"]}],
        )
        (practice.folder / "twin.json").write_text(json.dumps(a_bundle(patient)))
        assert practice.run("import", "twin.json").status == Status.OK
    (practice.folder / "twin.json").unlink()
    listed = json.loads(practice.as_("front-desk", "duplicate", "list", "--json").out)
    (review,) = [one for one in listed["items"] if one["kinds"] == ["ssn"]]
    assert isinstance(review, dict)
    return review


def test_two_records_are_compared_merged_and_put_apart(practice: Terminal) -> None:
    review = two_of_one(practice)
    one, other = review["patients"]
    page = practice.as_("front-desk", "duplicate", "show", review["id"])
    assert page.status == Status.OK
    assert CANARIES[0] in page.out
    assert CANARIES[1] in page.out
    assert "different" in page.out
    assert "similar" in page.out
    merged = practice.as_("front-desk", "duplicate", "merge", review["id"], "--survivor", one, "--note", "Twice.")
    assert merged.status == Status.OK
    assert f"Merged into {one}; it gained names, identifiers." in merged.err
    assert practice.as_("front-desk", "patient", "show", other).status == Status.REFUSED
    listed = practice.as_("front-desk", "duplicate", "list", "--status", "merged")
    assert "1 merged." in listed.err
    back = practice.as_("front-desk", "duplicate", "unmerge", review["id"], "--note", "Two people after all.")
    assert "Open: they share social security number." in back.err
    assert practice.as_("front-desk", "patient", "show", other).status == Status.OK
    apart = practice.as_("front-desk", "duplicate", "distinct", review["id"], "--note", "Twins.")
    assert "Found to be distinct" in apart.err
    assert practice.as_("clinician", "duplicate", "show", review["id"]).status == Status.REFUSED
    actions = [event.action for event in practice.events()]
    assert actions.count(Action.MERGE) == 2
    assert actions.count(Action.UNMERGE) == 2


def test_nothing_of_who_was_merged_is_in_the_files(practice: Terminal) -> None:
    review = two_of_one(practice)
    survivor = review["patients"][0]
    practice.as_("front-desk", "duplicate", "merge", review["id"], "--survivor", survivor, "--note", "Zoroastrian note")
    needles = (*CANARIES, "Zoroastrian note")
    assert not hits(needles, contents(practice.data))
