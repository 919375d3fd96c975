"""Practitioners, on every storage: who registers and changes them, how they are found, and whom they care for."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from clarity.application.patients import PatientService, RepeatKey
from clarity.application.practitioners import PractitionerService
from clarity.domain.access import Action, Role
from clarity.domain.audit import Outcome
from clarity.domain.errors import (
    DuplicateNpi,
    Forbidden,
    Invalid,
    NotFound,
    ReusedKey,
    StaleWrite,
)
from clarity.domain.ids import PractitionerId
from clarity.domain.names import HumanName
from clarity.domain.patients import PatientStatus
from clarity.domain.people import Address, Coding, Concept, Gender, Telecom, TelecomSystem
from clarity.domain.practitioners import PROVIDER_TAXONOMY, Practitioner, PractitionerQuery
from clarity.domain.records import Label, Resource
from clarity.security.cursors import Cursors
from clarity.security.keyring import Keyring
from tests.builders import NOW, TODAY, a_name, a_patient, a_practitioner, an_actor, new_id
from tests.bundles import VALID_NPI
from tests.practice import Practice

ANOTHER_NPI = "1245319599"
PSYCHIATRY = Concept(
    codings=(Coding(system=PROVIDER_TAXONOMY, code="2084P0800X", display="Psychiatry Physician"),), text="Psychiatry"
)
ADMINISTRATOR = an_actor(Role.ADMINISTRATOR)


@pytest.fixture
def practitioners(practice: Practice, keyring: Keyring) -> PractitionerService:
    return PractitionerService(practice.begin, practice.reading, Cursors(keyring), lambda: NOW)


async def everybody(practitioners: PractitionerService, query: PractitionerQuery) -> list[Practitioner]:
    """Return who meets a query, a page of one at a time."""
    actor, found, cursor = an_actor(Role.FRONT_DESK), list[Practitioner](), ""
    while True:
        page = await practitioners.list(actor, query, cursor=cursor, at_most=1)
        found.extend(page.items)
        if not (cursor := page.next_cursor):
            assert page.count == len(found)
            return found


async def test_a_practitioner_comes_back_as_they_were_registered(practitioners: PractitionerService) -> None:
    practitioner = Practitioner(
        id=PractitionerId(new_id()),
        name=HumanName(family="Okafor", given=("Anna",), prefix=("Dr.",)),
        npi=VALID_NPI,
        gender=Gender.FEMALE,
        telecoms=(Telecom(system=TelecomSystem.EMAIL, value="anna@example.org"),),
        addresses=(Address(lines=("20 Maresfield Gardens",), city="London"),),
        specialty=PSYCHIATRY,
    )
    saved = await practitioners.register(ADMINISTRATOR, practitioner)
    assert saved == replace(practitioner, version=1)
    assert await practitioners.view(an_actor(Role.NURSE), practitioner.id) == saved


async def test_each_change_is_the_next_version_and_is_in_the_trail(
    practice: Practice, practitioners: PractitionerService
) -> None:
    first = await practitioners.register(ADMINISTRATOR, a_practitioner())
    away = await practitioners.change(ADMINISTRATOR, first.id, lambda one: replace(one, active=False), version=1)
    same = await practitioners.change(ADMINISTRATOR, first.id, lambda one: replace(one, active=False), version=2)
    back = await practitioners.change(
        ADMINISTRATOR, first.id, lambda one: replace(one, active=True, specialty=PSYCHIATRY), version=2
    )
    assert (away.active, away.version) == (False, 2)
    assert same == away
    assert (back.active, back.specialty, back.version) == (True, PSYCHIATRY, 3)
    events = [event for event in await practice.events() if event.resource is Resource.PRACTITIONER]
    assert [(event.action, event.version) for event in events] == [
        (Action.REGISTER, 1),
        (Action.CHANGE, 2),
        (Action.CHANGE, 0),
        (Action.CHANGE, 3),
    ]
    assert all(event.ids == (first.id,) and event.actor == ADMINISTRATOR.id for event in events)


async def test_whoever_saw_an_older_version_changes_nothing(practitioners: PractitionerService) -> None:
    first = await practitioners.register(ADMINISTRATOR, a_practitioner())
    await practitioners.change(ADMINISTRATOR, first.id, lambda one: replace(one, active=False), version=1)
    with pytest.raises(StaleWrite):
        await practitioners.change(ADMINISTRATOR, first.id, lambda one: replace(one, gender=Gender.OTHER), version=1)
    with pytest.raises(NotFound):
        await practitioners.change(ADMINISTRATOR, PractitionerId(new_id()), lambda one: one, version=1)


@pytest.mark.parametrize("role", [role for role in Role if role not in {Role.ADMINISTRATOR, Role.SYSTEM}])
async def test_only_administrators_say_who_cares_for_patients(
    practice: Practice, practitioners: PractitionerService, role: Role
) -> None:
    known = await practice.employed(a_practitioner())
    with pytest.raises(Forbidden):
        await practitioners.register(an_actor(role), a_practitioner())
    with pytest.raises(Forbidden):
        await practitioners.change(an_actor(role), known.id, lambda one: replace(one, active=False), version=1)
    refused = [event for event in await practice.events() if event.outcome is Outcome.REFUSED]
    assert [event.action for event in refused] == [Action.REGISTER, Action.CHANGE]


@pytest.mark.parametrize("role", [Role.PATIENT, Role.RESEARCHER, Role.DEVICE])
async def test_whoever_is_not_staff_sees_no_practitioner(
    practice: Practice, practitioners: PractitionerService, role: Role
) -> None:
    known = await practice.employed(a_practitioner())
    for attempt in (practitioners.view, practitioners.caseload):
        with pytest.raises(Forbidden):
            await attempt(an_actor(role), known.id)
        with pytest.raises(Forbidden):
            await attempt(an_actor(role), PractitionerId(new_id()))


@pytest.mark.parametrize(
    "typed",
    [
        "1234567890",
        "12345678931",
        "123456789",
        "1234 567 893",
        "\uff11\uff12\uff13\uff14\uff15\uff16\uff17\uff18\uff19\uff13",
        "\u0661\u0662\u0663\u0664\u0665\u0666\u0667\u0668\u0669\u0663",
        "123456\u200b7893",
        "+1234567893",
        "n/a",
    ],
)
async def test_a_typed_npi_has_to_be_one(practice: Practice, practitioners: PractitionerService, typed: str) -> None:
    with pytest.raises(Invalid) as raised:
        await practitioners.register(ADMINISTRATOR, a_practitioner(npi=typed))
    assert raised.value.field == "npi"
    assert typed not in str(raised.value)
    known = await practice.employed(a_practitioner(npi=VALID_NPI))
    with pytest.raises(Invalid):
        await practitioners.change(ADMINISTRATOR, known.id, lambda one: replace(one, npi=typed), version=1)
    assert await practitioners.view(ADMINISTRATOR, known.id) == known


@pytest.mark.parametrize("typed", [f" {VALID_NPI}\t", f"\u00a0{VALID_NPI}\n"])
async def test_the_spaces_around_a_typed_npi_are_not_kept(practitioners: PractitionerService, typed: str) -> None:
    assert (await practitioners.register(ADMINISTRATOR, a_practitioner(npi=typed))).npi == VALID_NPI
    with pytest.raises(DuplicateNpi):
        await practitioners.register(ADMINISTRATOR, a_practitioner(npi=typed))


async def test_an_imported_npi_may_stay_as_it_came_whatever_else_changes(
    practice: Practice, practitioners: PractitionerService
) -> None:
    known = await practice.employed(a_practitioner(npi="160", sources=("import|Practitioner/d1",)))
    changed = await practitioners.change(
        ADMINISTRATOR, known.id, lambda one: replace(one, active=False, sources=("elsewhere",)), version=1
    )
    assert changed == replace(known, active=False, version=2)
    typed = await practitioners.change(ADMINISTRATOR, known.id, lambda one: replace(one, npi=VALID_NPI), version=2)
    assert typed.npi == VALID_NPI


@pytest.mark.parametrize("typed", ["zzz", "2084p0800x", "2084P0800X1", "101YA040", "2084 P800X"])
async def test_a_typed_code_of_the_provider_taxonomy_has_to_be_one(
    practice: Practice, practitioners: PractitionerService, typed: str
) -> None:
    wrong = Concept(codings=(Coding(system=PROVIDER_TAXONOMY, code=typed),))
    with pytest.raises(Invalid) as raised:
        await practitioners.register(ADMINISTRATOR, replace(a_practitioner(), specialty=wrong))
    assert raised.value.field == "specialty.codings.0.code"
    assert typed not in str(raised.value)
    known = await practice.employed(replace(a_practitioner(), specialty=PSYCHIATRY))
    with pytest.raises(Invalid):
        await practitioners.change(ADMINISTRATOR, known.id, lambda one: replace(one, specialty=wrong), version=1)
    assert await practitioners.view(ADMINISTRATOR, known.id) == known


async def test_codes_of_other_systems_and_imported_ones_stay_as_they_came(
    practice: Practice, practitioners: PractitionerService
) -> None:
    local = Concept(codings=(Coding(system="https://clinic.example/specialties", code="psy"),))
    registered = await practitioners.register(ADMINISTRATOR, replace(a_practitioner(), specialty=local))
    assert registered.specialty == local
    imported = Concept(codings=(Coding(system=PROVIDER_TAXONOMY, code="zzz"),))
    known = await practice.employed(replace(a_practitioner(), specialty=imported))
    reworded = replace(imported, text="Psychiatry")
    changed = await practitioners.change(
        ADMINISTRATOR, known.id, lambda one: replace(one, specialty=reworded), version=1
    )
    assert changed.specialty == reworded


async def test_an_npi_belongs_to_one_practitioner(practice: Practice, practitioners: PractitionerService) -> None:
    known = await practice.employed(a_practitioner(npi="123-456-7893"))
    other = await practitioners.register(ADMINISTRATOR, a_practitioner(npi=ANOTHER_NPI))
    with pytest.raises(DuplicateNpi):
        await practitioners.register(ADMINISTRATOR, a_practitioner(npi=VALID_NPI))
    with pytest.raises(DuplicateNpi):
        await practitioners.change(ADMINISTRATOR, other.id, lambda one: replace(one, npi=VALID_NPI), version=1)
    own = await practitioners.change(ADMINISTRATOR, known.id, lambda one: replace(one, npi=VALID_NPI), version=1)
    assert own.npi == VALID_NPI
    assert await everybody(practitioners, PractitionerQuery(npi=VALID_NPI)) == [own]


async def test_an_npi_that_was_given_up_is_free(practitioners: PractitionerService) -> None:
    known = await practitioners.register(ADMINISTRATOR, a_practitioner(npi=VALID_NPI))
    await practitioners.change(ADMINISTRATOR, known.id, lambda one: replace(one, npi=" "), version=1)
    assert (await practitioners.register(ADMINISTRATOR, a_practitioner(npi=VALID_NPI))).npi == VALID_NPI
    assert (await practitioners.view(ADMINISTRATOR, known.id)).npi == ""


async def test_of_many_who_claim_one_npi_at_once_one_gets_it(
    practice: Practice, practitioners: PractitionerService
) -> None:
    if practice.database is None:
        pytest.skip("units of work over memory do not wait for each other")
    outcomes = await asyncio.gather(
        *[practitioners.register(ADMINISTRATOR, a_practitioner(npi=VALID_NPI)) for _ in range(5)],
        return_exceptions=True,
    )
    refused = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
    assert [type(one) for one in refused] == [DuplicateNpi] * 4


async def test_a_registration_that_comes_again_finds_what_the_first_made(practitioners: PractitionerService) -> None:
    repeat = RepeatKey(key="once", request=b"register practitioner Anna")
    first = await practitioners.register(ADMINISTRATOR, a_practitioner(npi=VALID_NPI), repeat=repeat)
    assert await practitioners.register(ADMINISTRATOR, a_practitioner(npi=VALID_NPI), repeat=repeat) == first
    with pytest.raises(ReusedKey):
        await practitioners.register(ADMINISTRATOR, a_practitioner(), repeat=replace(repeat, request=b"another"))
    assert await everybody(practitioners, PractitionerQuery()) == [first]


async def test_practitioners_are_found_by_name_specialty_npi_and_whether_they_work(
    practice: Practice, practitioners: PractitionerService
) -> None:
    anna = await practice.employed(
        replace(a_practitioner(name=a_name("Freud", "Anna"), npi=VALID_NPI), specialty=PSYCHIATRY)
    )
    carl = await practice.employed(
        replace(a_practitioner(name=a_name("Jüng", "Carl Gustav")), specialty=Concept(text="Family nursing"))
    )
    away = await practice.employed(replace(a_practitioner(name=a_name("Frey", "Anna")), active=False))

    async def found(**query: Any) -> list[Practitioner]:
        return await everybody(practitioners, PractitionerQuery(**query))

    assert await found() == [anna, carl, away]
    assert await found(active=True) == [anna, carl]
    assert await found(active=False) == [away]
    assert await found(name="fre") == [anna, away]
    assert await found(name="ANNA fre", active=True) == [anna]
    assert await found(name="jung") == [carl]
    assert await found(specialty="2084p0800x") == [anna]
    assert await found(specialty="psych") == [anna]
    assert await found(specialty="NURSING") == [carl]
    assert await found(specialty="2084") == []
    assert await found(npi=f" {VALID_NPI}") == [anna]
    assert await found(npi=ANOTHER_NPI) == []
    assert await found(npi=VALID_NPI, name="jung") == []


@pytest.mark.parametrize(("field", "text"), [("name", "..."), ("specialty", "-"), ("npi", " "), ("name", "a\x00")])
def test_a_condition_that_says_nothing_is_refused(field: str, text: str) -> None:
    query: dict[str, Any] = {field: text}
    with pytest.raises(Invalid) as raised:
        PractitionerQuery(**query)
    assert raised.value.field == field


async def test_a_search_leaves_the_practitioners_it_showed_and_not_the_question(
    practice: Practice, practitioners: PractitionerService
) -> None:
    anna = await practice.employed(a_practitioner(name=a_name("Freud", "Anna")))
    await practitioners.list(ADMINISTRATOR, PractitionerQuery(name="freud"))
    (event,) = [event for event in await practice.events() if event.action is Action.LIST]
    assert event.ids == (anna.id,)
    assert len(event.query_mac) == 32


async def test_whoever_does_not_work_here_any_more_joins_no_care_team(
    practice: Practice, practitioners: PractitionerService, patients: PatientService
) -> None:
    desk = an_actor(Role.FRONT_DESK)
    anna, carl = [await practice.employed(a_practitioner()) for _ in range(2)]
    patient = await practice.stored(a_patient(care_team=frozenset({anna.id})))
    for one in (anna, carl):
        await practitioners.change(ADMINISTRATOR, one.id, lambda one: replace(one, active=False), version=1)
    with pytest.raises(Invalid) as raised:
        await patients.change_care_team(desk, patient.id, frozenset({anna.id, carl.id}), version=1)
    assert raised.value.field == "care_team"
    with pytest.raises(Invalid):
        await patients.register(desk, a_patient(care_team=frozenset({carl.id})))
    new = await practice.employed(a_practitioner())
    kept = await patients.change_care_team(desk, patient.id, frozenset({anna.id, new.id}), version=1)
    assert kept.care_team == {anna.id, new.id}
    await practitioners.change(ADMINISTRATOR, carl.id, lambda one: replace(one, active=True), version=2)
    back = await patients.change_care_team(desk, patient.id, frozenset({carl.id}), version=2)
    assert back.care_team == {carl.id}


async def test_a_caseload_counts_whom_the_asker_may_see(practice: Practice, practitioners: PractitionerService) -> None:
    anna, carl = [await practice.employed(a_practitioner()) for _ in range(2)]
    both, hers = frozenset({anna.id, carl.id}), frozenset({anna.id})
    await practice.stored(a_patient(care_team=both))
    await practice.stored(a_patient(care_team=both, label=Label.RESTRICTED))
    await practice.stored(a_patient(care_team=hers))
    await practice.stored(a_patient(care_team=hers, discharged=TODAY))
    await practice.stored(a_patient(care_team=frozenset({carl.id})))
    await practice.stored(a_patient())

    async def counted(role: Role, practitioner: PractitionerId | None = None) -> tuple[int, ...]:
        caseload = await practitioners.caseload(an_actor(role, practitioner=practitioner), anna.id)
        assert caseload.total == sum(caseload.counts.values())
        assert PatientStatus.DELETED not in caseload.counts
        return tuple(caseload.counts[PatientStatus(status)] for status in ("active", "discharged", "deceased"))

    assert await counted(Role.CLINICIAN, anna.id) == (3, 1, 0)
    assert await counted(Role.CLINICIAN, carl.id) == (2, 0, 0)
    assert await counted(Role.FRONT_DESK) == (2, 1, 0)
    assert await counted(Role.ADMINISTRATOR) == (0, 0, 0)
    with pytest.raises(NotFound):
        await practitioners.caseload(an_actor(Role.FRONT_DESK), PractitionerId(new_id()))


async def test_a_caseload_leaves_an_event_for_the_practitioner_and_one_for_the_patients(
    practice: Practice, practitioners: PractitionerService
) -> None:
    anna = await practice.employed(a_practitioner())
    await practitioners.caseload(an_actor(Role.NURSE, practitioner=anna.id), anna.id)
    await practitioners.caseload(ADMINISTRATOR, anna.id)
    seen = [
        (event.action, event.resource, event.ids, event.outcome)
        for event in await practice.events()
        if event.action in {Action.VIEW, Action.LIST}
    ]
    assert seen == [
        (Action.VIEW, Resource.PRACTITIONER, (anna.id,), Outcome.SUCCEEDED),
        (Action.LIST, Resource.PATIENT, (), Outcome.SUCCEEDED),
        (Action.VIEW, Resource.PRACTITIONER, (anna.id,), Outcome.SUCCEEDED),
        (Action.LIST, Resource.PATIENT, (), Outcome.REFUSED),
    ]
