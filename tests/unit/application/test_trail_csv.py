"""The trail as a table: one row for each event, and no cell that a spreadsheet would carry out."""

import csv
import io
from dataclasses import replace

import pytest

from clarity.application.trail_csv import COLUMNS, CsvTrail, fields_of
from clarity.domain.audit import AuditEvent
from clarity.domain.patients import PatientField
from clarity.domain.records import Resource
from clarity.domain.trail import TrailEntry, TrailLine, TrailPlace
from tests.unit.audit.events import an_event


def row_of(event: AuditEvent, name: str = "Grace Hopper") -> dict[str, str]:
    """Return the row of an event as a spreadsheet reads it."""
    entry = TrailEntry(place=TrailPlace(event.at, event.id), event=event, verified=True)
    table = CsvTrail().head() + CsvTrail().written([TrailLine(entry=entry, name=name, email="grace@example.org")])
    (row,) = csv.DictReader(io.StringIO(table.decode(), newline=""))
    return row


def test_a_row_says_who_did_what_to_whose_record() -> None:
    event = replace(an_event(), fields=int(PatientField.NAMES | PatientField.NOTES))
    row = row_of(event)
    assert tuple(row) == COLUMNS
    assert row["at"] == "2024-02-29T12:30:15.123456Z"
    assert (row["actor_name"], row["actor_email"], row["role"]) == ("Grace Hopper", "grace@example.org", "clinician")
    assert (row["action"], row["resource"], row["patient"]) == ("view", "patient", str(event.patient))
    assert (row["outcome"], row["reason"], row["purpose"]) == ("succeeded", "none", "treatment")
    assert (row["records"], row["records_count"], row["fields"]) == (str(event.patient), "1", "names notes")
    assert fields_of(replace(event, resource=Resource.CONSENT)) == ()


@pytest.mark.parametrize("name", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "\uff1d1"])
def test_a_name_is_never_a_formula(name: str) -> None:
    assert row_of(an_event(), name)["actor_name"] == f"'{name}"


@pytest.mark.parametrize("name", ['O"Hara, Jane', "two\nlines", "Zoë ✓"])
def test_any_other_name_comes_back_as_it_is(name: str) -> None:
    assert row_of(an_event(), name)["actor_name"] == name
