"""What somebody with their hands on the database can and cannot do to sealed rows."""

from collections.abc import AsyncIterator
from dataclasses import replace
from hashlib import sha256
from secrets import token_bytes

import pytest
from sqlalchemy import select, text, update

from clarity.application.admission import admit
from clarity.application.ports import Answered, PatientFilter
from clarity.audit.encoding import Notary
from clarity.domain.access import Action, Reason, Role, scope_of
from clarity.domain.audit import Attempt, Outcome
from clarity.domain.errors import CannotOpen, NotFound, ReusedKey, StorageFailed
from clarity.domain.ids import EventId
from clarity.domain.patients import Patient
from clarity.domain.records import Label
from clarity.persistence.audit import AuditEventRow, append
from clarity.persistence.engine import Database
from clarity.persistence.history import RecordVersionRow
from clarity.persistence.keys import DataKeyRow
from clarity.persistence.patients.mapping import PatientTable
from clarity.persistence.patients.tables import PatientRow
from clarity.persistence.unit_of_work import SqlWork
from clarity.security.keyring import Keyring
from clarity.security.keyring import Purpose as KeyPurpose
from tests.builders import NOW, a_keyring, a_patient, an_actor, new_id, the_operator
from tests.practice import Practice, sql_practice
from tests.servers import tampering


@pytest.fixture
async def practice(database: Database) -> AsyncIterator[Practice]:
    async with sql_practice(database, a_keyring()) as practice:
        yield practice


async def sealed_of(database: Database, patient: Patient) -> bytes:
    async with database.reading() as session:
        sealed = await session.scalar(select(PatientRow.sealed).where(PatientRow.id == patient.id))
    assert sealed is not None
    return sealed


async def overwrite(database: Database, rows: type, key: str, patient: Patient, **values: object) -> None:
    async with tampering(database) as session:
        await session.execute(update(rows).where(getattr(rows, key) == patient.id).values(values))


async def test_one_flipped_bit_closes_one_record_and_no_other(practice: Practice, database: Database) -> None:
    ada, bob = await practice.stored(a_patient()), await practice.stored(a_patient())
    sealed = bytearray(await sealed_of(database, ada))
    sealed[40] ^= 1
    await overwrite(database, PatientRow, "id", ada, sealed=bytes(sealed))
    with pytest.raises(CannotOpen):
        await practice.opened(ada.id)
    event = (await practice.events())[-1]
    assert (event.outcome, event.reason, event.patient) == (Outcome.FAILED, Reason.CANNOT_OPEN, ada.id)
    assert await practice.opened(bob.id) == bob


async def test_a_ciphertext_moved_to_another_patient_does_not_open(practice: Practice, database: Database) -> None:
    ada, bob = await practice.stored(a_patient()), await practice.stored(a_patient())
    await overwrite(database, PatientRow, "id", ada, sealed=await sealed_of(database, bob))
    with pytest.raises(CannotOpen):
        await practice.opened(ada.id)


async def test_a_ciphertext_moved_with_its_key_does_not_open(practice: Practice, database: Database) -> None:
    ada, bob = await practice.stored(a_patient()), await practice.stored(a_patient())
    async with database.reading() as session:
        wrapped = await session.scalar(select(DataKeyRow.wrapped).where(DataKeyRow.subject_id == bob.id))
    await overwrite(database, PatientRow, "id", ada, sealed=await sealed_of(database, bob))
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
        async for record, card in work.patients.unsafe_bulk_open(
            scope_of(the_operator(), Action.LIST, at=NOW), PatientFilter()
        ):
            found[record.patient] = card is not None
    assert found == {ada.id: False, bob.id: True}


async def test_no_error_of_the_database_carries_a_value(practice: Practice) -> None:
    canary = "Zzyzx-canary"
    with pytest.raises(StorageFailed) as refused:
        async with practice.reading() as work:
            assert isinstance(work, SqlWork)
            await work.session.execute(text("SELECT :value || nothing"), {"value": canary})
    assert canary not in str(refused.value)
    assert refused.value.__cause__ is None
    assert refused.value.__suppress_context__


async def test_the_same_patient_never_looks_the_same_twice(practice: Practice, database: Database) -> None:
    ada = await practice.stored(a_patient(notes="same"))
    first = await sealed_of(database, ada)
    await practice.changed(ada.id, notes="other")
    await practice.changed(ada.id, notes="same")
    assert await sealed_of(database, ada) != first
    assert b"same" not in first


async def test_the_event_of_a_write_holds_the_digest_of_what_was_sealed(practice: Practice, database: Database) -> None:
    ada = await practice.stored(a_patient())
    sealed = await sealed_of(database, ada)
    assert (await practice.events())[-1].sealed_digest == sha256(sealed).digest()


async def test_a_request_that_comes_again_is_known_after_the_audit_key_was_changed(database: Database) -> None:
    first = {purpose: {1: token_bytes(32)} for purpose in KeyPurpose}
    changed = {**first, KeyPurpose.AUDIT: {**first[KeyPurpose.AUDIT], 2: token_bytes(32)}}
    actor, answered = an_actor(Role.FRONT_DESK), Answered(record=new_id(), version=1)
    async with sql_practice(database, Keyring(first)) as practice, practice.begin() as work:
        work.note(Attempt(actor=actor, action=Action.REGISTER, at=NOW))
        await work.idempotency_keys.add(actor.id, "key", b"request", answered)
    async with sql_practice(database, Keyring(changed)) as practice:
        async with practice.begin() as work:
            assert await work.idempotency_keys.find(actor.id, "key", b"request") == answered
        with pytest.raises(ReusedKey):
            async with practice.begin() as work:
                await work.idempotency_keys.find(actor.id, "key", b"another")


async def test_an_event_that_is_sent_again_is_kept_once_and_as_it_was(practice: Practice, database: Database) -> None:
    await practice.stored(a_patient())
    (event,) = await practice.events()
    notary = Notary(lambda leaf: sha256(b"another key" + leaf).digest())
    listing = replace(event, id=EventId(new_id()), patient=None)
    entries = [notary.certify(event), notary.certify(listing)]
    for told in (entries, entries, entries[:1]):
        async with database.turn(), database.writing() as session:
            await append(session, told)
            await session.commit()
    assert await practice.events() == [event, listing]
    async with database.reading() as session:
        kept = await session.scalar(select(AuditEventRow.mac).where(AuditEventRow.id == event.id))
    assert kept != entries[0].mac


async def test_nobody_is_made_to_cost_more_than_somebody_by_a_large_record_seen_before(
    practice: Practice, database: Database, keyring: Keyring
) -> None:
    usual = await practice.stored(a_patient())
    large = await practice.stored(a_patient(notes="n" * 50_000))
    table, nobody = PatientTable(keyring, lambda: NOW), new_id()
    async with database.reading() as session:
        for seen in (usual, large):
            assert await table.find(session, seen.id) is not None
        assert (await session.execute(table.one, {"id": nobody})).one().id == usual.id


async def test_asking_for_nobody_fetches_somebody_and_returns_nobody(
    practice: Practice, database: Database, keyring: Keyring
) -> None:
    ada = await practice.stored(a_patient())
    table, nobody = PatientTable(keyring, lambda: NOW), new_id()
    async with database.reading() as session:
        assert await table.find(session, nobody) is None
        found = await table.find(session, ada.id)
        assert found is not None
        assert found.id == ada.id
        # What was not found costs what was found does, so that nobody tells the two apart by their time.
        assert (await session.execute(table.one, {"id": nobody})).one().id == ada.id
        assert await table.find(session, nobody) is None
