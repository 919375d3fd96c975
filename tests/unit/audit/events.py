"""Audit events for tests: one made by hand, and every one there can be."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

from hypothesis import strategies as st

from clarity.domain.access import Action, Purpose, Reason, Role
from clarity.domain.audit import MAX_IDS, AuditEvent, Outcome
from clarity.domain.ids import EventId, PatientId, RequestId
from clarity.domain.records import Resource


def an_event(event_id: UUID | None = None) -> AuditEvent:
    """Return the event of a clinician who viewed one patient."""
    patient = UUID("01890000-0000-7000-8000-0000000000a1")
    return AuditEvent(
        id=EventId(event_id or uuid4()),
        at=datetime(2024, 2, 29, 12, 30, 15, 123456, tzinfo=UTC),
        actor=UUID("01890000-0000-7000-8000-0000000000c1"),
        role=Role.CLINICIAN,
        operator="",
        purpose=Purpose.TREATMENT,
        action=Action.VIEW,
        resource=Resource.PATIENT,
        patient=PatientId(patient),
        ids=(patient,),
        ids_count=1,
        ids_digest=b"",
        outcome=Outcome.SUCCEEDED,
        reason=Reason.NONE,
        request=RequestId(UUID("01890000-0000-7000-8000-0000000000e1")),
        fields=0x1F,
        version=0,
        sealed_digest=b"",
        query_mac=b"",
    )


_digests = st.just(b"") | st.binary(min_size=32, max_size=32)

FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "id": st.uuids().map(EventId),
    "at": st.datetimes(timezones=st.just(UTC)),
    "actor": st.uuids(),
    "role": st.sampled_from(Role),
    "operator": st.from_regex(r"[A-Za-z0-9._$-]{0,32}", fullmatch=True),
    "purpose": st.sampled_from(Purpose),
    "action": st.sampled_from(Action),
    "resource": st.sampled_from(Resource),
    "patient": st.none() | st.uuids().map(PatientId),
    "ids": st.lists(st.uuids(), max_size=5).map(tuple) | st.just(tuple(UUID(int=number) for number in range(MAX_IDS))),
    "ids_count": st.integers(0, 2**64 - 1),
    "ids_digest": _digests,
    "outcome": st.sampled_from(Outcome),
    "reason": st.sampled_from(Reason),
    "request": st.uuids().map(RequestId),
    "fields": st.integers(0, 2**64 - 1),
    "version": st.integers(0, 2**32 - 1),
    "sealed_digest": _digests,
    "query_mac": _digests,
}
"""What each field of an event may be."""


def events() -> st.SearchStrategy[AuditEvent]:
    """Return a strategy for any event there can be."""
    return st.builds(AuditEvent, **FIELDS)
