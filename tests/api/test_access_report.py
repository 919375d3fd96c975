"""The report of unusual access over HTTP."""

from datetime import timedelta

import pytest

from clarity.domain.access import Action, Role
from clarity.domain.audit import Outcome
from clarity.domain.records import Resource
from tests.api.clinic import Chart, Clinic, code, fields
from tests.builders import a_patient


async def test_an_officer_reads_what_was_unusual_today(clinic: Clinic, chart: Chart) -> None:
    hopper = await clinic.practice.stored(a_patient(notes="zqcanary"))
    desk = await clinic.front_desk()
    assert (await desk.get(f"/patients/{hopper.id}")).status_code == 200
    assert (await chart.view()).status_code == 200
    officer = await clinic.logged_in(Role.COMPLIANCE_OFFICER)
    clinic.practice.clock.at += timedelta(seconds=1)
    answer = await officer.get("/audit/report", params={"day": "2026-03-14"})  # a Saturday
    report = answer.json()
    assert answer.headers["Cache-Control"] == "no-store"
    assert (report["day"], report["since"], report["over"]) == ("2026-03-14", "2026-03-14T00:00:00Z", False)
    assert report["counts"]["hours"] == 2
    assert {(one["kind"], one["role"], one["count"]) for one in report["findings"]} == {
        ("hours", "front-desk", 1),
        ("hours", "clinician", 1),
    }
    assert [str(hopper.id)] in [one["patients"] for one in report["findings"]]
    assert not any(word in answer.text for word in ("zqcanary", "Lovelace"))
    assert (await officer.get("/audit/report")).json() == {
        "day": "2026-03-13",
        "since": "2026-03-13T00:00:00Z",
        "until": "2026-03-14T00:00:00Z",
        "over": True,
        "counts": {"volume": 0, "hours": 0, "no-tie": 0, "same-family-name": 0, "break-glass-unreviewed": 0},
        "findings": [],
    }


async def test_nobody_else_reads_it_and_that_they_tried_is_in_the_trail(memory_clinic: Clinic) -> None:
    for role in (Role.FRONT_DESK, Role.ADMINISTRATOR, Role.RESEARCHER):
        refused = await (await memory_clinic.logged_in(role)).get("/audit/report")
        assert (refused.status_code, code(refused)) == (403, "forbidden")
        events = await memory_clinic.practice.events()
        [event] = [one for one in events if one.resource is Resource.AUDIT_EVENT and one.role is role]
        assert (event.action, event.outcome) == (Action.REPORT, Outcome.REFUSED)


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"day": "zqcanary"}, "day"),
        ({"day": "2026-02-30"}, "day"),
        ({"day": "20260313"}, "day"),
        ({"day": "2026-03-15"}, "day"),
        ({"day": "0001-01-01"}, "day"),
        ({"days": "2026-03-13"}, "query"),
    ],
)
async def test_a_day_that_is_none_is_named(memory_clinic: Clinic, query: dict[str, str], field: str) -> None:
    officer = await memory_clinic.logged_in(Role.COMPLIANCE_OFFICER)
    refused = await officer.get("/audit/report", params=query)
    assert (refused.status_code, fields(refused)) == (422, [field])
    assert "zqcanary" not in refused.text
