"""`clarity consent`: what patients allowed in writing, as whoever logs in."""

from datetime import UTC, date, datetime
from typing import Annotated
from uuid import UUID

import typer
from rich import box
from rich.table import Table

from clarity.application.services import Services
from clarity.cli.identity import AsEmail, Code, PasswordFromStdin, Token, as_caller, caller, logged_in
from clarity.cli.practice import in_practice, read_settings
from clarity.cli.rendering import as_json
from clarity.cli.terminal import note, results
from clarity.domain.access import Actor, Consent, ConsentRegister, Purpose
from clarity.domain.ids import ConsentId, PatientId, PractitionerId
from clarity.domain.records import Label

app = typer.Typer(
    no_args_is_help=True,
    help="Record what patients allowed in writing (42 CFR 2.31), list it, and withdraw it, as whoever logs in.",
)
_PURPOSES = {purpose.name.lower().replace("_", "-"): purpose for purpose in Purpose}


def _instant(text: str) -> datetime:
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter("must be a day or an instant such as 2026-03-14 or 2026-03-14T09:30:00Z") from None
    return instant if instant.tzinfo is not None else instant.replace(tzinfo=UTC)


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter("must be a day such as 2026-03-13") from None


def _purpose(text: str) -> Purpose:
    if text not in _PURPOSES:
        raise typer.BadParameter(f"must be one of {', '.join(_PURPOSES)}")
    return _PURPOSES[text]


PatientArgument = Annotated[UUID, typer.Argument(metavar="PATIENT", help="The id of the patient's record.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table to read.")]


@app.command(
    epilog="""Examples:

\b
clarity consent add 0199a0c2-... --label part2 --purpose treatment \\
    --from "Harbor Recovery Program" --to "My treating providers" --what "Substance use treatment since 2024" \\
    --until 2027-03-14 --signed-by "the patient" --signed-on 2026-03-13 --document "Form P2-1, scanned" \\
    --as clinician@demo.example"""
)
def add(
    *,
    patient: PatientArgument,
    email_of_caller: AsEmail = "",
    token: Token = "",
    password_stdin: PasswordFromStdin = False,
    code: Code = "",
    labels: Annotated[
        list[Label], typer.Option("--label", help="The records it covers: part2, or psychotherapy by itself.")
    ],
    purposes: Annotated[
        list[Purpose], typer.Option("--purpose", parser=_purpose, metavar="PURPOSE", help="Such as treatment.")
    ],
    from_whom: Annotated[str, typer.Option("--from", help="Who may disclose, as the document has it.")],
    to_whom: Annotated[str, typer.Option("--to", help="To whom, as the document has it.")],
    what: Annotated[str, typer.Option(help="Which information, as the document has it.")],
    signed_by: Annotated[str, typer.Option(help="The patient, or who may sign for them.")],
    signed_on: Annotated[date, typer.Option(parser=_day, metavar="YYYY-MM-DD", help="The day of the signature.")],
    document: Annotated[str, typer.Option(help="The signed form, and where it is kept.")],
    recipients: Annotated[
        list[UUID] | None,
        typer.Option("--recipient", help="A practitioner meant by --to, by id; none for all who treat the patient."),
    ] = None,
    since: Annotated[
        datetime | None,
        typer.Option(parser=_instant, metavar="INSTANT", help="From when on it holds (UTC); from now on if left out."),
    ] = None,
    until: Annotated[
        datetime | None, typer.Option(parser=_instant, metavar="INSTANT", help="When it ends (UTC).")
    ] = None,
    ends_with: Annotated[
        str, typer.Option(help='The event that ends it, such as "end of treatment" or "none", without --until.')
    ] = "",
    as_json_: Json = False,
) -> None:
    """Record a consent that a patient gave in writing. It holds at once."""
    settings = read_settings()
    who = caller(email_of_caller, token, password_stdin=password_stdin, code=code)

    async def record(services: Services) -> Consent:
        now = services.now()
        consent_id = ConsentId(services.new_id())

        def given(account: UUID) -> Consent:
            return Consent(
                id=consent_id,
                labels=tuple(labels),
                purposes=tuple(purposes),
                from_whom=from_whom,
                to_whom=to_whom,
                what=what,
                since=since or now,
                until=until,
                ends_with=ends_with,
                signed_by=signed_by,
                signed_on=signed_on,
                document=document,
                recipients=tuple(map(PractitionerId, recipients or ())),
                recorded_at=now,
                recorded_by=account,
            )

        async with logged_in(services, who) as actor:
            recorded, _ = await services.consents.record(actor, PatientId(patient), given)
            return recorded

    recorded = in_practice(settings, record)
    typer.echo(as_json(recorded) if as_json_ else str(recorded.id))


@app.command(
    name="list",
    epilog="""Examples:

\b
clarity consent list 0199a0c2-... --as nurse@demo.example""",
)
def list_(
    *,
    patient: PatientArgument,
    email_of_caller: AsEmail = "",
    token: Token = "",
    password_stdin: PasswordFromStdin = False,
    code: Code = "",
    as_json_: Json = False,
) -> None:
    """List a patient's consents, those withdrawn or expired too."""
    settings = read_settings()
    who = caller(email_of_caller, token, password_stdin=password_stdin, code=code)

    async def look(services: Services, actor: Actor) -> tuple[ConsentRegister, datetime]:
        return await services.consents.list(actor, PatientId(patient)), services.now()

    register, at = as_caller(settings, who, look)
    if as_json_:
        typer.echo(as_json({"items": register.consents, "version": register.version}))
        return
    if register.consents:
        results().print(_table(register, at))
    else:
        note("No consents.")


@app.command(
    epilog="""Examples:

\b
clarity consent withdraw 0199a0c2-... 0199b1d3-... --as patient@demo.example"""
)
def withdraw(
    *,
    patient: PatientArgument,
    consent: Annotated[UUID, typer.Argument(help="The id of the consent, as `clarity consent list` prints it.")],
    email_of_caller: AsEmail = "",
    token: Token = "",
    password_stdin: PasswordFromStdin = False,
    code: Code = "",
) -> None:
    """Withdraw a consent. Nobody sees anything under it any more."""
    settings = read_settings()
    who = caller(email_of_caller, token, password_stdin=password_stdin, code=code)

    async def take_back(services: Services, actor: Actor) -> Consent:
        withdrawn, _ = await services.consents.withdraw(actor, PatientId(patient), ConsentId(consent))
        return withdrawn

    at = as_caller(settings, who, take_back).withdrawn_at
    if at is not None:
        note(f"Withdrawn at {at.astimezone(settings.practice_time_zone):%Y-%m-%d %H:%M:%S %Z}.")


def _table(register: ConsentRegister, at: datetime) -> Table:
    table = Table(box=box.SIMPLE, pad_edge=False)
    for title in ("Consent", "For", "State", "Scope"):
        table.add_column(title, overflow="fold")
    for consent in register.consents:
        labels = ", ".join(consent.labels)
        table.add_row(str(consent.id), labels, _state(consent, at), consent.scope)
    return table


def _state(consent: Consent, at: datetime) -> str:
    if consent.withdrawn_at is not None:
        return "withdrawn"
    if consent.holds_at(at):
        return "in force"
    return "to come" if at < consent.since else "expired"
