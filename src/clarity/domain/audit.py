"""What the audit trail says: one event for each request, patient and kind of resource.

No free text: an event holds ids, numbers, digests and flags, so that patient content cannot enter.
"""

import re
from asyncio import CancelledError
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import IntEnum
from uuid import UUID

from clarity.domain import errors
from clarity.domain.access import Action, Actor, Purpose, Reason, Role
from clarity.domain.errors import Invalid
from clarity.domain.ids import EventId, PatientId, RequestId
from clarity.domain.records import Resource

MAX_IDS = 200
"""How many record ids an event lists; beyond that it holds their count and digest."""

_OPERATOR = re.compile(r"[A-Za-z0-9._$-]{0,32}", re.ASCII)


class Outcome(IntEnum):
    """How an attempt ended. The numbers are permanent."""

    SUCCEEDED = 1
    REFUSED = 2
    FAILED = 3
    UNKNOWN = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEvent:
    """Who did what to whose record, when, why and with what end.

    `patient` is set if one patient is concerned; a list of several has it `None` and names them in `ids`.
    `ids` is empty and `ids_digest` 32 bytes where there are more than `MAX_IDS`. `fields` are the bits of what
    was shown or changed. Writes carry the new `version` and the SHA-256 of the sealed bytes; searches the HMAC
    of the normalised query. Absent digests are empty.
    """

    id: EventId
    at: datetime
    actor: UUID
    role: Role
    operator: str
    purpose: Purpose
    action: Action
    resource: Resource
    patient: PatientId | None
    ids: tuple[UUID, ...]
    ids_count: int
    ids_digest: bytes
    outcome: Outcome
    reason: Reason
    request: RequestId
    fields: int
    version: int
    sealed_digest: bytes
    query_mac: bytes

    def __post_init__(self) -> None:
        """Raise `Invalid` if the operator's name is more than a plain account name."""
        if not _OPERATOR.fullmatch(self.operator):
            raise Invalid("operator", "must be a plain account name")


@dataclass(slots=True, kw_only=True)
class Attempt:
    """An audit event in the making: noted when something is tried, completed by how it ends.

    `emergencies` has those of `ids` that were reached by breaking the glass and by nothing else, with their patients.
    System work in bulk names no records; `count` is how many they were.
    """

    actor: Actor
    action: Action
    at: datetime
    resource: Resource = Resource.PATIENT
    patient: PatientId | None = None
    ids: tuple[UUID, ...] = ()
    count: int = 0
    outcome: Outcome = Outcome.SUCCEEDED
    reason: Reason = Reason.NONE
    fields: int = 0
    version: int = 0
    sealed_digest: bytes = field(default=b"", repr=False)
    query_mac: bytes = field(default=b"", repr=False)
    emergencies: dict[UUID, PatientId] = field(default_factory=dict)

    def refuse(self, reason: Reason) -> None:
        """End this attempt as refused by the policy."""
        self.outcome, self.reason = Outcome.REFUSED, reason

    def fail(self, cause: BaseException) -> None:
        """End this attempt as failed by `cause`, unless the policy refused it before."""
        if self.outcome is Outcome.SUCCEEDED:
            unknown = isinstance(cause, errors.OutcomeUnknown)
            self.outcome = Outcome.UNKNOWN if unknown else Outcome.FAILED
            self.reason = reason_of(cause)
            if not unknown:
                self.version, self.sealed_digest = 0, b""  # no such version was left behind

    def withhold(self, record: UUID, reason: Reason) -> None:
        """Take back a record that turned out not to be for the actor: from a list, or as a refusal of the whole."""
        if self.patient is not None and self.ids == (record,):
            self.refuse(reason)
        else:
            self.ids = tuple(one for one in self.ids if one != record)

    def reached_in_emergency(self, record: UUID, patient: PatientId) -> None:
        """Let the trail say that a record was reached by breaking the glass, and not by a tie."""
        self.emergencies[record] = patient

    def parts(self) -> "Iterator[Attempt]":
        """Yield this attempt as the trail takes it: what was reached in an emergency stands apart, by patient.

        An event has one purpose, and of a list most is seen for another.
        """
        if not self.emergencies:
            yield self
            return
        acting = replace(self.actor, purpose=Purpose.EMERGENCY)
        if self.patient is not None:
            yield replace(self, actor=acting)
            return
        yield replace(self, ids=tuple(record for record in self.ids if record not in self.emergencies))
        for patient in dict.fromkeys(self.emergencies.values()):
            ids = tuple(record for record in self.ids if self.emergencies.get(record) == patient)
            if ids:
                yield replace(self, actor=acting, patient=patient, ids=ids)

    def covers(self, resource: Resource, record: UUID) -> bool:
        """Tell whether this attempt accounts for the disclosure or change of `record`."""
        return self.outcome is Outcome.SUCCEEDED and self.resource is resource and record in self.ids


_REASONS: tuple[tuple[type[BaseException], Reason], ...] = (
    (errors.NotFound, Reason.NO_SUCH_RECORD),
    (errors.SecondFactorMissing, Reason.SECOND_FACTOR),
    (errors.Forbidden, Reason.NO_SUCH_RIGHT),
    (errors.WrongCredentials, Reason.WRONG_CREDENTIALS),
    (errors.DeadLink, Reason.WRONG_CREDENTIALS),
    (errors.SecondFactorRequired, Reason.SECOND_FACTOR),
    (errors.Invalid, Reason.INVALID),
    (errors.DuplicateIdentifier, Reason.DUPLICATE),
    (errors.DuplicateEmail, Reason.DUPLICATE),
    (errors.PractitionerHasAccount, Reason.DUPLICATE),
    (errors.Retained, Reason.RETAINED),
    (errors.Conflict, Reason.CONFLICT),
    (errors.StaleWrite, Reason.STALE),
    (errors.CannotOpen, Reason.CANNOT_OPEN),
    (errors.TooMany, Reason.TOO_MANY),
    (errors.Unavailable, Reason.BUSY),
    (CancelledError, Reason.CANCELLED),
)


def reason_of(cause: BaseException) -> Reason:
    """Return the reason code that stands for an exception."""
    return next((reason for kind, reason in _REASONS if isinstance(cause, kind)), Reason.ERROR)


@dataclass(frozen=True, slots=True)
class Entry:
    """An event as the trail keeps it: its canonical bytes, their leaf hash and the MAC over it, 32 bytes each."""

    event: AuditEvent
    encoded: bytes = field(repr=False)
    leaf: bytes
    mac: bytes
