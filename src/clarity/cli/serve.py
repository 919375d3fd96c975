"""`clarity serve` and `clarity openapi`: the HTTP API."""

import asyncio
import json
import socket
from ipaddress import ip_address
from typing import TYPE_CHECKING, Annotated

import typer

from clarity.cli.logs import log_to_standard_error
from clarity.cli.practice import read_settings
from clarity.cli.terminal import note
from clarity.domain.errors import Unavailable

if TYPE_CHECKING:
    from clarity.upkeep import Settings

Host = Annotated[str, typer.Option(help="The address to listen on. Other machines reach 0.0.0.0; put TLS before it.")]
Port = Annotated[int, typer.Option(min=0, max=65_535, help="The port to listen on; 0 takes a free one.")]


def serve(*, host: Host = "127.0.0.1", port: Port = 8000) -> None:
    """Serve the HTTP API until stopped: SIGTERM or Ctrl-C lets running requests end first, and a second ends at once.

    Refuses to start with a missing or wrong key, with tables that are behind, and outside development with
    anything unsafe. Several processes may serve one PostgreSQL database side by side.
    """
    settings = read_settings()
    with listen(host, port) as listening:
        asyncio.run(_check(settings))
        run(settings, listening)


def openapi() -> None:
    """Print the OpenAPI description of the HTTP API as JSON. Needs neither keys nor a database."""
    from clarity.serving import create_app

    typer.echo(json.dumps(create_app(read_settings()).openapi(), indent=2))


def listen(host: str, port: int) -> socket.socket:
    """Return a listening socket. Raises `Unavailable` if the port is taken."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
        listening.listen(2048)
    except OSError as exc:
        listening.close()
        raise Unavailable(f"cannot listen on {host} port {port}: {exc.strerror}; choose another --port") from None
    return listening


def address_of(listening: socket.socket) -> str:
    """Return the URL somebody on this machine opens."""
    host, port = listening.getsockname()[:2]
    if ip_address(host).is_unspecified:
        host = "localhost"
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def run(settings: "Settings", listening: socket.socket) -> None:
    """Serve on a socket until a signal says stop."""
    from clarity.serving import serve_until_stopped

    log_to_standard_error(as_json=settings.log_format == "json")
    note(f"Serving on {address_of(listening)}; Ctrl-C stops it.")
    serve_until_stopped(settings, listening)


async def _check(settings: "Settings") -> None:
    """Open everything once, so that what is wrong is said in one line before anything is served."""
    from clarity.bootstrap import new_telemetry, running
    from clarity.upkeep import require_ready

    await require_ready(settings)
    async with running(settings, new_telemetry()):
        pass
