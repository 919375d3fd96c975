"""The scopes of the policy as SQL. `Scope.refuses` answers for one record what this answers for a table."""

from typing import Any

from sqlalchemy import ColumnElement, and_, false, or_, true

from clarity.domain.access import Reach, Scope
from clarity.domain.records import TOMBSTONE
from clarity.persistence.care_team import cares_for


def in_scope(scope: Scope, rows: Any, patient: Any) -> ColumnElement[bool]:
    """Return the condition under which `scope` covers a row of the sealed table `rows`.

    `patient` is the column that names whose record it is.
    """
    if scope.reach is Reach.NONE:
        return false()
    tied = false() if scope.practitioner is None else cares_for(scope.practitioner, patient)
    own = false() if scope.patient is None else patient == scope.patient
    reached = {Reach.ALL: true(), Reach.CARE_TEAM: tied, Reach.SELF: own}[scope.reach]
    unguarded = true() if scope.guarded or scope.reach is Reach.SELF else or_(rows.guarded.is_(False), tied)
    return and_(rows.status != TOMBSTONE, reached, unguarded)
