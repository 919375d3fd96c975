"""The server around the application: it bounds connections, and stops without breaking off what it has begun."""

import asyncio
import gc
import logging
import resource
import signal
import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic
from types import FrameType
from uuid import UUID

import uvicorn
from fastapi import FastAPI

from clarity.api.connections import Connection, Crowd, CrowdConfig
from clarity.api.cors import CrossOrigin

# From the signal to stop, requests get this long. Container managers wait 30 seconds before they kill, and closing the
# database takes a moment too.
_FINISH_SECONDS = 25.0
# What is cancelled then rolls back and says so in the trail.
_UNWIND_SECONDS = 3.0
# Between two looks through all that lasted; Python's own number is ten.
_LOOKS_AT_THE_YOUNG = 1_000
_SWITCH_SECONDS = 0.0005
# Files that are no connections of clients: those to databases, keys, the log, and what a moment needs.
_OTHER_FILES = 200

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerOptions:
    """How many may be connected, how long a connection may be idle, and how long to go on after the signal to stop."""

    max_connections: int
    keep_alive_seconds: float
    drain_seconds: float
    new_id: Callable[[], UUID]
    cross_origin: CrossOrigin
    secure: bool


def serve(app: FastAPI, listening: socket.socket, options: ServerOptions) -> None:
    """Serve `app` on a socket until a signal says stop. Raises `KeyboardInterrupt` if that was Ctrl-C."""
    server = server_of(app, options)
    set_aside_what_exists()
    favour_the_loop()
    server.run([listening])
    if server.stopped_by == signal.SIGINT:
        raise KeyboardInterrupt


def set_aside_what_exists() -> None:
    """Let Python look for garbage only among what comes from now on, and seldom among what has lasted.

    Modules and open services exist to the end. Under load, all of them were looked through every two seconds: 90 ms in
    which nobody was answered, and nothing was found. Of what comes later, remembered keys are the most, and stay too:
    looking through ten thousand takes 15 ms. So it is done once in so many times that the young are looked through,
    which is every quarter of an hour under load; what refers to itself and lasted that long is little.
    """
    gc.collect()
    gc.freeze()
    young, younger, _ = gc.get_threshold()
    gc.set_threshold(young, younger, _LOOKS_AT_THE_YOUNG)


def favour_the_loop() -> None:
    """Let a thread give Python up to the event loop after half a millisecond, and not after five.

    While one wrote a snapshot of the index, the loop waited five for it each time that it had waited for the system.
    """
    sys.setswitchinterval(_SWITCH_SECONDS)


def server_of(app: FastAPI, options: ServerOptions) -> "Server":
    """Return a server for `app` that has not begun."""
    config = CrowdConfig(
        app,
        http=Connection,
        ws="none",
        lifespan="on",
        # The application writes its own log, in which no address and no query of a request stands.
        access_log=False,
        log_config=None,
        server_header=False,
        # Who is believed is for the application to decide, and not for a variable of the environment.
        proxy_headers=False,
        timeout_keep_alive=max(1, round(options.keep_alive_seconds)),
    )
    config.crowd = Crowd(
        most=_affordable(options.max_connections),
        new_id=options.new_id,
        gate=app.state.gate,
        cross_origin=options.cross_origin,
        secure=options.secure,
    )
    return Server(config, app, options.drain_seconds)


def _affordable(connections: int) -> int:
    """Return how many connections the limit on open files leaves us, after raising it as far as we may and need."""
    now, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = connections + _OTHER_FILES
    if now != resource.RLIM_INFINITY and now < needed:
        now = needed if most == resource.RLIM_INFINITY else min(needed, most)
        resource.setrlimit(resource.RLIMIT_NOFILE, (now, most))
        if now < needed:
            connections = max(1, now - _OTHER_FILES)
            _log.warning("connections=%d since no more files may be open", connections)
    return connections


class Server(uvicorn.Server):
    """The library's server, with connections that are looked after, and another way to stop.

    The first signal makes it say that it is not ready, and that connections end with the next answer; after
    `drain_seconds`, in which whoever distributes requests notices, it stops listening, and ends when all are answered.
    The second ends the process as if it were killed, which harms nothing (tests/integration/test_killed_server.py).
    """

    def __init__(self, config: CrowdConfig, app: FastAPI, drain_seconds: float) -> None:
        super().__init__(config)
        self.stopped_by: int | None = None
        self._app = app
        self._crowd = config.crowd
        self._drain_seconds = drain_seconds
        self._stop_at: float | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Open what the application needs, and listen. What that made is there to the end as well."""
        await super().startup(sockets)
        set_aside_what_exists()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to stop, or end at once if that has begun. Signals are not kept, to be raised again at the end."""
        del frame
        if self.stopped_by is not None:
            signal.signal(sig, signal.SIG_DFL)
            signal.raise_signal(sig)
        self.stopped_by = sig
        self._crowd.draining = self._app.state.draining = True
        self._stop_at = monotonic() + self._drain_seconds
        self.should_exit = not self._drain_seconds

    async def on_tick(self, counter: int) -> bool:
        """Look after the connections once a second, and at the time to stop."""
        now = monotonic()
        if counter % 10 == 0:
            self._look_after_connections(now)
            self._tell_shed()
        if self._stop_at is not None and now >= self._stop_at:
            self.should_exit = True
        return await super().on_tick(counter)

    def _tell_shed(self) -> None:
        """Log how many were turned away in this second: a line for each would cost more than turning them away."""
        if self._crowd.shed:
            _log.warning("shed=%d", self._crowd.shed)
            self._crowd.shed = 0

    async def _wait_tasks_to_complete(self) -> None:
        """Let what runs end, cancel what does not, and return when it has said so in the trail.

        The library would cancel too, and close the trail meanwhile.
        """
        left = _FINISH_SECONDS - self._drain_seconds
        await self._wait_while(lambda: bool(self.server_state.connections or self.server_state.tasks), left)
        if self.server_state.tasks:
            _log.warning("cancelled=%d since they took longer than a stop may", len(self.server_state.tasks))
            for task in list(self.server_state.tasks):
                task.cancel()
            await self._wait_while(lambda: bool(self.server_state.tasks), _UNWIND_SECONDS)
        for connection in list(self.server_state.connections):
            if isinstance(connection, Connection):
                connection.transport.abort()
        for server in self.servers:
            await server.wait_closed()

    async def _wait_while(self, busy: Callable[[], bool], seconds: float) -> None:
        ends = monotonic() + seconds
        while busy() and monotonic() < ends:
            self._look_after_connections(monotonic())
            await asyncio.sleep(0.05)

    def _look_after_connections(self, now: float) -> None:
        for connection in list(self.server_state.connections):
            if isinstance(connection, Connection):
                connection.look(now)
