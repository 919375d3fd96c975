"""Machines over HTTP: credentials made, shown once, used, and ended."""

import json
from datetime import timedelta
from typing import Any

import pytest

from clarity.application.ports import Work
from clarity.domain.access import Action, Role
from clarity.domain.accounts import Account, Credentials
from clarity.domain.audit import Attempt
from clarity.domain.credentials import grantable, write_scope
from clarity.domain.ids import AccountId, PatientId, PractitionerId
from clarity.domain.records import Resource
from tests.api.clinic import Clinic, code, fields, seen
from tests.api.test_operations import OPERATIONS, documented
from tests.builders import NOW, a_patient, a_practitioner, new_id, the_operator

WANTED: dict[str, Any] = {"name": "Server 2", "scopes": ["patient:list", "patient:view"], "expires_in_days": 90}


async def a_machine(
    clinic: Clinic,
    role: Role = Role.FRONT_DESK,
    *,
    machine: bool = True,
    practitioner: PractitionerId | None = None,
    patient: PatientId | None = None,
) -> Account:
    """Store the account of a machine."""
    account = Account(
        id=AccountId(new_id()),
        email=f"{new_id().hex}@example.org",
        name="Nightly report",
        role=role,
        machine=machine,
        practitioner=practitioner,
        patient=patient,
    )
    work: Work
    async with clinic.practice.begin() as work:
        work.note(
            Attempt(actor=the_operator(), action=Action.REGISTER, at=NOW, resource=Resource.ACCOUNT, ids=(account.id,))
        )
        return await work.accounts.add(Credentials(account=account, password_hash=None))


async def issued(clinic: Clinic, account: Account, scopes: list[str]) -> dict[str, Any]:
    """Return a new credential as the administrator sees it, this once."""
    administrator = await clinic.logged_in(Role.ADMINISTRATOR)
    answer = await administrator.post(f"/accounts/{account.id}/credentials", json={**WANTED, "scopes": scopes})
    assert answer.status_code == 201
    body: dict[str, Any] = answer.json()
    return body


async def test_a_machine_works_with_its_credential_until_it_is_revoked(clinic: Clinic) -> None:
    patient = await clinic.practice.stored(a_patient())
    account = await a_machine(clinic)
    administrator = await clinic.logged_in(Role.ADMINISTRATOR)
    path = f"/accounts/{account.id}/credentials"
    made = await administrator.post(path, json=WANTED)
    assert (made.status_code, made.headers["cache-control"]) == (201, "no-store")
    text = made.json()["credential"]
    machine = clinic.caller(text)
    assert (await machine.get(f"/patients/{patient.id}")).json()["id"] == str(patient.id)
    assert [item["id"] for item in (await machine.get("/patients")).json()["items"]] == [str(patient.id)]
    listed = await administrator.get(path)
    (shown,) = listed.json()["items"]
    facts = {name: value for name, value in made.json().items() if name != "credential"}
    assert shown == {**facts, "revoked_at": None}
    assert text.rpartition("_")[2] not in listed.text
    (viewed,) = [event for event in await clinic.practice.events() if event.action is Action.VIEW]
    assert (viewed.actor, viewed.role) == (account.id, Role.FRONT_DESK)
    ended = await administrator.delete(f"/credentials/{shown['id']}")
    assert (ended.status_code, ended.content) == (204, b"")
    assert (await machine.get("/patients")).status_code == 401
    assert (await administrator.get(path)).json()["items"][0]["revoked_at"] == "2026-03-14T09:26:53Z"


async def test_what_does_not_hold_looks_alike_whatever_the_reason(clinic: Clinic) -> None:
    account = await a_machine(clinic)
    made = await issued(clinic, account, ["patient:view"])
    text = made["credential"]
    answers = {
        (await clinic.caller(wrong).get("/patients")).content
        for wrong in ("clarity_", text[:-1], text[:-64] + "0" * 64)
    }
    clinic.door.at = NOW + timedelta(days=90)
    answers.add((await clinic.caller(text).get("/patients")).content)
    answers.add((await clinic.caller("e30.e30.e30").get("/patients")).content)
    assert [json.loads(body)["type"] for body in answers] == ["urn:clarity:problem:unauthenticated"]


async def test_a_machine_is_bound_to_its_scopes(clinic: Clinic) -> None:
    patient = await clinic.practice.stored(a_patient())
    account = await a_machine(clinic)
    machine = clinic.caller((await issued(clinic, account, ["patient:view"]))["credential"])
    path = f"/patients/{patient.id}"
    shown = await machine.get(path)
    assert shown.status_code == 200
    assert (await machine.get("/patients")).json()["items"] == []
    assert (await machine.post("/patients/search", json={"name": "love"})).json()["items"] == []
    changed = await machine.patch(path, json={"mothers_maiden_name": "Byron"}, headers=seen(1))
    absent = await machine.patch(f"/patients/{new_id()}", json={"mothers_maiden_name": "Byron"}, headers=seen(1))
    assert (changed.status_code, changed.content) == (404, absent.content)
    assert (await machine.get("/practitioners")).status_code == 403
    assert (await machine.get("/me")).status_code == 403


async def test_whatever_a_machine_is_told_is_documented(memory_clinic: Clinic) -> None:
    clinic = memory_clinic
    machine = clinic.caller((await issued(clinic, await a_machine(clinic), ["patient:view"]))["credential"])
    document = clinic.app.openapi()
    operations = {one["operationId"]: one for path in document["paths"].values() for one in path.values()}
    undocumented = []
    for one in documented(clinic):
        answer = await one.by(machine, {}, OPERATIONS.get(one.name))
        if str(answer.status_code) not in operations[one.name]["responses"]:
            undocumented.append((one.name, answer.status_code))
    assert undocumented == []


async def test_a_machine_is_told_what_its_credential_lets_it_do(clinic: Clinic) -> None:
    account = await a_machine(clinic)
    machine = clinic.caller((await issued(clinic, account, ["patient:search", "account:view"]))["credential"])
    rights = (await machine.get("/me")).json()["rights"]
    assert {(right["resource"], right["action"]) for right in rights} == {("patient", "search"), ("account", "view")}


async def test_what_belongs_to_a_log_in_is_not_for_machines(clinic: Clinic) -> None:
    account = await a_machine(clinic, Role.ADMINISTRATOR)
    everything = sorted(map(write_scope, grantable(Role.ADMINISTRATOR)))
    machine = clinic.caller((await issued(clinic, account, everything))["credential"])
    assert (await machine.get("/me")).json()["id"] == str(account.id)
    of_a_log_in = [
        ("DELETE", "/sessions/current", None),
        ("GET", "/me/sessions", None),
        ("DELETE", "/me/sessions", None),
        ("DELETE", f"/me/sessions/{new_id()}", None),
        ("POST", "/me/second-factor", {"password": "quiet ferns along the river"}),
        ("POST", "/me/second-factor/confirm", {"code": "123456"}),
        ("POST", "/me/second-factor/recovery-codes", {"code": "123456"}),
        ("POST", "/me/second-factor/remove", {"code": "123456"}),
        ("GET", f"/accounts/{account.id}/sessions", None),
        ("DELETE", f"/accounts/{account.id}/sessions", None),
        ("DELETE", f"/accounts/{account.id}/second-factor", None),
        ("GET", f"/accounts/{account.id}/credentials", None),
        ("POST", f"/accounts/{account.id}/credentials", WANTED),
        ("DELETE", f"/credentials/{new_id()}", None),
    ]
    for method, path, body in of_a_log_in:
        answer = await machine.request(method, path, json=body)
        assert answer.status_code in {401, 403}, (method, path, answer.text)


async def test_a_person_has_no_credential_and_a_machine_no_password(clinic: Clinic) -> None:
    administrator = await clinic.logged_in(Role.ADMINISTRATOR)
    person = await a_machine(clinic, machine=False)
    refused = await administrator.post(f"/accounts/{person.id}/credentials", json=WANTED)
    assert (refused.status_code, code(refused)) == (409, "conflict")
    machine = await a_machine(clinic)
    log_in = await clinic.caller().post("/sessions", json={"email": machine.email, "password": "quiet ferns"})
    assert log_in.status_code == 401


async def test_only_administrators_deal_in_credentials(clinic: Clinic) -> None:
    account = await a_machine(clinic)
    made = await issued(clinic, account, ["patient:view"])
    desk = await clinic.front_desk()
    path = f"/accounts/{account.id}/credentials"
    for refused in (
        await desk.post(path, json=WANTED),
        await desk.get(path),
        await desk.get(f"/accounts/{new_id()}/credentials"),
        await desk.delete(f"/credentials/{made['id']}"),
        await desk.delete(f"/credentials/{new_id()}"),
    ):
        assert (refused.status_code, code(refused)) == (403, "forbidden")
    administrator = await clinic.logged_in(Role.ADMINISTRATOR)
    for absent in (
        await administrator.post(f"/accounts/{new_id()}/credentials", json=WANTED),
        await administrator.get(f"/accounts/{new_id()}/credentials"),
        await administrator.delete(f"/credentials/{new_id()}"),
    ):
        assert (absent.status_code, code(absent)) == (404, "not-found")


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"scopes": ["patient:zqcanary"]}, "scopes.0"),
        ({"scopes": ["patient:view", "patient:delete"]}, "scopes.1"),
        ({"scopes": []}, "scopes"),
        ({"scopes": "patient:view"}, "scopes"),
        ({"scopes": ["credential:register"]}, "scopes.0"),
        ({"name": ""}, "name"),
        ({"expires_in_days": 0}, "expires_in_days"),
        ({"expires_in_days": 366}, "expires_in_days"),
        ({"expires_in_days": 1.5}, "expires_in_days"),
        ({"expires_in_days": None}, "expires_in_days"),
        ({"expires_at": "2999-01-01T00:00:00Z"}, "body"),
        ({"digest": "00"}, "body"),
        ({"id": "019a9d5c-52c3-7f60-9d15-6a3a1c0b7e44"}, "body"),
        ({"account": "019a9d5c-52c3-7f60-9d15-6a3a1c0b7e44"}, "body"),
        ({"role": "administrator"}, "body"),
    ],
)
async def test_what_is_not_the_callers_to_set_is_refused(
    memory_clinic: Clinic, change: dict[str, Any], field: str
) -> None:
    administrator = await memory_clinic.logged_in(Role.ADMINISTRATOR)
    account = await a_machine(memory_clinic)
    refused = await administrator.post(f"/accounts/{account.id}/credentials", json={**WANTED, **change})
    assert (refused.status_code, code(refused), fields(refused)) == (422, "invalid", [field])
    assert "zqcanary" not in refused.text
    assert (await administrator.get(f"/accounts/{account.id}/credentials")).json()["items"] == []


async def test_every_credential_has_an_end(memory_clinic: Clinic) -> None:
    administrator = await memory_clinic.logged_in(Role.ADMINISTRATOR)
    account = await a_machine(memory_clinic)
    endless = {name: value for name, value in WANTED.items() if name != "expires_in_days"}
    refused = await administrator.post(f"/accounts/{account.id}/credentials", json=endless)
    assert (refused.status_code, fields(refused)) == (422, ["expires_in_days"])


async def test_guessing_is_limited_and_does_not_keep_others_waiting(memory_clinic: Clinic) -> None:
    account = await a_machine(memory_clinic)
    made = await issued(memory_clinic, account, ["patient:list"])
    guess = memory_clinic.caller("clarity_guess")
    statuses = [(await guess.get("/patients")).status_code for _ in range(61)]
    assert statuses == [401] * 60 + [429]
    assert (await memory_clinic.caller(made["credential"]).get("/patients")).status_code == 200


async def test_the_machine_of_a_patient_and_of_a_clinician_reach_what_their_links_reach(clinic: Clinic) -> None:
    practitioner = await clinic.practice.employed(a_practitioner())
    treated = await clinic.practice.stored(a_patient(care_team=frozenset({practitioner.id})))
    other = await clinic.practice.stored(a_patient())
    scopes = ["patient:view", "patient:list"]
    of_clinician = await a_machine(clinic, Role.CLINICIAN, practitioner=practitioner.id)
    of_patient = await a_machine(clinic, Role.PATIENT, patient=other.id)
    device = await a_machine(clinic, Role.DEVICE, patient=treated.id)
    clinician = clinic.caller((await issued(clinic, of_clinician, scopes))["credential"])
    owner = clinic.caller((await issued(clinic, of_patient, scopes))["credential"])
    worn = clinic.caller((await issued(clinic, device, ["account:view"]))["credential"])
    reached = {
        name: [(await caller.get(f"/patients/{patient.id}")).status_code for patient in (treated, other)]
        for name, caller in (("clinician", clinician), ("owner", owner), ("device", worn))
    }
    assert reached == {"clinician": [200, 404], "owner": [404, 200], "device": [404, 404]}
