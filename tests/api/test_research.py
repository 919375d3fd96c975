"""The researcher's view, through HTTP."""

import json
import re
from dataclasses import replace
from typing import Any

from clarity.domain.access import Role
from clarity.domain.people import Address
from clarity.domain.records import Label
from tests.api.clinic import Clinic, code, fields
from tests.builders import a_patient


async def test_a_researcher_sees_subjects_and_nothing_of_the_persons(clinic: Clinic) -> None:
    researcher = await clinic.logged_in(Role.RESEARCHER)
    home = Address(lines=("48 Juniper Lane",), city="Zqville", state="MA", postal_code="02115")
    stored = [
        await clinic.practice.stored(replace(a_patient(notes="Zqsecret", ssn="999-21-4813"), addresses=(home,)))
        for _ in range(5)
    ]
    await clinic.practice.stored(a_patient(label=Label.RESTRICTED))
    found: list[dict[str, Any]] = []
    cursor = ""
    while not found or cursor:
        answer = await researcher.get("/research/subjects", params={"limit": 2, "cursor": cursor})
        assert answer.status_code == 200
        page = answer.json()
        assert page["total"] == {"count": 5, "exact": True}
        found += page["items"]
        cursor = page["next_cursor"]
        assert not cursor or not any(patient.id.hex in cursor or str(patient.id) in cursor for patient in stored)
    assert len({one["pseudonym"] for one in found}) == len(found) == 5
    assert {(one["state"], one["zip3"], one["age"]) for one in found} == {("MA", "021", 40)}
    text = json.dumps(found)
    for secret in ("Zq", "Ada", "Lovelace", "999-21-4813", "Juniper", "02115", "MRN", "1985-12", "12-10"):
        # From the beginning of a word: pseudonyms are drawn by lot, and now and then have the digits of a ZIP code.
        assert not re.search(rf"\b{secret}", text)
    for patient in stored:
        assert str(patient.id) not in text
        assert (await researcher.get(f"/patients/{patient.id}")).status_code == 404


async def test_research_is_for_researchers(memory_clinic: Clinic) -> None:
    clinician, _ = await memory_clinic.clinician()
    others = [await memory_clinic.logged_in(role) for role in (Role.ADMINISTRATOR, Role.COMPLIANCE_OFFICER)]
    for caller in (clinician, await memory_clinic.front_desk(), *others):
        answer = await caller.get("/research/subjects")
        assert (answer.status_code, code(answer)) == (403, "forbidden")


async def test_a_cursor_that_is_none_is_refused(memory_clinic: Clinic) -> None:
    researcher = await memory_clinic.logged_in(Role.RESEARCHER)
    answer = await researcher.get("/research/subjects", params={"cursor": "AAAA"})
    assert (answer.status_code, fields(answer)) == (422, ["cursor"])
