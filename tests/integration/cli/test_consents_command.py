"""Consents, labels and research at the command line, as whoever logs in."""

import json
import re

from clarity.cli.endings import Status
from clarity.domain.access import PART2_NOTICE
from tests.shells import PATIENTS, Terminal, is_one_line

WORDS = (
    *("--from", "Harbor Recovery Program", "--to", "My treating providers", "--what", "My treatment since 2024"),
    *("--signed-by", "the patient", "--signed-on", "2024-02-29", "--document", "Form P2-1, scanned"),
)


def somebody(practice: Terminal) -> str:
    """Return the id of a patient of the clinician."""
    items = json.loads(practice.as_("clinician", "patient", "find", "--json").out)["items"]
    return str(next(item["id"] for item in items if "label" not in item or item["label"] == "normal"))


def test_a_record_under_part_2_is_shown_under_consent_with_its_notice(practice: Terminal) -> None:
    patient = somebody(practice)
    refused = practice.as_("clinician", "patient", "label", patient, "part2")
    assert refused.status == Status.REFUSED
    assert "record a consent" in refused.err

    given = ("--label", "part2", "--purpose", "treatment", "--ends-with", "end of treatment")
    added = practice.as_("clinician", "consent", "add", patient, *given, *WORDS)
    assert added.status == Status.OK
    consent = added.out.strip()
    assert re.fullmatch(r"[0-9a-f-]{36}", consent)
    assert practice.as_("clinician", "patient", "label", patient, "part2").status == Status.OK

    for command in (("patient", "show", patient), ("patient", "show", patient, "--history"), ("patient", "find")):
        shown = practice.as_("clinician", *command)
        words = " ".join(re.sub(r"[│\s]+", " ", shown.out).split())
        assert shown.status == Status.OK
        assert PART2_NOTICE in words
        assert consent in words
        assert "My treatment since 2024" in words
    record = json.loads(practice.as_("clinician", "patient", "show", patient, "--json").out)
    assert record["notice"]["text"] == PART2_NOTICE
    assert record["notice"]["consent"] == consent
    listed = json.loads(practice.as_("clinician", "consent", "list", patient, "--json").out)
    assert [(one["id"], one["purposes"], one["labels"]) for one in listed["items"]] == [
        (consent, ["treatment"], ["part2"])
    ]

    withdrawn = practice.as_("clinician", "consent", "withdraw", patient, consent)
    assert withdrawn.status == Status.OK
    for command in (("patient", "show", patient), ("patient", "show", patient, "--history")):
        hidden = practice.as_("clinician", *command)
        assert (hidden.status, hidden.out) == (Status.REFUSED, "")
    table = practice.as_("clinician", "consent", "list", patient).out
    assert "withdrawn" in table
    again = practice.as_("clinician", "consent", "withdraw", patient, consent)
    assert again.status == Status.REFUSED
    assert is_one_line(again.err.partition("Password")[0] or again.err)


def test_a_consent_that_is_none_says_what_it_lacks(practice: Terminal) -> None:
    patient = somebody(practice)
    endless = practice.as_("clinician", "consent", "add", patient, "--label", "part2", "--purpose", "treatment", *WORDS)
    assert endless.status == Status.USAGE
    assert "until" in endless.err
    for wrong in (("--label", "normal", "--purpose", "treatment"), ("--label", "part2", "--purpose", "gossip")):
        ran = practice.as_("clinician", "consent", "add", patient, *wrong, "--ends-with", "none", *WORDS)
        assert ran.status == Status.USAGE
    assert json.loads(practice.as_("clinician", "consent", "list", patient, "--json").out)["items"] == []
    assert "No consents" in practice.as_("clinician", "consent", "list", patient).err
    assert practice.as_("front-desk", "consent", "list", patient).status == Status.REFUSED


def test_whoever_means_to_loses_sight(practice: Terminal) -> None:
    patient = somebody(practice)
    meant = practice.as_("clinician", "patient", "label", patient, "part2", "--lose-sight")
    assert meant.status == Status.OK
    assert practice.as_("clinician", "patient", "show", patient).status == Status.REFUSED


def test_a_researcher_lists_subjects_and_no_names(practice: Terminal) -> None:
    desk = json.loads(practice.as_("front-desk", "patient", "find", "--json", "--limit", "200").out)["items"]
    found = practice.as_("researcher", "research", "list", "--json", "--limit", "200")
    page = json.loads(found.out)
    assert page["total"] == {"count": PATIENTS - 1, "exact": True}
    assert len({one["pseudonym"] for one in page["items"]}) == len(page["items"]) == PATIENTS - 1
    table = practice.as_("researcher", "research", "list", "--limit", "5")
    assert f"5 of {PATIENTS - 1} subjects" in table.err
    for item in desk:
        for text in (item["id"], item["born"], item["names"][0]["family"]):
            # As a word: the digits of a year of birth alone also stand within pseudonyms, which are drawn by lot.
            word = re.compile(rf"\b{re.escape(text)}\b", re.IGNORECASE)
            assert not word.search(found.out)
            assert not word.search(table.out)
    assert practice.as_("clinician", "research", "list").status == Status.NOT_ALLOWED
