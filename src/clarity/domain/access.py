"""The one policy: who may do what to which records, in two steps.

Before a record is opened, `decide` answers from what stands outside the seal. After it is opened, the exact
label and the fields to show are known: `decide_label`. Every path of the system asks here and nowhere else.
"""

from dataclasses import dataclass
from enum import IntEnum, StrEnum
from uuid import UUID

from clarity.domain.ids import PatientId, PractitionerId, RequestId, SessionId
from clarity.domain.patients import ALL_FIELDS, DEMOGRAPHICS, PatientField
from clarity.domain.records import Label, Resource, Sealed, Standing


class Role(IntEnum):
    """What an account is for. The numbers are permanent; `SYSTEM` and `NOBODY` belong to no account."""

    SYSTEM = 0
    ADMINISTRATOR = 1
    CLINICIAN = 2
    NURSE = 3
    FRONT_DESK = 4
    COMPLIANCE_OFFICER = 5
    RESEARCHER = 6
    PATIENT = 7
    DEVICE = 8
    NOBODY = 9

    @property
    def title(self) -> str:
        """The role as it is written: "front-desk"."""
        return self.name.lower().replace("_", "-")

    @classmethod
    def titled(cls, title: str) -> "Role":
        """Return the role written as `title`; raises `KeyError` if there is none."""
        return cls[title.upper().replace("-", "_")]


class Purpose(IntEnum):
    """Why a record is used (HL7 v3 PurposeOfUse). The numbers are permanent."""

    TREATMENT = 1
    OPERATIONS = 2
    PATIENT_REQUEST = 3
    RESEARCH = 4
    SYSTEM_ADMINISTRATION = 5
    EMERGENCY = 6


USUAL_PURPOSE = {
    Role.SYSTEM: Purpose.SYSTEM_ADMINISTRATION,
    Role.ADMINISTRATOR: Purpose.SYSTEM_ADMINISTRATION,
    Role.CLINICIAN: Purpose.TREATMENT,
    Role.NURSE: Purpose.TREATMENT,
    Role.FRONT_DESK: Purpose.OPERATIONS,
    Role.COMPLIANCE_OFFICER: Purpose.OPERATIONS,
    Role.RESEARCHER: Purpose.RESEARCH,
    Role.PATIENT: Purpose.PATIENT_REQUEST,
    Role.DEVICE: Purpose.TREATMENT,
    Role.NOBODY: Purpose.OPERATIONS,
}
"""The purpose of a request that states none, by the role of its actor."""


class Action(IntEnum):
    """What is done to a record. The numbers are permanent: audit events hold them."""

    VIEW = 1
    LIST = 2
    SEARCH = 3
    SEARCH_BY_SSN = 4
    VIEW_HISTORY = 5
    REGISTER = 6
    CHANGE = 7
    CHANGE_IDENTIFIERS = 8
    CHANGE_CARE_TEAM = 9
    DISCHARGE = 10
    DELETE = 11
    IMPORT = 12
    LOG_IN = 13
    LOG_OUT = 14
    REFRESH = 15
    CHANGE_STATUS = 16
    RESET_PASSWORD = 17


class Reason(IntEnum):
    """Why an attempt ended as it did. The numbers are permanent."""

    NONE = 0
    NO_SUCH_RECORD = 1
    NO_SUCH_RIGHT = 2
    NO_TIE = 3
    GUARDED = 4
    LABEL = 5
    DELETED = 6
    STALE = 7
    DUPLICATE = 8
    INVALID = 9
    CANNOT_OPEN = 10
    BUSY = 11
    CANCELLED = 12
    ERROR = 13
    WRONG_CREDENTIALS = 14
    DISABLED = 15
    TOO_MANY = 16
    REPLAYED = 17
    CONFLICT = 18


@dataclass(frozen=True, slots=True, kw_only=True)
class Actor:
    """Who acts in one request, in which role and for which purpose.

    `id` is the account, or the permanent id of a system actor; then `operator` is the operating-system user.
    `session` is the log-in that the request came with, if it came with one.
    """

    id: UUID
    role: Role
    request: RequestId
    purpose: Purpose = Purpose.TREATMENT
    practitioner: PractitionerId | None = None
    patient: PatientId | None = None
    operator: str = ""
    session: SessionId | None = None


ANONYMOUS = UUID(int=0)
"""Whoever is not logged in, or failed to; their role is `NOBODY`."""

OPERATOR = UUID(int=1)
"""The system actor behind the command line."""


class Reach(StrEnum):
    """Whose records a role reaches."""

    ALL = "all"
    CARE_TEAM = "care team of"
    SELF = "self"
    NONE = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """Which patients' records an actor reaches: answered here for one record, in `persistence.scopes` as SQL.

    A guarded record is reached only by the care team, the patient and the system, however wide the reach.
    """

    reach: Reach
    practitioner: PractitionerId | None = None
    patient: PatientId | None = None
    guarded: bool = False

    def refuses(self, patient: PatientId, standing: Standing) -> Reason:
        """Return why this scope does not cover the record, or `Reason.NONE` if it does."""
        if self.reach is Reach.NONE:
            return Reason.NO_SUCH_RIGHT
        if standing.deleted:
            return Reason.DELETED
        tied = self.practitioner in standing.care_team
        if (self.reach is Reach.CARE_TEAM and not tied) or (self.reach is Reach.SELF and self.patient != patient):
            return Reason.NO_TIE
        if standing.guarded and not (self.guarded or tied or self.reach is Reach.SELF):
            return Reason.GUARDED
        return Reason.NONE


@dataclass(frozen=True, slots=True)
class Right:
    """One row of the policy: whose records `role` may do `action` to, and the fields that are shown or may change."""

    reach: Reach
    fields: PatientField = PatientField(0)


NOTHING = Right(Reach.NONE)
_CLINICAL = (Action.VIEW, Action.LIST, Action.SEARCH, Action.SEARCH_BY_SSN, Action.CHANGE, Action.DISCHARGE)
_DESK = (Action.VIEW, Action.LIST, Action.SEARCH, Action.SEARCH_BY_SSN, Action.REGISTER, Action.CHANGE)
_STAFF = (Role.ADMINISTRATOR, Role.CLINICIAN, Role.NURSE, Role.FRONT_DESK, Role.COMPLIANCE_OFFICER)
_OF_ACCOUNTS = tuple(role for role in Role if role not in {Role.SYSTEM, Role.NOBODY})
_OWN_ACCOUNT = (Action.VIEW, Action.LOG_IN, Action.REFRESH, Action.LOG_OUT)
_ALL_ACCOUNTS = (Action.LIST, Action.REGISTER, Action.CHANGE_STATUS, Action.RESET_PASSWORD)
_STAFF_RECORDS = (Resource.PRACTITIONER, Resource.ACCOUNT, Resource.SESSION)
_CARER_FIELDS = ALL_FIELDS & ~PatientField.SOURCES
_DESK_FIELDS = DEMOGRAPHICS & ~(PatientField.SOURCES | PatientField.LABEL)

# Registering, or changing an identifier, discloses by its refusal that somebody has that MRN. Both therefore
# need demographics of everybody, which the front desk has and the care team has not.
POLICY: dict[tuple[Role, Resource, Action], Right] = {
    **{(Role.SYSTEM, Resource.PATIENT, action): Right(Reach.ALL, ALL_FIELDS) for action in Action},
    **{(Role.CLINICIAN, Resource.PATIENT, action): Right(Reach.CARE_TEAM, _CARER_FIELDS) for action in _CLINICAL},
    (Role.CLINICIAN, Resource.PATIENT, Action.VIEW_HISTORY): Right(Reach.CARE_TEAM, _CARER_FIELDS),
    (Role.CLINICIAN, Resource.PATIENT, Action.CHANGE_CARE_TEAM): Right(Reach.CARE_TEAM, PatientField.CARE_TEAM),
    **{
        (Role.NURSE, Resource.PATIENT, action): Right(Reach.CARE_TEAM, _CARER_FIELDS & ~PatientField.LABEL)
        for action in (Action.VIEW, Action.LIST, Action.SEARCH, Action.CHANGE, Action.VIEW_HISTORY)
    },
    **{(Role.FRONT_DESK, Resource.PATIENT, action): Right(Reach.ALL, _DESK_FIELDS) for action in _DESK},
    (Role.FRONT_DESK, Resource.PATIENT, Action.CHANGE_IDENTIFIERS): Right(Reach.ALL, PatientField.IDENTIFIERS),
    (Role.FRONT_DESK, Resource.PATIENT, Action.CHANGE_CARE_TEAM): Right(Reach.ALL, PatientField.CARE_TEAM),
    (Role.PATIENT, Resource.PATIENT, Action.VIEW): Right(Reach.SELF, _CARER_FIELDS & ~PatientField.NOTES),
    (Role.PATIENT, Resource.PATIENT, Action.LIST): Right(Reach.SELF, _CARER_FIELDS & ~PatientField.NOTES),
    (Role.PATIENT, Resource.PATIENT, Action.SEARCH): Right(Reach.SELF, _CARER_FIELDS & ~PatientField.NOTES),
    **{(Role.SYSTEM, resource, action): Right(Reach.ALL) for resource in _STAFF_RECORDS for action in Action},
    **{(role, Resource.PRACTITIONER, Action.LIST): Right(Reach.ALL) for role in _STAFF},
    **{(Role.ADMINISTRATOR, Resource.ACCOUNT, action): Right(Reach.ALL) for action in _ALL_ACCOUNTS},
    **{(role, Resource.ACCOUNT, action): Right(Reach.SELF) for role in _OF_ACCOUNTS for action in _OWN_ACCOUNT},
}


def right_to(role: Role, action: Action, resource: Resource = Resource.PATIENT) -> Right:
    """Return the row of the policy, or a right to nothing if it has none."""
    return POLICY.get((role, resource, action), NOTHING)


def scope_of(actor: Actor, action: Action) -> Scope:
    """Return which patients `actor` may do `action` to."""
    return Scope(
        reach=right_to(actor.role, action).reach,
        practitioner=actor.practitioner,
        patient=actor.patient,
        guarded=actor.role is Role.SYSTEM,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What the policy said: `reason` is `NONE` for yes, and `fields` are those the answer covers."""

    reason: Reason
    fields: PatientField

    @property
    def allowed(self) -> bool:
        """Whether the answer is yes."""
        return self.reason is Reason.NONE


def decide(actor: Actor, action: Action, record: Sealed) -> Decision:
    """Decide before the record is opened. Absence is refused like anything else one may not see."""
    right = right_to(actor.role, action, record.resource)
    if record.standing is None:
        return Decision(reason=Reason.NO_SUCH_RECORD, fields=PatientField(0))
    reason = scope_of(actor, action).refuses(record.patient, record.standing)
    return Decision(reason=reason, fields=right.fields if reason is Reason.NONE else PatientField(0))


def decide_label(actor: Actor, record: Sealed, label: Label) -> Reason:
    """Decide again once the exact label is known; return `Reason.NONE` for yes.

    A restricted record is for the care team, the patient and the system; psychotherapy notes are for their
    author alone (45 CFR 164.501); records under 42 CFR Part 2 for nobody but their author until a consent says so.
    """
    standing = record.standing
    if label is Label.NORMAL or standing is None:
        return Reason.NONE if standing is not None else Reason.NO_SUCH_RECORD
    if label is Label.RESTRICTED:
        tied = actor.practitioner in standing.care_team or actor.patient == record.patient
        return Reason.NONE if tied or actor.role is Role.SYSTEM else Reason.LABEL
    return Reason.NONE if standing.author == actor.id else Reason.LABEL
