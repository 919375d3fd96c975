"""The gate between what was fetched and what may be opened."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Protocol
from uuid import UUID

from clarity.domain.access import (
    NO_FIELDS,
    PART2_NOTICE,
    Action,
    Actor,
    Consent,
    Decision,
    Reason,
    Relation,
    Scope,
    decide,
    right_to,
    scope_of,
)
from clarity.domain.audit import Attempt, Outcome
from clarity.domain.errors import Conflict, Forbidden, NotFound
from clarity.domain.ids import PatientId, PractitionerId
from clarity.domain.patients import Patient, PatientField
from clarity.domain.records import Label, Notice, Resource, Sealed


class Notebook(Protocol):
    """Where attempts are noted: a unit of work."""

    def note(self, attempt: Attempt) -> Attempt:
        """Remember an attempt until the work ends."""
        ...


@dataclass(frozen=True, slots=True)
class Shown:
    """What may be shown of an opened record: its fields, and the notice that has to go with them."""

    fields: PatientField
    notice: Notice | None = None


@dataclass(frozen=True, slots=True)
class Admitted:
    """A sealed record that the policy allows `attempt.actor` to see. Made by `admit` and `admit_each` alone.

    `fields` are those that it covers at most; the exact label may leave fewer. `scope` is what decided that.
    """

    record: Sealed
    attempt: Attempt
    fields: PatientField
    scope: Scope

    @property
    def care_team(self) -> frozenset[PractitionerId]:
        """The care team that the policy saw."""
        return self.record.standing.care_team if self.record.standing is not None else frozenset()

    @property
    def guarded(self) -> bool:
        """Whether the record has a label other than normal, as far as the policy saw."""
        return self.record.standing is not None and self.record.standing.guarded

    def check_label(self, label: Label, consents: Callable[[], Iterable[Consent]]) -> Shown:
        """Ask the policy again now that the exact label is known; raises `NotFound` if it says no.

        The patient's `consents` are asked for only if the answer depends on them.
        """
        decision = self.judged(label, consents)
        if not decision.allowed:
            self.attempt.withhold(self.record.id, decision.reason)
            raise NotFound
        return self.shown(label, decision)

    def require(self, *, met: bool) -> None:
        """Raise `NotFound`, and take the record out of the attempt, unless the opened record is what was looked for."""
        if not met:
            self.attempt.withhold(self.record.id, Reason.STALE)
            raise NotFound

    def judged(self, label: Label, consents: Callable[[], Iterable[Consent]]) -> Decision:
        """Return what the policy says of a version of the record, or of one to come, that has `label`."""
        return self._scope_now().after_opening(self.record, label, consents)

    def _scope_now(self) -> Scope:
        """Return what decides of the attempt, which may have turned out to be at something else since."""
        scope, attempt = self.scope, self.attempt
        as_it_was = scope.action is attempt.action and scope.actor is attempt.actor
        return scope if as_it_was else _scope_of(attempt, self.record.resource)

    def shown(self, label: Label, decision: Decision) -> Shown:
        """Return what goes out of what the policy allowed, and let the trail say how it was reached."""
        _note_emergency(self.attempt, self.record, decision)
        return Shown(decision.fields, _notice_of(label, decision))

    def require_also(self, action: Action, label: Label, consents: Callable[[], Iterable[Consent]]) -> None:
        """Raise `Forbidden`, and refuse the attempt, unless its actor may do `action` to the record, by its label."""
        scope = replace(self._scope_now(), action=action)
        if not scope.after_opening(self.record, label, consents).allowed:
            self.attempt.refuse(Reason.NO_SUCH_RIGHT)
            raise Forbidden

    def withheld(self, reason: Reason) -> Attempt:
        """Return the attempt at versions that were left out of an answer, to be noted beside that at the others."""
        return replace(self.attempt, outcome=Outcome.REFUSED, reason=reason, fields=0)

    def check_relabel(
        self, label: Label, consents: Callable[[], Iterable[Consent]], *, lose_sight: bool = False
    ) -> Shown:
        """Return what the actor is shown of the record once it has `label`.

        Raises `Conflict` if that is nothing, unless they mean to `lose_sight`: then every optional field is blank.
        """
        decision = self.judged(label, consents)
        if decision.allowed:
            return self.shown(label, decision)
        if not lose_sight:
            raise Conflict(
                "you would lose sight of this record: record a consent that covers you first, or say that you mean"
                " to (lose_sight, or --lose-sight at the command line)"
            )
        return Shown(NO_FIELDS)


def anybody(patient: Patient) -> bool:
    """Tell of any patient that they will do."""
    del patient
    return True


def admit(work: Notebook, actor: Actor, action: Action, record: Sealed, *, at: datetime) -> Admitted:
    """Ask the policy before `record` is opened, and note the attempt either way.

    Raises `NotFound` if the record does not exist or is not for `actor`: the two are never told apart.
    """
    return admit_to(work.note(Attempt(actor=actor, action=action, at=at, resource=record.resource)), record)


def admit_to(attempt: Attempt, record: Sealed) -> Admitted:
    """Ask the policy about an attempt that was noted before the record was found. Raises as `admit` does."""
    attempt.patient, attempt.ids = record.patient, (record.id,)
    scope = _scope_of(attempt, record.resource)
    decision = decide(scope, record)
    if not decision.allowed:
        attempt.refuse(decision.reason)
        raise NotFound
    _note_emergency(attempt, record, decision)
    attempt.fields = int(decision.fields)
    return Admitted(record, attempt, decision.fields, scope)


def admit_each(attempt: Attempt, records: Iterable[Sealed]) -> list[Admitted]:
    """Return those of `records` that the actor of a noted `attempt` may see, and name them in it."""
    admitted = []
    scope = _scope_of(attempt, attempt.resource)
    for record in records:
        if record.resource is not scope.resource:
            scope = _scope_of(attempt, record.resource)
        decision = decide(scope, record)
        if decision.allowed:
            admitted.append(Admitted(record, attempt, decision.fields, scope))
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


def require_right(attempt: Attempt, action: Action, *, own: bool = False) -> None:
    """Raise `Forbidden`, and refuse the noted attempt, unless its actor may do `action` to everybody's records.

    With `own`, the right to do it to the actor's own will do.
    """
    right = right_to(attempt.actor, action, attempt.resource)
    if not right.everybodys and not (own and right.own):
        attempt.refuse(Reason.NO_SUCH_RIGHT)
        raise Forbidden


def _scope_of(attempt: Attempt, resource: Resource) -> Scope:
    return scope_of(attempt.actor, attempt.action, resource, at=attempt.at)


def _note_emergency(attempt: Attempt, record: Sealed, decision: Decision) -> None:
    if decision.by_emergency:
        attempt.reached_in_emergency(record.id, record.patient)


def _notice_of(label: Label, decision: Decision) -> Notice | None:
    if label is not Label.PART2 or decision.relations == {Relation.SELF}:
        return None
    consent = decision.consent
    if consent is None:
        return Notice(text=PART2_NOTICE)
    return Notice(text=PART2_NOTICE, consent=consent.id, scope=consent.scope)
