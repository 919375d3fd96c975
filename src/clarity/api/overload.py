"""How much is worked on at once: what comes beyond that waits a moment, or is told at once to come again.

A server that takes everything in works ever longer on what nobody waits for any more. One that turns away what it
cannot finish goes on at its full speed, and says so to the others while they are still there (ADR 0031).
"""

import asyncio
import random
from asyncio import Future
from collections import deque
from contextlib import suppress
from time import monotonic

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from clarity.domain.errors import Overloaded, TimedOut

PROBES = frozenset({"/health", "/ready", "/metrics"})
"""Whoever looks after the service is always let in: a busy server that looks dead would be started anew."""

# Longer than any pause between two requests of a busy minute, and too short to be noticed by a person.
PATIENCE_SECONDS = 0.25
# Places become free in bursts, since changes are committed together. Whoever waits in vain costs several times what it
# would have cost to turn them away at the door, so nobody is let wait who would need more of the patience than this.
_RECKONED_SHARE = 0.5


class Gate:
    """Lets `at_once` requests in; at most `waiting` more wait, in order of arrival, for at most `patience_seconds`.

    Whoever would have to wait for more than half of that, going by how fast places became free of late, is turned away
    at once.
    """

    def __init__(self, at_once: int, waiting: int, patience_seconds: float = PATIENCE_SECONDS) -> None:
        """Begin with nobody inside."""
        self._at_once = at_once
        self._most_waiting = waiting
        self._patience_seconds = patience_seconds
        self._reckoned_seconds = patience_seconds * _RECKONED_SHARE
        self._queue: deque[Future[None]] = deque()
        self._inside = 0
        self._streams = 0
        self._shed = 0
        self._left_at = 0.0
        self._pause_seconds = 0.0

    @property
    def inside(self) -> int:
        """How many are let in and have not left."""
        return self._inside

    @property
    def waiting(self) -> int:
        """How many wait."""
        return len(self._queue)

    @property
    def shed(self) -> int:
        """How many were turned away since the start."""
        return self._shed

    @property
    def is_full(self) -> bool:
        """Whether whoever came now would be turned away."""
        return self.is_full_behind(0)

    def is_full_behind(self, coming: int) -> bool:
        """Tell whether somebody would be turned away who comes behind `coming` others that were let by."""
        waiting = self._inside + coming - self._at_once + len(self._queue)
        if waiting < 0:
            return False
        return waiting >= self._most_waiting or (waiting + 1) * self._pause_seconds > self._reckoned_seconds

    def turn_away(self) -> Overloaded:
        """Count somebody who is not let in, and return what to tell them."""
        self._shed += 1
        return Overloaded(random.randint(1, 3))

    async def enter(self) -> None:
        """Return as soon as there is a place inside. Raises `Overloaded` if too many wait, or there is none in time."""
        if self._inside < self._at_once:
            self._inside += 1
            return
        if self.is_full:
            raise self.turn_away()
        place = asyncio.get_running_loop().create_future()
        self._queue.append(place)
        try:
            async with asyncio.timeout(self._patience_seconds):
                await place
        except BaseException as exc:
            if place.done() and not place.cancelled():
                self.leave()  # it was given the place in the moment in which it gave up
            else:
                with suppress(ValueError):  # whoever left last has passed it over
                    self._queue.remove(place)
            if isinstance(exc, TimeoutError):
                raise self.turn_away() from None
            raise

    def leave(self) -> None:
        """Give a place up: to who has waited longest, if somebody does."""
        self._note_pause()
        while self._queue:
            place = self._queue.popleft()
            if not place.done():
                place.set_result(None)
                return
        self._inside -= 1

    def _note_pause(self) -> None:
        """Remember how long it takes until a place becomes free, while all are taken: a mean of about the last ten."""
        now = monotonic()
        pause_seconds = min(now - self._left_at, self._patience_seconds) if self._inside >= self._at_once else 0.0
        self._pause_seconds += (pause_seconds - self._pause_seconds) / 10
        self._left_at = now

    def begin_stream(self) -> None:
        """Count an answer that may take minutes. Raises `Overloaded` if such answers have half of the places."""
        if self._streams >= max(1, self._at_once // 2):
            raise self.turn_away()
        self._streams += 1

    def end_stream(self) -> None:
        """Count it no more."""
        self._streams -= 1


class Admission:
    """Works on as many requests as the gate lets in, and on each for a limited time.

    Whoever would be turned away is, before the body is read or anybody asked who they are. An answer whose length
    is not known when it begins is a stream: it may take as long as its reader is willing to read.
    """

    def __init__(self, app: ASGIApp, gate: Gate, seconds: float) -> None:
        """Let requests through to `app`, for `seconds` each."""
        self._app = app
        self._gate = gate
        self._seconds = seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Work on one request, or raise `Overloaded` or `TimedOut`."""
        if scope["type"] != "http" or scope["path"] in PROBES:
            await self._app(scope, receive, send)
            return
        await self._gate.enter()
        streams, limit = False, asyncio.timeout(self._seconds)
        try:
            async with limit:

                async def send_on(message: Message) -> None:
                    nonlocal streams
                    if message["type"] == "http.response.start" and not _has_length(message):
                        self._gate.begin_stream()
                        streams = True
                        limit.reschedule(None)
                    await send(message)

                await self._app(scope, receive, send_on)
        except TimeoutError:
            # Somebody else's is no business of this limit.
            if not limit.expired():
                raise
            raise TimedOut from None
        finally:
            if streams:
                self._gate.end_stream()
            self._gate.leave()


def _has_length(start: Message) -> bool:
    return start["status"] in {204, 304} or any(name == b"content-length" for name, _ in start["headers"])
