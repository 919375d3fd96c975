"""Patient records: what is written comes back, is found exactly, keeps its history and can be taken away."""

from dataclasses import replace
from datetime import date
from typing import Any

import pytest

from clarity.application.admission import admit
from clarity.application.ports import PatientFilter, Revision
from clarity.domain.access import Action, Role, Scope, scope_of
from clarity.domain.errors import DuplicateIdentifier, DuplicateMrn, NotFound, UnauditedAccess
from clarity.domain.identifiers import Identifier, IdentifierKind, IndexKind, IndexTerm
from clarity.domain.ids import PatientId
from clarity.domain.patients import Patient, PatientField, PatientStatus
from clarity.domain.practitioners import Practitioner
from clarity.domain.records import Label
from tests.builders import NOW, a_patient, a_practitioner, an_actor, new_id, the_operator
from tests.lives import removed
from tests.practice import Practice

EVERYBODY = scope_of(the_operator(), Action.LIST, at=NOW)
AT_THE_DESK = scope_of(an_actor(Role.FRONT_DESK), Action.LIST, at=NOW)


async def found_by(practice: Practice, kind: IndexKind, text: str, scope: Scope = EVERYBODY) -> list[PatientId]:
    conditions = PatientFilter(terms=(IndexTerm(kind, text),))
    async with practice.reading() as work:
        found = await work.patients.find_counted_page(scope, conditions, after=None, at_most=10)
        assert (found.count, found.exact) == (len(found.records), True)
        return [record.patient for record in found.records]


async def history_of(practice: Practice, patient: PatientId, **page: int) -> list[Revision]:
    async with practice.reading(snapshot=True) as work:
        sealed = await work.patients.get(patient)
        admitted = admit(work, the_operator(), Action.VIEW_HISTORY, sealed, at=NOW)
        return await work.patients.history(admitted, **page)


async def test_a_patient_comes_back_as_stored(practice: Practice) -> None:
    doctor = await practice.employed(a_practitioner())
    ada = await practice.stored(
        a_patient(ssn="999-12-3456", email="ada@example.org", care_team=frozenset({doctor.id}), notes="prefers tea")
    )
    assert await practice.opened(ada.id) == ada


@pytest.mark.parametrize(
    ("kind", "stored", "asked"),
    [
        (IndexKind.MRN_VALUE, {"mrn": "Mrn 17"}, " mrn 17"),
        (IndexKind.SSN, {"ssn": "999123456"}, "999-12-3456"),
        (IndexKind.EMAIL, {"email": "Ada@Example.org"}, "ada@example.ORG"),
        (IndexKind.PHONE, {"phone": "555-978-4581"}, "(555) 978 4581"),
        (
            IndexKind.EXTERNAL,
            {"identifiers": (Identifier(kind=IdentifierKind.PASSPORT, value="X45815551X", system="urn:oid:2.16"),)},
            "X45815551X",
        ),
        (IndexKind.SOURCE, {"sources": ("import|Patient/1",)}, "import|Patient/1"),
    ],
)
async def test_a_patient_is_found_by_each_identifier(
    practice: Practice, kind: IndexKind, stored: dict[str, Any], asked: str
) -> None:
    ada = await practice.stored(a_patient(**stored))
    await practice.stored(a_patient())
    assert await found_by(practice, kind, asked) == [ada.id]
    assert await found_by(practice, kind, f"9{asked}") == []


async def test_people_may_share_a_number_that_is_not_unique(practice: Practice) -> None:
    shared: dict[str, Any] = {"ssn": "999-12-3456", "email": "family@example.org", "phone": "555-978-4581"}
    ada, bob = await practice.stored(a_patient(**shared)), await practice.stored(a_patient(**shared))
    for kind, text in (
        (IndexKind.SSN, shared["ssn"]),
        (IndexKind.EMAIL, shared["email"]),
        (IndexKind.PHONE, shared["phone"]),
    ):
        assert await found_by(practice, kind, text) == [ada.id, bob.id]


async def test_an_mrn_is_unique_within_its_assigner_only(practice: Practice) -> None:
    here, there = Identifier.mrn("1", "https://here.example"), Identifier.mrn("1", "https://there.example")
    ada = await practice.stored(replace(a_patient(), identifiers=(here,)))
    bob = await practice.stored(replace(a_patient(), identifiers=(there,)))
    assert await found_by(practice, IndexKind.MRN_VALUE, "1") == [ada.id, bob.id]
    with pytest.raises(DuplicateMrn):
        await practice.stored(replace(a_patient(), identifiers=(here,)))


async def test_a_resource_becomes_one_patient_only(practice: Practice) -> None:
    await practice.stored(a_patient(sources=("import|Patient/1",)))
    with pytest.raises(DuplicateIdentifier) as refused:
        await practice.stored(a_patient(sources=("import|Patient/1",)))
    assert not isinstance(refused.value, DuplicateMrn)


async def test_a_changed_identifier_is_found_by_its_new_value_only(practice: Practice) -> None:
    ada = await practice.stored(a_patient(phone="555-978-4581"))
    moved = a_patient(phone="555-000-1111").telecoms
    await practice.changed(ada.id, telecoms=moved)
    assert await found_by(practice, IndexKind.PHONE, "555-978-4581") == []
    assert await found_by(practice, IndexKind.PHONE, "555-000-1111") == [ada.id]


async def test_an_mrn_given_up_can_be_given_to_another(practice: Practice) -> None:
    ada = await practice.stored(a_patient(mrn="MRN-1"))
    await practice.changed(ada.id, identifiers=(Identifier.mrn("MRN-2"),))
    bob = await practice.stored(a_patient(mrn="MRN-1"))
    assert await found_by(practice, IndexKind.MRN_VALUE, "MRN-1") == [bob.id]
    with pytest.raises(DuplicateMrn):
        await practice.changed(ada.id, identifiers=(Identifier.mrn("MRN-1"),))


async def test_a_telephone_number_spelt_in_two_ways_is_one_identifier(practice: Practice) -> None:
    twice = a_patient(phone="555-978-4581").telecoms + a_patient(phone="(555) 978-4581").telecoms
    ada = await practice.stored(replace(a_patient(), telecoms=twice))
    await practice.changed(ada.id, telecoms=twice[:1])
    assert await found_by(practice, IndexKind.PHONE, "555 978 4581") == [ada.id]


async def test_a_number_that_says_nothing_is_kept_but_not_found(practice: Practice) -> None:
    ada = await practice.stored(a_patient(phone="n/a"))
    assert (await practice.opened(ada.id)).telecoms == ada.telecoms
    assert await found_by(practice, IndexKind.PHONE, "n/a") == []


async def test_the_history_holds_every_version_with_its_care_team(practice: Practice) -> None:
    anna, bob = await practice.employed(a_practitioner()), await practice.employed(a_practitioner())
    ada = await practice.stored(a_patient(notes="one", care_team=frozenset({anna.id})))
    await practice.changed(ada.id, notes="two", care_team=frozenset({anna.id, bob.id}))
    await practice.changed(ada.id, notes="three", care_team=frozenset({bob.id}))
    told = [(one.version, one.patient.notes, one.patient.care_team) for one in await history_of(practice, ada.id)]
    both = frozenset({anna.id, bob.id})
    assert told == [(3, "three", both - {anna.id}), (2, "two", both), (1, "one", both - {bob.id})]


async def test_the_history_comes_in_pages(practice: Practice) -> None:
    ada = await practice.stored(a_patient())
    for number in range(4):
        await practice.changed(ada.id, notes=f"{number}")
    first = await history_of(practice, ada.id, at_most=2)
    second = await history_of(practice, ada.id, before=first[-1].version, at_most=2)
    assert [one.version for one in (*first, *second)] == [5, 4, 3, 2]
    assert [one.version for one in await history_of(practice, ada.id, before=2**40, at_most=2)] == [5, 4]


async def test_a_practitioner_who_left_can_join_again(practice: Practice) -> None:
    anna = await practice.employed(a_practitioner())
    ada = await practice.stored(a_patient(care_team=frozenset({anna.id})))
    await practice.changed(ada.id, care_team=frozenset())
    await practice.changed(ada.id, care_team=frozenset({anna.id}))
    told = [bool(one.patient.care_team) for one in await history_of(practice, ada.id)]
    assert told == [True, False, True]


async def test_a_deleted_patient_is_reached_by_nobody_and_frees_the_mrn(practice: Practice) -> None:
    anna = await practice.employed(a_practitioner())
    ada = await practice.stored(a_patient(mrn="MRN-1", sources=("import|Patient/1",), care_team=frozenset({anna.id})))
    await removed(practice.begin, ada.id)
    with pytest.raises(NotFound):
        await practice.opened(ada.id)
    assert await found_by(practice, IndexKind.MRN_VALUE, "MRN-1") == []
    await practice.stored(a_patient(mrn="MRN-1"))
    async with practice.reading() as work:
        assert await work.patients.find_by_source("import|Patient/1") == ada.id
        assert await work.patients.find_by_source("import|Patient/2") is None


async def test_what_was_not_shown_is_not_lost_when_the_record_is_saved(practice: Practice) -> None:
    ada = await practice.stored(a_patient(notes="for clinicians only"))
    front_desk = an_actor(Role.FRONT_DESK)
    async with practice.begin() as work:
        admitted = admit(work, front_desk, Action.CHANGE, await work.patients.get(ada.id), at=NOW)
        shown = work.patients.open(admitted)
        assert shown.notes == ""
        saved = await work.patients.save(replace(shown, mothers_maiden_name="Byron"))
        assert saved.notes == ""
    assert (await practice.opened(ada.id)).notes == "for clinicians only"
    assert (await practice.opened(ada.id)).mothers_maiden_name == "Byron"


async def test_a_patient_that_was_not_opened_cannot_be_saved(practice: Practice) -> None:
    ada = await practice.stored(a_patient())
    with pytest.raises(UnauditedAccess):
        async with practice.begin() as work:
            admit(work, the_operator(), Action.CHANGE, await work.patients.get(ada.id), at=NOW)
            await work.patients.save(ada)


async def test_an_event_of_a_write_names_version_and_changed_fields(practice: Practice) -> None:
    ada = await practice.stored(a_patient())
    await practice.changed(ada.id, notes="new", discharged=date(2026, 3, 1))
    event = (await practice.events())[-1]
    assert (event.version, PatientField(event.fields)) == (2, PatientField.NOTES | PatientField.DISCHARGED)


async def test_lists_hold_status_and_practitioner_apart(practice: Practice) -> None:
    anna, nobody = await practice.employed(a_practitioner()), await practice.employed(a_practitioner())
    ada = await practice.stored(a_patient(care_team=frozenset({anna.id})))
    bob = await practice.stored(a_patient(discharged=date(2026, 1, 1)))

    async def listed(scope: Scope, conditions: PatientFilter) -> list[PatientId]:
        async with practice.reading() as work:
            found = await work.patients.find_counted_page(scope, conditions, after=None, at_most=10)
            assert found.count == len(found.records)
            return [record.patient for record in found.records]

    for scope in (EVERYBODY, AT_THE_DESK):
        assert await listed(scope, PatientFilter()) == [ada.id, bob.id]
        assert await listed(scope, PatientFilter(status=PatientStatus.DISCHARGED)) == [bob.id]
        # The question reads the same, and is another.
        assert await listed(scope, PatientFilter(status=PatientStatus.ACTIVE)) == [ada.id]
        assert await listed(scope, PatientFilter(practitioner=anna.id)) == [ada.id]
        assert await listed(scope, PatientFilter(practitioner=nobody.id)) == []
        assert await listed(scope, PatientFilter(practitioner=anna.id, status=PatientStatus.DISCHARGED)) == []
        assert await listed(scope, PatientFilter(patients=frozenset({bob.id}))) == [bob.id]


async def test_pages_join_without_gap_or_overlap(practice: Practice) -> None:
    stored = [(await practice.stored(a_patient())).id for _ in range(7)]
    seen: list[PatientId] = []
    async with practice.reading() as work:
        while page := await work.patients.find_page(
            EVERYBODY, PatientFilter(), after=seen[-1] if seen else None, at_most=3
        ):
            seen += [record.patient for record in page]
    assert seen == stored


@pytest.mark.parametrize("scope", [EVERYBODY, AT_THE_DESK], ids=["guarded", "unguarded"])
async def test_pages_come_with_a_total_that_is_no_more_than_may_be_seen(practice: Practice, scope: Scope) -> None:
    labels = (Label.NORMAL, Label.RESTRICTED, Label.NORMAL, Label.PART2, Label.NORMAL)
    stored = [await practice.stored(a_patient(label=label)) for label in labels]
    await removed(practice.begin, (await practice.stored(a_patient())).id)
    shown = {Label.NORMAL, Label.RESTRICTED} if scope is EVERYBODY else {Label.NORMAL}
    seen: list[PatientId] = []
    for at_most in (2, 1, 9, 9):  # behind the last there is a page without anybody, and the same total
        async with practice.reading(snapshot=bool(scope.right.guarded)) as work:
            after = seen[-1] if seen else None
            page = await work.patients.find_counted_page(scope, PatientFilter(), after=after, at_most=at_most)
            assert (page.count, page.exact) == (len([one for one in stored if one.label in shown]), True)
            assert len(page.records) <= at_most
            seen += [record.patient for record in page.records]
    assert seen == [one.id for one in stored if one.label in shown]


async def test_an_empty_practice_has_a_total_of_none(practice: Practice) -> None:
    for scope in (EVERYBODY, AT_THE_DESK):
        async with practice.reading() as work:
            page = await work.patients.find_counted_page(scope, PatientFilter(), after=None, at_most=5)
            assert (list(page.records), page.count, page.exact) == ([], 0, True)


@pytest.mark.parametrize("scope", [EVERYBODY, AT_THE_DESK], ids=["guarded", "unguarded"])
@pytest.mark.parametrize("label", [Label.NORMAL, Label.RESTRICTED])
async def test_a_total_is_exact_up_to_a_bound_and_says_so(
    practice: Practice, monkeypatch: pytest.MonkeyPatch, scope: Scope, label: Label
) -> None:
    for place in ("application.ports.patients", "persistence.patients.repository"):
        monkeypatch.setattr(f"clarity.{place}.COUNTED_EXACTLY", 3)
    for _ in range(2):
        await practice.stored(a_patient())
    totals = []
    for _ in range(3):
        await practice.stored(a_patient(label=label))
        async with practice.reading(snapshot=bool(scope.right.guarded)) as work:
            page = await work.patients.find_counted_page(scope, PatientFilter(), after=None, at_most=1)
            totals.append((page.count, page.exact))
    unseen = scope is AT_THE_DESK and label is not Label.NORMAL
    assert totals == ([(2, True)] * 3 if unseen else [(3, True), (3, False), (3, False)])


async def test_several_are_fetched_in_the_order_asked_for(practice: Practice) -> None:
    ada, bob = await practice.stored(a_patient()), await practice.stored(a_patient())
    async with practice.reading() as work:
        found = await work.patients.get_many([bob.id, PatientId(new_id()), ada.id])
    assert [record.patient for record in found] == [bob.id, ada.id]


def every_scope(anna: Practitioner, ada: Patient) -> list[Scope]:
    return [
        scope_of(an_actor(role, practitioner=practitioner, patient=patient), action, at=NOW)
        for role in Role
        for action in (Action.VIEW, Action.SEARCH_BY_SSN, Action.BREAK_GLASS, Action.CHANGE_LEGAL_HOLD)
        for practitioner in (None, anna.id)
        for patient in (None, ada.id)
    ]


async def test_a_scope_means_the_same_in_python_and_in_sql(practice: Practice) -> None:
    anna = await practice.employed(a_practitioner())
    team = frozenset({anna.id})
    records = [
        await practice.stored(a_patient(care_team=ties, label=label))
        for ties in (frozenset(), team)
        for label in (Label.NORMAL, Label.RESTRICTED)
    ]
    gone = await practice.stored(a_patient(care_team=team))
    await removed(practice.begin, gone.id)
    for ada in records:
        for scope in every_scope(anna, ada):
            async with practice.reading() as work:
                found = await work.patients.find_counted_page(scope, PatientFilter(), after=None, at_most=9)
                in_sql = [one.patient for one in found.records]
                assert await work.patients.count(scope, PatientFilter()) == found.count == len(in_sql)
                everybody = await work.patients.get_many([*(one.id for one in records), gone.id])
            in_python = [
                one.patient for one in everybody if one.standing and not scope.refuses(one.patient, one.standing)
            ]
            assert in_sql == in_python
