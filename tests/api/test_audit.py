"""The trail over HTTP: what may be asked, what is answered, and how an export that broke off is told from a whole."""

import asyncio
import csv
import io
import json
from datetime import timedelta
from typing import Any

import pytest
from httpx import AsyncClient

from clarity.domain.access import Action, Role
from clarity.domain.audit import Attempt, Outcome
from clarity.domain.records import Resource
from tests.api.clinic import Chart, Clinic, code, fields
from tests.builders import NOW, a_patient, an_actor, new_id


async def officer_of(clinic: Clinic) -> AsyncClient:
    """Return a compliance officer, who looks a day later."""
    officer = await clinic.logged_in(Role.COMPLIANCE_OFFICER)
    clinic.practice.clock.at = NOW + timedelta(days=1)
    return officer


async def test_an_officer_sees_who_saw_a_patient_and_what_an_account_did(clinic: Clinic) -> None:
    clinician, practitioner = await clinic.clinician()
    patient = await clinic.practice.stored(a_patient(care_team=frozenset({practitioner.id})))
    assert (await clinician.get(f"/patients/{patient.id}")).status_code == 200
    assert (await clinician.get("/patients")).json()["total"]["count"] == 1
    officer = await officer_of(clinic)
    saw = (await officer.get("/audit", params={"patient": str(patient.id)})).json()
    assert saw["total"] == {"count": 3, "exact": True}
    listed, viewed, registered = sorted((one["event"] for one in saw["items"]), key=lambda one: str(one["action"]))
    assert (listed["action"], viewed["action"], registered["action"]) == ("list", "register", "view")
    view = next(one for one in saw["items"] if one["event"]["action"] == "view")
    assert view["verified"] is True
    assert view["event"]["actor"]["name"] == "Grace Hopper"
    assert {"names", "notes"} <= set(view["event"]["fields"])
    account = view["event"]["actor"]["id"]
    query = {"actor": account, "action": ["view", "list"], "resource": "patient", "outcome": "succeeded"}
    did = (await officer.get("/audit", params=query)).json()
    assert [one["event"]["action"] for one in did["items"]] == ["list", "view"] or did["total"]["count"] == 2
    request = view["event"]["request"]
    of_request = (await officer.get("/audit", params={"request": request})).json()
    assert view["id"] in {one["id"] for one in of_request["items"]}
    # No content of the record is in what an officer reads.
    assert "Lovelace" not in json.dumps([saw, did, of_request])


async def test_the_trail_is_paged(memory_clinic: Clinic) -> None:
    async with memory_clinic.practice.reading() as work:
        for number in range(5):
            at = NOW + timedelta(seconds=number)
            work.note(Attempt(actor=an_actor(), action=Action.SEARCH, at=at, ids=(new_id(),)))
    officer = await officer_of(memory_clinic)
    for oldest_first in (False, True):
        query: dict[str, Any] = {"action": "search", "limit": 2, "oldest_first": oldest_first}
        found, cursor = [], ""
        while True:
            page = (await officer.get("/audit", params={**query, "cursor": cursor})).json()
            found += [one["at"] for one in page["items"]]
            if not (cursor := page["next_cursor"]):
                break
        assert len(found) == 5
        assert found == sorted(found, reverse=not oldest_first)


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"action": "peek"}, "action.0"),
        ({"outcome": "1"}, "outcome.0"),
        ({"patient": "Lovelace"}, "patient"),
        ({"since": "yesterday"}, "since"),
        ({"since": "2026-03-14T09:26:53"}, "since"),
        ({"since": "0001-01-01T00:00:00+14:00"}, "since"),
        ({"since": "2026-03-14T09:26:53Z", "until": "2026-03-14T09:26:53Z"}, "until"),
        ({"cursor": "bm8"}, "cursor"),
        ({"limit": 101}, "limit"),
        ({"name": "Lovelace"}, "query"),
    ],
)
async def test_what_cannot_be_asked_is_said_and_not_repeated(
    memory_clinic: Clinic, query: dict[str, Any], field: str
) -> None:
    officer = await officer_of(memory_clinic)
    for path in ("/audit", "/audit/export"):
        if path == "/audit/export" and field in {"cursor", "limit"}:
            continue
        answer = await officer.get(path, params=query)
        assert (answer.status_code, fields(answer)) == (422, [field])
        assert "Lovelace" not in answer.text


async def test_an_export_is_a_file_of_its_format(memory_clinic: Clinic, memory_chart: Chart) -> None:
    await memory_chart.view()
    officer = await officer_of(memory_clinic)
    query = {"patient": str(memory_chart.patient.id), "since": "2026-01-01T00:00:00Z"}
    answer = await officer.get("/audit/export", params=query)
    assert answer.headers["content-type"].startswith("text/csv")
    assert answer.headers["content-disposition"] == 'attachment; filename="audit.csv"'
    assert answer.headers["cache-control"] == "no-store"
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert [row["action"] for row in rows] == ["register", "view"]
    answer = await officer.get("/audit/export", params={**query, "format": "fhir"})
    assert answer.headers["content-type"] == "application/fhir+ndjson"
    assert [json.loads(line)["action"] for line in answer.text.splitlines()][:2] == ["C", "R"]
    assert (await officer.get("/audit/export", params={"format": "xml"})).status_code == 422


async def test_a_refused_export_is_a_problem_and_no_file(memory_clinic: Clinic) -> None:
    nurse = await memory_clinic.front_desk()
    refused = await nurse.get("/audit/export")
    assert (refused.status_code, code(refused)) == (403, "forbidden")
    last = (await memory_clinic.practice.events())[-1]
    assert (last.action, last.resource, last.outcome) == (Action.EXPORT, Resource.AUDIT_EVENT, Outcome.REFUSED)


async def test_an_export_whose_trail_fails_is_never_ended_as_if_it_were_whole(
    memory_clinic: Clinic, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("clarity.application.trail.CHUNK", 1)
    officer = await officer_of(memory_clinic)
    sent: list[Any] = []

    async def receive() -> Any:
        await asyncio.Event().wait()  # the client says nothing more

    async def send(message: Any) -> None:
        sent.append(message)
        if message.get("body"):
            memory_clinic.practice.refuse_events()

    headers = [(name.lower().encode(), value.encode()) for name, value in officer.headers.items()]
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": "/api/v1/audit/export",
        "raw_path": b"/api/v1/audit/export",
        "query_string": b"",
        "headers": headers,
        "client": ("192.0.2.7", 40_000),
        "server": ("clinic.test", 80),
        "root_path": "",
    }
    await memory_clinic.app(scope, receive, send)
    assert sent[0]["status"] == 200
    bodies = [message for message in sent if message["type"] == "http.response.body"]
    assert [bool(message.get("body")) for message in bodies] == [True]
    # The server sends the last chunk only when it is told that nothing more comes; so it cuts the connection.
    assert all(message["more_body"] for message in bodies)
