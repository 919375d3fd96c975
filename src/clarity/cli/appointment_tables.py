"""Appointments as somebody at a desk reads them: a day, a list, and one of them."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta, tzinfo
from itertools import pairwise
from uuid import UUID

from rich import box
from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from clarity.application.appointments import Day
from clarity.cli.rendering import notice_line
from clarity.domain.appointments import Appointment, AppointmentStatus, Setting
from clarity.domain.practice_hours import Span
from clarity.domain.records import Label
from clarity.domain.schedule import Closure

_STYLES = {
    AppointmentStatus.BOOKED: "green",
    AppointmentStatus.COMPLETED: "dim",
    AppointmentStatus.CANCELLED: "yellow",
    AppointmentStatus.NO_SHOW: "red",
}
_SIGNS = {
    AppointmentStatus.BOOKED: "●",
    AppointmentStatus.COMPLETED: "✓",
    AppointmentStatus.CANCELLED: "✗",
    AppointmentStatus.NO_SHOW: "○",
}
_SHORTEST_GAP = timedelta(minutes=5)


def day_page(day: Day, practitioner: str, zone: tzinfo, now: datetime) -> RenderableType:
    """Return a practitioner's day from morning to evening: what is booked, what came of it, and what is free."""
    table = Table(box=None, pad_edge=False, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold", ratio=1)
    lines = sorted([*_booked_lines(day), *_taken_lines(day), *_free_lines(day, now)], key=lambda line: line[0].start)
    for span, sign, text in lines:
        over = span.end <= now
        table.add_row(Text(_hours(span, zone), "dim" if over else ""), sign, text)
    booked = sum(one.status is AppointmentStatus.BOOKED for one in day.appointments) + len(day.taken)
    when = f"{day.day:%A}, {day.day.day} {day.day:%B %Y}"
    parts: list[RenderableType] = [_opening(day, zone), Text(), table]
    notices = dict.fromkeys(notice_line(one.notice) for one in day.appointments if one.notice)
    parts += [Text(f"\n{notice}", "bold red") for notice in notices]
    if day.more:
        parts.append(Text("\nNot all of this day is shown.", "bold red"))
    title = Text.assemble((when, "bold"), "  ", practitioner)
    subtitle = f"{booked} booked · {len(day.appointments) + len(day.taken)} in all · {zone}"
    return Panel(Group(*parts), title=title, title_align="left", subtitle=subtitle, box=box.ROUNDED, padding=(1, 2))


_Line = tuple[Span, Text, Text]


def _booked_lines(day: Day) -> Iterable[_Line]:
    for one in day.appointments:
        style = _STYLES[one.status]
        name = day.names.get(one.patient)
        cancelled = one.status is AppointmentStatus.CANCELLED
        text = Text(str(name) if name else "a patient", "bold strike" if cancelled else "bold")
        text.append("  ").append(_about(one))
        if one.status is not AppointmentStatus.BOOKED:
            text.append(f"  {one.status}", style)
        if one.label is not Label.NORMAL:
            text.append(f"  {one.label}", "bold red")
        text.append(f"\n{one.id}", "dim")
        yield one.span, Text(_SIGNS[one.status], style), text


def _taken_lines(day: Day) -> Iterable[_Line]:
    for span in day.taken:
        yield span, Text("■", "dim"), Text("booked, with somebody whom you may not see", "dim")


def _free_lines(day: Day, now: datetime) -> Iterable[_Line]:
    """Yield the gaps between what is booked, while the practice is open and the day is not over."""
    if day.closed or day.opening is None:
        return
    start = max(day.opening.start, now)
    booked = [one.span for one in day.appointments if one.status is AppointmentStatus.BOOKED]
    edges = [Span(start, start), *sorted([*booked, *day.taken], key=lambda one: one.start)]
    edges.append(Span(day.opening.end, day.opening.end))
    last = start
    for before, after in pairwise(edges):
        last = max(last, before.end)
        if after.start - last >= _SHORTEST_GAP:
            minutes = (after.start - last) // timedelta(minutes=1)
            yield Span(last, after.start), Text("·", "dim"), Text(f"free, {minutes} minutes", "dim italic")


def _opening(day: Day, zone: tzinfo) -> Text:
    if day.closed:
        return Text("Closed on this day: nothing more is booked.", "bold yellow")
    if day.opening is None:
        return Text("The practice is not open on this day.", "yellow")
    return Text(f"Open {_hours(day.opening, zone)}", "dim")


def appointments_table(appointments: Sequence[Appointment], names: Mapping[UUID, str], zone: tzinfo) -> Table:
    """Return one row for each appointment, the id beneath the time; `names` has what practitioners are called."""
    table = Table(box=box.SIMPLE, pad_edge=False)
    table.add_column("When", no_wrap=True)
    table.add_column("With", overflow="fold")
    table.add_column("What", overflow="fold")
    table.add_column("Status", no_wrap=True)
    for one in appointments:
        local = one.starts_at.astimezone(zone)
        when = f"{local:%a %Y-%m-%d} {_hours(one.span, zone)}"
        table.add_row(
            Text.assemble((when, "bold"), "\n", (str(one.id), "dim")),
            names.get(one.practitioner, str(one.practitioner)),
            _about(one),
            Text(str(one.status), _STYLES[one.status]),
        )
    notices = dict.fromkeys(notice_line(one.notice) for one in appointments if one.notice)
    if notices:
        table.caption, table.caption_justify = Text("\n".join(notices), "bold red"), "left"
    return table


def appointment_page(one: Appointment, practitioner: str, zone: tzinfo) -> RenderableType:
    """Return everything of one appointment."""
    facts = Table.grid(padding=(0, 2))
    facts.add_column(style="dim", no_wrap=True)
    facts.add_column(overflow="fold")
    local = one.starts_at.astimezone(zone)
    cancelled = one.cancellation
    for title, text in (
        ("Id", str(one.id)),
        ("Patient", str(one.patient)),
        ("With", practitioner),
        ("When", f"{local:%A %Y-%m-%d} {_hours(one.span, zone)} {local:%Z}"),
        ("What", _about(one)),
        ("Notes", one.notes),
        ("Label", str(one.label) if one.label is not Label.NORMAL else ""),
        ("Series", str(one.series) if one.series else ""),
        ("Cancelled", f"{cancelled.reason} ({_by(one)})" if cancelled else ""),
    ):
        if text:
            facts.add_row(title, text)
    parts: list[RenderableType] = [Text(notice_line(one.notice), "bold red")] if one.notice else []
    status = Text(str(one.status), _STYLES[one.status])
    return Panel(
        Group(*parts, facts), title=status, title_align="left", subtitle=f"version {one.version}", box=box.ROUNDED
    )


def slots_table(slots: Sequence[Span], zone: tzinfo) -> Table:
    """Return one row for each day on which something is free, with the times."""
    table = Table(box=box.SIMPLE, pad_edge=False)
    table.add_column("Day", no_wrap=True)
    table.add_column("Free from", overflow="fold")
    days: dict[str, list[str]] = {}
    for slot in slots:
        local = slot.start.astimezone(zone)
        days.setdefault(f"{local:%a %Y-%m-%d}", []).append(f"{local:%H:%M}")
    for day, times in days.items():
        table.add_row(day, "  ".join(times))
    return table


def closures_table(closures: Sequence[Closure], names: Mapping[UUID, str]) -> Table:
    """Return one row for each closure; `names` has those that are known of practitioners."""
    table = Table(box=box.SIMPLE, pad_edge=False)
    for title in ("Closure", "Days", "Of"):
        table.add_column(title, overflow="fold")
    for one in closures:
        days = str(one.first_day) if one.first_day == one.last_day else f"{one.first_day} to {one.last_day}"
        whose = "the practice" if one.practitioner is None else names.get(one.practitioner, str(one.practitioner))
        table.add_row(str(one.id), days, whose)
    return table


def _about(one: Appointment) -> str:
    how = "" if one.setting is Setting.IN_PERSON else f"by {one.setting}"
    service = "" if one.service is None else str(one.service)
    return " · ".join(part for part in (str(one.kind), service, how, one.place, one.reason) if part)


def _by(one: Appointment) -> str:
    return "by the patient" if one.cancellation is not None and one.cancellation.by_patient else "by the practice"


def _hours(span: Span, zone: tzinfo) -> str:
    start, end = span.start.astimezone(zone), span.end.astimezone(zone)
    # Where the clocks change in between, the hours alone would say something else than how long it is.
    changed = f" {end:%Z}" if start.utcoffset() != end.utcoffset() else ""
    return f"{start:%H:%M}-{end:%H:%M}{changed}"
