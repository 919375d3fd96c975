"""Notes on each kind of storage: what is stored of a signed one stays, and whose amendment is due is found."""

from dataclasses import replace
from datetime import date, timedelta
from functools import partial

import pytest

from clarity.application.charts import Charting
from clarity.application.duplicates import DuplicateService
from clarity.application.notes import NoteService
from clarity.domain.access import Action, Actor, Role
from clarity.domain.audit import Outcome
from clarity.domain.errors import Conflict, Forbidden
from clarity.domain.ids import PatientId
from clarity.domain.notes import Note, NoteContent, NoteKind
from clarity.domain.records import Label, Resource
from clarity.security.cursors import Cursors
from clarity.security.keyring import Keyring
from tests.builders import NOW, TODAY, a_consent, a_patient, a_practitioner, an_actor, new_id
from tests.canaries import plant
from tests.practice import Practice
from tests.ties import consented

BODY = "Dreams of a lighthouse that is never lit."


@pytest.fixture
def notes(practice: Practice, keyring: Keyring) -> NoteService:
    return NoteService(
        begin=practice.begin,
        reading=practice.reading,
        cursors=Cursors(keyring),
        now=lambda: NOW,
        today=lambda: TODAY,
        new_id=new_id,
    )


async def a_clinician(practice: Practice) -> Actor:
    return an_actor(practitioner=(await practice.employed(a_practitioner())).id)


async def treated_by(practice: Practice, *clinicians: Actor, label: Label = Label.NORMAL, ssn: str = "") -> PatientId:
    team = frozenset(one.practitioner for one in clinicians if one.practitioner is not None)
    return (await practice.stored(a_patient(care_team=team, label=label, ssn=ssn))).id


async def signed(notes: NoteService, author: Actor, patient: PatientId) -> Note:
    plant(BODY)
    draft = await notes.draft(author, patient, NoteContent(kind=NoteKind.PROGRESS, body=BODY))
    return await notes.sign(author, patient, draft.id, version=1)


async def requested(notes: NoteService, author: Actor, patient: PatientId, received_on: date = TODAY) -> Note:
    note = await signed(notes, author, patient)
    ask = partial(notes.request_amendment, author, patient, note.id, what=BODY, why=BODY)
    return await ask(received_on=received_on, version=note.version)


async def test_no_unit_of_work_changes_what_is_signed(practice: Practice, notes: NoteService) -> None:
    """Whatever a use-case would do with a note that it opened, the repository holds it against what is stored."""
    anna = await a_clinician(practice)
    note = await signed(notes, anna, await treated_by(practice, anna))
    for change in ({"body": "Another."}, {"label": Label.RESTRICTED}, {"signed_at": NOW - timedelta(days=1)}):
        with pytest.raises(Conflict):
            async with practice.begin() as work:
                opened = await Charting(work, work.notes, anna, NOW).open(Action.CHANGE, note.patient, note.id)
                await work.notes.save(replace(opened, **change))
        event = (await practice.events())[-1]
        assert (event.action, event.outcome) == (Action.CHANGE, Outcome.FAILED)
    assert (await notes.view(anna, note.patient, note.id)).body == BODY
    assert (await notes.history(anna, note.patient, note.id))[0].version == note.version


async def test_each_step_of_a_note_is_an_event_of_its_own(practice: Practice, notes: NoteService) -> None:
    anna, carl = await a_clinician(practice), await a_clinician(practice)
    note = await signed(notes, anna, await treated_by(practice, anna, carl))
    cosigned = await notes.cosign(carl, note.patient, note.id, version=2)
    assert cosigned.cosignatures[0].by == carl.id
    told = [one for one in await practice.events() if one.resource is Resource.NOTE]
    assert [(one.action, one.actor, one.version, one.outcome) for one in told] == [
        (Action.REGISTER, anna.id, 1, Outcome.SUCCEEDED),
        (Action.SIGN, anna.id, 2, Outcome.SUCCEEDED),
        (Action.COSIGN, carl.id, 3, Outcome.SUCCEEDED),
    ]


async def test_open_requests_are_listed_by_when_they_are_due_for_those_who_decide(
    practice: Practice, notes: NoteService
) -> None:
    anna, carl = await a_clinician(practice), await a_clinician(practice)
    shared, annas = await treated_by(practice, anna, carl), await treated_by(practice, anna)
    under_part2 = await treated_by(practice, anna, carl, label=Label.PART2)
    assert anna.practitioner is not None
    await consented(practice, under_part2, a_consent(recipients=(anna.practitioner,)))
    late = await requested(notes, anna, shared)
    first = await requested(notes, anna, annas, TODAY - timedelta(days=9))
    kept_back = await requested(notes, anna, under_part2, TODAY - timedelta(days=5))
    soon = await requested(notes, anna, shared, TODAY - timedelta(days=2))

    found, cursor = [], ""
    while True:
        page = await notes.open_requests(anna, cursor=cursor, at_most=3)
        found += [one.note.id for one in page.items]
        cursor = page.next_cursor
        if not cursor:
            break
    assert found == [first.id, kept_back.id, soon.id, late.id]
    page = await notes.open_requests(carl, at_most=1)
    assert ([one.note.id for one in page.items], bool(page.next_cursor)) == ([soon.id], True)
    before = len(await practice.events())
    assert [one.note.id for one in (await notes.open_requests(carl, at_most=2)).items] == [soon.id, late.id]
    told = (await practice.events())[before:]
    assert [(one.patient, set(one.ids), one.outcome) for one in told if one.patient] == [
        (shared, {soon.id, late.id}, Outcome.SUCCEEDED)
    ]
    otto = await a_clinician(practice)
    assert (await notes.open_requests(otto)).items == ()
    for role in (Role.NURSE, Role.FRONT_DESK, Role.PATIENT):
        with pytest.raises(Forbidden):
            await notes.open_requests(an_actor(role, practitioner=anna.practitioner))


async def test_a_request_is_listed_with_whom_the_record_went_to(
    practice: Practice, notes: NoteService, keyring: Keyring
) -> None:
    duplicates = DuplicateService(practice.begin, practice.reading, Cursors(keyring), lambda: NOW)
    anna, carl, desk = await a_clinician(practice), await a_clinician(practice), an_actor(Role.FRONT_DESK)
    gone = await treated_by(practice, anna, ssn="123-45-6789")
    kept = await treated_by(practice, carl, ssn="123-45-6789")
    note = await requested(notes, anna, gone)
    assert (await notes.open_requests(carl)).items == ()
    (review,) = (await duplicates.list(desk)).items
    await duplicates.merge(desk, review.id, kept, "")
    ((found,),) = [(await notes.open_requests(carl)).items]
    assert (found.patient, found.note.id) == (kept, note.id)
    otto = await a_clinician(practice)
    assert (await notes.open_requests(otto)).items == ()
