"""The log of contacts: read by channel and time without counting, and only ever added to."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import delete, text, update

from clarity.application.interactions import InteractionService
from clarity.application.patients import RepeatKey
from clarity.domain.access import Action, Actor, Role
from clarity.domain.errors import ClarityError, Invalid, NotFound, ReusedKey
from clarity.domain.ids import InteractionId, PatientId
from clarity.domain.interactions import Channel, InteractionQuery
from clarity.domain.records import Label, Resource
from clarity.persistence.errors import translated
from clarity.persistence.interactions import InteractionRow
from clarity.security.cursors import Cursors
from clarity.security.keyring import Keyring
from tests.builders import NOW, a_patient, a_practitioner, an_actor, an_interaction, new_id
from tests.practice import Practice
from tests.servers import tampering


@pytest.fixture
def interactions(practice: Practice, keyring: Keyring) -> InteractionService:
    return InteractionService(practice.begin, practice.reading, Cursors(keyring), lambda: NOW)


async def somebody_with_a_carer(practice: Practice) -> tuple[PatientId, Actor]:
    carer = await practice.employed(a_practitioner())
    patient = await practice.stored(a_patient(care_team=frozenset({carer.id})))
    return patient.id, an_actor(practitioner=carer.id)


async def listed(service: InteractionService, actor: Actor, patient: PatientId, **asked: Any) -> list[InteractionId]:
    """Return the ids on all pages of two, and look that none of them claims to have counted."""
    found, cursor = [], ""
    while True:
        page = await service.list(actor, patient, InteractionQuery(**asked), cursor=cursor, at_most=2)
        assert (page.count, page.exact) == (len(page.items), False)
        found += [one.id for one in page.items]
        if not (cursor := page.next_cursor):
            return found


async def test_contacts_are_found_by_channel_and_time_the_latest_first(
    practice: Practice, interactions: InteractionService
) -> None:
    patient, carer = await somebody_with_a_carer(practice)
    himself, device = an_actor(Role.PATIENT, patient=patient), an_actor(Role.DEVICE, patient=patient)
    calls = [Channel.CALL, Channel.MESSAGE, Channel.APP_EVENT, Channel.CALL, Channel.TWIN_QUERY]
    by = [carer, himself, device, carer, carer]
    made = [
        await interactions.record(
            actor, an_interaction(patient, channel=channel, occurred_at=NOW - timedelta(days=5 - number))
        )
        for number, (actor, channel) in enumerate(zip(by, calls, strict=True))
    ]
    latest = [one.id for one in reversed(made)]
    assert [one.author for one in made] == [actor.id for actor in by]
    assert await listed(interactions, carer, patient) == latest
    assert await listed(interactions, himself, patient, channel=Channel.CALL) == [latest[1], latest[4]]
    since, until = NOW - timedelta(days=4), NOW - timedelta(days=2)
    assert await listed(interactions, carer, patient, since=since, until=until) == [latest[2], latest[3]]
    assert await listed(interactions, carer, patient, since=datetime(2100, 1, 1, tzinfo=UTC)) == []
    assert (await interactions.view(himself, patient, made[0].id)).summary == made[0].summary
    for stranger in (an_actor(practitioner=a_practitioner().id), device, an_actor(Role.FRONT_DESK)):
        with pytest.raises(NotFound):
            await listed(interactions, stranger, patient)
        with pytest.raises(NotFound):
            await interactions.view(stranger, patient, made[2].id)
    with pytest.raises(NotFound):
        await interactions.record(an_actor(Role.DEVICE, patient=PatientId(new_id())), an_interaction(patient))


async def test_a_rare_contact_is_looked_for_within_bounds_and_further_on_the_next_page(
    practice: Practice, interactions: InteractionService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("clarity.persistence.charts.LOOKED_THROUGH", 2)
    monkeypatch.setattr("clarity.persistence.charts._ROWS_IN_A_STEP", 1)
    monkeypatch.setattr("tests.fakes.charts.LOOKED_THROUGH", 2)
    patient, carer = await somebody_with_a_carer(practice)
    rare = await interactions.record(carer, an_interaction(patient, channel=Channel.VIDEO))
    for _ in range(3):
        await interactions.record(carer, an_interaction(patient))
    first = await interactions.list(carer, patient, InteractionQuery(channel=Channel.VIDEO))
    assert first.items == ()
    assert first.next_cursor
    assert await listed(interactions, carer, patient, channel=Channel.VIDEO) == [rare.id]


async def test_a_contact_is_recorded_once_by_whoever_may_and_not_of_times_to_come(
    practice: Practice, interactions: InteractionService
) -> None:
    patient, carer = await somebody_with_a_carer(practice)
    device = an_actor(Role.DEVICE, patient=patient)
    once = RepeatKey(key="i-1", request=b"the same")
    first = await interactions.record(device, an_interaction(patient), repeat=once)
    again = await interactions.record(device, an_interaction(patient), repeat=once)
    assert (again.id, again.summary) == (first.id, first.summary)
    with pytest.raises(ReusedKey):
        await interactions.record(device, an_interaction(patient), repeat=replace(once, request=b"another"))
    with pytest.raises(Invalid, match="occurred_at"):
        await interactions.record(carer, an_interaction(patient, occurred_at=NOW + timedelta(hours=1)))
    assert await listed(interactions, carer, patient) == [first.id]
    said = [event for event in await practice.events() if event.resource is Resource.INTERACTION]
    assert [(event.action, event.patient) for event in said[:2]] == [(Action.REGISTER, patient)] * 2


async def test_what_is_more_confidential_than_the_patient_is_shown_to_fewer(
    practice: Practice, interactions: InteractionService
) -> None:
    patient, carer = await somebody_with_a_carer(practice)
    himself = an_actor(Role.PATIENT, patient=patient)
    told = await interactions.record(himself, an_interaction(patient, label=Label.PART2))
    assert await listed(interactions, himself, patient) == [told.id]
    assert await listed(interactions, carer, patient) == []
    with pytest.raises(NotFound):
        await interactions.view(carer, patient, told.id)


async def test_the_database_keeps_what_was_recorded(practice: Practice, interactions: InteractionService) -> None:
    if practice.database is None:
        return  # in memory there is nobody but us
    patient, carer = await somebody_with_a_carer(practice)
    told = await interactions.record(carer, an_interaction(patient))
    row = InteractionRow.id == told.id
    forbidden = [
        delete(InteractionRow).where(row),
        update(InteractionRow).where(row).values(created_by=new_id()),
        update(InteractionRow).where(row).values(patient_id=patient, guarded=True),
        update(InteractionRow).where(row).values(sealed=b"\0"),
    ]
    if practice.database.dialect_name == "postgresql":
        forbidden.append(text("TRUNCATE interactions"))  # type: ignore[arg-type]
    for statement in forbidden:
        with pytest.raises(ClarityError), translated():
            async with tampering(practice.database) as session:
                await session.execute(statement)
    assert (await interactions.view(carer, patient, told.id)).payload == told.payload
    async with tampering(practice.database) as session:
        await session.execute(update(InteractionRow).where(row).values(sealed=b"\0", key_generation=2))
