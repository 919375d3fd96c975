"""What the policy says once the exact label is known holds for pages, totals and searches as for single records."""

from clarity.application.ports import PatientFilter
from clarity.domain.access import Action, scope_of
from clarity.domain.ids import PatientId
from clarity.domain.records import Label
from tests.builders import NOW, a_consent, a_patient, a_practitioner, an_actor, new_id
from tests.practice import Practice
from tests.ties import consented, withdrew


async def test_lists_totals_and_searches_leave_out_what_the_exact_label_does_not_cover(practice: Practice) -> None:
    anna = await practice.employed(a_practitioner())
    team = frozenset({anna.id})
    kept_apart = await practice.stored(a_patient(care_team=team, label=Label.PART2))
    shown = [
        (await practice.stored(a_patient(care_team=team, label=label))).id
        for label in (Label.NORMAL, Label.RESTRICTED, Label.NORMAL)
    ]
    clinician = an_actor(practitioner=anna.id)
    scope, everybody = scope_of(clinician, Action.LIST, at=NOW), PatientFilter()
    async with practice.reading(snapshot=True) as work:
        page = await work.patients.find_page(scope, everybody, after=None, at_most=9)
        assert [record.patient for record in page] == shown
        # A page is as long as it was asked for, although somebody stands in front who is left out.
        page = await work.patients.find_page(scope, everybody, after=None, at_most=2)
        assert [record.patient for record in page] == shown[:2]
        assert await work.patients.count(scope, everybody) == len(shown)
        counted = await work.patients.find_counted_page(scope, everybody, after=None, at_most=1)
        assert (counted.count, counted.exact) == (len(shown), True)
        opened = [record.patient async for record, _ in work.patients.unsafe_bulk_open(scope, everybody)]
        assert await work.patients.admissible(scope, [kept_apart.id, *shown]) == set(shown)
    assert sorted(opened) == shown
    assert kept_apart.id not in opened


async def test_admissible_is_what_a_tie_and_a_consent_cover_and_nothing_that_is_gone_or_does_not_open(
    practice: Practice,
) -> None:
    anna = await practice.employed(a_practitioner())
    team = frozenset({anna.id})
    mine = [await practice.stored(a_patient(care_team=team, label=Label.PART2)) for _ in range(3)]
    others = await practice.stored(a_patient(label=Label.PART2))
    for patient in (*mine, others):
        await consented(practice, patient.id, a_consent())
    await withdrew(practice, mine[1].id)
    await practice.broken(mine[2].id)
    scope = scope_of(an_actor(practitioner=anna.id), Action.SEARCH, at=NOW)
    asked = [*(patient.id for patient in (*mine, others)), PatientId(new_id())]
    async with practice.reading() as work:
        assert await work.patients.admissible(scope, asked) == {mine[0].id}
        assert await work.patients.admissible(scope, []) == frozenset()
