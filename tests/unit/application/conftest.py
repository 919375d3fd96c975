"""What the tests of use-cases stand on: units of work over memory."""

import pytest

from tests.fakes.accounts import FrontDoor
from tests.fakes.work import MemoryUnitsOfWork


@pytest.fixture
def units() -> MemoryUnitsOfWork:
    """Return units of work over an empty practice."""
    return MemoryUnitsOfWork()


@pytest.fixture
def door(units: MemoryUnitsOfWork) -> FrontDoor:
    """Return the accounts and sessions of that practice."""
    return FrontDoor(units.begin, units.reading)
