"""One side of a comparison in a process of its own, which does what it is told line by line.

    python -m benchmarks.side < commands

The first line of standard input is a `Job`. When the side was opened and has read its first patient, it says so with
what memory it takes. Each further line is a command and gets one line back:

    {"do": "read", "in_flight": 32, "count": 1000}    read, page, create or update so many times: a `Load`
    {"do": "warm"}                                    read everybody named in the job once, and find the pages
    {"do": "look"}                                    the first page: how many there are altogether, ids, family names

Every load is preceded by some of the same that do not count. When there are no more lines, it ends. All sides run on
uvloop, as their users would serve them; ours looks for garbage as its server does.
"""

import asyncio
import gc
import json
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field
from importlib import import_module
from random import Random
from time import perf_counter
from typing import TYPE_CHECKING, Any
from uuid import UUID

import uvloop
from uuid_utils.compat import uuid7

from benchmarks.measuring import Operation, closed, memory_bytes
from benchmarks.peers import Peer, Place, side_named

if TYPE_CHECKING:
    from benchmarks.people import People, Person  # what draws people takes a second to load, which is no side's start

OPERATIONS = ("read", "page", "create", "update")
NEWCOMERS = 200_000
"""How many people a side can create."""

_ANSWER_SECONDS = 300.0
_END_SECONDS = 30.0
_WARM_UPS = 2
_PAGES = 40
_WARMED_AT_MOST = 10_000


@dataclass(frozen=True, slots=True)
class Job:
    """Which side, where, ids of patients who are there, the number that newcomers begin with, and the people's seed."""

    side: str
    place: Place
    patients: Sequence[str] = field(repr=False)
    newcomer: int
    seed: int

    @classmethod
    def of(cls, line: str) -> "Job":
        """Read it from a line."""
        told = json.loads(line)
        return cls(**{**told, "place": Place(**told["place"])})


class Tasks:
    """What one side can be told to do. Everybody is read and changed in the same order on every side."""

    def __init__(self, peer: Peer, job: Job) -> None:
        """Begin with nothing done."""
        self._peer = peer
        self._job = job
        self._patients = [UUID(one) for one in job.patients]
        Random(job.seed).shuffle(self._patients)
        self._pages = [""]
        self._done = dict.fromkeys(OPERATIONS, 0)
        self._newcomers: Sequence[Person] = ()
        self._drawn_from = 0

    async def first(self) -> dict[str, Any]:
        """Read a first patient."""
        await self._peer.read(self._patients[0])
        return {"memory_bytes": memory_bytes()}

    async def run(self, command: dict[str, Any]) -> dict[str, Any]:
        """Carry out a command."""
        if command["do"] == "warm":
            return await self._warm()
        if command["do"] == "look":
            return await self._look()
        return await self._load(command["do"], command["in_flight"], command["count"])

    async def _load(self, what: str, in_flight: int, count: int) -> dict[str, Any]:
        first, warm = self._done[what], min(_WARM_UPS * in_flight, count // 2)
        self._done[what] += warm + count
        if what == "create":
            self._draw(first, warm + count)
        operation: Operation = getattr(self, f"_{what}")
        await closed(operation, in_flight, warm, first=first)
        gc.collect()
        load = await closed(operation, in_flight, count, first=first + warm)
        return {**asdict(load), "memory_bytes": memory_bytes()}

    async def _warm(self) -> dict[str, Any]:
        began, count = perf_counter(), min(len(self._patients), _WARMED_AT_MOST)
        await closed(self._read, 32, count)
        self._done["read"] += count  # where there are more patients, those read next are not warm, as in life
        while len(self._pages) < _PAGES and (after := (await self._peer.page(self._pages[-1])).next):
            self._pages.append(after)
        return {"seconds": round(perf_counter() - began, 2), "pages": len(self._pages)}

    async def _look(self) -> dict[str, Any]:
        page = await self._peer.page("")
        items: Sequence[Any] = page.items
        families = [item.name.family if hasattr(item, "name") else item.family for item in items]
        return {"total": page.total, "ids": [str(item.id) for item in items], "families": families}

    async def _read(self, number: int) -> None:
        await self._peer.read(self._patients[number % len(self._patients)])

    async def _page(self, number: int) -> None:
        await self._peer.page(self._pages[number % len(self._pages)])

    async def _update(self, number: int) -> None:
        await self._peer.update(self._patients[number % len(self._patients)], f"{number + 1} Station Road")

    async def _create(self, number: int) -> None:
        await self._peer.create(self._newcomers[number - self._drawn_from], uuid7())

    def _draw(self, first: int, count: int) -> None:
        """Have newcomers at hand before the time is taken."""
        everybody: Any = import_module("benchmarks.people")
        people: People = everybody.People(self._job.newcomer + NEWCOMERS, self._job.seed)
        begin = self._job.newcomer + first
        self._newcomers = list(people.some(begin, begin + count))
        self._drawn_from = first


async def obey() -> None:
    """Do what standard input says, line by line."""
    job = Job.of(await asyncio.to_thread(sys.stdin.readline))
    async with side_named(job.side)(job.place) as peer:
        tasks = Tasks(peer, job)
        _answer(await tasks.first())
        if job.side.startswith("ours"):
            server: Any = import_module("clarity.api.server")
            server.set_aside_what_exists()
            server.favour_the_loop()
        while line := await asyncio.to_thread(sys.stdin.readline):
            _answer(await tasks.run(json.loads(line)))


def _answer(found: dict[str, Any]) -> None:
    print(json.dumps(found), flush=True)


@dataclass(slots=True)
class Side:
    """A side's process, as whoever measures sees it. `start_s` is from starting Python to the first patient read."""

    name: str
    process: asyncio.subprocess.Process
    start_s: float = 0.0
    memory_bytes_at_start: int = 0

    async def told(self, **command: object) -> dict[str, Any]:
        """Give a command and wait for its answer."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(command).encode() + b"\n")
        await self.process.stdin.drain()
        return await self.heard()

    async def heard(self) -> dict[str, Any]:
        """Wait for an answer. Raises `RuntimeError` if the side ended instead."""
        assert self.process.stdout is not None
        line = await asyncio.wait_for(self.process.stdout.readline(), _ANSWER_SECONDS)
        if not line:
            raise RuntimeError(f"the side {self.name} ended before it answered")
        found: dict[str, Any] = json.loads(line)
        return found


@asynccontextmanager
async def started(name: str, job: Job) -> AsyncIterator[Side]:
    """Start a side; it ends with the block."""
    began = perf_counter()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "benchmarks.side"), stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    side = Side(name, process)
    try:
        first = await side.told(**asdict(job))
        side.start_s, side.memory_bytes_at_start = round(perf_counter() - began, 2), first["memory_bytes"]
        yield side
        assert process.stdin is not None
        process.stdin.close()
        await asyncio.wait_for(process.wait(), _END_SECONDS)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def main() -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(obey())


if __name__ == "__main__":
    main()
