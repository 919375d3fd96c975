"""The life of a record over HTTP: discharge, return, death, legal holds, and its end."""

from datetime import date

import pytest
from httpx import AsyncClient

from clarity.domain.access import Role
from clarity.domain.ids import PatientId
from tests.api.clinic import Chart, Clinic, code, fields, seen
from tests.builders import a_patient, new_id


@pytest.fixture
async def officer(clinic: Clinic) -> AsyncClient:
    """Return a compliance officer who has logged in."""
    return await clinic.logged_in(Role.COMPLIANCE_OFFICER)


@pytest.fixture
async def administrator(clinic: Clinic) -> AsyncClient:
    """Return an administrator who has logged in."""
    return await clinic.logged_in(Role.ADMINISTRATOR)


async def test_a_patient_is_discharged_and_taken_back(chart: Chart) -> None:
    gone = await chart.clinician.post(f"{chart.path}/discharge", json={"day": "2026-03-14"}, headers=seen(1))
    assert (gone.status_code, gone.json()["status"], gone.headers["ETag"]) == (200, "discharged", '"2"')
    back = await chart.clinician.post(f"{chart.path}/reactivate", headers=seen(2))
    assert (back.status_code, back.json()["status"], back.json()["discharged"]) == (200, "active", None)
    again = await chart.clinician.post(f"{chart.path}/reactivate", headers=seen(3))
    assert (again.status_code, code(again)) == (409, "conflict")
    stale = await chart.clinician.post(f"{chart.path}/reactivate", headers=seen(2))
    assert (stale.status_code, code(stale)) == (412, "stale-write")
    assert (await chart.clinician.post(f"{chart.path}/reactivate")).status_code == 428


async def test_a_day_to_come_is_named_as_it_was_sent(chart: Chart) -> None:
    refused = await chart.clinician.post(f"{chart.path}/discharge", json={"day": "2026-05-01"}, headers=seen(1))
    assert (refused.status_code, fields(refused)) == (422, ["day"])


@pytest.mark.parametrize(
    "death", [{}, {"day": "2026"}, {"day": "2026-03-01"}, {"instant": "2026-03-01T23:00:00-05:00"}]
)
async def test_a_death_is_recorded_and_corrected(chart: Chart, death: dict[str, str]) -> None:
    died = await chart.clinician.post(f"{chart.path}/death", json=death, headers=seen(1))
    assert (died.status_code, died.json()["status"]) == (200, "deceased")
    assert {name: value for name, value in died.json()["death"].items() if value} == death
    again = await chart.clinician.post(f"{chart.path}/death", json=death, headers=seen(2))
    assert (again.status_code, code(again)) == (409, "conflict")
    alive = await chart.clinician.delete(f"{chart.path}/death", headers=seen(2))
    assert (alive.status_code, alive.json()["status"], alive.json()["death"]) == (200, "active", None)


@pytest.mark.parametrize("name", ["day", "instant"])
async def test_a_death_that_cannot_be_is_named_as_it_was_sent(chart: Chart, name: str) -> None:
    value = {"day": "2027", "instant": "2027-01-01T00:00:00Z"}[name]
    refused = await chart.clinician.post(f"{chart.path}/death", json={name: value}, headers=seen(1))
    assert (refused.status_code, fields(refused)) == (422, [name])


async def test_a_hold_is_placed_listed_and_released(chart: Chart, officer: AsyncClient) -> None:
    placed = await officer.put(f"{chart.path}/legal-hold", json={"basis": "Docket 26-117"})
    assert (placed.status_code, placed.content) == (204, b"")
    assert "ETag" not in placed.headers
    listed = (await officer.get("/legal-holds")).json()
    assert [(one["patient"], one["basis"]) for one in listed["items"]] == [(str(chart.patient.id), "Docket 26-117")]
    assert (listed["total"], listed["next_cursor"]) == ({"count": 1, "exact": True}, None)
    assert (await officer.put(f"{chart.path}/legal-hold", json={"basis": "again"})).status_code == 409
    assert "Docket" not in (await chart.view()).text
    assert (await officer.delete(f"{chart.path}/legal-hold")).status_code == 204
    assert (await officer.delete(f"{chart.path}/legal-hold")).status_code == 409


async def test_whoever_is_in_care_is_not_deleted_but_on_a_basis(
    chart: Chart, clinic: Clinic, officer: AsyncClient, administrator: AsyncClient
) -> None:
    portal = await clinic.logged_in(Role.PATIENT, patient=chart.patient.id)
    assert (await portal.get(chart.path)).status_code == 200
    why = {"reason": "asked to"}
    for caller in (administrator, officer):
        kept = await caller.post(f"{chart.path}/delete", json=why)
        assert (kept.status_code, code(kept)) == (409, "retained")
        assert kept.json()["detail"] == "this record is kept for as long as the patient is in care"
    refused = await administrator.post(f"{chart.path}/delete", json={**why, "basis": "because"})
    assert (refused.status_code, code(refused)) == (403, "forbidden")
    gone = await officer.post(f"{chart.path}/delete", json={**why, "basis": "Court order"})
    assert (gone.status_code, gone.content) == (204, b"")
    tombstone = (await officer.get(f"{chart.path}/tombstone")).json()
    assert (tombstone["reason"], tombstone["basis"], tombstone["merged_into"]) == ("asked to", "Court order", None)
    absent = await chart.clinician.get(f"/patients/{new_id()}")
    for caller in (chart.clinician, portal):
        answer = await caller.get(chart.path)
        assert (answer.status_code, answer.content) == (404, absent.content)
    for caller in (chart.clinician, portal, administrator):
        answer = await caller.get(f"{chart.path}/tombstone")
        assert (answer.status_code, answer.content) == (404, absent.content)


async def test_the_end_of_retention_is_told(clinic: Clinic, administrator: AsyncClient) -> None:
    ada = await clinic.practice.stored(a_patient(discharged=date(2020, 5, 1)))
    kept = await administrator.post(f"/patients/{ada.id}/delete", json={"reason": "time is over"})
    assert kept.json()["detail"] == "this record is kept into 2036"


@pytest.mark.parametrize("body", [{}, {"reason": ""}, {"reason": "x", "removal": {}}, {"reason": None}])
async def test_nothing_goes_without_a_reason(
    clinic: Clinic, administrator: AsyncClient, body: dict[str, object]
) -> None:
    ada = await clinic.practice.stored(a_patient(discharged=date(2020, 5, 1)))
    refused = await administrator.post(f"/patients/{ada.id}/delete", json=body)
    assert refused.status_code == 422


@pytest.mark.parametrize("name", ["legal_hold", "removal"])
async def test_neither_hold_nor_removal_is_assigned_with_a_record(chart: Chart, name: str) -> None:
    value = {"basis": "mine", "reason": "mine", "since": "2026-03-01T00:00:00Z", "by": str(new_id())}
    patch = await chart.clinician.patch(chart.path, json={name: value}, headers=seen(1))
    assert patch.status_code == 422
    registered = await chart.clinician.post("/patients", json={"names": [{"family": "X"}], "born": "1985", name: value})
    assert registered.status_code == 422
    assert (await chart.view()).headers["ETag"] == '"1"'


async def test_whose_record_it_is_not_learns_nothing(clinic: Clinic, chart: Chart) -> None:
    desk = await clinic.front_desk()
    answers = set()
    for patient in (chart.patient.id, PatientId(new_id())):
        path = f"/patients/{patient}"
        for answer in (
            await desk.put(f"{path}/legal-hold", json={"basis": "Docket 26-117"}),
            await desk.delete(f"{path}/legal-hold"),
            await desk.post(f"{path}/delete", json={"reason": "asked to", "basis": "mine"}),
            await desk.post(f"{path}/discharge", json={"day": "2026-03-14"}, headers=seen(1)),
            await desk.get(f"{path}/tombstone"),
        ):
            answers.add((answer.status_code, answer.content))
    assert len(answers) == 1
    assert (await desk.get("/legal-holds")).status_code == 403
