"""What the log says of requests: enough to find one again, and nothing that was in it.

Neither paths with ids, nor messages of exceptions that are not our own, which may quote what they complain of, nor the
local variables of any frame.
"""

import logging
import traceback
from collections.abc import Iterator
from pathlib import Path

import clarity
from clarity.domain.errors import ClarityError
from clarity.domain.ids import RequestId

_requests = logging.getLogger("clarity.api.requests")
_failures = logging.getLogger("clarity.api.failures")
_METHODS = frozenset({"DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"})
_LINE = "request=%s method=%s route=%s status=%d duration_ms=%.1f"
_LINE_WITH_TRACE = f"{_LINE} trace=%s"
_HOUSE = Path(clarity.__file__).parent


def known(method: str) -> str:
    """Return the method if it is one that HTTP has, so that nobody's invention stands in the log, else "other"."""
    return method if method in _METHODS else "other"


def answered(request: RequestId, method: str, route: str, status: int, seconds: float, *, trace: str = "") -> None:
    """Log one answer. `route` is the template of the path, `status` 0 if the client was gone before it came.

    Who asked is for the trail to say, which has the same id of the request.
    """
    fields: dict[str, object] = {
        "request": str(request),
        "method": known(method),
        "route": route,
        "status": status,
        "duration_ms": round(seconds * 1_000, 1),
    }
    if trace:
        fields["trace"] = trace
    _requests.info(_LINE_WITH_TRACE if trace else _LINE, *fields.values(), extra={"fields": fields})


def failed(request: RequestId, cause: BaseException) -> None:
    """Log what went wrong in a request that is answered with 500, and where in our own code."""
    fields = {
        "request": str(request),
        "cause": " < ".join(_kinds(cause)),
        "at": " < ".join(_places(cause)) or "elsewhere",
    }
    _failures.error("request=%s cause=%s at=%s", *fields.values(), extra={"fields": fields})


def _kinds(cause: BaseException | None) -> Iterator[str]:
    """Return the types of an exception and of what it came from; our own errors also say what they mean."""
    while cause is not None:
        kind = f"{type(cause).__module__}.{type(cause).__qualname__}"
        yield f"{kind} ({cause})" if isinstance(cause, ClarityError) else kind
        cause = cause.__cause__ or (None if cause.__suppress_context__ else cause.__context__)


def _places(cause: BaseException) -> Iterator[str]:
    """Return the places in our own code the exception passed through, the innermost first."""
    for frame in reversed(traceback.extract_tb(cause.__traceback__)):
        path = Path(frame.filename)
        if path.is_relative_to(_HOUSE):
            yield f"{path.relative_to(_HOUSE)}:{frame.lineno}:{frame.name}"
