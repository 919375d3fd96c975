"""Databases for tests, migrated and empty. Whoever asks for `database` runs on SQLite and on PostgreSQL.

`database_url` is the address of the same one, for processes that a test starts.
"""

import shutil
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from clarity.persistence.engine import Database, EngineOptions
from clarity.security.keyring import Keyring
from tests.builders import a_keyring
from tests.practice import Practice, memory_practice, sql_practice
from tests.servers import PostgresDatabases, migrated_file, opened, postgres_databases


def pytest_configure() -> None:
    """Let what tests start be interrupted, even if the shell that runs this in the background ignores that."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresDatabases]:
    with postgres_databases() as databases:
        yield databases


@pytest.fixture
async def postgresql_options(postgres: PostgresDatabases) -> EngineOptions:
    return postgres.application_of(await postgres.create())


@pytest.fixture
async def postgresql(postgresql_options: EngineOptions) -> AsyncIterator[Database]:
    async with opened(postgresql_options) as database:
        yield database


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return migrated_file(tmp_path_factory.mktemp("sqlite") / "template.db")


@pytest.fixture
def sqlite_options(sqlite_template: Path, tmp_path: Path) -> EngineOptions:
    path = shutil.copy(sqlite_template, tmp_path / "practice.db")
    return EngineOptions(url=f"sqlite+aiosqlite:///{path}")


@pytest.fixture
async def sqlite(sqlite_options: EngineOptions) -> AsyncIterator[Database]:
    async with opened(sqlite_options) as database:
        yield database


@pytest.fixture(params=["sqlite", "postgresql"])
def database_options(request: pytest.FixtureRequest) -> EngineOptions:
    options: EngineOptions = request.getfixturevalue(f"{request.param}_options")
    return options


@pytest.fixture
async def database(database_options: EngineOptions) -> AsyncIterator[Database]:
    async with opened(database_options) as database:
        yield database


@pytest.fixture
def owner_options(request: pytest.FixtureRequest, database_options: EngineOptions) -> EngineOptions:
    """Return how the owner of its tables connects to the database that the application has with `database`."""
    if database_options.dialect_name == "sqlite":
        return database_options
    postgres: PostgresDatabases = request.getfixturevalue("postgres")
    return postgres.as_owner(database_options)


@pytest.fixture
def database_url(database_options: EngineOptions) -> str:
    return database_options.url


@pytest.fixture(scope="session")
def keyring() -> Keyring:
    return a_keyring()


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
def storage(request: pytest.FixtureRequest) -> Database | None:
    return None if request.param == "memory" else request.getfixturevalue(request.param)


@pytest.fixture
async def practice(storage: Database | None, keyring: Keyring) -> AsyncIterator[Practice]:
    """Open a practice on each kind of storage in turn, for the tests that all of them have to pass."""
    if storage is None:
        yield memory_practice()
    else:
        async with sql_practice(storage, keyring) as practice:
            yield practice
