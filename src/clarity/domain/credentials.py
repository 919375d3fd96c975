"""Credentials of machines: what services and devices show instead of a log-in, and how far each reaches."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from clarity.domain.access import POLICY, Action, Reason, Role
from clarity.domain.errors import Invalid
from clarity.domain.ids import AccountId, CredentialId
from clarity.domain.records import Resource
from clarity.domain.values import require_text

PREFIX: Final = "clarity_"
"""How the text of every credential begins: scanners for secrets know it by that, and no access token begins so."""

LONGEST: Final = timedelta(days=365)
"""How long a credential is good for at most: half of what NIST SP 800-57 Part 1 rev. 5, table 1 allows."""

AccessScope = tuple[Resource, Action]
"""One thing that a credential is good for."""

# Who may do what is decided by people. A machine that could make accounts, credentials or passwords could make itself
# a wider reach than its own.
_OF_IDENTITIES = frozenset({Resource.ACCOUNT, Resource.SESSION, Resource.CREDENTIAL})
_ABOUT_IDENTITIES = frozenset({(Resource.ACCOUNT, Action.VIEW), (Resource.ACCOUNT, Action.LIST)})
# These stand on the judgement of the person who does them, and the trail is to name that person.
_OF_PEOPLE = frozenset({Action.BREAK_GLASS, Action.REVIEW, Action.OVERRIDE_RETENTION})


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineCredential:
    """What one machine acts by under the account of a machine, until it expires or is revoked.

    `scopes` are all it is good for, as far as the role of the account goes. The secret itself is nowhere.
    """

    id: CredentialId
    account: AccountId
    name: str = field(repr=False)
    scopes: frozenset[AccessScope]
    created_at: datetime
    created_by: UUID
    expires_at: datetime
    revoked_at: datetime | None = None

    def __post_init__(self) -> None:
        """Raise `Invalid` naming the first field that breaks a rule."""
        require_text("name", self.name, at_most=200)
        if not self.scopes:
            raise Invalid("scopes", "must not be empty")
        if not timedelta() < self.expires_at - self.created_at <= LONGEST:
            raise Invalid("expires_at", f"must be later than now, by {LONGEST.days} days at most")

    def lapse_at(self, instant: datetime) -> Reason:
        """Return why this credential does not hold at an instant, or `Reason.NONE`."""
        if self.revoked_at is not None:
            return Reason.DISABLED
        return Reason.NONE if instant < self.expires_at else Reason.EXPIRED


def grantable(role: Role) -> frozenset[AccessScope]:
    """Return all that a machine in `role` can be given: what the policy has for the role, but for what people do."""
    allowed = {(resource, action) for whom, resource, action, *_ in POLICY.cells if whom is role}
    return frozenset(scope for scope in allowed if _is_for_machines(*scope))


def read_scopes(texts: Iterable[str], role: Role) -> frozenset[AccessScope]:
    """Return scopes as they are written ("patient:view"). Raises `Invalid` for one that `role` cannot be given."""
    known = {write_scope(scope): scope for scope in grantable(role)}
    scopes = set()
    for position, text in enumerate(texts):
        if text not in known:
            raise Invalid(
                f"scopes.{position}",
                f"must be one of {', '.join(sorted(known))}"
                if known
                else "nothing can be allowed to a machine in this role",
            )
        scopes.add(known[text])
    return frozenset(scopes)


def write_scope(scope: AccessScope) -> str:
    """Return a scope as it is written: "patient:view"."""
    resource, action = scope
    return f"{resource.name}:{action.name}".lower()


def _is_for_machines(resource: Resource, action: Action) -> bool:
    if resource in _OF_IDENTITIES:
        return (resource, action) in _ABOUT_IDENTITIES
    return action not in _OF_PEOPLE
