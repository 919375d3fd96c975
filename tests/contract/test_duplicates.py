"""Duplicates on each kind of storage: when reviews open, who sees them, and what a merge moves and gives back."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from clarity.application.consents import ConsentService
from clarity.application.duplicates import DuplicateService
from clarity.application.imports import BadInput, ImportService, Tally
from clarity.application.patients import PatientService
from clarity.domain.access import Action, Actor, Reason, Role
from clarity.domain.audit import Outcome
from clarity.domain.duplicates import Duplicate, DuplicateStatus, Likeness, Moved, moving
from clarity.domain.errors import Conflict, Invalid, NotFound, StaleWrite, Transient
from clarity.domain.identifiers import SSN_SYSTEM, Identifier, IdentifierUse, IndexKind
from clarity.domain.ids import DuplicateId, PatientId
from clarity.domain.names import NameUse
from clarity.domain.patients import LegalHold, Patient, PatientField, PatientQuery
from clarity.domain.people import Telecom, TelecomSystem
from clarity.domain.records import Label, Resource
from clarity.security.cursors import Cursors
from clarity.security.keyring import Keyring
from tests.builders import NOW, a_consent, a_name, a_patient, a_practitioner, an_actor, new_id, the_operator
from tests.bundles import Json, a_fhir_patient, an_identifier, incoming
from tests.fakes.accounts import FrontDoor
from tests.lives import removed
from tests.practice import Practice
from tests.strategies import patients as any_patients

PHONE = "+1 555 010 9999"
SSN = "123-45-6789"


@pytest.fixture
def duplicates(practice: Practice, keyring: Keyring) -> DuplicateService:
    return DuplicateService(practice.begin, practice.reading, Cursors(keyring), lambda: NOW)


@pytest.fixture
def desk() -> Actor:
    """Return somebody at the front desk."""
    return an_actor(Role.FRONT_DESK)


async def the_review(duplicates: DuplicateService, actor: Actor) -> Duplicate:
    (review,) = (await duplicates.list(actor)).items
    return review


async def test_registering_somebody_with_the_number_of_another_opens_one_review(
    duplicates: DuplicateService, practice: Practice, patients: PatientService, desk: Actor
) -> None:
    ada = await practice.stored(a_patient(ssn=SSN, phone=PHONE, email="ada@example.org"))
    await practice.stored(a_patient(ssn="987-65-4321", phone="+1 555 010 1111"))
    again = await patients.register(desk, a_patient(ssn="123456789", phone="555 010 9999", email="Ada@Example.org"))
    page = await duplicates.list(desk)
    (review,) = page.items
    assert (page.count, page.exact, page.next_cursor) == (1, True, "")
    assert (review.patient, review.other) == tuple(sorted((ada.id, again.id)))
    assert review.kinds == (IndexKind.SSN, IndexKind.EMAIL, IndexKind.PHONE)
    assert (review.status, review.opened_at, review.version) == (DuplicateStatus.OPEN, NOW, 1)
    reviewed = await duplicates.view(desk, review.id)
    assert {one.id for one in reviewed.records} == {ada.id, again.id}
    likeness = {one.field: one.likeness for one in reviewed.compared}
    assert likeness[PatientField.NAMES] is Likeness.EQUAL
    assert likeness[PatientField.IDENTIFIERS] is Likeness.SIMILAR
    assert PatientField.MARITAL_STATUS not in likeness


async def test_a_change_opens_a_review_and_another_kind_joins_it(
    duplicates: DuplicateService, practice: Practice, patients: PatientService, desk: Actor
) -> None:
    await practice.stored(a_patient(phone=PHONE, email="ada@example.org"))
    bert = await practice.stored(a_patient())
    assert not (await duplicates.list(desk)).items
    phone = Telecom(system=TelecomSystem.PHONE, value=PHONE)
    bert = await patients.change(desk, bert.id, lambda one: replace(one, telecoms=(phone,)), version=1)
    first = await the_review(duplicates, desk)
    assert first.kinds == (IndexKind.PHONE,)
    email = Telecom(system=TelecomSystem.EMAIL, value="ada@example.org")
    await patients.change(desk, bert.id, lambda one: replace(one, telecoms=(phone, email)), version=2)
    second = await the_review(duplicates, desk)
    assert (second.id, second.version, second.kinds) == (first.id, 2, (IndexKind.EMAIL, IndexKind.PHONE))
    # What was shared before is not found out again with each change.
    await patients.change(desk, bert.id, lambda one: replace(one, telecoms=(email, phone)), version=3)
    assert (await the_review(duplicates, desk)).version == 2


async def test_a_distinct_pair_opens_again_only_in_another_kind(
    duplicates: DuplicateService, practice: Practice, patients: PatientService, desk: Actor
) -> None:
    await practice.stored(a_patient(phone=PHONE, ssn=SSN))
    son = await practice.stored(a_patient(phone=PHONE))
    review = await the_review(duplicates, desk)
    decided = await duplicates.distinguish(desk, review.id, "Mother and son.")
    assert (decided.status, decided.note, decided.decided_by) == (DuplicateStatus.DISTINCT, "Mother and son.", desk.id)
    assert not (await duplicates.list(desk)).items
    for answer in (duplicates.distinguish(desk, review.id, ""), duplicates.merge(desk, review.id, son.id, "")):
        with pytest.raises(Conflict, match="distinct already"):
            await answer
    await patients.change(desk, son.id, lambda one: replace(one, telecoms=()), version=1)
    phone = Telecom(system=TelecomSystem.PHONE, value=PHONE)
    await patients.change(desk, son.id, lambda one: replace(one, telecoms=(phone,)), version=2)
    assert not (await duplicates.list(desk)).items
    ssn = Identifier.ssn(SSN)
    await patients.change(desk, son.id, lambda one: replace(one, identifiers=(*one.identifiers, ssn)), version=3)
    assert (await the_review(duplicates, desk)).id == review.id


async def test_a_number_that_many_have_says_nothing_of_anybody(
    duplicates: DuplicateService, practice: Practice, desk: Actor
) -> None:
    for _ in range(12):
        await practice.stored(a_patient(phone=PHONE))
    # Of eleven each has at most ten others; the twelfth finds a switchboard.
    assert (await duplicates.list(desk, at_most=100)).count == 11 * 10 // 2


async def test_reviews_are_listed_in_pages(duplicates: DuplicateService, practice: Practice, desk: Actor) -> None:
    for number in range(5):
        for _ in range(2):
            await practice.stored(a_patient(ssn=f"12345678{number}"))
    seen: list[DuplicateId] = []
    cursor = ""
    while not seen or cursor:
        page = await duplicates.list(desk, cursor=cursor, at_most=2)
        assert page.count == 5
        seen += [one.id for one in page.items]
        cursor = page.next_cursor
    assert seen == sorted(seen)
    assert len(set(seen)) == 5


@pytest.mark.parametrize("label", [Label.RESTRICTED, Label.PART2])
async def test_a_collision_with_a_guarded_record_is_not_there_for_those_who_may_not_see_it(
    duplicates: DuplicateService, practice: Practice, patients: PatientService, desk: Actor, label: Label
) -> None:
    hidden = await practice.stored(a_patient(ssn=SSN, label=label))
    await patients.register(desk, a_patient(ssn=SSN))
    page = await duplicates.list(desk)
    assert (page.items, page.count, page.next_cursor) == ((), 0, "")
    operators = await duplicates.list(the_operator())
    # The operator sees what is restricted, and what is under Part 2 with consent alone.
    assert operators.count == len(operators.items) == (label is Label.RESTRICTED)
    opened = [one for one in await practice.events() if one.resource is Resource.DUPLICATE and one.ids]
    review = DuplicateId(opened[0].ids[0])
    survivor = hidden.id
    for answer in (
        duplicates.view(desk, review),
        duplicates.distinguish(desk, review, ""),
        duplicates.merge(desk, review, survivor, ""),
        duplicates.unmerge(desk, review, ""),
        duplicates.view(desk, DuplicateId(new_id())),
    ):
        with pytest.raises(NotFound):
            await answer


@pytest.mark.parametrize("status", DuplicateStatus)
async def test_what_was_decided_is_told_to_nobody_who_may_not_see_both_any_more(
    duplicates: DuplicateService, practice: Practice, desk: Actor, status: DuplicateStatus
) -> None:
    one, other = [await practice.stored(a_patient(ssn=SSN)) for _ in range(2)]
    review = (await the_review(duplicates, desk)).id
    if status is DuplicateStatus.DISTINCT:
        await duplicates.distinguish(desk, review, "")
    if status is DuplicateStatus.MERGED:
        await duplicates.merge(desk, review, one.id, "")
    await practice.changed(one.id, label=Label.RESTRICTED)
    for answer in (
        duplicates.view(desk, review),
        duplicates.distinguish(desk, review, ""),
        duplicates.merge(desk, review, other.id, ""),
        duplicates.merge(desk, review, PatientId(new_id()), ""),
        duplicates.unmerge(desk, review, ""),
    ):
        with pytest.raises(NotFound):
            await answer


async def test_a_survivor_who_was_deleted_since_is_not_there(
    duplicates: DuplicateService, practice: Practice, desk: Actor
) -> None:
    one, _ = [await practice.stored(a_patient(ssn=SSN)) for _ in range(2)]
    review = (await the_review(duplicates, desk)).id
    await duplicates.merge(desk, review, one.id, "")
    await removed(practice.begin, one.id)
    with pytest.raises(NotFound):
        await duplicates.unmerge(desk, review, "")
    refused = (await practice.events())[-1]
    assert (refused.outcome, refused.reason, refused.patient) == (Outcome.REFUSED, Reason.DELETED, one.id)


async def test_nobody_else_reviews(duplicates: DuplicateService, practice: Practice, desk: Actor) -> None:
    practitioner = await practice.employed(a_practitioner())
    team = frozenset({practitioner.id})
    one = await practice.stored(a_patient(ssn=SSN, care_team=team))
    await practice.stored(a_patient(ssn=SSN, care_team=team))
    review = await the_review(duplicates, desk)
    for role in Role:
        if role in {Role.SYSTEM, Role.FRONT_DESK}:
            continue
        actor = an_actor(role, practitioner=practitioner.id, patient=one.id if role is Role.PATIENT else None)
        assert (await duplicates.list(actor)).count == 0
        assert (await practice.events())[-1].reason is Reason.NO_SUCH_RIGHT
        for answer in (duplicates.view(actor, review.id), duplicates.merge(actor, review.id, one.id, "")):
            with pytest.raises(NotFound):
                await answer
            assert (await practice.events())[-1].reason is Reason.NO_SUCH_RIGHT


async def a_pair(practice: Practice) -> tuple[Patient, Patient]:
    """Store two records of one person, of whom the second has what the first lacks."""
    nurse, doctor = [(await practice.employed(a_practitioner())).id for _ in range(2)]
    kept = await practice.stored(
        a_patient(ssn=SSN, mrn="M-1", phone=PHONE, notes="First seen in March.", care_team=frozenset({nurse}))
    )
    gone = await practice.stored(
        a_patient(
            name=a_name("Byron"),
            ssn=SSN,
            mrn="M-2",
            email="ada@example.org",
            phone="(555) 010-9999",
            notes="Allergic to penicillin.",
            care_team=frozenset({doctor}),
            sources=("http://example.org/fhir|Patient/1",),
        )
    )
    return kept, gone


async def test_a_merge_moves_what_the_survivor_lacks(
    duplicates: DuplicateService, practice: Practice, patients: PatientService, desk: Actor
) -> None:
    kept, gone = await a_pair(practice)
    review = await the_review(duplicates, desk)
    merged = await duplicates.merge(desk, review.id, kept.id, "Registered twice.")
    assert merged.merge is not None
    assert (merged.status, merged.merge.survivor, merged.note) == (
        DuplicateStatus.MERGED,
        kept.id,
        "Registered twice.",
    )
    now = await practice.opened(kept.id)
    assert now.version == 2
    assert now.names == (*kept.names, replace(gone.names[0], use=NameUse.OLD))
    assert now.name == kept.name
    assert now.identifiers == (*kept.identifiers, replace(gone.mrns[0], use=IdentifierUse.OLD))
    assert [one.value for one in now.telecoms] == [PHONE, "ada@example.org", "(555) 010-9999"]
    assert now.care_team == kept.care_team | gone.care_team
    assert now.notes.startswith("First seen in March.")
    assert f"[From the merged record {gone.id}, 2026-03-14]\nAllergic to penicillin." in now.notes
    assert now.sources == ()
    with pytest.raises(NotFound):
        await patients.view(desk, gone.id)
    assert (await practice.events())[-1].reason is Reason.DELETED
    found = await patients.search(desk, PatientQuery(mrn="M-2"))
    assert [one.id for one in found.items] == [kept.id]
    assert (await duplicates.list(desk)).count == 0
    listed = await duplicates.list(desk, DuplicateStatus.MERGED)
    assert ([one.id for one in listed.items], listed.count) == ([review.id], 1)
    shown = await duplicates.view(desk, review.id)
    assert [one.id for one in shown.records] == [kept.id]


async def test_the_trail_names_both_patients_of_a_merge(
    duplicates: DuplicateService, practice: Practice, desk: Actor
) -> None:
    kept, gone = await a_pair(practice)
    review = await the_review(duplicates, desk)
    before = len(await practice.events())
    await duplicates.merge(desk, review.id, kept.id, "")
    await duplicates.unmerge(desk, review.id, "")
    events = (await practice.events())[before:]
    assert all(one.outcome is Outcome.SUCCEEDED for one in events)
    by_action = {(one.action, one.patient): one.version for one in events if one.resource is Resource.PATIENT}
    for action, version in ((Action.MERGE, 2), (Action.UNMERGE, 3)):
        assert by_action[action, kept.id] == version
        assert by_action[action, gone.id] == version
    reviews = [one for one in events if one.resource is Resource.DUPLICATE]
    assert [(one.action, one.ids, one.version) for one in reviews] == [
        (Action.REVIEW, (review.id,), 2),
        (Action.REVIEW, (review.id,), 3),
    ]


async def test_unmerging_takes_back_what_was_moved_and_leaves_what_was_changed_since(
    duplicates: DuplicateService, practice: Practice, patients: PatientService, desk: Actor
) -> None:
    kept, gone = await a_pair(practice)
    review = await the_review(duplicates, desk)
    with pytest.raises(Conflict, match="not merged"):
        await duplicates.unmerge(desk, review.id, "")
    await duplicates.merge(desk, review.id, kept.id, "")
    moved = Telecom(system=TelecomSystem.PHONE, value="+1 555 010 7777")
    await patients.change(desk, kept.id, lambda one: replace(one, telecoms=(*one.telecoms, moved)), version=2)
    opened = await duplicates.unmerge(desk, review.id, "Two people after all.")
    assert (opened.status, opened.merge, opened.note) == (DuplicateStatus.OPEN, None, "Two people after all.")
    now, restored = await practice.opened(kept.id), await practice.opened(gone.id)
    assert replace(now, version=1) == replace(kept, telecoms=(*kept.telecoms, moved))
    assert replace(restored, version=1) == gone
    found = await patients.search(desk, PatientQuery(mrn="M-2"))
    assert [one.id for one in found.items] == [gone.id]
    assert (await the_review(duplicates, desk)).id == review.id
    again = await duplicates.merge(desk, review.id, gone.id, "The other way round.")
    assert again.merge is not None
    assert again.merge.survivor == gone.id


async def test_what_a_merge_moved_of_fields_one_does_not_see_is_not_told(
    duplicates: DuplicateService, practice: Practice, desk: Actor
) -> None:
    hold = LegalHold(basis="Docket 26-118", since=NOW, by=new_id())
    kept = await practice.stored(a_patient(ssn=SSN))
    gone = await practice.stored(a_patient(ssn=SSN, email="ada@example.org", notes="Sleeps badly."))
    await practice.changed(gone.id, legal_hold=hold)
    merged = await duplicates.merge(desk, (await the_review(duplicates, desk)).id, kept.id, "")
    (listed,) = (await duplicates.list(desk, DuplicateStatus.MERGED)).items
    for review in (merged, listed, (await duplicates.view(desk, merged.id)).review):
        assert review.merge is not None
        assert review.merge.moved.filled == PatientField.IDENTIFIERS | PatientField.TELECOMS
        assert (review.merge.moved.notes, review.merge.moved.legal_hold) == ("", None)
    # It was moved all the same, and is taken back.
    survivor = await practice.opened(kept.id)
    assert survivor.legal_hold == hold
    assert "Sleeps badly." in survivor.notes
    await duplicates.unmerge(desk, merged.id, "")
    survivor = await practice.opened(kept.id)
    assert (survivor.legal_hold, survivor.notes) == (None, kept.notes)


async def test_no_legal_hold_ends_by_a_merge(duplicates: DuplicateService, practice: Practice, desk: Actor) -> None:
    hold = LegalHold(basis="Docket 26-118", since=NOW, by=new_id())
    kept, gone = await a_pair(practice)
    for patient in (kept, gone):
        await practice.changed(patient.id, legal_hold=hold)
    review = (await the_review(duplicates, desk)).id
    with pytest.raises(Conflict, match="more than one record may"):
        await duplicates.merge(desk, review, kept.id, "")
    await practice.changed(kept.id, legal_hold=None)
    await duplicates.merge(desk, review, kept.id, "")
    assert (await practice.opened(kept.id)).legal_hold == hold


async def test_merges_are_taken_back_in_the_order_they_came(
    duplicates: DuplicateService, practice: Practice, desk: Actor
) -> None:
    one, two, three = [await practice.stored(a_patient(ssn=SSN, mrn=f"M-{number}")) for number in range(3)]
    reviews = {(each.patient, each.other): each.id for each in (await duplicates.list(desk)).items}
    first, second = reviews[one.id, two.id], reviews[two.id, three.id]
    await duplicates.merge(desk, first, two.id, "")
    await duplicates.merge(desk, second, three.id, "")
    with pytest.raises(Conflict, match="surviving record was merged into another"):
        await duplicates.unmerge(desk, first, "")
    # The review of the first and the third is about a record that is not there any more.
    with pytest.raises(NotFound):
        await duplicates.merge(desk, reviews[one.id, three.id], three.id, "")
    await duplicates.unmerge(desk, second, "")
    with pytest.raises(Conflict, match="merged already"):
        await duplicates.merge(desk, first, one.id, "")
    await duplicates.unmerge(desk, first, "")
    for patient in (one, two, three):
        restored = await practice.opened(patient.id)
        assert replace(restored, version=1) == patient


async def test_a_merge_into_one_that_took_in_another_since_is_taken_back_last(
    duplicates: DuplicateService, practice: Practice, desk: Actor
) -> None:
    one, two, three = [await practice.stored(a_patient(ssn=SSN, mrn=f"M-{number}")) for number in range(3)]
    reviews = {(each.patient, each.other): each.id for each in (await duplicates.list(desk)).items}
    first, second = reviews[one.id, two.id], reviews[two.id, three.id]
    await duplicates.merge(desk, first, two.id, "")
    await duplicates.merge(desk, second, two.id, "")
    with pytest.raises(Conflict, match="since: take that merge back first"):
        await duplicates.unmerge(desk, first, "")
    await duplicates.unmerge(desk, second, "")
    await duplicates.unmerge(desk, first, "")
    assert replace(await practice.opened(two.id), version=1) == two


async def test_a_survivor_is_one_of_the_two(duplicates: DuplicateService, practice: Practice, desk: Actor) -> None:
    await a_pair(practice)
    review = await the_review(duplicates, desk)
    with pytest.raises(Invalid, match="survivor"):
        await duplicates.merge(desk, review.id, PatientId(new_id()), "")


async def test_a_merge_has_the_stricter_label_and_unmerging_loosens_nothing_that_was_written_since(
    duplicates: DuplicateService, practice: Practice, desk: Actor
) -> None:
    operator = the_operator()
    kept = await practice.stored(a_patient(ssn=SSN))
    gone = await practice.stored(a_patient(ssn=SSN, label=Label.RESTRICTED))
    review = await the_review(duplicates, operator)
    await duplicates.merge(operator, review.id, kept.id, "")
    assert (await practice.opened(kept.id)).label is Label.RESTRICTED
    for status in DuplicateStatus:
        assert (await duplicates.list(desk, status)).count == 0
    assert (await duplicates.list(operator, DuplicateStatus.MERGED)).count == 1
    with pytest.raises(NotFound):
        await duplicates.unmerge(desk, review.id, "")
    await duplicates.unmerge(operator, review.id, "")
    assert (await practice.opened(kept.id)).label is Label.NORMAL
    assert (await practice.opened(gone.id)).label is Label.RESTRICTED
    await duplicates.merge(operator, review.id, kept.id, "")
    await practice.changed(kept.id, notes="Written under the stricter label.")
    await duplicates.unmerge(operator, review.id, "")
    assert (await practice.opened(kept.id)).label is Label.RESTRICTED


async def test_a_merge_widens_nothing_by_a_consent_of_the_survivor(
    duplicates: DuplicateService, practice: Practice, desk: Actor
) -> None:
    consents = ConsentService(practice.begin, practice.reading, lambda: NOW)
    operator = the_operator()
    one, other = [await practice.stored(a_patient(ssn=SSN)) for _ in range(2)]
    review = await the_review(duplicates, desk)
    purpose = (operator.purpose,)
    for patient in (one, other):
        herself = an_actor(Role.PATIENT, patient=patient.id)
        await consents.record(
            herself, patient.id, lambda account: replace(a_consent(purposes=purpose), recorded_by=account)
        )
    # Between two normal records a consent changes nothing, and the front desk learns of none.
    await duplicates.merge(desk, review.id, one.id, "")
    await duplicates.unmerge(desk, review.id, "")
    await practice.changed(other.id, label=Label.PART2)
    with pytest.raises(Conflict, match="consents in force"):
        await duplicates.merge(operator, review.id, one.id, "")
    assert (await practice.opened(one.id)).label is Label.NORMAL


async def test_a_portal_account_goes_along_and_comes_back(
    duplicates: DuplicateService, practice: Practice, desk: Actor
) -> None:
    door = FrontDoor(practice.begin, practice.reading)
    kept, gone = await a_pair(practice)
    account = await door.employed(Role.PATIENT, patient=gone.id)
    stays = await door.employed(Role.PATIENT, patient=kept.id)
    review = await the_review(duplicates, desk)

    async def linked() -> tuple[PatientId | None, PatientId | None]:
        async with practice.reading() as work:
            return (await work.accounts.get(account.id)).patient, (await work.accounts.get(stays.id)).patient

    await duplicates.merge(desk, review.id, kept.id, "")
    assert await linked() == (kept.id, kept.id)
    moved = [one for one in await practice.events() if one.resource is Resource.ACCOUNT and one.action is Action.MERGE]
    assert [one.ids for one in moved] == [(account.id,)]
    await duplicates.unmerge(desk, review.id, "")
    assert await linked() == (gone.id, kept.id)


async def test_of_two_merges_at_once_one_is_done(duplicates: DuplicateService, practice: Practice, desk: Actor) -> None:
    kept, gone = await a_pair(practice)
    review = await the_review(duplicates, desk)
    ended = await asyncio.gather(
        duplicates.merge(desk, review.id, kept.id, ""),
        duplicates.merge(desk, review.id, gone.id, ""),
        return_exceptions=True,
    )
    done = [one for one in ended if isinstance(one, Duplicate)]
    lost = [one for one in ended if not isinstance(one, Duplicate)]
    assert len(done) == 1
    assert isinstance(lost[0], Conflict | StaleWrite | NotFound | Transient)
    (standing,) = (await duplicates.list(desk, DuplicateStatus.MERGED)).items
    assert standing.merge == done[0].merge


async def test_a_change_that_comes_between_is_not_lost(
    duplicates: DuplicateService, practice: Practice, patients: PatientService, desk: Actor
) -> None:
    kept, _ = await a_pair(practice)
    review = await the_review(duplicates, desk)
    phone = Telecom(system=TelecomSystem.PHONE, value="+1 555 010 7777")
    merged, changed = await asyncio.gather(
        duplicates.merge(desk, review.id, kept.id, ""),
        patients.change(desk, kept.id, lambda one: replace(one, telecoms=(*one.telecoms, phone)), version=1),
        return_exceptions=True,
    )
    now = await practice.opened(kept.id)
    assert isinstance(merged, Duplicate) or isinstance(changed, Patient)
    assert (phone in now.telecoms) == isinstance(changed, Patient)
    assert (len(now.mrns) == 2) == isinstance(merged, Duplicate)
    for ended in (merged, changed):
        assert isinstance(ended, Duplicate | Patient | StaleWrite)


@contextmanager
def nothing_saved(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let the last step of a merge fail."""

    def lost(*_: object) -> Duplicate:
        raise Transient

    with monkeypatch.context() as patch:
        patch.setattr(Duplicate, "merged", lost)
        patch.setattr(Duplicate, "unmerged", lost)
        yield


async def test_a_merge_that_fails_at_its_last_step_leaves_nothing(
    duplicates: DuplicateService, practice: Practice, desk: Actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept, gone = await a_pair(practice)
    review = await the_review(duplicates, desk)
    with nothing_saved(monkeypatch), pytest.raises(Transient):
        await duplicates.merge(desk, review.id, kept.id, "")
    assert [await practice.opened(one.id) for one in (kept, gone)] == [kept, gone]
    assert (await the_review(duplicates, desk)).version == 1
    merged = await duplicates.merge(desk, review.id, kept.id, "")
    before = await practice.opened(kept.id)
    with nothing_saved(monkeypatch), pytest.raises(Transient):
        await duplicates.unmerge(desk, review.id, "")
    assert await practice.opened(kept.id) == before
    (standing,) = (await duplicates.list(desk, DuplicateStatus.MERGED)).items
    assert standing == merged


async def test_two_who_are_registered_at_once_are_found_too(
    duplicates: DuplicateService, practice: Practice, patients: PatientService, desk: Actor
) -> None:
    if practice.database is None:
        pytest.skip("the memory has one writer at a time, whose work lasts no time")
    await asyncio.gather(*(patients.register(desk, a_patient(ssn=SSN)) for _ in range(4)))
    assert (await duplicates.list(desk)).count == 6


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(one=any_patients, other=any_patients)
async def test_merging_and_unmerging_restores_both_field_by_field(
    duplicates: DuplicateService, practice: Practice, one: Patient, other: Patient
) -> None:
    operator = the_operator()
    pair = []
    ssn = Identifier.ssn(f"{new_id().int % 10**9:09}")
    for patient in (one, other):
        fresh = PatientId(new_id())
        sources = (f"{fresh}",)
        identifiers = (*patient.identifiers, ssn, Identifier.mrn(f"M-{fresh}"))
        pair.append(
            await practice.stored(replace(patient, id=fresh, sources=sources, identifiers=identifiers, telecoms=()))
        )
    kept, gone = pair
    seen = [
        each for each in (await duplicates.list(operator, at_most=100)).items if each.patient == min(kept.id, gone.id)
    ]
    (review,) = seen
    await duplicates.merge(operator, review.id, kept.id, "")
    together = await practice.opened(kept.id)
    assert set(together.mrns) >= set(kept.mrns)
    assert len(together.mrns) == len(kept.mrns) + len(gone.mrns)
    await duplicates.unmerge(operator, review.id, "")
    for patient in pair:
        restored = await practice.opened(patient.id)
        assert restored.version == 3
        assert not restored.changed_from(patient)
    await duplicates.distinguish(operator, review.id, "")


@given(one=any_patients, other=any_patients)
def test_what_a_merge_moves_can_be_taken_back_exactly(one: Patient, other: Patient) -> None:
    moved = moving(one, other, NOW)
    together = moved.added_to(one)
    assert together.changed_from(one) == moved.filled | (
        PatientField.LABEL if together.label is not one.label else PatientField(0)
    )
    assert not replace(moved, version=0).taken_from(together).changed_from(one)
    assert moving(together, other, NOW).filled & ~PatientField.NOTES == PatientField(0)
    assert Moved().added_to(one) == one


@given(st.sampled_from(Label), st.sampled_from(Label))
def test_no_merge_loosens_a_label(one: Label, other: Label) -> None:
    if Label.PSYCHOTHERAPY in {one, other}:
        return
    strictness = (Label.NORMAL, Label.RESTRICTED, Label.PART2)
    kept, gone = a_patient(label=one), a_patient(label=other)
    label = moving(kept, gone, NOW).added_to(kept).label
    assert strictness.index(label) == max(strictness.index(one), strictness.index(other))


async def test_an_import_neither_brings_back_what_was_merged_nor_takes_it_from_the_survivor(
    duplicates: DuplicateService, practice: Practice, desk: Actor
) -> None:
    imports = ImportService(practice.begin, lambda: NOW)
    ssn = {"system": SSN_SYSTEM, "value": SSN}
    phone = {"system": "phone", "value": PHONE}
    ada = a_fhir_patient("ada", identifier=[an_identifier("1"), ssn])
    twin = a_fhir_patient("twin", identifier=[an_identifier("2"), ssn], telecom=[phone])

    async def taken(*resources: Json) -> Tally | str:
        outcome = await imports.take(the_operator(), incoming(*resources))
        return outcome.problem if isinstance(outcome, BadInput) else outcome.patients

    assert await taken(ada, twin) == Tally(added=2)
    review = await the_review(duplicates, desk)
    kept, gone = [await practice.opened(one) for one in (review.patient, review.other)]
    assert {one.value for one in kept.mrns} == {"1"}
    await duplicates.merge(desk, review.id, kept.id, "")
    assert await taken(twin) == "this patient was deleted or merged here, and an import does not bring them back"
    assert await taken(ada) == Tally(unchanged=1)
    ada["gender"] = "other"
    assert await taken(ada) == Tally(changed=1)
    now = await practice.opened(kept.id)
    assert {one.value for one in now.mrns} == {"1", "2"}
    assert [one.value for one in now.telecoms] == [PHONE]
    await duplicates.unmerge(desk, review.id, "")
    assert await taken(ada, twin) == Tally(unchanged=2)
    assert (await practice.opened(gone.id)).mrns == gone.mrns
    assert {one.value for one in (await practice.opened(kept.id)).mrns} == {"1"}
