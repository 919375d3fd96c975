"""What the made-up patients take, as the notes on them have it, and what they told of it."""

import re
from collections.abc import Iterator, Sequence
from datetime import date, datetime, time, timedelta, tzinfo
from decimal import Decimal
from random import Random
from typing import Final

from clarity.application.ports import NewId
from clarity.demo.notes import entries_of
from clarity.domain.access import OPERATOR
from clarity.domain.dates import PartialDate
from clarity.domain.dosages import Dosage, Dose, DoseUnit, PeriodUnit, Route, Timing
from clarity.domain.ids import InteractionId, PractitionerId, PrescriptionId
from clarity.domain.interactions import Channel, Direction, DoseOutcome, Interaction
from clarity.domain.medications import End, FormerDosage, Prescription, Substance
from clarity.domain.patients import Patient, PatientStatus

_TREATMENT = re.compile(
    r"(?P<name>[A-Za-z]+(?: (?:carbonate|palmitate|lauroxil|XL|XR|ER))?) (?P<amount>[\d.]+) mg"
    r" (?P<how>twice daily|daily|at night|in the morning|monthly)"
)
_MONTHLY, _TWICE = Timing(period_unit=PeriodUnit.MONTH), Timing(frequency=2)
_EVENING: Final = time(20)
_DAYS_TOLD: Final = 5
_MESSAGES = (
    ("Asked about a missed dose", "I forgot it on Sunday. Should I take two tonight?"),
    ("Tells how the week was", "Slept better since the change. A little queasy in the mornings."),
    ("Asks for another appointment", "Could we meet a week later? I am travelling."),
)


def prescriptions_of(patient: Patient, prescriber: PractitionerId, new_id: NewId) -> Iterator[Prescription]:
    """Yield the prescriptions that follow from the notes in a made-up record, each with its changes of dosage."""
    courses: dict[str, list[tuple[date, Dosage]]] = {}
    for day, told in entries_of(patient):
        for found in _TREATMENT.finditer(told):
            course = courses.setdefault(found["name"].lower(), [])
            dosage = _dosage(found["amount"], found["how"])
            if not course or course[-1][1] != dosage:
                course.append((day, dosage))
    for name, course in courses.items():
        (begun, _), *changes = course
        yield Prescription(
            id=PrescriptionId(new_id()),
            patient=patient.id,
            name=name.capitalize(),
            ingredients=(Substance(name=name.removesuffix(" xl").removesuffix(" xr").removesuffix(" er")),),
            start=PartialDate.of(begun),
            dosage=course[-1][1],
            former=tuple(
                FormerDosage(dosage=before, until=until)
                for (_, before), (until, _) in zip(course, changes, strict=False)
            ),
            prescriber=prescriber,
            end=_end(patient),
            author=OPERATOR,
        )


def contacts_of(
    patient: Patient, prescriptions: Sequence[Prescription], random: Random, now: datetime, zone: tzinfo, new_id: NewId
) -> Iterator[Interaction]:
    """Yield what somebody who takes something told in the last days: of doses by an app, and a message."""
    taken = [one for one in prescriptions if one.end is None and one.dosage.timing not in {_MONTHLY, None}]
    if patient.status is not PatientStatus.ACTIVE or not taken:
        return
    today = now.astimezone(zone).date()
    for back in range(_DAYS_TOLD, 0, -1):
        day = today - timedelta(days=back)
        if day >= taken[0].start.first:
            outcome = DoseOutcome.TAKEN if random.random() < 0.85 else DoseOutcome.SKIPPED
            yield Interaction(
                id=InteractionId(new_id()),
                patient=patient.id,
                channel=Channel.APP_EVENT,
                direction=Direction.FROM_PATIENT,
                occurred_at=datetime.combine(day, _EVENING, zone),
                summary=f"Dose {outcome}",
                prescription=taken[0].id,
                dose=outcome,
                author=OPERATOR,
            )
    summary, payload = random.choice(_MESSAGES)
    yield Interaction(
        id=InteractionId(new_id()),
        patient=patient.id,
        channel=Channel.MESSAGE,
        direction=Direction.FROM_PATIENT,
        occurred_at=now - timedelta(hours=random.randint(3, 90)),
        summary=summary,
        payload=payload,
        author=OPERATOR,
    )


def _dosage(amount: str, how: str) -> Dosage:
    return Dosage(
        dose=Dose(value=Decimal(amount), unit=DoseUnit.MILLIGRAM),
        route=Route.INTRAMUSCULAR if how == "monthly" else Route.ORAL,
        timing={"monthly": _MONTHLY, "twice daily": _TWICE}.get(how, Timing()),
        instruction=how if how in {"at night", "in the morning"} else "",
    )


def _end(patient: Patient) -> End | None:
    if patient.discharged:
        return End(on=PartialDate.of(patient.discharged), known_on=patient.discharged, reason="Care ended")
    if patient.death and patient.death.day:
        return End(on=patient.death.day, known_on=patient.death.day.last, reason="The patient died")
    return None
