"""What is in the agendas of the made-up practice, some weeks back and some ahead."""

from collections.abc import Iterator, Sequence
from datetime import date, datetime, time, timedelta, tzinfo
from random import Random
from typing import Final

from clarity.application.ports import NewId
from clarity.domain.access import OPERATOR
from clarity.domain.appointments import Appointment, AppointmentKind, AppointmentStatus, Cancellation, Setting
from clarity.domain.ids import AppointmentId, PractitionerId
from clarity.domain.patients import Patient, PatientStatus
from clarity.domain.schedule import Fold, instant_at

APPOINTED: Final = 200
"""How many patients have appointments: those with lower numbers."""

# More than anybody treats of them.
_CASELOAD = 50
_VISITS = 4
_DAYS_EITHER_WAY = 14
_SLOT = timedelta(minutes=30)
_MORNING, _AFTERNOON = time(8, 30), time(13)
_SLOTS_BEFORE_NOON = 7
_REASONS = {
    AppointmentKind.FOLLOW_UP: ("How the new dose is going", "Sleep diary", "Back at work since the last visit"),
    AppointmentKind.MEDICATION: ("Lithium level and kidney function", "Side effects of sertraline", "Renewal"),
    AppointmentKind.THERAPY: ("Session of CBT", "Exposure, third step", "Grief after the move"),
    AppointmentKind.ASSESSMENT: ("PHQ-9 and GAD-7", "ADHD questionnaires", "Cognitive screening"),
}
_EXCUSES = ("Has a cold", "No sitter for the children", "At work that day", "The car broke down", "Feels better")


class Agenda:
    """Appointments on working days around today: everything follows from `seed`, `today` and `zone`."""

    def __init__(self, seed: int, today: date, zone: tzinfo) -> None:
        """Look up the working days around today."""
        self._seed, self._zone = seed, zone
        self._days = _working_days(today)

    def of(
        self, number: int, rank: int, patient: Patient, practitioner: PractitionerId, now: datetime, new_id: NewId
    ) -> Iterator[Appointment]:
        """Yield the appointments of patient `number`, who has the place `rank` among those of a practitioner."""
        random = Random(f"{self._seed}/agenda/{number}")
        for visit in range(_VISITS):
            # No two of a practitioner have one place, so that none overlap; a patient's own are weeks apart.
            slot, day = divmod(visit * _CASELOAD + rank, len(self._days))
            start = self._start(self._days[day], slot)
            kind = random.choice(tuple(_REASONS))
            status = _status(random, over=start + _SLOT <= now)
            if start > now and patient.status is not PatientStatus.ACTIVE:
                continue
            excuse, days_before = random.choice(_EXCUSES), random.randint(1, 4)
            cancelled_at = min(now, start - timedelta(days=days_before))
            yield Appointment(
                id=AppointmentId(new_id()),
                patient=patient.id,
                practitioner=practitioner,
                starts_at=start,
                ends_at=start + random.choice((_SLOT, _SLOT, timedelta(minutes=25))),
                kind=kind,
                setting=Setting.VIDEO if random.random() < 0.2 else Setting.IN_PERSON,
                place=f"Room {random.randint(201, 218)}",
                reason=random.choice(_REASONS[kind]),
                status=status,
                cancellation=Cancellation(reason=excuse, by=OPERATOR, at=cancelled_at)
                if status is AppointmentStatus.CANCELLED
                else None,
                author=OPERATOR,
            )

    def _start(self, day: date, slot: int) -> datetime:
        afternoon = slot - _SLOTS_BEFORE_NOON
        begins = _MORNING if afternoon < 0 else _AFTERNOON
        local = datetime.combine(day, begins) + _SLOT * (slot if afternoon < 0 else afternoon)
        return instant_at(local, self._zone, Fold.FIRST)


def _working_days(today: date) -> Sequence[date]:
    """Return the working days around today, or around the next one."""
    while today.weekday() > 4:
        today += timedelta(days=1)
    around = (today + timedelta(days=offset) for offset in range(-_DAYS_EITHER_WAY, _DAYS_EITHER_WAY + 1))
    return [day for day in around if day.weekday() <= 4]


def _status(random: Random, *, over: bool) -> AppointmentStatus:
    chance = random.random()
    if chance < 0.08:
        return AppointmentStatus.CANCELLED
    if not over:
        return AppointmentStatus.BOOKED
    return AppointmentStatus.NO_SHOW if chance < 0.17 else AppointmentStatus.COMPLETED
