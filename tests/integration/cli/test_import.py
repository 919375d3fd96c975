"""Importing: what is printed, and what is not."""

import json
import re

import pytest

from clarity.cli.endings import Status
from tests.bundles import a_bundle, a_document, a_fhir_patient, an_order
from tests.shells import Terminal


def test_counts_are_printed_and_again_everything_was_here(
    empty_practice: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DB_TRANSACTION_TIMEOUT_MS", "1")  # which is for requests, and not for bundles of any size
    folder = empty_practice.folder / "in"
    folder.mkdir()
    (folder / "ada_lovelace.json").write_text(json.dumps(a_bundle(a_fhir_patient("p1"))))
    first = empty_practice.run("import", "in/ada_lovelace.json")
    assert first.status == Status.OK
    assert re.search(r"Patients +1 +0 +0 +0", first.out)
    again = empty_practice.run("import", "in")
    assert again.status == Status.OK
    assert re.search(r"Patients +0 +0 +1 +0", again.out)
    assert "nothing has changed" in again.err


def test_a_bad_input_is_named_without_its_path_or_content(empty_practice: Terminal) -> None:
    folder = empty_practice.folder / "in"
    folder.mkdir()
    (folder / "good.json").write_text(json.dumps(a_bundle(a_fhir_patient(family="Hopper"))))
    (folder / "lovelace.json").write_text(json.dumps(a_bundle(a_fhir_patient(birthDate=None))))
    (folder / "cut.json").write_text('{"resourceType": "Bundle", "entry": [{"resource": {"family": "Lovel')
    ran = empty_practice.run("import", "in", "nowhere.json", "--show-paths")
    assert ran.status == Status.REFUSED
    bad = re.findall(r"^input (\d) \((?:[0-9a-f]{12}|unreadable)\)(?:, entry \d+)?: (.+)$", ran.out, re.MULTILINE)
    assert [position for position, _ in bad] == ["1", "3", "4"]
    assert "birthDate" in bad[1][1]
    assert re.search(r"Patients +1 +0 +0 +1", ran.out)
    assert "3 of 4 bundles and lines; the others are imported" in ran.err
    for secret in ("ovelace", "Lovel", "Ada", "nowhere", "cut.json"):
        assert secret not in ran.out + ran.err
    assert not re.search(r"\b1985\b", ran.out + ran.err)  # the digests of inputs have any digits
    assert "no terminal" in ran.err


def test_where_everything_is_refused_nothing_is_said_to_be_imported(empty_practice: Terminal) -> None:
    ran = empty_practice.run("import", "nowhere.json")
    assert ran.status == Status.REFUSED
    assert "1 of 1 bundles and lines; nothing is imported" in ran.err


def test_what_has_no_place_is_counted_by_name_and_what_is_left_out_by_reason(empty_practice: Terminal) -> None:
    claim = {"resourceType": "Claim", "id": "c1"}
    charted = an_order("Patient/p1"), an_order("Patient/p1", status="draft"), a_document("Patient/p1")
    bundle = a_bundle(a_fhir_patient("p1"), claim, {**claim, "id": "c2"}, *charted)
    (empty_practice.folder / "one.json").write_text(json.dumps(bundle))
    ran = empty_practice.run("import", "one.json", "--source", "elsewhere")
    assert ran.status == Status.OK
    assert "Claim 2" in ran.out
    assert "MedicationRequest (a draft) 1" in ran.out
    for kind in ("Prescriptions", "Notes"):
        assert re.search(rf"{kind} +1 +0 +0 +0", ran.out)


def test_a_folder_without_files_is_not_a_success(empty_practice: Terminal) -> None:
    (empty_practice.folder / "in").mkdir()
    ran = empty_practice.run("import", "in")
    assert ran.status == Status.REFUSED
    assert "nothing to import" in ran.err
