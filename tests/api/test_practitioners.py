"""Practitioners over HTTP: who they are, and whom they care for."""

import json
from typing import Any

import pytest

from clarity.domain.access import Role
from tests.api.clinic import Clinic, code, fields, seen
from tests.builders import a_patient, a_practitioner, new_id
from tests.bundles import VALID_NPI

ANNA: dict[str, Any] = {
    "name": {"given": ["Anna"], "family": "Okafor"},
    "npi": VALID_NPI,
    "specialty": {"codings": [{"system": "http://nucc.org/provider-taxonomy", "code": "2084P0800X"}]},
}


async def test_a_practitioner_is_registered_changed_deactivated_and_found(clinic: Clinic) -> None:
    administrator = await clinic.logged_in(Role.ADMINISTRATOR)
    desk = await clinic.front_desk()
    registered = await administrator.post("/practitioners", json=ANNA)
    assert (registered.status_code, registered.headers["etag"]) == (201, '"1"')
    path = registered.headers["location"].removeprefix("/api/v1")
    shown = await desk.get(path)
    assert shown.json() == registered.json()
    assert shown.json()["specialty"]["codings"][0]["code"] == "2084P0800X"
    assert shown.json()["active"]
    away = await administrator.put(path, json={**ANNA, "active": False}, headers=seen(1))
    assert (away.status_code, away.headers["etag"], away.json()["active"]) == (200, '"2"', False)
    assert (await desk.get("/practitioners?active=true")).json()["items"] == []
    assert (await desk.get("/practitioners?active=false")).json()["items"] == [away.json()]
    for search in ({"name": "oka an"}, {"specialty": "2084P0800X"}, {"npi": VALID_NPI}, {"active": False}):
        found = await desk.post("/practitioners/search", json=search)
        assert found.json()["items"] == [away.json()], search
    assert (await desk.post("/practitioners/search", json={"name": "freud"})).json()["total"]["count"] == 0
    stale = await administrator.put(path, json=ANNA, headers=seen(1))
    assert (stale.status_code, code(stale)) == (412, "stale-write")
    back = await administrator.put(path, json=ANNA, headers=seen(2))
    assert back.json()["active"]


async def test_an_npi_is_checked_and_unique(clinic: Clinic) -> None:
    administrator = await clinic.logged_in(Role.ADMINISTRATOR)
    assert (await administrator.post("/practitioners", json=ANNA)).status_code == 201
    again = await administrator.post("/practitioners", json=ANNA)
    assert (again.status_code, code(again)) == (409, "duplicate-npi")
    wrong = await administrator.post("/practitioners", json={**ANNA, "npi": "1234567890"})
    assert (wrong.status_code, code(wrong), fields(wrong)) == (422, "invalid", ["npi"])
    assert "1234567890" not in wrong.text


async def test_a_registration_may_be_repeated(clinic: Clinic) -> None:
    administrator = await clinic.logged_in(Role.ADMINISTRATOR)
    once = {"Idempotency-Key": "7f1d7a54"}
    first = await administrator.post("/practitioners", json=ANNA, headers=once)
    again = await administrator.post("/practitioners", json=ANNA, headers=once)
    assert (again.status_code, again.json()) == (201, first.json())
    other = await administrator.post("/practitioners", json={**ANNA, "gender": "female"}, headers=once)
    assert (other.status_code, code(other)) == (409, "reused-idempotency-key")


@pytest.mark.parametrize(
    "more",
    [
        {"id": "019a9d5c-41aa-7d02-8f7c-5e2b9c6d1a08"},
        {"version": 7},
        {"sources": ["import|Practitioner/d1"]},
        {"npi_valid": True},
        {"role": "administrator"},
    ],
)
async def test_what_is_not_the_callers_to_set_is_refused(memory_clinic: Clinic, more: dict[str, Any]) -> None:
    administrator = await memory_clinic.logged_in(Role.ADMINISTRATOR)
    refused = await administrator.post("/practitioners", json={**ANNA, **more})
    assert (refused.status_code, code(refused)) == (422, "invalid")
    known = await memory_clinic.practice.employed(a_practitioner(sources=("import|Practitioner/d1",)))
    refused = await administrator.put(f"/practitioners/{known.id}", json={**ANNA, **more}, headers=seen(1))
    assert (refused.status_code, code(refused)) == (422, "invalid")


async def test_a_change_names_the_version_it_is_meant_for(memory_clinic: Clinic) -> None:
    administrator = await memory_clinic.logged_in(Role.ADMINISTRATOR)
    known = await memory_clinic.practice.employed(a_practitioner())
    unseen = await administrator.put(f"/practitioners/{known.id}", json=ANNA)
    assert (unseen.status_code, code(unseen)) == (428, "precondition-required")


async def test_other_roles_write_nothing_and_outsiders_see_nothing(clinic: Clinic) -> None:
    known = await clinic.practice.employed(a_practitioner())
    patient = await clinic.practice.stored(a_patient(care_team=frozenset({known.id})))
    nurse = await clinic.logged_in(Role.NURSE, practitioner=known.id)
    owner = await clinic.logged_in(Role.PATIENT, patient=patient.id)
    path = f"/practitioners/{known.id}"
    for refused in (
        await nurse.post("/practitioners", json=ANNA),
        await nurse.put(path, json=ANNA, headers=seen(1)),
        await owner.get(path),
        await owner.get(f"{path}/patients"),
        await owner.get(f"{path}/caseload"),
        await owner.post("/practitioners/search", json={"name": "anna"}),
    ):
        assert (refused.status_code, code(refused)) == (403, "forbidden")


async def test_patients_of_a_practitioner_are_those_the_caller_may_see(clinic: Clinic) -> None:
    clinician, anna = await clinic.clinician()
    other, carl = await clinic.clinician()
    both, hers = frozenset({anna.id, carl.id}), frozenset({anna.id})
    shared = await clinic.practice.stored(a_patient(care_team=both))
    own = await clinic.practice.stored(a_patient(care_team=hers))
    await clinic.practice.stored(a_patient(care_team=frozenset({carl.id})))
    path = f"/practitioners/{anna.id}"

    async def listed(caller: Any) -> list[str]:
        page = await caller.get(f"{path}/patients")
        counted = (await caller.get(f"{path}/caseload")).json()
        assert page.json()["total"]["count"] == counted["total"] == counted["counts"]["active"]
        return [item["id"] for item in page.json()["items"]]

    assert await listed(clinician) == [str(shared.id), str(own.id)]
    assert await listed(other) == [str(shared.id)]
    assert await listed(await clinic.front_desk()) == [str(shared.id), str(own.id)]
    assert await listed(await clinic.logged_in(Role.ADMINISTRATOR)) == []
    assert (await clinician.get(f"{path}/patients?status=discharged")).json()["items"] == []


async def test_a_practitioner_who_is_not_there_has_no_patients_and_no_caseload(memory_clinic: Clinic) -> None:
    desk = await memory_clinic.front_desk()
    absent = {(await desk.get(f"/practitioners/{new_id()}{below}")).content for below in ("", "/patients", "/caseload")}
    assert [json.loads(body)["type"] for body in absent] == ["urn:clarity:problem:not-found"]
