"""Which patients of a leaf a question finds: the sieve first, then their names, then the other conditions."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Self

import numpy as np

from clarity.application.ports.search import Reach
from clarity.domain.patients import PatientStatus
from clarity.domain.people import BirthSex, Gender
from clarity.domain.records import Label
from clarity.domain.values import Confidential
from clarity.search.columns import FLAGS, SEVERAL, Columns, Mask, Rows, flags_of
from clarity.search.grams import ALL_BLOCKS, blocks_with, grams_of, runs
from clarity.search.question import Question
from clarity.search.segments import NO_ROWS, Ids, Leaf, find_rows

_WINDOW = 16
"""How many blocks are searched at a time: a quarter of a segment, in a fraction of a millisecond."""
_FEW_BLOCKS = 4
_FEW_ROWS = 64
_FEW_IDS = 1_024


@dataclass(frozen=True, slots=True, repr=False)
class Matcher(Confidential):
    """A question within a reach, prepared once for all leaves.

    `allowed` and `doubtful` tell of each value of the column `flags` whether it may be found, and whether only if
    somebody judged so; `None` stands for all, and for none.
    """

    question: Question
    grams: tuple[tuple[int, ...], ...]
    allowed: Mask | None
    doubtful: Mask | None
    among: Ids | None

    @classmethod
    def of(cls, question: Question, reach: Reach, among: Ids | None) -> Self:
        """Prepare `question`; `among` are the ids that `reach` is limited to, if it is."""
        allowed, doubtful = np.zeros(FLAGS, np.bool_), np.zeros(FLAGS, np.bool_)
        sexes: tuple[BirthSex | None, ...] = (None, *BirthSex)
        for status, label, gender, birth_sex in product(PatientStatus, Label, Gender, sexes):
            flags = flags_of(status, label, gender, birth_sex)
            is_asked = (
                question.status in {None, status}
                and question.gender in {None, gender}
                and (question.birth_sex is None or question.birth_sex is birth_sex)
            )
            is_free = label in reach.free
            allowed[[flags, flags | SEVERAL]] = is_asked and (is_free or label in reach.judged)
            doubtful[[flags, flags | SEVERAL]] = not is_free
        asks_flags = (
            question.status or question.gender or question.birth_sex or not reach.free.union(reach.judged) >= set(Label)
        )
        return cls(
            question,
            tuple(grams_of(fragment) for fragment in question.fragments),
            allowed if asks_flags else None,
            doubtful if reach.judged - reach.free else None,
            among,
        )

    def doubts(self, leaf: Leaf, slots: Rows) -> Mask | None:
        """Tell which of the slots somebody has to judge; `None` if none of any leaf."""
        return None if self.doubtful is None else self.doubtful[leaf.flags(slots)]

    def blocks(self, leaf: Leaf) -> int:
        """Return the blocks of the leaf's segment, as bits, that may hold all fragments."""
        blocks = ALL_BLOCKS
        for grams in self.grams:
            blocks &= blocks_with(leaf.segment.table, grams)
        return blocks

    def parts(self, leaf: Leaf, *, backwards: bool = False) -> Iterator[Rows]:
        """Yield the slots that match, a part of the leaf at a time, parts and slots in the order of names.

        Backwards, the parts come from the end; the slots in each go upwards all the same.
        """
        segment, size = leaf.segment, len(leaf.segment)
        blocks = self.blocks(leaf) if size else 0
        young = self._in_young(leaf) if len(leaf.young) else NO_ROWS
        if not blocks and not len(young):
            return
        listed = self._listed(leaf) if blocks else None
        rarest = self._rarest(leaf) if blocks else b""
        step = segment.block_rows * _WINDOW
        windows = range(0, max(size, 1), step)
        for low in reversed(windows) if backwards else windows:
            high = min(low + step, size)
            here = blocks >> (low // segment.block_rows) & ((1 << _WINDOW) - 1)
            rows = self._in_window(leaf, (low, high), here, rarest, listed) if here and high > low else NO_ROWS
            if len(young):
                ahead = leaf.before[young]
                rows = leaf.in_order(rows, young[(ahead >= low) & ((ahead < high) | (high == size))])
            yield rows

    def having(self, leaf: Leaf, slots: Rows) -> Rows:
        """Return those of the slots whose names match: for a few, of whom everything else is known to match."""
        return np.array([slot for slot in slots.tolist() if self._is_named(*leaf.at(slot))], np.intp)

    def meeting(self, leaf: Leaf, slots: Rows) -> Rows:
        """Return those of the slots that meet all conditions but the name."""
        if not len(leaf.young):
            return self._kept(leaf.segment.columns, leaf.hidden, slots, by_id=True)
        size = len(leaf.segment)
        here = slots < size
        kept = np.zeros(size + len(leaf.young), np.bool_)
        kept[self._kept(leaf.segment.columns, leaf.hidden, slots[here], by_id=True)] = True
        kept[self._kept(leaf.young, None, slots[~here] - size, by_id=True) + size] = True
        return slots[kept[slots]]

    def _rarest(self, leaf: Leaf) -> bytes:
        """Return the fragment that the fewest blocks may hold."""
        counts = [blocks_with(leaf.segment.table, grams).bit_count() for grams in self.grams]
        return self.question.fragments[counts.index(min(counts))] if counts else b""

    def _in_young(self, leaf: Leaf) -> Rows:
        fragments = self.question.fragments
        if any(fragment not in leaf.young.text for fragment in fragments):
            return NO_ROWS
        rows = self._kept(leaf.young, None, np.arange(len(leaf.young)), by_id=True)
        return np.array([row for row in rows.tolist() if self._is_named(leaf.young, row)], np.intp)

    def _listed(self, leaf: Leaf) -> Rows | None:
        """Return the rows of the segment whose ids are asked for, if these are so few that it pays to look them up."""
        if self.among is None or len(self.among) > _FEW_IDS:
            return None
        rows = leaf.segment.ids.places_of(self.among.head, self.among.tail)
        rows = rows[rows >= 0]
        rows.sort()
        return rows

    def _in_window(
        self, leaf: Leaf, window: tuple[int, int], blocks: int, fragment: bytes, listed: Rows | None
    ) -> Rows:
        """Return the rows of a window that match. `fragment` is the one to look for, `listed` those with the ids."""
        columns, fragments = leaf.segment.columns, self.question.fragments
        if listed is not None:
            rows = listed[(listed >= window[0]) & (listed < window[1])]
            rows = self._kept(columns, leaf.hidden, rows, by_id=False)
            return self._named(columns, rows, fragments)
        if not fragments:
            return self._kept(columns, leaf.hidden, np.arange(*window), by_id=True)
        others = fragments if len(fragments) > 1 else ()
        if blocks.bit_count() <= _FEW_BLOCKS:
            rows = self._by_blocks(leaf, window, blocks, fragment)
            return self._kept(columns, leaf.hidden, self._named(columns, rows, others), by_id=True)
        if self._narrows:
            rows = self._kept(columns, leaf.hidden, np.arange(*window), by_id=False)
            if len(rows) <= _FEW_ROWS:
                return self._kept(columns, None, self._named(columns, rows, fragments), by_id=True)
        rows = _rows_with(columns, fragment, window)
        return self._named(columns, self._kept(columns, leaf.hidden, rows, by_id=True), others)

    @property
    def _narrows(self) -> bool:
        return self.allowed is not None or self.question.asks_birth

    def _by_blocks(self, leaf: Leaf, window: tuple[int, int], blocks: int, fragment: bytes) -> Rows:
        text, starts, size = leaf.segment.columns.text, leaf.segment.starts, leaf.segment.block_rows
        rows: list[int] = []
        for first, end in runs(blocks):
            span = window[0] + first * size, min(window[0] + end * size, window[1])
            if span[0] < span[1]:
                rows += find_rows(text, starts, fragment, span)
        return np.array(rows, np.intp)

    def _kept(self, columns: Columns, hidden: Mask | None, rows: Rows, *, by_id: bool) -> Rows:
        """Return those of the rows that meet the conditions apart from the name."""
        if hidden is not None and len(rows):
            rows = rows[~hidden[rows]]
        if self.allowed is not None and len(rows):
            rows = rows[self.allowed[columns.flags[rows]]]
        if self.question.asks_birth and len(rows):
            rows = rows[columns.born_first[rows] <= self.question.born_by]
            rows = rows[columns.born_last[rows] >= self.question.born_since]
        if by_id and self.among is not None and len(rows):
            rows = rows[self.among.places_of(columns.head[rows], columns.tail[rows]) >= 0]
        return rows

    def _named(self, columns: Columns, rows: Rows, fragments: Sequence[bytes]) -> Rows:
        if not fragments or not len(rows):
            return rows
        return np.array([row for row in rows.tolist() if self._is_named(columns, row)], np.intp)

    def _is_named(self, columns: Columns, row: int) -> bool:
        text, fragments = columns.row_text(row), self.question.fragments
        if len(fragments) == 1 or not columns.flags[row] & SEVERAL:
            return all(fragment in text for fragment in fragments)
        return any(all(fragment in name for fragment in fragments) for name in text.split(b"\xfe"))


def _rows_with(columns: Columns, fragment: bytes, window: tuple[int, int]) -> Rows:
    """Return the rows from the first to the end of `window` in which `fragment` occurs, where many of them do."""
    starts = columns.starts[window[0] : window[1] + 1]
    letters = np.frombuffer(columns.text, np.uint8)[starts[0] : starts[-1]]
    size = len(letters) - len(fragment) + 1
    if size <= 0:
        return NO_ROWS
    hits = letters[:size] == fragment[0]
    for place, letter in enumerate(fragment[1:], 1):
        hits &= letters[place : place + size] == letter
    places = np.flatnonzero(hits).astype(np.uint32) + starts[0]
    rows: Rows = np.searchsorted(starts, places, side="right") + (window[0] - 1)
    return rows[np.flatnonzero(np.diff(rows, prepend=-1))]
