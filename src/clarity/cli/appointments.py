"""`clarity appointment`: when patients are seen by whom, as whoever logs in."""

from collections.abc import Awaitable, Callable, Iterable
from datetime import UTC, date, datetime, time, timedelta
from typing import Annotated, TypeVar
from uuid import UUID

import typer

from clarity.application.appointments import Day, NewTime, TimetableAsked
from clarity.application.pages import Page
from clarity.application.schedule import Closed
from clarity.application.services import Services
from clarity.cli import arguments
from clarity.cli.appointment_tables import (
    appointment_page,
    appointments_table,
    closures_table,
    day_page,
    slots_table,
)
from clarity.cli.identity import AsEmail, Code, PasswordFromStdin, Token, as_caller, caller
from clarity.cli.practice import read_settings
from clarity.cli.rendering import as_json
from clarity.cli.terminal import note, results
from clarity.domain.access import Actor
from clarity.domain.appointments import Appointment, AppointmentFilter, AppointmentKind, AppointmentStatus, Setting
from clarity.domain.errors import Forbidden, Invalid
from clarity.domain.ids import AppointmentId, ClosureId, PatientId, PractitionerId
from clarity.domain.practice_hours import Span
from clarity.domain.records import Label
from clarity.domain.schedule import Closure, Fold, Frequency, Recurrence, span_of

app = typer.Typer(
    no_args_is_help=True,
    help="Book, move and cancel appointments, and look at a day, as whoever logs in. Times without an offset from UTC"
    " are those of the clock in the practice (PRACTICE_TIME_ZONE).",
)
Result = TypeVar("Result")


def _when(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter("must be a time such as 2026-11-16T09:00, or 2026-11-16T14:00Z") from None


PatientArgument = Annotated[UUID, typer.Argument(metavar="PATIENT", help="The id of the patient's record.")]
AppointmentArgument = Annotated[
    UUID, typer.Argument(metavar="APPOINTMENT", help="The id, as `clarity appointment list` and `day` print it.")
]
PractitionerArgument = Annotated[
    UUID, typer.Argument(metavar="PRACTITIONER", help="The id, as `clarity practitioner list` prints it.")
]
MaybePractitioner = Annotated[
    UUID | None,
    typer.Argument(metavar="[PRACTITIONER]", help="Whose, by id; your own if it is left out.", show_default=False),
]
Start = Annotated[
    datetime, typer.Argument(parser=_when, metavar="START", help="Such as 2026-11-16T09:00, or 2026-11-16T14:00Z.")
]
FoldOption = Annotated[
    Fold | None,
    typer.Option(help="Which is meant where the clocks are put back and a time comes twice.", show_default=False),
]
OutsideHours = Annotated[bool, typer.Option("--outside-hours", help="When the practice is not open, if that is meant.")]
Following = Annotated[bool, typer.Option("--following", help="With all that are still to come in its series.")]
DayOption = Annotated[
    date | None,
    typer.Option(
        "--day", parser=arguments.day, metavar="YYYY-MM-DD", help="Which; today if left out.", show_default=False
    ),
]
From = Annotated[
    date | None,
    typer.Option(
        "--from",
        parser=arguments.day,
        metavar="YYYY-MM-DD",
        help="The first day; today if left out.",
        show_default=False,
    ),
]
Until = Annotated[
    date | None,
    typer.Option("--until", parser=arguments.day, metavar="YYYY-MM-DD", help="The last day.", show_default=False),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table to read.")]


@app.command(
    epilog="""Examples:

\b
clarity appointment day --as clinician@demo.example
clarity appointment day 0199a0c2-... --day 2026-11-16 --as front-desk@demo.example"""
)
def day(
    *,
    practitioner: MaybePractitioner = None,
    day_shown: DayOption = None,
    email_of_caller: AsEmail = "",
    token: Token = "",
    password_stdin: PasswordFromStdin = False,
    code: Code = "",
    as_json_: Json = False,
) -> None:
    """Show a practitioner's day: who comes when, what came of it, and what is free between."""

    async def look(services: Services, actor: Actor) -> tuple[Day, str, datetime]:
        whose = _whose(practitioner, actor)
        shown = await services.appointments.day(actor, whose, day_shown or _today(services))
        names = await _names(services, actor, [whose])
        return shown, names.get(whose, str(whose)), services.now()

    shown, name, now = _acting(look, email_of_caller, token, password_stdin=password_stdin, code=code)
    if as_json_:
        typer.echo(as_json(shown))
    else:
        results().print(day_page(shown, name, read_settings().practice_time_zone, now))


@app.command(
    epilog="""Examples:

\b
clarity appointment free 0199a0c2-... --minutes 50 --until 2026-11-20 --as front-desk@demo.example"""
)
def free(
    *,
    practitioner: MaybePractitioner = None,
    minutes: Annotated[int, typer.Option(help="How long it should be.")] = 30,
    first: From = None,
    until: Until = None,
    limit: Annotated[int, typer.Option(help="How many times at most.")] = 50,
    email_of_caller: AsEmail = "",
    token: Token = "",
    password_stdin: PasswordFromStdin = False,
    code: Code = "",
    as_json_: Json = False,
) -> None:
    """Find when a practitioner is free: within a week, unless you say until when."""

    async def look(services: Services, actor: Actor) -> tuple[Span, ...]:
        start = first or _today(services)
        last = until or start + timedelta(days=6)
        return await services.schedule.free(actor, _whose(practitioner, actor), minutes, start, last, at_most=limit)

    slots = _acting(look, email_of_caller, token, password_stdin=password_stdin, code=code)
    if as_json_:
        typer.echo(as_json(slots))
    elif slots:
        results().print(slots_table(slots, read_settings().practice_time_zone))
    else:
        note("Nothing is free.")


@app.command(
    epilog="""Examples:

\b
clarity appointment book 0199a0c2-... 0199a0aa-... 2026-11-16T09:00 --minutes 50 --kind therapy \\
    --place "Room 214" --as front-desk@demo.example
clarity appointment book 0199a0c2-... 0199a0aa-... 2026-11-16T09:00 --minutes 50 --kind therapy \\
    --repeat weekly --times 12 --as front-desk@demo.example"""
)
def book(
    *,
    patient: PatientArgument,
    practitioner: PractitionerArgument,
    start: Start,
    minutes: Annotated[int, typer.Option(help="How long it is.")] = 30,
    kind: Annotated[AppointmentKind, typer.Option(help="What it is for.")] = AppointmentKind.FOLLOW_UP,
    setting: Annotated[Setting, typer.Option(help="How they meet.")] = Setting.IN_PERSON,
    place: Annotated[str, typer.Option(help="A room, or what leads to a meeting; - asks for it.")] = "",
    reason: Annotated[str, typer.Option(help="What it is about; - asks for it.")] = "",
    notes: Annotated[str, typer.Option(help="Anything else to know; - asks for it.")] = "",
    label: Annotated[Label, typer.Option(help="How confidential it is beyond the patient's record.")] = Label.NORMAL,
    repeat: Annotated[
        Frequency | None, typer.Option(help="Book a series: how often it recurs.", show_default=False)
    ] = None,
    times: Annotated[int, typer.Option(help="How many appointments a series has.")] = 2,
    fold: FoldOption = None,
    outside_hours: OutsideHours = False,
    email_of_caller: AsEmail = "",
    token: Token = "",
    password_stdin: PasswordFromStdin = False,
    code: Code = "",
    as_json_: Json = False,
) -> None:
    """Book an appointment, or a series of them, and print the ids. A series is booked whole or not at all."""
    recurrence = Recurrence(frequency=repeat, times=times) if repeat else None
    texts = [arguments.asked(text, what) for text, what in ((place, "Place"), (reason, "Reason"), (notes, "Notes"))]

    async def act(services: Services, actor: Actor) -> tuple[Appointment, ...]:
        span = span_of(services.appointments.calendar.instant(start, fold), minutes)
        wanted = Appointment(
            id=AppointmentId(services.new_id()),
            patient=PatientId(patient),
            practitioner=PractitionerId(practitioner),
            starts_at=span.start,
            ends_at=span.end,
            kind=kind,
            setting=setting,
            place=texts[0],
            reason=texts[1],
            notes=texts[2],
            label=label,
        )
        return await services.appointments.book(actor, wanted, recurrence, outside_hours=outside_hours)

    booked = _acting(act, email_of_caller, token, password_stdin=password_stdin, code=code)
    _tell(booked, as_json_=as_json_)


@app.command(
    epilog="""Examples:

\b
clarity appointment move 0199a0c2-... 0199b1d3-... 2026-11-17T10:00 --as front-desk@demo.example"""
)
def move(
    *,
    patient: PatientArgument,
    appointment: AppointmentArgument,
    start: Start,
    minutes: Annotated[
        int | None, typer.Option(help="How long it is from then on, if not as long as it was.", show_default=False)
    ] = None,
    practitioner: Annotated[
        UUID | None, typer.Option(help="With whom, by id, if with another.", show_default=False)
    ] = None,
    following: Following = False,
    fold: FoldOption = None,
    outside_hours: OutsideHours = False,
    email_of_caller: AsEmail = "",
    token: Token = "",
    password_stdin: PasswordFromStdin = False,
    code: Code = "",
    as_json_: Json = False,
) -> None:
    """Move an appointment to another time, and print the ids of what was moved."""

    async def act(services: Services, actor: Actor) -> tuple[Appointment, ...]:
        version = await _version(services, actor, patient, appointment)
        to = NewTime(
            starts_at=services.appointments.calendar.instant(start, fold),
            minutes=minutes,
            practitioner=PractitionerId(practitioner) if practitioner else None,
            outside_hours=outside_hours,
        )
        return await services.appointments.move(
            actor, PatientId(patient), AppointmentId(appointment), to, version=version, following=following
        )

    moved = _acting(act, email_of_caller, token, password_stdin=password_stdin, code=code)
    _tell(moved, as_json_=as_json_)


@app.command(
    epilog="""Examples:

\b
clarity appointment cancel 0199a0c2-... 0199b1d3-... --reason "Has a cold" --as patient@demo.example"""
)
def cancel(
    *,
    patient: PatientArgument,
    appointment: AppointmentArgument,
    reason: Annotated[str, typer.Option(help="Why; - asks for it.")],
    following: Following = False,
    email_of_caller: AsEmail = "",
    token: Token = "",
    password_stdin: PasswordFromStdin = False,
    code: Code = "",
    as_json_: Json = False,
) -> None:
    """Cancel an appointment, and print the ids of what was cancelled. Patients cancel their own before it begins."""
    why = arguments.asked(reason, "Reason")

    async def act(services: Services, actor: Actor) -> tuple[Appointment, ...]:
        version = await _version(services, actor, patient, appointment)
        return await services.appointments.cancel(
            actor, PatientId(patient), AppointmentId(appointment), why, version=version, following=following
        )

    cancelled = _acting(act, email_of_caller, token, password_stdin=password_stdin, code=code)
    _tell(cancelled, as_json_=as_json_)


@app.command()
def complete(
    *,
    patient: PatientArgument,
    appointment: AppointmentArgument,
    email_of_caller: AsEmail = "",
    token: Token = "",
    password_stdin: PasswordFromStdin = False,
    code: Code = "",
    as_json_: Json = False,
) -> None:
    """Say that an appointment took place, once it has begun."""

    async def act(services: Services, actor: Actor) -> tuple[Appointment, ...]:
        version = await _version(services, actor, patient, appointment)
        service, whose = services.appointments, PatientId(patient)
        return (await service.complete(actor, whose, AppointmentId(appointment), version=version),)

    completed = _acting(act, email_of_caller, token, password_stdin=password_stdin, code=code)
    _tell(completed, as_json_=as_json_)


@app.command()
def no_show(
    *,
    patient: PatientArgument,
    appointment: AppointmentArgument,
    email_of_caller: AsEmail = "",
    token: Token = "",
    password_stdin: PasswordFromStdin = False,
    code: Code = "",
    as_json_: Json = False,
) -> None:
    """Say that the patient did not come, once an appointment has begun."""

    async def act(services: Services, actor: Actor) -> tuple[Appointment, ...]:
        version = await _version(services, actor, patient, appointment)
        service, whose = services.appointments, PatientId(patient)
        return (await service.miss(actor, whose, AppointmentId(appointment), version=version),)

    missed = _acting(act, email_of_caller, token, password_stdin=password_stdin, code=code)
    _tell(missed, as_json_=as_json_)


@app.command()
def show(
    *,
    patient: PatientArgument,
    appointment: AppointmentArgument,
    email_of_caller: AsEmail = "",
    token: Token = "",
    password_stdin: PasswordFromStdin = False,
    code: Code = "",
    as_json_: Json = False,
) -> None:
    """Show one appointment."""

    async def look(services: Services, actor: Actor) -> tuple[Appointment, str]:
        one = await services.appointments.view(actor, PatientId(patient), AppointmentId(appointment))
        names = await _names(services, actor, [one.practitioner])
        return one, names.get(one.practitioner, str(one.practitioner))

    one, name = _acting(look, email_of_caller, token, password_stdin=password_stdin, code=code)
    if as_json_:
        typer.echo(as_json(one))
    else:
        results().print(appointment_page(one, name, read_settings().practice_time_zone))


@app.command(
    name="list",
    epilog="""Examples:

\b
clarity appointment list 0199a0c2-... --from 2026-11-01 --as nurse@demo.example
clarity appointment list 0199a0c2-... --latest --status no-show --as front-desk@demo.example""",
)
def list_(
    *,
    patient: PatientArgument,
    first: Annotated[
        date | None,
        typer.Option("--from", parser=arguments.day, metavar="YYYY-MM-DD", help="The first day.", show_default=False),
    ] = None,
    until: Until = None,
    status: Annotated[AppointmentStatus | None, typer.Option(help="Only these.", show_default=False)] = None,
    latest: Annotated[bool, typer.Option("--latest", help="The latest first.")] = False,
    limit: Annotated[int, typer.Option(help="How many at most.")] = 50,
    cursor: Annotated[str, typer.Option(help="Where the list before ended.")] = "",
    email_of_caller: AsEmail = "",
    token: Token = "",
    password_stdin: PasswordFromStdin = False,
    code: Code = "",
    as_json_: Json = False,
) -> None:
    """List a patient's appointments in order of time, past and to come."""

    async def look(services: Services, actor: Actor) -> tuple[Page[Appointment], dict[UUID, str]]:
        conditions = AppointmentFilter(
            since=_midnight(services, first),
            until=_midnight(services, until + timedelta(days=1) if until else None),
            status=status,
        )
        asked = TimetableAsked(conditions=conditions, latest_first=latest, cursor=cursor, at_most=limit)
        page = await services.appointments.list(actor, PatientId(patient), asked)
        return page, await _names(services, actor, [one.practitioner for one in page.items])

    page, names = _acting(look, email_of_caller, token, password_stdin=password_stdin, code=code)
    if as_json_:
        typer.echo(as_json({"items": page.items, "next_cursor": page.next_cursor or None, "count": page.count}))
        return
    if page.items:
        results().print(appointments_table(page.items, names, read_settings().practice_time_zone))
    note(f"{len(page.items)} of {page.count} appointments." if page.items else "No appointments.")
    if page.next_cursor:
        note(f"Go on with --cursor {page.next_cursor}")


@app.command(
    epilog="""Examples:

\b
clarity appointment close-day 2026-12-24 --until 2026-12-26 --as administrator@demo.example
clarity appointment close-day 2026-11-20 --practitioner 0199a0aa-... --as front-desk@demo.example"""
)
def close_day(
    *,
    first: Annotated[date, typer.Argument(parser=arguments.day, metavar="DAY", help="The first day.")],
    until: Until = None,
    practitioner: Annotated[
        UUID | None, typer.Option(help="Of one practitioner, by id; of the practice if left out.", show_default=False)
    ] = None,
    email_of_caller: AsEmail = "",
    token: Token = "",
    password_stdin: PasswordFromStdin = False,
    code: Code = "",
) -> None:
    """Close days, so that nothing more is booked on them, and print the id of that."""

    async def act(services: Services, actor: Actor) -> Closed:
        closure = Closure(
            id=ClosureId(services.new_id()),
            first_day=first,
            last_day=until or first,
            practitioner=PractitionerId(practitioner) if practitioner else None,
        )
        return await services.schedule.close(actor, closure)

    closed = _acting(act, email_of_caller, token, password_stdin=password_stdin, code=code)
    typer.echo(str(closed.closure.id))
    if closed.booked:
        note(f"{closed.booked} appointments are booked on these days: move or cancel them.")


@app.command()
def reopen_day(
    *,
    closure: Annotated[UUID, typer.Argument(help="The id, as `clarity appointment closed-days` prints it.")],
    email_of_caller: AsEmail = "",
    token: Token = "",
    password_stdin: PasswordFromStdin = False,
    code: Code = "",
) -> None:
    """Open the days of a closure again."""

    async def act(services: Services, actor: Actor) -> None:
        await services.schedule.reopen(actor, ClosureId(closure))

    _acting(act, email_of_caller, token, password_stdin=password_stdin, code=code)
    note("Open again.")


@app.command()
def closed_days(
    *,
    first: From = None,
    until: Until = None,
    email_of_caller: AsEmail = "",
    token: Token = "",
    password_stdin: PasswordFromStdin = False,
    code: Code = "",
    as_json_: Json = False,
) -> None:
    """List the days that are closed: within a year, unless you say until when."""

    async def look(services: Services, actor: Actor) -> tuple[tuple[Closure, ...], dict[UUID, str]]:
        start = first or _today(services)
        found = await services.schedule.closures(actor, start, until or start + timedelta(days=365))
        return found, await _names(services, actor, [one.practitioner for one in found if one.practitioner])

    found, names = _acting(look, email_of_caller, token, password_stdin=password_stdin, code=code)
    if as_json_:
        typer.echo(as_json(found))
    elif found:
        results().print(closures_table(found, names))
    else:
        note("No closed days.")


@app.command(
    epilog="""Examples:

\b
clarity appointment feed --as clinician@demo.example > calendar.ics"""
)
def feed(
    *,
    practitioner: MaybePractitioner = None,
    email_of_caller: AsEmail = "",
    token: Token = "",
    password_stdin: PasswordFromStdin = False,
    code: Code = "",
) -> None:
    """Print a practitioner's booked times as a calendar (iCalendar): when, and nothing of whom."""

    async def look(services: Services, actor: Actor) -> bytes:
        times = await services.schedule.busy_times(actor, _whose(practitioner, actor))
        return services.schedule.press.icalendar(times)

    calendar = _acting(look, email_of_caller, token, password_stdin=password_stdin, code=code)
    typer.echo(calendar, nl=False)


def _acting(
    use_case: Callable[[Services, Actor], Awaitable[Result]],
    email: str,
    token: str,
    *,
    password_stdin: bool,
    code: str,
) -> Result:
    """Run one use-case as whoever logs in."""
    settings = read_settings()
    return as_caller(settings, caller(email, token, password_stdin=password_stdin, code=code), use_case)


def _whose(practitioner: UUID | None, actor: Actor) -> PractitionerId:
    """Return the practitioner that is named, or the one that the caller is."""
    if practitioner is None and actor.practitioner is None:
        raise Invalid("practitioner", "must be named: your account is not one of a practitioner's")
    return PractitionerId(practitioner) if practitioner else PractitionerId(actor.practitioner or UUID(int=0))


def _today(services: Services) -> date:
    return services.now().astimezone(services.appointments.calendar.zone).date()


def _midnight(services: Services, day: date | None) -> datetime | None:
    zone = services.appointments.calendar.zone
    return None if day is None else datetime.combine(day, time(), zone).astimezone(UTC)


async def _names(services: Services, actor: Actor, practitioners: Iterable[UUID]) -> dict[UUID, str]:
    """Return the names of practitioners, of none to whoever may not know who works here."""
    names: dict[UUID, str] = {}
    for one in dict.fromkeys(practitioners):
        try:
            names[one] = str((await services.practitioners.view(actor, PractitionerId(one))).name)
        except Forbidden:
            break
    return names


async def _version(services: Services, actor: Actor, patient: UUID, appointment: UUID) -> int:
    """Return the version that an appointment is at now."""
    return (await services.appointments.view(actor, PatientId(patient), AppointmentId(appointment))).version


def _tell(appointments: tuple[Appointment, ...], *, as_json_: bool) -> None:
    if as_json_:
        typer.echo(as_json(appointments))
        return
    zone = read_settings().practice_time_zone
    for one in appointments:
        typer.echo(str(one.id))
        note(f"{one.starts_at.astimezone(zone):%a %Y-%m-%d %H:%M %Z}: {one.status}.")
