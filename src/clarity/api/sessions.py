"""The routes by which people log in, stay logged in and log out."""

from typing import Annotated, Literal, Self

from pydantic import ConfigDict, Field
from starlette.exceptions import HTTPException

from clarity.api.dependencies import ClientAddress, EnrollingActor, RequestIdDep, Sessions, UserAgent
from clarity.api.problems import documented
from clarity.api.routing import router_of
from clarity.api.wire import Json, Received, Wire
from clarity.application.sessions import Opened
from clarity.domain.errors import SecondFactorRequired, TooMany, WrongCredentials

router = router_of("sessions")
_BODY = documented(HTTPException(413), HTTPException(415), TooMany(60))


class LogInIn(Received):
    """Who logs in."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"email": "anna.okafor@example.org", "password": "quiet ferns along the river"}]
        }
    )

    email: Annotated[str, Field(max_length=320)]
    password: Annotated[str, Field(max_length=1_000)]
    code: Annotated[str, Field(max_length=100)] = ""
    """If the account has a second factor: six digits from the device, or a recovery code. Each is good once."""


class RefreshIn(Received):
    """A refresh token."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"refresh_token": "T8cB1yqj0Wm3nVx5.k2Lr9fHd7sQe4uYz"}]})

    refresh_token: Annotated[str, Field(max_length=1_000)]


class SessionOut(Wire):
    """What a client goes on with. The refresh token works once, and brings the next."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "access_token": "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIwMTlhOWQ1YyJ9.c2lnbmF0dXJl",
                    "refresh_token": "T8cB1yqj0Wm3nVx5.k2Lr9fHd7sQe4uYz",
                    "token_type": "Bearer",
                    "expires_in": 600,
                }
            ]
        }
    )

    access_token: str
    """Goes into the header `Authorization: Bearer …` of each request."""
    refresh_token: str
    token_type: Literal["Bearer"] = "Bearer"
    expires_in: int
    """For how many seconds the access token is good."""

    @classmethod
    def of(cls, opened: Opened) -> Self:
        """Return the shape of what logging in gave."""
        return cls(
            access_token=opened.access_token,
            refresh_token=opened.refresh_token,
            expires_in=opened.expires_in_seconds,
        )


@router.post("", status_code=201, responses={**_BODY, **documented(WrongCredentials(), SecondFactorRequired())})
async def log_in(
    credentials: Json[LogInIn],
    sessions: Sessions,
    request_id: RequestIdDep,
    address: ClientAddress,
    agent: UserAgent = "",
) -> SessionOut:
    """Log in. An unknown e-mail address, a wrong password and a wrong code are answered alike.

    `second-factor-required` says that the password is right and a `code` is needed too.
    """
    opened = await sessions.log_in(
        credentials.email, credentials.password, request_id, address, code=credentials.code, agent=agent
    )
    return SessionOut.of(opened)


@router.post("/refresh", responses=_BODY)
async def refresh_session(
    refresh: Json[RefreshIn], sessions: Sessions, request_id: RequestIdDep, address: ClientAddress
) -> SessionOut:
    """Get new tokens. A refresh token that comes a second time has been copied, and ends the session."""
    return SessionOut.of(await sessions.refresh(refresh.refresh_token, request_id, address))


@router.delete("/current", status_code=204)
async def log_out(actor: EnrollingActor, sessions: Sessions) -> None:
    """End the session of the access token: neither of its tokens is good for anything from now on."""
    await sessions.log_out(actor)
