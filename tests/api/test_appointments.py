"""Appointments through HTTP: booked by the clock on the wall, refused where they overlap, and shown by day."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from httpx import AsyncClient

from clarity.api.appointments import AppointmentOut
from clarity.domain.access import Role
from clarity.domain.ids import PatientId, PractitionerId
from clarity.domain.people import Concept
from tests.api.clinic import Chart, Clinic, code, fields, seen
from tests.api.test_credentials import a_machine, issued
from tests.builders import NOW, a_patient, an_appointment, new_id

PLAIN: dict[str, Any] = {"starts_at": "2026-03-16T09:00", "minutes": 50, "kind": "therapy", "reason": "Panic at night"}


@pytest.fixture
async def desk(clinic: Clinic) -> AsyncClient:
    return await clinic.front_desk()


def wanted(chart: Chart, **more: Any) -> dict[str, Any]:
    return PLAIN | {"practitioner": str(chart.practitioner.id)} | more


async def test_an_appointment_from_its_booking_to_its_end(clinic: Clinic, chart: Chart, desk: AsyncClient) -> None:
    path, once = f"{chart.path}/appointments", {"Idempotency-Key": "a-1"}
    answer = await desk.post(path, json=wanted(chart), headers=once)
    booked = answer.json()
    assert (answer.status_code, answer.headers["ETag"], answer.headers["Cache-Control"]) == (201, '"1"', "no-store")
    assert (booked["starts_at"], booked["ends_at"]) == ("2026-03-16T13:00:00Z", "2026-03-16T13:50:00Z")
    assert (booked["status"], booked["reason"], booked["series"]) == ("booked", "Panic at night", None)
    assert (await desk.post(path, json=wanted(chart), headers=once)).json() == booked
    reused = await desk.post(path, json=wanted(chart, minutes=30), headers=once)
    assert (reused.status_code, code(reused)) == (409, "reused-idempotency-key")
    taken = await desk.post(path, json=wanted(chart, starts_at="2026-03-16T13:30:00Z"))
    assert (taken.status_code, code(taken), "detail" in taken.json()) == (409, "overlapping", False)

    one = f"{path}/{booked['id']}"
    patched = await desk.patch(
        one, json={"setting": "video", "reason": None}, headers={**seen(1), "Content-Type": "application/json"}
    )
    assert (patched.headers["ETag"], patched.json()["setting"], patched.json()["reason"]) == ('"2"', "video", "")
    moved = await desk.post(f"{one}/move", json={"starts_at": "2026-03-17T10:00"}, headers=seen(2))
    assert [(item["starts_at"], item["version"]) for item in moved.json()["items"]] == [("2026-03-17T14:00:00Z", 3)]
    stale = await desk.post(f"{one}/move", json={"starts_at": "2026-03-17T10:00"}, headers=seen(2))
    assert (stale.status_code, code(stale)) == (412, "stale-write")
    early = await desk.post(f"{one}/complete", headers=seen(3))
    assert (early.status_code, early.json()["detail"]) == (409, "the appointment has not begun")
    listed = (await chart.clinician.get(path, params={"order": "latest", "status": "booked"})).json()
    assert (listed["items"], listed["total"]["count"]) == (moved.json()["items"], 1)
    herself = await clinic.logged_in(Role.PATIENT, patient=chart.patient.id)
    cancelled = await herself.post(f"{one}/cancel", json={"reason": "At work"}, headers=seen(3))
    (item,) = cancelled.json()["items"]
    assert (item["status"], item["cancellation"]["by_patient"]) == ("cancelled", True)
    again = await desk.post(f"{one}/cancel", json={"reason": "Twice"}, headers=seen(4))
    assert (again.status_code, again.json()["detail"]) == (409, "the appointment is cancelled already")
    history = (await desk.get(f"{one}/history", params={"limit": 2})).json()
    assert [item["appointment"]["version"] for item in history["items"]] == [4, 3]
    assert history["next_before"] == 3


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"starts_at": "2026-03-13T09:00"}, "starts_at"),  # over
    ({"starts_at": "2026-03-21T09:00"}, "starts_at"),  # a Saturday
    ({"starts_at": "2026-03-16T19:30"}, "starts_at"),  # until after hours
    ({"starts_at": "2026-03-16T09:00:30"}, "starts_at"),
    ({"starts_at": "2031-03-17T09:00"}, "starts_at"),
    ({"starts_at": "2026-02-30T09:00"}, "starts_at"),
    ({"starts_at": "2027-03-14T02:30", "outside_hours": True}, "starts_at"),  # left out as clocks go forward
    ({"starts_at": "2026-11-01T01:30", "outside_hours": True}, "starts_at"),  # comes twice
    ({"starts_at": "2026-11-01T01:30:00-04:00", "fold": "first", "outside_hours": True}, "fold"),
    ({"minutes": 4}, "minutes"),
    ({"minutes": 721}, "minutes"),
    ({"practitioner": str(new_id())}, "practitioner"),
    ({"label": "psychotherapy"}, "label"),
    ({"reason": "a\u0007b"}, "reason"),
    ({"kind": "surgery"}, "kind"),
    ({"ends_at": "2026-03-16T10:00"}, "body"),
]


async def test_what_cannot_be_booked_is_refused_by_its_field(memory_clinic: Clinic, memory_chart: Chart) -> None:
    desk = await memory_clinic.front_desk()
    path = f"{memory_chart.path}/appointments"
    for body, field in REFUSED:
        answer = await desk.post(path, json=wanted(memory_chart, **body))
        assert (answer.status_code, fields(answer)) == (422, [field]), body
    assert (await desk.get(path)).json()["items"] == []


async def test_a_time_that_comes_twice_is_booked_once_it_is_said_which(
    memory_clinic: Clinic, memory_chart: Chart
) -> None:
    desk = await memory_clinic.front_desk()
    starts = []
    for fold in ("first", "second"):
        body = wanted(memory_chart, starts_at="2026-11-01T01:05", fold=fold, outside_hours=True)
        answer = await desk.post(f"{memory_chart.path}/appointments", json=body)
        starts.append(answer.json()["starts_at"])
    assert starts == ["2026-11-01T05:05:00Z", "2026-11-01T06:05:00Z"]


async def test_a_series_and_a_day(clinic: Clinic, chart: Chart, desk: AsyncClient) -> None:
    path = f"{chart.path}/appointments"
    series = wanted(chart, frequency="fortnightly", times=3)
    answer = await desk.post(f"{path}/series", json=series)
    items = answer.json()["items"]
    assert [item["starts_at"][:10] for item in items] == ["2026-03-16", "2026-03-30", "2026-04-13"]
    assert len({item["series"] for item in items}) == 1
    day = f"/practitioners/{chart.practitioner.id}"
    shown = (await desk.get(f"{day}/appointments", params={"day": "2026-03-16"})).json()
    assert (shown["items"], shown["closed"], shown["more"]) == (
        [items[0] | {"patient_name": "Ada Lovelace"}],
        False,
        False,
    )
    assert shown["opening"] == {"starts_at": "2026-03-16T11:00:00Z", "ends_at": "2026-03-17T00:00:00Z"}
    otto, _ = await clinic.clinician()
    seen_by_otto = (await otto.get(f"{day}/appointments", params={"day": "2026-03-16"})).json()
    times = {"starts_at": "2026-03-16T13:00:00Z", "ends_at": "2026-03-16T13:50:00Z"}
    assert (seen_by_otto["items"], seen_by_otto["taken"], shown["taken"]) == ([], [times], [])

    closed = await desk.post("/closures", json={"first_day": "2026-03-30", "last_day": "2026-04-01"})
    assert (closed.status_code, closed.json()["booked"]) == (201, 1)
    tuesday = await desk.post(path, json=wanted(chart, starts_at="2026-03-31T09:00"))
    assert (tuesday.status_code, fields(tuesday)) == (422, ["starts_at"])
    refused = await desk.post(
        f"{path}/series", json=wanted(chart, starts_at="2026-03-24T11:00", frequency="weekly", times=3)
    )
    assert fields(refused) == ["occurrences.1.starts_at"]
    assert (await desk.get(path)).json()["total"]["count"] == 3
    found = (
        await desk.get(f"{day}/free-slots", params={"from": "2026-03-30", "until": "2026-04-02", "minutes": 60})
    ).json()
    assert found["items"][0]["starts_at"] == "2026-04-02T11:00:00Z"
    listed = (await desk.get("/closures", params={"from": "2026-03-01", "until": "2026-05-01"})).json()
    assert [item["id"] for item in listed["items"]] == [closed.json()["id"]]
    assert (await desk.delete(f"/closures/{closed.json()['id']}")).status_code == 204
    assert (await desk.post(path, json=wanted(chart, starts_at="2026-03-31T09:00"))).status_code == 201


async def test_a_calendar_tells_when_and_not_whom(clinic: Clinic, chart: Chart, desk: AsyncClient) -> None:
    booked = (await desk.post(f"{chart.path}/appointments", json=wanted(chart))).json()
    path = f"/practitioners/{chart.practitioner.id}/calendar.ics"
    answer = await desk.get(path)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/calendar; charset=utf-8")
    lines = answer.text.split("\r\n")
    assert (lines[0], lines[-2:]) == ("BEGIN:VCALENDAR", ["END:VCALENDAR", ""])
    assert f"UID:urn:uuid:{booked['id']}" in lines
    assert {"DTSTART:20260316T130000Z", "DTEND:20260316T135000Z", "SUMMARY:Appointment"} <= set(lines)
    assert str(chart.patient.id) not in answer.text
    herself = await clinic.logged_in(Role.PATIENT, patient=chart.patient.id)
    assert (await herself.get(path)).status_code == 403

    credential = await issued(clinic, await a_machine(clinic), ["schedule:list"])
    machine = clinic.caller(credential["credential"])
    assert (await machine.get(path)).text.replace("\r\n", "\n").count("BEGIN:VEVENT") == 1
    assert (await machine.get(f"{chart.path}/appointments")).status_code == 404
    administrator = await clinic.logged_in(Role.ADMINISTRATOR)
    await administrator.delete(f"/credentials/{credential['id']}")
    assert (await machine.get(path)).status_code == 401


async def test_of_many_who_want_one_slot_the_others_are_told_so(
    clinic: Clinic, chart: Chart, desk: AsyncClient
) -> None:
    patients = [await clinic.practice.stored(a_patient()) for _ in range(12)]
    answers = await asyncio.gather(
        *(desk.post(f"/patients/{one.id}/appointments", json=wanted(chart)) for one in patients)
    )
    assert sorted(answer.status_code for answer in answers) == [201, *[409] * 11]
    assert {code(answer) for answer in answers if answer.is_error} == {"overlapping"}


def test_what_an_imported_appointment_is_for_is_shown_in_words_of_its_source() -> None:
    one = an_appointment(PatientId(new_id()), PractitionerId(new_id()), NOW)
    shown = AppointmentOut.of(replace(one, service=Concept(text="Psychotherapy, 50 minutes")))
    assert shown.service is not None
    assert (shown.service.text, AppointmentOut.of(one).service) == ("Psychotherapy, 50 minutes", None)
