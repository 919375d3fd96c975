"""What somebody with their hands on the database can and cannot do to sealed rows."""

from collections.abc import AsyncIterator

import pytest
from sqlalchemy import select, text, update

from clarity.application.ports import PatientFilter
from clarity.domain.access import Reach, Reason, Scope
from clarity.domain.audit import Outcome
from clarity.domain.errors import CannotOpen
from clarity.domain.patients import Patient
from clarity.persistence.engine import Database
from clarity.persistence.history import RecordVersionRow
from clarity.persistence.keys import DataKeyRow
from clarity.persistence.patients.tables import PatientRow
from tests.builders import NOW, a_keyring, a_patient
from tests.practice import Practice, sql_practice


@pytest.fixture
async def practice(database: Database) -> AsyncIterator[Practice]:
    async with sql_practice(database, a_keyring()) as practice:
        yield practice


async def column_of(database: Database, patient: Patient, column: str) -> object:
    async with database.reading() as session:
        return await session.scalar(select(getattr(PatientRow, column)).where(PatientRow.id == patient.id))


async def overwrite(database: Database, rows: type, key: str, patient: Patient, **values: object) -> None:
    async with database.turn(), database.writing() as session:
        await session.execute(update(rows).where(getattr(rows, key) == patient.id).values(values))
        await session.commit()


async def test_one_flipped_bit_closes_one_record_and_no_other(practice: Practice, database: Database) -> None:
    ada, bob = await practice.stored(a_patient()), await practice.stored(a_patient())
    sealed = bytearray(await column_of(database, ada, "sealed"))  # type: ignore[arg-type]
    sealed[40] ^= 1
    await overwrite(database, PatientRow, "id", ada, sealed=bytes(sealed))
    with pytest.raises(CannotOpen):
        await practice.opened(ada.id)
    event = (await practice.events())[-1]
    assert (event.outcome, event.reason, event.patient) == (Outcome.FAILED, Reason.CANNOT_OPEN, ada.id)
    assert await practice.opened(bob.id) == bob


async def test_a_ciphertext_moved_to_another_patient_does_not_open(practice: Practice, database: Database) -> None:
    ada, bob = await practice.stored(a_patient()), await practice.stored(a_patient())
    await overwrite(database, PatientRow, "id", ada, sealed=await column_of(database, bob, "sealed"))
    with pytest.raises(CannotOpen):
        await practice.opened(ada.id)


async def test_a_ciphertext_moved_with_its_key_does_not_open(practice: Practice, database: Database) -> None:
    ada, bob = await practice.stored(a_patient()), await practice.stored(a_patient())
    async with database.reading() as session:
        wrapped = await session.scalar(select(DataKeyRow.wrapped).where(DataKeyRow.subject_id == bob.id))
    await overwrite(database, PatientRow, "id", ada, sealed=await column_of(database, bob, "sealed"))
    await overwrite(database, DataKeyRow, "subject_id", ada, wrapped=wrapped)
    with pytest.raises(CannotOpen):
        await practice.opened(ada.id)


async def test_an_old_version_put_back_does_not_open(practice: Practice, database: Database) -> None:
    ada = await practice.stored(a_patient(notes="before"))
    await practice.changed(ada.id, notes="after")
    async with database.reading() as session:
        old = await session.scalar(select(RecordVersionRow.sealed).where(RecordVersionRow.row_id == ada.id))
    await overwrite(database, PatientRow, "id", ada, sealed=old)
    with pytest.raises(CannotOpen):
        await practice.opened(ada.id)


async def test_a_destroyed_key_is_dead_at_once_though_it_was_cached(practice: Practice, database: Database) -> None:
    ada = await practice.stored(a_patient())
    assert await practice.opened(ada.id) == ada
    await overwrite(database, DataKeyRow, "subject_id", ada, wrapped=None, destroyed_at=NOW)
    with pytest.raises(CannotOpen):
        await practice.opened(ada.id)


async def test_a_record_is_not_unguarded_by_a_bit_in_the_table(practice: Practice, database: Database) -> None:
    from tests.builders import an_actor
    from clarity.domain.access import Role, Action
    from clarity.application.admission import admit
    from clarity.domain.errors import NotFound
    from clarity.domain.records import Label

    ada = await practice.stored(a_patient(label=Label.RESTRICTED))
    await overwrite(database, PatientRow, "id", ada, guarded=False)
    with pytest.raises(NotFound):
        async with practice.reading() as work:
            admitted = admit(work, an_actor(Role.FRONT_DESK), Action.VIEW, await work.patients.get(ada.id), at=NOW)
            work.patients.open(admitted)
    event = (await practice.events())[-1]
    assert (event.outcome, event.reason) == (Outcome.REFUSED, Reason.LABEL)


async def test_lists_go_on_without_a_record_that_does_not_open(practice: Practice, database: Database) -> None:
    ada, bob = await practice.stored(a_patient()), await practice.stored(a_patient())
    await overwrite(database, PatientRow, "id", ada, sealed=b"\x01\x01" + bytes(80))
    found = {}
    async with practice.reading(snapshot=True) as work:
        async for record, card in work.patients.unsafe_bulk_open(Scope(reach=Reach.ALL), PatientFilter()):
            found[record.patient] = card is not None
    assert found == {ada.id: False, bob.id: True}


async def test_no_error_of_the_database_carries_a_value(practice: Practice, database: Database) -> None:
    canary = "Zzyzx-canary"
    with pytest.raises(Exception) as refused:
        async with practice.reading() as work:
            await work.patients.session.execute(text("SELECT CAST(:value AS integer), nothing"), {"value": canary})  # type: ignore[attr-defined]
    assert canary not in str(refused.value)
    assert refused.value.__cause__ is None
    assert refused.value.__suppress_context__


async def test_the_same_patient_never_looks_the_same_twice(practice: Practice, database: Database) -> None:
    ada = await practice.stored(a_patient(notes="same"))
    first = await column_of(database, ada, "sealed")
    await practice.changed(ada.id, notes="other")
    await practice.changed(ada.id, notes="same")
    assert await column_of(database, ada, "sealed") != first
    assert b"same" not in first  # type: ignore[operator]
