"""The use-cases on appointments: booked, moved, cancelled, kept or missed, and looked up by patient and by day."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from uuid import UUID

from clarity.application.admission import admit, admit_each
from clarity.application.charts import Charting, merged_into
from clarity.application.pages import Page, page_size
from clarity.application.patients import RepeatKey, answered_before
from clarity.application.ports import (
    Answered,
    BeginReading,
    BeginWork,
    Chart,
    Clock,
    Cursors,
    NewId,
    RecordRevision,
    TimePlace,
    Work,
)
from clarity.application.retry import retrying
from clarity.domain.access import Action, Actor, Reason, Role, right_to, scope_of
from clarity.domain.appointments import (
    Appointment,
    AppointmentFilter,
    AppointmentStatus,
    Cancellation,
)
from clarity.domain.audit import Attempt
from clarity.domain.dates import instant_of, microseconds_of
from clarity.domain.errors import CannotOpen, Forbidden, Invalid, NotFound, Overlapping
from clarity.domain.ids import AppointmentId, PatientId, PractitionerId, SeriesId
from clarity.domain.names import HumanName
from clarity.domain.practice_hours import Span
from clarity.domain.records import Resource, Sealed
from clarity.domain.schedule import MOST_IN_SERIES, Calendar, Fold, Recurrence, instant_at, span_of
from clarity.domain.values import within

MOST_OF_A_DAY = 300
"""How many appointments of a day are shown at most: one after another, of five minutes each, for 25 hours."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Day:
    """A practitioner's day: what of it the asker may see, in order of time. `more` says that not all of it is here."""

    practitioner: PractitionerId
    day: date
    span: Span
    opening: Span | None
    closed: bool
    appointments: tuple[Appointment, ...]
    names: Mapping[PatientId, HumanName] = field(default_factory=dict, repr=False)
    """Whose they are, as far as the asker may see patients."""
    taken: tuple[Span, ...] = ()
    """When the practitioner is booked besides, which is all that the asker is told of it."""
    more: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class NewTime:
    """Where an appointment is moved: to another time, or with a `practitioner` to another one of them too."""

    starts_at: datetime
    minutes: int | None = None
    """How long it is from then on, if not as long as it was."""
    practitioner: PractitionerId | None = None
    outside_hours: bool = False

    def span_for(self, appointment: Appointment) -> Span:
        """Return from when to when `appointment` is then. Raises `Invalid` for what is no time to be seen."""
        length = appointment.ends_at - appointment.starts_at
        return span_of(self.starts_at, self.minutes or length // timedelta(minutes=1))


EVERY_APPOINTMENT = AppointmentFilter()
"""The conditions that every appointment meets."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TimetableAsked:
    """Which page of a patient's appointments is asked for: those that meet `conditions`, in order of time."""

    conditions: AppointmentFilter = EVERY_APPOINTMENT
    latest_first: bool = False
    cursor: str = ""
    at_most: int = 50

    @property
    def spelt(self) -> bytes:
        """The question in words, to which a cursor belongs."""
        asked = self.conditions
        parts = (asked.since, asked.until, asked.status, asked.practitioner, asked.series, self.latest_first)
        return "|".join("" if part is None else str(part) for part in parts).encode()


@dataclass(frozen=True, slots=True, kw_only=True)
class AppointmentService:
    """The use-cases on appointments. Each is one unit of work and leaves an audit event.

    What is refused looks absent: each raises `NotFound` if there is no such patient or appointment, or none that
    `actor` may do this to.
    """

    begin: BeginWork
    reading: BeginReading
    cursors: Cursors
    now: Clock
    new_id: NewId
    calendar: Calendar

    @retrying
    async def book(
        self,
        actor: Actor,
        wanted: Appointment,
        recurrence: Recurrence | None = None,
        *,
        outside_hours: bool = False,
        repeat: RepeatKey | None = None,
    ) -> tuple[Appointment, ...]:
        """Book an appointment, or with a `recurrence` all of a series, and return what was booked in order of time.

        With `repeat`, a request that comes again finds what the first one booked. Raises `Overlapping` if one of them
        is at a time that is taken, and `Invalid` if it is in the past, on a closed day, or, unless it is meant to be
        `outside_hours`, when the practice is not open: then none is booked.
        """
        async with self.begin() as work:
            charting, at = self._charting(work, actor), self.now()
            if repeat and (answered := await answered_before(work, actor, repeat, Resource.APPOINTMENT, at=at)):
                first = await charting.open(Action.VIEW, wanted.patient, answered.record)
                return (
                    (first, *await self._following(charting, wanted.patient, first, status=None))
                    if first.series
                    else (first,)
                )
            whose = await work.patients.get(wanted.patient)
            occurrences = self._occurrences(replace(wanted, author=actor.id), recurrence)
            admitted = [
                admit(work, actor, Action.REGISTER, work.appointments.new(whose, one.id, one.label, actor.id), at=at)
                for one in occurrences
            ]
            if repeat:
                # Before the appointments: the same request arriving twice at once must collide here.
                answer = Answered(record=wanted.id, version=1)
                await work.idempotency_keys.add(actor.id, repeat.key, repeat.request, answer)
            await self._require_bookable(work, wanted.patient, occurrences, outside_hours=outside_hours)
            booked = zip(admitted, occurrences, strict=True)
            return tuple([await work.appointments.add(entry, one) for entry, one in booked])

    @retrying
    async def view(self, actor: Actor, patient: PatientId, appointment: AppointmentId) -> Appointment:
        """Return one appointment."""
        async with self.reading(snapshot=True) as work:
            return await self._charting(work, actor).open(Action.VIEW, patient, appointment)

    @retrying
    async def history(
        self,
        actor: Actor,
        patient: PatientId,
        appointment: AppointmentId,
        *,
        before: int | None = None,
        at_most: int = 20,
    ) -> tuple[RecordRevision[Appointment], ...]:
        """Return the versions of an appointment below `before`, the newest first."""
        async with self.reading(snapshot=True) as work:
            return await self._charting(work, actor).history(patient, appointment, before=before, at_most=at_most)

    @retrying
    async def list(self, actor: Actor, patient: PatientId, asked: TimetableAsked) -> Page[Appointment]:
        """Return a page of a patient's appointments that the actor may see, in order of time."""
        context = b"|".join((b"timetable", actor.id.bytes, patient.bytes, asked.spelt))
        after = _place(self.cursors.open(asked.cursor, context)) if asked.cursor else None
        size = page_size(asked.at_most)
        async with self.reading(snapshot=True) as work:
            charting = self._charting(work, actor)
            attempt, chart = await charting.chart(Action.LIST, patient)
            attempt.query_mac = work.query_mac(asked.spelt)
            scope = scope_of(actor, Action.LIST, Resource.APPOINTMENT, at=attempt.at)
            found = await work.appointments.find_timetable(
                scope, chart, asked.conditions, after=after, at_most=size + 1, latest_first=asked.latest_first
            )
            shown = found.records[:size]
            items = charting.open_each(admit_each(attempt, shown))
            more = len(found.records) > size
            place = work.appointments.place_of(shown[-1]) if more else None
        next_cursor = self.cursors.seal(_spelt(place), context) if place else ""
        return Page(items=items, next_cursor=next_cursor, count=found.count, exact=found.exact)

    @retrying
    async def day(self, actor: Actor, practitioner: PractitionerId, day: date) -> Day:
        """Return a practitioner's day, as far as the actor may see whose appointments they are.

        Raises `Forbidden` for whoever sees no appointments at all, and `NotFound` if there is no such practitioner.
        """
        span = self.calendar.day(day)
        async with self.reading(snapshot=True) as work:
            attempt = Attempt(actor=actor, action=Action.LIST, at=self.now(), resource=Resource.APPOINTMENT)
            work.note(attempt)
            if not right_to(actor, Action.LIST, Resource.APPOINTMENT).exists:
                attempt.refuse(Reason.NO_SUCH_RIGHT)
                raise Forbidden
            attempt.query_mac = work.query_mac(b"day|" + practitioner.bytes + str(day).encode())
            await require_practitioner(work, practitioner)
            closures = await work.schedule.closures(day, day, practitioner=practitioner)
            records = await work.appointments.find_of_practitioner(practitioner, span, at_most=MOST_OF_A_DAY + 1)
            shown = records[:MOST_OF_A_DAY]
            standing = await standing_of(work, [record.patient for record in shown])
            found = self._open_each(work, attempt, shown, standing)
            busy = await work.schedule.busy(practitioner, span, at_most=MOST_OF_A_DAY)
            names = _names_of(work, attempt, {one.patient: standing[one.patient] for one in found})
        return Day(
            practitioner=practitioner,
            day=day,
            span=span,
            opening=self.calendar.opening(day),
            closed=any(closure.holds_for(practitioner, day) for closure in closures),
            appointments=tuple(sorted(found, key=lambda one: (one.starts_at, one.id))),
            names=names,
            taken=tuple(one.span for one in busy if one.appointment not in {shown.id for shown in found}),
            more=len(records) > MOST_OF_A_DAY,
        )

    def _open_each(
        self, work: Work, attempt: Attempt, records: Sequence[Sealed], standing: Mapping[PatientId, Sealed]
    ) -> Sequence[Appointment]:
        """Open those of several patients' appointments that the actor may see; each patient has an event of it."""
        charting = self._charting(work, attempt.actor)
        scope = scope_of(attempt.actor, attempt.action, Resource.APPOINTMENT, at=attempt.at)
        opened: list[Appointment] = []
        of_person: dict[PatientId, list[Sealed]] = {}
        for record in records:
            whose = standing.get(record.patient)
            if whose is not None:
                stood = work.appointments.standing_as(record, whose)
                of_person.setdefault(whose.patient, []).append(stood)
        for person, stood_records in of_person.items():
            own = replace(attempt, patient=person, ids=(), emergencies={})
            admitted = admit_each(own, stood_records)
            shown = [one for one in admitted if work.appointments.may_be_shown(scope, one.record)]
            if shown:
                own.ids = tuple(one.record.id for one in shown)
                work.note(own)
                opened += charting.open_each(shown)
        return opened

    @retrying
    async def move(
        self,
        actor: Actor,
        patient: PatientId,
        appointment: AppointmentId,
        to: NewTime,
        *,
        version: int,
        following: bool = False,
    ) -> tuple[Appointment, ...]:
        """Move an appointment to another time, or to another practitioner, and return what was moved.

        With `following`, all that are still to come in its series move as far by the clock on the wall. Raises as
        `book` does, `StaleWrite` unless it is at `version`, and `Conflict` unless it is booked: then none is moved.
        """
        async with self.begin() as work:
            charting = self._charting(work, actor)
            first = await charting.open(Action.CHANGE, patient, appointment, version=version)
            later = await self._following(charting, patient, first, Action.CHANGE) if following else ()
            one = first.moved(to.span_for(first), to.practitioner)
            moved = [one, *self._moved_alike(first, one, later)]
            await self._require_bookable(work, patient, moved, outside_hours=to.outside_hours)
            # Those that are furthest in the direction of the move go first, to make room for the others.
            backwards = one.starts_at > first.starts_at
            saved = [await work.appointments.save(each) for each in (reversed(moved) if backwards else moved)]
            return tuple(reversed(saved) if backwards else saved)

    @retrying
    async def cancel(
        self,
        actor: Actor,
        patient: PatientId,
        appointment: AppointmentId,
        reason: str,
        *,
        version: int,
        following: bool = False,
    ) -> tuple[Appointment, ...]:
        """Cancel an appointment, or with `following` all that are still to come in its series too; say which those are.

        Raises `StaleWrite` unless it is at `version`, and `Conflict` unless it is booked.
        """
        own = actor.role is Role.PATIENT
        async with self.begin() as work:
            charting = self._charting(work, actor)
            first = await charting.open(Action.CANCEL, patient, appointment, version=version)
            cancellation = Cancellation(reason=reason, by=actor.id, at=charting.at, by_patient=own)
            later = await self._following(charting, patient, first, Action.CANCEL) if following else ()
            return tuple([await work.appointments.save(one.cancelled(cancellation)) for one in (first, *later)])

    async def complete(
        self, actor: Actor, patient: PatientId, appointment: AppointmentId, *, version: int
    ) -> Appointment:
        """Say that an appointment took place. Raises `Conflict` before it began, and for one that was cancelled."""
        return await self._change(
            actor, patient, appointment, lambda one: one.completed(self.now()), Action.COMPLETE, version=version
        )

    async def miss(self, actor: Actor, patient: PatientId, appointment: AppointmentId, *, version: int) -> Appointment:
        """Say that the patient did not come. Raises as `complete` does."""
        return await self._change(
            actor, patient, appointment, lambda one: one.missed(self.now()), Action.COMPLETE, version=version
        )

    async def change(
        self,
        actor: Actor,
        patient: PatientId,
        appointment: AppointmentId,
        edit: Callable[[Appointment], Appointment],
        *,
        version: int,
    ) -> Appointment:
        """Let `edit` change what an appointment is for, and where and how it is; an edit of nothing changes nothing."""

        def described(one: Appointment) -> Appointment:
            edited = edit(one)
            kept = {name: getattr(one, name) for name in ("starts_at", "ends_at", "practitioner", "status", "series")}
            return replace(edited, **kept)

        return await self._change(actor, patient, appointment, described, Action.CHANGE, version=version)

    @retrying
    async def _change(
        self,
        actor: Actor,
        patient: PatientId,
        appointment: AppointmentId,
        edit: Callable[[Appointment], Appointment],
        action: Action,
        *,
        version: int,
    ) -> Appointment:
        async with self.begin() as work:
            stored = await self._charting(work, actor).open(action, patient, appointment, version=version)
            edited = edit(stored)
            return stored if edited == stored else await work.appointments.save(edited)

    def _charting(self, work: Work, actor: Actor) -> Charting[Appointment, AppointmentFilter]:
        return Charting(work, work.appointments, actor, self.now())

    def _occurrences(self, wanted: Appointment, recurrence: Recurrence | None) -> Sequence[Appointment]:
        """Return what is booked: the one that is wanted, and those that recur at the same time by the clock."""
        if recurrence is None:
            return [wanted]
        zone, length = self.calendar.zone, wanted.ends_at - wanted.starts_at
        series = SeriesId(self.new_id())
        occurrences = [replace(wanted, series=series)]
        times = recurrence.from_(wanted.starts_at.astimezone(zone).replace(tzinfo=None, fold=0))
        for position, local in enumerate(times):
            if position:
                with within(f"occurrences.{position}"):
                    start = instant_at(local, zone, Fold.FIRST)
                one = replace(
                    wanted,
                    id=AppointmentId(self.new_id()),
                    series=series,
                    starts_at=start,
                    ends_at=start + length,
                )
                occurrences.append(one)
        return occurrences

    def _moved_alike(
        self, first: Appointment, moved: Appointment, later: Sequence[Appointment]
    ) -> Sequence[Appointment]:
        """Return those behind `first` in its series as far from where they were, by the clock, as it is `moved`."""
        zone = self.calendar.zone

        def on_wall(instant: datetime) -> datetime:
            return instant.astimezone(zone).replace(tzinfo=None, fold=0)

        by, length = on_wall(moved.starts_at) - on_wall(first.starts_at), moved.ends_at - moved.starts_at
        alike = []
        for position, one in enumerate(later, start=1):
            with within(f"occurrences.{position}"):
                start = instant_at(on_wall(one.starts_at) + by, zone, Fold.FIRST)
            alike.append(one.moved(Span(start, start + length), moved.practitioner))
        return alike

    async def _following(
        self,
        charting: Charting[Appointment, AppointmentFilter],
        patient: PatientId,
        first: Appointment,
        action: Action = Action.VIEW,
        *,
        status: AppointmentStatus | None = AppointmentStatus.BOOKED,
    ) -> tuple[Appointment, ...]:
        """Open those behind `first` in its series, in the chart of `patient`, in order of time.

        Raises `Invalid` if it belongs to none.
        """
        if first.series is None:
            raise Invalid("following", "is for an appointment of a series")
        work, actor = charting.work, charting.actor
        whose = await work.patients.get(patient)
        found = await work.appointments.find_timetable(
            scope_of(actor, action, Resource.APPOINTMENT, at=charting.at),
            Chart(whose=whose, patients=(first.patient,)),
            AppointmentFilter(series=first.series, status=status),
            after=TimePlace(first.starts_at, first.id),
            at_most=MOST_IN_SERIES,
        )
        # Each has an event of its own: each has a version of its own to be named in it.
        admitted = [admit(work, actor, action, record, at=charting.at) for record in found.records]
        return tuple(work.appointments.open(entry) for entry in admitted)

    async def _require_bookable(
        self, work: Work, patient: PatientId, wanted: Sequence[Appointment], *, outside_hours: bool
    ) -> None:
        """Raise `Invalid` or `Overlapping` unless each of `wanted`, in the chart of `patient`, may be.

        All are with one practitioner, and nobody else books with either until the unit of work ends.
        """
        practitioner = wanted[0].practitioner
        found = await work.practitioners.find([practitioner])
        if not found or not found[0].active:
            raise Invalid("practitioner", "must be somebody who sees patients here")
        await work.appointments.hold(practitioner, patient)
        span = Span(min(one.starts_at for one in wanted), max(one.ends_at for one in wanted))
        days = [one.astimezone(self.calendar.zone).date() for one in (span.start, span.end)]
        closures = await work.schedule.closures(days[0], days[-1], practitioner=practitioner)
        # The database knows nothing of merges: what it keeps from overlapping has one patient's id.
        merged = [one for one in await merged_into(work, patient) if one != wanted[0].patient]
        taken = await work.appointments.booked_of(merged, span) if merged else ()
        moving = {one.id for one in wanted}
        for position, one in enumerate(wanted):
            with within(f"occurrences.{position}") if len(wanted) > 1 else nullcontext():
                self.calendar.require_bookable(
                    one.span, practitioner, closures, now=self.now(), outside_hours=outside_hours
                )
            if any(other.appointment not in moving and other.span.overlaps(one.span) for other in taken):
                raise Overlapping


async def require_practitioner(work: Work, practitioner: PractitionerId) -> None:
    """Raise `NotFound` if there is no such practitioner."""
    if not await work.practitioners.find([practitioner]):
        raise NotFound


async def standing_of(work: Work, patients: Sequence[PatientId]) -> dict[PatientId, Sealed]:
    """Return for each of `patients` the record that says who may see theirs: their own, or what it was merged into.

    That takes one statement for all of them, and two more for each generation of merges.
    """
    now_in = {patient: patient for patient in patients}
    records: dict[PatientId, Sealed] = {}
    sought = set(patients)
    while sought:
        records |= {record.patient: record for record in await work.patients.get_many(sorted(sought))}
        gone = [one for one in sought if one in records and _is_gone(records[one])]
        survivors = await work.duplicates.survivors_of(gone) if gone else {}
        now_in = {patient: survivors.get(record, record) for patient, record in now_in.items()}
        sought = set(survivors.values()) - records.keys()
    return {patient: records[record] for patient, record in now_in.items() if record in records}


def _names_of(work: Work, attempt: Attempt, standing: Mapping[PatientId, Sealed]) -> dict[PatientId, HumanName]:
    """Open the names of patients whose records are at hand, of those whom the actor may see."""
    listed = Attempt(actor=attempt.actor, action=Action.LIST, at=attempt.at)
    names: dict[PatientId, HumanName] = {}
    for entry in admit_each(listed, {one.patient: one for one in standing.values()}.values()):
        try:
            names[entry.record.patient] = work.patients.open(entry).name
        except CannotOpen:
            listed.withhold(entry.record.id, Reason.CANNOT_OPEN)
        except NotFound:
            continue
    if listed.ids:
        work.note(listed)
    return {patient: names[whose.patient] for patient, whose in standing.items() if whose.patient in names}


def _is_gone(record: Sealed) -> bool:
    return record.standing is None or record.standing.deleted


def _place(spelt: bytes) -> TimePlace:
    return TimePlace(instant_of(int.from_bytes(spelt[:8], signed=True)), UUID(bytes=spelt[8:]))


def _spelt(place: TimePlace) -> bytes:
    return microseconds_of(place.at).to_bytes(8, signed=True) + place.id.bytes
