"""Where practitioners are kept."""

from collections.abc import Sequence
from typing import Protocol

from clarity.domain.identifiers import IndexTerm
from clarity.domain.ids import PractitionerId
from clarity.domain.practitioners import EVERYBODY, Practitioner, PractitionerQuery


class PractitionerRepository(Protocol):
    """The practitioners of one unit of work."""

    async def find(self, practitioners: Sequence[PractitionerId]) -> list[Practitioner]:
        """Return those that exist among `practitioners`, in their order."""
        ...

    async def find_page(
        self, query: PractitionerQuery = EVERYBODY, *, after: PractitionerId | None, at_most: int
    ) -> list[Practitioner]:
        """Return at most `at_most` practitioners who meet `query` in order of their ids, those behind `after`."""
        ...

    async def count(self, query: PractitionerQuery = EVERYBODY) -> int:
        """Return how many practitioners meet `query`."""
        ...

    async def find_by_terms(self, terms: Sequence[IndexTerm]) -> list[Practitioner]:
        """Return the practitioners that have any of `terms`."""
        ...

    async def claim_npi(self, npi: str, by: PractitionerId) -> None:
        """Keep everybody but `by` from claiming an NPI until the unit of work ends.

        Raises `DuplicateNpi` if another practitioner has it. An import claims nothing: sources repeat one another.
        """
        ...

    async def add(self, practitioner: Practitioner) -> Practitioner:
        """Store a new practitioner as version 1. Raises `DuplicateIdentifier` if a source is taken."""
        ...

    async def save(self, practitioner: Practitioner) -> Practitioner:
        """Write the next version, or raise `StaleWrite`."""
        ...
