"""`clarity me`: one's own second factor and sessions, as whoever logs in."""

import sys
from typing import Annotated
from uuid import UUID
from zoneinfo import ZoneInfo

import typer
from rich import box
from rich.table import Table

from clarity.application.second_factors import Enrolment
from clarity.application.services import Services
from clarity.cli.identity import HERE, AsEmail, Caller, Code, PasswordFromStdin, Token, as_caller, caller, logged_in
from clarity.cli.practice import in_practice, read_settings
from clarity.cli.terminal import ask_new_password, ask_secret, note, results
from clarity.domain.access import Actor
from clarity.domain.accounts import Session
from clarity.domain.ids import RequestId, SessionId

app = typer.Typer(
    no_args_is_help=True,
    help="Look after your own account, as whoever logs in: its second factor, and where it is logged in.",
)


@app.command(
    epilog="""Examples:

\b
clarity me enrol --as nurse@demo.example"""
)
def enrol(
    *, email: AsEmail = "", token: Token = "", password_stdin: PasswordFromStdin = False, code: Code = ""
) -> None:
    """Enrol a second factor: scan a code with an authenticator, type what it shows, and keep the recovery codes.

    The code to scan and the secret are shown once, on standard error; the recovery codes once, on standard output. All
    your other sessions end.
    """
    who = caller(email, token, password_stdin=password_stdin, code=code)

    async def act(services: Services) -> tuple[str, ...]:
        async with logged_in(services, who, enrolling=True) as actor:
            enrolment = await services.second_factors.enrol(actor, who.password or ask_secret("Password"))
            _show(enrolment)
            return await services.second_factors.confirm(actor, who.ask_code())

    _print_codes(in_practice(read_settings(), act))
    note(
        "Your second factor is asked for from now on. Keep these recovery codes: each is good once, without the device."
    )


@app.command(name="recovery-codes")
def recovery_codes(
    *, email: AsEmail = "", token: Token = "", password_stdin: PasswordFromStdin = False, code: Code = ""
) -> None:
    """Get new recovery codes, given another code of your second factor. The old ones are good for nothing any more."""
    who = caller(email, token, password_stdin=password_stdin, code=code)

    async def act(services: Services, actor: Actor) -> tuple[str, ...]:
        return await services.second_factors.renew_recovery_codes(actor, _another_code(who))

    _print_codes(as_caller(read_settings(), who, act))
    note("Keep these recovery codes: each is good once, without the device.")


@app.command(name="remove-second-factor")
def remove_second_factor(
    *, email: AsEmail = "", token: Token = "", password_stdin: PasswordFromStdin = False, code: Code = ""
) -> None:
    """Give your second factor up, given another code of it. All your other sessions end."""
    who = caller(email, token, password_stdin=password_stdin, code=code)

    async def act(services: Services, actor: Actor) -> None:
        await services.second_factors.remove(actor, _another_code(who))

    as_caller(read_settings(), who, act)
    note("Your second factor is removed.")


@app.command()
def password(
    *, email: AsEmail = "", token: Token = "", password_stdin: PasswordFromStdin = False, code: Code = ""
) -> None:
    """Change your password. The new one is asked for, twice, or is the next line of standard input.

    All your other sessions end, and links that were sent to you are good for nothing any more.
    """
    who = caller(email, token, password_stdin=password_stdin, code=code)
    current = who.password or ask_secret("Password")
    new = ask_new_password()

    async def act(services: Services, actor: Actor) -> None:
        await services.passwords.change(actor, current, new)

    as_caller(read_settings(), who, act)
    note("Your password is changed.")


@app.command(name="use-link")
def use_link() -> None:
    """Choose a password by a link that was sent to you: an invitation, or one to replace a forgotten password.

    The link and the password are asked for, and are never arguments: other users of this machine see those.
    """
    page, _, secret = ask_secret("The link").partition("#")
    new = ask_new_password()

    async def act(services: Services) -> None:
        chosen = services.passwords.activate if page.endswith("/invitation") else services.passwords.reset_by_link
        await chosen(secret, new, request=RequestId(services.new_id()), address=HERE)

    in_practice(read_settings(), act)
    note("Your password is chosen; you can log in with it.")


@app.command()
def sessions(
    *, email: AsEmail = "", token: Token = "", password_stdin: PasswordFromStdin = False, code: Code = ""
) -> None:
    """List where you are logged in; this command itself is one of them."""
    settings = read_settings()
    who = caller(email, token, password_stdin=password_stdin, code=code)

    async def act(services: Services, actor: Actor) -> tuple[tuple[Session, ...], SessionId | None]:
        return await services.open_sessions.list_own(actor), actor.session

    found, current = as_caller(settings, who, act)
    results().print(sessions_table(found, settings.practice_time_zone, current))


@app.command(name="end-session")
def end_session(
    *,
    session: Annotated[
        UUID | None,
        typer.Argument(help="Which, as `clarity me sessions` lists it; by default all.", show_default=False),
    ] = None,
    email: AsEmail = "",
    token: Token = "",
    password_stdin: PasswordFromStdin = False,
    code: Code = "",
) -> None:
    """End one of your sessions, or all of them."""
    who = caller(email, token, password_stdin=password_stdin, code=code)

    async def act(services: Services, actor: Actor) -> int:
        if session is None:
            return await services.open_sessions.end_others(actor)
        await services.open_sessions.end_own(actor, SessionId(session))
        return 1

    ended = as_caller(read_settings(), who, act)
    note(f"Ended {ended} {'session' if ended == 1 else 'sessions'}.")


def sessions_table(found: tuple[Session, ...], zone: ZoneInfo, current: SessionId | None = None) -> Table:
    """Return one row for each session, with the times of the practice."""
    table = Table(box=box.SIMPLE, pad_edge=False)
    for title in ("Session", "Opened", "Refreshed", "Second factor", "From"):
        table.add_column(title, overflow="fold")
    for session in found:
        opened, refreshed = (
            at.astimezone(zone).strftime("%Y-%m-%d %H:%M") for at in (session.created_at, session.refreshed_at)
        )
        this = " (this one)" if session.id == current else ""
        given = "yes" if session.second_factor else ""
        table.add_row(str(session.id), opened, refreshed, given, f"{session.client}{this}")
    return table


def _show(enrolment: Enrolment) -> None:
    """Show the secret as a picture, if there is a terminal that can draw it, and as text."""
    import segno

    if sys.stderr.isatty() and (sys.stderr.encoding or "").lower().startswith("utf"):
        segno.make_qr(enrolment.uri, error="l").terminal(out=sys.stderr, border=2, compact=True)
    note(f"Scan this with an authenticator, or type the secret: {enrolment.secret}")
    note(enrolment.uri)


def _another_code(who: Caller) -> str:
    """Ask for a code that is not the one that logging in has spent."""
    if who.email:
        note("Wait for the next code, or take a recovery code: logging in has spent the last one.")
    return who.ask_code()


def _print_codes(codes: tuple[str, ...]) -> None:
    for code in codes:
        typer.echo(code)
