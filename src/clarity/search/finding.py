"""A page of a search, and how many match in all, from leaves that stay as they are meanwhile."""

from bisect import bisect_right
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID

import numpy as np

from clarity.application.pages import COUNTED_EXACTLY
from clarity.application.ports.search import Found
from clarity.domain.ids import PatientId
from clarity.domain.patients import PatientSort
from clarity.search.columns import Rows
from clarity.search.matching import FEW_BLOCKS, FEW_ROWS, Matcher
from clarity.search.pacing import Pace
from clarity.search.ranking import Ranked, Ranking, key_of_cursor
from clarity.search.segments import NO_ROWS, Leaf

Judge = Callable[[Collection[PatientId]], Awaitable[Collection[PatientId]]]
"""Returns those of the patients who may be found."""

MOST_JUDGED: Final = 256
"""How many patients are judged at a time."""

_SLICE = 128

_Place = tuple[int, int]


@dataclass(slots=True, repr=False)
class _Parts:
    """What matches in a leaf, a part at a time: the parts that were looked for already, and the others."""

    rest: Iterator[Rows]
    found: list[Rows] = field(default_factory=list)


@dataclass(slots=True, repr=False)
class Finding:
    """One search. It looks at no part of a leaf twice, and has nobody judged twice.

    Who matches is written as a place: the leaf's, and the slot in it.
    """

    leaves: Sequence[Leaf]
    blocks: Sequence[int]
    """Of each leaf, the blocks that may hold all fragments."""
    matcher: Matcher
    judge: Judge
    counted_exactly: int = COUNTED_EXACTLY
    _pace: Pace = field(default_factory=Pace)
    _parts: dict[int, _Parts] = field(default_factory=dict)
    _judged: dict[_Place, bool] = field(default_factory=dict)

    async def page(self, after: tuple[str, ...] | None, at_most: int) -> Found:
        """Return the page behind the sort key `after`, and the count of all."""
        sort = self.matcher.question.sort
        matches = await self._counted()
        is_exact = len(matches) <= self.counted_exactly
        if sort is PatientSort.NAME:
            places = await self._by_name(after, at_most + 1)
        elif is_exact:
            places = await self._sorted(matches, after, at_most + 1)
        else:
            places = await self._by_value(after, at_most + 1)
        rows = [self.leaves[leaf].at(slot) for leaf, slot in places[:at_most]]
        return Found(
            patients=tuple(_patient(columns.id_of(row)) for columns, row in rows),
            keys=tuple(columns.sort_key(row, sort) for columns, row in rows),
            count=min(len(matches), self.counted_exactly),
            exact=is_exact,
            more=len(places) > at_most,
        )

    async def _counted(self) -> list[_Place]:
        """Return who matches, in no certain order: all, or one more than are counted exactly."""
        most = self.counted_exactly + 1
        found: list[_Place] = []
        doubtful: list[_Place] = []
        async for leaf, part in self._walk():
            slots, doubts = part, self.matcher.doubts(self.leaves[leaf], part)
            if doubts is not None:
                doubtful += [(leaf, slot) for slot in slots[doubts].tolist()]
                slots = slots[~doubts]
            found += [(leaf, slot) for slot in slots[: most - len(found)].tolist()]
            while len(found) < most and len(doubtful) >= MOST_JUDGED:
                found += await self._admitted(doubtful[:MOST_JUDGED])
                del doubtful[:MOST_JUDGED]
            if len(found) >= most:
                return found[:most]
        return (found + await self._admitted(doubtful))[:most]

    async def _by_name(self, after: tuple[str, ...] | None, most: int) -> list[_Place]:
        """Return the first matches behind a place in the order of names."""
        descending = self.matcher.question.descending
        key = None if after is None else key_of_cursor(after)
        start = None if key is None else self._leaf_of(key)
        found: list[_Place] = []
        waiting: list[_Place] = []
        doubtful = 0
        async for leaf, part in self._walk(start):
            slots = part
            if key is not None and leaf == start:
                slots = slots[self.leaves[leaf].is_behind(slots, key, descending=descending)]
            if descending:
                slots = slots[::-1]
            for low in range(0, len(slots), _SLICE):
                some = slots[low : low + _SLICE]
                doubts = self.matcher.doubts(self.leaves[leaf], some)
                doubtful += 0 if doubts is None else int(np.count_nonzero(doubts))
                waiting += [(leaf, slot) for slot in some.tolist()]
                if doubtful < MOST_JUDGED and len(found) + len(waiting) - doubtful < most:
                    continue
                found += await self._admitted(waiting)
                waiting, doubtful = [], 0
                if len(found) >= most:
                    return found[:most]
        return (found + await self._admitted(waiting))[:most]

    async def _sorted(self, matches: Iterable[_Place], after: tuple[str, ...] | None, most: int) -> list[_Place]:
        """Return the first of `matches` behind a place in their order."""
        question = self.matcher.question
        keyed = []
        for leaf, slot in matches:
            columns, row = self.leaves[leaf].at(slot)
            key = columns.sort_key(row, question.sort)
            if after is None or (key < after if question.descending else key > after):
                keyed.append((key, (leaf, slot)))
            if self._pace.is_due:
                await self._pace.rest()
        keyed.sort(reverse=question.descending)
        return [place for _, place in keyed[:most]]

    async def _by_value(self, after: tuple[str, ...] | None, most: int) -> list[_Place]:
        """Return the first matches behind a place in the order of age or last change, where there are many.

        Once enough are found, only those come into question who would stand before the last of them: that is a handful
        in each leaf, whatever is asked.
        """
        ranking = Ranking(self.matcher.question, after, most)
        start = None if ranking.key is None else self._leaf_of(ranking.key)
        waiting: list[Ranked] = []
        for leaf in self._order():
            slots = await self._within(leaf, ranking.bounds)
            slots = ranking.behind(self.leaves[leaf], slots, 0 if start is None else leaf - start)
            doubts = self.matcher.doubts(self.leaves[leaf], slots)
            first, doubtful = ranking.ranked(self.leaves[leaf], leaf, slots, doubts)
            ranking.add(first)
            waiting += doubtful
            while len(waiting) >= MOST_JUDGED:
                waiting = await self._let_in(ranking, waiting)
        while waiting:
            waiting = await self._let_in(ranking, waiting)
        return ranking.places

    async def _let_in(self, ranking: Ranking, waiting: list[Ranked]) -> list[Ranked]:
        """Let those in who may be found, of the first that wait, and return the others who can still be wanted."""
        waiting = sorted(one for one in waiting if ranking.wants(one))
        some = {(one.leaf, one.slot): one for one in waiting[:MOST_JUDGED]}
        ranking.add([some[place] for place in await self._admitted(list(some))])
        return waiting[MOST_JUDGED:]

    async def _within(self, leaf: int, bounds: tuple[int, int]) -> Rows:
        """Return the slots of a leaf that match and have a value within `bounds`."""
        if self._pace.is_due:
            await self._pace.rest()
        place, matcher = self.leaves[leaf], self.matcher
        slots = NO_ROWS
        if self.blocks[leaf].bit_count() > FEW_BLOCKS:
            slots = matcher.meeting(place, place.between(matcher.question.sort, *bounds))
            if not matcher.grams:
                return slots
            if len(slots) <= FEW_ROWS:
                return matcher.having(place, slots)
        parts = [part async for part in self._of(leaf)]
        if matcher.question.descending:
            parts.reverse()  # they came from the end
        found = np.concatenate(parts) if parts else NO_ROWS
        values = place.values(matcher.question.sort, found)
        return found[(values >= bounds[0]) & (values <= bounds[1])]

    async def _admitted(self, places: Sequence[_Place]) -> list[_Place]:
        """Return those of the places that may be found, in their order."""
        if self.matcher.doubtful is None:
            return list(places)
        doubtful = [place for place in places if place not in self._judged and self._is_doubtful(place)]
        for low in range(0, len(doubtful), MOST_JUDGED):
            asked = {place: self._id_of(place) for place in doubtful[low : low + MOST_JUDGED]}
            admitted = frozenset(await self.judge(tuple(asked.values())))
            self._judged.update((place, patient in admitted) for place, patient in asked.items())
        return [place for place in places if self._judged.get(place, True)]

    def _is_doubtful(self, place: _Place) -> bool:
        columns, row = self.leaves[place[0]].at(place[1])
        return self.matcher.doubtful is not None and bool(self.matcher.doubtful[columns.flags[row]])

    def _id_of(self, place: _Place) -> PatientId:
        columns, row = self.leaves[place[0]].at(place[1])
        return _patient(columns.id_of(row))

    def _leaf_of(self, key: bytes) -> int:
        return max(0, bisect_right(self.leaves, key, key=lambda leaf: leaf.lower) - 1)

    def _order(self, start: int | None = None) -> Iterator[int]:
        """Return the leaves in which somebody may match, in the order of names, from `start` on.

        The other way round if that is asked.
        """
        leaves, blocks = self.leaves, self.blocks
        if self.matcher.question.descending:
            order = range(len(leaves) - 1 if start is None else start, -1, -1)
        else:
            order = range(start or 0, len(leaves))
        return (place for place in order if blocks[place] or leaves[place].changes)

    async def _walk(self, start: int | None = None) -> AsyncIterator[tuple[int, Rows]]:
        """Yield what matches in each leaf, part by part."""
        for leaf in self._order(start):
            async for part in self._of(leaf):
                yield leaf, part

    async def _of(self, leaf: int) -> AsyncIterator[Rows]:
        """Yield what matches in a leaf, part by part."""
        parts = self._parts.get(leaf)
        if parts is None:
            is_backwards = self.matcher.question.descending
            rest = self.matcher.parts(self.leaves[leaf], self.blocks[leaf], backwards=is_backwards)
            parts = self._parts[leaf] = _Parts(rest)
        place = 0
        while True:
            if self._pace.is_due:
                await self._pace.rest()
            if place == len(parts.found):
                part = next(parts.rest, None)
                if part is None:
                    return
                parts.found.append(part)
            if len(parts.found[place]):
                yield parts.found[place]
            place += 1


def _patient(id_: bytes) -> PatientId:
    return PatientId(UUID(bytes=id_))
