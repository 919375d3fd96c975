"""The use-cases on schedules: when practitioners are free, when the practice is closed. None tells of any patient."""

from dataclasses import dataclass
from datetime import date, timedelta
from itertools import islice

from clarity.application.admission import require_right
from clarity.application.appointments import require_practitioner
from clarity.application.pages import page_size
from clarity.application.ports import BeginReading, BeginWork, CalendarPress, Clock, Work
from clarity.application.retry import retrying
from clarity.domain.access import Action, Actor
from clarity.domain.audit import Attempt
from clarity.domain.errors import Conflict, Invalid
from clarity.domain.ids import ClosureId, PractitionerId
from clarity.domain.practice_hours import Span
from clarity.domain.records import Resource
from clarity.domain.schedule import LONGEST, MOST_DAYS_SEARCHED, SHORTEST, BusyTimes, Calendar, Closure, ClosureStatus

_FED_BACK, _FED_AHEAD = timedelta(days=31), timedelta(days=366)
# Of one practitioner, one after another: more than anybody is booked in a year.
_MOST_BUSY = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Closed:
    """Days that were closed, and how many appointments are booked in them all the same: to be moved or cancelled."""

    closure: Closure
    booked: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleService:
    """The use-cases on schedules. Each raises `Forbidden` for those whose role may not do it."""

    begin: BeginWork
    reading: BeginReading
    now: Clock
    press: CalendarPress
    calendar: Calendar

    @retrying
    async def free(
        self,
        actor: Actor,
        practitioner: PractitionerId,
        minutes: int,
        first: date,
        last: date,
        *,
        at_most: int = 100,
    ) -> tuple[Span, ...]:
        """Return when a practitioner is free for so many minutes, from one day to another: the first such slots.

        Raises `NotFound` if there is no such practitioner, and `Invalid` for days that are none or too many.
        """
        size = page_size(at_most)
        if not SHORTEST <= timedelta(minutes=minutes) <= LONGEST:
            raise Invalid("minutes", f"must be from {_minutes(SHORTEST)} to {_minutes(LONGEST)}")
        span = self._days(first, last, MOST_DAYS_SEARCHED)
        async with self.reading(snapshot=True) as work:
            attempt = self._attempt(work, actor, Action.VIEW)
            await require_practitioner(work, practitioner)
            closures = await work.schedule.closures(first, last, practitioner=practitioner)
            busy = await work.schedule.busy(practitioner, span, at_most=_MOST_BUSY)
        spans = [one.span for one in busy]
        slots = self.calendar.free(first, last, practitioner, minutes, closures=closures, busy=spans, now=attempt.at)
        return tuple(islice(slots, size))

    @retrying
    async def busy_times(self, actor: Actor, practitioner: PractitionerId) -> BusyTimes:
        """Return when a practitioner is booked, from a month back to a year ahead. Raises `NotFound` as `free` does."""
        async with self.reading(snapshot=True) as work:
            attempt = self._attempt(work, actor, Action.LIST)
            await require_practitioner(work, practitioner)
            span = Span(attempt.at - _FED_BACK, attempt.at + _FED_AHEAD)
            busy = await work.schedule.busy(practitioner, span, at_most=_MOST_BUSY)
        return BusyTimes(practitioner=practitioner, at=attempt.at, busy=tuple(busy))

    @retrying
    async def closures(self, actor: Actor, first: date, last: date) -> tuple[Closure, ...]:
        """Return the closures that hold on a day from `first` to `last`, of the practice and of practitioners."""
        self._days(first, last, 2 * 366)
        async with self.reading() as work:
            self._attempt(work, actor, Action.VIEW)
            return tuple(await work.schedule.closures(first, last))

    @retrying
    async def close(self, actor: Actor, closure: Closure) -> Closed:
        """Close days, so that nothing more is booked in them, with one practitioner or in the whole practice.

        What is booked already stays, and is counted; days that are closed already stay closed by what closed them.
        Raises `NotFound` if there is no such practitioner, and `Invalid` for days that are over.
        """
        async with self.begin() as work:
            attempt = self._attempt(work, actor, Action.CHANGE, closure.id)
            if closure.last_day < attempt.at.astimezone(self.calendar.zone).date():
                raise Invalid("last_day", "must not be over")
            if closure.practitioner is not None:
                await require_practitioner(work, closure.practitioner)
            closed = await work.schedule.add(closure)
            attempt.ids = (closed.id,)
            span = Span(self.calendar.day(closure.first_day).start, self.calendar.day(closure.last_day).end)
            booked = await work.schedule.busy(closure.practitioner, span, at_most=_MOST_BUSY)
        return Closed(closure=closed, booked=len(booked))

    @retrying
    async def reopen(self, actor: Actor, closure: ClosureId) -> None:
        """Open the days of a closure again. Raises `NotFound` if there is none, `Conflict` if it was taken back."""
        async with self.begin() as work:
            self._attempt(work, actor, Action.CHANGE, closure)
            stored = await work.schedule.find(closure)
            if stored.status is not ClosureStatus.CLOSED:
                raise Conflict("these days are open again already")
            await work.schedule.withdraw(stored)

    def _attempt(self, work: Work, actor: Actor, action: Action, *closures: ClosureId) -> Attempt:
        attempt = Attempt(actor=actor, action=action, at=self.now(), resource=Resource.SCHEDULE, ids=closures)
        require_right(work.note(attempt), action)
        return attempt

    def _days(self, first: date, last: date, at_most: int) -> Span:
        if not first <= last:
            raise Invalid("last_day", "must not be before first_day")
        if (last - first).days >= at_most:
            raise Invalid("last_day", f"must be within {at_most} days")
        return Span(self.calendar.day(first).start, self.calendar.day(last).end)


def _minutes(length: timedelta) -> int:
    return length // timedelta(minutes=1)
