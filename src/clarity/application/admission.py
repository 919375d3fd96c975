"""The gate between what was fetched and what may be opened."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol
from uuid import UUID

from clarity.domain.access import Action, Actor, Reach, Reason, decide, decide_label, right_to
from clarity.domain.audit import Attempt
from clarity.domain.errors import Forbidden, NotFound
from clarity.domain.ids import PatientId, PractitionerId
from clarity.domain.patients import PatientField
from clarity.domain.records import Label, Resource, Sealed


class Notebook(Protocol):
    """Where attempts are noted: a unit of work."""

    def note(self, attempt: Attempt) -> Attempt:
        """Remember an attempt until the work ends."""
        ...


@dataclass(frozen=True, slots=True)
class Admitted:
    """A sealed record that the policy allows `attempt.actor` to see. Made by `admit` and `admit_each` alone."""

    record: Sealed
    attempt: Attempt
    fields: PatientField

    @property
    def care_team(self) -> frozenset[PractitionerId]:
        """The care team that the policy saw."""
        return self.record.standing.care_team if self.record.standing is not None else frozenset()

    def check_label(self, label: Label) -> None:
        """Ask the policy again now that the exact label is known; raises `NotFound` if it says no."""
        reason = decide_label(self.attempt.actor, self.record, label)
        if reason is not Reason.NONE:
            self.attempt.withhold(self.record.id, reason)
            raise NotFound


def admit(work: Notebook, actor: Actor, action: Action, record: Sealed, *, at: datetime) -> Admitted:
    """Ask the policy before `record` is opened, and note the attempt either way.

    Raises `NotFound` if the record does not exist or is not for `actor`: the two are never told apart.
    """
    attempt = work.note(
        Attempt(
            actor=actor,
            action=action,
            at=at,
            resource=record.resource,
            patient=record.patient,
            ids=(record.id,),
        )
    )
    decision = decide(actor, action, record)
    if not decision.allowed:
        attempt.refuse(decision.reason)
        raise NotFound
    attempt.fields = int(decision.fields)
    return Admitted(record, attempt, decision.fields)


def admit_each(attempt: Attempt, records: Iterable[Sealed]) -> list[Admitted]:
    """Return those of `records` that the actor of a noted `attempt` may see, and name them in it."""
    admitted = []
    for record in records:
        decision = decide(attempt.actor, attempt.action, record)
        if decision.allowed:
            admitted.append(Admitted(record, attempt, decision.fields))
            attempt.fields |= int(decision.fields)
    attempt.ids = tuple(entry.record.id for entry in admitted)
    return admitted


def admit_new(
    work: Notebook, actor: Actor, action: Action, resource: Resource, record: UUID, *, at: datetime
) -> Attempt:
    """Ask the policy before a record is made, and note the attempt either way.

    Raises `Forbidden` unless `actor` may do `action` to everybody's records: what is new has no ties yet.
    """
    patient = PatientId(record) if resource is Resource.PATIENT else None
    attempt = work.note(Attempt(actor=actor, action=action, at=at, resource=resource, patient=patient, ids=(record,)))
    require_right(attempt, action)
    return attempt


def require_right(attempt: Attempt, action: Action) -> None:
    """Raise `Forbidden`, and refuse the noted attempt, unless its actor may do `action` to everybody's records."""
    if right_to(attempt.actor.role, action, attempt.resource).reach is not Reach.ALL:
        attempt.refuse(Reason.NO_SUCH_RIGHT)
        raise Forbidden
