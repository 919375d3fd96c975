"""Searching finds what a plain scan of the same people finds, in order, in pages, and in scope."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import pytest

from clarity.application.index_runs import IndexRuns
from clarity.application.patients import PatientService
from clarity.application.ports import PatientSearch
from clarity.domain.access import INDEXER, Action, Role
from clarity.domain.audit import Outcome
from clarity.domain.errors import Forbidden, Invalid, TooMany
from clarity.domain.identifiers import Identifier, IdentifierKind
from clarity.domain.names import HumanName, NameUse, fold
from clarity.domain.patients import Patient, PatientQuery, PatientSort, PatientStatus
from clarity.domain.people import BirthSex, Gender
from clarity.domain.records import Label, Resource
from clarity.search.streaming import StreamingSearch
from clarity.security.keyring import Keyring
from tests.builders import NOW, TODAY, a_name, a_patient, a_practitioner, an_actor, new_id, the_operator
from tests.practice import Practice
from tests.searching import resident_search

PEOPLE = (
    ("Alcántar", "José", "1950-03-01"),
    ("Alcantara", "Ana", "1951"),
    ("O'Brien", "Siobhán", "1990-07-07"),
    ("Smith-Jones", "Mary Ann", "1990-07-08"),
    ("García López", "María", "2010-02-28"),
    ("Nguyễn", "Thị Minh Khai", "1977-11-30"),
    ("王", "小明", "2001-01-01"),
    ("محمد", "أحمد", "1999-09"),
    ("Łukasiewicz", "Jan", "1878-12-21"),
    ("Straße", "Jürgen", "1960-06-06"),
    ("Percent%", "Under_score", "1960-06-06"),
    ("Emoji😀", "Zoë", "1984-02-29"),
)


@pytest.fixture(params=["streaming", "resident"])
async def search_index(
    request: pytest.FixtureRequest, practice: Practice, keyring: Keyring
) -> AsyncIterator[PatientSearch]:
    if request.param == "streaming":
        yield StreamingSearch(lambda: TODAY)
        return
    async with resident_search(practice, keyring) as search:
        yield search


@pytest.fixture
async def people(practice: Practice) -> list[Patient]:
    return [await practice.stored(a_patient(name=a_name(family, given), born=born)) for family, given, born in PEOPLE]


def named(patient: Patient, text: str) -> bool:
    """Return whether a plain reading of the name has every word of `text`."""
    plain = fold(f"{' '.join(patient.name.given)} {patient.name.family}")
    packed = fold(patient.name.family) + fold("".join(patient.name.given))
    return all(fold(word) in plain or (not word.isascii() and fold(word) in packed) for word in text.split())


def every_fragment() -> list[str]:
    fragments = {
        name[start : start + length]
        for family, given, _ in PEOPLE
        for name in (family, *given.split())
        for length in (1, 2, 3, len(name))
        for start in range(len(name) - length + 1)
    }
    return sorted(fragments)


async def test_every_fragment_finds_whom_a_plain_scan_finds(patients: PatientService, people: list[Patient]) -> None:
    for fragment in every_fragment():
        page = await patients.search(the_operator(), PatientQuery(name=fragment))
        expected = {patient.id for patient in people if named(patient, fragment)}
        assert {patient.id for patient in page.items} == expected, f"{fragment!r} found others than a plain scan"
        assert page.count == len(expected)
        assert page.exact


@pytest.mark.parametrize(
    ("asked", "families"),
    [
        ({"name": "alcantar"}, ["Alcántar", "Alcantara"]),
        ({"name": "ALCÁNTAR jose"}, ["Alcántar"]),
        ({"name": "obrien"}, ["O'Brien"]),
        ({"name": "o’brien"}, ["O'Brien"]),
        ({"name": "jones smith"}, ["Smith-Jones"]),
        ({"name": "smith-jones"}, ["Smith-Jones"]),
        ({"name": "gar mar"}, ["García López"]),
        ({"name": "nguyen"}, ["Nguyễn"]),
        ({"name": "小"}, ["王"]),
        ({"name": "王小明"}, ["王"]),
        ({"name": "strasse"}, ["Straße"]),
        ({"name": "lukas"}, ["Łukasiewicz"]),
        ({"name": "%"}, ["Percent%"]),
        ({"name": "_"}, ["Percent%"]),
        ({"name": "😀"}, ["Emoji😀"]),
        ({"name": "nobody"}, []),
        ({"name": "' OR 1=1 --"}, []),
        ({"min_age": 74, "max_age": 75}, ["Alcantara"]),
        ({"born_from": date(1990, 7, 7), "born_to": date(1990, 7, 7)}, ["O'Brien"]),
        ({"born_from": date(1999, 9, 15), "born_to": date(1999, 9, 16)}, ["محمد"]),
    ],
)
@pytest.mark.usefixtures("people")
async def test_whom_a_search_finds(patients: PatientService, asked: dict[str, Any], families: list[str]) -> None:
    page = await patients.search(the_operator(), PatientQuery(**asked))
    assert sorted(patient.name.family for patient in page.items) == sorted(families)


async def test_a_former_name_finds_the_patient_too(practice: Practice, patients: PatientService) -> None:
    names = (a_name("King"), HumanName(family="Byron", given=("Ada",), use=NameUse.MAIDEN))
    ada = await practice.stored(a_patient(names=names))
    assert (await patients.search(the_operator(), PatientQuery(name="byron"))).items == (ada,)


@pytest.mark.parametrize("sort", PatientSort)
@pytest.mark.parametrize("descending", [False, True])
async def test_pages_join_to_the_whole_in_order(
    patients: PatientService,
    people: list[Patient],
    sort: PatientSort,
    descending: bool,
) -> None:
    query = PatientQuery(sort=sort, descending=descending)
    seen: list[Patient] = []
    cursor = ""
    actor = the_operator()
    while True:
        page = await patients.search(actor, query, cursor=cursor, at_most=5)
        assert page.count == len(people)
        seen += page.items
        cursor = page.next_cursor
        if not cursor:
            break
    assert len(seen) == len({patient.id for patient in seen}) == len(people)
    if sort is not PatientSort.AGE:
        # They were all registered at the same instant, so that the names decide between them.
        names = [patient.name.sort_key for patient in seen]
        assert names == sorted(names, reverse=descending)
    else:
        births = [patient.born.first for patient in seen]
        assert births == sorted(births, reverse=not descending)


async def test_exact_identifiers_find_their_owner(practice: Practice, patients: PatientService) -> None:
    passport = Identifier(kind=IdentifierKind.PASSPORT, value="X1", system="urn:a")
    ada = await practice.stored(
        a_patient(
            mrn="MRN-1", ssn="999-12-3456", email="ada@example.org", phone="555-978-4581", identifiers=(passport,)
        )
    )
    await practice.stored(a_patient())

    async def found(**asked: Any) -> tuple[Patient, ...]:
        return (await patients.search(the_operator(), PatientQuery(**asked))).items

    assert await found(mrn="mrn-1") == (ada,)
    assert await found(ssn="999123456") == (ada,)
    assert await found(email="ADA@example.org") == (ada,)
    assert await found(phone="+1 555 978 4581") == (ada,)
    assert await found(identifier="X1") == (ada,)
    assert await found(identifier="X1", identifier_system="urn:a") == (ada,)
    assert await found(identifier="\u200bX1 ", identifier_system="urn:a") == (ada,)
    assert await found(mrn="MRN-1", name="love") == (ada,)
    assert await found(mrn="MRN-2") == ()
    assert await found(identifier="X1", identifier_system="urn:b") == ()
    assert await found(mrn="MRN-1", name="zzz") == ()


async def test_a_search_finds_and_counts_only_what_the_caller_may_see(
    practice: Practice, patients: PatientService
) -> None:
    anna = await practice.employed(a_practitioner())
    mine = await practice.stored(a_patient(care_team=frozenset({anna.id})))
    await practice.stored(a_patient())
    guarded = await practice.stored(a_patient(care_team=frozenset({anna.id}), label=Label.RESTRICTED))
    carer, desk, owner = (
        an_actor(practitioner=anna.id),
        an_actor(Role.FRONT_DESK),
        an_actor(Role.PATIENT, patient=mine.id),
    )
    for actor, count in ((carer, 2), (desk, 2), (owner, 1), (an_actor(), 0), (an_actor(Role.ADMINISTRATOR), 0)):
        page = await patients.search(actor, PatientQuery(name="lovelace"))
        assert (page.count, len(page.items)) == (count, count)
        assert (guarded.id in {patient.id for patient in page.items}) is (actor is carer)
    assert (await practice.events())[-1].outcome is Outcome.REFUSED


async def test_a_search_leaves_one_event_that_names_whom_it_showed_and_not_what_was_asked(
    practice: Practice, patients: PatientService
) -> None:
    ada = await practice.stored(a_patient())
    await patients.search(the_operator(), PatientQuery(name="lovelace"))
    event = (await practice.events())[-1]
    assert (event.action, event.ids, event.patient) == (Action.SEARCH, (ada.id,), None)
    assert len(event.query_mac) == 32
    await patients.search(the_operator(), PatientQuery(name="LOVELACE"))
    assert (await practice.events())[-1].query_mac == event.query_mac


async def test_the_trail_does_not_keep_the_order_of_names(practice: Practice, patients: PatientService) -> None:
    named = [
        await practice.stored(a_patient(name=a_name(family))) for family in ("Zuse", "Hopper", "Lamarr", "Babbage")
    ]
    page = await patients.search(an_actor(Role.FRONT_DESK), PatientQuery())
    assert [patient.id for patient in page.items] == [named[place].id for place in (3, 1, 2, 0)]
    assert (await practice.events())[-1].ids == tuple(patient.id for patient in named)


async def test_filling_an_index_leaves_one_event_of_the_indexer_with_a_count(practice: Practice) -> None:
    await IndexRuns(practice.reading, lambda: NOW, new_id)(7)
    [event] = await practice.events()
    assert (event.actor, event.role, event.action, event.resource) == (
        INDEXER,
        Role.SYSTEM,
        Action.REFRESH,
        Resource.PATIENT,
    )
    assert (event.ids, event.ids_count, event.outcome) == ((), 7, Outcome.SUCCEEDED)


async def test_status_and_practitioner_narrow_a_search(practice: Practice, patients: PatientService) -> None:
    anna = await practice.employed(a_practitioner())
    ada = await practice.stored(a_patient(care_team=frozenset({anna.id})))
    bob = await practice.stored(a_patient(discharged=date(2026, 1, 1)))
    search = patients.search
    assert (await search(the_operator(), PatientQuery(status=PatientStatus.DISCHARGED))).items == (bob,)
    assert (await search(the_operator(), PatientQuery(practitioner=anna.id))).items == (ada,)


async def test_gender_and_birth_sex_narrow_a_search(practice: Practice, patients: PatientService) -> None:
    ada = await practice.stored(replace(a_patient(gender=Gender.FEMALE), birth_sex=BirthSex.MALE))
    bob = await practice.stored(replace(a_patient(gender=Gender.MALE), birth_sex=BirthSex.MALE))
    kim = await practice.stored(a_patient(gender=Gender.UNKNOWN))

    async def found(**asked: Any) -> set[Patient]:
        return set((await patients.search(the_operator(), PatientQuery(**asked))).items)

    assert await found(gender=Gender.FEMALE) == {ada}
    assert await found(gender=Gender.UNKNOWN) == {kim}
    assert await found(birth_sex=BirthSex.MALE) == {ada, bob}
    assert await found(birth_sex=BirthSex.MALE, gender=Gender.MALE) == {bob}
    assert await found(birth_sex=BirthSex.UNKNOWN) == set()


async def test_by_the_last_change_the_latest_come_first(practice: Practice, patients: PatientService) -> None:
    people = [await practice.stored(a_patient(name=a_name(family))) for family in ("Abel", "Byron", "King")]
    practice.clock.at = NOW + timedelta(microseconds=1)
    await practice.changed(people[1].id, at=practice.clock.at, notes="Moved in May.")
    query = PatientQuery(sort=PatientSort.CHANGED)
    for descending, expected in ((False, ["Byron", "Abel", "King"]), (True, ["King", "Abel", "Byron"])):
        page = await patients.search(the_operator(), replace(query, descending=descending))
        assert [patient.name.family for patient in page.items] == expected


async def test_searching_by_social_security_number_is_bound_to_a_role(
    practice: Practice, patients: PatientService
) -> None:
    anna = await practice.employed(a_practitioner())
    await practice.stored(a_patient(ssn="999-12-3456", care_team=frozenset({anna.id})))
    nurse = an_actor(Role.NURSE, practitioner=anna.id)
    with pytest.raises(Forbidden):
        await patients.search(nurse, PatientQuery(ssn="999-12-3456"))
    event = (await practice.events())[-1]
    assert (event.action, event.outcome, event.ids) == (Action.SEARCH_BY_SSN, Outcome.REFUSED, ())


async def test_searching_by_social_security_number_is_limited(patients: PatientService) -> None:
    desk = an_actor(Role.FRONT_DESK)
    with pytest.raises(TooMany):
        for _ in range(1_000):
            await patients.search(desk, PatientQuery(ssn="999-12-3456"))


@pytest.mark.usefixtures("people")
async def test_a_cursor_belongs_to_one_caller_and_one_question(patients: PatientService) -> None:
    actor = the_operator()
    cursor = (await patients.search(actor, PatientQuery(), at_most=5)).next_cursor
    desk = an_actor(Role.FRONT_DESK)
    for who, query, place in (
        (desk, PatientQuery(), cursor),
        (actor, PatientQuery(name="a"), cursor),
        (actor, PatientQuery(), cursor[:-2] + "AA"),
        (actor, PatientQuery(), "made-up"),
    ):
        with pytest.raises(Invalid):
            await patients.search(who, query, cursor=place)


@pytest.mark.parametrize("size", [0, -1, 101])
async def test_a_page_has_its_bounds(patients: PatientService, size: int) -> None:
    with pytest.raises(Invalid):
        await patients.search(the_operator(), PatientQuery(), at_most=size)
