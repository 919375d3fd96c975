"""Records in charts: each stands as its patient's does, and as its own row says; notes stand for all kinds here."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import product
from uuid import UUID

import pytest

from clarity.application.break_glass import BreakGlassService
from clarity.application.charts import Charting, PageAsked
from clarity.application.duplicates import DuplicateService
from clarity.application.pages import Page
from clarity.domain.access import Action, Actor, Purpose, Role
from clarity.domain.audit import Outcome
from clarity.domain.errors import NotFound, StaleWrite
from clarity.domain.ids import NoteId, PatientId
from clarity.domain.notes import Note, NoteFilter, NoteKind
from clarity.domain.records import Label, Resource
from clarity.security.cursors import Cursors
from clarity.security.keyring import Keyring
from tests.builders import NOW, a_consent, a_patient, a_practitioner, an_actor, new_id, the_operator
from tests.fakes.accounts import CountedLimits, FrontDoor
from tests.lives import removed
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


async def opens(practice: Practice, actor: Actor, note: Note) -> bool:
    try:
        await seen(practice, actor, note)
    except NotFound:
        return False
    return True


@pytest.mark.parametrize("of_patient", [Label.NORMAL, Label.RESTRICTED])
async def test_what_is_listed_is_what_opens_and_all_of_it_is_counted(
    practice: Practice, keyring: Keyring, of_patient: Label
) -> None:
    ward = await a_ward(practice, label=of_patient)
    await consented(practice, ward.patient, a_consent(recipients=(ward.anna.practitioner,)))  # type: ignore[arg-type]
    notes = [
        await written(practice, author, a_note(ward.patient, label=label, draft=draft))
        for author, label, draft in product((ward.anna, ward.carl), Label, (False, True))
        if (author, label) != (ward.carl, Label.PART2)  # whom no consent covers
    ]
    nurse = an_actor(Role.NURSE, practitioner=ward.carl.practitioner)
    patient = an_actor(Role.PATIENT, patient=ward.patient)
    found = {}
    for name, actor in (("anna", ward.anna), ("carl", ward.carl), ("nurse", nurse), ("patient", patient)):
        page = await listed(practice, keyring, actor, ward.patient)
        opened = [note.id for note in reversed(notes) if await opens(practice, actor, note)]
        assert ([one.id for one in page.items], page.count, page.exact) == (opened, len(opened), True), name
        found[name] = len(opened)
    operators = await listed(practice, keyring, the_operator(), ward.patient)
    assert operators.count == len(operators.items)
    # Of seven that are signed: all but Carl's psychotherapy note, all but Anna's and what is under Part 2, and so on.
    assert found == {"anna": 6 + 4, "carl": 5 + 3, "nurse": 4, "patient": 5}


async def test_what_was_written_of_a_merged_record_is_found_with_whom_it_went_to_and_comes_back(
    practice: Practice, keyring: Keyring
) -> None:
    duplicates = DuplicateService(practice.begin, practice.reading, Cursors(keyring), lambda: NOW)
    door, desk = FrontDoor(practice.begin, practice.reading), an_actor(Role.FRONT_DESK)
    staff = await practice.employed(a_practitioner())
    anna = an_actor(practitioner=staff.id)
    kept, gone = [
        await practice.stored(a_patient(ssn="123-45-6789", care_team=frozenset({staff.id}))) for _ in range(2)
    ]
    account = await door.employed(Role.PATIENT, patient=gone.id)
    before, draft = [await written(practice, anna, a_note(gone.id, draft=draft)) for draft in (False, True)]
    own = await written(practice, anna, a_note(kept.id))
    (review,) = (await duplicates.list(desk)).items
    await duplicates.merge(desk, review.id, kept.id, "")

    with pytest.raises(NotFound):
        await seen(practice, anna, before)
    async with practice.reading() as work:
        linked = (await work.accounts.get(account.id)).patient
    assert linked == kept.id
    themselves = an_actor(Role.PATIENT, patient=linked)
    assert (await seen(practice, themselves, before, kept.id)).patient == gone.id
    page = await listed(practice, keyring, anna, kept.id)
    assert [one.id for one in page.items] == [own.id, draft.id, before.id]
    with pytest.raises(NotFound):
        await listed(practice, keyring, anna, gone.id)
    # The row stays whose it was, and so does the event of a change: the database asks for one of that patient.
    async with practice.begin() as work:
        charting = Charting(work, work.notes, anna, NOW)
        opened = await charting.open(Action.SIGN, kept.id, draft.id, version=1)
        await work.notes.save(replace(opened, signed_at=SIGNED))
    event = (await practice.events())[-1]
    assert (event.action, event.resource, event.patient, event.ids) == (
        Action.SIGN,
        Resource.NOTE,
        gone.id,
        (draft.id,),
    )

    await duplicates.unmerge(desk, review.id, "")
    assert (await seen(practice, anna, before)).id == before.id
    assert (await listed(practice, keyring, anna, gone.id)).count == 2
    with pytest.raises(NotFound):
        await seen(practice, anna, before, kept.id)
    assert [one.id for one in (await listed(practice, keyring, anna, kept.id)).items] == [own.id]


async def test_whoever_breaks_the_glass_reads_and_changes_nothing_and_the_trail_says_that_it_was_an_emergency(
    practice: Practice, keyring: Keyring
) -> None:
    ward = await a_ward(practice)
    notes = {
        label: await written(practice, ward.anna, a_note(ward.patient, label=label))
        for label in Label
        if label is not Label.PART2
    }
    draft = await written(practice, ward.anna, a_note(ward.patient, draft=True))
    account = await FrontDoor(practice.begin, practice.reading).employed(
        Role.CLINICIAN, practitioner=ward.otto.practitioner
    )
    otto = replace(ward.otto, id=account.id)
    glass = BreakGlassService(
        begin=practice.begin,
        reading=practice.reading,
        cursors=Cursors(keyring),
        limits=CountedLimits(),
        now=practice.clock,
        new_id=new_id,
        at_most=timedelta(hours=1),
        practice="Harbor Psychiatry",
    )
    await glass.open(otto, ward.patient, "Unconscious, no relative to ask")
    before = len(await practice.events())
    page = await listed(practice, keyring, otto, ward.patient)
    assert [one.id for one in page.items] == [notes[Label.RESTRICTED].id, notes[Label.NORMAL].id]
    assert (await seen(practice, otto, notes[Label.NORMAL])).id == notes[Label.NORMAL].id
    for note in (notes[Label.PSYCHOTHERAPY], draft):
        with pytest.raises(NotFound):
            await seen(practice, otto, note)
    with pytest.raises(NotFound):
        await written(practice, otto, a_note(ward.patient))
    told = [(one.action, one.outcome, one.purpose) for one in (await practice.events())[before:]]
    assert told[:2] == [
        (Action.LIST, Outcome.SUCCEEDED, Purpose.EMERGENCY),
        (Action.VIEW, Outcome.SUCCEEDED, Purpose.EMERGENCY),
    ]
    assert [one[:2] for one in told[2:]] == [
        (Action.VIEW, Outcome.REFUSED),
        (Action.VIEW, Outcome.REFUSED),
        (Action.REGISTER, Outcome.REFUSED),
    ]


async def test_of_a_deleted_patient_nothing_is_found(practice: Practice, keyring: Keyring) -> None:
    ward = await a_ward(practice)
    note = await written(practice, ward.anna, a_note(ward.patient))
    await removed(practice.begin, ward.patient)
    for actor in (ward.anna, the_operator(), an_actor(Role.PATIENT, patient=ward.patient)):
        with pytest.raises(NotFound):
            await seen(practice, actor, note)
        with pytest.raises(NotFound):
            await listed(practice, keyring, actor, ward.patient)
        with pytest.raises(NotFound):
            await written(practice, actor, a_note(ward.patient))
