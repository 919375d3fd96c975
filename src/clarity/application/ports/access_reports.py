"""What a report of unusual access is made from, and where it is kept that it was made."""

from collections.abc import AsyncIterator, Collection
from datetime import date, datetime
from typing import Protocol

from clarity.domain.ids import AccountId, PatientId
from clarity.domain.practice_hours import Span
from clarity.domain.unusual_access import Look, PatientTies, Volumes, WaitingGlass


class AccessReportRepository(Protocol):
    """The trail as looks of staff at patients, with what explains them, in one unit of work.

    A look is a successful event of somebody in `WATCHED_ROLES` on a record of the kinds in `LOOKED_AT`, for each
    patient that it names; to break the glass is none, since it shows nothing. Nothing is opened.
    """

    async def has_begun(self, before: datetime) -> bool:
        """Tell whether the trail has anything from before an instant."""
        ...

    async def volumes(self, span: Span) -> Volumes:
        """Return how many patients each account looked at, in each of its roles."""
        ...

    async def active_at(self, accounts: Collection[AccountId], span: Span) -> list[tuple[AccountId, datetime]]:
        """Return in which quarters of an hour, by their beginnings, accounts looked at anybody."""
        ...

    def looks(self, span: Span) -> AsyncIterator[Look]:
        """Return every look in the order of patients, a few in memory at a time."""
        ...

    async def ties(self, patients: Collection[PatientId]) -> dict[PatientId, PatientTies]:
        """Return the ties that there ever were to some patients; who has none and is not known is left out."""
        ...

    async def waiting(self, opened_before: datetime, at: datetime, *, at_most: int) -> list[WaitingGlass]:
        """Return at most `at_most` of the broken glass from before an instant that had no review `at` another.

        The oldest first.
        """
        ...

    async def last_made(self, until: date, at: datetime) -> date | None:
        """Return the latest day up to `until`, that included, whose report was made by now, `at`.

        One made later than now was made by a clock that was ahead, before its day was over: it does not count.
        """
        ...

    async def add(self, day: date, findings: int, at: datetime) -> bool:
        """Remember that the report of a day was made, and return whether nobody else did so by now, `at`."""
        ...
