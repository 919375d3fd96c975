"""What a read, a page, a new patient and a change cost through the use-cases, beside what people would use instead.

    python -m benchmarks.service [--json] [--quick] [--patients 10000] [--rounds 5] [--growth] [--sides raw orm ...]

Starts one PostgreSQL server, durable as a practice's, and gives each side (`benchmarks/peers`) a database of its own
with the same people under the same ids, each with an MRN and a social security number. Each side runs in a process of
its own (`benchmarks/side.py`) and keeps fifteen connections. Every side reads everybody once before anything counts,
and the first pages are compared. Then come the rounds: in each, every side in its turn does the same loads, and each
round another side begins. While one works the others wait.

`read_vs_orm` is how many reads a second ours does over those of the ORM, 32 in flight, the median of the rounds;
likewise `page`, `create` and `update`, and the other peers. A page is 50 whole records and how many there are
altogether; ours counts to 1,000 and says that there are more. Ours decides, opens, keeps history and audits durably,
and finds by indexed digests; what each peer leaves out stands in its module. `idle_read_ms_over_raw` is how much longer
than the driver's the median of ours takes when one asks at a time. `spreads` has each figure round by round.
`processor` has the same ratios by the time of the processor that the sides' own processes took, which depends little on
what else goes on; the database's is not in it.

With `--growth`, ours is filled with 1,000, 10,000, 100,000 and 1,000,000 patients, which takes some minutes.
`growth_read` is how much longer a read takes among the most than among ten thousand, by the clock or by the processor,
whichever is worse; a thousand are measured for the drawing.

The rates are of one event loop and the database beside it on the same cores. There is no HTTP in it, which
`benchmarks.http` measures, and ours keeps no search index, which these use-cases do not ask. Memory is that of the
side's process with its code; ours loads its web server's too, whose way with garbage it takes over.
Exits with 1 if a figure misses its bound or the pages differ.
"""

import asyncio
import sys
from argparse import Namespace
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from statistics import median
from typing import Any, NamedTuple

from benchmarks.driver import connected
from benchmarks.measuring import Bound, Spread, arguments, in_turns, machine, ratios, said, say, told
from benchmarks.peers import PACKAGES, Place, is_there
from benchmarks.people import SEED, People
from benchmarks.places import Places, identified, places
from benchmarks.side import NEWCOMERS, OPERATIONS, Job, Side, started
from clarity.application.pages import COUNTED_EXACTLY

BOUNDS = {
    "read_vs_orm": Bound(at_least=2),
    "read_vs_raw": Bound(at_least=0.4),
    "page_vs_orm": Bound(at_least=1.5),
    "create_vs_orm": Bound(at_least=0.8),
    "growth_read": Bound(at_most=1.3),
    "growth_create": Bound(at_most=1.3),
    "idle_read_ms_over_raw": Bound(at_most=0.8),
}
PEERS = ("raw", "orm", "encrypted", "django")
_GROWING, _GROWING_QUICKLY = (1_000, 10_000, 100_000, 1_000_000), (100, 500, 2_000)
_SAMPLE = 50_000
_QUICK_PATIENTS = 250


class Asked(NamedTuple):
    """One load: so many of an operation, by so many at once."""

    what: str
    in_flight: int
    times: int

    @property
    def name(self) -> str:
        """What it is called in the report, as "read_32"."""
        return f"{self.what}_{self.in_flight}"

    def quickly(self) -> "Asked":
        """Return less of the same."""
        return self._replace(times=max(self.in_flight, self.times // 20))


LOADS = (
    Asked("read", 32, 1_500),
    Asked("read", 1, 300),
    Asked("read", 8, 800),
    Asked("read", 64, 1_500),
    Asked("page", 32, 128),
    Asked("create", 32, 300),
    Asked("update", 32, 300),
)
GROWTH_LOADS = (Asked("read", 32, 1_500), Asked("create", 32, 300))
Answer = dict[str, Any]
Answers = dict[str, list[Answer]]
"""Of one side: for each load, by its name, what came of it in each round."""


async def asked_in_turns(
    there: Places, sides: Mapping[str, tuple[Side, Place]], loads: Sequence[Asked], rounds: int
) -> dict[str, Answers]:
    """Let each side do all loads in its turn, round by round."""
    found: dict[str, Answers] = {name: {load.name: [] for load in loads} for name in sides}
    for number, name in in_turns(list(sides), rounds):
        say(f"round {number + 1} of {rounds}: {name}")
        side, place = sides[name]
        for load in loads:
            answer = await side.told(do=load.what, in_flight=load.in_flight, count=load.times)
            answer["connections"] = await there.connections(place)
            found[name][load.name].append(answer)
    return found


async def beside_peers(there: Places, options: Namespace) -> Answer:
    """Fill every side, start it, and ask all of them."""
    people = list(identified(People(options.patients, options.seed)))
    ids = [str(identity) for identity, _ in people]
    loads = [load.quickly() for load in LOADS] if options.quick else LOADS
    async with AsyncExitStack() as stack:
        sides: dict[str, tuple[Side, Place]] = {}
        for name in options.sides:
            say(f"{options.patients} patients: {name}")
            place = await there.filled(name, people)
            job = Job(name, place, ids, len(people), options.seed)
            sides[name] = await stack.enter_async_context(started(name, job)), place
        looks = {name: _as_far_as_counted(await side.told(do="look")) for name, (side, _) in sides.items()}
        for side, _ in sides.values():
            await side.told(do="warm")
        answers = await asked_in_turns(there, sides, loads, options.rounds)
        return {
            "answers": answers,
            "different_pages": [name for name, look in looks.items() if look != looks["ours"]],
            "started": {name: (side.start_s, side.memory_bytes_at_start) for name, (side, _) in sides.items()},
        }


async def growing(there: Places, options: Namespace) -> dict[str, Answers]:
    """Ask ours among more and more patients, in turns."""
    sizes = _GROWING_QUICKLY if options.quick else _GROWING
    loads = [load.quickly() for load in GROWTH_LOADS] if options.quick else GROWTH_LOADS
    async with AsyncExitStack() as stack:
        sides = {}
        for size in sizes:
            say(f"{size} patients: ours")
            place = await there.ours_of(size, options.seed)
            async with connected(place.owner_url) as owner:
                rows = await owner.fetch("SELECT id FROM patients ORDER BY md5(id::text) LIMIT $1", _SAMPLE)
            job = Job("ours", place, [str(row["id"]) for row in rows], size, options.seed)
            side = await stack.enter_async_context(started("ours", job))
            sides[str(size)] = side, place
        for side, _ in sides.values():
            await side.told(do="warm")
        return await asked_in_turns(there, sides, loads, options.rounds)


def compared(answers: Mapping[str, Answers]) -> tuple[dict[str, Spread], dict[str, Spread]]:
    """Return the ratios of ours to each peer, by rate and by the processor's time; more is better for ours in both."""
    rates, processor = {}, {}
    for peer in PEERS:
        for what in OPERATIONS if peer in answers else ():
            ours, theirs = (answers[side][f"{what}_32"] for side in ("ours", peer))
            name = f"{what}_vs_{peer}"
            rates[name] = ratios(_each(ours, "per_s"), _each(theirs, "per_s"))
            processor[name] = ratios(_each(theirs, "cpu_ms_each"), _each(ours, "cpu_ms_each"))
    if "raw" in answers:
        alone, floor = (_each(answers[side]["read_1"], "p50_ms") for side in ("ours", "raw"))
        rates["idle_read_ms_over_raw"] = Spread.of([mine - least for mine, least in zip(alone, floor, strict=True)])
    return rates, processor


def grown(answers: Mapping[str, Answers]) -> dict[str, dict[str, Spread]]:
    """Return how much longer each operation takes among the most patients than among the fewest but one size."""
    _, fewest, *_, most = sorted(answers, key=int)
    found = {}
    for load in GROWTH_LOADS:
        few, many = answers[fewest][load.name], answers[most][load.name]
        found[f"growth_{load.what}"] = {
            "by_the_clock": ratios(_each(few, "per_s"), _each(many, "per_s")),
            "by_the_processor": ratios(_each(many, "cpu_ms_each"), _each(few, "cpu_ms_each")),
        }
    return found


def _as_far_as_counted(look: Answer) -> Answer:
    return {**look, "total": min(look["total"], COUNTED_EXACTLY)}


def _each(answers: Sequence[Answer], what: str) -> list[float]:
    return [answer[what] for answer in answers]


def summary(answers: Answers) -> dict[str, Any]:
    """Return of each load of one side the medians of its rounds, and what it held after the first."""
    return {
        name: {
            **{what: round(median(_each(rounds, what)), 3) for what in ("per_s", "p50_ms", "p95_ms", "p99_ms")},
            "per_s_by_round": _each(rounds, "per_s"),
            "cpu_ms_each": round(median(_each(rounds, "cpu_ms_each")), 4),
            "memory_bytes": rounds[0]["memory_bytes"],
            "connections": max(_each(rounds, "connections")),
        }
        for name, rounds in answers.items()
    }


async def measure(options: Namespace) -> dict[str, Any]:
    async with places() as there:
        beside = await beside_peers(there, options)
        growth = await growing(there, options) if options.growth else {}
        settings = await there.settings()
    rates, processor = compared(beside["answers"])
    slower = grown(growth) if growth else {}
    rates |= {name: max(both.values(), key=lambda spread: spread.median) for name, both in slower.items()}
    figures = {**dict.fromkeys(BOUNDS), **{name: spread.median for name, spread in rates.items()}}
    started_with = beside["started"]
    packages = [package for side in options.sides for package in PACKAGES[side]]
    found = told(
        figures,
        BOUNDS,
        options,
        patients=options.patients,
        rounds=options.rounds,
        seed=options.seed,
        sides={
            name: {
                "start_s": started_with[name][0],
                "memory_bytes_at_start": started_with[name][1],
                "loads": summary(answers),
            }
            for name, answers in beside["answers"].items()
        },
        spreads={name: spread._asdict() for name, spread in rates.items()},
        processor={name: spread._asdict() for name, spread in processor.items()},
        growth={
            "sides": {size: summary(answers) for size, answers in growth.items()},
            "spreads": {name: {by: one._asdict() for by, one in both.items()} for name, both in slower.items()},
        },
        settings=settings,
        machine=machine(packages),
    )
    found["missed"] += [f"other page: {name}" for name in beside["different_pages"]]
    return found


def show(found: Mapping[str, Any]) -> None:
    print(
        f"\n{found['patients']} patients, {found['rounds']} rounds; medians, and ratios of ours to each round by round"
    )
    for name, spread in found["spreads"].items():
        cpu = found["processor"].get(name)
        beside = f"   by the processor {cpu['median']:8.3f}" if cpu else ""
        print(f"{name:24} {spread['median']:8.3f}   {spread['least']:.3f} to {spread['greatest']:.3f}{beside}")
    for name, side in found["sides"].items():
        megabytes = side["memory_bytes_at_start"] / 2**20
        print(f"\n{name}: starts in {side['start_s']} s with {megabytes:.0f} MB")
        _show_loads(side["loads"])
    for size, loads in found["growth"]["sides"].items():
        print(f"\nours, {int(size):,} patients")
        _show_loads(loads)


def _show_loads(loads: Mapping[str, Mapping[str, Any]]) -> None:
    for name, load in loads.items():
        took = " ".join(f"{load[share]:8.2f}" for share in ("p50_ms", "p95_ms", "p99_ms"))
        held = f"{load['memory_bytes'] / 2**20:4.0f} MB  {load['connections']} connections"
        print(f"  {name:10} {load['per_s']:9.1f} a second  {took} ms  processor {load['cpu_ms_each']:7.3f} ms  {held}")


def options_of(argv: Sequence[str] | None = None) -> Namespace:
    """Return what is asked for."""
    parser = arguments(__doc__ or "")
    parser.add_argument("--patients", type=int, default=10_000, help="how many patients (default 10,000)")
    parser.add_argument("--rounds", type=int, default=5, help="how often each side has its turn (default 5)")
    parser.add_argument("--seed", type=int, default=SEED, help=f"what the names follow from (default {SEED})")
    parser.add_argument("--growth", action="store_true", help="measure ours among up to a million patients too")
    parser.add_argument("--sides", nargs="*", choices=PEERS, default=None, help="which peers (default: all that can)")
    options = parser.parse_args(argv)
    most = LOADS[-1].times * 3 * 20
    assert most <= NEWCOMERS
    if not 100 <= options.patients <= 200_000 or not 1 <= options.rounds <= 20:
        parser.error("--patients is 100 to 200,000, --rounds 1 to 20")
    if options.quick:
        options.patients, options.rounds = min(options.patients, _QUICK_PATIENTS), 1
    options.sides = ["ours", *(peer for peer in (PEERS if options.sides is None else options.sides) if is_there(peer))]
    return options


def main() -> int:
    options = options_of()
    return said(asyncio.run(measure(options)), options, show)


if __name__ == "__main__":
    sys.exit(main())
