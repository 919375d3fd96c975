"""The route on which people see who they are here."""

from typing import Self

from clarity.api.dependencies import Accounts, EnrollingActor
from clarity.api.problems import documented
from clarity.api.routing import router_of
from clarity.api.wire import Wire
from clarity.domain.access import POLICY, Actor, Relation, right_to
from clarity.domain.accounts import Account
from clarity.domain.errors import Forbidden
from clarity.domain.ids import AccountId, PatientId, PractitionerId
from clarity.domain.patients import PatientField
from clarity.domain.records import Label

router = router_of("me")


class RightOut(Wire):
    """Something the caller's role may do: a line of the policy."""

    resource: str
    action: str
    whose: Relation
    """Whose records: anybody's, of those whose care team the caller is in, the caller's own, ..."""
    label: Label
    """How confidential the records are."""
    needs_consent: bool
    """Whether only as far as the patient consented."""
    fields: tuple[str, ...]
    """The fields that are shown, or may change."""


class OwnAccountOut(Wire):
    """The account of the caller, and what they may do: what the role may, and no more than a machine's credential."""

    id: AccountId
    email: str
    name: str
    role: str
    practitioner: PractitionerId | None
    """The practitioner the caller is."""
    patient: PatientId | None
    """The patient the caller is."""
    rights: tuple[RightOut, ...]

    @classmethod
    def of(cls, account: Account, actor: Actor) -> Self:
        """Return the shape of the `account` that `actor` acts for."""
        return cls(
            id=account.id,
            email=account.email,
            name=account.name,
            role=account.role.title,
            practitioner=account.practitioner,
            patient=account.patient,
            rights=rights_of(actor),
        )


def rights_of(actor: Actor) -> tuple[RightOut, ...]:
    """Return what the policy lets `actor` do, line by line."""
    return tuple(
        RightOut(
            resource=resource.name.lower(),
            action=action.name.lower(),
            whose=relation,
            label=label,
            needs_consent=cell.needs_consent,
            fields=tuple(str(bit.name).lower() for bit in PatientField if bit in cell.fields),
        )
        for (whom, resource, action, relation, label), cell in POLICY.cells.items()
        if whom is actor.role and right_to(actor, action, resource).exists
    )


@router.get("", responses=documented(Forbidden()))
async def view_own_account(actor: EnrollingActor, accounts: Accounts) -> OwnAccountOut:
    """Show who is logged in, and what they may do."""
    return OwnAccountOut.of(await accounts.view_own(actor), actor)
