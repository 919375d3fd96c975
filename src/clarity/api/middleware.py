"""What happens to every request, whatever its route: plain ASGI, since each layer is paid for by every request."""

import asyncio
import re
import time
from collections.abc import Callable, Sequence
from uuid import UUID

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from clarity.api import logs
from clarity.api.cors import CrossOrigin, RawHeaders
from clarity.api.overload import PROBES
from clarity.api.problems import answer_to
from clarity.api.proxies import BY_PROXY
from clarity.application.ports import RateLimit
from clarity.application.ports.telemetry import UNOBSERVED, RequestObserver, current_request
from clarity.application.rates import REQUESTS_FROM_ADDRESS
from clarity.application.sessions import network_of
from clarity.domain.errors import Unavailable
from clarity.domain.ids import RequestId

# OWASP REST Security Cheat Sheet. What an answer holds is data: nothing in it may run, be framed, or be taken for
# anything else, and no page of another origin has a use for it, unless CORS says so.
SAFE_HEADERS: RawHeaders = [
    (b"x-content-type-options", b"nosniff"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
]
# Two years, as hstspreload.org wants them; what other names under the same domain do is not ours to say.
ONLY_HTTPS = (b"strict-transport-security", b"max-age=63072000")
_KEPT_BY_NOBODY = (b"cache-control", b"no-store")


class Answering:
    """Gives each request an id, its answer the headers that all answers have, and the log one line.

    An id that comes with a request is not taken over: the trail must not hold what a client chose. What nobody foresaw
    ends here, because the server would log it with the message of the exception and so with patients.
    """

    def __init__(
        self,
        app: ASGIApp,
        new_id: Callable[[], UUID],
        private: str,
        cross_origin: CrossOrigin | None = None,
        *,
        secure: bool = False,
        observer: RequestObserver = UNOBSERVED,
    ) -> None:
        """Answer around `app`; nobody on the way may keep what lies below the path `private`.

        With `secure`, browsers are told to come by https alone, and without it those who did. `observer` is told how
        each request ended.
        """
        self._app = app
        self._new_id = new_id
        self._private = private
        self._cross_origin = cross_origin or CrossOrigin(())
        self._secure = secure
        self._observer = observer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()
        request = RequestId(self._new_id())
        scope.setdefault("state", {})["request_id"] = request
        current = current_request.set(request)
        watched = self._observer.request(request, logs.known(scope["method"]), _parent_of(scope))
        status = 0

        async def send_on(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), *self._headers(scope, request)]
            await send(message)

        try:
            await self._app(scope, receive, send_on)
        except Exception as exc:
            problem = answer_to(exc, request)
            if not status:
                await problem(scope, receive, send_on)
        except asyncio.CancelledError:
            # The server ends, and this request had all the time that there was. Nobody awaits this task.
            if not status:
                await answer_to(Unavailable(), request)(scope, receive, send_on)
        finally:
            route = getattr(scope.get("route"), "path", "none")
            seconds = time.perf_counter() - began
            watched.ended(route, status, seconds)
            logs.answered(request, scope["method"], route, status, seconds, trace=watched.trace)
            current_request.reset(current)

    def _headers(self, scope: Scope, request: RequestId) -> RawHeaders:
        headers = [(b"x-request-id", str(request).encode()), *SAFE_HEADERS, *self._cross_origin.headers(scope)]
        if scope["path"].startswith(self._private):
            headers.append(_KEPT_BY_NOBODY)
        if self._secure or scope.get("scheme") == "https":
            headers.append(ONLY_HTTPS)
        return headers


def _parent_of(scope: Scope) -> str:
    """Return the span that a trusted proxy says it calls from; anybody else could join traces that are not theirs."""
    if not scope["state"].get(BY_PROXY):
        return ""
    parents = [value for name, value in scope["headers"] if name == b"traceparent"]
    return parents[0].decode("latin-1") if len(parents) == 1 else ""


class AddressLimit:
    """Counts what comes from one network, whoever it is, before anything else is done about it."""

    def __init__(self, app: ASGIApp, limits: Callable[[], RateLimit]) -> None:
        """Pass on to `app` what is not too much."""
        self._app = app
        self._limits = limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass one request on, or raise `TooMany`."""
        if scope["type"] == "http" and scope["path"] not in PROBES:
            client = scope.get("client")
            await self._limits().hit(REQUESTS_FROM_ADDRESS, network_of(client[0]) if client else "")
        await self._app(scope, receive, send)


# Nobody reads the rest of what was sent.
_NO_MORE = {"Connection": "close"}


class BodyLimit:
    """Refuses bodies above a size: at once where their length is announced, else as soon as they pass it."""

    def __init__(self, app: ASGIApp, max_bytes: int, larger: Sequence[tuple[re.Pattern[str], int]] = ()) -> None:
        """Limit the bodies that `app` reads; those to paths in `larger` may be as large as that says."""
        self._app = app
        self._max_bytes = max_bytes
        self._larger = larger

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass one request on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        max_bytes = self._most_to(scope)
        if _is_too_long(Headers(scope=scope).get("content-length", "0"), max_bytes):
            problem = HTTPException(413, headers=_NO_MORE)
            await answer_to(problem, scope["state"]["request_id"])(scope, receive, send)
            return
        read = 0

        async def receive_some() -> Message:
            nonlocal read
            message = await receive()
            read += len(message.get("body", b""))
            if read > max_bytes:
                raise HTTPException(413, headers=_NO_MORE)
            return message

        await self._app(scope, receive_some, send)

    def _most_to(self, scope: Scope) -> int:
        return max(self._max_bytes, *(most for pattern, most in self._larger if pattern.search(scope["path"])), 0)


def _is_too_long(announced: str, max_bytes: int) -> bool:
    # Python refuses to read numbers of thousands of digits.
    return not announced.isdecimal() or len(announced) > 18 or int(announced) > max_bytes
