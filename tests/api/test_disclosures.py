"""Disclosures and their accounting, through HTTP."""

import csv
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from httpx import AsyncClient

from clarity.domain.access import Action, Role
from clarity.domain.audit import Attempt
from clarity.domain.ids import EventId, PatientId
from clarity.domain.records import Resource
from tests.api.clinic import Chart, Clinic, code, fields, seen
from tests.api.conftest import charted
from tests.builders import NOW, TODAY, a_name, a_patient, an_actor, new_id

SENT: dict[str, Any] = {
    "made_on": "2026-03-12",
    "recipient": "Multnomah County Health Department",
    "address": "426 SW Stark Street",
    "what": "Diagnosis of a reportable disease",
    "purpose": "Required by state law",
    "means": "fax",
}
STATEMENT: dict[str, Any] = {
    "authority": "law-enforcement",
    "stated_by": "Det. R. Ortiz",
    "stated_on": "2026-03-13",
    "until": "2026-04-10",
    "oral": True,
}


@pytest.fixture
async def chart(clinic: Clinic) -> Chart:
    """Return a patient with a clinician who treats them."""
    return await charted(clinic, a_patient(name=a_name("Łovelace", "Ada")))


@pytest.fixture
async def officer(clinic: Clinic) -> AsyncClient:
    return await clinic.logged_in(Role.COMPLIANCE_OFFICER)


async def exported(clinic: Clinic, patient: PatientId | None = None) -> EventId:
    """Let the trail tell of an export, as another part of the system does."""
    async with clinic.practice.reading() as work:
        actor = an_actor(Role.COMPLIANCE_OFFICER)
        work.note(Attempt(actor=actor, action=Action.EXPORT, at=NOW, resource=Resource.AUDIT_EVENT, patient=patient))
    return (await clinic.practice.events())[-1].id


async def test_a_disclosure_from_its_record_to_its_accounting(
    clinic: Clinic, chart: Chart, officer: AsyncClient
) -> None:
    path = f"{chart.path}/disclosures"
    once = {"Idempotency-Key": "d-1"}
    answer = await chart.clinician.post(path, json=SENT, headers=once)
    assert (answer.status_code, answer.headers["ETag"]) == (201, '"1"')
    recorded = answer.json()
    assert {name: recorded[name] for name in SENT} == SENT
    assert (recorded["status"], recorded["patient"]) == ("accountable", str(chart.patient.id))
    assert (await chart.clinician.post(path, json=SENT, headers=once)).json() == recorded
    other = await chart.clinician.post(path, json=SENT | {"what": "All"}, headers=once)
    assert (other.status_code, code(other)) == (409, "reused-idempotency-key")
    listed = (await chart.clinician.get(path)).json()
    assert (listed["items"], listed["total"]) == ([recorded], {"count": 1, "exact": True})

    one = f"{path}/{recorded['id']}"
    series = {"last_on": "2026-03-14", "frequency": "daily", "number": 3}
    corrected = await officer.put(one, json=SENT | {"series": series}, headers=seen(1))
    assert (corrected.status_code, corrected.headers["ETag"], corrected.json()["series"]) == (200, '"2"', series)
    stale = await officer.put(one, json=SENT, headers=seen(1))
    assert (stale.status_code, code(stale)) == (412, "stale-write")

    herself = await clinic.logged_in(Role.PATIENT, patient=chart.patient.id)
    accounting = await herself.get(f"{chart.path}/accounting")
    assert accounting.json() == {
        "patient": str(chart.patient.id),
        "name": "Ada Łovelace",
        "practice": "Harbor Psychiatry",
        "given_on": str(TODAY),
        "since": "2020-03-14",
        "until": str(TODAY),
        "disclosures": [
            {name: SENT.get(name, "") for name in (*SENT, "request") if name != "means"} | {"series": series}
        ],
    }
    assert accounting.headers["Cache-Control"] == "no-store"

    suspended = await officer.put(f"{one}/suspension", json=STATEMENT, headers=seen(2))
    assert suspended.json()["suspension"]["stated_by"] == "Det. R. Ortiz"
    silent = await herself.get(f"{chart.path}/accounting")
    assert silent.json()["disclosures"] == []
    assert "Ortiz" not in silent.text
    marked = await officer.post(f"{one}/mistaken", json={"why": "Never sent."}, headers=seen(3))
    assert (marked.json()["status"], marked.json()["version"]) == ("mistaken", 4)
    again = await officer.post(f"{one}/mistaken", json={"why": "Never sent."}, headers=seen(4))
    assert (again.status_code, code(again)) == (409, "conflict")


async def test_an_accounting_comes_in_the_format_that_is_asked_for(memory_clinic: Clinic) -> None:
    chart = await charted(memory_clinic, a_patient(name=a_name("Łovelace", "Ada")))
    await chart.clinician.post(f"{chart.path}/disclosures", json=SENT)
    herself = await memory_clinic.logged_in(Role.PATIENT, patient=chart.patient.id)
    for query, accept in (("?format=pdf", "*/*"), ("", "application/pdf;q=0.9, */*")):
        paper = await herself.get(f"{chart.path}/accounting{query}", headers={"Accept": accept})
        assert (paper.status_code, paper.headers["content-type"]) == (200, "application/pdf")
        assert paper.headers["content-disposition"] == 'attachment; filename="accounting-of-disclosures.pdf"'
        assert paper.headers["Cache-Control"] == "no-store"
        assert paper.content.startswith(b"%PDF-")
    table = await herself.get(f"{chart.path}/accounting?format=csv", headers={"Accept": "application/pdf"})
    assert table.headers["content-type"] == "text/csv; charset=utf-8"
    _, line = csv.reader(StringIO(table.text, newline=""))
    assert SENT["recipient"] in line
    for anything in ("*/*", "text/html", ""):
        plain = await herself.get(f"{chart.path}/accounting", headers={"Accept": anything})
        assert plain.headers["content-type"] == "application/json"
    wrong = await herself.get(f"{chart.path}/accounting?format=docx")
    assert (wrong.status_code, fields(wrong)) == (422, ["format"])


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"from": "2020-03-13"}, "from"),
        ({"from": "yesterday"}, "from"),
        ({"until": str(TODAY + timedelta(days=1))}, "until"),
        ({"from": "2026-03-14", "until": "2026-03-13"}, "until"),
        ({"since": "2026-03-13"}, "query"),
    ],
)
async def test_a_period_that_is_none_is_refused_by_its_field(
    memory_clinic: Clinic, query: dict[str, str], field: str
) -> None:
    chart = await charted(memory_clinic, a_patient())
    herself = await memory_clinic.logged_in(Role.PATIENT, patient=chart.patient.id)
    answer = await herself.get(f"{chart.path}/accounting", params=query)
    assert (answer.status_code, fields(answer)) == (422, [field])


async def test_a_disclosure_that_is_none_is_refused_by_its_field(memory_clinic: Clinic) -> None:
    chart = await charted(memory_clinic, a_patient())
    for change, field in (
        ({"made_on": "2026-03"}, "made_on"),
        ({"made_on": "2026-03-15"}, "made_on"),
        ({"made_on": "1826-03-15"}, "made_on"),
        ({"recipient": " "}, "recipient"),
        ({"what": ""}, "what"),
        ({"purpose": ""}, "purpose"),
        ({"means": "pigeon"}, "means"),
        ({"means": "this-system"}, "events"),
        ({"events": [str(new_id())]}, "events"),
        ({"means": "this-system", "events": [str(new_id())]}, "events"),
        ({"exemption": "because"}, "exemption"),
        ({"exemption": "within-practice"}, "exemption"),
        ({"series": {"last_on": "2026-03-14"}}, "series.frequency"),
        ({"series": {"last_on": "2026-03-12", "number": 2}}, "series.last_on"),
        ({"series": {"last_on": "2026-03-15", "number": 2}}, "series.last_on"),
        ({"series": {"last_on": "2026-03-14", "number": 1}}, "series.number"),
        ({"mistake": "x"}, "body"),
    ):
        answer = await chart.clinician.post(f"{chart.path}/disclosures", json=SENT | change)
        assert (answer.status_code, fields(answer)) == (422, [field]), change
    officer = await memory_clinic.logged_in(Role.COMPLIANCE_OFFICER)
    one = (await chart.clinician.post(f"{chart.path}/disclosures", json=SENT)).json()["id"]
    statements: tuple[tuple[dict[str, Any], str], ...] = (
        ({"until": "2026-04-13"}, "until"),
        ({"until": "2026-03-12"}, "until"),
        ({"stated_by": ""}, "stated_by"),
        ({"stated_on": "2026-03-15"}, "stated_on"),
        ({"oral": False}, "document"),
    )
    for stated, field in statements:
        path = f"{chart.path}/disclosures/{one}/suspension"
        answer = await officer.put(path, json=STATEMENT | stated, headers=seen(1))
        assert (answer.status_code, fields(answer)) == (422, [field]), stated


async def test_an_officer_compares_disclosures_with_the_trail(
    clinic: Clinic, chart: Chart, officer: AsyncClient
) -> None:
    of_ada, of_all = await exported(clinic, chart.patient.id), await exported(clinic)
    found = (await officer.get("/disclosures/unaccounted-exports")).json()
    assert [(one["event"], one["patient"], one["resource"]) for one in found["items"]] == [
        (str(of_ada), str(chart.patient.id), "audit event"),
        (str(of_all), None, "audit event"),
    ]
    made = SENT | {"means": "this-system", "events": [str(of_ada)]}
    recorded = await officer.post(f"{chart.path}/disclosures", json=made)
    assert recorded.json()["events"] == [str(of_ada)]
    reason = f"/disclosures/exports/{of_all}/reason"
    explained = await officer.put(reason, json={"reason": "treatment-payment-operations"})
    assert explained.json()["citation"] == "45 CFR 164.528(a)(1)(i)"
    done = (await officer.get("/disclosures/unaccounted-exports")).json()
    assert done == {"items": [], "next_cursor": None}
    assert (await officer.get("/disclosures/unfounded")).json() == {"items": [], "next_cursor": None}
    missing = await officer.put(f"/disclosures/exports/{new_id()}/reason", json={"reason": "custody"})
    assert (missing.status_code, code(missing)) == (404, "not-found")
