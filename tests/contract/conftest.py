"""The use-cases over the practice that every kind of storage has to run alike."""

from collections.abc import AsyncIterator

import pytest

from clarity.application.patients import PatientService
from clarity.application.ports import PatientSearch
from clarity.cache.rates import MemoryRateLimit
from clarity.search.streaming import StreamingSearch
from clarity.security.cursors import Cursors
from clarity.security.keyring import Keyring
from tests.builders import NOW, TODAY
from tests.practice import Practice
from tests.searching import resident_search


@pytest.fixture
async def search_index(practice: Practice, keyring: Keyring) -> AsyncIterator[PatientSearch]:
    """Open the search of a server on SQLite, elsewhere that of a command; `test_search` has both on all."""
    if practice.database is None or practice.database.dialect_name != "sqlite":
        yield StreamingSearch(lambda: TODAY)
        return
    async with resident_search(practice, keyring) as search:
        yield search


@pytest.fixture
def patients(practice: Practice, keyring: Keyring, search_index: PatientSearch) -> PatientService:
    return PatientService(
        begin=practice.begin,
        reading=practice.reading,
        search_index=search_index,
        cursors=Cursors(keyring),
        limits=MemoryRateLimit(),
        now=lambda: NOW,
        today=lambda: TODAY,
    )
