"""Access in an emergency and its review, through HTTP."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from httpx import AsyncClient, Response

from clarity.domain.access import PART2_NOTICE, Role
from clarity.domain.patients import Patient
from clarity.domain.records import Label
from tests.api.clinic import Clinic, code, fields, told
from tests.builders import NOW, a_patient, new_id

REASON = "Found unconscious; nobody of her team can be reached."


@dataclass(slots=True, repr=False)
class Night:
    """A patient under Part 2 whom nobody on duty treats, and a compliance officer."""

    clinic: Clinic
    ada: Patient
    clinician: AsyncClient
    officer: AsyncClient

    async def break_glass(self, **changes: Any) -> Response:
        """Break the glass, or try to."""
        body = {"patient": str(self.ada.id), "reason": REASON, **changes}
        return await self.clinician.post("/break-glass", json={k: v for k, v in body.items() if v is not None})

    async def view(self) -> Response:
        """View the patient."""
        return await self.clinician.get(f"/patients/{self.ada.id}")


@pytest.fixture
async def night(clinic: Clinic) -> Night:
    return await a_night(clinic)


@pytest.fixture
async def memory_night(memory_clinic: Clinic) -> Night:
    return await a_night(memory_clinic)


async def a_night(clinic: Clinic) -> Night:
    ada = await clinic.practice.stored(a_patient(label=Label.PART2, mrn="MRN-0001", notes="Naltrexone."))
    clinician, _ = await clinic.clinician()
    return Night(clinic, ada, clinician, await clinic.logged_in(Role.COMPLIANCE_OFFICER))


async def test_the_glass_is_broken_used_closed_and_reviewed(night: Night) -> None:
    hidden = await night.view()
    assert told(hidden) == told(await night.clinician.get(f"/patients/{new_id()}"))
    answer = await night.break_glass(minutes=30)
    opened = answer.json()
    assert answer.status_code == 201
    assert (opened["patient"], opened["role"], opened["status"]) == (str(night.ada.id), "clinician", "unreviewed")
    assert (opened["open"], opened["expires_at"], opened["alerted"]) == (True, "2026-03-14T09:56:53Z", 1)
    assert opened["disclosure"] == {
        "medical_personnel": "Grace Hopper",
        "affiliation": "Harbor Psychiatry",
        "disclosed_by": "Grace Hopper",
        "disclosed_at": "2026-03-14T09:26:53Z",
        "nature_of_emergency": REASON,
    }
    shown = (await night.view()).json()
    assert (shown["notes"], shown["notice"]["text"], shown["notice"]["consent"]) == ("Naltrexone.", PART2_NOTICE, None)

    path = f"/break-glass/{opened['id']}"
    closed = await night.clinician.post(f"{path}/close")
    assert (closed.status_code, closed.json()["open"], closed.json()["closed_at"]) == (200, False, opened["opened_at"])
    assert told(await night.view()) == told(hidden)
    again = await night.clinician.post(f"{path}/close")
    assert (again.status_code, code(again)) == (409, "conflict")

    queue = (await night.officer.get("/break-glass", params={"status": "unreviewed"})).json()
    assert [one["id"] for one in queue["items"]] == [opened["id"]]
    assert queue["total"] == {"count": 1, "exact": True}
    judged = await night.officer.post(f"{path}/review", json={"outcome": "justified", "note": "On call."})
    assert judged.status_code == 200
    assert judged.json()["review"]["outcome"] == "justified"
    assert (await night.officer.get("/break-glass", params={"status": "unreviewed"})).json()["items"] == []
    assert (await night.officer.get(path)).json() == judged.json()
    assert (await night.clinician.get(path)).json() == judged.json()
    second = await night.officer.post(f"{path}/review", json={"outcome": "unjustified", "note": "No."})
    assert (second.status_code, code(second)) == (409, "conflict")


async def test_after_its_time_the_record_is_absent_again(night: Night) -> None:
    absent = told(await night.view())
    await night.break_glass(minutes=1)
    assert (await night.view()).status_code == 200
    night.clinic.practice.clock.at = NOW + timedelta(minutes=1)
    assert told(await night.view()) == absent
    for answer in (
        await night.clinician.get("/patients"),
        await night.clinician.post("/patients/search", json={"name": "ada"}),
    ):
        assert answer.json() == {"items": [], "next_cursor": None, "total": {"count": 0, "exact": True}}


async def test_a_patient_is_named_by_number(night: Night) -> None:
    by_number = await night.break_glass(patient=None, mrn="MRN-0001")
    assert (by_number.status_code, by_number.json()["patient"]) == (201, str(night.ada.id))
    absent = await night.break_glass(patient=None, mrn="MRN-0002")
    unknown = await night.break_glass(patient=str(new_id()))
    assert absent.status_code == 404
    assert told(absent) == told(unknown)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"reason": ""}, "reason"),
        ({"reason": " \n"}, "reason"),
        ({"reason": "x" * 1001}, "reason"),
        ({"reason": "bell\x07"}, "reason"),
        ({"reason": None}, "reason"),
        ({"minutes": 0}, "minutes"),
        ({"minutes": -1}, "minutes"),
        ({"minutes": 61}, "minutes"),
        ({"minutes": 10**9}, "minutes"),
        ({"minutes": 10**30}, "minutes"),
        ({"minutes": 1.5}, "minutes"),
        ({"minutes": "10"}, "minutes"),
        ({"affiliation": "x" * 201}, "affiliation"),
        ({"affiliation": "nul\x00"}, "affiliation"),
        ({"mrn": "MRN-0001"}, "patient"),
        ({"patient": None}, "patient"),
        ({"mrn_system": "https://mercy.example"}, "mrn_system"),
        ({"patient": "MRN-0001"}, "patient"),
        ({"patient": None, "mrn": " "}, "mrn"),
        ({"account": str(new_id())}, "body"),
        ({"expires_at": "2030-01-01T00:00:00Z"}, "body"),
        ({"purpose": "treatment"}, "body"),
    ],
)
async def test_what_is_asked_for_is_checked(memory_night: Night, changes: dict[str, Any], field: str) -> None:
    answer = await memory_night.break_glass(**changes)
    assert (answer.status_code, code(answer), fields(answer)) == (422, "invalid", [field])
    assert (await memory_night.view()).status_code == 404


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"outcome": "perhaps", "note": "x"}, "outcome"),
        ({"outcome": "justified", "note": ""}, "note"),
        ({"outcome": "justified", "note": "x", "by": str(new_id())}, "body"),
        ({"outcome": "justified"}, "note"),
    ],
)
async def test_what_a_review_says_is_checked(memory_night: Night, body: dict[str, Any], field: str) -> None:
    opened = (await memory_night.break_glass()).json()
    answer = await memory_night.officer.post(f"/break-glass/{opened['id']}/review", json=body)
    assert (answer.status_code, fields(answer)) == (422, [field])


@pytest.mark.parametrize("role", [Role.FRONT_DESK, Role.ADMINISTRATOR, Role.RESEARCHER, Role.COMPLIANCE_OFFICER])
async def test_who_may_not_break_the_glass_is_told_so_whoever_the_patient_is(memory_night: Night, role: Role) -> None:
    caller = await memory_night.clinic.logged_in(role)
    answers = [
        await caller.post("/break-glass", json={"patient": str(patient), "reason": REASON})
        for patient in (memory_night.ada.id, new_id())
    ]
    assert told(answers[0]) == told(answers[1])
    assert (answers[0].status_code, code(answers[0])) == (403, "forbidden")


async def test_of_what_others_opened_nothing_is_told(memory_night: Night) -> None:
    opened = (await memory_night.break_glass()).json()
    other, _ = await memory_night.clinic.clinician()
    for path, body in (("close", None), ("review", {"outcome": "justified", "note": "x"}), ("", None)):
        theirs, nobodys = [
            await (
                other.post(f"/break-glass/{glass}/{path}", json=body) if path else other.get(f"/break-glass/{glass}")
            )
            for glass in (opened["id"], new_id())
        ]
        assert theirs.status_code == 404
        assert told(theirs) == told(nobodys)
    assert (await other.get("/break-glass")).json()["items"] == []
    desk = await memory_night.clinic.front_desk()
    assert (await desk.get("/break-glass")).status_code == 403


async def test_a_repeated_request_opens_nothing_more(night: Night) -> None:
    body, key = {"patient": str(night.ada.id), "reason": REASON}, {"Idempotency-Key": "once"}
    first, again = [await night.clinician.post("/break-glass", json=body, headers=key) for _ in range(2)]
    assert (first.status_code, first.json()) == (again.status_code, again.json())
    assert (await night.officer.get("/break-glass")).json()["total"]["count"] == 1
    other = await night.clinician.post("/break-glass", json={**body, "minutes": 5}, headers=key)
    assert (other.status_code, code(other)) == (409, "reused-idempotency-key")


async def test_too_many_are_too_many(memory_night: Night) -> None:
    answers = [await memory_night.break_glass() for _ in range(21)]
    assert [answer.status_code for answer in answers] == [201] * 20 + [429]
    assert int(answers[-1].headers["Retry-After"]) > 0
