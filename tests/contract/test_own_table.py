"""The example of a table of one's own, in docs/data-layer.md, does on both databases what is said of it there."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace

import pytest
from sqlalchemy import make_url, select, update

from clarity.application.admission import admit
from clarity.application.consents import ConsentService
from clarity.domain.access import PART2_NOTICE, Action, Actor, Purpose, Reason, Role
from clarity.domain.audit import Outcome
from clarity.domain.errors import CannotOpen, Conflict, NotFound
from clarity.domain.ids import PatientId
from clarity.domain.records import Label
from clarity.persistence.engine import Database, EngineOptions, unpooled
from clarity.persistence.tables import OwnBase
from clarity.persistence.unit_of_work import SqlWork
from clarity.security.keyring import Keyring
from examples.own_table import Device, DeviceRow, Devices
from tests.builders import NOW, a_consent, a_patient, a_practitioner, an_actor, new_id, the_operator
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


def a_device(patient: PatientId, *, serial: str = SERIAL, model: str = MODEL, label: Label = Label.NORMAL) -> Device:
    return Device(id=new_id(), patient=patient, serial=serial, model=model, label=label)


async def added(practice: Practice, devices: Devices, device: Device, actor: Actor | None = None) -> Device:
    async with practice.begin() as work:
        assert isinstance(work, SqlWork)
        await devices.add(work, actor or the_operator(), device, NOW)
    return device


async def found(practice: Practice, devices: Devices, serial: str, actor: Actor | None = None) -> Device:
    async with practice.reading() as work:
        assert isinstance(work, SqlWork)
        return await devices.find(work, actor or the_operator(), serial, NOW)


async def listed(practice: Practice, devices: Devices, patient: PatientId, actor: Actor) -> list[Device]:
    async with practice.reading() as work:
        assert isinstance(work, SqlWork)
        return await devices.list(work, actor, patient, NOW)


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


@dataclass(frozen=True, slots=True)
class Case:
    """A labelled device, and everybody who might want to see it."""

    device: Device
    author: Actor
    colleague: Actor
    nurse: Actor
    herself: Actor

    @property
    def others(self) -> tuple[Actor, ...]:
        """Whoever is neither the author nor of the care team."""
        return (an_actor(), an_actor(Role.FRONT_DESK), an_actor(Role.ADMINISTRATOR), an_actor(Role.RESEARCHER))


async def a_case(practice: Practice, devices: Devices, label: Label) -> Case:
    team = [await practice.employed(a_practitioner()) for _ in range(3)]
    ada = await practice.stored(a_patient(care_team=frozenset(one.id for one in team)))
    author, colleague = an_actor(practitioner=team[0].id), an_actor(practitioner=team[1].id)
    nurse = an_actor(Role.NURSE, practitioner=team[2].id)
    herself = replace(an_actor(Role.PATIENT, patient=ada.id), purpose=Purpose.PATIENT_REQUEST)
    device = await added(practice, devices, a_device(ada.id, label=label), author)
    return Case(device, author, colleague, nurse, herself)


async def sees(practice: Practice, devices: Devices, case: Case, actor: Actor) -> bool:
    """Tell whether `actor` sees the device, having checked that they do in lists too, or neither."""
    seen = await listed(practice, devices, case.device.patient, actor)
    try:
        alone = await found(practice, devices, SERIAL, actor)
    except NotFound:
        assert seen == []
        return False
    assert seen == [alone]
    assert replace(alone, notice=None) == case.device
    return True


async def test_psychotherapy_notes_are_their_authors_alone_unless_the_patient_authorises(
    practice: Practice, devices: Devices
) -> None:
    case = await a_case(practice, devices, Label.PSYCHOTHERAPY)
    assert await sees(practice, devices, case, case.author)
    for actor in (case.colleague, case.nurse, case.herself, the_operator(), *case.others):
        assert not await sees(practice, devices, case, actor)
    consents = ConsentService(practice.begin, practice.reading, lambda: NOW)
    part2, _ = await consents.record(case.herself, case.device.patient, lambda _: a_consent())
    assert not await sees(practice, devices, case, case.colleague)
    authorisation = a_consent(labels=(Label.PSYCHOTHERAPY,))
    await consents.record(case.herself, case.device.patient, lambda _: authorisation)
    assert await sees(practice, devices, case, case.colleague)
    # 45 CFR 164.524(a)(1)(i): what the patient authorises for others, they still have no right to themself.
    for actor in (case.nurse, case.herself, *case.others):
        assert not await sees(practice, devices, case, actor)
    assert (await found(practice, devices, SERIAL, case.colleague)).notice is None
    await consents.withdraw(case.herself, case.device.patient, authorisation.id)
    assert not await sees(practice, devices, case, case.colleague)
    assert part2.labels == (Label.PART2,)


async def test_what_is_under_part_2_leaves_with_consent_and_notice(practice: Practice, devices: Devices) -> None:
    case = await a_case(practice, devices, Label.PART2)
    for actor in (case.author, case.herself):
        assert await sees(practice, devices, case, actor)
    for actor in (case.colleague, case.nurse, *case.others):
        assert not await sees(practice, devices, case, actor)
    consents = ConsentService(practice.begin, practice.reading, lambda: NOW)
    consent = a_consent(recipients=tuple(one for one in [case.nurse.practitioner] if one))
    await consents.record(case.herself, case.device.patient, lambda _: consent)
    assert await sees(practice, devices, case, case.nurse)
    assert not await sees(practice, devices, case, case.colleague)
    notices = {
        actor.role: (await found(practice, devices, SERIAL, actor)).notice
        for actor in (case.nurse, case.author, case.herself)
    }
    assert notices.pop(Role.PATIENT) is None
    under_consent, for_author = notices[Role.NURSE], notices[Role.CLINICIAN]
    assert under_consent is not None
    assert for_author is not None
    assert (under_consent.text, under_consent.consent, under_consent.scope) == (PART2_NOTICE, consent.id, consent.scope)
    assert (for_author.text, for_author.consent) == (PART2_NOTICE, None)


async def test_broken_glass_shows_part_2_and_never_psychotherapy_notes(practice: Practice, devices: Devices) -> None:
    ada = await practice.stored(a_patient())
    for label, shown in ((Label.RESTRICTED, True), (Label.PART2, True), (Label.PSYCHOTHERAPY, False)):
        device = await added(practice, devices, a_device(ada.id, serial=label, label=label))
        stranger = an_actor()
        async with practice.reading() as work:
            assert isinstance(work, SqlWork)
            row = (await work.session.execute(devices.table.one, {"id": device.id})).one()
            record = devices.table.record_of(row)
            assert record.standing is not None
            broken = replace(record, standing=replace(record.standing, emergencies=frozenset({stranger.id})))
            admitted = admit(work, stranger, Action.VIEW, broken, at=NOW)
            if shown:
                assert devices.open(work, admitted).model == MODEL
            else:
                with pytest.raises(NotFound):
                    devices.open(work, admitted)
