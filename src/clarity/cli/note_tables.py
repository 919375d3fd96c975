"""Notes as tables and as pages at the command line."""

from collections.abc import Sequence
from datetime import date, datetime
from zoneinfo import ZoneInfo

from rich import box
from rich.console import Group, RenderableType
from rich.markdown import Markdown
from rich.table import Table
from rich.text import Text

from clarity.application.notes import OpenRequests
from clarity.application.ports import RecordRevision
from clarity.cli.rendering import notice_line
from clarity.domain.amendments import Amendment
from clarity.domain.notes import Note, NoteStatus
from clarity.domain.records import Label

# Longer ones take seconds to lay out, and nobody reads them in a terminal.
_LAID_OUT = 100_000


def notes_table(notes: Sequence[Note], zone: ZoneInfo) -> Table:
    """Return one row for each note, the id beneath the title."""
    table = _table("Note", "About", "Kind", "State")
    table.columns[0].min_width = 36
    for one in notes:
        notice = f"\n{notice_line(one.notice)}" if one.notice else ""
        table.add_row(
            Text.assemble((one.title or "untitled", "bold"), f"\n{one.id}", (notice, "bold red")),
            _when(one.about, zone),
            _lines(str(one.kind), f"to {one.addendum_to}" if one.addendum_to else "", _label(one)),
            _lines(_state(one, zone), f"version {one.version}", f"amendment due {one.due_on}" if one.due_on else ""),
        )
    return table


def note_page(note: Note, zone: ZoneInfo, *, raw: bool = False) -> RenderableType:
    """Return a note as it is read: Markdown laid out, or `raw`. Links are shown and not made live."""
    facts = Table.grid(padding=(0, 2))
    facts.add_column(style="dim", no_wrap=True)
    facts.add_column(overflow="fold")
    for name, value in (
        ("Note", str(note.id)),
        ("Kind", _lines(str(note.kind), _label(note))),
        ("Adds to", str(note.addendum_to or "")),
        ("About", _when(note.about, zone)),
        ("Encounter", note.encounter),
        ("Written by", note.written_by or str(note.author or "")),
        ("State", f"{_state(note, zone)}, version {note.version}"),
        ("Co-signed", "\n".join(f"{_when(one.at, zone)} by {one.by}" for one in note.cosignatures)),
        ("Sources", "\n".join(note.sources)),
    ):
        if value:
            facts.add_row(name, Text(value))
    laid_out = not raw and len(note.body) <= _LAID_OUT
    body: RenderableType = Markdown(note.body, hyperlinks=False) if laid_out else Text(note.body)
    parts: list[RenderableType] = [Text(note.title or "untitled", "bold"), facts, Text(), body]
    if note.notice is not None:
        parts.insert(0, Text(notice_line(note.notice), "bold red"))
    if note.amendments:
        parts += [Text("\nRequests to amend this note (45 CFR 164.526)", "bold"), amendments_table(note.amendments)]
    return Group(*parts)


def amendments_table(amendments: Sequence[Amendment]) -> Table:
    """Return one row for each request, with all that was said of it."""
    table = _table("Request", "What, and why", "What came of it")
    table.columns[0].min_width = 36
    for one in amendments:
        table.add_row(
            _lines(str(one.id), f"received {one.received_on}", "" if one.by_patient else "entered by staff"),
            Text(_lines(one.what, one.why)),
            Text(_outcome(one)),
        )
    return table


def requests_table(found: Sequence[OpenRequests], today: date) -> Table:
    """Return one row for each open request, those that are due first."""
    table = _table("Due", "Patient, note, request", "What, and why")
    for each in found:
        for one in each.note.open_amendments:
            late = one.due_on < today
            table.add_row(
                Text(f"{one.due_on}{' overdue' if late else ''}", "bold red" if late else ""),
                _lines(str(each.patient), str(each.note.id), str(one.id), f"version {each.note.version}"),
                Text(_lines(one.what, one.why)),
            )
    return table


def note_history_table(revisions: Sequence[RecordRevision[Note]], zone: ZoneInfo) -> Table:
    """Return one row for each version, the newest first."""
    table = _table("Version", "Written", "By", "State")
    for one in revisions:
        table.add_row(str(one.version), _when(one.written_at, zone), str(one.written_by), _state(one.record, zone))
    return table


def _outcome(one: Amendment) -> str:
    parts = [f"{one.status}" if one.acceptance or one.denial else f"open, due {one.due_on}"]
    if one.extension is not None:
        parts.append(f"extended until {one.extension.until}: {one.extension.reason}")
    if one.acceptance is not None:
        parts.append(f"by {one.acceptance.addendum}; told: {'; '.join(one.acceptance.told)}")
    if one.denial is not None:
        parts.append(f"{one.denial.citation}: {one.denial.basis}")
    if one.disagreement is not None:
        parts.append(f"The patient disagrees: {one.disagreement.text}")
    if one.rebuttal is not None:
        parts.append(f"Rebuttal: {one.rebuttal.text}")
    return "\n".join(parts)


def _state(note: Note, zone: ZoneInfo) -> str:
    if note.status is not NoteStatus.SIGNED or note.signed_at is None:
        return str(note.status)
    return f"signed {_when(note.signed_at, zone)}"


def _label(note: Note) -> str:
    return "" if note.label is Label.NORMAL else str(note.label)


def _when(at: datetime | None, zone: ZoneInfo) -> str:
    return "" if at is None else at.astimezone(zone).strftime("%Y-%m-%d %H:%M")


def _lines(*parts: str) -> str:
    return "\n".join(part for part in parts if part)


def _table(*titles: str) -> Table:
    table = Table(box=box.SIMPLE, pad_edge=False)
    for title in titles:
        table.add_column(title, overflow="fold")
    return table
