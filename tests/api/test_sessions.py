"""Logging in over HTTP, and who one is then."""

from datetime import timedelta

import pytest

from clarity.domain.access import Role
from tests.api.clinic import Clinic, code, fields
from tests.builders import NOW, a_patient, a_practitioner
from tests.fakes.accounts import PASSWORD


async def test_whoever_logs_in_is_known_until_they_log_out(clinic: Clinic) -> None:
    account = await clinic.door.employed(Role.FRONT_DESK)
    opened = await clinic.caller().post("/sessions", json={"email": account.email, "password": PASSWORD})
    assert opened.status_code == 201
    tokens = opened.json()
    assert (tokens["token_type"], tokens["expires_in"]) == ("Bearer", 600)
    caller = clinic.caller(tokens["access_token"])
    assert (await caller.get("/me")).json()["email"] == account.email
    ended = await caller.delete("/sessions/current")
    assert (ended.status_code, ended.content) == (204, b"")
    assert (await caller.get("/me")).status_code == 401
    refreshed = await clinic.caller().post("/sessions/refresh", json={"refresh_token": tokens["refresh_token"]})
    assert (refreshed.status_code, code(refreshed)) == (401, "unauthenticated")


async def test_nothing_tells_an_unknown_account_from_a_wrong_password(clinic: Clinic) -> None:
    account = await clinic.door.employed(Role.FRONT_DESK)
    wrong = await clinic.caller().post("/sessions", json={"email": account.email, "password": "zqcanary zqcanary"})
    unknown = await clinic.caller().post("/sessions", json={"email": "zqcanary@example.org", "password": PASSWORD})
    assert wrong.content == unknown.content
    assert wrong.status_code == unknown.status_code == 401
    assert code(wrong) == "wrong-credentials"
    assert wrong.headers["www-authenticate"] == "Bearer"


async def test_a_refresh_token_works_once(clinic: Clinic) -> None:
    account = await clinic.door.employed(Role.FRONT_DESK)
    nobody = clinic.caller()
    first = (await nobody.post("/sessions", json={"email": account.email, "password": PASSWORD})).json()
    refreshed = await nobody.post("/sessions/refresh", json={"refresh_token": first["refresh_token"]})
    assert refreshed.status_code == 200
    second = refreshed.json()
    assert (await clinic.caller(second["access_token"]).get("/me")).status_code == 200
    again = await nobody.post("/sessions/refresh", json={"refresh_token": first["refresh_token"]})
    assert again.status_code == 401
    assert (await clinic.caller(second["access_token"]).get("/me")).status_code == 401


async def test_an_access_token_expires(clinic: Clinic) -> None:
    desk = await clinic.front_desk()
    clinic.door.at = NOW + timedelta(seconds=601)
    refused = await desk.get("/me")
    assert (refused.status_code, code(refused)) == (401, "unauthenticated")


async def test_logging_in_is_limited(memory_clinic: Clinic) -> None:
    nobody = memory_clinic.caller()
    wrong = {"email": "somebody@example.org", "password": "x"}
    for _ in range(20):
        assert (await nobody.post("/sessions", json=wrong)).status_code == 401
    refused = await nobody.post("/sessions", json=wrong)
    assert (refused.status_code, code(refused)) == (429, "too-many")
    assert int(refused.headers["retry-after"]) > 0


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"email": "zqcanary"}, "password"),
        ({"email": 5, "password": "zqcanary"}, "email"),
        ({"email": "zqcanary@example.org", "password": "zqcanary", "zqcanary": 1}, "body"),
        ({"email": "zqcanary" * 100, "password": "zqcanary"}, "email"),
        ({"email": "zqcanary@example.org", "password": "zqcanary" * 1_000}, "password"),
    ],
)
async def test_credentials_that_are_none_are_not_repeated(
    memory_clinic: Clinic, body: dict[str, object], field: str
) -> None:
    refused = await memory_clinic.caller().post("/sessions", json=body)
    assert (refused.status_code, code(refused)) == (422, "invalid")
    assert fields(refused) == [field]
    assert "zqcanary" not in refused.text


async def test_an_account_shows_its_links_and_what_its_role_may_do(clinic: Clinic) -> None:
    patient = await clinic.practice.stored(a_patient())
    practitioner = await clinic.practice.employed(a_practitioner())
    nurse = (await (await clinic.logged_in(Role.NURSE, practitioner=practitioner.id)).get("/me")).json()
    owner = (await (await clinic.logged_in(Role.PATIENT, patient=patient.id)).get("/me")).json()
    administrator = (await (await clinic.logged_in(Role.ADMINISTRATOR)).get("/me")).json()
    assert (nurse["role"], nurse["practitioner"], nurse["patient"]) == ("nurse", str(practitioner.id), None)
    assert (owner["role"], owner["practitioner"], owner["patient"]) == ("patient", None, str(patient.id))
    change = next(right for right in nurse["rights"] if (right["resource"], right["action"]) == ("patient", "change"))
    assert change["whose"] == "care team's"
    assert "notes" in change["fields"]
    assert "label" not in change["fields"]
    of_patients = {right["action"] for right in owner["rights"] if right["resource"] == "patient"}
    assert of_patients == {"view", "list", "search", "account_for"}
    assert {right["action"] for right in administrator["rights"] if right["resource"] == "patient"} == {"delete"}
