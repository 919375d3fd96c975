"""What becomes of appointments, orders of medicines and documents on the way in."""

from base64 import b64encode
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import pytest

from clarity.application.imports import Incoming, IncomingRecord, LeftOut
from clarity.domain.appointments import Appointment, AppointmentKind, AppointmentStatus
from clarity.domain.dates import PartialDate
from clarity.domain.identifiers import IndexKind, IndexTerm
from clarity.domain.medications import Prescription, PrescriptionStatus
from clarity.domain.notes import MAX_BODY_BYTES, Note, NoteKind, NoteStatus
from clarity.domain.records import Label
from clarity.fhir.prescriptions import RXNORM
from tests.builders import TODAY
from tests.bundles import (
    Json,
    a_bundle,
    a_document,
    a_fhir_appointment,
    a_fhir_patient,
    a_fhir_practitioner,
    an_attachment,
    an_order,
    incoming,
    problem_of,
    urn,
)

ADA = a_fhir_patient("ada")
ANNA = a_fhir_practitioner("anna")
SNOMED = "http://snomed.info/sct"


def only(resource: Json, *others: Json) -> IncomingRecord:
    (record,) = incoming(ADA, ANNA, resource, *others).records
    return record


def left_out(resource: Json) -> str:
    unit = incoming(ADA, ANNA, resource)
    assert unit.records == ()
    ((reason, count),) = unit.left_out.items()
    assert (reason.type, count) == (resource["resourceType"], 1)
    return reason.reason


def problem(resource: Json) -> str:
    return problem_of(a_bundle(ADA, ANNA, resource))


def note_of(**more: Any) -> Note:
    record = only(a_document(urn(ADA), **more)).record
    assert isinstance(record, Note)
    return record


def prescription_of(*others: Json, **more: Any) -> Prescription:
    record = only(an_order(urn(ADA), **more), *others).record
    assert isinstance(record, Prescription)
    return record


def appointment_of(**more: Any) -> Appointment:
    record = only(a_fhir_appointment(urn(ADA), urn(ANNA), **more)).record
    assert isinstance(record, Appointment)
    return record


def dosage_of(**dosage: Any) -> str:
    return str(prescription_of(dosageInstruction=[dosage]).dosage)


def test_records_come_with_whose_they_are_and_are_counted_with_the_kept() -> None:
    unit = incoming(
        ADA, ANNA, an_order(urn(ADA)), a_document("Patient/before"), a_fhir_appointment(urn(ADA), urn(ANNA))
    )
    assert [one.subject for one in unit.records] == [
        "import|Patient/ada",
        "import|Patient/before",
        "import|Patient/ada",
    ]
    assert [one.place.entry for one in unit.records] == [3, 4, 5]
    assert unit.records[2].practitioner == IndexTerm(IndexKind.SOURCE, "import|Practitioner/anna")
    assert unit.unplaced == {}
    assert "sertraline" not in repr(unit)


def test_a_document_becomes_a_signed_note() -> None:
    record = only(a_document("Patient/ada", id="d1", context={"encounter": [{"reference": "Encounter/e1"}]}))
    note = record.record
    assert isinstance(note, Note)
    written = datetime(2026, 1, 5, 10, 30, 0, 500_000, timezone(timedelta(hours=1)))
    assert (note.status, note.signed_at, note.about, record.at) == (NoteStatus.SIGNED, written, written, written)
    assert (note.kind, note.title, note.body) == (NoteKind.PROGRESS, "Progress note", "Slept well.")
    assert (note.written_by, note.encounter, note.sources) == (
        "Dr. Anna Freud",
        "Encounter/e1",
        ("import|DocumentReference/d1",),
    )
    assert note.about is not None
    assert note.about.utcoffset() == timedelta(hours=1)
    assert note.source_type is not None
    assert note.source_type.codings[0].code == "11506-3"


@pytest.mark.parametrize(
    ("attachment", "text"),
    [
        (an_attachment("Grüße", "text/plain"), "Grüße"),
        (an_attachment("Grüße".encode("latin-1"), "text/plain; charset=iso-8859-1"), "Grüße"),
        (an_attachment("\ufeff# Plan", "Text/Markdown"), "# Plan"),
        (an_attachment("a" * 80), "a" * 80),
    ],
)
def test_texts_are_decoded(attachment: Json, text: str) -> None:
    broken = {**attachment, "data": "\r\n".join((attachment["data"][:4], attachment["data"][4:]))}
    pdf = {"attachment": {"contentType": "application/pdf", "data": "AAAA"}}
    assert note_of(content=[pdf, {"attachment": broken}]).body == text


def test_a_partial_day_is_kept_as_partial_as_it_is() -> None:
    note = note_of(context={"period": {"start": "1987-11"}})
    assert (note.about, note.about_day) == (None, PartialDate(1987, 11))
    assert only(a_document(urn(ADA), context={"period": {"start": "1987-11"}})).at == datetime(1987, 11, 1, tzinfo=UTC)
    assert note_of(date="2026-01-05T10:30:00Z", context={"period": {"start": "2026-01-04"}}).about is None


@pytest.mark.parametrize(
    ("code", "kind"),
    [("18842-5", NoteKind.DISCHARGE), ("78306-8", NoteKind.INTAKE), ("34117-2", NoteKind.PROGRESS)],
)
def test_what_plainly_is_an_intake_or_a_discharge_is_one(code: str, kind: NoteKind) -> None:
    note = note_of(type={"coding": [{"system": "http://loinc.org", "code": code}]}, description="Of January")
    assert (note.kind, note.title) == (kind, "Of January")


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"status": "entered-in-error"}, "entered in error"),
        ({"docStatus": "entered-in-error"}, "entered in error"),
        ({"docStatus": "preliminary"}, "preliminary"),
        ({"meta": {"security": [{"code": "PSYTHPN"}]}}, "psychotherapy note"),
        ({"securityLabel": [{"coding": [{"code": "R"}, {"code": "PSYTHPN"}]}]}, "psychotherapy note"),
        ({"subject": {"reference": "Group/g"}}, "of no patient"),
        ({"content": [{"attachment": {"contentType": "text/plain", "url": "Binary/1"}}]}, "without text of its own"),
        ({"content": [{"attachment": an_attachment("%PDF", "application/pdf")}]}, "without text of its own"),
        ({"content": [{"attachment": an_attachment(" \n")}]}, "empty"),
    ],
)
def test_documents_that_are_no_notes_are_left_out_and_counted(more: Json, reason: str) -> None:
    assert left_out({**a_document(urn(ADA)), **more}) == reason


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({"status": None}, "DocumentReference.status: is missing"),
        ({"status": "lost"}, "DocumentReference.status: must be one of the codes that FHIR defines for it"),
        ({"subject": None}, "DocumentReference.subject: is missing"),
        ({"subject": {"reference": "urn:uuid:gone"}}, "DocumentReference.subject: refers to nobody in this input"),
        ({"date": None}, "DocumentReference.date: is missing"),
        ({"date": "1890-01-01T00:00:00Z"}, "DocumentReference.context.period.start: must not be before 1900"),
        (
            {"content": [{"attachment": {"contentType": "text/plain", "data": "%%%"}}]},
            "DocumentReference.content.0.attachment.data: is not base64",
        ),
        (
            {"content": [{"attachment": an_attachment(b"\xff\xfe\xfd")}]},
            "DocumentReference.content.0.attachment.data: is not text in the character set that contentType names",
        ),
        (
            {"content": [{"attachment": an_attachment("x", "text/plain; charset=rot13")}]},
            "DocumentReference.content.0.attachment.contentType: names a character set that is not known here",
        ),
        (
            {"content": [{"attachment": an_attachment("a\0b")}]},
            "DocumentReference.content.attachment.data: must not contain control characters",
        ),
        (
            {"content": [{"attachment": an_attachment("a" * (MAX_BODY_BYTES + 1))}]},
            f"DocumentReference.content.attachment.data: must be at most {MAX_BODY_BYTES:,} bytes as UTF-8",
        ),
    ],
)
def test_a_document_that_is_wrong_is_refused_by_its_element(more: Json, expected: str) -> None:
    document = {name: value for name, value in {**a_document(urn(ADA)), **more}.items() if value is not None}
    assert problem(document) == expected


@pytest.mark.parametrize(
    ("code", "label"),
    [("R", Label.RESTRICTED), ("V", Label.RESTRICTED), ("42CFRPart2", Label.PART2), ("N", Label.NORMAL)],
)
def test_security_labels_become_labels(code: str, label: Label) -> None:
    meta = {"security": [{"code": code}]}
    assert [one.label for one in (note_of(meta=meta), prescription_of(meta=meta), appointment_of(meta=meta))] == [
        label
    ] * 3


def test_an_order_becomes_a_prescription() -> None:
    dosage = {
        "timing": {"repeat": {"frequency": 2, "period": 1, "periodUnit": "d", "boundsPeriod": {"start": "2026-01"}}},
        "route": {"coding": [{"system": SNOMED, "code": "26643006"}]},
        "doseAndRate": [{"doseQuantity": {"value": 12.5, "unit": "mg"}}],
        "additionalInstruction": [{"text": "with food"}],
    }
    requester = {"reference": "Practitioner/anna", "display": "Dr. Anna Freud"}
    reasons = {"reasonCode": [{"text": "low mood"}], "reasonReference": [{"reference": "Condition/c"}]}
    condition = {"resourceType": "Condition", "id": "c", "code": {"text": "Depression"}}
    drug = prescription_of(condition, dosageInstruction=[dosage], requester=requester, **reasons)
    assert (drug.name, drug.code, drug.start) == ("sertraline 50 MG Oral Tablet", "312941", PartialDate(2026, 1))
    assert str(drug.dosage) == "12.5 mg, oral, 2x/d, with food"
    assert (drug.indication, drug.prescribed_by) == ("low mood; Depression", "Dr. Anna Freud")
    assert drug.status is PrescriptionStatus.ACTIVE


@pytest.mark.parametrize(
    ("dosage", "told"),
    [
        ({"asNeededBoolean": True}, "as needed"),
        ({"asNeededCodeableConcept": {"text": "panic"}, "text": "one"}, "as needed for panic, one"),
        ({"doseAndRate": [{"doseQuantity": {"value": 1}}]}, "1"),
        ({"doseAndRate": [{"doseQuantity": {"value": 2, "unit": "spoonfuls"}}]}, "2 spoonfuls"),
        (
            {"doseAndRate": [{"doseRange": {"low": {"value": 1, "unit": "mg"}, "high": {"value": 2, "unit": "mg"}}}]},
            "1 mg to 2 mg",
        ),
        ({"route": {"text": "by ear"}}, "by ear"),
        (
            {"timing": {"repeat": {"frequency": 1, "period": 1, "periodUnit": "wk", "dayOfWeek": ["mon"]}}},
            "1 times in 1 wk; on mon",
        ),
        (
            {"timing": {"repeat": {"frequency": 1, "frequencyMax": 2, "period": 1, "periodUnit": "d"}}},
            "1 times in 1 d; up to 2 times in 1 d",
        ),
        ({"timing": {"code": {"text": "BID"}}}, "BID"),
    ],
)
def test_what_has_no_place_in_a_dosage_is_kept_in_words(dosage: Json, told: str) -> None:
    assert dosage_of(**dosage) == told


def test_of_several_dosages_none_is_taken_for_the_one() -> None:
    first = {"doseAndRate": [{"doseQuantity": {"value": 50, "unit": "mg"}}], "text": "for a week"}
    drug = prescription_of(dosageInstruction=[first, {"text": "then 100 mg"}])
    assert drug.dosage.dose is None
    assert drug.dosage.instruction == "for a week; 50 mg\nthen 100 mg"


@pytest.mark.parametrize(
    ("status", "found"),
    [
        ("active", PrescriptionStatus.ACTIVE),
        ("on-hold", PrescriptionStatus.ON_HOLD),
        ("stopped", PrescriptionStatus.STOPPED),
        ("cancelled", PrescriptionStatus.STOPPED),
        ("completed", PrescriptionStatus.COMPLETED),
        ("entered-in-error", PrescriptionStatus.MISTAKEN),
    ],
)
def test_an_order_stands_where_its_source_says(status: str, found: PrescriptionStatus) -> None:
    assert prescription_of(status=status, statusReason={"text": "rash"}).status is found


def test_when_an_order_ended_is_known_no_better_than_its_source_knows() -> None:
    end = prescription_of(status="stopped", statusReason={"text": "rash"}).end
    assert end is not None
    assert (end.on, end.known_on, end.reason) == (None, TODAY, "rash")
    told = prescription_of(status="completed", meta={"lastUpdated": "2026-02-01T00:00:00Z"}).end
    assert told is not None
    assert told.known_on == date(2026, 2, 1)


def test_a_medicine_may_be_said_elsewhere() -> None:
    medication = {"resourceType": "Medication", "id": "m", "code": {"coding": [{"system": RXNORM, "code": "312941"}]}}
    contained = {"contained": [medication], "medicationReference": {"reference": "#m"}}
    for more in (
        contained,
        {"medicationReference": {"reference": "Medication/m"}},
        {"medicationReference": {"reference": urn(medication)}},
    ):
        assert prescription_of(medication, medicationCodeableConcept=None, **more).code == "312941"
    named = prescription_of(
        medicationCodeableConcept=None, medicationReference={"reference": "Medication/x", "display": "lithium"}
    )
    assert (named.name, named.code) == ("lithium", "")


def test_codes_of_other_systems_are_kept_with_their_text() -> None:
    coding = {"system": "http://snomed.info/sct", "code": "372594008", "display": "Sertraline"}
    drug = prescription_of(medicationCodeableConcept={"coding": [coding]})
    assert (drug.name, drug.code) == ("Sertraline", "")
    assert drug.coded is not None
    assert drug.coded.codings[0].code == "372594008"


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"status": "draft"}, "a draft"),
        ({"status": "unknown"}, "of unknown status"),
        ({"intent": "plan"}, "not an order"),
        ({"doNotPerform": True}, "says what is not to be given"),
        ({"meta": {"security": [{"code": "PSYTHPN"}]}}, "marked as psychotherapy notes are"),
    ],
)
def test_what_is_no_order_is_left_out_and_counted(more: Json, reason: str) -> None:
    assert left_out(an_order(urn(ADA), **more)) == reason


def dosing(**dosage: Any) -> Json:
    return {"dosageInstruction": [dosage]}


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({"intent": None}, "intent: is missing"),
        ({"medicationCodeableConcept": None}, "medicationCodeableConcept: is missing"),
        (
            {"medicationReference": {"reference": "Medication/x"}},
            "medicationReference: refers to no medication in this input, and does not name it",
        ),
        ({"authoredOn": None}, "authoredOn: is missing"),
        ({"authoredOn": "1066"}, "authoredOn: must not be before 1900"),
        (
            dosing(doseAndRate=[{"doseQuantity": {"value": -1, "unit": "mg"}}]),
            "dosageInstruction.0.doseAndRate.0.doseQuantity.value: must be more than zero",
        ),
        (
            dosing(doseAndRate=[{"doseQuantity": {"value": 0, "unit": "spoonfuls"}}]),
            "dosageInstruction.0.doseAndRate.0.doseQuantity.value: must be more than zero",
        ),
        (
            dosing(timing={"repeat": {"frequency": 999, "period": 1, "periodUnit": "d"}}),
            "dosageInstruction.0.timing.repeat.frequency: must be from 1 to 288",
        ),
    ],
)
def test_an_order_that_is_wrong_is_refused_by_its_element(more: Json, expected: str) -> None:
    assert problem(an_order(urn(ADA), **more)) == f"MedicationRequest.{expected}"


def test_an_appointment_comes_with_its_time_and_who_is_there() -> None:
    room = {"actor": {"reference": "Location/1", "display": "Room 3"}, "status": "accepted"}
    away = {"actor": {"reference": "Practitioner/away"}, "status": "declined"}
    unknown = {"actor": {"reference": "urn:uuid:a-room"}}
    participants = [{"actor": {"reference": "Patient/ada"}}, away, {"actor": {"reference": urn(ANNA)}}, room, unknown]
    kinds = {"coding": [{"code": "EMERGENCY", "display": "Emergency appointment"}]}
    more = {"serviceType": [{"text": "crisis"}], "appointmentType": kinds, "comment": "by taxi", "description": "talk"}
    record = only(a_fhir_appointment("", "", participant=participants, end=None, minutesDuration=30, **more))
    one = record.record
    assert isinstance(one, Appointment)
    assert (one.starts_at, one.ends_at - one.starts_at) == (datetime(2026, 4, 1, 7, tzinfo=UTC), timedelta(minutes=30))
    assert record.practitioner == IndexTerm(IndexKind.SOURCE, "import|Practitioner/anna")
    assert (one.kind, one.place, one.reason, one.notes) == (AppointmentKind.EMERGENCY, "Room 3", "talk", "by taxi")
    assert one.service is not None
    assert str(one.service) == "Emergency appointment; crisis"


@pytest.mark.parametrize(
    ("status", "found"),
    [
        ("booked", AppointmentStatus.BOOKED),
        ("arrived", AppointmentStatus.BOOKED),
        ("fulfilled", AppointmentStatus.COMPLETED),
        ("noshow", AppointmentStatus.NO_SHOW),
        ("cancelled", AppointmentStatus.CANCELLED),
    ],
)
def test_an_appointment_stands_where_its_source_says(status: str, found: AppointmentStatus) -> None:
    one = appointment_of(status=status, cancelationReason={"text": "snow"} if status == "cancelled" else None)
    assert one.status is found
    if one.cancellation is not None:
        assert one.cancellation.reason == "snow"


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"status": "proposed"}, "not booked"),
        ({"status": "waitlist"}, "not booked"),
        ({"status": "entered-in-error"}, "entered in error"),
        ({"status": "cancelled", "start": None, "end": None}, "cancelled before it had a time"),
        ({"participant": [{"actor": {"reference": "Patient/ada"}}]}, "with no practitioner"),
        ({"participant": [{"actor": {"reference": "Practitioner/anna"}}]}, "of no patient"),
    ],
)
def test_what_was_never_booked_is_left_out_and_counted(more: Json, reason: str) -> None:
    assert left_out(a_fhir_appointment(urn(ADA), urn(ANNA), **more)) == reason


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({"start": None}, "start: is missing"),
        ({"end": None}, "end: is missing"),
        ({"start": "2026-04-01"}, "start: must have a time of day"),
        ({"end": "2026-04-01T09:00:00+02:00"}, "end: must be after starts_at"),
        (
            {"start": "9999-12-31T23:00:00Z", "end": None, "minutesDuration": 90},
            "minutesDuration: must end within the calendar",
        ),
        ({"status": "gone"}, "status: must be one of the codes that FHIR defines for it"),
        (
            {"participant": [{"actor": {"reference": f"Patient/{name}"}} for name in ("ada", "eve")]},
            "participant: names more than one patient",
        ),
        (
            {"participant": [{"actor": {"reference": "urn:uuid:x"}}]},
            "participant.0.actor: refers to nobody in this input",
        ),
    ],
)
def test_an_appointment_that_is_wrong_is_refused_by_its_element(more: Json, expected: str) -> None:
    assert problem(a_fhir_appointment(urn(ADA), urn(ANNA), **more)) == f"Appointment.{expected}"


def test_what_a_source_says_has_one_digest_and_nothing_else_has_it() -> None:
    order = an_order(urn(ADA), id="o")
    same = {**order, "text": {"status": "generated"}, "meta": {"versionId": "2"}}
    other = {**order, "authoredOn": "2026-01-06"}
    digests = [only(one).record.source_digest for one in (order, dict(reversed(order.items())), same, other)]
    assert digests[0] == digests[1] == digests[2] != digests[3]


def test_resources_of_one_id_are_refused() -> None:
    twins = [an_order(urn(ADA), id="o") for _ in range(2)]
    bundle = a_bundle(ADA, *twins)
    bundle["entry"][2]["fullUrl"] = "urn:uuid:other"
    assert problem_of(bundle) == "MedicationRequest.id: was given before in this input"
    assert problem(an_order(urn(ADA), id="")) != ""


def test_the_reasons_say_nothing_of_what_stood_there() -> None:
    unit = incoming(ADA, an_order(urn(ADA), name="Zanzibarin", status="draft"))
    assert isinstance(unit, Incoming)
    assert list(map(str, unit.left_out)) == [str(LeftOut("MedicationRequest", "a draft"))]
    data = b64encode(b"Zanzibarin\xff").decode()
    bad = problem(a_document(urn(ADA), content=[{"attachment": {"contentType": "text/plain", "data": data}}]))
    assert "Zanzi" not in bad
    assert data not in bad
