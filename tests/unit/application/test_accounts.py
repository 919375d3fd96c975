"""Who may have an account, and who may change it."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from clarity.application.admission import admit_new
from clarity.domain.access import ANONYMOUS, Action, Reason, Role
from clarity.domain.accounts import AccountStatus
from clarity.domain.audit import Outcome
from clarity.domain.errors import ClarityError, DuplicateEmail, Forbidden, Invalid, NotFound, WrongCredentials
from clarity.domain.ids import AccountId, PatientId, PractitionerId
from clarity.domain.patients import Patient
from clarity.domain.records import Resource
from tests.builders import NOW, a_patient, a_practitioner, an_actor, new_id, the_operator
from tests.fakes.accounts import PASSWORD, FrontDoor
from tests.fakes.work import MemoryUnitsOfWork
from tests.lives import removed

Attempt = Callable[[FrontDoor, Any], Awaitable[object]]

ATTEMPTS: dict[Action, Attempt] = {
    Action.REGISTER: lambda door, actor: door.accounts.add(
        actor, email="new@example.org", name="New Person", role=Role.ADMINISTRATOR, password=PASSWORD
    ),
    Action.LIST: lambda door, actor: door.accounts.list(actor),
    Action.VIEW: lambda door, actor: door.accounts.view(actor, "grace@example.org"),
    Action.CHANGE_ROLE: lambda door, actor: door.accounts.change_role(actor, "grace@example.org", Role.RESEARCHER),
    Action.CHANGE_STATUS: lambda door, actor: door.accounts.disable(actor, "grace@example.org"),
    Action.RESET_PASSWORD: lambda door, actor: door.accounts.reset_password(actor, "grace@example.org", PASSWORD),
}


async def a_stored_patient(units: MemoryUnitsOfWork) -> Patient:
    async with units.begin() as work:
        patient = a_patient()
        admit_new(work, the_operator(), Action.REGISTER, Resource.PATIENT, patient.id, at=NOW)
        return await work.patients.add(patient)


async def a_stored_practitioner(units: MemoryUnitsOfWork) -> PractitionerId:
    async with units.begin() as work:
        practitioner = a_practitioner()
        admit_new(work, the_operator(), Action.REGISTER, Resource.PRACTITIONER, practitioner.id, at=NOW)
        return (await work.practitioners.add(practitioner)).id


async def test_who_was_given_an_account_logs_in_with_it(door: FrontDoor) -> None:
    account = await door.employed(Role.FRONT_DESK, email="grace@example.org")
    assert account.version == 1
    assert (await door.logged_in(account)).account == account


@pytest.mark.parametrize("action", ATTEMPTS)
@pytest.mark.parametrize("role", [Role.SYSTEM, Role.ADMINISTRATOR])
async def test_accounts_are_for_administrators_and_the_system(
    door: FrontDoor, units: MemoryUnitsOfWork, role: Role, action: Action
) -> None:
    await door.employed(email="grace@example.org")
    actor = an_actor(role)
    await ATTEMPTS[action](door, actor)
    event = units.trail.events[-1]
    assert (event.actor, event.action, event.resource) == (actor.id, action, Resource.ACCOUNT)
    assert event.outcome is Outcome.SUCCEEDED
    assert len(units.trail.events) == 2


@pytest.mark.parametrize("action", ATTEMPTS)
@pytest.mark.parametrize("role", [role for role in Role if role not in {Role.SYSTEM, Role.ADMINISTRATOR}])
async def test_nobody_else_may_do_anything_with_accounts(
    door: FrontDoor, units: MemoryUnitsOfWork, role: Role, action: Action
) -> None:
    await door.employed(email="grace@example.org")
    before, hashed = units.staff.copy(), door.passwords.hashed
    with pytest.raises(Forbidden):
        await ATTEMPTS[action](door, an_actor(role))
    event = units.trail.events[-1]
    assert (event.action, event.outcome, event.reason) == (action, Outcome.REFUSED, Reason.NO_SUCH_RIGHT)
    assert len(units.trail.events) == 2
    assert units.staff == before
    assert door.passwords.hashed == hashed, "hashing is slow, and nothing to be had for the asking"


async def test_an_event_names_the_account(door: FrontDoor, units: MemoryUnitsOfWork) -> None:
    account = await door.employed(email="grace@example.org")
    await door.accounts.disable(the_operator(), account.id)
    await door.accounts.reset_password(the_operator(), "grace@example.org", PASSWORD)
    events = units.trail.events
    assert [event.action for event in events] == [Action.REGISTER, Action.CHANGE_STATUS, Action.RESET_PASSWORD]
    assert [event.version for event in events] == [1, 2, 3]
    assert all(event.ids == (account.id,) for event in events)


async def test_a_weak_password_is_refused_before_it_is_hashed(door: FrontDoor) -> None:
    account = await door.employed()
    hashed = door.passwords.hashed
    with pytest.raises(Invalid) as refusal:
        await door.accounts.add(
            the_operator(), email="a@example.org", name="Ada", role=Role.ADMINISTRATOR, password="short"
        )
    assert refusal.value.field == "password"
    with pytest.raises(Invalid):
        await door.accounts.reset_password(the_operator(), account.id, "short")
    assert door.passwords.hashed == hashed


async def test_an_e_mail_address_belongs_to_one_account(door: FrontDoor, units: MemoryUnitsOfWork) -> None:
    await door.employed(email="grace@example.org")
    with pytest.raises(DuplicateEmail):
        await door.employed(email="Grace@Example.org")
    event = units.trail.events[-1]
    assert (event.outcome, event.reason) == (Outcome.FAILED, Reason.DUPLICATE)
    assert len(units.staff.accounts) == 1


@pytest.mark.parametrize("role", [Role.SYSTEM, Role.NOBODY])
async def test_no_account_is_the_system_or_nobody(door: FrontDoor, role: Role) -> None:
    with pytest.raises(Invalid) as refusal:
        await door.employed(role)
    assert refusal.value.field == "role"


async def test_an_account_is_linked_to_a_practitioner_who_is_known(door: FrontDoor, units: MemoryUnitsOfWork) -> None:
    with pytest.raises(Invalid) as refusal:
        await door.employed(Role.CLINICIAN, practitioner=PractitionerId(new_id()))
    assert refusal.value.field == "practitioner"
    known = await a_stored_practitioner(units)
    assert (await door.employed(Role.CLINICIAN, practitioner=known)).practitioner == known


async def test_an_account_is_linked_to_a_patient_who_is_known(door: FrontDoor, units: MemoryUnitsOfWork) -> None:
    with pytest.raises(Invalid) as refusal:
        await door.employed(Role.PATIENT, patient=PatientId(new_id()))
    assert refusal.value.field == "patient"
    known = await a_stored_patient(units)
    assert (await door.employed(Role.PATIENT, patient=known.id)).patient == known.id
    assert units.trail.events[-1].patient == known.id


async def test_a_deleted_patient_gets_no_account(door: FrontDoor, units: MemoryUnitsOfWork) -> None:
    patient = await a_stored_patient(units)
    await removed(units.begin, patient.id)
    with pytest.raises(Invalid):
        await door.employed(Role.PATIENT, patient=patient.id)


async def test_accounts_are_listed_a_page_at_a_time_and_named_in_the_event(
    door: FrontDoor, units: MemoryUnitsOfWork
) -> None:
    stored = [await door.employed() for _ in range(3)]
    first = await door.accounts.list(the_operator(), at_most=2)
    rest = await door.accounts.list(the_operator(), cursor=first.next_cursor, at_most=2)
    assert [*first.items, *rest.items] == stored
    assert (first.count, rest.count, rest.next_cursor) == (3, 3, "")
    assert [event.ids for event in units.trail.events[-2:]] == [
        (stored[0].id, stored[1].id),
        (stored[2].id,),
    ]


@pytest.mark.parametrize("at_most", [0, -1, 101])
async def test_a_page_has_a_size(door: FrontDoor, at_most: int) -> None:
    with pytest.raises(Invalid):
        await door.accounts.list(the_operator(), at_most=at_most)


async def test_a_disabled_account_is_logged_out_and_cannot_log_in(door: FrontDoor) -> None:
    account, other = await door.employed(), await door.employed()
    sessions = [await door.logged_in(account), await door.logged_in(account)]
    elsewhere = await door.logged_in(other)
    assert (await door.accounts.disable(the_operator(), account.id)).status is AccountStatus.DISABLED
    assert [await door.holds(session) for session in sessions] == [False, False]
    with pytest.raises(WrongCredentials):
        await door.logged_in(account)
    assert await door.holds(elsewhere)


async def test_disabling_ends_the_sessions_themselves(door: FrontDoor, units: MemoryUnitsOfWork) -> None:
    account = await door.employed()
    await door.logged_in(account)
    await door.accounts.disable(the_operator(), account.id)
    assert [session.revoked_at for session in units.staff.sessions.values()] == [NOW]


async def test_disabling_again_changes_nothing(door: FrontDoor, units: MemoryUnitsOfWork) -> None:
    account = await door.employed()
    once = await door.accounts.disable(the_operator(), account.id)
    assert await door.accounts.disable(the_operator(), account.email) == once
    assert [event.outcome for event in units.trail.events[-2:]] == [Outcome.SUCCEEDED] * 2


async def test_a_new_password_replaces_the_old_and_ends_the_sessions(door: FrontDoor) -> None:
    account, other = await door.employed(), await door.employed()
    before, elsewhere = await door.logged_in(account), await door.logged_in(other)
    await door.accounts.reset_password(the_operator(), account.id, "another river, other ferns")
    assert not await door.holds(before)
    assert await door.holds(elsewhere)
    with pytest.raises(WrongCredentials):
        await door.logged_in(account)
    await door.logged_in(account, password="another river, other ferns")


@pytest.mark.parametrize("which", [AccountId(new_id()), "nobody@example.org"])
@pytest.mark.parametrize("action", [Action.CHANGE_STATUS, Action.RESET_PASSWORD])
async def test_an_account_that_is_not_there_is_not_found_and_the_attempt_remembered(
    door: FrontDoor, units: MemoryUnitsOfWork, action: Action, which: AccountId | str
) -> None:
    with pytest.raises(NotFound):
        if action is Action.CHANGE_STATUS:
            await door.accounts.disable(the_operator(), which)
        else:
            await door.accounts.reset_password(the_operator(), which, PASSWORD)
    event = units.trail.events[-1]
    assert (event.action, event.outcome, event.reason) == (action, Outcome.FAILED, Reason.NO_SUCH_RECORD)
    assert event.ids == (() if isinstance(which, str) else (which,))


@pytest.mark.parametrize("role", [role for role in Role if role not in {Role.SYSTEM, Role.NOBODY}])
async def test_everybody_sees_their_own_account(door: FrontDoor, units: MemoryUnitsOfWork, role: Role) -> None:
    account = await door.employed()
    await door.employed()
    assert await door.accounts.view_own(an_actor(role, actor_id=account.id)) == account
    event = units.trail.events[-1]
    assert (event.action, event.resource, event.ids) == (Action.VIEW, Resource.ACCOUNT, (account.id,))
    assert event.outcome is Outcome.SUCCEEDED


@pytest.mark.parametrize("role", [Role.SYSTEM, Role.NOBODY])
async def test_who_has_no_account_sees_none(door: FrontDoor, units: MemoryUnitsOfWork, role: Role) -> None:
    with pytest.raises(Forbidden):
        await door.accounts.view_own(an_actor(role, actor_id=ANONYMOUS))
    event = units.trail.events[-1]
    assert (event.outcome, event.reason) == (Outcome.REFUSED, Reason.NO_SUCH_RIGHT)


async def test_nothing_of_an_account_is_in_an_error_or_a_repr(door: FrontDoor) -> None:
    account = await door.employed(email="grace@example.org")
    texts = [repr(account), repr(await door.logged_in(account))]
    for attempt in (door.employed(email="grace@example.org"), door.employed(email="no address")):
        with pytest.raises(ClarityError) as refusal:
            await attempt
        texts += [repr(refusal.value), str(refusal.value)]
    assert not [text for text in texts if "grace" in text.lower() or "no address" in text or PASSWORD in text]
