"""How a database stands is found out in a moment, and what is wrong with it said in a word."""

import pytest
from sqlalchemy import text

from clarity.domain.errors import Unavailable
from clarity.persistence.engine import Database, EngineOptions, unpooled
from clarity.persistence.migrations import revisions_after
from clarity.persistence.standing import REVISIONS, Standing, standing
from clarity.security.keyring import Keyring
from tests.builders import a_keyring, a_patient
from tests.practice import sql_practice
from tests.servers import opened


def test_the_revisions_are_those_of_the_migrations() -> None:
    assert list(REVISIONS) == revisions_after()


async def test_a_practice_that_is_well_stands_well(database: Database, keyring: Keyring) -> None:
    assert await standing(database.reading, keyring) == Standing("", "")


async def test_keys_of_another_practice_are_noticed(database: Database, keyring: Keyring) -> None:
    async with sql_practice(database, keyring) as practice:
        await practice.stored(a_patient())
    assert (await standing(database.reading, keyring)).keys == ""
    assert (await standing(database.reading, a_keyring())).keys == "are not those of this database"


@pytest.mark.parametrize(
    ("revision", "expected"),
    [
        (REVISIONS[0], Standing("are behind this version", "")),
        ("9999", Standing("", "", note="are ahead of this version")),
    ],
)
async def test_tables_of_another_version_are_noticed(
    database: Database, owner_options: EngineOptions, keyring: Keyring, revision: str, expected: Standing
) -> None:
    owner = unpooled(owner_options)
    async with owner.begin() as connection:
        await connection.execute(text("UPDATE alembic_version SET version_num = :revision"), {"revision": revision})
    await owner.dispose()
    assert await standing(database.reading, keyring) == expected


async def test_a_database_without_tables_answers_and_says_so(
    database: Database, owner_options: EngineOptions, keyring: Keyring
) -> None:
    owner = unpooled(owner_options)
    async with owner.begin() as connection:
        await connection.execute(text("DROP TABLE alembic_version"))
    await owner.dispose()
    assert await standing(database.reading, keyring) == Standing("are missing", "cannot be told")


async def test_a_server_that_is_not_there_is_unavailable(keyring: Keyring) -> None:
    async with opened(EngineOptions(url="postgresql+asyncpg:///x?host=/nowhere")) as database:
        with pytest.raises(Unavailable):
            await standing(database.reading, keyring)
