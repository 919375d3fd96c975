"""Records in charts: each stands as its patient's does, and as its own row says; notes stand for all kinds here."""

from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID

import pytest

from clarity.application.charts import Charting, PageAsked
from clarity.application.pages import Page
from clarity.domain.access import Action, Actor, Role
from clarity.domain.audit import Outcome
from clarity.domain.errors import NotFound, StaleWrite
from clarity.domain.ids import NoteId, PatientId
from clarity.domain.notes import Note, NoteFilter, NoteKind
from clarity.domain.records import Label
from clarity.security.cursors import Cursors
from clarity.security.keyring import Keyring
from tests.builders import NOW, a_consent, a_patient, a_practitioner, an_actor, new_id
from tests.practice import Practice
from tests.ties import consented

SIGNED = datetime(2026, 3, 1, 10, tzinfo=UTC)


def a_note(patient: PatientId, *, label: Label = Label.NORMAL, draft: bool = False, body: str = "Slept well.") -> Note:
    kind = NoteKind.PSYCHOTHERAPY if label is Label.PSYCHOTHERAPY else NoteKind.PROGRESS
    signed_at = None if draft else SIGNED
    return Note(id=NoteId(new_id()), patient=patient, kind=kind, body=body, label=label, signed_at=signed_at)


async def written(practice: Practice, author: Actor, note: Note) -> Note:
    async with practice.begin() as work:
        charting = Charting(work, work.notes, author, NOW)
        return await work.notes.add(await charting.admit_new(note), note)


async def seen(practice: Practice, actor: Actor, note: Note, patient: PatientId | None = None) -> Note:
    async with practice.reading() as work:
        return await Charting(work, work.notes, actor, NOW).open(Action.VIEW, patient or note.patient, note.id)


async def listed(practice: Practice, keyring: Keyring, actor: Actor, patient: PatientId, **asked: object) -> Page[Note]:
    page: PageAsked[Note, NoteFilter] = PageAsked(conditions=NoteFilter(), **asked)  # type: ignore[arg-type]
    async with practice.reading(snapshot=True) as work:
        return await Charting(work, work.notes, actor, NOW).page(patient, page, Cursors(keyring))


class Ward:
    """Anna and Carl, who care for one patient, and Otto, who does not."""

    def __init__(self, patient: PatientId, anna: Actor, carl: Actor, otto: Actor) -> None:
        self.patient, self.anna, self.carl, self.otto = patient, anna, carl, otto


async def a_ward(practice: Practice, *, label: Label = Label.NORMAL) -> Ward:
    staff = [await practice.employed(a_practitioner()) for _ in range(3)]
    team = frozenset({staff[0].id, staff[1].id})
    patient = await practice.stored(a_patient(care_team=team, label=label))
    anna, carl, otto = (an_actor(practitioner=one.id) for one in staff)
    return Ward(patient.id, anna, carl, otto)


async def test_a_note_is_for_the_care_team_and_for_nobody_else(practice: Practice) -> None:
    ward = await a_ward(practice)
    note = await written(practice, ward.anna, a_note(ward.patient))
    assert note.version == 1
    opened = await seen(practice, ward.carl, note)
    assert (opened.body, opened.author) == (note.body, ward.anna.id)
    for actor in (ward.otto, an_actor(Role.FRONT_DESK), an_actor(Role.COMPLIANCE_OFFICER)):
        with pytest.raises(NotFound):
            await seen(practice, actor, note)


async def test_a_record_is_found_by_way_of_its_own_patient_alone(practice: Practice) -> None:
    ward = await a_ward(practice)
    other = await a_ward(practice)
    note = await written(practice, ward.anna, a_note(ward.patient))
    with pytest.raises(NotFound):
        await seen(practice, other.anna, note, other.patient)
    with pytest.raises(NotFound):
        await seen(practice, ward.anna, replace(note, id=NoteId(new_id())))
    with pytest.raises(NotFound):
        await seen(practice, ward.anna, note, PatientId(new_id()))
    refused = [event.outcome for event in (await practice.events())[-3:]]
    assert refused == [Outcome.REFUSED] * 3


async def test_a_psychotherapy_note_is_for_its_author_until_the_patient_authorises_more(
    practice: Practice, keyring: Keyring
) -> None:
    ward = await a_ward(practice)
    kept_apart = await written(practice, ward.anna, a_note(ward.patient, label=Label.PSYCHOTHERAPY))
    plain = await written(practice, ward.anna, a_note(ward.patient))
    with pytest.raises(NotFound):
        await seen(practice, ward.carl, kept_apart)
    mine = await listed(practice, keyring, ward.anna, ward.patient)
    theirs = await listed(practice, keyring, ward.carl, ward.patient)
    assert [one.id for one in mine.items] == [plain.id, kept_apart.id]
    assert ([one.id for one in theirs.items], theirs.count) == ([plain.id], 1)
    await consented(practice, ward.patient, a_consent(labels=(Label.PSYCHOTHERAPY,)))
    assert (await seen(practice, ward.carl, kept_apart)).id == kept_apart.id
    assert (await listed(practice, keyring, ward.carl, ward.patient)).count == 2


async def test_a_draft_exists_for_its_author_alone(practice: Practice, keyring: Keyring) -> None:
    ward = await a_ward(practice)
    draft = await written(practice, ward.anna, a_note(ward.patient, draft=True))
    assert (await seen(practice, ward.anna, draft)).id == draft.id
    for actor in (ward.carl, an_actor(Role.PATIENT, patient=ward.patient)):
        with pytest.raises(NotFound):
            await seen(practice, actor, draft)
        assert (await listed(practice, keyring, actor, ward.patient)).count == 0
    assert (await listed(practice, keyring, ward.anna, ward.patient)).count == 1


async def test_a_record_is_as_confidential_as_its_patient(practice: Practice, keyring: Keyring) -> None:
    ward = await a_ward(practice, label=Label.PART2)
    with pytest.raises(NotFound):
        await written(practice, ward.anna, a_note(ward.patient))
    await consented(practice, ward.patient, a_consent(recipients=(ward.anna.practitioner,)))  # type: ignore[arg-type]
    note = await written(practice, ward.anna, a_note(ward.patient))
    assert note.notice is not None
    with pytest.raises(NotFound):
        await seen(practice, ward.carl, note)
    with pytest.raises(NotFound):
        await listed(practice, keyring, ward.carl, ward.patient)
    page = await listed(practice, keyring, ward.anna, ward.patient)
    assert ([one.id for one in page.items], page.count) == ([note.id], 1)
    own = await seen(practice, an_actor(Role.PATIENT, patient=ward.patient), note)
    assert own.notice is None


async def test_pages_of_a_chart_go_back_in_time_and_count_all(practice: Practice, keyring: Keyring) -> None:
    ward = await a_ward(practice)
    labels = (Label.NORMAL, Label.RESTRICTED, Label.PSYCHOTHERAPY, Label.NORMAL, Label.NORMAL)
    notes = [await written(practice, ward.anna, a_note(ward.patient, label=label)) for label in labels]
    expected = [note.id for note in reversed(notes) if note.label is not Label.PSYCHOTHERAPY]
    cursor, found = "", list[UUID]()
    while True:
        page = await listed(practice, keyring, ward.carl, ward.patient, cursor=cursor, at_most=2)
        assert (page.count, page.exact) == (4, True)
        found += [one.id for one in page.items]
        cursor = page.next_cursor
        if not cursor:
            break
    assert found == expected
    some = await listed(
        practice, keyring, ward.carl, ward.patient, at_most=1, provided=lambda one: one.id in expected[2:]
    )
    assert ([one.id for one in some.items], some.count) == (expected[2:3], 2)


async def test_a_change_keeps_the_version_before_and_needs_the_present_one(practice: Practice) -> None:
    ward = await a_ward(practice)
    draft = await written(practice, ward.anna, a_note(ward.patient, draft=True))
    async with practice.begin() as work:
        opened = await Charting(work, work.notes, ward.anna, NOW).open(Action.CHANGE, ward.patient, draft.id, version=1)
        saved = await work.notes.save(replace(opened, body="Slept badly.", signed_at=SIGNED))
    assert saved.version == 2
    with pytest.raises(StaleWrite):
        async with practice.begin() as work:
            await Charting(work, work.notes, ward.anna, NOW).open(Action.CHANGE, ward.patient, draft.id, version=1)
    async with practice.reading(snapshot=True) as work:
        history = await Charting(work, work.notes, ward.carl, NOW).history(ward.patient, draft.id)
    assert [(one.version, one.record.body) for one in history][:1] == [(2, "Slept badly.")]
