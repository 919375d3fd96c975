"""Figures for Prometheus: for whoever has the token, and without one for this machine alone."""

import secrets
from ipaddress import IPv6Address, ip_address

from fastapi import APIRouter, Request, Response
from starlette.datastructures import Headers

from clarity.api.dependencies import RunningServices
from clarity.api.options import ApiOptions
from clarity.api.problems import documented
from clarity.domain.errors import NotFound, Unauthenticated

MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"
"""What Prometheus reads (its "text-based format")."""

# A proxy on this machine calls from here on behalf of anybody.
_SPEAKING_FOR_OTHERS = ("forwarded", "via", "x-forwarded", "x-real-ip", "x-client-ip", "true-client-ip")

router = APIRouter(tags=["health"])


@router.get(
    "/metrics",
    response_class=Response,
    responses={
        200: {"content": {"text/plain": {"schema": {"type": "string"}}}},
        **documented(Unauthenticated(), NotFound()),
    },
)
async def show_metrics(request: Request, services: RunningServices) -> Response:
    """Show figures for Prometheus. They say nothing of anybody.

    With METRICS_TOKEN set, it is sent as a bearer token. Without, there is nothing here but for callers on the same
    machine.
    """
    options: ApiOptions = request.app.state.options
    _require_reader(request, options.metrics_token)
    if options.figures is None:
        raise NotFound
    ready = await services.ready()
    return Response(options.figures(ready.checks), media_type=MEDIA_TYPE, headers={"Cache-Control": "no-store"})


def _require_reader(request: Request, token: str) -> None:
    if not token:
        if not _is_from_this_machine(request):
            raise NotFound
        return
    scheme, _, shown = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not secrets.compare_digest(shown.encode(), token.encode()):
        raise Unauthenticated


def _is_from_this_machine(request: Request) -> bool:
    headers: Headers = request.headers
    if request.client is None or any(name.startswith(_SPEAKING_FOR_OTHERS) for name in headers):
        return False
    try:
        address = ip_address(request.client.host)
    except ValueError:
        return False
    return ((address.ipv4_mapped or address) if isinstance(address, IPv6Address) else address).is_loopback
