"""Finding patients by what is sealed."""

from dataclasses import dataclass, field
from typing import Protocol

from clarity.application.ports.work import Work
from clarity.domain.access import Scope
from clarity.domain.ids import PatientId
from clarity.domain.patients import PatientQuery


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """One page of a search: ids in the order asked for, and how many match in all.

    `keys` has the sort key of each id, the place where a next page would begin; `unopened` are the records
    in scope that could not be compared because they do not open.
    """

    patients: tuple[PatientId, ...]
    keys: tuple[tuple[str, ...], ...] = field(repr=False)
    count: int
    exact: bool
    more: bool
    unopened: tuple[PatientId, ...] = ()


class PatientSearch(Protocol):
    """Finding patients by what is sealed."""

    async def find(
        self, work: Work, scope: Scope, query: PatientQuery, *, after: tuple[str, ...] | None, at_most: int
    ) -> Found:
        """Return the page behind the sort key `after` of the patients in `scope` that match `query`.

        What is outside `scope` is neither returned nor counted.
        """
        ...
