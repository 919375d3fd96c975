"""Appointments and closures in dictionaries."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import date

from clarity.application.admission import Admitted
from clarity.application.ports import Chart, CountedPage, TimePlace
from clarity.domain.access import Scope
from clarity.domain.appointments import Appointment, AppointmentFilter, AppointmentStatus
from clarity.domain.errors import NotFound, Overlapping, StaleWrite
from clarity.domain.ids import ClosureId, PatientId, PractitionerId
from clarity.domain.practice_hours import Span
from clarity.domain.records import Resource, Sealed
from clarity.domain.schedule import Busy, Closure, ClosureStatus
from clarity.persistence.ledger import Ledger
from tests.fakes.charts import MemoryChartRepository, StoredRecord, person_of
from tests.fakes.patients import MemoryTables


def _meets(appointment: Appointment, asked: AppointmentFilter) -> bool:
    return (
        (asked.since is None or appointment.ends_at > asked.since)
        and (asked.until is None or appointment.starts_at < asked.until)
        and (asked.status is None or appointment.status is asked.status)
        and (asked.practitioner is None or appointment.practitioner == asked.practitioner)
        and (asked.series is None or appointment.series == asked.series)
    )


@dataclass(slots=True)
class MemoryAppointmentRepository(MemoryChartRepository[Appointment, AppointmentFilter]):
    """`AppointmentRepository` over `MemoryTables`."""

    resource: Resource = Resource.APPOINTMENT
    participant: str | None = "practitioner"
    meets: Callable[[Appointment, AppointmentFilter], bool] = _meets

    async def hold(self, practitioner: PractitionerId, patient: PatientId) -> None:
        """Nobody else writes meanwhile."""

    async def add(self, admitted: Admitted, entity: Appointment) -> Appointment:
        self._require_free(entity)
        return await MemoryChartRepository.add(self, admitted, entity)

    async def save(self, entity: Appointment) -> Appointment:
        self._require_free(entity)
        return await MemoryChartRepository.save(self, entity)

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
        found = await self.find_counted_page(scope, chart, conditions, after=None, at_most=10_000)
        places = {self.place_of(one): one for one in found.records}
        behind = [place for place in places if after is None or (place < after if latest_first else after < place)]
        page = sorted(behind, reverse=latest_first)[:at_most]
        return CountedPage.of([places[place] for place in page], found.count)

    def place_of(self, record: Sealed) -> TimePlace:
        return TimePlace(self._at(record).starts_at, record.id)

    async def find_of_practitioner(self, practitioner: PractitionerId, span: Span, *, at_most: int) -> list[Sealed]:
        found = [
            self._sealed(versions, Sealed(resource=Resource.PATIENT, id=one.patient, patient=one.patient))
            for versions in self._all.values()
            if (one := versions[-1].entity).practitioner == practitioner and one.span.overlaps(span)
        ]
        return sorted(found, key=self.place_of)[:at_most]

    def standing_as(self, record: Sealed, whose: Sealed) -> Sealed:
        return self._sealed(self._all[record.id], whose)

    def may_be_shown(self, scope: Scope, record: Sealed) -> bool:
        whose = self.tables.patients[person_of(record)][-1]
        return self._covers(scope, self._all[record.id], self.tables.sealed(whose))

    async def booked_of(self, patients: Sequence[PatientId], span: Span) -> list[Busy]:
        return [
            _busy(self.tables, one)
            for one in booked(self.tables)
            if one.patient in patients and one.span.overlaps(span)
        ]

    def _at(self, record: Sealed) -> Appointment:
        versions: tuple[StoredRecord, ...] = self._all[record.id]
        appointment: Appointment = versions[-1].entity
        return appointment

    def _require_free(self, entity: Appointment) -> None:
        if entity.status is not AppointmentStatus.BOOKED:
            return
        for one in booked(self.tables):
            same = one.practitioner == entity.practitioner or one.patient == entity.patient
            if same and one.id != entity.id and one.span.overlaps(entity.span):
                raise Overlapping


def booked(tables: MemoryTables) -> list[Appointment]:
    """Return every appointment that is booked, in order of time."""
    stored = tables.charts.get(Resource.APPOINTMENT, {}).values()
    current = [versions[-1].entity for versions in stored]
    return sorted(
        (one for one in current if one.status is AppointmentStatus.BOOKED), key=lambda one: (one.starts_at, one.id)
    )


@dataclass(slots=True)
class MemoryScheduleRepository:
    """`ScheduleRepository` over `MemoryTables`."""

    tables: MemoryTables
    ledger: Ledger

    async def closures(
        self, first: date, last: date, *, practitioner: PractitionerId | None = None, at_most: int = 500
    ) -> list[Closure]:
        found = [
            one
            for one in self.tables.closures.values()
            if one.status is ClosureStatus.CLOSED and one.first_day <= last and first <= one.last_day
            if practitioner is None or one.practitioner in {None, practitioner}
        ]
        return sorted(found, key=lambda one: (one.first_day, one.id))[:at_most]

    async def find(self, closure: ClosureId) -> Closure:
        if closure not in self.tables.closures:
            raise NotFound
        return self.tables.closures[closure]

    async def add(self, closure: Closure) -> Closure:
        self.ledger.stamp()
        for one in self.tables.closures.values():
            if replace(one, id=closure.id) == closure:
                return one
        self.tables.closures[closure.id] = closure
        self.ledger.change(Resource.SCHEDULE, closure.id)
        return closure

    async def withdraw(self, closure: Closure) -> None:
        if self.tables.closures[closure.id].status is not ClosureStatus.CLOSED:
            raise StaleWrite
        self.tables.closures[closure.id] = replace(closure, status=ClosureStatus.WITHDRAWN)
        self.ledger.change(Resource.SCHEDULE, closure.id)

    async def busy(self, practitioner: PractitionerId | None, span: Span, *, at_most: int) -> list[Busy]:
        found = [one for one in booked(self.tables) if practitioner in {None, one.practitioner}]
        return [_busy(self.tables, one) for one in found if one.span.overlaps(span)][:at_most]


def _busy(tables: MemoryTables, one: Appointment) -> Busy:
    versions = tables.charts[Resource.APPOINTMENT][one.id]
    return Busy(appointment=one.id, span=one.span, changed_at=versions[-1].written_at)
