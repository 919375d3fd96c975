"""A right that is taken away holds from the next request on, and what runs meanwhile is of one moment.

PostgreSQL lets two units of work write at once; SQLite lets the second wait for the first. Either way no write rests on
a right that was gone when it was made.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import suppress
from dataclasses import replace
from datetime import date
from functools import partial
from typing import Any

import pytest

from clarity.application.admission import admit, admit_each
from clarity.application.ports import PatientFilter, Work
from clarity.domain.access import Action, Actor, Role, scope_of
from clarity.domain.audit import Attempt
from clarity.domain.errors import NotFound, StaleWrite
from clarity.domain.ids import PatientId, PractitionerId
from clarity.domain.patients import Patient
from clarity.domain.records import Label
from clarity.persistence.engine import Database
from clarity.security.keyring import Keyring
from tests.builders import NOW, a_consent, a_patient, a_practitioner, an_actor
from tests.practice import Practice, sql_practice
from tests.ties import broke_glass, consented, mended, withdrew


@pytest.fixture
async def practice(database: Database, keyring: Keyring) -> AsyncIterator[Practice]:
    async with sql_practice(database, keyring) as practice:
        yield practice


async def treated(practice: Practice, label: Label = Label.NORMAL) -> tuple[Actor, Patient]:
    """Return a clinician and a patient whom they treat, with a consent if that is needed."""
    anna = await practice.employed(a_practitioner())
    ada = await practice.stored(a_patient(care_team=frozenset({anna.id}), label=label))
    if label is Label.PART2:
        await consented(practice, ada.id, a_consent())
    return an_actor(practitioner=anna.id), ada


async def opened(work: Work, actor: Actor, patient: PatientId, action: Action = Action.CHANGE) -> Patient:
    return work.patients.open(admit(work, actor, action, await work.patients.get(patient), at=NOW))


async def write_meanwhile(
    practice: Practice, actor: Actor, patient: PatientId, taken_away: Callable[[], Coroutine[Any, Any, object]]
) -> bool:
    """Change a patient while a right is taken away between reading and writing; tell whether the change was made."""
    assert practice.database is not None
    waiting: asyncio.Task[object] | None = None
    made = False
    with suppress(StaleWrite):
        async with practice.begin() as work:
            seen = await opened(work, actor, patient)
            if practice.database.dialect_name == "sqlite":
                # It waits for its turn, which comes when this unit of work has ended.
                waiting = asyncio.ensure_future(taken_away())
                await asyncio.sleep(0)
            else:
                await taken_away()
            await work.patients.save(replace(seen, discharged=date(2026, 3, 14)))
        made = True
    if waiting is not None:
        await waiting
    return made


async def test_a_change_does_not_outlive_the_tie_it_rests_on(practice: Practice) -> None:
    anna, ada = await treated(practice)

    untie = partial(practice.changed, ada.id, care_team=frozenset[PractitionerId]())
    made = await write_meanwhile(practice, anna, ada.id, untie)
    assert practice.database is not None
    assert made == (practice.database.dialect_name == "sqlite")
    assert ((await practice.opened(ada.id)).discharged is not None) == made
    with pytest.raises(NotFound):
        async with practice.begin() as work:
            await opened(work, anna, ada.id)


async def test_a_change_does_not_outlive_the_consent_it_rests_on(practice: Practice) -> None:
    anna, ada = await treated(practice, Label.PART2)

    made = await write_meanwhile(practice, anna, ada.id, partial(withdrew, practice, ada.id))
    assert practice.database is not None
    assert made == (practice.database.dialect_name == "sqlite")
    with pytest.raises(NotFound):
        async with practice.begin() as work:
            await opened(work, anna, ada.id)


async def test_a_record_that_needs_no_consent_is_changed_while_one_is_given(practice: Practice) -> None:
    anna, ada = await treated(practice)

    assert await write_meanwhile(practice, anna, ada.id, partial(consented, practice, ada.id, a_consent()))


async def test_a_view_is_of_the_moment_it_was_decided_in_and_the_next_is_refused(practice: Practice) -> None:
    assert practice.database is not None
    anna, ada = await treated(practice, Label.PART2)
    breaker = an_actor(Role.NURSE)
    glass = await broke_glass(practice.database, breaker.id, ada.id)
    for actor in (anna, breaker):
        async with practice.reading() as work:
            sealed = await work.patients.get(ada.id)
            admitted = admit(work, actor, Action.VIEW, sealed, at=NOW)
            await (withdrew(practice, ada.id) if actor is anna else mended(practice.database, glass))
            # The consents and the emergencies came with the record, in one statement.
            assert work.patients.open(admitted).id == ada.id
        with pytest.raises(NotFound):
            async with practice.reading() as work:
                await opened(work, actor, ada.id, Action.VIEW)


async def test_a_list_and_its_total_are_of_one_moment(practice: Practice) -> None:
    anna, ada = await treated(practice)
    assert anna.practitioner is not None
    bob = await practice.stored(a_patient(care_team=frozenset({anna.practitioner})))
    scope = scope_of(anna, Action.LIST, at=NOW)
    async with practice.reading(snapshot=True) as work:
        attempt = work.note(Attempt(actor=anna, action=Action.LIST, at=NOW))
        page = await work.patients.find_page(scope, PatientFilter(), after=None, at_most=9)
        await practice.changed(ada.id, care_team=frozenset[PractitionerId]())
        assert await work.patients.count(scope, PatientFilter()) == 2
        shown = [work.patients.open(admitted).id for admitted in admit_each(attempt, page)]
        assert shown == [ada.id, bob.id]
    async with practice.reading(snapshot=True) as work:
        page = await work.patients.find_page(scope, PatientFilter(), after=None, at_most=9)
        assert [record.patient for record in page] == [bob.id]
        assert await work.patients.count(scope, PatientFilter()) == 1
