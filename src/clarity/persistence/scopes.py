"""The scopes of the policy as SQL. `Scope.refuses` answers for one record what this answers for a table."""

from sqlalchemy import ColumnElement, and_, exists, false, or_, true

from clarity.domain.access import Reach, Scope
from clarity.domain.ids import PractitionerId
from clarity.domain.patients import PatientStatus
from clarity.persistence.patients.tables import CareTeamRow, PatientRow


def in_scope(scope: Scope) -> ColumnElement[bool]:
    """Return the condition on `patients` under which `scope` covers the record."""
    if scope.reach is Reach.NONE:
        return false()
    tied = false() if scope.practitioner is None else cared_for_by(scope.practitioner)
    own = PatientRow.id == scope.patient if scope.patient is not None else false()
    reached = {Reach.ALL: true(), Reach.CARE_TEAM: tied, Reach.SELF: own}[scope.reach]
    unguarded = (
        true()
        if scope.guarded
        else or_(PatientRow.guarded.is_(False), tied, own if scope.reach is Reach.SELF else false())
    )
    return and_(PatientRow.status != PatientStatus.DELETED.value, reached, unguarded)


def cared_for_by(practitioner: PractitionerId) -> ColumnElement[bool]:
    """Return the condition on `patients` that `practitioner` is on the care team now."""
    return exists().where(
        CareTeamRow.practitioner_id == practitioner,
        CareTeamRow.patient_id == PatientRow.id,
        CareTeamRow.until_version.is_(None),
    )
