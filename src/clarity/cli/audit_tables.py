"""Events of the trail as a table to read, and as JSON."""

from collections.abc import Sequence
from zoneinfo import ZoneInfo

from rich import box
from rich.table import Table
from rich.text import Text

from clarity.application.trail_csv import fields_of
from clarity.domain.access import Purpose, Reason, Role
from clarity.domain.audit import AuditEvent, Outcome
from clarity.domain.records import Resource
from clarity.domain.trail import TrailLine

_STYLES = {Outcome.SUCCEEDED: "", Outcome.REFUSED: "yellow", Outcome.FAILED: "red", Outcome.UNKNOWN: "bold red"}


def trail_table(lines: Sequence[TrailLine], zone: ZoneInfo) -> Table:
    """Return one row for each event, with times as they were in the practice."""
    table = Table(box=box.SIMPLE, pad_edge=False)
    table.add_column("When", no_wrap=True)
    table.add_column("Who", overflow="fold")
    table.add_column("Did", overflow="fold")
    table.add_column("To", min_width=36, overflow="fold")
    table.add_column("Outcome", overflow="fold")
    for line in lines:
        at = line.entry.place.at if line.entry.event is None else line.entry.event.at
        when = Text(f"{at.astimezone(zone):%Y-%m-%d %H:%M:%S}")
        if line.entry.event is None:
            table.add_row(when, "", "", str(line.entry.place.id), Text("ALTERED, unreadable", "bold red"))
            continue
        table.add_row(when, _doer(line, line.entry.event), *_deed(line, line.entry.event))
    return table


def _doer(line: TrailLine, event: AuditEvent) -> Text:
    if not line.email:
        return Text(" ".join(part for part in (line.name or str(event.actor), event.operator) if part))
    return Text.assemble(line.name, "\n", (f"{event.role.title}, {line.email}", "dim"))


def _deed(line: TrailLine, event: AuditEvent) -> tuple[Text, Text, Text]:
    did = Text(f"{event.action.title}: {event.resource.title}")
    if event.purpose is Purpose.EMERGENCY:
        did.append("\nin an emergency", "bold yellow")
    return did, _objects(event), _end(line, event)


def _objects(event: AuditEvent) -> Text:
    of_patient = event.patient is not None
    to = Text(f"patient {event.patient}" if of_patient else "")
    if of_patient and event.resource is Resource.PATIENT:
        return to
    if of_patient and event.ids_count:
        to.append("\n")
    if event.ids_count == 1 and event.ids:
        to.append(str(event.ids[0]), "dim")
    elif event.ids_count:
        to.append(f"{event.ids_count} records", "dim")
    return to


def _end(line: TrailLine, event: AuditEvent) -> Text:
    why = "" if event.reason is Reason.NONE else f": {event.reason.name.lower().replace('_', ' ')}"
    end = Text(f"{event.outcome.name.lower()}{why}", _STYLES[event.outcome])
    if not line.entry.verified:
        end.append("\nALTERED", "bold red")
    return end


def plain_line(line: TrailLine) -> dict[str, object]:
    """Return an entry as the HTTP interface has it."""
    entry = line.entry
    at = entry.place.at if entry.event is None else entry.event.at
    return {
        "id": entry.place.id,
        "at": at,
        "verified": entry.verified,
        "event": None if entry.event is None else _plain_event(line, entry.event),
    }


def _plain_event(line: TrailLine, event: AuditEvent) -> dict[str, object]:
    role: Role = event.role
    return {
        "actor": {
            "id": event.actor,
            "role": role.title,
            "name": line.name,
            "email": line.email,
            "operator": event.operator,
        },
        "purpose": event.purpose.name.lower(),
        "action": event.action.name.lower(),
        "resource": event.resource.name.lower(),
        "patient": event.patient,
        "ids": event.ids,
        "ids_count": event.ids_count,
        "outcome": event.outcome.name.lower(),
        "reason": event.reason.name.lower(),
        "request": event.request,
        "fields": fields_of(event),
        "version": event.version,
        "query_mac": event.query_mac.hex(),
    }
