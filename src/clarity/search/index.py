"""An index of names in memory: built from many entries, changed by a few at a time, searched meanwhile.

Patients lie in leaves, in the order of names. A search goes through the leaves as they were when it began; a change
makes new leaves beside them. Nothing here reads or writes anything else, or knows who is asking.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable, KeysView, Mapping, Sequence
from typing import Final

import numpy as np

from clarity.application.pages import COUNTED_EXACTLY
from clarity.application.ports.search import (
    Absence,
    Found,
    FoundAlike,
    IndexChange,
    IndexEntry,
    IndexGap,
    Reach,
    Tally,
    instant_in_tally,
)
from clarity.domain.likeness import SimilarQuery
from clarity.search.building import Builder
from clarity.search.columns import Unreadable, key_of
from clarity.search.finding import Finding, Judge
from clarity.search.hearing import Hearing
from clarity.search.likeness import HeardName
from clarity.search.matching import Matcher
from clarity.search.pacing import Pace
from clarity.search.question import Question
from clarity.search.segments import Ids, KeptPart, Leaf, Part, Segment, Unopened
from clarity.search.sieve import Sieve
from clarity.search.updating import Place, Update

SEGMENT_ROWS: Final = 8_192
"""How many patients a segment holds at most; when it is made, an eighth is left free."""

LEAF_CHANGES: Final = 128
"""How many changes a leaf holds before its segment is made anew."""

# One leaf that is full is made anew with each call, and one more for so many changes: more than become full meanwhile.
_PER_REBUILD = 64
# To sort more takes longer than a step may.
_MANY_IDS = 4_096


class NameIndex:
    """Who is called what, for one event loop. No step of its work is longer than some milliseconds.

    `apply` and `load` may run while searches do, and wait for each other.
    """

    def __init__(
        self,
        *,
        segment_rows: int = SEGMENT_ROWS,
        leaf_changes: int = LEAF_CHANGES,
        counted_exactly: int = COUNTED_EXACTLY,
    ) -> None:
        """Hold nobody. The sizes are there for tests, which have not got a million patients."""
        self._segment_rows, self._leaf_changes, self._counted_exactly = segment_rows, leaf_changes, counted_exactly
        self._leaves: tuple[Leaf, ...] = ()
        self._sieve = Sieve(())
        """Of the segments of these leaves."""
        self._young: dict[bytes, bytes] = {}
        """The key of everybody who is in a leaf but not in its segment, by id."""
        self._unopened: dict[bytes, Unopened] = {}
        self._size = self._versions = self._instants = 0
        self._writing = asyncio.Lock()

    @property
    def size(self) -> int:
        """How many patients can be found."""
        return self._size

    @property
    def unopened(self) -> KeysView[bytes]:
        """The ids of records that stand and cannot be compared, since they do not open, as of now."""
        return self._unopened.keys()  # on a bad day it is everybody, and each search asks

    @property
    def leaves(self) -> Sequence[Leaf]:
        """Everybody who can be found, in the order of names, as it is now."""
        return self._leaves

    def memory(self) -> int:
        """Return how many bytes the index takes."""
        return sum(leaf.memory for leaf in self._leaves) + self._sieve.memory

    def tally(self) -> Tally:
        """Add up what is here, the records that do not open included."""
        unopened = self._unopened.values()
        return Tally(
            self._size + len(unopened),
            self._versions + sum(one.version for one in unopened),
            self._instants + sum(instant_in_tally(one.changed) for one in unopened),
        )

    async def find(
        self, question: Question, reach: Reach, *, after: tuple[str, ...] | None, at_most: int, judge: Judge
    ) -> Found:
        """Return the page behind the sort key `after` of those within `reach` who match, and how many do.

        `judge` is asked for those whose label is in `reach.judged`, and for no more of them than the answer needs.
        """
        leaves, sieve = self._leaves, self._sieve
        matcher = Matcher.of(question, reach, await _among(reach))
        blocks = sieve.blocks_with(matcher.grams)
        return await Finding(leaves, blocks, matcher, judge, self._counted_exactly).page(after, at_most)

    async def similar(self, query: SimilarQuery, reach: Reach, *, at_most: int, judge: Judge) -> FoundAlike:
        """Return those within `reach` whose names are most like what was heard, and how many are like it."""
        leaves = self._leaves
        matcher = Matcher.of(Question(), reach, await _among(reach))
        return await Hearing(leaves, matcher, HeardName.of(query), judge, at_most).best()

    async def load(self, batches: AsyncIterator[Sequence[IndexChange]]) -> None:
        """Take in the records of `batches`, each once, in place of all that is here."""
        builder = Builder(self._segment_rows * 7 // 8)
        unopened: dict[bytes, Unopened] = {}
        async with self._writing:
            async for batch in batches:
                entries = [change for change in batch if isinstance(change, IndexEntry)]
                await builder.add(entries)
                if len(entries) < len(batch):
                    gaps = (change for change in batch if isinstance(change, IndexGap))
                    unopened.update((gap.id, _unopened(gap)) for gap in gaps if gap.why is Absence.UNOPENED)
            self._begin(await builder.leaves(), unopened)

    async def restore(self, parts: Iterable[KeptPart]) -> None:
        """Take in what `parts` of another index were, in place of all that is here. Raises `Unreadable`."""
        pace, leaves, unopened = Pace(), list[Leaf](), dict[bytes, Unopened]()
        async with self._writing:
            for part in parts:
                unopened.update(part.unopened)
                if not len(part.columns):
                    continue
                lower = part.columns.key(0)
                if leaves and lower <= leaves[-1].segment.columns.key(len(leaves[-1]) - 1):
                    raise Unreadable
                leaves.append(Leaf.fresh(lower if leaves else b"", await Segment.of(part.columns, pace)))
            self._begin(leaves, unopened)

    def parts(self) -> Sequence[Part]:
        """Return all that is here in parts, as it is now, whatever happens later."""
        return [Part(None, dict(self._unopened)), *(Part(leaf, {}) for leaf in self._leaves)]

    async def apply(self, changes: Sequence[IndexChange]) -> None:
        """Take in what changed, all at once as searches see it.

        What comes last counts, whatever its version: a row that was put back from a backup is an older one.
        A few leaves with many changes are made anew by the way. Of those who were taken away, no text stays in memory.
        """
        latest = {change.id: change for change in changes}
        async with self._writing:
            update = Update(self._leaves, self._young)
            places = await update.locate(latest)
            pace = Pace()
            news = []
            for change in latest.values():
                if self._is_news(change, places.get(change.id)):
                    news.append(change)
                if pace.is_due:
                    await pace.rest()
            await update.take_in(news, places)
            at_most = 1 + len(news) // _PER_REBUILD
            await update.rebuild(segment_rows=self._segment_rows, leaf_changes=self._leaf_changes, at_most=at_most)
            self._finish(update, news, places)

    def _is_news(self, change: IndexChange, place: Place | None) -> bool:
        """Tell whether `change` is not what is known of the record anyway."""
        if place is None:
            return True
        columns, row = self._leaves[place[0]].at(place[1])
        return change.version != columns.version[row] or change != columns.entry(row)

    def _finish(self, update: Update, news: Sequence[IndexChange], places: Mapping[bytes, Place]) -> None:
        """Let searches see what `update` made of the leaves."""
        for change in news:
            if (place := places.get(change.id)) is not None:
                columns, row = self._leaves[place[0]].at(place[1])
                self._size -= 1
                self._versions -= int(columns.version[row])
                self._instants -= instant_in_tally(int(columns.changed[row]))
            self._young.pop(change.id, None)
            self._unopened.pop(change.id, None)
            if isinstance(change, IndexEntry):
                self._size += 1
                self._versions += change.version
                self._instants += instant_in_tally(change.changed)
                self._young[change.id] = key_of(change.family, change.given, change.id)
            elif change.why is Absence.UNOPENED:
                self._unopened[change.id] = _unopened(change)
        for leaf in update.rebuilt:
            for row in range(len(leaf.young)):
                self._young.pop(leaf.young.id_of(row), None)
        self._set(update.leaves)

    def _begin(self, leaves: Sequence[Leaf], unopened: dict[bytes, Unopened]) -> None:
        """Let searches see what was made from nothing."""
        self._set(leaves)
        self._unopened, self._young = unopened, {}
        self._size = sum(map(len, leaves))
        self._versions = sum(int(leaf.segment.columns.version.sum(dtype=np.int64)) for leaf in leaves)
        self._instants = sum(int((leaf.segment.columns.changed & 0xFFFFFFFF).sum()) for leaf in leaves)

    def _set(self, leaves: Sequence[Leaf]) -> None:
        tables = [leaf.segment.table for leaf in leaves]
        if not self._sieve.is_of(tables):
            self._sieve = Sieve(tables)
        self._leaves = tuple(leaves)


def _unopened(gap: IndexGap) -> Unopened:
    return Unopened(gap.version, gap.changed)


async def _among(reach: Reach) -> Ids | None:
    """Return the ids that `reach` is limited to, ready to be looked up; `None` if it is not."""
    if reach.among is None:
        return None
    among = [patient.bytes for patient in reach.among]
    if len(among) < _MANY_IDS:
        return Ids.of(among)
    return await asyncio.to_thread(Ids.of, among)  # sorts numbers, which others need not wait for
