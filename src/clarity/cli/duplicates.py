"""`clarity duplicate`: patients who may be one person, as whoever logs in."""

from collections.abc import Awaitable, Callable
from typing import Annotated
from uuid import UUID

import typer
from rich import box
from rich.table import Table
from rich.text import Text

from clarity.application.duplicates import Reviewed
from clarity.application.pages import MAX_PAGE, Page
from clarity.application.services import Services
from clarity.cli.identity import AsEmail, Caller, Code, PasswordFromStdin, Token, as_caller, caller
from clarity.cli.practice import read_settings
from clarity.cli.rendering import as_json, side_by_side
from clarity.cli.terminal import ask_secret, note, results
from clarity.domain.access import Actor
from clarity.domain.duplicates import Duplicate, DuplicateStatus, Likeness
from clarity.domain.ids import DuplicateId, PatientId
from clarity.domain.patients import FIELD_BITS, PatientField

app = typer.Typer(
    no_args_is_help=True,
    help="Review patients who share a social security number, e-mail address or telephone number; merge their records,"
    " or take a merge back. As whoever logs in.",
)
_STYLES = {
    Likeness.EQUAL: "green",
    Likeness.SIMILAR: "yellow",
    Likeness.DIFFERENT: "red",
    Likeness.ONE_SIDED: "dim",
}

ReviewArgument = Annotated[
    UUID, typer.Argument(metavar="REVIEW", help="The id of the review, as `clarity duplicate list` prints it.")
]
NoteOption = Annotated[str, typer.Option("--note", help="Why; it is sealed with the review. - asks for it.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table to read.")]


@app.command(
    name="list",
    epilog="""Examples:

\b
clarity duplicate list --as front-desk@demo.example
clarity duplicate list --status merged --as front-desk@demo.example""",
)
def list_(
    *,
    email_of_caller: AsEmail = "",
    token: Token = "",
    password_stdin: PasswordFromStdin = False,
    code: Code = "",
    status: Annotated[DuplicateStatus, typer.Option(help="What became of the review.")] = DuplicateStatus.OPEN,
    limit: Annotated[int, typer.Option(min=1, max=MAX_PAGE, help="At most this many.")] = 25,
    as_json_: Json = False,
) -> None:
    """List the reviews of which you may see both patients, the oldest first."""
    settings = read_settings()
    who = caller(email_of_caller, token, password_stdin=password_stdin, code=code)

    async def look(services: Services, actor: Actor) -> Page[Duplicate]:
        return await services.duplicates.list(actor, status, at_most=limit)

    found = as_caller(settings, who, look)
    if as_json_:
        items = [_plain(review) for review in found.items]
        typer.echo(as_json({"items": items, "total": {"count": found.count, "exact": found.exact}}))
        return
    if found.items:
        results().print(_table(found))
    note(f"{found.count} {status}.")


@app.command(
    epilog="""Examples:

\b
clarity duplicate show 0199a0c2-... --as front-desk@demo.example"""
)
def show(
    *,
    review: ReviewArgument,
    email_of_caller: AsEmail = "",
    token: Token = "",
    password_stdin: PasswordFromStdin = False,
    code: Code = "",
    as_json_: Json = False,
) -> None:
    """Show both records of a review side by side, and how each field of them compares."""
    from clarity.bootstrap import today

    settings = read_settings()
    who = caller(email_of_caller, token, password_stdin=password_stdin, code=code)

    async def look(services: Services, actor: Actor) -> Reviewed:
        return await services.duplicates.view(actor, DuplicateId(review))

    reviewed = as_caller(settings, who, look)
    if as_json_:
        compared = [{"field": _field(one.field), "likeness": one.likeness} for one in reviewed.compared]
        typer.echo(as_json({"review": _plain(reviewed.review), "records": reviewed.records, "compared": compared}))
        return
    likeness = {_field(one.field): Text(one.likeness, _STYLES[one.likeness]) for one in reviewed.compared}
    results().print(side_by_side(reviewed.records, likeness, today(settings)))
    note(_said(reviewed.review))


@app.command(
    epilog="""Examples:

\b
clarity duplicate distinct 0199a0c2-... --note "Mother and son, on one telephone" --as front-desk@demo.example"""
)
def distinct(
    *,
    review: ReviewArgument,
    email_of_caller: AsEmail = "",
    token: Token = "",
    password_stdin: PasswordFromStdin = False,
    code: Code = "",
    note_: NoteOption = "",
) -> None:
    """Decide that the two are two people."""
    who, why = caller(email_of_caller, token, password_stdin=password_stdin, code=code), _stated(note_)

    async def decide(services: Services, actor: Actor) -> Duplicate:
        return await services.duplicates.distinguish(actor, DuplicateId(review), why)

    _decided(who, decide)


@app.command(
    epilog="""Examples:

\b
clarity duplicate merge 0199a0c2-... --survivor 0199b1d3-... --note "Registered twice" --as front-desk@demo.example"""
)
def merge(
    *,
    review: ReviewArgument,
    survivor: Annotated[UUID, typer.Option(help="The id of the patient whose record stays.")],
    email_of_caller: AsEmail = "",
    token: Token = "",
    password_stdin: PasswordFromStdin = False,
    code: Code = "",
    note_: NoteOption = "",
) -> None:
    """Decide that the two are one person: one record ends, the other gains what it lacked."""
    who, why = caller(email_of_caller, token, password_stdin=password_stdin, code=code), _stated(note_)

    async def decide(services: Services, actor: Actor) -> Duplicate:
        return await services.duplicates.merge(actor, DuplicateId(review), PatientId(survivor), why)

    _decided(who, decide)


@app.command(
    epilog="""Examples:

\b
clarity duplicate unmerge 0199a0c2-... --note "Two people after all" --as front-desk@demo.example"""
)
def unmerge(
    *,
    review: ReviewArgument,
    email_of_caller: AsEmail = "",
    token: Token = "",
    password_stdin: PasswordFromStdin = False,
    code: Code = "",
    note_: NoteOption = "",
) -> None:
    """Take a merge back: what it added leaves the survivor, and the other record is restored."""
    who, why = caller(email_of_caller, token, password_stdin=password_stdin, code=code), _stated(note_)

    async def decide(services: Services, actor: Actor) -> Duplicate:
        return await services.duplicates.unmerge(actor, DuplicateId(review), why)

    _decided(who, decide)


def _decided(who: Caller, decide: Callable[[Services, Actor], Awaitable[Duplicate]]) -> None:
    note(_said(as_caller(read_settings(), who, decide)))


def _stated(note_: str) -> str:
    return ask_secret("Note") if note_ == "-" else note_


def _said(review: Duplicate) -> str:
    """Return in a line where a review stands."""
    if review.merge is not None:
        moved = ", ".join(
            name.replace("_", " ") for name, bit in FIELD_BITS.items() if bit in review.merge.moved.filled
        )
        return f"Merged into {review.merge.survivor}; it gained {moved or 'nothing'}."
    words = {DuplicateStatus.OPEN: "Open", DuplicateStatus.DISTINCT: "Found to be distinct"}
    return f"{words[review.status]}: they share {_kinds(review)}."


def _table(found: Page[Duplicate]) -> Table:
    table = Table(box=box.SIMPLE, pad_edge=False)
    for title in ("Review", "Patients", "Share", "Opened"):
        table.add_column(title, overflow="fold")
    for review in found.items:
        pair = f"{review.patient}\n{review.other}"
        table.add_row(str(review.id), pair, _kinds(review), review.opened_at.strftime("%Y-%m-%d"))
    return table


def _plain(review: Duplicate) -> dict[str, object]:
    merge = review.merge
    return {
        "id": review.id,
        "version": review.version,
        "status": review.status,
        "patients": [review.patient, review.other],
        "kinds": [kind.name.lower() for kind in review.kinds],
        "opened_at": review.opened_at,
        "note": review.note,
        "decided_at": review.decided_at,
        "survivor": merge and merge.survivor,
    }


def _kinds(review: Duplicate) -> str:
    names = {"ssn": "social security number", "email": "e-mail address", "phone": "telephone number"}
    return ", ".join(names[kind.name.lower()] for kind in review.kinds)


def _field(bit: PatientField) -> str:
    return next(name for name, one in FIELD_BITS.items() if one == bit)
