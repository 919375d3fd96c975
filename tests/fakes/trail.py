"""The trail in a list, to read."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from clarity.application.ports import TrailCount, TrailPage
from clarity.domain.audit import AuditEvent
from clarity.domain.ids import PatientId
from clarity.domain.records import Resource
from clarity.domain.trail import TrailEntry, TrailPlace, TrailQuery
from clarity.persistence.ledger import Ledger
from tests.fakes.patients import MemoryTables


@dataclass(slots=True)
class MemoryTrailReader:
    """`TrailReader` over a list of events. It looks at all of them, and nobody alters one."""

    events: Sequence[AuditEvent]
    tables: MemoryTables
    ledger: Ledger

    async def find_page(self, query: TrailQuery, *, after: TrailPlace | None, at_most: int) -> TrailPage:
        found = [
            TrailEntry(place=_place(event), event=event, verified=True)
            for event in self._chosen(query)
            if after is None or _is_behind(query, _place(event), after)
        ]
        for entry in found[:at_most]:
            self.ledger.disclose(Resource.AUDIT_EVENT, entry.place.id)
        resume = found[at_most - 1].place if len(found) > at_most else None
        return TrailPage(entries=tuple(found[:at_most]), resume=resume)

    async def latest(self) -> datetime | None:
        return max((event.at for event in self.events), default=None)

    async def count(self, query: TrailQuery) -> TrailCount:
        return TrailCount(count=len(self._chosen(query)), exact=True)

    def _chosen(self, query: TrailQuery) -> list[AuditEvent]:
        records = self._records_of(query.patient) if query.patient is not None else frozenset()
        found = (event for event in self.events if _meets(event, query, records))
        return sorted(found, key=lambda event: (event.at, event.id), reverse=not query.oldest_first)

    def _records_of(self, patient: PatientId) -> frozenset[UUID]:
        glasses = {one.id for one in self.tables.broken_glass.values() if one.patient == patient}
        reviews = {one.id for one in self.tables.duplicates.values() if patient in {one.patient, one.other}}
        disclosures = {one.id for one in self.tables.disclosures.values() if one.patient == patient}
        return frozenset({patient, *glasses, *reviews, *disclosures})


def _meets(event: AuditEvent, query: TrailQuery, records: frozenset[UUID]) -> bool:
    of_patient = event.patient == query.patient or (event.patient is None and not records.isdisjoint(event.ids))
    return (
        (query.patient is None or of_patient)
        and query.actor in {None, event.actor}
        and query.request in {None, event.request}
        and (query.since is None or event.at >= query.since)
        and (query.until is None or event.at < query.until)
        and (not query.actions or event.action in query.actions)
        and (not query.resources or event.resource in query.resources)
        and (not query.outcomes or event.outcome in query.outcomes)
    )


def _place(event: AuditEvent) -> TrailPlace:
    return TrailPlace(event.at, event.id)


def _is_behind(query: TrailQuery, place: TrailPlace, after: TrailPlace) -> bool:
    one, other = (place.at, place.id), (after.at, after.id)
    return one > other if query.oldest_first else one < other
