"""`clarity interaction`: the log of contacts with patients, as whoever logs in."""

from typing import Annotated, Any
from uuid import UUID

import typer
from rich import box
from rich.table import Table
from rich.text import Text

from clarity.application.pages import MAX_PAGE
from clarity.application.services import Services
from clarity.cli.arguments import asked, instant
from clarity.cli.identity import AsEmail, Code, PasswordFromStdin, Token, as_caller, caller
from clarity.cli.practice import read_settings
from clarity.cli.rendering import as_json, notice_line
from clarity.cli.terminal import note, results
from clarity.domain.access import Actor
from clarity.domain.ids import InteractionId, PatientId, PrescriptionId
from clarity.domain.interactions import Channel, Direction, DoseOutcome, Interaction, InteractionQuery

app = typer.Typer(
    no_args_is_help=True,
    help="Read the log of contacts with a patient, and add to it. Acts as whoever logs in. What is recorded stays.",
)
PatientArgument = Annotated[UUID, typer.Argument(metavar="PATIENT", help="The id of the patient's record.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table to read.")]


@app.command(
    name="list",
    epilog="""Examples:

\b
clarity interaction list 0199a0c2-... --as clinician@demo.example
clarity interaction list 0199a0c2-... --channel call --since 2026-03-01 --as nurse@demo.example""",
)
def list_(
    *,
    patient: PatientArgument,
    email_of_caller: AsEmail = "",
    token: Token = "",
    password_stdin: PasswordFromStdin = False,
    code: Code = "",
    channel: Annotated[Channel | None, typer.Option(help="By this channel alone.")] = None,
    since: Annotated[str, typer.Option(metavar="TIME", help="From this day or instant on.")] = "",
    until: Annotated[str, typer.Option(metavar="TIME", help="Before this day or instant.")] = "",
    limit: Annotated[int, typer.Option(min=1, max=MAX_PAGE, help="At most this many.")] = 25,
    as_json_: Json = False,
) -> None:
    """List contacts, the latest recorded first. They are not counted."""
    settings = read_settings()
    zone = settings.practice_time_zone
    query = InteractionQuery(
        channel=channel,
        since=instant(since, zone) if since else None,
        until=instant(until, zone) if until else None,
    )
    who = caller(email_of_caller, token, password_stdin=password_stdin, code=code)

    async def look(services: Services, actor: Actor) -> tuple[list[Interaction], bool]:
        found: list[Interaction] = []
        cursor = ""
        while True:
            left = limit - len(found)
            page = await services.interactions.list(actor, PatientId(patient), query, cursor=cursor, at_most=left)
            found += page.items
            cursor = page.next_cursor
            if not cursor or len(found) == limit:
                return found, bool(cursor)

    found, more = as_caller(settings, who, look)
    if as_json_:
        typer.echo(as_json({"items": [_plain(one) for one in found], "more": more}))
        return
    if found:
        table = Table("Contact, when", "By", "What", box=box.SIMPLE, pad_edge=False)
        table.columns[0].min_width = 36
        for one in found:
            when = one.occurred_at.astimezone(zone).strftime("%Y-%m-%d %H:%M")
            dose = f"dose {one.dose} of {one.prescription}" if one.dose else one.prescription
            notice = notice_line(one.notice) if one.notice else ""
            table.add_row(
                Text.assemble((str(one.id), "bold"), f"\n{when}"),
                f"{one.channel}\n{one.direction}",
                Text.assemble(
                    "\n".join(str(line) for line in (one.summary, one.payload, dose) if line), (notice, "red")
                ),
            )
        results().print(table)
    note(f"{len(found)} {'contact' if len(found) == 1 else 'contacts'}{', and more' if more else ''}.")


@app.command(
    epilog="""Examples:

\b
clarity interaction add 0199a0c2-... --channel call --to-patient --summary "Reminded of tomorrow" \\
    --as nurse@demo.example
clarity interaction add 0199a0c2-... --channel app-event --summary "Evening dose" --prescription 0199c2e4-... \\
    --dose taken --as patient@demo.example"""
)
def add(
    *,
    patient: PatientArgument,
    email_of_caller: AsEmail = "",
    token: Token = "",
    password_stdin: PasswordFromStdin = False,
    code: Code = "",
    channel: Annotated[Channel, typer.Option(help="By what way it came about.")],
    to_patient: Annotated[
        bool, typer.Option("--to-patient", help="It came from here, and not from the patient.")
    ] = False,
    at: Annotated[str, typer.Option(metavar="TIME", help="When it came about; now if left out.")] = "",
    summary: Annotated[str, typer.Option(help="What it was about, in a few words; with -, it is asked for.")],
    payload: Annotated[str, typer.Option(help="What went over the channel; with -, it is asked for.")] = "",
    prescription: Annotated[UUID | None, typer.Option(help="The prescription that it is about.")] = None,
    dose: Annotated[DoseOutcome | None, typer.Option(help="What became of a dose of it.")] = None,
) -> None:
    """Add a contact, as the patient or who cares for them. It can neither be changed nor taken back. Prints its id."""
    settings = read_settings()
    occurred_at = instant(at, settings.practice_time_zone) if at else None
    who = caller(email_of_caller, token, password_stdin=password_stdin, code=code)
    content: dict[str, Any] = {
        "channel": channel,
        "direction": Direction.TO_PATIENT if to_patient else Direction.FROM_PATIENT,
        "summary": asked(summary, "What it was about"),
        "payload": asked(payload, "What went over the channel"),
        "prescription": None if prescription is None else PrescriptionId(prescription),
        "dose": dose,
    }

    async def record(services: Services, actor: Actor) -> Interaction:
        told = Interaction(
            id=InteractionId(services.new_id()),
            patient=PatientId(patient),
            occurred_at=occurred_at or services.now(),
            **content,
        )
        return await services.interactions.record(actor, told)

    typer.echo(str(as_caller(settings, who, record).id))


def _plain(interaction: Interaction) -> dict[str, object]:
    shown = {name: getattr(interaction, name) for name in interaction.__dataclass_fields__}
    return {name: value for name, value in shown.items() if value not in (None, "")}
