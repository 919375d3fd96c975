"""New leaves for old ones: a few changes taken in, and leaves with many changes made anew."""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from clarity.application.ports.search import IndexChange, IndexEntry
from clarity.search.columns import Columns, key_of
from clarity.search.pacing import Pace
from clarity.search.segments import Ids, Leaf, Segment

_AT_ONCE = 32
"""How many rows a leaf takes in at a time: each is looked up twice, which takes some 20 µs."""


Place = tuple[int, int]
"""Where somebody is: the leaf's place, and the slot in it."""


@dataclass(slots=True, repr=False)
class _Edit:
    """What becomes of a leaf. Where somebody was taken away, no text may stay."""

    gone: list[int] = field(default_factory=list)
    added: list[IndexEntry] = field(default_factory=list)
    taken_away: bool = False


class Update:
    """Works out what leaves become, while others still search the old ones."""

    def __init__(self, leaves: Sequence[Leaf], young: Mapping[bytes, bytes]) -> None:
        """Begin with `leaves`; `young` has the key of everybody who is in one of them but not in its segment."""
        self.leaves = list(leaves)
        self.rebuilt: list[Leaf] = []
        """The leaves that were made anew, as they were."""
        self._young = young
        self._emptied: set[int] = set()
        self._pace = Pace()

    async def locate(self, ids: Iterable[bytes]) -> dict[bytes, Place]:
        """Return the places of those of the patients who are here."""
        places: dict[bytes, Place] = {}
        others = []
        for patient in ids:
            if (key := self._young.get(patient)) is None:
                others.append(patient)
                continue
            at = self._leaf_of(key)
            leaf = self.leaves[at]
            places[patient] = at, len(leaf.segment) + leaf.young.place_of(key)
            await self._breathe()
        asked = Ids.of(others)
        for at, leaf in enumerate(self.leaves):
            rows = leaf.segment.ids.places_of(asked.head, asked.tail)
            for which in np.flatnonzero(rows >= 0).tolist():
                if leaf.hidden is None or not leaf.hidden[rows[which]]:
                    places[others[which]] = at, int(rows[which])
            await self._breathe()
        return places

    async def take_in(self, changes: Iterable[IndexChange], places: Mapping[bytes, Place]) -> None:
        """Put the entries among `changes` where they belong, and take out what stood of all who changed."""
        if not self.leaves:
            self.leaves.append(Leaf.fresh(b"", await Segment.of(Columns.concat([]), self._pace)))
        edits: defaultdict[int, _Edit] = defaultdict(_Edit)
        for change in changes:
            place = places.get(change.id)
            if place is not None:
                edits[place[0]].gone.append(place[1])
            if isinstance(change, IndexEntry):
                edits[self._leaf_of(key_of(change.family, change.given, change.id))].added.append(change)
            elif place is not None:
                edits[place[0]].taken_away = True
            await self._breathe()
        for at, edit in edits.items():
            leaf = self.leaves[at].without(edit.gone)
            edit.added.sort(key=lambda entry: key_of(entry.family, entry.given, entry.id))
            for low in range(0, len(edit.added), _AT_ONCE):
                leaf = leaf.having(Columns.pack(edit.added[low : low + _AT_ONCE]))
                await self._breathe()
            self.leaves[at] = leaf
            if edit.taken_away and leaf.hidden is not None:
                self._emptied.add(at)

    async def rebuild(self, *, segment_rows: int, leaf_changes: int, at_most: int) -> None:
        """Make leaves anew: those in which text of nobody stands, and of those with many changes the `at_most` fullest.

        A leaf that has become small is made one with its neighbour, and a large one is divided.
        """
        full = [at for at, leaf in enumerate(self.leaves) if leaf.changes >= leaf_changes]
        full.sort(key=lambda at: self.leaves[at].changes)
        for at in sorted(self._emptied.union(full[-at_most:]), reverse=True):
            first, end = at, at + 1
            if len(self.leaves[at]) < segment_rows // 8 and len(self.leaves) > 1:
                first, end = (at - 1, at + 1) if at else (0, 2)
            self.leaves[first:end] = await self._anew(self.leaves[first:end], segment_rows)

    async def _anew(self, leaves: Sequence[Leaf], segment_rows: int) -> list[Leaf]:
        self.rebuilt += leaves
        columns = leaves[0].consolidated()
        for leaf in leaves[1:]:
            await self._breathe()
            columns = Columns.concat([columns, leaf.consolidated()])
        count = -(-len(columns) // segment_rows) if len(columns) > segment_rows else 1
        bounds = [place * len(columns) // count for place in range(count + 1)]
        made = []
        for first, end in pairwise(bounds):
            if first < end:
                await self._breathe()
                rows = columns if count == 1 else columns.take(np.arange(first, end))
                lower = columns.key(first) if first else leaves[0].lower
                made.append(Leaf.fresh(lower, await Segment.of(rows, self._pace)))
        return made

    def _leaf_of(self, key: bytes) -> int:
        return max(0, bisect_right(self.leaves, key, key=lambda leaf: leaf.lower) - 1)

    async def _breathe(self) -> None:
        if self._pace.is_due:
            await self._pace.rest()
