"""`clarity practitioner`: who cares for patients. Acts as whoever logs in, or else as the operator."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Annotated, TypeVar
from uuid import UUID

import typer
from rich import box
from rich.table import Table

from clarity.application.pages import MAX_PAGE
from clarity.application.practitioners import Caseload
from clarity.application.services import Services
from clarity.cli.identity import AsEmail, Code, PasswordFromStdin, Token, as_caller_or_operator, caller
from clarity.cli.practice import read_settings
from clarity.cli.rendering import as_json
from clarity.cli.terminal import note, results
from clarity.domain.access import Actor
from clarity.domain.ids import PractitionerId
from clarity.domain.names import HumanName
from clarity.domain.people import Coding, Concept, Gender
from clarity.domain.practitioners import PROVIDER_TAXONOMY, Practitioner, PractitionerQuery

app = typer.Typer(
    no_args_is_help=True,
    help="Say who cares for patients, and find them. Acts as the operator, unless you log in with --as EMAIL.",
)
Result = TypeVar("Result")
Which = Annotated[UUID, typer.Argument(help="The id, as `clarity practitioner list` prints it.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
Npi = Annotated[str | None, typer.Option(help="The National Provider Identifier, ten digits.", show_default=False)]
Specialty = Annotated[
    str | None, typer.Option(help="What they are trained in, in words: Psychiatry.", show_default=False)
]
SpecialtyCode = Annotated[
    str | None, typer.Option(help="Its code in the NUCC provider taxonomy: 2084P0800X.", show_default=False)
]
GenderOption = Annotated[Gender | None, typer.Option(help="The administrative gender.", show_default=False)]


@app.command(
    epilog="""Examples:

\b
clarity practitioner add --given Anna --family Okafor --npi 1234567893 --specialty Psychiatry
clarity practitioner add --prefix Dr. --given Carl --family Young --specialty-code 2084P0800X"""
)
def add(
    *,
    family: Annotated[str, typer.Option(help="The family name.")],
    given: Annotated[str, typer.Option(help="The given names, separated by spaces.")] = "",
    prefix: Annotated[str, typer.Option(help="What stands before the name: Dr.")] = "",
    npi: Npi = None,
    specialty: Specialty = None,
    specialty_code: SpecialtyCode = None,
    gender: GenderOption = None,
    email_of_caller: AsEmail = "",
    token: Token = "",
    password_stdin: PasswordFromStdin = False,
    code: Code = "",
) -> None:
    """Register a practitioner and print the id, alone, on standard output."""
    name = HumanName(family=family, given=tuple(given.split()), prefix=(prefix,) if prefix else ())

    async def register(services: Services, actor: Actor) -> Practitioner:
        practitioner = Practitioner(
            id=PractitionerId(services.new_id()),
            name=name,
            npi=npi or "",
            specialty=_specialty(specialty, specialty_code, None),
            gender=gender or Gender.UNKNOWN,
        )
        return await services.practitioners.register(actor, practitioner)

    registered = _acting(email_of_caller, token, register, password_stdin=password_stdin, code=code)
    typer.echo(str(registered.id))
    note(f"{registered.name} can be in care teams.")


@app.command(name="list")
def list_(
    *,
    name: Annotated[str, typer.Option(help="Fragments of the name, in any order.")] = "",
    specialty: Annotated[str, typer.Option(help="A code of the specialty, or a fragment of its words.")] = "",
    npi: Annotated[str, typer.Option(help="The whole National Provider Identifier.")] = "",
    active: Annotated[
        bool | None, typer.Option("--active/--inactive", help="Only those who work here, or only those who do not.")
    ] = None,
    email_of_caller: AsEmail = "",
    token: Token = "",
    password_stdin: PasswordFromStdin = False,
    code: Code = "",
    as_json_: Json = False,
) -> None:
    """List practitioners, in the order they came. All conditions have to hold."""
    query = PractitionerQuery(name=name, specialty=specialty, npi=npi, active=active)

    async def everybody(services: Services, actor: Actor) -> list[Practitioner]:
        found, cursor = list[Practitioner](), ""
        while True:
            page = await services.practitioners.list(actor, query, cursor=cursor, at_most=MAX_PAGE)
            found.extend(page.items)
            if not (cursor := page.next_cursor):
                return found

    found = _acting(email_of_caller, token, everybody, password_stdin=password_stdin, code=code)
    if as_json_:
        typer.echo(as_json(found))
    elif found:
        results().print(_table(found))
    else:
        note("No practitioner matches.")


@app.command()
def show(
    *,
    practitioner: Which,
    email_of_caller: AsEmail = "",
    token: Token = "",
    password_stdin: PasswordFromStdin = False,
    code: Code = "",
    as_json_: Json = False,
) -> None:
    """Show one practitioner."""

    async def view(services: Services, actor: Actor) -> Practitioner:
        return await services.practitioners.view(actor, PractitionerId(practitioner))

    shown = _acting(email_of_caller, token, view, password_stdin=password_stdin, code=code)
    if as_json_:
        typer.echo(as_json(shown))
    else:
        results().print(_table([shown]))


@app.command(
    epilog="""Examples:

\b
clarity practitioner change 0199a0c2-... --specialty Psychiatry
clarity practitioner change 0199a0c2-... --inactive"""
)
def change(
    *,
    practitioner: Which,
    family: Annotated[str | None, typer.Option(help="Another family name.", show_default=False)] = None,
    given: Annotated[str | None, typer.Option(help="Other given names.", show_default=False)] = None,
    npi: Npi = None,
    specialty: Specialty = None,
    specialty_code: SpecialtyCode = None,
    gender: GenderOption = None,
    active: Annotated[
        bool | None,
        typer.Option("--active/--inactive", help="Whether they may join care teams.", show_default=False),
    ] = None,
    email_of_caller: AsEmail = "",
    token: Token = "",
    password_stdin: PasswordFromStdin = False,
    code: Code = "",
) -> None:
    """Change what is given, and nothing else. Whoever is not active stays in the care teams they are in."""

    def edited(known: Practitioner) -> Practitioner:
        name = known.name
        if family is not None or given is not None:
            parts = known.name.given if given is None else tuple(given.split())
            name = replace(name, family=known.name.family if family is None else family, given=parts, text="")
        return replace(
            known,
            name=name,
            npi=known.npi if npi is None else npi,
            specialty=_specialty(specialty, specialty_code, known.specialty),
            gender=known.gender if gender is None else gender,
            active=known.active if active is None else active,
        )

    async def save(services: Services, actor: Actor) -> Practitioner:
        known = await services.practitioners.view(actor, PractitionerId(practitioner))
        return await services.practitioners.change(actor, known.id, edited, version=known.version)

    saved = _acting(email_of_caller, token, save, password_stdin=password_stdin, code=code)
    note(f"{saved.name} is at version {saved.version}.")


@app.command()
def caseload(
    *,
    practitioner: Which,
    email_of_caller: AsEmail = "",
    token: Token = "",
    password_stdin: PasswordFromStdin = False,
    code: Code = "",
    as_json_: Json = False,
) -> None:
    """Count the patients a practitioner cares for, of those you may see."""

    async def count(services: Services, actor: Actor) -> Caseload:
        return await services.practitioners.caseload(actor, PractitionerId(practitioner))

    counted = _acting(email_of_caller, token, count, password_stdin=password_stdin, code=code)
    if as_json_:
        counts = {status.value: number for status, number in counted.counts.items()}
        typer.echo(as_json({"practitioner": counted.practitioner, "total": counted.total, "counts": counts}))
        return
    table = Table(box=box.SIMPLE, pad_edge=False)
    table.add_column("Status")
    table.add_column("Patients", justify="right")
    for status, number in counted.counts.items():
        table.add_row(status.value, str(number))
    table.add_row("together", str(counted.total))
    results().print(table)


def _acting(
    email: str, token: str, act: Callable[[Services, Actor], Awaitable[Result]], *, password_stdin: bool, code: str
) -> Result:
    """Act as whoever logs in, or as the operator if nobody does."""
    settings = read_settings()
    who = caller(email, token, password_stdin=password_stdin, code=code) if email or token else None
    return as_caller_or_operator(settings, who, act)


def _specialty(text: str | None, code: str | None, known: Concept | None) -> Concept | None:
    """Return what was given of a specialty; words and codes that are given together mean one."""
    if text is None and code is None:
        return known
    if not text and not code:
        return None
    codings = (Coding(system=PROVIDER_TAXONOMY, code=code, display=text or ""),) if code else ()
    return Concept(codings=codings, text=text or "")


def _table(practitioners: list[Practitioner]) -> Table:
    table = Table(box=box.SIMPLE, pad_edge=False)
    for title in ("Id", "Name", "NPI", "Specialty", "Status"):
        table.add_column(title, overflow="fold")
    for one in practitioners:
        npi = one.npi if one.npi_valid or not one.npi else f"{one.npi} (fails its check)"
        table.add_row(str(one.id), str(one.name), npi, str(one.specialty or ""), "" if one.active else "inactive")
    return table
