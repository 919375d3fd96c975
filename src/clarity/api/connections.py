"""One connection of a client: how much of a head it may send, how long it may take, and when it has to make place.

What a request is, the parser and the server's library decide. Here stands what they leave open: a client who sends
slowly, or reads slowly, or sends heads without end, would cost it nothing and us a place each (ADR 0031).
"""

from asyncio import AbstractEventLoop, BaseTransport, Transport
from collections.abc import Callable
from dataclasses import dataclass, field
from time import monotonic
from typing import Any, cast
from uuid import UUID

import httptools
from starlette.exceptions import HTTPException
from uvicorn._types import ASGI3Application
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from clarity.api import logs
from clarity.api.cors import CrossOrigin, RawHeaders
from clarity.api.middleware import ONLY_HTTPS, SAFE_HEADERS
from clarity.api.overload import PROBES, Gate
from clarity.api.problems import MEDIA_TYPE, ProblemOut, described, malformed
from clarity.domain.errors import Overloaded
from clarity.domain.ids import RequestId

# More than any client needs: tokens have some hundred bytes, cursors some hundred more, and cookies we set none.
MOST_HEAD_BYTES = 32 * 1024
MOST_URL_BYTES = 8 * 1024
MOST_HEADERS = 100
# Who sends the next request before the answer to the last may wait with so many.
MOST_PIPELINED = 8

HEAD_SECONDS = 10.0
"""How long a head may take from its first byte, a new connection until then, and the rest of a body nobody reads."""

_LINGER_SECONDS = 0.5

UNREAD_SECONDS = 30.0
UNREAD_BYTES = 32 * 1024
"""Of an answer that waits in our memory, a client reads so much in that time, or is not there any more."""

_PROBES = frozenset(path.encode() for path in PROBES)
_OVERLOADED = described(Overloaded(1), RequestId(UUID(int=0))).model_dump_json(exclude_none=True).encode()
_SHED_HEAD = b"HTTP/1.1 503 Service Unavailable\r\n" + b"".join(
    b"%b: %b\r\n" % header
    for header in (
        (b"content-type", MEDIA_TYPE.encode()),
        (b"content-length", b"%d" % len(_OVERLOADED)),
        (b"cache-control", b"no-store"),
        *SAFE_HEADERS,
    )
)
_PHRASES = {400: "Bad Request", 408: "Request Timeout", 414: "URI Too Long", 431: "Headers Too Large", 503: "Busy"}


@dataclass(slots=True)
class Crowd:
    """What the connections of one server know of each other.

    `idle` are those for whose client the server waits, who has waited longest first; they make place when there are
    `most` and another comes. `coming` are the requests that were let by and are not at the gate yet: of twenty that
    arrive together, all would find it open.
    """

    most: int
    new_id: Callable[[], UUID]
    gate: Gate
    cross_origin: CrossOrigin
    secure: bool
    draining: bool = False
    idle: dict["Connection", None] = field(default_factory=dict)
    shed: int = 0
    coming: int = 0

    def let_by(self, loop: AbstractEventLoop) -> None:
        """Count a request on its way to the gate; it is there before the loop listens to clients again."""
        if not self.coming:
            loop.call_soon(self._all_came)
        self.coming += 1

    def _all_came(self) -> None:
        self.coming = 0


class CrowdConfig(Config):
    """What the server's library is told, and the crowd beside it."""

    crowd: Crowd


class Connection(HttpToolsProtocol):
    """A connection that is bounded in what it may send and how long it may take."""

    def __init__(
        self,
        config: CrowdConfig,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._crowd = config.crowd
        self._reads_head = True
        self._head_bytes = 0
        self._head_size = 0
        self._since = monotonic()
        self._unread: tuple[int, float] | None = None
        self._refusal = 400
        self._ended = False
        self._begun = False
        self._sheds = False
        self._working: RequestResponseCycle | None = None

    @property
    def _answers(self) -> bool:
        """Whether a request is being worked on."""
        return self._begun and not self.cycle.response_complete

    def connection_made(self, transport: BaseTransport) -> None:
        """Take the connection, if there is place or somebody makes some."""
        super().connection_made(cast("Transport", transport))
        if len(self.connections) > self._crowd.most and not self._make_place():
            self.refuse(described(Overloaded(2), RequestId(self._crowd.new_id())), "retry-after: 2")
            return
        self._crowd.idle[self] = None

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection, and tell the request that is worked on, which need not be the last that came."""
        self._crowd.idle.pop(self, None)
        if self._working is not None:
            self._working.disconnected = True
            self._working.message_event.set()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take what came, unless it is more of a head than one may have."""
        if self._ended:
            return
        if self._reads_head:
            if not self._head_bytes:
                self._since = monotonic()
            self._head_bytes += len(data)
        self._unset_keepalive_if_required()
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._take_no_more()
        except httptools.HttpParserError:
            self._complain()
        else:
            if self._reads_head and self._head_bytes > MOST_HEAD_BYTES:
                self._refusal = 431
                self.send_400_response("")

    def on_url(self, url: bytes) -> None:
        """Take a part of the path and query."""
        super().on_url(url)
        if len(self.url) > MOST_URL_BYTES:
            self._refuse_with(414)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header. What comes behind a body would change a request that is being worked on, so nothing may."""
        if not self._reads_head:
            self._refuse_with(400)
        super().on_header(name, value)
        self._head_size += len(name) + len(value)
        if self._head_size > MOST_HEAD_BYTES or len(self.headers) > MOST_HEADERS:
            self._refuse_with(431)

    def on_message_begin(self) -> None:
        """Begin with a request."""
        super().on_message_begin()
        self._reads_head = True
        self._head_size = 0

    def on_headers_complete(self) -> None:
        """Begin to work on a request; it names one host, so that nobody on the way can have meant another."""
        if self._ended:
            self._refuse_with(400)  # it came with one whose answer was to be the last
        hosts = sum(name == b"host" for name, _ in self.headers)
        if hosts > 1 or (not hosts and self.parser.get_http_version() == "1.1"):
            self._refuse_with(400)
        if len(self.pipeline) >= MOST_PIPELINED:
            self._refuse_with(400)
        self._reads_head = False
        self._sheds = self._must_shed()
        if self._sheds:
            self._shed()
            return
        self._crowd.idle.pop(self, None)
        self._crowd.let_by(self.loop)
        super().on_headers_complete()
        self._begun = True
        if self._crowd.draining:
            self.cycle.keep_alive = False

    def on_body(self, body: bytes) -> None:
        """Take a part of a body, unless its request was turned away."""
        if not self._sheds:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """Wait for the next head."""
        if not self._sheds:
            super().on_message_complete()
        self._reads_head = True
        self._head_bytes = 0
        self._since = monotonic()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        self._working = cycle
        super()._start_asgi_task(cycle, app)

    def on_response_complete(self) -> None:
        """Wait for the client again."""
        super().on_response_complete()
        if self.cycle.response_complete and not self.transport.is_closing():
            self._since = monotonic()
            self._crowd.idle[self] = None

    def resume_writing(self) -> None:
        """Go on with an answer, of which the client has read some."""
        self._unread = None
        super().resume_writing()

    def send_400_response(self, msg: str) -> None:
        """Say what is wrong with a head, and end the connection."""
        del msg
        problem = malformed()
        if self._refusal != 400:
            problem = described(HTTPException(self._refusal), RequestId(self._crowd.new_id()))
        self.refuse(problem)

    def refuse(self, problem: ProblemOut, *headers: str) -> None:
        """Answer with a problem before any request was read, and end the connection."""
        self._ended = True
        if self._answers and self._reads_head:
            # This is not the answer to what came before: that is given, and then comes the end.
            self.cycle.keep_alive = False
            return
        if self.pipeline:
            # Of one that waits behind another: whatever is said now would be taken for the answer to that.
            self.transport.abort()
            return
        if self._answers:
            # Of this request itself, of which nobody will see the end, nor need they say anything to it.
            self.cycle.disconnected = True
            self.cycle.message_event.set()
            if self.cycle.response_started:
                self.transport.abort()
                return
        request = RequestId(self._crowd.new_id())
        body = problem.model_dump_json(exclude_none=True).encode()
        head = [
            f"HTTP/1.1 {problem.status} {_PHRASES[problem.status]}",
            f"content-type: {MEDIA_TYPE}",
            f"content-length: {len(body)}",
            "connection: close",
            "cache-control: no-store",
            f"x-request-id: {request}",
            *(f"{name.decode()}: {value.decode()}" for name, value in SAFE_HEADERS),
            *headers,
        ]
        self.transport.write("\r\n".join([*head, "", ""]).encode() + body)
        self._hang_up()
        logs.answered(request, "none", "none", problem.status, 0.0)

    def look(self, now: float) -> None:
        """End the connection if its client takes too long over what it does."""
        if self._reads_answer_too_slowly(now):
            self.transport.abort()
        elif self._ended or self.transport.is_closing() or now - self._since < HEAD_SECONDS:
            return
        elif not self._answers:
            if not self._reads_head:
                self.transport.abort()  # the rest of a body that nobody reads
            elif self._head_bytes:
                self._refusal = 408
                self.send_400_response("")
            elif not self._begun:
                self.transport.close()  # never sent anything

    def _take_no_more(self) -> None:
        """Let this answer be the last: we offer no other protocol, and what follows might be of the other."""
        self._ended = True
        if self._sheds:
            self._hang_up()
        else:
            self.cycle.keep_alive = False

    def _complain(self) -> None:
        """Answer what is no HTTP, unless it belongs to what has its answer, or stands behind the last."""
        if self._sheds and not self._reads_head:
            self._hang_up()
        elif not self._ended:
            self.send_400_response("")

    def _must_shed(self) -> bool:
        if self._answers or not self._crowd.gate.is_full_behind(self._crowd.coming):
            return False
        return self.url.partition(b"?")[0] not in _PROBES

    def _shed(self) -> None:
        """Turn a request away with nothing but what the parser has read of it: no task, no scope, no line in the log.

        Of four requests that are three too many, this is what is done three times, so it decides how much is left for
        the fourth.
        """
        overloaded = self._crowd.gate.turn_away()
        self._crowd.shed += 1
        keep = self.parser.should_keep_alive() and not self._crowd.draining
        headers: RawHeaders = [
            (b"x-request-id", str(self._crowd.new_id()).encode()),
            (b"retry-after", b"%d" % overloaded.retry_after_seconds),
            *self._crowd.cross_origin.headers({"headers": self.headers}),
        ]
        if self._crowd.secure:
            headers.append(ONLY_HTTPS)
        if not keep:
            headers.append((b"connection", b"close"))
        # Who asks for a head would take the body for the beginning of the next answer.
        body = b"" if self.parser.get_method() == b"HEAD" else _OVERLOADED
        head = b"".join(b"%b: %b\r\n" % header for header in headers)
        self.transport.write(_SHED_HEAD + head + b"\r\n" + body)
        self._since = monotonic()
        if keep:
            self._unset_keepalive_if_required()
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )
        else:
            self._hang_up()

    def _hang_up(self) -> None:
        """End the connection with what was written last.

        To close while something arrives is to reset, and who is still sending would not see the answer.
        """
        self._ended = True
        self._crowd.idle.pop(self, None)
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self.loop.call_later(_LINGER_SECONDS, self.transport.close)

    def _make_place(self) -> bool:
        """Let whoever has kept the server waiting longest go, and tell whether there was anybody."""
        oldest = next(iter(self._crowd.idle), None)
        if oldest is None:
            return False
        self._crowd.idle.pop(oldest)
        oldest.transport.abort()
        return True

    def _reads_answer_too_slowly(self, now: float) -> bool:
        unread = self.transport.get_write_buffer_size()
        if not unread:
            self._unread = None
        elif self._unread is None or unread + UNREAD_BYTES <= self._unread[0]:
            self._unread = (unread, now)
        return self._unread is not None and now - self._unread[1] > UNREAD_SECONDS

    def _refuse_with(self, status: int) -> None:
        """Leave the parser, which reports any error of ours as one of the request's."""
        self._refusal = status
        raise httptools.HttpParserCallbackError
