"""A name that was heard finds those who are like it, the most alike first, of whom the caller may see."""

import pytest

from clarity.application.patients import PatientService
from clarity.domain.access import Action, Role
from clarity.domain.audit import Outcome
from clarity.domain.dates import PartialDate
from clarity.domain.errors import Invalid
from clarity.domain.likeness import SimilarQuery
from clarity.domain.names import HumanName, NameUse
from clarity.domain.patients import Patient, PatientQuery
from clarity.domain.records import Label
from tests.builders import a_name, a_patient, a_practitioner, an_actor, the_operator
from tests.canaries import plant
from tests.practice import Practice

PEOPLE = (
    ("García", "Catherine", "1985-04-12"),
    ("Garza", "Katherine", "1985-12-04"),
    ("Smith", "Sean", "1960"),
    ("Smithson", "Shawn", "1961-01-01"),
    ("Nguyễn", "Thị Minh", "1977-11-30"),
    ("Meyer", "Jürgen", "1950-06-06"),
    ("王", "小明", "2001-01-01"),
    ("محمد", "أحمد", "1999-09"),
)


@pytest.fixture
async def people(practice: Practice) -> list[Patient]:
    return [await practice.stored(a_patient(name=a_name(family, given), born=born)) for family, given, born in PEOPLE]


async def families(patients: PatientService, name: str, born: str = "", at_most: int = 20) -> list[str]:
    """Return the family names found, in order."""
    plant(*name.split())
    query = SimilarQuery(name=name, born=PartialDate.parse(born) if born else None)
    page = await patients.similar(the_operator(), query, at_most=at_most)
    return [one.patient.name.family for one in page.items]


@pytest.mark.usefixtures("people")
async def test_whom_a_name_finds_that_was_heard(patients: PatientService) -> None:
    for name, expected in {
        "Katharine": ["Garza", "García"],
        "Shawn": ["Smithson", "Smith"],
        "Shawn Smyth": ["Smith"],
        "Smith": ["Smith", "Smithson"],
        "Nwin": ["Nguyễn"],
        "Garsia": ["García", "Garza"],
        "Garsia Katharine": ["García", "Garza"],
        "Maier": ["Meyer"],
        "jurgen mayer": ["Meyer"],
        "王": ["王"],
        "王小朋": ["王"],
        "李": [],
        "محمود": ["محمد"],
        "Meyer Catherine": [],
        "zzyzx": [],
    }.items():
        assert await families(patients, name) == expected, name


@pytest.mark.usefixtures("people")
async def test_whoever_a_search_finds_is_found_by_the_same_words_too(patients: PatientService) -> None:
    for text in ("gar", "GARCÍA cath", "in", "小", "王小", "m"):
        searched = {one.id for one in (await patients.search(the_operator(), PatientQuery(name=text))).items}
        page = await patients.similar(the_operator(), SimilarQuery(name=text))
        assert searched, text
        exact = [one.patient.id for one in page.items if one.score >= 0.9]
        assert set(exact) == searched, text
        assert exact == [one.patient.id for one in page.items][: len(exact)], text


@pytest.mark.usefixtures("people")
async def test_the_date_of_birth_decides_between_names_that_are_alike(patients: PatientService) -> None:
    for born, first in {
        "1985-04-12": "García",
        "1985-04": "García",
        "1985-12-04": "Garza",
        "1986-12-04": "Garza",
        "1985": "Garza",
    }.items():
        assert (await families(patients, "Katherin Garsa", born))[0] == first, born
    assert len(await families(patients, "Katherin Garsa", "1900")) == 2


async def test_a_former_name_is_like_it_too_and_words_of_two_names_do_not_mix(
    practice: Practice, patients: PatientService
) -> None:
    names = (a_name("King"), HumanName(family="Byron", given=("Augusta",), use=NameUse.MAIDEN))
    await practice.stored(a_patient(names=names))
    assert await families(patients, "agusta biron") == ["King"]
    assert await families(patients, "augusta king") == []


async def test_the_most_alike_come_first_and_ties_go_by_name(practice: Practice, patients: PatientService) -> None:
    for family, given in (("Smyth", "Bob"), ("Smyth", "Ann"), ("Smith", "Zoe"), ("Smits", "Al"), ("Schulz", "Al")):
        await practice.stored(a_patient(name=a_name(family, given)))
    page = await patients.similar(the_operator(), SimilarQuery(name="smith"))
    shown = [(one.patient.name.family, one.patient.name.given[0]) for one in page.items]
    assert shown == [("Smith", "Zoe"), ("Smyth", "Ann"), ("Smyth", "Bob"), ("Smits", "Al")]
    scores = [one.score for one in page.items]
    assert scores == sorted(scores, reverse=True)
    assert scores[0] == 1
    assert all(0 < score <= 1 for score in scores)
    best = await patients.similar(the_operator(), SimilarQuery(name="smith"), at_most=2)
    assert (best.items, best.count, best.next_cursor) == (page.items[:2], 4, "")


async def test_only_whom_the_caller_may_see_is_found_and_counted(practice: Practice, patients: PatientService) -> None:
    anna = await practice.employed(a_practitioner())
    team = frozenset({anna.id})
    mine = await practice.stored(a_patient(care_team=team))
    guarded = await practice.stored(a_patient(care_team=team, label=Label.RESTRICTED))
    part2 = await practice.stored(a_patient(care_team=team, label=Label.PART2))
    other = await practice.stored(a_patient())
    for actor, seen in (
        (an_actor(practitioner=anna.id), {mine.id, guarded.id}),
        (an_actor(Role.FRONT_DESK), {mine.id, other.id}),
        (an_actor(Role.PATIENT, patient=part2.id), {part2.id}),
        (an_actor(), set()),
        (an_actor(Role.ADMINISTRATOR), set()),
    ):
        page = await patients.similar(actor, SimilarQuery(name="lovlace"))
        assert {one.patient.id for one in page.items} == seen, actor.role
        assert (page.count, page.exact) == (len(seen), True), actor.role
    assert (await practice.events())[-1].outcome is Outcome.REFUSED


async def test_it_leaves_one_event_that_names_whom_it_showed_and_no_name(
    practice: Practice, patients: PatientService
) -> None:
    ada = await practice.stored(a_patient())
    await patients.similar(the_operator(), SimilarQuery(name="Ada Lovlace"))
    event = (await practice.events())[-1]
    assert (event.action, event.ids, event.patient) == (Action.SEARCH, (ada.id,), None)
    assert len(event.query_mac) == 32
    await patients.similar(the_operator(), SimilarQuery(name="lovlace  ADA"))
    assert (await practice.events())[-1].query_mac == event.query_mac
    await patients.search(the_operator(), PatientQuery(name="Ada Lovlace"))
    assert (await practice.events())[-1].query_mac != event.query_mac


async def test_a_record_that_does_not_open_is_left_out_and_noted(practice: Practice, patients: PatientService) -> None:
    ada, broken = await practice.stored(a_patient()), await practice.stored(a_patient())
    await practice.broken(broken.id)
    page = await patients.similar(the_operator(), SimilarQuery(name="lovlace"))
    assert [one.patient.id for one in page.items] == [ada.id]
    failed = [event for event in await practice.events() if event.outcome is Outcome.FAILED]
    assert [event.patient for event in failed] == [broken.id]


@pytest.mark.parametrize("size", [0, 51])
async def test_it_shows_fifty_at_most(patients: PatientService, size: int) -> None:
    with pytest.raises(Invalid, match="limit"):
        await patients.similar(the_operator(), SimilarQuery(name="a"), at_most=size)
