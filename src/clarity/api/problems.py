"""What goes wrong, as problem details (RFC 9457).

The `type` is stable: it is what clients compare. There is no `instance`, and the request id stands in a header, so that
what is absent and what is not the caller's to see are answered with the same bytes.
"""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any
from uuid import UUID

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from clarity.api import logs
from clarity.api.faults import Fault, faults_in
from clarity.api.wire import Wire
from clarity.domain.errors import (
    CannotOpen,
    ClarityError,
    Conflict,
    Forbidden,
    Invalid,
    NotFound,
    StaleWrite,
    TooMany,
    Unauthenticated,
    Unavailable,
)
from clarity.domain.ids import RequestId

MEDIA_TYPE = "application/problem+json"
_STATUS: dict[type[BaseException], int] = {
    NotFound: 404,
    Forbidden: 403,
    Unauthenticated: 401,
    Invalid: 422,
    Conflict: 409,
    StaleWrite: 412,
    TooMany: 429,
    Unavailable: 503,
    BaseException: 500,
}
# What the protocol finds wrong, before or beside any use-case.
_OF_PROTOCOL = {
    405: ("method-not-allowed", "This path does not have this method."),
    408: ("too-slow", "The request did not arrive in time."),
    413: ("too-large", "The body is larger than this service reads."),
    414: ("uri-too-long", "The path and query are longer than this service reads."),
    415: ("unsupported-media-type", "The body must be JSON, declared as such and not compressed."),
    421: ("misdirected", "This service does not go by that name."),
    428: ("precondition-required", "Say in If-Match which version you have seen; its ETag came with it."),
    431: ("head-too-large", "The headers are longer, or more, than this service reads."),
}
_MALFORMED = ("malformed", "This is not a request as HTTP/1.1 has it (RFC 9112).")
_UNFORESEEN = "Something went wrong here; those who run this service find it by the reference."
_EXAMPLE_REFERENCE = RequestId(UUID("019a9d5c-5f0a-7b11-9c36-2d7e41f0c5aa"))


class ProblemOut(Wire):
    """What went wrong (RFC 9457)."""

    type: str
    """A stable name for the kind of problem, to compare with."""
    title: str
    """The same in words."""
    status: int
    detail: str | None = None
    """What is special about this time."""
    errors: tuple[Fault, ...] | None = None
    """The fields that are wrong."""
    reference: str | None = None
    """The id of the request, by which it is found in the log."""


class ProblemResponse(Response):
    """A problem as an answer."""

    media_type = MEDIA_TYPE

    def __init__(self, problem: ProblemOut, headers: Mapping[str, str] | None = None) -> None:
        """Answer with `problem` and its status."""
        super().__init__(problem.model_dump_json(exclude_none=True), problem.status, headers)


async def answer(request: Request, error: Exception) -> Response:
    """Answer a request that ended in an error."""
    response = answer_to(error, request.state.request_id)
    if response.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        # The router names the methods of the first route that has this path, not of all that have it.
        path = getattr(request.scope.get("route"), "path", "")
        methods = request.app.openapi()["paths"].get(path, {"get": {}})
        response.headers["Allow"] = ", ".join(sorted(methods)).upper()
    return response


def answer_to(error: Exception, request: RequestId) -> ProblemResponse:
    """Return the answer that `error` stands for; log it if it is a fault of ours."""
    problem = described(error, request)
    if problem.status == HTTPStatus.INTERNAL_SERVER_ERROR:
        logs.failed(request, error)
    return ProblemResponse(problem, _headers(error))


def described(error: Exception, request: RequestId) -> ProblemOut:
    """Return what a client is told about `error`."""
    if isinstance(error, RequestValidationError):
        return _of_validation(error)
    if isinstance(error, HTTPException):
        return _of_protocol(error.status_code)
    status = next(_STATUS[kind] for kind in type(error).__mro__ if kind in _STATUS)
    if not isinstance(error, ClarityError) or status == HTTPStatus.INTERNAL_SERVER_ERROR:
        code = CannotOpen.code if isinstance(error, CannotOpen) else "internal"
        return ProblemOut(type=_named(code), title=_UNFORESEEN, status=500, reference=str(request))
    if isinstance(error, Invalid):
        return _invalid(Fault(field=error.field or "body", rule=error.rule))
    title = (type(error).__doc__ or "").strip()
    # Whatever an absence could tell about itself would tell it from a refusal.
    detail = None if isinstance(error, NotFound) or str(error) == title else str(error)
    return ProblemOut(type=_named(error.code), title=title, status=status, detail=detail)


def malformed() -> ProblemOut:
    """Return what is told to who sent something that is not HTTP."""
    code, title = _MALFORMED
    return ProblemOut(type=_named(code), title=title, status=400)


def _of_validation(error: RequestValidationError) -> ProblemOut:
    """Describe faults in a request; an id in the path that is none is an id that nobody has."""
    errors = error.errors()
    if any(one["loc"][0] == "path" for one in errors):
        return _of_protocol(404)
    if any(tuple(one["loc"]) == ("header", "If-Match") and one["type"] == "missing" for one in errors):
        return _of_protocol(428)
    return _invalid(*faults_in(errors))


def _of_protocol(status: int) -> ProblemOut:
    """Describe what is wrong by its status. FastAPI says 400 when a body cannot be read."""
    if status in _OF_PROTOCOL:
        code, title = _OF_PROTOCOL[status]
        return ProblemOut(type=_named(code), title=title, status=status)
    if status == HTTPStatus.NOT_FOUND:
        return ProblemOut(type=_named(NotFound.code), title=(NotFound.__doc__ or "").strip(), status=404)
    return _invalid(Fault(field="body", rule="cannot be read"))


def _invalid(*faults: Fault) -> ProblemOut:
    title = (Invalid.__doc__ or "").strip()
    return ProblemOut(type=_named(Invalid.code), title=title, status=422, errors=faults)


def _headers(error: Exception) -> Mapping[str, str] | None:
    if isinstance(error, HTTPException):
        return error.headers
    if isinstance(error, Unauthenticated):
        return {"WWW-Authenticate": "Bearer"}
    if isinstance(error, TooMany | Unavailable):
        return {"Retry-After": str(error.retry_after_seconds)}
    return None


def _named(code: str) -> str:
    return f"urn:clarity:problem:{code}"


def documented(*errors: Exception) -> dict[int | str, dict[str, Any]]:
    """Return the part of an OpenAPI operation that says it may end in one of `errors`, with an example of each."""
    responses: dict[int | str, dict[str, Any]] = {}
    for error in errors:
        problem = described(error, _EXAMPLE_REFERENCE)
        response = responses.setdefault(
            problem.status,
            {
                "description": HTTPStatus(problem.status).phrase,
                "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemOut"}, "examples": {}}},
            },
        )
        example = problem.model_dump(mode="json", exclude_none=True)
        name = problem.type.rpartition(":")[2]
        response["content"][MEDIA_TYPE]["examples"][name] = {"summary": problem.title, "value": example}
        for header in _headers(error) or {}:
            response.setdefault("headers", {})[header] = {"schema": {"type": "string"}}
    return responses
