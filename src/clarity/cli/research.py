"""`clarity research`: patients without anything by which they could be told, for researchers."""

from typing import Annotated

import typer
from rich import box
from rich.table import Table

from clarity.application.pages import MAX_PAGE, Page
from clarity.application.services import Services
from clarity.cli.identity import AsEmail, Code, PasswordFromStdin, Token, as_caller, caller
from clarity.cli.practice import read_settings
from clarity.cli.rendering import as_json
from clarity.cli.terminal import note, results
from clarity.domain.access import Actor
from clarity.domain.deidentification import OLDEST_AGE, ResearchSubject

app = typer.Typer(
    no_args_is_help=True,
    help="See patients de-identified (45 CFR 164.514(b)(2)), as a researcher who logs in.",
)


@app.command(
    name="list",
    epilog="""Examples:

\b
clarity research list --as researcher@demo.example
clarity research list --limit 1000 --json --as researcher@demo.example""",
)
def list_(
    *,
    email_of_caller: AsEmail = "",
    token: Token = "",
    password_stdin: PasswordFromStdin = False,
    code: Code = "",
    limit: Annotated[int, typer.Option(min=1, help="At most this many.")] = 25,
    as_json_: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table to read.")] = False,
) -> None:
    """List the patients, de-identified, in the order of their pseudonyms."""
    settings = read_settings()
    who = caller(email_of_caller, token, password_stdin=password_stdin, code=code)

    async def look(services: Services, actor: Actor) -> Page[ResearchSubject]:
        return await _pages(services, actor, limit)

    found = as_caller(settings, who, look)
    if as_json_:
        typer.echo(as_json({"items": found.items, "total": {"count": found.count, "exact": found.exact}}))
        return
    if found.items:
        results().print(_table(found.items))
    note(f"{len(found.items)} of {found.count} {'subject' if found.count == 1 else 'subjects'}.")


async def _pages(services: Services, actor: Actor, limit: int) -> Page[ResearchSubject]:
    """Return as many pages as it takes to fill `limit`, as one."""
    items: list[ResearchSubject] = []
    cursor = ""
    while True:
        found = await services.research.list(actor, cursor=cursor, at_most=min(limit - len(items), MAX_PAGE))
        items.extend(found.items)
        cursor = found.next_cursor
        if not cursor or len(items) >= limit:
            return Page(items=tuple(items), next_cursor=cursor, count=found.count, exact=found.exact)


def _table(subjects: tuple[ResearchSubject, ...]) -> Table:
    table = Table(box=box.SIMPLE, pad_edge=False)
    for title in ("Subject", "Age", "Gender", "Marital status", "Race", "Ethnicity", "Languages", "Where", "Died"):
        table.add_column(title, overflow="fold")
    for one in subjects:
        table.add_row(
            one.pseudonym,
            f"{one.age}+" if one.age == OLDEST_AGE else str(one.age),
            one.gender,
            one.marital_status,
            ", ".join(one.race),
            ", ".join(one.ethnicity),
            ", ".join(one.languages),
            f"{one.state} {one.zip3}".strip(),
            str(one.death_year or "yes") if one.deceased else "",
        )
    return table
