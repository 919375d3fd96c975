"""The search that keeps nothing: it opens every record the caller may see and compares it, in memory."""

import heapq
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from itertools import islice

from clarity.application.ports import Found, PatientFilter, Work
from clarity.domain.access import Scope
from clarity.domain.ids import PatientId
from clarity.domain.patients import PatientQuery

_Key = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class StreamingSearch:
    """`PatientSearch` in one pass over the records in scope; holds all matches' keys, and no record.

    `today` is the day by which ages are told, in the practice's time zone.
    """

    today: Callable[[], date]

    def needs_snapshot(self, query: PatientQuery) -> bool:
        """Tell that what is compared and what is shown must be of one state."""
        del query
        return True

    async def find(self, work: Work, scope: Scope, query: PatientQuery, *, after: _Key | None, at_most: int) -> Found:
        """Return the page behind the sort key `after` of the patients in `scope` that match `query`."""
        today = self.today()
        conditions = PatientFilter(status=query.status, practitioner=query.practitioner, terms=query.terms)
        matches: list[tuple[_Key, PatientId]] = []
        unopened = []
        async for record, card in work.patients.unsafe_bulk_open(scope, conditions):
            if card is None:
                unopened.append(record.patient)
            elif card.matches(query, today):
                matches.append((card.sort_key(query), card.id))
        behind = [match for match in matches if after is None or _is_behind(match[0], after, query)]
        choose = heapq.nlargest if query.descending else heapq.nsmallest
        chosen = choose(at_most + 1, behind)
        page = list(islice(chosen, at_most))
        return Found(
            patients=tuple(patient for _, patient in page),
            keys=tuple(key for key, _ in page),
            count=len(matches),
            exact=True,
            more=len(chosen) > at_most,
            unopened=tuple(unopened),
        )


def _is_behind(key: _Key, after: _Key, query: PatientQuery) -> bool:
    return key < after if query.descending else key > after
