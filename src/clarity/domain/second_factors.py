"""The second factor of an account: one-time codes from a device, and recovery codes for when it is lost."""

from dataclasses import dataclass, field
from datetime import datetime

from clarity.domain.access import POLICY, Policy, Relation, Role
from clarity.domain.ids import AccountId
from clarity.domain.records import Resource

_RECORDS = frozenset({Resource.PATIENT, Resource.RESEARCH_SUBJECT})
_WAYS_IN = frozenset({Resource.ACCOUNT, Resource.SESSION, Resource.CREDENTIAL})


@dataclass(frozen=True, slots=True, kw_only=True)
class SecondFactor:
    """The secret that an account shares with the device of its holder; base32, 32 characters.

    It counts once it was confirmed with a code. `last_step` is the time step of the last code that was accepted: no
    code of that step or an earlier one is accepted again (RFC 6238, 5.2).
    """

    account: AccountId
    secret: str = field(repr=False)
    created_at: datetime
    confirmed_at: datetime | None = None
    last_step: int = 0

    @property
    def counts(self) -> bool:
        """Whether it was confirmed, and is asked for at each log-in."""
        return self.confirmed_at is not None


def roles_that_need_one(policy: Policy) -> frozenset[Role]:
    """Return the roles for which a password alone is too little: they are shown records, or decide who gets in.

    Read from the policy, so that a role which is given a right to records tomorrow needs a second factor tomorrow.
    """
    return frozenset(
        role
        for (role, resource, _, relation, _), cell in policy.cells.items()
        if (resource in _RECORDS and cell.fields) or (resource in _WAYS_IN and relation is Relation.ANYBODY)
    )


NEEDS_SECOND_FACTOR = roles_that_need_one(POLICY)
"""The roles whose log-in needs a second factor, where the practice requires one."""
