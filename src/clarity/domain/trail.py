"""The trail as people ask for it: which events, in which order, and whether what was found is what was written."""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from clarity.domain.access import Action
from clarity.domain.audit import AuditEvent, Outcome
from clarity.domain.ids import EventId, PatientId, RequestId
from clarity.domain.records import Resource


@dataclass(frozen=True, slots=True, kw_only=True)
class TrailQuery:
    """Which events are asked for. Conditions add up; one that is left out allows all.

    `patient` is met by what was done with that patient's records, and by lists that named one of them. `since` is the
    first instant and `until` the first one beyond, both UTC. The latest come first, unless it is `oldest_first`.
    """

    patient: PatientId | None = None
    actor: UUID | None = None
    since: datetime | None = None
    until: datetime | None = None
    actions: frozenset[Action] = frozenset()
    resources: frozenset[Resource] = frozenset()
    outcomes: frozenset[Outcome] = frozenset()
    request: RequestId | None = None
    oldest_first: bool = False


EVERYTHING = TrailQuery()
"""The query that every event meets."""


@dataclass(frozen=True, slots=True)
class TrailPlace:
    """Where an event stands in the order of the trail: by its instant, and by its id among those of one instant."""

    at: datetime
    id: EventId


@dataclass(frozen=True, slots=True, kw_only=True)
class TrailEntry:
    """An event as it was found.

    `verified` says that it is what was written: its bytes have their hash and the MAC of this practice, and the columns
    beside them repeat them. `event` is `None` if its bytes are those of no event at all; then only its place is known.
    """

    place: TrailPlace
    event: AuditEvent | None
    verified: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class TrailLine:
    """An entry as people read it: with the name of who acted, and the e-mail address of their account.

    What acts by itself has a name and no address; of an account that nobody knows both are empty.
    """

    entry: TrailEntry
    name: str = field(default="", repr=False)
    email: str = field(default="", repr=False)


class ExportFormat(StrEnum):
    """How the trail is written for other programs."""

    CSV = "csv"
    FHIR = "fhir"
