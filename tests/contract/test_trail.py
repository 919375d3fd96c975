"""Reading the trail, on each kind of storage: who finds what, in which order, and what the trail says of that."""

import csv
import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from itertools import product
from random import Random
from typing import Any

import pytest
from sqlalchemy import event

from clarity.application.break_glass import BreakGlassService
from clarity.application.trail import NAMES, TrailService
from clarity.application.trail_csv import COLUMNS
from clarity.cache.rates import MemoryRateLimit
from clarity.domain.access import OPERATOR, Action, Reason, Role
from clarity.domain.audit import MAX_IDS, AuditEvent, Outcome
from clarity.domain.errors import Forbidden, Invalid, NotFound, TrailUnavailable, UnauditedAccess
from clarity.domain.ids import EventId
from clarity.domain.records import Resource
from clarity.domain.trail import EVERYTHING, ExportFormat, TrailQuery
from clarity.persistence.engine import Database
from clarity.security.cursors import Cursors
from clarity.security.keyring import Keyring
from tests.builders import NOW, a_patient, a_practitioner, an_actor, new_id, the_operator
from tests.fakes.accounts import FrontDoor
from tests.practice import Practice, sql_practice
from tests.ties import broke_glass
from tests.trails import LATER, NURSE, OFFICER, PAST, TICK, a_patient_id, a_trail_service, listed, noted, viewed

HOUR = timedelta(hours=1)


@pytest.fixture
def trail(practice: Practice, keyring: Keyring) -> TrailService:
    return a_trail_service(practice, keyring)


async def found(trail: TrailService, query: TrailQuery = PAST, *, at_most: int = 7) -> list[AuditEvent]:
    """Return all that meets a query, a page after the other."""
    events: list[AuditEvent] = []
    cursor = ""
    while True:
        page = await trail.list(OFFICER, query, cursor=cursor, at_most=at_most)
        assert all(line.entry.verified for line in page.items)
        events.extend(line.entry.event for line in page.items if line.entry.event is not None)
        if not (cursor := page.next_cursor):
            assert page.count == len(events) or not page.exact
            return events


async def test_who_saw_a_patient_finds_what_was_done_and_the_lists_that_showed_them(
    practice: Practice, trail: TrailService
) -> None:
    ada, other = a_patient_id(), a_patient_id()
    await noted(
        practice,
        viewed(ada, at=NOW),
        viewed(other, at=NOW + TICK),
        listed(other, ada, at=NOW + 2 * TICK),
        listed(other, at=NOW + 3 * TICK),
        viewed(ada, at=NOW + 4 * TICK, outcome=Outcome.REFUSED, reason=Reason.NO_TIE),
    )
    events = await found(trail, TrailQuery(patient=ada, until=LATER))
    assert [(one.action, one.outcome) for one in events] == [
        (Action.VIEW, Outcome.REFUSED),
        (Action.LIST, Outcome.SUCCEEDED),
        (Action.VIEW, Outcome.SUCCEEDED),
    ]


async def test_who_saw_a_patient_finds_the_review_queues_that_named_them(
    practice: Practice, trail: TrailService, keyring: Keyring
) -> None:
    door = FrontDoor(practice.begin, practice.reading)
    glass = BreakGlassService(
        begin=practice.begin,
        reading=practice.reading,
        cursors=Cursors(keyring),
        limits=MemoryRateLimit(),
        now=practice.clock,
        new_id=new_id,
        at_most=HOUR,
        practice="Harbor Psychiatry",
    )
    ada, other = await practice.stored(a_patient()), await practice.stored(a_patient())
    for _ in range(2):
        nurse = await door.employed(Role.NURSE, practitioner=(await practice.employed(a_practitioner())).id)
        await glass.open(an_actor(Role.NURSE, actor_id=nurse.id), ada.id, "Found unconscious.")
    for _ in range(3):
        practice.clock.at += HOUR
        assert len((await glass.list(OFFICER)).items) == 2
    for at_most in (1, 2, 25):
        saw = await found(
            trail, TrailQuery(patient=ada.id, resources=frozenset({Resource.BREAK_GLASS})), at_most=at_most
        )
        # A list that named two of theirs is one event all the same.
        assert [one.actor for one in saw if one.action is Action.LIST] == [OFFICER.id] * 3
    assert not await found(trail, TrailQuery(patient=other.id, resources=frozenset({Resource.BREAK_GLASS})))


async def test_everybody_whom_a_long_list_showed_is_found(practice: Practice, trail: TrailService) -> None:
    patients = [a_patient_id() for _ in range(2 * MAX_IDS + 1)]
    await noted(practice, listed(*patients), listed(*patients, actor=the_operator()))
    for patient in (patients[0], patients[MAX_IDS], patients[-1]):
        (event,) = await found(trail, TrailQuery(patient=patient, until=LATER))
        assert (event.actor, patient in event.ids, event.ids_count <= MAX_IDS) == (NURSE.id, True, True)
    (of_system,) = await found(trail, TrailQuery(actor=OPERATOR, until=LATER))
    assert (of_system.ids, of_system.ids_count, len(of_system.ids_digest)) == ((), 2 * MAX_IDS + 1, 32)


async def test_every_condition_and_every_order_finds_what_a_look_at_everything_finds(
    practice: Practice, trail: TrailService, monkeypatch: pytest.MonkeyPatch
) -> None:
    random = Random(4)
    patients, actors = [a_patient_id() for _ in range(3)], [an_actor(Role.NURSE), an_actor(Role.CLINICIAN)]
    ends = ((Outcome.SUCCEEDED, Reason.NONE), (Outcome.REFUSED, Reason.NO_TIE), (Outcome.FAILED, Reason.BUSY))
    attempts = []
    for number in range(60):
        # Several of one instant, as from one unit of work.
        at = NOW + TICK * (number // 4)
        patient, actor = random.choice(patients), random.choice(actors)
        outcome, reason = random.choices(ends, (8, 2, 1))[0]
        if random.random() < 0.3:
            some = tuple(random.sample(patients, 2))
            attempts.append(listed(*some, actor=actor, at=at, outcome=outcome, reason=reason))
        else:
            action = random.choice((Action.VIEW, Action.CHANGE))
            attempts.append(viewed(patient, actor, action=action, at=at, outcome=outcome, reason=reason))
    await noted(practice, *attempts)
    everything = sorted(await practice.events(), key=lambda one: (one.at, one.id))
    request = actors[0].request
    queries = [
        TrailQuery(patient=patient, actor=actor, actions=actions, outcomes=outcomes, until=LATER)
        for patient, actor, actions, outcomes in product(
            (None, patients[0]),
            (None, actors[0].id),
            (frozenset(), frozenset({Action.CHANGE})),
            (frozenset(), frozenset({Outcome.REFUSED, Outcome.FAILED}), frozenset({Outcome.SUCCEEDED, Outcome.FAILED})),
        )
    ]
    queries += [
        TrailQuery(since=NOW + 3 * TICK, until=NOW + 9 * TICK),
        TrailQuery(request=request, actions=frozenset({Action.VIEW}), until=LATER),
        TrailQuery(resources=frozenset({Resource.CONSENT}), until=LATER),
        TrailQuery(patient=patients[1], since=NOW + 3 * TICK, until=NOW + 9 * TICK, actor=actors[1].id),
    ]
    for looked_at, oldest_first in ((5_000, False), (15, True)):
        monkeypatch.setattr("clarity.persistence.trail.MOST_LOOKED_AT", looked_at)
        for query in queries:
            expected = [one for one in everything if meets(one, query)]
            assert await found(trail, replace(query, oldest_first=oldest_first), at_most=25) == (
                expected if oldest_first else expected[::-1]
            )


def meets(event: AuditEvent, query: TrailQuery) -> bool:
    return (
        (query.patient is None or query.patient in {event.patient, *event.ids})
        and (query.actor is None or query.actor == event.actor)
        and (query.request is None or query.request == event.request)
        and (query.since is None or query.since <= event.at)
        and (query.until is None or event.at < query.until)
        and (not query.actions or event.action in query.actions)
        and (not query.resources or event.resource in query.resources)
        and (not query.outcomes or event.outcome in query.outcomes)
    )


async def test_much_is_counted_up_to_a_bound(
    practice: Practice, trail: TrailService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("clarity.persistence.trail.MOST_COUNTED", 5)
    await noted(practice, *(viewed(a_patient_id()) for _ in range(9)))
    page = await trail.list(OFFICER, PAST, at_most=2)
    if practice.database is not None:
        assert (page.count, page.exact) == (5, False)
    second = await trail.list(OFFICER, PAST, cursor=page.next_cursor, at_most=2)
    assert (second.count, second.exact) == (page.count, page.exact)
    whole = await trail.list(OFFICER, PAST, at_most=100)
    assert (whole.count, whole.exact, whole.next_cursor) == (9, True, "")


async def test_reading_the_trail_is_in_the_trail(practice: Practice, trail: TrailService) -> None:
    ada = a_patient_id()
    await noted(practice, viewed(ada))
    for query in (EVERYTHING, TrailQuery(patient=ada), TrailQuery(patient=ada), TrailQuery(actor=NURSE.id)):
        await trail.list(OFFICER, query, at_most=1)
    first, *told = [one for one in await practice.events() if one.resource is Resource.AUDIT_EVENT]
    viewed_event = (await practice.events())[0].id
    assert (first.action, first.actor, first.patient, first.query_mac) == (Action.LIST, OFFICER.id, None, b"")
    assert [one.patient for one in told] == [ada, ada, None]
    assert told[0].query_mac == told[1].query_mac != told[2].query_mac
    assert all(len(one.query_mac) == 32 for one in told)
    assert told[2].ids == (viewed_event,)
    # Who asks about a patient has asked about them, and the next who asks is told so.
    assert OFFICER.id in {one.actor for one in await found(trail, TrailQuery(patient=ada))}


@pytest.mark.parametrize("role", [role for role in Role if role not in {Role.COMPLIANCE_OFFICER, Role.SYSTEM}])
async def test_nobody_else_reads_the_trail(practice: Practice, trail: TrailService, role: Role) -> None:
    ada = a_patient_id()
    await noted(practice, viewed(ada))
    with pytest.raises(Forbidden):
        await trail.list(an_actor(role), TrailQuery(patient=ada))
    with pytest.raises(Forbidden):
        await trail.account_named(an_actor(role), "grace@example.org")
    with pytest.raises(Forbidden):
        await anext(trail.export(an_actor(role), TrailQuery(patient=ada), ExportFormat.CSV))
    refused = [one for one in await practice.events() if one.outcome is Outcome.REFUSED]
    assert [(one.action, one.patient, one.reason) for one in refused] == [
        (Action.LIST, ada, Reason.NO_SUCH_RIGHT),
        (Action.LIST, None, Reason.NO_SUCH_RIGHT),
        (Action.EXPORT, ada, Reason.NO_SUCH_RIGHT),
    ]


async def test_a_machine_reads_the_trail_only_if_its_credential_says_so(
    practice: Practice, trail: TrailService
) -> None:
    machine = replace(OFFICER, only=frozenset({(Resource.AUDIT_EVENT, Action.LIST)}))
    await trail.list(machine)
    with pytest.raises(Forbidden):
        await anext(trail.export(machine, EVERYTHING, ExportFormat.CSV))
    with pytest.raises(Forbidden):
        await trail.list(replace(OFFICER, only=frozenset()))
    assert [one.outcome for one in await practice.events()] == [Outcome.SUCCEEDED, Outcome.REFUSED, Outcome.REFUSED]


async def test_the_trail_is_not_read_while_it_cannot_be_written(practice: Practice, trail: TrailService) -> None:
    await noted(practice, viewed(a_patient_id()))
    practice.refuse_events()
    with pytest.raises(TrailUnavailable):
        await trail.list(OFFICER)


async def test_what_is_read_without_an_event_is_not_handed_out(practice: Practice) -> None:
    await noted(practice, viewed(a_patient_id()))
    with pytest.raises(UnauditedAccess):
        async with practice.reading() as work:
            await work.trail.find_page(PAST, after=None, at_most=1)


async def test_a_cursor_is_good_for_its_question_and_its_reader(practice: Practice, trail: TrailService) -> None:
    await noted(practice, *(viewed(a_patient_id()) for _ in range(3)))
    cursor = (await trail.list(OFFICER, PAST, at_most=1)).next_cursor
    for actor, query in ((an_actor(Role.COMPLIANCE_OFFICER), PAST), (OFFICER, replace(PAST, oldest_first=True))):
        with pytest.raises(Invalid):
            await trail.list(actor, query, cursor=cursor)
    with pytest.raises(Invalid):
        await trail.list(OFFICER, TrailQuery(since=NOW, until=NOW))


async def test_those_who_acted_are_told_by_name(practice: Practice, trail: TrailService) -> None:
    door = FrontDoor(practice.begin, practice.reading)
    grace = await door.employed(Role.FRONT_DESK, email="grace@example.org")
    as_grace = an_actor(Role.FRONT_DESK, actor_id=grace.id)
    await noted(practice, viewed(a_patient_id(), as_grace, at=NOW), viewed(a_patient_id(), at=NOW + TICK))
    page = await trail.list(OFFICER, TrailQuery(actions=frozenset({Action.VIEW})))
    assert [(line.name, line.email) for line in page.items] == [("", ""), ("Grace Hopper", "grace@example.org")]
    assert "Grace" not in repr(page)
    registered = await trail.list(OFFICER, TrailQuery(actions=frozenset({Action.REGISTER})))
    assert [(line.name, line.email) for line in registered.items] == [(NAMES[OPERATOR], "")]
    assert await trail.account_named(OFFICER, "Grace@Example.org") == grace.id
    with pytest.raises(NotFound):
        await trail.account_named(OFFICER, "nobody@example.org")


async def test_an_export_has_everything_in_order_and_not_itself(
    practice: Practice, trail: TrailService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("clarity.application.trail.CHUNK", 3)
    ada = a_patient_id()
    await noted(practice, *(viewed(ada, at=NOW + number * TICK) for number in range(8)))
    practice.clock.at = LATER
    before = len(await practice.events())
    pieces = []
    async for piece in trail.export(OFFICER, EVERYTHING, ExportFormat.CSV):
        pieces.append(piece)
        # Before it is handed out, the trail says so.
        told = (await practice.events())[before:]
        assert [one.action for one in told] == [Action.EXPORT] * len(pieces)
        assert sum(one.ids_count for one in told) == piece.events
    assert [piece.events for piece in pieces] == [3, 6, 8]
    rows = list(csv.DictReader(io.StringIO(b"".join(piece.data for piece in pieces).decode())))
    assert [row["event"] for row in rows] == [str(one.id) for one in (await practice.events())[:before]]
    assert {(row["action"], row["patient"], row["verified"]) for row in rows} == {("view", str(ada), "yes")}
    lines = [one async for one in trail.export(OFFICER, TrailQuery(patient=ada, until=LATER), ExportFormat.FHIR)]
    resources = [json.loads(line) for line in b"".join(piece.data for piece in lines).splitlines()]
    assert [one["id"] for one in resources] == [row["event"] for row in rows]
    assert {one.patient for one in await practice.events() if one.action is Action.EXPORT} == {None, ada}


async def test_what_a_clock_dated_ahead_is_exported_too_and_the_export_ends(
    practice: Practice, trail: TrailService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("clarity.application.trail.CHUNK", 3)
    ada = a_patient_id()
    await noted(practice, *(viewed(ada, at=LATER + number * TICK) for number in range(4)))
    practice.clock.at = LATER - HOUR
    await noted(practice, viewed(ada, at=LATER - HOUR))
    written = [str(one.id) for one in await practice.events()]
    lines = [one async for one in trail.export(OFFICER, EVERYTHING, ExportFormat.CSV)]
    rows = csv.DictReader(io.StringIO(b"".join(piece.data for piece in lines).decode()))
    assert [row["event"] for row in rows] == [written[-1], *written[:-1]]


async def test_pages_have_each_event_once_though_the_clock_is_set_back_meanwhile(
    practice: Practice, trail: TrailService
) -> None:
    ada = a_patient_id()
    await noted(practice, *(viewed(ada, at=LATER + number * TICK) for number in range(6)))
    before = {one.id for one in await practice.events()}
    query, cursor = TrailQuery(actions=frozenset({Action.VIEW})), ""
    seen: list[EventId] = []
    for back in (timedelta(), HOUR, timedelta(), HOUR):
        practice.clock.at = LATER - back
        await noted(practice, viewed(ada, at=practice.clock.at))
        page = await trail.list(OFFICER, query, cursor=cursor, at_most=2)
        seen.extend(line.entry.place.id for line in page.items)
        cursor = page.next_cursor
    assert len(seen) == len(set(seen))
    assert before <= set(seen)


async def test_an_export_without_a_trail_fails_in_its_middle(
    practice: Practice, trail: TrailService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("clarity.application.trail.CHUNK", 2)
    await noted(practice, *(viewed(a_patient_id()) for _ in range(5)))
    pieces = trail.export(OFFICER, EVERYTHING, ExportFormat.CSV)
    assert (await anext(pieces)).events == 2
    practice.refuse_events()
    with pytest.raises(TrailUnavailable):
        await anext(pieces)


async def test_an_export_of_nothing_is_a_header(practice: Practice, trail: TrailService) -> None:
    (piece,) = [one async for one in trail.export(OFFICER, TrailQuery(patient=a_patient_id()), ExportFormat.CSV)]
    assert (piece.data.decode().split(), piece.events) == ([",".join(COLUMNS)], 0)
    assert [one.action for one in await practice.events()] == [Action.EXPORT]


@contextmanager
def counted(database: Database) -> Iterator[list[str]]:
    """Collect the statements that are run in snapshots."""
    engine = database.snapshot.kw["bind"].sync_engine
    statements: list[str] = []

    def remember(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        statements.append(statement)

    event.listen(engine, "before_cursor_execute", remember)
    try:
        yield statements
    finally:
        event.remove(engine, "before_cursor_execute", remember)


async def test_who_saw_a_patient_takes_as_many_statements_however_much_there_is_of_them(
    database: Database, keyring: Keyring
) -> None:
    async with sql_practice(database, keyring) as practice:
        trail = a_trail_service(practice, keyring)
        ada, told = await practice.stored(a_patient()), []
        await trail.list(OFFICER, TrailQuery(patient=ada.id))
        for at_once in (1, 6):
            for _ in range(at_once):
                await broke_glass(database, new_id(), ada.id)
            with counted(database) as statements:
                await trail.list(OFFICER, TrailQuery(patient=ada.id))
            told.append(len(statements))
    assert told[0] == told[1]


async def test_a_page_takes_as_many_statements_however_many_acted(database: Database, keyring: Keyring) -> None:
    async with sql_practice(database, keyring) as practice:
        trail = a_trail_service(practice, keyring)
        await noted(practice, *(viewed(a_patient_id(), an_actor(Role.NURSE)) for _ in range(20)))
        with counted(database) as statements:
            page = await trail.list(OFFICER, PAST)
    assert len(page.items) == 20
    assert len([one for one in statements if one.startswith("SELECT")]) == 2


async def test_an_export_is_written_a_little_at_a_time(practice: Practice, trail: TrailService) -> None:
    patients = [a_patient_id() for _ in range(MAX_IDS)]
    await noted(practice, *(listed(*patients) for _ in range(12)))
    pieces = [piece async for piece in trail.export(OFFICER, PAST, ExportFormat.FHIR)]
    # What one look at the trail found is one event, in however many pieces it leaves.
    assert [one.ids_count for one in await practice.events() if one.action is Action.EXPORT] == [12]
    assert [piece.events for piece in pieces] == [5, 10, 12]
    assert [piece.data.count(b"\n") // MAX_IDS for piece in pieces] == [5, 5, 2]
