"""What benchmarks have in common: load that waits for its answers, rounds in turns, ratios, and how they end.

Every benchmark prints one JSON object with `--json`, a table without, and exits with 1 if a figure misses its bound.
With `--quick` it takes some ten seconds, and no bound counts: so little says nothing of what is measured, but that it
can be.
"""

import asyncio
import json
import math
import os
import platform
import sys
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple, TypeAlias

Operation: TypeAlias = Callable[[int], Awaitable[object]]
"""Does something the so-manieth time."""


@dataclass(frozen=True, slots=True)
class Load:
    """What became of so many operations. `cpu_ms_each` is processor time of the process that asked."""

    count: int
    in_flight: int
    seconds: float
    per_s: float
    cpu_ms_each: float
    p50_ms: float
    p95_ms: float
    p99_ms: float


async def closed(operation: Operation, in_flight: int, count: int, *, first: int = 0) -> Load:
    """Do something `count` times, by `in_flight` who each begin anew as soon as they have their answer.

    It is told its number, from `first` on.
    """
    numbers, times = iter(range(first, first + count)), []

    async def one_after_the_other() -> None:
        for number in numbers:
            began = time.perf_counter()
            await operation(number)
            times.append(time.perf_counter() - began)

    processor, began = time.process_time(), time.perf_counter()
    await asyncio.gather(*(one_after_the_other() for _ in range(min(in_flight, count))))
    seconds, processor = time.perf_counter() - began, time.process_time() - processor
    p50, p95, p99 = (round(1000 * percentile(times, share), 3) for share in (0.5, 0.95, 0.99))
    return Load(
        count=count,
        in_flight=in_flight,
        seconds=round(seconds, 4),
        per_s=round(count / seconds, 1),
        cpu_ms_each=round(1000 * processor / count, 4),
        p50_ms=p50,
        p95_ms=p95,
        p99_ms=p99,
    )


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value below which `share` of `values` lie, interpolated between neighbours."""
    ordered = sorted(values)
    place = share * (len(ordered) - 1)
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)


def in_turns(sides: Sequence[str], rounds: int) -> Iterator[tuple[int, str]]:
    """Return each side once a round, with the number of the round; each round another begins."""
    for number in range(rounds):
        place = number % len(sides)
        for side in (*sides[place:], *sides[:place]):
            yield number, side


class Spread(NamedTuple):
    """The median of a figure over the rounds, its least and its greatest value, and each round's."""

    median: float
    least: float
    greatest: float
    by_round: tuple[float, ...]

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        """Say how the values of the rounds are spread."""
        rounded = tuple(round(value, 3) for value in values)
        return cls(round(median(values), 3), min(rounded), max(rounded), rounded)


def ratios(ours: Sequence[float], peer: Sequence[float]) -> Spread:
    """Return how ours stands to the peer's, round by round."""
    return Spread.of([mine / theirs for mine, theirs in zip(ours, peer, strict=True)])


@dataclass(frozen=True, slots=True)
class Bound:
    """What a figure is to reach, or not to pass."""

    at_least: float = -math.inf
    at_most: float = math.inf

    def __str__(self) -> str:
        return f"at least {self.at_least:g}" if math.isfinite(self.at_least) else f"at most {self.at_most:g}"

    def holds(self, figure: float) -> bool:
        """Return whether the figure is within it."""
        return self.at_least <= figure <= self.at_most

    def told(self) -> dict[str, float]:
        """Return it as it stands in JSON."""
        return {name: value for name, value in asdict(self).items() if math.isfinite(value)}


def missed(figures: Mapping[str, float | None], bounds: Mapping[str, Bound]) -> list[str]:
    """Return the names of the figures that miss their bounds. What was not measured misses nothing."""
    known = ((name, figures.get(name), bound) for name, bound in bounds.items())
    return [name for name, figure, bound in known if figure is not None and not bound.holds(figure)]


def arguments(doc: str) -> ArgumentParser:
    """Return a parser that knows what every benchmark is asked with, for more to be added."""
    parser = ArgumentParser(description=doc.split("\n", 1)[0])
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--quick", action="store_true", help="try in ten seconds whether it runs; no bound counts")
    return parser


def machine(packages: Collection[str] = ()) -> dict[str, Any]:
    """Return what it is measured on, and the versions of packages as far as they are installed."""
    return {
        "cores": os.cpu_count(),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "processor": _processor(),
        "load_average_1m": round(os.getloadavg()[0], 2),
        "system": platform.platform(),
        "python": platform.python_version(),
        "packages": {name: found for name in packages if (found := _installed(name))},
    }


def memory_bytes(field: str = "VmRSS") -> int:
    """Return how much memory this process has in use, or had at most (`VmHWM`)."""
    for line in Path("/proc/self/status").read_text().splitlines():
        name, _, value = line.partition(":")
        if name == field:
            return int(value.split()[0]) * 1024
    return 0


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return platform.machine()


def _installed(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def told(
    figures: Mapping[str, float | None], bounds: Mapping[str, Bound], options: Namespace, **beside: object
) -> dict[str, Any]:
    """Return the one object that a benchmark prints: the figures, their bounds, and whatever stands beside them."""
    return {
        **figures,
        "bounds": {name: bound.told() for name, bound in bounds.items()},
        "missed": [] if options.quick else missed(figures, bounds),
        "quick": options.quick,
        **beside,
    }


def said(found: Mapping[str, Any], options: Namespace, show: Callable[[Mapping[str, Any]], None] | None = None) -> int:
    """Print what was found, the figures before what `show` prints of the rest, and return what to exit with."""
    if options.json:
        print(json.dumps(found, indent=2))
    else:
        _print_heading(found)
        for name, bound in found["bounds"].items():
            figure, limit = found.get(name), Bound(**bound)
            verdict = "not measured" if figure is None else "ok" if limit.holds(figure) else "misses it"
            print(f"{name:32} {figure!s:>10}   {limit!s:<15} {'' if found['quick'] else verdict}".rstrip())
        if show is not None:
            show(found)
        print("missed: " + (", ".join(found["missed"]) or ("not judged" if found["quick"] else "nothing")))
    return 1 if found["missed"] else 0


def _print_heading(found: Mapping[str, Any]) -> None:
    if on := found.get("machine"):
        line = f"{on['cores']} cores, {on['processor']}, {on['system']}, Python {on['python']}"
        print(f"{line}, load average {on['load_average_1m']}")
        print(", ".join(f"{name} {number}" for name, number in on["packages"].items()))
    if settings := found.get("settings"):
        print(", ".join(f"{name} {value}" for name, value in settings.items()))


def say(line: str) -> None:
    """Tell whoever waits how far it is."""
    print(line, file=sys.stderr, flush=True)
