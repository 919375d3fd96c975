"""`python -m tests.soak.freshness`: one process writes, this one searches, and each search sees what was committed.

The writer registers patients, renames them again and again and takes some away, and says of each change that it was
committed, in one line. For each line there is a search for that patient: it must find them as they were then, or later.
Now and then the writer is killed in whatever it does, and another takes its place.
"""

import argparse
import asyncio
import json
import random
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from clarity.application.admission import admit
from clarity.domain.access import OPERATOR, Action, Role, scope_of
from clarity.domain.errors import Conflict
from clarity.domain.ids import PatientId
from clarity.domain.patients import PatientQuery, Removal
from clarity.persistence.engine import EngineOptions
from clarity.search.resident import ResidentSearch
from clarity.security.keyring import Keyring, Purpose
from tests.builders import NOW, a_keyring, a_name, a_patient, an_actor, the_operator
from tests.practice import Practice, sql_practice
from tests.searching import resident_search
from tests.servers import migrated_file, opened, postgres_databases

RENAMED: Final = 4
"""How often each patient is renamed; every tenth is then taken away."""

_AT_ONCE = 8
_GONE = -1
_LONGEST_SECONDS = 30.0


@dataclass(slots=True)
class Outcome:
    """How many searches there were, what they missed, and how long the slowest took."""

    searches: int = 0
    missed: list[str] = field(default_factory=list)
    killed: int = 0
    slowest_seconds: float = 0.0


@dataclass(slots=True)
class Writer:
    """A process that writes patients whose family name begins with `name`, and tells of each change."""

    name: str
    process: asyncio.subprocess.Process

    async def changes(self) -> AsyncIterator[tuple[str, int]]:
        """Yield the family name of a patient and the number of the change that was committed; -1 if they are gone."""
        assert self.process.stdout is not None
        while line := await self.process.stdout.readline():
            if not line.endswith(b"\n"):
                return  # it was killed in the middle of a line
            family, number = line.split()
            yield family.decode(), int(number)


@asynccontextmanager
async def writing(options: EngineOptions, keyring: Keyring, name: str) -> AsyncIterator[Writer]:
    """Let another process write until it is not needed any more."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.soak.freshness",
        "--write",
        name,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=1 << 20,
    )
    assert process.stdin is not None
    secrets = {purpose.value: keyring.secret(purpose).hex() for purpose in Purpose}
    process.stdin.write(json.dumps({"url": options.url, "secrets": secrets}).encode() + b"\n")
    await process.stdin.drain()
    try:
        yield Writer(name, process)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def interleaved(
    options: EngineOptions, keyring: Keyring, *, searches: int, chance: random.Random, writers: int = 1
) -> Outcome:
    """Search once for each change that another process commits, `searches` times in all, and return what was found."""
    outcome, names = Outcome(), iter(range(sys.maxsize))
    async with (
        opened(options) as database,
        sql_practice(database, keyring) as practice,
        resident_search(practice, keyring) as search,
    ):

        async def follow() -> None:
            while outcome.searches < searches:
                lifetime = chance.randrange(searches // 4, searches + 1)
                async with writing(options, keyring, f"zq{next(names)}w") as writer:
                    await _follow(writer, practice, search, outcome, min(searches, outcome.searches + lifetime))
                outcome.killed += 1

        await asyncio.gather(*(follow() for _ in range(writers)))
    return outcome


async def _follow(writer: Writer, practice: Practice, search: ResidentSearch, outcome: Outcome, until: int) -> None:
    """Search for what a writer commits, some at a time, while it goes on."""
    slots = asyncio.Semaphore(_AT_ONCE)

    async def look(family: str, number: int) -> None:
        try:
            began = time.perf_counter()
            seen = await _seen(practice, search, family)
            outcome.slowest_seconds = max(outcome.slowest_seconds, time.perf_counter() - began)
            if _is_missing(family, number, seen):
                outcome.missed.append(f"{family} was at {number}, and seen at {seen}")
        finally:
            slots.release()

    async with asyncio.TaskGroup() as group:
        async for family, number in writer.changes():
            await slots.acquire()
            outcome.searches += 1
            group.create_task(look(family, number))
            if outcome.searches >= until:
                return


async def _seen(practice: Practice, search: ResidentSearch, family: str) -> int | None:
    """Return at which change a patient is found, and nothing if they are not."""
    async with practice.reading() as work:
        scope = scope_of(an_actor(Role.FRONT_DESK), Action.SEARCH, at=NOW)
        found = await search.find(work, scope, PatientQuery(name=family), after=None, at_most=2)
    numbers = [int(key[1].removeprefix("v")) for key in found.keys]
    assert len(numbers) <= 1, f"{family} is found {len(numbers)} times"
    return numbers[0] if numbers else None


def _is_missing(family: str, number: int, seen: int | None) -> bool:
    if number == _GONE:
        return seen is not None
    if seen is None:  # only whoever was taken away meanwhile
        return not _is_taken_away(family)
    return seen < number


def _is_taken_away(family: str) -> bool:
    return family.removesuffix("x").endswith("0")


async def _write(name: str) -> None:
    """Be the writer: until killed, change patients and tell of each change once it was committed."""
    given = json.loads(await asyncio.to_thread(sys.stdin.readline))
    keyring = Keyring({Purpose(purpose): {1: bytes.fromhex(secret)} for purpose, secret in given["secrets"].items()})
    async with opened(EngineOptions(url=given["url"])) as database, sql_practice(database, keyring) as practice:
        await asyncio.gather(*(_change(practice, f"{name}{lane}n", lane) for lane in range(3)))


async def _change(practice: Practice, name: str, lane: int) -> None:
    chance = random.Random(lane)
    number = 0
    while True:
        number += 1
        family = f"{name}{number}x"
        patient = await practice.stored(a_patient(name=a_name(family, "v0")))
        _say(family, 0)
        for change in range(1, RENAMED + 1):
            patient = await practice.changed(patient.id, names=(a_name(family, f"v{change}"),))
            _say(family, change)
            if chance.random() < 0.1:
                await _in_vain(practice, patient.id)
        if _is_taken_away(family):
            await _take_away(practice, patient.id)
            _say(family, _GONE)


async def _in_vain(practice: Practice, patient: PatientId) -> None:
    """Change a name in a transaction that is rolled back."""
    with suppress(Conflict):
        async with practice.begin() as work:
            admitted = admit(work, the_operator(), Action.CHANGE, await work.patients.get(patient), at=NOW)
            opened = work.patients.open(admitted)
            await work.patients.save(replace(opened, names=(a_name("Nobody"),)))
            opened.reactivate()


async def _take_away(practice: Practice, patient: PatientId) -> None:
    async with practice.begin() as work:
        admitted = admit(work, the_operator(), Action.DELETE, await work.patients.get(patient), at=NOW)
        await work.patients.remove(work.patients.open(admitted), Removal(reason="soak", at=NOW, by=OPERATOR))


def _say(family: str, number: int) -> None:
    sys.stdout.write(f"{family} {number}\n")
    sys.stdout.flush()


def main() -> int:
    """Run on each database in turn; return 1 if a search missed anything."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak.freshness", description=__doc__)
    parser.add_argument("--searches", type=int, default=10_000, help="on each database")
    parser.add_argument("--writers", type=int, default=2, help="processes that write to PostgreSQL at the same time")
    parser.add_argument("--database", choices=("sqlite", "postgresql", "both"), default="both")
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--write", default=None, metavar="NAME", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.write is not None:
        asyncio.run(_write(given.write))
        return 0
    seed = given.seed if given.seed is not None else random.randrange(1_000_000)
    missed = 0
    for dialect in ("postgresql", "sqlite") if given.database == "both" else (given.database,):
        print(f"{dialect}: {given.searches:,} searches, seed {seed}")
        began = time.perf_counter()
        outcome = _on_a_database(dialect, given.searches, given.writers, random.Random(seed))
        missed += len(outcome.missed)
        print(
            f"  {outcome.searches:,} searches for as many changes by {outcome.killed} processes in"
            f" {time.perf_counter() - began:.0f} s, the slowest in {outcome.slowest_seconds * 1000:.0f} ms:"
            f" {len(outcome.missed)} missed"
        )
        for line in outcome.missed[:20]:
            print(f"    {line}")
    return 1 if missed else 0


def _on_a_database(dialect: str, searches: int, writers: int, chance: random.Random) -> Outcome:
    keyring = a_keyring()
    if dialect == "sqlite":
        with tempfile.TemporaryDirectory(prefix="clarity-freshness-") as folder:
            file = migrated_file(Path(folder) / "practice.db")
            options = EngineOptions(url=f"sqlite+aiosqlite:///{file}")
            return asyncio.run(interleaved(options, keyring, searches=searches, chance=chance))
    with postgres_databases() as databases:
        options = databases.application_of(asyncio.run(databases.create()))
        return asyncio.run(interleaved(options, keyring, searches=searches, chance=chance, writers=writers))


if __name__ == "__main__":
    sys.exit(main())
