"""Appointments in the database: many who want one slot at once, rows that were altered, and how much is asked."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import event, func, select, update

from clarity.application.appointments import AppointmentService
from clarity.domain.access import Role
from clarity.domain.errors import CannotOpen, ClarityError, Overlapping
from clarity.domain.schedule import Calendar, Frequency, Recurrence, instant_at
from clarity.persistence.appointments.tables import AppointmentRow
from clarity.persistence.engine import Database
from clarity.security.cursors import Cursors
from clarity.security.keyring import Keyring
from tests.builders import a_patient, a_practitioner, an_actor, an_appointment, new_id
from tests.practice import Practice, sql_practice
from tests.servers import tampering

ZONE = ZoneInfo("America/New_York")
SLOT = instant_at(datetime(2026, 3, 16, 9), ZONE)
BOOKINGS, PATIENTS = 500, 25
# Of those who wait for a connection, a server lets in no more than this at once.
AT_ONCE = 50
DESK = an_actor(Role.FRONT_DESK)


def a_desk(practice: Practice, keyring: Keyring) -> AppointmentService:
    return AppointmentService(
        begin=practice.begin,
        reading=practice.reading,
        cursors=Cursors(keyring),
        now=practice.clock,
        new_id=new_id,
        calendar=Calendar(ZONE),
    )


@contextmanager
def counted(database: Database) -> Iterator[list[str]]:
    """Collect the statements that are asked."""
    made = (database.reading, database.snapshot, database.writing)
    engines = {sessions.kw["bind"].sync_engine for sessions in made}
    statements: list[str] = []

    def remember(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        statements.append(statement)

    for engine in engines:
        event.listen(engine, "before_cursor_execute", remember)
    try:
        yield statements
    finally:
        for engine in engines:
            event.remove(engine, "before_cursor_execute", remember)


async def test_of_five_hundred_who_book_one_slot_at_once_one_has_it(database: Database, keyring: Keyring) -> None:
    async with sql_practice(database, keyring, timeout_seconds=60) as practice:
        practitioner = await practice.employed(a_practitioner())
        patients = [await practice.stored(a_patient()) for _ in range(PATIENTS)]
        desk, turn = a_desk(practice, keyring), asyncio.Semaphore(AT_ONCE)

        async def booking(number: int) -> type[ClarityError] | None:
            # Many of one patient each, so that both rules are tried.
            wanted = an_appointment(patients[number % PATIENTS].id, practitioner.id, SLOT)
            async with turn:
                try:
                    await desk.book(an_actor(Role.FRONT_DESK), wanted)
                except ClarityError as exc:
                    return type(exc)
                return None

        outcomes = await asyncio.gather(*map(booking, range(BOOKINGS)))
        assert outcomes.count(None) == 1
        assert outcomes.count(Overlapping) == BOOKINGS - 1
        async with database.reading() as session:
            assert await session.scalar(select(func.count()).select_from(AppointmentRow)) == 1


async def test_a_row_that_says_otherwise_than_its_seal_does_not_open(sqlite: Database, keyring: Keyring) -> None:
    async with sql_practice(sqlite, keyring) as practice:
        practitioner, other = [await practice.employed(a_practitioner()) for _ in range(2)]
        patient = await practice.stored(a_patient())
        service = a_desk(practice, keyring)
        (booked,) = await service.book(DESK, an_appointment(patient.id, practitioner.id, SLOT))
        for column, value in (
            ("practitioner_id", other.id),
            ("starts_at", SLOT - timedelta(minutes=5)),
            ("ends_at", SLOT + timedelta(minutes=5)),
            ("series_id", new_id()),
        ):
            async with tampering(sqlite) as session:
                before = await session.scalar(select(getattr(AppointmentRow, column)))
                await session.execute(update(AppointmentRow).values({column: value}))
            with pytest.raises(CannotOpen):
                await service.view(DESK, patient.id, booked.id)
            assert (await service.day(DESK, practitioner.id, SLOT.date())).appointments == ()
            async with tampering(sqlite) as session:
                await session.execute(update(AppointmentRow).values({column: before}))
        assert (await service.view(DESK, patient.id, booked.id)).id == booked.id


async def test_a_day_and_a_series_take_as_many_statements_however_many_they_have(
    sqlite: Database, keyring: Keyring
) -> None:
    async with sql_practice(sqlite, keyring) as practice:
        practitioner = await practice.employed(a_practitioner())
        service = a_desk(practice, keyring)
        taken = []
        for hour in range(1, 7):
            patient = (await practice.stored(a_patient())).id
            await service.book(DESK, an_appointment(patient, practitioner.id, SLOT + timedelta(hours=hour)))
            with counted(sqlite) as statements:
                day = await service.day(DESK, practitioner.id, SLOT.date())
            assert (len(day.appointments), len(day.names)) == (hour, hour)
            taken.append(len(statements))
        assert len(set(taken)) == 1, taken
        whose, booked = await practice.stored(a_patient()), []
        for times in (2, 6):
            first = an_appointment(whose.id, practitioner.id, SLOT + timedelta(weeks=10 * times))
            with counted(sqlite) as statements:
                await service.book(DESK, first, Recurrence(frequency=Frequency.WEEKLY, times=times))
            booked.append(len([one for one in statements if one.startswith("SELECT")]))
        assert booked[0] == booked[1]
