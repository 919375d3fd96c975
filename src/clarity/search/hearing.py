"""Those whose names are most like one that was heard, from leaves that stay as they are meanwhile."""

from bisect import insort
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from datetime import date
from typing import Final, TypeVar
from uuid import UUID

import numpy as np

from clarity.application.pages import COUNTED_EXACTLY
from clarity.application.ports.search import FoundAlike
from clarity.domain.ids import PatientId
from clarity.domain.patients import PatientSort
from clarity.search.columns import Columns, Rows
from clarity.search.finding import MOST_JUDGED, Judge
from clarity.search.grams import blocks_with, grams_of, runs
from clarity.search.likeness import WORDS_AT_A_TIME, HeardName
from clarity.search.matching import Matcher
from clarity.search.pacing import Pace
from clarity.search.segments import Leaf, Segment, find_rows

_FEW_WORDS: Final = 24
"""Up to so many words are looked for one after the other; with more, every row is read."""

_ROUNDING: Final = 1e-9
"""What one score may differ by that is computed in two ways."""

_ROWS_AT_A_TIME: Final = 1_024
_SLICE: Final = 64
"""So many names are compared between two looks at the clock."""

_MOST_REMEMBERED: Final = 250_000
"""Nearly as many different words as a million people have; with more, words are compared again."""

_SPACES = bytes.maketrans(b"\xff\xfe\n", b"   ")

_Item = TypeVar("_Item")
_Best = tuple[float, tuple[str, ...], PatientId]


@dataclass(slots=True, repr=False)
class Hearing:
    """One search by a name that was heard.

    Leaf by leaf, it compares the words there with those that were heard, each word once, and reads the names only of
    those who have some that are alike. Once more are counted than are counted exactly, leaves in which nobody can be
    among the best are passed over.
    """

    leaves: Sequence[Leaf]
    matcher: Matcher
    heard: HeardName
    judge: Judge
    at_most: int
    _pace: Pace = field(default_factory=Pace)
    _seen: set[bytes] = field(default_factory=set)
    _alike: list[dict[bytes, float]] = field(default_factory=list)
    _best: list[_Best] = field(default_factory=list)
    _doubtful: dict[PatientId, _Best] = field(default_factory=dict)
    _count: int = 0

    async def best(self) -> FoundAlike:
        """Return the best, and the count of all."""
        self._alike = [{} for _ in self.heard.words]
        for leaf in self.leaves:
            await self._look_at(leaf)
        await self._decide()
        return FoundAlike(
            patients=tuple(patient for _, _, patient in self._best),
            count=min(self._count, COUNTED_EXACTLY),
            exact=self._count <= COUNTED_EXACTLY,
        )

    @property
    def _least(self) -> float:
        """The score below which nobody matters any more, whether for the best or for the count."""
        return -self._best[-1][0] if self._count > COUNTED_EXACTLY and len(self._best) == self.at_most else 0.0

    async def _look_at(self, leaf: Leaf) -> None:
        segment = leaf.segment
        alike = await self._words_in(segment.columns)
        rows = await self._rows(segment, alike) if self._may_matter(alike) else np.empty(0, np.intp)
        young = np.arange(len(leaf.young)) + len(segment)
        slots = self.matcher.meeting(leaf, np.concatenate([rows, young]))
        for some in _batches(slots.tolist(), _SLICE):
            await self._rest()
            for slot in some:
                self._take(*leaf.at(slot))
            if len(self._doubtful) >= MOST_JUDGED:
                await self._decide()

    async def _words_in(self, columns: Columns) -> list[Mapping[bytes, float]]:
        """Return the words in `columns` that are like each of those heard, with their likeness."""
        words = set[bytes]()
        for rows in _batches(range(len(columns)), _ROWS_AT_A_TIME):
            await self._rest()
            text = columns.text[columns.starts[rows[0]] : columns.starts[rows[-1] + 1]]
            words.update(text.translate(_SPACES).split())
        new = words - self._seen
        if len(self._seen) > _MOST_REMEMBERED:
            self._seen = set()
        self._seen |= new
        for some in _batches(list(new), WORDS_AT_A_TIME):
            texts = [word.decode() for word in some]
            for heard, known in zip(self.heard.words, self._alike, strict=True):
                await self._rest()
                known.update((text.encode(), likeness) for text, likeness in heard.among(texts).items())
        return [{word: known[word] for word in known.keys() & words} for known in self._alike]

    def _may_matter(self, alike: Sequence[Mapping[bytes, float]]) -> bool:
        """Tell whether somebody whose names are of such words may be found, and may matter."""
        return all(alike) and self.heard.weighed([max(known.values()) for known in alike]) >= self._least

    async def _rows(self, segment: Segment, alike: Sequence[Mapping[bytes, float]]) -> Rows:
        """Return the rows that come into question, upwards: those with a word like the one with the fewest."""
        known = min(alike, key=len)
        words: AbstractSet[bytes] = known.keys()
        if len(alike) == 1 and (least := self._least):
            words = {word for word, likeness in known.items() if likeness >= least - _ROUNDING}
        if len(words) > _FEW_WORDS:
            return np.arange(len(segment))
        hit = np.zeros(len(segment), np.bool_)
        for word in words:
            for span in _spans(segment, word):
                await self._rest()
                find_rows(segment.columns.text, segment.starts, word, span, rows := list[int]())
                hit[rows] = True
        return np.flatnonzero(hit)

    def _take(self, columns: Columns, row: int) -> None:
        """Compare somebody, and remember them if they matter."""
        names = columns.row_text(row).decode("utf-8", "surrogateescape").split("\udcfe")
        first, last = date.fromordinal(columns.born_first[row]), date.fromordinal(columns.born_last[row])
        score = self.heard.score(names, first, last)
        if not score or score < self._least:
            return
        patient = PatientId(UUID(bytes=columns.id_of(row)))
        one = (-score, columns.sort_key(row, PatientSort.NAME), patient)
        if self.matcher.doubtful is not None and self.matcher.doubtful[columns.flags[row]]:
            self._doubtful[patient] = one
        else:
            self._admit(one)

    def _admit(self, one: _Best) -> None:
        self._count += 1
        insort(self._best, one)
        del self._best[self.at_most :]

    async def _decide(self) -> None:
        """Admit those of the doubtful who may be found."""
        doubtful, self._doubtful = self._doubtful, {}
        for some in _batches(tuple(doubtful), MOST_JUDGED):
            for patient in await self.judge(some):
                self._admit(doubtful[patient])

    async def _rest(self) -> None:
        if self._pace.is_due:
            await self._pace.rest()


def _batches(items: Sequence[_Item], size: int) -> Iterator[Sequence[_Item]]:
    for first in range(0, len(items), size):
        yield items[first : first + size]


def _spans(segment: Segment, word: bytes) -> Iterator[tuple[int, int]]:
    """Yield the rows in which a word may occur, first and end, not too many at a time."""
    size, last = segment.block_rows, len(segment)
    for first, end in runs(blocks_with(segment.table, grams_of(word))):
        for low in range(first * size, min(end * size, last), _ROWS_AT_A_TIME):
            yield low, min(low + _ROWS_AT_A_TIME, end * size, last)
