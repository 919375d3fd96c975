"""Duplicates through HTTP: what the front desk reviews, and what it is never told."""

from typing import Any

from httpx import AsyncClient

from clarity.domain.access import Role
from clarity.domain.records import Label
from tests.api.clinic import Clinic, code, told
from tests.builders import a_patient, new_id

SSN = "123-45-6789"


def a_record(**more: Any) -> dict[str, Any]:
    """Return what is sent to register somebody with the number that others have too."""
    return {
        "names": [{"family": "Lovelace", "given": ["Ada"]}],
        "born": "1985-12-10",
        "identifiers": [{"kind": "ssn", "value": SSN}],
        **more,
    }


async def the_review(desk: AsyncClient) -> dict[str, Any]:
    (review,) = (await desk.get("/duplicates")).json()["items"]
    assert isinstance(review, dict)
    return review


async def test_the_front_desk_reviews_merges_and_takes_back(clinic: Clinic) -> None:
    desk = await clinic.front_desk()
    first = (await desk.post("/patients", json=a_record())).json()["id"]
    phone = {"system": "phone", "value": "+1 555 010 9999"}
    second = (await desk.post("/patients", json=a_record(telecoms=[phone]))).json()["id"]
    review = await the_review(desk)
    assert review["patients"] == sorted([first, second])
    assert (review["kinds"], review["status"], review["survivor"], review["moved"]) == (["ssn"], "open", None, [])
    path = f"/duplicates/{review['id']}"
    shown = (await desk.get(path)).json()
    assert [one["id"] for one in shown["records"]] == review["patients"]
    assert {"field": "telecoms", "likeness": "one-sided"} in shown["compared"]
    assert {"field": "names", "likeness": "equal"} in shown["compared"]
    merged = await desk.post(f"{path}/merge", json={"survivor": first, "note": "Registered twice."})
    assert merged.status_code == 200
    assert (merged.json()["status"], merged.json()["survivor"]) == ("merged", first)
    assert merged.json()["moved"] == ["telecoms"]
    gone = await desk.get(f"/patients/{second}")
    assert told(gone) == told(await desk.get(f"/patients/{new_id()}"))
    assert (await desk.get(f"/patients/{first}")).json()["telecoms"][0]["value"] == phone["value"]
    assert (await desk.get("/duplicates")).json() == {
        "items": [],
        "next_cursor": None,
        "total": {"count": 0, "exact": True},
    }
    again = await desk.post(f"{path}/merge", json={"survivor": first})
    assert (again.status_code, code(again)) == (409, "conflict")
    back = await desk.post(f"{path}/unmerge", json={"note": "Two people."})
    assert (back.status_code, back.json()["status"]) == (200, "open")
    assert (await desk.get(f"/patients/{second}")).json()["telecoms"][0]["value"] == phone["value"]
    assert (await desk.get(f"/patients/{first}")).json()["telecoms"] == []
    decided = await desk.post(f"{path}/distinct", json={"note": "Twins."})
    assert (decided.json()["status"], decided.json()["note"]) == ("distinct", "Twins.")
    assert (await desk.get("/duplicates", params={"status": "distinct"})).json()["total"]["count"] == 1


async def test_nothing_tells_the_front_desk_of_a_collision_with_a_guarded_record(clinic: Clinic) -> None:
    desk = await clinic.front_desk()
    hidden = await clinic.practice.stored(a_patient(ssn=SSN, label=Label.RESTRICTED))
    empty = told(await desk.get("/duplicates"))
    collided = await desk.post("/patients", json=a_record())
    unknown = await desk.post("/patients", json=a_record(identifiers=[{"kind": "ssn", "value": "987-65-4321"}]))
    answers = []
    for answer, number in ((collided, SSN), (unknown, "987-65-4321")):
        status, headers, content = told(answer)
        identity = answer.json()["id"]
        headers = {name: value.replace(identity, "") for name, value in headers.items()}
        answers.append((status, headers, content.decode().replace(identity, "").replace(number, "")))
    assert answers[0] == answers[1]
    assert told(await desk.get("/duplicates")) == empty
    (review,) = [
        event.ids[0] for event in await clinic.practice.events() if event.resource.name == "DUPLICATE" and event.ids
    ]
    for path, body in (
        ("distinct", {}),
        ("merge", {"survivor": str(hidden.id)}),
        ("unmerge", {}),
    ):
        refused = await desk.post(f"/duplicates/{review}/{path}", json=body)
        assert told(refused) == told(await desk.post(f"/duplicates/{new_id()}/{path}", json=body))
        assert refused.status_code == 404
    absent = told(await desk.get(f"/duplicates/{new_id()}"))
    assert told(await desk.get(f"/duplicates/{review}")) == absent


async def test_reviews_are_not_there_for_others(clinic: Clinic) -> None:
    desk = await clinic.front_desk()
    for _ in range(2):
        await desk.post("/patients", json=a_record())
    review = await the_review(desk)
    clinician, _ = await clinic.clinician()
    for caller in (clinician, await clinic.logged_in(Role.ADMINISTRATOR), await clinic.logged_in(Role.RESEARCHER)):
        assert (await caller.get("/duplicates")).json()["total"] == {"count": 0, "exact": True}
        absent = await caller.get(f"/duplicates/{new_id()}")
        assert told(await caller.get(f"/duplicates/{review['id']}")) == told(absent)
        assert absent.status_code == 404
