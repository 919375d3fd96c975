"""What changed since somebody last looked, on memory, SQLite and PostgreSQL."""

from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import replace
from datetime import timedelta

import pytest

from clarity.application.admission import admit
from clarity.application.ports.search import Absence, ChangeFeed, Changes, Horizon, IndexChange, IndexEntry, IndexGap
from clarity.domain.access import Action
from clarity.domain.dates import microseconds_of
from clarity.domain.errors import HorizonLost
from clarity.domain.ids import PatientId
from clarity.domain.names import NameUse
from clarity.domain.patients import PatientStatus, Removal
from clarity.domain.people import BirthSex, Gender
from clarity.domain.records import Label
from clarity.persistence.changes import MOST_AT_ONCE, SqlChangeFeed
from clarity.persistence.engine import Database
from clarity.security.keyring import Keyring
from tests.builders import NOW, OPERATOR, TODAY, a_name, a_patient, the_operator
from tests.fakes.changes import MemoryChangeFeed
from tests.fakes.work import MemoryUnitsOfWork
from tests.practice import Practice


@pytest.fixture
async def feed(practice: Practice, keyring: Keyring) -> AsyncIterator[ChangeFeed]:
    if practice.database is None:
        units = practice.begin.__self__
        assert isinstance(units, MemoryUnitsOfWork)
        yield MemoryChangeFeed(lambda: units.tables)
    else:
        feed = SqlChangeFeed(practice.database, keyring)
        yield feed
        await feed.aclose()


async def all_of(feed: ChangeFeed, horizon: Horizon | None = None) -> tuple[Horizon, list[IndexChange]]:
    """Return everything that a stream brings."""
    async with feed.all_since(horizon) as stream:
        return stream.horizon, [change async for batch in stream.batches for change in batch]


async def now(feed: ChangeFeed) -> Horizon:
    """Return the present horizon."""
    return (await all_of(feed))[0]


async def test_every_record_is_streamed_as_an_index_holds_it(practice: Practice, feed: ChangeFeed) -> None:
    names = (
        a_name("O’Brien-Łukasz", "José María", use=NameUse.OLD),
        a_name("Müller", "Zoë", use=NameUse.OFFICIAL),
        a_name("山田", "太郎", use=NameUse.MAIDEN),
    )
    patient = a_patient(names=names, born="1985-02", gender=Gender.OTHER, label=Label.PART2)
    patient = replace(patient, birth_sex=BirthSex.FEMALE, discharged=TODAY)
    await practice.stored(patient)
    _, [entry] = await all_of(feed)
    assert entry == IndexEntry(
        id=patient.id.bytes,
        version=1,
        family="muller",
        given="zoe",
        names=("zoe muller", "jose maria obrien lukasz", "太郎 山田\n山田太郎"),
        born_first=patient.born.first.toordinal(),
        born_last=patient.born.last.toordinal(),
        status=PatientStatus.DISCHARGED,
        label=Label.PART2,
        gender=Gender.OTHER,
        birth_sex=BirthSex.FEMALE,
        changed=microseconds_of(NOW),
    )
    assert "muller" not in repr(entry)
