"""Accounts over HTTP: what administrators do to other people's, and what people do to their own."""

from typing import Any

import pytest
from httpx import AsyncClient

from clarity.domain.access import Role
from tests.api.clinic import Clinic, code, fields
from tests.builders import a_patient, a_practitioner, new_id, the_operator
from tests.fakes.accounts import PASSWORD

NEW_PASSWORD = "nine lanterns over the harbour"
DESK = {"email": "desk@example.org", "name": "Front desk", "role": "front-desk"}
UNKNOWN = str(new_id())


async def newest_token(clinic: Clinic) -> str:
    await clinic.door.outbox.deliver(the_operator())
    return clinic.door.postman.letters[-1].body.partition("#")[2].split()[0]


async def log_in(clinic: Clinic, email: str, password: str) -> int:
    answer = await clinic.caller().post("/sessions", json={"email": email, "password": password})
    return answer.status_code


async def test_an_invited_person_chooses_a_password_and_is_in(clinic: Clinic) -> None:
    administrator = await clinic.logged_in(Role.ADMINISTRATOR)
    invited = await administrator.post("/accounts", json=DESK)
    assert invited.status_code == 201
    account = invited.json()
    assert (account["status"], account["role"], account["machine"]) == ("invited", "front-desk", False)
    assert (await administrator.get(invited.headers["Location"].removeprefix("/api/v1"))).json() == account
    assert await log_in(clinic, DESK["email"], PASSWORD) == 401
    body = {"token": await newest_token(clinic), "password": PASSWORD}
    completed = await clinic.caller().post("/invitations/complete", json=body)
    assert (completed.status_code, completed.content) == (204, b"")
    assert await log_in(clinic, DESK["email"], PASSWORD) == 201
    again = await clinic.caller().post("/invitations/complete", json=body)
    assert (again.status_code, code(again)) == (401, "dead-link")


async def test_a_life_of_an_account(clinic: Clinic) -> None:
    administrator = await clinic.logged_in(Role.ADMINISTRATOR)
    account = await clinic.door.employed(Role.FRONT_DESK)
    opened = await clinic.caller().post("/sessions", json={"email": account.email, "password": PASSWORD})
    desk = clinic.caller(opened.json()["access_token"])
    changed = await administrator.put(f"/accounts/{account.id}/role", json={"role": "researcher"})
    assert (changed.status_code, changed.json()["role"], changed.json()["version"]) == (200, "researcher", 2)
    assert (await desk.get("/me")).status_code == 401
    disabled = await administrator.post(f"/accounts/{account.id}/disable")
    assert (disabled.status_code, disabled.json()["status"]) == (200, "disabled")
    assert await log_in(clinic, account.email, PASSWORD) == 401
    conflict = await administrator.post(f"/accounts/{account.id}/password-reset")
    assert (conflict.status_code, code(conflict)) == (409, "conflict")
    enabled = await administrator.post(f"/accounts/{account.id}/enable")
    assert enabled.json()["status"] == "active"
    assert (await administrator.post(f"/accounts/{account.id}/password-reset")).status_code == 202
    body = {"token": await newest_token(clinic), "password": NEW_PASSWORD}
    assert (await clinic.caller().post("/password-resets/complete", json=body)).status_code == 204
    assert await log_in(clinic, account.email, NEW_PASSWORD) == 201


async def test_accounts_are_listed_a_page_at_a_time(clinic: Clinic) -> None:
    administrator = await clinic.logged_in(Role.ADMINISTRATOR)
    for _ in range(2):
        await clinic.door.employed()
    first = (await administrator.get("/accounts", params={"limit": 2})).json()
    rest = (await administrator.get("/accounts", params={"cursor": first["next_cursor"]})).json()
    assert [len(first["items"]), len(rest["items"]), rest["next_cursor"]] == [2, 1, None]
    assert first["total"] == {"count": 3, "exact": True}
    other = await clinic.logged_in(Role.ADMINISTRATOR)
    stolen = await other.get("/accounts", params={"cursor": first["next_cursor"]})
    assert stolen.status_code == 422


async def test_one_changes_ones_own_password(clinic: Clinic) -> None:
    account = await clinic.door.employed(Role.FRONT_DESK)
    opened = await clinic.caller().post("/sessions", json={"email": account.email, "password": PASSWORD})
    desk = clinic.caller(opened.json()["access_token"])
    wrong = await desk.post("/me/password", json={"current": "zqcanary", "new": NEW_PASSWORD})
    assert (wrong.status_code, fields(wrong)) == (422, ["current"])
    weak = await desk.post("/me/password", json={"current": PASSWORD, "new": "zqcanary"})
    assert (weak.status_code, fields(weak)) == (422, ["new"])
    assert "zqcanary" not in wrong.text + weak.text
    changed = await desk.post("/me/password", json={"current": PASSWORD, "new": NEW_PASSWORD})
    assert (changed.status_code, changed.content) == (204, b"")
    assert (await desk.get("/me")).status_code == 200
    assert await log_in(clinic, account.email, NEW_PASSWORD) == 201


ROUTES: list[tuple[str, str, Any]] = [
    ("POST", "/accounts", DESK),
    ("POST", "/accounts/machines", DESK),
    ("GET", "/accounts", None),
    ("GET", "/accounts/{}", None),
    ("POST", "/accounts/{}/disable", None),
    ("POST", "/accounts/{}/enable", None),
    ("PUT", "/accounts/{}/role", {"role": "administrator"}),
    ("POST", "/accounts/{}/password-reset", None),
]


async def everybody_else(clinic: Clinic) -> list[AsyncClient]:
    patient = await clinic.practice.stored(a_patient())
    callers = [await clinic.logged_in(role) for role in (Role.FRONT_DESK, Role.COMPLIANCE_OFFICER, Role.RESEARCHER)]
    for role in (Role.CLINICIAN, Role.NURSE):
        practitioner = await clinic.practice.employed(a_practitioner())
        callers.append(await clinic.logged_in(role, practitioner=practitioner.id))
    return [*callers, *[await clinic.logged_in(role, patient=patient.id) for role in (Role.PATIENT, Role.DEVICE)]]


async def test_no_other_role_gets_anywhere_near_accounts(memory_clinic: Clinic) -> None:
    account = await memory_clinic.door.employed(Role.FRONT_DESK)
    callers = await everybody_else(memory_clinic)
    for method, path, body in ROUTES:
        for caller in callers:
            own = (await caller.get("/me")).json()["id"]
            answers = [
                await caller.request(method, path.format(which), json=body) for which in (account.id, own, UNKNOWN)
            ]
            assert [answer.status_code for answer in answers] == [403] * 3, (method, path)
            assert len({answer.content for answer in answers}) == 1, "nothing tells who has an account"
    assert (await memory_clinic.door.accounts.view(the_operator(), account.id)) == account
    assert memory_clinic.door.postman.letters == []


async def test_nobody_at_all_gets_no_further(memory_clinic: Clinic) -> None:
    for method, path, body in ROUTES:
        answer = await memory_clinic.caller().request(method, path.format(UNKNOWN), json=body)
        assert answer.status_code == 401


async def test_an_administrator_does_nothing_to_their_own_account(memory_clinic: Clinic) -> None:
    administrator = await memory_clinic.logged_in(Role.ADMINISTRATOR)
    await memory_clinic.door.employed(Role.ADMINISTRATOR)
    own = (await administrator.get("/me")).json()["id"]
    for action in ("disable", "enable"):
        assert (await administrator.post(f"/accounts/{own}/{action}")).status_code == 403
    assert (await administrator.put(f"/accounts/{own}/role", json={"role": "device"})).status_code == 403
    assert (await administrator.get(f"/accounts/{own}")).json()["status"] == "active"


@pytest.mark.parametrize(
    "more",
    [
        {"status": "active"},
        {"machine": True},
        {"id": UNKNOWN},
        {"version": 7},
        {"password": PASSWORD},
        {"password_hash": "x"},
        {"role": "system"},
        {"role": "nobody"},
        {"role": 0},
        {"role": ["administrator"]},
    ],
)
async def test_a_body_sets_nothing_that_is_not_its_to_set(memory_clinic: Clinic, more: dict[str, Any]) -> None:
    administrator = await memory_clinic.logged_in(Role.ADMINISTRATOR)
    account = await memory_clinic.door.employed(Role.FRONT_DESK)
    for path in ("/accounts", "/accounts/machines"):
        assert (await administrator.post(path, json={**DESK, **more})).status_code == 422
    role = {"role": "researcher", **more}
    assert (await administrator.put(f"/accounts/{account.id}/role", json=role)).status_code == 422
    assert (await administrator.get("/accounts")).json()["total"]["count"] == 2


@pytest.mark.parametrize("path", ["/invitations/complete", "/password-resets/complete"])
async def test_who_completes_a_link_chooses_nothing_but_a_password(memory_clinic: Clinic, path: str) -> None:
    administrator = await memory_clinic.logged_in(Role.ADMINISTRATOR)
    account = (await administrator.post("/accounts", json=DESK)).json()
    body = {"token": await newest_token(memory_clinic), "password": PASSWORD}
    for more in ({"role": "administrator"}, {"status": "active"}, {"account": UNKNOWN}, {"email": "eve@example.org"}):
        assert (await memory_clinic.caller().post(path, json={**body, **more})).status_code == 422
    assert (await administrator.get(f"/accounts/{account['id']}")).json() == account


async def test_asking_for_a_link_tells_nobody_who_has_an_account(clinic: Clinic) -> None:
    administrator = await clinic.logged_in(Role.ADMINISTRATOR)
    active = await clinic.door.employed(Role.FRONT_DESK)
    disabled = await clinic.door.employed(Role.FRONT_DESK)
    await clinic.door.accounts.disable(the_operator(), disabled.id)
    await administrator.post("/accounts", json=DESK)
    machine = {**DESK, "email": "robot@example.org"}
    assert (await administrator.post("/accounts/machines", json=machine)).json()["machine"]
    emails = [active.email, disabled.email, DESK["email"], machine["email"], "nobody@example.org", "no address"]
    asked = [await clinic.caller().post("/password-resets", json={"email": email}) for email in emails]
    assert {(one.status_code, one.content) for one in asked} == {(202, b"null")}
    tried = [await clinic.caller().post("/sessions", json={"email": one, "password": "x"}) for one in emails]
    assert len({(one.status_code, one.content) for one in tried}) == 1
    assert "set-cookie" not in asked[0].headers


async def test_a_practitioner_with_an_account_is_a_conflict_with_a_name(memory_clinic: Clinic) -> None:
    administrator = await memory_clinic.logged_in(Role.ADMINISTRATOR)
    practitioner = await memory_clinic.practice.employed(a_practitioner())
    body = {**DESK, "role": "clinician", "practitioner": str(practitioner.id)}
    assert (await administrator.post("/accounts", json=body)).status_code == 201
    again = await administrator.post("/accounts", json={**body, "email": "other@example.org"})
    assert (again.status_code, code(again)) == (409, "practitioner-has-account")
    missing = await administrator.post("/accounts", json={**DESK, "role": "clinician"})
    assert (missing.status_code, fields(missing)) == (422, ["practitioner"])
