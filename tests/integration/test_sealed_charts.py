"""What somebody with their hands on the database can and cannot do to records in charts, and what asking costs."""

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import update

from clarity.application.charts import Charting, PageAsked
from clarity.application.notes import NoteService
from clarity.application.pages import Page
from clarity.domain.access import Action, Actor, Reason, Role, scope_of
from clarity.domain.audit import Outcome
from clarity.domain.errors import CannotOpen, NotFound, StaleWrite
from clarity.domain.ids import NoteId, PatientId
from clarity.domain.notes import Note, NoteFilter, NoteKind
from clarity.domain.records import Label, Resource
from clarity.persistence.engine import Database
from clarity.persistence.keys import DataKeyRow
from clarity.persistence.notes import NoteRow
from clarity.security.cursors import Cursors
from clarity.security.keyring import Keyring
from tests.builders import NOW, TODAY, a_consent, a_patient, a_practitioner, an_actor, new_id
from tests.canaries import plant
from tests.practice import Practice, sql_practice
from tests.servers import counted, tampering
from tests.ties import consented, withdrew

BODY = "Dreams of a lighthouse that is never lit."
KEPT_APART: dict[str, Any] = {"kind": NoteKind.PSYCHOTHERAPY, "label": Label.PSYCHOTHERAPY}


@pytest.fixture
async def practice(database: Database, keyring: Keyring) -> AsyncIterator[Practice]:
    async with sql_practice(database, keyring) as practice:
        yield practice


async def a_carer(practice: Practice) -> Actor:
    return an_actor(practitioner=(await practice.employed(a_practitioner())).id)


async def a_chart(practice: Practice, *carers: Actor, label: Label = Label.NORMAL) -> PatientId:
    team = frozenset(one.practitioner for one in carers if one.practitioner is not None)
    return (await practice.stored(a_patient(care_team=team, label=label))).id


async def written(practice: Practice, author: Actor, patient: PatientId, **about: Any) -> Note:
    plant(BODY)
    usual: dict[str, Any] = {"kind": NoteKind.PROGRESS, "body": BODY, "signed_at": NOW}
    note = Note(id=NoteId(new_id()), patient=patient, **(usual | about))
    async with practice.begin() as work:
        return await work.notes.add(await Charting(work, work.notes, author, NOW).admit_new(note), note)


async def seen(practice: Practice, actor: Actor, patient: PatientId, note: UUID) -> Note:
    async with practice.reading() as work:
        return await Charting(work, work.notes, actor, NOW).open(Action.VIEW, patient, note)


async def listed(
    practice: Practice, keyring: Keyring, actor: Actor, patient: PatientId, *, at_most: int = 50
) -> Page[Note]:
    asked: PageAsked[Note, NoteFilter] = PageAsked(conditions=NoteFilter(), at_most=at_most)
    async with practice.reading(snapshot=True) as work:
        return await Charting(work, work.notes, actor, NOW).page(patient, asked, Cursors(keyring))


async def altered(database: Database, note: Note, **columns: object) -> None:
    async with tampering(database) as session:
        await session.execute(update(NoteRow).where(NoteRow.id == note.id).values(columns))


async def outcome_of(practice: Practice, actor: Actor, note: Note) -> tuple[Outcome, Reason]:
    """Look at a note that is not shown, and return how the trail says that this ended."""
    with pytest.raises((CannotOpen, NotFound)):
        await seen(practice, actor, note.patient, note.id)
    told = (await practice.events())[-1]
    assert (told.action, told.patient, told.ids) == (Action.VIEW, note.patient, (note.id,))
    return told.outcome, told.reason


BROKEN = (Outcome.FAILED, Reason.CANNOT_OPEN)


async def test_a_row_that_was_altered_is_shown_to_nobody_left_out_of_lists_and_told_of(
    practice: Practice, database: Database, keyring: Keyring
) -> None:
    anna, carl = await a_carer(practice), await a_carer(practice)
    ada, bob = await a_chart(practice, anna, carl), await a_chart(practice, anna, carl)
    whole = await written(practice, anna, ada)
    changes: dict[str, object] = {
        "status": "draft",
        "key_generation": 9,
        "version": 2,
        "sealed": bytes(120),
        "amendment_due_on": TODAY,
    }
    for column, value in changes.items():
        await altered(database, note := await written(practice, anna, ada), **{column: value})
        assert await outcome_of(practice, anna, note) == BROKEN, column
    moved = await written(practice, anna, bob)
    await altered(database, moved, patient_id=ada)
    assert await outcome_of(practice, carl, replace(moved, patient=ada)) == BROKEN
    # Whoever says of a row that it is theirs, or that it has no label, does not come by what is kept apart.
    claimed = await written(practice, anna, ada, **KEPT_APART)
    await altered(database, claimed, created_by=carl.id)
    assert await outcome_of(practice, carl, claimed) == BROKEN
    bared = await written(practice, anna, ada, **KEPT_APART)
    await altered(database, bared, guarded=False)
    assert await outcome_of(practice, carl, bared) == (Outcome.REFUSED, Reason.NO_CONSENT)
    async with practice.reading(snapshot=True) as work:
        _, chart = await Charting(work, work.notes, carl, NOW).chart(Action.SEARCH, ada)
        scope = scope_of(carl, Action.SEARCH, Resource.NOTE, at=NOW)
        searched = [record.id async for record, _ in work.notes.read_through(scope, chart)]
    assert bared.id not in searched
    assert whole.id in searched
    gone = await written(practice, anna, ada)
    await altered(database, gone, status="deleted")
    assert await outcome_of(practice, anna, gone) == (Outcome.REFUSED, Reason.DELETED)

    before = len(await practice.events())
    assert [one.id for one in (await listed(practice, keyring, carl, ada)).items] == [whole.id]
    (list_, *others) = (await practice.events())[before:]
    assert (list_.outcome, list_.ids) == (Outcome.SUCCEEDED, (whole.id,))
    assert {(one.outcome, one.reason) for one in others} == {BROKEN}
    assert len(others) == len(changes) - 1 + 2  # a draft of somebody else is none of Carl's


async def test_of_a_patient_whose_key_was_destroyed_no_record_opens(
    practice: Practice, database: Database, keyring: Keyring
) -> None:
    anna = await a_carer(practice)
    note = await written(practice, anna, await a_chart(practice, anna))
    await seen(practice, anna, note.patient, note.id)
    async with tampering(database) as session:
        forgotten = update(DataKeyRow).where(DataKeyRow.subject_id == note.patient)
        await session.execute(forgotten.values(wrapped=None, destroyed_at=NOW))
    assert await outcome_of(practice, anna, note) == BROKEN
    with pytest.raises(CannotOpen):
        await listed(practice, keyring, anna, note.patient)


async def test_what_a_consent_allowed_is_not_written_once_it_was_withdrawn(
    postgresql: Database, keyring: Keyring
) -> None:
    async with sql_practice(postgresql, keyring) as practice:
        anna = await a_carer(practice)
        ada = await a_chart(practice, anna, label=Label.PART2)
        await consented(practice, ada, a_consent())
        draft = await written(practice, anna, ada, signed_at=None)
        with pytest.raises(StaleWrite):
            async with practice.begin() as work:
                opened = await Charting(work, work.notes, anna, NOW).open(Action.CHANGE, ada, draft.id)
                await withdrew(practice, ada)
                await work.notes.save(replace(opened, body="Slept well."))
        assert (await practice.events())[-1].outcome is Outcome.FAILED


async def test_a_list_takes_as_many_statements_however_long_it_is_and_a_refusal_as_many_as_absence(
    sqlite: Database, keyring: Keyring
) -> None:
    async with sql_practice(sqlite, keyring) as practice:
        anna, carl, otto = [await a_carer(practice) for _ in range(3)]
        ada, bob = await a_chart(practice, anna, carl), await a_chart(practice, otto)
        kept_apart = await written(practice, anna, ada, **KEPT_APART)
        taken = []
        for _ in range(3):
            for label in (Label.NORMAL, Label.RESTRICTED):
                await written(practice, anna, ada, label=label)
            await written(practice, anna, ada, **KEPT_APART)
            with counted(sqlite) as statements:
                page = await listed(practice, keyring, carl, ada)
            taken.append((len(statements), len(page.items)))
        assert [items for _, items in taken] == [2, 4, 6]
        assert len({statements for statements, _ in taken}) == 1, taken

        draft = await written(practice, anna, ada, signed_at=None)
        foreign = await written(practice, otto, bob)
        asked = {
            "kept apart": (carl, ada, kept_apart.id),
            "a draft": (carl, ada, draft.id),
            "of another": (carl, ada, foreign.id),
            "absent": (carl, ada, new_id()),
            "of nobody": (carl, PatientId(new_id()), kept_apart.id),
            "no tie": (otto, ada, kept_apart.id),
            "no right": (an_actor(Role.FRONT_DESK), ada, kept_apart.id),
        }
        costs = {}
        for name, (actor, patient, note) in asked.items():
            before = len(await practice.events())
            with counted(sqlite) as statements, pytest.raises(NotFound) as refused:
                await seen(practice, actor, patient, note)
            (told,) = (await practice.events())[before:]
            assert (told.outcome, told.patient, told.ids) == (Outcome.REFUSED, patient, (note,)), name
            costs[name] = len(statements), str(refused.value)
        assert len(set(costs.values())) == 1, costs


async def test_open_requests_take_as_many_statements_however_many_patients_they_are_of(
    sqlite: Database, keyring: Keyring
) -> None:
    async with sql_practice(sqlite, keyring) as practice:
        notes = NoteService(
            begin=practice.begin,
            reading=practice.reading,
            cursors=Cursors(keyring),
            now=lambda: NOW,
            today=lambda: TODAY,
            new_id=new_id,
        )
        anna = await a_carer(practice)
        taken = []
        for _ in range(3):
            note = await written(practice, anna, await a_chart(practice, anna))
            await notes.request_amendment(anna, note.patient, note.id, what=BODY, why=BODY, version=1)
            with counted(sqlite) as statements:
                page = await notes.open_requests(anna)
            taken.append((len(statements), len(page.items)))
        assert taken == [(3, 1), (3, 2), (3, 3)]
