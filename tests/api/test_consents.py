"""Consents, labels and the notice of 42 CFR 2.32, through HTTP."""

from typing import Any

import pytest
from httpx import AsyncClient

from clarity.domain.access import PART2_NOTICE, Role
from clarity.domain.records import Label
from tests.api.clinic import Chart, Clinic, code, fields, seen
from tests.api.conftest import charted
from tests.builders import a_consent, a_patient, a_practitioner

CONSENT: dict[str, Any] = {
    "labels": ["part2"],
    "purposes": ["treatment"],
    "from_whom": "Harbor Recovery Program",
    "to_whom": "My treating providers",
    "what": "Records of my substance use treatment",
    "since": "2026-03-14T00:00:00Z",
    "until": "2027-03-14T00:00:00Z",
    "signed_by": "the patient",
    "signed_on": "2026-03-13",
    "document": "Form P2-1, scanned",
}


@pytest.fixture
async def part2(clinic: Clinic) -> Chart:
    """Return a patient under Part 2 with a clinician who treats them."""
    return await charted(clinic, a_patient(label=Label.PART2, notes="Naltrexone."))


@pytest.fixture
async def herself(clinic: Clinic, part2: Chart) -> AsyncClient:
    return await clinic.logged_in(Role.PATIENT, patient=part2.patient.id)


async def test_a_consent_opens_the_record_and_its_withdrawal_closes_it(part2: Chart, herself: AsyncClient) -> None:
    path = f"{part2.path}/consents"
    absent = await part2.clinician.get(f"/patients/{a_patient().id}")
    hidden = await part2.view()
    assert (hidden.status_code, hidden.content) == (absent.status_code, absent.content)

    answer = await part2.clinician.post(path, json=CONSENT)
    assert (answer.status_code, answer.headers["ETag"]) == (201, '"1"')
    recorded = answer.json()
    assert {name: recorded[name] for name in CONSENT} == CONSENT
    assert recorded["in_force"] is True

    shown = (await part2.view()).json()
    assert shown["notes"] == "Naltrexone."
    assert shown["notice"]["text"] == PART2_NOTICE
    assert shown["notice"]["consent"] == recorded["id"]
    assert CONSENT["what"] in shown["notice"]["scope"]
    listed = await part2.clinician.get("/patients")
    searched = await part2.clinician.post("/patients/search", json={"name": "ada"})
    history = await part2.clinician.get(f"{part2.path}/history")
    assert listed.json()["items"] == searched.json()["items"] == [shown]
    assert history.json()["items"][0]["patient"] == shown
    assert (await herself.get(part2.path)).json()["notice"] is None

    withdrawn = await herself.post(f"{path}/{recorded['id']}/withdraw")
    assert (withdrawn.status_code, withdrawn.headers["ETag"]) == (200, '"2"')
    assert withdrawn.json()["in_force"] is False
    assert (await part2.view()).content == absent.content
    assert (await part2.clinician.get(f"{part2.path}/history")).content == absent.content
    assert (await part2.clinician.get("/patients")).json()["total"] == {"count": 0, "exact": True}
    register = await herself.get(path)
    assert register.headers["ETag"] == '"2"'
    assert register.json() == {"items": [withdrawn.json()], "version": 2}
    again = await part2.clinician.post(f"{path}/{recorded['id']}/withdraw")
    assert (again.status_code, code(again)) == (409, "conflict")


async def test_consents_of_others_look_like_those_of_nobody(clinic: Clinic, part2: Chart) -> None:
    consent = (await part2.clinician.post(f"{part2.path}/consents", json=CONSENT)).json()["id"]
    stranger, _ = await clinic.clinician()
    nobody = f"/patients/{a_patient().id}"
    nowhere = await stranger.get(nobody)
    for caller in (stranger, await clinic.front_desk(), await clinic.logged_in(Role.COMPLIANCE_OFFICER)):
        for path in ("/consents", f"/consents/{consent}/withdraw"):
            for there in (part2.path, nobody):
                answers = [
                    await caller.get(there + path),
                    await caller.post(there + path, json=CONSENT),
                ]
                assert {answer.status_code for answer in answers} <= {404, 405}
        refused = await caller.post(f"{part2.path}/consents", json=CONSENT)
        absent = await caller.post(f"{nobody}/consents", json=CONSENT)
        assert (refused.status_code, refused.content) == (404, nowhere.content)
        assert (absent.status_code, absent.content) == (404, nowhere.content)
    missing = await part2.clinician.post(f"{part2.path}/consents/{a_consent().id}/withdraw")
    assert (missing.status_code, missing.content) == (404, nowhere.content)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"labels": ["normal"]}, "labels"),
        ({"labels": ["part2", "psychotherapy"]}, "labels"),
        ({"labels": []}, "labels"),
        ({"purposes": ["gossip"]}, "purposes.0"),
        ({"purposes": []}, "purposes"),
        ({"until": None}, "until"),
        ({"until": "2026-03-13T00:00:00Z"}, "until"),
        ({"since": "yesterday"}, "since"),
        ({"signed_on": "2026-05-01"}, "signed_on"),
        ({"signed_on": None}, "signed_on"),
        ({"document": ""}, "document"),
        ({"recipients": [str(a_practitioner().id)]}, "recipients"),
        ({"recorded_by": str(a_practitioner().id)}, "body"),
        ({"withdrawn_at": None}, "body"),
    ],
)
async def test_a_consent_that_is_none_is_refused_by_its_field(
    memory_clinic: Clinic, change: dict[str, Any], field: str
) -> None:
    chart = await charted(memory_clinic, a_patient(label=Label.PART2))
    answer = await chart.clinician.post(f"{chart.path}/consents", json=CONSENT | change)
    assert answer.status_code == 422
    assert fields(answer) == [field]


async def test_a_consent_comes_once_however_often_it_is_sent(part2: Chart) -> None:
    path, once = f"{part2.path}/consents", {"Idempotency-Key": "c-1"}
    first = await part2.clinician.post(path, json=CONSENT, headers=once)
    again = await part2.clinician.post(path, json=CONSENT, headers=once)
    assert (again.status_code, again.json()) == (201, first.json())
    other = await part2.clinician.post(path, json=CONSENT | {"what": "All"}, headers=once)
    assert (other.status_code, code(other)) == (409, "reused-idempotency-key")
    assert len((await part2.clinician.get(path)).json()["items"]) == 1


async def test_a_record_is_relabelled_and_whoever_loses_sight_says_so(clinic: Clinic) -> None:
    chart = await charted(clinic, a_patient())
    desk = await clinic.front_desk()
    path = f"{chart.path}/label"
    assert (await desk.get(chart.path)).status_code == 200
    restricted = await chart.clinician.put(path, json={"label": "restricted"}, headers=seen(1))
    assert (restricted.status_code, restricted.content, restricted.headers["ETag"]) == (204, b"", '"2"')
    assert (await desk.get(chart.path)).status_code == 404
    stale = await chart.clinician.put(path, json={"label": "part2"}, headers=seen(1))
    assert stale.status_code == 412
    for answer in (
        await chart.clinician.put(path, json={"label": "part2"}, headers=seen(2)),
        await chart.clinician.patch(chart.path, json={"label": "part2"}, headers=seen(2)),
    ):
        assert (answer.status_code, code(answer)) == (409, "conflict")
        assert "consent" in answer.json()["detail"]
    meant = await chart.clinician.put(path, json={"label": "part2", "lose_sight": True}, headers=seen(2))
    assert (meant.status_code, meant.content) == (204, b"")
    assert (await chart.view()).status_code == 404
    await chart.clinician.post(f"{chart.path}/consents", json=CONSENT)
    assert (await chart.view()).json()["label"] == "part2"
    wrong = await chart.clinician.put(path, json={"label": "psychotherapy"}, headers=seen(3))
    assert (wrong.status_code, fields(wrong)) == (422, ["label"])


async def test_pages_go_on_over_records_that_are_withheld(clinic: Clinic) -> None:
    clinician, practitioner = await clinic.clinician()
    team = frozenset({practitioner.id})
    visible = []
    for number in range(25):
        label = Label.NORMAL if number % 4 == 3 else Label.PART2
        patient = await clinic.practice.stored(a_patient(label=label, care_team=team))
        if number % 8 == 0:
            answer = await clinician.post(f"/patients/{patient.id}/consents", json=CONSENT)
            assert answer.status_code == 201
        if label is Label.NORMAL or number % 8 == 0:
            visible.append(str(patient.id))
    found: list[str] = []
    cursor = ""
    while not found or cursor:
        page = (await clinician.get("/patients", params={"limit": 3, "cursor": cursor})).json()
        assert page["total"] == {"count": len(visible), "exact": True}
        assert len(page["items"]) == 3 or page["next_cursor"] is None
        found += [item["id"] for item in page["items"]]
        cursor = page["next_cursor"]
    assert found == visible
