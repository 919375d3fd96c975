"""Whether the service lives, and whether it can do its work. Neither says anything of anybody."""

from typing import Literal

from fastapi import APIRouter, Request, Response

from clarity.api.dependencies import RunningServices
from clarity.api.wire import Wire
from clarity.application.readiness import Readiness

router = APIRouter(tags=["health"])


class HealthOut(Wire):
    """That the process answers."""

    status: Literal["alive"] = "alive"


class ReadinessOut(Wire):
    """What can be reached."""

    status: Literal["ready", "not ready"]
    checks: dict[str, bool]
    """Whether each thing that is needed is as it has to be."""
    reasons: dict[str, str]
    """What is wrong with those that are not, or worth knowing of those that are."""


@router.get("/health")
async def is_alive() -> HealthOut:
    """Tell that the process answers. If it does not, start it anew."""
    return HealthOut()


@router.get("/ready", responses={503: {"model": ReadinessOut, "description": "Something needed cannot be reached."}})
async def is_ready(services: RunningServices, request: Request, response: Response) -> ReadinessOut:
    """Tell whether everything needed can be reached. While it cannot, send requests elsewhere."""
    response.headers["Cache-Control"] = "no-store"
    ready = Readiness({"staying": "is about to end"}) if request.app.state.draining else await services.ready()
    if all(ready.checks.values()):
        return ReadinessOut(status="ready", checks=ready.checks, reasons=ready.reasons)
    response.status_code = 503
    response.headers["Retry-After"] = "5"
    return ReadinessOut(status="not ready", checks=ready.checks, reasons=ready.reasons)
