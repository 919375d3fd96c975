"""Bodies of requests: read whole before anything is done about them, within a time, and not too many at once."""

import asyncio

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from clarity.api.overload import PROBES, Gate
from clarity.domain.errors import Invalid

# Everybody gets some seconds; beyond them, a line of 128 kbit/s is as slow as may be.
GRACE_SECONDS = 10.0
SLOWEST_BYTES_PER_SECOND = 16 * 1024

MOST_VALUES = 5_000
"""How many values a body may have: far more than any record, and few enough to find something wrong with each."""

_BODIES_AT_ONCE = 64


class WholeBodies:
    """Reads a body before its request takes a place, so that a slow sender keeps nobody else from theirs.

    Those in memory are together no larger than 64 of the largest size.
    """

    def __init__(self, app: ASGIApp, gate: Gate, max_bytes: int) -> None:
        """Read the bodies that `app` asks for."""
        self._app = app
        self._gate = gate
        self._most_bytes = max_bytes * _BODIES_AT_ONCE
        self._bytes = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass one request on with its body, or raise `Overloaded`, or `HTTPException` with 408 for who is too slow."""
        if scope["type"] != "http" or scope["path"] in PROBES or not _announces_body(scope):
            await self._app(scope, receive, send)
            return
        if self._gate.is_full or self._bytes >= self._most_bytes:
            raise self._gate.turn_away()
        body = bytearray()
        try:
            if not await self._read(body, receive):
                return  # the client left, and nobody waits for an answer
            unread: list[Message] = [{"type": "http.request", "body": bytes(body), "more_body": False}]

            async def receive_whole() -> Message:
                return unread.pop() if unread else await receive()

            await self._app(scope, receive_whole, send)
        finally:
            self._bytes -= len(body)

    async def _read(self, body: bytearray, receive: Receive) -> bool:
        """Read a body, and tell whether all of it came."""
        began = asyncio.get_running_loop().time()
        more = True
        while more:
            deadline = began + GRACE_SECONDS + len(body) / SLOWEST_BYTES_PER_SECOND
            try:
                async with asyncio.timeout_at(deadline):
                    message = await receive()
            except TimeoutError:
                raise HTTPException(408, headers={"Connection": "close"}) from None
            if message["type"] != "http.request":
                return False
            chunk: bytes = message.get("body", b"")
            body += chunk
            self._bytes += len(chunk)
            more = message.get("more_body", False)
        return True


def _announces_body(scope: Scope) -> bool:
    return any(
        (name == b"content-length" and value != b"0") or name == b"transfer-encoding"
        for name, value in scope["headers"]
    )


def require_few_values(body: bytes) -> None:
    """Raise `Invalid` if there is more in a JSON text than anybody has to say.

    A million values that are all wrong take seconds to be found wrong, one by one, and nobody else is served meanwhile.
    How deep they are nested is bounded by the parser.
    """
    if _separators(body) > MOST_VALUES and _separators(_without_texts(body)) > MOST_VALUES:
        raise Invalid("body", f"must have at most {MOST_VALUES} values")


def _separators(body: bytes) -> int:
    return body.count(b",") + body.count(b"[") + body.count(b"{")


def _without_texts(body: bytes) -> bytes:
    """Return a JSON text without what stands between quotation marks."""
    return b"".join(body.replace(rb"\\", b"").replace(rb"\"", b"").split(b'"')[::2])
