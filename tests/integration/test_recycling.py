"""What the tests' engines keep of former ones, and what not."""

from collections.abc import Iterator

import pytest
from sqlalchemy import event, select, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.asyncio import AsyncEngine

from clarity.domain.ids import AccountId
from clarity.persistence.accounts import AccountRow
from clarity.persistence.engine import EngineOptions, unpooled
from clarity.persistence.types import use_system_seal
from clarity.security.keyring import Keyring
from tests.builders import new_id
from tests.recycling import Recycling, recycling


@pytest.fixture
def engines() -> Iterator[Recycling]:
    with recycling() as engines:
        yield engines


async def used(engine: AsyncEngine) -> AsyncEngine:
    async with engine.connect() as connection:
        await connection.execute(select(AccountRow.id).where(AccountRow.id == AccountId(new_id())))
    return engine


async def test_a_dialect_serves_again_but_never_two_engines_at_once(
    engines: Recycling, database_options: EngineOptions
) -> None:
    with engines.during_a_test():
        first = await used(unpooled(database_options))
    with engines.during_a_test():
        second, third = await used(unpooled(database_options)), await used(unpooled(database_options))
    assert second.dialect is first.dialect
    assert third.dialect is not first.dialect


async def test_keys_and_listeners_go_with_the_engine(
    engines: Recycling, sqlite_options: EngineOptions, keyring: Keyring
) -> None:
    failures: list[object] = []
    with engines.during_a_test():
        first = await used(unpooled(sqlite_options))
        use_system_seal(first.dialect, keyring.system_vault())
        event.listen(first.sync_engine, "handle_error", failures.append)
    with engines.during_a_test():
        second = unpooled(sqlite_options)
        assert second.dialect is first.dialect
        async with second.connect() as connection:
            with pytest.raises(OperationalError):
                await connection.execute(text("SELECT nothing"))
            seal = AccountRow.__table__.c.name.type.bind_processor(second.dialect)
            assert seal is not None
            with pytest.raises(KeyError):
                seal("Grace Hopper")
    assert failures == []
