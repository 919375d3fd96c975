"""Which events a disclosure may have been made by."""

from dataclasses import replace

import pytest

from clarity.domain.access import Action
from clarity.domain.audit import AuditEvent
from clarity.domain.disclosures import may_be_about
from clarity.domain.ids import PatientId
from tests.builders import new_id
from tests.unit.audit.events import an_event

ADA, BOB = PatientId(new_id()), PatientId(new_id())
NOBODY = replace(an_event(), patient=None, ids=(new_id(),), ids_count=1, action=Action.LIST)


@pytest.mark.parametrize(
    ("event", "named", "about_ada"),
    [
        (replace(NOBODY, patient=ADA), frozenset(), True),
        (replace(NOBODY, patient=BOB), frozenset(), False),
        (NOBODY, frozenset({ADA, BOB}), True),
        (NOBODY, frozenset({BOB}), False),
        (replace(NOBODY, action=Action.EXPORT), frozenset(), True),
        (replace(NOBODY, ids=(), ids_count=201), frozenset(), True),
        (replace(NOBODY, action=Action.LOG_IN), frozenset(), False),
    ],
    ids=["of them", "of another", "in a list", "of a list of others", "the whole trail", "a long list", "a log-in"],
)
def test_an_event_may_be_about_whom_it_names_or_anybody_if_it_took_out_more(
    event: AuditEvent, named: frozenset[PatientId], about_ada: bool
) -> None:
    assert may_be_about(event, named, [ADA]) is about_ada
