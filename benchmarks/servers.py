"""Ours and its peers behind HTTP: each in processes of its own, over a database of its own."""

import asyncio
import json
import socket
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import psutil

from benchmarks.peers import Place
from benchmarks.people import Person
from clarity.demo.people import STATE
from tests.shells import surroundings

_ROOT = Path(__file__).parents[1]
_START_SECONDS = 60.0
_UVICORN = (
    "--host",
    "127.0.0.1",
    "--loop",
    "uvloop",
    "--http",
    "httptools",
    "--no-access-log",
    "--log-level",
    "warning",
)
OURS = {
    # Sixty-four at once are worked on or wait for a connection; by default forty-five would, and the others be refused.
    "MAX_CONCURRENT_REQUESTS": "128",
    "MAX_WAITING_REQUESTS": "128",
    # One account at one address asks for everybody, and for longer than a token is good for.
    "REQUESTS_PER_MINUTE_OF_ACCOUNT": "0",
    "REQUESTS_PER_MINUTE_FROM_ADDRESS": "0",
    "ACCESS_TOKEN_TTL_SECONDS": "7200",
    "SESSION_IDLE_MINUTES": "240",
}
"""What is set of ours otherwise than by default."""

Shown: TypeAlias = Mapping[str, Any]
Whole: TypeAlias = tuple[str, str, str, frozenset[tuple[str, str]]]
"""What both sides must agree on of somebody: id, family name, birth, identifiers."""


@dataclass(frozen=True, slots=True)
class Kind:
    """How one side is started and asked."""

    command: tuple[str, ...]
    path: str
    items: str
    """By what name an answer has the patients of a page."""
    body: Callable[[Person], dict[str, Any]]
    whole: Callable[[Shown], Whole]
    total: Callable[[Shown], int]
    following: Callable[[Shown, int], str]
    """What to add to the query for the page behind one, and behind so many patients."""


def _flat(person: Person) -> dict[str, Any]:
    names = ("family", "given", "phone", "email", "line", "city", "postal_code")
    beside = {
        "notes": "",
        "state": STATE,
        "born": person.born.isoformat(),
        "gender": person.gender.value,
        "status": person.status.value,
    }
    return {
        **{name: getattr(person, name) for name in names},
        **beside,
        "state": STATE,
        "identifiers": _numbers(person),
    }


def _ours(person: Person) -> dict[str, Any]:
    return {
        "names": [{"family": person.family, "given": [person.given], "use": "official"}],
        "born": person.born.isoformat(),
        "gender": person.gender.value,
        "birth_sex": "F" if person.female else "M",
        "identifiers": _numbers(person),
        "telecoms": [
            {"system": "phone", "value": person.phone, "use": "mobile"},
            {"system": "email", "value": person.email},
        ],
        "addresses": [
            {
                "lines": [person.line],
                "city": person.city,
                "state": STATE,
                "postal_code": person.postal_code,
                "country": "US",
                "use": "home",
            }
        ],
    }


def _numbers(person: Person) -> list[dict[str, str]]:
    return [{"kind": "mrn", "value": person.mrn}, {"kind": "ssn", "value": person.ssn}]


def _whole(family: Callable[[Shown], str]) -> Callable[[Shown], Whole]:
    def whole(shown: Shown) -> Whole:
        numbers = frozenset((number["kind"], number["value"]) for number in shown["identifiers"])
        return shown["id"], family(shown), shown["born"], numbers

    return whole


_PYTHON = (sys.executable, "-m")
KINDS = {
    "ours": Kind(
        command=(*_PYTHON, "clarity", "serve"),
        path="/api/v1/patients",
        items="items",
        body=_ours,
        whole=_whole(lambda shown: str(shown["names"][0]["family"])),
        total=lambda page: int(page["total"]["count"]),
        following=lambda page, _: f"&cursor={page['next_cursor']}",
    ),
    "orm": Kind(
        command=(*_PYTHON, "uvicorn", "benchmarks.peers.orm_app:app", *_UVICORN),
        path="/api/patients",
        items="items",
        body=_flat,
        whole=_whole(lambda shown: str(shown["family"])),
        total=lambda page: int(page["total"]),
        following=lambda page, _: f"&after={page['items'][-1]['id']}",
    ),
    "django": Kind(
        command=(*_PYTHON, "uvicorn", "benchmarks.peers.django_project.asgi:application", *_UVICORN),
        path="/api/patients",
        items="results",
        body=_flat,
        whole=_whole(lambda shown: str(shown["family"])),
        total=lambda page: int(page["count"]),
        following=lambda _, behind: f"&offset={behind}",
    ),
}


@dataclass(frozen=True, slots=True)
class Started:
    """How long processes took to their first answer, and of that the processor's time, in seconds."""

    first_answer_s: float
    cpu_s: float


@dataclass(slots=True)
class Side:
    """One side, and the processes that serve it meanwhile."""

    name: str
    place: Place
    token: str = field(default="", repr=False)
    addresses: list[str] = field(default_factory=list)
    processes: list[psutil.Process] = field(default_factory=list)

    @property
    def kind(self) -> Kind:
        return KINDS[self.name]

    @property
    def environment(self) -> dict[str, str]:
        """What its processes are told."""
        if self.name == "ours":
            told = {"DATA_DIR": self.place.folder, "ASYNC_DATABASE_URI": self.place.url, **OURS}
        else:
            told = {"BENCHMARK_DATABASE_URL": self.place.owner_url, "BENCHMARK_POOL": "yes"}
        return {**surroundings(), "PYTHONPATH": str(_ROOT), **told}

    def get(self, path: str) -> bytes:
        """Return a request for what is at `path` below the patients."""
        return self._head("GET", path, "").encode()

    def post(self, person: Person) -> bytes:
        """Return a request to register somebody."""
        body = json.dumps(self.kind.body(person)).encode()
        beside = f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        return self._head("POST", "", beside).encode() + body

    @property
    def headers(self) -> dict[str, str]:
        """By what it knows who asks, if it does."""
        return {"Authorization": f"Bearer {self.token}"} if self.token else {}

    def _head(self, method: str, path: str, beside: str) -> str:
        who = "".join(f"{name}: {value}\r\n" for name, value in self.headers.items())
        return f"{method} {self.kind.path}{path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{who}{beside}\r\n"

    def cpu_seconds(self) -> float:
        """Return how long its processes have used a processor."""
        return sum(times.user + times.system for times in (process.cpu_times() for process in self.processes))

    def memory_mb(self) -> float:
        """Return what its processes hold in memory."""
        return round(sum(process.memory_info().rss for process in self.processes) / 2**20, 1)


@asynccontextmanager
async def serving(side: Side, workers: int, logs: Path, asked: bytes) -> AsyncIterator[list[Started]]:
    """Start as many processes of a side, one after the other, and wait until each has answered what is `asked`.

    Each listens on a port of its own, as behind something that shares requests out among them.
    """
    started = []
    try:
        for _ in range(workers):
            with socket.socket() as free:
                free.bind(("127.0.0.1", 0))
                port = free.getsockname()[1]
            began = time.perf_counter()
            process = _begun(side, port, logs / f"{side.name}-{port}.log")
            side.processes.append(process)
            side.addresses.append(f"http://127.0.0.1:{port}")
            await _first_answer(process, port, asked)
            took = time.perf_counter() - began
            times = process.cpu_times()
            started.append(Started(round(took, 2), round(times.user + times.system, 2)))
        yield started
    finally:
        for served in side.processes:
            served.kill()
            served.wait()
        side.processes, side.addresses = [], []


def _begun(side: Side, port: int, log: Path) -> psutil.Popen:
    with log.open("w") as output:
        return psutil.Popen(
            [*side.kind.command, "--port", str(port)],
            env=side.environment,
            stdout=output,
            stderr=output,
            cwd=log.parent,
        )


async def _first_answer(process: psutil.Process, port: int, asked: bytes) -> None:
    async with asyncio.timeout(_START_SECONDS):
        while not await _answers(port, asked):
            assert process.is_running(), f"process {process.pid} ended before it answered"
            await asyncio.sleep(0.01)


async def _answers(port: int, asked: bytes) -> bool:
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    try:
        writer.write(asked)
        return b" 200 " in await reader.readline()
    finally:
        writer.close()
