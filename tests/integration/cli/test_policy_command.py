"""`clarity policy`: what it prints is the policy, all of it, and needs neither database nor keys."""

import csv
import json
from pathlib import Path

import pytest

from clarity import serving
from clarity.cli import doctor
from clarity.cli.endings import Status
from clarity.cli.policy import answer
from clarity.config import Settings
from clarity.domain.access import POLICY, RULES, Policy, Relation, Role
from clarity.domain.errors import Misconfigured
from clarity.domain.patients import FIELD_BITS
from clarity.domain.records import Label, Resource
from tests.policy_table import decided_cells
from tests.shells import Terminal

PAGE = Path(__file__).parents[3] / "docs/policy.md"


def shown(terminal: Terminal, *arguments: str) -> str:
    ran = terminal.run("policy", "show", *arguments)
    assert (ran.status, ran.err) == (Status.OK, "")
    assert not terminal.data.exists()
    return ran.out


def explained(terminal: Terminal, words: str) -> str:
    options = ("--role", "--action", "--resource", "--relation", "--label")
    given = [part for option, word in zip(options, words.split(" | "), strict=True) for part in (option, word)]
    ran = terminal.run("policy", "explain", *given)
    assert (ran.status, ran.err) == (Status.OK, "")
    assert ran.out.count("\n") == 1
    return ran.out.partition(": ")[2]


def test_the_page_of_the_documents_is_what_it_prints(terminal: Terminal) -> None:
    assert shown(terminal, "--format", "markdown") == PAGE.read_text()


def test_as_csv_it_has_a_line_for_each_cell(terminal: Terminal) -> None:
    lines = list(csv.DictReader(shown(terminal, "--format", "csv").splitlines()))
    listed = {
        (line["role"], line["resource"], line["action"], line["relation"], line["label"]): (
            line["needs_consent"] == "yes",
            set(line["fields"].split(", ")) - {""},
        )
        for line in lines
    }
    assert len(listed) == len(lines)
    assert listed == {
        (role.title, resource.title, action.title, str(relation), str(label)): (
            cell.needs_consent,
            {name.replace("_", " ") for name, bit in FIELD_BITS.items() if bit in cell.fields},
        )
        for (role, resource, action, relation, label), cell in decided_cells().items()
    }


def test_as_json_it_has_an_object_for_each_rule(terminal: Terminal) -> None:
    rules = json.loads(shown(terminal, "--format", "json"))
    assert len(rules) == len(RULES)
    spread = sum(len(one["actions"]) * len([*one["labels"], *one["labels_under_consent"]]) for one in rules)
    assert spread == len(POLICY.cells)


def test_it_is_narrowed_to_what_is_asked(terminal: Terminal) -> None:
    narrow = ("--role", "nurse", "--resource", "patient", "--action", "change", "--label", "part2")
    (only,) = json.loads(shown(terminal, *narrow, "--format", "json"))
    assert (only["relation"], only["actions"], only["labels"]) == (Relation.CARE_TEAM, ["change"], [])
    assert only["labels_under_consent"] == [Label.PART2]
    table = shown(terminal, *narrow)
    assert "part2 under consent" in " ".join(table.split())
    assert "Clinician" not in table


def test_every_role_has_its_table(terminal: Terminal) -> None:
    table = shown(terminal)
    for role in set(Role) - {Role.NOBODY}:
        assert role.title.replace("-", " ").capitalize() in table


def test_what_no_row_speaks_of_is_said_to_be_refused(terminal: Terminal) -> None:
    ran = terminal.run("policy", "show", "--role", "device", "--resource", "patient")
    assert ran.status == Status.OK
    assert "so it is refused" in ran.err


@pytest.mark.parametrize(
    ("case", "answer"),
    [
        ("nurse | view | patient | care team's | normal", "yes; fields: everything but label, sources, legal hold,"),
        ("nurse | change | patient | care team's | part2", "only under a written consent of the patient"),
        ("nurse | view | patient | break-glass | part2", "yes; fields"),
        ("nurse | change | patient | anybody's | part2", 'no, no row covers that; the relation would have to be "care'),
        ("nurse | delete | patient | care team's | normal", "no, no row of the policy lets that role delete"),
        ("front-desk | view | patient | anybody's | restricted", "no, no row covers that label; those that the role"),
        ("front-desk | view | patient | care team's | normal", 'by the row "anybody\'s"'),
        ("clinician | view | patient | author's | psychotherapy", "yes; fields"),
        ("administrator | list | account | anybody's | normal", 'yes; by the row "anybody\'s".'),
    ],
)  # fmt: skip
def test_a_single_case_is_answered_in_a_sentence(terminal: Terminal, case: str, answer: str) -> None:
    assert answer in explained(terminal, case)


def test_every_case_is_answered_as_the_policy_decides() -> None:
    # What is done to patients by the system alone is answered like the rest.
    of_people = {
        action
        for role, resource, action, *_ in POLICY.cells
        if role is not Role.SYSTEM and resource is Resource.PATIENT
    }
    for role in set(Role) - {Role.NOBODY}:
        for action in of_people:
            for relation in Relation:
                for label in Label:
                    held = [
                        POLICY.cell(role, Resource.PATIENT, action, one, label) for one in (relation, Relation.ANYBODY)
                    ]
                    cells = [cell for cell in held if cell]
                    free = any(not cell.needs_consent for cell in cells)
                    verdict = "yes" if free else "only under" if cells else "no, "
                    told = answer(role, action, Resource.PATIENT, relation, label)
                    assert told.partition(": ")[2].startswith(verdict), told


@pytest.mark.parametrize(
    "arguments",
    [("show", "--role", "nobody"), ("show", "--label", "secret"), ("explain", "--role", "nurse", "--action", "peek")],
)
def test_a_word_that_is_none_of_the_policys_is_named_with_those_that_are(
    terminal: Terminal, arguments: tuple[str, ...]
) -> None:
    ran = terminal.run("policy", *arguments)
    assert ran.status == Status.USAGE
    assert "one of: " in " ".join(ran.err.split())


def test_a_kind_of_record_without_rows_fails_the_start_and_not_the_request(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    forgetful = Policy.of(rule for rule in RULES if rule.resource is not Resource.CONSENT)
    for module in (serving, doctor):
        monkeypatch.setattr(module, "POLICY", forgetful)
    with pytest.raises(Misconfigured, match="no rows for consent"):
        serving.create_app(Settings())
    ran = terminal.run("doctor")
    assert ran.status == Status.REFUSED
    assert "the policy has no rows for consent" in " ".join(ran.out.split())
