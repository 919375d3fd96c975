"""What makes a consent, and what one covers."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from clarity.domain.access import ConsentRegister, Purpose
from clarity.domain.errors import Conflict, Invalid, NotFound
from clarity.domain.ids import PatientId
from clarity.domain.records import Label
from tests.builders import NOW, a_consent, a_practitioner, an_actor, new_id


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("labels", ()),
        ("labels", (Label.NORMAL,)),
        ("labels", (Label.RESTRICTED, Label.PART2)),
        ("labels", (Label.PART2, Label.PART2)),
        ("purposes", ()),
        ("purposes", (Purpose.TREATMENT, Purpose.TREATMENT)),
        ("from_whom", " "),
        ("to_whom", ""),
        ("what", ""),
        ("signed_by", ""),
        ("document", ""),
        ("signed_on", NOW.date() + timedelta(days=2)),
        ("until", NOW - timedelta(days=90)),
        ("since", NOW.replace(tzinfo=None)),
        ("ends_with", "\x00"),
    ],
)
def test_a_consent_needs_all_that_the_rule_wants(field: str, value: Any) -> None:
    with pytest.raises(Invalid) as caught:
        replace(a_consent(), **{field: value})
    assert caught.value.field == field


def test_a_consent_has_an_end() -> None:
    with pytest.raises(Invalid, match="until"):
        replace(a_consent(), until=None, ends_with="")


def test_psychotherapy_notes_take_a_consent_of_their_own() -> None:
    assert a_consent(labels=(Label.PSYCHOTHERAPY,)).labels == (Label.PSYCHOTHERAPY,)
    with pytest.raises(Invalid, match="labels"):
        a_consent(labels=(Label.PART2, Label.PSYCHOTHERAPY))


def test_a_consent_covers_what_it_names_to_whom_it_names_while_it_holds() -> None:
    freud = a_practitioner()
    actor = an_actor(practitioner=freud.id)
    consent = a_consent(recipients=(freud.id,), until=NOW + timedelta(days=1))
    assert consent.covers(actor, Label.PART2, NOW)
    assert not consent.covers(actor, Label.PSYCHOTHERAPY, NOW)
    assert not consent.covers(an_actor(), Label.PART2, NOW)
    assert not consent.covers(replace(actor, purpose=Purpose.RESEARCH), Label.PART2, NOW)
    assert not consent.covers(actor, Label.PART2, consent.since - timedelta(seconds=1))
    assert not consent.covers(actor, Label.PART2, NOW + timedelta(days=1))
    withdrawn = consent.withdraw(NOW, new_id())
    assert not withdrawn.covers(actor, Label.PART2, NOW)
    with pytest.raises(Conflict):
        withdrawn.withdraw(NOW, new_id())


def test_the_scope_says_what_goes_to_whom_for_what_and_until_when() -> None:
    consent = a_consent(purposes=(Purpose.TREATMENT, Purpose.OPERATIONS), until=NOW)
    for words in (
        consent.what,
        consent.from_whom,
        consent.to_whom,
        "treatment, operations",
        "until 2026-03-14 09:26:53 UTC",
    ):
        assert words in consent.scope
    assert "end of treatment" in a_consent().scope


def test_a_register_keeps_what_was_withdrawn() -> None:
    first, second = a_consent(), a_consent()
    register = ConsentRegister(patient=PatientId(new_id())).with_new(first).with_new(second)
    after = register.without(first.id, NOW, new_id())
    assert [one.id for one in after.consents] == [first.id, second.id]
    assert [one.withdrawn_at for one in after.consents] == [NOW, None]
    with pytest.raises(NotFound):
        register.consent(a_consent().id)


def test_a_register_ends_with_the_five_hundredth_consent() -> None:
    register = ConsentRegister(patient=PatientId(new_id()), consents=tuple(a_consent() for _ in range(500)))
    with pytest.raises(Invalid, match="consents: must have at most 500"):
        register.with_new(a_consent())


def test_nothing_of_a_consent_is_in_its_repr() -> None:
    register = ConsentRegister(patient=PatientId(new_id())).with_new(a_consent())
    for shown in (repr(register), repr(a_consent())):
        assert "Harbor" not in shown
        assert "part2" not in shown
