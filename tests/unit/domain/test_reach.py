"""What a scope says of labels agrees with what it says of each record."""

from dataclasses import replace
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from clarity.domain.access import Action, Actor, Consent, Role, Scope, scope_of
from clarity.domain.ids import PatientId, PractitionerId
from clarity.domain.records import Label, Resource, Sealed, Standing
from tests.builders import NOW, a_consent, an_actor, new_id

DOCTOR = PractitionerId(new_id())
ADA = PatientId(new_id())
PEOPLE = {role: an_actor(role, practitioner=DOCTOR, patient=ADA) for role in Role}
STRANGERS = {role: an_actor(role) for role in Role}
MACHINES = {role: replace(actor, only=frozenset({(Resource.PATIENT, Action.VIEW)})) for role, actor in PEOPLE.items()}

actors = st.builds(lambda who, role: who[role], st.sampled_from([PEOPLE, STRANGERS, MACHINES]), st.sampled_from(Role))
labels = st.sampled_from(Label)
consents = st.lists(
    st.sampled_from([a_consent(), a_consent(labels=(Label.PSYCHOTHERAPY,)), a_consent(withdrawn_at=NOW)]), max_size=2
)


def searching(actor: Actor, action: Action) -> Scope:
    return scope_of(actor, action, at=NOW)


@st.composite
def records(draw: st.DrawFn, actor: Actor, *, guarded: bool) -> Sealed:
    """Return a record that stands, and whatever ties the actor may have to it."""
    mine: frozenset[UUID] = frozenset({actor.id})
    patient = draw(st.sampled_from([ADA, PatientId(UUID(int=7))]))
    standing = Standing(
        care_team=draw(st.sampled_from([frozenset(), frozenset({DOCTOR})])),
        author=draw(st.sampled_from([None, actor.id])),
        guarded=guarded,
        emergencies=draw(st.sampled_from([frozenset(), mine])),
    )
    return Sealed(resource=Resource.PATIENT, id=patient, patient=patient, standing=standing)


@given(st.data(), actors, st.sampled_from(Action), labels, consents)
def test_of_a_label_that_a_scope_covers_freely_it_covers_every_record(
    data: st.DataObject, actor: Actor, action: Action, label: Label, given_consents: list[Consent]
) -> None:
    scope = searching(actor, action)
    record = data.draw(records(actor, guarded=label is not Label.NORMAL))
    decision = scope.after_opening(record, label, lambda: given_consents)
    if label in scope.covered_freely:
        assert decision.allowed
    if label not in scope.covered:
        assert not decision.allowed


@given(st.data(), actors, st.sampled_from(Action), labels, st.booleans(), consents)
def test_of_a_label_that_is_covered_once_tied_the_ties_alone_decide(
    data: st.DataObject, actor: Actor, action: Action, label: Label, guarded: bool, given_consents: list[Consent]
) -> None:
    scope = searching(actor, action)
    record = data.draw(records(actor, guarded=guarded))
    assert record.standing is not None
    tied = scope.before_opening(record.patient, record.standing).allowed
    if tied and label in scope.covered_once_tied:
        assert scope.after_opening(record, label, lambda: given_consents).allowed


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
