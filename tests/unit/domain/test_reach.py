"""What a scope says of labels agrees with what it says of each record."""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from itertools import product
from uuid import UUID

import pytest

from clarity.domain.access import Action, Actor, Role, Scope, scope_of
from clarity.domain.ids import PatientId, PractitionerId
from clarity.domain.records import Label, Resource, Sealed, Standing
from tests.builders import NOW, a_consent, an_actor, new_id

DOCTOR = PractitionerId(new_id())
ADA, SOMEBODY = PatientId(new_id()), PatientId(UUID(int=7))
PEOPLE = {role: an_actor(role, practitioner=DOCTOR, patient=ADA) for role in Role}
STRANGERS = {role: an_actor(role) for role in Role}
MACHINES = {role: replace(actor, only=frozenset({(Resource.PATIENT, Action.VIEW)})) for role, actor in PEOPLE.items()}

EVERY_TIE = tuple(product([frozenset(), frozenset({DOCTOR})], [False, True], [False, True], [ADA, SOMEBODY]))
CONSENTS = ((), (a_consent(),), (a_consent(labels=(Label.PSYCHOTHERAPY,)), a_consent(withdrawn_at=NOW)))


def searching(actor: Actor, action: Action) -> Scope:
    return scope_of(actor, action, at=NOW)


def records(actor: Actor, *, guarded: bool) -> Iterator[Sealed]:
    """Yield records that stand, with whatever ties the actor may have to them."""
    for team, is_author, is_emergency, patient in EVERY_TIE:
        standing = Standing(
            care_team=team,
            author=actor.id if is_author else None,
            guarded=guarded,
            emergencies=frozenset({actor.id}) if is_emergency else frozenset(),
        )
        yield Sealed(resource=Resource.PATIENT, id=patient, patient=patient, standing=standing)


@pytest.mark.parametrize("role", Role)
def test_of_a_label_that_a_scope_covers_freely_it_covers_every_record(role: Role) -> None:
    for who, action, label in product((PEOPLE, STRANGERS, MACHINES), Action, Label):
        scope = searching(who[role], action)
        if not scope.right.exists:
            assert not scope.covered
            continue
        for record, consents in product(records(who[role], guarded=label is not Label.NORMAL), CONSENTS):
            allowed = scope.after_opening(record, label, partial(tuple, consents)).allowed
            assert allowed or label not in scope.covered_freely
            assert label in scope.covered or not allowed


@pytest.mark.parametrize("role", Role)
def test_of_a_label_that_is_covered_once_tied_the_ties_alone_decide(role: Role) -> None:
    """Even if the bit outside the seal says of the label what it is not."""
    for who, action, guarded in product((PEOPLE, STRANGERS, MACHINES), Action, (False, True)):
        scope = searching(who[role], action)
        for record, label in product(records(who[role], guarded=guarded), scope.covered_once_tied):
            assert record.standing is not None
            tied = scope.before_opening(record.patient, record.standing).allowed
            assert scope.after_opening(record, label, tuple).allowed or not tied


def test_what_the_front_desk_a_nurse_and_the_operator_reach_without_being_asked() -> None:
    desk, nurse, operator = (searching(PEOPLE[role], Action.SEARCH) for role in (Role.FRONT_DESK, Role.NURSE, Role(0)))
    normal, ordinary = frozenset({Label.NORMAL}), frozenset({Label.NORMAL, Label.RESTRICTED})
    assert (desk.covered, desk.covered_freely) == (normal, normal)
    assert (nurse.covered, nurse.covered_freely) == (ordinary | {Label.PART2}, frozenset())
    assert nurse.covered_once_tied == ordinary
    assert (operator.covered, operator.covered_freely) == (ordinary | {Label.PART2}, ordinary)


def test_nothing_that_stands_is_covered_by_a_look_at_tombstones_or_without_a_right() -> None:
    looking = searching(PEOPLE[Role.COMPLIANCE_OFFICER], Action.VIEW_TOMBSTONE)
    assert looking.covered
    assert looking.covered_freely == frozenset()
    machine = searching(MACHINES[Role.SYSTEM], Action.SEARCH)
    assert machine.covered | machine.covered_freely | machine.covered_once_tied == frozenset()
