"""Sends requests and counts what comes back, in a process of its own, so that it slows the server down little.

    python -m benchmarks.load < job.json

A job names the address, a token, the ids of patients, and phases. In an open phase requests begin at instants drawn
beforehand (exponential gaps, as of many people who know nothing of each other), whether or not earlier ones were
answered: waiting for answers would spare a server just when it is slow. In a closed phase a fixed number of clients
each send the next request when they have the answer to the last: that finds the most a server can do.
"""

import asyncio
import json
import random
import resource
import sys
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import cycle
from typing import Any, cast
from urllib.parse import urlsplit

import uvloop

PATIENCE_SECONDS = 1.0
"""An answer that comes later counts for nothing: whoever asked has asked again or gone."""

GIVES_UP_SECONDS = 5.0
_MOST_CONNECTIONS = 700
_BUCKET_SECONDS = 0.25


@dataclass(slots=True)
class Tally:
    """What came of the requests of one phase. Latencies are seconds since the instant the request was due."""

    seconds: float
    patience_seconds: float = PATIENCE_SECONDS
    offered: int = 0
    unsent: int = 0
    broken: int = 0
    statuses: Counter[int] = field(default_factory=Counter)
    good: list[float] = field(default_factory=list)
    late: int = 0
    shed: list[float] = field(default_factory=list)
    buckets: Counter[int] = field(default_factory=Counter)
    connections: int = 0

    def answered(self, status: int, latency: float, since_start: float) -> None:
        self.statuses[status] += 1
        if status in {429, 503}:
            self.shed.append(latency)
        elif 200 <= status < 300 and latency <= self.patience_seconds:
            self.good.append(latency)
            self.buckets[int(since_start / _BUCKET_SECONDS)] += 1
        elif 200 <= status < 300:
            self.late += 1

    def report(self) -> dict[str, Any]:
        whole = int(self.seconds / _BUCKET_SECONDS)
        inside = sum(count for bucket, count in self.buckets.items() if bucket < whole)
        return {
            "seconds": self.seconds,
            "offered": self.offered,
            "offered_per_s": round(self.offered / self.seconds, 1),
            "good_per_s": round(inside / self.seconds, 1),
            "good": len(self.good),
            "late": self.late,
            "shed": len(self.shed),
            "broken": self.broken,
            "unsent": self.unsent,
            "statuses": {str(status): count for status, count in sorted(self.statuses.items())},
            "good_ms": _milliseconds(self.good),
            "shed_ms": _milliseconds(self.shed),
            "connections": self.connections,
            "per_s": [round(self.buckets[bucket] / _BUCKET_SECONDS) for bucket in range(whole)],
        }


def _milliseconds(seconds: list[float]) -> dict[str, float]:
    ordered = sorted(seconds) or [0.0]
    return {
        name: round(ordered[min(len(ordered) - 1, int(len(ordered) * share))] * 1_000, 1)
        for name, share in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99), ("max", 1.0))
    }


Answered = Callable[["Wire", int], None]


class Wire(asyncio.Protocol):
    """A connection that sends one request at a time; `on_answer` is told the status, 0 if it broke."""

    def __init__(self, on_answer: Answered) -> None:
        self.on_answer = on_answer
        self.due = 0.0
        self.busy = False
        self.closes = False
        self._transport: asyncio.Transport | None = None
        self._received = bytearray()

    @property
    def is_open(self) -> bool:
        return self._transport is not None and not self._transport.is_closing()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def ask(self, request: bytes, due: float) -> None:
        assert self._transport is not None
        self.busy, self.due = True, due
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._received += data
        head_end = self._received.find(b"\r\n\r\n")
        if head_end < 0:
            return
        head = bytes(self._received[:head_end]).lower()
        at = head.find(b"content-length: ")
        length = int(head[at + 16 : head.find(b"\r", at) if b"\r" in head[at:] else None]) if at >= 0 else 0
        if len(self._received) < head_end + 4 + length:
            return
        self._received.clear()
        self.closes = b"connection: close" in head
        if self.busy:
            self.busy = False
            self.on_answer(self, int(head[9:12]))

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self.closes = True
        if self.busy:
            self.busy = False
            self.on_answer(self, 0)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()


class Requests:
    """The mixture: of ten, six view a patient, two list, and two register somebody."""

    def __init__(self, job: dict[str, Any]) -> None:
        place = urlsplit(job["address"])
        self._common = f"Host: {place.netloc}\r\nAuthorization: Bearer {job['token']}\r\n"
        self._patients: list[str] = job["patients"]
        self._numbers = iter(range(job["first_number"], 10**9))
        self._lot = random.Random(job["seed"])

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        drawn = self._lot.random()
        if drawn < 0.6:
            return self._get(f"/api/v1/patients/{self._lot.choice(self._patients)}")
        if drawn < 0.8:
            return self._get("/api/v1/patients?limit=20")
        number = next(self._numbers)
        body = json.dumps(
            {
                "names": [{"family": f"Load{number}", "given": ["Lee"]}],
                "born": "1985-04-12",
                "identifiers": [{"kind": "mrn", "value": f"LOAD-{number}"}],
            }
        ).encode()
        head = f"POST /api/v1/patients HTTP/1.1\r\n{self._common}Content-Type: application/json\r\n"
        return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body

    def _get(self, path: str) -> bytes:
        return f"GET {path} HTTP/1.1\r\n{self._common}\r\n".encode()


class Load:
    """Carries out phases over connections that are kept between requests, and between phases."""

    def __init__(
        self,
        addresses: Sequence[str],
        requests: Iterator[bytes],
        *,
        seed: int = 1,
        patience_seconds: float = PATIENCE_SECONDS,
    ) -> None:
        """Ask servers, to which connections are opened in turn, what the next of `requests` is."""
        places = [urlsplit(address) for address in addresses]
        self._places = cycle([(place.hostname or "", place.port or 80) for place in places])
        self._requests = requests
        self._patience_seconds = patience_seconds
        self._lot = random.Random(seed)
        self._free: deque[Wire] = deque()
        self._busy: set[Wire] = set()
        self._opening = 0
        self._tally = Tally(1.0)
        self._began = 0.0
        self._again = False
        self._tasks: set[asyncio.Task[None]] = set()

    async def open(self, rate: float, seconds: float) -> dict[str, Any]:
        """Begin `rate` requests a second."""
        self._start(seconds)
        dues = deque(self._dues(rate, seconds))
        while dues:
            now = time.perf_counter() - self._began
            while dues and dues[0] <= now:
                self._send(self._began + dues.popleft())
            self._give_up()
            await asyncio.sleep(0.001)
        await self._finish()
        return self._tally.report()

    async def closed(self, clients: int, seconds: float) -> dict[str, Any]:
        """Keep `clients` requests under way."""
        self._start(seconds)
        self._again = True
        for _ in range(clients):
            self._send(time.perf_counter())
        await asyncio.sleep(seconds)
        self._again = False
        await self._finish()
        return self._tally.report()

    def close(self) -> None:
        for wire in (*self._free, *self._busy):
            wire.close()

    def _start(self, seconds: float) -> None:
        self._tally, self._began = Tally(seconds, self._patience_seconds), time.perf_counter()

    def _dues(self, rate: float, seconds: float) -> Iterator[float]:
        due = self._lot.expovariate(rate)
        while due < seconds:
            yield due
            due += self._lot.expovariate(rate)

    def _send(self, due: float) -> None:
        self._tally.offered += 1
        while self._free:
            wire = self._free.pop()
            if wire.is_open:
                self._ask(wire, due)
                return
        if len(self._busy) + self._opening >= _MOST_CONNECTIONS:
            self._tally.unsent += 1
            return
        self._opening += 1
        task = asyncio.get_running_loop().create_task(self._connect(due))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _connect(self, due: float) -> None:
        host, port = next(self._places)
        try:
            connecting = asyncio.get_running_loop().create_connection(lambda: Wire(self._on_answer), host, port)
            _, wire = await asyncio.wait_for(connecting, GIVES_UP_SECONDS)
        except (OSError, TimeoutError):
            self._tally.broken += 1
        else:
            self._ask(wire, due)
        finally:
            self._opening -= 1

    def _ask(self, wire: Wire, due: float) -> None:
        self._busy.add(wire)
        self._tally.connections = max(self._tally.connections, len(self._busy))
        wire.ask(next(self._requests), due)

    def _on_answer(self, wire: Wire, status: int) -> None:
        now = time.perf_counter()
        self._busy.discard(wire)
        if status:
            self._tally.answered(status, now - wire.due, now - self._began)
        else:
            self._tally.broken += 1
        if wire.closes:
            wire.close()
        else:
            self._free.append(wire)
        if self._again:
            self._send(now)

    def _give_up(self) -> None:
        patience_ended = time.perf_counter() - GIVES_UP_SECONDS
        for wire in [wire for wire in self._busy if wire.due < patience_ended]:
            wire.close()

    async def _finish(self) -> None:
        """Wait for the last answers, as long as anybody would."""
        ends = time.perf_counter() + GIVES_UP_SECONDS
        while (self._busy or self._opening) and time.perf_counter() < ends:
            self._give_up()
            await asyncio.sleep(0.01)
        for wire in list(self._busy):
            wire.close()
        await asyncio.sleep(0.01)


async def _run(job: dict[str, Any]) -> dict[str, Any]:
    load = Load([job["address"]], Requests(job), seed=job["seed"] + 1)
    reports = []
    for phase in job["phases"]:
        if "rate" in phase:
            reports.append(await load.open(phase["rate"], phase["seconds"]))
        else:
            reports.append(await load.closed(phase["clients"], phase["seconds"]))
    load.close()
    used = resource.getrusage(resource.RUSAGE_SELF)
    return {"phases": reports, "cpu_seconds": round(used.ru_utime + used.ru_stime, 2)}


if __name__ == "__main__":
    print(json.dumps(uvloop.run(_run(json.load(sys.stdin)))))
