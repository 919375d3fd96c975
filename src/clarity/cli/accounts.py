"""`clarity account`: who may log in. Acts as the operator."""

import secrets
from typing import Annotated
from uuid import UUID

import typer
from rich import box
from rich.table import Table

from clarity.application.pages import MAX_PAGE
from clarity.application.services import Services
from clarity.cli.practice import in_practice, read_settings
from clarity.cli.rendering import as_json
from clarity.cli.terminal import ask_new_password, note, read_line, results
from clarity.domain.access import Role
from clarity.domain.accounts import Account, AccountStatus
from clarity.domain.errors import Invalid
from clarity.domain.ids import AccountId, PatientId, PractitionerId

app = typer.Typer(
    no_args_is_help=True,
    help="Say who may log in, and as what. Acts as the operator: the trail has your user name on this machine.",
)
ROLES = tuple(role.title for role in Role if role not in {Role.SYSTEM, Role.NOBODY})
"""The roles an account can have, as they are written."""


def _role(title: str) -> Role:
    if title not in ROLES:
        raise typer.BadParameter(f"one of {', '.join(ROLES)}")
    return Role.titled(title)


Email = Annotated[str, typer.Argument(help="The e-mail address the account logs in with.", show_default=False)]
PasswordStdin = Annotated[
    bool, typer.Option("--password-stdin", help="Read the password from the first line of standard input.")
]
Generate = Annotated[
    bool, typer.Option("--generate", help="Make up a password and print it, alone, on standard output.")
]


@app.command(
    epilog="""Examples:

\b
clarity account add desk@example.org --role front-desk --name "Front desk"
clarity account add ada@example.org --role clinician --name "Ada Byron" --practitioner 0199a0c2-...
clarity account add audit@example.org --role compliance-officer --name "Audit" --generate > password"""
)
def add(
    *,
    email: Email,
    role: Annotated[Role, typer.Option(parser=_role, metavar="ROLE", help=f"One of: {', '.join(ROLES)}.")],
    name: Annotated[str, typer.Option(help="What the person is called.")],
    practitioner: Annotated[
        UUID | None, typer.Option(help="Which practitioner a clinician or nurse is, by id.", show_default=False)
    ] = None,
    patient: Annotated[
        UUID | None, typer.Option(help="Whose record a patient's account shows, by id.", show_default=False)
    ] = None,
    password_stdin: PasswordStdin = False,
    generate: Generate = False,
) -> None:
    """Let somebody log in. The password is asked for, twice, unless you say where it comes from."""
    from clarity.bootstrap import operator

    settings = read_settings()
    password = _new_password(from_stdin=password_stdin, generated=generate)

    async def register(services: Services) -> Account:
        return await services.accounts.add(
            operator(),
            email=email,
            name=name,
            role=role,
            password=password,
            practitioner=PractitionerId(practitioner) if practitioner else None,
            patient=PatientId(patient) if patient else None,
        )

    account = in_practice(settings, register)
    if generate:
        typer.echo(password)
    note(f"The account {account.email} can log in as {account.role.title}.")


@app.command(name="list")
def list_(*, as_json_: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False) -> None:
    """List every account, in the order they were made."""
    from clarity.bootstrap import operator

    async def everybody(services: Services) -> list[Account]:
        actor, accounts = operator(), list[Account]()
        after: AccountId | None = None
        while page := await services.accounts.list(actor, after=after, at_most=MAX_PAGE):
            accounts.extend(page)
            after = page[-1].id
        return accounts

    accounts = in_practice(read_settings(), everybody)
    if as_json_:
        typer.echo(as_json(accounts))
    elif accounts:
        results().print(_table(accounts))
    else:
        note("There is no account yet; `clarity account add --help` says how to make one.")


@app.command()
def disable(*, email: Email) -> None:
    """Keep an account from logging in, and end its sessions."""
    from clarity.bootstrap import operator

    in_practice(read_settings(), lambda services: services.accounts.disable(operator(), email))
    note(f"The account {email} cannot log in any more.")


@app.command(name="reset-password")
def reset_password(*, email: Email, password_stdin: PasswordStdin = False, generate: Generate = False) -> None:
    """Give an account another password, and end its sessions."""
    from clarity.bootstrap import operator

    settings = read_settings()
    password = _new_password(from_stdin=password_stdin, generated=generate)
    in_practice(settings, lambda services: services.accounts.reset_password(operator(), email, password))
    if generate:
        typer.echo(password)
    note(f"The account {email} has a new password.")


def new_password() -> str:
    """Return a random password of 144 bits in 24 characters."""
    return secrets.token_urlsafe(18)


def _new_password(*, from_stdin: bool, generated: bool) -> str:
    if from_stdin and generated:
        raise Invalid("--generate", "does not go together with --password-stdin")
    if generated:
        return new_password()
    return read_line("password") if from_stdin else ask_new_password()


def _table(accounts: list[Account]) -> Table:
    table = Table(box=box.SIMPLE, pad_edge=False)
    for title in ("E-mail", "Name", "Role", "Status", "Linked to"):
        table.add_column(title, overflow="fold")
    for account in accounts:
        status = "" if account.status is AccountStatus.ACTIVE else str(account.status)
        table.add_row(account.email, account.name, account.role.title, status, str(_link(account) or ""))
    return table


def _link(account: Account) -> UUID | None:
    return account.practitioner or account.patient
