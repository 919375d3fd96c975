"""Who is asking: commands on patients serve whoever logs in, and nobody else."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from clarity.application.services import Services
from clarity.application.sessions import Opened
from clarity.cli.practice import Result, in_practice
from clarity.cli.terminal import ask_secret, read_line
from clarity.domain.access import Actor
from clarity.domain.errors import SecondFactorMissing, SecondFactorRequired, Unauthenticated
from clarity.domain.ids import RequestId

if TYPE_CHECKING:
    from clarity.upkeep import Settings

HERE = "127.0.0.1"
_AGENT = "clarity command line"

AsEmail = Annotated[
    str,
    typer.Option(
        "--as",
        metavar="EMAIL",
        help="Log in with this e-mail address. The password is asked for, and never an argument.",
    ),
]
PasswordFromStdin = Annotated[
    bool,
    typer.Option(
        "--password-stdin",
        help="Read the password from the first line of standard input, and a code from the second if one is needed.",
    ),
]
Code = Annotated[
    str,
    typer.Option(
        "--code",
        metavar="CODE",
        help="A code of your second factor. Without it, one is asked for if the account needs one.",
    ),
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
    """What somebody says of who they are: an e-mail address, its password and perhaps a code, or an access token."""

    email: str = field(default="", repr=False)
    password: str = field(default="", repr=False)
    code: str = field(default="", repr=False)
    token: str = field(default="", repr=False)
    from_stdin: bool = False

    def ask_code(self) -> str:
        """Ask for a code of the second factor, where the password came from."""
        return read_line("code") if self.from_stdin else ask_secret("Code of your second factor")


def caller(email: str, token: str, *, password_stdin: bool, code: str = "") -> Caller:
    """Return who is asking, after asking for the password."""
    if email:
        password = read_line("password") if password_stdin else ask_secret("Password")
        return Caller(email=email, password=password, code=code, from_stdin=password_stdin)
    if not token:
        raise Unauthenticated("say who you are: --as EMAIL, or an access token in CLARITY_TOKEN")
    return Caller(token=token)


@asynccontextmanager
async def logged_in(services: Services, who: Caller, *, enrolling: bool = False) -> AsyncIterator[Actor]:
    """Log in for one command, and out again at its end. A token's own session stays open.

    Raises `SecondFactorMissing` if the role needs a second factor and has none, unless it is `enrolling` one.
    """
    request = RequestId(services.new_id())
    if who.token:
        yield await _bearer_of(services, who.token, request, enrolling=enrolling)
        return
    opened = await _opened(services, who, request)
    weakest = await services.sessions.resolve(opened.access_token, request, enrolling=True)
    try:
        yield await _bearer_of(services, opened.access_token, request, enrolling=enrolling)
    finally:
        await services.sessions.log_out(weakest)


def as_caller(settings: "Settings", who: Caller, use_case: Callable[[Services, Actor], Awaitable[Result]]) -> Result:
    """Open the practice, log in, run one use-case, log out and close; return what came of it."""

    async def act(services: Services) -> Result:
        async with logged_in(services, who) as actor:
            return await use_case(services, actor)

    return in_practice(settings, act)


def as_caller_or_operator(
    settings: "Settings", who: Caller | None, use_case: Callable[[Services, Actor], Awaitable[Result]]
) -> Result:
    """Run one use-case as whoever logs in, or as the operator if nobody does; return what came of it."""
    if who is not None:
        return as_caller(settings, who, use_case)

    async def act(services: Services) -> Result:
        from clarity.bootstrap import operator

        return await use_case(services, operator())

    return in_practice(settings, act)


async def _opened(services: Services, who: Caller, request: RequestId) -> Opened:
    """Log in, and ask for a code if it turns out that one is needed."""
    log_in = partial(services.sessions.log_in, who.email, who.password, request, HERE, agent=_AGENT)
    try:
        return await log_in(code=who.code)
    except SecondFactorRequired:
        return await log_in(code=who.ask_code())


async def _bearer_of(services: Services, token: str, request: RequestId, *, enrolling: bool) -> Actor:
    try:
        return await services.authenticate(token, request, HERE, enrolling=enrolling)
    except SecondFactorMissing:
        raise SecondFactorMissing(
            "your role needs a second factor: enrol one with `clarity me enrol --as EMAIL`, or log in with it"
        ) from None
    except Unauthenticated:
        raise Unauthenticated("this token does not hold, or not any more") from None
