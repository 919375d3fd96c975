"""Which roles need a second factor: whatever the policy says of them."""

from clarity.domain.access import POLICY, Action, Cell, Policy, Relation, Role
from clarity.domain.patients import PatientField
from clarity.domain.records import Label, Resource
from clarity.domain.second_factors import NEEDS_SECOND_FACTOR, roles_that_need_one


def test_whoever_is_shown_records_or_decides_who_gets_in_needs_a_second_factor() -> None:
    people = set(Role) - {Role.SYSTEM, Role.NOBODY}
    assert people - NEEDS_SECOND_FACTOR == {Role.DEVICE}


def test_a_right_to_records_brings_the_need_with_it() -> None:
    place = (Role.DEVICE, Resource.PATIENT, Action.VIEW, Relation.SELF, Label.NORMAL)
    without_fields = {**POLICY.cells, place: Cell(fields=PatientField(0), needs_consent=False)}
    assert Role.DEVICE not in roles_that_need_one(Policy(without_fields))
    with_fields = {**POLICY.cells, place: Cell(fields=PatientField.NAMES, needs_consent=False)}
    assert Role.DEVICE in roles_that_need_one(Policy(with_fields))


def test_whoever_decides_who_gets_in_needs_one_without_seeing_records() -> None:
    cells = {
        place: cell
        for place, cell in POLICY.cells.items()
        if place[0] is Role.ADMINISTRATOR and place[1] not in {Resource.PATIENT, Resource.RESEARCH_SUBJECT}
    }
    assert roles_that_need_one(Policy(cells)) == {Role.ADMINISTRATOR}
    own = {place: cell for place, cell in cells.items() if place[3] is Relation.SELF}
    assert own
    assert roles_that_need_one(Policy(own)) == frozenset()
