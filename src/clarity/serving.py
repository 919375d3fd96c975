"""The HTTP service of a practice: the application over its use-cases, what it does beside answering, and its server.

It stands apart from the composition root because commands that serve nothing need not load what serves.
"""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial

from fastapi import FastAPI
from uuid_utils.compat import uuid7

from clarity.api import app as api
from clarity.api import server
from clarity.api.cors import CrossOrigin
from clarity.api.options import ApiOptions
from clarity.application.access_report import keep_reporting
from clarity.application.index_runs import IndexRuns
from clarity.application.outbox import keep_delivering
from clarity.application.services import Services
from clarity.bootstrap import Opened, new_telemetry, now, running, today
from clarity.config import Settings
from clarity.domain.access import POLICY, SENDER, Actor, of_system
from clarity.domain.ids import RequestId
from clarity.persistence.changes import SqlChangeFeed
from clarity.search.resident import ResidentSearch
from clarity.search.snapshot import Snapshot
from clarity.search.streaming import StreamingSearch
from clarity.telemetry.observer import Telemetry

_LAST_DELIVERY_SECONDS = 5.0


@asynccontextmanager
async def resident_search(opened: Opened) -> AsyncIterator[ResidentSearch]:
    """Open the search of a server: an index of names in memory, filled meanwhile."""
    day = partial(today, opened.settings)
    feed = SqlChangeFeed(opened.database, opened.keyring)
    search = ResidentSearch(
        feed,
        StreamingSearch(day),
        IndexRuns(opened.units.reading, now, uuid7),
        today=day,
        snapshot=Snapshot(opened.frames) if opened.frames else None,
    )

    async def look() -> dict[str, str]:
        opened.lookout.notes["search"] = search.note
        return {"search": search.trouble}

    opened.lookout.watch(("search",), look)
    opened.sources.search = search
    try:
        async with search.running():
            yield search
    finally:
        await feed.aclose()


@asynccontextmanager
async def serving(settings: Settings, telemetry: Telemetry) -> AsyncIterator[Services]:
    """Open everything as `running` does, and send what waits in the outbox meanwhile; at the end, what is due then.

    The report of unusual access of the day before is made meanwhile too.
    """
    async with running(settings, telemetry, resident_search) as services:
        stopping = asyncio.Event()
        pause = settings.outbox_pause_seconds
        sending = asyncio.create_task(keep_delivering(services.outbox, _sender, stopping, pause_seconds=pause))
        reporting = asyncio.create_task(keep_reporting(services.access_reports))
        try:
            yield services
        finally:
            reporting.cancel()  # what was not made is made by whoever starts next
            stopping.set()
            await asyncio.wait((reporting,))
            # What cannot be sent in time is sent by whoever starts next.
            with suppress(TimeoutError):
                await asyncio.wait_for(sending, _LAST_DELIVERY_SECONDS)


def _sender() -> Actor:
    return of_system(SENDER, RequestId(uuid7()))


def create_app(settings: Settings) -> FastAPI:
    """Return the HTTP application; it opens everything when it starts, and closes it when it ends.

    Raises `Misconfigured` if the policy has no rows for a kind of record or a role.
    """
    POLICY.require_complete()
    telemetry = new_telemetry()
    token = settings.metrics_token
    options = ApiOptions(
        today=partial(today, settings),
        max_body_bytes=settings.max_body_bytes,
        max_concurrent_requests=settings.max_concurrent_requests,
        max_waiting_requests=settings.max_waiting_requests,
        request_timeout_seconds=settings.request_timeout_seconds,
        trusted_proxies=settings.proxies,
        trusts_local=settings.trusts_local,
        secure=_is_secure(settings),
        allowed_hosts=settings.hosts,
        cors_origins=settings.origins,
        observer=telemetry,
        figures=telemetry.metrics.text,
        metrics_token=token.get_secret_value() if token else "",
    )
    return api.create_app(partial(serving, settings, telemetry), options)


def serve_until_stopped(settings: Settings, listening: socket.socket) -> None:
    """Serve the HTTP application on a socket until a signal says stop. Raises `KeyboardInterrupt` if it was Ctrl-C."""
    options = server.ServerOptions(
        max_connections=settings.max_connections,
        keep_alive_seconds=settings.keep_alive_seconds,
        drain_seconds=settings.drain_seconds,
        new_id=uuid7,
        cross_origin=CrossOrigin(settings.origins),
        secure=_is_secure(settings),
    )
    server.serve(create_app(settings), listening, options)


def _is_secure(settings: Settings) -> bool:
    return settings.public_url.startswith("https://")
