"""The life of a record, to test with."""

from datetime import date, datetime

from clarity.application.admission import admit
from clarity.application.life import LifeService
from clarity.application.ports import BeginWork
from clarity.domain.access import OPERATOR, Action, Actor
from clarity.domain.ids import PatientId
from clarity.domain.patients import Removal
from clarity.domain.retention import Retention
from clarity.security.cursors import Cursors
from tests.builders import NOW, TODAY, a_keyring, the_operator
from tests.practice import Practice


def a_life_service(practice: Practice, *, now: datetime = NOW, today: date = TODAY, years: int = 10) -> LifeService:
    """Return the use-cases on the life of a record, at an instant and on a day."""
    return LifeService(
        practice.begin, practice.reading, Cursors(a_keyring()), Retention(years), lambda: now, lambda: today
    )


def a_removal(reason: str = "entered twice") -> Removal:
    """Return why a record goes."""
    return Removal(reason=reason, at=NOW, by=OPERATOR)


async def removed(begin: BeginWork, patient: PatientId, actor: Actor | None = None) -> None:
    """Turn a stored patient into a tombstone, whatever retention says."""
    async with begin() as work:
        admitted = admit(work, actor or the_operator(), Action.DELETE, await work.patients.get(patient), at=NOW)
        await work.patients.remove(work.patients.open(admitted), a_removal())
