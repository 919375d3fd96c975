"""Prescriptions on every storage: ordered and changed, what held on a day, what overlaps, what was taken."""

from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from decimal import Decimal

import pytest

from clarity.application.interactions import InteractionService
from clarity.application.medications import MedicationService, PrescriptionsAsked
from clarity.application.patients import RepeatKey
from clarity.domain.access import Action, Actor, Role
from clarity.domain.dosages import Dosage, Dose, DoseUnit, Route, Timing
from clarity.domain.errors import Conflict, Invalid, NotFound, StaleWrite
from clarity.domain.ids import PatientId, PrescriptionId
from clarity.domain.interactions import DoseOutcome
from clarity.domain.medications import Prescription, PrescriptionStatus
from clarity.domain.records import Label, Resource
from clarity.security.cursors import Cursors
from clarity.security.keyring import Keyring
from tests.builders import (
    NOW,
    TODAY,
    a_consent,
    a_patient,
    a_practitioner,
    a_prescription,
    an_actor,
    an_interaction,
    new_id,
    the_operator,
)
from tests.practice import Practice
from tests.ties import consented


@dataclass(frozen=True, slots=True)
class Ward:
    """A patient whom somebody treats, and the use-cases on what they take."""

    medications: MedicationService
    interactions: InteractionService
    patient: PatientId
    carer: Actor

    async def ordered(self, **content: object) -> Prescription:
        """Order something."""
        order = a_prescription(self.patient, **content)  # type: ignore[arg-type]
        return (await self.medications.prescribe(self.carer, order)).prescriptions.items[0]

    async def on(self, day: date, actor: Actor | None = None) -> set[PrescriptionId]:
        """Return what held on a day."""
        found = await self.medications.list(actor or self.carer, self.patient, PrescriptionsAsked(on=day))
        return {one.id for one in found.prescriptions.items}


@pytest.fixture
async def ward(practice: Practice, keyring: Keyring) -> Ward:
    carer = await practice.employed(a_practitioner())
    patient = await practice.stored(a_patient(care_team=frozenset({carer.id})))
    cursors = Cursors(keyring)
    return Ward(
        MedicationService(
            begin=practice.begin,
            reading=practice.reading,
            cursors=cursors,
            now=lambda: NOW,
            today=lambda: TODAY,
            zone=UTC,
        ),
        InteractionService(practice.begin, practice.reading, cursors, lambda: NOW),
        patient.id,
        an_actor(practitioner=carer.id),
    )


async def test_a_prescription_from_its_order_to_its_end(ward: Ward) -> None:
    medications, carer, patient = ward.medications, ward.carer, ward.patient
    order = await ward.ordered(start="2026-01-10")
    assert (order.version, order.prescriber, order.author) == (1, carer.practitioner, carer.id)
    more = Dosage(dose=Dose(value=Decimal("100.5"), unit=DoseUnit.MILLIGRAM), route=Route.ORAL, timing=Timing())
    changed = await medications.change(carer, patient, order.id, {"dosage": more}, since=date(2026, 2, 1), version=1)
    assert changed.prescriptions.items[0].dosage_on(TODAY) == more
    held = await medications.hold(carer, patient, order.id, "Nausea", day=date(2026, 2, 10), version=2)
    assert held.status is PrescriptionStatus.ON_HOLD
    await medications.resume(carer, patient, order.id, day=date(2026, 2, 20), version=3)
    stopped = await medications.stop(carer, patient, order.id, "Remission", day=date(2026, 3, 1), version=4)
    stored = await medications.view(carer, patient, order.id)
    assert stored == stopped
    assert (stored.status, stored.version, stored.dosage_on(date(2026, 1, 20))) == ("stopped", 5, order.dosage)
    versions = await medications.history(carer, patient, order.id)
    assert [one.record.status.value for one in versions] == ["stopped", "active", "on-hold", "active", "active"]
    with pytest.raises(StaleWrite):
        await medications.mark_mistaken(carer, patient, order.id, "Twice", version=4)
    with pytest.raises(Conflict):
        await medications.resume(carer, patient, order.id, version=5)
    with pytest.raises(Invalid):
        await ward.ordered(dosage=Dosage())
    assert [await ward.on(date(2026, month, 15)) for month in (1, 2, 3)] == [{order.id}, {order.id}, set()]


async def test_prescriptions_are_for_the_care_team_and_the_patient_who_orders_nothing(ward: Ward) -> None:
    order, hidden = await ward.ordered(), await ward.ordered(label=Label.RESTRICTED)
    himself = an_actor(Role.PATIENT, patient=ward.patient)
    nurse = an_actor(Role.NURSE, practitioner=ward.carer.practitioner)
    assert await ward.on(TODAY, himself) == await ward.on(TODAY, nurse) == {order.id, hidden.id}
    for actor in (himself, nurse, an_actor(practitioner=a_practitioner().id)):
        with pytest.raises(NotFound):
            await ward.medications.prescribe(actor, a_prescription(ward.patient))
        with pytest.raises(NotFound):
            await ward.medications.stop(actor, ward.patient, order.id, "Tired of it", version=1)
    for actor in (an_actor(Role.FRONT_DESK), an_actor(Role.DEVICE, patient=ward.patient)):
        with pytest.raises(NotFound):
            await ward.on(TODAY, actor)


async def test_what_overlaps_is_told_to_whoever_may_see_both(practice: Practice, ward: Ward) -> None:
    medications, patient = ward.medications, ward.patient
    first = await ward.ordered(start="2026-01-01")
    other = await ward.ordered(name="Lisinopril 10 MG Oral Tablet")
    once = RepeatKey(key="p-1", request=b"the same")
    order = a_prescription(patient, name="sertraline hydrochloride 100 MG Oral Tablet", start="2026-03-01")
    made = await medications.prescribe(ward.carer, order, repeat=once)
    assert [one.prescriptions for one in made.overlaps] == [(order.id, first.id)]
    assert made.complete
    again = await medications.prescribe(ward.carer, replace(order, id=PrescriptionId(new_id())), repeat=once)
    assert (again.prescriptions.items[0].id, again.overlaps) == (order.id, made.overlaps)
    page = await medications.list(ward.carer, patient, PrescriptionsAsked(), at_most=1)
    assert [one.id for one in page.prescriptions.items] == [order.id]
    assert [set(one.prescriptions) for one in page.overlaps] == [{order.id, first.id}]
    assert (page.prescriptions.count, page.prescriptions.exact) == (3, True)
    shown = (await practice.events())[-1]
    assert (shown.action, shown.resource, set(shown.ids)) == (Action.LIST, Resource.PRESCRIPTION, {order.id, first.id})
    rest = await medications.list(
        ward.carer, patient, PrescriptionsAsked(), cursor=page.prescriptions.next_cursor, at_most=2
    )
    assert [one.id for one in rest.prescriptions.items] == [other.id, first.id]
    active = PrescriptionsAsked(status=PrescriptionStatus.STOPPED)
    assert (await medications.list(ward.carer, patient, active)).prescriptions.count == 0
    # What the patient keeps from this carer is compared with nothing that the carer is shown.
    secret = a_prescription(patient, label=Label.PART2)
    await medications.prescribe(the_operator(), secret)
    seen = await medications.list(ward.carer, patient, PrescriptionsAsked())
    assert all(secret.id not in one.prescriptions for one in seen.overlaps)
    consent = a_consent(recipients=(ward.carer.practitioner,))  # type: ignore[arg-type]
    await consented(practice, patient, consent)
    told = (await medications.list(ward.carer, patient, PrescriptionsAsked(), at_most=1)).overlaps
    assert [one.notice is not None for one in told if secret.id in one.prescriptions] == [True, True]
    himself = an_actor(Role.PATIENT, patient=patient)
    theirs = await medications.list(himself, patient, PrescriptionsAsked())
    assert any(secret.id in one.prescriptions for one in theirs.overlaps)


async def test_adherence_is_told_by_the_doses_that_are_reported(ward: Ward) -> None:
    order, other = await ward.ordered(start="2026-03-01"), await ward.ordered(start="2026-03-01")
    device = an_actor(Role.DEVICE, patient=ward.patient)
    for day, outcome in ((1, "taken"), (2, "taken"), (3, "skipped"), (4, "taken")):
        at = datetime(2026, 3, day, 20, tzinfo=UTC)
        told = an_interaction(ward.patient, occurred_at=at, prescription=order.id, dose=DoseOutcome(outcome))
        await ward.interactions.record(device, told)
    await ward.interactions.record(device, an_interaction(ward.patient, prescription=other.id, dose=DoseOutcome.TAKEN))
    await ward.interactions.record(device, an_interaction(ward.patient, prescription=order.id))
    found = await ward.medications.adherence(
        ward.carer, ward.patient, order.id, since=date(2026, 3, 1), until=date(2026, 3, 5)
    )
    assert (found.days, found.taken, found.skipped, found.due) == (5, 3, 1, Decimal(5))
    assert (found.dose_ratio, found.days_covered) == (Decimal("0.600"), Decimal("0.600"))
    with pytest.raises(Invalid, match="until"):
        await ward.medications.adherence(ward.carer, ward.patient, order.id, until=date(2026, 3, 15))
    for reference in (PrescriptionId(new_id()), a_prescription(ward.patient).id):
        with pytest.raises(Invalid, match="prescription"):
            await ward.interactions.record(device, an_interaction(ward.patient, prescription=reference))
    with pytest.raises(NotFound):
        await ward.medications.adherence(device, ward.patient, order.id)
