"""Where it is kept who broke the glass."""

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from clarity.application.admission import Admitted
from clarity.domain.access import Scope
from clarity.domain.break_glass import BreakGlass, BreakGlassStatus, Uses
from clarity.domain.ids import AccountId, BreakGlassId
from clarity.domain.records import Sealed


@dataclass(frozen=True, slots=True)
class QueuePlace:
    """A place in the review queue: what was not reviewed stands before what was, the oldest first."""

    status: BreakGlassStatus
    id: BreakGlassId


class BreakGlassRepository(Protocol):
    """The broken glass of one unit of work, sealed under the key of the patient concerned.

    Whatever fetches a record of the patient brings along who broke the glass and still may see it, as it is in the
    database at that moment: what is opened, closed or expires holds from the next request on, in every process.
    """

    async def add(self, admitted: Admitted, glass: BreakGlass) -> BreakGlass:
        """Store that the glass was broken for the admitted patient, as version 1."""
        ...

    async def get(self, glass: BreakGlassId) -> Sealed:
        """Fetch one by its id. What does not exist comes back as a record that nobody is admitted to."""
        ...

    async def find_page(
        self, scope: Scope, status: BreakGlassStatus | None, *, after: QueuePlace | None, at_most: int
    ) -> list[tuple[QueuePlace, Sealed]]:
        """Return at most `at_most` in `scope`, with one status or any, in the order of the queue behind `after`."""
        ...

    async def count(self, scope: Scope, status: BreakGlassStatus | None) -> int:
        """Return how many there are in `scope`, with one status or any."""
        ...

    def open(self, admitted: Admitted) -> BreakGlass:
        """Return what is inside. Raises `CannotOpen` if it was altered or its key is gone."""
        ...

    async def close(self, glass: BreakGlass) -> None:
        """Write when one that this unit of work opened was closed. Raises `Transient` if it was before."""
        ...

    async def close_all(self, account: AccountId, at: datetime) -> int:
        """End everything that an account may see in an emergency, and return how many lasted still."""
        ...

    async def save_review(self, glass: BreakGlass) -> BreakGlass:
        """Write the review of one that this unit of work opened. Raises `Transient` if it was reviewed meanwhile."""
        ...

    async def uses_of(self, glass: BreakGlass) -> Uses:
        """Return what its account did for the purpose of an emergency with records of its patient in its time."""
        ...
