"""The search of a chart at the command line, as whoever logs in."""

import json

from clarity.cli.endings import Status
from tests.shells import Terminal


def test_the_words_of_a_note_are_looked_for_and_where_they_stand_is_shown(practice: Terminal) -> None:
    items = json.loads(practice.as_("patient", "patient", "find", "--json").out)["items"]
    patient = str(items[0]["id"])
    body = "Hears the neighbours' gramophone at night."
    drafted = practice.as_("clinician", "note", "draft", patient, "--kind", "progress", "--from", "-", typed=body)
    assert drafted.status == Status.OK, drafted.err
    found = practice.as_("clinician", "patient", "search-chart", patient, "gramofone", "night", "--kind", "note")
    assert (found.status, drafted.out.strip() in found.out, "gramophone" in found.out) == (Status.OK, True, True)
    assert "1 found in" in found.err
    asked = practice.as_("clinician", "patient", "search-chart", patient, "-", "--json", typed="gramophone\n")
    (item,) = json.loads(asked.out)["items"]
    assert (item["id"], item["as_spelt"], item["status"]) == (drafted.out.strip(), True, "draft")
    nothing = practice.as_("clinician", "patient", "search-chart", patient, "?")
    assert (nothing.status, "query" in nothing.err) == (Status.USAGE, True)
    kept = practice.as_("front-desk", "patient", "search-chart", patient, "gramophone")
    assert kept.status == Status.REFUSED
