"""What of broken glass only a database can show: alerts and events that fail, rows that were altered, and notes."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta

import pytest
from sqlalchemy import make_url, select, update

from clarity.application.break_glass import BreakGlassService
from clarity.domain.access import Action, Actor, Purpose, Role
from clarity.domain.errors import CannotOpen, ClarityError, NotFound
from clarity.domain.patients import Patient
from clarity.domain.records import Label
from clarity.persistence.break_glass.tables import BreakGlassRow
from clarity.persistence.engine import Database, EngineOptions, unpooled
from clarity.persistence.outbox import MessageRow
from clarity.persistence.tables import OwnBase
from clarity.persistence.unit_of_work import SqlWork
from clarity.security.cursors import Cursors
from clarity.security.keyring import Keyring
from examples.own_table import Device, Devices
from tests.builders import a_patient, a_practitioner, an_actor, new_id
from tests.fakes.accounts import CountedLimits, FrontDoor
from tests.practice import Practice, sql_practice
from tests.servers import tampering

REASON = "Found unconscious in the waiting room."


@dataclass(slots=True)
class Ward:
    """A practice with one carer on duty, a compliance officer, and a patient nobody on duty treats."""

    practice: Practice
    glass: BreakGlassService
    carer: Actor
    officer: Actor
    ada: Patient


@pytest.fixture
async def ward(database: Database, keyring: Keyring) -> AsyncIterator[Ward]:
    async with sql_practice(database, keyring) as practice:
        door = FrontDoor(practice.begin, practice.reading)
        freud = await practice.employed(a_practitioner())
        carer = await door.employed(Role.CLINICIAN, practitioner=freud.id)
        officer = await door.employed(Role.COMPLIANCE_OFFICER)
        glass = BreakGlassService(
            begin=practice.begin,
            reading=practice.reading,
            cursors=Cursors(keyring),
            limits=CountedLimits(),
            now=practice.clock,
            new_id=new_id,
            at_most=timedelta(hours=1),
            practice="Harbor Psychiatry",
        )
        yield Ward(
            practice,
            glass,
            an_actor(actor_id=carer.id, practitioner=freud.id),
            an_actor(Role.COMPLIANCE_OFFICER, actor_id=officer.id),
            await practice.stored(a_patient(notes="Sleeps badly.")),
        )


async def closed_to_new_rows(owner: EngineOptions, table: str) -> None:
    """Let the database refuse every new row of a table."""
    async with unpooled(owner).begin() as connection:
        if owner.dialect_name == "sqlite":
            body = f"CREATE TRIGGER is_full BEFORE INSERT ON {table} BEGIN SELECT RAISE(ABORT, 'full'); END"
            await connection.exec_driver_sql(body)
        else:
            await connection.exec_driver_sql(f"ALTER TABLE {table} ADD CONSTRAINT is_full CHECK (false) NOT VALID")


async def rows_of(database: Database, row: type[BreakGlassRow | MessageRow]) -> int:
    async with database.reading() as session:
        return len((await session.execute(select(row.id))).all())


@pytest.mark.parametrize("table", ["outbox_messages", "audit_events"])
async def test_no_glass_is_broken_without_its_alert_and_its_event(
    ward: Ward, database: Database, owner_options: EngineOptions, table: str
) -> None:
    await closed_to_new_rows(owner_options, table)
    with pytest.raises(ClarityError) as raised:
        await ward.glass.open(ward.carer, ward.ada.id, REASON)
    assert REASON not in repr(raised.value)
    assert await rows_of(database, BreakGlassRow) == 0
    assert await rows_of(database, MessageRow) == 0


async def test_nothing_of_it_can_be_read_from_its_row_nor_from_the_alert(ward: Ward, database: Database) -> None:
    report = await ward.glass.open(ward.carer, ward.ada.id, REASON, affiliation="Mercy Hospital")
    assert await rows_of(database, MessageRow) == 1
    async with database.reading() as session:
        rows = repr([(await session.execute(row.__table__.select())).all() for row in (BreakGlassRow, MessageRow)])
    for text in (REASON, "Mercy Hospital", "Grace Hopper"):
        assert text not in rows
        assert text not in repr(report)


async def test_a_row_that_says_it_lasts_longer_than_its_seal_does_not_open(ward: Ward, database: Database) -> None:
    report = await ward.glass.open(ward.carer, ward.ada.id, REASON)
    async with tampering(database) as session:
        later = report.glass.expires_at + timedelta(days=365)
        await session.execute(update(BreakGlassRow).values(expires_at=later))
    with pytest.raises(CannotOpen):
        await ward.glass.view(ward.officer, report.glass.id)
    page = await ward.glass.list(ward.officer)
    assert (page.items, page.count) == ((), 1)


async def test_psychotherapy_notes_stay_closed_in_an_emergency(
    ward: Ward, database_options: EngineOptions, owner_options: EngineOptions, keyring: Keyring
) -> None:
    async with unpooled(owner_options).begin() as connection:
        await connection.run_sync(OwnBase.metadata.create_all)
        if role := make_url(database_options.url).username:
            await connection.exec_driver_sql(f"GRANT SELECT, INSERT, UPDATE ON devices, device_serials TO {role}")
    devices, clock = Devices(keyring), ward.practice.clock
    # The table of the example goes by the real clock, which is past all that the tests' clock says.
    devices.table = type(devices.table)(
        devices.table.rows,
        Device,
        devices.table.resource,
        keyring,
        outside=frozenset({"id", "patient", "notice"}),
        now=clock,
    )
    team = await ward.practice.employed(a_practitioner())
    ada = await ward.practice.stored(a_patient(care_team=frozenset({team.id})))
    author = an_actor(practitioner=team.id)
    for label in (Label.NORMAL, Label.RESTRICTED, Label.PART2, Label.PSYCHOTHERAPY):
        async with ward.practice.begin() as work:
            assert isinstance(work, SqlWork)
            device = Device(id=new_id(), patient=ada.id, serial=label, label=label)
            await devices.add(work, author, device, clock())
    assert await labels_seen(ward, devices, ada) == []
    await ward.glass.open(ward.carer, ada.id, REASON)
    assert await labels_seen(ward, devices, ada) == [Label.NORMAL, Label.RESTRICTED, Label.PART2]
    with pytest.raises(NotFound):
        async with ward.practice.reading() as work:
            assert isinstance(work, SqlWork)
            await devices.find(work, ward.carer, Label.PSYCHOTHERAPY, clock())
    clock.at += timedelta(hours=1)
    assert await labels_seen(ward, devices, ada) == []


async def labels_seen(ward: Ward, devices: Devices, patient: Patient) -> list[Label]:
    """Return the labels of the devices that the carer sees, all of them in an emergency if any."""
    async with ward.practice.reading() as work:
        assert isinstance(work, SqlWork)
        found = await devices.list(work, ward.carer, patient.id, ward.practice.clock())
    events = [one for one in await ward.practice.events() if one.action is Action.LIST]
    told = {record for one in events if one.purpose is Purpose.EMERGENCY for record in one.ids}
    assert {device.id for device in found} <= told
    return [device.label for device in found]
