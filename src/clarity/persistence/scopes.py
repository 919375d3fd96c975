"""The scopes of the policy as SQL. `Scope.refuses` answers for one record what this answers for a table."""

from typing import Any

from sqlalchemy import ColumnElement, and_, false, or_, true

from clarity.domain.access import Relation, Right, Scope
from clarity.domain.records import TOMBSTONE
from clarity.persistence.break_glass.tables import broke_glass_for
from clarity.persistence.care_team import cares_for


def in_scope(scope: Scope, rows: Any, patient: Any) -> ColumnElement[bool]:
    """Return the condition under which `scope` covers a row of the sealed table `rows`, as far as is known unopened.

    `patient` is the column that names whose record it is.
    """
    right = scope.right
    reached = [
        and_(_related(scope, relation, rows, patient), _labelled(right, relation, rows))
        for relation in sorted(right.unguarded | right.guarded)
    ]
    return and_(_stands(scope, rows), or_(false(), *reached))


def _stands(scope: Scope, rows: Any) -> ColumnElement[bool]:
    """Return the condition that a row was taken away or was not, as `scope` asks."""
    if not scope.reaches_tombstones:
        stands: ColumnElement[bool] = rows.status != TOMBSTONE
        return stands
    gone: ColumnElement[bool] = rows.status == TOMBSTONE
    return true() if scope.reaches_the_rest else gone


def _related(scope: Scope, relation: Relation, rows: Any, patient: Any) -> ColumnElement[bool]:
    """Return the condition that the actor of `scope` has `relation` to a row."""
    actor = scope.actor
    if relation is Relation.ANYBODY:
        return true()
    if relation is Relation.CARE_TEAM:
        return false() if actor.practitioner is None else cares_for(actor.practitioner, patient)
    if relation is Relation.SELF:
        return false() if actor.patient is None else patient == actor.patient
    if relation is Relation.EMERGENCY:
        return broke_glass_for(actor.id, patient, scope.at)
    author: ColumnElement[bool] = rows.created_by == actor.id
    return author if rows.authored else false()


def _labelled(right: Right, relation: Relation, rows: Any) -> ColumnElement[bool]:
    """Return the condition that a row's label may be one that `relation` covers."""
    if relation in right.unguarded & right.guarded:
        return true()
    bit: ColumnElement[bool] = rows.guarded.is_(relation in right.guarded)
    return bit
