"""Many who want one slot at once: the database lets one have it."""

import asyncio
from datetime import datetime
from zoneinfo import ZoneInfo

from sqlalchemy import func, select

from clarity.application.appointments import AppointmentService
from clarity.domain.access import Role
from clarity.domain.errors import ClarityError, Overlapping
from clarity.domain.schedule import Calendar, instant_at
from clarity.persistence.appointments.tables import AppointmentRow
from clarity.persistence.engine import Database
from clarity.security.cursors import Cursors
from clarity.security.keyring import Keyring
from tests.builders import a_patient, a_practitioner, an_actor, an_appointment, new_id
from tests.practice import sql_practice

ZONE = ZoneInfo("America/New_York")
BOOKINGS, PATIENTS = 500, 25


async def test_of_five_hundred_who_book_one_slot_at_once_one_has_it(database: Database, keyring: Keyring) -> None:
    async with sql_practice(database, keyring) as practice:
        practitioner = await practice.employed(a_practitioner())
        patients = [await practice.stored(a_patient()) for _ in range(PATIENTS)]
        desk = AppointmentService(
            begin=practice.begin,
            reading=practice.reading,
            cursors=Cursors(keyring),
            now=practice.clock,
            new_id=new_id,
            calendar=Calendar(ZONE),
        )
        slot = instant_at(datetime(2026, 3, 16, 9), ZONE)

        async def booking(number: int) -> type[ClarityError] | None:
            # Many of one patient each, so that both rules are tried.
            wanted = an_appointment(patients[number % PATIENTS].id, practitioner.id, slot)
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
