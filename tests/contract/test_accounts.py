"""Accounts, on every storage."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from clarity.application.ports import Work
from clarity.domain.access import Action, Role
from clarity.domain.accounts import Account, AccountStatus, Credentials
from clarity.domain.audit import Attempt
from clarity.domain.errors import DuplicateEmail, NotFound, StaleWrite, UnauditedAccess
from clarity.domain.ids import AccountId
from clarity.domain.records import Resource
from tests.builders import NOW, a_patient, a_practitioner, new_id, the_operator
from tests.practice import Practice


def an_account(email: str = "", role: Role = Role.ADMINISTRATOR) -> Account:
    account = AccountId(new_id())
    return Account(id=account, email=email or f"{account.hex}@example.org", name="Grace Hopper", role=role)


@asynccontextmanager
async def changing(practice: Practice, account: Account) -> AsyncIterator[Work]:
    """Begin work that accounts for a change of `account`."""
    async with practice.begin() as work:
        work.note(
            Attempt(
                actor=the_operator(),
                action=Action.CHANGE,
                at=NOW,
                resource=Resource.ACCOUNT,
                ids=(account.id,),
            )
        )
        yield work


async def stored(practice: Practice, account: Account, hashed: str = "a hash") -> Account:
    async with changing(practice, account) as work:
        return await work.accounts.add(Credentials(account=account, password_hash=hashed))


async def credentials(practice: Practice, email: str) -> Credentials | None:
    async with practice.reading() as work:
        return await work.accounts.find_by_email(email)


async def test_an_account_comes_back_as_it_was_stored(practice: Practice) -> None:
    patient = await practice.stored(a_patient())
    practitioner = await practice.employed(a_practitioner())
    accounts = [
        an_account(),
        replace(an_account(role=Role.FRONT_DESK), status=AccountStatus.DISABLED),
        replace(an_account(), role=Role.NURSE, practitioner=practitioner.id),
        replace(an_account(), role=Role.PATIENT, patient=patient.id),
    ]
    for account in accounts:
        saved = await stored(practice, account, "its hash")
        assert saved == replace(account, version=1)
        async with practice.reading() as work:
            assert await work.accounts.get(account.id) == saved
        assert await credentials(practice, account.email) == Credentials(account=saved, password_hash="its hash")


async def test_an_account_that_is_not_there_is_not_found(practice: Practice) -> None:
    await stored(practice, an_account())
    async with practice.reading() as work:
        with pytest.raises(NotFound):
            await work.accounts.get(AccountId(new_id()))


@pytest.mark.parametrize("typed", ["zoë@example.org", " Zoë@Example.ORG\t", "ZOË@EXAMPLE.ORG"])
async def test_an_account_is_found_however_its_e_mail_is_typed(practice: Practice, typed: str) -> None:
    account = await stored(practice, an_account("Zoë@example.org"))
    found = await credentials(practice, typed)
    assert found is not None
    assert found.account == account


@pytest.mark.parametrize("typed", ["", "   ", "zoe@example.org", "zoë", "zoë@example.org.", "\x00", "\ud800"])
async def test_no_account_is_found_by_something_else(practice: Practice, typed: str) -> None:
    await stored(practice, an_account("zoë@example.org"))
    assert await credentials(practice, typed) is None


async def test_an_e_mail_belongs_to_one_account(practice: Practice) -> None:
    await stored(practice, an_account("grace@example.org"))
    with pytest.raises(DuplicateEmail):
        await stored(practice, an_account("Grace@Example.org"))
    async with practice.reading() as work:
        assert len(await work.accounts.find_page(after=None, at_most=10)) == 1


async def test_an_e_mail_cannot_be_taken_over_by_a_change(practice: Practice) -> None:
    await stored(practice, an_account("grace@example.org"))
    other = await stored(practice, an_account("other@example.org"))
    with pytest.raises(DuplicateEmail):
        async with changing(practice, other) as work:
            await work.accounts.save(replace(other, email="grace@example.org"))


async def test_a_changed_account_is_its_next_version_in_every_field(practice: Practice) -> None:
    practitioner = await practice.employed(a_practitioner())
    account = await stored(practice, an_account("grace@example.org"), "first")
    changed = replace(
        account,
        email="hopper@example.org",
        name="Grace Brewster Hopper",
        role=Role.CLINICIAN,
        status=AccountStatus.DISABLED,
        practitioner=practitioner.id,
    )
    async with changing(practice, account) as work:
        saved = await work.accounts.save(changed)
    assert saved == replace(changed, version=2)
    assert await credentials(practice, "hopper@example.org") == Credentials(account=saved, password_hash="first")
    assert await credentials(practice, "grace@example.org") is None
    await stored(practice, an_account("grace@example.org"))


async def test_a_password_changes_only_where_one_is_given(practice: Practice) -> None:
    account = await stored(practice, an_account("grace@example.org"), "first")
    async with changing(practice, account) as work:
        account = await work.accounts.save(account, password_hash="second")
        await work.accounts.save(account)
    found = await credentials(practice, "grace@example.org")
    assert found is not None
    assert (found.password_hash, found.account.version) == ("second", 3)


async def test_an_account_that_somebody_else_changed_is_not_overwritten(practice: Practice) -> None:
    account = await stored(practice, an_account("grace@example.org"))
    async with changing(practice, account) as work:
        await work.accounts.save(replace(account, name="First"))
    with pytest.raises(StaleWrite):
        async with changing(practice, account) as work:
            await work.accounts.save(replace(account, name="Second"))
    found = await credentials(practice, "grace@example.org")
    assert found is not None
    assert found.account.name == "First"


async def test_an_account_is_held_at_its_version_and_at_no_other(practice: Practice) -> None:
    account = await stored(practice, an_account())
    async with practice.begin() as work:
        await work.accounts.hold(account)
    async with changing(practice, account) as work:
        await work.accounts.save(account)
    with pytest.raises(StaleWrite):
        async with practice.begin() as work:
            await work.accounts.hold(account)
    with pytest.raises(StaleWrite):
        async with practice.begin() as work:
            await work.accounts.hold(replace(an_account(), version=1))


async def test_accounts_come_a_page_at_a_time_in_the_order_of_their_ids(practice: Practice) -> None:
    accounts = sorted([an_account() for _ in range(5)], key=lambda account: account.id)
    for account in reversed(accounts):
        await stored(practice, account)
    ids = [account.id for account in accounts]
    async with practice.reading() as work:
        first = await work.accounts.find_page(after=None, at_most=2)
        rest = await work.accounts.find_page(after=first[-1].id, at_most=10)
    assert [account.id for account in [*first, *rest]] == ids
    assert len(first) == 2


async def test_a_change_of_an_account_that_no_event_accounts_for_is_not_kept(practice: Practice) -> None:
    account = await stored(practice, an_account("grace@example.org"))
    with pytest.raises(UnauditedAccess):
        async with changing(practice, an_account()) as work:
            await work.accounts.save(replace(account, role=Role.COMPLIANCE_OFFICER))
    with pytest.raises(UnauditedAccess):
        async with practice.begin() as work:
            await work.accounts.save(replace(account, role=Role.COMPLIANCE_OFFICER))
    with pytest.raises(UnauditedAccess):
        async with changing(practice, an_account()) as work:
            await work.accounts.add(Credentials(account=an_account("new@example.org"), password_hash="a hash"))
    found = await credentials(practice, "grace@example.org")
    assert found is not None
    assert found.account == account
    assert await credentials(practice, "new@example.org") is None
