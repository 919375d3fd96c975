"""A practice to test with: the same handle on memory, SQLite and PostgreSQL."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from sqlalchemy import select, update

from clarity.application.admission import admit, admit_new
from clarity.application.ports import BeginReading, BeginWork, Trail
from clarity.audit.encoding import decode
from clarity.bootstrap import opened_trail, units_of_work
from clarity.domain.access import Action
from clarity.domain.audit import AuditEvent
from clarity.domain.errors import TrailUnavailable
from clarity.domain.ids import PatientId
from clarity.domain.patients import Patient
from clarity.domain.practitioners import Practitioner
from clarity.domain.records import Resource
from clarity.persistence.audit import AuditEventRow
from clarity.persistence.engine import Database
from clarity.persistence.patients.tables import PatientRow
from clarity.security.keyring import Keyring
from tests.builders import NOW, the_operator
from tests.fakes.patients import MemoryTables
from tests.fakes.work import MemoryUnitsOfWork
from tests.servers import tampering


@dataclass(slots=True)
class MovingClock:
    """A clock that stands still until it is moved."""

    at: datetime = NOW

    def __call__(self) -> datetime:
        """Return the time by it."""
        return self.at


@dataclass(slots=True)
class Practice:
    """Units of work over some storage, with what tests do to it again and again.

    `events` returns the whole trail in the order of ids, which is the order of time; after `refuse_events`
    the trail takes no more. `broken` alters the sealed bytes of a patient.
    """

    begin: BeginWork
    reading: BeginReading
    events: Callable[[], Awaitable[list[AuditEvent]]]
    refuse_events: Callable[[], None]
    broken: Callable[[PatientId], Awaitable[None]]
    database: Database | None = None
    clock: MovingClock = field(default_factory=MovingClock)

    async def stored(self, patient: Patient, *, at: datetime = NOW) -> Patient:
        """Register a patient as the operator and return them as stored."""
        async with self.begin() as work:
            admit_new(work, the_operator(), Action.REGISTER, Resource.PATIENT, patient.id, at=at)
            return await work.patients.add(patient)

    async def employed(self, practitioner: Practitioner) -> Practitioner:
        """Store a practitioner as the operator."""
        async with self.begin() as work:
            admit_new(work, the_operator(), Action.REGISTER, Resource.PRACTITIONER, practitioner.id, at=NOW)
            return await work.practitioners.add(practitioner)

    async def opened(self, patient: PatientId) -> Patient:
        """View a patient as the operator."""
        async with self.reading() as work:
            admitted = admit(work, the_operator(), Action.VIEW, await work.patients.get(patient), at=NOW)
            return work.patients.open(admitted)

    async def changed(self, patient: PatientId, *, at: datetime = NOW, **changes: Any) -> Patient:
        """Change some fields of a patient as the operator."""
        async with self.begin() as work:
            admitted = admit(work, the_operator(), Action.CHANGE, await work.patients.get(patient), at=at)
            return await work.patients.save(replace(work.patients.open(admitted), **changes))


async def events_in(database: Database) -> list[AuditEvent]:
    """Return the trail of a database."""
    async with database.reading() as session:
        return [
            decode(encoded)
            for encoded in await session.scalars(select(AuditEventRow.encoded).order_by(AuditEventRow.id))
        ]


def memory_practice() -> Practice:
    """Return a practice that keeps everything in dictionaries."""
    clock = MovingClock()
    units = MemoryUnitsOfWork(MemoryTables(clock=clock))

    async def events() -> list[AuditEvent]:
        return list(units.trail.events)

    def refuse_events() -> None:
        units.trail.refusing = True

    async def broken(patient: PatientId) -> None:
        units.tables.broken |= {patient}

    return Practice(units.begin, units.reading, events, refuse_events, broken, clock=clock)


@asynccontextmanager
async def sql_practice(
    database: Database, keyring: Keyring, *, timeout_seconds: float = 5.0, capacity: int = 10_000
) -> AsyncIterator[Practice]:
    """Open a practice on a migrated, empty database; of its trail, `timeout_seconds` and `capacity` may be said."""
    async with opened_trail(database, keyring, timeout_seconds=timeout_seconds, capacity=capacity) as trail:
        switch = SwitchedTrail(trail)

        async def events() -> list[AuditEvent]:
            return await events_in(database)

        def refuse_events() -> None:
            switch.refusing = True

        async def broken(patient: PatientId) -> None:
            async with tampering(database) as session:
                sealed = await session.scalar(select(PatientRow.sealed).where(PatientRow.id == patient))
                assert sealed is not None
                altered = sealed[:-1] + bytes([sealed[-1] ^ 1])
                await session.execute(update(PatientRow).where(PatientRow.id == patient).values(sealed=altered))

        clock = MovingClock()
        units = units_of_work(database, keyring, switch, clock=clock)
        yield Practice(units.begin, units.reading, events, refuse_events, broken, database, clock)


@dataclass(slots=True)
class SwitchedTrail:
    """A trail that refuses every event while `refusing` is set."""

    trail: Trail
    refusing: bool = False

    async def record(self, events: Sequence[AuditEvent]) -> None:
        """Record or refuse."""
        if self.refusing:
            raise TrailUnavailable
        await self.trail.record(events)
