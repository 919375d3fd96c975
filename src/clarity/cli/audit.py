"""`clarity audit`: who did what to whose record, for those who answer for it."""

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
from datetime import datetime
from enum import IntEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO, TypeVar
from uuid import UUID
from zoneinfo import ZoneInfo

import typer

from clarity.application.pages import MAX_PAGE, Page
from clarity.application.services import Services
from clarity.application.trail import ExportPiece
from clarity.cli.audit_tables import plain_line, trail_table
from clarity.cli.files import appearing
from clarity.cli.identity import AsEmail, Caller, Code, PasswordFromStdin, Token, as_caller_or_operator, caller
from clarity.cli.practice import read_settings
from clarity.cli.rendering import as_json
from clarity.cli.terminal import Progress, note, progress, results
from clarity.domain.access import Action, Actor
from clarity.domain.audit import Outcome
from clarity.domain.errors import Invalid, NotFound
from clarity.domain.ids import PatientId, RequestId
from clarity.domain.records import Resource
from clarity.domain.trail import ExportFormat, TrailLine, TrailQuery

if TYPE_CHECKING:
    from clarity.upkeep import Settings

app = typer.Typer(
    no_args_is_help=True,
    help="Read the audit trail: who saw whom, who did what. Acts as whoever logs in, or as the operator if nobody does;"
    " every look at it is in the trail too.",
)
Member = TypeVar("Member", bound=IntEnum)


def _member(kind: type[Member]) -> Callable[[str], Member]:
    """Return what reads a member of `kind` by its name, however its words are joined."""
    names = {one.name.lower().replace("_", "-"): one for one in kind}

    def read(text: str) -> Member:
        if (found := names.get(text.strip().lower().replace("_", "-").replace(" ", "-"))) is None:
            raise typer.BadParameter(f"one of {', '.join(names)}")
        return found

    return read


def _account(text: str) -> str:
    """Refuse to take no account, as a variable of a script that was never set, for all of them."""
    if not text.strip():
        raise typer.BadParameter("name an account, by its id or e-mail address")
    return text


def _file(text: str) -> Path:
    """Refuse what other commands take for standard output: the file is whole or not there, and its owner's alone."""
    if text in {"", "-"}:
        raise typer.BadParameter("name a file")
    return Path(text)


def _instant(text: str) -> datetime:
    """Read an instant. A day is its first instant in the practice, and so is a time that names no zone."""
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter("must be a day or an instant such as 2026-03-14 or 2026-03-14T09:30:00Z") from None


Since = Annotated[
    datetime | None,
    typer.Option(
        parser=_instant,
        metavar="INSTANT",
        help="From this day or instant on; in the practice's time zone if it names none.",
    ),
]
Until = Annotated[
    datetime | None,
    typer.Option(parser=_instant, metavar="INSTANT", help="Before this day or instant, which is not included."),
]
Actions = Annotated[
    list[Action] | None,
    typer.Option("--action", parser=_member(Action), metavar="ACTION", help="Only this, such as view; repeatable."),
]
Resources = Annotated[
    list[Resource] | None,
    typer.Option(
        "--resource", parser=_member(Resource), metavar="KIND", help="Only on this, such as patient; repeatable."
    ),
]
Outcomes = Annotated[
    list[Outcome] | None,
    typer.Option(
        "--outcome",
        parser=_member(Outcome),
        metavar="OUTCOME",
        help="Only what succeeded, was refused, failed, or of which that is unknown; repeatable.",
    ),
]
Request = Annotated[
    UUID | None, typer.Option(metavar="ID", help="Only one request, by the X-Request-Id of its answer.")
]
PatientOption = Annotated[UUID | None, typer.Option("--patient", metavar="ID", help="Only what concerns this patient.")]
AccountOption = Annotated[
    str | None,
    typer.Option(
        "--account",
        parser=_account,
        metavar="ACCOUNT",
        help="Only what this account did, by its id or e-mail address.",
    ),
]
Limit = Annotated[int, typer.Option(min=1, help="At most this many.")]
OldestFirst = Annotated[bool, typer.Option("--oldest-first", help="Begin with the oldest.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table to read.")]


@app.command(
    name="who-saw",
    epilog="""Examples:

\b
clarity audit who-saw 0199a0c2-... --as compliance-officer@demo.example
clarity audit who-saw 0199a0c2-... --since 2026-03-01 --until 2026-04-01 --outcome succeeded""",
)
def who_saw(
    *,
    patient: Annotated[
        UUID, typer.Argument(metavar="PATIENT", help="The id of the patient's record.", show_default=False)
    ],
    email_of_caller: AsEmail = "",
    token: Token = "",
    password_stdin: PasswordFromStdin = False,
    code: Code = "",
    since: Since = None,
    until: Until = None,
    action: Actions = None,
    resource: Resources = None,
    outcome: Outcomes = None,
    limit: Limit = 25,
    oldest_first: OldestFirst = False,
    as_json_: Json = False,
) -> None:
    """Tell who did what with a patient's record, and which lists showed them to whom; the latest first."""
    settings = read_settings()
    who = _caller(email_of_caller, token, password_stdin=password_stdin, code=code)
    query = _query(
        settings,
        patient=patient,
        since=since,
        until=until,
        action=action,
        resource=resource,
        outcome=outcome,
        oldest_first=oldest_first,
    )
    _show(settings, who, query, None, limit, as_json_=as_json_)


@app.command(
    name="what-did",
    epilog="""Examples:

\b
clarity audit what-did nurse@demo.example --as compliance-officer@demo.example
clarity audit what-did 0199a0c2-... --outcome refused --since 2026-03-01""",
)
def what_did(
    *,
    account: Annotated[
        str,
        typer.Argument(
            parser=_account, metavar="ACCOUNT", help="The account, by its id or e-mail address.", show_default=False
        ),
    ],
    email_of_caller: AsEmail = "",
    token: Token = "",
    password_stdin: PasswordFromStdin = False,
    code: Code = "",
    since: Since = None,
    until: Until = None,
    action: Actions = None,
    resource: Resources = None,
    outcome: Outcomes = None,
    limit: Limit = 25,
    oldest_first: OldestFirst = False,
    as_json_: Json = False,
) -> None:
    """Tell what an account did and what was refused to it, the latest first."""
    settings = read_settings()
    who = _caller(email_of_caller, token, password_stdin=password_stdin, code=code)
    query = _query(
        settings, since=since, until=until, action=action, resource=resource, outcome=outcome, oldest_first=oldest_first
    )
    _show(settings, who, query, account, limit, as_json_=as_json_)


@app.command(
    name="list",
    epilog="""Examples:

\b
clarity audit list --outcome refused --since 2026-03-01 --as compliance-officer@demo.example
clarity audit list --request 0199a0c2-... --json""",
)
def list_(
    *,
    email_of_caller: AsEmail = "",
    token: Token = "",
    password_stdin: PasswordFromStdin = False,
    code: Code = "",
    patient: PatientOption = None,
    account: AccountOption = None,
    since: Since = None,
    until: Until = None,
    action: Actions = None,
    resource: Resources = None,
    outcome: Outcomes = None,
    request: Request = None,
    limit: Limit = 25,
    oldest_first: OldestFirst = False,
    as_json_: Json = False,
) -> None:
    """List what is in the trail, the latest first. Conditions add up."""
    settings = read_settings()
    who = _caller(email_of_caller, token, password_stdin=password_stdin, code=code)
    query = _query(
        settings,
        patient=patient,
        since=since,
        until=until,
        action=action,
        resource=resource,
        outcome=outcome,
        request=request,
        oldest_first=oldest_first,
    )
    _show(settings, who, query, account, limit, as_json_=as_json_)


@app.command(
    epilog="""Examples:

\b
clarity audit export --output march.csv --since 2026-03-01 --until 2026-04-01
clarity audit export --format fhir --patient 0199a0c2-... --output trail.ndjson --as compliance-officer@demo.example"""
)
def export(
    *,
    output: Annotated[
        Path,
        typer.Option(
            "--output", "-o", parser=_file, metavar="FILE", help="Where to write; only its owner may read it."
        ),
    ],
    form: Annotated[
        ExportFormat,
        typer.Option("--format", help="A table for spreadsheets, or AuditEvents of FHIR R4 (IHE BALP), one to a line."),
    ] = ExportFormat.CSV,
    email_of_caller: AsEmail = "",
    token: Token = "",
    password_stdin: PasswordFromStdin = False,
    code: Code = "",
    patient: PatientOption = None,
    account: AccountOption = None,
    since: Since = None,
    until: Until = None,
    action: Actions = None,
    resource: Resources = None,
    outcome: Outcomes = None,
    request: Request = None,
) -> None:
    """Write what the trail has by now to a file, the oldest first. The file appears when all of it is there."""
    settings = read_settings()
    who = _caller(email_of_caller, token, password_stdin=password_stdin, code=code)
    query = _query(
        settings,
        patient=patient,
        since=since,
        until=until,
        action=action,
        resource=resource,
        outcome=outcome,
        request=request,
    )

    async def write(services: Services, actor: Actor) -> int:
        asked = await _asked(services, actor, query, account)
        with appearing(output) as file, progress("Exporting") as told:
            return await _written(services.trail.export(actor, asked, form), file, told)

    events = as_caller_or_operator(settings, who, write)
    note(f"{events} event{'' if events == 1 else 's'} written to {output}.")


def _caller(email: str, token: str, *, password_stdin: bool, code: str) -> Caller | None:
    return caller(email, token, password_stdin=password_stdin, code=code) if email or token else None


def _query(
    settings: "Settings",
    *,
    patient: UUID | None = None,
    since: datetime | None,
    until: datetime | None,
    action: Sequence[Action] | None,
    resource: Sequence[Resource] | None,
    outcome: Sequence[Outcome] | None,
    request: UUID | None = None,
    oldest_first: bool = False,
) -> TrailQuery:
    zone = settings.practice_time_zone
    return TrailQuery(
        patient=None if patient is None else PatientId(patient),
        since=_placed(since, zone),
        until=_placed(until, zone),
        actions=frozenset(action or ()),
        resources=frozenset(resource or ()),
        outcomes=frozenset(outcome or ()),
        request=None if request is None else RequestId(request),
        oldest_first=oldest_first,
    )


def _placed(instant: datetime | None, zone: ZoneInfo) -> datetime | None:
    return instant.replace(tzinfo=zone) if instant is not None and instant.tzinfo is None else instant


async def _asked(services: Services, actor: Actor, query: TrailQuery, account: str | None) -> TrailQuery:
    """Return `query` for one account, which is named by its id or its e-mail address."""
    if account is None:
        return query
    try:
        return replace(query, actor=UUID(account))
    except ValueError:
        pass
    if "@" not in account:
        raise Invalid("account", "must be an id, like 0199a0c2-41aa-7d02-8f7c-5e2b9c6d1a08, or an e-mail address")
    try:
        return replace(query, actor=await services.trail.account_named(actor, account))
    except NotFound:
        raise NotFound("no account has this e-mail address") from None


def _show(
    settings: "Settings", who: Caller | None, query: TrailQuery, account: str | None, limit: int, *, as_json_: bool
) -> None:
    async def look(services: Services, actor: Actor) -> Page[TrailLine]:
        return await _pages(services, actor, await _asked(services, actor, query, account), limit)

    found = as_caller_or_operator(settings, who, look)
    if as_json_:
        total = {"count": found.count, "exact": found.exact}
        typer.echo(as_json({"items": [plain_line(line) for line in found.items], "total": total}))
        return
    if found.items:
        results().print(trail_table(found.items, settings.practice_time_zone))
    note(_summary(found))
    altered = sum(not line.entry.verified for line in found.items)
    if altered:
        note(f"{altered} of them {'is' if altered == 1 else 'are'} not as written: somebody changed the trail itself.")


async def _pages(services: Services, actor: Actor, query: TrailQuery, limit: int) -> Page[TrailLine]:
    """Return as many pages as it takes to fill `limit`, as one."""
    items: list[TrailLine] = []
    cursor = ""
    while True:
        found = await services.trail.list(actor, query, cursor=cursor, at_most=min(limit - len(items), MAX_PAGE))
        items.extend(found.items)
        cursor = found.next_cursor
        if not cursor or len(items) >= limit:
            return Page(items=tuple(items), next_cursor=cursor, count=found.count, exact=found.exact)


def _summary(found: Page[TrailLine]) -> str:
    if not found.items:
        return "The trail has no such event."
    if not found.next_cursor:
        return f"{len(found.items)} event{'' if len(found.items) == 1 else 's'}."
    # A search for what is rare may have counted less than it has shown by now.
    count = max(found.count, len(found.items))
    return f"{len(found.items)} of {count}{'' if found.exact else ' or more'} events; --limit shows more."


async def _written(pieces: AsyncIterator[ExportPiece], file: BinaryIO, told: Progress) -> int:
    events = 0
    async for piece in pieces:
        file.write(piece.data)
        events = piece.events
        told(events, 0)
    return events
