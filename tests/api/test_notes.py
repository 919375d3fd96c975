"""Clinical notes, through HTTP."""

from typing import Any

import pytest
from httpx import AsyncClient, Response

from clarity.domain.access import Role
from clarity.domain.notes import MAX_BODY_BYTES
from clarity.domain.records import Label
from tests.api.clinic import Chart, Clinic, code, fields, seen, told
from tests.api.conftest import charted
from tests.builders import a_consent, a_patient, a_practitioner, new_id
from tests.ties import consented

WRITTEN: dict[str, Any] = {
    "kind": "progress",
    "title": "Third visit",
    "body": "## Subjective\n\nSleeps through most nights.\n",
    "about": "2026-03-12T10:30:00-04:00",
    "encounter": "Office visit",
}


async def drafted(chart: Chart, **changes: Any) -> dict[str, Any]:
    """Draft a note as the chart's clinician."""
    answer = await chart.clinician.post(f"{chart.path}/notes", json=WRITTEN | changes)
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def signed(chart: Chart, **changes: Any) -> dict[str, Any]:
    """Draft and sign a note as the chart's clinician."""
    note = await drafted(chart, **changes)
    answer = await acted(chart.clinician, chart, note, "sign")
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def acted(who: AsyncClient, chart: Chart, note: dict[str, Any], act: str, body: Any = None) -> Response:
    """Do something to a note at the version that was seen."""
    path = f"{chart.path}/notes/{note['id']}/{act}"
    return await who.post(path, json=body, headers=seen(note["version"]))


async def colleague(clinic: Clinic, chart: Chart, role: Role = Role.CLINICIAN) -> AsyncClient:
    """Return somebody else who treats the chart's patient."""
    other = await clinic.practice.employed(a_practitioner())
    team = (await clinic.practice.opened(chart.patient.id)).care_team
    await clinic.practice.changed(chart.patient.id, care_team=team | {other.id})
    return await clinic.logged_in(role, practitioner=other.id)


@pytest.fixture
async def chart(clinic: Clinic) -> Chart:
    return await charted(clinic, a_patient())


@pytest.fixture
async def memory_chart(memory_clinic: Clinic) -> Chart:
    return await charted(memory_clinic, a_patient())


async def test_a_note_from_its_draft_to_its_cosignature(clinic: Clinic, chart: Chart) -> None:
    path, once = f"{chart.path}/notes", {"Idempotency-Key": "n-1"}
    anna, carl = chart.clinician, await colleague(clinic, chart)
    answer = await anna.post(path, json=WRITTEN, headers=once)
    note = answer.json()
    assert (answer.status_code, answer.headers["ETag"], note["status"]) == (201, '"1"', "draft")
    assert answer.headers["Location"].endswith(f"/notes/{note['id']}")
    assert {name: note[name] for name in WRITTEN} == WRITTEN
    assert (await anna.post(path, json=WRITTEN, headers=once)).json() == note
    one = f"{path}/{note['id']}"
    assert told(await carl.get(one)) == told(await carl.get(f"{path}/{new_id()}"))

    edited = await anna.put(one, json=WRITTEN | {"body": "Sleeps badly again."}, headers=seen(1))
    assert (edited.status_code, edited.json()["version"]) == (200, 2)
    unchanged = await anna.put(one, json=WRITTEN | {"body": "Sleeps badly again."}, headers=seen(2))
    assert unchanged.headers["ETag"] == '"2"'
    stale = await anna.put(one, json=WRITTEN, headers=seen(1))
    assert (stale.status_code, code(stale)) == (412, "stale-write")

    assert (await carl.post(f"{one}/sign", headers=seen(2))).status_code == 404
    final = (await anna.post(f"{one}/sign", headers=seen(2))).json()
    assert (final["status"], final["version"], final["body"]) == ("signed", 3, "Sleeps badly again.")
    for again in (
        await anna.post(f"{one}/sign", headers=seen(3)),
        await anna.put(one, json=WRITTEN, headers=seen(3)),
        await anna.delete(one, headers=seen(3)),
    ):
        assert (again.status_code, code(again)) == (409, "conflict")
        assert again.json()["detail"].startswith("status: the note is signed")

    cosigned = (await carl.post(f"{one}/cosign", headers=seen(3))).json()
    assert (len(cosigned["cosignatures"]), cosigned["version"], cosigned["body"]) == (1, 4, final["body"])
    for who in (anna, carl):
        twice = await who.post(f"{one}/cosign", headers=seen(4))
        assert (twice.status_code, twice.json()["detail"].split(":")[0]) == (409, "cosignatures")
    shown = await carl.get(one)
    assert shown.headers["Cache-Control"] == "no-store"
    assert shown.json() == cosigned
    mine = (await anna.get(f"{one}/history")).json()["items"]
    theirs = (await carl.get(f"{one}/history")).json()["items"]
    assert [one["note"]["status"] for one in mine] == ["signed", "signed", "draft", "draft"]
    assert [one["version"] for one in theirs] == [4, 3]
    listed = (await carl.get(path)).json()
    assert [one["id"] for one in listed["items"]] == [note["id"]]
    assert not {"body", "encounter", "amendments"} & listed["items"][0].keys()


async def test_an_addendum_adds_to_a_signed_note_of_the_same_patient(clinic: Clinic, chart: Chart) -> None:
    path = f"{chart.path}/notes"
    first = await signed(chart, label="restricted")
    added = await signed(chart, kind="addendum", addendum_to=first["id"], body="It was Tuesday.")
    assert (added["addendum_to"], added["label"]) == (first["id"], "restricted")
    found = (await chart.clinician.get(path, params={"addendum_to": first["id"]})).json()
    assert [one["id"] for one in found["items"]] == [added["id"]]
    assert found["total"]["count"] == 1
    to_the_addendum = await signed(chart, kind="addendum", addendum_to=added["id"], body="No: Wednesday.")

    unsigned = await drafted(chart)
    other = await charted(clinic, a_patient())
    elsewhere = await signed(other)
    for wrong in (unsigned["id"], elsewhere["id"], str(new_id()), None):
        answer = await chart.clinician.post(path, json=WRITTEN | {"kind": "addendum", "addendum_to": wrong})
        assert (answer.status_code, fields(answer)) == (422, ["addendum_to"])
    lax = WRITTEN | {"kind": "addendum", "addendum_to": first["id"], "label": "normal"}
    answer = await chart.clinician.post(path, json=lax)
    assert (answer.status_code, fields(answer)) == (422, ["label"])
    for circle in (unsigned["id"], to_the_addendum["id"]):
        kind = {"kind": "addendum", "addendum_to": circle}
        one = f"{path}/{unsigned['id']}"
        answer = await chart.clinician.put(one, json=WRITTEN | kind, headers=seen(1))
        assert answer.status_code == (422 if circle == unsigned["id"] else 200)
    assert (await chart.clinician.get(path, params={"kind": "addendum"})).json()["total"]["count"] == 3


async def test_a_psychotherapy_note_is_in_nothing_of_anybody_else(clinic: Clinic, chart: Chart) -> None:
    """Every role that treats the patient, broke the glass for them, or is them, sees what they see without it."""
    path = f"{chart.path}/notes"
    carl = await colleague(clinic, chart)
    others = {
        "another clinician": carl,
        "the patient": await clinic.logged_in(Role.PATIENT, patient=chart.patient.id),
        "a nurse": await colleague(clinic, chart, Role.NURSE),
        **{
            role.title: await clinic.logged_in(role)
            for role in (Role.ADMINISTRATOR, Role.FRONT_DESK, Role.COMPLIANCE_OFFICER, Role.RESEARCHER)
        },
    }
    stranger, _ = await clinic.clinician()
    broken = {"patient": str(chart.patient.id), "reason": "Found unconscious, what does she take?"}
    assert (await stranger.post("/break-glass", json=broken)).status_code == 201
    others["who broke the glass"] = stranger
    plain = await signed(chart)
    queries: list[dict[str, str]] = [{}, {"kind": "psychotherapy"}, {"limit": "1"}]

    async def everything() -> dict[str, list[Any]]:
        return {
            name: [
                *[await who.get(path, params=query) for query in queries],
                *[
                    await who.post(f"{chart.path}/chart/search", json={"query": word})
                    for word in ("confidence", "nights")
                ],
            ]
            for name, who in others.items()
        }

    before = await everything()
    apart = await signed(chart, kind="psychotherapy", body="What was said in confidence.")
    adding = await signed(chart, kind="addendum", addendum_to=apart["id"], body="And what was not.")
    assert (apart["label"], adding["label"]) == ("psychotherapy", "psychotherapy")
    unfit = await chart.clinician.post(
        path, json=WRITTEN | {"kind": "addendum", "addendum_to": apart["id"], "label": "restricted"}
    )
    assert (unfit.status_code, fields(unfit)) == (422, ["label"])
    for name, answers in (await everything()).items():
        assert [told(answer)[::2] for answer in answers] == [told(answer)[::2] for answer in before[name]], name
    for name, who in others.items():
        one, wanted = f"{path}/{apart['id']}", {"what": "All of it.", "why": "It was said in confidence."}
        answers = [
            await who.get(f"{path}/{adding['id']}"),
            await who.get(one),
            await who.get(f"{one}/history"),
            await who.put(one, json=WRITTEN, headers=seen(2)),
            await who.delete(one, headers=seen(2)),
            await who.post(f"{one}/sign", headers=seen(2)),
            await who.post(f"{one}/cosign", headers=seen(2)),
            await who.post(f"{one}/amendments", json=wanted, headers=seen(2)),
        ]
        absent = told(await who.get(f"{path}/{new_id()}"))
        assert [told(answer)[::2] for answer in answers] == [absent[::2]] * len(answers), name
        linked = await who.get(path, params={"addendum_to": apart["id"]})
        assert linked.status_code == before[name][0].status_code
        assert not linked.json().get("items")
    addendum = {"kind": "addendum", "addendum_to": apart["id"]}
    hidden = await carl.post(path, json=WRITTEN | addendum)
    unknown = await carl.post(path, json=WRITTEN | addendum | {"addendum_to": str(new_id())})
    assert told(hidden) == told(unknown)
    mine = (await chart.clinician.get(path)).json()
    assert [one["id"] for one in mine["items"]] == [adding["id"], apart["id"], plain["id"]]

    await consented(clinic.practice, chart.patient.id, a_consent(labels=(Label.PSYCHOTHERAPY,)))
    assert (await carl.get(f"{path}/{apart['id']}")).json()["body"] == apart["body"]
    assert (await carl.get(path)).json()["total"]["count"] == 3
    assert (await others["a nurse"].get(path)).json()["total"]["count"] == 1
    assert (await others["the patient"].get(path)).json()["total"]["count"] == 1


async def test_what_is_no_note_is_refused_by_its_field_and_nothing_is_stored(memory_chart: Chart) -> None:
    chart, path = memory_chart, f"{memory_chart.path}/notes"
    for change, field in (
        ({"kind": "poem"}, "kind"),
        ({"kind": "psychotherapy", "label": "normal"}, "label"),
        ({"label": "psychotherapy"}, "label"),
        ({"addendum_to": str(new_id())}, "addendum_to"),
        ({"body": "a" * (MAX_BODY_BYTES + 1)}, "body"),
        ({"body": "é" * (MAX_BODY_BYTES // 2 + 1)}, "body"),
        ({"body": "clear \x1b[2J the screen"}, "body"),
        ({"title": "two\nlines"}, "title"),
        ({"title": "t" * 201}, "title"),
        ({"about": "2026-03-12T10:30:00"}, "about"),
        ({"about": "1826-03-12T10:30:00Z"}, "about"),
        ({"encounter": "e" * 1001}, "encounter"),
        ({"author": str(new_id())}, "body"),
    ):
        answer = await chart.clinician.post(path, json=WRITTEN | change)
        assert (answer.status_code, fields(answer)) == (422, [field]), change.keys()
    empty, early = await drafted(chart, body=" "), await drafted(chart, about="2026-03-16T10:30:00-04:00")
    for note, field in ((empty, "body"), (early, "about")):
        answer = await acted(chart.clinician, chart, note, "sign")
        assert (answer.status_code, fields(answer)) == (422, [field])
    assert (await chart.clinician.get(path, params={"status": "signed"})).json()["total"]["count"] == 0
    assert (await chart.clinician.get(path)).json()["total"]["count"] == 2
    assert (await chart.clinician.delete(f"{path}/{empty['id']}", headers=seen(1))).status_code == 204
    assert (await chart.clinician.get(f"{path}/{empty['id']}")).status_code == 404
    assert (await chart.clinician.get(path)).json()["total"]["count"] == 1


async def test_a_body_may_be_a_megabyte_and_no_other_request(chart: Chart) -> None:
    longest = "é" * (MAX_BODY_BYTES // 2)
    note = await drafted(chart, body=longest)
    assert (await chart.clinician.get(f"{chart.path}/notes/{note['id']}")).json()["body"] == longest
    for path in (f"{chart.path}/interactions", f"{chart.path}/notes/{note['id']}/amendments"):
        answer = await chart.clinician.post(path, json={"what": longest, "why": "b"}, headers=seen(1))
        assert (answer.status_code, code(answer)) == (413, "too-large")


async def test_an_amendment_from_its_request_to_its_end(clinic: Clinic, chart: Chart) -> None:
    carl, herself = await colleague(clinic, chart), await clinic.logged_in(Role.PATIENT, patient=chart.patient.id)
    note = await signed(chart)
    wanted = {"what": "I never took lithium.", "why": "My brother did."}
    answer = await acted(herself, chart, note, "amendments", wanted)
    note = answer.json()
    assert (answer.status_code, note["due_on"]) == (200, "2026-05-13")
    request = note["amendments"][0]
    assert (request["status"], request["due_on"], request["by_patient"]) == ("open", "2026-05-13", True)
    of_staff = await acted(chart.clinician, chart, note, "amendments", wanted | {"received_on": "2026-03-01"})
    note = of_staff.json()
    assert note["due_on"] == "2026-04-30"
    for who in (chart.clinician, carl):
        due = (await who.get("/amendments")).json()
        assert [(one["note"]["id"], len(one["amendments"])) for one in due["items"]] == [(note["id"], 2)]
    assert (await herself.get("/amendments")).status_code == 403
    assert (await (await clinic.clinician())[0].get("/amendments")).json() == {"items": [], "next_cursor": None}

    at, other = f"amendments/{request['id']}", f"amendments/{note['amendments'][1]['id']}"
    addendum = await signed(chart, kind="addendum", addendum_to=note["id"], body="The brother took lithium.")
    accepted = {"addendum": addendum["id"], "told": ["The patient, by letter"]}
    assert (await acted(herself, chart, note, f"{at}/accept", accepted)).status_code == 404
    unfit = await acted(carl, chart, note, f"{at}/accept", accepted | {"addendum": note["id"]})
    assert (unfit.status_code, fields(unfit)) == (422, ["addendum"])
    nobody = await acted(carl, chart, note, f"{at}/accept", accepted | {"told": []})
    assert (nobody.status_code, fields(nobody)) == (422, ["told"])
    note = (await acted(carl, chart, note, f"{at}/accept", accepted)).json()
    assert note["amendments"][0]["status"] == "accepted"
    assert (await acted(carl, chart, note, f"{at}/accept", accepted)).status_code == 409

    late = await acted(carl, chart, note, f"{other}/extend", {"reason": "Records asked for.", "until": "2026-05-31"})
    assert (late.status_code, fields(late)) == (422, ["until"])
    extension = {"reason": "Records asked for.", "until": "2026-05-30"}
    note = (await acted(carl, chart, note, f"{other}/extend", extension)).json()
    assert note["due_on"] == "2026-05-30"
    assert (await acted(carl, chart, note, f"{other}/extend", extension)).status_code == 409
    baseless = await acted(carl, chart, note, f"{other}/deny", {"ground": "inconvenient", "basis": "No."})
    assert (baseless.status_code, fields(baseless)) == (422, ["ground"])
    denial = {"ground": "accurate-and-complete", "basis": "The laboratory confirmed it."}
    note = (await acted(carl, chart, note, f"{other}/deny", denial)).json()
    assert note["amendments"][1]["denial"]["citation"] == "45 CFR 164.526(a)(2)(iv)"
    assert note["due_on"] is None
    assert (await carl.get("/amendments")).json()["items"] == []
    note = (await acted(herself, chart, note, f"{other}/disagree", {"text": "The tube was not mine."})).json()
    note = (await acted(carl, chart, note, f"{other}/rebut", {"text": "It had her name."})).json()
    shown = (await chart.clinician.get(f"{chart.path}/notes/{note['id']}")).json()
    assert shown["amendments"][1]["disagreement"]["text"] == "The tube was not mine."
    assert shown["body"] == WRITTEN["body"]
    missing = await acted(carl, chart, note, f"amendments/{new_id()}/deny", denial)
    assert (missing.status_code, code(missing)) == (404, "not-found")


async def test_whoever_is_logged_in_gets_the_skeletons(memory_clinic: Clinic) -> None:
    found = (await (await memory_clinic.front_desk()).get("/note-templates")).json()["items"]
    assert [one["name"] for one in found] == ["soap", "mental-status"]
    headings = ("Appearance", "Behaviour", "Speech", "Mood", "Affect", "Thought process", "Thought content")
    for heading in (*headings, "Perception", "Cognition", "Insight", "Judgement"):
        assert f"## {heading}\n" in found[1]["body"]
