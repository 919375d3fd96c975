"""Labels on patient records: what each hides, from whom, on every path, on each kind of storage."""

from dataclasses import replace

import pytest

from clarity.application.consents import ConsentService
from clarity.application.pages import Page
from clarity.application.patients import PatientService
from clarity.application.ports import PatientFilter
from clarity.domain.access import Action, Actor, Reason, Role
from clarity.domain.audit import Outcome
from clarity.domain.errors import Conflict, Invalid, NotFound, StaleWrite
from clarity.domain.ids import PatientId, PractitionerId
from clarity.domain.patients import Patient, PatientQuery, PatientSort
from clarity.domain.records import Label
from tests.builders import NOW, a_consent, a_name, a_patient, a_practitioner, an_actor
from tests.lives import a_life_service
from tests.practice import Practice

EVERYBODY = PatientFilter()


@pytest.fixture
def consents(practice: Practice) -> ConsentService:
    return ConsentService(practice.begin, practice.reading, lambda: NOW)


@pytest.fixture
async def freud(practice: Practice) -> Actor:
    """Return a clinician."""
    return an_actor(practitioner=(await practice.employed(a_practitioner())).id)


def team_of(actor: Actor) -> frozenset[PractitionerId]:
    assert actor.practitioner is not None
    return frozenset({actor.practitioner})


async def consented(consents: ConsentService, patient: PatientId) -> None:
    herself = an_actor(Role.PATIENT, patient=patient)
    await consents.record(herself, patient, lambda account: replace(a_consent(), recorded_by=account))


async def stored_many(practice: Practice, consents: ConsentService, actor: Actor) -> list[Patient]:
    """Store thirty patients of `actor`; return those that they may see."""
    visible = []
    for number in range(30):
        label = (Label.PART2, Label.NORMAL, Label.PART2, Label.RESTRICTED, Label.PART2)[number % 5]
        name = a_name(f"Family{29 - number:02}")
        patient = await practice.stored(a_patient(name=name, label=label, care_team=team_of(actor)))
        if number % 5 == 4:
            await consented(consents, patient.id)
        if label is not Label.PART2 or number % 5 == 4:
            visible.append(patient)
    return visible


async def test_pages_are_full_and_totals_true_among_records_that_are_withheld(
    patients: PatientService, practice: Practice, consents: ConsentService, freud: Actor
) -> None:
    visible = await stored_many(practice, consents, freud)
    for at_most in (1, 4, 7, 100):
        pages: list[Page[Patient]] = []
        cursor = ""
        while not pages or cursor:
            pages.append(await patients.list(freud, EVERYBODY, cursor=cursor, at_most=at_most))
            cursor = pages[-1].next_cursor
        assert [one.id for page in pages for one in page.items] == [one.id for one in visible]
        assert {page.count for page in pages} == {len(visible)}
        assert all(len(page.items) == at_most for page in pages[:-1])
        assert pages[-1].items


async def test_a_search_finds_sorts_and_counts_what_may_be_seen(
    patients: PatientService, practice: Practice, consents: ConsentService, freud: Actor
) -> None:
    visible = await stored_many(practice, consents, freud)
    for sort in PatientSort:
        query = PatientQuery(name="family", sort=sort)
        found: list[PatientId] = []
        cursor = ""
        while not found or cursor:
            page = await patients.search(freud, query, cursor=cursor, at_most=5)
            assert (page.count, page.exact) == (len(visible), True)
            assert len(page.items) == 5 or not page.next_cursor
            found += [one.id for one in page.items]
            cursor = page.next_cursor
        if sort is PatientSort.NAME:
            assert found == [one.id for one in reversed(visible)]
        assert sorted(found) == [one.id for one in visible]
    hidden = await patients.search(freud, PatientQuery(name="family29"))
    assert (hidden.items, hidden.count) == ((), 0)


async def test_the_notice_goes_with_a_record_wherever_it_goes(
    patients: PatientService, practice: Practice, consents: ConsentService, freud: Actor
) -> None:
    ada = await practice.stored(a_patient(label=Label.PART2, care_team=team_of(freud)))
    other = await practice.stored(a_patient(care_team=team_of(freud)))
    await consented(consents, ada.id)
    listed = await patients.list(freud, EVERYBODY)
    searched = await patients.search(freud, PatientQuery(name="ada"))
    for page in (listed, searched):
        assert {one.id: one.notice is not None for one in page.items} == {ada.id: True, other.id: False}
    changed = await patients.change(freud, ada.id, lambda seen: replace(seen, notes="Better."), version=1)
    assert changed.notice is not None
    assert changed.notice.scope
    assert all(one.patient.notice for one in await patients.history(freud, ada.id))
    assert (await a_life_service(practice).discharge(freud, ada.id, NOW.date(), version=2)).notice is not None


@pytest.mark.parametrize("label", [Label.RESTRICTED, Label.PART2])
async def test_a_new_label_hides_the_record_at_once(
    patients: PatientService, practice: Practice, consents: ConsentService, freud: Actor, label: Label
) -> None:
    ada = await practice.stored(a_patient(care_team=team_of(freud)))
    await consented(consents, ada.id)
    desk, researcher = an_actor(Role.FRONT_DESK), an_actor(Role.RESEARCHER)
    assert (await patients.view(desk, ada.id)).id == ada.id
    version = await patients.relabel(freud, ada.id, label, version=1)
    assert version == 2
    with pytest.raises(NotFound):
        await patients.view(desk, ada.id)
    assert (await patients.list(desk, EVERYBODY)).count == 0
    assert (await patients.view(freud, ada.id)).label is label
    assert (await patients.list(researcher, EVERYBODY)).count == 0


async def test_nobody_loses_sight_of_a_record_without_meaning_to(
    patients: PatientService, practice: Practice, consents: ConsentService, freud: Actor
) -> None:
    ada = await practice.stored(a_patient(care_team=team_of(freud), notes="Naltrexone."))
    with pytest.raises(Conflict, match="lose sight"):
        await patients.relabel(freud, ada.id, Label.PART2, version=1)
    with pytest.raises(Conflict, match="lose sight"):
        await patients.change(freud, ada.id, lambda seen: replace(seen, label=Label.PART2), version=1)
    assert (await practice.events())[-1].reason is Reason.CONFLICT
    assert (await patients.view(freud, ada.id)).label is Label.NORMAL
    assert await patients.relabel(freud, ada.id, Label.PART2, version=1, lose_sight=True) == 2
    with pytest.raises(NotFound):
        await patients.view(freud, ada.id)
    await consented(consents, ada.id)
    seen = await patients.view(freud, ada.id)
    assert (seen.label, seen.notes, seen.version) == (Label.PART2, "Naltrexone.", 2)
    assert await patients.relabel(freud, ada.id, Label.NORMAL, version=2) == 3
    assert (await patients.view(freud, ada.id)).notice is None


async def test_a_label_is_changed_by_those_who_have_it(
    patients: PatientService, practice: Practice, freud: Actor
) -> None:
    ada = await practice.stored(a_patient(care_team=team_of(freud)))
    nurse = replace(freud, role=Role.NURSE)
    for actor in (nurse, an_actor(Role.FRONT_DESK)):
        with pytest.raises(Invalid, match="label"):
            await patients.relabel(actor, ada.id, Label.RESTRICTED, version=1)
    for actor in (an_actor(), an_actor(Role.ADMINISTRATOR), an_actor(Role.PATIENT, patient=ada.id)):
        with pytest.raises(NotFound):
            await patients.relabel(actor, ada.id, Label.RESTRICTED, version=1)
    with pytest.raises(StaleWrite):
        await patients.relabel(freud, ada.id, Label.RESTRICTED, version=7)
    with pytest.raises(Invalid, match="label"):
        await patients.relabel(freud, ada.id, Label.PSYCHOTHERAPY, version=1)
    assert await patients.relabel(freud, ada.id, Label.NORMAL, version=1) == 1


async def test_a_care_team_of_a_record_under_part_2_changes_under_consent(
    patients: PatientService, practice: Practice, consents: ConsentService, freud: Actor
) -> None:
    ada = await practice.stored(a_patient(label=Label.PART2, care_team=team_of(freud)))
    jung = await practice.employed(a_practitioner())
    larger = team_of(freud) | {jung.id}
    for actor in (freud, an_actor(Role.FRONT_DESK)):
        with pytest.raises(NotFound):
            await patients.change_care_team(actor, ada.id, larger, version=1)
    await consented(consents, ada.id)
    assert (await patients.change_care_team(freud, ada.id, larger, version=1)).care_team == larger


async def test_each_version_is_decided_by_its_own_label(
    patients: PatientService, practice: Practice, consents: ConsentService, freud: Actor
) -> None:
    ada = await practice.stored(a_patient(care_team=team_of(freud), notes="one"))
    for label in (Label.PART2, Label.PART2, Label.NORMAL, Label.PART2, Label.NORMAL):
        current = await patients.view(an_actor(Role.PATIENT, patient=ada.id), ada.id)
        await practice_changed(practice, ada.id, current.version, label)
    versions = await patients.history(freud, ada.id)
    assert [one.version for one in versions] == [6, 4, 1]
    *_, shown, withheld = await practice.events()
    assert (shown.action, shown.outcome) == (Action.VIEW_HISTORY, Outcome.SUCCEEDED)
    assert (withheld.action, withheld.outcome, withheld.reason) == (
        Action.VIEW_HISTORY,
        Outcome.REFUSED,
        Reason.NO_CONSENT,
    )
    assert withheld.patient == ada.id
    # A page is filled up with what lies behind what is left out.
    assert [one.version for one in await patients.history(freud, ada.id, at_most=2)] == [6, 4]
    assert [one.version for one in await patients.history(freud, ada.id, before=4, at_most=2)] == [1]
    await consented(consents, ada.id)
    versions = await patients.history(freud, ada.id)
    assert [(one.version, one.patient.notice is not None) for one in versions] == [
        (6, False),
        (5, True),
        (4, False),
        (3, True),
        (2, True),
        (1, False),
    ]


async def practice_changed(practice: Practice, patient: PatientId, version: int, label: Label) -> None:
    """Write the next version of a patient with a label, as the operator."""
    changed = await practice.changed(patient, label=label, notes=f"after {version}")
    assert changed.version == version + 1


async def test_of_a_record_that_is_hidden_now_no_earlier_version_is_shown(
    patients: PatientService, practice: Practice, freud: Actor
) -> None:
    ada = await practice.stored(a_patient(care_team=team_of(freud)))
    await patients.relabel(freud, ada.id, Label.PART2, version=1, lose_sight=True)
    for before in (None, 2, 1):
        with pytest.raises(NotFound):
            await patients.history(freud, ada.id, before=before)
    assert (await practice.events())[-1].reason is Reason.NO_CONSENT
