"""How the policy decides: before a record is opened, and again when its exact label is known."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import lru_cache
from typing import TypeAlias

from clarity.domain.access.actors import Action, Actor, Reason, Relation, Role
from clarity.domain.access.consents import Consent
from clarity.domain.access.policy import POLICY
from clarity.domain.access.rules import NO_FIELDS, NOTHING, Cell, Policy, Right
from clarity.domain.ids import PatientId
from clarity.domain.patients import PatientField
from clarity.domain.records import Label, Resource, Sealed, Standing

# Whoever undoes a merge needs both: the record that went, and the one that it went into.
_ON_TOMBSTONES = frozenset({Action.VIEW_TOMBSTONE, Action.UNMERGE})


def right_to(actor: Actor, action: Action, resource: Resource = Resource.PATIENT) -> Right:
    """Return what `actor` may do `action` to, or a right to nothing if the policy has no row for it.

    A machine may do what its role may and its credential was made for.
    """
    if actor.only is not None and (resource, action) not in actor.only:
        return NOTHING
    return POLICY.right(actor.role, resource, action)


_NOBODYS = Standing()
_IN_EMERGENCY_ALONE = frozenset({Relation.EMERGENCY})

_Alike: TypeAlias = tuple[frozenset[Relation], bool, bool]
"""Which relations to a record its actor has, whether it is guarded, and whether it was taken away."""

_AlikeOpened: TypeAlias = tuple[frozenset[Relation], Label]


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What the policy said: `reason` is `NONE` for yes, and `fields` are those the answer covers.

    `relations` are those that led to yes; `consent` is the one that it rests on, if it needs one.
    """

    reason: Reason
    fields: PatientField = NO_FIELDS
    relations: frozenset[Relation] = frozenset()
    consent: Consent | None = None

    @property
    def allowed(self) -> bool:
        """Whether the answer is yes."""
        return self.reason is Reason.NONE

    @property
    def by_emergency(self) -> bool:
        """Whether the answer would be no, had the glass not been broken."""
        return self.relations == _IN_EMERGENCY_ALONE


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """Which records `actor` may do `action` to at an instant (UTC).

    Answered here for one record, in `persistence.scopes` as SQL for a table. Of records that stand alike, as those of a
    page do, it is decided once.
    """

    actor: Actor
    action: Action
    resource: Resource
    at: datetime
    _first: "dict[_Alike, Decision]" = field(default_factory=dict, init=False, repr=False, compare=False)
    _labelled: "dict[_AlikeOpened, _Labelled]" = field(default_factory=dict, init=False, repr=False, compare=False)

    @property
    def right(self) -> Right:
        """The rows of the policy that this scope comes from."""
        return right_to(self.actor, self.action, self.resource)

    @property
    def reaches_tombstones(self) -> bool:
        """Whether this scope may extend to records that were taken away."""
        return self.action in _ON_TOMBSTONES

    @property
    def reaches_the_rest(self) -> bool:
        """Whether this scope may extend to records that stand."""
        return self.action is not Action.VIEW_TOMBSTONE

    @property
    def covered(self) -> frozenset[Label]:
        """The labels of which this scope may cover records. Of any other it covers none, whatever tie or consent."""
        return frozenset(label for label in Label if any(self._cells(label)))

    @property
    def covered_freely(self) -> frozenset[Label]:
        """The labels of which this scope covers every record that stands: neither a tie nor a consent is asked for."""
        if not self.reaches_the_rest or not self.right.exists:
            return frozenset()
        cells = {label: self._cell(Relation.ANYBODY, label) for label in Label}
        return frozenset(label for label, cell in cells.items() if cell is not None and not cell.needs_consent)

    @property
    def covered_once_tied(self) -> frozenset[Label]:
        """The labels of which this scope covers every record that `before_opening` lets through.

        Whichever tie led there covers them, and without a consent.
        """
        return frozenset(
            label
            for label in Label
            if (cells := self._cells(label)) and all(cell is not None and not cell.needs_consent for cell in cells)
        )

    def _cells(self, label: Label) -> list[Cell | None]:
        """Return the cell of each relation that leads anywhere, for one label; none of an actor without a right."""
        right = self.right
        return [self._cell(relation, label) for relation in sorted(right.unguarded | right.guarded)]

    def _cell(self, relation: Relation, label: Label) -> Cell | None:
        return POLICY.cell(self.actor.role, self.resource, self.action, relation, label)

    def refuses(self, patient: PatientId, standing: Standing) -> Reason:
        """Return why this scope does not cover a record, as far as is known before opening, or `NONE` if it does."""
        return self.before_opening(patient, standing).reason

    def before_opening(self, patient: PatientId, standing: Standing) -> Decision:
        """Decide from what stands outside the seal of a record of `patient`."""
        return self._before_opening(standing, relations_of(self.actor, patient, standing))

    def _before_opening(self, standing: Standing, held: frozenset[Relation]) -> Decision:
        """Decide the same of a record to which the actor has the relations `held`."""
        alike = held, standing.guarded, standing.deleted
        decision = self._first.get(alike)
        if decision is None:
            decision = self._first[alike] = self._decided(standing, held)
        return decision

    def _decided(self, standing: Standing, held: frozenset[Relation]) -> Decision:
        if not self.right.exists:
            return Decision(reason=Reason.NO_SUCH_RIGHT)
        if standing.deleted and not self.reaches_tombstones:
            return Decision(reason=Reason.DELETED)
        if not standing.deleted and not self.reaches_the_rest:
            return Decision(reason=Reason.NO_SUCH_RECORD)
        return _as_marked(POLICY, self.actor.role, self.resource, self.action, held, guarded=standing.guarded)

    def after_opening(self, record: Sealed, label: Label, consents: Callable[[], Iterable[Consent]]) -> Decision:
        """Decide again now that the exact label is known. The patient's `consents` are asked for only if need be."""
        standing = record.standing
        if standing is None:
            return Decision(reason=Reason.NO_SUCH_RECORD)
        held = relations_of(self.actor, record.patient, standing)
        first = self._before_opening(standing, held)
        if not first.allowed:
            return first
        # The bit beside the seal is whoever writes the table's to change; the label inside is not.
        opened = held, label
        labelled = self._labelled.get(opened)
        if labelled is None:
            labelled = _as_labelled(POLICY, self.actor.role, self.resource, self.action, held, label)
            self._labelled[opened] = labelled
        if labelled.consented is not None:
            for consent in consents():
                if consent.covers(self.actor, label, self.at):
                    return replace(labelled.consented, consent=consent)
        return labelled.otherwise


@dataclass(frozen=True, slots=True)
class _Labelled:
    """What the policy says of a record by its label: `consented` if a consent covers it, of which it need not ask."""

    otherwise: Decision
    consented: Decision | None = None


# There are few answers, and to look one up takes a fifth of the time that it takes to come to it.
@lru_cache(maxsize=4096)
def _as_marked(
    policy: Policy, role: Role, resource: Resource, action: Action, held: frozenset[Relation], *, guarded: bool
) -> Decision:
    """Decide by the bit beside the seal, of a record to which a role has the relations `held`."""
    right = policy.right(role, resource, action)
    reached = held & (right.guarded if guarded else right.unguarded)
    if reached:
        return Decision(reason=Reason.NONE, fields=right.covered(reached), relations=reached)
    return Decision(reason=Reason.GUARDED if held & right.unguarded else Reason.NO_TIE)


@lru_cache(maxsize=4096)
def _as_labelled(
    policy: Policy, role: Role, resource: Resource, action: Action, held: frozenset[Relation], label: Label
) -> _Labelled:
    """Decide by the label inside, of a record to which a role has the relations `held`."""
    cells = {relation: cell for relation in held if (cell := policy.cell(role, resource, action, relation, label))}
    free = {relation: cell.fields for relation, cell in cells.items() if not cell.needs_consent}
    if not cells:
        return _Labelled(Decision(reason=Reason.LABEL))
    if free.keys() - {Relation.EMERGENCY} or len(free) == len(cells):
        return _Labelled(_allowed(free))
    # An emergency is what is left where a tie and a consent do not reach.
    otherwise = _allowed(free) if free else Decision(reason=Reason.NO_CONSENT)
    return _Labelled(otherwise, consented=_allowed({relation: cell.fields for relation, cell in cells.items()}))


def _allowed(fields: dict[Relation, PatientField]) -> Decision:
    right = Right(fields=fields)
    return Decision(reason=Reason.NONE, fields=right.covered(fields), relations=frozenset(fields))


_OF_ANYBODY = frozenset({Relation.ANYBODY})
_OF_THE_AUTHOR = frozenset({Relation.AUTHOR})
_OF_NOBODY = frozenset[Relation]()


def relations_of(actor: Actor, patient: PatientId, standing: Standing) -> frozenset[Relation]:
    """Return every relation in which `actor` stands to a record of `patient`."""
    if standing.draft:
        return _OF_THE_AUTHOR if actor.id == standing.author else _OF_NOBODY
    relations: set[Relation] = set()
    if actor.practitioner is not None and actor.practitioner in standing.care_team:
        relations.add(Relation.CARE_TEAM)
    if actor.patient is not None and actor.patient == (standing.person or patient):
        relations.add(Relation.SELF)
    if actor.id == standing.author:
        relations.add(Relation.AUTHOR)
    if actor.id in standing.emergencies:
        relations.add(Relation.EMERGENCY)
    if standing.participants and actor.practitioner in standing.participants:
        relations.add(Relation.PARTICIPANT)
    return _OF_ANYBODY | relations if relations else _OF_ANYBODY


def scope_of(actor: Actor, action: Action, resource: Resource = Resource.PATIENT, *, at: datetime) -> Scope:
    """Return which records of one kind `actor` may do `action` to at an instant."""
    return Scope(actor=actor, action=action, resource=resource, at=at)


def decide(scope: Scope, record: Sealed) -> Decision:
    """Decide before the record is opened. Absence is refused like anything else one may not see, and as fast."""
    decision = scope.before_opening(record.patient, record.standing or _NOBODYS)
    return decision if record.standing is not None else Decision(reason=Reason.NO_SUCH_RECORD)
