"""What a request costs over HTTP: ours, SQLAlchemy's ORM behind FastAPI, and Django REST framework.

    python -m benchmarks.http [--quick] [--json] [--rounds 5]

One PostgreSQL for all, with a database for each side and the same patients in it. Each side is served by uvicorn with
uvloop and httptools, in one process and then in two, each on a port of its own, with connections shared out evenly as
something before them would. This process asks and does nothing else: so many clients, each of whom asks again when it
has its answer, over connections that are open already. The sides take turns, and each round another begins.

View one patient, list fifty with how many there are, register one with MRN and social security number. Ours has
somebody log in, decides, opens, and audits durably, and keeps each version and indexes for search and duplicates; the
first peer does none of it; the second encrypts each field and keeps an audit log, and has nobody log in.

The processes share the machine's cores, with the database and with this one. What a server's own processor time each
request takes stands beside the rates, and depends less on that.
"""

import sys
import tempfile
from argparse import Namespace
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass, field
from itertools import cycle, product
from pathlib import Path
from statistics import median
from typing import Any, TypeAlias
from uuid import UUID

import uvloop
from httpx import AsyncClient
from uuid_utils.compat import uuid7

from benchmarks.load import GIVES_UP_SECONDS, Load
from benchmarks.measuring import Bound, Spread, arguments, in_turns, machine, ratios, said, say, told
from benchmarks.peers import PACKAGES, PAGE, Place, is_there
from benchmarks.peers.ours import settings_of
from benchmarks.people import People, Person
from benchmarks.places import Places
from benchmarks.places import places as opened_places
from benchmarks.servers import OURS, Side, Started, serving
from clarity.application.pages import COUNTED_EXACTLY
from clarity.bootstrap import operator, running
from clarity.domain.access import Role
from clarity.domain.ids import RequestId

BOUNDS = {"get_vs_orm": Bound(at_least=1.0), "p99_ratio_64": Bound(at_most=1.2)}
_EMAIL, _PASSWORD = "desk@clinic.example", "quiet ferns along the river"
OPERATIONS = ("get", "page", "create")
_SERVED_BY = {"fastapi", "uvicorn", "httptools", "djangorestframework"}
_MORE_PEOPLE = 200_000
_PAGES = 8
_JUDGED, _CROWDED = 32, 64


Question: TypeAlias = tuple[int, str, int]
"""How many processes, what is asked, and how many at once."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is measured, and how long each side works for each question in each round."""

    patients: int
    rounds: int
    seconds: float
    warm_seconds: float
    workers: tuple[int, ...]
    questions: tuple[Question, ...]

    @classmethod
    def of(cls, options: Namespace) -> "Plan":
        """Return what was asked for."""
        if options.quick:
            few = ((1, "get", _JUDGED), (1, "get", _CROWDED), (1, "page", 8), (1, "create", 8))
            return cls(200, 1, 0.25, 0.1, (1,), few)
        levels = {1: (1, 8, _JUDGED, _CROWDED), 2: (_JUDGED, _CROWDED)}
        questions = tuple(product((1,), OPERATIONS, levels[1])) + tuple(product((2,), OPERATIONS, levels[2]))
        return cls(10_000, options.rounds, 1.25, 0.4, tuple(levels), questions)


@dataclass(slots=True)
class Runs:
    """What one side did of one kind, with so many at once, in each round."""

    per_s: list[float] = field(default_factory=list)
    p50_ms: list[float] = field(default_factory=list)
    p95_ms: list[float] = field(default_factory=list)
    p99_ms: list[float] = field(default_factory=list)
    cpu_ms_each: list[float] = field(default_factory=list)

    def add(self, report: Mapping[str, Any], cpu_ms_each: float) -> None:
        """Add a round."""
        self.per_s.append(report["good_per_s"])
        for name in ("p50", "p95", "p99"):
            getattr(self, f"{name}_ms").append(report["good_ms"][name])
        self.cpu_ms_each.append(cpu_ms_each)

    @property
    def spreads(self) -> dict[str, Any]:
        """The median, the least and the greatest of each."""
        return {name: Spread.of(values)._asdict() for name, values in asdict(self).items()}


@dataclass(frozen=True, slots=True)
class Held:
    """What so many processes of a side hold after the load: memory, all of it counted, and connections."""

    processes: int
    memory_mb: float
    database_connections: int


@dataclass(slots=True)
class Asker:
    """Asks one side, and knows what it may be asked."""

    side: Side
    requests: dict[str, Iterator[bytes]]

    async def ask(self, operation: str, in_flight: int, plan: Plan) -> tuple[dict[str, Any], float]:
        """Ask for as long as planned, and return the report and the processor's time for each answer."""
        load = Load(self.side.addresses, self.requests[operation], patience_seconds=GIVES_UP_SECONDS)
        await load.closed(in_flight, plan.warm_seconds)
        before = self.side.cpu_seconds()
        report = await load.closed(in_flight, plan.seconds)
        used = self.side.cpu_seconds() - before
        load.close()
        assert report["good"] == report["offered"], f"{self.side.name}, {operation}, {in_flight}: {report}"
        return report, round(1000 * used / report["good"], 3)


async def sides_of(places: Places, people: Sequence[tuple[UUID, Person]]) -> list[Side]:
    """Make a database for each side that can be run, with the same people in it, and somebody who may ask ours."""
    sides = []
    for name in ("ours", "orm", "django"):
        if not is_there(name):
            say(f"{name} is left out: `make .venv/stamps/bench` installs what it needs")
            continue
        place = await places.filled(name, people)
        sides.append(Side(name, place, await logged_in(place) if name == "ours" else ""))
    return sides


async def logged_in(place: Place) -> str:
    """Give the front desk an account, and return what it shows once it has logged in."""
    settings = settings_of(place).model_copy(update={"access_token_ttl_seconds": 7_200, "session_idle_minutes": 240})
    async with running(settings) as services:
        await services.accounts.add(operator(), email=_EMAIL, name="Desk", role=Role.FRONT_DESK, password=_PASSWORD)
        opened = await services.sessions.log_in(_EMAIL, _PASSWORD, RequestId(uuid7()), "127.0.0.1")
    return opened.access_token


async def asker_of(side: Side, people: Sequence[tuple[UUID, Person]]) -> Asker:
    """Return who asks a side that was just started, after a look at whether it shows what was stored."""
    identity, person = people[0]
    async with AsyncClient(base_url=side.addresses[0], headers=side.headers, timeout=30) as client:
        shown = (await client.get(f"{side.kind.path}/{identity}")).raise_for_status().json()
        numbers = frozenset({("mrn", person.mrn), ("ssn", person.ssn)})
        assert side.kind.whole(shown) == (str(identity), person.family, person.born.isoformat(), numbers)
        paths = [path async for path in _pages(side, client, sorted(identity for identity, _ in people))]
    newcomers = People(_MORE_PEOPLE).some(len(people), _MORE_PEOPLE)
    return Asker(
        side,
        {
            "get": cycle([side.get(f"/{identity}") for identity, _ in people]),
            "page": cycle([side.get(path) for path in paths]),
            "create": (side.post(person) for person in newcomers),
        },
    )


async def _pages(side: Side, client: AsyncClient, expected: Sequence[UUID]) -> AsyncIterator[str]:
    """Walk through the first pages, and see that the right patients stand on them."""
    query = f"?limit={PAGE}"
    for first in range(0, min(_PAGES * PAGE, len(expected)), PAGE):
        page = (await client.get(side.kind.path + query)).raise_for_status().json()
        assert [UUID(item["id"]) for item in page[side.kind.items]] == expected[first : first + PAGE]
        assert min(side.kind.total(page), COUNTED_EXACTLY) == min(len(expected), COUNTED_EXACTLY)
        yield query
        query = f"?limit={PAGE}{side.kind.following(page, first + PAGE)}"


@dataclass(slots=True)
class Measurement:
    """All that is measured, while it is."""

    plan: Plan
    places: Places
    people: Sequence[tuple[UUID, Person]]
    askers: dict[str, Asker] = field(default_factory=dict)
    runs: dict[Question, dict[str, Runs]] = field(default_factory=dict)
    starts: dict[str, list[Started]] = field(default_factory=dict)
    held: dict[str, list[Held]] = field(default_factory=dict)

    async def with_workers(self, workers: int, sides: Sequence[Side]) -> None:
        """Start every side in so many processes, and ask all of them everything in turns."""
        async with AsyncExitStack() as stack:
            logs = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="clarity-logs-")))
            for side in sides:
                say(f"starting {side.name}, processes: {workers}")
                asked = side.get(f"/{self.people[0][0]}")
                started = await stack.enter_async_context(serving(side, workers, logs, asked))
                self.starts.setdefault(side.name, []).extend(started)
                if side.name not in self.askers:
                    self.askers[side.name] = await asker_of(side, self.people)
            for question in self.plan.questions:
                if question[0] == workers:
                    await self._in_turns(question)
            for side in sides:
                held = Held(workers, side.memory_mb(), await self.places.connections(side.place))
                self.held.setdefault(side.name, []).append(held)

    async def _in_turns(self, question: Question) -> None:
        workers, operation, in_flight = question
        say(f"{operation}, {in_flight} at once, processes: {workers}")
        runs = self.runs.setdefault(question, {name: Runs() for name in self.askers})
        for _, name in in_turns(list(self.askers), self.plan.rounds):
            runs[name].add(*await self.askers[name].ask(operation, in_flight, self.plan))

    def ratio(self, question: Question, figure: str, peer: str) -> Spread | None:
        """Return how ours stands to a peer, if both were asked."""
        runs = self.runs.get(question, {})
        if peer not in runs:
            return None
        return ratios(getattr(runs["ours"], figure), getattr(runs[peer], figure))

    def compared(self) -> dict[str, Spread | None]:
        """Return the figures: rates, and times of those who wait longest, as ours stand to the peers'."""
        alone, crowded = (1, "get", _JUDGED), (1, "get", _CROWDED)
        return {
            "get_vs_orm": self.ratio(alone, "per_s", "orm"),
            "get_vs_django": self.ratio(alone, "per_s", "django"),
            "get_processor_over_orm": self.ratio(alone, "cpu_ms_each", "orm"),
            "p99_ratio_64": self.ratio(crowded, "p99_ms", "orm"),
            "p99_ratio_64_django": self.ratio(crowded, "p99_ms", "django"),
        }


async def measure(options: Namespace) -> dict[str, Any]:
    """Measure everything, and return the one object."""
    plan = Plan.of(options)
    people = [(uuid7(), person) for person in People(_MORE_PEOPLE).some(0, plan.patients)]
    async with opened_places() as places:
        sides = await sides_of(places, people)
        measured = Measurement(plan, places, people)
        for workers in plan.workers:
            await measured.with_workers(workers, sides)
        settings = await places.settings()
    compared = measured.compared()
    packages = sorted({name for side in sides for name in PACKAGES[side.name]} | _SERVED_BY)
    return told(
        {name: spread.median if spread else None for name, spread in compared.items()},
        BOUNDS,
        options,
        spreads={name: spread._asdict() for name, spread in compared.items() if spread},
        runs=[
            {"processes": workers, "asked": operation, "in_flight": in_flight, "sides": _told(runs)}
            for (workers, operation, in_flight), runs in measured.runs.items()
        ],
        first_answer={name: [asdict(start) for start in starts] for name, starts in measured.starts.items()},
        held={name: [asdict(one) for one in held] for name, held in measured.held.items()},
        plan=asdict(plan),
        machine=machine(packages),
        settings={**settings, **OURS},
    )


def _told(runs: Mapping[str, Runs]) -> dict[str, Any]:
    return {name: run.spreads for name, run in runs.items()}


def show(found: Mapping[str, Any]) -> None:
    """Print what stands behind the figures: the medians of the rounds."""
    print(f"\n{'asked':7} {'processes':>9} {'at once':>7}  {'side':7} {'per s':>8}", end=" ")
    print(f"{'p50 ms':>7} {'p95':>7} {'p99':>7} {'cpu ms':>7}")
    for entry in found["runs"]:
        for name, run in entry["sides"].items():
            rates = f"{run['per_s']['median']:8.0f}"
            times = " ".join(f"{run[part]['median']:7.1f}" for part in ("p50_ms", "p95_ms", "p99_ms"))
            print(f"{entry['asked']:7} {entry['processes']:9} {entry['in_flight']:7}", end="  ")
            print(f"{name:7} {rates} {times} {run['cpu_ms_each']['median']:7.2f}")
    for name, starts in found["first_answer"].items():
        seconds, cpu = (median(start[part] for start in starts) for part in ("first_answer_s", "cpu_s"))
        print(f"{name}: first answer after {seconds:.1f} s, of which {cpu:.1f} s of the processor", end="")
        for held in found["held"][name]:
            print(f"; processes: {held['processes']}, {held['memory_mb']:.0f} MB", end=", ")
            print(f"{held['database_connections']} connections to the database", end="")
        print()


def main() -> int:
    """Measure, print, and return what to exit with."""
    parser = arguments(__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="how often each side has its turn (default 5, at most 9)")
    options = parser.parse_args()
    if not 1 <= options.rounds <= 9:
        parser.error("--rounds is 1 to 9")
    return said(uvloop.run(measure(options)), options, show)


if __name__ == "__main__":
    sys.exit(main())
