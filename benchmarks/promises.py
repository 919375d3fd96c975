"""What each promise costs: reads, pages, new patients and changes with all promises kept, and without one at a time.

    python -m benchmarks.promises [--quick] [--json] [--patients 5000] [--rounds 5]

Builds of Clarity that lack one promise exist in this benchmark alone: `benchmarks/peers/without.py` says what each
leaves out. Each has a database of its own on one PostgreSQL, with the same people, and a process of its own. In each
round every build does the same in its turn, 32 in flight, and each round another begins. `nothing` lacks nothing; it is
put together as the others are. A quick run has that and `everything` alone.

The price of a promise is the processor time of the application without it over that with all kept, taken from 1: 0.2 of
a read is a fifth of what a read costs. The processor's time counts since it depends little on what else goes on.
`throughput_without` is how many times as many a second there are without it: that has the database's share in it too,
and the waiting for its disk. `spreads` has both round by round. Prices do not add up: what is left out together with
something else may cost nothing more. Of a price whose spread has zero in it, nothing is known. There are no bounds.
"""

import asyncio
import sys
from argparse import Namespace
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from statistics import median
from typing import Any

from benchmarks.measuring import Spread, arguments, in_turns, machine, ratios, said, say, told
from benchmarks.peers import PACKAGES
from benchmarks.peers.without import EVERYTHING, PROMISES
from benchmarks.people import SEED, People
from benchmarks.places import identified, places
from benchmarks.side import OPERATIONS, Job, Side, started

NOTHING = "nothing"
BUILDS = (NOTHING, *PROMISES, EVERYTHING)
QUICK_BUILDS = (NOTHING, EVERYTHING)
IN_FLIGHT = 32
_TIMES = {"read": 1_500, "page": 128, "create": 300, "update": 300}
_QUICK_PATIENTS = 100

Answers = Mapping[str, Mapping[str, Sequence[Mapping[str, float]]]]
"""By build and operation, what came of it in each round."""


async def asked(sides: Mapping[str, Side], rounds: int, *, quick: bool) -> Answers:
    """Let each build do everything in its turn, round by round; the first round warms up unless it is a quick run."""
    found: dict[str, dict[str, list[Mapping[str, float]]]] = {
        build: {what: [] for what in OPERATIONS} for build in sides
    }
    warm_ups = 0 if quick else 1
    for number, build in in_turns(list(sides), rounds + warm_ups):
        say(f"round {number + 1 - warm_ups} of {rounds}: without {build}")
        for what, times in _TIMES.items():
            count = max(IN_FLIGHT, times // 20) if quick else times
            answer = await sides[build].told(do=what, in_flight=IN_FLIGHT, count=count)
            if number >= warm_ups:
                found[build][what].append(answer)
    return found


def prices(answers: Answers) -> dict[str, dict[str, dict[str, Spread]]]:
    """Return for each promise and operation its price, and how many times as many a second there are without it."""
    return {
        build: {what: _of(answers[NOTHING][what], answers[build][what]) for what in OPERATIONS}
        for build in answers
        if build != NOTHING
    }


def _of(kept: Sequence[Mapping[str, float]], without: Sequence[Mapping[str, float]]) -> dict[str, Spread]:
    cost = ratios([one["cpu_ms_each"] for one in without], [one["cpu_ms_each"] for one in kept])
    return {
        "price": Spread.of([1 - share for share in cost.by_round]),
        "throughput_without": ratios([one["per_s"] for one in without], [one["per_s"] for one in kept]),
    }


def summary(answers: Answers) -> dict[str, dict[str, dict[str, float]]]:
    """Return the medians of each build and operation."""
    names = ("per_s", "p50_ms", "p99_ms", "cpu_ms_each")
    return {
        build: {
            what: {name: round(median(one[name] for one in some), 4) for name in names} for what, some in each.items()
        }
        for build, each in answers.items()
    }


def _side(build: str) -> str:
    return f"ours_without_{build}"


async def measure(options: Namespace) -> dict[str, Any]:
    async with places() as there, AsyncExitStack() as stack:
        people = list(identified(People(options.patients, options.seed)))
        ids = [str(identity) for identity, _ in people]
        sides: dict[str, Side] = {}
        kept = await there.filled(_side(NOTHING), people)
        for build in QUICK_BUILDS if options.quick else BUILDS:
            say(f"{options.patients} patients: without {build}")
            name = _side(build)
            # What others sealed does not open without keys.
            unsealed = build in {"sealing", EVERYTHING}
            place = await (there.filled(name, people) if unsealed else there.copied(kept, name))
            sides[build] = await stack.enter_async_context(
                started(name, Job(name, place, ids, len(people), options.seed))
            )
        looks = [await side.told(do="look") for side in sides.values()]
        assert all(look == looks[0] for look in looks), "the builds show different patients"
        for side in sides.values():
            await side.told(do="warm")
        answers = await asked(sides, options.rounds, quick=options.quick)
        settings = await there.settings()
    found = prices(answers)
    figures = {
        f"price_of_{build}_in_{what}": both["price"].median
        for build, each in found.items()
        for what, both in each.items()
    }
    return told(
        figures,
        {},
        options,
        patients=options.patients,
        rounds=options.rounds,
        seed=options.seed,
        in_flight=IN_FLIGHT,
        builds=summary(answers),
        throughput_without={
            build: {what: both["throughput_without"].median for what, both in each.items()}
            for build, each in found.items()
        },
        spreads={
            build: {what: {name: one._asdict() for name, one in both.items()} for what, both in each.items()}
            for build, each in found.items()
        },
        settings=settings,
        machine=machine(PACKAGES["ours"]),
    )


def show(found: Mapping[str, Any]) -> None:
    kept = found["builds"][NOTHING]
    costs = ", ".join(f"{what} {one['cpu_ms_each']} ms, {one['per_s']} a second" for what, one in kept.items())
    print(f"\nall promises kept, {found['patients']} patients, processor time and rate: {costs}")
    print(f"\n{'without':16}" + "".join(f"{what:>30}" for what in OPERATIONS))
    for build, each in found["spreads"].items():
        cells = []
        for what in OPERATIONS:
            price, faster = each[what]["price"], each[what]["throughput_without"]["median"]
            cells.append(f"{price['median']:+.2f} ({price['least']:+.2f}..{price['greatest']:+.2f}) {faster:.2f}x")
        print(f"{build:16}" + "".join(f"{cell:>30}" for cell in cells))


def options_of(argv: Sequence[str] | None = None) -> Namespace:
    """Return what is asked for."""
    parser = arguments(__doc__ or "")
    parser.add_argument("--patients", type=int, default=5_000, help="how many patients (default 5,000)")
    parser.add_argument("--rounds", type=int, default=5, help="how often each build has its turn (default 5)")
    parser.add_argument("--seed", type=int, default=SEED, help=f"what the names follow from (default {SEED})")
    options = parser.parse_args(argv)
    if not 100 <= options.patients <= 100_000 or not 1 <= options.rounds <= 20:
        parser.error("--patients is 100 to 100,000, --rounds 1 to 20")
    if options.quick:
        options.patients, options.rounds = _QUICK_PATIENTS, 1
    return options


def main() -> int:
    options = options_of()
    return said(asyncio.run(measure(options)), options, show)


if __name__ == "__main__":
    sys.exit(main())
