"""What is done in a unit of work is done and audited together, or not at all."""

import asyncio
from contextlib import suppress
from dataclasses import replace

import pytest

from clarity.application.admission import admit, admit_new
from clarity.domain.access import Action, Reason
from clarity.domain.audit import Outcome
from clarity.domain.errors import (
    DuplicateMrn,
    Forbidden,
    NotFound,
    StaleWrite,
    TrailUnavailable,
    UnauditedAccess,
)
from clarity.domain.ids import PatientId
from clarity.domain.records import Resource
from tests.builders import NOW, a_patient, an_actor, new_id, the_operator, unsafe_admitted
from tests.practice import Practice


async def test_what_ends_well_is_kept_with_its_event(practice: Practice) -> None:
    ada = await practice.stored(a_patient())
    (event,) = await practice.events()
    assert (await practice.opened(ada.id)).names == ada.names
    assert (event.action, event.outcome, event.patient) == (Action.REGISTER, Outcome.SUCCEEDED, ada.id)
    assert event.version == 1


async def test_what_raises_leaves_nothing_but_the_event_of_its_failure(practice: Practice) -> None:
    ada = a_patient()
    with pytest.raises(ZeroDivisionError):
        async with practice.begin() as work:
            admit_new(work, the_operator(), Action.REGISTER, Resource.PATIENT, ada.id, at=NOW)
            await work.patients.add(ada)
            raise ZeroDivisionError
    (event,) = await practice.events()
    assert (event.outcome, event.reason, event.patient) == (Outcome.FAILED, Reason.ERROR, ada.id)
    with pytest.raises(NotFound):
        await practice.opened(ada.id)


async def test_an_unaudited_read_cannot_end_well(practice: Practice) -> None:
    ada = await practice.stored(a_patient())
    with pytest.raises(UnauditedAccess):
        async with practice.reading() as work:
            work.patients.open(unsafe_admitted(await work.patients.get(ada.id)))
    with pytest.raises(UnauditedAccess):
        async with practice.begin() as work:
            work.patients.open(unsafe_admitted(await work.patients.get(ada.id)))


async def test_an_unaudited_history_cannot_end_well(practice: Practice) -> None:
    ada = await practice.stored(a_patient())
    with pytest.raises(UnauditedAccess):
        async with practice.reading(snapshot=True) as work:
            await work.patients.history(unsafe_admitted(await work.patients.get(ada.id)))


async def test_an_unaudited_write_cannot_even_begin(practice: Practice) -> None:
    with pytest.raises(UnauditedAccess):
        async with practice.begin() as work:
            await work.patients.add(a_patient())


async def test_an_event_about_somebody_else_does_not_cover_a_write(practice: Practice) -> None:
    with pytest.raises(UnauditedAccess):
        async with practice.begin() as work:
            admit_new(work, the_operator(), Action.REGISTER, Resource.PATIENT, new_id(), at=NOW)
            await work.patients.add(a_patient())
    with pytest.raises(NotFound):
        await practice.opened(PatientId(new_id()))


async def test_a_refused_attempt_does_not_cover_a_read(practice: Practice) -> None:
    ada = await practice.stored(a_patient())
    with pytest.raises(UnauditedAccess):
        async with practice.reading() as work:
            sealed = await work.patients.get(ada.id)
            with suppress(NotFound):
                admit(work, an_actor(), Action.VIEW, sealed, at=NOW)
            work.patients.open(unsafe_admitted(sealed))


async def test_a_refusal_looks_like_absence_and_is_remembered(practice: Practice) -> None:
    ada = await practice.stored(a_patient())
    nobody = PatientId(new_id())
    stranger = an_actor()
    said = []
    for patient in (ada.id, nobody):
        with pytest.raises(NotFound) as refused:
            async with practice.reading() as work:
                admit(work, stranger, Action.VIEW, await work.patients.get(patient), at=NOW)
        said.append((type(refused.value), str(refused.value)))
    assert said[0] == said[1]
    refusal, absence = (await practice.events())[-2:]
    assert (refusal.outcome, refusal.reason, refusal.patient) == (Outcome.REFUSED, Reason.NO_TIE, ada.id)
    assert (absence.outcome, absence.reason, absence.patient) == (Outcome.REFUSED, Reason.NO_SUCH_RECORD, nobody)


async def test_a_role_that_may_not_register_is_told_so_and_remembered(practice: Practice) -> None:
    ada = a_patient()
    with pytest.raises(Forbidden):
        async with practice.begin() as work:
            admit_new(work, an_actor(), Action.REGISTER, Resource.PATIENT, ada.id, at=NOW)
    (event,) = await practice.events()
    assert (event.outcome, event.reason) == (Outcome.REFUSED, Reason.NO_SUCH_RIGHT)


async def test_nothing_is_read_while_the_trail_cannot_be_written(practice: Practice) -> None:
    ada = await practice.stored(a_patient())
    practice.refuse_events()
    with pytest.raises(TrailUnavailable):
        await practice.opened(ada.id)


async def test_not_even_a_refusal_is_given_while_the_trail_cannot_be_written(practice: Practice) -> None:
    practice.refuse_events()
    with pytest.raises(TrailUnavailable):
        await practice.opened(PatientId(new_id()))


async def test_an_mrn_belongs_to_one_patient(practice: Practice) -> None:
    await practice.stored(a_patient(mrn="MRN-0001"))
    with pytest.raises(DuplicateMrn):
        await practice.stored(a_patient(mrn=" mrn-0001"))
    assert (await practice.events())[-1].reason is Reason.DUPLICATE


async def test_each_of_two_writes_to_one_record_has_its_own_event(practice: Practice) -> None:
    ada = a_patient()
    async with practice.begin() as work:
        admit_new(work, the_operator(), Action.REGISTER, Resource.PATIENT, ada.id, at=NOW)
        await work.patients.add(ada)
        admitted = admit(work, the_operator(), Action.CHANGE, await work.patients.get(ada.id), at=NOW)
        await work.patients.save(replace(work.patients.open(admitted), notes="new"))
    registered, changed = await practice.events()
    assert (registered.version, changed.version) == (1, 2)


async def test_of_two_writers_who_began_from_one_version_the_second_is_told(practice: Practice) -> None:
    ada = await practice.stored(a_patient())
    async with practice.reading() as work:
        sealed = await work.patients.get(ada.id)
        work.patients.open(admit(work, the_operator(), Action.CHANGE, sealed, at=NOW))
    await practice.changed(ada.id, notes="first")
    with pytest.raises(StaleWrite):
        async with practice.begin() as work:
            admitted = admit(work, the_operator(), Action.CHANGE, sealed, at=NOW)
            await work.patients.save(work.patients.open(admitted))


async def test_a_cancelled_unit_of_work_leaves_nothing_but_its_event(practice: Practice) -> None:
    ada, entered = a_patient(), asyncio.Event()

    async def hesitate() -> None:
        async with practice.begin() as work:
            admit_new(work, the_operator(), Action.REGISTER, Resource.PATIENT, ada.id, at=NOW)
            await work.patients.add(ada)
            entered.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(hesitate())
    await entered.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    (event,) = await practice.events()
    assert (event.outcome, event.reason) == (Outcome.FAILED, Reason.CANCELLED)
    with pytest.raises(NotFound):
        await practice.opened(ada.id)
