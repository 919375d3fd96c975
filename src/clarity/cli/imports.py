"""`clarity import`: FHIR files of other systems. Acts as the operator."""

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich import box
from rich.table import Table

from clarity.application.imports import BadInput, ImportReport, Tally
from clarity.application.services import Services
from clarity.cli.endings import Status
from clarity.cli.practice import in_practice, read_settings
from clarity.cli.terminal import note, progress, results

EXAMPLES = """Examples:

\b
clarity import ../shared/data/synthea-r4
clarity import --strict --source "Bay Clinic" export/Patient.ndjson.gz export/Encounter.ndjson.gz"""


def import_(
    *,
    paths: Annotated[
        list[Path],
        typer.Argument(help="Files and folders: FHIR R4 bundles (.json) and bulk exports (.ndjson), plain or .gz."),
    ],
    source: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="Which system they come from. Its ids mean the same patients from one import to the next, and other"
            " patients than the same ids of another source.",
        ),
    ] = "fhir",
    strict: Annotated[
        bool, typer.Option("--strict", help="Validate whole resources, also the parts that have no place here yet.")
    ] = False,
    show_paths: Annotated[
        bool,
        typer.Option(
            "--show-paths",
            help="Name bad inputs by their path too, on a terminal only: paths may carry patients' names.",
        ),
    ] = False,
) -> None:
    """Import patients, practitioners, care teams, appointments, prescriptions and notes from FHIR files.

    Each bundle comes in whole or not at all, and a bad one harms no other. Importing again what is here already changes
    nothing, so an import that was interrupted is completed by running it again. Bad inputs are named by their
    position, the entry and the first 12 hex digits of their SHA-256; if there are any, the exit status is 1.
    """
    from clarity.bootstrap import operator
    from clarity.upkeep import fhir_inputs

    settings = read_settings().unhurried()  # a bundle comes in whole, however large it is

    async def run(services: Services) -> ImportReport:
        inputs = fhir_inputs(paths, source=source, strict=strict)
        with progress("Importing") as advance:
            return await services.imports.run(operator(), inputs, on_progress=advance)

    report = in_practice(settings, run)
    _print(report, show_paths=show_paths)
    if not report.ok:
        raise typer.Exit(Status.REFUSED)
    if report.units == 0:
        note("There is nothing to import: no file here ends in .json or .ndjson, with or without .gz.")
        raise typer.Exit(Status.REFUSED)
    if report.changed_nothing:
        note("Everything was here before; nothing has changed.")


def _print(report: ImportReport, *, show_paths: bool) -> None:
    printer = results()
    charts = {f"{kind.title.capitalize()}s": tally for kind, tally in report.records.items()}
    printer.print(_table({"Patients": report.patients, "Practitioners": report.practitioners, **charts}))
    if report.left_out:
        reasons = ", ".join(f"{one} {count:,}" for one, count in sorted(report.left_out.items()))
        printer.print(f"Not imported, for the reasons given: {reasons}.")
    if report.unplaced:
        kinds = ", ".join(f"{name} {count:,}" for name, count in sorted(report.unplaced.items()))
        printer.print(f"Without a place here yet, and not imported: {kinds}.")
    if report.invalid_npis:
        count = len(report.invalid_npis)
        printer.print(f"Practitioners whose NPI fails its check digit, kept and flagged: {count:,}.")
    if show_paths and not sys.stdout.isatty():
        note("--show-paths: this is no terminal, so the paths are not shown.")
    for bad in sorted(report.bad, key=_position):
        printer.print(str(bad), soft_wrap=True)
        if show_paths and sys.stdout.isatty():
            printer.print(f"    {bad.place.label.path}", soft_wrap=True)
    if report.bad:
        others = "the others are imported" if len(report.bad) < report.units else "nothing is imported"
        note(f"Refused {len(report.bad)} of {report.units} bundles and lines; {others}.")


def _position(bad: BadInput) -> tuple[int, int]:
    return bad.place.label.position, bad.place.entry or 0


def _table(tallies: dict[str, Tally]) -> Table:
    table = Table(box=box.SIMPLE, pad_edge=False)
    table.add_column("")
    for title in ("Added", "Changed", "Unchanged", "Refused"):
        table.add_column(title, justify="right")
    for kind, tally in tallies.items():
        counts = (tally.added, tally.changed, tally.unchanged, tally.refused)
        table.add_row(kind, *(f"{count:,}" for count in counts))
    return table
