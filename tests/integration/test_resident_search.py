"""A server's index over real databases: as fresh as they are, within the policy, and rid of whom they forget."""

import asyncio
import random
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, update

from clarity.application.ports import PatientSearch
from clarity.domain.access import Action, Actor, Role, scope_of
from clarity.domain.errors import Unavailable
from clarity.domain.ids import PatientId
from clarity.domain.patients import Patient, PatientQuery
from clarity.domain.records import Label
from clarity.persistence.engine import Database, EngineOptions
from clarity.persistence.keys import DataKeyRow
from clarity.persistence.patients.tables import PatientRow
from clarity.search.segments import KeptPart
from clarity.search.snapshot import Snapshot
from clarity.search.streaming import StreamingSearch
from clarity.security.frames import SealedFrames
from clarity.security.keyring import Keyring
from tests.builders import NOW, TODAY, a_consent, a_name, a_patient, a_practitioner, an_actor, the_operator
from tests.canaries import hits
from tests.practice import Practice, sql_practice
from tests.proxies import proxied
from tests.searching import resident_search
from tests.servers import opened, tampering
from tests.soak.freshness import interleaved
from tests.ties import broke_glass, consented, withdrew

EVERYBODY = PatientQuery()
SEARCHES = 200


async def test_each_search_sees_what_another_process_has_committed_before(
    database_options: EngineOptions, keyring: Keyring
) -> None:
    outcome = await interleaved(database_options, keyring, searches=SEARCHES, chance=random.Random(1))
    assert outcome.searches == SEARCHES
    assert outcome.killed > 1
    assert not outcome.missed


@dataclass(frozen=True, slots=True)
class Town:
    """People of every label, with and without consents, and who may see some of them."""

    actors: tuple[Actor, ...]
    patients: tuple[Patient, ...]


async def founded(practice: Practice) -> Town:
    """Store somebody for each way in which the policy tells one record from another."""
    assert practice.database is not None
    anna = await practice.employed(a_practitioner())
    theirs, nobodys = frozenset({anna.id}), frozenset[Any]()
    people = [
        await practice.stored(a_patient(label=label, care_team=team))
        for label in (Label.NORMAL, Label.RESTRICTED, Label.PART2, Label.PART2, Label.PART2)
        for team in (theirs, nobodys)
    ]
    for patient in people[6:]:
        await consented(practice, patient.id, a_consent())
    for patient in people[8:]:
        await withdrew(practice, patient.id)
    roles = [role for role in Role if role is not Role.SYSTEM]
    tied = [an_actor(role, practitioner=anna.id, patient=people[2].id) for role in roles]
    strangers = [an_actor(role) for role in roles]
    rescuers = [an_actor(role) for role in (Role.CLINICIAN, Role.NURSE)]
    for rescuer in rescuers:
        for patient in people[1::4]:
            await broke_glass(practice.database, rescuer.id, patient.id)
    other_purpose = replace(tied[1], purpose=strangers[4].purpose)
    return Town((the_operator(), *tied, *strangers, *rescuers, other_purpose), tuple(people))


async def seen(
    practice: Practice, search: PatientSearch, actor: Actor, query: PatientQuery
) -> tuple[set[PatientId], int]:
    async with practice.reading(snapshot=True) as work:
        found = await search.find(work, scope_of(actor, Action.SEARCH, at=NOW), query, after=None, at_most=50)
    return set(found.patients), found.count


async def test_nobody_finds_or_counts_whom_the_policy_keeps_from_them(database: Database, keyring: Keyring) -> None:
    """What a plain look through all records admits is what is found and counted, for every role and tie."""
    streaming = StreamingSearch(lambda: TODAY)
    async with sql_practice(database, keyring) as practice:
        town = await founded(practice)
        async with resident_search(practice, keyring) as resident:
            sizes = set()
            for actor in town.actors:
                for query in (
                    EVERYBODY,
                    PatientQuery(name="lovel", practitioner=next(iter(town.patients[0].care_team))),
                ):
                    expected = await seen(practice, streaming, actor, query)
                    assert await seen(practice, resident, actor, query) == expected
                    assert len(expected[0]) == expected[1]
                    sizes.add(expected[1])
        assert {0, 1, 2, 3, 4}.issubset(sizes)


async def test_whoever_is_forgotten_leaves_memory_and_the_snapshot(
    database: Database, keyring: Keyring, tmp_path: Path
) -> None:
    frames = SealedFrames(tmp_path / "search.snapshot", keyring)
    async with sql_practice(database, keyring) as practice:
        ada = await practice.stored(a_patient(name=a_name("Lovelace-Byron")))
        await practice.stored(a_patient(name=a_name("Hopper")))
        async with resident_search(practice, keyring, Snapshot(frames), idle_seconds=0.01) as search:
            index = await search.fresh()
            assert index.size == 2
            await until(lambda: _size_in(frames) == 2)
            async with tampering(database) as session:
                forgetting = update(DataKeyRow).where(DataKeyRow.subject_id == ada.id)
                await session.execute(forgetting.values(wrapped=None, destroyed_at=NOW))
            await until(lambda: index.size == 1)
            assert not hits(["lovelace", "byron"], [part.to_bytes() for part in index.parts()])
            await until(lambda: _size_in(frames) == 1)


async def test_a_row_that_was_put_back_is_found_as_it_is_now(database: Database, keyring: Keyring) -> None:
    async with sql_practice(database, keyring) as practice:
        ada = await practice.stored(a_patient(name=a_name("Lovelace")))
        columns = (PatientRow.sealed, PatientRow.version)
        async with tampering(database) as session:
            sealed, version = (await session.execute(select(*columns).where(PatientRow.id == ada.id))).one()
        await practice.changed(ada.id, names=(a_name("Byron"),))
        async with resident_search(practice, keyring) as search:
            for name, count in (("byron", 1), ("lovelace", 0)):
                assert (await seen(practice, search, the_operator(), PatientQuery(name=name)))[1] == count
            async with tampering(database) as session:
                put_back = update(PatientRow).where(PatientRow.id == ada.id).values(sealed=sealed, version=version)
                await session.execute(put_back)
            for name, count in (("byron", 0), ("lovelace", 1)):
                assert (await seen(practice, search, the_operator(), PatientQuery(name=name)))[1] == count


def put_back(backup: Path, file: Path) -> None:
    """Put a copy in place of a database, and nothing of what was written to that since."""
    for beside in ("-wal", "-shm"):  # the last connection may be about to end, and to remove them
        file.with_name(file.name + beside).unlink(missing_ok=True)
    copied = shutil.copy(backup, file.with_suffix(".new"))
    Path(copied).replace(file)


async def test_a_database_that_was_put_back_is_noticed_by_the_next_server(
    keyring: Keyring, tmp_path: Path, sqlite_template: Path
) -> None:
    file, backup, snapshot = (tmp_path / name for name in ("practice.db", "backup.db", "search.snapshot"))
    shutil.copy(sqlite_template, file)
    options = EngineOptions(url=f"sqlite+aiosqlite:///{file}")
    async with opened(options) as database, sql_practice(database, keyring) as practice:
        await practice.stored(a_patient(name=a_name("Lovelace")))
    shutil.copy(file, backup)
    async with opened(options) as database, sql_practice(database, keyring) as practice:
        await practice.stored(a_patient(name=a_name("Hopper")))
        async with resident_search(practice, keyring, Snapshot(SealedFrames(snapshot, keyring))) as search:
            assert (await search.fresh()).size == 2
    put_back(backup, file)
    async with (
        opened(options) as database,
        sql_practice(database, keyring) as practice,
        resident_search(practice, keyring, Snapshot(SealedFrames(snapshot, keyring))) as search,
    ):
        assert (await search.fresh()).size == 1
        await practice.stored(a_patient(name=a_name("Noether")))
        assert (await search.fresh()).size == 2


async def test_a_database_that_was_put_back_and_went_on_is_noticed_by_the_next_server(
    keyring: Keyring, tmp_path: Path, sqlite_template: Path
) -> None:
    """Since then, as much was written as had been lost, and somewhat more: no number says that it is another state."""
    file, snapshot = tmp_path / "practice.db", tmp_path / "search.snapshot"
    shutil.copy(sqlite_template, file)
    options = EngineOptions(url=f"sqlite+aiosqlite:///{file}")
    async with opened(options) as database, sql_practice(database, keyring) as practice:
        await practice.stored(a_patient(name=a_name("Lovelace")))
        async with resident_search(practice, keyring, Snapshot(SealedFrames(snapshot, keyring))) as search:
            assert (await search.fresh()).size == 1
    put_back(sqlite_template, file)
    async with opened(options) as database, sql_practice(database, keyring) as practice:
        for minutes in (1, 2):
            await practice.stored(a_patient(name=a_name("Hopper")), at=NOW + timedelta(minutes=minutes))
        async with resident_search(practice, keyring, Snapshot(SealedFrames(snapshot, keyring))) as search:
            found = await seen(practice, search, the_operator(), PatientQuery(name="hopper"))
    assert found[1] == 2


@pytest.mark.parametrize("fault", ["reset", "half_close", pytest.param("blackhole", marks=pytest.mark.soak)])
async def test_searches_go_on_when_the_network_to_the_database_is_back(
    postgresql_options: EngineOptions, keyring: Keyring, fault: str
) -> None:
    async with (
        asyncio.timeout(30),
        opened(postgresql_options) as direct,
        sql_practice(direct, keyring) as there,
        proxied(postgresql_options) as proxy,
        opened(replace(proxy.options, statement_timeout_ms=200, connect_timeout_seconds=0.5)) as database,
        sql_practice(database, keyring) as here,
        resident_search(here, keyring) as search,
    ):
        await there.stored(a_patient(name=a_name("Lovelace")))
        assert (await seen(here, search, the_operator(), EVERYBODY))[1] == 1
        getattr(proxy, fault)()
        if fault == "blackhole":
            with pytest.raises(Unavailable):
                await seen(here, search, the_operator(), EVERYBODY)
        proxy.heal()
        await there.stored(a_patient(name=a_name("Hopper")))
        assert (await seen(here, search, the_operator(), EVERYBODY))[1] == 2


def _size_in(frames: SealedFrames) -> int:
    """Return how many patients a snapshot has, -1 if there is none at the moment."""
    try:
        return sum(len(KeptPart.of_bytes(frame).columns) for frame in list(frames.read())[1:])
    except FileNotFoundError:
        return -1


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not holds():
            await asyncio.sleep(0.01)
