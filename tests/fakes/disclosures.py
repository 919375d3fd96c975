"""Disclosures in a dictionary."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import date

from clarity.application.admission import Admitted
from clarity.domain.access import Action
from clarity.domain.audit import AuditEvent, Outcome
from clarity.domain.disclosures import (
    AccountingPeriod,
    Disclosure,
    DisclosureStatus,
    ExportReason,
    Unfounded,
    accounted,
    accounted_on,
    chronologically,
    may_be_about,
)
from clarity.domain.errors import CannotOpen, NotFound, StaleWrite, UnauditedAccess
from clarity.domain.ids import DisclosureId, EventId, PatientId
from clarity.domain.records import Resource, Sealed
from clarity.persistence.ledger import Ledger
from tests.fakes.patients import MemoryTables


@dataclass(slots=True)
class MemoryDisclosureRepository:
    """`DisclosureRepository` over `MemoryTables`. `events` returns the trail."""

    tables: MemoryTables
    ledger: Ledger
    events: Callable[[], Sequence[AuditEvent]]
    _opened: dict[DisclosureId, Disclosure] = field(default_factory=dict)

    async def get(self, patient: PatientId) -> Sealed:
        if patient not in self.tables.patients:
            return Sealed(resource=Resource.DISCLOSURE, id=patient, patient=patient)
        record = self.tables.sealed(self.tables.patients[patient][-1])
        standing = record.standing and replace(record.standing, guarded=False)
        return replace(record, resource=Resource.DISCLOSURE, standing=standing)

    async def find_page(
        self, patients: Sequence[PatientId], *, after: DisclosureId | None, at_most: int
    ) -> list[Sealed]:
        found = [one for one in self._of(patients) if after is None or one.id < after]
        return [_sealed(one) for one in sorted(found, key=lambda one: one.id, reverse=True)[:at_most]]

    async def count(self, patients: Sequence[PatientId]) -> int:
        return len(self._of(patients))

    async def find(self, patients: Sequence[PatientId], disclosure: DisclosureId) -> Sealed:
        for one in self._of(patients):
            if one.id == disclosure:
                return _sealed(one)
        raise NotFound

    def open(self, admitted: Admitted, record: Sealed) -> Disclosure:
        if admitted.record.resource is not Resource.DISCLOSURE or record.patient in self.tables.broken:
            raise CannotOpen
        disclosure = self.tables.disclosures[DisclosureId(record.id)]
        self.ledger.disclose(Resource.DISCLOSURE, disclosure.id)
        self._opened[disclosure.id] = disclosure
        return disclosure

    async def find_accounted(
        self, admitted: Admitted, patients: Sequence[PatientId], period: AccountingPeriod, *, on: date
    ) -> list[Disclosure]:
        disclosures = self._of(patients)
        if admitted.record.resource is not Resource.DISCLOSURE or self.tables.broken & {
            one.patient for one in disclosures
        }:
            raise CannotOpen
        told = accounted_on(disclosures, period, on)
        for one in told:
            self.ledger.disclose(Resource.DISCLOSURE, one.id)
        return sorted(told, key=chronologically)

    async def add(self, admitted: Admitted, disclosure: Disclosure) -> Disclosure:
        self.ledger.stamp()
        saved = replace(disclosure, patient=admitted.record.patient, version=1)
        self.tables.disclosures[saved.id] = saved
        self.ledger.change(Resource.DISCLOSURE, saved.id, version=1)
        return saved

    async def save(self, disclosure: Disclosure) -> Disclosure:
        if disclosure.id not in self._opened:
            raise UnauditedAccess
        if self.tables.disclosures[disclosure.id].version != disclosure.version:
            raise StaleWrite
        self.ledger.stamp()
        saved = replace(disclosure, version=disclosure.version + 1)
        self.tables.disclosures[saved.id] = saved
        self.ledger.change(Resource.DISCLOSURE, saved.id, version=saved.version)
        return saved

    async def made_by(self, patients: Sequence[PatientId], events: Sequence[EventId]) -> bool:
        found = [self._event(event) for event in events]
        return all(one is not None and may_be_about(one, self._named_by(one), patients) for one in found)

    async def find_unaccounted(self, *, after: EventId | None, at_most: int) -> tuple[list[AuditEvent], EventId | None]:
        explained = {one.event for one in self.tables.export_reasons}
        looked_at = [
            one
            for one in sorted(self.events(), key=lambda one: one.id)
            if _is_export(one)
            and one.id not in explained
            and (after is None or one.id > after)
            and (one.patient is None or not self._disclosed_by(one))
        ][:at_most]
        found = [
            one
            for one in looked_at
            if one.patient is not None or not accounted(self._named_by(one), self._disclosed_by(one))
        ]
        for one in found:
            self.ledger.disclose(Resource.DISCLOSURE, one.id)
        return found, looked_at[-1].id if len(looked_at) == at_most else None

    async def find_unfounded(
        self, *, after: tuple[DisclosureId, EventId] | None, at_most: int
    ) -> tuple[list[Unfounded], tuple[DisclosureId, EventId] | None]:
        claims = sorted(
            (one.id, event, one.patient)
            for one in self._standing()
            for event in one.events
            if after is None or (one.id, event) > after
        )
        found = []
        for disclosure, event, patient in claims[:at_most]:
            held = self._event(event)
            if held is None or not may_be_about(held, self._named_by(held), [patient]):
                found.append(Unfounded(disclosure, event, patient, held.patient if held else None))
        return found, claims[at_most - 1][:2] if len(claims) >= at_most else None

    async def events_of_export(self, event: EventId) -> list[EventId]:
        found = self._event(event)
        if found is None or not _is_export(found):
            raise NotFound
        return [one.id for one in self.events() if _is_export(one) and _export_of(one) == _export_of(found)]

    async def explain(self, reasons: Sequence[ExportReason]) -> None:
        self.ledger.stamp()
        for one in reasons:
            self.tables.export_reasons.append(one)
            self.ledger.change(Resource.DISCLOSURE, one.event)

    def _of(self, patients: Sequence[PatientId]) -> list[Disclosure]:
        return [one for one in self.tables.disclosures.values() if one.patient in patients]

    def _standing(self) -> list[Disclosure]:
        return [one for one in self.tables.disclosures.values() if one.status is not DisclosureStatus.MISTAKEN]

    def _event(self, event: EventId) -> AuditEvent | None:
        found = (one for one in self.events() if one.id == event and one.outcome is Outcome.SUCCEEDED)
        return next(found, None)

    def _named_by(self, event: AuditEvent) -> frozenset[PatientId]:
        if event.patient is not None:
            return frozenset()
        return frozenset(PatientId(one) for one in event.ids if one in self.tables.patients)

    def _disclosed_by(self, event: AuditEvent) -> frozenset[PatientId]:
        return frozenset(one.patient for one in self._standing() if event.id in one.events)


def _export_of(event: AuditEvent) -> tuple[object, ...]:
    return event.request, event.actor, event.resource, event.patient


def _is_export(event: AuditEvent) -> bool:
    return event.action is Action.EXPORT and event.outcome is Outcome.SUCCEEDED


def _sealed(disclosure: Disclosure) -> Sealed:
    return Sealed(
        resource=Resource.DISCLOSURE, id=disclosure.id, patient=disclosure.patient, version=disclosure.version
    )
