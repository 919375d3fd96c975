"""Finding and reading records at the command line, as whoever logs in."""

import json
import re

import pytest

from clarity.application.pages import COUNTED_EXACTLY, Page
from clarity.application.patients import PatientService
from clarity.cli.endings import Status
from clarity.domain.access import Action, Role
from clarity.domain.audit import Outcome
from clarity.domain.names import fold
from clarity.domain.patients import Patient
from tests.builders import a_patient
from tests.shells import PATIENTS, Terminal, is_one_line


def test_each_role_finds_whom_it_may_see(practice: Terminal) -> None:
    found = {
        role: json.loads(practice.as_(role, "patient", "find", "--json", "--limit", "200").out)
        for role in ("front-desk", "clinician", "patient", "administrator", "researcher")
    }
    counts = {role: len(page["items"]) for role, page in found.items()}
    # One of the first 24 is restricted, which the front desk does not see.
    assert counts["front-desk"] == PATIENTS - 1
    assert 0 < counts["clinician"] < PATIENTS
    assert counts["patient"] == 1
    assert counts["administrator"] == counts["researcher"] == 0
    assert all(page["total"] == {"count": counts[role], "exact": True} for role, page in found.items())
    assert all("notes" in item for item in found["clinician"]["items"])
    assert not any("notes" in item for item in found["front-desk"]["items"])


def test_the_conditions_add_up(practice: Terminal) -> None:
    everybody = json.loads(practice.as_("front-desk", "patient", "find", "--json", "--limit", "200").out)["items"]
    someone = everybody[0]
    fragment = someone["names"][0]["family"][:3].lower()
    for condition in (
        [fragment],
        ["--mrn", someone["identifiers"][0]["value"]],
        ["--born-from", someone["born"], "--born-to", someone["born"]],
        ["--phone", someone["telecoms"][0]["value"]],
        ["--status", "active", "--sort", "age", "--descending"],
        ["--gender", someone["gender"], "--sort", "changed"],
    ):
        items = json.loads(practice.as_("front-desk", "patient", "find", "--json", *condition).out)["items"]
        assert someone["id"] in {item["id"] for item in items}
        assert len(items) < len(everybody)


def test_pages_are_joined_up_to_the_limit(practice: Terminal) -> None:
    ran = practice.as_("front-desk", "patient", "find", "--limit", "3")
    assert len(re.findall(r"[0-9a-f]{8}-[0-9a-f-]{27}", ran.out)) == 3
    assert f"3 of {PATIENTS - 1} patients" in ran.err


def test_a_number_can_be_kept_off_the_command_line(practice: Terminal) -> None:
    everybody = json.loads(practice.as_("clinician", "patient", "find", "--json").out)["items"]
    numbers = [
        (item["id"], number["value"]) for item in everybody for number in item["identifiers"] if number["kind"] == "ssn"
    ]
    patient, ssn = numbers[0]
    ran = practice.as_("clinician", "patient", "find", "--ssn", "-", "--json", typed=f"{ssn}\n")
    assert [item["id"] for item in json.loads(ran.out)["items"]] == [patient]
    assert practice.events()[-2].action is Action.SEARCH_BY_SSN


def test_a_search_is_audited_between_log_in_and_log_out(practice: Terminal) -> None:
    before = len(practice.events())
    found = json.loads(practice.as_("clinician", "patient", "find", "--json").out)["items"]
    events = practice.events()[before:]
    assert [event.action for event in events] == [Action.LOG_IN, Action.SEARCH, Action.LOG_OUT]
    assert {str(one) for one in events[1].ids} == {item["id"] for item in found}
    assert events[1].role is Role.CLINICIAN
    assert practice.rows("SELECT count(*) FROM sessions WHERE revoked_at IS NULL") == [(0,)]


def test_a_page_shows_what_the_reader_may_see(practice: Terminal) -> None:
    (own,) = json.loads(practice.as_("patient", "patient", "find", "--json").out)["items"]
    clinician = practice.as_("clinician", "patient", "show", own["id"], "--history")
    assert clinician.status == Status.OK
    for part in (
        own["names"][0]["family"],
        own["identifiers"][0]["value"],
        "Notes",
        "Dr. ",
        "registered",
        "operator",
    ):
        assert part in clinician.out
    patient = practice.as_("patient", "patient", "show", own["id"])
    assert own["names"][0]["family"] in patient.out
    assert "Notes" not in patient.out
    as_json = json.loads(practice.as_("clinician", "patient", "show", own["id"], "--json").out)
    assert as_json["id"] == own["id"]
    assert as_json["notes"]


def test_what_one_may_not_see_looks_like_what_does_not_exist(practice: Terminal) -> None:
    (own,) = json.loads(practice.as_("patient", "patient", "find", "--json").out)["items"]
    hidden = practice.as_("administrator", "patient", "show", own["id"])
    absent = practice.as_("administrator", "patient", "show", "0199a0c2-0000-7000-8000-000000000000")
    assert hidden == absent
    assert hidden.status == Status.REFUSED
    assert is_one_line(hidden.err)
    refused = [event for event in practice.events() if event.outcome is Outcome.REFUSED]
    assert len(refused) == 2


def test_without_a_name_or_with_a_wrong_one_nothing_is_shown(practice: Terminal) -> None:
    nobody = practice.run("patient", "find")
    wrong = practice.run("patient", "find", "--as", "clinician@demo.example", typed="not this one at all\n")
    unknown = practice.run("patient", "find", "--as", "nobody@demo.example", typed="not this one at all\n")
    forged = practice.run("patient", "find", "--token", "forged")
    for ran in (nobody, wrong, unknown, forged):
        assert ran.status == Status.NOT_ALLOWED
        assert not ran.out
        assert is_one_line(ran.err)
    assert wrong == unknown
    assert "--as EMAIL" in nobody.err


def test_nobody_matching_is_no_error(practice: Terminal) -> None:
    ran = practice.as_("clinician", "patient", "find", "xyzzy")
    assert ran.status == Status.OK
    assert not ran.out
    assert "Nobody" in ran.err


def test_a_name_that_was_heard_finds_who_was_meant(practice: Terminal) -> None:
    everybody = json.loads(practice.as_("front-desk", "patient", "find", "--json", "--limit", "200").out)["items"]
    meant = next(item for item in everybody if len(fold(item["names"][0]["family"])) > 5)
    family = fold(meant["names"][0]["family"])
    heard = f"{family[:2]}{family[3:]}"
    ran = practice.as_("front-desk", "patient", "similar", heard, "--born", meant["born"], "--json")
    first = json.loads(ran.out)["items"][0]
    assert first["patient"]["id"] == meant["id"]
    assert 0.6 < first["score"] < 1
    ran = practice.as_("front-desk", "patient", "similar", heard, "--limit", "1")
    assert ran.status == Status.OK
    assert re.search(r"\b\d\d %|\b\d\d%", ran.out)
    assert ran.err.splitlines()[-1].startswith("1 ")


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (("?!",), "name"),
        (("a", "--born", "spring"), "'--born': must be a date such as 1985, 1985-04 or 1985-04-12"),
        (("a", "--limit", "51"), "'--limit': Input should be less than or equal to 50"),
        ((), "Missing argument 'name'"),
    ],
)
def test_what_is_no_name_that_was_heard_is_named(practice: Terminal, given: tuple[str, ...], told: str) -> None:
    ran = practice.as_("front-desk", "patient", "similar", *given)
    assert ran.status == Status.USAGE
    assert told in ran.err
    assert not ran.out


def test_more_than_were_counted_is_said(monkeypatch: pytest.MonkeyPatch, practice: Terminal) -> None:
    async def counted(*args: object, **more: object) -> Page[Patient]:
        del args, more
        return Page(items=(a_patient(),), next_cursor="x", count=COUNTED_EXACTLY, exact=False)

    monkeypatch.setattr(PatientService, "search", counted)
    ran = practice.as_("front-desk", "patient", "find", "--limit", "1")
    assert ran.err.splitlines()[-1] == "1 of more than 1,000 patients; --limit shows more."


def test_bounds_that_exclude_each_other_are_named(practice: Terminal) -> None:
    ran = practice.as_("clinician", "patient", "find", "--min-age", "70", "--max-age", "7")
    assert ran.status == Status.USAGE
    assert "max_age" in ran.err


@pytest.mark.parametrize(
    ("option", "rule"),
    [
        (("--born-from", "1990"), "'--born-from': must be a day such as 1985-04-12"),
        (("--status", "gone"), "'--status': 'gone' is not one of"),
    ],
)
def test_what_a_value_must_be_is_said_in_plain_words(practice: Terminal, option: tuple[str, str], rule: str) -> None:
    ran = practice.as_("front-desk", "patient", "find", *option)
    assert ran.status == Status.USAGE
    assert f"Invalid value for {rule}" in ran.err


def test_only_notes_are_offered_as_psychotherapy_notes(terminal: Terminal) -> None:
    assert "psych" not in terminal.run("patient", "label", "--help").out
    refused = terminal.run(
        "patient", "label", "0199a0c2-0000-7000-8000-000000000000", "psychotherapy", "--as", "a@b.example"
    )
    assert refused.status == Status.USAGE
    assert "is not one of" in refused.err
