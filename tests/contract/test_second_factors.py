"""Second factors, on every storage: codes are good once, also for those who come at the same time."""

import asyncio
from datetime import timedelta

import pytest
from sqlalchemy import select, text

from clarity.application.second_factors import CODES_OF_ACCOUNT, PASSWORDS_AGAIN
from clarity.application.sessions import REFUSALS_TOLD, Opened
from clarity.domain.access import ANONYMOUS, Action, Reason, Role
from clarity.domain.accounts import Account
from clarity.domain.audit import AuditEvent, Outcome
from clarity.domain.errors import (
    Conflict,
    Forbidden,
    Invalid,
    NotFound,
    SecondFactorMissing,
    SecondFactorRequired,
    TooMany,
    Unavailable,
    WrongCredentials,
)
from clarity.domain.ids import AccountId
from clarity.domain.messages import MessageKind
from clarity.domain.records import Resource
from clarity.persistence.second_factors import SecondFactorRow
from tests.builders import an_actor, new_id, the_operator
from tests.fakes.accounts import PASSWORD, FrontDoor
from tests.practice import Practice

WRONG = "loud ferns along the river"


@pytest.fixture
def door(practice: Practice) -> FrontDoor:
    return FrontDoor(practice.begin, practice.reading)


class Enrolled:
    """Somebody with a second factor, in a session of their own; `next_code` is one that nobody has used."""

    def __init__(
        self, door: FrontDoor, account: Account, opened: Opened, secret: str, recovery: tuple[str, ...]
    ) -> None:
        self.door, self.account, self.opened, self.secret, self.recovery = door, account, opened, secret, recovery

    def next_code(self) -> str:
        """Wait for the next code of the device and return it."""
        self.door.at += timedelta(seconds=30)
        return self.door.code(self.secret)


@pytest.fixture
async def enrolled(door: FrontDoor) -> Enrolled:
    account = await door.employed(Role.FRONT_DESK)
    opened = await door.logged_in(account)
    secret, recovery = await door.enrolled(opened)
    return Enrolled(door, account, opened, secret, recovery)


async def last_event(practice: Practice) -> AuditEvent:
    return (await practice.events())[-1]


async def test_a_second_factor_is_asked_for_once_it_was_confirmed(door: FrontDoor, practice: Practice) -> None:
    account = await door.employed(Role.FRONT_DESK)
    opened = await door.logged_in(account)
    caller = await door.caller(opened)
    secret = (await door.second_factors.enrol(caller, PASSWORD)).secret
    await door.logged_in(account)  # not confirmed, so it does not count
    assert (await door.second_factors.view(caller)).confirmed_at is None
    recovery = await door.second_factors.confirm(caller, door.code(secret))
    assert len(set(recovery)) == 10
    state = await door.second_factors.view(caller)
    assert (state.confirmed_at, state.recovery_codes, state.required) == (door.at, 10, False)
    with pytest.raises(SecondFactorRequired):
        await door.logged_in(account)
    event = await last_event(practice)
    assert (event.actor, event.action, event.ids) == (ANONYMOUS, Action.LOG_IN, (account.id,))
    assert (event.outcome, event.reason) == (Outcome.REFUSED, Reason.SECOND_FACTOR)
    await door.logged_in(account, code=door.code(secret, steps=1))


async def test_a_wrong_password_is_told_before_any_code(enrolled: Enrolled) -> None:
    for code in ("", "000000", enrolled.next_code()):
        with pytest.raises(WrongCredentials):
            await enrolled.door.logged_in(enrolled.account, password=WRONG, code=code)
    # None of them was spent, nor counted.
    await enrolled.door.logged_in(enrolled.account, code=enrolled.door.code(enrolled.secret))


@pytest.mark.parametrize("code", ["000000", "AAAA-AAAA-AAAA-AAAA-AAAA-AAAA", "x", "\ud800"])
async def test_a_wrong_code_is_refused_like_a_wrong_password(enrolled: Enrolled, practice: Practice, code: str) -> None:
    with pytest.raises(WrongCredentials) as refused:
        await enrolled.door.logged_in(enrolled.account, code=code)
    assert str(refused.value) == "The credentials do not match."
    event = await last_event(practice)
    assert (event.actor, event.outcome, event.reason) == (ANONYMOUS, Outcome.REFUSED, Reason.SECOND_FACTOR)


async def test_no_code_is_accepted_twice(enrolled: Enrolled, practice: Practice) -> None:
    # The one that confirmed the factor is spent too, though it is good for some time by the clock.
    first = enrolled.door.code(enrolled.secret)
    code = enrolled.next_code()
    await enrolled.door.logged_in(enrolled.account, code=code)
    for spent in (first, code):
        with pytest.raises(WrongCredentials):
            await enrolled.door.logged_in(enrolled.account, code=spent)
        event = await last_event(practice)
        assert (event.actor, event.outcome, event.reason) == (ANONYMOUS, Outcome.REFUSED, Reason.REPLAYED)


async def test_a_recovery_code_opens_one_session(enrolled: Enrolled) -> None:
    opened = await enrolled.door.logged_in(enrolled.account, code=enrolled.recovery[3].lower())
    caller = await enrolled.door.caller(opened)
    assert (await enrolled.door.second_factors.view(caller)).recovery_codes == 9
    with pytest.raises(WrongCredentials):
        await enrolled.door.logged_in(enrolled.account, code=enrolled.recovery[3])
    await enrolled.door.logged_in(enrolled.account, code=enrolled.recovery[4])


@pytest.mark.parametrize("kind", ["device", "recovery"])
async def test_of_those_who_come_at_once_with_one_code_one_gets_in(enrolled: Enrolled, kind: str) -> None:
    code = enrolled.next_code() if kind == "device" else enrolled.recovery[0]
    attempts = [enrolled.door.logged_in(enrolled.account, code=code) for _ in range(6)]
    outcomes = await asyncio.gather(*attempts, return_exceptions=True)
    refused = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
    assert len(refused) == 5
    assert all(isinstance(outcome, WrongCredentials) for outcome in refused)


async def test_a_code_that_could_not_be_used_is_not_spent(enrolled: Enrolled) -> None:
    code, door = enrolled.next_code(), enrolled.door
    door.meanwhile = lambda: door.accounts.reset_password(
        the_operator(), enrolled.account.id, "another river, other ferns"
    )
    with pytest.raises(Unavailable):
        await door.logged_in(enrolled.account, code=code)
    await door.logged_in(enrolled.account, password="another river, other ferns", code=code)


async def test_attempts_at_codes_are_counted_for_the_account_whatever_the_address(
    enrolled: Enrolled, practice: Practice
) -> None:
    enrolled.door.limits.hits.clear()
    enrolled.door.limits.at_most[CODES_OF_ACCOUNT] = 3
    for number in range(3):
        with pytest.raises(WrongCredentials):
            await enrolled.door.logged_in(enrolled.account, code="000000", address=f"203.0.113.{number}")
    with pytest.raises(TooMany):
        await enrolled.door.logged_in(enrolled.account, code=enrolled.next_code(), address="203.0.113.9")
    assert (await last_event(practice)).reason is Reason.TOO_MANY
    # Whoever lacks the password cannot use that up.
    enrolled.door.limits.hits.clear()
    for _ in range(5):
        with pytest.raises(WrongCredentials):
            await enrolled.door.logged_in(enrolled.account, password=WRONG, code="000000")
    await enrolled.door.logged_in(enrolled.account, code=enrolled.door.code(enrolled.secret))


async def test_enrolling_needs_the_password_again(door: FrontDoor, practice: Practice) -> None:
    account = await door.employed(Role.FRONT_DESK)
    caller = await door.caller(await door.logged_in(account))
    with pytest.raises(Invalid, match="password"):
        await door.second_factors.enrol(caller, WRONG)
    event = await last_event(practice)
    assert (event.actor, event.action, event.reason) == (
        account.id,
        Action.ENROL_SECOND_FACTOR,
        Reason.WRONG_CREDENTIALS,
    )
    door.limits.at_most[PASSWORDS_AGAIN] = 1
    with pytest.raises(TooMany):
        await door.second_factors.enrol(caller, PASSWORD)


async def test_a_password_that_was_changed_meanwhile_enrols_nobody(door: FrontDoor) -> None:
    account = await door.employed(Role.FRONT_DESK)
    caller = await door.caller(await door.logged_in(account))
    door.meanwhile = lambda: door.accounts.reset_password(the_operator(), account.id, "another river, other ferns")
    with pytest.raises(Unavailable):
        await door.second_factors.enrol(caller, PASSWORD)


async def test_a_wrong_code_confirms_nothing(door: FrontDoor, practice: Practice) -> None:
    account = await door.employed(Role.FRONT_DESK)
    caller = await door.caller(await door.logged_in(account))
    with pytest.raises(Conflict):
        await door.second_factors.confirm(caller, "000000")
    secret = (await door.second_factors.enrol(caller, PASSWORD)).secret
    with pytest.raises(Invalid, match="code"):
        await door.second_factors.confirm(caller, "000000")
    assert (await last_event(practice)).reason is Reason.SECOND_FACTOR
    door.at += timedelta(seconds=1)
    newest = (await door.second_factors.enrol(caller, PASSWORD)).secret
    with pytest.raises(Invalid, match="code"):
        await door.second_factors.confirm(caller, door.code(secret))
    await door.second_factors.confirm(caller, door.code(newest))


async def test_a_factor_that_counts_is_neither_replaced_nor_confirmed_again(enrolled: Enrolled) -> None:
    caller = await enrolled.door.caller(enrolled.opened)
    with pytest.raises(Conflict, match="remove it first"):
        await enrolled.door.second_factors.enrol(caller, PASSWORD)
    with pytest.raises(Conflict, match="waits to be confirmed"):
        await enrolled.door.second_factors.confirm(caller, enrolled.next_code())
    await enrolled.door.logged_in(enrolled.account, code=enrolled.next_code())


async def test_of_those_who_confirm_at_once_one_gets_recovery_codes(door: FrontDoor) -> None:
    caller = await door.caller(await door.logged_in(await door.employed(Role.FRONT_DESK)))
    secret = (await door.second_factors.enrol(caller, PASSWORD)).secret
    attempts = [door.second_factors.confirm(caller, door.code(secret)) for _ in range(4)]
    outcomes = await asyncio.gather(*attempts, return_exceptions=True)
    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["Conflict"] * 3 + ["tuple"]


async def test_enrolling_ends_every_other_session(door: FrontDoor) -> None:
    account = await door.employed(Role.FRONT_DESK)
    other, opened = await door.logged_in(account), await door.logged_in(account)
    await door.enrolled(opened)
    assert await door.holds(opened)
    assert not await door.holds(other)


async def test_a_log_in_under_way_does_not_slip_past_an_enrolment(door: FrontDoor) -> None:
    account = await door.employed(Role.FRONT_DESK)
    opened = await door.logged_in(account)
    caller = await door.caller(opened)
    secret = (await door.second_factors.enrol(caller, PASSWORD)).secret
    real = door.meanwhile

    async def confirms() -> None:
        # The log-in reads the account, then whether it has a second factor; this happens behind the second.
        door.meanwhile = lambda: door.second_factors.confirm(caller, door.code(secret))

    assert real is None
    door.meanwhile = confirms
    with pytest.raises(Unavailable):
        await door.logged_in(account)
    with pytest.raises(SecondFactorRequired):
        await door.logged_in(account)


async def test_renewed_recovery_codes_replace_the_old_ones(enrolled: Enrolled) -> None:
    caller = await enrolled.door.caller(enrolled.opened)
    with pytest.raises(Invalid, match="code"):
        await enrolled.door.second_factors.renew_recovery_codes(caller, "000000")
    code = enrolled.next_code()
    new = await enrolled.door.second_factors.renew_recovery_codes(caller, code)
    assert len(new) == 10
    assert not set(new) & set(enrolled.recovery)
    with pytest.raises(Invalid, match="code"):
        await enrolled.door.second_factors.renew_recovery_codes(caller, code)
    with pytest.raises(WrongCredentials):
        await enrolled.door.logged_in(enrolled.account, code=enrolled.recovery[0])
    await enrolled.door.logged_in(enrolled.account, code=new[0])
    assert (await enrolled.door.second_factors.view(caller)).recovery_codes == 9


@pytest.mark.parametrize("kind", ["device", "recovery"])
async def test_a_second_factor_is_given_up_with_a_code(enrolled: Enrolled, kind: str) -> None:
    door = enrolled.door
    other = await door.logged_in(enrolled.account, code=enrolled.next_code())
    caller = await door.caller(enrolled.opened)
    with pytest.raises(Invalid, match="code"):
        await door.second_factors.remove(caller, "000000")
    await door.second_factors.remove(caller, enrolled.next_code() if kind == "device" else enrolled.recovery[0])
    assert await door.holds(enrolled.opened)
    assert not await door.holds(other)
    await door.logged_in(enrolled.account)
    state = await door.second_factors.view(caller)
    assert (state.confirmed_at, state.recovery_codes) == (None, 0)
    with pytest.raises(Conflict, match="no second factor"):
        await door.second_factors.remove(caller, enrolled.recovery[1])
    # Another one takes its place, and the codes of the old one are good for nothing.
    secret, recovery = await door.enrolled(enrolled.opened)
    assert secret != enrolled.secret
    for code in (door.code(enrolled.secret, steps=1), enrolled.recovery[2]):
        with pytest.raises(WrongCredentials):
            await door.logged_in(enrolled.account, code=code)
    await door.logged_in(enrolled.account, code=recovery[0])


async def test_an_administrator_takes_a_lost_factor_away_and_ends_the_sessions(
    enrolled: Enrolled, practice: Practice
) -> None:
    door = enrolled.door
    administrator = an_actor(Role.ADMINISTRATOR)
    await door.second_factors.remove_of(administrator, enrolled.account.id)
    event = await last_event(practice)
    assert (event.actor, event.action) == (administrator.id, Action.REMOVE_SECOND_FACTOR)
    assert (event.resource, event.ids, event.outcome) == (Resource.ACCOUNT, (enrolled.account.id,), Outcome.SUCCEEDED)
    assert not await door.holds(enrolled.opened)
    await door.logged_in(enrolled.account)
    with pytest.raises(NotFound):
        await door.second_factors.remove_of(administrator, AccountId(new_id()))
    with pytest.raises(NotFound):
        await door.second_factors.remove_of(the_operator(), "nobody@example.org")


async def test_the_holder_is_told_of_each_change(enrolled: Enrolled, practice: Practice) -> None:
    door = enrolled.door

    async def told() -> int:
        async with practice.reading() as work:
            waiting = await work.outbox.find_page(before=None, at_most=50, unsent=True)
        kinds = {one.message.kind for one in waiting if one.message.to == enrolled.account.id}
        assert kinds == {MessageKind.SECOND_FACTOR_CHANGED}
        return len(waiting)

    assert await told() == 1
    caller = await door.caller(enrolled.opened)
    new = await door.second_factors.renew_recovery_codes(caller, enrolled.next_code())
    assert await told() == 2
    with pytest.raises(Invalid):
        await door.second_factors.remove(caller, "000000")
    assert await told() == 2
    await door.second_factors.remove(caller, new[0])
    assert await told() == 3
    await door.second_factors.remove_of(the_operator(), enrolled.account.id)
    assert await told() == 4


async def test_at_rest_a_secret_is_sealed_and_a_removed_one_is_gone(enrolled: Enrolled, practice: Practice) -> None:
    if practice.database is None:
        pytest.skip("memory is no place to rest")

    async def stored() -> bytes:
        assert practice.database is not None
        async with practice.database.reading() as session:
            rows = [*await session.execute(text("SELECT * FROM second_factors"))]
            rows += [*await session.execute(text("SELECT * FROM recovery_codes"))]
        return repr(rows).encode()

    secrets = [enrolled.secret, *(code.replace("-", "") for code in enrolled.recovery), *enrolled.recovery]
    rows = await stored()
    assert not any(secret.encode() in rows for secret in secrets)
    assert not any(secret in repr(enrolled.opened) for secret in secrets)
    await enrolled.door.second_factors.remove_of(the_operator(), enrolled.account.id)
    async with practice.reading() as work:
        assert await work.second_factors.find(enrolled.account.id) is None
        assert await work.second_factors.count_recovery_codes(enrolled.account.id) == 0
    async with practice.database.reading() as session:
        assert await session.scalar(select(SecondFactorRow.secret)) == ""


async def test_nobody_takes_a_factor_away_without_the_right_or_their_own_without_a_code(enrolled: Enrolled) -> None:
    for actor in (
        an_actor(Role.CLINICIAN),
        an_actor(Role.COMPLIANCE_OFFICER),
        an_actor(Role.ADMINISTRATOR, actor_id=enrolled.account.id),
    ):
        with pytest.raises(Forbidden):
            await enrolled.door.second_factors.remove_of(actor, enrolled.account.id)
    with pytest.raises(SecondFactorRequired):
        await enrolled.door.logged_in(enrolled.account)


async def test_where_a_second_factor_is_required_a_password_alone_leads_to_enrolling_only(
    door: FrontDoor, practice: Practice
) -> None:
    door.second_factor_required = True
    door.limits.at_most[REFUSALS_TOLD] = 1
    opened = await door.logged_in(account := await door.employed(Role.FRONT_DESK))
    for _ in range(2):
        with pytest.raises(SecondFactorMissing):
            await door.caller(opened)
    told = [event for event in await practice.events() if event.reason is Reason.SECOND_FACTOR]
    assert [event.ids for event in told] == [(account.id,)], "told once a minute, or anybody could fill the trail"
    caller = await door.caller(opened, enrolling=True)
    assert (await door.second_factors.view(caller)).required
    opened = await door.refreshed(opened)
    secret, recovery = await door.enrolled(opened)
    assert (await door.caller(opened)).id == account.id
    again = await door.logged_in(account, code=recovery[0])
    await door.second_factors.remove(await door.caller(again), door.code(secret, steps=1))
    with pytest.raises(SecondFactorMissing):
        await door.caller(again)


async def test_a_role_that_sees_no_records_needs_none(door: FrontDoor) -> None:
    door.second_factor_required = True
    assert await door.holds(await door.logged_in(await door.employed(Role.DEVICE)))
