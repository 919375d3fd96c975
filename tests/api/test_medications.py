"""Prescriptions and contacts, through HTTP."""

from typing import Any

from clarity.domain.access import Role
from tests.api.clinic import Chart, Clinic, code, fields, seen

SENT: dict[str, Any] = {
    "name": "Sertraline 50 MG Oral Tablet",
    "code": "312941",
    "ingredients": [{"name": "Sertraline", "code": "36437"}],
    "dosage": {
        "dose": {"value": "50.5", "unit": "mg"},
        "route": "oral",
        "timing": {"frequency": 2, "period": "1", "period_unit": "d"},
        "as_needed": False,
        "as_needed_for": "",
        "instruction": "With food, before the ferry leaves.",
    },
    "start": "2026-03-01",
    "until": None,
    "indication": "Major depressive disorder",
    "prescribed_by": "",
    "label": "normal",
}


async def test_a_prescription_from_its_order_to_its_end(clinic: Clinic, chart: Chart) -> None:
    path = f"{chart.path}/prescriptions"
    once = {"Idempotency-Key": "p-1"}
    answer = await chart.clinician.post(path, json=SENT, headers=once)
    assert (answer.status_code, answer.headers["ETag"]) == (201, '"1"')
    ordered = answer.json()
    one = f"{path}/{ordered['id']}"
    assert answer.headers["Location"].endswith(one)
    assert {name: ordered[name] for name in SENT} == SENT
    assert (ordered["status"], ordered["prescriber"]) == ("active", str(chart.practitioner.id))
    assert (await chart.clinician.post(path, json=SENT, headers=once)).json() == ordered
    assert code(await chart.clinician.post(path, json=SENT | {"start": "2026-03-02"}, headers=once)) == (
        "reused-idempotency-key"
    )
    number = SENT | {"dosage": SENT["dosage"] | {"dose": {"value": 25, "unit": "mg"}}}
    double = (await chart.clinician.post(path, json=number)).json()
    assert double["dosage"]["dose"]["value"] == "25"
    assert [(overlap["prescriptions"], overlap["likeness"]) for overlap in double["overlaps"]] == [
        ([double["id"], ordered["id"]], "same-drug")
    ]
    mistaken = await chart.clinician.post(
        f"{path}/{double['id']}/mistaken", json={"why": "Ordered twice."}, headers=seen(1)
    )
    assert mistaken.json()["status"] == "mistaken"

    changed = await chart.clinician.put(one, json=number | {"since": "2026-03-05"}, headers=seen(1))
    assert (changed.status_code, changed.headers["ETag"]) == (200, '"2"')
    assert changed.json()["former"] == [{"dosage": SENT["dosage"], "until": "2026-03-05"}]
    hold = {"reason": "Nausea", "day": "2026-03-08"}
    assert (await chart.clinician.post(f"{one}/hold", json=hold, headers=seen(2))).json()["status"] == "on-hold"
    twice = await chart.clinician.post(f"{one}/hold", json=hold, headers=seen(3))
    assert (twice.status_code, code(twice)) == (409, "conflict")
    await chart.clinician.post(f"{one}/resume", json={"day": "2026-03-10"}, headers=seen(3))
    stale = await chart.clinician.post(f"{one}/stop", json={"reason": "Remission"}, headers=seen(3))
    assert (stale.status_code, code(stale)) == (412, "stale-write")
    stop = {"reason": "Remission", "day": "2026-03-12"}
    stopped = (await chart.clinician.post(f"{one}/stop", json=stop, headers=seen(4))).json()
    assert (stopped["status"], stopped["end"]["on"]) == ("stopped", "2026-03-12")
    assert (await chart.clinician.get(one)).json() == stopped
    history = (await chart.clinician.get(f"{one}/history", params={"limit": 2})).json()
    assert [version["version"] for version in history["items"]] == [5, 4]
    assert history["next_before"] == 4
    himself = await clinic.logged_in(Role.PATIENT, patient=chart.patient.id)
    held = {}
    for day in ("2026-02-28", "2026-03-01", "2026-03-09", "2026-03-11", "2026-03-12"):
        listed = (await himself.get(path, params={"on": day})).json()
        held[day] = [item["activity"] for item in listed["items"]]
    assert list(held.values()) == [[], ["active"], ["on-hold"], ["active"], []]
    assert (await chart.clinician.get(path)).headers["Cache-Control"] == "no-store"
    assert (await himself.post(path, json=SENT)).status_code == 404


async def test_contacts_and_what_they_tell_of_doses(clinic: Clinic, chart: Chart) -> None:
    order = (await chart.clinician.post(f"{chart.path}/prescriptions", json=SENT)).json()
    path = f"{chart.path}/interactions"
    himself = await clinic.logged_in(Role.PATIENT, patient=chart.patient.id)
    told = {
        "channel": "app-event",
        "direction": "from-patient",
        "occurred_at": "2026-03-13T20:00:00Z",
        "summary": "Evening dose by the lighthouse",
        "payload": "Slept badly on the ferry.",
        "prescription": order["id"],
        "dose": "taken",
    }
    once = {"Idempotency-Key": "i-1"}
    recorded = await himself.post(path, json=told, headers=once)
    assert recorded.status_code == 201
    assert (await himself.post(path, json=told, headers=once)).json() == recorded.json()
    shown = await chart.clinician.get(f"{path}/{recorded.json()['id']}")
    assert {name: shown.json()[name] for name in told} == told
    page = (await chart.clinician.get(path, params={"channel": "app-event", "since": "2026-03-13T00:00:00Z"})).json()
    assert ([one["id"] for one in page["items"]], page["total"]) == ([shown.json()["id"]], {"count": 1, "exact": False})
    assert (await chart.clinician.get(path, params={"channel": "call"})).json()["items"] == []
    found = await chart.clinician.get(
        f"{chart.path}/prescriptions/{order['id']}/adherence", params={"since": "2026-03-13", "until": "2026-03-13"}
    )
    assert {name: found.json()[name] for name in ("taken", "due", "dose_ratio")} == {
        "taken": 1,
        "due": "2.000",
        "dose_ratio": "0.500",
    }
    for wrong, field in (
        ({"occurred_at": "2027-01-01T00:00:00Z"}, "occurred_at"),
        ({"occurred_at": "2026-02-30T00:00:00Z"}, "occurred_at"),
        ({"prescription": None}, "prescription"),
        ({"prescription": str(chart.patient.id)}, "prescription"),
        ({"channel": "carrier-pigeon"}, "channel"),
        ({"payload": "x" * 16_001}, "payload"),
        ({"label": "psychotherapy"}, "label"),
    ):
        refused = await himself.post(path, json=told | wrong)
        assert (refused.status_code, fields(refused)) == (422, [field]), wrong
    assert len((await himself.get(path)).json()["items"]) == 1


WRONG: tuple[tuple[dict[str, Any], str], ...] = (
    ({"dosage": SENT["dosage"] | {"dose": {"value": "-50", "unit": "mg"}}}, "dosage.dose.value"),
    ({"dosage": SENT["dosage"] | {"dose": {"value": "5000000", "unit": "mg"}}}, "dosage.dose.value"),
    ({"dosage": SENT["dosage"] | {"dose": {"value": "fifty", "unit": "mg"}}}, "dosage.dose.value"),
    ({"dosage": SENT["dosage"] | {"dose": {"value": "NaN", "unit": "mg"}}}, "dosage.dose.value"),
    ({"dosage": SENT["dosage"] | {"dose": {"value": int("9" * 4_000), "unit": "mg"}}}, "dosage.dose.value"),
    ({"dosage": SENT["dosage"] | {"dose": {"value": "1_0", "unit": "mg"}}}, "dosage.dose.value"),
    ({"dosage": SENT["dosage"] | {"dose": {"value": "1", "unit": "stone"}}}, "dosage.dose.unit"),
    ({"dosage": SENT["dosage"] | {"dose": {"value": "1"}}}, "dosage.dose.unit"),
    ({"dosage": SENT["dosage"] | {"dose": None}}, "dosage.dose"),
    ({"dosage": SENT["dosage"] | {"route": "by-post"}}, "dosage.route"),
    ({"dosage": SENT["dosage"] | {"timing": {"frequency": 0}}}, "dosage.timing.frequency"),
    ({"dosage": SENT["dosage"] | {"as_needed": True}}, "dosage.as_needed_for"),
    ({"code": "sertraline"}, "code"),
    ({"ingredients": [{"name": ""}]}, "ingredients.0.name"),
    ({"start": "2026-02-30"}, "start"),
    ({"start": "2028-01-01"}, "start"),
    ({"until": "2026-02-28"}, "until"),
    ({"label": "psychotherapy"}, "label"),
)


async def test_an_order_that_nobody_means_is_refused_by_its_field(memory_chart: Chart) -> None:
    path = f"{memory_chart.path}/prescriptions"
    for wrong, field in WRONG:
        refused = await memory_chart.clinician.post(path, json=SENT | wrong)
        assert (refused.status_code, fields(refused)) == (422, [field]), wrong
    assert (await memory_chart.clinician.get(path)).json()["total"] == {"count": 0, "exact": True}


async def test_a_change_out_of_order_is_refused_by_its_field(memory_chart: Chart) -> None:
    path = f"{memory_chart.path}/prescriptions"
    one = f"{path}/{(await memory_chart.clinician.post(path, json=SENT)).json()['id']}"
    for verb, body, field in (
        ("stop", {"reason": "x", "day": "2026-02-28"}, "day"),
        ("stop", {"reason": "x", "day": "2026-03-15"}, "day"),
        ("stop", {"reason": ""}, "reason"),
        ("hold", {"reason": "x", "day": "2026-13-01"}, "day"),
        ("mistaken", {"why": " "}, "why"),
    ):
        refused = await memory_chart.clinician.post(f"{one}/{verb}", json=body, headers=seen(1))
        assert (refused.status_code, fields(refused)) == (422, [field]), verb
    for change, field in (({"code": "1"}, "code"), ({"since": "2026-02-01"}, "since")):
        refused = await memory_chart.clinician.put(one, json=SENT | change, headers=seen(1))
        assert (refused.status_code, fields(refused)) == (422, [field]), change
    refused = await memory_chart.clinician.get(f"{one}/adherence", params={"until": "2027-01-01"})
    assert fields(refused) == ["until"]
    assert (await memory_chart.clinician.get(one)).json()["version"] == 1
