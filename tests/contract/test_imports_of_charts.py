"""Appointments, prescriptions and notes of other systems: each comes once, is followed, and is told of by one event."""

import asyncio
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest

from clarity.application.admission import admit
from clarity.application.charts import Charting
from clarity.application.imports import BadInput, ImportService, Incoming, Taken, Tally
from clarity.application.ports import ChartRepository, Work
from clarity.domain.access import Action, Role
from clarity.domain.appointments import Appointment, AppointmentStatus
from clarity.domain.audit import Outcome
from clarity.domain.errors import Forbidden
from clarity.domain.ids import PatientId
from clarity.domain.medications import Prescription, PrescriptionStatus
from clarity.domain.notes import Note, NoteStatus
from clarity.domain.records import Label, Resource
from tests.builders import NOW, an_actor, new_id, the_operator
from tests.bundles import (
    Json,
    a_document,
    a_fhir_appointment,
    a_fhir_patient,
    a_fhir_practitioner,
    an_order,
    incoming,
    urn,
)
from tests.lives import removed
from tests.practice import Practice

ADA = a_fhir_patient("ada", mrn="1")
ANNA = a_fhir_practitioner("anna")
KINDS = (Resource.APPOINTMENT, Resource.PRESCRIPTION, Resource.NOTE)


@pytest.fixture
def imports(practice: Practice) -> ImportService:
    return ImportService(practice.begin, lambda: NOW)


async def take(imports: ImportService, *resources: Json) -> dict[Resource, Tally]:
    """Import resources with the patient and the practitioner they are about; return what became of the records."""
    outcome = await imports.take(the_operator(), incoming(ADA, ANNA, *resources))
    assert isinstance(outcome, Taken), outcome
    return {kind: tally for kind, tally in outcome.records.items() if tally != Tally()}


async def refused(imports: ImportService, unit: Incoming) -> BadInput:
    outcome = await imports.take(the_operator(), unit)
    assert isinstance(outcome, BadInput)
    return outcome


def kept(work: Work, kind: Resource) -> ChartRepository[Any, Any]:
    by_kind: dict[Resource, ChartRepository[Any, Any]] = {
        Resource.APPOINTMENT: work.appointments,
        Resource.PRESCRIPTION: work.prescriptions,
        Resource.NOTE: work.notes,
    }
    return by_kind[kind]


async def found(practice: Practice, resource: Json) -> tuple[PatientId, Any]:
    """Return the record that came from a resource, and whose it is."""
    source = f"import|{resource['resourceType']}/{resource['id']}"
    kind = {"Appointment": Resource.APPOINTMENT, "MedicationRequest": Resource.PRESCRIPTION}
    async with practice.reading(snapshot=True) as work:
        (there,) = (await work.sources.find([source])).values()
        records = kept(work, kind.get(resource["resourceType"], Resource.NOTE))
        whose = await work.patients.get(there.patient)
        closed = await records.get(whose, there.record)
        return there.patient, records.open(admit(work, the_operator(), Action.VIEW, closed, at=NOW))


async def opened(practice: Practice, resource: Json) -> Any:
    return (await found(practice, resource))[1]


def one_of_each(**more: Any) -> tuple[Json, Json, Json]:
    """Return an appointment, an order and a document, always with the same ids."""
    return (
        a_fhir_appointment(urn(ADA), urn(ANNA), id="a", **more),
        an_order(urn(ADA), id="o", requester={"reference": urn(ANNA)}, **more),
        a_document(urn(ADA), id="d", author=[{"reference": urn(ANNA)}], **more),
    )


async def test_records_come_once_and_say_who_wrote_them(practice: Practice, imports: ImportService) -> None:
    records = one_of_each()
    assert await take(imports, *records) == {kind: Tally(added=1) for kind in KINDS}
    appointment, prescription, note = [await opened(practice, one) for one in records]
    assert isinstance(appointment, Appointment)
    assert isinstance(prescription, Prescription)
    assert isinstance(note, Note)
    assert {one.version for one in (appointment, prescription, note)} == {1}
    assert {one.author for one in (appointment, prescription, note)} == {the_operator().id}
    assert appointment.practitioner == prescription.prescriber
    assert (prescription.prescribed_by, note.written_by, note.status) == ("", "Dr. Anna Freud", NoteStatus.SIGNED)
    told = len(await practice.events())
    assert await take(imports, *records) == {kind: Tally(unchanged=1) for kind in KINDS}
    assert [await opened(practice, one) for one in records] == [appointment, prescription, note]
    # They were opened to be compared, so the trail tells that; nothing was written.
    events = [event for event in (await practice.events())[told:] if event.action is Action.IMPORT]
    assert {event.version for event in events if event.resource in KINDS} == {0}


async def test_one_event_tells_of_the_records_of_one_kind_in_one_chart(
    practice: Practice, imports: ImportService
) -> None:
    orders = [an_order(urn(ADA)) for _ in range(3)]
    await take(imports, *orders, *(a_document(urn(ADA)) for _ in range(2)))
    patient, _ = await found(practice, orders[0])
    events = [event for event in await practice.events() if event.resource in KINDS and event.action is Action.IMPORT]
    told = Counter((event.resource, event.patient, event.ids_count, event.outcome) for event in events)
    assert told == {
        (Resource.PRESCRIPTION, patient, 3, Outcome.SUCCEEDED): 1,
        (Resource.NOTE, patient, 2, Outcome.SUCCEEDED): 1,
    }


async def test_the_order_of_recording_is_the_order_of_time(practice: Practice, imports: ImportService) -> None:
    days = ("2026-02-01T00:00:00Z", "2025-12", "2026-01-05T00:00:00-05:00", "2026-01-05T00:00:00Z", "2024")
    orders = [an_order(urn(ADA), authoredOn=day) for day in days]
    await take(imports, *orders)
    made = {(await opened(practice, one)).id: one["authoredOn"] for one in orders}
    assert [made[identity] for identity in sorted(made)] == [days[index] for index in (4, 1, 3, 2, 0)]


async def test_what_the_source_changed_is_a_new_version(practice: Practice, imports: ImportService) -> None:
    await take(imports, *one_of_each())
    moved = a_fhir_appointment(urn(ADA), urn(ANNA), id="a", status="fulfilled", start="2026-03-01T09:00:00Z")
    stopped = an_order(urn(ADA), id="o", status="stopped")
    corrected = a_document(urn(ADA), "Slept badly.", id="d")
    assert await take(imports, moved, stopped, corrected) == {kind: Tally(changed=1) for kind in KINDS}
    appointment, prescription, note = [await opened(practice, one) for one in (moved, stopped, corrected)]
    assert {one.version for one in (appointment, prescription, note)} == {2}
    assert (appointment.status, prescription.status) == (AppointmentStatus.COMPLETED, PrescriptionStatus.STOPPED)
    assert note.body == "Slept badly."
    async with practice.reading(snapshot=True) as work:
        history = await Charting(work, work.notes, the_operator(), NOW).history(note.patient, note.id)
    assert [one.record.body for one in history] == ["Slept badly.", "Slept well."]


async def test_what_was_said_here_stays_until_the_source_says_something_else(
    practice: Practice, imports: ImportService
) -> None:
    records = one_of_each()
    await take(imports, *records)
    patient, prescription = await found(practice, records[1])
    _, note = await found(practice, records[2])
    ended = prescription.stopped(NOW.date(), "rash", NOW.date())
    cosigned = replace(note.cosigned(new_id(), NOW), label=Label.RESTRICTED)
    changes: tuple[tuple[Resource, Prescription | Note], ...]
    changes = ((Resource.PRESCRIPTION, ended), (Resource.NOTE, cosigned))
    async with practice.begin() as work:
        for kind, changed in changes:
            closed = await kept(work, kind).get(await work.patients.get(patient), changed.id)
            kept(work, kind).open(admit(work, the_operator(), Action.IMPORT, closed, at=NOW))
            await kept(work, kind).follow(changed)
    assert await take(imports, *records) == {kind: Tally(unchanged=1) for kind in KINDS}
    assert (await opened(practice, records[1])).end == ended.end
    assert await take(imports, a_document(urn(ADA), "Slept badly.", id="d")) == {Resource.NOTE: Tally(changed=1)}
    now = await opened(practice, records[2])
    assert (now.body, now.cosignatures, now.label) == ("Slept badly.", cosigned.cosignatures, Label.RESTRICTED)


async def test_past_appointments_may_overlap_and_only_those_that_are_booked_exclude_each_other(
    practice: Practice, imports: ImportService
) -> None:
    night = {"start": "1999-12-31T23:00:00Z", "end": "2000-01-01T04:00:00Z"}
    past = [a_fhir_appointment(urn(ADA), urn(ANNA), status=status, **night) for status in ("fulfilled", "noshow")]
    cancelled = a_fhir_appointment(urn(ADA), urn(ANNA), status="cancelled", **night)
    booked = a_fhir_appointment(urn(ADA), urn(ANNA), **night)
    assert await take(imports, *past, cancelled, booked) == {Resource.APPOINTMENT: Tally(added=4)}
    ended = await opened(practice, cancelled)
    assert (ended.cancellation.by, ended.cancellation.reason) == (the_operator().id, "The source gives no reason.")
    again = a_fhir_appointment(urn(ADA), urn(ANNA), **night)
    eve = a_fhir_patient("eve")
    bad = await refused(imports, incoming(ADA, ANNA, eve, an_order(urn(eve)), again))
    assert bad.problem.startswith("This time is taken")
    assert (bad.patients, bad.practitioners, bad.records) == (2, 1, {Resource.APPOINTMENT: 1, Resource.PRESCRIPTION: 1})
    async with practice.reading() as work:
        assert await work.patients.find_by_source("import|Patient/eve") is None


async def test_nothing_of_a_unit_stays_that_refers_to_nobody(practice: Practice, imports: ImportService) -> None:
    order = an_order(urn(ADA), id="o")
    unknown = [
        ("subject", an_order("Patient/nobody")),
        ("Appointment.participant.1.actor", a_fhir_appointment(urn(ADA), "Practitioner/nobody")),
    ]
    for element, resource in unknown:
        bad = await refused(imports, incoming(ADA, ANNA, order, resource))
        assert (bad.unresolved, bad.place.entry) == (True, 4)
        assert bad.problem == f"{element}: refers to nobody who is known here"
    async with practice.reading() as work:
        assert await work.patients.find_by_source("import|Patient/ada") is None
        assert await work.sources.find(["import|MedicationRequest/o"]) == {}
    # Who is known by name alone has written a note all the same.
    named = a_document(urn(ADA), author=[{"reference": "Practitioner/nobody", "display": "Dr. Nobody"}])
    await take(imports, named)
    assert (await opened(practice, named)).written_by == "Dr. Nobody"


async def test_a_resource_of_one_patient_does_not_become_anothers(imports: ImportService) -> None:
    await take(imports, an_order(urn(ADA), id="o"))
    eve = a_fhir_patient("eve")
    bad = await refused(imports, incoming(eve, an_order(urn(eve), id="o")))
    assert "came before as another patient's" in bad.problem
    # Of another source, the same id is another resource.
    other = incoming(eve, an_order(urn(eve), id="o"), system="elsewhere")
    outcome = await imports.take(the_operator(), other)
    assert isinstance(outcome, Taken)
    assert outcome.records[Resource.PRESCRIPTION] == Tally(added=1)


async def test_nothing_is_added_to_the_chart_of_somebody_who_was_deleted(
    practice: Practice, imports: ImportService
) -> None:
    await take(imports)
    async with practice.reading() as work:
        ada = await work.patients.find_by_source("import|Patient/ada")
    assert ada is not None
    await removed(practice.begin, ada)
    bad = await refused(imports, incoming(an_order("Patient/ada")))
    assert "an import adds nothing to their chart" in bad.problem


async def test_only_the_system_imports_into_charts(practice: Practice, imports: ImportService) -> None:
    await take(imports)
    unit = incoming(an_order("Patient/ada", id="o"))
    for role in (Role.CLINICIAN, Role.ADMINISTRATOR):
        with pytest.raises(Forbidden):
            await imports.take(an_actor(role), unit)
    async with practice.reading() as work:
        assert await work.sources.find(["import|MedicationRequest/o"]) == {}
    refused_ = [event for event in await practice.events() if event.outcome is Outcome.REFUSED]
    assert {(event.resource, event.action) for event in refused_} == {(Resource.PRESCRIPTION, Action.IMPORT)}


@pytest.mark.parametrize("storage", ["sqlite", "postgresql"], indirect=True)
async def test_two_imports_at_once_make_each_record_once(imports: ImportService) -> None:
    units = [incoming(ADA, ANNA, *one_of_each()) for _ in range(4)]
    outcomes = await asyncio.gather(*(imports.take(the_operator(), unit) for unit in units))
    taken = [outcome for outcome in outcomes if isinstance(outcome, Taken)]
    assert len(taken) == len(units), outcomes
    assert {kind: sum(one.records[kind].added for one in taken) for kind in KINDS} == dict.fromkeys(KINDS, 1)
