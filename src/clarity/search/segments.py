"""Some thousand patients next to each other in the order of names: what finds them, and what changed since."""

import struct
from bisect import bisect_left, bisect_right
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from clarity.domain.patients import PatientSort
from clarity.domain.values import Confidential
from clarity.search.columns import Columns, Mask, Rows, Unreadable
from clarity.search.grams import rows_in_a_block, tabulate
from clarity.search.pacing import Pace

NO_ROWS: Rows = np.empty(0, np.intp)
_FEW_IDS = 4


@dataclass(frozen=True, slots=True, repr=False)
class Ids(Confidential):
    """Patients' ids in halves; `order` puts them in the order of their second halves, which are random."""

    head: NDArray[np.uint64]
    tail: NDArray[np.uint64]
    order: NDArray[np.integer[Any]]

    @classmethod
    def of(cls, ids: Collection[bytes]) -> Self:
        """Return `ids` in halves."""
        halves = np.frombuffer(b"".join(ids), dtype=">u8").reshape(-1, 2)
        head, tail = halves[:, 0].astype(np.uint64), halves[:, 1].astype(np.uint64)
        return cls(head, tail, np.argsort(tail))

    def __len__(self) -> int:
        return len(self.tail)

    def places_of(self, head: NDArray[np.uint64], tail: NDArray[np.uint64]) -> Rows:
        """Return the place here of each of the ids that consist of `head` and `tail`, -1 where there is none."""
        found = np.full(len(tail), -1, np.intp)
        size = len(self)
        if not size:
            return found
        if len(tail) <= _FEW_IDS and not self._may_hold(tail):
            return found
        places = np.searchsorted(self.tail, tail, sorter=self.order)
        nearest = self.order[np.minimum(places, size - 1)]
        left = np.flatnonzero(self.tail[nearest] == tail)
        # Halves of random ids are hardly ever shared; where they are, neighbours are tried one after the other.
        while len(left):
            tried = self.order[np.minimum(places[left], size - 1)].astype(np.intp)
            same = (places[left] < size) & (self.tail[tried] == tail[left])
            hit = same & (self.head[tried] == head[left])
            found[left[hit]] = tried[hit]
            left = left[same & ~hit]
            places[left] += 1
        return found

    def _may_hold(self, tails: NDArray[np.uint64]) -> bool:
        """Tell whether the second half of any id is here: for a few, faster than with arrays."""
        order, own = self.order.data, self.tail.data
        for tail in tails.tolist():
            place = bisect_left(order, tail, key=own.__getitem__)
            if place < len(order) and own[order[place]] == tail:
                return True
        return False


@dataclass(frozen=True, slots=True, repr=False)
class Segment(Confidential):
    """Columns with what finds rows in them: the table of grams, and their ids to be looked up.

    `table`, `starts` and `block_rows` are there for loops in Python, which read a memoryview faster than an array.
    """

    columns: Columns
    grams: NDArray[np.uint64]
    ids: Ids
    table: memoryview
    starts: memoryview
    block_rows: int

    def __len__(self) -> int:
        return len(self.columns)

    @property
    def memory(self) -> int:
        """How many bytes it takes."""
        return self.columns.memory + self.grams.nbytes + self.ids.order.nbytes

    @classmethod
    async def of(cls, columns: Columns, pace: Pace) -> Self:
        """Return `columns` as a segment, made in short steps. They hold fewer than 2^16 rows."""
        if pace.is_due:
            await pace.rest()
        grams = np.zeros(0, np.uint64)
        for table in tabulate(columns.text, columns.starts):
            if table is not None:
                grams = table
            elif pace.is_due:
                await pace.rest()
        by_id = np.argsort(columns.tail).astype(np.uint16)
        ids = Ids(columns.head, columns.tail, by_id)
        return cls(columns, grams, ids, grams.data, columns.starts.data, rows_in_a_block(len(columns)))


@dataclass(frozen=True, slots=True, repr=False)
class Leaf(Confidential):
    """A segment and what changed in it since: rows that count no more, and a few new ones.

    A `slot` is a row of the segment, or behind them all a row of `young`; `before[row]` is how many rows of the segment
    come before a young one. `lower` is the least key that belongs here. Immutable: a change makes a new leaf.
    """

    lower: bytes
    segment: Segment
    hidden: Mask | None
    young: Columns
    before: Rows
    changes: int = 0
    """How much it differs from its segment: rows hidden, and rows new."""

    @classmethod
    def fresh(cls, lower: bytes, segment: Segment) -> Self:
        """Return a leaf in which nothing has changed."""
        return cls(lower, segment, None, Columns.concat([]), NO_ROWS)

    def __len__(self) -> int:
        return len(self.segment) + 2 * len(self.young) - self.changes

    @property
    def memory(self) -> int:
        """How many bytes it takes."""
        hidden = 0 if self.hidden is None else self.hidden.nbytes
        return self.segment.memory + self.young.memory + self.before.nbytes + hidden

    def without(self, slots: Collection[int]) -> Self:
        """Return this leaf without those in `slots`."""
        if not slots:
            return self
        size = len(self.segment)
        hidden, young, before = self.hidden, self.young, self.before
        if rows := [slot for slot in slots if slot < size]:
            hidden = np.zeros(size, np.bool_) if hidden is None else hidden.copy()
            hidden[rows] = True
        if len(rows) < len(slots):
            left = np.delete(np.arange(len(young)), [slot - size for slot in slots if slot >= size])
            young, before = young.take(left), before[left]
        return self._with(hidden, young, before)

    def having(self, added: Columns) -> Self:
        """Return this leaf with the rows `added`, which are in the order of their keys."""
        keys = [added.key(row) for row in range(len(added))]
        count = len(self.young)
        places = [self.young.place_of(key) for key in keys]
        rows = np.insert(np.arange(count), places, np.arange(count, count + len(keys)))
        before = np.array([self.segment.columns.place_of(key) for key in keys], np.intp)
        young = Columns.concat([self.young, added]).take(rows)
        return self._with(self.hidden, young, np.concatenate([self.before, before])[rows])

    def _with(self, hidden: Mask | None, young: Columns, before: Rows) -> Self:
        changes = len(young) + (0 if hidden is None else int(np.count_nonzero(hidden)))
        return type(self)(self.lower, self.segment, hidden, young, before, changes)

    def consolidated(self) -> Columns:
        """Return all rows that count, in order."""
        if self.hidden is None and not len(self.young):
            return self.segment.columns
        kept = np.arange(len(self.segment)) if self.hidden is None else np.flatnonzero(~self.hidden)
        both = Columns.concat([self.segment.columns, self.young])
        return both.take(self.in_order(kept, np.arange(len(self.young))))

    def in_order(self, rows: Rows, young: Rows) -> Rows:
        """Return slots in order of names: of rows of the segment, and of young ones, each in order."""
        if not len(young):
            return rows
        slots = young + len(self.segment)
        return np.insert(rows, np.searchsorted(rows, self.before[young]), slots) if len(rows) else slots

    def at(self, slot: int) -> tuple[Columns, int]:
        """Return the columns and the row that a slot stands for."""
        size = len(self.segment)
        return (self.segment.columns, slot) if slot < size else (self.young, slot - size)

    def is_behind(self, slots: Rows, key: bytes, *, descending: bool) -> Mask:
        """Tell of each slot whether its patient comes after `key`; if `descending`, before it."""
        size = len(self.segment)
        bound = key if descending else key + b"\0"  # nothing stands between these two
        row, young = self.segment.columns.place_of(bound), self.young.place_of(bound)
        follows = np.where(slots < size, slots >= row, slots - size >= young)
        return ~follows if descending else follows

    def between(self, sort: PatientSort, least: int, most: int) -> Rows:
        """Return the slots whose values are from `least` to `most`, in order of names."""
        own, young = self._columns(sort)
        rows = np.flatnonzero((own >= least) & (own <= most))
        return self.in_order(rows, np.flatnonzero((young >= least) & (young <= most)))

    def values(self, sort: PatientSort, slots: Rows) -> NDArray[np.int64]:
        """Return what each slot is ordered by: the day of birth, or the instant of the last change."""
        own, young = self._columns(sort)
        return self._of(slots, own, young).astype(np.int64)

    def _columns(self, sort: PatientSort) -> tuple[NDArray[Any], NDArray[Any]]:
        if sort is PatientSort.AGE:
            return self.segment.columns.born_first, self.young.born_first
        return self.segment.columns.changed, self.young.changed

    def flags(self, slots: Rows) -> NDArray[np.uint16]:
        """Return the flags in each slot."""
        return self._of(slots, self.segment.columns.flags, self.young.flags)

    def _of(self, slots: Rows, own: NDArray[Any], young: NDArray[Any]) -> NDArray[Any]:
        if not len(young):
            return own[slots]
        here = slots < len(own)
        values = np.empty(len(slots), own.dtype)
        values[here] = own[slots[here]]
        values[~here] = young[slots[~here] - len(own)]
        return values


class Unopened(NamedTuple):
    """What is known of a record that does not open: its version, and when it changed last."""

    version: int
    changed: int


_GAP = struct.Struct(">16sqq")


@dataclass(frozen=True, slots=True, repr=False)
class Part(Confidential):
    """A piece of an index to be kept elsewhere: a leaf, and what is known of records that do not open.

    It never changes, and may be turned into bytes by another thread.
    """

    leaf: Leaf | None
    unopened: Mapping[bytes, Unopened]

    def to_bytes(self) -> bytes:
        """Return the part in one piece, as this machine has it in memory."""
        columns = Columns.concat([]) if self.leaf is None else self.leaf.consolidated()
        gaps = b"".join(_GAP.pack(id_, *seen) for id_, seen in self.unopened.items())
        return b"".join([len(gaps).to_bytes(8, "big"), gaps, columns.to_bytes()])


@dataclass(frozen=True, slots=True, repr=False)
class KeptPart(Confidential):
    """What a part was, read again."""

    columns: Columns
    unopened: Mapping[bytes, Unopened]

    @classmethod
    def of_bytes(cls, frame: bytes | memoryview) -> Self:
        """Return what `Part.to_bytes` was made of, or raise `Unreadable`. Nothing of `frame` is kept."""
        view = memoryview(frame)
        size = int.from_bytes(view[:8], "big")
        if size % _GAP.size or len(view) < 8 + size:
            raise Unreadable
        unopened = {id_: Unopened(*seen) for id_, *seen in _GAP.iter_unpack(view[8 : 8 + size])}
        return cls(Columns.of_bytes(view[8 + size :]), unopened)


def find_rows(text: bytes, starts: memoryview, fragment: bytes, span: tuple[int, int], into: list[int]) -> None:
    """Append the rows in which `fragment` occurs, from the first to the end of `span`, to `into`."""
    row, end = span
    find, high = text.find, starts[end]
    place = find(fragment, starts[row], high)
    while place >= 0:
        row = bisect_right(starts, place, row, end)
        into.append(row - 1)
        place = find(fragment, starts[row], high)
