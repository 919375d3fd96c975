"""What one unit of work tried, disclosed and changed, and whether the trail will say so."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from hashlib import sha256
from operator import attrgetter
from uuid import UUID

from clarity.application.ports import NewId
from clarity.domain.access import Role
from clarity.domain.audit import MAX_IDS, Attempt, AuditEvent, Outcome
from clarity.domain.errors import UnauditedAccess
from clarity.domain.ids import EventId
from clarity.domain.records import Resource
from clarity.persistence.tables import Stamp


@dataclass(slots=True)
class Ledger:
    """The books of one unit of work. Repositories enter what they hand out and write; nothing leaves unbalanced."""

    attempts: list[Attempt] = field(default_factory=list)
    touched: set[tuple[Resource, UUID]] = field(default_factory=set)

    def note(self, attempt: Attempt) -> Attempt:
        """Remember an attempt."""
        self.attempts.append(attempt)
        return attempt

    def stamp(self) -> Stamp:
        """Return who writes and when, from the newest attempt; raises `UnauditedAccess` if nothing was attempted."""
        if not self.attempts:
            raise UnauditedAccess
        return Stamp(at=self.attempts[-1].at, by=self.attempts[-1].actor.id)

    def disclose(self, resource: Resource, record: UUID) -> None:
        """Enter that a record is handed out."""
        self.touched.add((resource, record))

    def change(
        self, resource: Resource, record: UUID, *, version: int = 0, sealed: bytes = b"", fields: int = 0
    ) -> None:
        """Enter that a record was written, and complete the newest attempt that is about it alone.

        Earlier ones may have written a version of their own, which the trail has to name too.
        """
        self.touched.add((resource, record))
        for attempt in reversed(self.attempts):
            if attempt.ids == (record,) and attempt.covers(resource, record):
                attempt.version, attempt.fields = version, fields
                attempt.sealed_digest = sha256(sealed).digest() if sealed else b""
                return

    def fail(self, cause: BaseException) -> None:
        """End every attempt that the policy did not refuse as failed."""
        for attempt in self.attempts:
            attempt.fail(cause)

    def check(self) -> None:
        """Raise `UnauditedAccess` if a record was handed out or written that no attempt accounts for."""
        # Of thousands at once, each must not be looked for among all the others.
        succeeded = (one for one in self.attempts if one.outcome is Outcome.SUCCEEDED)
        if not self.touched <= {(one.resource, record) for one in succeeded for record in one.ids}:
            raise UnauditedAccess

    def events(self, new_id: NewId) -> list[AuditEvent]:
        """Return the attempts as the trail takes them."""
        return [
            _event_of(one, EventId(new_id()))
            for attempt in self.attempts
            for part in attempt.parts()
            for one in _named(_unordered(part))
        ]


def _unordered(attempt: Attempt) -> Attempt:
    """Return an attempt with its records in the order of their ids.

    A page is in order of names. Of everybody's pages, that order would be an alphabet without a key.
    """
    if len(attempt.ids) < 2:
        return attempt
    return replace(attempt, ids=tuple(sorted(attempt.ids, key=attrgetter("bytes"))))


def _named(attempt: Attempt) -> Iterator[Attempt]:
    """Yield an attempt as one or several of which none names more records than an event lists.

    Otherwise nobody could be told who saw one of them. What the system does to many, and who reads the trail itself, is
    told by count and digest.
    """
    if attempt.actor.role is Role.SYSTEM or attempt.resource is Resource.AUDIT_EVENT or len(attempt.ids) <= MAX_IDS:
        yield attempt
        return
    for start in range(0, len(attempt.ids), MAX_IDS):
        yield replace(attempt, ids=attempt.ids[start : start + MAX_IDS])


def _event_of(attempt: Attempt, event: EventId) -> AuditEvent:
    many = len(attempt.ids) > MAX_IDS
    actor = attempt.actor
    return AuditEvent(
        id=event,
        at=attempt.at,
        actor=actor.id,
        role=actor.role,
        operator=actor.operator,
        purpose=actor.purpose,
        action=attempt.action,
        resource=attempt.resource,
        patient=attempt.patient,
        ids=() if many else attempt.ids,
        ids_count=len(attempt.ids) or attempt.count,
        ids_digest=sha256(b"".join(sorted(record.bytes for record in attempt.ids))).digest() if many else b"",
        outcome=attempt.outcome,
        reason=attempt.reason,
        request=actor.request,
        fields=attempt.fields,
        version=attempt.version,
        sealed_digest=attempt.sealed_digest,
        query_mac=attempt.query_mac,
    )
