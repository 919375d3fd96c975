"""`clarity break-glass`: one patient's record in an emergency, and the queue in which that is reviewed."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated
from uuid import UUID
from zoneinfo import ZoneInfo

import typer
from rich import box
from rich.table import Table
from rich.text import Text

from clarity.application.break_glass import Report
from clarity.application.pages import MAX_PAGE, Page
from clarity.application.services import Services
from clarity.cli.identity import AsEmail, Code, PasswordFromStdin, Token, as_caller, caller
from clarity.cli.practice import read_settings
from clarity.cli.rendering import as_json
from clarity.cli.terminal import ask_secret, note, results
from clarity.domain.access import Actor
from clarity.domain.break_glass import BreakGlassStatus, ReviewOutcome
from clarity.domain.identifiers import Identifier
from clarity.domain.ids import BreakGlassId, PatientId

app = typer.Typer(
    no_args_is_help=True,
    help="See one patient's record in an emergency, and review who did. Acts as whoever logs in.",
)
Glass = Annotated[UUID, typer.Argument(metavar="ID", help="The id, as `clarity break-glass queue` prints it.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table to read.")]


@app.command(
    name="open",
    epilog="""Examples:

\b
clarity break-glass open 0199a0c2-... --reason - --as clinician@demo.example
clarity break-glass open --mrn - --reason - --minutes 15 --as nurse@demo.example""",
)
def open_(
    *,
    patient: Annotated[UUID | None, typer.Argument(help="The id of the patient's record, if it is known.")] = None,
    email_of_caller: AsEmail = "",
    token: Token = "",
    password_stdin: PasswordFromStdin = False,
    code: Code = "",
    mrn: Annotated[str, typer.Option(help="The whole medical record number, instead of the id.")] = "",
    mrn_system: Annotated[str, typer.Option(help="Who assigned it, where several patients have the number.")] = "",
    reason: Annotated[str, typer.Option(help="The nature of the emergency. It is kept, and read in the review.")],
    minutes: Annotated[int | None, typer.Option(help="For how long, if less than the practice allows will do.")] = None,
    affiliation: Annotated[
        str, typer.Option(help="The health care facility you belong to, if that is not this practice.")
    ] = "",
    as_json_: Json = False,
) -> None:
    """Break the glass: see one patient's record for a limited time. Every compliance officer is told at once.

    What stands on a command line is seen by other users of this machine and kept by the shell: give - for the reason
    or the number, and it is asked for instead.
    """
    settings = read_settings()
    if (patient is None) == (not mrn):
        raise typer.BadParameter("give either the id of the patient or --mrn")
    who = caller(email_of_caller, token, password_stdin=password_stdin, code=code)
    number = ask_secret("Medical record number") if mrn == "-" else mrn
    meant = PatientId(patient) if patient is not None else Identifier.mrn(number, mrn_system)
    stated = ask_secret("Reason") if reason == "-" else reason

    async def break_it(services: Services, actor: Actor) -> Report:
        return await services.break_glass.open(actor, meant, stated, minutes=minutes, affiliation=affiliation)

    report = as_caller(settings, who, break_it)
    if as_json_:
        typer.echo(as_json(_plain(report)))
        return
    typer.echo(str(report.glass.id))
    until = _told(report.glass.expires_at, settings.practice_time_zone)
    note(f"You may see the record of patient {report.glass.patient} until {until}, unless you close it before.")


@app.command(
    epilog="""Examples:

\b
clarity break-glass queue --as compliance-officer@demo.example
clarity break-glass queue --status unreviewed --json --as compliance-officer@demo.example"""
)
def queue(
    *,
    email_of_caller: AsEmail = "",
    token: Token = "",
    password_stdin: PasswordFromStdin = False,
    code: Code = "",
    status: Annotated[BreakGlassStatus | None, typer.Option(help="Only those that were reviewed, or were not.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most this many.")] = 25,
    as_json_: Json = False,
) -> None:
    """List who broke the glass, what was not reviewed first. Carers see what they opened themselves."""
    settings = read_settings()
    who = caller(email_of_caller, token, password_stdin=password_stdin, code=code)

    async def look(services: Services, actor: Actor) -> Page[Report]:
        return await _pages(services, actor, status, limit)

    found = as_caller(settings, who, look)
    if as_json_:
        total = {"count": found.count, "exact": found.exact}
        typer.echo(as_json({"items": [_plain(report) for report in found.items], "total": total}))
        return
    if found.items:
        results().print(_table(found.items, settings.practice_time_zone))
    of = f" of {found.count}; --limit shows more" if found.next_cursor else ""
    note(f"{len(found.items)}{of} in the queue." if found.items else "Nothing waits here.")


@app.command(epilog="Example:\n\n\b\nclarity break-glass show 0199a0c2-... --as compliance-officer@demo.example")
def show(
    *,
    glass: Glass,
    email_of_caller: AsEmail = "",
    token: Token = "",
    password_stdin: PasswordFromStdin = False,
    code: Code = "",
    as_json_: Json = False,
) -> None:
    """Show one: who, whom, why, what was seen under it, and how it was judged."""
    settings = read_settings()
    who = caller(email_of_caller, token, password_stdin=password_stdin, code=code)

    async def look(services: Services, actor: Actor) -> Report:
        return await services.break_glass.view(actor, BreakGlassId(glass))

    report = as_caller(settings, who, look)
    if as_json_:
        typer.echo(as_json(_plain(report)))
    else:
        results().print(_sheet(report, settings.practice_time_zone))


@app.command(epilog="Example:\n\n\b\nclarity break-glass close 0199a0c2-... --as clinician@demo.example")
def close(
    *,
    glass: Glass,
    email_of_caller: AsEmail = "",
    token: Token = "",
    password_stdin: PasswordFromStdin = False,
    code: Code = "",
) -> None:
    """End your own access before its time."""
    settings = read_settings()
    who = caller(email_of_caller, token, password_stdin=password_stdin, code=code)

    async def end(services: Services, actor: Actor) -> Report:
        return await services.break_glass.close(actor, BreakGlassId(glass))

    note(f"Closed at {_told(as_caller(settings, who, end).glass.ends_at, settings.practice_time_zone)}.")


@app.command(
    epilog="""Examples:

\b
clarity break-glass review 0199a0c2-... --outcome justified --note "On call that night; talked to the ward." \\
    --as compliance-officer@demo.example"""
)
def review(
    *,
    glass: Glass,
    email_of_caller: AsEmail = "",
    token: Token = "",
    password_stdin: PasswordFromStdin = False,
    code: Code = "",
    outcome: Annotated[ReviewOutcome, typer.Option(help="What is judged unjustified ends at once.")],
    why: Annotated[str, typer.Option("--note", help="What the outcome rests on; - asks for it.")],
) -> None:
    """Judge one, once, as a compliance officer. What lasts still cannot be judged justified."""
    settings = read_settings()
    who = caller(email_of_caller, token, password_stdin=password_stdin, code=code)
    stated = ask_secret("Note") if why == "-" else why

    async def judge(services: Services, actor: Actor) -> Report:
        return await services.break_glass.review(actor, BreakGlassId(glass), outcome, stated)

    as_caller(settings, who, judge)
    note(f"Reviewed: {outcome}.")


async def _pages(services: Services, actor: Actor, status: BreakGlassStatus | None, limit: int) -> Page[Report]:
    """Return as many pages as it takes to fill `limit`, as one."""
    found = await services.break_glass.list(actor, status=status, at_most=min(limit, MAX_PAGE))
    items = [*found.items]
    while found.next_cursor and len(items) < limit:
        size = min(limit - len(items), MAX_PAGE)
        found = await services.break_glass.list(actor, status=status, cursor=found.next_cursor, at_most=size)
        items.extend(found.items)
    return Page(items=tuple(items), next_cursor=found.next_cursor, count=found.count, exact=found.exact)


def _table(reports: Sequence[Report], zone: ZoneInfo) -> Table:
    table = Table(box=box.SIMPLE, pad_edge=False)
    table.add_column("Access, patient", min_width=36, overflow="fold")
    table.add_column("Who", overflow="fold")
    table.add_column("From, until", no_wrap=True)
    table.add_column("Seen", justify="right")
    table.add_column("Reason", overflow="fold")
    table.add_column("Review", no_wrap=True)
    for report in reports:
        glass = report.glass
        table.add_row(
            Text.assemble((str(glass.id), "bold"), "\n", (str(glass.patient), "dim")),
            f"{glass.name}\n{glass.role.title}",
            f"{_told(glass.opened_at, zone)}\n{_told(glass.ends_at, zone)}",
            str(report.uses.count),
            glass.reason,
            _outcome(report),
        )
    return table


def _sheet(report: Report, zone: ZoneInfo) -> Table:
    glass, uses = report.glass, report.uses
    seen = f"{uses.count} times" if uses.count != 1 else "once"
    if uses.first_at is not None and uses.last_at is not None:
        seen += f", {_told(uses.first_at, zone)} to {_told(uses.last_at, zone)}"
    sheet = Table.grid(padding=(0, 2))
    sheet.add_column(style="dim", no_wrap=True)
    sheet.add_column(overflow="fold")
    sheet.add_row("Access", str(glass.id))
    sheet.add_row("Patient", str(glass.patient))
    sheet.add_row("Made to", f"{glass.name} ({glass.role.title}), account {glass.account}")
    sheet.add_row("Of", glass.affiliation)
    sheet.add_row("Made by", glass.disclosed_by)
    sheet.add_row("From", _told(glass.opened_at, zone))
    sheet.add_row("Until", _told(glass.ends_at, zone) + ("" if glass.closed_at is None else " (ended before its time)"))
    sheet.add_row("Reason", glass.reason)
    sheet.add_row("Seen", seen if uses.count else "nothing")
    sheet.add_row("Told", f"{glass.alerted} compliance {'officer' if glass.alerted == 1 else 'officers'}")
    sheet.add_row("Review", _outcome(report))
    if glass.review is not None:
        sheet.add_row("", f"{glass.review.note}\nby {glass.review.by}, {_told(glass.review.at, zone)}")
    return sheet


def _outcome(report: Report) -> Text:
    if report.glass.review is None:
        return Text("waits", "yellow")
    outcome = report.glass.review.outcome
    return Text(outcome.value, "green" if outcome is ReviewOutcome.JUSTIFIED else "bold red")


def _plain(report: Report) -> dict[str, object]:
    """Return one as another program reads it, in the names of the API."""
    glass = report.glass
    names = (
        *("id", "patient", "account", "name", "role", "affiliation", "disclosed_by", "reason", "status"),
        *("opened_at", "expires_at", "closed_at", "alerted", "review"),
    )
    return {**{name: getattr(glass, name) for name in names}, "uses": report.uses}


def _told(instant: datetime, zone: ZoneInfo) -> str:
    return instant.astimezone(zone).strftime("%Y-%m-%d %H:%M:%S %Z")
