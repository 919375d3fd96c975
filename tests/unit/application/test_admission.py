"""The gate: nothing passes that the policy has not let through, and every attempt is noted."""

import pytest

from clarity.application.admission import admit, admit_each, admit_new, require_right
from clarity.domain.access import Action, Reason, Role
from clarity.domain.audit import Attempt, Outcome
from clarity.domain.errors import Forbidden, NotFound
from clarity.domain.ids import PatientId, PractitionerId
from clarity.domain.records import Label, Resource, Sealed, Standing
from clarity.persistence.ledger import Ledger
from tests.builders import NOW, an_actor, new_id

DOCTOR = PractitionerId(new_id())


def a_record(*, tied: bool) -> Sealed:
    patient = PatientId(new_id())
    standing = Standing(care_team=frozenset({DOCTOR} if tied else ()))
    return Sealed(resource=Resource.PATIENT, id=patient, patient=patient, standing=standing)


def test_of_several_records_those_are_admitted_that_the_actor_may_see() -> None:
    mine, other = a_record(tied=True), a_record(tied=False)
    gone = Sealed(resource=Resource.PATIENT, id=new_id(), patient=PatientId(new_id()))
    attempt = Attempt(actor=an_actor(practitioner=DOCTOR), action=Action.LIST, at=NOW)
    assert [entry.record for entry in admit_each(attempt, [other, mine, gone])] == [mine]
    assert attempt.ids == (mine.id,)


def test_an_attempt_is_noted_before_it_is_refused() -> None:
    ledger, record = Ledger(), a_record(tied=False)
    with pytest.raises(NotFound):
        admit(ledger, an_actor(practitioner=DOCTOR), Action.VIEW, record, at=NOW)
    (attempt,) = ledger.attempts
    assert (attempt.outcome, attempt.reason, attempt.fields) == (Outcome.REFUSED, Reason.NO_TIE, 0)


def test_an_attempt_to_make_something_is_noted_before_it_is_refused() -> None:
    ledger = Ledger()
    with pytest.raises(Forbidden):
        admit_new(ledger, an_actor(), Action.REGISTER, Resource.PATIENT, new_id(), at=NOW)
    assert [attempt.outcome for attempt in ledger.attempts] == [Outcome.REFUSED]


def test_a_right_over_some_is_no_right_over_all() -> None:
    attempt = Attempt(actor=an_actor(practitioner=DOCTOR), action=Action.CHANGE, at=NOW)
    with pytest.raises(Forbidden):
        require_right(attempt, Action.CHANGE)
    require_right(Attempt(actor=an_actor(Role.FRONT_DESK), action=Action.CHANGE, at=NOW), Action.CHANGE)


def test_a_label_learnt_too_late_takes_back_one_of_several_and_refuses_a_single_one() -> None:
    ledger, record, other = Ledger(), a_record(tied=True), a_record(tied=True)
    actor = an_actor(practitioner=DOCTOR)
    several = Attempt(actor=actor, action=Action.LIST, at=NOW)
    entry, _ = admit_each(several, [record, other])
    with pytest.raises(NotFound):
        entry.check_label(Label.PSYCHOTHERAPY, tuple)
    assert (several.ids, several.outcome) == ((other.id,), Outcome.SUCCEEDED)
    single = admit(ledger, actor, Action.VIEW, record, at=NOW)
    with pytest.raises(NotFound):
        single.check_label(Label.PSYCHOTHERAPY, tuple)
    assert (single.attempt.outcome, single.attempt.reason) == (Outcome.REFUSED, Reason.NO_CONSENT)
