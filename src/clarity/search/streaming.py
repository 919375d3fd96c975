"""The search that keeps nothing: it opens every record the caller may see and compares it, in memory."""

import heapq
from bisect import insort
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from itertools import islice

from clarity.application.ports import Found, FoundAlike, PatientFilter, Work
from clarity.domain.access import Scope
from clarity.domain.ids import PatientId
from clarity.domain.likeness import SimilarQuery
from clarity.domain.patients import Patient, PatientQuery
from clarity.search.likeness import HeardName

_Key = tuple[str, ...]
_BY_NAME = PatientQuery()


@dataclass(frozen=True, slots=True)
class StreamingSearch:
    """`PatientSearch` in one pass over the records in scope; holds all matches' keys, and no record.

    `today` is the day by which ages are told, in the practice's time zone.
    """

    today: Callable[[], date]

    def needs_snapshot(self, query: PatientQuery | SimilarQuery) -> bool:
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

    async def similar(self, work: Work, scope: Scope, query: SimilarQuery, *, at_most: int) -> FoundAlike:
        """Return the patients in `scope` whose names are most like what was heard."""
        heard = HeardName.of(query)
        best: list[tuple[float, _Key, PatientId]] = []
        count = 0
        unopened = []
        async for record, card in work.patients.unsafe_bulk_open(scope, PatientFilter()):
            if card is None:
                unopened.append(record.patient)
            elif score := heard.score_of(card.names, card.born.first, card.born.last):
                count += 1
                insort(best, (-score, card.sort_key(_BY_NAME), card.id))
                del best[at_most:]
        alike = tuple(patient for _, _, patient in best)
        return FoundAlike(patients=alike, count=count, exact=True, unopened=tuple(unopened))

    def score(self, query: SimilarQuery, patient: Patient) -> float:
        """Return from 0 to 1 how much a patient is like what was heard."""
        return HeardName.of(query).score_of(patient.names, patient.born.first, patient.born.last)


def _is_behind(key: _Key, after: _Key, query: PatientQuery) -> bool:
    return key < after if query.descending else key > after
