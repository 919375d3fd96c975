"""One practice on each kind of storage, for the tests that all of them have to pass."""

from collections.abc import AsyncIterator

import pytest

from clarity.application.patients import PatientService
from clarity.cache.rates import MemoryRateLimit
from clarity.persistence.engine import Database
from clarity.search.streaming import StreamingSearch
from clarity.security.cursors import Cursors
from clarity.security.keyring import Keyring
from tests.builders import NOW, TODAY, a_keyring
from tests.practice import Practice, memory_practice, sql_practice


@pytest.fixture
def keyring() -> Keyring:
    return a_keyring()


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
def storage(request: pytest.FixtureRequest) -> Database | None:
    return None if request.param == "memory" else request.getfixturevalue(request.param)


@pytest.fixture
async def practice(storage: Database | None, keyring: Keyring) -> AsyncIterator[Practice]:
    if storage is None:
        yield memory_practice()
    else:
        async with sql_practice(storage, keyring) as practice:
            yield practice


@pytest.fixture
def patients(practice: Practice, keyring: Keyring) -> PatientService:
    return PatientService(
        begin=practice.begin,
        reading=practice.reading,
        search_index=StreamingSearch(lambda: TODAY),
        cursors=Cursors(keyring),
        limits=MemoryRateLimit(),
        now=lambda: NOW,
    )
