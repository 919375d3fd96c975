"""Where appointments are kept, and when practitioners are there and when they are not."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Protocol
from uuid import UUID

from clarity.application.ports.charts import Chart, ChartRepository
from clarity.application.ports.patients import CountedPage
from clarity.domain.access import Scope
from clarity.domain.appointments import Appointment, AppointmentFilter
from clarity.domain.ids import ClosureId, PatientId, PractitionerId
from clarity.domain.practice_hours import Span
from clarity.domain.records import Sealed
from clarity.domain.schedule import Busy, BusyTimes, Closure


@dataclass(frozen=True, slots=True, order=True)
class TimePlace:
    """Where a record stands in the order of time."""

    at: datetime
    id: UUID


class AppointmentRepository(ChartRepository[Appointment, AppointmentFilter], Protocol):
    """The appointments of one unit of work.

    `add` and `save` raise `Overlapping` if the practitioner or the patient has another one booked at that time, which
    the database itself sees to.
    """

    async def hold(self, practitioner: PractitionerId, patient: PatientId) -> None:
        """Keep others from booking with either, and from closing days, until this unit of work ends.

        No one overlaps another without it; but those that come at once wait for each other, and are not told to try
        again, and what is read afterwards stays true.
        """
        ...

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
        """Return what `find_counted_page` does in order of time."""
        ...

    def place_of(self, record: Sealed) -> TimePlace:
        """Return where a fetched record stands in the order of time."""
        ...

    async def find_of_practitioner(self, practitioner: PractitionerId, span: Span, *, at_most: int) -> Sequence[Sealed]:
        """Fetch the appointments with a practitioner within a span, of whichever patients, in order of time.

        They stand as their rows alone say: who may see one is known after `standing_as`.
        """
        ...

    def standing_as(self, record: Sealed, whose: Sealed) -> Sealed:
        """Return a fetched record to stand as the patient's record `whose` does: theirs, or merged into it."""
        ...

    def may_be_shown(self, scope: Scope, record: Sealed) -> bool:
        """Tell whether `scope` covers a record by its exact labels, for which it is opened; `True` if it does not."""
        ...

    async def booked_of(self, patients: Sequence[PatientId], span: Span) -> Sequence[Busy]:
        """Return when any of `patients` is booked within a span, in order of time."""
        ...


class ScheduleRepository(Protocol):
    """When practitioners are there and not booked. Nothing of it is about any patient."""

    async def closures(
        self, first: date, last: date, *, practitioner: PractitionerId | None = None, at_most: int = 500
    ) -> Sequence[Closure]:
        """Return the closures that hold on a day from `first` to `last`, in order of days.

        With `practitioner`, those of the whole practice and theirs.
        """
        ...

    async def find(self, closure: ClosureId) -> Closure:
        """Return a closure. Raises `NotFound`."""
        ...

    async def add(self, closure: Closure) -> Closure:
        """Close days, once those who book at this moment have done so, and return the closure.

        If just these days are closed already, it is the one by which they are: asked for twice, it is made once.
        """
        ...

    async def withdraw(self, closure: Closure) -> None:
        """Open the days of a closure again. Raises `StaleWrite` if somebody did so meanwhile."""
        ...

    async def busy(self, practitioner: PractitionerId | None, span: Span, *, at_most: int) -> Sequence[Busy]:
        """Return when a practitioner is booked within a span, in order of time; `None` asks of all of them."""
        ...


class CalendarPress(Protocol):
    """Writes calendars for other programs."""

    def icalendar(self, times: BusyTimes) -> bytes:
        """Return an iCalendar object (RFC 5545) with the times, and of each nothing but an id."""
        ...
