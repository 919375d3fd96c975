"""`clarity audit report`: what was unusual in the accesses of a day."""

from collections.abc import Iterable
from datetime import date, datetime
from itertools import groupby
from typing import Annotated
from zoneinfo import ZoneInfo

import typer
from rich import box
from rich.table import Table
from rich.text import Text

from clarity.application.services import Services
from clarity.cli.identity import AsEmail, Code, PasswordFromStdin, Token, as_caller, caller
from clarity.cli.practice import read_settings
from clarity.cli.rendering import as_json
from clarity.cli.terminal import note, results
from clarity.domain.access import Actor
from clarity.domain.unusual_access import AccessReport, Finding, Unusual

EXAMPLES = """Examples:

\b
clarity audit report --as compliance-officer@demo.example
clarity audit report --day 2026-03-13 --json --as compliance-officer@demo.example"""

_SHOWN = 5
_WORDS = {
    Unusual.VOLUME: "saw {count} patients; up to {limit} would have been usual",
    Unusual.HOURS: "looked {times} outside usual hours",
    Unusual.NO_TIE: "saw {patients} without a tie",
    Unusual.FAMILY_NAME: "saw {patients} with the holder's family name",
    Unusual.UNREVIEWED: "broke the glass {times}, and nobody has reviewed it in 72 hours",
}


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter("expected a day like 2026-03-13") from None


Day = Annotated[
    date | None,
    typer.Option(parser=_day, metavar="DAY", help="A day in the practice, like 2026-03-13; yesterday if not given."),
]


def report(
    *,
    day: Day = None,
    email_of_caller: AsEmail = "",
    token: Token = "",
    password_stdin: PasswordFromStdin = False,
    code: Code = "",
    as_json_: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table to read.")] = False,
) -> None:
    """Show what was unusual in the accesses of a day, by account. For compliance officers.

    Each finding says that somebody should look, not that something was wrong; docs/operations.md has the rules. It is
    computed from the trail each time, and reading it is in the trail too.
    """
    settings = read_settings()
    who = caller(email_of_caller, token, password_stdin=password_stdin, code=code)

    async def read(services: Services, actor: Actor) -> AccessReport:
        return await services.access_reports.read(actor, day)

    found = as_caller(settings, who, read)
    if as_json_:
        typer.echo(as_json(_plain(found)))
        return
    if found.findings:
        results().print(_table(found.findings, settings.practice_time_zone))
    so_far = "" if found.over else ", so far"
    if not found.findings:
        note(f"Nothing unusual on {found.day}{so_far}.")
        return
    counts = ", ".join(f"{kind} {count}" for kind, count in found.counts.items() if count)
    accounts = len({one.account for one in found.findings})
    note(f"{found.day}{so_far}: {counts}; of {accounts} {'account' if accounts == 1 else 'accounts'}.")


def _table(findings: Iterable[Finding], zone: ZoneInfo) -> Table:
    table = Table(box=box.SIMPLE, pad_edge=False)
    table.add_column("Account", min_width=36, overflow="fold")
    table.add_column("Unusual", overflow="fold")
    table.add_column("From, until", no_wrap=True)
    table.add_column("Patients, access", min_width=36, overflow="fold")
    for account, of_account in groupby(findings, key=lambda one: one.account):
        for position, finding in enumerate(of_account):
            who = Text.assemble(
                (finding.name or "(no account any more)", "bold"), f", {finding.role.title}\n", (str(account), "dim")
            )
            table.add_row(
                who if position == 0 else "",
                Text.assemble((str(finding.kind), "yellow"), "\n", _told(finding)),
                f"{_at(finding.first_at, zone)}\n{_at(finding.last_at, zone)}",
                _named(finding),
            )
    return table


def _told(finding: Finding) -> str:
    return _WORDS[finding.kind].format(
        count=finding.count,
        limit=finding.limit,
        times="once" if finding.count == 1 else f"{finding.count} times",
        patients="1 patient" if finding.count == 1 else f"{finding.count} patients",
    )


def _named(finding: Finding) -> str:
    ids = [str(one) for one in (finding.glasses or finding.patients)]
    rest = len(ids) - _SHOWN
    return "\n".join([*ids[:_SHOWN], *([f"and {rest} more: see --json"] if rest > 0 else [])])


def _plain(found: AccessReport) -> dict[str, object]:
    """Return a report as another program reads it, in the names of the API."""
    return {
        "day": found.day,
        "since": found.span.start,
        "until": found.span.end,
        "over": found.over,
        "counts": found.counts,
        "findings": [
            {
                "kind": one.kind,
                "account": one.account,
                "name": one.name,
                "role": one.role,
                "count": one.count,
                "limit": one.limit,
                "patients": one.patients,
                "break_glass": one.glasses,
                "first_at": one.first_at,
                "last_at": one.last_at,
            }
            for one in found.findings
        ],
    }


def _at(instant: datetime, zone: ZoneInfo) -> str:
    return instant.astimezone(zone).strftime("%Y-%m-%d %H:%M:%S %Z")
