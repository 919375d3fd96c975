"""The table in the code is the table that was decided on, and decides as that one says, for every combination."""

from collections.abc import Iterator
from functools import partial, reduce
from itertools import chain, combinations, product
from operator import or_

import pytest

from clarity.domain.access import (
    POLICY,
    RULES,
    Action,
    Actor,
    Cell,
    Decision,
    Policy,
    Reason,
    Relation,
    Role,
    right_to,
    scope_of,
)
from clarity.domain.access.rules import Place
from clarity.domain.accounts import Account
from clarity.domain.errors import Invalid, Misconfigured
from clarity.domain.ids import AccountId, PatientId, PractitionerId
from clarity.domain.patients import PatientField
from clarity.domain.records import Label, Resource, Sealed, Standing
from tests.builders import NOW, a_consent, an_actor, new_id
from tests.policy_table import decided_cells

DOCTOR, ADA = PractitionerId(new_id()), PatientId(new_id())
TIES = (Relation.CARE_TEAM, Relation.SELF, Relation.AUTHOR, Relation.EMERGENCY, Relation.PARTICIPANT)
HELD = [frozenset(some) for some in chain.from_iterable(combinations(TIES, count) for count in range(len(TIES) + 1))]
IN_CHARTS = (Resource.APPOINTMENT, Resource.NOTE, Resource.PRESCRIPTION, Resource.INTERACTION)
# Nobody is whom a patient's own record is about but the patient.
OF_PATIENTS = [held for held in HELD if Relation.PARTICIPANT not in held]
CONSENTS = tuple(a_consent(labels=(label,)) for label in (Label.PART2, Label.PSYCHOTHERAPY))
ACCOUNTS = [role for role in Role if role not in {Role.SYSTEM, Role.NOBODY}]


def test_the_policy_is_the_one_that_was_decided_on() -> None:
    decided = decided_cells()
    missing = decided.keys() - POLICY.cells.keys()
    added = POLICY.cells.keys() - decided.keys()
    assert not missing
    assert not added
    assert {place: cell for place, cell in POLICY.cells.items() if cell != decided[place]} == {}


def every_place() -> Iterator[Place]:
    return product(Role, Resource, Action, Relation, Label)


def test_one_changed_cell_is_noticed() -> None:
    """Change each cell of the policy in turn, and see that it is no longer the one that was decided on."""
    decided, cells = decided_cells(), dict(POLICY.cells)
    tried = 0
    for place in every_place():
        cell = cells.pop(place, None)
        for other in others_than(cell):
            if other is not None:
                cells[place] = other
            assert cells != decided, (place, other)
            cells.pop(place, None)
            tried += 1
        if cell is not None:
            cells[place] = cell
    assert cells == decided
    assert tried == sum(1 for _ in every_place()) + 3 * len(decided)


def others_than(cell: Cell | None) -> Iterator[Cell | None]:
    """Yield what may stand in a cell's place by mistake; a cell that is not there stands for a refusal."""
    if cell is None:
        yield Cell(PatientField(0), needs_consent=False)
    else:
        yield None
        yield Cell(cell.fields ^ PatientField.NAMES, cell.needs_consent)
        yield Cell(cell.fields ^ PatientField.REMOVAL, cell.needs_consent)
        yield Cell(cell.fields, not cell.needs_consent)


@pytest.mark.parametrize("role", Role)
def test_every_combination_is_decided_as_it_was_decided_on(role: Role) -> None:
    for action, held in product(Action, OF_PATIENTS):
        _compare_each(role, Resource.PATIENT, action, held)


@pytest.mark.parametrize("resource", IN_CHARTS)
def test_what_is_in_a_chart_is_decided_as_it_was_decided_on(resource: Resource) -> None:
    rows = {(role, action) for role, of, action, *_ in decided_cells() if of is resource}
    for (role, action), held in product(sorted(rows), HELD):
        _compare_each(role, resource, action, held)


def _compare_each(role: Role, resource: Resource, action: Action, held: frozenset[Relation]) -> None:
    """Compare what is decided of records of every label, with and without consents, to what was decided on."""
    actor = _actor(role, held)
    scope = scope_of(actor, action, resource, at=NOW)
    for label, guarded in product(Label, (False, True)):
        record = _record(actor, resource, held, guarded=guarded, deleted=action is Action.VIEW_TOMBSTONE)
        first = _before_opening(role, resource, action, held, guarded=guarded)
        assert record.standing is not None
        found = scope.before_opening(ADA, record.standing)
        assert (found.reason, found.fields) == first, (action, held, guarded)
        for consents in ((), CONSENTS):
            expected = _after_opening(role, resource, action, held, label, consent=bool(consents))
            decision = scope.after_opening(record, label, partial(tuple, consents))
            _compare(decision, expected if first[0] is Reason.NONE else (first[0], PatientField(0)))
            assert decision.consent in (None, *consents)


def _compare(decision: Decision, expected: tuple[Reason, PatientField]) -> None:
    assert (decision.reason, decision.fields) == expected


def _actor(role: Role, held: frozenset[Relation]) -> Actor:
    return an_actor(
        role,
        practitioner=DOCTOR if held & {Relation.CARE_TEAM, Relation.PARTICIPANT} else None,
        patient=ADA if Relation.SELF in held else None,
    )


def _record(actor: Actor, resource: Resource, held: frozenset[Relation], *, guarded: bool, deleted: bool) -> Sealed:
    standing = Standing(
        care_team=frozenset({DOCTOR} if Relation.CARE_TEAM in held else ()),
        author=actor.id if Relation.AUTHOR in held else new_id(),
        guarded=guarded,
        deleted=deleted,
        emergencies=frozenset({actor.id} if Relation.EMERGENCY in held else ()),
        participants=frozenset({DOCTOR} if Relation.PARTICIPANT in held else ()),
    )
    return Sealed(resource=resource, id=ADA, patient=ADA, standing=standing)


def _decided(
    role: Role, resource: Resource, action: Action, relations: frozenset[Relation], *labels: Label
) -> dict[Place, Cell]:
    """Return what was decided for some relations and labels."""
    places = product((role,), (resource,), (action,), relations, labels or Label)
    return {place: cell for place in places if (cell := decided_cells().get(place))}


def _before_opening(
    role: Role, resource: Resource, action: Action, held: frozenset[Relation], *, guarded: bool
) -> tuple[Reason, PatientField]:
    if not _decided(role, resource, action, frozenset(Relation)):
        return Reason.NO_SUCH_RIGHT, PatientField(0)
    held |= {Relation.ANYBODY}
    ordinary = _decided(role, resource, action, held, Label.NORMAL)
    reached = _decided(role, resource, action, held, *(set(Label) - {Label.NORMAL})) if guarded else ordinary
    if reached:
        through = frozenset(relation for _, _, _, relation, _ in reached)
        return Reason.NONE, _fields(_decided(role, resource, action, through))
    return (Reason.GUARDED if ordinary else Reason.NO_TIE), PatientField(0)


def _after_opening(
    role: Role, resource: Resource, action: Action, held: frozenset[Relation], label: Label, *, consent: bool
) -> tuple[Reason, PatientField]:
    cells = _decided(role, resource, action, held | {Relation.ANYBODY}, label)
    free = {place: cell for place, cell in cells.items() if not cell.needs_consent}
    if free:
        return Reason.NONE, _fields(free)
    if not cells:
        return Reason.LABEL, PatientField(0)
    return (Reason.NONE, _fields(cells)) if consent else (Reason.NO_CONSENT, PatientField(0))


def _fields(cells: dict[Place, Cell]) -> PatientField:
    return reduce(or_, (cell.fields for cell in cells.values()), PatientField(0))


@pytest.mark.parametrize("resource", set(Resource) - {Resource.PATIENT})
def test_rights_over_other_records_are_those_that_were_decided_on(resource: Resource) -> None:
    for role, action in product(Role, Action):
        right = right_to(an_actor(role), action, resource)
        relations = {
            relation for relation in Relation if (role, resource, action, relation, Label.NORMAL) in decided_cells()
        }
        assert right.exists == bool(relations)
        assert right.everybodys == (Relation.ANYBODY in relations)
        assert right.own == (Relation.SELF in relations)


def test_what_nobody_thought_of_fails_the_start() -> None:
    POLICY.require_complete()
    for left_out in Resource:
        thought_of = Policy.of(rule for rule in RULES if rule.resource is not left_out)
        with pytest.raises(Misconfigured, match=f"no rows for {left_out.title}"):
            thought_of.require_complete()
    for idle in set(Role) - {Role.NOBODY}:
        thought_of = Policy.of(rule for rule in RULES if rule.role is not idle)
        with pytest.raises(Misconfigured, match=idle.title):
            thought_of.require_complete()


def test_one_cell_is_spoken_of_once() -> None:
    with pytest.raises(ValueError, match="two rules"):
        Policy.of((*RULES, RULES[0]))


def test_nobody_searches_by_what_they_do_not_see() -> None:
    """A search compares the whole record: whoever is found by their sex is known to be of it."""
    asked = PatientField.NAMES | PatientField.BORN | PatientField.GENDER | PatientField.BIRTH_SEX
    asked |= PatientField.IDENTIFIERS | PatientField.TELECOMS
    asked |= PatientField.DEATH | PatientField.DISCHARGED | PatientField.CARE_TEAM
    cells = {place: cell for place, cell in POLICY.cells.items() if place[1] is Resource.PATIENT}
    searched = [cell for place, cell in cells.items() if place[2] in {Action.SEARCH, Action.SEARCH_BY_SSN}]
    assert searched
    assert all(asked in cell.fields for cell in searched)


def test_nobody_may_do_anything() -> None:
    assert not [place for place in POLICY.cells if place[0] is Role.NOBODY]


@pytest.mark.parametrize("role", [Role.SYSTEM, Role.NOBODY])
def test_no_account_has_the_rights_of_the_system(role: Role) -> None:
    with pytest.raises(Invalid, match="not one for accounts"):
        Account(id=AccountId(new_id()), email="ada@example.org", name="Ada", role=role)


def test_no_account_reaches_what_only_the_system_may() -> None:
    """Imports, and a message to an address, are nobody's who logs in."""
    of_accounts = {(resource, action) for role, resource, action, *_ in POLICY.cells if role in ACCOUNTS}
    assert not {place for place in of_accounts if place[0] is Resource.MESSAGE}
    assert (Resource.PATIENT, Action.IMPORT) not in of_accounts
