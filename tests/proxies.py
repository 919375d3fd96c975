"""A proxy that does to the connections between the application and PostgreSQL what networks do to them.

It listens on 127.0.0.1, and passes on message by message: it knows enough of PostgreSQL's protocol (PostgreSQL
documentation, "Frontend/Backend Protocol") to see a COMMIT go by, as a simple query and as a prepared statement.
"""

import asyncio
import re
import socket
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from enum import Enum

from sqlalchemy import make_url

from clarity.persistence.engine import EngineOptions

_CHUNK = 65_536
_COMMIT = re.compile(rb"\s*(commit|end)\b", re.IGNORECASE)
# What is sent instead of a first message: to ask for encryption, or to cancel a statement.
_TLS, _GSS, _CANCEL = 80_877_103, 80_877_104, 80_877_102


class AtCommit(Enum):
    """What happens to the next COMMIT that goes by."""

    CUT_BEFORE = "the connection is reset before the server gets it"
    CUT_AFTER = "the connection is reset after the server carried it out, before the client hears of it"
    HOLD = "the server carries it out, and its answer is held back"


@dataclass(slots=True)
class Messages:
    """Cuts a stream into the messages of the protocol. Those of a client begin without a type."""

    untyped: bool
    _rest: bytes = field(default=b"", init=False)

    def feed(self, data: bytes) -> list[bytes]:
        """Return the messages that are complete with `data`."""
        self._rest += data
        complete = []
        while (size := self._size()) and len(self._rest) >= size:
            message, self._rest = self._rest[:size], self._rest[size:]
            if self.untyped:
                self.untyped = struct.unpack_from("!I", message, 4)[0] in {_TLS, _GSS}
            complete.append(message)
        return complete

    def _size(self) -> int:
        """Return how long the next message is, 0 if that has not come yet."""
        if self.untyped:
            return int(struct.unpack_from("!I", self._rest)[0]) if len(self._rest) >= 8 else 0
        return int(1 + struct.unpack_from("!I", self._rest, 1)[0]) if len(self._rest) >= 5 else 0


@dataclass(slots=True)
class Commits:
    """Tells which messages of a client make the server commit."""

    _statements: dict[bytes, bool] = field(default_factory=dict, init=False)
    _portals: dict[bytes, bool] = field(default_factory=dict, init=False)

    def is_one(self, message: bytes) -> bool:
        """Tell whether a message does; each has to be shown, since they refer to each other."""
        kind, body = message[:1], message[5:]
        if kind == b"Q":
            return bool(_COMMIT.match(body))
        if kind == b"P":
            name, query = body.split(b"\0")[:2]
            self._statements[name] = bool(_COMMIT.match(query))
        elif kind == b"B":
            portal, statement = body.split(b"\0")[:2]
            self._portals[portal] = self._statements.get(statement, False)
        elif kind == b"E":
            return self._portals.get(body.split(b"\0")[0], False)
        return False


@dataclass(slots=True, eq=False)
class _Pair:
    """One connection: the side of the client and the side of the server."""

    client: asyncio.StreamWriter
    server: asyncio.StreamWriter
    commits: Commits = field(default_factory=Commits)
    encryption_asked: bool = False
    cutting: bool = False
    holding: bool = False
    silent: bool = False
    deaf: bool = False

    def close(self) -> None:
        """End both sides when what was written is sent."""
        for writer in (self.client, self.server):
            writer.close()

    def reset(self) -> None:
        """End both sides at once, with RST instead of FIN."""
        for writer in (self.client, self.server):
            _reset(writer)


class FaultProxy:
    """Passes on what clients and a server say to each other, until it is told to do worse.

    `delay_seconds` is waited before each message is passed on, and `bytes_per_second` is how fast that is.
    `at_commit` is what happens to the next COMMIT; then it is `None` again, and `struck` is set.
    """

    def __init__(self, target: EngineOptions) -> None:
        """Stand before the server that `target` names."""
        url = make_url(target.url)
        self._target = target
        self._host = str(url.query.get("host") or url.host)
        self._port = url.port or 5432
        self._pairs: set[_Pair] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._released = asyncio.Event()
        self.port = 0
        self.delay_seconds = 0.0
        self.bytes_per_second = 0
        self.at_commit: AtCommit | None = None
        self.struck = asyncio.Event()

    @property
    def options(self) -> EngineOptions:
        """How to connect through it."""
        url = make_url(self._target.url).set(host="127.0.0.1", port=self.port, query={})
        return replace(self._target, url=url.render_as_string(hide_password=False), tls="disable")

    @property
    def connections(self) -> int:
        """How many there are."""
        return len(self._pairs)

    def blackhole(self, *, ended: bool = False) -> None:
        """Pass nothing on any more, in neither direction, and keep every connection open; or end that again."""
        if ended:
            self._flowing.set()
        else:
            self._flowing.clear()

    def silence(self) -> None:
        """Pass nothing on for connections that exist, ever; those made later work. So does a firewall that forgets."""
        for pair in self._pairs:
            pair.silent = True

    def reset(self) -> None:
        """Reset every connection that exists."""
        for pair in tuple(self._pairs):
            pair.reset()

    def half_close(self) -> None:
        """Tell every client that the server will say no more, and go on passing on what they say themselves."""
        for pair in self._pairs:
            if not pair.deaf and not pair.client.is_closing():
                pair.deaf = True
                pair.client.write_eof()

    def strike(self, how: AtCommit) -> None:
        """Do something to the next COMMIT."""
        self.struck.clear()
        self._released.clear()
        self.at_commit = how

    def release(self) -> None:
        """Let the answers go that were held back."""
        self._released.set()

    def heal(self) -> None:
        """Be an ordinary proxy again; what was cut stays cut, and what was silent is."""
        for pair in tuple(self._pairs):
            if pair.silent:
                pair.reset()
        self.delay_seconds, self.bytes_per_second, self.at_commit = 0.0, 0, None
        self._flowing.set()
        self._released.set()

    async def aclose(self) -> None:
        """End every connection."""
        self.reset()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Connect a client to the server, or let it know that there is none."""
        accepting = asyncio.current_task()
        assert accepting is not None
        self._keep(accepting)
        try:
            await self._flowing.wait()
            server_reader, server_writer = await self._connect()
        except OSError:
            _reset(writer)
            return
        pair = _Pair(writer, server_writer)
        self._pairs.add(pair)
        for passing in (
            self._pass_on(pair, reader, server_writer, Messages(untyped=True), self._of_client),
            self._pass_on(pair, server_reader, writer, Messages(untyped=False), self._of_server),
        ):
            self._keep(asyncio.create_task(passing))

    def _keep(self, task: "asyncio.Task[None]") -> None:
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._host.startswith("/"):
            return await asyncio.open_unix_connection(f"{self._host}/.s.PGSQL.{self._port}")
        return await asyncio.open_connection(self._host, self._port)

    async def _pass_on(
        self,
        pair: _Pair,
        source: asyncio.StreamReader,
        sink: asyncio.StreamWriter,
        messages: Messages,
        judge: Callable[[_Pair, bytes], bool],
    ) -> None:
        try:
            while data := await source.read(_CHUNK):
                if pair.encryption_asked and judge == self._of_server:
                    # A single byte, which is no message: whether it goes on encrypted. It does not.
                    pair.encryption_asked = False
                    await self._send(pair, sink, data)
                    continue
                for message in messages.feed(data):
                    if judge(pair, message):
                        pair.reset()
                        return
                    await self._send(pair, sink, message)
            if sink is pair.client:
                pair.close()
            elif not pair.silent:
                await self._flowing.wait()
                sink.write_eof()  # the server ends its side when it has read this
        except OSError:
            pair.reset()
        finally:
            if pair.client.is_closing():
                self._pairs.discard(pair)

    async def _send(self, pair: _Pair, sink: asyncio.StreamWriter, message: bytes) -> None:
        if pair.silent:
            return
        if pair.holding and sink is pair.client:
            await self._released.wait()
            pair.holding = False
        await self._flowing.wait()
        await asyncio.sleep(self.delay_seconds)
        pace = self.bytes_per_second
        step = max(1, pace // 50) if pace else len(message)
        for start in range(0, len(message), step):
            if pair.deaf and sink is pair.client:
                return
            sink.write(message[start : start + step])
            await sink.drain()
            await asyncio.sleep(step / pace if pace else 0)

    def _of_client(self, pair: _Pair, message: bytes) -> bool:
        """Note what a client says; tell whether the connection is cut before the server hears it."""
        if message[:1] == b"\0":
            pair.encryption_asked = struct.unpack_from("!I", message, 4)[0] in {_TLS, _GSS}
            return False
        if not pair.commits.is_one(message) or self.at_commit is None:
            return False
        how, self.at_commit = self.at_commit, None
        self.struck.set()
        pair.cutting, pair.holding = how is AtCommit.CUT_AFTER, how is AtCommit.HOLD
        return how is AtCommit.CUT_BEFORE

    @staticmethod
    def _of_server(pair: _Pair, message: bytes) -> bool:
        """Tell whether the connection is cut before the client hears it: that its COMMIT was carried out."""
        return pair.cutting and message[:1] in {b"C", b"E"}


@asynccontextmanager
async def proxied(target: EngineOptions, *, port: int = 0) -> AsyncIterator[FaultProxy]:
    """Run a proxy before a server while the block runs."""
    proxy = FaultProxy(target)
    listening = await asyncio.start_server(proxy.accept, "127.0.0.1", port)
    proxy.port = listening.sockets[0].getsockname()[1]
    try:
        yield proxy
    finally:
        listening.close()
        await proxy.aclose()


def _reset(writer: asyncio.StreamWriter) -> None:
    """Close a socket so that the other end gets RST: with SO_LINGER of zero seconds (socket(7))."""
    raw = writer.get_extra_info("socket")
    if raw is not None and raw.family != socket.AF_UNIX:
        with suppress(OSError):
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
