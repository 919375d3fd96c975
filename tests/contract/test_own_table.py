"""The example of a table of one's own, in docs/data-layer.md, does on both databases what is said of it there."""

from collections.abc import AsyncIterator

import pytest
from sqlalchemy import make_url, select, update

from clarity.domain.access import Action, Actor, Reason, Role
from clarity.domain.audit import Outcome
from clarity.domain.errors import CannotOpen, Conflict, NotFound
from clarity.domain.ids import PatientId
from clarity.persistence.engine import Database, EngineOptions, unpooled
from clarity.persistence.tables import OwnBase
from clarity.persistence.unit_of_work import SqlWork
from clarity.security.keyring import Keyring
from examples.own_table import Device, DeviceRow, Devices
from tests.builders import NOW, a_patient, a_practitioner, an_actor, new_id, the_operator
from tests.practice import Practice, sql_practice

SERIAL, MODEL = "AX-220719", "Zephyrine"


@pytest.fixture
async def practice(
    database: Database, database_options: EngineOptions, owner_options: EngineOptions, keyring: Keyring
) -> AsyncIterator[Practice]:
    async with unpooled(owner_options).begin() as connection:
        await connection.run_sync(OwnBase.metadata.create_all)
        if role := make_url(database_options.url).username:
            await connection.exec_driver_sql(f"GRANT SELECT, INSERT, UPDATE ON devices, device_serials TO {role}")
    async with sql_practice(database, keyring) as practice:
        yield practice


@pytest.fixture
def devices(keyring: Keyring) -> Devices:
    return Devices(keyring)


def a_device(patient: PatientId, *, serial: str = SERIAL, model: str = MODEL) -> Device:
    return Device(id=new_id(), patient=patient, serial=serial, model=model)


async def added(practice: Practice, devices: Devices, device: Device, actor: Actor | None = None) -> Device:
    async with practice.begin() as work:
        assert isinstance(work, SqlWork)
        await devices.add(work, actor or the_operator(), device, NOW)
    return device


async def found(practice: Practice, devices: Devices, serial: str, actor: Actor | None = None) -> Device:
    async with practice.reading() as work:
        assert isinstance(work, SqlWork)
        return await devices.find(work, actor or the_operator(), serial, NOW)


async def test_a_device_is_found_by_its_serial_number_and_comes_back_as_stored(
    practice: Practice, devices: Devices
) -> None:
    ada = await practice.stored(a_patient())
    device = await added(practice, devices, a_device(ada.id))
    await added(practice, devices, a_device(ada.id, serial="another"))
    assert await found(practice, devices, SERIAL) == device
    with pytest.raises(NotFound):
        await found(practice, devices, SERIAL[:-1])


async def test_nothing_of_a_device_can_be_read_from_its_row(
    practice: Practice, devices: Devices, database: Database
) -> None:
    ada = await practice.stored(a_patient())
    await added(practice, devices, a_device(ada.id))
    async with database.reading() as session:
        rows = [(await session.execute(table.select())).all() for table in OwnBase.metadata.sorted_tables]
    assert all(rows)
    assert not any(text in repr(rows) for text in (SERIAL, MODEL))


async def test_a_serial_number_belongs_to_one_device(practice: Practice, devices: Devices) -> None:
    ada, bob = await practice.stored(a_patient()), await practice.stored(a_patient())
    device = await added(practice, devices, a_device(ada.id))
    with pytest.raises(Conflict):
        await added(practice, devices, a_device(bob.id))
    assert await found(practice, devices, SERIAL) == device


async def test_a_device_is_for_those_who_may_see_its_patient(practice: Practice, devices: Devices) -> None:
    freud = await practice.employed(a_practitioner())
    ada = await practice.stored(a_patient(care_team=frozenset({freud.id})))
    carer, stranger = an_actor(practitioner=freud.id), an_actor(practitioner=a_practitioner().id)
    device = await added(practice, devices, a_device(ada.id), carer)
    assert await found(practice, devices, SERIAL, carer) == device
    for actor in (stranger, an_actor(Role.ADMINISTRATOR)):
        with pytest.raises(NotFound):
            await found(practice, devices, SERIAL, actor)
    with pytest.raises(NotFound):
        await added(practice, devices, a_device(ada.id, serial="another"), stranger)


async def test_what_is_done_with_devices_is_in_the_trail(practice: Practice, devices: Devices) -> None:
    ada = await practice.stored(a_patient())
    device = await added(practice, devices, a_device(ada.id))
    await found(practice, devices, SERIAL)
    with pytest.raises(NotFound):
        await found(practice, devices, "another")
    _, write, read, absent = await practice.events()
    assert (write.action, write.patient, write.ids, write.version) == (Action.CHANGE, ada.id, (device.id,), 1)
    assert len(write.sealed_digest) == 32
    assert (read.action, read.patient, read.ids) == (Action.VIEW, ada.id, (device.id,))
    assert (absent.outcome, absent.reason) == (Outcome.REFUSED, Reason.NO_SUCH_RECORD)


async def test_a_device_moved_to_another_row_does_not_open(
    practice: Practice, devices: Devices, database: Database
) -> None:
    ada = await practice.stored(a_patient())
    first = await added(practice, devices, a_device(ada.id))
    second = await added(practice, devices, a_device(ada.id, serial="another"))
    async with database.turn(), database.writing() as session:
        sealed = await session.scalar(select(DeviceRow.sealed).where(DeviceRow.id == second.id))
        await session.execute(update(DeviceRow).where(DeviceRow.id == first.id).values(sealed=sealed))
        await session.commit()
    with pytest.raises(CannotOpen):
        await found(practice, devices, SERIAL)
