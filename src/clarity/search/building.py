"""Segments out of entries in whatever order, without holding more of them at a time than a few thousand."""

from collections.abc import Iterable, Sequence

import numpy as np

from clarity.application.ports.search import IndexEntry
from clarity.search.columns import Columns
from clarity.search.pacing import Pace
from clarity.search.segments import Leaf, Segment

_CHUNK = 1_024
_SAMPLED = 64
"""One of so many keys is looked at to find out where segments shall end."""

_ROUNDS = 16
"""How often what was merged is cut off the runs."""


class Builder:
    """Takes entries in any order and makes leaves of about `size` rows of them, in short steps.

    Runs of entries are packed as they come, each in order. When all are there, keys that lie evenly among all are
    chosen as bounds, and each segment is merged from its stretch of each run. What is merged is cut off the runs every
    now and then: memory never holds much more than the columns of all, once, and a thousand objects.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._chunk = min(_CHUNK, size)
        self._waiting: list[IndexEntry] = []
        self._packed: list[Columns] = []
        self._runs: list[Columns] = []
        self._pace = Pace()

    async def add(self, entries: Iterable[IndexEntry]) -> None:
        """Take some more."""
        self._waiting += entries
        while len(self._waiting) >= self._chunk:
            self._packed.append(Columns.pack(self._waiting[: self._chunk]))
            del self._waiting[: self._chunk]
            await self._breathe()
            if len(self._packed) * self._chunk >= self._size:
                await self._end_run()

    async def leaves(self) -> list[Leaf]:
        """Return leaves with all that were added, which are then forgotten here."""
        self._packed.append(Columns.pack(self._waiting))
        self._waiting = []
        await self._end_run()
        lower, leaves = b"", list[Leaf]()
        bounds = await self._bounds()
        taken = [0] * len(self._runs)
        for place, upper in enumerate([*bounds, None]):
            pieces = []
            for at, run in enumerate(self._runs):
                end = len(run) if upper is None else run.place_of(upper)
                if taken[at] < end:
                    pieces.append(run.cut(taken[at], end))
                taken[at] = end
                await self._breathe()
            columns = await in_order(Columns.concat(pieces), self._pace)
            leaves.append(Leaf.fresh(lower, await Segment.of(columns, self._pace)))
            lower = upper or b""
            if place % (len(bounds) // _ROUNDS + 1) == 0:
                await self._forget(taken)
                taken = [0] * len(self._runs)
        self._runs = []
        return leaves

    async def _forget(self, taken: Sequence[int]) -> None:
        """Keep only what is left of the runs, so that segments take the place of what is in them already."""
        for at, run in enumerate(self._runs):
            self._runs[at] = run.cut(taken[at], len(run))
            await self._breathe()

    async def _end_run(self) -> None:
        """Make one run of what was packed."""
        run = await in_order(Columns.concat(self._packed), self._pace)
        self._packed = []
        if len(run):
            self._runs.append(run)

    async def _bounds(self) -> list[bytes]:
        """Return keys between which about `size` rows lie."""
        total = sum(map(len, self._runs))
        count = -(-total // self._size)
        sample: list[bytes] = []
        for run in self._runs:
            sample += [run.key(row) for row in range(min(_SAMPLED, len(run)) // 2, len(run), _SAMPLED)]
            await self._breathe()
        order = await _order(sample, self._pace)
        chosen = dict.fromkeys(order[place * len(order) // count] for place in range(1, count))
        return [sample[place] for place in chosen if place != order[0]]

    async def _breathe(self) -> None:
        if self._pace.is_due:
            await self._pace.rest()


async def in_order(columns: Columns, pace: Pace) -> Columns:
    """Return the rows in the order of their keys."""
    keys: list[bytes] = []
    for low in range(0, len(columns), _CHUNK):
        keys += columns.keys(low, min(low + _CHUNK, len(columns)))
        if pace.is_due:
            await pace.rest()
    return columns.take(np.array(await _order(keys, pace), np.intp))


async def _order(keys: Sequence[bytes], pace: Pace) -> list[int]:
    """Return the places of the keys in their order: what `sorted` does, with breaks."""
    width = _CHUNK
    order: list[int] = []
    for low in range(0, len(keys), width):
        order += sorted(range(low, min(low + width, len(keys))), key=keys.__getitem__)
        if pace.is_due:
            await pace.rest()
    # Sorting what consists of two sorted halves is merging them.
    while width < len(keys):
        width *= 2
        for low in range(0, len(keys), width):
            order[low : low + width] = sorted(order[low : low + width], key=keys.__getitem__)
            if pace.is_due:
                await pace.rest()
    return order
