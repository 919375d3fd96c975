"""Disclosures as tables at the command line."""

from collections.abc import Sequence
from datetime import date
from zoneinfo import ZoneInfo

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from clarity.domain.audit import AuditEvent
from clarity.domain.disclosures import Accounting, Disclosure, DisclosureStatus, Unfounded


def disclosures_table(disclosures: Sequence[Disclosure], today: date) -> Table:
    """Return one row for each, the id beneath the day."""
    table = _table("Disclosure, made on", "To", "What", "Why", "State")
    table.columns[0].min_width = 36
    for one in disclosures:
        table.add_row(
            Text.assemble((str(one.id), "bold"), f"\n{_when(one)}\nversion {one.version}"),
            _lines(one.recipient, one.address, f"by {one.means.replace('-', ' ')}"),
            one.what,
            _lines(one.purpose, one.request),
            _state(one, today),
        )
    return table


def accounting_sheet(accounting: Accounting) -> RenderableType:
    """Return an accounting as it is read aloud: whom it is for, and what was disclosed."""
    period = accounting.period
    head = Text.assemble(
        ("Accounting of disclosures", "bold"),
        f"\nfor {accounting.name}, by {accounting.practice} on {accounting.given_on}",
        f"\nfrom {period.since} to {period.until}",
    )
    if not accounting.disclosures:
        return Group(head, Text("\nIn this time there is nothing that has to be listed."))
    table = _table("When", "Who received it", "What they received", "Why")
    for one in accounting.disclosures:
        table.add_row(_when(one), _lines(one.recipient, one.address), one.what, _lines(one.purpose, one.request))
    return Group(head, table)


def exports_table(events: Sequence[AuditEvent], zone: ZoneInfo) -> Table:
    """Return one row for each export that nothing accounts for."""
    table = _table("Export", "When", "By", "Of")
    for event in events:
        of = f"patient {event.patient}" if event.patient else f"{event.ids_count} records"
        table.add_row(
            str(event.id),
            event.at.astimezone(zone).strftime("%Y-%m-%d %H:%M:%S"),
            _lines(str(event.actor), event.role.title),
            _lines(event.resource.title, of),
        )
    return table


def unfounded_table(claims: Sequence[Unfounded]) -> Table:
    """Return one row for each event that a disclosure names and the trail denies."""
    table = _table("Disclosure", "Of patient", "Names the event")
    for one in claims:
        table.add_row(str(one.disclosure), str(one.patient), str(one.event))
    return table


def _table(*titles: str) -> Table:
    table = Table(box=box.SIMPLE, pad_edge=False)
    for title in titles:
        table.add_column(title, overflow="fold")
    return table


def _lines(*parts: str) -> str:
    return "\n".join(part for part in parts if part)


def _when(one: Disclosure) -> str:
    if one.series is None:
        return str(one.made_on)
    often = [one.series.frequency] if one.series.frequency else []
    often += [f"{one.series.number} times in all"] if one.series.number else []
    return f"{one.made_on} to {one.series.last_on}\n{', '.join(often)}"


def _state(one: Disclosure, today: date) -> str:
    if one.status is DisclosureStatus.MISTAKEN:
        return _lines("mistaken", one.mistake)
    if one.exemption is not None:
        return _lines("exempt", one.exemption.replace("-", " "), one.exemption.citation)
    if one.suspension is not None and one.suspended_on(today):
        return _lines(f"suspended through {one.suspension.until}", one.suspension.stated_by)
    return "accountable"
