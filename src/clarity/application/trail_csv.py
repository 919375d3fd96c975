"""The trail as a table that spreadsheets open."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from clarity.application.spreadsheets import comma_separated
from clarity.domain.audit import AuditEvent
from clarity.domain.patients import PatientField
from clarity.domain.records import Resource
from clarity.domain.trail import TrailLine

COLUMNS = (
    "at",
    "event",
    "verified",
    "actor",
    "actor_name",
    "actor_email",
    "role",
    "operator",
    "purpose",
    "action",
    "resource",
    "patient",
    "outcome",
    "reason",
    "records",
    "records_count",
    "fields",
    "version",
    "request",
    "query_mac",
)
"""The header. New columns come behind these."""


@dataclass(frozen=True, slots=True)
class CsvTrail:
    """`TrailFormat` as comma-separated values (RFC 4180): a header, then one row for each event."""

    media_type: str = "text/csv; charset=utf-8; header=present"

    def head(self) -> bytes:
        """Return the header."""
        return comma_separated([COLUMNS])

    def written(self, lines: Iterable[TrailLine]) -> bytes:
        """Return the rows of some events."""
        return comma_separated(map(_cells, lines))


def fields_of(event: AuditEvent) -> tuple[str, ...]:
    """Return the names of the fields of a patient that an event is about, in their order."""
    if event.resource not in {Resource.PATIENT, Resource.RESEARCH_SUBJECT}:
        return ()
    return tuple(str(bit.name).lower() for bit in PatientField if event.fields & bit)


def _cells(line: TrailLine) -> tuple[str, ...]:
    event, place = line.entry.event, line.entry.place
    verified = "yes" if line.entry.verified else "no"
    if event is None:
        return (_instant(place.at), str(place.id), verified, *[""] * (len(COLUMNS) - 3))
    return (
        _instant(event.at),
        str(event.id),
        verified,
        str(event.actor),
        line.name,
        line.email,
        event.role.title,
        event.operator,
        event.purpose.name.lower(),
        event.action.name.lower(),
        event.resource.name.lower(),
        str(event.patient or ""),
        event.outcome.name.lower(),
        event.reason.name.lower(),
        " ".join(map(str, event.ids)),
        str(event.ids_count),
        " ".join(fields_of(event)),
        str(event.version or ""),
        str(event.request),
        event.query_mac.hex(),
    )


def _instant(at: datetime) -> str:
    return at.isoformat(timespec="microseconds").replace("+00:00", "Z")
