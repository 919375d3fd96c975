"""`clarity account`: who may log in. Acts as the operator."""

import secrets
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Annotated, TypedDict
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
from clarity.domain.errors import Invalid, NotFound
from clarity.domain.ids import PatientId, PractitionerId

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


def _id(text: str | UUID) -> UUID:
    try:
        return UUID(str(text))
    except ValueError:
        raise typer.BadParameter(
            "expected an id, like 0199a0c2-41aa-7d02-8f7c-5e2b9c6d1a08; names are no ids"
        ) from None


Email = Annotated[str, typer.Argument(help="The e-mail address the account logs in with.", show_default=False)]
RoleOption = Annotated[Role, typer.Option("--role", parser=_role, metavar="ROLE", help=f"One of: {', '.join(ROLES)}.")]
Name = Annotated[str, typer.Option(help="What the person is called.")]
Practitioner = Annotated[
    UUID | None,
    typer.Option(parser=_id, metavar="ID", help="Which practitioner a clinician or nurse is.", show_default=False),
]
Patient = Annotated[
    UUID | None,
    typer.Option(parser=_id, metavar="ID", help="Whose record a patient's account shows.", show_default=False),
]
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
    role: RoleOption,
    name: Name,
    practitioner: Practitioner = None,
    patient: Patient = None,
    password_stdin: PasswordStdin = False,
    generate: Generate = False,
) -> None:
    """Let somebody log in with a password that you choose: for the first administrator. Invite everybody else.

    The password is asked for, twice, unless you say where it comes from.
    """
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
            **_links(practitioner, patient),
        )

    account = in_practice(settings, register)
    if generate:
        typer.echo(password)
    note(f"The account {account.email} can log in as {account.role.title}.")


@app.command(
    epilog="""Examples:

\b
clarity account invite desk@example.org --role front-desk --name "Front desk"
clarity account invite ada@example.org --role clinician --name "Ada Byron" --practitioner 0199a0c2-..."""
)
def invite(
    *, email: Email, role: RoleOption, name: Name, practitioner: Practitioner = None, patient: Patient = None
) -> None:
    """Send somebody a link by which they choose a password. It works once, and for INVITATION_TTL_HOURS.

    The message waits in the outbox until a running server, or `clarity outbox deliver`, sends it.
    """
    from clarity.bootstrap import operator

    links = _links(practitioner, patient)
    account = in_practice(
        read_settings(),
        lambda services: services.accounts.invite(operator(), email=email, name=name, role=role, **links),
    )
    note(f"{account.email} is invited as {account.role.title}.")


@app.command()
def machine(
    *, email: Email, role: RoleOption, name: Name, practitioner: Practitioner = None, patient: Patient = None
) -> None:
    """Make an account for a machine: nobody logs in to it, and no mail is sent to its address.

    It acts by credentials, which are made for it afterwards.
    """
    from clarity.bootstrap import operator

    links = _links(practitioner, patient)
    account = in_practice(
        read_settings(),
        lambda services: services.accounts.add_machine(operator(), email=email, name=name, role=role, **links),
    )
    note(f"The machine {account.email} has an account as {account.role.title}.")


@app.command(name="list")
def list_(*, as_json_: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False) -> None:
    """List every account, in the order they were made."""
    from clarity.bootstrap import operator

    async def everybody(services: Services) -> list[Account]:
        actor = operator()
        page = await services.accounts.list(actor, at_most=MAX_PAGE)
        accounts = [*page.items]
        while page.next_cursor:
            page = await services.accounts.list(actor, cursor=page.next_cursor, at_most=MAX_PAGE)
            accounts.extend(page.items)
        return accounts

    accounts = in_practice(read_settings(), everybody)
    if as_json_:
        typer.echo(as_json(accounts))
    elif accounts:
        results().print(_table(accounts))
    else:
        note("There is no account yet; `clarity account add --help` says how to make one.")


@app.command()
def show(
    *, email: Email, as_json_: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False
) -> None:
    """Show one account."""
    from clarity.bootstrap import operator

    account = _with(email, lambda services: services.accounts.view(operator(), email))
    if as_json_:
        typer.echo(as_json(account))
    else:
        results().print(_sheet(account))


@app.command()
def disable(*, email: Email) -> None:
    """Keep an account from logging in, and end its sessions and links."""
    from clarity.bootstrap import operator

    _with(email, lambda services: services.accounts.disable(operator(), email))
    note(f"The account {email} cannot log in any more.")


@app.command()
def enable(*, email: Email) -> None:
    """Let a disabled account log in again. Somebody who never chose a password is invited anew."""
    from clarity.bootstrap import operator

    account = _with(email, lambda services: services.accounts.enable(operator(), email))
    invited = account.status is AccountStatus.INVITED
    note(f"The account {email} {'is invited anew' if invited else 'can log in again'}.")


@app.command(name="role")
def change_role(*, email: Email, role: RoleOption, practitioner: Practitioner = None, patient: Patient = None) -> None:
    """Give an account another role, with the links that belong to it, and end its sessions."""
    from clarity.bootstrap import operator

    links = _links(practitioner, patient)
    _with(email, lambda services: services.accounts.change_role(operator(), email, role, **links))
    note(f"The account {email} is {role.title} from now on.")


@app.command(name="send-reset")
def send_reset(*, email: Email) -> None:
    """Send the holder of an account a link to choose another password, or a first one if they were invited."""
    from clarity.bootstrap import operator

    _with(email, lambda services: services.accounts.send_reset(operator(), email))
    note(f"A link for {email} is in the outbox.")


@app.command(name="reset-password")
def reset_password(*, email: Email, password_stdin: PasswordStdin = False, generate: Generate = False) -> None:
    """Give an account another password, which you choose, and end its sessions and links.

    Better let its holder choose: `clarity account send-reset`.
    """
    from clarity.bootstrap import operator

    password = _new_password(from_stdin=password_stdin, generated=generate)
    _with(email, lambda services: services.accounts.reset_password(operator(), email, password))
    if generate:
        typer.echo(password)
    note(f"The account {email} has a new password.")


def new_password() -> str:
    """Return a random password of 144 bits in 24 characters."""
    return secrets.token_urlsafe(18)


def _with(email: str, act: Callable[[Services], Awaitable[Account]]) -> Account:
    """Do something to one account, and say which it was if there is no such account."""
    with known(email):
        return in_practice(read_settings(), act)


@contextmanager
def known(email: str) -> Iterator[None]:
    """Say that there is no account with `email` where nothing else can be meant by `NotFound`."""
    try:
        yield
    except NotFound:
        raise NotFound(f"there is no account {email}; `clarity account list` shows all there are") from None


class _Links(TypedDict):
    practitioner: PractitionerId | None
    patient: PatientId | None


def _links(practitioner: UUID | None, patient: UUID | None) -> _Links:
    return {
        "practitioner": PractitionerId(practitioner) if practitioner else None,
        "patient": PatientId(patient) if patient else None,
    }


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
        usual = "machine" if account.machine else ""
        status = usual if account.status is AccountStatus.ACTIVE else str(account.status)
        table.add_row(account.email, account.name, account.role.title, status, str(_link(account) or ""))
    return table


def _sheet(account: Account) -> Table:
    sheet = Table.grid(padding=(0, 2))
    sheet.add_column(style="dim", no_wrap=True)
    sheet.add_column(overflow="fold")
    sheet.add_row("E-mail", account.email)
    sheet.add_row("Name", account.name)
    sheet.add_row("Role", account.role.title)
    sheet.add_row("Status", str(account.status))
    if account.machine:
        sheet.add_row("Machine", "yes: nobody logs in to it; it acts by its credentials")
    if account.practitioner is not None:
        sheet.add_row("Practitioner", str(account.practitioner))
    if account.patient is not None:
        sheet.add_row("Patient", str(account.patient))
    return sheet


def _link(account: Account) -> UUID | None:
    return account.practitioner or account.patient
