"""`clarity patient search-chart`: looking for words in one patient's notes and prescriptions, as whoever logs in."""

from typing import Annotated
from uuid import UUID

import typer
from rich.table import Table
from rich.text import Text

from clarity.application.chart_search import ChartFound, RecordKind
from clarity.application.pages import MAX_PAGE
from clarity.application.services import Services
from clarity.cli.identity import AsEmail, Code, PasswordFromStdin, Token, as_caller, caller
from clarity.cli.practice import read_settings
from clarity.cli.rendering import as_json
from clarity.cli.terminal import ask_secret, note, results
from clarity.domain.access import Actor
from clarity.domain.full_text import Snippet
from clarity.domain.ids import PatientId

EXAMPLES = """Examples:

\b
clarity patient search-chart 0199a0c2-... sertraline --as clinician@demo.example
clarity patient search-chart 0199a0c2-... '"early waking" depr*' --kind note --as nurse@demo.example
clarity patient search-chart 0199a0c2-... - --as clinician@demo.example"""


def search_chart(
    *,
    patient: Annotated[UUID, typer.Argument(help="The id of the record, as `clarity patient find` prints it.")],
    query: Annotated[
        list[str],
        typer.Argument(help='Words, "phrases" in quotation marks, and beginnings such as depr*; - asks for them.'),
    ],
    email_of_caller: AsEmail = "",
    token: Token = "",
    password_stdin: PasswordFromStdin = False,
    code: Code = "",
    kind: Annotated[
        list[RecordKind] | None, typer.Option(help="Of these kinds alone; may be repeated. Left out, of all.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=MAX_PAGE, help="At most this many.")] = 20,
    as_json_: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table to read.")] = False,
) -> None:
    """Search one patient's notes and prescriptions, as far as you may see them, the best answers first.

    All words have to be there. Case, accents and the endings of English words make no difference, and longer words may
    be misspelt. Words on a command line are seen by other users of this machine and kept by the shell: give - instead.
    """
    settings = read_settings()
    who = caller(email_of_caller, token, password_stdin=password_stdin, code=code)
    words = ask_secret("Words to look for") if query == ["-"] else " ".join(query)

    async def search(services: Services, actor: Actor) -> ChartFound:
        return await services.chart_search.search(
            actor, PatientId(patient), words, kinds=kind or RecordKind, at_most=limit
        )

    found = as_caller(settings, who, search)
    if as_json_:
        total = {"count": found.count, "exact": found.exact}
        read = {"looked_through": found.looked_through, "complete": found.complete}
        typer.echo(as_json({"items": found.items, "total": total, **read}))
        return
    if found.items:
        results().print(_table(found))
    note(_said(found))


def _table(found: ChartFound) -> Table:
    table = Table("Day", "Kind", "Id", "Title", "What it says")
    for one in found.items:
        table.add_row(
            str(one.day or ""),
            one.kind if one.status == "signed" else f"{one.kind}, {one.status}",
            str(one.id),
            _marked(one.title),
            _marked(one.snippet),
        )
    return table


def _marked(snippet: Snippet) -> Text:
    text = Text(snippet.text)
    for start, end in snippet.matches:
        text.stylize("bold", start, end)
    return text


def _said(found: ChartFound) -> str:
    shown = f"{len(found.items)} of {found.count} found" if found.next_cursor else f"{found.count} found"
    more = "; --limit shows more" if found.next_cursor else ""
    read = f" in {found.looked_through} records{more}."
    return shown + read + ("" if found.complete else " The oldest, or some that do not open, were not looked through.")
