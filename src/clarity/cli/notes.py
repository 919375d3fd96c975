"""`clarity note`: clinical notes, from the draft to the signature, as whoever logs in."""

from contextlib import nullcontext
from dataclasses import fields, replace
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

import typer

from clarity.application.notes import NotesAsked
from clarity.application.pages import MAX_PAGE, Page
from clarity.application.ports import RecordRevision
from clarity.application.services import Services
from clarity.cli.identity import AsEmail, Code, PasswordFromStdin, Token, as_caller, caller
from clarity.cli.note_tables import note_history_table, note_page, notes_table
from clarity.cli.practice import read_settings
from clarity.cli.rendering import as_json
from clarity.cli.terminal import ask_secret, note, results
from clarity.cli.writing import edited, given_text
from clarity.domain.access import Actor
from clarity.domain.ids import NoteId, PatientId
from clarity.domain.note_templates import NOTE_TEMPLATES
from clarity.domain.notes import Note, NoteContent, NoteKind, NoteStatus
from clarity.domain.records import Label

app = typer.Typer(
    no_args_is_help=True,
    help="Draft, sign and read clinical notes, as whoever logs in. Bodies are Markdown, out of a file, standard input"
    " or your editor. A title given as - is asked for: other users of this machine see what stands on a command line.",
)


def _instant(text: str) -> datetime:
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        at = None
    if at is None or at.utcoffset() is None:
        raise typer.BadParameter("must be a time with its offset from UTC, such as 2026-03-12T10:30-04:00")
    return at


def _template(name: str) -> str:
    for one in NOTE_TEMPLATES:
        if one.name == name:
            return one.body
    raise typer.BadParameter(f"must be one of {', '.join(one.name for one in NOTE_TEMPLATES)}")


PatientArgument = Annotated[UUID, typer.Argument(metavar="PATIENT", help="The id of the patient's record.")]
NoteArgument = Annotated[UUID, typer.Argument(metavar="NOTE", help="The id, as `clarity note list` prints it.")]
VersionOption = Annotated[int, typer.Option(min=1, help="The version that you have seen in `clarity note show`.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of what is to be read.")]
From = Annotated[
    str | None,
    typer.Option("--from", metavar="FILE", help="The body, from a file or with - from standard input; else $EDITOR."),
]
Title = Annotated[str | None, typer.Option(help="One line.")]
About = Annotated[
    datetime | None,
    typer.Option(parser=_instant, metavar="TIME", help="When what it tells of took place: 2026-03-12T10:30-04:00."),
]
Encounter = Annotated[str | None, typer.Option(help="On which occasion.")]
LabelOption = Annotated[
    Label | None, typer.Option(help="How confidential it is; left out, what its kind wants, or what it adds to has.")
]


@app.command(
    name="list",
    epilog="""Examples:

\b
clarity note list 0199a0c2-... --as clinician@demo.example
clarity note list 0199a0c2-... --kind discharge --as clinician@demo.example""",
)
def list_(
    *,
    patient: PatientArgument,
    email_of_caller: AsEmail = "",
    token: Token = "",
    password_stdin: PasswordFromStdin = False,
    code: Code = "",
    kind: Annotated[NoteKind | None, typer.Option(help="Only notes of this kind.")] = None,
    status: Annotated[NoteStatus | None, typer.Option(help="Only notes that stand there.")] = None,
    addendum_to: Annotated[UUID | None, typer.Option(metavar="NOTE", help="Only addenda to this note.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=MAX_PAGE, help="At most this many.")] = 25,
    as_json_: Json = False,
) -> None:
    """List the notes on a patient that are yours to see, the latest recorded first."""
    settings = read_settings()
    who = caller(email_of_caller, token, password_stdin=password_stdin, code=code)
    asked = NotesAsked(kind=kind, status=status, addendum_to=None if addendum_to is None else NoteId(addendum_to))

    async def look(services: Services, actor: Actor) -> Page[Note]:
        return await services.notes.list(actor, PatientId(patient), asked, at_most=limit)

    page = as_caller(settings, who, look)
    if as_json_:
        items = [plain(replace(one, body="")) for one in page.items]
        typer.echo(as_json({"items": items, "total": {"count": page.count, "exact": page.exact}}))
        return
    if page.items:
        results().print(notes_table(page.items, settings.practice_time_zone))
    of = f" of {page.count}" if page.count > len(page.items) else ""
    note(f"{len(page.items)}{of} {'note' if page.count == 1 else 'notes'}." if page.count else "None.")


@app.command(
    epilog="""Examples:

\b
clarity note show 0199a0c2-... 0199c2e4-... --as clinician@demo.example
clarity note show 0199a0c2-... 0199c2e4-... --history --as clinician@demo.example"""
)
def show(
    *,
    patient: PatientArgument,
    note_id: NoteArgument,
    email_of_caller: AsEmail = "",
    token: Token = "",
    password_stdin: PasswordFromStdin = False,
    code: Code = "",
    raw: Annotated[bool, typer.Option("--raw", help="Print the body as it was written, not laid out.")] = False,
    history: Annotated[bool, typer.Option("--history", help="List its versions instead.")] = False,
    as_json_: Json = False,
) -> None:
    """Show a note, with what was asked to be amended in it."""
    settings = read_settings()
    who = caller(email_of_caller, token, password_stdin=password_stdin, code=code)

    async def look(services: Services, actor: Actor) -> Note:
        return await services.notes.view(actor, PatientId(patient), NoteId(note_id))

    async def look_back(services: Services, actor: Actor) -> tuple[RecordRevision[Note], ...]:
        return await services.notes.history(actor, PatientId(patient), NoteId(note_id))

    if history:
        revisions = as_caller(settings, who, look_back)
        if as_json_:
            typer.echo(as_json([{"version": one.version, "note": plain(one.record)} for one in revisions]))
        else:
            results().print(note_history_table(revisions, settings.practice_time_zone))
        return
    found = as_caller(settings, who, look)
    if as_json_:
        typer.echo(as_json(plain(found)))
    else:
        results().print(note_page(found, settings.practice_time_zone, raw=raw))


@app.command(
    epilog="""Examples:

\b
clarity note templates
clarity note templates mental-status > note.md"""
)
def templates(
    *,
    name: Annotated[str, typer.Argument(metavar="[NAME]", help="Print this one, to be filled in.")] = "",
    as_json_: Json = False,
) -> None:
    """List the skeletons that notes may begin with, or print one. Nothing in them is of anybody: nobody logs in."""
    if name:
        typer.echo(_template(name), nl=False)
    elif as_json_:
        typer.echo(as_json(list(NOTE_TEMPLATES)))
    else:
        for one in NOTE_TEMPLATES:
            typer.echo(f"{one.name}: {one.title} ({one.source})")


@app.command(
    epilog="""Examples:

\b
clarity note draft 0199a0c2-... --kind progress --template soap --as clinician@demo.example
clarity note draft 0199a0c2-... --kind intake --title Intake --from intake.md --as clinician@demo.example"""
)
def draft(
    *,
    patient: PatientArgument,
    email_of_caller: AsEmail = "",
    token: Token = "",
    password_stdin: PasswordFromStdin = False,
    code: Code = "",
    kind: Annotated[NoteKind, typer.Option(help="What it is for; `clarity note addendum` adds to another note.")],
    title: Title = None,
    about: About = None,
    encounter: Encounter = None,
    label: LabelOption = None,
    source: From = None,
    template: Annotated[str, typer.Option(help="Begin with this skeleton; see `clarity note templates`.")] = "",
) -> None:
    """Begin a note. Until you sign it, it exists for you alone. Prints its id."""
    begun = _template(template) if template else ""
    content = NoteContent(kind=kind, about=about, label=label, encounter=encounter or "")
    who = _Author(email_of_caller, token, password_stdin=password_stdin, code=code)
    typer.echo(str(who.drafts(PatientId(patient), content, title, source, begun).id))


@app.command(
    epilog="""Examples:

\b
clarity note addendum 0199a0c2-... 0199c2e4-... --from addendum.md --sign --as clinician@demo.example"""
)
def addendum(
    *,
    patient: PatientArgument,
    note_id: NoteArgument,
    email_of_caller: AsEmail = "",
    token: Token = "",
    password_stdin: PasswordFromStdin = False,
    code: Code = "",
    title: Title = None,
    about: About = None,
    encounter: Encounter = None,
    label: LabelOption = None,
    source: From = None,
    sign_too: Annotated[bool, typer.Option("--sign", help="Sign it at once.")] = False,
) -> None:
    """Begin an addendum to a signed note. Prints its id."""
    content = NoteContent(
        kind=NoteKind.ADDENDUM, addendum_to=NoteId(note_id), about=about, label=label, encounter=encounter or ""
    )
    who = _Author(email_of_caller, token, password_stdin=password_stdin, code=code)
    typer.echo(str(who.drafts(PatientId(patient), content, title, source, "", sign_too=sign_too).id))


@app.command(
    epilog="""Examples:

\b
clarity note edit 0199a0c2-... 0199c2e4-... --version 1 --as clinician@demo.example
clarity note edit 0199a0c2-... 0199c2e4-... --version 2 --title "Third visit" --from note.md \\
    --as clinician@demo.example"""
)
def edit(
    *,
    patient: PatientArgument,
    note_id: NoteArgument,
    email_of_caller: AsEmail = "",
    token: Token = "",
    password_stdin: PasswordFromStdin = False,
    code: Code = "",
    version: VersionOption,
    kind: Annotated[NoteKind | None, typer.Option(help="What it is for.")] = None,
    title: Title = None,
    about: About = None,
    encounter: Encounter = None,
    label: LabelOption = None,
    source: From = None,
) -> None:
    """Change a draft of yours. What is not named stays; if nothing is, your editor opens with the body."""
    settings = read_settings()
    who = caller(email_of_caller, token, password_stdin=password_stdin, code=code)
    named: dict[str, Any] = {"kind": kind, "about": about, "encounter": encounter, "label": label}
    given = {name: value for name, value in named.items() if value is not None}
    if title is not None:
        given["title"] = _asked_title(title)
    at_editor = not given and source is None
    if source is not None:
        given["body"] = given_text(source)

    async def change(services: Services, actor: Actor) -> Note:
        stored = await services.notes.view(actor, PatientId(patient), NoteId(note_id))
        async with edited(stored.body) if at_editor else nullcontext(given.get("body", stored.body)) as body:
            content = replace(_content_of(stored, relabelled="kind" in given), **given | {"body": body})
            return await services.notes.edit(actor, PatientId(patient), NoteId(note_id), content, version=version)

    note(f"Kept as your draft; it is at version {as_caller(settings, who, change).version} now.")


@app.command(epilog="Example: clarity note sign 0199a0c2-... 0199c2e4-... --version 2 --as clinician@demo.example")
def sign(
    *,
    patient: PatientArgument,
    note_id: NoteArgument,
    email_of_caller: AsEmail = "",
    token: Token = "",
    password_stdin: PasswordFromStdin = False,
    code: Code = "",
    version: VersionOption,
) -> None:
    """Sign a draft of yours. From then on it is not changed any more, and there for whoever may see such notes."""
    settings = read_settings()
    who = caller(email_of_caller, token, password_stdin=password_stdin, code=code)

    async def act(services: Services, actor: Actor) -> Note:
        return await services.notes.sign(actor, PatientId(patient), NoteId(note_id), version=version)

    signed = as_caller(settings, who, act)
    note(f"Signed; it is at version {signed.version} now. To say more, write an addendum.")


@app.command(epilog="Example: clarity note cosign 0199a0c2-... 0199c2e4-... --version 2 --as clinician@demo.example")
def cosign(
    *,
    patient: PatientArgument,
    note_id: NoteArgument,
    email_of_caller: AsEmail = "",
    token: Token = "",
    password_stdin: PasswordFromStdin = False,
    code: Code = "",
    version: VersionOption,
) -> None:
    """Sign a note of somebody else too, as a clinician."""
    settings = read_settings()
    who = caller(email_of_caller, token, password_stdin=password_stdin, code=code)

    async def act(services: Services, actor: Actor) -> Note:
        return await services.notes.cosign(actor, PatientId(patient), NoteId(note_id), version=version)

    signed = as_caller(settings, who, act)
    note(f"Co-signed; it is at version {signed.version} now.")


@app.command(epilog="Example: clarity note delete 0199a0c2-... 0199c2e4-... --version 1 --as clinician@demo.example")
def delete(
    *,
    patient: PatientArgument,
    note_id: NoteArgument,
    email_of_caller: AsEmail = "",
    token: Token = "",
    password_stdin: PasswordFromStdin = False,
    code: Code = "",
    version: VersionOption,
) -> None:
    """Throw a draft of yours away."""
    settings = read_settings()
    who = caller(email_of_caller, token, password_stdin=password_stdin, code=code)

    async def act(services: Services, actor: Actor) -> None:
        await services.notes.delete(actor, PatientId(patient), NoteId(note_id), version=version)

    as_caller(settings, who, act)
    note("Thrown away.")


class _Author:
    """Whoever logs in to write."""

    def __init__(self, email: str, token: str, *, password_stdin: bool, code: str) -> None:
        self._settings = read_settings()
        self._who = caller(email, token, password_stdin=password_stdin, code=code)

    def drafts(
        self,
        patient: PatientId,
        content: NoteContent,
        title: str | None,
        source: str | None,
        begun: str,
        *,
        sign_too: bool = False,
    ) -> Note:
        """Begin a note with what is asked for and read; after logging in, so that what was written is not lost."""
        titled = replace(content, title=_asked_title(title or ""))
        given = begun if source is None else given_text(source)

        async def write(services: Services, actor: Actor) -> Note:
            async with edited(given) if source is None else nullcontext(given) as body:
                drafted = await services.notes.draft(actor, patient, replace(titled, body=body))
                if sign_too:
                    return await services.notes.sign(actor, patient, drafted.id, version=drafted.version)
                return drafted

        return as_caller(self._settings, self._who, write)


def plain(found: Note) -> dict[str, object]:
    """Return a note as it is printed as JSON."""
    shown: dict[str, object] = {item.name: getattr(found, item.name) for item in fields(found)}
    shown["status"] = found.status
    return {name: value for name, value in shown.items() if value not in (None, "", b"", ())}


def _content_of(stored: Note, *, relabelled: bool) -> NoteContent:
    content = {item.name: getattr(stored, item.name) for item in fields(NoteContent)}
    return NoteContent(**content | ({"label": None} if relabelled else {}))


def _asked_title(title: str) -> str:
    return ask_secret("Title") if title == "-" else title
