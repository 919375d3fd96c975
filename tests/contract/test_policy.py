"""What the policy says once the exact label is known holds for pages, totals and searches as for single records."""

from clarity.application.ports import PatientFilter
from clarity.domain.access import Action, scope_of
from clarity.domain.records import Label
from tests.builders import NOW, a_patient, a_practitioner, an_actor
from tests.practice import Practice


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
        opened = [record.patient async for record, _ in work.patients.unsafe_bulk_open(scope, everybody)]
    assert sorted(opened) == shown
    assert kept_apart.id not in opened
