"""`clarity disclosure`: what went outside the practice, and the accounting of it, as whoever logs in."""

from collections.abc import Awaitable, Sequence
from datetime import date
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Protocol, TypeVar
from uuid import UUID

import typer

from clarity.application.pages import MAX_PAGE, Page
from clarity.application.services import Services
from clarity.cli.disclosure_tables import accounting_sheet, disclosures_table, exports_table, unfounded_table
from clarity.cli.files import leave, require_free
from clarity.cli.identity import AsEmail, Code, PasswordFromStdin, Token, as_caller, caller
from clarity.cli.practice import read_settings
from clarity.cli.rendering import as_json
from clarity.cli.terminal import ask_secret, note, results
from clarity.domain.access import Actor
from clarity.domain.audit import AuditEvent
from clarity.domain.disclosures import (
    Accounting,
    Authority,
    Disclosure,
    Exemption,
    ExportReason,
    Means,
    Series,
    Suspension,
    Unfounded,
)
from clarity.domain.ids import DisclosureId, EventId, PatientId

app = typer.Typer(
    no_args_is_help=True,
    help="Write down what went outside the practice, and account for it (45 CFR 164.528). Acts as whoever logs in."
    " Where a text is given as -, it is asked for: other users of this machine see what stands on a command line.",
)


_TO_ACCOUNT = (
    "Record what went outside with `clarity disclosure record --means this-system --event EVENT`, and explain the rest"
    " with `clarity disclosure explain EVENT`."
)
Found = TypeVar("Found")


class Format(StrEnum):
    """How an accounting is given."""

    TABLE = "table"
    JSON = "json"
    CSV = "csv"
    PDF = "pdf"


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter("must be a day such as 2026-03-13") from None


def _asked(text: str, what: str) -> str:
    return ask_secret(what) if text == "-" else text


PatientArgument = Annotated[UUID, typer.Argument(metavar="PATIENT", help="The id of the patient's record.")]
DisclosureArgument = Annotated[
    UUID, typer.Argument(metavar="DISCLOSURE", help="The id, as `clarity disclosure list` prints it.")
]
VersionOption = Annotated[int, typer.Option(min=1, help="The version that you have seen in `clarity disclosure list`.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table to read.")]
On = Annotated[date, typer.Option("--on", parser=_day, metavar="YYYY-MM-DD", help="The day it was made.")]


@app.command(
    epilog="""Examples:

\b
clarity disclosure record 0199a0c2-... --on 2026-03-12 --to "County Health Department" --address "426 SW Stark St" \\
    --what "Diagnosis of a reportable disease" --purpose "Required by state law" --means fax --as nurse@demo.example
clarity disclosure record 0199a0c2-... --on 2026-03-12 --to - --what - --request "Subpoena 26-117, in the archive" \\
    --means this-system --event 0199b1d3-... --as compliance-officer@demo.example"""
)
def record(
    *,
    patient: PatientArgument,
    email_of_caller: AsEmail = "",
    token: Token = "",
    password_stdin: PasswordFromStdin = False,
    code: Code = "",
    made_on: On,
    recipient: Annotated[str, typer.Option("--to", help="Who received it.")],
    address: Annotated[str, typer.Option(help="Their address, if it is known.")] = "",
    what: Annotated[str, typer.Option(help="A brief description of what they received.")],
    purpose: Annotated[str, typer.Option(help="A brief statement of the purpose.")] = "",
    request: Annotated[
        str, typer.Option(help="Instead of a purpose: the written request, and where its copy is kept.")
    ] = "",
    means: Annotated[Means, typer.Option(help="How it was made.")],
    events: Annotated[
        list[UUID] | None, typer.Option("--event", help="An event of the trail that it was made by; may be repeated.")
    ] = None,
    last_on: Annotated[
        date | None,
        typer.Option(parser=_day, metavar="YYYY-MM-DD", help="Of a series, the day of the last; --on is the first."),
    ] = None,
    frequency: Annotated[str, typer.Option(help='Of a series, how often, such as "monthly".')] = "",
    number: Annotated[int | None, typer.Option(help="Of a series, how many there were in all.")] = None,
    exempt: Annotated[
        Exemption | None, typer.Option(help="Why it does not have to be accounted for (45 CFR 164.528(a)(1)).")
    ] = None,
    as_json_: Json = False,
) -> None:
    """Write down a disclosure, as the care team or a compliance officer. Prints its id."""
    settings = read_settings()
    series = _series(last_on, frequency, number)
    who = caller(email_of_caller, token, password_stdin=password_stdin, code=code)
    content: dict[str, Any] = {
        "made_on": made_on,
        "recipient": _asked(recipient, "Who received it"),
        "address": _asked(address, "Their address"),
        "what": _asked(what, "What they received"),
        "purpose": _asked(purpose, "Purpose"),
        "request": _asked(request, "Written request"),
        "means": means,
        "events": tuple(map(EventId, events or ())),
        "series": series,
        "exemption": exempt,
    }

    async def write_down(services: Services, actor: Actor) -> Disclosure:
        disclosure_id, now = DisclosureId(services.new_id()), services.now()

        def made(account: UUID) -> Disclosure:
            return Disclosure(
                id=disclosure_id, patient=PatientId(patient), recorded_at=now, recorded_by=account, **content
            )

        return await services.disclosures.record(actor, PatientId(patient), made)

    recorded = as_caller(settings, who, write_down)
    typer.echo(as_json(_plain(recorded)) if as_json_ else str(recorded.id))


@app.command(
    name="list",
    epilog="""Examples:

\b
clarity disclosure list 0199a0c2-... --as compliance-officer@demo.example""",
)
def list_(
    *,
    patient: PatientArgument,
    email_of_caller: AsEmail = "",
    token: Token = "",
    password_stdin: PasswordFromStdin = False,
    code: Code = "",
    limit: Annotated[int, typer.Option(min=1, max=MAX_PAGE, help="At most this many.")] = 25,
    as_json_: Json = False,
) -> None:
    """List what was written down of a patient, newest first: what is exempt, suspended or mistaken too."""
    settings = read_settings()
    who = caller(email_of_caller, token, password_stdin=password_stdin, code=code)

    async def look(services: Services, actor: Actor) -> tuple[Page[Disclosure], date]:
        page = await services.disclosures.list(actor, PatientId(patient), at_most=limit)
        return page, services.disclosures.today()

    page, today = as_caller(settings, who, look)
    if as_json_:
        total = {"count": page.count, "exact": page.exact}
        typer.echo(as_json({"items": [_plain(one) for one in page.items], "total": total}))
        return
    if page.items:
        results().print(disclosures_table(page.items, today))
    of = f" of {page.count}" if page.count > len(page.items) else ""
    note(f"{len(page.items)}{of} {'disclosure' if page.count == 1 else 'disclosures'}." if page.count else "None.")


@app.command(
    epilog="""Examples:

\b
clarity disclosure correct 0199a0c2-... 0199c2e4-... --version 1 --address "800 NE Oregon St" \\
    --as compliance-officer@demo.example"""
)
def correct(
    *,
    patient: PatientArgument,
    disclosure: DisclosureArgument,
    email_of_caller: AsEmail = "",
    token: Token = "",
    password_stdin: PasswordFromStdin = False,
    code: Code = "",
    version: VersionOption,
    made_on: Annotated[
        date | None, typer.Option("--on", parser=_day, metavar="YYYY-MM-DD", help="The day it was made.")
    ] = None,
    recipient: Annotated[str | None, typer.Option("--to", help="Who received it.")] = None,
    address: Annotated[str | None, typer.Option(help="Their address.")] = None,
    what: Annotated[str | None, typer.Option(help="What they received.")] = None,
    purpose: Annotated[str | None, typer.Option(help="The purpose.")] = None,
    request: Annotated[str | None, typer.Option(help="The written request, and where its copy is kept.")] = None,
    means: Annotated[Means | None, typer.Option(help="How it was made.")] = None,
    events: Annotated[
        list[UUID] | None, typer.Option("--event", help="All events that it was made by; none can be taken out.")
    ] = None,
    last_on: Annotated[
        date | None, typer.Option(parser=_day, metavar="YYYY-MM-DD", help="Of a series, the day of the last.")
    ] = None,
    frequency: Annotated[str, typer.Option(help="Of a series, how often.")] = "",
    number: Annotated[int | None, typer.Option(help="Of a series, how many there were in all.")] = None,
    exempt: Annotated[Exemption | None, typer.Option(help="Why it does not have to be accounted for.")] = None,
    accountable: Annotated[bool, typer.Option("--accountable", help="It is not exempt after all.")] = False,
) -> None:
    """Correct what was written down, as a compliance officer. What is not named stays; the version before is kept."""
    settings = read_settings()
    if exempt is not None and accountable:
        raise typer.BadParameter("give either --exempt or --accountable")
    texts = {"recipient": recipient, "address": address, "what": what, "purpose": purpose, "request": request}
    given: dict[str, Any] = {
        "made_on": made_on,
        "means": means,
        "events": tuple(map(EventId, events)) if events else None,
        "series": _series(last_on, frequency, number),
        "exemption": exempt,
    }
    if not any((*given.values(), accountable)) and all(text is None for text in texts.values()):
        raise typer.BadParameter("say what is to be corrected, such as --to, --what or --on")
    who = caller(email_of_caller, token, password_stdin=password_stdin, code=code)
    content: dict[str, Any] = {
        name: _asked(text, name.capitalize()) for name, text in texts.items() if text is not None
    }
    content |= {name: value for name, value in given.items() if value is not None}
    if accountable:
        content["exemption"] = None

    async def change(services: Services, actor: Actor) -> Disclosure:
        return await services.disclosures.correct(
            actor, PatientId(patient), DisclosureId(disclosure), content, version=version
        )

    note(f"Corrected; it is at version {as_caller(settings, who, change).version} now.")


@app.command(
    epilog="""Examples:

\b
clarity disclosure mistaken 0199a0c2-... 0199c2e4-... --version 1 --why "Of another patient." \\
    --as compliance-officer@demo.example"""
)
def mistaken(
    *,
    patient: PatientArgument,
    disclosure: DisclosureArgument,
    email_of_caller: AsEmail = "",
    token: Token = "",
    password_stdin: PasswordFromStdin = False,
    code: Code = "",
    version: VersionOption,
    why: Annotated[str, typer.Option(help="Why it should never have been entered; it is kept.")],
) -> None:
    """Mark something as entered in error, as a compliance officer. It stays, and no accounting has it."""
    settings = read_settings()
    who = caller(email_of_caller, token, password_stdin=password_stdin, code=code)
    reason = _asked(why, "Why")

    async def mark(services: Services, actor: Actor) -> Disclosure:
        return await services.disclosures.mark_mistaken(
            actor, PatientId(patient), DisclosureId(disclosure), reason, version=version
        )

    as_caller(settings, who, mark)
    note("Marked as mistaken. It cannot be changed any more; if it was made after all, record it anew.")


@app.command(
    epilog="""Examples:

\b
clarity disclosure suspend 0199a0c2-... 0199c2e4-... --version 1 --authority law-enforcement --by "Det. R. Ortiz" \\
    --stated-on 2026-03-13 --until 2026-04-10 --oral --as compliance-officer@demo.example"""
)
def suspend(
    *,
    patient: PatientArgument,
    disclosure: DisclosureArgument,
    email_of_caller: AsEmail = "",
    token: Token = "",
    password_stdin: PasswordFromStdin = False,
    code: Code = "",
    version: VersionOption,
    authority: Annotated[Authority, typer.Option(help="Whom it was made to.")],
    stated_by: Annotated[str, typer.Option("--by", help="Who made the statement, and for which agency.")],
    stated_on: Annotated[date, typer.Option(parser=_day, metavar="YYYY-MM-DD", help="The day of the statement.")],
    until: Annotated[date, typer.Option(parser=_day, metavar="YYYY-MM-DD", help="The last day of the suspension.")],
    oral: Annotated[bool, typer.Option("--oral", help="It was made orally, and holds for 30 days at most.")] = False,
    document: Annotated[str, typer.Option(help="The written statement, and where it is kept.")] = "",
) -> None:
    """Leave something out of accountings for a time, on a statement of whom it was made to (164.528(a)(2))."""
    settings = read_settings()
    who = caller(email_of_caller, token, password_stdin=password_stdin, code=code)
    suspension = Suspension(
        authority=authority,
        stated_by=_asked(stated_by, "Who made the statement"),
        stated_on=stated_on,
        until=until,
        oral=oral,
        document=_asked(document, "Written statement"),
    )

    async def silence(services: Services, actor: Actor) -> Disclosure:
        return await services.disclosures.suspend(
            actor, PatientId(patient), DisclosureId(disclosure), suspension, version=version
        )

    as_caller(settings, who, silence)
    note(f"No accounting has it through {until}.")


@app.command(
    epilog="""Examples:

\b
clarity disclosure account 0199a0c2-... --output accounting.pdf --as compliance-officer@demo.example
clarity disclosure account 0199a0c2-... --from 2025-01-01 --format json --as patient@demo.example"""
)
def account(
    *,
    patient: PatientArgument,
    email_of_caller: AsEmail = "",
    token: Token = "",
    password_stdin: PasswordFromStdin = False,
    code: Code = "",
    since: Annotated[
        date | None,
        typer.Option("--from", parser=_day, metavar="YYYY-MM-DD", help="The first day; six years ago if left out."),
    ] = None,
    until: Annotated[
        date | None, typer.Option(parser=_day, metavar="YYYY-MM-DD", help="The last day; today if left out.")
    ] = None,
    form: Annotated[
        Format | None, typer.Option("--format", help="What the name of the file ends in if left out, or a table.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write there, for you alone; no file is overwritten.")
    ] = None,
) -> None:
    """Account for disclosures: to yourself as the patient, or for one as a compliance officer.

    What is exempt, suspended or mistaken is left out. That the accounting was given stands in the trail.
    """
    settings = read_settings()
    chosen = form or _form_of(output)
    if chosen is Format.PDF and output is None:
        raise typer.BadParameter("a PDF goes to a file: give --output")
    if chosen is Format.TABLE and output is not None:
        raise typer.BadParameter("a file is written as pdf, csv or json: give --format")
    if output is not None:
        require_free(output)
    who = caller(email_of_caller, token, password_stdin=password_stdin, code=code)

    async def give(services: Services, actor: Actor) -> tuple[Accounting, bytes]:
        given = await services.disclosures.account_for(actor, PatientId(patient), since=since, until=until)
        return given, _drawn(services, given, chosen)

    accounting, content = as_caller(settings, who, give)
    if output is not None:
        leave(output, content)
        count = len(accounting.disclosures)
        note(f"{count} {'disclosure' if count == 1 else 'disclosures'} in {output}.")
    elif chosen is Format.TABLE:
        results().print(accounting_sheet(accounting))
    else:
        typer.echo(content.decode(), nl=chosen is Format.JSON)


@app.command(
    epilog="""Examples:

\b
clarity disclosure reconcile --as compliance-officer@demo.example"""
)
def reconcile(
    *,
    email_of_caller: AsEmail = "",
    token: Token = "",
    password_stdin: PasswordFromStdin = False,
    code: Code = "",
    limit: Annotated[int, typer.Option(min=1, help="At most this many of each kind.")] = 100,
    as_json_: Json = False,
) -> None:
    """Compare disclosures with the trail, as a compliance officer: what has no disclosure, and what has no event."""
    settings = read_settings()
    who = caller(email_of_caller, token, password_stdin=password_stdin, code=code)

    async def compare(services: Services, actor: Actor) -> tuple[list[AuditEvent], list[Unfounded], bool]:
        exports, more_exports = await _up_to(limit, services.disclosures.unaccounted_exports, actor)
        claims, more_claims = await _up_to(limit, services.disclosures.unfounded, actor)
        return exports, claims, more_exports or more_claims

    exports, claims, more = as_caller(settings, who, compare)
    if as_json_:
        plain = {"unaccounted_exports": [_plain_export(one) for one in exports], "unfounded": claims, "more": more}
        typer.echo(as_json(plain))
        return
    if exports:
        results().print(exports_table(exports, settings.practice_time_zone))
        note(
            f"{len(exports)} {'export' if len(exports) == 1 else 'exports'} without disclosure or reason. {_TO_ACCOUNT}"
        )
    if claims:
        results().print(unfounded_table(claims))
        note("These name events that are not in the trail, did not succeed, or are about others: look what happened.")
    if not exports:
        note("Every export is accounted for.")
    if not claims:
        note("The trail has every event that a disclosure names.")
    if more:
        note("There is more; --limit shows it.")


@app.command(
    epilog="""Examples:

\b
clarity disclosure explain 0199b1d3-... --reason within-practice --as compliance-officer@demo.example"""
)
def explain(
    *,
    event: Annotated[
        UUID, typer.Argument(metavar="EVENT", help="The event, as `clarity disclosure reconcile` has it.")
    ],
    email_of_caller: AsEmail = "",
    token: Token = "",
    password_stdin: PasswordFromStdin = False,
    code: Code = "",
    reason: Annotated[Exemption, typer.Option(help="Why it does not have to be accounted for.")],
) -> None:
    """Say why an export is no disclosure to account for, as a compliance officer."""
    settings = read_settings()
    who = caller(email_of_caller, token, password_stdin=password_stdin, code=code)

    async def give(services: Services, actor: Actor) -> ExportReason:
        return await services.disclosures.explain(actor, EventId(event), reason)

    given = as_caller(settings, who, give)
    note(f"Explained: {given.reason} ({given.reason.citation}).")


class _Listing(Protocol[Found]):
    """A list of the comparison, a page at a time."""

    def __call__(self, actor: Actor, *, cursor: str, at_most: int) -> Awaitable[Page[Found]]:
        """Return a page."""
        ...


async def _up_to(limit: int, pages: _Listing[Found], actor: Actor) -> tuple[list[Found], bool]:
    """Return at most `limit`, and whether there may be more. A page may be empty and yet have a next one."""
    found: list[Found] = []
    cursor = ""
    while True:
        page = await pages(actor, cursor=cursor, at_most=MAX_PAGE)
        found += page.items
        cursor = page.next_cursor
        if not cursor or len(found) >= limit:
            return found[:limit], bool(cursor) or len(found) > limit


def _series(last_on: date | None, frequency: str, number: int | None) -> Series | None:
    if last_on is None:
        if frequency or number is not None:
            raise typer.BadParameter("a series needs --last-on, the day of its last")
        return None
    return Series(last_on=last_on, frequency=frequency, number=number)


def _form_of(output: Path | None) -> Format:
    if output is None:
        return Format.TABLE
    try:
        return Format(output.suffix.removeprefix(".").lower())
    except ValueError:
        raise typer.BadParameter("give --format, or a file whose name ends in .pdf, .csv or .json") from None


def _drawn(services: Services, accounting: Accounting, form: Format) -> bytes:
    if form is Format.PDF:
        return services.disclosures.press.pdf(accounting)
    if form is Format.CSV:
        return services.disclosures.press.csv(accounting)
    return f"{as_json(_plain_accounting(accounting))}".encode()


def _plain_accounting(accounting: Accounting) -> dict[str, object]:
    told = ("made_on", "recipient", "address", "what", "purpose", "request", "series")
    lines: Sequence[dict[str, object]] = [
        {name: value for name in told if (value := getattr(one, name))} for one in accounting.disclosures
    ]
    return {
        "patient": accounting.patient,
        "name": accounting.name,
        "practice": accounting.practice,
        "given_on": accounting.given_on,
        "since": accounting.period.since,
        "until": accounting.period.until,
        "disclosures": lines,
    }


def _plain(disclosure: Disclosure) -> dict[str, object]:
    shown = {name: getattr(disclosure, name) for name in disclosure.__dataclass_fields__}
    shown["status"] = disclosure.status
    return {name: value for name, value in shown.items() if value not in (None, "", ())}


def _plain_export(event: AuditEvent) -> dict[str, object]:
    found = {
        "event": event.id,
        "at": event.at,
        "account": event.actor,
        "resource": event.resource.title,
        "patient": event.patient,
        "records": event.ids_count,
    }
    return {name: value for name, value in found.items() if value is not None}
