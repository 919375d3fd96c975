"""Rows made in Python and sent by COPY, in processes that wait for each other: sealed ones, and plain ones.

Every process has validated `Patient` objects of its own, the same for both sides, and in its turn makes rows of them
and sends them, some thousand in a transaction. A plain row has each value in a column, as `benchmarks/peers/raw.py` has
them; a sealed one has them encoded, padded, encrypted and bound to its place.

What is sent:

- `plain`: one row for each patient;
- `sealed`: the sealed row for each patient, under a data key that is at hand;
- `sealed_with_keys`: the data key is made and wrapped too, and sent as a row of its own;
- `sealed_whole`: and MRN, SSN, e-mail and telephone become digests to be found by, each a row: all of a new patient.

Where it goes: to tables that have their primary key and no other index, and without triggers, as when a dump is
restored; with `_indexed`, to the tables as they are in use, with all indexes, constraints and triggers of each side.
"""

import asyncio
import gc
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from multiprocessing import get_context
from multiprocessing.connection import Connection as Pipe

import uvloop
from uuid_utils.compat import uuid7

from benchmarks.driver import Connection, connected
from benchmarks.loading import (
    Practice,
    Row,
    Writer,
    copy_identifiers,
    copy_keys,
    copy_patients,
    without_indexes,
)
from benchmarks.peers import SOMEBODY, Place
from benchmarks.peers.raw import COLUMNS, opened
from benchmarks.people import People
from clarity.domain.ids import PatientId
from clarity.domain.patients import Patient
from clarity.domain.people import TelecomSystem
from clarity.persistence.trail_guard import MIGRATING

FORMS = ("plain", "sealed", "sealed_with_keys", "sealed_whole")
INDEXED = "_indexed"
SIDES = (*FORMS, *(f"{form}{INDEXED}" for form in FORMS))
_AT_A_TIME = 4_000
_PATIENCE_SECONDS = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Targets:
    """The databases: of a practice and of the plain table, without secondary indexes and in use."""

    sealed: Practice
    sealed_indexed: Practice
    plain_url: str
    plain_indexed_url: str

    def url_of(self, side: str) -> str:
        """Return where the rows of a side go, as the owner of its tables."""
        indexed = side.endswith(INDEXED)
        if side.startswith("plain"):
            return self.plain_indexed_url if indexed else self.plain_url
        return (self.sealed_indexed if indexed else self.sealed).owner_url

    async def prepare(self) -> None:
        """Make the plain tables, and take away what the tables without secondary indexes are not to have."""
        for url in (self.plain_url, self.plain_indexed_url):
            async with opened(Place(url, url, "")) as peer:
                await peer.prepare()
        for url in (self.plain_url, self.sealed.owner_url):
            async with connected(url) as connection:
                await without_indexes(connection)
        async with connected(self.plain_url) as connection:
            await connection.execute("ALTER TABLE patients DROP CONSTRAINT patients_mrn_key")

    async def empty(self, side: str) -> None:
        """Take away the rows of the turns before, and let the server write what it has to first."""
        async with connected(self.url_of(side)) as connection:
            await connection.execute("SET session_replication_role = replica")
            await connection.execute("TRUNCATE patients CASCADE")
            if not side.startswith("plain"):
                await connection.execute("TRUNCATE data_keys, patient_identifiers CASCADE")
            await connection.execute("CHECKPOINT")

    async def count(self, side: str) -> int:
        """Return how many patients there are."""
        async with connected(self.url_of(side)) as connection:
            return int(await connection.fetchval("SELECT count(*) FROM patients"))


def plain_row(patient: Patient, at: datetime) -> Row:
    """Return a patient as a row in plain."""
    [address], [name] = patient.addresses, patient.names
    telecoms = {one.system: one.value for one in patient.telecoms}
    mrn, ssn = patient.identifiers
    return (
        *(patient.id, mrn.value, ssn.value, name.family, " ".join(name.given), patient.born.first),
        *(patient.gender.value, patient.status.value, telecoms[TelecomSystem.PHONE], telecoms[TelecomSystem.EMAIL]),
        *(address.lines[0], address.city, address.state, address.postal_code, patient.notes),
        *(at, SOMEBODY, at, SOMEBODY, 1),
    )


class _Sender:
    """What one process can make and send."""

    def __init__(self, targets: Targets, first: int, last: int) -> None:
        people = People(last, targets.sealed.seed).some(first, last)
        self.targets = targets
        self.connections: dict[str, Connection] = {}
        self.patients = [person.patient(PatientId(uuid7()), with_ssn=True) for person in people]
        self.writers = {name: Writer.of(one.settings) for name, one in self._practices.items()}
        # Keys at hand are made beforehand, as those are which a key store has.
        self.keys = {
            name: {one.id: writer.new_key(one)[1] for one in self.patients} for name, writer in self.writers.items()
        }

    @property
    def _practices(self) -> dict[str, Practice]:
        return {"": self.targets.sealed, INDEXED: self.targets.sealed_indexed}

    async def connect(self, stack: AsyncExitStack) -> None:
        """Connect to every database until the end."""
        for side in SIDES:
            url = self.targets.url_of(side)
            if url not in self.connections:
                self.connections[url] = await stack.enter_async_context(connected(url))
                if not side.endswith(INDEXED):
                    await self.connections[url].execute("SET session_replication_role = replica")

    async def send(self, side: str) -> float:
        """Make all rows of a side and send them; return the processor time of this process in seconds."""
        connection = self.connections[self.targets.url_of(side)]
        began = time.process_time()
        for start in range(0, len(self.patients), _AT_A_TIME):
            async with connection.transaction():
                await self._send_some(connection, side, self.patients[start : start + _AT_A_TIME])
        return time.process_time() - began

    async def _send_some(self, connection: Connection, side: str, some: Sequence[Patient]) -> None:
        form, indexed, _ = side.partition(INDEXED)
        if form == "plain":
            at = datetime.now(UTC)
            rows = [plain_row(patient, at) for patient in some]
            await connection.copy_records_to_table("patients", records=rows, columns=COLUMNS)
            return
        writer, keys = self.writers[indexed], self.keys[indexed]
        if indexed:
            await connection.execute(MIGRATING)
        if form == "sealed":
            await copy_patients(connection, [writer.row_of(patient, keys[patient.id]) for patient in some])
            return
        made = [(patient, *writer.new_key(patient)) for patient in some]
        await copy_patients(connection, [writer.row_of(patient, key) for patient, _, key in made])
        await copy_keys(connection, [row for _, row, _ in made])
        if form == "sealed_whole":
            await copy_identifiers(connection, [row for patient in some for row in writer.identifiers_of(patient)])


async def _work(pipe: Pipe, sender: _Sender) -> None:
    """Send what the pipe names, until it names nothing."""
    async with AsyncExitStack() as stack:
        await sender.connect(stack)
        pipe.send(0.0)
        while side := await asyncio.to_thread(pipe.recv):
            pipe.send(await sender.send(side))


def _process(pipe: Pipe, targets: Targets, first: int, last: int) -> None:
    sender = _Sender(targets, first, last)
    gc.disable()  # rows hold nothing that refers to itself, on either side
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_work(pipe, sender))


@dataclass(frozen=True, slots=True)
class Sent:
    """What became of one turn of a side. `cpu_us` is processor time of Python for one patient."""

    rows_per_s: float
    cpu_us: float


@dataclass(frozen=True, slots=True)
class Senders:
    """Processes that all do the same at once, each with patients of its own."""

    targets: Targets
    pipes: Sequence[Pipe]
    patients: int

    async def turn(self, side: str) -> Sent:
        """Let all send their rows of a side, and count what arrived."""
        await self.targets.empty(side)
        began = time.perf_counter()
        processor = await asyncio.gather(*(asyncio.to_thread(_asked, pipe, side) for pipe in self.pipes))
        seconds = time.perf_counter() - began
        assert await self.targets.count(side) == self.patients, f"not all rows of {side} arrived"
        return Sent(round(self.patients / seconds), round(sum(processor) / self.patients * 1e6, 2))


def _asked(pipe: Pipe, side: str) -> float:
    pipe.send(side)
    return _heard(pipe)


def _heard(pipe: Pipe) -> float:
    if not pipe.poll(_PATIENCE_SECONDS):
        raise TimeoutError("a process that sends rows does not answer")
    seconds: float = pipe.recv()
    return seconds


@contextmanager
def senders(targets: Targets, processes: int, each: int) -> Iterator[Senders]:
    """Start processes with `each` patients; they end with the block."""
    context = get_context("spawn")
    pipes, started = [], []
    try:
        for number in range(processes):
            mine, theirs = context.Pipe()
            process = context.Process(
                target=_process, args=(theirs, targets, number * each, (number + 1) * each), daemon=True
            )
            process.start()
            pipes.append(mine)
            started.append(process)
        for pipe in pipes:
            _heard(pipe)
        yield Senders(targets, pipes, processes * each)
        for pipe in pipes:
            pipe.send("")
        for process in started:
            process.join(_PATIENCE_SECONDS)
    finally:
        for process in started:
            process.kill()


Timed = Callable[[Patient], object]


def steps_us(writer: Writer, people: People, count: int) -> dict[str, float]:
    """Return the processor time of one patient for each step, in microseconds, without anything being sent."""
    persons = list(people.some(0, count))
    began = time.process_time()
    patients = [person.patient(PatientId(uuid7()), with_ssn=True) for person in persons]
    steps = {"validated_object": (time.process_time() - began) / count * 1e6}
    keys = {patient.id: writer.new_key(patient)[1] for patient in patients}
    at = datetime.now(UTC)
    each: dict[str, Timed] = {
        "plain_row": lambda patient: plain_row(patient, at),
        "sealed_row": lambda patient: writer.row_of(patient, keys[patient.id]),
        "data_key": writer.new_key,
        "digests": lambda patient: list(writer.identifiers_of(patient)),
    }
    for name, step in each.items():
        began = time.process_time()
        for patient in patients:
            step(patient)
        steps[name] = (time.process_time() - began) / count * 1e6
    return {name: round(value, 2) for name, value in steps.items()}
