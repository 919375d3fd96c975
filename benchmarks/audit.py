"""How many events of reads the trail makes durable in a second, and how long each waits for that.

    python -m benchmarks.audit [--quick] [--json] [--rounds 5]

The trail is asked at its port, `record`, with events as a unit of work makes them of a patient who was viewed. They are
made beforehand; what that costs stands in the breakdown. A closed load: so many record an event, and the next one when
that one is durable. Three sides, in turns:

- `postgresql`: the trail as the composition root opens it, over a connection of its own (`fsync` and
  `synchronous_commit` on);
- `sqlite`: the same over a file, which has no bound;
- `naive`: what one writes first: on PostgreSQL too, one transaction for each event, over the application's own pool.

Afterwards the rows of each database are counted: there are as many as events that were said to be durable.

`read_events_per_s` and `p99_ms` are of PostgreSQL with 64 in flight, medians of the rounds. `breakdown_us` is processor
time of this process for one event with 64 in flight: making it, certifying it (canonical bytes, leaf hash, MAC), the
statement that stores 64, and the rest, which is the queue, the futures and the event loop.
"""

import logging
import sys
import tempfile
import time
from argparse import Namespace
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import uvloop
from sqlalchemy import func, select
from uuid_utils.compat import uuid7

from benchmarks.measuring import Bound, Load, Spread, arguments, closed, in_turns, machine, ratios, said, say, told
from benchmarks.people import SEED
from benchmarks.stores import prepared, shown_settings
from clarity.api.server import favour_the_loop, set_aside_what_exists
from clarity.audit.encoding import Notary
from clarity.bootstrap import engine_options, now, open_keyring, opened_trail
from clarity.config import Settings
from clarity.domain.access import Action, Actor, Role
from clarity.domain.audit import Attempt, AuditEvent, Entry
from clarity.domain.ids import PatientId, RequestId
from clarity.domain.patients import DEMOGRAPHICS
from clarity.persistence.audit import AuditEventRow, SqlEventStore, append
from clarity.persistence.engine import Database, connect
from clarity.persistence.ledger import Ledger
from clarity.security.macs import AuditKeys
from clarity.upkeep import make_keys, migrate

IN_FLIGHT = 64
BOUNDS = {"read_events_per_s": Bound(at_least=10_000), "p99_ms": Bound(at_most=10)}
_LEVELS = (1, 8, IN_FLIGHT, 256)
SIDES = ("postgresql", "sqlite", "naive")
# So many events take each side a second or less.
_COUNTS = {1: 1_500, 8: 8_000, 64: 20_000, 256: 20_000}
_NAIVE_COUNT = 1_500
_BROKEN_DOWN = 100 * IN_FLIGHT
_QUICK_SHARE = 0.1

Made = TypeVar("Made")


def event_of_a_read() -> AuditEvent:
    """Return what a unit of work says of a patient who was viewed: one event, of which it makes the trail certain."""
    patient = PatientId(uuid7())
    actor = Actor(id=uuid7(), role=Role.FRONT_DESK, request=RequestId(uuid7()))
    ledger = Ledger()
    attempt = Attempt(actor=actor, action=Action.VIEW, at=now(), patient=patient, ids=(patient,))
    ledger.note(attempt).fields = int(DEMOGRAPHICS)
    ledger.disclose(attempt.resource, patient)
    ledger.check()
    [event] = ledger.events(uuid7)
    return event


@dataclass(slots=True)
class Side:
    """One way to make events durable, and how many it was asked for."""

    record: Callable[[AuditEvent], Awaitable[None]]
    database: Database
    asked: int = 0

    async def load(self, in_flight: int, count: int) -> Load:
        """Record so many events."""
        events = [event_of_a_read() for _ in range(count)]
        self.asked += count
        return await closed(lambda number: self.record(events[number]), in_flight, count)

    async def stored(self) -> int:
        """Return how many events are in the database."""
        async with self.database.reading() as session:
            return (await session.execute(select(func.count()).select_from(AuditEventRow))).scalar_one()


@dataclass(slots=True)
class Trails:
    """The three sides, and the pieces that the first is made of."""

    sides: Mapping[str, Side]
    certify: Callable[[AuditEvent], Entry]
    store: SqlEventStore
    settings: Mapping[str, str]


@asynccontextmanager
async def opened() -> AsyncIterator[Trails]:
    """Open every side on an empty practice of its own."""
    async with AsyncExitStack() as stack:
        practices = [await stack.enter_async_context(prepared(SEED, with_peer=False)) for _ in range(2)]
        file = Settings(data_dir=Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="clarity-audit-"))))
        make_keys(file)
        await migrate(file)
        certify = Notary(AuditKeys(open_keyring(practices[1].settings)).mac).certify
        sides = {
            "postgresql": await _of_the_trail(stack, practices[0].settings),
            "sqlite": await _of_the_trail(stack, file),
            "naive": _naive(_database(stack, practices[1].settings), certify),
        }
        plain = sides["naive"].database
        store = SqlEventStore(plain.trail_connection, plain.turn, plain.dialect_name)
        stack.push_async_callback(store.aclose)
        yield Trails(sides, certify, store, await shown_settings(practices[0]))


def _database(stack: AsyncExitStack, settings: Settings) -> Database:
    database = connect(engine_options(settings))
    stack.push_async_callback(database.dispose)
    return database


async def _of_the_trail(stack: AsyncExitStack, settings: Settings) -> Side:
    database = _database(stack, settings)
    trail = await stack.enter_async_context(opened_trail(database, open_keyring(settings)))
    return Side(lambda event: trail.record([event]), database)


def _naive(database: Database, certify: Callable[[AuditEvent], Entry]) -> Side:
    async def record(event: AuditEvent) -> None:
        async with database.writing() as session:
            await append(session, [certify(event)])
            await session.commit()

    return Side(record, database)


def count_of(side: str, in_flight: int, *, quick: bool) -> int:
    """Return how many events a side is asked for at once in a round."""
    count = _NAIVE_COUNT if side == "naive" else _COUNTS[in_flight]
    return max(int(count * _QUICK_SHARE), in_flight) if quick else count


async def in_rounds(trails: Trails, rounds: int, *, quick: bool) -> dict[str, dict[int, list[Load]]]:
    """Load each side at each level, round by round, once before it counts."""
    found: dict[str, dict[int, list[Load]]] = {side: {level: [] for level in _LEVELS} for side in SIDES}
    for number, side in in_turns(SIDES, rounds + 1):
        say(f"round {number} of {rounds}: {side}" if number else f"warming up: {side}")
        for level in _LEVELS:
            load = await trails.sides[side].load(level, count_of(side, level, quick=quick))
            if number:
                found[side][level].append(load)
    return found


async def broken_down(trails: Trails, whole_us: float, count: int) -> dict[str, float]:
    """Return the processor time of one event, by what it is spent on."""
    made, events = _each(event_of_a_read, count)
    remaining = iter(events)
    certified, entries = _each(lambda: trails.certify(next(remaining)), count)
    began = time.process_time()
    for start in range(0, count, IN_FLIGHT):
        await trails.store.append(entries[start : start + IN_FLIGHT])
    stored = (time.process_time() - began) / count * 1e6
    parts = {"making": made, "certifying": certified, "statement": stored, "rest": whole_us - certified - stored}
    return {name: round(value, 2) for name, value in parts.items()}


def _each(make: Callable[[], Made], count: int) -> tuple[float, list[Made]]:
    began = time.process_time()
    made = [make() for _ in range(count)]
    return (time.process_time() - began) / count * 1e6, made


async def measure(options: Namespace) -> dict[str, Any]:
    rounds = 1 if options.quick else options.rounds
    async with opened() as trails:
        set_aside_what_exists()  # as the server does when it listens
        loads = await in_rounds(trails, rounds, quick=options.quick)
        for name, side in trails.sides.items():
            assert await side.stored() == side.asked, f"{name} said more events were durable than there are"
        ours = loads["postgresql"][IN_FLIGHT]
        whole_us = Spread.of([load.cpu_ms_each * 1000 for load in ours]).median
        parts = await broken_down(trails, whole_us, 10 * IN_FLIGHT if options.quick else _BROKEN_DOWN)
        settings = trails.settings
    per_s, p99 = (Spread.of([getattr(load, name) for load in ours]) for name in ("per_s", "p99_ms"))
    return told(
        {"read_events_per_s": per_s.median, "p99_ms": p99.median},
        BOUNDS,
        options,
        spreads={"read_events_per_s": per_s._asdict(), "p99_ms": p99._asdict()},
        against_naive={str(level): _ratio(loads, level)._asdict() for level in _LEVELS},
        levels={side: {str(level): summary(some) for level, some in each.items()} for side, each in loads.items()},
        breakdown_us=parts,
        rounds=rounds,
        settings=settings,
        machine=machine(("asyncpg", "sqlalchemy", "aiosqlite", "uvloop", "cryptography")),
    )


def _ratio(loads: Mapping[str, Mapping[int, Sequence[Load]]], level: int) -> Spread:
    ours, naive = ([load.per_s for load in loads[side][level]] for side in ("postgresql", "naive"))
    return ratios(ours, naive)


def summary(loads: Sequence[Load]) -> dict[str, float]:
    """Return the medians of what came of the rounds."""
    names = ("per_s", "p50_ms", "p95_ms", "p99_ms", "cpu_ms_each")
    return {name: Spread.of([getattr(load, name) for load in loads]).median for name in names}


def show(found: Mapping[str, Any]) -> None:
    print(f"\n{'in flight':10}{'side':12}{'events/s':>10}{'p50 ms':>10}{'p99 ms':>10}{'cpu us':>10}")
    for level in _LEVELS:
        for side in SIDES:
            one = found["levels"][side][str(level)]
            figures = (one["per_s"], one["p50_ms"], one["p99_ms"], one["cpu_ms_each"] * 1000)
            print(f"{level:<10}{side:12}" + "".join(f"{figure:>10.6g}" for figure in figures))
    parts = ", ".join(f"{name} {value}" for name, value in found["breakdown_us"].items())
    print(f"\nprocessor time of one event in us: {parts}")


def main() -> int:
    parser = arguments(__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="how often each side has its turn (default 5)")
    options = parser.parse_args()
    if not 1 <= options.rounds <= 50:
        parser.error("--rounds is 1 to 50")
    logging.getLogger("clarity").setLevel(logging.ERROR)  # that statements are slow is what is looked at here
    favour_the_loop()
    return said(uvloop.run(measure(options)), options, show)


if __name__ == "__main__":
    sys.exit(main())
