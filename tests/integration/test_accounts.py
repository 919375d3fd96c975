"""What stands in the rows of accounts, and what it costs to tell who asks."""

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any

import asyncpg
import pytest
from sqlalchemy import Engine, event, select, text, update

from clarity.domain.accounts import Account
from clarity.domain.errors import CannotOpen, Conflict, DuplicateEmail
from clarity.domain.ids import RequestId
from clarity.persistence.accounts import AccountRow
from clarity.persistence.engine import Database
from clarity.persistence.errors import translated
from tests.builders import a_keyring, new_id
from tests.canaries import hits
from tests.fakes.accounts import PASSWORD, FrontDoor
from tests.practice import Practice, sql_practice


@pytest.fixture
async def practice(database: Database) -> AsyncIterator[Practice]:
    async with sql_practice(database, a_keyring()) as practice:
        yield practice


@pytest.fixture
def door(practice: Practice) -> FrontDoor:
    return FrontDoor(practice.begin, practice.reading)


@contextmanager
def statements() -> Iterator[list[str]]:
    """Collect the statements that are sent to any database meanwhile, by SQLAlchemy or by the driver itself."""
    sent: list[str] = []
    fetch: Any = asyncpg.Connection.fetch

    def collect(*told: Any) -> None:
        sent.append(told[2])

    async def collected(connection: Any, statement: str, *values: Any) -> Any:
        sent.append(statement)
        return await fetch(connection, statement, *values)

    event.listen(Engine, "before_cursor_execute", collect)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(asyncpg.Connection, "fetch", collected)
        yield sent
    event.remove(Engine, "before_cursor_execute", collect)


async def overwrite(database: Database, account: Account, **values: Any) -> None:
    async with database.turn(), database.writing() as session:
        await session.execute(update(AccountRow).where(AccountRow.id == account.id).values(values))
        await session.commit()


async def move_to_the_second_slot(database: Database, account: Account) -> None:
    """Leave the e-mail's digest in slot B alone, as a rotation of the index root does at one point."""
    await overwrite(
        database,
        account,
        email_generation_b=AccountRow.email_generation_a,
        email_digest_b=AccountRow.email_digest_a,
        email_generation_a=99,
        email_digest_a=new_id().bytes,
    )


async def test_nothing_of_an_account_can_be_read_from_its_row(database: Database, door: FrontDoor) -> None:
    account = await door.employed(email="grace.hopper@example.org")
    await door.logged_in(account)
    async with database.reading() as session:
        password_hash = await session.scalar(select(AccountRow.password_hash))
        assert isinstance(password_hash, str), "through the table it opens"
        row = (await session.execute(text("SELECT * FROM accounts"))).one()
        (opened,) = (await session.execute(text("SELECT * FROM sessions"))).all()
    places = [value if isinstance(value, bytes) else str(value).encode() for value in (*row, *opened)]
    assert hits([account.email, "grace.hopper", account.name, "Hopper", password_hash, PASSWORD], places) == set()


async def test_telling_who_asks_takes_one_statement(door: FrontDoor) -> None:
    opened = await door.logged_in(await door.employed())
    with statements() as sent:
        await door.sessions.resolve(opened.access_token, RequestId(new_id()))
    assert [statement.split()[0] for statement in sent] == ["SELECT"]


async def test_an_account_is_found_by_either_slot(database: Database, door: FrontDoor) -> None:
    account = await door.employed()
    await move_to_the_second_slot(database, account)
    assert (await door.logged_in(account)).account == account


async def test_an_e_mail_is_unique_in_the_second_slot_too(database: Database, door: FrontDoor) -> None:
    account = await door.employed(email="grace@example.org")
    await move_to_the_second_slot(database, account)
    again = await door.employed(email="grace@example.org")
    with pytest.raises(DuplicateEmail), translated():
        await move_to_the_second_slot(database, again)


async def test_an_altered_account_does_not_open_and_the_others_do(database: Database, door: FrontDoor) -> None:
    account, other = await door.employed(), await door.employed()
    async with database.turn(), database.writing() as session:
        await session.execute(
            text("UPDATE accounts SET password_hash = email WHERE email_digest_a = :digest"),
            {"digest": await session.scalar(select(AccountRow.email_digest_a).where(AccountRow.id == account.id))},
        )
        await session.commit()
    with pytest.raises(CannotOpen):
        await door.logged_in(account)
    await door.logged_in(other)


@pytest.mark.parametrize("column", ["practitioner_id", "patient_id"])
async def test_an_account_is_linked_only_to_what_exists(database: Database, door: FrontDoor, column: str) -> None:
    account = await door.employed()
    with pytest.raises(Conflict), translated():
        await overwrite(database, account, **{column: new_id()})
