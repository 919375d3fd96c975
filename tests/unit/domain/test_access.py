"""The policy: who may do what to which record."""

from dataclasses import replace
from datetime import timedelta
from uuid import UUID

import pytest

from clarity.domain.access import (
    POLICY,
    Action,
    Actor,
    Consent,
    Decision,
    Purpose,
    Reason,
    Relation,
    Role,
    decide,
    right_to,
    scope_of,
)
from clarity.domain.ids import PatientId, PractitionerId
from clarity.domain.patients import PatientField
from clarity.domain.records import Label, Resource, Sealed, Standing
from tests.builders import NOW, a_consent, an_actor, new_id, the_operator
from tests.ties import LONG_AGO, NEVER

DOCTOR = PractitionerId(new_id())
ADA = PatientId(new_id())


def a_record(
    *,
    tied: bool = False,
    guarded: bool = False,
    deleted: bool = False,
    author: UUID | None = None,
    emergencies: frozenset[UUID] = frozenset(),
) -> Sealed:
    team = frozenset({DOCTOR}) if tied else frozenset()
    standing = Standing(care_team=team, guarded=guarded, deleted=deleted, author=author, emergencies=emergencies)
    return Sealed(resource=Resource.PATIENT, id=ADA, patient=ADA, standing=standing)


def in_role(role: Role) -> Actor:
    carer = role in {Role.CLINICIAN, Role.NURSE}
    return an_actor(role, practitioner=DOCTOR if carer else None, patient=ADA if role is Role.PATIENT else None)


def decided(actor: Actor, action: Action, record: Sealed) -> Decision:
    return decide(scope_of(actor, action, record.resource, at=NOW), record)


def labelled(actor: Actor, record: Sealed, label: Label, *consents: Consent) -> Decision:
    return scope_of(actor, Action.VIEW, record.resource, at=NOW).after_opening(record, label, lambda: consents)


# Who views a patient: role -> (anybody's, of their own care team, a guarded one, a guarded one of their own).
VIEWS = {
    Role.SYSTEM: (True, True, True, True),
    Role.ADMINISTRATOR: (False, False, False, False),
    Role.CLINICIAN: (False, True, False, True),
    Role.NURSE: (False, True, False, True),
    Role.FRONT_DESK: (True, True, False, False),
    Role.COMPLIANCE_OFFICER: (False, False, False, False),
    Role.RESEARCHER: (False, False, False, False),
    Role.PATIENT: (True, True, True, True),
    Role.DEVICE: (False, False, False, False),
}


@pytest.mark.parametrize("role", VIEWS)
def test_who_views_a_patient(role: Role) -> None:
    records = [a_record(tied=tied, guarded=guarded) for guarded in (False, True) for tied in (False, True)]
    assert tuple(decided(in_role(role), Action.VIEW, record).allowed for record in records) == VIEWS[role]


def test_every_role_is_thought_of() -> None:
    assert set(VIEWS) >= set(Role) - {Role.NOBODY}


@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize("action", Action)
def test_what_does_not_exist_and_what_was_deleted_are_refused_to_all(role: Role, action: Action) -> None:
    absent = Sealed(resource=Resource.PATIENT, id=ADA, patient=ADA)
    assert decided(in_role(role), action, absent).reason is Reason.NO_SUCH_RECORD
    gone = decided(in_role(role), action, a_record(tied=True, deleted=True))
    assert not gone.allowed or action in {Action.VIEW_TOMBSTONE, Action.UNMERGE}


def test_tombstones_are_looked_at_by_an_action_of_their_own_which_reaches_nothing_else() -> None:
    officer = in_role(Role.COMPLIANCE_OFFICER)
    assert decided(officer, Action.VIEW_TOMBSTONE, a_record(deleted=True)).allowed
    assert decided(officer, Action.VIEW_TOMBSTONE, a_record()).reason is Reason.NO_SUCH_RECORD
    assert decided(in_role(Role.CLINICIAN), Action.VIEW, a_record(tied=True, deleted=True)).reason is Reason.DELETED
    assert not decided(in_role(Role.CLINICIAN), Action.VIEW_TOMBSTONE, a_record(tied=True, deleted=True)).allowed


def test_a_patient_reaches_nobody_else() -> None:
    other = an_actor(Role.PATIENT, patient=PatientId(new_id()))
    assert decided(other, Action.VIEW, a_record()).reason is Reason.NO_TIE


def test_a_refusal_covers_no_field() -> None:
    assert decided(in_role(Role.ADMINISTRATOR), Action.VIEW, a_record()).fields == PatientField(0)


def test_an_action_without_a_row_in_the_policy_is_nobodys() -> None:
    assert not right_to(in_role(Role.CLINICIAN), Action.DELETE).exists
    assert decided(in_role(Role.CLINICIAN), Action.DELETE, a_record(tied=True)).reason is Reason.NO_SUCH_RIGHT


def test_only_who_sees_everybodys_demographics_learns_that_an_mrn_is_taken() -> None:
    for role, resource, action, *_ in POLICY.cells:
        if resource is Resource.PATIENT and action in {Action.REGISTER, Action.CHANGE_IDENTIFIERS}:
            assert POLICY.right(role, resource, action).everybodys
            assert POLICY.right(role, resource, Action.VIEW).everybodys


def test_the_front_desk_sees_no_clinical_words() -> None:
    shown = right_to(in_role(Role.FRONT_DESK), Action.VIEW).covered(Relation)
    assert not shown & (PatientField.NOTES | PatientField.LABEL)
    assert shown & PatientField.TELECOMS


def test_a_missing_link_ties_nobody() -> None:
    assert decided(an_actor(Role.CLINICIAN), Action.VIEW, a_record()).reason is Reason.NO_TIE
    assert decided(an_actor(Role.PATIENT), Action.VIEW, a_record()).reason is Reason.NO_TIE


@pytest.mark.parametrize(
    ("actor", "label", "reason"),
    [
        (in_role(Role.CLINICIAN), Label.NORMAL, Reason.NONE),
        (in_role(Role.CLINICIAN), Label.RESTRICTED, Reason.NONE),
        (in_role(Role.PATIENT), Label.RESTRICTED, Reason.NONE),
        (the_operator(), Label.RESTRICTED, Reason.NONE),
        (in_role(Role.FRONT_DESK), Label.RESTRICTED, Reason.GUARDED),
        (in_role(Role.CLINICIAN), Label.PSYCHOTHERAPY, Reason.NO_CONSENT),
        (the_operator(), Label.PSYCHOTHERAPY, Reason.LABEL),
        (in_role(Role.CLINICIAN), Label.PART2, Reason.NO_CONSENT),
    ],
)
def test_the_exact_label_decides_once_it_is_known(actor: Actor, label: Label, reason: Reason) -> None:
    assert labelled(actor, a_record(tied=True, guarded=label is not Label.NORMAL), label).reason is reason


def test_psychotherapy_notes_are_their_authors() -> None:
    author = in_role(Role.CLINICIAN)
    record = a_record(guarded=True, author=author.id)
    assert labelled(author, record, Label.PSYCHOTHERAPY).allowed
    assert labelled(in_role(Role.CLINICIAN), record, Label.PSYCHOTHERAPY).reason is Reason.NO_TIE


@pytest.mark.parametrize("label", [Label.NORMAL, Label.RESTRICTED, Label.PART2])
@pytest.mark.parametrize("role", [Role.CLINICIAN, Role.NURSE])
def test_broken_glass_opens_to_who_broke_it(role: Role, label: Label) -> None:
    breaker = in_role(role)
    record = a_record(guarded=label is not Label.NORMAL, emergencies=frozenset({breaker.id}))
    decision = labelled(breaker, record, label)
    assert decision.allowed
    assert decision.by_emergency
    assert labelled(in_role(role), record, label).reason is Reason.NO_TIE


def test_broken_glass_opens_no_psychotherapy_notes_and_changes_nothing() -> None:
    breaker = in_role(Role.CLINICIAN)
    record = a_record(guarded=True, emergencies=frozenset({breaker.id}))
    assert labelled(breaker, record, Label.PSYCHOTHERAPY).reason is Reason.LABEL
    assert decided(breaker, Action.CHANGE, record).reason is Reason.NO_TIE


def test_a_tie_goes_before_broken_glass() -> None:
    breaker = in_role(Role.CLINICIAN)
    record = a_record(tied=True, emergencies=frozenset({breaker.id}))
    assert not labelled(breaker, record, Label.NORMAL).by_emergency


def test_a_machine_does_only_what_its_credential_was_made_for() -> None:
    machine = replace(in_role(Role.CLINICIAN), only=frozenset({(Resource.PATIENT, Action.LIST)}))
    assert right_to(machine, Action.LIST).exists
    assert decided(machine, Action.VIEW, a_record(tied=True)).reason is Reason.NO_SUCH_RIGHT
    assert not right_to(replace(machine, only=frozenset()), Action.LIST).exists
    more = replace(machine, only=frozenset({(Resource.ACCOUNT, Action.LIST)}))
    assert not right_to(more, Action.LIST, Resource.ACCOUNT).exists


SECOND = timedelta(seconds=1)


@pytest.mark.parametrize(
    ("consent", "covers"),
    [
        (a_consent(), True),
        (a_consent(since=NOW), True),
        (a_consent(since=NOW + SECOND), False),
        (a_consent(until=NOW + SECOND), True),
        (a_consent(until=NOW), False),
        (a_consent(withdrawn_at=NOW), False),
        (a_consent(withdrawn_at=LONG_AGO), False),
        (a_consent(withdrawn_at=NEVER), False),
        (a_consent(labels=(Label.PSYCHOTHERAPY,)), False),
        (a_consent(purposes=(Purpose.OPERATIONS, Purpose.RESEARCH)), False),
        (a_consent(purposes=(Purpose.OPERATIONS, Purpose.TREATMENT)), True),
        (a_consent(recipients=(PractitionerId(new_id()),)), False),
        (a_consent(recipients=(PractitionerId(new_id()), DOCTOR)), True),
    ],
)
def test_a_consent_covers_what_it_says_and_no_more(consent: Consent, *, covers: bool) -> None:
    doctor, record = in_role(Role.CLINICIAN), a_record(tied=True, guarded=True)
    decision = labelled(doctor, record, Label.PART2, consent)
    assert (decision.reason, decision.consent) == ((Reason.NONE, consent) if covers else (Reason.NO_CONSENT, None))


def test_a_consent_ties_nobody() -> None:
    assert labelled(in_role(Role.CLINICIAN), a_record(guarded=True), Label.PART2, a_consent()).reason is Reason.NO_TIE


def test_roles_are_written_in_lower_case() -> None:
    assert [Role.titled(role.title) for role in Role] == list(Role)
    with pytest.raises(KeyError):
        Role.titled("superuser")
