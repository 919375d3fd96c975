"""Appointments on each kind of storage: who may see them, what overlaps, series, days, and what is free."""

from dataclasses import replace
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from clarity.application.appointments import AppointmentService, NewTime, TimetableAsked
from clarity.application.duplicates import DuplicateService
from clarity.application.patients import RepeatKey
from clarity.application.schedule import ScheduleService
from clarity.domain.access import Action, Actor, Role
from clarity.domain.appointments import Appointment, AppointmentFilter, AppointmentStatus
from clarity.domain.audit import Outcome
from clarity.domain.errors import Conflict, Forbidden, Invalid, NotFound, Overlapping, StaleWrite
from clarity.domain.identifiers import Identifier
from clarity.domain.ids import ClosureId, PatientId, PractitionerId
from clarity.domain.practice_hours import Span
from clarity.domain.records import Label, Resource
from clarity.domain.schedule import Calendar, Closure, Frequency, Recurrence, instant_at
from clarity.printing.calendars import CalendarFeed
from clarity.security.cursors import Cursors
from clarity.security.keyring import Keyring
from tests.builders import NOW, a_patient, a_practitioner, an_actor, an_appointment, new_id
from tests.practice import Practice

ZONE = ZoneInfo("America/New_York")
MONDAY = date(2026, 3, 16)


def at(hour: int, minute: int = 0, *, day: date = MONDAY) -> datetime:
    return instant_at(datetime(day.year, day.month, day.day, hour, minute), ZONE)


class Desk:
    """The front desk of a practice, with the practitioners and patients it books for."""

    def __init__(self, practice: Practice, keyring: Keyring) -> None:
        self.practice = practice
        calendar = Calendar(ZONE)
        self.appointments = AppointmentService(
            begin=practice.begin,
            reading=practice.reading,
            cursors=Cursors(keyring),
            now=practice.clock,
            new_id=new_id,
            calendar=calendar,
        )
        self.schedule = ScheduleService(
            begin=practice.begin, reading=practice.reading, now=practice.clock, press=CalendarFeed(), calendar=calendar
        )
        self.actor = an_actor(Role.FRONT_DESK)

    async def people(self, *, label: Label = Label.NORMAL) -> tuple[PractitionerId, PatientId]:
        """Return a practitioner and a patient of theirs."""
        practitioner = await self.practice.employed(a_practitioner())
        patient = await self.practice.stored(a_patient(care_team=frozenset({practitioner.id}), label=label))
        return practitioner.id, patient.id

    async def book(self, wanted: Appointment, *, actor: Actor | None = None) -> Appointment:
        (booked,) = await self.appointments.book(actor or self.actor, wanted)
        return booked


@pytest.fixture
def desk(practice: Practice, keyring: Keyring) -> Desk:
    return Desk(practice, keyring)


async def test_an_appointment_is_booked_moved_cancelled_and_kept(desk: Desk) -> None:
    practitioner, patient = await desk.people()
    booked = await desk.book(an_appointment(patient, practitioner, at(9)))
    assert (booked.version, booked.status, booked.author) == (1, AppointmentStatus.BOOKED, desk.actor.id)
    assert await desk.appointments.view(desk.actor, patient, booked.id) == booked
    to = NewTime(starts_at=at(10), minutes=45)
    (moved,) = await desk.appointments.move(desk.actor, patient, booked.id, to, version=1)
    assert (moved.span, moved.version) == (Span(at(10), at(10, 45)), 2)
    with pytest.raises(StaleWrite):
        await desk.appointments.cancel(desk.actor, patient, booked.id, "Moved away", version=1)
    with pytest.raises(Conflict, match="not begun"):
        await desk.appointments.complete(desk.actor, patient, booked.id, version=2)
    desk.practice.clock.at = at(11)
    missed = await desk.appointments.miss(desk.actor, patient, booked.id, version=2)
    kept = await desk.appointments.complete(desk.actor, patient, booked.id, version=3)
    assert (missed.status, kept.status) == (AppointmentStatus.NO_SHOW, AppointmentStatus.COMPLETED)
    with pytest.raises(Conflict, match="completed already"):
        await desk.appointments.cancel(desk.actor, patient, booked.id, "Too late", version=4)
    history = await desk.appointments.history(desk.actor, patient, booked.id)
    assert [one.record.starts_at for one in history] == [at(10), at(10), at(10), at(9)]


async def test_what_overlaps_is_refused_by_practitioner_and_by_patient(desk: Desk) -> None:
    practitioner, patient = await desk.people()
    other, another = await desk.people()
    first = await desk.book(an_appointment(patient, practitioner, at(9), minutes=60))
    for wanted in (
        an_appointment(another, practitioner, at(9, 30)),
        an_appointment(patient, other, at(8, 30), minutes=31),
        an_appointment(another, practitioner, at(8), minutes=180),
    ):
        with pytest.raises(Overlapping):
            await desk.book(wanted)
    behind = await desk.book(an_appointment(another, practitioner, at(10)))
    with pytest.raises(Overlapping):
        await desk.appointments.move(desk.actor, another, behind.id, NewTime(starts_at=at(9, 59)), version=1)
    await desk.appointments.cancel(desk.actor, patient, first.id, "Has a cold", version=1)
    await desk.book(an_appointment(another, practitioner, at(9)))
    refused = [event for event in await desk.practice.events() if event.outcome is not Outcome.SUCCEEDED]
    assert len(refused) == 4


async def test_appointments_are_for_the_desk_those_who_care_and_the_patient(desk: Desk) -> None:
    practitioner, patient = await desk.people()
    booked = await desk.book(an_appointment(patient, practitioner, at(9)))
    carer, herself = an_actor(practitioner=practitioner), an_actor(Role.PATIENT, patient=patient)
    for actor in (carer, herself):
        assert (await desk.appointments.view(actor, patient, booked.id)).id == booked.id
        assert (await desk.appointments.list(actor, patient, TimetableAsked())).count == 1
        assert len((await desk.appointments.day(actor, practitioner, MONDAY)).appointments) == 1
    otto = an_actor(practitioner=(await desk.practice.employed(a_practitioner())).id)
    assert (await desk.appointments.day(otto, practitioner, MONDAY)).appointments == ()
    for actor in (otto, an_actor(Role.COMPLIANCE_OFFICER), an_actor(Role.PATIENT, patient=PatientId(new_id()))):
        with pytest.raises(NotFound):
            await desk.appointments.view(actor, patient, booked.id)
    with pytest.raises(NotFound):
        await desk.book(an_appointment(patient, practitioner, at(11)), actor=herself)
    with pytest.raises(Forbidden):
        await desk.appointments.day(an_actor(Role.COMPLIANCE_OFFICER), practitioner, MONDAY)
    (cancelled,) = await desk.appointments.cancel(herself, patient, booked.id, "At work", version=1)
    assert cancelled.cancellation is not None
    assert (cancelled.cancellation.by_patient, cancelled.cancellation.by) == (True, herself.id)


async def test_a_participant_sees_what_they_are_booked_for_and_no_more(desk: Desk) -> None:
    practitioner, patient = await desk.people()
    colleague = (await desk.practice.employed(a_practitioner())).id
    booked = await desk.book(an_appointment(patient, colleague, at(9)))
    other = await desk.book(an_appointment(patient, practitioner, at(10)))
    actor = an_actor(practitioner=colleague)
    assert (await desk.appointments.view(actor, patient, booked.id)).id == booked.id
    with pytest.raises(NotFound):
        await desk.appointments.view(actor, patient, other.id)
    assert [one.id for one in (await desk.appointments.day(actor, colleague, MONDAY)).appointments] == [booked.id]


async def test_a_guarded_patient_is_left_out_of_a_day_and_takes_the_time_all_the_same(desk: Desk) -> None:
    practitioner, patient = await desk.people()
    secret = await desk.practice.stored(a_patient(care_team=frozenset({practitioner})))
    booked = await desk.book(an_appointment(secret.id, practitioner, at(9)))
    await desk.practice.changed(secret.id, label=Label.RESTRICTED)
    plain = await desk.book(an_appointment(patient, practitioner, at(10)))
    seen = await desk.appointments.day(desk.actor, practitioner, MONDAY)
    assert [one.id for one in seen.appointments] == [plain.id]
    by_carer = await desk.appointments.day(an_actor(practitioner=practitioner), practitioner, MONDAY)
    assert [one.id for one in by_carer.appointments] == [booked.id, plain.id]
    listed = [one for one in await desk.practice.events() if one.action is Action.LIST and one.patient is not None]
    assert [(one.patient, one.ids) for one in listed[-2:]] == [(secret.id, (booked.id,)), (patient, (plain.id,))]
    with pytest.raises(Overlapping):
        await desk.book(an_appointment(patient, practitioner, at(9)))
    free = await desk.schedule.free(desk.actor, practitioner, 60, MONDAY, MONDAY)
    assert at(9) not in [one.start for one in free]


async def test_a_patients_appointments_come_in_order_of_time_whenever_they_were_booked(desk: Desk) -> None:
    practitioner, patient = await desk.people()
    hours = [11, 9, 14, 10, 13]
    booked = {hour: await desk.book(an_appointment(patient, practitioner, at(hour))) for hour in hours}
    await desk.appointments.cancel(desk.actor, patient, booked[13].id, "Ill", version=1)
    for latest_first in (False, True):
        found, cursor = [], ""
        while True:
            asked = TimetableAsked(latest_first=latest_first, cursor=cursor, at_most=2)
            page = await desk.appointments.list(desk.actor, patient, asked)
            assert (page.count, page.exact) == (5, True)
            found += [one.id for one in page.items]
            cursor = page.next_cursor
            if not cursor:
                break
        assert found == [booked[hour].id for hour in sorted(hours, reverse=latest_first)]
    some = AppointmentFilter(since=at(10), until=at(14), status=AppointmentStatus.BOOKED)
    page = await desk.appointments.list(desk.actor, patient, TimetableAsked(conditions=some))
    assert [one.id for one in page.items] == [booked[10].id, booked[11].id]


async def test_a_series_keeps_its_time_on_the_wall_and_is_booked_whole_or_not_at_all(desk: Desk) -> None:
    practitioner, patient = await desk.people()
    weekly = Recurrence(frequency=Frequency.WEEKLY, times=4)
    day = date(2026, 10, 19)
    wanted = an_appointment(patient, practitioner, at(9, day=day))
    key = RepeatKey(key="k-1", request=b"series")
    booked = await desk.appointments.book(desk.actor, wanted, weekly, repeat=key)
    assert [one.starts_at for one in booked] == [at(9, day=day + timedelta(weeks=week)) for week in range(4)]
    assert [one.starts_at.hour for one in booked] == [13, 13, 14, 14]  # the clocks are put back on 1 November
    assert await desk.appointments.book(desk.actor, wanted, weekly, repeat=key) == booked
    other = replace(wanted, id=an_appointment(patient, practitioner, NOW).id, starts_at=at(8, 45, day=day))
    with pytest.raises(Overlapping):
        await desk.appointments.book(desk.actor, other, weekly)
    with pytest.raises(Invalid) as raised:
        saturday = an_appointment(patient, practitioner, at(9, day=date(2026, 10, 17)))
        await desk.appointments.book(desk.actor, saturday, weekly)
    assert raised.value.field == "occurrences.0.starts_at"
    assert (await desk.appointments.list(desk.actor, patient, TimetableAsked())).count == 4
    third = booked[2]
    to = NewTime(starts_at=third.starts_at + timedelta(days=7))
    moved = await desk.appointments.move(desk.actor, patient, third.id, to, version=1, following=True)
    assert [one.starts_at for one in moved] == [at(9, day=day + timedelta(weeks=week)) for week in (3, 4)]
    gone = await desk.appointments.cancel(desk.actor, patient, booked[1].id, "Moves away", version=1, following=True)
    assert [one.id for one in gone] == [one.id for one in booked[1:]]
    assert {one.status for one in gone} == {AppointmentStatus.CANCELLED}
    with pytest.raises(Invalid):
        single = await desk.book(an_appointment(patient, practitioner, at(9)))
        await desk.appointments.cancel(desk.actor, patient, single.id, "All", version=1, following=True)


async def test_nothing_is_booked_on_a_closed_day_until_it_is_opened_again(desk: Desk) -> None:
    practitioner, patient = await desk.people()
    colleague, _ = await desk.people()
    await desk.book(an_appointment(patient, practitioner, at(9)))
    mine = Closure(id=ClosureId(new_id()), first_day=MONDAY, last_day=MONDAY, practitioner=practitioner)
    assert (await desk.schedule.close(desk.actor, mine)).booked == 1
    # A request that comes again closes nothing twice, which would have to be opened twice.
    assert (await desk.schedule.close(desk.actor, replace(mine, id=ClosureId(new_id())))).closure == mine
    with pytest.raises(Invalid, match="closed"):
        await desk.book(an_appointment(patient, practitioner, at(11)))
    await desk.book(an_appointment(patient, colleague, at(11)))
    assert await desk.schedule.free(desk.actor, practitioner, 30, MONDAY, MONDAY) == ()
    assert await desk.schedule.closures(desk.actor, MONDAY, MONDAY) == (mine,)
    day = await desk.appointments.day(desk.actor, practitioner, MONDAY)
    assert (day.closed, len(day.appointments)) == (True, 1)
    with pytest.raises(Forbidden):
        await desk.schedule.reopen(an_actor(practitioner=practitioner), mine.id)
    await desk.schedule.reopen(desk.actor, mine.id)
    with pytest.raises(Conflict):
        await desk.schedule.reopen(desk.actor, mine.id)
    with pytest.raises(NotFound):
        await desk.schedule.reopen(desk.actor, ClosureId(new_id()))
    await desk.book(an_appointment(patient, practitioner, at(12)))


async def test_what_is_free_is_told_to_patients_too_and_tells_of_none(desk: Desk) -> None:
    practitioner, patient = await desk.people()
    await desk.book(an_appointment(patient, practitioner, at(8, 10), minutes=50))
    anybody = an_actor(Role.PATIENT, patient=PatientId(new_id()))
    free = await desk.schedule.free(anybody, practitioner, 60, MONDAY, MONDAY + timedelta(days=1), at_most=13)
    assert [one.start for one in free[:3]] == [at(7), at(9), at(10)]
    assert free[-1].start == at(7, day=MONDAY + timedelta(days=1))
    busy = await desk.schedule.busy_times(desk.actor, practitioner)
    assert [one.span for one in busy.busy] == [Span(at(8, 10), at(9))]
    with pytest.raises(Forbidden):
        await desk.schedule.free(an_actor(Role.RESEARCHER), practitioner, 60, MONDAY, MONDAY)
    with pytest.raises(NotFound):
        await desk.schedule.free(anybody, PractitionerId(new_id()), 60, MONDAY, MONDAY)
    told = [event for event in await desk.practice.events() if event.resource is Resource.SCHEDULE]
    assert {(event.patient, event.ids_count) for event in told} == {(None, 0)}


async def test_appointments_of_a_merged_record_are_reached_through_the_other_and_keep_its_time(
    desk: Desk, keyring: Keyring
) -> None:
    practitioner, patient = await desk.people()
    colleague = (await desk.practice.employed(a_practitioner())).id
    ssn = "536-22-8726"
    await desk.practice.changed(patient, identifiers=(Identifier.ssn(ssn),))
    twin = (await desk.practice.stored(a_patient(ssn=ssn))).id
    booked = await desk.book(an_appointment(twin, colleague, at(9)))
    wanted = an_appointment(twin, colleague, at(15))
    series = await desk.appointments.book(desk.actor, wanted, Recurrence(frequency=Frequency.WEEKLY, times=3))
    duplicates = DuplicateService(desk.practice.begin, desk.practice.reading, Cursors(keyring), desk.practice.clock)
    (review,) = (await duplicates.list(desk.actor)).items
    await duplicates.merge(desk.actor, review.id, patient, "One person")
    assert (await desk.appointments.view(desk.actor, patient, booked.id)).patient == twin
    with pytest.raises(NotFound):
        await desk.appointments.view(desk.actor, twin, booked.id)
    day = await desk.appointments.day(desk.actor, colleague, MONDAY)
    assert [one.id for one in day.appointments] == [booked.id, series[0].id]
    with pytest.raises(Overlapping):
        await desk.book(an_appointment(patient, practitioner, at(9)))
    (moved,) = await desk.appointments.move(desk.actor, patient, booked.id, NewTime(starts_at=at(9, 15)), version=1)
    assert moved.starts_at == at(9, 15)
    await desk.book(an_appointment(patient, practitioner, at(11)))
    with pytest.raises(Overlapping):
        await desk.appointments.move(desk.actor, patient, booked.id, NewTime(starts_at=at(10, 45)), version=2)
    gone = await desk.appointments.cancel(desk.actor, patient, series[0].id, "Moves away", version=1, following=True)
    assert [one.id for one in gone] == [one.id for one in series]
