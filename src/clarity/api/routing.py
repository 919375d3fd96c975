"""Routes that take JSON and nothing else."""

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.routing import Match
from starlette.types import Scope

from clarity.api.bodies import require_few_values
from clarity.api.options import ROOT
from clarity.api.problems import documented
from clarity.domain.errors import (
    CannotOpen,
    Invalid,
    Overloaded,
    PoolExhausted,
    TimedOut,
    TooMany,
    TrailUnavailable,
    Unauthenticated,
)

JSON = "application/json"
MERGE_PATCH = "application/merge-patch+json"
_ACCEPTED = {"POST": (JSON,), "PUT": (JSON,), "PATCH": (MERGE_PATCH, JSON)}
UNAVAILABLE = (PoolExhausted(), TrailUnavailable(), Overloaded(2), TimedOut())
"""Why any operation may be unavailable for a while; one that has more reasons names these too."""

_ALWAYS = (
    Invalid("names.0.family", "must be a text"),
    Unauthenticated(),
    TooMany(60),
    CannotOpen(),
    *UNAVAILABLE,
)


class _UnparsedRequest(Request):
    """A request whose JSON reaches its shape as bytes, so that the shape parses it: once, strictly and bounded."""

    async def json(self) -> bytes:
        """Return the body as it came."""
        return await self.body()


class JsonRoute(APIRoute):
    """A route whose body, if it takes one, is declared as JSON, not compressed, and of a bearable number of values."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return the handler behind that check."""
        handle = super().get_route_handler()

        async def checked(request: Request) -> Response:
            unparsed = _UnparsedRequest(request.scope, request.receive)
            _require_json(request)
            require_few_values(await unparsed.body())
            return await handle(unparsed)

        return handle if self.body_field is None else checked


def _require_json(request: Request) -> None:
    accepted = _ACCEPTED[request.method]
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type not in accepted or request.headers.get("content-encoding", "identity") != "identity":
        header = "Accept-Patch" if request.method == "PATCH" else "Accept"
        raise HTTPException(415, headers={header: ", ".join(accepted)})


class FeatureRouter(APIRouter):
    """A router whose routes are looked through only for a path that begins as all of theirs do.

    FastAPI tries those of every router that comes before: for a patient, sixty times in all.
    """

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Tell whether a route of this router is meant."""
        path, root = scope["path"], scope.get("root_path", "")
        if path.startswith(f"{root}/"):  # behind a proxy, or within another application
            path = path[len(root) :]
        if not path.startswith(self.prefix.partition("{")[0]):
            return Match.NONE, {}
        return super().matches(scope)


def router_of(feature: str) -> APIRouter:
    """Return an empty router for `/api/v1/{feature}` with the answers that each of its routes may give."""
    return FeatureRouter(
        prefix=f"{ROOT}/{feature}",
        tags=[feature],
        route_class=JsonRoute,
        responses=documented(*_ALWAYS),
    )
