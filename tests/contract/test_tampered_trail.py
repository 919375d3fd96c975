"""What somebody with the database's own powers changed in the trail is shown, and said to be changed."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import delete, insert, text, update
from sqlalchemy.ext.asyncio import AsyncSession

from clarity.application.trail import TrailService
from clarity.audit.encoding import decode, encode, leaf_hash
from clarity.domain.access import Action, Purpose
from clarity.domain.ids import PatientId
from clarity.domain.trail import ExportFormat, TrailEntry, TrailQuery
from clarity.persistence.audit import AuditEventRow, AuditSubjectRow
from clarity.persistence.engine import Database
from clarity.security.keyring import Keyring
from tests.builders import NOW, new_id
from tests.practice import Practice, sql_practice
from tests.servers import tampering
from tests.trails import NURSE, OFFICER, TICK, a_patient_id, a_trail_service, listed, noted, viewed


@pytest.fixture
def trail(practice: Practice, keyring: Keyring) -> TrailService:
    return a_trail_service(practice, keyring)


@pytest.fixture
async def practice(database: Database, keyring: Keyring) -> Any:
    async with sql_practice(database, keyring) as practice:
        yield practice


@pytest.fixture
async def ada(practice: Practice) -> PatientId:
    ada = a_patient_id()
    await noted(practice, viewed(ada, at=NOW), listed(ada, a_patient_id(), at=NOW + TICK))
    return ada


async def entries(trail: TrailService, query: TrailQuery) -> list[TrailEntry]:
    return [line.entry for line in (await trail.list(OFFICER, query)).items]


async def test_an_event_whose_columns_were_changed_is_not_verified(
    database: Database, trail: TrailService, ada: PatientId
) -> None:
    async with tampered(database) as session:
        await session.execute(update(AuditEventRow).where(AuditEventRow.patient_id == ada).values(actor_id=new_id()))
    listing, view = await entries(trail, TrailQuery(patient=ada))
    assert (listing.verified, view.verified) == (True, False)
    assert view.event is not None
    assert view.event.actor == NURSE.id


async def test_an_event_that_was_written_anew_without_the_key_is_not_verified(
    database: Database, practice: Practice, trail: TrailService, ada: PatientId
) -> None:
    before = next(one for one in await practice.events() if one.patient == ada)
    forged = encode(replace(before, purpose=Purpose.EMERGENCY))
    async with tampered(database) as session:
        changed = update(AuditEventRow).where(AuditEventRow.id == before.id)
        await session.execute(changed.values(encoded=forged, leaf=leaf_hash(forged)))
    (entry,) = await entries(trail, TrailQuery(request=NURSE.request, actions=frozenset({Action.VIEW})))
    assert (entry.verified, entry.event) == (False, decode(forged))


async def test_bytes_of_no_event_are_told_by_their_place(
    database: Database, trail: TrailService, ada: PatientId
) -> None:
    async with tampered(database) as session:
        await session.execute(update(AuditEventRow).where(AuditEventRow.patient_id == ada).values(encoded=b"?"))
    entry = (await entries(trail, TrailQuery(patient=ada)))[1]
    assert (entry.verified, entry.event, entry.place.at) == (False, None, NOW)
    for form, said in ((ExportFormat.CSV, b",no,"), (ExportFormat.FHIR, b"UNRELIABLE")):
        (piece,) = [one async for one in trail.export(OFFICER, TrailQuery(patient=ada, until=NOW + TICK), form)]
        assert said in piece.data


async def test_a_list_that_was_taken_away_leaves_its_place(
    database: Database, trail: TrailService, ada: PatientId
) -> None:
    async with tampered(database) as session:
        await session.execute(delete(AuditEventRow).where(AuditEventRow.patient_id.is_(None)))
    for actions in (frozenset[Action](), frozenset({Action.VIEW})):
        gone, view = await entries(trail, TrailQuery(patient=ada, actions=actions))
        assert (gone.event, gone.verified, view.verified) == (None, False, True)


async def test_a_list_that_did_not_show_somebody_is_not_verified_for_them(
    database: Database, practice: Practice, trail: TrailService, ada: PatientId
) -> None:
    other = a_patient_id()
    listing = next(one for one in await practice.events() if ada in one.ids and one.patient is None)
    async with tampered(database) as session:
        row = {"record_id": other, "event_id": listing.id, "at": listing.at}
        await session.execute(insert(AuditSubjectRow).values(row))
    (entry,) = await entries(trail, TrailQuery(patient=other))
    assert not entry.verified


@asynccontextmanager
async def tampered(database: Database) -> AsyncIterator[AsyncSession]:
    """Yield a session that changes the trail, as whoever has the file or owns the tables can."""
    async with tampering(database) as session:
        if database.dialect_name == "sqlite":
            for verb in ("update", "delete"):
                await session.execute(text(f"DROP TRIGGER audit_events_refuse_{verb}"))
        yield session
