"""Accounts: who may log in, in which role, and the sessions they have open."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from clarity.domain.access import USUAL_PURPOSE, Action, Actor, Reason, Role
from clarity.domain.errors import Invalid
from clarity.domain.ids import AccountId, PatientId, PractitionerId, RequestId, SessionId
from clarity.domain.people import Telecom, TelecomSystem
from clarity.domain.records import Resource
from clarity.domain.values import require_text

_LINKED_TO_PRACTITIONER = (Role.CLINICIAN, Role.NURSE)
_LINKED_TO_PATIENT = (Role.PATIENT, Role.DEVICE)


class AccountStatus(StrEnum):
    """Whether an account may log in. One that is invited may once its holder has chosen a password."""

    INVITED = "invited"
    ACTIVE = "active"
    DISABLED = "disabled"


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """Whoever acts for an account, as far as that decides what they may do: nothing of it is sealed.

    Clinicians and nurses are linked to the practitioner they are, patients to their own record, devices to that of
    who wears them. Nobody logs in to the account of a `machine`: it acts by its credentials.
    """

    id: AccountId
    role: Role
    status: AccountStatus = AccountStatus.ACTIVE
    machine: bool = False
    practitioner: PractitionerId | None = None
    patient: PatientId | None = None

    def __post_init__(self) -> None:
        """Raise `Invalid` if the role lacks its link or is not one for accounts."""
        if self.role in {Role.SYSTEM, Role.NOBODY}:
            raise Invalid("role", "is not one for accounts")
        if self.practitioner is None and self.role in _LINKED_TO_PRACTITIONER:
            raise Invalid("practitioner", "is needed for the account of a clinician or a nurse")
        if self.practitioner is not None and self.role not in _LINKED_TO_PRACTITIONER:
            raise Invalid("practitioner", "is only for the accounts of clinicians and nurses")
        if self.patient is None and self.role is Role.PATIENT:
            raise Invalid("patient", "is needed for a patient's account")
        if self.patient is not None and self.role not in _LINKED_TO_PATIENT:
            raise Invalid("patient", "belongs to patients and devices alone")


@dataclass(frozen=True, slots=True, kw_only=True)
class Account(Holder):
    """Somebody who may log in, by e-mail, in exactly one role."""

    email: str = field(repr=False)
    name: str = field(repr=False)
    version: int = 0

    def __post_init__(self) -> None:
        """Raise `Invalid` without e-mail address or name, and as every holder does."""
        try:
            Telecom(system=TelecomSystem.EMAIL, value=self.email)
        except Invalid as exc:
            raise Invalid("email", exc.rule) from None
        require_text("name", self.name, at_most=200)
        Holder.__post_init__(self)


def actor_of(
    account: Holder,
    request: RequestId,
    *,
    session: SessionId | None = None,
    only: frozenset[tuple[Resource, Action]] | None = None,
    operator: str = "",
) -> Actor:
    """Return who acts in a request for an account: in its role and with its links, for the usual purpose."""
    return Actor(
        id=account.id,
        role=account.role,
        request=request,
        purpose=USUAL_PURPOSE[account.role],
        practitioner=account.practitioner,
        patient=account.patient,
        session=session,
        only=only,
        operator=operator,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """An account with the hash of its password; without one, nobody can log in to it."""

    account: Account
    password_hash: str | None = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """A log-in. Its refresh token changes with each use; one that was used before ends the session.

    `refresh_digest` is the SHA-256 of the current token, 32 bytes, and `family_digest` that of the part all its tokens
    share: it recognises every spent token, however long ago it was spent, without keeping them. `client` says where it
    was opened, for its holder to recognise; `second_factor` whether that was given too.
    """

    id: SessionId
    account: AccountId
    family_digest: bytes = field(repr=False)
    refresh_digest: bytes = field(repr=False)
    created_at: datetime
    refreshed_at: datetime
    expires_at: datetime
    revoked_at: datetime | None = None
    second_factor: bool = False
    client: str = field(default="", repr=False)

    def lapse_at(self, instant: datetime, idle: timedelta) -> Reason:
        """Return why the log-in is no longer good, or `Reason.NONE`. It ends `idle` after its last refresh."""
        if self.revoked_at is not None:
            return Reason.NO_SUCH_RECORD
        lasts = instant < self.expires_at and instant < self.refreshed_at + idle
        return Reason.NONE if lasts else Reason.EXPIRED
