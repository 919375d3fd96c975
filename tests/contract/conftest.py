"""The use-cases over the practice that every kind of storage has to run alike."""

import pytest

from clarity.application.patients import PatientService
from clarity.cache.rates import MemoryRateLimit
from clarity.search.streaming import StreamingSearch
from clarity.security.cursors import Cursors
from clarity.security.keyring import Keyring
from tests.builders import NOW, TODAY
from tests.practice import Practice


@pytest.fixture
def patients(practice: Practice, keyring: Keyring) -> PatientService:
    return PatientService(
        begin=practice.begin,
        reading=practice.reading,
        search_index=StreamingSearch(lambda: TODAY),
        cursors=Cursors(keyring),
        limits=MemoryRateLimit(),
        now=lambda: NOW,
        today=lambda: TODAY,
    )
