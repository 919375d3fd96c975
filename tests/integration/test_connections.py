"""Connections to a server: what a client may send, how long it may take, and how it all ends."""

import asyncio
import contextlib
import gc
import json
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from time import monotonic

import pytest
from fastapi import FastAPI, Request
from starlette.responses import PlainTextResponse, StreamingResponse

from clarity.api import bodies, connections, server
from clarity.api.bodies import WholeBodies
from clarity.api.connections import Connection
from clarity.api.cors import CrossOrigin
from clarity.api.middleware import Answering
from clarity.api.overload import Gate
from clarity.api.server import Server, ServerOptions, serve, server_of
from tests.builders import new_id

_SECONDS = 20.0


def an_app() -> FastAPI:
    """Return an application that says who asks, or takes its time."""
    app = FastAPI()
    app.state.gate, app.state.draining, app.state.go_on = Gate(2, 0), False, asyncio.Event()

    @app.get("/who")
    async def who(request: Request) -> PlainTextResponse:
        return PlainTextResponse(f"{request.client.host if request.client else ''} {request.url.scheme}")

    @app.post("/echo")
    async def echo(request: Request) -> PlainTextResponse:
        return PlainTextResponse((await request.body()).decode())

    @app.get("/slow")
    async def slow() -> PlainTextResponse:
        await app.state.go_on.wait()
        return PlainTextResponse("done")

    @app.get("/much")
    async def much() -> PlainTextResponse:
        return PlainTextResponse("x" * 30_000_000)

    @app.get("/stream")
    async def stream() -> StreamingResponse:
        async def parts() -> AsyncIterator[bytes]:
            yield b"first"
            await app.state.go_on.wait()
            yield b"last"

        return StreamingResponse(parts())

    return app


@dataclass(frozen=True, slots=True)
class House:
    """A server that runs in this process, so that time can be made to pass."""

    app: FastAPI
    server: Server
    port: int
    ended: asyncio.Task[None]

    @asynccontextmanager
    async def client(self) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            yield reader, writer
        finally:
            writer.close()

    async def said(self, *parts: bytes) -> bytes:
        """Send bytes and return what is answered until the server closes."""
        async with self.client() as (reader, writer), asyncio.timeout(_SECONDS):
            for part in parts:
                writer.write(part)
                await writer.drain()
            with contextlib.suppress(ConnectionResetError):
                return await reader.read()
        return b""

    def pass_time(self, seconds: float) -> None:
        """Look after the connections as if so much time had passed since they were last looked after."""
        for connection in list(self.server.server_state.connections):
            assert isinstance(connection, Connection)
            connection.look(monotonic() + seconds)

    async def until(self, count: int) -> None:
        """Return when there are so many connections."""
        async with asyncio.timeout(_SECONDS):
            while len(self.server.server_state.connections) != count:
                await asyncio.sleep(0.005)


def options_of(most: int = 50, drain_seconds: float = 0) -> ServerOptions:
    return ServerOptions(
        max_connections=most,
        keep_alive_seconds=30,
        drain_seconds=drain_seconds,
        new_id=new_id,
        cross_origin=CrossOrigin(["https://app.example.org"]),
        secure=True,
    )


@asynccontextmanager
async def a_server(app: FastAPI | None = None, *, most: int = 50, drain_seconds: float = 0) -> AsyncIterator[House]:
    app = app or an_app()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        running = server_of(app, options_of(most, drain_seconds))
        ended = asyncio.create_task(running.serve([listening]))
        while not running.started:
            await asyncio.sleep(0.005)
        try:
            yield House(app, running, listening.getsockname()[1], ended)
        finally:
            app.state.go_on.set()
            if running.stopped_by is None:
                running.handle_exit(signal.SIGTERM, None)
            async with asyncio.timeout(_SECONDS):
                await ended


@pytest.fixture
async def house() -> AsyncIterator[House]:
    async with a_server() as house:
        yield house


def told(answer: bytes) -> tuple[int, dict[str, str], str]:
    """Return status, headers and kind of a problem that a server gave without its application."""
    head, _, body = answer.partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:])}
    assert headers["content-type"] == "application/problem+json"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cache-control"] == "no-store"
    assert headers["x-request-id"]
    assert "server" not in headers
    assert int(headers["content-length"]) == len(body)
    problem = json.loads(body)
    assert set(problem) == {"type", "title", "status"}
    return int(lines[0].split()[1]), headers, problem["type"].removeprefix("urn:clarity:problem:")


GET = b"GET /who HTTP/1.1\r\nHost: x\r\n"
POST = b"POST /echo HTTP/1.1\r\nHost: x\r\n"


@pytest.mark.parametrize(
    ("request_bytes", "status", "kind"),
    [
        (b"zqcanary\r\n\r\n", 400, "malformed"),
        (b"\x16\x03\x01\x02\x00\x01\x00", 400, "malformed"),
        (b"GET /who HTTP/1.1\r\n\r\n", 400, "malformed"),
        (GET + b"Host: y\r\n\r\n", 400, "malformed"),
        (GET + b"Content Length: 3\r\n\r\n", 400, "malformed"),
        (GET + b"X : 3\r\n\r\n", 400, "malformed"),
        (POST + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd", 400, "malformed"),
        (POST + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400, "malformed"),
        (POST + b"Content-Length: -3\r\n\r\nabcd", 400, "malformed"),
        (b"CONNECT x:443 HTTP/1.1\r\nHost: x\r\n\r\n", 400, "malformed"),
        (b"GET /" + b"a" * 9_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 414, "uri-too-long"),
        (GET + b"X: y\r\n" * 101 + b"\r\n", 431, "head-too-large"),
        (GET + b"X: " + b"y" * 33_000 + b"\r\n\r\n", 431, "head-too-large"),
        (GET + b"X: " + b"y" * 200_000, 431, "head-too-large"),
    ],
)
async def test_a_head_that_is_none_or_too_large_is_refused(
    house: House, request_bytes: bytes, status: int, kind: str
) -> None:
    answer = await house.said(request_bytes)
    assert told(answer)[0::2] == (status, kind)
    assert told(answer)[1]["connection"] == "close"
    assert b"zqcanary" not in answer


async def test_what_stands_behind_a_body_is_no_header(house: House) -> None:
    chunked = POST + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nAuthorization: Bearer zqcanary\r\n\r\n"
    assert told(await house.said(chunked))[0] == 400


async def test_another_protocol_is_not_taken_up(house: House) -> None:
    asked = GET + b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
    answer = await house.said(asked, b"\x88\x00GET /who HTTP/1.1\r\nHost: x\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200")
    assert answer.count(b"HTTP/1.1") == 1


async def test_no_header_and_no_variable_says_who_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORWARDED_ALLOW_IPS", "*")
    async with a_server() as house:
        answer = await house.said(
            GET + b"X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-Proto: https\r\nConnection: close\r\n\r\n"
        )
        assert answer.endswith(b"127.0.0.1 http")


async def test_requests_in_a_row_are_answered_in_turn_and_not_without_end(house: House) -> None:
    few = (GET + b"\r\n") * 3 + GET + b"Connection: close\r\n\r\n"
    assert (await house.said(few)).count(b"200 OK") == 4
    many = await house.said((GET + b"\r\n") * 500)
    assert 0 < many.count(b"200 OK") < 20


async def test_who_sends_slowly_is_sent_away(house: House) -> None:
    async with house.client() as (head, half), house.client() as (silent, _), house.client() as (idle, asked):
        half.write(GET)
        asked.write(GET + b"\r\n")
        assert (await idle.readuntil(b"http")).startswith(b"HTTP/1.1 200")
        house.pass_time(connections.HEAD_SECONDS - 5)
        await house.until(3)
        house.pass_time(connections.HEAD_SECONDS + 1)
        assert told(await head.read())[0] == 408
        assert await silent.read() == b""
        await house.until(1)
        asked.write(GET + b"\r\n")
        assert (await idle.readuntil(b"http")).startswith(b"HTTP/1.1 200")


async def test_who_does_not_read_is_cut_off(house: House) -> None:
    async with house.client() as (reader, writer):
        writer.write(b"GET /much HTTP/1.1\r\nHost: x\r\n\r\n")
        await reader.readexactly(10)
        house.pass_time(0)
        house.pass_time(connections.UNREAD_SECONDS - 5)
        await house.until(1)
        house.pass_time(connections.UNREAD_SECONDS + 1)
        await house.until(0)


async def test_who_has_waited_longest_makes_place_for_who_comes() -> None:
    async with a_server(most=2) as house, house.client() as (first, _), house.client() as (second, busy):
        await house.until(2)
        busy.write(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")
        answer = asyncio.create_task(house.said(GET + b"Connection: close\r\n\r\n"))
        with contextlib.suppress(ConnectionResetError):
            assert await first.read() == b""
        assert (await answer).startswith(b"HTTP/1.1 200")
        async with house.client() as (third, also_busy):
            also_busy.write(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")
            await asyncio.sleep(0.05)
            status, headers, kind = told(await house.said(GET + b"\r\n"))
            assert (status, kind, headers["retry-after"]) == (503, "overloaded", "2")
            house.app.state.go_on.set()
            for reader in (second, third):
                assert (await reader.readuntil(b"done")).startswith(b"HTTP/1.1 200")


async def test_what_is_too_much_is_turned_away_at_the_door_and_may_come_again(house: House) -> None:
    gate: Gate = house.app.state.gate
    await gate.enter()
    await gate.enter()
    async with house.client() as (reader, writer), asyncio.timeout(_SECONDS):
        body = b"Content-Length: 100\r\n\r\n" + b"x" * 100
        writer.write(POST + b"Origin: https://app.example.org\r\n" + body + POST + body)
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        status, headers, kind = told(head + await reader.readexactly(length))
        assert (status, kind) == (503, "overloaded")
        assert headers["retry-after"] in {"1", "2", "3"}
        assert headers["access-control-allow-origin"] == "https://app.example.org"
        assert headers["strict-transport-security"]
        assert "connection" not in headers
        again = await reader.readuntil(b"\r\n\r\n")
        assert again.startswith(b"HTTP/1.1 503")
        await reader.readexactly(length)
        gate.leave()
        writer.write(POST + body)
        assert (await reader.readuntil(b"x" * 100)).startswith(b"HTTP/1.1 200")
    await gate.enter()
    probe = await house.said(b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert probe.startswith(b"HTTP/1.1 404"), "this application has none, but it was asked"
    assert gate.shed == 2


async def test_of_many_who_come_together_no_more_are_let_by_than_find_a_place(house: House) -> None:
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(house.client()) for _ in range(5)]
        await house.until(5)
        for _, writer in clients:
            writer.write(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")
        await asyncio.sleep(0.05)
        house.app.state.go_on.set()
        async with asyncio.timeout(_SECONDS):
            answers = sorted([await reader.read(12) for reader, _ in clients])
        assert answers == [b"HTTP/1.1 200"] * 2 + [b"HTTP/1.1 503"] * 3
    assert (await house.said(GET + b"Connection: close\r\n\r\n")).startswith(b"HTTP/1.1 200"), "the way is free again"


async def test_who_is_turned_away_is_answered_once_and_no_more(house: House) -> None:
    gate: Gate = house.app.state.gate
    await gate.enter()
    await gate.enter()
    asked = (
        GET + b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
        b"CONNECT x:443 HTTP/1.1\r\nHost: x\r\n\r\n",
        POST + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
        GET + b"Connection: close\r\n\r\n" + GET + b"\r\n",
        GET + b"Connection: close\r\n\r\nzqcanary\r\n\r\n",
    )
    for answer in await asyncio.gather(*map(house.said, asked)):
        assert told(answer)[0::2] == (503, "overloaded")


async def test_who_asks_for_a_head_and_is_turned_away_gets_no_body(house: House) -> None:
    gate: Gate = house.app.state.gate
    await gate.enter()
    await gate.enter()
    answer = await house.said(b"HEAD /who HTTP/1.1\r\nHost: x\r\n\r\n" + GET + b"Connection: close\r\n\r\n")
    first, _, second = answer.partition(b"\r\n\r\n")
    assert first.startswith(b"HTTP/1.1 503")
    assert told(second)[0] == 503


async def test_what_is_wrong_with_a_request_is_no_answer_to_the_one_before(house: House) -> None:
    before = b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n"
    assert await house.said(before + POST + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n") == b""


async def test_who_leaves_is_gone_for_the_request_that_is_worked_on(house: House) -> None:
    async with house.client() as (reader, writer):
        writer.write(b"GET /stream HTTP/1.1\r\nHost: x\r\n\r\n" + GET + b"\r\n")
        await reader.readuntil(b"first")
    async with asyncio.timeout(_SECONDS):
        while house.server.server_state.tasks:
            await asyncio.sleep(0.005)


async def test_a_server_that_stops_goes_on_for_a_while_and_says_so() -> None:
    async with a_server(drain_seconds=0.4) as house, house.client() as (idle, asked), house.client() as (slow, waits):
        asked.write(GET + b"\r\n")
        assert b"connection: close" not in await idle.readuntil(b"http")
        waits.write(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")
        await asyncio.sleep(0.05)
        house.server.handle_exit(signal.SIGTERM, None)
        assert house.app.state.draining
        asked.write(GET + b"\r\n")
        assert b"connection: close" in await idle.read(), "the connection ends, the request does not"
        assert (await house.said(GET + b"\r\n")).startswith(b"HTTP/1.1 200"), "it still listens"
        while not house.server.should_exit:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.15)
        with pytest.raises(ConnectionRefusedError):
            await house.said(GET)
        assert not house.ended.done()
        house.app.state.go_on.set()
        assert (await slow.read()).endswith(b"done")
        async with asyncio.timeout(_SECONDS):
            await house.ended


async def test_what_does_not_end_is_broken_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "_FINISH_SECONDS", 0.2)
    async with a_server() as house, house.client() as (reader, writer):
        writer.write(b"GET /stream HTTP/1.1\r\nHost: x\r\n\r\n")
        await reader.readuntil(b"first")
        house.server.handle_exit(signal.SIGTERM, None)
        with contextlib.suppress(ConnectionResetError):
            assert not (await reader.read()).endswith(b"0\r\n\r\n"), "who reads it must see that it is not whole"
        async with asyncio.timeout(_SECONDS):
            await house.ended
        assert not house.server.server_state.tasks


async def test_a_slow_body_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "GRACE_SECONDS", 0.1)
    app = an_app()
    app.add_middleware(WholeBodies, gate=app.state.gate, max_bytes=10_000)
    app.add_middleware(Answering, new_id=new_id, private="/")
    async with a_server(app) as house:
        status, headers, kind = told(await house.said(POST + b"Content-Length: 20\r\n\r\nabc"))
        assert (status, kind, headers["connection"]) == (408, "too-slow", "close")
        assert house.app.state.gate.inside == 0


def test_what_exists_before_a_server_begins_is_not_looked_through_again(monkeypatch: pytest.MonkeyPatch) -> None:
    frozen, usual, interval = [], gc.get_threshold(), sys.getswitchinterval()
    monkeypatch.setattr(Server, "run", lambda *_: frozen.append((gc.get_freeze_count(), gc.get_threshold()[2])))
    try:
        gc.set_threshold(usual[0], 10, 10)
        with socket.socket() as listening:
            serve(an_app(), listening, options_of())
    finally:
        gc.unfreeze()
        gc.set_threshold(*usual)
        sys.setswitchinterval(interval)
    [(count, looks)] = frozen
    assert count > 10_000, "the modules and classes of the server alone are more"
    assert looks > 10, "what lasted is looked through less often"
