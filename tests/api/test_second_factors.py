"""Second factors and open sessions over HTTP, and the ways past them."""

import base64
from collections.abc import AsyncIterator
from urllib.parse import unquote

import pytest
from httpx import AsyncClient, Response

from clarity.domain.access import Role
from clarity.domain.accounts import Account
from clarity.security.keyring import Keyring
from tests.api.clinic import Clinic, code, fields, opened_clinic
from tests.builders import new_id
from tests.fakes.accounts import PASSWORD
from tests.practice import Practice


@pytest.fixture
async def strict_clinic(practice: Practice, keyring: Keyring) -> AsyncIterator[Clinic]:
    """Return the API as staging and production have it: with a second factor required."""
    async with opened_clinic(practice, keyring, second_factor_required=True) as clinic:
        yield clinic


async def log_in(clinic: Clinic, account: Account, **more: str) -> Response:
    credentials = {"email": account.email, "password": PASSWORD, **more}
    return await clinic.caller().post("/sessions", json=credentials)


async def entered(clinic: Clinic, account: Account, **more: str) -> AsyncClient:
    opened = await log_in(clinic, account, **more)
    assert opened.status_code == 201
    return clinic.caller(opened.json()["access_token"])


async def enrolled(clinic: Clinic, caller: AsyncClient) -> tuple[str, list[str]]:
    """Enrol and return the secret and the recovery codes; the code of now is spent."""
    enrolment = await caller.post("/me/second-factor", json={"password": PASSWORD})
    assert enrolment.status_code == 201
    secret: str = enrolment.json()["secret"]
    confirmed = await caller.post("/me/second-factor/confirm", json={"code": clinic.door.code(secret)})
    assert confirmed.status_code == 200
    return secret, confirmed.json()["recovery_codes"]


async def test_a_second_factor_from_the_first_scan_to_the_last_code(clinic: Clinic) -> None:
    account = await clinic.door.employed(Role.FRONT_DESK)
    caller = await entered(clinic, account)
    empty = {"required": False, "confirmed_at": None, "recovery_codes": 0}
    assert (await caller.get("/me/second-factor")).json() == empty
    secret, recovery = await enrolled(clinic, caller)
    assert (await caller.get("/me/second-factor")).json()["recovery_codes"] == 10
    missing = await log_in(clinic, account)
    assert (missing.status_code, code(missing)) == (401, "second-factor-required")
    assert missing.headers["www-authenticate"] == "Bearer"
    second = await entered(clinic, account, code=clinic.door.code(secret, steps=1))
    listed = (await second.get("/me/sessions")).json()["items"]
    assert [(one["second_factor"], one["current"]) for one in listed if one["current"]] == [(True, True)]
    renewed = await second.post("/me/second-factor/recovery-codes", json={"code": recovery[0]})
    assert len(renewed.json()["recovery_codes"]) == 10
    last = renewed.json()["recovery_codes"][0]
    assert (await second.post("/me/second-factor/remove", json={"code": last})).status_code == 204
    assert (await log_in(clinic, account)).status_code == 201


async def test_a_wrong_code_a_used_code_and_a_wrong_password_are_answered_alike(clinic: Clinic) -> None:
    account = await clinic.door.employed(Role.FRONT_DESK)
    secret, _ = await enrolled(clinic, await entered(clinic, account))
    used = await log_in(clinic, account, code=clinic.door.code(secret))
    wrong = await log_in(clinic, account, code="zqcanary")
    nobody = await clinic.caller().post("/sessions", json={"email": "zqcanary@example.org", "password": PASSWORD})
    assert used.status_code == 401
    assert used.content == wrong.content == nobody.content
    assert b"zqcanary" not in wrong.content


async def test_the_picture_holds_the_address(memory_clinic: Clinic) -> None:
    caller = await entered(memory_clinic, await memory_clinic.door.employed(Role.FRONT_DESK))
    enrolment = (await caller.post("/me/second-factor", json={"password": PASSWORD})).json()
    assert enrolment["uri"].startswith("otpauth://totp/Clarity:")
    assert f"secret={enrolment['secret']}" in enrolment["uri"]
    assert len(base64.b32decode(enrolment["secret"])) == 20
    kind, _, picture = enrolment["qr_code"].partition(",")
    assert kind.startswith("data:image/svg+xml")
    assert unquote(picture).startswith("<svg ")


async def test_where_it_is_required_a_password_alone_opens_the_way_to_enrolling_only(strict_clinic: Clinic) -> None:
    clinic = strict_clinic
    account = await clinic.door.employed(Role.ADMINISTRATOR)
    weak = await entered(clinic, account)
    for path in (
        "/patients",
        f"/patients/{new_id()}",
        "/practitioners",
        "/me/sessions",
        f"/accounts/{new_id()}/sessions",
    ):
        refused = await weak.get(path)
        assert (refused.status_code, code(refused)) == (403, "second-factor-missing"), path
    for path in ("/me/second-factor/remove", "/me/second-factor/recovery-codes"):
        assert code(await weak.post(path, json={"code": "000000"})) == "second-factor-missing"
    for path in ("/me/sessions", f"/me/sessions/{new_id()}", f"/accounts/{account.id}/second-factor"):
        assert code(await weak.delete(path)) == "second-factor-missing"
    assert (await weak.get("/me")).json()["id"] == str(account.id)
    assert (await weak.get("/me/second-factor")).json()["required"] is True
    await enrolled(clinic, weak)
    assert (await weak.get("/practitioners")).status_code == 200
    assert (await weak.delete("/sessions/current")).status_code == 204


async def test_a_session_opened_with_a_password_alone_may_be_ended(strict_clinic: Clinic) -> None:
    weak = await entered(strict_clinic, await strict_clinic.door.employed(Role.ADMINISTRATOR))
    assert (await weak.delete("/sessions/current")).status_code == 204
    assert (await weak.get("/me")).status_code == 401


async def test_a_wrong_password_or_code_names_its_field_and_is_not_repeated(memory_clinic: Clinic) -> None:
    caller = await entered(memory_clinic, await memory_clinic.door.employed(Role.FRONT_DESK))
    wrong = await caller.post("/me/second-factor", json={"password": "zqcanary zqcanary"})
    assert (wrong.status_code, fields(wrong)) == (422, ["password"])
    assert code(await caller.post("/me/second-factor/confirm", json={"code": "000000"})) == "conflict"
    await caller.post("/me/second-factor", json={"password": PASSWORD})
    wrong = await caller.post("/me/second-factor/confirm", json={"code": "zqcanary"})
    assert (wrong.status_code, fields(wrong)) == (422, ["code"])
    assert "zqcanary" not in wrong.text
    for extra in ({"code": "1", "account": "x"}, {"code": 123456}, {}):
        assert (await caller.post("/me/second-factor/confirm", json=extra)).status_code == 422


async def test_a_recovery_code_and_the_code_of_a_device_are_good_once_wherever_they_are_used(clinic: Clinic) -> None:
    account = await clinic.door.employed(Role.FRONT_DESK)
    caller = await entered(clinic, account)
    secret, recovery = await enrolled(clinic, caller)
    for used in (recovery[0], clinic.door.code(secret, steps=1)):
        await entered(clinic, account, code=used)
        assert (await log_in(clinic, account, code=used)).status_code == 401
        for path in ("recovery-codes", "remove"):
            again = await caller.post(f"/me/second-factor/{path}", json={"code": used})
            assert (again.status_code, fields(again)) == (422, ["code"])


async def test_administrators_see_and_end_sessions_and_take_a_lost_factor_away(clinic: Clinic) -> None:
    account = await clinic.door.employed(Role.FRONT_DESK)
    caller = await entered(clinic, account)
    await enrolled(clinic, caller)
    administrator = await clinic.logged_in(Role.ADMINISTRATOR)
    path = f"/accounts/{account.id}"
    [listed] = (await administrator.get(f"{path}/sessions")).json()["items"]
    assert (listed["second_factor"], listed["current"]) == (True, False)
    assert listed["client"].startswith("198.51.100.7 python-httpx/")
    assert (await administrator.delete(f"{path}/sessions")).status_code == 204
    assert (await caller.get("/me")).status_code == 401
    assert (await administrator.delete(f"{path}/second-factor")).status_code == 204
    assert (await log_in(clinic, account)).status_code == 201
    desk = await clinic.front_desk()
    for answer in (
        await desk.get(f"{path}/sessions"),
        await desk.delete(f"{path}/sessions"),
        await desk.delete(f"{path}/second-factor"),
        await desk.delete(f"/accounts/{new_id()}/second-factor"),
    ):
        assert (answer.status_code, code(answer)) == (403, "forbidden")
    absent = f"/accounts/{new_id()}"
    for answer in (
        await administrator.get(f"{absent}/sessions"),
        await administrator.delete(f"{absent}/sessions"),
        await administrator.delete(f"{absent}/second-factor"),
    ):
        assert (answer.status_code, code(answer)) == (404, "not-found")


async def test_people_end_their_own_sessions_and_nobody_elses(clinic: Clinic) -> None:
    account = await clinic.door.employed(Role.FRONT_DESK)
    here, there, elsewhere = [await entered(clinic, account) for _ in range(3)]
    stranger = await clinic.front_desk()
    [theirs] = [one["id"] for one in (await stranger.get("/me/sessions")).json()["items"]]
    listed = (await here.get("/me/sessions")).json()["items"]
    assert len(listed) == 3
    [current] = [one["id"] for one in listed if one["current"]]
    seen_there = [one["id"] for one in (await there.get("/me/sessions")).json()["items"] if one["current"]]
    assert (await here.delete(f"/me/sessions/{seen_there[0]}")).status_code == 204
    assert (await there.get("/me")).status_code == 401
    refused, absent = await here.delete(f"/me/sessions/{theirs}"), await here.delete(f"/me/sessions/{new_id()}")
    assert refused.status_code == 404
    assert refused.content == absent.content
    assert (await stranger.get("/me")).status_code == 200
    assert (await here.delete("/me/sessions")).status_code == 204
    assert (await elsewhere.get("/me")).status_code == 401
    assert (await here.delete(f"/me/sessions/{current}")).status_code == 204
    assert (await here.get("/me")).status_code == 401


async def test_a_token_is_taken_from_one_header_and_from_nowhere_else(clinic: Clinic) -> None:
    account = await clinic.door.employed(Role.FRONT_DESK)
    tokens = (await log_in(clinic, account)).json()
    access, refresh = tokens["access_token"], tokens["refresh_token"]
    nobody = clinic.caller()
    good = f"Bearer {access}"
    assert (await nobody.get("/me", headers={"Authorization": good})).status_code == 200
    attempts = [
        await nobody.get("/me", params={"access_token": access}),
        await nobody.get("/me", params={"token": access, "authorization": good}),
        await nobody.get("/me", headers={"Cookie": f"access_token={access}; Authorization={good}"}),
        await nobody.get("/me", headers={"X-Authorization": good, "X-Access-Token": access}),
        await nobody.get("/me", headers=[("Authorization", good), ("Authorization", good)]),
        await nobody.get("/me", headers=[("Authorization", "Bearer x"), ("Authorization", good)]),
        await nobody.get("/me", headers=[("Authorization", good), ("Authorization", "Basic YTpi")]),
        await nobody.get("/me", headers={"Authorization": f"{good}, {good}"}),
        await nobody.get("/me", headers={"Authorization": f"Basic {access}"}),
        await nobody.get("/me", headers={"Authorization": access}),
        await nobody.get("/me", headers={"Authorization": f"Bearer {refresh}"}),
        await nobody.post("/sessions/refresh", json={"refresh_token": access}),
    ]
    for attempt in attempts:
        assert (attempt.status_code, code(attempt)) == (401, "unauthenticated")
    # None of them spent the refresh token, or ended the session.
    assert (await nobody.post("/sessions/refresh", json={"refresh_token": refresh})).status_code == 200
