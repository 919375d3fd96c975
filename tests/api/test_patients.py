"""Patients over HTTP: what goes in comes out, to those who may see it, once."""

import asyncio
import json
from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import pytest

from clarity.api.patients.shapes import EXAMPLE, PatientIn
from clarity.domain.access import Action, Role
from clarity.domain.audit import Outcome
from clarity.domain.people import BirthSex, Gender
from clarity.domain.records import Label
from tests.api.clinic import WHOLE, Chart, Clinic, code, fields, seen
from tests.builders import NOW, a_name, a_patient, a_practitioner, new_id


async def test_a_registered_patient_is_found_where_the_answer_says(clinic: Clinic) -> None:
    desk = await clinic.front_desk()
    registered = await desk.post("/patients", json={"names": [{"family": "Lovelace"}], "born": "1985-12-10"})
    assert registered.status_code == 201
    assert registered.headers["etag"] == '"1"'
    patient = registered.json()
    assert registered.headers["location"] == f"/api/v1/patients/{patient['id']}"
    assert (patient["version"], patient["status"], patient["age"]) == (1, "active", 40)
    viewed = await desk.get(f"/patients/{patient['id']}")
    assert viewed.json() == patient
    assert viewed.headers["etag"] == '"1"'


async def test_everything_that_can_be_recorded_is_shown_as_it_was_recorded(chart: Chart) -> None:
    shown = await chart.clinician.put(
        chart.path, json={**WHOLE, "identifiers": (await chart.view()).json()["identifiers"]}, headers=seen(1)
    )
    assert shown.status_code == 200, shown.text
    assert shown.json()["version"] == 2
    again = (await chart.view()).json()
    for name in WHOLE.keys() - {"identifiers"}:
        assert _without_blanks(again[name]) == _without_blanks(WHOLE[name]), name


def _without_blanks(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_blanks(one) for name, one in value.items() if one not in (None, "", [])}
    return [_without_blanks(one) for one in value] if isinstance(value, list) else value


async def test_a_request_that_comes_again_registers_nobody_else(clinic: Clinic) -> None:
    desk = await clinic.front_desk()
    once = {"Idempotency-Key": "9e3f"}
    first = await desk.post("/patients", json=EXAMPLE, headers=once)
    again = await desk.post(
        "/patients", content=_respelt(EXAMPLE), headers={**once, "Content-Type": "application/json"}
    )
    assert first.status_code == again.status_code == 201
    assert again.content == first.content
    assert again.headers["location"] == first.headers["location"]
    assert (await desk.get("/patients")).json()["total"] == {"count": 1, "exact": True}


def _respelt(body: dict[str, Any]) -> str:
    return json.dumps(dict(reversed(body.items())), indent=3)


async def test_requests_that_come_at_once_with_one_key_register_one_patient(clinic: Clinic) -> None:
    desk = await clinic.front_desk()
    once = {"Idempotency-Key": "9e3f"}
    answers = await asyncio.gather(*(desk.post("/patients", json=EXAMPLE, headers=once) for _ in range(5)))
    assert {(answer.status_code, answer.json()["id"]) for answer in answers} == {(201, answers[0].json()["id"])}
    assert (await desk.get("/patients")).json()["total"] == {"count": 1, "exact": True}


async def test_of_changes_that_come_at_once_one_is_made(chart: Chart) -> None:
    answers = await asyncio.gather(
        *(chart.clinician.patch(chart.path, json={"notes": f"{n}."}, headers=seen(1)) for n in range(5))
    )
    assert sorted(answer.status_code for answer in answers) == [200, 412, 412, 412, 412]
    assert (await chart.view()).headers["etag"] == '"2"'


async def test_a_key_is_good_for_one_request(clinic: Clinic) -> None:
    desk = await clinic.front_desk()
    once = {"Idempotency-Key": "9e3f"}
    await desk.post("/patients", json={"names": [{"family": "Lovelace"}], "born": "1985"}, headers=once)
    other = await desk.post("/patients", json={"names": [{"family": "Byron"}], "born": "1985"}, headers=once)
    assert other.status_code == 409
    assert code(other) == "reused-idempotency-key"
    elsewhere = await (await clinic.front_desk()).post(
        "/patients", json={"names": [{"family": "Byron"}], "born": "1985"}, headers=once
    )
    assert elsewhere.status_code == 201


@pytest.mark.parametrize("key", ["", "x" * 256, "two words", "tab\tbed", "ünlaut"])
async def test_a_key_is_short_and_visible(memory_clinic: Clinic, key: str) -> None:
    desk = await memory_clinic.front_desk()
    refused = await desk.post("/patients", json=EXAMPLE, headers=[(b"Idempotency-Key", key.encode("latin-1"))])
    assert refused.status_code == 422
    assert fields(refused) == ["Idempotency-Key"]


async def test_an_mrn_belongs_to_one_patient(clinic: Clinic) -> None:
    desk = await clinic.front_desk()
    body = {"names": [{"family": "X"}], "born": "1990", "identifiers": [{"kind": "mrn", "value": "MRN-77"}]}
    assert (await desk.post("/patients", json=body)).status_code == 201
    refused = await desk.post("/patients", json=body)
    assert refused.status_code == 409
    assert code(refused) == "duplicate-mrn"
    assert "MRN-77" not in refused.text


async def test_a_patient_may_be_registered_into_a_care_team(clinic: Clinic) -> None:
    desk = await clinic.front_desk()
    clinician, practitioner = await clinic.clinician()
    body = {"names": [{"family": "X"}], "born": "1990", "care_team": [str(practitioner.id)]}
    registered = (await desk.post("/patients", json=body)).json()
    assert registered["care_team"] == [str(practitioner.id)]
    assert (await clinician.get(f"/patients/{registered['id']}")).status_code == 200


async def test_only_whoever_sees_all_demographics_registers(clinic: Clinic) -> None:
    clinician, _ = await clinic.clinician()
    refused = await clinician.post("/patients", json=EXAMPLE)
    assert refused.status_code == 403
    assert code(refused) == "forbidden"


async def test_replacing_empties_what_is_left_out_and_keeps_what_is_not_written_there(
    clinic: Clinic, chart: Chart
) -> None:
    identifiers = (await chart.view()).json()["identifiers"]
    body = {"names": [{"family": "Byron"}], "born": "1985", "identifiers": identifiers}
    replaced = (await chart.clinician.put(chart.path, json=body, headers=seen(1))).json()
    assert (replaced["notes"], replaced["gender"], replaced["born"]) == ("", "unknown", "1985")
    assert replaced["care_team"] == [str(chart.practitioner.id)]
    assert (await clinic.practice.opened(chart.patient.id)).names[0].family == "Byron"


async def test_replacing_leaves_alone_what_the_caller_does_not_see(clinic: Clinic, chart: Chart) -> None:
    desk = await clinic.front_desk()
    shown = (await desk.get(chart.path)).json()
    assert shown["notes"] == ""
    recorded = {name: shown[name] for name in PatientIn.model_fields} | {"gender": "other"}
    assert (await desk.put(chart.path, json=recorded, headers=seen(1))).status_code == 200
    stored = await clinic.practice.opened(chart.patient.id)
    assert stored.notes == chart.patient.notes
    assert stored.gender == "other"


async def test_what_is_not_the_callers_to_set_is_named(clinic: Clinic, chart: Chart) -> None:
    desk = await clinic.front_desk()
    refused = await desk.patch(chart.path, json={"notes": "zqcanary"}, headers=seen(1))
    assert refused.status_code == 422
    assert fields(refused) == ["notes"]
    assert "zqcanary" not in refused.text


async def test_a_patch_changes_what_it_names(clinic: Clinic, chart: Chart) -> None:
    patch = {"gender": "other", "birth_place": {"city": "Oaxaca"}, "notes": None}
    patched = await chart.clinician.patch(
        chart.path, json=patch, headers={**seen(1), "Content-Type": "application/merge-patch+json"}
    )
    assert patched.status_code == 200
    assert patched.headers["etag"] == '"2"'
    merged = await chart.clinician.patch(chart.path, json={"birth_place": {"country": "MX"}}, headers=seen(2))
    assert merged.json()["birth_place"]["city"] == "Oaxaca"
    stored = await clinic.practice.opened(chart.patient.id)
    assert stored.birth_place is not None
    assert (stored.birth_place.city, stored.birth_place.country) == ("Oaxaca", "MX")
    assert (stored.notes, stored.gender) == ("", "other")
    assert (stored.names, stored.identifiers) == (chart.patient.names, chart.patient.identifiers)


@pytest.mark.parametrize(
    ("patch", "field"),
    [
        ({"names": None}, "names"),
        ({"names": []}, "names"),
        ({"born": {"year": 1985}}, "born"),
        ({"contacts": [{"name": {"given": [5]}}]}, "contacts.0.name.given.0"),
        ({"telecoms": [{"system": "email", "value": "zqcanary"}]}, "telecoms.0.value"),
        ({"zqcanary": 1}, "body"),
        ({"changing": 1}, "body"),
        ({"__pydantic_extra__": {"notes": "zqcanary"}}, "body"),
        ({"death": {"zqcanary": None, "zqcanary2": 1}}, "death"),
        ([{"notes": "zqcanary"}], "body"),
        ("zqcanary", "body"),
        ({"id": "019a9d5c-3f1e-7c41-a6d5-0b1f6c2e8d37"}, "body"),
    ],
)
async def test_a_patch_must_leave_a_patient_behind(memory_chart: Chart, patch: Any, field: str) -> None:
    refused = await memory_chart.clinician.patch(memory_chart.path, json=patch, headers=seen(1))
    assert refused.status_code == 422
    assert fields(refused) == [field]
    assert "zqcanary" not in refused.text


async def test_what_changes_nothing_makes_no_version(chart: Chart) -> None:
    shown = (await chart.view()).json()
    recorded = {name: shown[name] for name in PatientIn.model_fields}
    for answer in (
        await chart.clinician.put(chart.path, json=recorded, headers=seen(1)),
        await chart.clinician.patch(chart.path, json={}, headers=seen(1)),
    ):
        assert answer.headers["etag"] == '"1"'


@pytest.mark.parametrize("change", ["put", "patch", "care-team", "discharge"])
async def test_a_change_names_the_version_it_is_meant_for(chart: Chart, change: str) -> None:
    async def changed(headers: dict[str, str]) -> Any:
        if change == "care-team":
            return await chart.clinician.put(f"{chart.path}/care-team", json={"practitioners": []}, headers=headers)
        if change == "discharge":
            return await chart.clinician.post(f"{chart.path}/discharge", json={"day": "2026-03-01"}, headers=headers)
        body = {"names": [{"family": "Byron"}], "born": "1985"} if change == "put" else {"notes": "Better."}
        return await chart.clinician.request(change, chart.path, json=body, headers=headers)

    for none_named in ({}, {"If-Match": "*"}):
        refused = await changed(none_named)
        assert refused.status_code == 428
        assert code(refused) == "precondition-required"
    for other in ('"2"', 'W/"1"', '"01"', '"one"', "1", '""', '"1', '"9999999999"'):
        refused = await changed({"If-Match": other})
        assert refused.status_code == 412, other
        assert code(refused) == "stale-write"
    several = await changed({"If-Match": '"1", "2"'})
    assert several.status_code == 422
    assert fields(several) == ["If-Match"]
    assert (await chart.view()).headers["etag"] == '"1"'


async def test_tags_that_are_not_ours_do_not_hide_the_one_that_is(chart: Chart) -> None:
    patched = await chart.clinician.patch(chart.path, json={"notes": "x"}, headers={"If-Match": 'W/"7", "abc" , "1"'})
    assert patched.status_code == 200


async def test_the_care_team_decides_who_sees_a_patient(clinic: Clinic, chart: Chart) -> None:
    colleague, other = await clinic.clinician()
    assert (await colleague.get(chart.path)).status_code == 404
    team = {"practitioners": [str(other.id)]}
    changed = await chart.clinician.put(f"{chart.path}/care-team", json=team, headers=seen(1))
    assert changed.json() == team
    assert changed.headers["ETag"] == '"2"'
    assert (await colleague.get(chart.path)).status_code == 200
    assert (await chart.view()).status_code == 404


async def test_a_care_team_has_no_strangers(chart: Chart) -> None:
    stranger = str(new_id())
    refused = await chart.clinician.put(f"{chart.path}/care-team", json={"practitioners": [stranger]}, headers=seen(1))
    assert refused.status_code == 422
    assert fields(refused) == ["practitioners"]
    assert stranger not in refused.text


async def test_a_patient_is_discharged_once(chart: Chart) -> None:
    discharged = await chart.clinician.post(f"{chart.path}/discharge", json={"day": "2026-03-01"}, headers=seen(1))
    assert (discharged.json()["status"], discharged.json()["discharged"]) == ("discharged", "2026-03-01")
    refused = await chart.clinician.post(f"{chart.path}/discharge", json={"day": "2026-03-02"}, headers=seen(2))
    assert refused.status_code == 409
    assert refused.json()["detail"] == "the patient was already discharged"


async def test_history_shows_each_version_as_it_was(chart: Chart) -> None:
    for version in (1, 2, 3):
        await chart.clinician.patch(chart.path, json={"notes": f"After {version}."}, headers=seen(version))
    newest = (await chart.clinician.get(f"{chart.path}/history", params={"limit": 3})).json()
    assert [item["version"] for item in newest["items"]] == [4, 3, 2]
    assert [item["patient"]["notes"] for item in newest["items"]] == ["After 3.", "After 2.", "After 1."]
    assert newest["next_before"] == 2
    oldest = (await chart.clinician.get(f"{chart.path}/history", params={"limit": 3, "before": 2})).json()
    assert [item["version"] for item in oldest["items"]] == [1]
    assert oldest["next_before"] is None
    assert oldest["items"][0]["patient"]["notes"] == chart.patient.notes
    whole = (await chart.clinician.get(f"{chart.path}/history", params={"limit": 4})).json()
    assert whole["next_before"] is None


async def test_a_list_is_paged(clinic: Clinic) -> None:
    desk = await clinic.front_desk()
    stored = [await clinic.practice.stored(a_patient(name=a_name(f"Family{number}"))) for number in range(5)]
    found: list[str] = []
    cursor: str | None = ""
    while cursor is not None:
        page = (await desk.get("/patients", params={"limit": 2, "cursor": cursor})).json()
        assert page["total"] == {"count": 5, "exact": True}
        found += [item["id"] for item in page["items"]]
        cursor = page["next_cursor"]
    assert found == [str(patient.id) for patient in stored]


async def test_a_cursor_is_good_for_its_own_list(clinic: Clinic) -> None:
    desk = await clinic.front_desk()
    for _ in range(2):
        await clinic.practice.stored(a_patient())
    cursor = (await desk.get("/patients", params={"limit": 1})).json()["next_cursor"]
    for refused in (
        await (await clinic.front_desk()).get("/patients", params={"cursor": cursor}),
        await desk.get("/patients", params={"cursor": cursor, "status": "active"}),
        await desk.get("/patients", params={"cursor": "ünlaut"}),
        await desk.post("/patients/search", json={"cursor": cursor}),
    ):
        assert refused.status_code == 422
        assert fields(refused) == ["cursor"]


async def test_a_list_keeps_to_its_conditions(clinic: Clinic, chart: Chart) -> None:
    desk = await clinic.front_desk()
    gone = await clinic.practice.stored(a_patient(discharged=date(2025, 1, 1)))

    async def listed(**conditions: str) -> list[str]:
        return [item["id"] for item in (await desk.get("/patients", params=conditions)).json()["items"]]

    assert await listed(status="discharged") == [str(gone.id)]
    assert await listed(practitioner=str(chart.practitioner.id)) == [str(chart.patient.id)]


@pytest.mark.parametrize(
    ("path", "params", "field"),
    [
        ("/patients", {"status": "zqcanary"}, "status"),
        ("/patients", {"practitioner": "zqcanary"}, "practitioner"),
        ("/patients", {"limit": "zqcanary"}, "limit"),
        ("/patients", {"limit": "101"}, "limit"),
        ("/patients", {"limit": "0"}, "limit"),
        ("/patients", {"zqcanary": "zqcanary"}, "query"),
        ("/patients/019a9d5c-3f1e-7c41-a6d5-0b1f6c2e8d37/history", {"before": "0"}, "before"),
        ("/patients/019a9d5c-3f1e-7c41-a6d5-0b1f6c2e8d37/history", {"before": "9" * 30}, "before"),
        ("/practitioners", {"limit": "1000"}, "limit"),
        ("/practitioners", {"cursor": "zqcanary"}, "cursor"),
    ],
)
async def test_a_query_that_means_nothing_is_refused(
    memory_clinic: Clinic, path: str, params: dict[str, str], field: str
) -> None:
    refused = await (await memory_clinic.front_desk()).get(path, params=params)
    assert refused.status_code == 422
    assert fields(refused) == [field]
    assert "zqcanary" not in refused.text


async def test_a_search_finds_by_whatever_is_asked(clinic: Clinic) -> None:
    desk = await clinic.front_desk()
    clinician, practitioner = await clinic.clinician()
    patient = a_patient(
        name=a_name("Alcántar", "María José"),
        born="1985-04-12",
        mrn="MRN-204817",
        ssn="999-21-4813",
        email="Marijo@Example.org",
        phone="+1 617 555 0143",
        care_team=frozenset({practitioner.id}),
    )
    await clinic.practice.stored(replace(patient, birth_sex=BirthSex.FEMALE))
    await clinic.practice.stored(
        a_patient(name=a_name("Byron", "George"), born="1990-01-22", phone="+16175550199", gender=Gender.MALE)
    )
    for query in (
        {"name": "alcantar"},
        {"name": "JOSE  cánt"},
        {"mrn": "MRN-204817"},
        {"ssn": "999214813"},
        {"email": "marijo@example.org"},
        {"phone": "(617) 555-0143"},
        {"min_age": 40, "max_age": 40},
        {"born_from": "1985-04-12", "born_to": "1985-04-12"},
        {"practitioner": str(practitioner.id), "status": "active"},
        {"gender": "female"},
        {"birth_sex": "F", "sort": "changed"},
        {"sort": "age", "descending": True, "limit": 1},
    ):
        found = await desk.post("/patients/search", json=query)
        assert [item["id"] for item in found.json()["items"]] == [str(patient.id)], query
    page = (await desk.post("/patients/search", json={"limit": 1})).json()
    assert page["total"] == {"count": 2, "exact": True}
    rest = (await desk.post("/patients/search", json={"limit": 1, "cursor": page["next_cursor"]})).json()
    assert [item["names"][0]["family"] for item in rest["items"]] == ["Byron"]
    assert rest["next_cursor"] is None
    assert (await clinician.post("/patients/search", json={"name": "byron"})).json()["total"]["count"] == 0


async def test_the_latest_change_comes_first_where_that_is_asked_for(clinic: Clinic) -> None:
    desk = await clinic.front_desk()
    people = [await clinic.practice.stored(a_patient(name=a_name(family))) for family in ("Byron", "King", "Noel")]
    await clinic.practice.changed(people[1].id, at=NOW + timedelta(seconds=1), notes="A")
    seen, cursor = list[str](), None
    while len(seen) < len(people):
        page = (await desk.post("/patients/search", json={"sort": "changed", "limit": 1, "cursor": cursor})).json()
        seen += [item["names"][0]["family"] for item in page["items"]]
        cursor = page["next_cursor"]
    assert (seen, cursor) == (["King", "Byron", "Noel"], None)


async def test_a_name_that_was_heard_finds_those_who_are_called_like_that(clinic: Clinic) -> None:
    desk = await clinic.front_desk()
    clinician, practitioner = await clinic.clinician()
    heard = a_patient(name=a_name("Alcántar", "María José"), born="1985-04-12", care_team=frozenset({practitioner.id}))
    await clinic.practice.stored(heard)
    await clinic.practice.stored(a_patient(name=a_name("Alkantara", "Maria"), born="1990-01-22"))
    await clinic.practice.stored(a_patient(name=a_name("Byron", "George")))
    page = (await desk.post("/patients/similar", json={"name": "marea alkantar", "born": "1985"})).json()
    assert [item["patient"]["names"][0]["family"] for item in page["items"]] == ["Alcántar", "Alkantara"]
    assert [item["score"] for item in page["items"]] == [0.83, 0.429]
    assert (page["next_cursor"], page["total"]) == (None, {"count": 2, "exact": True})
    first = (await desk.post("/patients/similar", json={"name": "marea alkantar", "limit": 1})).json()
    assert [len(first["items"]), first["total"]["count"]] == [1, 2]
    own = (await clinician.post("/patients/similar", json={"name": "alkantara"})).json()
    assert [item["patient"]["id"] for item in own["items"]] == [str(heard.id)]
    assert own["total"]["count"] == 1


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ({}, "name"),
        ({"name": ""}, "name"),
        ({"name": "z" * 500}, "name"),
        ({"name": "?!.,-"}, "name"),
        ({"name": "zqcanary\u0007"}, "name"),
        ({"name": "a b c d e f g h i j zqcanary"}, "name"),
        ({"name": ["zqcanary"]}, "name"),
        ({"name": "a", "born": "zqcanary"}, "born"),
        ({"name": "a", "born": "1985-13"}, "born"),
        ({"name": "a", "limit": 51}, "limit"),
        ({"name": "a", "cursor": "zqcanary"}, "body"),
    ],
)
async def test_what_is_no_name_that_was_heard_is_refused(
    memory_clinic: Clinic, asked: dict[str, Any], field: str
) -> None:
    refused = await (await memory_clinic.front_desk()).post("/patients/similar", json=asked)
    assert refused.status_code == 422
    assert fields(refused) == [field]
    assert "zqcanary" not in refused.text


async def test_an_identifier_is_searched_with_its_system(clinic: Clinic) -> None:
    desk = await clinic.front_desk()
    body = {
        "names": [{"family": "X"}],
        "born": "1990",
        "identifiers": [{"kind": "passport", "value": "X317", "system": "http://example.org/passport"}],
    }
    patient = (await desk.post("/patients", json=body)).json()["id"]

    async def found(**identifier: str) -> list[str]:
        answer = await desk.post("/patients/search", json={"identifier": identifier})
        return [item["id"] for item in answer.json()["items"]]

    assert await found(value="X317") == [patient]
    assert await found(value="X317", system="http://example.org/passport") == [patient]
    assert await found(value="X317", system="http://example.org/other") == []


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"min_age": 151}, "min_age"),
        ({"min_age": 2, "max_age": 1}, "max_age"),
        ({"min_age": "40"}, "min_age"),
        ({"min_age": True}, "min_age"),
        ({"born_from": "1985"}, "born_from"),
        ({"born_from": "1577836800"}, "born_from"),
        ({"born_from": "20000102"}, "born_from"),
        ({"born_from": "2000-W01-1"}, "born_from"),
        ({"born_from": "2000-01-02", "born_to": "2000-01-01"}, "born_to"),
        ({"identifier": {"system": "zqcanary"}}, "identifier.value"),
        ({"identifier": {"system": "zqcanary", "value": ""}}, "identifier.system"),
        ({"identifier": {"value": "zqcanary\0"}}, "identifier.value"),
        ({"name": "zqcanary\0"}, "name"),
        ({"name": "z" * 501}, "name"),
        ({"sort": "zqcanary"}, "sort"),
        ({"gender": "zqcanary"}, "gender"),
        ({"birth_sex": "zqcanary"}, "birth_sex"),
        ({"practitioner": "zqcanary"}, "practitioner"),
        ({"limit": 101}, "limit"),
        ({"first_name": "zqcanary"}, "body"),
    ],
)
async def test_a_search_that_makes_no_sense_is_refused(
    memory_clinic: Clinic, query: dict[str, Any], field: str
) -> None:
    refused = await (await memory_clinic.front_desk()).post("/patients/search", json=query)
    assert refused.status_code == 422
    assert fields(refused) == [field]
    assert "zqcanary" not in refused.text


async def test_only_some_roles_search_by_social_security_number(clinic: Clinic) -> None:
    nurse = await clinic.logged_in(Role.NURSE, practitioner=(await clinic.practice.employed(a_practitioner())).id)
    assert (await nurse.post("/patients/search", json={"ssn": "999-21-4813"})).status_code == 403


async def test_searching_by_social_security_number_is_limited(clinic: Clinic) -> None:
    desk = await clinic.front_desk()
    for _ in range(30):
        assert (await desk.post("/patients/search", json={"ssn": "999-21-4813"})).status_code == 200
    refused = await desk.post("/patients/search", json={"ssn": "999-21-4813"})
    assert refused.status_code == 429
    assert code(refused) == "too-many"
    assert 0 < int(refused.headers["retry-after"]) <= 60


async def test_each_role_sees_its_own_fields(clinic: Clinic, chart: Chart) -> None:
    desk = await clinic.front_desk()
    owner = await clinic.logged_in(Role.PATIENT, patient=chart.patient.id)
    assert (await chart.view()).json()["notes"] == chart.patient.notes
    for caller in (desk, owner):
        shown = (await caller.get(chart.path)).json()
        assert shown["notes"] == ""
        assert shown["names"][0]["family"] == chart.patient.names[0].family
        assert chart.patient.notes not in str(shown)


async def test_what_is_shown_is_in_the_trail_under_the_id_of_its_request(clinic: Clinic, chart: Chart) -> None:
    answer = await chart.view()
    events = [event for event in await clinic.practice.events() if str(event.request) == answer.headers["x-request-id"]]
    assert [(event.action, event.patient, event.outcome) for event in events] == [
        (Action.VIEW, chart.patient.id, Outcome.SUCCEEDED)
    ]


async def test_a_restricted_record_is_for_its_care_team(clinic: Clinic, chart: Chart) -> None:
    await clinic.practice.changed(chart.patient.id, label=Label.RESTRICTED)
    assert (await chart.view()).json()["label"] == "restricted"
    assert (await (await clinic.front_desk()).get(chart.path)).status_code == 404


async def test_practitioners_are_listed_for_those_who_make_care_teams(clinic: Clinic) -> None:
    desk = await clinic.front_desk()
    stored = [
        await clinic.practice.employed(replace(a_practitioner(name=a_name(f"F{n}")), npi="1234567893"))
        for n in range(3)
    ]
    first = (await desk.get("/practitioners", params={"limit": 2})).json()
    rest = (await desk.get("/practitioners", params={"limit": 2, "cursor": first["next_cursor"]})).json()
    assert [item["id"] for item in first["items"] + rest["items"]] == [str(one.id) for one in stored]
    assert (first["total"], rest["next_cursor"]) == ({"count": 3, "exact": True}, None)
    assert first["items"][0]["npi_valid"] is True
    owner = await clinic.logged_in(Role.PATIENT, patient=(await clinic.practice.stored(a_patient())).id)
    assert (await owner.get("/practitioners")).status_code == 403
