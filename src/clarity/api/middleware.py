"""What happens to every request, whatever its route: plain ASGI, since each layer is paid for by every request."""

import time
from collections.abc import Callable
from uuid import UUID

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from clarity.api import logs
from clarity.api.problems import answer_to
from clarity.domain.ids import RequestId


class Answering:
    """Gives each request an id, its answer the headers that all answers have, and the log one line.

    An id that comes with a request is not taken over: the trail must not hold what a client chose. What nobody foresaw
    ends here, because the server would log it with the message of the exception and so with patients.
    """

    def __init__(self, app: ASGIApp, new_id: Callable[[], UUID], private: str) -> None:
        """Answer around `app`; nobody on the way may keep what lies below the path `private`."""
        self._app = app
        self._new_id = new_id
        self._private = private

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()
        request = RequestId(self._new_id())
        scope.setdefault("state", {})["request_id"] = request
        status = 0

        async def send_on(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                self._add_headers(MutableHeaders(scope=message), request, scope["path"])
            await send(message)

        try:
            await self._app(scope, receive, send_on)
        except Exception as exc:
            problem = answer_to(exc, request)
            if not status:
                await problem(scope, receive, send_on)
        finally:
            route = getattr(scope.get("route"), "path", "none")
            logs.answered(request, scope["method"], route, status, time.perf_counter() - began)

    def _add_headers(self, headers: MutableHeaders, request: RequestId, path: str) -> None:
        headers["X-Request-Id"] = str(request)
        headers["X-Content-Type-Options"] = "nosniff"
        if path.startswith(self._private):
            headers["Cache-Control"] = "no-store"


class BodyLimit:
    """Refuses bodies above a size: at once where their length is announced, else as soon as they pass it."""

    def __init__(self, app: ASGIApp, max_bytes: int) -> None:
        """Limit the bodies that `app` reads."""
        self._app = app
        self._max_bytes = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass one request on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if self._is_too_long(Headers(scope=scope).get("content-length", "0")):
            await answer_to(HTTPException(413), scope["state"]["request_id"])(scope, receive, send)
            return
        read = 0

        async def receive_some() -> Message:
            nonlocal read
            message = await receive()
            read += len(message.get("body", b""))
            if read > self._max_bytes:
                raise HTTPException(413)
            return message

        await self._app(scope, receive_some, send)

    def _is_too_long(self, announced: str) -> bool:
        # Python refuses to read numbers of thousands of digits.
        return not announced.isdecimal() or len(announced) > 18 or int(announced) > self._max_bytes
