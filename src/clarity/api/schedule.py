"""The routes on schedules: a practitioner's day, what is free, days that are closed, and a calendar to subscribe to."""

from typing import Annotated, Self

from fastapi import Query, Response
from pydantic import ConfigDict, Field
from starlette.exceptions import HTTPException

from clarity.api.appointments import AppointmentOut, Minutes
from clarity.api.dependencies import Appointments, CurrentActor, RunningServices, Schedules, Today
from clarity.api.problems import documented
from clarity.api.routing import router_of
from clarity.api.wire import Day, Instant, Json, Limit, Received, Wire
from clarity.application import schedule as use_cases
from clarity.application.appointments import Day as DayShown
from clarity.domain.appointments import Appointment
from clarity.domain.errors import Conflict, Forbidden, NotFound
from clarity.domain.ids import ClosureId, PractitionerId
from clarity.domain.names import HumanName
from clarity.domain.practice_hours import Span
from clarity.domain.schedule import Closure

CALENDAR = "text/calendar"
_BODY = documented(HTTPException(413), HTTPException(415))
of_practitioner = router_of("practitioners/{practitioner_id}")
closures = router_of("closures")
of_practitioner.tags = ["appointments"]
closures.tags = ["appointments"]


class SpanOut(Wire):
    """From when until when."""

    starts_at: Instant
    ends_at: Instant

    @classmethod
    def of(cls, span: Span) -> Self:
        """Return the shape of `span`."""
        return cls(starts_at=span.start, ends_at=span.end)


class DayItemOut(AppointmentOut):
    """An appointment of a day."""

    model_config = ConfigDict(json_schema_extra={"examples": []})

    patient_name: str | None
    """Whose it is; null for a patient whom the caller may not see beyond that."""

    @classmethod
    def named(cls, one: Appointment, name: HumanName | None) -> Self:
        """Return the shape of an appointment with the name of its patient."""
        return cls(patient_name=None if name is None else str(name), **dict(AppointmentOut.of(one)))


class DayOut(Wire):
    """A practitioner's day, as far as the caller may see whose appointments they are."""

    practitioner: PractitionerId
    day: Day
    opening: SpanOut | None
    """When the practice is open on that day; null if it is not."""
    closed: bool
    """Whether the day was closed, for the practice or for this practitioner."""
    items: tuple[DayItemOut, ...]
    """The appointments in order of time, those that were cancelled or missed too."""
    taken: tuple[SpanOut, ...]
    """When the practitioner is booked besides, with patients whom the caller may not see."""
    more: bool
    """Whether there are more than are shown."""

    @classmethod
    def of(cls, day: DayShown) -> Self:
        """Return the shape of `day`."""
        return cls(
            practitioner=day.practitioner,
            day=day.day,
            opening=None if day.opening is None else SpanOut.of(day.opening),
            closed=day.closed,
            items=tuple(DayItemOut.named(one, day.names.get(one.patient)) for one in day.appointments),
            taken=tuple(map(SpanOut.of, day.taken)),
            more=day.more,
        )


class FreeSlotsOut(Wire):
    """When a practitioner is free: the first such times, one after another."""

    items: tuple[SpanOut, ...]


class ClosureIn(Received):
    """Days to be closed."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"first_day": "2026-12-24", "last_day": "2026-12-26"}]})

    first_day: Day
    last_day: Day
    """The last of the days, at most a year after the first."""
    practitioner: PractitionerId | None = None
    """With whom nothing is booked on these days; with nobody if null."""


class ClosureOut(Wire):
    """Days that are closed."""

    id: ClosureId
    first_day: Day
    last_day: Day
    practitioner: PractitionerId | None


class ClosedOut(ClosureOut):
    """Days that were just closed."""

    booked: int
    """How many appointments are booked on these days all the same, to be moved or cancelled."""

    @classmethod
    def of(cls, closed: use_cases.Closed) -> Self:
        """Return the shape of what was just closed."""
        return cls(booked=closed.booked, **ClosureOut.model_validate(closed.closure).model_dump())


class ClosuresOut(Wire):
    """The closures of some days, of the practice and of practitioners, in order."""

    items: tuple[ClosureOut, ...]


class DayQuery(Wire):
    """Which day is shown."""

    model_config = ConfigDict(strict=False, extra="forbid")

    day: Day | None = Field(None, description="By the practice's calendar; today if absent.")


class DaysQuery(Wire):
    """Which days are looked through."""

    model_config = ConfigDict(strict=False, extra="forbid")

    first: Day | None = Field(None, alias="from", description="The first day; today if absent.")
    until: Day | None = Field(None, description="The last day; the first if absent.")


class FreeQuery(DaysQuery):
    """What is looked for."""

    minutes: Minutes = 30
    """How long it should be."""
    limit: Limit = 50


@of_practitioner.get("/appointments", responses=documented(NotFound(), Forbidden()))
async def view_day(
    practitioner_id: PractitionerId,
    query: Annotated[DayQuery, Query()],
    actor: CurrentActor,
    appointments: Appointments,
    today: Today,
) -> DayOut:
    """Show a practitioner's day, without the appointments of those whom the caller may not see.

    Of those, `taken` says when they are, and nothing else.
    """
    return DayOut.of(await appointments.day(actor, practitioner_id, query.day or today))


@of_practitioner.get("/free-slots", responses=documented(NotFound(), Forbidden()))
async def find_free_slots(
    practitioner_id: PractitionerId,
    query: Annotated[FreeQuery, Query()],
    actor: CurrentActor,
    schedules: Schedules,
    today: Today,
) -> FreeSlotsOut:
    """Find when a practitioner is free within the hours of the practice, on at most 62 days. It tells of no patient."""
    first = query.first or today
    free = await schedules.free(actor, practitioner_id, query.minutes, first, query.until or first, at_most=query.limit)
    return FreeSlotsOut(items=tuple(map(SpanOut.of, free)))


@of_practitioner.get(
    "/calendar.ics",
    response_class=Response,
    responses={
        200: {"description": "The calendar.", "content": {CALENDAR: {"schema": {"type": "string"}}}},
        **documented(NotFound(), Forbidden()),
    },
)
async def feed_calendar(practitioner_id: PractitionerId, actor: CurrentActor, schedules: Schedules) -> Response:
    """Give a practitioner's booked times as a calendar (iCalendar, RFC 5545), from a month back to a year ahead.

    It has times and ids and nothing else. Calendars that fetch it again and again do so with the credential of a
    machine, made for `schedule:list` alone, which ends when it is revoked.
    """
    times = await schedules.busy_times(actor, practitioner_id)
    named = {"Content-Disposition": 'inline; filename="calendar.ics"'}
    return Response(schedules.press.icalendar(times), media_type=CALENDAR, headers=named)


@closures.get("", responses=documented(Forbidden()))
async def list_closures(
    query: Annotated[DaysQuery, Query()], actor: CurrentActor, schedules: Schedules, today: Today
) -> ClosuresOut:
    """List the days that are closed, of the practice and of practitioners, within at most two years: the first 500."""
    first = query.first or today
    found = await schedules.closures(actor, first, query.until or first)
    return ClosuresOut(items=tuple(map(ClosureOut.model_validate, found)))


@closures.post("", status_code=201, responses={**_BODY, **documented(NotFound(), Forbidden())})
async def close_days(closure: Json[ClosureIn], actor: CurrentActor, services: RunningServices) -> ClosedOut:
    """Close days, so that nothing more is booked on them. What is booked stays, and is counted."""
    made = Closure(id=ClosureId(services.new_id()), **closure.content())
    return ClosedOut.of(await services.schedule.close(actor, made))


@closures.delete(
    "/{closure_id}",
    status_code=204,
    responses=documented(NotFound(), Forbidden(), Conflict("these days are open again already")),
)
async def reopen_days(closure_id: ClosureId, actor: CurrentActor, schedules: Schedules) -> None:
    """Open the days of a closure again."""
    await schedules.reopen(actor, closure_id)
