"""The use-cases on patients, each decided, done and audited as one."""

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import pytest

from clarity.application.patients import PatientService, RepeatKey
from clarity.application.ports import Found, PatientFilter, Work
from clarity.domain.access import Action, Actor, Reason, Role
from clarity.domain.audit import Outcome
from clarity.domain.dates import PartialDate
from clarity.domain.errors import (
    DuplicateMrn,
    Forbidden,
    Invalid,
    NotFound,
    ReusedKey,
    StaleWrite,
)
from clarity.domain.identifiers import Identifier, IndexKind, IndexTerm
from clarity.domain.ids import PatientId, PractitionerId
from clarity.domain.patients import Patient, PatientStatus
from clarity.domain.records import Label
from tests.builders import TODAY, a_patient, a_practitioner, an_actor, new_id
from tests.lives import a_life_service
from tests.practice import Practice


@pytest.fixture
def desk() -> Actor:
    return an_actor(Role.FRONT_DESK)


@pytest.fixture
async def anna(practice: Practice) -> Actor:
    return an_actor(practitioner=(await practice.employed(a_practitioner())).id)


def with_notes(notes: str) -> Callable[[Patient], Patient]:
    return lambda patient: replace(patient, notes=notes)


async def a_stored(practice: Practice, anna: Actor, **known: Any) -> Patient:
    assert anna.practitioner is not None
    return await practice.stored(a_patient(care_team=frozenset({anna.practitioner}), **known))


async def test_the_front_desk_registers_and_the_care_team_sees(
    practice: Practice, patients: PatientService, desk: Actor, anna: Actor
) -> None:
    ada = await patients.register(desk, a_patient())
    with pytest.raises(NotFound):
        await patients.view(anna, ada.id)
    assert anna.practitioner is not None
    await patients.change_care_team(desk, ada.id, frozenset({anna.practitioner}), version=1)
    assert (await patients.view(anna, ada.id)).version == 2
    told = [(event.action, event.outcome) for event in await practice.events()]
    assert told[-4:] == [
        (Action.REGISTER, Outcome.SUCCEEDED),
        (Action.VIEW, Outcome.REFUSED),
        (Action.CHANGE_CARE_TEAM, Outcome.SUCCEEDED),
        (Action.VIEW, Outcome.SUCCEEDED),
    ]


@pytest.mark.parametrize("role", [role for role in Role if role not in {Role.SYSTEM, Role.FRONT_DESK}])
async def test_nobody_else_registers(patients: PatientService, role: Role) -> None:
    with pytest.raises(Forbidden):
        await patients.register(an_actor(role), a_patient())


async def test_nobody_sets_a_field_they_may_not_see(patients: PatientService, desk: Actor) -> None:
    with pytest.raises(Invalid) as refused:
        await patients.register(desk, a_patient(notes="clinical"))
    assert refused.value.field == "notes"
    ada = await patients.register(desk, a_patient())
    with pytest.raises(Invalid):
        await patients.change(desk, ada.id, with_notes("clinical"), version=1)


async def test_a_request_that_comes_again_finds_what_the_first_made(
    practice: Practice, patients: PatientService, desk: Actor
) -> None:
    repeat = RepeatKey(key="k1", request=b"the body")
    ada = await patients.register(desk, a_patient(), repeat=repeat)
    assert await patients.register(desk, a_patient(), repeat=repeat) == ada
    assert (await patients.list(desk, PatientFilter())).count == 1
    with pytest.raises(ReusedKey):
        await patients.register(desk, a_patient(), repeat=RepeatKey(key="k1", request=b"another body"))
    event = (await practice.events())[-1]
    assert (event.action, event.outcome, event.reason) == (Action.REGISTER, Outcome.FAILED, Reason.CONFLICT)
    other = await patients.register(an_actor(Role.FRONT_DESK), a_patient(), repeat=repeat)
    assert other.id != ada.id
    assert [event.action for event in await practice.events()][:2] == [Action.REGISTER, Action.VIEW]


async def test_a_repeated_request_is_decided_again(practice: Practice, patients: PatientService, desk: Actor) -> None:
    repeat = RepeatKey(key="k1", request=b"the body")
    ada = await patients.register(desk, a_patient(), repeat=repeat)
    await practice.changed(ada.id, label=Label.RESTRICTED)
    with pytest.raises(NotFound):
        await patients.register(desk, a_patient(), repeat=repeat)
    event = (await practice.events())[-1]
    assert (event.outcome, event.patient) == (Outcome.REFUSED, ada.id)


async def test_a_request_that_arrives_twice_at_once_happens_once(patients: PatientService, desk: Actor) -> None:
    repeat = RepeatKey(key="k1", request=b"the body")
    made = await asyncio.gather(*(patients.register(desk, a_patient(mrn="MRN-1"), repeat=repeat) for _ in range(4)))
    assert len({patient.id for patient in made}) == 1
    assert (await patients.list(desk, PatientFilter())).count == 1


async def test_a_failed_request_can_be_repeated_under_its_key(patients: PatientService, desk: Actor) -> None:
    taken = await patients.register(desk, a_patient(mrn="MRN-1"))
    repeat = RepeatKey(key="k1", request=b"the body")
    with pytest.raises(DuplicateMrn):
        await patients.register(desk, a_patient(mrn="MRN-1"), repeat=repeat)
    made = await patients.register(desk, a_patient(), repeat=repeat)
    assert made.id != taken.id


async def test_an_edit_is_made_on_what_the_caller_read(
    practice: Practice, patients: PatientService, anna: Actor
) -> None:
    ada = await a_stored(practice, anna)
    assert (await patients.change(anna, ada.id, with_notes("one"), version=1)).version == 2
    with pytest.raises(StaleWrite):
        await patients.change(anna, ada.id, with_notes("two"), version=1)
    assert (await patients.view(anna, ada.id)).notes == "one"
    assert (await practice.events())[-2].reason is Reason.STALE


async def test_an_edit_that_changes_nothing_makes_no_version(
    practice: Practice, patients: PatientService, anna: Actor
) -> None:
    ada = await a_stored(practice, anna)
    assert (await patients.change(anna, ada.id, lambda patient: patient, version=1)).version == 1
    assert len(await patients.history(anna, ada.id)) == 1


async def test_changing_an_identifier_needs_everybodys_demographics(
    practice: Practice, patients: PatientService, desk: Actor, anna: Actor
) -> None:
    ada = await a_stored(practice, anna)

    def renumber(patient: Patient) -> Patient:
        return replace(patient, identifiers=(Identifier.mrn("MRN-9"),))

    with pytest.raises(Forbidden):
        await patients.change(anna, ada.id, renumber, version=1)
    assert (await practice.events())[-1].outcome is Outcome.REFUSED
    assert (await patients.change(desk, ada.id, renumber, version=1)).mrns == (Identifier.mrn("MRN-9"),)


async def test_the_care_team_is_not_changed_by_the_way(
    practice: Practice, patients: PatientService, anna: Actor
) -> None:
    ada = await a_stored(practice, anna)
    with pytest.raises(Invalid):
        await patients.change(anna, ada.id, lambda patient: replace(patient, care_team=frozenset()), version=1)


async def test_only_known_practitioners_join_a_care_team(patients: PatientService, desk: Actor) -> None:
    nobody = frozenset({PractitionerId(new_id())})
    with pytest.raises(Invalid) as refused:
        await patients.register(desk, a_patient(care_team=nobody))
    assert refused.value.field == "care_team"
    ada = await patients.register(desk, a_patient())
    with pytest.raises(Invalid):
        await patients.change_care_team(desk, ada.id, nobody, version=1)


async def test_who_leaves_the_care_team_sees_no_more(practice: Practice, patients: PatientService, anna: Actor) -> None:
    ada = await a_stored(practice, anna)
    await patients.change_care_team(anna, ada.id, frozenset(), version=1)
    with pytest.raises(NotFound):
        await patients.view(anna, ada.id)


@pytest.mark.parametrize("day", [None, TODAY])
async def test_nobody_is_discharged_or_taken_back_by_the_way(
    practice: Practice, patients: PatientService, desk: Actor, day: date | None
) -> None:
    ada = await practice.stored(a_patient(discharged=None if day else date(2026, 1, 1)))
    with pytest.raises(Invalid) as refused:
        await patients.change(desk, ada.id, lambda patient: replace(patient, discharged=day), version=1)
    assert refused.value.field == "discharged"


def test_neither_a_request_nor_what_a_search_found_shows_in_a_repr() -> None:
    assert "lovelace" not in repr(RepeatKey(key="1", request=b'{"family": "lovelace"}'))
    assert "lovelace" not in repr(Found(patients=(), keys=(("lovelace", "ada"),), count=1, exact=True, more=False))


async def test_what_is_not_yours_and_what_is_not_there_are_refused_alike(
    practice: Practice, patients: PatientService, anna: Actor
) -> None:
    other = await practice.stored(a_patient())
    refusals = set()
    for patient in (other.id, PatientId(new_id())):
        for attempt in (
            patients.view(anna, patient),
            patients.change(anna, patient, with_notes("x"), version=1),
            patients.change_care_team(anna, patient, frozenset(), version=1),
            a_life_service(practice).discharge(anna, patient, TODAY, version=1),
            patients.history(anna, patient),
        ):
            with pytest.raises(NotFound) as refused:
                await attempt
            refusals.add(str(refused.value))
    assert len(refusals) == 1
    assert len([event for event in await practice.events() if event.outcome is Outcome.REFUSED]) == 10


async def test_a_list_holds_whom_the_caller_may_see(practice: Practice, patients: PatientService, anna: Actor) -> None:
    ada = await a_stored(practice, anna)
    await practice.stored(a_patient())
    secret = await a_stored(practice, anna, label=Label.RESTRICTED)
    page = await patients.list(anna, PatientFilter())
    assert ([patient.id for patient in page.items], page.count) == ([ada.id, secret.id], 2)
    event = (await practice.events())[-1]
    assert (event.action, set(event.ids)) == (Action.LIST, {ada.id, secret.id})
    page = await patients.list(an_actor(Role.FRONT_DESK), PatientFilter())
    assert (page.count, secret.id in {patient.id for patient in page.items}) == (2, False)


async def test_a_list_that_opens_records_to_count_them_is_of_one_instant(
    practice: Practice, patients: PatientService, anna: Actor, desk: Actor
) -> None:
    snapshots = []

    def reading(*, snapshot: bool = False) -> AbstractAsyncContextManager[Work]:
        snapshots.append(snapshot)
        return practice.reading(snapshot=snapshot)

    watched = replace(patients, reading=reading)
    await a_stored(practice, anna, label=Label.RESTRICTED)
    assert [(await watched.list(actor, PatientFilter())).count for actor in (anna, desk)] == [1, 0]
    assert snapshots == [True, False]


async def test_a_list_comes_in_pages(practice: Practice, patients: PatientService, desk: Actor) -> None:
    stored = [(await practice.stored(a_patient())).id for _ in range(5)]
    first = await patients.list(desk, PatientFilter(), at_most=3)
    second = await patients.list(desk, PatientFilter(), at_most=3, cursor=first.next_cursor)
    assert [patient.id for patient in (*first.items, *second.items)] == stored
    assert (first.count, second.count, second.next_cursor) == (5, 5, "")


@pytest.mark.parametrize(
    "other",
    [PatientFilter(status=PatientStatus.ACTIVE), PatientFilter(terms=(IndexTerm(IndexKind.SSN, "999-12-3456"),))],
)
async def test_a_place_in_one_list_is_none_in_another(
    practice: Practice, patients: PatientService, desk: Actor, other: PatientFilter
) -> None:
    for _ in range(2):
        await practice.stored(a_patient())
    cursor = (await patients.list(desk, PatientFilter(), at_most=1)).next_cursor
    with pytest.raises(Invalid):
        await patients.list(desk, other, cursor=cursor)


async def test_a_record_that_does_not_open_is_missing_from_lists_and_in_the_trail(
    practice: Practice, patients: PatientService, desk: Actor
) -> None:
    ada, bob = await practice.stored(a_patient()), await practice.stored(a_patient())
    await practice.broken(ada.id)
    page = await patients.list(desk, PatientFilter())
    assert [patient.id for patient in page.items] == [bob.id]
    shown, failed = (await practice.events())[-2:]
    assert shown.ids == (bob.id,)
    assert (failed.patient, failed.outcome, failed.reason) == (ada.id, Outcome.FAILED, Reason.CANNOT_OPEN)


async def test_nobody_is_born_in_the_future(practice: Practice, patients: PatientService, desk: Actor) -> None:
    unborn = TODAY + timedelta(days=2)
    with pytest.raises(Invalid, match="born: must not be in the future"):
        await patients.register(desk, a_patient(born=f"{unborn}"))
    ada = await practice.stored(a_patient())
    with pytest.raises(Invalid, match="born: must not be in the future"):
        await patients.change(desk, ada.id, lambda patient: replace(patient, born=PartialDate.of(unborn)), version=1)
    newborn = await patients.register(desk, a_patient(born=f"{TODAY}"))
    assert newborn.age_on(TODAY) == 0
