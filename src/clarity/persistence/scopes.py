"""The scopes of the policy as SQL. `Scope.refuses` answers for one record what this answers for a table."""

from collections.abc import Hashable
from typing import Any

from sqlalchemy import BindParameter, ColumnElement, and_, bindparam, false, literal_column, or_, true

from clarity.domain.access import Relation, Right, Scope, relations_of
from clarity.domain.dates import CLOCKS_DIFFER
from clarity.domain.records import DRAFT, TOMBSTONE, Sealed
from clarity.persistence.break_glass.tables import broke_glass_for
from clarity.persistence.care_team import cares_for
from clarity.persistence.types import Instant, Uuid16

# Not a parameter: where few records are gone, PostgreSQL guesses so badly for one that it would plan each time anew.
_GONE: ColumnElement[str] = literal_column(f"'{TOMBSTONE}'")
_DRAFT: ColumnElement[str] = literal_column(f"'{DRAFT}'")


def in_scope(scope: Scope, rows: Any, patient: Any) -> ColumnElement[bool]:
    """Return the condition under which `scope` covers a row of the sealed table `rows`, as far as is known unopened.

    `patient` is the column that names whose record it is. What tells one actor from another stands in parameters that
    have names: scopes of one `form_of` have one condition, and differ in what `values_of` says.
    """
    right = scope.right
    reached = [
        and_(_related(scope, relation, rows, patient), _labelled(right, relation, rows))
        for relation in sorted(right.unguarded | right.guarded)
    ]
    return and_(_stands(scope, rows), or_(false(), *reached))


def in_chart(scope: Scope, rows: Any, whose: Sealed) -> ColumnElement[bool]:
    """Return the condition under which `scope` covers a row in the chart of the patient whose own record is `whose`.

    How the actor stands to the patient is known; how to the row, as its author or as whom it is about, the row tells.
    """
    standing = whose.standing
    if standing is None or standing.deleted:
        return false()
    right, held = scope.right, relations_of(scope.actor, whose.patient, standing)
    ties = {
        relation: tie
        for relation in sorted(right.unguarded | right.guarded)
        if (tie := _tied(scope, relation, rows, held)) is not None
        and (not standing.guarded or relation in right.guarded)
    }
    labels = {relation: true() if standing.guarded else _labelled(right, relation, rows) for relation in ties}
    covered = or_(false(), *(and_(tie, labels[relation]) for relation, tie in ties.items()))
    if rows.drafted:
        own = [and_(ties[Relation.AUTHOR], labels[Relation.AUTHOR])] if Relation.AUTHOR in ties else []
        covered = or_(and_(rows.status != _DRAFT, covered), and_(rows.status == _DRAFT, or_(false(), *own)))
    return and_(rows.status != _GONE, covered)


def _tied(scope: Scope, relation: Relation, rows: Any, held: frozenset[Relation]) -> ColumnElement[bool] | None:
    """Return the condition that the actor has `relation` to a row of a patient to whom they have those `held`."""
    if relation is Relation.AUTHOR:
        author: ColumnElement[bool] = rows.created_by == scope.actor.id
        return author if rows.authored else None
    if relation is Relation.PARTICIPANT:
        if rows.participant is None or scope.actor.practitioner is None:
            return None
        about: ColumnElement[bool] = getattr(rows, rows.participant) == scope.actor.practitioner
        return about
    return true() if relation in held else None


def form_of(scope: Scope) -> Hashable:
    """Return all of `scope` that tells how the condition reads."""
    right, actor = scope.right, scope.actor
    tied = actor.practitioner is not None, actor.patient is not None
    return right.unguarded, right.guarded, scope.reaches_tombstones, scope.reaches_the_rest, tied


def values_of(scope: Scope) -> dict[str, Any]:
    """Return the values of the condition's parameters."""
    actor = scope.actor
    return {
        "actor": actor.id,
        "actors_practitioner": actor.practitioner,
        "actors_patient": actor.patient,
        "at": scope.at,
        "soon_after": scope.at + CLOCKS_DIFFER,
    }


def _stands(scope: Scope, rows: Any) -> ColumnElement[bool]:
    """Return the condition that a row was taken away or was not, as `scope` asks."""
    if not scope.reaches_tombstones:
        stands: ColumnElement[bool] = rows.status != _GONE
        return stands
    gone: ColumnElement[bool] = rows.status == _GONE
    return true() if scope.reaches_the_rest else gone


def _related(scope: Scope, relation: Relation, rows: Any, patient: Any) -> ColumnElement[bool]:
    """Return the condition that the actor of `scope` has `relation` to a row."""
    actor, values = scope.actor, values_of(scope)

    def value(name: str, kind: Any = Uuid16) -> BindParameter[Any]:
        return bindparam(name, values[name], kind)

    if relation is Relation.ANYBODY:
        return true()
    if relation is Relation.CARE_TEAM:
        return false() if actor.practitioner is None else cares_for(value("actors_practitioner"), patient)
    if relation is Relation.SELF:
        return false() if actor.patient is None else patient == value("actors_patient")
    if relation is Relation.EMERGENCY:
        return broke_glass_for(value("actor"), patient, value("at", Instant), value("soon_after", Instant))
    if relation is Relation.PARTICIPANT:
        return false()  # of a record that is about its patient alone
    author: ColumnElement[bool] = rows.created_by == value("actor")
    return author if rows.authored else false()


def _labelled(right: Right, relation: Relation, rows: Any) -> ColumnElement[bool]:
    """Return the condition that a row's label may be one that `relation` covers."""
    if relation in right.unguarded & right.guarded:
        return true()
    bit: ColumnElement[bool] = rows.guarded.is_(relation in right.guarded)
    return bit
