"""The records in charts: each kind has a table of its own, and all else is the same for every kind."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import reduce
from operator import and_ as intersection
from time import perf_counter
from typing import Any, Generic, NamedTuple, TypeVar
from uuid import UUID

from sqlalchemy import ColumnElement, Select, func, insert, literal_column, select
from sqlalchemy.ext.asyncio import AsyncSession

from clarity.application.admission import Admitted, Shown
from clarity.application.pages import COUNTED_EXACTLY
from clarity.application.ports import Chart, Clock, CountedPage, RecordRevision, UncountedPage
from clarity.application.ports.charts import LOOKED_THROUGH
from clarity.domain.access import Consent, Reason, Scope
from clarity.domain.charts import ChartRecord
from clarity.domain.errors import CannotOpen, NotFound, StaleWrite, UnauditedAccess
from clarity.domain.ids import PatientId, PractitionerId
from clarity.domain.records import DRAFT, TOMBSTONE, Label, Resource, Sealed, Standing
from clarity.persistence.keys import DataKeyRow, DataKeys, wrapped_key
from clarity.persistence.ledger import Ledger
from clarity.persistence.patients.mapping import PatientTable
from clarity.persistence.records import SealedTable, Written, as_stored, opens
from clarity.persistence.scopes import in_chart
from clarity.persistence.sealing import SealedRecord
from clarity.persistence.tables import table_of

Entity = TypeVar("Entity", bound=ChartRecord)
Conditions = TypeVar("Conditions")

_ROWS_AT_A_TIME = 500
# To open as many takes a few milliseconds, in which nobody else is answered.
_ROWS_IN_A_STEP = 100
# As much is fetched at once of records that are read through, which may be as large as a note.
_BYTES_AT_A_TIME = 1_000_000
_STEP_SECONDS = 0.002
_OUTSIDE = frozenset({"id", "patient", "version", "notice"})


@dataclass(frozen=True, slots=True, kw_only=True)
class SealedChartRecord(SealedRecord):
    """A fetched row, with its status, what else of it stands outside the seal, and the record of whose it is."""

    status: str
    beside: Sequence[Any] = ()
    whose: SealedRecord | None = None


class ChartTable(SealedTable[Entity], Generic[Entity, Conditions]):
    """The table of one kind of record in charts.

    `rows` has the columns of `SealedColumns` and `patient_id`. What the policy must know of the patient comes with
    their own record, by a statement before; with the row comes what is its own. A kind that has further columns names
    them in `beside`, and says in `outside_of` and `written` how they and the entity depend on each other.
    """

    def __init__(
        self,
        rows: Any,
        entity: type[Entity],
        resource: Resource,
        keys: DataKeys,
        *,
        outside: frozenset[str] = frozenset(),
    ) -> None:
        """Seal every field of `entity` but those that all charts keep outside, and those in `outside`."""
        super().__init__(rows, entity, resource, keys, outside=_OUTSIDE | outside)
        shape: Any = entity
        self._has_author = any(item.name == "author" for item in fields(shape))

    def fetching(self, owner: Any, now: Clock) -> Select[Any]:
        """Return the statement that fetches records, with the keys to open them."""
        del now
        rows = self.rows
        participant = literal_column("NULL") if rows.participant is None else getattr(rows, rows.participant)
        return (
            select(
                rows.id,
                owner,
                rows.status,
                rows.guarded,
                rows.version,
                rows.sealed,
                rows.key_generation,
                rows.created_by,
                rows.updated_at,
                rows.updated_by,
                DataKeyRow.kek_generation,
                DataKeyRow.wrapped,
                participant.label("participant"),
                *self.beside,
            )
            .select_from(rows)
            .outerjoin(DataKeyRow, opens(owner, rows.key_generation))
        )

    def record_of(self, row: Any) -> SealedChartRecord:
        """Return a fetched row as a record still closed, to stand as far as the row itself tells."""
        (
            row_id,
            owner,
            status,
            guarded,
            version,
            sealed,
            generation,
            created_by,
            updated_at,
            updated_by,
            kek_generation,
            wrapped,
            participant,
            *beside,
        ) = row
        patient = PatientId(owner)
        return SealedChartRecord(
            resource=self.resource,
            id=row_id,
            patient=patient,
            standing=Standing(
                author=created_by if self.rows.authored else None,
                guarded=guarded,
                deleted=status == TOMBSTONE,
                participants=frozenset() if participant is None else frozenset({PractitionerId(participant)}),
                draft=self.rows.drafted and status == DRAFT,
            ),
            version=version,
            ciphertext=sealed,
            wrapped=wrapped_key(patient, generation, kek_generation, wrapped),
            written_at=updated_at,
            written_by=updated_by,
            status=status,
            beside=beside,
        )

    def chosen(self, conditions: Conditions) -> Iterable[ColumnElement[bool]]:
        """Return what `conditions` ask of columns."""
        del conditions
        return ()

    def outside_of(self, record: SealedChartRecord) -> dict[str, Any]:
        """Return the fields of the entity that are not sealed."""
        return {"id": record.id, "patient": record.patient, "version": record.version}

    def written(self, entity: Entity) -> Written:
        """Return what is written of `entity` beside the seal."""
        return Written(status=entity.status, label=entity.label)

    def open_entity(self, record: SealedChartRecord) -> Entity:
        """Return what is inside, or raise `CannotOpen`: also if what stands beside the seal says otherwise."""
        entity = self.open_version(record)
        if entity.status != record.status:
            raise CannotOpen
        return entity

    def open_version(self, record: SealedChartRecord) -> Entity:
        """Return what is inside a present or earlier version, or raise `CannotOpen`: also if another made the row."""
        entity: Any = self.open(record, **self.outside_of(record))
        if self._has_author and (record.standing is None or entity.author != record.standing.author):
            raise CannotOpen
        opened: Entity = entity
        return opened

    def authored(self, entity: Entity, author: UUID | None) -> Entity:
        """Return a new record with who makes it, if its kind tells."""
        if not self._has_author:
            return entity
        made: Any = entity
        return entity if made.author == author else _changed(entity, author=author)


class _Opened(NamedTuple):
    """What this unit of work opened: the record, the row it came from, and how it was admitted."""

    entity: Any
    record: SealedChartRecord
    admitted: Admitted


@dataclass(frozen=True, slots=True)
class SqlChartRepository(Generic[Entity, Conditions]):
    """`ChartRepository` over one session. Enters in the ledger everything it hands out or writes."""

    session: AsyncSession
    patients: PatientTable
    table: ChartTable[Entity, Conditions]
    ledger: Ledger
    _opened: dict[UUID, _Opened] = field(default_factory=dict, init=False)
    _labels: dict[tuple[PatientId, int], Label] = field(default_factory=dict, init=False)
    _consents: dict[tuple[PatientId, int], tuple[Consent, ...]] = field(default_factory=dict, init=False)

    @property
    def resource(self) -> Resource:
        """The kind."""
        return self.table.resource

    async def get(self, whose: Sealed, record: UUID) -> Sealed:
        """Fetch one record by its id, to stand as the patient's record does."""
        found = await self.table.find(self.session, record)
        if not isinstance(found, SealedChartRecord) or not isinstance(whose, SealedRecord):
            return Sealed(resource=self.resource, id=record, patient=whose.patient)
        return standing_as(found, whose)

    def new(self, whose: Sealed, record: UUID, label: Label, author: UUID) -> Sealed:
        """Return how a record that is about to be made will stand."""
        if not isinstance(whose, SealedRecord) or whose.standing is None:
            return Sealed(resource=self.resource, id=record, patient=whose.patient)
        common = {item.name: getattr(whose, item.name) for item in fields(SealedRecord)}
        common |= {"resource": self.resource, "id": record, "version": 0, "ciphertext": b""}
        standing = Standing(author=author if self.table.rows.authored else None, guarded=label is not Label.NORMAL)
        return standing_as(SealedChartRecord(**common | {"standing": standing}, status=""), whose)

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
        """Return some records of a chart that `scope` covers, and how many there are in all."""
        asked = self._asked(scope, chart, conditions)
        enough = COUNTED_EXACTLY + 1
        judged = self._judged(scope, chart, asked, provided)
        if provided is not None or (chart.whose.standing is not None and chart.whose.standing.guarded):
            # Each has to be opened to tell: what is behind the page is counted on the way.
            found, count = list[Sealed](), 0
            async for record in judged(None):
                count += 1
                if len(found) < at_most and (after is None or record.id < after):
                    found.append(record)
                if count >= enough and len(found) == at_most:
                    break
            return CountedPage.of(found, count)
        page = list[Sealed]()
        async for record in judged(after, at_once=at_most):
            page.append(record)
            if len(page) == at_most:
                break
        return CountedPage.of(page, await self._count(scope, asked, judged, enough))

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
        """Return some records of a chart that `scope` covers, after looking through no more than is bearable."""
        whose, rows = as_fetched(chart.whose), self.table.rows
        asked = self._asked(scope, chart, conditions)
        found, looked, place = list[Sealed](), 0, after
        size = at_most + 1 if provided is None else _ROWS_IN_A_STEP
        while looked < LOOKED_THROUGH:
            behind = [] if place is None else [rows.id < place]
            some = self.table.fetched.where(*asked, *behind).order_by(rows.id.desc()).limit(size)
            fetched = (await self.session.execute(some)).all()
            for row in fetched:
                record = standing_as(self.table.record_of(row), whose)
                place = record.id
                # What is kept from somebody must not show by what a page lacks, nor by where it ends.
                if not self._may_be_shown(scope, record, None):
                    continue
                if len(found) == at_most:
                    return UncountedPage(records=found, resume=after)
                after, looked = record.id, looked + 1
                if provided is None or self._may_be_shown(scope, record, provided):
                    found.append(record)
            if len(fetched) < size:
                return UncountedPage(records=found)
        return UncountedPage(records=found, resume=after)

    async def read_through(self, scope: Scope, chart: Chart) -> AsyncGenerator[tuple[Sealed, Entity | None]]:
        """Open the records of a chart that `scope` covers, one after the other, the latest recorded first."""
        async for record in self._each(as_fetched(chart.whose), self._in_chart(scope, chart)):
            entity = self._legible(record)
            # What is searched is judged by the label inside: the bit beside the seal is whoever writes the table's.
            if entity is None or self._is_covered(scope, record, entity.label):
                yield record, entity

    async def _each(
        self, whose: SealedRecord, asked: Sequence[ColumnElement[bool]]
    ) -> AsyncGenerator[SealedChartRecord]:
        """Yield the records that are `asked` for, the latest first: few megabytes at once, and others are answered."""
        rows = self.table.rows
        async for first, last in self._stretches(asked):
            some = self.table.fetched.where(*asked, rows.id <= first, rows.id >= last).order_by(rows.id.desc())
            rested = perf_counter()
            for row in (await self.session.execute(some)).all():
                yield standing_as(self.table.record_of(row), whose)
                if perf_counter() - rested > _STEP_SECONDS:
                    await asyncio.sleep(0)
                    rested = perf_counter()

    async def _stretches(self, asked: Sequence[ColumnElement[bool]]) -> AsyncIterator[tuple[UUID, UUID]]:
        """Yield the first and last ids of what is fetched at once, from the latest on: by how large the rows are."""
        rows, behind = self.table.rows, list[ColumnElement[bool]]()
        while True:
            sizes = select(rows.id, func.length(rows.sealed)).where(*asked, *behind).order_by(rows.id.desc())
            listed = (await self.session.execute(sizes.limit(_ROWS_AT_A_TIME))).all()
            first, together = None, 0
            for row_id, size in listed:
                together += size
                first = first or row_id
                if together >= _BYTES_AT_A_TIME:
                    yield first, row_id
                    first, together = None, 0
            if first is not None:
                yield first, listed[-1].id
            if len(listed) < _ROWS_AT_A_TIME:
                return
            behind = [rows.id < listed[-1].id]

    def _legible(self, record: SealedChartRecord) -> Entity | None:
        try:
            return self.table.open_entity(record)
        except CannotOpen:
            return None

    def _asked(self, scope: Scope, chart: Chart, conditions: Conditions) -> list[ColumnElement[bool]]:
        return [*self._in_chart(scope, chart), *self.table.chosen(conditions)]

    def _in_chart(self, scope: Scope, chart: Chart) -> list[ColumnElement[bool]]:
        rows = self.table.rows
        return [rows.patient_id.in_(chart.patients), in_chart(scope, rows, chart.whose)]

    async def _count(self, scope: Scope, asked: Sequence[Any], judged: Any, enough: int) -> int:
        """Return how many there are, those that are guarded opened to tell, or stop where there are `enough`."""
        rows = self.table.rows
        some = select(rows.id).where(*asked, rows.guarded.is_(False)).limit(enough).subquery()
        count: int = (await self.session.execute(select(func.count()).select_from(some))).scalar_one()
        if not scope.right.guarded or count >= enough:
            return count
        async for _ in judged(None, rows.guarded.is_(True)):
            count += 1
            if count == enough:
                break
        return count

    def _judged(
        self, scope: Scope, chart: Chart, asked: Sequence[Any], provided: Callable[[Entity], bool] | None
    ) -> Callable[..., AsyncIterator[SealedChartRecord]]:
        """Return what yields the records behind one, the latest recorded first, that are for whom `scope` is of.

        Of `at_once` records it is expected that all are: they are fetched without a look at how large they are.
        """
        whose, rows = as_fetched(chart.whose), self.table.rows

        async def yielded(after: UUID | None, *more: Any, at_once: int = 0) -> AsyncIterator[SealedChartRecord]:
            conditions = [*asked, *more]
            if at_once:
                behind = [] if after is None else [rows.id < after]
                some = self.table.fetched.where(*conditions, *behind).order_by(rows.id.desc()).limit(at_once)
                fetched = [standing_as(self.table.record_of(row), whose) for row in await self.session.execute(some)]
                for record in fetched:
                    if self._may_be_shown(scope, record, provided):
                        yield record
                if len(fetched) < at_once:
                    return
                after = fetched[-1].id
            if after is not None:
                conditions.append(rows.id < after)
            async for record in self._each(whose, conditions):
                if self._may_be_shown(scope, record, provided):
                    yield record

        return yielded

    def _may_be_shown(self, scope: Scope, record: SealedChartRecord, provided: Callable[[Entity], bool] | None) -> bool:
        """Tell whether exact labels let `scope` cover a record that is as `provided`; `True` if it does not open."""
        try:
            if record.standing is not None and record.standing.guarded and not self.covers(scope, record):
                return False
            return provided is None or provided(self.table.open_entity(record))
        except CannotOpen:
            return True

    def covers(self, scope: Scope, record: SealedChartRecord) -> bool:
        """Tell whether `scope` covers a record by its exact labels, or raise `CannotOpen`."""
        return self._is_covered(scope, record, self.table.label_of(record))

    def _is_covered(self, scope: Scope, record: SealedChartRecord, label: Label) -> bool:
        """Tell whether `scope` covers a record that has `label`, and whose patient has theirs."""
        consents = self._consents_of(record)
        return all(scope.after_opening(record, one, consents).allowed for one in self._deciding(record, label))

    def open(self, admitted: Admitted) -> Entity:
        """Return the record inside."""
        record = _as_chart_record(admitted)
        entity = self.table.open_entity(record)
        shown = self._shown(admitted, record, entity.label)
        self.ledger.disclose(self.resource, record.id)
        self._opened[record.id] = _Opened(entity, record, admitted)
        return _with_notice(entity, shown)

    async def add(self, admitted: Admitted, entity: Entity) -> Entity:
        """Store a record that was admitted as `new` as version 1."""
        record = _as_chart_record(admitted)
        shown = self._shown(admitted, record, entity.label)
        key = self.table.key_of(record)
        entity = self.table.authored(entity, record.standing.author if record.standing is not None else None)
        await self.table.insert(self.session, self.ledger, key, entity.id, entity, self.table.written(entity))
        return _with_notice(_changed(entity, version=1), shown)

    async def save(self, entity: Entity) -> Entity:
        """Write the next version of a record that this unit of work opened."""
        opened = self._opened.get(entity.id)
        if opened is None:
            raise UnauditedAccess
        if opened.record.version != entity.version:
            raise StaleWrite
        shown = self._shown(opened.admitted, opened.record, entity.label)
        version = await self.table.replace(self.session, self.ledger, opened.record, entity, self.table.written(entity))
        return _with_notice(_changed(entity, version=version), shown)

    async def get_some(self, whose: Sealed, records: Sequence[UUID]) -> list[Sealed]:
        """Fetch some records by their ids, to stand as the patient's record does."""
        found: list[Sealed] = []
        for start in range(0, len(records), _ROWS_AT_A_TIME):
            some = await self.table.find_some(self.session, sorted(records[start : start + _ROWS_AT_A_TIME]))
            found += (standing_as(one, as_fetched(whose)) for one in map(_as_chart_row, some.values()))
        return found

    async def add_some(self, admitted: Sequence[Admitted], entities: Sequence[Entity]) -> None:
        """Store records that were admitted as `new` as version 1, in one statement."""
        rows = []
        for one, entity in zip(admitted, entities, strict=True):
            record = _as_chart_record(one)
            self._shown(one, record, entity.label)
            made = self.table.authored(entity, record.standing.author if record.standing is not None else None)
            key, beside = self.table.key_of(record), self.table.written(made)
            rows.append(self.table.new_row(self.ledger, key, made.id, made, beside))
        if rows:
            await self.session.execute(insert(table_of(self.table.rows)), rows)

    async def follow(self, entity: Entity) -> Entity:
        """Write what the source of an imported record says of it now as its next version."""
        return await SqlChartRepository.save(self, entity)

    async def history(
        self, admitted: Admitted, *, before: int | None = None, at_most: int = 50
    ) -> Sequence[RecordRevision[Entity]]:
        """Return the versions of the admitted record below `before`, the newest first."""
        current = _as_chart_record(admitted)
        self._shown(admitted, current, self.table.label_of(current))
        revisions: list[RecordRevision[Entity]] = []
        withheld: set[Reason] = set()
        while wanted := at_most - len(revisions):
            records = await self.table.versions(self.session, current, before=before, at_most=wanted)
            for record in records:
                revision = self._revision(admitted, record)
                if isinstance(revision, Reason):
                    withheld.add(revision)
                else:
                    revisions.append(revision)
            if len(records) < wanted:
                break
            before = records[-1].version
        for reason in sorted(withheld):
            self.ledger.note(admitted.withheld(reason))
        self.ledger.disclose(self.resource, current.id)
        return revisions

    def _revision(self, admitted: Admitted, record: SealedRecord) -> RecordRevision[Entity] | Reason:
        """Return a version, or why its own label forbids it."""
        if not isinstance(record, SealedChartRecord):
            raise CannotOpen
        entity = self.table.open_version(record)
        decisions = [
            admitted.judged(label, self._consents_of(record)) for label in self._deciding(record, entity.label)
        ]
        for decision in decisions:
            if not decision.allowed:
                return decision.reason
        shown = self._shown(admitted, record, entity.label)
        return RecordRevision(
            record=_with_notice(entity, shown),
            version=record.version,
            written_at=record.written_at,
            written_by=record.written_by,
        )

    def _shown(self, admitted: Admitted, record: SealedChartRecord, label: Label) -> Shown:
        """Return what may be shown of a record of `label`, or raise `NotFound` if it or its patient's forbids that."""
        consents = self._consents_of(record)
        labels = self._deciding(record, label)
        shown = [admitted.check_label(one, consents) for one in labels]
        notices = (one.notice for one in shown if one.notice is not None)
        return Shown(reduce(intersection, (one.fields for one in shown)), next(notices, None))

    def _deciding(self, record: SealedChartRecord, label: Label) -> tuple[Label, ...]:
        """Return the labels that decide of a record that has `label`: that, and its patient's."""
        return tuple(dict.fromkeys((label, self._label_of_patient(record))))

    def _consents_of(self, record: SealedChartRecord) -> Callable[[], tuple[Consent, ...]]:
        """Return what opens the consents that came with the patient's record, once for all of a chart."""

        def opened() -> tuple[Consent, ...]:
            register = record.consents
            if register is None:
                return ()
            place = register.patient, register.version
            if place not in self._consents:
                self._consents[place] = self.table.register_in(record).consents
            return self._consents[place]

        return opened

    def _label_of_patient(self, record: SealedChartRecord) -> Label:
        whose = record.whose
        if whose is None:
            raise CannotOpen
        place = whose.patient, whose.version
        if place not in self._labels:
            self._labels[place] = self.patients.label_of(whose)
        return self._labels[place]


def standing_as(record: SealedChartRecord, whose: SealedRecord) -> SealedChartRecord:
    """Return a record of the patient `whose` record it is, or whose merged record it was, to stand as theirs does."""
    standing, own = whose.standing, record.standing
    if standing is None or own is None:
        return replace(record, standing=None, whose=whose)
    return replace(
        record,
        whose=whose,
        consents=whose.consents,
        standing=replace(
            own,
            care_team=standing.care_team,
            emergencies=standing.emergencies,
            guarded=own.guarded or standing.guarded,
            deleted=own.deleted or standing.deleted,
            person=whose.patient,
        ),
    )


def as_fetched(whose: Sealed) -> SealedRecord:
    """Return a patient's record as this package fetched it, or raise `NotFound` if there is none."""
    if not isinstance(whose, SealedRecord):
        raise NotFound
    return whose


def _as_chart_record(admitted: Admitted) -> SealedChartRecord:
    return _as_chart_row(as_stored(admitted))


def _as_chart_row(record: SealedRecord) -> SealedChartRecord:
    if not isinstance(record, SealedChartRecord):
        raise CannotOpen
    return record


def _with_notice(entity: Entity, shown: Shown) -> Entity:
    return entity if shown.notice is entity.notice else _changed(entity, notice=shown.notice)


def _changed(entity: Entity, **changes: Any) -> Entity:
    shape: Any = entity
    changed: Entity = replace(shape, **changes)
    return changed
