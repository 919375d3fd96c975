"""Which pages of other origins may call this API from a browser: none, unless an operator names them."""

from collections.abc import Collection

from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

# Tokens travel in a header that no browser adds by itself, so no page is ever allowed to send credentials along.
_MAY_SEND = b"Authorization, Content-Type, Idempotency-Key, If-Match"
_MAY_READ = b"Accept, Accept-Patch, Allow, ETag, Location, Retry-After, WWW-Authenticate, X-Request-Id"
_METHODS = b"GET, POST, PUT, PATCH, DELETE"
_REMEMBER_SECONDS = b"600"

RawHeaders = list[tuple[bytes, bytes]]


class CrossOrigin:
    """The origins whose pages may read answers, and the headers that tell browsers so (Fetch Standard, 3.3)."""

    def __init__(self, origins: Collection[str]) -> None:
        """Allow `origins` as browsers write them: scheme, name, and port unless it is the scheme's own."""
        self._origins = frozenset(origin.encode() for origin in origins)

    def headers(self, scope: Scope) -> RawHeaders:
        """Return what the answer to a request says."""
        if not self._origins:
            return []
        # Otherwise a cache might give one origin the answer to another.
        said: RawHeaders = [(b"vary", b"Origin")]
        if origin := self._allowed(scope):
            said += [(b"access-control-allow-origin", origin), (b"access-control-expose-headers", _MAY_READ)]
        return said

    def is_preflight(self, scope: Scope) -> bool:
        """Tell whether a browser asks if it may send what a page of an allowed origin wants sent."""
        asks = any(name == b"access-control-request-method" for name, _ in scope["headers"])
        return scope["method"] == "OPTIONS" and asks and bool(self._allowed(scope))

    def _allowed(self, scope: Scope) -> bytes:
        origins = [value for name, value in scope["headers"] if name == b"origin"]
        return origins[0] if len(origins) == 1 and origins[0] in self._origins else b""


class Preflights:
    """Answers the question that browsers ask before they send for a page of another origin."""

    def __init__(self, app: ASGIApp, cross_origin: CrossOrigin) -> None:
        """Pass everything else on to `app`."""
        self._app = app
        self._cross_origin = cross_origin

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, if it is such a question."""
        if scope["type"] == "http" and self._cross_origin.is_preflight(scope):
            answer = Response(status_code=204)
            answer.raw_headers += [
                (b"access-control-allow-methods", _METHODS),
                (b"access-control-allow-headers", _MAY_SEND),
                (b"access-control-max-age", _REMEMBER_SECONDS),
            ]
            await answer(scope, receive, send)
            return
        await self._app(scope, receive, send)
