"""The search of a chart, through HTTP."""

from typing import Any

import pytest

from clarity.domain.access import Role
from tests.api.clinic import Chart, Clinic, code, fields, seen, told
from tests.builders import new_id

NOTE = {"kind": "progress", "title": "Third visit", "body": "Sleeps through most nights,\nand naps at noon."}


async def test_words_of_a_note_are_found_and_shown_where_they_stand(memory_clinic: Clinic, memory_chart: Chart) -> None:
    path, anna = f"{memory_chart.path}/chart/search", memory_chart.clinician
    note = (await anna.post(f"{memory_chart.path}/notes", json=NOTE)).json()
    await anna.post(f"{memory_chart.path}/notes/{note['id']}/sign", headers=seen(1))
    answer = await anna.post(path, json={"query": "SLEEPING nigths", "kinds": ["note"]})
    assert answer.headers["Cache-Control"] == "no-store"
    page: dict[str, Any] = answer.json()
    (found,) = page["items"]
    text = found["snippet"]["text"]
    assert [text[one["start"] : one["end"]] for one in found["snippet"]["matches"]] == ["Sleeps", "nights"]
    assert (found["id"], found["title"]["text"], found["as_spelt"]) == (note["id"], NOTE["title"], False)
    assert (page["total"], page["next_cursor"], page["complete"]) == ({"count": 1, "exact": True}, None, True)
    desk = await memory_clinic.logged_in(Role.FRONT_DESK)
    absent = await anna.post(f"/patients/{new_id()}/chart/search", json={"query": "nights"})
    assert absent.status_code == 404
    assert told(await desk.post(path, json={"query": "nights"})) == told(absent)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"query": "?"}, "query"),
        ({"query": "a*"}, "query"),
        ({"query": "x" * 201}, "query"),
        ({"query": "\x00quetiapine"}, "query"),
        ({"query": "quetiapine", "limit": 101}, "limit"),
        ({"query": "quetiapine", "kinds": []}, "kinds"),
        ({"query": "quetiapine", "cursor": "e30"}, "cursor"),
        ({"query": "quetiapine", "q": 1}, "body"),
    ],
)
async def test_what_cannot_be_asked_is_refused_by_name_and_not_repeated(
    memory_chart: Chart, body: dict[str, Any], field: str
) -> None:
    answer = await memory_chart.clinician.post(f"{memory_chart.path}/chart/search", json=body)
    assert (answer.status_code, code(answer), fields(answer)) == (422, "invalid", [field])
    assert "quetiapine" not in answer.text
