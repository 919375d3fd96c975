"""`clarity medication`: what patients are to take, as whoever logs in."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import date
from decimal import Decimal
from typing import Annotated, Any
from uuid import UUID

import typer

from clarity.application.medications import Flagged, PrescriptionsAsked
from clarity.application.pages import MAX_PAGE
from clarity.application.services import Services
from clarity.cli.arguments import asked, day, dose, partial_day
from clarity.cli.identity import AsEmail, Caller, Code, PasswordFromStdin, Token, as_caller, caller
from clarity.cli.medication_tables import adherence_sheet, overlaps_table, prescriptions_table, versions_table
from clarity.cli.practice import read_settings
from clarity.cli.rendering import as_json
from clarity.cli.terminal import note, results
from clarity.domain.access import Actor
from clarity.domain.dates import PartialDate
from clarity.domain.dosages import Dosage, Dose, PeriodUnit, Route, Timing
from clarity.domain.ids import PatientId, PrescriptionId
from clarity.domain.medications import Prescription, PrescriptionStatus, Substance

app = typer.Typer(
    no_args_is_help=True,
    help="Prescribe, and see what a patient takes or took on any day. Acts as whoever logs in. Where a text is given as"
    " -, it is asked for: other users of this machine see what stands on a command line.",
)
PatientArgument = Annotated[UUID, typer.Argument(metavar="PATIENT", help="The id of the patient's record.")]
PrescriptionArgument = Annotated[
    UUID, typer.Argument(metavar="PRESCRIPTION", help="The id, as `clarity medication list` prints it.")
]
VersionOption = Annotated[int, typer.Option(min=1, help="The version that you have seen in `clarity medication list`.")]
DayOption = Annotated[
    date | None, typer.Option("--day", parser=day, metavar="YYYY-MM-DD", help="From this day on; today if left out.")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table to read.")]
DoseOption = Annotated[
    Dose | None, typer.Option("--dose", parser=dose, metavar="AMOUNT UNIT", help='How much at a time, such as "50 mg".')
]
RouteOption = Annotated[Route | None, typer.Option("--route", help="By what way it is given.")]
TimesOption = Annotated[int | None, typer.Option("--times", min=1, help="How often within each period.")]
PeriodOption = Annotated[int, typer.Option("--period", min=1, help="How long a period is, in units of --per.")]
PerOption = Annotated[PeriodUnit, typer.Option("--per", help="The unit of the period: h, d, wk, mo.")]
NeededOption = Annotated[str, typer.Option("--as-needed-for", help="For what it is taken as needed, if it is.")]
InstructionOption = Annotated[str, typer.Option("--instruction", help="What else there is to say to who takes it.")]
UntilOption = Annotated[
    date | None, typer.Option("--until", parser=day, metavar="YYYY-MM-DD", help="The last day that is planned.")
]
IndicationOption = Annotated[str, typer.Option("--for", help="For what it is taken.")]


@app.command(
    name="list",
    epilog="""Examples:

\b
clarity medication list 0199a0c2-... --as clinician@demo.example
clarity medication list 0199a0c2-... --on 2025-11-30 --as nurse@demo.example
clarity medication list 0199a0c2-... --all --as patient@demo.example""",
)
def list_(
    *,
    patient: PatientArgument,
    email_of_caller: AsEmail = "",
    token: Token = "",
    password_stdin: PasswordFromStdin = False,
    code: Code = "",
    on: Annotated[
        date | None, typer.Option(parser=day, metavar="YYYY-MM-DD", help="What held on this day; today if left out.")
    ] = None,
    status: Annotated[PrescriptionStatus | None, typer.Option(help="Of this status alone.")] = None,
    every: Annotated[bool, typer.Option("--all", help="Of whatever day and status.")] = False,
    limit: Annotated[int, typer.Option(min=1, max=MAX_PAGE, help="At most this many.")] = 50,
    as_json_: Json = False,
) -> None:
    """List what a patient takes, or took on a day, with duplicates and overlapping orders of one substance."""
    settings = read_settings()
    if every and (on is not None or status is not None):
        raise typer.BadParameter("give either --all, or --on and --status")
    who = caller(email_of_caller, token, password_stdin=password_stdin, code=code)

    async def look(services: Services, actor: Actor) -> tuple[Flagged, date]:
        when = on or services.medications.today()
        meant = None if every or (status is not None and on is None) else when
        question = PrescriptionsAsked(on=meant, status=status)
        return await services.medications.list(actor, PatientId(patient), question, at_most=limit), when

    found, when = as_caller(settings, who, look)
    page = found.prescriptions
    if as_json_:
        total = {"count": page.count, "exact": page.exact}
        items = [{**_plain(one), "activity": one.activity_on(when)} for one in page.items]
        typer.echo(as_json({"items": items, "overlaps": found.overlaps, "total": total}))
        return
    if page.items:
        results().print(prescriptions_table(page.items, when))
    _tell_overlaps(found)
    of = f" of {page.count}" if page.count > len(page.items) else ""
    shown = f"{len(page.items)}{of} {'prescription' if page.count == 1 else 'prescriptions'}"
    note(f"{shown}{'' if every else f' on {when}'}." if page.count else "None.")


@app.command(
    epilog="""Examples:

\b
clarity medication prescribe 0199a0c2-... --name "Sertraline 50 MG Oral Tablet" --code 312941 --dose "50 mg" \\
    --route oral --times 1 --for "Major depressive disorder" --as clinician@demo.example
clarity medication prescribe 0199a0c2-... --name "Lorazepam 1 MG Oral Tablet" --dose "1 mg" --route oral \\
    --as-needed-for panic --until 2026-04-01 --as clinician@demo.example"""
)
def prescribe(
    *,
    patient: PatientArgument,
    email_of_caller: AsEmail = "",
    token: Token = "",
    password_stdin: PasswordFromStdin = False,
    code: Code = "",
    name: Annotated[str, typer.Option(help="The drug, as RxNorm names it if it can be.")],
    drug: Annotated[str, typer.Option("--code", help="Its code in RxNorm.")] = "",
    ingredients: Annotated[
        list[str] | None, typer.Option("--ingredient", help="A substance in it; may be repeated.")
    ] = None,
    amount: DoseOption = None,
    route: RouteOption = None,
    times: TimesOption = None,
    period: PeriodOption = 1,
    per: PerOption = PeriodUnit.DAY,
    as_needed_for: NeededOption = "",
    instruction: InstructionOption = "",
    start: Annotated[
        PartialDate | None,
        typer.Option(parser=partial_day, metavar="YYYY-MM-DD", help="The first day; today if left out."),
    ] = None,
    until: UntilOption = None,
    indication: IndicationOption = "",
    prescribed_by: Annotated[str, typer.Option(help="Who prescribed it, if that is nobody here.")] = "",
    as_json_: Json = False,
) -> None:
    """Prescribe a medicine, as a clinician of the care team. Prints its id, and what it overlaps with."""
    settings = read_settings()
    who = caller(email_of_caller, token, password_stdin=password_stdin, code=code)
    reason = asked(as_needed_for, "For what as needed")
    dosage = Dosage(
        dose=amount,
        route=route,
        timing=_timing(times, period, per),
        as_needed=bool(reason),
        as_needed_for=reason,
        instruction=asked(instruction, "Instruction"),
    )
    content: dict[str, Any] = {
        "name": asked(name, "The drug"),
        "code": drug,
        "ingredients": tuple(Substance(name=one) for one in ingredients or ()),
        "dosage": dosage,
        "until": until,
        "indication": asked(indication, "For what it is taken"),
        "prescribed_by": asked(prescribed_by, "Who prescribed it"),
    }

    async def order(services: Services, actor: Actor) -> Flagged:
        ordered = Prescription(
            id=PrescriptionId(services.new_id()),
            patient=PatientId(patient),
            start=start or PartialDate.of(services.medications.today()),
            **content,
        )
        return await services.medications.prescribe(actor, ordered)

    made = as_caller(settings, who, order)
    (ordered,) = made.prescriptions.items
    if as_json_:
        typer.echo(as_json({**_plain(ordered), "overlaps": made.overlaps}))
        return
    typer.echo(str(ordered.id))
    _tell_overlaps(made)


@app.command(
    epilog="""Examples:

\b
clarity medication change 0199a0c2-... 0199c2e4-... --version 1 --dose "100 mg" --since 2026-04-01 \\
    --as clinician@demo.example"""
)
def change(
    *,
    patient: PatientArgument,
    prescription: PrescriptionArgument,
    email_of_caller: AsEmail = "",
    token: Token = "",
    password_stdin: PasswordFromStdin = False,
    code: Code = "",
    version: VersionOption,
    amount: DoseOption = None,
    route: RouteOption = None,
    times: TimesOption = None,
    period: PeriodOption = 1,
    per: PerOption = PeriodUnit.DAY,
    as_needed_for: NeededOption = "",
    instruction: InstructionOption = "",
    until: UntilOption = None,
    indication: IndicationOption = "",
    since: Annotated[
        date | None,
        typer.Option(
            parser=day,
            metavar="YYYY-MM-DD",
            help="The first day of the new dosage; if left out, the old one was wrong from the start.",
        ),
    ] = None,
) -> None:
    """Change how a medicine is taken, as a clinician of the care team. What is not named stays; the drug does."""
    settings = read_settings()
    who = caller(email_of_caller, token, password_stdin=password_stdin, code=code)
    reason = asked(as_needed_for, "For what as needed")
    given: dict[str, Any] = {
        "dose": amount,
        "route": route,
        "timing": _timing(times, period, per),
        "as_needed": bool(reason) or None,
        "as_needed_for": reason or None,
        "instruction": asked(instruction, "Instruction") or None,
    }
    dosage = {name: value for name, value in given.items() if value is not None}
    content: dict[str, Any] = {"until": until, "indication": asked(indication, "For what it is taken")}
    content = {name: value for name, value in content.items() if value}
    if not dosage and not content:
        raise typer.BadParameter("say what changes, such as --dose, --times or --until")

    async def write(services: Services, actor: Actor) -> Flagged:
        whose, which = PatientId(patient), PrescriptionId(prescription)
        stored = await services.medications.view(actor, whose, which)
        changed = content | ({"dosage": replace(stored.dosage, **dosage)} if dosage else {})
        return await services.medications.change(actor, whose, which, changed, since=since, version=version)

    changed = as_caller(settings, who, write)
    _tell_overlaps(changed)
    note(f"Changed; it is at version {changed.prescriptions.items[0].version} now.")


@app.command(
    epilog="""Examples:

\b
clarity medication hold 0199a0c2-... 0199c2e4-... --version 1 --reason "Surgery" --as clinician@demo.example"""
)
def hold(
    *,
    patient: PatientArgument,
    prescription: PrescriptionArgument,
    email_of_caller: AsEmail = "",
    token: Token = "",
    password_stdin: PasswordFromStdin = False,
    code: Code = "",
    version: VersionOption,
    reason: Annotated[str, typer.Option(help="Why it is not to be taken for the time being.")],
    on: DayOption = None,
) -> None:
    """Say that a medicine is not to be taken for the time being."""
    who = caller(email_of_caller, token, password_stdin=password_stdin, code=code)
    why = asked(reason, "Why")
    _act(
        who,
        lambda services, actor: services.medications.hold(
            actor, PatientId(patient), PrescriptionId(prescription), why, day=on, version=version
        ),
    )


@app.command(
    epilog="""Examples:

\b
clarity medication resume 0199a0c2-... 0199c2e4-... --version 2 --as clinician@demo.example"""
)
def resume(
    *,
    patient: PatientArgument,
    prescription: PrescriptionArgument,
    email_of_caller: AsEmail = "",
    token: Token = "",
    password_stdin: PasswordFromStdin = False,
    code: Code = "",
    version: VersionOption,
    on: DayOption = None,
) -> None:
    """Say that a medicine on hold is to be taken again."""
    _act(
        caller(email_of_caller, token, password_stdin=password_stdin, code=code),
        lambda services, actor: services.medications.resume(
            actor, PatientId(patient), PrescriptionId(prescription), day=on, version=version
        ),
    )


@app.command(
    epilog="""Examples:

\b
clarity medication stop 0199a0c2-... 0199c2e4-... --version 1 --reason "No response" --as clinician@demo.example"""
)
def stop(
    *,
    patient: PatientArgument,
    prescription: PrescriptionArgument,
    email_of_caller: AsEmail = "",
    token: Token = "",
    password_stdin: PasswordFromStdin = False,
    code: Code = "",
    version: VersionOption,
    reason: Annotated[str, typer.Option(help="Why it is not to be taken any more.")],
    on: DayOption = None,
    completed: Annotated[bool, typer.Option("--completed", help="It was taken to its end.")] = False,
) -> None:
    """Say that a medicine is not to be taken any more, and why."""
    who = caller(email_of_caller, token, password_stdin=password_stdin, code=code)
    why = asked(reason, "Why")
    _act(
        who,
        lambda services, actor: services.medications.stop(
            actor, PatientId(patient), PrescriptionId(prescription), why, day=on, completed=completed, version=version
        ),
    )


@app.command(
    epilog="""Examples:

\b
clarity medication mistaken 0199a0c2-... 0199c2e4-... --version 1 --why "Of another patient." \\
    --as clinician@demo.example"""
)
def mistaken(
    *,
    patient: PatientArgument,
    prescription: PrescriptionArgument,
    email_of_caller: AsEmail = "",
    token: Token = "",
    password_stdin: PasswordFromStdin = False,
    code: Code = "",
    version: VersionOption,
    why: Annotated[str, typer.Option(help="Why it should never have been entered; it is kept.")],
) -> None:
    """Mark a prescription as entered in error. It stays, and held on no day."""
    who = caller(email_of_caller, token, password_stdin=password_stdin, code=code)
    reason = asked(why, "Why")
    _act(
        who,
        lambda services, actor: services.medications.mark_mistaken(
            actor, PatientId(patient), PrescriptionId(prescription), reason, version=version
        ),
    )


@app.command(
    epilog="""Examples:

\b
clarity medication show 0199a0c2-... 0199c2e4-... --as nurse@demo.example"""
)
def show(
    *,
    patient: PatientArgument,
    prescription: PrescriptionArgument,
    email_of_caller: AsEmail = "",
    token: Token = "",
    password_stdin: PasswordFromStdin = False,
    code: Code = "",
    as_json_: Json = False,
) -> None:
    """Show one prescription."""
    settings = read_settings()
    who = caller(email_of_caller, token, password_stdin=password_stdin, code=code)

    async def look(services: Services, actor: Actor) -> tuple[Prescription, date]:
        seen = await services.medications.view(actor, PatientId(patient), PrescriptionId(prescription))
        return seen, services.medications.today()

    seen, today = as_caller(settings, who, look)
    if as_json_:
        typer.echo(as_json(_plain(seen)))
    else:
        results().print(prescriptions_table([seen], today))


@app.command(
    epilog="""Examples:

\b
clarity medication history 0199a0c2-... 0199c2e4-... --as clinician@demo.example"""
)
def history(
    *,
    patient: PatientArgument,
    prescription: PrescriptionArgument,
    email_of_caller: AsEmail = "",
    token: Token = "",
    password_stdin: PasswordFromStdin = False,
    code: Code = "",
    as_json_: Json = False,
) -> None:
    """List the versions of a prescription, the newest first: what was believed at which time."""
    settings = read_settings()
    who = caller(email_of_caller, token, password_stdin=password_stdin, code=code)
    versions = as_caller(
        settings,
        who,
        lambda services, actor: services.medications.history(
            actor, PatientId(patient), PrescriptionId(prescription), at_most=MAX_PAGE
        ),
    )
    if as_json_:
        told = ("version", "written_at", "written_by")
        typer.echo(
            as_json(
                [
                    {**{name: getattr(one, name) for name in told}, "prescription": _plain(one.record)}
                    for one in versions
                ]
            )
        )
    else:
        results().print(versions_table(versions, settings.practice_time_zone))


@app.command(
    epilog="""Examples:

\b
clarity medication adherence 0199a0c2-... 0199c2e4-... --since 2026-03-01 --as clinician@demo.example"""
)
def adherence(
    *,
    patient: PatientArgument,
    prescription: PrescriptionArgument,
    email_of_caller: AsEmail = "",
    token: Token = "",
    password_stdin: PasswordFromStdin = False,
    code: Code = "",
    since: Annotated[
        date | None,
        typer.Option(parser=day, metavar="YYYY-MM-DD", help="The first day; 29 days before the last if left out."),
    ] = None,
    until: Annotated[
        date | None, typer.Option(parser=day, metavar="YYYY-MM-DD", help="The last day; today if left out.")
    ] = None,
    as_json_: Json = False,
) -> None:
    """Tell how much was taken of what was prescribed, by the contacts that tell of doses."""
    settings = read_settings()
    who = caller(email_of_caller, token, password_stdin=password_stdin, code=code)
    found = as_caller(
        settings,
        who,
        lambda services, actor: services.medications.adherence(
            actor, PatientId(patient), PrescriptionId(prescription), since=since, until=until
        ),
    )
    if as_json_:
        shares = {"dose_ratio": found.dose_ratio, "days_covered": found.days_covered}
        shown = {name: getattr(found, name) for name in found.__dataclass_fields__} | shares
        typer.echo(as_json({name: value for name, value in shown.items() if value is not None}))
    else:
        results().print(adherence_sheet(found))


def _act(who: Caller, act: Callable[[Services, Actor], Awaitable[Prescription]]) -> None:
    changed = as_caller(read_settings(), who, act)
    note(f"It is {changed.status.replace('-', ' ')} as of version {changed.version}.")


def _timing(times: int | None, period: int, per: PeriodUnit) -> Timing | None:
    return None if times is None else Timing(frequency=times, period=Decimal(period), period_unit=per)


def _tell_overlaps(found: Flagged) -> None:
    if found.overlaps:
        results().print(overlaps_table(found.overlaps))
        note(f"{len(found.overlaps)} {'overlap' if len(found.overlaps) == 1 else 'overlaps'} in drug or substance.")
    if not found.complete:
        note("Not all prescriptions of this patient were compared.")


def _plain(prescription: Prescription) -> dict[str, object]:
    shown = {name: getattr(prescription, name) for name in prescription.__dataclass_fields__}
    del shown["source_digest"]  # of how it was imported, and nobody's to read
    shown["status"] = prescription.status
    return {name: value for name, value in shown.items() if value not in (None, "", ())}
