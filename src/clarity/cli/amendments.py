"""`clarity amendment`: what patients want amended in their notes, and what comes of it (45 CFR 164.526)."""

from collections.abc import Awaitable, Callable
from datetime import date
from typing import Annotated, Any
from uuid import UUID

import typer

from clarity.application.notes import OpenRequests
from clarity.application.pages import MAX_PAGE, Page
from clarity.application.services import Services
from clarity.cli.identity import AsEmail, Code, PasswordFromStdin, Token, as_caller, caller
from clarity.cli.note_tables import requests_table
from clarity.cli.practice import read_settings
from clarity.cli.rendering import as_json
from clarity.cli.terminal import ask_secret, note, results
from clarity.domain.access import Actor
from clarity.domain.amendments import DenialGround
from clarity.domain.ids import AmendmentId, NoteId, PatientId
from clarity.domain.notes import Note

app = typer.Typer(
    no_args_is_help=True,
    help="Ask to amend a signed note, and decide on that within 60 days (45 CFR 164.526). Acts as whoever logs in."
    " Where a text is given as -, it is asked for: other users of this machine see what stands on a command line.",
)


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter("must be a day such as 2026-03-13") from None


def _asked(text: str, what: str) -> str:
    return ask_secret(what) if text == "-" else text


PatientArgument = Annotated[UUID, typer.Argument(metavar="PATIENT", help="The id of the patient's record.")]
NoteArgument = Annotated[UUID, typer.Argument(metavar="NOTE", help="The id of the note.")]
RequestArgument = Annotated[
    UUID, typer.Argument(metavar="REQUEST", help="The id, as `clarity note show` and `clarity amendment list` have it.")
]
VersionOption = Annotated[int, typer.Option(min=1, help="The version of the note that you have seen.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table to read.")]


@app.command(name="list", epilog="Example: clarity amendment list --as clinician@demo.example")
def list_(
    *,
    email_of_caller: AsEmail = "",
    token: Token = "",
    password_stdin: PasswordFromStdin = False,
    code: Code = "",
    limit: Annotated[int, typer.Option(min=1, max=MAX_PAGE, help="At most this many notes.")] = 25,
    as_json_: Json = False,
) -> None:
    """List the open requests on notes of your patients, those that are due first. For clinicians."""
    settings = read_settings()
    who = caller(email_of_caller, token, password_stdin=password_stdin, code=code)

    async def look(services: Services, actor: Actor) -> tuple[Page[OpenRequests], date]:
        return await services.notes.open_requests(actor, at_most=limit), services.notes.today()

    page, today = as_caller(settings, who, look)
    if as_json_:
        items = [
            {
                "patient": one.patient,
                "note": one.note.id,
                "version": one.note.version,
                "amendments": [{"due_on": each.due_on, "amendment": each} for each in one.note.open_amendments],
            }
            for one in page.items
        ]
        typer.echo(as_json({"items": items, "more": bool(page.next_cursor)}))
        return
    if page.items:
        results().print(requests_table(page.items, today))
    note("There is more; --limit shows it." if page.next_cursor else f"{len(page.items) or 'None'} open.")


@app.command(
    epilog="""Examples:

\b
clarity amendment request 0199a0c2-... 0199c2e4-... --version 2 --what - --why - --as patient@demo.example
clarity amendment request 0199a0c2-... 0199c2e4-... --version 2 --what - --why - --received-on 2026-03-12 \\
    --as nurse@demo.example"""
)
def request(
    *,
    patient: PatientArgument,
    note_id: NoteArgument,
    email_of_caller: AsEmail = "",
    token: Token = "",
    password_stdin: PasswordFromStdin = False,
    code: Code = "",
    version: VersionOption,
    what: Annotated[str, typer.Option(help="What to amend.")],
    why: Annotated[str, typer.Option(help="Why.")],
    received_on: Annotated[
        date | None,
        typer.Option(parser=_day, metavar="YYYY-MM-DD", help="The day it was received, if staff enter it; else today."),
    ] = None,
) -> None:
    """Ask to amend a note: yours as the patient, or for a patient whom you care for."""
    who = _Writer(email_of_caller, token, password_stdin=password_stdin, code=code)
    asked: dict[str, Any] = {"what": _asked(what, "What to amend"), "why": _asked(why, "Why")}

    async def act(services: Services, actor: Actor) -> Note:
        return await services.notes.request_amendment(
            actor, PatientId(patient), NoteId(note_id), **asked, received_on=received_on, version=version
        )

    made = who.writes(act)
    typer.echo(str(made.amendments[-1].id))
    note(f"Asked; it has to be decided by {made.amendments[-1].due_on}.")


@app.command(
    epilog="""Example:

\b
clarity amendment extend 0199a0c2-... 0199c2e4-... 0199d3f5-... --version 3 --until 2026-06-10 \\
    --reason "The record of the hospital was asked for." --as clinician@demo.example"""
)
def extend(
    *,
    patient: PatientArgument,
    note_id: NoteArgument,
    amendment: RequestArgument,
    email_of_caller: AsEmail = "",
    token: Token = "",
    password_stdin: PasswordFromStdin = False,
    code: Code = "",
    version: VersionOption,
    until: Annotated[date, typer.Option(parser=_day, metavar="YYYY-MM-DD", help="The day by which it is decided.")],
    reason: Annotated[str, typer.Option(help="Why, as the patient was told in writing.")],
) -> None:
    """Take up to 30 days more to decide, once, within the first 60."""
    who = _Writer(email_of_caller, token, password_stdin=password_stdin, code=code)
    said = _asked(reason, "Why")

    async def act(services: Services, actor: Actor) -> Note:
        place = PatientId(patient), NoteId(note_id), AmendmentId(amendment)
        return await services.notes.extend_amendment(actor, *place, reason=said, until=until, version=version)

    note(f"Extended until {until}; the note is at version {who.writes(act).version} now.")


@app.command(
    epilog="""Example:

\b
clarity amendment accept 0199a0c2-... 0199c2e4-... 0199d3f5-... --version 3 --addendum 0199e4a6-... \\
    --told "The patient, by letter" --as clinician@demo.example"""
)
def accept(
    *,
    patient: PatientArgument,
    note_id: NoteArgument,
    amendment: RequestArgument,
    email_of_caller: AsEmail = "",
    token: Token = "",
    password_stdin: PasswordFromStdin = False,
    code: Code = "",
    version: VersionOption,
    addendum: Annotated[UUID, typer.Option(metavar="NOTE", help="The signed addendum that amends the note.")],
    told: Annotated[
        list[str], typer.Option(help="Who was told: the patient, and who relies on the note; may be repeated.")
    ],
) -> None:
    """Accept a request, once an addendum that amends the note is signed."""
    who = _Writer(email_of_caller, token, password_stdin=password_stdin, code=code)
    names = tuple(_asked(one, "Who was told") for one in told)

    async def act(services: Services, actor: Actor) -> Note:
        place = PatientId(patient), NoteId(note_id), AmendmentId(amendment)
        return await services.notes.accept_amendment(
            actor, *place, addendum=NoteId(addendum), told=names, version=version
        )

    note(f"Accepted; the note is at version {who.writes(act).version} now.")


@app.command(
    epilog="""Example:

\b
clarity amendment deny 0199a0c2-... 0199c2e4-... 0199d3f5-... --version 3 --ground accurate-and-complete \\
    --basis "The laboratory confirmed the level of 3 March." --as clinician@demo.example"""
)
def deny(
    *,
    patient: PatientArgument,
    note_id: NoteArgument,
    amendment: RequestArgument,
    email_of_caller: AsEmail = "",
    token: Token = "",
    password_stdin: PasswordFromStdin = False,
    code: Code = "",
    version: VersionOption,
    ground: Annotated[DenialGround, typer.Option(help="One of the grounds of 164.526(a)(2); there are no others.")],
    basis: Annotated[str, typer.Option(help="The basis in plain language, as the patient is told.")],
) -> None:
    """Deny a request. The patient is told in writing, with how to disagree and where to complain (d)(1)."""
    who = _Writer(email_of_caller, token, password_stdin=password_stdin, code=code)
    said = _asked(basis, "Basis")

    async def act(services: Services, actor: Actor) -> Note:
        place = PatientId(patient), NoteId(note_id), AmendmentId(amendment)
        return await services.notes.deny_amendment(actor, *place, ground=ground, basis=said, version=version)

    note(f"Denied ({ground.citation}); the note is at version {who.writes(act).version} now.")


@app.command(
    epilog="Example: clarity amendment disagree 0199a0c2-... 0199c2e4-... 0199d3f5-... --version 4 --text -"
    " --as patient@demo.example"
)
def disagree(
    *,
    patient: PatientArgument,
    note_id: NoteArgument,
    amendment: RequestArgument,
    email_of_caller: AsEmail = "",
    token: Token = "",
    password_stdin: PasswordFromStdin = False,
    code: Code = "",
    version: VersionOption,
    text: Annotated[str, typer.Option(help="The statement.")],
) -> None:
    """Disagree with a denial, as the patient or for them. The statement goes along with the note from then on."""
    who = _Writer(email_of_caller, token, password_stdin=password_stdin, code=code)
    said = _asked(text, "Statement")

    async def act(services: Services, actor: Actor) -> Note:
        place = PatientId(patient), NoteId(note_id), AmendmentId(amendment)
        return await services.notes.disagree(actor, *place, said, version=version)

    note(f"It goes along with the note, which is at version {who.writes(act).version} now.")


@app.command(
    epilog="Example: clarity amendment rebut 0199a0c2-... 0199c2e4-... 0199d3f5-... --version 5 --text -"
    " --as clinician@demo.example"
)
def rebut(
    *,
    patient: PatientArgument,
    note_id: NoteArgument,
    amendment: RequestArgument,
    email_of_caller: AsEmail = "",
    token: Token = "",
    password_stdin: PasswordFromStdin = False,
    code: Code = "",
    version: VersionOption,
    text: Annotated[str, typer.Option(help="The rebuttal.")],
) -> None:
    """Rebut a statement of disagreement, of which the patient gets a copy."""
    who = _Writer(email_of_caller, token, password_stdin=password_stdin, code=code)
    said = _asked(text, "Rebuttal")

    async def act(services: Services, actor: Actor) -> Note:
        place = PatientId(patient), NoteId(note_id), AmendmentId(amendment)
        return await services.notes.rebut(actor, *place, said, version=version)

    note(f"It goes along with the note, which is at version {who.writes(act).version} now.")


class _Writer:
    """Whoever logs in to write."""

    def __init__(self, email: str, token: str, *, password_stdin: bool, code: str) -> None:
        self._settings = read_settings()
        self._who = caller(email, token, password_stdin=password_stdin, code=code)

    def writes(self, use_case: Callable[[Services, Actor], Awaitable[Note]]) -> Note:
        """Run one use-case, and return what came of it."""
        return as_caller(self._settings, self._who, use_case)
