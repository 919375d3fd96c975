"""The view of a researcher, on each kind of storage and over published records."""

import json
import re
from dataclasses import asdict, replace

import pytest

from clarity.application.pages import Page
from clarity.application.research import ResearchService
from clarity.domain.access import Action, Actor, Purpose, Reason, Role
from clarity.domain.audit import Outcome
from clarity.domain.deidentification import ResearchSubject
from clarity.domain.errors import Forbidden, Invalid
from clarity.domain.ids import PatientId
from clarity.domain.records import Label, Resource
from clarity.fhir.patients import read_patient
from clarity.security.cursors import Cursors
from clarity.security.keyring import Keyring
from clarity.security.pseudonyms import ResearchPseudonyms
from tests.builders import NOW, a_keyring, a_patient, an_actor, new_id
from tests.canaries import content_of_resource
from tests.data import real_files, resources_in
from tests.practice import Practice

RESEARCHER = replace(an_actor(Role.RESEARCHER), purpose=Purpose.RESEARCH)


@pytest.fixture
def research(practice: Practice, keyring: Keyring) -> ResearchService:
    return ResearchService(practice.reading, ResearchPseudonyms(keyring), Cursors(keyring), lambda: NOW)


async def everybody(
    research: ResearchService, actor: Actor = RESEARCHER, at_most: int = 100
) -> list[Page[ResearchSubject]]:
    """Return every page."""
    pages: list[Page[ResearchSubject]] = []
    cursor = ""
    while not pages or cursor:
        pages.append(await research.list(actor, cursor=cursor, at_most=at_most))
        cursor = pages[-1].next_cursor
    return pages


async def test_every_ordinary_record_is_a_subject_once(research: ResearchService, practice: Practice) -> None:
    stored = [await practice.stored(a_patient()) for _ in range(11)]
    for label in (Label.RESTRICTED, Label.PART2):
        await practice.stored(a_patient(label=label))
    for at_most in (1, 4, 11, 100):
        pages = await everybody(research, at_most=at_most)
        found = [subject.pseudonym for page in pages for subject in page.items]
        assert len(set(found)) == len(found) == len(stored)
        assert {(page.count, page.exact) for page in pages} == {(len(stored), True)}
        assert all(len(page.items) == at_most for page in pages[:-1])


async def test_the_order_is_that_of_pseudonyms_and_not_of_registration(
    research: ResearchService, practice: Practice, keyring: Keyring
) -> None:
    stored = [await practice.stored(a_patient()) for _ in range(12)]
    (page,) = await everybody(research)
    pseudonyms = [subject.pseudonym for subject in page.items]
    assert pseudonyms == sorted(pseudonyms)
    registered = [ResearchPseudonyms(keyring).of(patient.id).hex() for patient in stored]
    assert sorted(registered) == pseudonyms
    assert registered != pseudonyms


async def test_a_subject_stays_the_same_while_the_keys_do(
    research: ResearchService, practice: Practice, keyring: Keyring
) -> None:
    ada = await practice.stored(a_patient())
    await practice.changed(ada.id, notes="Zq moved.")
    again = replace(research, pseudonyms=ResearchPseudonyms(keyring))
    assert await everybody(again) == await everybody(research)
    elsewhere = replace(research, pseudonyms=ResearchPseudonyms(a_keyring()))
    ((other,),) = (page.items for page in await everybody(elsewhere))
    ((one,),) = (page.items for page in await everybody(research))
    assert other.pseudonym != one.pseudonym


async def test_what_a_researcher_saw_is_in_the_trail(research: ResearchService, practice: Practice) -> None:
    stored = [await practice.stored(a_patient()) for _ in range(3)]
    await research.list(RESEARCHER)
    event = (await practice.events())[-1]
    assert (event.action, event.resource, event.purpose) == (Action.LIST, Resource.RESEARCH_SUBJECT, Purpose.RESEARCH)
    assert set(event.ids) == {patient.id for patient in stored}


@pytest.mark.parametrize("role", sorted(set(Role) - {Role.RESEARCHER, Role.SYSTEM}))
async def test_nobody_else_does_research(research: ResearchService, practice: Practice, role: Role) -> None:
    await practice.stored(a_patient())
    with pytest.raises(Forbidden):
        await research.list(an_actor(role))
    event = (await practice.events())[-1]
    assert (event.outcome, event.reason) == (Outcome.REFUSED, Reason.NO_SUCH_RIGHT)


async def test_a_record_that_does_not_open_is_left_out_and_noted(research: ResearchService, practice: Practice) -> None:
    whole, broken = await practice.stored(a_patient()), await practice.stored(a_patient())
    await practice.broken(broken.id)
    page = await research.list(RESEARCHER)
    assert len(page.items) == 1
    listed, failed = (await practice.events())[-2:]
    assert listed.ids == (whole.id,)
    assert (failed.patient, failed.reason, failed.resource) == (
        broken.id,
        Reason.CANNOT_OPEN,
        Resource.RESEARCH_SUBJECT,
    )


async def test_a_cursor_is_for_who_got_it(research: ResearchService, practice: Practice) -> None:
    for _ in range(2):
        await practice.stored(a_patient())
    page = await research.list(RESEARCHER, at_most=1)
    with pytest.raises(Invalid, match="cursor"):
        await research.list(an_actor(Role.RESEARCHER), cursor=page.next_cursor)


@pytest.mark.parametrize("folder", ["bulk-r4-10-patients", "synthea-r4"])
async def test_nothing_that_tells_a_published_patient_reaches_a_researcher(
    research: ResearchService, practice: Practice, folder: str
) -> None:
    resources = [one for one in resources_in(real_files(folder)) if one["resourceType"] == "Patient"]
    for resource in resources:
        await practice.stored(read_patient(json.dumps(resource).encode(), PatientId(new_id()), resource["id"]))
    subjects = [subject for page in await everybody(research) for subject in page.items]
    assert len(subjects) == len(resources)
    seen = json.dumps([asdict(subject) for subject in subjects])
    for resource in resources:
        told = content_of_resource(resource) | {resource["id"], resource["birthDate"]}
        for address in resource["address"]:
            told |= {address["city"], address.get("postalCode", "00000")}
        told |= {resource[name][:10] for name in ("deceasedDateTime",) if name in resource}
        # As words: pseudonyms are drawn by lot, and now and then have the digits of a ZIP code within.
        assert [text for text in told - {"00000", ""} if re.search(rf"\b{re.escape(text)}\b", seen)] == []
    states = {address["state"] for resource in resources for address in resource["address"]}
    assert {subject.state for subject in subjects} == {"MA" if state == "Massachusetts" else state for state in states}
    assert all(subject.race and subject.ethnicity and subject.languages for subject in subjects)
    assert {subject.deceased for subject in subjects} == {"deceasedDateTime" in one for one in resources}
