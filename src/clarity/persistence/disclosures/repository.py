"""The disclosures of one unit of work."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields, replace
from datetime import date
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, and_, exists, func, insert, or_, select, tuple_
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

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
from clarity.persistence.audit import AuditEventRow
from clarity.persistence.disclosures.tables import DisclosureEventRow, DisclosureRow, ExportReasonRow
from clarity.persistence.keys import DataKeys
from clarity.persistence.ledger import Ledger
from clarity.persistence.patients.mapping import PatientTable
from clarity.persistence.patients.tables import PatientRow
from clarity.persistence.records import SealedTable, Written, as_stored
from clarity.persistence.sealing import SealedRecord

_ROWS_AT_A_TIME = 500
_OUTSIDE = frozenset({"id", "patient", "version"})


@dataclass(frozen=True, slots=True, kw_only=True)
class _DisclosureRecord(SealedRecord):
    """A fetched row with what stands beside the seal and inside: the status, and the events."""

    status: str
    events: frozenset[UUID]


class DisclosureTable(SealedTable[Disclosure]):
    """The disclosures. Their events also stand in a table of their own, where the trail is compared with them."""

    def __init__(self, keys: DataKeys) -> None:
        super().__init__(DisclosureRow, Disclosure, Resource.DISCLOSURE, keys, outside=_OUTSIDE)

    def record_with(self, row: Any, events: frozenset[UUID]) -> SealedRecord:
        """Return a fetched row as a record still closed."""
        record = self.record_of(row)
        common = {item.name: getattr(record, item.name) for item in fields(record)}
        return _DisclosureRecord(**common, status=row.status, events=events)

    def open_disclosure(self, record: Sealed) -> Disclosure:
        """Return what is inside, or raise `CannotOpen`: also if what stands beside the seal says otherwise."""
        if not isinstance(record, _DisclosureRecord):
            raise CannotOpen
        opened = self.open(record, id=DisclosureId(record.id), patient=record.patient, version=record.version)
        if (opened.status.value, frozenset(opened.events)) != (record.status, record.events):
            raise CannotOpen
        return opened


@dataclass(frozen=True, slots=True)
class SqlDisclosureRepository:
    """`DisclosureRepository` over one session. Enters in the ledger everything it hands out or writes.

    `decode` reads an event of the trail.
    """

    session: AsyncSession
    patients: PatientTable
    table: DisclosureTable
    ledger: Ledger
    decode: Callable[[bytes], AuditEvent]
    _opened: dict[DisclosureId, tuple[Sealed, Disclosure]] = field(default_factory=dict, init=False)

    async def get(self, patient: PatientId) -> Sealed:
        """Fetch what the policy must know of a patient's disclosures, by way of the patient."""
        record = await self.patients.find(self.session, patient)
        if record is None:
            return Sealed(resource=Resource.DISCLOSURE, id=patient, patient=patient)
        standing = record.standing and replace(record.standing, guarded=False)
        return replace(record, resource=Resource.DISCLOSURE, standing=standing)

    async def find_page(
        self, patients: Sequence[PatientId], *, after: DisclosureId | None, at_most: int
    ) -> list[Sealed]:
        """Return at most `at_most` disclosures recorded before `after`, newest first."""
        statement = self.table.fetched.where(DisclosureRow.patient_id.in_(patients))
        if after is not None:
            statement = statement.where(DisclosureRow.id < after)
        return await self._records(statement.order_by(DisclosureRow.id.desc()).limit(at_most))

    async def count(self, patients: Sequence[PatientId]) -> int:
        """Return how many there are."""
        counted = select(func.count()).select_from(DisclosureRow).where(DisclosureRow.patient_id.in_(patients))
        return int((await self.session.execute(counted)).scalar_one())

    async def find(self, patients: Sequence[PatientId], disclosure: DisclosureId) -> Sealed:
        """Fetch one."""
        one = self.table.fetched.where(DisclosureRow.id == disclosure, DisclosureRow.patient_id.in_(patients))
        found = await self._records(one)
        if not found:
            raise NotFound
        return found[0]

    def open(self, admitted: Admitted, record: Sealed) -> Disclosure:
        """Return the disclosure inside."""
        _require_disclosures(admitted)
        disclosure = self.table.open_disclosure(record)
        self.ledger.disclose(Resource.DISCLOSURE, disclosure.id)
        self._opened[disclosure.id] = record, disclosure
        return disclosure

    async def find_accounted(
        self, admitted: Admitted, patients: Sequence[PatientId], period: AccountingPeriod, *, on: date
    ) -> list[Disclosure]:
        """Return what an accounting given on a day has, the oldest first."""
        _require_disclosures(admitted)
        told: list[Disclosure] = []
        after: DisclosureId | None = None
        while True:
            # All are opened: what stands beside the seal must not be what keeps something out of an accounting.
            found = await self.find_page(patients, after=after, at_most=_ROWS_AT_A_TIME)
            told += accounted_on(map(self.table.open_disclosure, found), period, on)
            if len(found) < _ROWS_AT_A_TIME:
                break
            after = DisclosureId(found[-1].id)
        for one in told:
            self.ledger.disclose(Resource.DISCLOSURE, one.id)
        return sorted(told, key=chronologically)

    async def add(self, admitted: Admitted, disclosure: Disclosure) -> Disclosure:
        """Store one as version 1."""
        key = self.table.key_of(as_stored(admitted))
        written = Written(status=disclosure.status.value)
        await self.table.insert(self.session, self.ledger, key, disclosure.id, disclosure, written)
        await self._link(disclosure.id, disclosure.events)
        return replace(disclosure, version=1)

    async def save(self, disclosure: Disclosure) -> Disclosure:
        """Write the next version of one that this unit of work opened."""
        if disclosure.id not in self._opened:
            raise UnauditedAccess
        record, before = self._opened[disclosure.id]
        if not isinstance(record, SealedRecord) or record.version != disclosure.version:
            raise StaleWrite
        written = Written(status=disclosure.status.value)
        version = await self.table.replace(self.session, self.ledger, record, disclosure, written)
        await self._link(disclosure.id, [event for event in disclosure.events if event not in before.events])
        return replace(disclosure, version=version)

    async def made_by(self, patients: Sequence[PatientId], events: Sequence[EventId]) -> bool:
        """Tell whether all `events` succeeded and may be about these patients."""
        statement = select(AuditEventRow.encoded).where(AuditEventRow.id.in_(events), _succeeded())
        found = [self.decode(encoded) for encoded in await self.session.scalars(statement)]
        named = await self._named_by(found)
        return len(found) == len(set(events)) and all(may_be_about(event, named[event.id], patients) for event in found)

    async def find_unaccounted(self, *, after: EventId | None, at_most: int) -> tuple[list[AuditEvent], EventId | None]:
        """Look at exports without a reason behind `after`, and return those without their disclosures."""
        rows = AuditEventRow
        explained = exists().where(ExportReasonRow.event_id == rows.id)
        disclosed = exists().where(
            DisclosureEventRow.event_id == rows.id,
            DisclosureRow.id == DisclosureEventRow.disclosure_id,
            DisclosureRow.status != DisclosureStatus.MISTAKEN.value,
        )
        # Of one patient, any disclosure will do: that it is theirs is what `find_unfounded` looks at.
        looked_at = or_(rows.patient_id.is_(None), ~disclosed)
        statement = select(rows.encoded).where(_exported(), ~explained, looked_at)
        if after is not None:
            statement = statement.where(rows.id > after)
        encoded = (await self.session.scalars(statement.order_by(rows.id).limit(at_most))).all()
        events = [self.decode(one) for one in encoded]
        named, told = await self._named_by(events), await self._disclosed_by(events)
        found = [one for one in events if one.patient is not None or not accounted(named[one.id], told[one.id])]
        for event in found:
            self.ledger.disclose(Resource.DISCLOSURE, event.id)
        return found, events[-1].id if len(events) == at_most else None

    async def find_unfounded(
        self, *, after: tuple[DisclosureId, EventId] | None, at_most: int
    ) -> tuple[list[Unfounded], tuple[DisclosureId, EventId] | None]:
        """Look at what disclosures claim of the trail behind `after`, and return what it does not say."""
        links, rows = DisclosureEventRow, AuditEventRow
        looked_at = or_(
            rows.id.is_(None), ~_succeeded(), rows.patient_id.is_(None), rows.patient_id != DisclosureRow.patient_id
        )
        statement = (
            select(links.disclosure_id, links.event_id, DisclosureRow.patient_id, rows.encoded, rows.outcome)
            .join(DisclosureRow, DisclosureRow.id == links.disclosure_id)
            .outerjoin(rows, rows.id == links.event_id)
            .where(DisclosureRow.status != DisclosureStatus.MISTAKEN.value, looked_at)
        )
        if after is not None:
            statement = statement.where(tuple_(links.disclosure_id, links.event_id) > tuple_(*after))
        ordered = statement.order_by(links.disclosure_id, links.event_id).limit(at_most)
        claims = (await self.session.execute(ordered)).all()
        events = {row.event_id: self.decode(row.encoded) for row in claims if row.encoded is not None}
        named = await self._named_by(list(events.values()))
        found = []
        for row in claims:
            event = events.get(row.event_id)
            held = event is not None and row.outcome == int(Outcome.SUCCEEDED)
            if event is None or not held or not may_be_about(event, named[event.id], [row.patient_id]):
                about = event.patient if event is not None and held else None
                found.append(Unfounded(DisclosureId(row.disclosure_id), row.event_id, PatientId(row.patient_id), about))
        last = (claims[-1].disclosure_id, claims[-1].event_id) if len(claims) == at_most else None
        return found, last

    async def events_of_export(self, event: EventId) -> list[EventId]:
        """Return all events of an export of which one is `event`."""
        rows, one = AuditEventRow, aliased(AuditEventRow)
        same = and_(
            rows.request_id == one.request_id,
            rows.actor_id == one.actor_id,
            rows.resource == one.resource,
            rows.patient_id.is_not_distinct_from(one.patient_id),
        )
        statement = select(rows.id).join(one, same).where(one.id == event, _exported()).order_by(rows.id)
        found = (await self.session.scalars(statement)).all()
        if event not in found:
            raise NotFound
        return [EventId(each) for each in found]

    async def explain(self, reasons: Sequence[ExportReason]) -> None:
        """Keep why exports are no disclosures to account for."""
        stamp = self.ledger.stamp()
        values = [
            {
                "id": one.id,
                "event_id": one.event,
                "reason": one.reason.number,
                "created_at": stamp.at,
                "created_by": stamp.by,
            }
            for one in reasons
        ]
        await self.session.execute(insert(ExportReasonRow), values)
        for one in reasons:
            self.ledger.change(Resource.DISCLOSURE, one.event)

    async def _records(self, statement: Any) -> list[Sealed]:
        """Return what a statement fetches, with the events of each, in two statements however many there are."""
        rows = (await self.session.execute(statement)).all()
        links = DisclosureEventRow
        linked = await self.session.execute(
            select(links.disclosure_id, links.event_id).where(links.disclosure_id.in_([row.id for row in rows]))
        )
        events: dict[UUID, set[UUID]] = {}
        for link in linked:
            events.setdefault(link.disclosure_id, set()).add(link.event_id)
        return [self.table.record_with(row, frozenset(events.get(row.id, ()))) for row in rows]

    async def _named_by(self, events: Sequence[AuditEvent]) -> dict[EventId, frozenset[PatientId]]:
        """Return the patients that each of `events` names among others."""
        ids = {record for event in events if event.patient is None for record in event.ids}
        known = set[UUID]()
        if ids:
            known.update(await self.session.scalars(select(PatientRow.id).where(PatientRow.id.in_(ids))))
        return {
            event.id: frozenset(PatientId(one) for one in event.ids if event.patient is None and one in known)
            for event in events
        }

    async def _disclosed_by(self, events: Sequence[AuditEvent]) -> dict[EventId, frozenset[PatientId]]:
        """Return the patients of whom a disclosure that stands names each of `events`."""
        links = DisclosureEventRow
        rows = await self.session.execute(
            select(links.event_id, DisclosureRow.patient_id)
            .join(DisclosureRow, DisclosureRow.id == links.disclosure_id)
            .where(links.event_id.in_([event.id for event in events]))
            .where(DisclosureRow.status != DisclosureStatus.MISTAKEN.value)
        )
        told: dict[EventId, set[PatientId]] = {event.id: set() for event in events}
        for row in rows:
            told[row.event_id].add(row.patient_id)
        return {event: frozenset(patients) for event, patients in told.items()}

    async def _link(self, disclosure: DisclosureId, events: Sequence[EventId]) -> None:
        if events:
            values = [{"disclosure_id": disclosure, "event_id": event} for event in events]
            await self.session.execute(insert(DisclosureEventRow), values)


def _require_disclosures(admitted: Admitted) -> None:
    """Raise `CannotOpen` unless somebody was admitted to the disclosures of a patient, and not to something else."""
    if as_stored(admitted).resource is not Resource.DISCLOSURE:
        raise CannotOpen


def _succeeded() -> ColumnElement[bool]:
    succeeded: ColumnElement[bool] = AuditEventRow.outcome == int(Outcome.SUCCEEDED)
    return succeeded


def _exported() -> ColumnElement[bool]:
    return and_(AuditEventRow.action == int(Action.EXPORT), _succeeded())
