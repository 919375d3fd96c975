"""Appointments in order of time, and when practitioners are booked or not there."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import Any

from sqlalchemy import ColumnElement, and_, func, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from clarity.application.ports import Chart, CountedPage, TimePlace
from clarity.domain.access import Scope
from clarity.domain.appointments import Appointment, AppointmentFilter, AppointmentStatus
from clarity.domain.errors import CannotOpen, NotFound
from clarity.domain.ids import AppointmentId, ClosureId, PatientId, PractitionerId
from clarity.domain.practice_hours import Span
from clarity.domain.records import Resource, Sealed
from clarity.domain.schedule import Busy, Closure, ClosureStatus
from clarity.persistence.appointments.tables import AppointmentRow, ClosureRow
from clarity.persistence.charts import ChartTable, SealedChartRecord, SqlChartRepository, as_fetched, standing_as
from clarity.persistence.direct import on_postgresql
from clarity.persistence.keys import DataKeys
from clarity.persistence.ledger import Ledger
from clarity.persistence.records import Written
from clarity.persistence.scopes import in_chart
from clarity.persistence.tables import write_one

_ENOUGH_TO_COUNT = 1_001
_ROWS_AT_A_TIME = 500
_MOST_BOOKED = 10_000
# Of an appointment that is longer, which only imports have, the days after the first do not know.
_LOOKED_BACK = timedelta(days=1)
# Any numbers will do that nothing else locks by.
_CLOSING = int.from_bytes(b"closing", "big")


class AppointmentTable(ChartTable[Appointment, AppointmentFilter]):
    """The appointments. What of them stands beside the seal stands within it too, and must be the same."""

    beside = (
        AppointmentRow.practitioner_id,
        AppointmentRow.starts_at,
        AppointmentRow.ends_at,
        AppointmentRow.series_id,
    )

    def __init__(self, keys: DataKeys) -> None:
        super().__init__(AppointmentRow, Appointment, Resource.APPOINTMENT, keys)

    def chosen(self, conditions: AppointmentFilter) -> Iterable[ColumnElement[bool]]:
        """Return what `conditions` ask of columns."""
        rows = AppointmentRow
        if conditions.since is not None:
            yield rows.ends_at > conditions.since
        if conditions.until is not None:
            yield rows.starts_at < conditions.until
        if conditions.status is not None:
            yield rows.status == conditions.status.value
        if conditions.practitioner is not None:
            yield rows.practitioner_id == conditions.practitioner
        if conditions.series is not None:
            yield rows.series_id == conditions.series

    def written(self, entity: Appointment) -> Written:
        """Return what is written of `entity` beside the seal."""
        return Written(status=entity.status, label=entity.label, beside=_beside(entity))

    def open_entity(self, record: SealedChartRecord) -> Appointment:
        """Return what is inside, or raise `CannotOpen`: also if what stands beside the seal says otherwise."""
        entity = super().open_entity(record)
        if tuple(record.beside) != tuple(_beside(entity).values()):
            raise CannotOpen
        return entity


def _beside(entity: Appointment) -> dict[str, Any]:
    return {
        "practitioner_id": entity.practitioner,
        "starts_at": entity.starts_at,
        "ends_at": entity.ends_at,
        "series_id": entity.series,
    }


@dataclass(frozen=True, slots=True)
class SqlAppointmentRepository(SqlChartRepository[Appointment, AppointmentFilter]):
    """`AppointmentRepository` over one session."""

    async def hold(self, practitioner: PractitionerId, patient: PatientId) -> None:
        """Keep others from booking with either, and from closing days, until this unit of work ends.

        Locks of the transaction on PostgreSQL, taken in one order. SQLite needs none: whoever writes there is the only
        one who does.
        """
        if on_postgresql(self.session):
            numbers = sorted(int.from_bytes(one.bytes[8:], signed=True) for one in (practitioner, patient))
            locks = [func.pg_advisory_xact_lock(number) for number in numbers]
            await self.session.execute(select(func.pg_advisory_xact_lock_shared(_CLOSING), *locks))

    async def find_timetable(
        self,
        scope: Scope,
        chart: Chart,
        conditions: AppointmentFilter,
        *,
        after: TimePlace | None,
        at_most: int,
        latest_first: bool = False,
    ) -> CountedPage:
        """Return some appointments of a chart that `scope` covers in order of time, and how many there are in all."""
        rows, whose = AppointmentRow, as_fetched(chart.whose)
        asked = [
            rows.patient_id.in_(chart.patients),
            in_chart(scope, rows, chart.whose),
            *self.table.chosen(conditions),
        ]
        columns = rows.starts_at, rows.id
        order = [one.desc() if latest_first else one.asc() for one in columns]
        page: list[Sealed] = []
        place, size = after, at_most
        while len(page) < at_most:
            behind = list(_behind(place, latest_first=latest_first))
            some = self.table.fetched.where(*asked, *behind).order_by(*order).limit(size)
            fetched = (await self.session.execute(some)).all()
            records = [standing_as(self.table.record_of(row), whose) for row in fetched]
            page += [record for record in records if self._may_be_shown(scope, record, None)]
            if len(fetched) < size:
                break
            place, size = self.place_of(records[-1]), _ROWS_AT_A_TIME
        judged = self._judged(scope, chart, asked, None)
        if whose.standing is not None and whose.standing.guarded:
            count = 0
            async for _ in judged(None):
                count += 1
                if count == _ENOUGH_TO_COUNT:
                    break
        else:
            count = await self._count(scope, asked, judged, _ENOUGH_TO_COUNT)
        return CountedPage.of(page[:at_most], count)

    def place_of(self, record: Sealed) -> TimePlace:
        """Return where a fetched record stands in the order of time."""
        if not isinstance(record, SealedChartRecord):
            raise CannotOpen
        _, starts_at, _, _ = record.beside
        return TimePlace(starts_at, record.id)

    async def find_of_practitioner(self, practitioner: PractitionerId, span: Span, *, at_most: int) -> list[Sealed]:
        """Fetch the appointments with a practitioner within a span, of whichever patients, in order of time."""
        rows = AppointmentRow
        found = await self.session.execute(
            self.table.fetched.where(rows.practitioner_id == practitioner, *_within(span))
            .order_by(rows.starts_at, rows.id)
            .limit(at_most)
        )
        return [self.table.record_of(row) for row in found]

    def standing_as(self, record: Sealed, whose: Sealed) -> Sealed:
        """Return a fetched record to stand as the patient's record `whose` does."""
        if not isinstance(record, SealedChartRecord):
            raise CannotOpen
        return standing_as(record, as_fetched(whose))

    def may_be_shown(self, scope: Scope, record: Sealed) -> bool:
        """Tell whether `scope` covers a record by its exact labels; `True` if it does not open."""
        if not isinstance(record, SealedChartRecord):
            raise CannotOpen
        return self._may_be_shown(scope, record, None)

    async def booked_of(self, patients: Sequence[PatientId], span: Span) -> list[Busy]:
        """Return when any of `patients` is booked within a span, in order of time."""
        return await _booked(self.session, span, AppointmentRow.patient_id.in_(patients))


def _within(span: Span) -> Iterator[ColumnElement[bool]]:
    yield AppointmentRow.starts_at < span.end
    yield AppointmentRow.starts_at > span.start - _LOOKED_BACK
    yield AppointmentRow.ends_at > span.start


def _behind(place: TimePlace | None, *, latest_first: bool) -> Iterator[ColumnElement[bool]]:
    if place is not None:
        rows = AppointmentRow
        then, those = rows.starts_at == place.at, rows.id < place.id if latest_first else rows.id > place.id
        beyond = rows.starts_at < place.at if latest_first else rows.starts_at > place.at
        yield or_(beyond, and_(then, those))


@dataclass(frozen=True, slots=True)
class SqlScheduleRepository:
    """`ScheduleRepository` over one session."""

    session: AsyncSession
    ledger: Ledger

    async def closures(
        self, first: date, last: date, *, practitioner: PractitionerId | None = None, at_most: int = 500
    ) -> list[Closure]:
        """Return the closures that hold on a day from `first` to `last`, in order of days."""
        rows = ClosureRow
        found = select(rows).where(
            rows.status == ClosureStatus.CLOSED.value, rows.last_day >= first, rows.first_day <= last
        )
        if practitioner is not None:
            found = found.where(or_(rows.practitioner_id.is_(None), rows.practitioner_id == practitioner))
        some = await self.session.scalars(found.order_by(rows.first_day, rows.id).limit(at_most))
        return [_to_closure(row) for row in some]

    async def find(self, closure: ClosureId) -> Closure:
        """Return a closure. Raises `NotFound`."""
        row = await self.session.get(ClosureRow, closure)
        if row is None:
            raise NotFound
        return _to_closure(row)

    async def add(self, closure: Closure) -> Closure:
        """Close days, once those who book at this moment have done so, and return the closure."""
        if on_postgresql(self.session):
            await self.session.execute(select(func.pg_advisory_xact_lock(_CLOSING)))
        for one in await self.closures(closure.first_day, closure.last_day, practitioner=closure.practitioner):
            if replace(one, id=closure.id) == closure:
                return one
        stamp = self.ledger.stamp()
        await self.session.execute(
            insert(ClosureRow).values(
                id=closure.id,
                practitioner_id=closure.practitioner,
                first_day=closure.first_day,
                last_day=closure.last_day,
                status=closure.status.value,
                created_at=stamp.at,
                created_by=stamp.by,
                updated_at=stamp.at,
                updated_by=stamp.by,
            )
        )
        self.ledger.change(Resource.SCHEDULE, closure.id)
        return closure

    async def withdraw(self, closure: Closure) -> None:
        """Open the days of a closure again."""
        stamp = self.ledger.stamp()
        await write_one(
            self.session,
            update(ClosureRow)
            .where(ClosureRow.id == closure.id, ClosureRow.status == ClosureStatus.CLOSED.value)
            .values(status=ClosureStatus.WITHDRAWN.value, updated_at=stamp.at, updated_by=stamp.by),
        )
        self.ledger.change(Resource.SCHEDULE, closure.id)

    async def busy(self, practitioner: PractitionerId | None, span: Span, *, at_most: int) -> list[Busy]:
        """Return when a practitioner is booked within a span, in order of time; `None` asks of all of them."""
        whose = [] if practitioner is None else [AppointmentRow.practitioner_id == practitioner]
        return await _booked(self.session, span, *whose, at_most=at_most)


async def _booked(
    session: AsyncSession, span: Span, *conditions: ColumnElement[bool], at_most: int = _MOST_BOOKED
) -> list[Busy]:
    rows = AppointmentRow
    booked = (
        select(rows.id, rows.starts_at, rows.ends_at, rows.updated_at)
        .where(rows.status == AppointmentStatus.BOOKED.value, *_within(span), *conditions)
        .order_by(rows.starts_at, rows.id)
        .limit(at_most)
    )
    return [
        Busy(appointment=AppointmentId(row.id), span=Span(row.starts_at, row.ends_at), changed_at=row.updated_at)
        for row in await session.execute(booked)
    ]


def _to_closure(row: ClosureRow) -> Closure:
    return Closure(
        id=ClosureId(row.id),
        first_day=row.first_day,
        last_day=row.last_day,
        practitioner=None if row.practitioner_id is None else PractitionerId(row.practitioner_id),
        status=ClosureStatus(row.status),
    )
