"""What changed since somebody last looked, on memory, SQLite and PostgreSQL."""

import shutil
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import delete, text, update
from sqlalchemy.exc import DBAPIError

from clarity.application.admission import admit
from clarity.application.ports.search import (
    Absence,
    ChangeFeed,
    Horizon,
    IndexChange,
    IndexEntry,
    IndexGap,
    instant_in_tally,
)
from clarity.domain.access import OPERATOR, Action
from clarity.domain.dates import microseconds_of
from clarity.domain.errors import HorizonLost
from clarity.domain.names import NameUse
from clarity.domain.patients import Patient, PatientStatus, Removal
from clarity.domain.people import BirthSex, Gender
from clarity.domain.records import Label
from clarity.persistence.changes import SqlChangeFeed
from clarity.persistence.engine import Database, EngineOptions
from clarity.persistence.inspection import inspect
from clarity.persistence.keys import DataKeyRow
from clarity.persistence.patients.tables import PatientRow
from clarity.security.keyring import Keyring
from tests.builders import NOW, TODAY, a_name, a_patient, the_operator
from tests.fakes.changes import MemoryChangeFeed
from tests.fakes.work import MemoryUnitsOfWork
from tests.practice import Practice, sql_practice
from tests.servers import opened, tampering

AT = microseconds_of(NOW)


@pytest.fixture
async def feed(practice: Practice, keyring: Keyring) -> AsyncIterator[ChangeFeed]:
    if practice.database is None:
        units = practice.begin.__self__  # type: ignore[attr-defined]  # it is a bound method
        assert isinstance(units, MemoryUnitsOfWork)
        yield MemoryChangeFeed(lambda: units.tables)
    else:
        feed = SqlChangeFeed(practice.database, keyring)
        yield feed
        await feed.aclose()


@pytest.fixture
async def database_feed(database: Database, keyring: Keyring) -> AsyncIterator[SqlChangeFeed]:
    feed = SqlChangeFeed(database, keyring)
    yield feed
    await feed.aclose()


@pytest.fixture
async def database_practice(database: Database, keyring: Keyring) -> AsyncIterator[Practice]:
    async with sql_practice(database, keyring) as practice:
        yield practice


async def all_of(feed: ChangeFeed, horizon: Horizon | None = None) -> tuple[Horizon, list[IndexChange]]:
    """Return everything that a stream brings."""
    async with feed.all_since(horizon) as stream:
        return stream.horizon, [change async for batch in stream.batches for change in batch]


async def now(feed: ChangeFeed) -> Horizon:
    """Return the present horizon."""
    return (await all_of(feed))[0]


async def since(feed: ChangeFeed, horizon: Horizon) -> list[IndexChange]:
    """Return what changed, which one look and a stream have to agree on."""
    changes = await feed.since(horizon)
    assert changes.complete
    assert sorted((await all_of(feed, horizon))[1]) == sorted(changes.changed)
    return list(changes.changed)


async def removed(practice: Practice, patient: Patient) -> None:
    """Take a record away."""
    async with practice.begin() as work:
        admitted = admit(work, the_operator(), Action.DELETE, await work.patients.get(patient.id), at=NOW)
        removal = Removal(reason="entered twice", at=NOW, by=OPERATOR)
        await work.patients.remove(work.patients.open(admitted), removal)


async def test_every_record_is_streamed_as_an_index_holds_it(practice: Practice, feed: ChangeFeed) -> None:
    names = (
        a_name("O’Brien-Łukasz", "José María", use=NameUse.OLD),
        a_name("Müller", "Zoë", use=NameUse.OFFICIAL),
        a_name("山田", "太郎", use=NameUse.MAIDEN),
    )
    patient = a_patient(names=names, born="1985-02", gender=Gender.OTHER, label=Label.PART2)
    patient = replace(patient, birth_sex=BirthSex.FEMALE, discharged=TODAY)
    await practice.stored(patient)
    _, [entry] = await all_of(feed)
    assert entry == IndexEntry(
        id=patient.id.bytes,
        version=1,
        family="muller",
        given="zoe",
        names=("zoe muller", "jose maria obrien lukasz", "太郎 山田\n山田太郎"),
        born_first=patient.born.first.toordinal(),
        born_last=patient.born.last.toordinal(),
        status=PatientStatus.DISCHARGED,
        label=Label.PART2,
        gender=Gender.OTHER,
        birth_sex=BirthSex.FEMALE,
        changed=microseconds_of(NOW),
    )
    assert "muller" not in repr(entry)


async def test_whoever_has_only_old_names_goes_by_the_first_of_them(practice: Practice, feed: ChangeFeed) -> None:
    names = tuple(a_name(family, use=NameUse.OLD) for family in ("Byron", "King"))
    await practice.stored(a_patient(names=names))
    _, [entry] = await all_of(feed)
    assert isinstance(entry, IndexEntry)
    assert (entry.family, entry.names) == ("byron", ("ada byron", "ada king"))


async def test_what_was_committed_since_comes_once_and_as_it_is_now(practice: Practice, feed: ChangeFeed) -> None:
    before, ada = await practice.stored(a_patient()), await practice.stored(a_patient())
    horizon = await now(feed)
    assert await since(feed, horizon) == []
    await practice.changed(ada.id, at=NOW + timedelta(hours=1), names=(a_name("King"),))
    await practice.changed(ada.id, at=NOW + timedelta(hours=2), names=(a_name("Byron"),))
    bob = await practice.stored(a_patient(name=a_name("Babbage", "Charles")))
    changed = {change.id: change for change in await since(feed, horizon)}
    assert changed.keys() == {ada.id.bytes, bob.id.bytes}
    entry = changed[ada.id.bytes]
    assert isinstance(entry, IndexEntry)
    assert (entry.version, entry.family) == (3, "byron")
    assert entry.changed == microseconds_of(NOW + timedelta(hours=2))
    assert before.id.bytes not in changed
    following = (await feed.since(horizon)).horizon
    assert await since(feed, following) == []


async def test_what_was_taken_back_does_not_come(practice: Practice, feed: ChangeFeed) -> None:
    ada = await practice.stored(a_patient())
    horizon = await now(feed)
    with pytest.raises(ZeroDivisionError):
        async with practice.begin() as work:
            admitted = admit(work, the_operator(), Action.CHANGE, await work.patients.get(ada.id), at=NOW)
            await work.patients.save(replace(work.patients.open(admitted), notes="never"))
            raise ZeroDivisionError
    assert await since(feed, horizon) == []


async def test_who_was_removed_is_a_gap(practice: Practice, feed: ChangeFeed) -> None:
    ada = await practice.stored(a_patient())
    horizon = await now(feed)
    assert await feed.tally() == (1, 1, instant_in_tally(AT))
    await removed(practice, ada)
    gap = IndexGap(ada.id.bytes, 2, Absence.DELETED, AT)
    assert await since(feed, horizon) == [gap]
    assert (await all_of(feed))[1] == [gap]
    assert await feed.tally() == (0, 0, 0)


async def test_what_does_not_open_is_a_gap_and_the_rest_goes_on(practice: Practice, feed: ChangeFeed) -> None:
    ada, bob = await practice.stored(a_patient()), await practice.stored(a_patient())
    horizon = await now(feed)
    await practice.broken(ada.id)
    gap = IndexGap(ada.id.bytes, 1, Absence.UNOPENED, AT)
    assert await since(feed, horizon) == [gap]
    _, everybody = await all_of(feed)
    assert {change.id: isinstance(change, IndexGap) for change in everybody} == {
        ada.id.bytes: True,
        bob.id.bytes: False,
    }


async def test_the_tally_adds_up_records_versions_and_instants(practice: Practice, feed: ChangeFeed) -> None:
    assert await feed.tally() == (0, 0, 0)
    long_ago = NOW.replace(year=1969, microsecond=999_999)
    ada, _ = await practice.stored(a_patient()), await practice.stored(a_patient(), at=long_ago)
    await practice.changed(ada.id, notes="Sleeps badly since October.")
    instants = instant_in_tally(AT) + instant_in_tally(microseconds_of(long_ago))
    assert await feed.tally() == (2, 3, instants)


@pytest.mark.parametrize("store", [b"", b"another one"])
async def test_a_horizon_of_another_store_is_lost(practice: Practice, feed: ChangeFeed, store: bytes) -> None:
    await practice.stored(a_patient())
    horizon = await now(feed)
    for foreign in (replace(horizon, store=store), Horizon(store, "0"), Horizon(store, "10:20:")):
        with pytest.raises(HorizonLost):
            await feed.since(foreign)
        with pytest.raises(HorizonLost):
            await all_of(feed, foreign)
    assert await since(feed, horizon) == []


async def test_a_horizon_of_a_later_state_is_lost(feed: ChangeFeed) -> None:
    horizon = await now(feed)
    # The number not yet given is the last of a count, and the middle one of a snapshot.
    parts = horizon.place.split(":")
    parts[len(parts) // 2] = str(int(parts[len(parts) // 2]) + 1)
    with pytest.raises(HorizonLost):
        await feed.since(replace(horizon, place=":".join(parts)))


async def test_more_than_fits_is_streamed(practice: Practice, feed: ChangeFeed) -> None:
    feed.most_at_once = 2  # type: ignore[attr-defined]  # of each of the three
    horizon = await now(feed)
    patients = [await practice.stored(a_patient()) for _ in range(2)]
    changes = await feed.since(horizon)
    assert (changes.complete, len(changes.changed)) == (True, 2)
    patients.append(await practice.stored(a_patient()))
    changes = await feed.since(horizon)
    assert (changes.complete, changes.changed) == (False, [])
    following, changed = await all_of(feed, horizon)
    assert {change.id for change in changed} == {patient.id.bytes for patient in patients}
    assert await since(feed, following) == []


# What only a database can go through


async def test_raw_and_bulk_statements_are_seen(
    database_practice: Practice, database: Database, database_feed: SqlChangeFeed
) -> None:
    patients = [await database_practice.stored(a_patient()) for _ in range(3)]
    horizon = await now(database_feed)
    async with tampering(database) as session:
        await session.execute(update(PatientRow).where(PatientRow.id == patients[0].id).values(status="deceased"))
    [entry] = await since(database_feed, horizon)
    assert isinstance(entry, IndexEntry)
    assert (entry.id, entry.status) == (patients[0].id.bytes, PatientStatus.DECEASED)
    async with tampering(database) as session:
        await session.execute(update(PatientRow).values(guarded=True, changed_in=0))
    assert len(await since(database_feed, horizon)) == 3


async def test_a_bit_outside_the_seal_makes_nobody_easier_to_find(
    database_practice: Practice, database: Database, database_feed: SqlChangeFeed
) -> None:
    said = [
        await database_practice.stored(a_patient(label=label))
        for label in (Label.NORMAL, Label.RESTRICTED, Label.PART2)
    ]
    for guarded, told in ((True, (Label.RESTRICTED, Label.RESTRICTED, Label.PART2)), (False, None)):
        async with tampering(database) as session:
            await session.execute(update(PatientRow).values(guarded=guarded))
        found = {entry.id: entry.label for entry in (await all_of(database_feed))[1] if isinstance(entry, IndexEntry)}
        labels = told or tuple(patient.label for patient in said)
        assert [found[patient.id.bytes] for patient in said] == list(labels)


async def test_who_is_forgotten_is_told_of_however_it_was_done(
    database_practice: Practice, database: Database, database_feed: SqlChangeFeed
) -> None:
    ada, bob, eve = [await database_practice.stored(a_patient()) for _ in range(3)]
    horizon = await now(database_feed)
    async with tampering(database) as session:
        await session.execute(
            update(DataKeyRow).where(DataKeyRow.subject_id == ada.id).values(wrapped=None, destroyed_at=NOW)
        )
        await session.execute(delete(DataKeyRow).where(DataKeyRow.subject_id == bob.id))
        # Wrapped anew, it is the same key.
        await session.execute(update(DataKeyRow).where(DataKeyRow.subject_id == eve.id).values(wrapped=b"anew"))
    assert sorted(await since(database_feed, horizon)) == sorted(
        [IndexGap(ada.id.bytes, 1, Absence.FORGOTTEN, AT), IndexGap(bob.id.bytes, 1, Absence.UNOPENED, AT)]
    )
    assert await database_feed.tally() == (2, 2, 2 * instant_in_tally(AT))


async def test_who_looks_what_changed_cannot_write(database_practice: Practice, database: Database) -> None:
    await database_practice.stored(a_patient())
    connection = await database.changes_connection()
    with pytest.raises(DBAPIError, match=r"read-only|readonly"):
        await connection.execute(update(PatientRow).values(guarded=True))
    await connection.close()


async def test_a_file_put_back_from_a_copy_loses_the_horizon(
    sqlite_options: EngineOptions, keyring: Keyring, tmp_path: Path
) -> None:
    path, copy = tmp_path / "practice.db", tmp_path / "copy.db"
    async with opened(sqlite_options) as database, sql_practice(database, keyring) as practice:
        await practice.stored(a_patient())
    shutil.copy(path, copy)
    async with opened(sqlite_options) as database, sql_practice(database, keyring) as practice:
        feed = SqlChangeFeed(database, keyring)
        await practice.stored(a_patient())
        horizon = await now(feed)
    shutil.copy(copy, path)
    async with opened(sqlite_options) as database:
        feed = SqlChangeFeed(database, keyring)
        with pytest.raises(HorizonLost):
            await feed.since(horizon)
        await feed.aclose()


async def test_a_stamp_that_was_taken_away_is_missed(database_options: EngineOptions, database: Database) -> None:
    assert (await inspect(database_options)).unstamped == ()
    on_postgresql = "ALTER TABLE patients ENABLE TRIGGER patients_stamp_change"
    on_sqlite = "DROP TRIGGER patients_stamp_update"
    async with tampering(database) as session:
        await session.execute(text(on_sqlite if database.dialect_name == "sqlite" else on_postgresql))
    [problem] = (await inspect(database_options)).unstamped
    assert "patients_stamp_" in problem


def test_sqlite_stamps_a_change_of_any_column_but_the_stamp(sqlite_template: Path) -> None:
    with closing(sqlite3.connect(sqlite_template)) as connection:
        [trigger] = connection.execute("SELECT sql FROM sqlite_master WHERE name = 'patients_stamp_update'").fetchone()
    watched = trigger.partition("UPDATE OF")[2].partition(" ON ")[0]
    columns = {column.name for column in PatientRow.__table__.columns} - {"changed_in"}
    assert {name.strip() for name in watched.split(",")} == columns
