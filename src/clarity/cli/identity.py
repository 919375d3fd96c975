"""Who is asking: commands on patients serve whoever logs in, and nobody else."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Annotated

import typer

from clarity.application.services import Services
from clarity.cli.terminal import ask_secret, read_line
from clarity.domain.access import Actor
from clarity.domain.errors import Unauthenticated
from clarity.domain.ids import RequestId

_HERE = "127.0.0.1"

AsEmail = Annotated[
    str,
    typer.Option(
        "--as",
        metavar="EMAIL",
        help="Log in with this e-mail address. The password is asked for, and never an argument.",
    ),
]
PasswordFromStdin = Annotated[
    bool, typer.Option("--password-stdin", help="Read the password from the first line of standard input.")
]
Token = Annotated[
    str,
    typer.Option(
        "--token",
        envvar="CLARITY_TOKEN",
        metavar="TOKEN",
        help="Use the access token of an open session instead. Better set CLARITY_TOKEN: other users of this machine"
        " see what stands on a command line.",
    ),
]


@dataclass(frozen=True, slots=True)
class Caller:
    """What somebody says of who they are: an e-mail address and its password, or an access token."""

    email: str = field(default="", repr=False)
    password: str = field(default="", repr=False)
    token: str = field(default="", repr=False)


def caller(email: str, token: str, *, password_stdin: bool) -> Caller:
    """Return who is asking, after asking for the password."""
    if email:
        return Caller(email=email, password=read_line("password") if password_stdin else ask_secret("Password"))
    if not token:
        raise Unauthenticated("say who you are: --as EMAIL, or an access token in CLARITY_TOKEN")
    return Caller(token=token)


@asynccontextmanager
async def logged_in(services: Services, who: Caller) -> AsyncIterator[Actor]:
    """Log in for one command, and out again at its end. A token's own session stays open."""
    request = RequestId(services.new_id())
    if who.token:
        yield await _bearer_of(services, who.token, request)
        return
    opened = await services.sessions.log_in(who.email, who.password, request, _HERE)
    actor = await services.sessions.resolve(opened.access_token, request)
    try:
        yield actor
    finally:
        await services.sessions.log_out(actor)


async def _bearer_of(services: Services, token: str, request: RequestId) -> Actor:
    try:
        return await services.sessions.resolve(token, request)
    except Unauthenticated:
        raise Unauthenticated("this access token does not hold, or not any more; log in again") from None
