"""The routes on other people's accounts, for administrators, and their shapes."""

from typing import Annotated, Any, Literal, Self

from fastapi import Query, Request, Response
from pydantic import ConfigDict, Field
from starlette.exceptions import HTTPException

from clarity.api.dependencies import Accounts, CurrentActor, IdempotencyKey
from clarity.api.problems import documented
from clarity.api.routing import router_of
from clarity.api.wire import Json, Limit, PageOut, Received, Wire, page_of
from clarity.application.patients import RepeatKey
from clarity.domain.access import Role
from clarity.domain.accounts import Account, AccountStatus
from clarity.domain.errors import (
    Conflict,
    DuplicateEmail,
    Forbidden,
    LastAdministrator,
    NotFound,
    PractitionerHasAccount,
    ReusedKey,
)
from clarity.domain.ids import AccountId, PatientId, PractitionerId

router = router_of("accounts")
_BODY = documented(HTTPException(413), HTTPException(415))
_ONE = documented(Forbidden(), NotFound())
_MADE = {**_BODY, **documented(Forbidden(), DuplicateEmail(), PractitionerHasAccount(), ReusedKey())}
_EXAMPLE: dict[str, Any] = {
    "email": "anna.okafor@example.org",
    "name": "Anna Okafor",
    "role": "clinician",
    "practitioner": "019a9d5c-41aa-7d02-8f7c-5e2b9c6d1a08",
}

RoleTitle = Literal[
    "administrator", "clinician", "nurse", "front-desk", "compliance-officer", "researcher", "patient", "device"
]


class RoleIn(Received):
    """What an account is for, and whose it is."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"role": _EXAMPLE["role"], "practitioner": _EXAMPLE["practitioner"]}]}
    )

    role: RoleTitle
    practitioner: PractitionerId | None = None
    """Who a clinician or nurse is; needed for these, and for nobody else."""
    patient: PatientId | None = None
    """Whose record a patient's account shows, or who wears a device."""

    def content(self) -> dict[str, Any]:
        """Return the fields as the domain has them."""
        return {**super().content(), "role": Role.titled(self.role)}


class AccountIn(RoleIn):
    """Somebody, or some machine, who gets an account."""

    model_config = ConfigDict(json_schema_extra={"examples": [_EXAMPLE]})

    email: Annotated[str, Field(max_length=320)]
    """Where the invitation goes, and what they log in with."""
    name: Annotated[str, Field(max_length=200)]

    def canonical(self, what: str) -> bytes:
        """Return this request to do `what` in one spelling, by which a repetition of it is recognised."""
        return f"{what} {self.model_dump_json()}".encode()


class AccountOut(Wire):
    """An account."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": "019a9d5c-4b11-7e0a-b7f3-2c9d5e6f7a81",
                    "version": 1,
                    **_EXAMPLE,
                    "patient": None,
                    "status": "invited",
                    "machine": False,
                }
            ]
        }
    )

    id: AccountId
    version: int
    email: str
    name: str
    role: RoleTitle
    practitioner: PractitionerId | None = None
    patient: PatientId | None = None
    status: AccountStatus
    """Whether they may log in: not before they chose a password, and not while disabled."""
    machine: bool
    """Whether nobody logs in to it, since a machine acts in it by its credentials."""

    @classmethod
    def of(cls, account: Account) -> Self:
        """Return the shape of `account`."""
        return cls.model_validate(
            {
                "id": account.id,
                "version": account.version,
                "email": account.email,
                "name": account.name,
                "role": account.role.title,
                "practitioner": account.practitioner,
                "patient": account.patient,
                "status": account.status,
                "machine": account.machine,
            }
        )


class AccountPageOut(PageOut[AccountOut]):
    """Some of the accounts."""


class AccountListQuery(Wire):
    """Which accounts are listed."""

    model_config = ConfigDict(strict=False, extra="forbid")

    cursor: str = ""
    """The `next_cursor` of the page before."""
    limit: Limit = 50


@router.post("", status_code=201, responses=_MADE)
async def invite(
    invitation: Json[AccountIn],
    actor: CurrentActor,
    accounts: Accounts,
    request: Request,
    response: Response,
    idempotency_key: IdempotencyKey = None,
) -> AccountOut:
    """Invite somebody: they are sent a link, good for once and some days, by which they choose a password.

    With an `Idempotency-Key`, a request that comes again shows whom the first one invited, and sends nothing.
    """
    repeat = RepeatKey(key=idempotency_key, request=invitation.canonical("invite")) if idempotency_key else None
    invited = await accounts.invite(actor, **invitation.content(), repeat=repeat)
    response.headers["Location"] = f"{request.url.path}/{invited.id}"
    return AccountOut.of(invited)


@router.post("/machines", status_code=201, responses=_MADE)
async def add_machine(
    machine: Json[AccountIn],
    actor: CurrentActor,
    accounts: Accounts,
    request: Request,
    response: Response,
    idempotency_key: IdempotencyKey = None,
) -> AccountOut:
    """Make an account for a machine. Nobody logs in to it and nothing is sent; it acts by its credentials.

    With an `Idempotency-Key`, a request that comes again shows what the first one made.
    """
    repeat = RepeatKey(key=idempotency_key, request=machine.canonical("add machine")) if idempotency_key else None
    added = await accounts.add_machine(actor, **machine.content(), repeat=repeat)
    response.headers["Location"] = f"{request.url.path.removesuffix('/machines')}/{added.id}"
    return AccountOut.of(added)


@router.get("", responses=documented(Forbidden()))
async def list_accounts(
    query: Annotated[AccountListQuery, Query()], actor: CurrentActor, accounts: Accounts
) -> AccountPageOut:
    """List accounts, in the order they were made."""
    page = await accounts.list(actor, cursor=query.cursor, at_most=query.limit)
    return AccountPageOut(**page_of(page, tuple(map(AccountOut.of, page.items))))


@router.get("/{account_id}", responses=_ONE)
async def view_account(account_id: AccountId, actor: CurrentActor, accounts: Accounts) -> AccountOut:
    """Show one account."""
    return AccountOut.of(await accounts.view(actor, account_id))


@router.post("/{account_id}/disable", responses={**_ONE, **documented(LastAdministrator())})
async def disable_account(account_id: AccountId, actor: CurrentActor, accounts: Accounts) -> AccountOut:
    """Keep an account from logging in, and end its sessions and links. Nobody disables their own."""
    return AccountOut.of(await accounts.disable(actor, account_id))


@router.post("/{account_id}/enable", responses={**_ONE, **documented(PractitionerHasAccount())})
async def enable_account(account_id: AccountId, actor: CurrentActor, accounts: Accounts) -> AccountOut:
    """Let a disabled account log in again. Somebody who never chose a password is invited anew."""
    return AccountOut.of(await accounts.enable(actor, account_id))


@router.put(
    "/{account_id}/role",
    responses={**_BODY, **_ONE, **documented(PractitionerHasAccount(), LastAdministrator())},
)
async def change_role(account_id: AccountId, role: Json[RoleIn], actor: CurrentActor, accounts: Accounts) -> AccountOut:
    """Give an account another role, with the links that belong to it; its sessions end. Nobody changes their own."""
    return AccountOut.of(await accounts.change_role(actor, account_id, **role.content()))


@router.post(
    "/{account_id}/password-reset",
    status_code=202,
    responses={**_ONE, **documented(Conflict("the account is disabled; enable it first"))},
)
async def send_password_reset(account_id: AccountId, actor: CurrentActor, accounts: Accounts) -> AccountOut:
    """Send the holder of an account a link to choose another password, or a first one if they were invited."""
    return AccountOut.of(await accounts.send_reset(actor, account_id))
