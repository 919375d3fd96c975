"""`clarity patient`, on the life of a record: discharge, return, death, legal holds, and its end."""

from collections.abc import Awaitable, Callable
from datetime import date, datetime
from typing import Annotated
from uuid import UUID

import typer
from rich import box
from rich.table import Table

from clarity.application.life import LifeService
from clarity.application.pages import MAX_PAGE
from clarity.application.ports import Held
from clarity.application.services import Services
from clarity.cli.identity import AsEmail, Caller, Code, PasswordFromStdin, Token, as_caller, caller, logged_in
from clarity.cli.practice import in_practice, read_settings
from clarity.cli.rendering import as_json
from clarity.cli.terminal import note, results
from clarity.domain.access import Actor
from clarity.domain.dates import PartialDate
from clarity.domain.errors import Invalid
from clarity.domain.ids import PatientId
from clarity.domain.patients import Death, Patient, Removal

app = typer.Typer()

Record = Annotated[
    UUID, typer.Argument(metavar="PATIENT", help="The id of the record, as `clarity patient find` prints it.")
]
Step = Callable[[LifeService, Actor, Patient], Awaitable[Patient]]


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter("must be a day such as 2026-03-14") from None


def _death(text: str) -> Death:
    try:
        if "T" in text:
            return Death(instant=datetime.fromisoformat(text))
        return Death(day=PartialDate.parse(text))
    except (ValueError, Invalid):
        raise typer.BadParameter(
            "must be a date such as 2026, 2026-03 or 2026-03-14, or an instant such as 2026-03-14T09:30:00-05:00"
        ) from None


@app.command(
    epilog="""Examples:

\b
clarity patient discharge 0199a0c2-... --as clinician@demo.example
clarity patient discharge 0199a0c2-... --day 2026-03-14 --as clinician@demo.example"""
)
def discharge(
    *,
    patient: Record,
    email_of_caller: AsEmail = "",
    token: Token = "",
    password_stdin: PasswordFromStdin = False,
    code: Code = "",
    day: Annotated[
        date | None, typer.Option(parser=_day, metavar="YYYY-MM-DD", help="The day care ended; today if left out.")
    ] = None,
) -> None:
    """End the care of a patient."""
    from clarity.bootstrap import today

    ended = day or today(read_settings())

    async def step(life: LifeService, actor: Actor, seen: Patient) -> Patient:
        return await life.discharge(actor, seen.id, ended, version=seen.version)

    _take(step, patient, caller(email_of_caller, token, password_stdin=password_stdin, code=code))


@app.command(
    epilog="""Examples:

\b
clarity patient reactivate 0199a0c2-... --as front-desk@demo.example"""
)
def reactivate(
    *,
    patient: Record,
    email_of_caller: AsEmail = "",
    token: Token = "",
    password_stdin: PasswordFromStdin = False,
    code: Code = "",
) -> None:
    """Take a discharged patient back into care."""

    async def step(life: LifeService, actor: Actor, seen: Patient) -> Patient:
        return await life.reactivate(actor, seen.id, version=seen.version)

    _take(step, patient, caller(email_of_caller, token, password_stdin=password_stdin, code=code))


@app.command(
    epilog="""Examples:

\b
clarity patient death 0199a0c2-... --on 2026-03-14 --as front-desk@demo.example
clarity patient death 0199a0c2-... --on 2026-03 --as clinician@demo.example
clarity patient death 0199a0c2-... --correct --as clinician@demo.example"""
)
def death(
    *,
    patient: Record,
    email_of_caller: AsEmail = "",
    token: Token = "",
    password_stdin: PasswordFromStdin = False,
    code: Code = "",
    on: Annotated[
        Death | None,
        typer.Option(parser=_death, metavar="DATE", help="When, as exactly as that is known; a year will do."),
    ] = None,
    correct: Annotated[bool, typer.Option("--correct", help="Take back a death that was a mistake.")] = False,
) -> None:
    """Record that a patient died; without --on, only that they did."""
    if correct and on is not None:
        raise typer.BadParameter("--correct takes back a death, and --on records one: give one of them")

    async def step(life: LifeService, actor: Actor, seen: Patient) -> Patient:
        if correct:
            return await life.correct_death(actor, seen.id, version=seen.version)
        return await life.record_death(actor, seen.id, on or Death(), version=seen.version)

    _take(step, patient, caller(email_of_caller, token, password_stdin=password_stdin, code=code))


@app.command(
    epilog="""Examples:

\b
clarity patient hold 0199a0c2-... --basis "Preservation letter, docket 26-117" --as compliance-officer@demo.example"""
)
def hold(
    *,
    patient: Record,
    email_of_caller: AsEmail = "",
    token: Token = "",
    password_stdin: PasswordFromStdin = False,
    code: Code = "",
    basis: Annotated[str, typer.Option(help="The matter that the record has to be kept for.")],
) -> None:
    """Keep a record for a legal matter: until the hold is released, it is not deleted."""

    async def place(life: LifeService, actor: Actor) -> None:
        await life.place_hold(actor, PatientId(patient), basis)

    _do(place, caller(email_of_caller, token, password_stdin=password_stdin, code=code))
    note(f"{patient} is held.")


@app.command(
    epilog="""Examples:

\b
clarity patient release 0199a0c2-... --as compliance-officer@demo.example"""
)
def release(
    *,
    patient: Record,
    email_of_caller: AsEmail = "",
    token: Token = "",
    password_stdin: PasswordFromStdin = False,
    code: Code = "",
) -> None:
    """End the legal hold on a record."""

    async def let_go(life: LifeService, actor: Actor) -> None:
        await life.release_hold(actor, PatientId(patient))

    _do(let_go, caller(email_of_caller, token, password_stdin=password_stdin, code=code))
    note(f"{patient} is held no more.")


@app.command(
    epilog="""Examples:

\b
clarity patient holds --as compliance-officer@demo.example"""
)
def holds(
    *,
    email_of_caller: AsEmail = "",
    token: Token = "",
    password_stdin: PasswordFromStdin = False,
    code: Code = "",
    as_json_: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table to read.")] = False,
) -> None:
    """List the legal holds: on which records, since when, on what basis."""
    settings = read_settings()
    who = caller(email_of_caller, token, password_stdin=password_stdin, code=code)

    async def look(services: Services, actor: Actor) -> list[Held]:
        page = await services.life.holds(actor, at_most=MAX_PAGE)
        found = [*page.items]
        while page.next_cursor:
            page = await services.life.holds(actor, cursor=page.next_cursor, at_most=MAX_PAGE)
            found.extend(page.items)
        return found

    found = as_caller(settings, who, look)
    if as_json_:
        typer.echo(as_json({"items": [{"patient": held.patient, "hold": held.hold} for held in found]}))
        return
    if found:
        table = Table(box=box.SIMPLE, pad_edge=False)
        table.add_column("Patient", min_width=36, overflow="fold")
        table.add_column("Since", no_wrap=True)
        table.add_column("Basis", overflow="fold")
        for held in found:
            since = held.hold.since.astimezone(settings.practice_time_zone)
            table.add_row(str(held.patient), f"{since:%Y-%m-%d %H:%M}", held.hold.basis)
        results().print(table)
    note(f"{len(found)} legal {'hold' if len(found) == 1 else 'holds'}.")


@app.command(
    epilog="""Examples:

\b
clarity patient delete 0199a0c2-... --reason "Registered by mistake" --as administrator@demo.example
clarity patient delete 0199a0c2-... --reason "Expunged" --basis "Court order of 3 March" \\
    --as compliance-officer@demo.example"""
)
def delete(
    *,
    patient: Record,
    email_of_caller: AsEmail = "",
    token: Token = "",
    password_stdin: PasswordFromStdin = False,
    code: Code = "",
    reason: Annotated[str, typer.Option(help="Why the record goes.")],
    basis: Annotated[
        str, typer.Option(help="On what ground, although it has to be kept. For compliance officers.")
    ] = "",
) -> None:
    """Take a record away: nobody reaches it any more, and its history stays. Its reason is kept with it.

    A record is kept as long as the patient is in care, for RETENTION_YEARS after, until a minor is 28, and as long as a
    legal hold lasts.
    """

    async def remove(life: LifeService, actor: Actor) -> None:
        await life.delete(actor, PatientId(patient), reason, basis=basis)

    _do(remove, caller(email_of_caller, token, password_stdin=password_stdin, code=code))
    note(f"{patient} is deleted.")


@app.command(
    epilog="""Examples:

\b
clarity patient tombstone 0199a0c2-...
clarity patient tombstone 0199a0c2-... --json --as compliance-officer@demo.example"""
)
def tombstone(
    *,
    patient: Record,
    email_of_caller: AsEmail = "",
    token: Token = "",
    password_stdin: PasswordFromStdin = False,
    code: Code = "",
    as_json_: Annotated[bool, typer.Option("--json", help="Print JSON instead of lines to read.")] = False,
) -> None:
    """Show why a record was taken away, by whom and when. Without logging in, as the operator of this machine."""
    from clarity.bootstrap import operator

    settings = read_settings()
    if email_of_caller or token:
        who = caller(email_of_caller, token, password_stdin=password_stdin, code=code)

    async def look(services: Services) -> Removal:
        if not (email_of_caller or token):
            return await services.life.tombstone(operator(), PatientId(patient))
        async with logged_in(services, who) as actor:
            return await services.life.tombstone(actor, PatientId(patient))

    removal = in_practice(settings, look)
    if as_json_:
        typer.echo(as_json(removal))
        return
    lines = Table.grid(padding=(0, 2))
    at = removal.at.astimezone(settings.practice_time_zone)
    facts = (
        ("Deleted", f"{at:%Y-%m-%d %H:%M:%S %Z}"),
        ("By", str(removal.by)),
        ("Reason", removal.reason),
        ("Basis", removal.basis),
        ("Merged into", str(removal.merged_into or "")),
    )
    for name, value in facts:
        if value:
            lines.add_row(name, value)
    results().print(lines)


def _take(step: Step, patient: UUID, who: Caller) -> None:
    """Take a step in the life of a record, from the version that is seen now, and say where the patient stands."""
    settings = read_settings()

    async def taken(services: Services, actor: Actor) -> Patient:
        seen = await services.patients.view(actor, PatientId(patient))
        return await step(services.life, actor, seen)

    after = as_caller(settings, who, taken)
    note(f"{patient} is {after.status} as of version {after.version}.")


def _do(use: Callable[[LifeService, Actor], Awaitable[None]], who: Caller) -> None:
    """Do something to a record as it stands."""
    settings = read_settings()

    async def done(services: Services, actor: Actor) -> None:
        await use(services.life, actor)

    as_caller(settings, who, done)
