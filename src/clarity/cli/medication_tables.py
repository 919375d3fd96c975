"""Prescriptions as tables at the command line."""

from collections.abc import Sequence
from datetime import date
from zoneinfo import ZoneInfo

from rich import box
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from clarity.application.ports import RecordRevision
from clarity.cli.rendering import notice_line
from clarity.domain.access import OPERATOR
from clarity.domain.adherence import Adherence
from clarity.domain.medications import Activity, Overlap, Prescription

_STYLES = {Activity.ACTIVE: "green", Activity.ON_HOLD: "yellow", Activity.PERHAPS: "magenta", Activity.NO: "dim"}


def prescriptions_table(prescriptions: Sequence[Prescription], on: date) -> Table:
    """Return one row for each, the id beneath the name, with how it held on a day."""
    table = _table("Medicine", "How", "When", "State")
    table.columns[0].min_width = 36
    for one in prescriptions:
        notice = f"\n{notice_line(one.notice)}" if one.notice else ""
        told = f"\nversion {one.version}"
        table.add_row(
            Text.assemble((one.name, "bold"), f"\n{one.id}", (told, "dim"), (notice, "bold red")),
            _lines(str(one.dosage_on(on)), f"for {one.indication}" if one.indication else "", one.prescribed_by),
            _when(one),
            _state(one, on),
        )
    return table


def overlaps_table(overlaps: Sequence[Overlap]) -> Table:
    """Return one row for each pair of prescriptions that overlap."""
    table = _table("These overlap", "In", "On the days")
    for one in overlaps:
        table.add_row(
            "\n".join(map(str, one.prescriptions)),
            _lines(one.likeness.replace("-", " "), *one.substances, notice_line(one.notice) if one.notice else ""),
            f"from {one.since}\n{f'to {one.until}' if one.until else 'open'}",
        )
    return table


def versions_table(revisions: Sequence[RecordRevision[Prescription]], zone: ZoneInfo) -> Table:
    """Return one row for each version, the newest first."""
    table = _table("Version", "Written", "By", "Status", "How")
    for revision in revisions:
        record = revision.record
        table.add_row(
            str(revision.version),
            revision.written_at.astimezone(zone).strftime("%Y-%m-%d %H:%M:%S"),
            "operator" if revision.written_by == OPERATOR else str(revision.written_by),
            record.status,
            _lines(str(record.dosage), _when(record)),
        )
    return table


def adherence_sheet(adherence: Adherence) -> RenderableType:
    """Return what was told of doses, as it is read aloud."""
    sheet = Table.grid(padding=(0, 2))
    sheet.add_column(style="dim", no_wrap=True)
    sheet.add_column()
    sheet.add_row("From", f"{adherence.since} to {adherence.until}, {adherence.days} days to take it on")
    if adherence.notice:
        sheet.add_row("Notice", Text(notice_line(adherence.notice), "bold red"))
    sheet.add_row("Taken", f"{adherence.taken} doses, and {adherence.skipped} skipped, as was told")
    if adherence.dose_ratio is None or adherence.days_covered is None:
        sheet.add_row("Due", "not told: it is taken as needed, or nobody said how often")
        return sheet
    sheet.add_row("Due", f"{adherence.due:f} doses, of which {adherence.dose_ratio:.0%} were taken")
    sheet.add_row("Days covered", f"{adherence.covered}, which is {adherence.days_covered:.0%}")
    return sheet


def _when(one: Prescription) -> str:
    return _lines(
        f"from {one.start}",
        f"planned to {one.until}" if one.until else "",
        f"ended {one.end.on or 'on an unknown day'}" if one.end else "",
    )


def _state(one: Prescription, on: date) -> Text:
    activity = one.activity_on(on)
    text = Text(one.status, _STYLES[activity])
    if activity is Activity.PERHAPS:
        text.append(f"\nperhaps taken on {on}")
    held = one.holds[-1].reason if one.holds else ""
    for reason in (one.mistake, one.end.reason if one.end else held):
        if reason:
            text.append(f"\n{reason}", "dim")
    return text


def _lines(*lines: str) -> str:
    return "\n".join(line for line in lines if line)


def _table(*headings: str) -> Table:
    table = Table(*headings, box=box.SIMPLE, pad_edge=False)
    for column in table.columns:
        column.overflow = "fold"
    return table
