"""The routes by which people choose their own passwords: logged in, invited, or having forgotten the last."""

from typing import Annotated

from pydantic import ConfigDict, Field
from starlette.exceptions import HTTPException

from clarity.api.dependencies import ClientAddress, CurrentActor, OwnPasswords, RequestIdDep
from clarity.api.problems import documented
from clarity.api.routing import router_of
from clarity.api.wire import Json, Received, renamed
from clarity.domain.errors import DeadLink, Forbidden, TooMany

of_me = router_of("me")
resets = router_of("password-resets")
invitations = router_of("invitations")
_BODY = documented(HTTPException(413), HTTPException(415), TooMany(60))
# The field of a new password, as this request calls it.
_NAMES = {"password": "new"}
_Typed = Annotated[str, Field(max_length=1_000)]


class PasswordChangeIn(Received):
    """The password one has, and the one that is to take its place."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"current": "quiet ferns along the river", "new": "nine lanterns over the harbour"}]
        }
    )

    current: _Typed
    new: _Typed


class ResetRequestIn(Received):
    """Whose password was forgotten."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"email": "anna.okafor@example.org"}]})

    email: Annotated[str, Field(max_length=320)]


class LinkIn(Received):
    """What a one-time link carries behind its "#", and the password to choose by it."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"token": "T8cB1yqj0Wm3nVx5k2Lr9fHd7sQe4uYzA6pGi0oXbEw", "password": "nine lanterns over the harbour"}
            ]
        }
    )

    token: Annotated[str, Field(max_length=200)]
    password: _Typed


@of_me.post("/password", status_code=204, responses={**_BODY, **documented(Forbidden())})
async def change_password(change: Json[PasswordChangeIn], actor: CurrentActor, passwords: OwnPasswords) -> None:
    """Change one's own password. All other sessions end, and links that were sent are good for nothing any more."""
    with renamed(**_NAMES):
        await passwords.change(actor, change.current, change.new)


@resets.post("", status_code=202, responses=_BODY)
async def request_password_reset(
    forgotten: Json[ResetRequestIn], passwords: OwnPasswords, request_id: RequestIdDep, address: ClientAddress
) -> None:
    """Ask for a link to choose another password. The answer does not tell whether there is such an account."""
    await passwords.request_reset(forgotten.email, request_id, address)


@resets.post("/complete", status_code=204, responses={**_BODY, **documented(DeadLink())})
async def complete_password_reset(
    link: Json[LinkIn], passwords: OwnPasswords, request_id: RequestIdDep, address: ClientAddress
) -> None:
    """Choose another password by a link. It works once; every session ends. A weak password leaves it good."""
    await passwords.reset_by_link(link.token, link.password, request=request_id, address=address)


@invitations.post("/complete", status_code=204, responses={**_BODY, **documented(DeadLink())})
async def complete_invitation(
    link: Json[LinkIn], passwords: OwnPasswords, request_id: RequestIdDep, address: ClientAddress
) -> None:
    """Choose a first password by the link of an invitation, and log in with it from now on. It works once."""
    await passwords.activate(link.token, link.password, request=request_id, address=address)
