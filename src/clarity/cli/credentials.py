"""`clarity credential`: what machines show instead of logging in. Acts as the operator."""

from datetime import datetime, timedelta
from typing import Annotated
from uuid import UUID
from zoneinfo import ZoneInfo

import typer
from rich import box
from rich.table import Table

from clarity.application.credentials import Issued
from clarity.application.pages import MAX_PAGE
from clarity.application.services import Services
from clarity.cli.accounts import known
from clarity.cli.practice import in_practice, read_settings
from clarity.cli.rendering import as_json
from clarity.cli.terminal import note, results
from clarity.domain.access import Reason
from clarity.domain.credentials import LONGEST, MachineCredential, write_scope
from clarity.domain.ids import CredentialId

app = typer.Typer(
    no_args_is_help=True,
    help="Let services and devices act without logging in. Acts as the operator: the trail has your user name.",
)
Email = Annotated[str, typer.Argument(help="The e-mail address of a machine's account.", show_default=False)]


@app.command(
    epilog="""Examples:

\b
clarity credential issue report@example.org --name "Server 2" --scope patient:search --scope patient:view > key
CLARITY_TOKEN=$(cat key) clarity patient find --json"""
)
def issue(
    *,
    email: Email,
    name: Annotated[str, typer.Option(help="What it is for and where it is kept.")],
    scope: Annotated[
        list[str],
        typer.Option(help="What it is good for, such as patient:view; give it again for more. Never beyond the role."),
    ],
    days: Annotated[int, typer.Option(min=1, max=LONGEST.days, help="How long it is good for.")] = 90,
) -> None:
    """Make a credential and print it, alone, on standard output. It is shown this once, and stored nowhere."""
    from clarity.bootstrap import operator

    settings = read_settings()

    async def make(services: Services) -> Issued:
        return await services.credentials.issue(
            operator(), email, name=name, scopes=scope, expires_in=timedelta(days=days)
        )

    with known(email):
        issued = in_practice(settings, make)
    typer.echo(issued.text)
    note(f"It expires on {_day(issued.credential.expires_at, settings.practice_time_zone)}.")


@app.command(name="list")
def list_(
    *, email: Email, as_json_: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False
) -> None:
    """List the credentials that an account has or had, the newest first. Their texts are not shown again."""
    from clarity.bootstrap import now, operator

    settings = read_settings()

    async def all_of(services: Services) -> list[MachineCredential]:
        actor, credentials, cursor = operator(), list[MachineCredential](), ""
        while True:
            page = await services.credentials.list(actor, email, cursor=cursor, at_most=MAX_PAGE)
            credentials.extend(page.items)
            if not (cursor := page.next_cursor):
                return credentials

    with known(email):
        credentials = in_practice(settings, all_of)
    if as_json_:
        typer.echo(as_json([_plain(credential) for credential in credentials]))
    elif credentials:
        results().print(_table(credentials, now(), settings.practice_time_zone))
    else:
        note("The account has had no credential; `clarity credential issue --help` says how to make one.")


@app.command()
def revoke(
    *, credential: Annotated[UUID, typer.Argument(help="Its id, as `clarity credential list` prints it.")]
) -> None:
    """End a credential: the next request that comes with it is refused."""
    from clarity.bootstrap import operator

    in_practice(read_settings(), lambda services: services.credentials.revoke(operator(), CredentialId(credential)))
    note("The credential is good for nothing any more.")


def _table(credentials: list[MachineCredential], at: datetime, zone: ZoneInfo) -> Table:
    table = Table(box=box.SIMPLE, pad_edge=False)
    for title in ("Id", "Name", "Scopes", "Expires", "State"):
        table.add_column(title, overflow="fold")
    states = {Reason.NONE: "", Reason.DISABLED: "revoked", Reason.EXPIRED: "expired"}
    for credential in credentials:
        table.add_row(
            str(credential.id),
            credential.name,
            ", ".join(_scopes(credential)),
            _day(credential.expires_at, zone),
            states[credential.lapse_at(at)],
        )
    return table


def _plain(credential: MachineCredential) -> dict[str, object]:
    return {
        "id": credential.id,
        "name": credential.name,
        "scopes": _scopes(credential),
        "created_at": credential.created_at,
        "expires_at": credential.expires_at,
        "revoked_at": credential.revoked_at,
    }


def _scopes(credential: MachineCredential) -> list[str]:
    return sorted(map(write_scope, credential.scopes))


def _day(instant: datetime, zone: ZoneInfo) -> str:
    return instant.astimezone(zone).strftime("%Y-%m-%d %H:%M %Z")
