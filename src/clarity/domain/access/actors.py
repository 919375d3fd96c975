"""Those who act, and the words of the policy: roles, purposes, actions, relations, reasons."""

from dataclasses import dataclass
from enum import IntEnum, StrEnum
from uuid import UUID

from clarity.domain.ids import PatientId, PractitionerId, RequestId, SessionId
from clarity.domain.records import Resource


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
    ACTIVATE = 18
    CHANGE_ROLE = 19
    CHANGE_PASSWORD = 20
    REQUEST_RESET = 21
    ENROL_SECOND_FACTOR = 22
    REMOVE_SECOND_FACTOR = 23
    REVOKE = 24
    REACTIVATE = 25
    RECORD_DEATH = 26
    CHANGE_LEGAL_HOLD = 27
    OVERRIDE_RETENTION = 28
    BREAK_GLASS = 29
    REVIEW = 30
    MERGE = 31
    UNMERGE = 32
    WITHDRAW = 33
    VIEW_TOMBSTONE = 34
    LIST_LEGAL_HOLDS = 35
    EXPORT = 36
    ACCOUNT_FOR = 37
    REPORT = 38
    CANCEL = 39
    COMPLETE = 40
    SIGN = 41
    COSIGN = 42
    REQUEST_AMENDMENT = 43
    DECIDE_AMENDMENT = 44
    STOP = 45

    @property
    def title(self) -> str:
        """The action as it is written: "change care team"."""
        return self.name.lower().replace("_", " ")


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
    NO_CONSENT = 19
    SECOND_FACTOR = 20
    EXPIRED = 21
    RETAINED = 22


class Relation(StrEnum):
    """How an actor stands to a record. One record may be reached by several."""

    ANYBODY = "anybody's"
    """No tie is needed."""
    CARE_TEAM = "care team's"
    """The actor is linked to a practitioner who is on the patient's care team."""
    SELF = "own"
    """The record is the actor's: of the patient they are linked to, or their own account."""
    AUTHOR = "author's"
    """The actor made the record. A patient's own record has no author: to register somebody is to author nothing."""
    EMERGENCY = "break-glass"
    """The actor broke the glass for this patient, and the time is not over."""
    PARTICIPANT = "participant's"
    """The actor is linked to a practitioner whom the record itself is about, such as that of an appointment."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Actor:
    """Who acts in one request, in which role and for which purpose.

    `id` is the account, or the permanent id of a system actor. `operator` says who acts for it, where that is not the
    account's one holder: the operating-system user for a system actor, the id of the credential for a machine.
    `session` is the log-in that the request came with. A request that came with a machine's credential has none, and
    may do no more than what the credential was made for: `only`, if that is not `None`.
    """

    id: UUID
    role: Role
    request: RequestId
    purpose: Purpose = Purpose.TREATMENT
    practitioner: PractitionerId | None = None
    patient: PatientId | None = None
    operator: str = ""
    session: SessionId | None = None
    only: frozenset[tuple[Resource, Action]] | None = None


ANONYMOUS = UUID(int=0)
"""Whoever is not logged in, or failed to; their role is `NOBODY`."""

OPERATOR = UUID(int=1)
"""The system actor behind the command line."""

SENDER = UUID(int=2)
"""The system actor that sends what waits in the outbox."""

WATCH = UUID(int=3)
"""The system actor that looks through the trail for unusual access."""

INDEXER = UUID(int=4)
"""The system actor that fills the search index of a server."""


def of_system(actor: UUID, request: RequestId, *, operator: str = "") -> Actor:
    """Return one who acts without an account, in one request; `operator` is who runs the process, if that counts."""
    purpose = USUAL_PURPOSE[Role.SYSTEM]
    return Actor(id=actor, role=Role.SYSTEM, request=request, purpose=purpose, operator=operator)


def nobody(request: RequestId) -> Actor:
    """Return whoever is not logged in, or failed to, in one request."""
    return Actor(id=ANONYMOUS, role=Role.NOBODY, request=request, purpose=USUAL_PURPOSE[Role.NOBODY])
