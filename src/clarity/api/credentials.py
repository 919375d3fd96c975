"""The routes on credentials of machines, for administrators, and their shapes."""

from datetime import datetime, timedelta
from typing import Annotated, Any, Self

from fastapi import Query
from pydantic import ConfigDict, Field
from starlette.exceptions import HTTPException

from clarity.api.dependencies import Credentials, CurrentActor
from clarity.api.problems import documented
from clarity.api.routing import router_of
from clarity.api.wire import Json, Limit, PageOut, Received, Wire, page_of, renamed
from clarity.application.credentials import Issued
from clarity.domain.credentials import LONGEST, MachineCredential, write_scope
from clarity.domain.errors import Conflict, Forbidden, NotFound
from clarity.domain.ids import AccountId, CredentialId

_BODY = documented(HTTPException(413), HTTPException(415))
_MOST_SCOPES = 200
_EXAMPLE: dict[str, Any] = {
    "id": "019a9d5c-52c3-7f60-9d15-6a3a1c0b7e44",
    "account": "019a9d5c-4b11-7e0a-b7f3-2c9d5e6f7a81",
    "name": "Nightly report, server 2",
    "scopes": ["patient:list", "patient:view"],
    "created_at": "2026-03-14T09:26:53Z",
    "created_by": "019a9d5c-40b2-7c55-8e21-9f3d6a7b8c90",
    "expires_at": "2026-06-12T09:26:53Z",
}

router = router_of("credentials")
of_accounts = router_of("accounts")


class CredentialIn(Received):
    """A credential to be made for the account of a machine."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "name": "Nightly report, server 2",
                    "scopes": ["patient:list", "patient:view"],
                    "expires_in_days": 90,
                }
            ]
        }
    )

    name: Annotated[str, Field(max_length=200)]
    """What it is for and where it is kept, so that somebody later knows what ends when it is revoked."""
    scopes: Annotated[tuple[str, ...], Field(max_length=_MOST_SCOPES)]
    """All it is good for, as resource and action: "patient:view". Nothing beyond the role of the account."""
    expires_in_days: Annotated[int, Field(ge=1, le=LONGEST.days)]


class CredentialFacts(Wire):
    """What is known of the credential of a machine."""

    id: CredentialId
    account: AccountId
    name: str
    scopes: tuple[str, ...]
    created_at: datetime
    created_by: AccountId
    """The account that made it."""
    expires_at: datetime


class CredentialOut(CredentialFacts):
    """A credential of a machine. Its text is nowhere but with the machine."""

    model_config = ConfigDict(json_schema_extra={"examples": [{**_EXAMPLE, "revoked_at": "2026-05-02T14:05:10Z"}]})

    revoked_at: datetime | None

    @classmethod
    def of(cls, credential: MachineCredential) -> Self:
        """Return the shape of `credential`."""
        return cls(revoked_at=credential.revoked_at, **_shown(credential))


class IssuedOut(CredentialFacts):
    """A new credential with its text, which is shown this once."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{**_EXAMPLE, "credential": "clarity_019a9d5c52c37f609d156a3a1c0b7e44_6d5f0e…"}],
        }
    )

    credential: str
    """What the machine sends as `Authorization: Bearer clarity_…`. Nobody can look it up again."""

    @classmethod
    def of(cls, issued: Issued) -> Self:
        """Return the shape of what was just issued."""
        return cls(credential=issued.text, **_shown(issued.credential))


class CredentialPageOut(PageOut[CredentialOut]):
    """Some of the credentials of an account."""


class CredentialListQuery(Wire):
    """Which of the credentials are listed."""

    model_config = ConfigDict(strict=False, extra="forbid")

    cursor: str = ""
    """The `next_cursor` of the page before."""
    limit: Limit = 50


def _shown(credential: MachineCredential) -> dict[str, Any]:
    return {
        "id": credential.id,
        "account": credential.account,
        "name": credential.name,
        "scopes": tuple(sorted(map(write_scope, credential.scopes))),
        "created_at": credential.created_at,
        "created_by": credential.created_by,
        "expires_at": credential.expires_at,
    }


@of_accounts.post(
    "/{account_id}/credentials",
    status_code=201,
    responses={**_BODY, **documented(Forbidden(), NotFound(), Conflict("the account is a person's, who logs in"))},
)
async def issue_credential(
    account_id: AccountId, wanted: Json[CredentialIn], actor: CurrentActor, credentials: Credentials
) -> IssuedOut:
    """Make a credential for the account of a machine. Its text is in this answer and nowhere else."""
    with renamed(expires_at="expires_in_days"):
        issued = await credentials.issue(
            actor,
            account_id,
            name=wanted.name,
            scopes=wanted.scopes,
            expires_in=timedelta(days=wanted.expires_in_days),
        )
    return IssuedOut.of(issued)


@of_accounts.get("/{account_id}/credentials", responses=documented(Forbidden(), NotFound()))
async def list_credentials(
    account_id: AccountId,
    query: Annotated[CredentialListQuery, Query()],
    actor: CurrentActor,
    credentials: Credentials,
) -> CredentialPageOut:
    """List the credentials an account has or had, the newest first. Their texts are not shown again."""
    page = await credentials.list(actor, account_id, cursor=query.cursor, at_most=query.limit)
    return CredentialPageOut(**page_of(page, tuple(map(CredentialOut.of, page.items))))


@router.delete("/{credential_id}", status_code=204, responses=documented(Forbidden(), NotFound()))
async def revoke_credential(credential_id: CredentialId, actor: CurrentActor, credentials: Credentials) -> None:
    """End a credential: the next request that comes with it is refused."""
    await credentials.revoke(actor, credential_id)
