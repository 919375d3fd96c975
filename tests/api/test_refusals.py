"""What bad input gets: the field and the rule it broke, never the value; and absence that tells nothing."""

import copy
import json
import re
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from fastapi.openapi.constants import METHODS_WITH_BODY
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from clarity.api.middleware import BodyLimit
from clarity.domain.access import Role
from clarity.domain.audit import Outcome
from clarity.domain.records import Label
from tests.api.clinic import MOST_BYTES, WHOLE, Chart, Clinic, code, fields, seen
from tests.builders import a_patient, new_id

CANARY = "zqcanary"
NUMBER = 8675309.25
JSON = {"Content-Type": "application/json"}
Path = tuple[str | int, ...]


def paths_in(value: Any, path: Path = ()) -> Iterator[Path]:
    """Return the place of everything in a JSON value."""
    if path:
        yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield from paths_in(item, (*path, key))


def placed(body: dict[str, Any], path: Path, value: Any) -> dict[str, Any]:
    """Return `body` with `value` at one place."""
    changed = copy.deepcopy(body)
    place: Any = changed
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return changed


@pytest.mark.parametrize("path", list(paths_in(WHOLE)), ids=lambda path: ".".join(map(str, path)))
async def test_a_value_that_is_refused_is_not_repeated(memory_chart: Chart, path: Path) -> None:
    refusals = 0
    for value in (CANARY, f"{CANARY}\0", CANARY * 5_000, {CANARY: CANARY}, [CANARY], [[NUMBER]], NUMBER, -1, True):
        answer = await memory_chart.replace(placed(WHOLE, path, value))
        # An identifier that could be recorded is not the clinician's to change.
        assert answer.status_code in {200, 403, 422}, answer.text
        if answer.status_code == 422:
            refusals += 1
            assert CANARY not in answer.text
            assert str(NUMBER) not in answer.text
            for field in fields(answer):
                assert _is_near(field, path), (field, path)
    assert refusals >= 3


def _is_near(field: str, path: Path) -> bool:
    """Tell whether a field is the one at `path`, in it, or around it; the parts of a name excuse each other."""
    spelt = ".".join(map(str, path))
    return f"{field}.".startswith(f"{spelt}.") or spelt.startswith(field.rpartition(".")[0] or field)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=200)
@given(path=st.sampled_from(list(paths_in(WHOLE))), value=json_values, name=st.text(max_size=8))
async def test_whatever_stands_in_a_field_is_taken_or_refused(
    memory_chart: Chart, path: Path, value: Any, name: str
) -> None:
    for body in (placed(WHOLE, path, value), {**WHOLE, name: value}):
        answer = await memory_chart.replace(body)
        assert answer.status_code in {200, 403, 422}, answer.text
        if answer.status_code == 422:
            assert code(answer) == "invalid"


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=200)
@given(body=st.binary(max_size=60) | json_values.map(lambda value: json.dumps(value).encode()))
async def test_whatever_comes_as_a_body_is_refused(memory_clinic: Clinic, body: bytes) -> None:
    refused = await memory_clinic.caller().post("/sessions", content=body, headers=JSON)
    assert refused.status_code == 422
    assert code(refused) == "invalid"


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b"", "body"),
        (b"zqcanary", "body"),
        (b'{"names": [{"family": "zqcanary"}], "born": "1985"', "body"),
        (b'{"names": [{"family": "zqcanary\xff"}], "born": "1985"}', "body"),
        (b'{"names": [{"family": "zqcanary\\ud800"}], "born": "1985"}', "body"),
        (b'{"names": [{"family": "zqcanary"}], "born": "1985", "\\udc00zqcanary": 1}', "body"),
        (b'{"names": [{"family": "zqcanary\\u0000"}], "born": "1985"}', "names.0.family"),
        (b'{"names": [{"family": "zqcanary"}], "born": NaN}', "born"),
        (
            b'{"names": [{"family": "a"}], "born": "1985", "birth_place": {"city": "a", "latitude": NaN}}',
            "birth_place.latitude",
        ),
        (
            b'{"names": [{"family": "a"}], "born": "1985", "birth_place": {"city": "a", "latitude": 1e999}}',
            "birth_place.latitude",
        ),
        (b'{"names": ' + b"[" * 20_000 + b"]" * 20_000 + b"}", "body"),
        (b'{"a":' * 5_000 + b"1" + b"}" * 5_000, "body"),
        (b'{"names": [{"family": "a"}], "born": "1985", "multiple_birth": ' + b"9" * 5_000 + b"}", "body"),
        (b'{"names": [{"family": "a"}], "born": "1985", "multiple_birth": 99999999999999999999}', "multiple_birth"),
        (
            b'{"names": [{"family":"a"}], "born":"1985", "telecoms":[{"system":"fax","value":"1","rank":9999999999}]}',
            "telecoms.0.rank",
        ),
        (b'{"names": [{"family": "a"}], "born": "0000"}', "born"),
        (b'{"names": [{"family": "a"}], "born": "1985-02-30"}', "born"),
        (b'{"names": [{"family": "a"}], "born": "1985", "death": {"instant": "2020-01-01T00:00:00"}}', "death.instant"),
        (b'{"names": [{"family": "a"}], "born": "1985", "death": {"instant": "1577836800"}}', "death.instant"),
        (b'{"names": [{"family": "a"}], "born": "1985", "death": {"instant": 1577836800}}', "death.instant"),
        (b'{"names": [{"family": "a"}], "born": "1985", "death": {"instant": "20200101T000000Z"}}', "death.instant"),
        (b'{"names": [{"family": "a"}], "born": 1985}', "born"),
        (b'{"names": [{"family": "a"}], "born": "1985", "label": "psychotherapy"}', "label"),
        (b'{"names": [{"family": "a"}], "born": "1985", "zqcanary": "zqcanary"}', "body"),
        (b'{"names": [{"family": "a", "zqcanary": 1}], "born": "1985"}', "names.0"),
        (b"[]", "body"),
        (b"null", "body"),
    ],
)
async def test_a_body_that_is_not_what_it_should_be_is_refused(memory_clinic: Clinic, body: bytes, field: str) -> None:
    refused = await (await memory_clinic.front_desk()).post("/patients", content=body, headers=JSON)
    assert refused.status_code == 422
    assert code(refused) == "invalid"
    assert fields(refused) == [field]
    assert CANARY not in refused.text


async def test_of_a_name_that_occurs_twice_the_last_counts(memory_clinic: Clinic) -> None:
    desk = await memory_clinic.front_desk()
    body = b'{"born": "1985", "names": [{"family": "First"}], "born": "1990", "names": [{"family": "Last"}]}'
    shown = (await desk.post("/patients", content=body, headers=JSON)).json()
    assert (shown["born"], shown["names"][0]["family"]) == ("1990", "Last")


async def test_many_faults_are_told_in_a_few_words(memory_clinic: Clinic) -> None:
    desk = await memory_clinic.front_desk()
    body = {"names": [{"family": 1}] * 1_000, "born": 1, **{f"{CANARY}{number}": 1 for number in range(1_000)}}
    refused = await desk.post("/patients", json=body)
    assert refused.status_code == 422
    assert len(fields(refused)) == 20
    assert CANARY not in refused.text


async def test_absent_refused_and_malformed_look_the_same(clinic: Clinic, chart: Chart) -> None:
    stranger, _ = await clinic.clinician()
    administrator = await clinic.logged_in(Role.ADMINISTRATOR)
    owner_of_another = await clinic.logged_in(Role.PATIENT, patient=(await clinic.practice.stored(a_patient())).id)
    guarded = await clinic.practice.stored(a_patient(label=Label.RESTRICTED))
    desk = await clinic.front_desk()
    answers = [
        await stranger.get(chart.path),
        await administrator.get(chart.path),
        await owner_of_another.get(chart.path),
        await desk.get(f"/patients/{guarded.id}"),
        await stranger.get(f"/patients/{new_id()}"),
        await chart.clinician.get(f"/patients/{new_id()}"),
        await stranger.get("/patients/not-an-id"),
        await stranger.get(f"/patients/{CANARY}"),
        await stranger.get(f"{chart.path}x"),
        await stranger.get(f"{chart.path}/history"),
        await stranger.get("/patients/not-an-id/history"),
        await stranger.get(f"/patients/{new_id()}/history"),
        await stranger.get(f"{chart.path}/no-such-thing"),
        await stranger.get("/patients/"),
        await stranger.get("/no-such-thing"),
        await desk.get(f"{chart.path}/history"),
        await stranger.patch(chart.path, json={"notes": CANARY}, headers=seen(1)),
        await stranger.patch(chart.path, json={"notes": CANARY}, headers=seen(7)),
        await stranger.patch(chart.path, json={"names": [CANARY]}, headers=seen(1)),
        await stranger.patch(f"/patients/{new_id()}", json={"names": [CANARY]}, headers=seen(1)),
        await stranger.patch("/patients/not-an-id", json={"notes": CANARY}, headers=seen(1)),
        await stranger.put(chart.path, json={"names": [{"family": "X"}], "born": "1990"}, headers=seen(1)),
        await stranger.put(f"{chart.path}/care-team", json={"practitioners": [str(new_id())]}, headers=seen(1)),
        await desk.post(f"{chart.path}/discharge", json={"day": "2026-01-01"}, headers=seen(1)),
    ]
    alike = {(answer.status_code, answer.content, tuple(_headers(answer))) for answer in answers}
    assert len(alike) == 1, [(answer.request.url, answer.status_code, answer.text) for answer in answers]
    assert answers[0].status_code == 404
    assert answers[0].content == (
        b'{"type":"urn:clarity:problem:not-found","title":"There is no such record.","status":404}'
    )


def _headers(answer: Any) -> Iterator[tuple[str, str]]:
    return ((name, value) for name, value in answer.headers.items() if name != "x-request-id")


async def test_a_refusal_is_remembered(clinic: Clinic, chart: Chart) -> None:
    stranger, _ = await clinic.clinician()
    refused = await stranger.get(chart.path)
    events = [
        event for event in await clinic.practice.events() if str(event.request) == refused.headers["x-request-id"]
    ]
    assert [(event.patient, event.outcome) for event in events] == [(chart.patient.id, Outcome.REFUSED)]


async def test_nobody_gets_in_without_a_token(memory_clinic: Clinic) -> None:
    nobody = memory_clinic.caller()
    open_to_all = {
        ("post", "/api/v1/sessions"),
        ("post", "/api/v1/sessions/refresh"),
        ("post", "/api/v1/password-resets"),
        ("post", "/api/v1/password-resets/complete"),
        ("post", "/api/v1/invitations/complete"),
        ("get", "/health"),
        ("get", "/ready"),
        ("get", "/metrics"),  # which has a token of its own
    }
    asked = 0
    for path, operations in memory_clinic.app.openapi()["paths"].items():
        for method, operation in operations.items():
            assert ("security" in operation) == ((method, path) not in open_to_all)
            if (method, path) in open_to_all:
                continue
            asked += 1
            url = "http://clinic.test" + re.sub(r"{\w+}", str(new_id()), path)
            body = b'{"zqcanary": 1}' if method.upper() in METHODS_WITH_BODY and "requestBody" in operation else None
            refused = await nobody.request(method, url, content=body, headers=JSON if body else {})
            assert (refused.status_code, code(refused)) == (401, "unauthenticated"), (method, path)
            assert refused.headers["www-authenticate"] == "Bearer"
    assert asked > 40


@pytest.mark.parametrize(
    "authorization",
    ["Bearer", "Bearer ", "Bearer zq.zq.zq", "bearer \xff\xfe", "Basic enE6enE=", "zqcanary", "Bearer " + "x" * 5_000],
)
async def test_a_token_that_is_none_is_none(memory_clinic: Clinic, authorization: str) -> None:
    refused = await memory_clinic.caller().get("/me", headers=[(b"Authorization", authorization.encode("latin-1"))])
    assert (refused.status_code, code(refused)) == (401, "unauthenticated")
    assert CANARY not in refused.text


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH"])
@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Type": "text/plain"},
        {"Content-Type": "application/x-www-form-urlencoded"},
        {"Content-Type": "application/jsonp"},
        {"Content-Type": "application/fhir+json"},
        {"Content-Type": ""},
        {},
        {**JSON, "Content-Encoding": "gzip"},
    ],
)
async def test_bodies_are_json(memory_clinic: Clinic, method: str, headers: dict[str, str]) -> None:
    desk = await memory_clinic.front_desk()
    path = "/patients" if method == "POST" else f"/patients/{new_id()}"
    refused = await desk.request(method, path, content=b"{}", headers={**headers, **seen(1)})
    assert (refused.status_code, code(refused)) == (415, "unsupported-media-type")
    assert "application/json" in refused.headers["accept-patch" if method == "PATCH" else "accept"]


async def test_a_merge_patch_is_for_patching(memory_clinic: Clinic) -> None:
    desk = await memory_clinic.front_desk()
    patch = {"Content-Type": "application/merge-patch+json", **seen(1)}
    assert (await desk.post("/patients", content=b"{}", headers=patch)).status_code == 415
    assert (await desk.patch(f"/patients/{new_id()}", content=b"{}", headers=patch)).status_code == 404


async def test_a_charset_does_not_make_it_something_else(memory_clinic: Clinic) -> None:
    desk = await memory_clinic.front_desk()
    headers = {"Content-Type": "Application/JSON; charset=utf-8"}
    assert (await desk.post("/patients", content=b"{}", headers=headers)).status_code == 422


async def _chunks(size: int) -> AsyncIterator[bytes]:
    for _ in range(size // 1_024):
        yield b"x" * 1_024


@pytest.mark.parametrize("path", ["/patients", "/patients/search", "/sessions"])
async def test_a_body_that_is_too_large_is_not_read(memory_clinic: Clinic, path: str) -> None:
    desk = await memory_clinic.front_desk()
    announced = await desk.post(path, content=b" " * (MOST_BYTES + 1), headers=JSON)
    unannounced = await desk.post(path, content=_chunks(MOST_BYTES * 2), headers=JSON)
    assert "content-length" not in unannounced.request.headers
    for refused in (announced, unannounced):
        assert (refused.status_code, code(refused)) == (413, "too-large")
        assert refused.headers["x-request-id"]
    assert (await desk.post(path, content=b" " * MOST_BYTES, headers=JSON)).status_code == 422
    assert (await desk.post(path, content=_chunks(MOST_BYTES), headers=JSON)).status_code == 422


@pytest.mark.parametrize("announced", [b"9" * 5_000, b"-1", b"1e9", b"\xb2"])
async def test_a_length_that_is_none_is_too_large(announced: bytes) -> None:
    sent: list[Any] = []

    async def reached(*_: object) -> None:
        pytest.fail("the body would have been read")

    async def receive() -> dict[str, Any]:
        pytest.fail("the body was read")

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "headers": [(b"content-length", announced)], "state": {"request_id": new_id()}}
    await BodyLimit(reached, 100)(scope, receive, send)
    assert sent[0]["status"] == 413


async def test_a_method_a_path_does_not_have_is_named_so(memory_clinic: Clinic) -> None:
    nobody = memory_clinic.caller()
    for path, methods in (
        (f"/patients/{new_id()}", "GET, PATCH, PUT"),
        ("/patients", "GET, POST"),
        ("/me", "GET"),
        ("http://clinic.test/openapi.json", "GET"),
    ):
        refused = await nobody.delete(path)
        assert (refused.status_code, code(refused)) == (405, "method-not-allowed")
        assert refused.headers["allow"] == methods


async def test_no_page_is_served_that_loads_from_elsewhere(memory_clinic: Clinic) -> None:
    nobody = memory_clinic.caller()
    for path in ("/docs", "/redoc", "/docs/oauth2-redirect"):
        assert (await nobody.get(f"http://clinic.test{path}")).status_code == 404


async def test_no_answer_may_be_kept_or_guessed_at(clinic: Clinic, chart: Chart) -> None:
    nobody = clinic.caller()
    for answer in (
        await chart.view(),
        await nobody.get("/patients"),
        await nobody.get("/no-such-thing"),
        await chart.clinician.post("/patients", content=b" " * (MOST_BYTES + 1), headers=JSON),
        await nobody.post("/sessions", json={"email": "a@b", "password": "c"}),
    ):
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["x-content-type-options"] == "nosniff"


async def test_a_request_id_is_never_the_clients(chart: Chart) -> None:
    theirs = str(new_id())
    first = await chart.clinician.get(chart.path, headers={"X-Request-Id": theirs})
    second = await chart.clinician.get(chart.path, headers={"X-Request-Id": theirs})
    ids = {first.headers["x-request-id"], second.headers["x-request-id"]}
    assert len(ids) == 2
    assert theirs not in ids
