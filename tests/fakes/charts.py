"""Records in charts, of whatever kind, in dictionaries."""

from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Generic, TypeVar
from uuid import UUID

from clarity.application.admission import Admitted, Shown
from clarity.application.ports import Chart, CountedPage, RecordRevision, UncountedPage
from clarity.application.ports.charts import LOOKED_THROUGH
from clarity.domain.access import Consent, Scope, decide
from clarity.domain.charts import ChartRecord
from clarity.domain.errors import CannotOpen, StaleWrite, UnauditedAccess
from clarity.domain.ids import PatientId, PractitionerId
from clarity.domain.records import DRAFT, TOMBSTONE, Label, Resource, Sealed, Standing
from clarity.persistence.ledger import Ledger
from tests.fakes.patients import MemoryTables

Entity = TypeVar("Entity", bound=ChartRecord)
Conditions = TypeVar("Conditions")


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredRecord:
    """One version of a record as the memory keeps it."""

    entity: Any
    author: UUID
    written_at: datetime
    written_by: UUID


@dataclass(slots=True)
class MemoryChartRepository(Generic[Entity, Conditions]):
    """`ChartRepository` over `MemoryTables`.

    `participant` names the attribute with the practitioner whom a record is about; `meets` tells whether one meets the
    conditions; records are `drafted` if their author alone sees those that are not finished.
    """

    tables: MemoryTables
    ledger: Ledger
    resource: Resource
    drafted: bool = False
    participant: str | None = None
    meets: Callable[[Entity, Any], bool] = lambda _entity, _conditions: True
    _opened: dict[UUID, tuple[Any, Admitted]] = field(default_factory=dict)

    async def get(self, whose: Sealed, record: UUID) -> Sealed:
        versions = self._all.get(record)
        if versions is None or whose.standing is None:
            return Sealed(resource=self.resource, id=record, patient=whose.patient)
        return self._sealed(versions, whose)

    def new(self, whose: Sealed, record: UUID, label: Label, author: UUID) -> Sealed:
        if whose.standing is None:
            return Sealed(resource=self.resource, id=record, patient=whose.patient)
        guarded = label is not Label.NORMAL or whose.standing.guarded
        standing = replace(whose.standing, author=author, guarded=guarded, person=whose.patient)
        return Sealed(resource=self.resource, id=record, patient=whose.patient, standing=standing)

    async def find_counted_page(
        self,
        scope: Scope,
        chart: Chart,
        conditions: Conditions,
        *,
        provided: Callable[[Entity], bool] | None = None,
        after: UUID | None,
        at_most: int,
    ) -> CountedPage:
        found = [
            self._sealed(versions, chart.whose)
            for versions in self._asked(scope, chart, conditions)
            if provided is None or provided(versions[-1].entity)
        ]
        page = [one for one in found if after is None or one.id < after][:at_most]
        return CountedPage.of(page, len(found))

    async def find_page(
        self,
        scope: Scope,
        chart: Chart,
        conditions: Conditions,
        *,
        provided: Callable[[Entity], bool] | None = None,
        after: UUID | None,
        at_most: int,
    ) -> UncountedPage:
        behind = [
            versions
            for versions in self._asked(scope, chart, conditions)
            if after is None or versions[-1].entity.id < after
        ]
        found: list[Sealed] = []
        for versions in behind[:LOOKED_THROUGH]:
            if len(found) == at_most:
                return UncountedPage(records=found, resume=after)
            after = versions[-1].entity.id
            if provided is None or provided(versions[-1].entity):
                found.append(self._sealed(versions, chart.whose))
        return UncountedPage(records=found, resume=after if len(behind) > LOOKED_THROUGH else None)

    async def read_through(self, scope: Scope, chart: Chart) -> AsyncGenerator[tuple[Sealed, Entity | None]]:
        for versions in self._in_chart(scope, chart):
            entity = versions[-1].entity
            yield self._sealed(versions, chart.whose), None if entity.patient in self.tables.broken else entity

    def open(self, admitted: Admitted) -> Entity:
        versions = self._all[admitted.record.id]
        entity: Entity = versions[-1].entity
        if entity.patient in self.tables.broken:
            raise CannotOpen
        shown = self._shown(admitted, entity.label)
        self.ledger.disclose(self.resource, entity.id)
        self._opened[entity.id] = entity, admitted
        return _with(entity, notice=shown.notice)

    async def add(self, admitted: Admitted, entity: Entity) -> Entity:
        shown = self._shown(admitted, entity.label)
        return _with(self._write(entity, version=1), notice=shown.notice)

    async def save(self, entity: Entity) -> Entity:
        if entity.id not in self._opened:
            raise UnauditedAccess
        before, admitted = self._opened[entity.id]
        current = self._all[entity.id][-1].entity
        if not before.version == current.version == entity.version:
            raise StaleWrite
        shown = self._shown(admitted, entity.label)
        return _with(self._write(entity, version=entity.version + 1), notice=shown.notice)

    async def get_some(self, whose: Sealed, records: Sequence[UUID]) -> Sequence[Sealed]:
        return [self._sealed(self._all[one], whose) for one in records if one in self._all]

    async def add_some(self, admitted: Sequence[Admitted], entities: Sequence[Entity]) -> None:
        for one, entity in zip(admitted, entities, strict=True):
            await self.add(one, entity)

    async def follow(self, entity: Entity) -> Entity:
        return await MemoryChartRepository.save(self, entity)

    async def history(
        self, admitted: Admitted, *, before: int | None = None, at_most: int = 50
    ) -> Sequence[RecordRevision[Entity]]:
        versions = self._all[admitted.record.id]
        self._shown(admitted, versions[-1].entity.label)
        self.ledger.disclose(self.resource, admitted.record.id)
        revisions: list[RecordRevision[Entity]] = []
        withheld = set()
        for stored in reversed(versions):
            entity = stored.entity
            if len(revisions) == at_most or (before is not None and entity.version >= before):
                continue
            decisions = [
                admitted.judged(label, self._consents(admitted.record))
                for label in self._labels(admitted.record, entity)
            ]
            if refused := [one.reason for one in decisions if not one.allowed]:
                withheld.add(refused[0])
                continue
            notice = self._shown(admitted, entity.label).notice
            revisions.append(
                RecordRevision(
                    record=_with(entity, notice=notice),
                    version=entity.version,
                    written_at=stored.written_at,
                    written_by=stored.written_by,
                )
            )
        for reason in sorted(withheld):
            self.ledger.note(admitted.withheld(reason))
        return revisions

    @property
    def _all(self) -> dict[UUID, tuple[StoredRecord, ...]]:
        return self.tables.charts.setdefault(self.resource, {})

    def _asked(self, scope: Scope, chart: Chart, conditions: Conditions) -> list[tuple[StoredRecord, ...]]:
        """Return the records of a chart that the scope covers and that meet the conditions, the latest first."""
        return [one for one in self._in_chart(scope, chart) if self.meets(one[-1].entity, conditions)]

    def _in_chart(self, scope: Scope, chart: Chart) -> list[tuple[StoredRecord, ...]]:
        return [
            versions
            for _, versions in sorted(self._all.items(), reverse=True)
            if versions[-1].entity.patient in chart.patients and self._covers(scope, versions, chart.whose)
        ]

    def _write(self, entity: Entity, *, version: int) -> Entity:
        stamp = self.ledger.stamp()
        before = self._all.get(entity.id, ())
        author = before[0].author if before else stamp.by
        saved: Entity = _with(entity, version=version)
        if hasattr(saved, "author"):
            saved = _with(saved, author=author)
        now = StoredRecord(entity=saved, author=author, written_at=stamp.at, written_by=stamp.by)
        self._all[entity.id] = (*before, now)
        self.ledger.change(self.resource, entity.id, version=version)
        return saved

    def _sealed(self, versions: tuple[StoredRecord, ...], whose: Sealed) -> Sealed:
        entity, standing = versions[-1].entity, whose.standing or Standing(deleted=True)
        about: PractitionerId | None = getattr(entity, self.participant) if self.participant else None
        return Sealed(
            resource=self.resource,
            id=entity.id,
            patient=entity.patient,
            version=entity.version,
            standing=replace(
                standing,
                author=versions[0].author,
                guarded=entity.label is not Label.NORMAL or standing.guarded,
                deleted=entity.status == TOMBSTONE or standing.deleted,
                participants=frozenset() if about is None else frozenset({about}),
                draft=self.drafted and entity.status == DRAFT,
                person=whose.patient,
            ),
        )

    def _covers(self, scope: Scope, versions: tuple[StoredRecord, ...], whose: Sealed) -> bool:
        record, entity = self._sealed(versions, whose), versions[-1].entity
        if not decide(scope, record).allowed:
            return False
        if entity.patient in self.tables.broken:
            return True
        consents = self._consents(record)
        return all(scope.after_opening(record, label, consents).allowed for label in self._labels(record, entity))

    def _labels(self, record: Sealed, entity: Entity) -> tuple[Label, ...]:
        return tuple(dict.fromkeys((entity.label, self._label_of_patient(record))))

    def _label_of_patient(self, record: Sealed) -> Label:
        return self.tables.patients[person_of(record)][-1].patient.label

    def _consents(self, record: Sealed) -> Callable[[], tuple[Consent, ...]]:
        return self.tables.consents_of(person_of(record))

    def _shown(self, admitted: Admitted, label: Label) -> Shown:
        record = admitted.record
        labels = dict.fromkeys((label, self._label_of_patient(record)))
        shown = [admitted.check_label(one, self._consents(record)) for one in labels]
        return next((one for one in shown if one.notice is not None), shown[0])


def person_of(record: Sealed) -> PatientId:
    standing = record.standing
    return record.patient if standing is None or standing.person is None else standing.person


def _with(entity: Entity, **changes: Any) -> Entity:
    shape: Any = entity
    changed: Entity = replace(shape, **changes)
    return changed
