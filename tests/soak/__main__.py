"""`python -m tests.soak`: load and faults for some minutes, then a verdict."""

import argparse
import asyncio
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import asdict, dataclass
from json import dumps
from pathlib import Path

from tests.soak import nemesis
from tests.soak.history import Attempt, End, read
from tests.soak.judging import objections
from tests.soak.stand import Stand, planned, standing

_SHOWN = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """How long a soak is and what it does."""

    minutes: float
    faults: int
    seed: int
    clients: int
    servers: int
    pause_seconds: float
    programs: Path | None
    only: tuple[str, ...]


def main() -> int:
    """Soak each database in turn; return 1 if anything was not as it must be."""
    parser = argparse.ArgumentParser(prog="make soak ARGS=...", description=__doc__)
    parser.add_argument("--database", choices=("sqlite", "postgresql", "both"), default="both")
    parser.add_argument("--minutes", type=float, default=5.0, help="at most, on all databases together")
    parser.add_argument("--faults", type=int, default=60, help="at most, on all databases together")
    parser.add_argument("--seed", type=int, default=None, help="repeats the order of faults and of what is asked")
    parser.add_argument("--clients", type=int, default=6)
    parser.add_argument("--servers", type=int, default=2, help="on PostgreSQL; SQLite has one")
    parser.add_argument(
        "--pause", type=float, default=0.05, help="seconds between two requests of a client, on average"
    )
    parser.add_argument("--programs", type=Path, default=None, help="the folder of another PostgreSQL's programs")
    parser.add_argument("--only", action="append", default=[], help="a fault, by a part of its name; may be repeated")
    given = parser.parse_args()
    dialects = ["postgresql", "sqlite"] if given.database == "both" else [given.database]
    for dialect in dialects:
        names = ", ".join(nemesis.faults_of(dialect))
        if given.only and not any(part in names for part in given.only):
            parser.error(f"there is no such fault on {dialect}; there are {names}")
    # PostgreSQL has more that can go wrong, and so gets more of the faults and of the time.
    shares = {"postgresql": 0.75, "sqlite": 0.25} if len(dialects) > 1 else {dialects[0]: 1.0}
    seed = given.seed if given.seed is not None else random.randrange(1_000_000)
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]  # it is a file
    verdicts = []
    for dialect in dialects:
        course = Course(
            minutes=given.minutes * shares[dialect],
            faults=max(1, round(given.faults * shares[dialect])),
            seed=seed,
            clients=given.clients,
            servers=given.servers if dialect == "postgresql" else 1,
            pause_seconds=given.pause,
            programs=given.programs,
            only=tuple(given.only),
        )
        verdicts.append(asyncio.run(_soak(dialect, course)))
    return 0 if all(verdicts) else 1


async def _soak(dialect: str, course: Course) -> bool:
    folder = Path(tempfile.mkdtemp(prefix=f"clarity-soak-{dialect}-"))
    print(f"\n{dialect}: at most {course.faults} faults in {course.minutes:.1f} min, seed {course.seed}, in {folder}")
    async with standing(folder, dialect=dialect, servers=course.servers, programs=course.programs) as stand:
        for server in stand.servers:
            server.start()
        await stand.ready()
        plan = await planned(stand, clients=course.clients, seed=course.seed, pause_seconds=course.pause_seconds)
        (folder / "plan.json").write_text(dumps(asdict(plan)))
        clients = _calling(folder / "plan.json")
        try:
            done = await _torment(stand, course, clients)
            if stand.proxy is not None:
                stand.proxy.heal()
            print("  the clients settle what they do not know yet")
            await asyncio.to_thread(clients.communicate)
        finally:
            clients.kill()
            clients.wait()
        if clients.returncode:
            stand.found.append(f"the clients ended with status {clients.returncode}")
        history = read((folder / "history.jsonl").read_text().splitlines())
        connections = await stand.stop()
        stored = await stand.stored(connections, await stand.leaks())
        found = [*stand.complaints(), *objections(history, stored)]
    _report(history, done, found)
    if found:
        print(f"  everything is kept in {folder}")
    else:
        shutil.rmtree(folder)
    return not found


def _calling(plan: Path) -> "subprocess.Popen[bytes]":
    """Start the clients; they end when their input does."""
    return subprocess.Popen([sys.executable, "-m", "tests.soak.clients", plan], stdin=subprocess.PIPE)


async def _torment(stand: Stand, course: Course, clients: "subprocess.Popen[bytes]") -> Counter[str]:
    """Let faults happen until there were enough or the time is up; return how many of each there were."""
    chance = random.Random(course.seed)
    faults = nemesis.faults_of(stand.dialect)
    names = [name for name in faults if not course.only or any(part in name for part in course.only)]
    done: Counter[str] = Counter()
    began = time.monotonic()
    await asyncio.sleep(1)
    for number, name in enumerate(nemesis.order(names, course.faults, chance), 1):
        if time.monotonic() - began > 60 * course.minutes or clients.poll() is not None:
            break
        try:
            await faults[name](stand, chance)
            seconds = await stand.ready()
        except TimeoutError as exc:
            stand.found.append(f"after {name}: {exc}")
            break
        done[name] += 1
        print(f"  {time.monotonic() - began:6.1f} s  {number:3}/{course.faults}  {name}; ready after {seconds:.1f} s")
        await asyncio.sleep(chance.uniform(0.2, 1))
    return done


def _report(history: list[Attempt], done: Counter[str], found: list[str]) -> None:
    """Print how often what was asked, how it ended, and what is not as it must be."""
    print(f"  {'':14}{'ok':>8}{'failed':>8}{'unknown':>8}")
    ends: Counter[tuple[str, End]] = Counter()
    for attempt in history:
        for row in (attempt.kind, "together"):
            ends[row, attempt.end] += 1
    for row in [*sorted({attempt.kind for attempt in history}), "together"]:
        print(f"  {row:14}" + "".join(f"{ends[row, end]:8,}" for end in End))
    codes = Counter(attempt.code or str(attempt.status or "not sent") for attempt in history if attempt.end is End.FAIL)
    print("  failures: " + (", ".join(f"{count:,} {code}" for code, count in codes.most_common()) or "none"))
    print(f"  {done.total()} faults: " + ", ".join(f"{count} {name}" for name, count in sorted(done.items())))
    for objection in found[:_SHOWN]:
        print(f"  NOT AS IT MUST BE: {objection}")
    if len(found) > _SHOWN:
        print(f"  and {len(found) - _SHOWN} more")
    print(
        "  verdict: " + (f"{len(found)} things are not as they must be" if found else "nothing lost, nothing doubled")
    )


if __name__ == "__main__":
    sys.exit(main())
