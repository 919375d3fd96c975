"""More is asked than can be done: some wait a moment, the others are told at once, and what is begun has an end."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
from starlette.types import Message, Receive, Scope, Send

from clarity.api.overload import Admission, Gate
from clarity.domain.errors import Overloaded, TimedOut
from clarity.security.keyring import Keyring
from tests.api.clinic import Chart, Clinic, code, opened_clinic
from tests.practice import memory_practice

_PATIENT = 30.0


async def test_who_comes_when_all_places_are_taken_waits_in_turn() -> None:
    gate, order = Gate(1, 2, _PATIENT), []
    await gate.enter()

    async def visit(name: str) -> None:
        await gate.enter()
        order.append(name)
        gate.leave()

    waiting = [asyncio.create_task(visit(name)) for name in ("first", "second")]
    await asyncio.sleep(0)
    assert (gate.inside, gate.waiting, gate.is_full) == (1, 2, True)
    gate.leave()
    await asyncio.gather(*waiting)
    assert order == ["first", "second"]
    assert (gate.inside, gate.waiting, gate.shed) == (0, 0, 0)


async def test_who_comes_when_too_many_wait_is_turned_away() -> None:
    gate = Gate(1, 1, _PATIENT)
    await gate.enter()
    waiting = asyncio.create_task(gate.enter())
    await asyncio.sleep(0)
    pauses = set()
    for _ in range(40):
        with pytest.raises(Overloaded) as refused:
            await gate.enter()
        pauses.add(refused.value.retry_after_seconds)
    assert pauses == {1, 2, 3}, "who is refused together must not come back together"
    assert gate.shed == 40
    gate.leave()
    await waiting
    gate.leave()
    assert gate.inside == 0


async def test_those_on_their_way_are_reckoned_with() -> None:
    gate = Gate(2, 1, _PATIENT)
    assert [gate.is_full_behind(coming) for coming in range(4)] == [False, False, False, True]
    await gate.enter()
    assert [gate.is_full_behind(coming) for coming in range(3)] == [False, False, True]


async def test_nobody_waits_longer_than_is_of_use() -> None:
    gate = Gate(1, 5, 0.01)
    await gate.enter()
    with pytest.raises(Overloaded):
        await gate.enter()
    assert (gate.inside, gate.waiting) == (1, 0)
    gate.leave()
    await gate.enter()
    assert gate.inside == 1


async def test_who_leaves_the_queue_takes_nobodys_place() -> None:
    gate = Gate(1, 5, _PATIENT)
    await gate.enter()
    gone, stays = (asyncio.create_task(gate.enter()) for _ in range(2))
    await asyncio.sleep(0)
    gone.cancel()
    gate.leave()
    await stays
    gate.leave()
    assert (gate.inside, gate.waiting) == (0, 0)
    # Given the place and gone in one moment: it goes to the next, or is free again.
    await gate.enter()
    late = asyncio.create_task(gate.enter())
    await asyncio.sleep(0)
    gate.leave()
    late.cancel()
    await asyncio.gather(late, return_exceptions=True)
    assert (gate.inside, gate.waiting) == (0, 0)


async def test_a_gate_through_which_nobody_passes_in_time_lets_nobody_wait() -> None:
    gate = Gate(1, 1_000, 0.02)
    for _ in range(60):
        await gate.enter()
        await asyncio.sleep(0.005)
        gate.leave()
    await gate.enter()
    waiting = []
    while not gate.is_full:
        waiting.append(asyncio.create_task(gate.enter()))
        await asyncio.sleep(0)
    assert len(waiting) <= 2, "places may become free half as fast as of late"
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)


async def worked_on(app: Any, seconds: float = _PATIENT, *, gate: Gate | None = None, path: str = "/") -> list[Message]:
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    async def receive() -> Message:
        return {"type": "http.request"}

    await Admission(app, gate or Gate(2, 0), seconds)({"type": "http", "path": path}, receive, send)
    return sent


async def test_what_takes_too_long_is_cancelled_and_gives_its_place_back() -> None:
    ended = []

    async def endless(*_: object) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(True)

    gate = Gate(1, 0)
    with pytest.raises(TimedOut):
        await worked_on(endless, 0.01, gate=gate)
    assert ended == [True]
    assert gate.inside == 0


async def test_a_time_limit_of_somebody_else_is_not_taken_for_ours() -> None:
    async def hurried(*_: object) -> None:
        async with asyncio.timeout(0.001):
            await asyncio.Event().wait()

    with pytest.raises(TimeoutError) as raised:
        await worked_on(hurried)
    assert not isinstance(raised.value, TimedOut)


async def a_stream(_: Scope, __: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await asyncio.sleep(0.03)
    await send({"type": "http.response.body", "body": b"x"})


async def test_a_stream_may_take_its_time() -> None:
    assert [message["type"] for message in await worked_on(a_stream, 0.01)] == [
        "http.response.start",
        "http.response.body",
    ]


async def test_streams_leave_half_of_the_places_to_others() -> None:
    gate = Gate(2, 0)
    first = asyncio.create_task(worked_on(a_stream, gate=gate))
    await asyncio.sleep(0.005)
    with pytest.raises(Overloaded):
        await worked_on(a_stream, gate=gate)
    await first
    assert await worked_on(a_stream, gate=gate)


@pytest.mark.parametrize("path", ["/health", "/ready", "/metrics"])
async def test_a_probe_is_never_turned_away(path: str) -> None:
    gate = Gate(1, 0)
    await gate.enter()
    assert await worked_on(a_stream, gate=gate, path=path)
    with pytest.raises(Overloaded):
        await worked_on(a_stream, gate=gate, path="/api/v1/patients")


@pytest.fixture
async def narrow_clinic(keyring: Keyring) -> AsyncIterator[Clinic]:
    async with opened_clinic(
        memory_practice(), keyring, max_concurrent_requests=1, max_waiting_requests=0, request_timeout_seconds=0.2
    ) as clinic:
        yield clinic


async def test_a_refusal_says_when_to_come_again_and_reads_nothing(narrow_clinic: Clinic) -> None:
    gate: Gate = narrow_clinic.app.state.gate
    await gate.enter()
    read = []

    async def body() -> AsyncIterator[bytes]:
        read.append(True)
        yield b"{}"

    nobody = narrow_clinic.caller("no token at all")
    for refused in (
        await nobody.get("/patients"),
        await nobody.post("/patients", content=body(), headers={"Content-Type": "application/json"}),
    ):
        assert (refused.status_code, code(refused)) == (503, "overloaded")
        assert refused.headers["retry-after"] in {"1", "2", "3"}
        assert refused.headers["x-request-id"]
    assert read == []
    assert (await nobody.get("http://clinic.test/health")).status_code == 200
    gate.leave()
    assert (await nobody.get("/patients")).status_code == 401


async def test_a_use_case_that_takes_too_long_is_answered(narrow_clinic: Clinic) -> None:
    caller, _ = await narrow_clinic.clinician()

    class Stuck:
        def begin(self, **_: object) -> Any:
            return self

        async def __aenter__(self) -> None:
            await asyncio.Event().wait()

        async def __aexit__(self, *_: object) -> None:
            pytest.fail("nothing was entered")

    services = narrow_clinic.app.state.services
    patients = replace(services.patients, reading=Stuck().begin)
    narrow_clinic.app.state.services = replace(services, patients=patients)
    answer = await caller.get("/patients")
    assert (answer.status_code, code(answer)) == (503, "timed-out")
    assert answer.headers["retry-after"] == "1"
    assert narrow_clinic.app.state.gate.inside == 0


async def test_a_body_of_many_values_is_refused_before_each_is_looked_at(memory_chart: Chart) -> None:
    desk = memory_chart.clinician
    for body in (
        b'{"names": [' + b"1," * 20_000 + b"1]}",
        b"{" + b",".join(b'"%d":1' % number for number in range(6_000)) + b"}",
        b'{"names": ' + b"[" * 6_000 + b"]" * 6_000 + b"}",
    ):
        refused = await desk.post("/patients", content=body, headers={"Content-Type": "application/json"})
        assert (refused.status_code, code(refused)) == (422, "invalid")
        assert refused.json()["errors"] == [{"field": "body", "rule": "must have at most 5000 values"}]
    deep = b'{"names": ' + b"[" * 4_000 + b"]" * 4_000 + b"}"
    refused = await desk.post("/patients", content=deep, headers={"Content-Type": "application/json"})
    assert refused.json()["errors"] == [{"field": "body", "rule": "must be JSON in UTF-8"}]


async def test_commas_in_a_text_are_no_values(memory_chart: Chart) -> None:
    notes = 'one, two; [three] {four} \\ "five", ' * 1_400
    seen = (await memory_chart.view()).headers["etag"]
    answer = await memory_chart.clinician.patch(memory_chart.path, json={"notes": notes}, headers={"If-Match": seen})
    assert answer.status_code == 200, answer.text
