"""`clarity patient`: finding and reading records, as whoever logs in."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Annotated, Any, Literal
from uuid import UUID

import typer

from clarity.application.pages import MAX_PAGE, Page
from clarity.application.ports import Revision
from clarity.application.services import Services
from clarity.cli.identity import AsEmail, Code, PasswordFromStdin, Token, as_caller, caller, logged_in
from clarity.cli.practice import in_practice, read_settings
from clarity.cli.rendering import as_json, history_table, patient_page, patients_table
from clarity.cli.terminal import ask_secret, note, results
from clarity.domain.access import Action, Actor, right_to
from clarity.domain.dates import PartialDate
from clarity.domain.errors import Invalid
from clarity.domain.ids import PatientId, PractitionerId
from clarity.domain.likeness import MOST_ALIKE, Resembling, SimilarQuery
from clarity.domain.patients import Patient, PatientQuery, PatientSort, PatientStatus
from clarity.domain.people import BirthSex, Gender
from clarity.domain.records import Label, Resource

app = typer.Typer(
    no_args_is_help=True,
    help="Find and read patient records, as whoever logs in. Every look leaves an audit event.",
)
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a page to read.")]


def _birth(text: str) -> PartialDate:
    try:
        return PartialDate.parse(text)
    except Invalid as exc:
        raise typer.BadParameter(exc.rule) from None


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter("must be a day such as 1985-04-12") from None


@app.command(
    epilog="""Examples:

\b
clarity patient find alcan --as clinician@demo.example
clarity patient find --min-age 65 --status active --sort age --as nurse@demo.example
clarity patient find --gender female --sort changed --limit 10 --as clinician@demo.example
clarity patient find --ssn - --as front-desk@demo.example
CLARITY_TOKEN=... clarity patient find o brien --json"""
)
def find(
    *,
    fragments: Annotated[
        list[str] | None,
        typer.Argument(help="Fragments of one name, in any order, as you would type them: alcan finds Alcántar."),
    ] = None,
    email_of_caller: AsEmail = "",
    token: Token = "",
    password_stdin: PasswordFromStdin = False,
    code: Code = "",
    mrn: Annotated[str, typer.Option(help="The whole medical record number.")] = "",
    ssn: Annotated[str, typer.Option(help="The whole social security number.")] = "",
    email: Annotated[str, typer.Option(help="The whole e-mail address.")] = "",
    phone: Annotated[str, typer.Option(help="The whole telephone number.")] = "",
    identifier: Annotated[str, typer.Option(help="The whole of any other number.")] = "",
    min_age: Annotated[int | None, typer.Option(help="At least this many completed years.")] = None,
    max_age: Annotated[int | None, typer.Option(help="At most this many completed years.")] = None,
    born_from: Annotated[
        date | None, typer.Option(parser=_day, metavar="YYYY-MM-DD", help="Born on this day or later.")
    ] = None,
    born_to: Annotated[
        date | None, typer.Option(parser=_day, metavar="YYYY-MM-DD", help="Born on this day or before.")
    ] = None,
    gender: Annotated[Gender | None, typer.Option(help="Of this gender for administrative purposes.")] = None,
    birth_sex: Annotated[BirthSex | None, typer.Option(help="With this sex on the birth certificate.")] = None,
    status: Annotated[PatientStatus | None, typer.Option(help="Where they stand with the practice.")] = None,
    practitioner: Annotated[UUID | None, typer.Option(help="In the care team of this practitioner, by id.")] = None,
    sort: Annotated[
        PatientSort, typer.Option(help="By name, by age with the youngest first, or by change with the latest first.")
    ] = PatientSort.NAME,
    descending: Annotated[bool, typer.Option("--descending", help="The other way round.")] = False,
    limit: Annotated[int, typer.Option(min=1, help="At most this many.")] = 25,
    as_json_: Json = False,
) -> None:
    """Find patients. All conditions have to hold; without any, everybody you may see is listed.

    Numbers and addresses on a command line are seen by other users of this machine and kept by the shell: give - for
    any of them, and it is asked for instead.
    """
    from clarity.bootstrap import today

    settings = read_settings()
    who = caller(email_of_caller, token, password_stdin=password_stdin, code=code)
    query = PatientQuery(
        name=" ".join(fragments or ()),
        mrn=_asked("medical record number", mrn),
        ssn=_asked("social security number", ssn),
        email=_asked("e-mail address", email),
        phone=_asked("telephone number", phone),
        identifier=_asked("identifier", identifier),
        min_age=min_age,
        max_age=max_age,
        born_from=born_from,
        born_to=born_to,
        gender=gender,
        birth_sex=birth_sex,
        status=status,
        practitioner=PractitionerId(practitioner) if practitioner else None,
        sort=sort,
        descending=descending,
    )

    async def search(services: Services, actor: Actor) -> Page[Patient]:
        return await _pages(services, actor, query, limit)

    found = as_caller(settings, who, search)
    if as_json_:
        total = {"count": found.count, "exact": found.exact}
        typer.echo(as_json({"items": found.items, "total": total}))
        return
    if found.items:
        results().print(patients_table(found.items, today(settings)))
    note(_counted(found, "--limit shows more" if found.next_cursor else ""))


@app.command(
    epilog="""Examples:

\b
clarity patient similar alkantar --as front-desk@demo.example
clarity patient similar Shawn Nwin --born 1985 --as front-desk@demo.example"""
)
def similar(
    *,
    name: Annotated[list[str], typer.Argument(help="The name as you heard it: one word of it, or several.")],
    email_of_caller: AsEmail = "",
    token: Token = "",
    password_stdin: PasswordFromStdin = False,
    code: Code = "",
    born: Annotated[
        PartialDate | None,
        typer.Option(parser=_birth, metavar="YYYY[-MM[-DD]]", help="Those born otherwise come behind."),
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=MOST_ALIKE, help="At most this many.")] = 10,
    as_json_: Json = False,
) -> None:
    """Find patients by a name that you heard: misspelt, or sounding alike, the most alike first."""
    from clarity.bootstrap import today

    settings = read_settings()
    who = caller(email_of_caller, token, password_stdin=password_stdin, code=code)
    query = SimilarQuery(name=" ".join(name), born=born)

    async def look(services: Services, actor: Actor) -> Page[Resembling]:
        return await services.patients.similar(actor, query, at_most=limit)

    found = as_caller(settings, who, look)
    if as_json_:
        total = {"count": found.count, "exact": found.exact}
        typer.echo(as_json({"items": found.items, "total": total}))
        return
    if found.items:
        scores = [one.score for one in found.items]
        results().print(patients_table([one.patient for one in found.items], today(settings), scores))
    shows_more = "--limit shows more" if limit < MOST_ALIKE else "more of the name, or --born, finds fewer"
    note(_counted(found, shows_more if found.count > limit else ""))


@app.command(
    epilog="""Examples:

\b
clarity patient show 0199a0c2-... --as clinician@demo.example
clarity patient show 0199a0c2-... --history --as nurse@demo.example"""
)
def show(
    *,
    patient: Annotated[UUID, typer.Argument(help="The id of the record, as `clarity patient find` prints it.")],
    email_of_caller: AsEmail = "",
    token: Token = "",
    password_stdin: PasswordFromStdin = False,
    code: Code = "",
    history: Annotated[bool, typer.Option("--history", help="List the versions too: when, by whom, what.")] = False,
    as_json_: Json = False,
) -> None:
    """Show one record, as far as you may see it. What you may not see looks like what does not exist."""
    from clarity.bootstrap import today

    settings = read_settings()
    who = caller(email_of_caller, token, password_stdin=password_stdin, code=code)

    async def look(services: Services) -> _Shown:
        async with logged_in(services, who) as actor:
            seen = await services.patients.view(actor, PatientId(patient))
            versions = await services.patients.history(actor, seen.id, at_most=MAX_PAGE) if history else ()
            team = {} if as_json_ else await _names(services, actor, seen.care_team)
        return _Shown(seen, versions, team)

    shown = in_practice(settings, look)
    if as_json_:
        typer.echo(as_json({"patient": shown.patient, "history": shown.history} if history else shown.patient))
        return
    printer = results()
    printer.print(patient_page(shown.patient, shown.team, today(settings)))
    if history:
        printer.print(history_table(shown.history, settings.practice_time_zone))


@app.command(
    epilog="""Examples:

\b
clarity patient label 0199a0c2-... restricted --as clinician@demo.example
clarity patient label 0199a0c2-... part2 --lose-sight --as clinician@demo.example"""
)
def label(
    *,
    patient: Annotated[UUID, typer.Argument(help="The id of the record, as `clarity patient find` prints it.")],
    value: Annotated[
        Literal["normal", "restricted", "part2"],  # only notes are psychotherapy notes
        typer.Argument(metavar="LABEL", help="normal, restricted, or part2 (42 CFR Part 2)."),
    ],
    email_of_caller: AsEmail = "",
    token: Token = "",
    password_stdin: PasswordFromStdin = False,
    code: Code = "",
    lose_sight: Annotated[
        bool, typer.Option("--lose-sight", help="Do it even if you may not see the record any more.")
    ] = False,
) -> None:
    """Say how confidential a record is. Whom that hides it from does not see it any more from now on."""
    settings = read_settings()
    who = caller(email_of_caller, token, password_stdin=password_stdin, code=code)

    async def relabel(services: Services, actor: Actor) -> int:
        seen = await services.patients.view(actor, PatientId(patient))
        return await services.patients.relabel(
            actor, seen.id, Label(value), version=seen.version, lose_sight=lose_sight
        )

    note(f"{patient} is {value} as of version {as_caller(settings, who, relabel)}.")


@dataclass(frozen=True, slots=True)
class _Shown:
    """What `show` prints."""

    patient: Patient
    history: tuple[Revision, ...]
    team: Mapping[PractitionerId, str]


async def _pages(services: Services, actor: Actor, query: PatientQuery, limit: int) -> Page[Patient]:
    """Return as many pages as it takes to fill `limit`, as one."""
    found = await services.patients.search(actor, query, at_most=min(limit, MAX_PAGE))
    items = [*found.items]
    while found.next_cursor and len(items) < limit:
        size = min(limit - len(items), MAX_PAGE)
        found = await services.patients.search(actor, query, cursor=found.next_cursor, at_most=size)
        items.extend(found.items)
    return Page(items=tuple(items), next_cursor=found.next_cursor, count=found.count, exact=found.exact)


async def _names(services: Services, actor: Actor, wanted: frozenset[PractitionerId]) -> dict[PractitionerId, str]:
    """Return the names of practitioners; none for somebody who may not list them."""
    names: dict[PractitionerId, str] = {}
    if not right_to(actor, Action.LIST, Resource.PRACTITIONER).everybodys:
        return names
    cursor = ""
    while wanted - names.keys():
        page = await services.practitioners.list(actor, cursor=cursor, at_most=MAX_PAGE)
        names |= {one.id: str(one.name) for one in page.items if one.id in wanted}
        if not (cursor := page.next_cursor):
            break
    return names


def _asked(what: str, value: str) -> str:
    return ask_secret(what[0].upper() + what[1:]) if value == "-" else value


def _counted(found: Page[Any], advice: str) -> str:
    """Say how many there are; where that is more than is shown, `advice` says how to see the others."""
    if not found.items:
        return "Nobody you may see matches."
    of = f" of {'' if found.exact else 'more than '}{found.count:,}" if advice else ""
    more = f"; {advice}" if advice else ""
    return f"{len(found.items)}{of} {'patient' if len(found.items) == 1 and not of else 'patients'}{more}."
