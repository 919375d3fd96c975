"""Which patients of a leaf a question finds: the sieve first, then their names, then the other conditions."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Self

import numpy as np

from clarity.application.ports.search import Reach
from clarity.domain.records import Label
from clarity.domain.values import Confidential
from clarity.search.columns import SEVERAL, Columns, Mask, Rows, flags_with
from clarity.search.grams import blocks_with, grams_of, runs
from clarity.search.question import Question
from clarity.search.segments import NO_ROWS, Ids, Leaf, find_rows

_WINDOW = 16
"""How many blocks are searched at a time: a quarter of a segment, in a fraction of a millisecond."""
# Up to here, looking for each occurrence is faster than comparing everything; and beyond so many blocks in a row, or so
# many to look at before any other condition, it is not.
_SOME_BLOCKS = 32
_LONG_RUN = 5
FEW_BLOCKS: Final = 6
FEW_ROWS: Final = 256
"""So few rows are rather compared one by one."""

_FEW_IDS = 1_024


@dataclass(frozen=True, slots=True, repr=False)
class Matcher(Confidential):
    """A question within a reach, prepared once for all leaves.

    `allowed` and `doubtful` tell of each value of the column `flags` whether it may be found, and whether only if
    somebody judged so; `None` stands for all, and for none.
    """

    question: Question
    grams: tuple[int, ...]
    grams_of: Mapping[bytes, tuple[int, ...]]
    allowed: Mask | None
    doubtful: Mask | None
    among: Ids | None

    @classmethod
    def of(cls, question: Question, reach: Reach, among: Ids | None) -> Self:
        """Prepare `question`; `among` are the ids that `reach` is limited to, if it is."""
        asked = (question.status, question.gender, question.birth_sex)
        conditions = [flags_with(member) for member in asked if member is not None]
        if len(reach.free | reach.judged) < len(Label):
            conditions.append(flags_with(*reach.free, *reach.judged))
        judged = reach.judged - reach.free
        return cls(
            question,
            tuple(dict.fromkeys(gram for fragment in question.fragments for gram in grams_of(fragment))),
            {fragment: grams_of(fragment) for fragment in question.fragments},
            np.logical_and.reduce(conditions) if conditions else None,
            flags_with(*judged) if judged else None,
            among,
        )

    def doubts(self, leaf: Leaf, slots: Rows) -> Mask | None:
        """Tell which of the slots somebody has to judge; `None` if none of any leaf."""
        return None if self.doubtful is None else self.doubtful[leaf.flags(slots)]

    def parts(self, leaf: Leaf, blocks: int, *, backwards: bool = False) -> Iterator[Rows]:
        """Yield the slots that match, a part of the leaf at a time, parts and slots in the order of names.

        `blocks` are those that may hold all fragments. Backwards, the parts come from the end; the slots in each go
        upwards all the same.
        """
        young = self._in_young(leaf) if len(leaf.young) else NO_ROWS
        size, step = len(leaf.segment), leaf.segment.block_rows * _WINDOW
        meeting = self._meeting(leaf) if size and blocks and self._pays_first(blocks) else None
        rows = self._at_once(leaf, blocks, meeting) if size and blocks else NO_ROWS
        if rows is not None:
            yield leaf.in_order(rows, young)
            return
        windows = range(0, size, step)
        for low in reversed(windows) if backwards else windows:
            high = min(low + step, size)
            here = blocks >> (low // leaf.segment.block_rows) & ((1 << _WINDOW) - 1)
            rows = self._in_window(leaf, (low, high), meeting) if here else NO_ROWS
            if len(young):
                ahead = leaf.before[young]
                rows = leaf.in_order(rows, young[(ahead >= low) & ((ahead < high) | (high == size))])
            yield rows

    def having(self, leaf: Leaf, slots: Rows) -> Rows:
        """Return those of the slots whose names match: for a few, of whom everything else is known to match."""
        if not len(leaf.young):
            return self._named(leaf.segment.columns, slots, self.question.fragments)
        return np.array([slot for slot in slots.tolist() if self._is_named(*leaf.at(slot))], np.intp)

    def meeting(self, leaf: Leaf, slots: Rows) -> Rows:
        """Return those of the slots that meet all conditions but the name."""
        if not len(leaf.young):
            return self._kept(leaf.segment.columns, leaf.hidden, slots)
        size = len(leaf.segment)
        here = slots < size
        kept = np.zeros(size + len(leaf.young), np.bool_)
        kept[self._kept(leaf.segment.columns, leaf.hidden, slots[here])] = True
        kept[self._kept(leaf.young, None, slots[~here] - size) + size] = True
        return slots[kept[slots]]

    def _pays_first(self, blocks: int) -> bool:
        """Tell whether it pays to look at the other conditions before names: they are quick, and leave few."""
        narrows = self.allowed is not None or self.question.asks_birth
        return narrows and not self._is_listed and blocks.bit_count() > FEW_BLOCKS

    @property
    def _is_listed(self) -> bool:
        """Whether ids are asked for, and so few that it pays to look up each of them."""
        return self.among is not None and len(self.among) <= _FEW_IDS

    def _in_young(self, leaf: Leaf) -> Rows:
        fragments = self.question.fragments
        if any(fragment not in leaf.young.text for fragment in fragments):
            return NO_ROWS
        rows = self._kept(leaf.young, None, np.arange(len(leaf.young)))
        return self._named(leaf.young, rows, fragments)

    def _at_once(self, leaf: Leaf, blocks: int, meeting: Mask | None) -> Rows | None:
        """Return the rows of the segment that match, if few come into question; `None` if it has to be searched.

        `meeting` tells which rows meet the conditions apart from names and ids, where that is known.
        """
        columns, fragments = leaf.segment.columns, self.question.fragments
        if self.among is not None and self._is_listed:
            rows = leaf.segment.ids.places_of(self.among.head, self.among.tail)
            rows = rows[rows >= 0]
            rows.sort()
            return self._named(columns, self._kept(columns, leaf.hidden, rows), fragments)
        if meeting is not None and np.count_nonzero(meeting) <= FEW_ROWS:
            return self._named(columns, self._members(columns, np.flatnonzero(meeting)), fragments)
        if fragments and blocks.bit_count() <= _SOME_BLOCKS:
            rows = self._in_blocks(leaf, blocks)
            return self._kept(columns, leaf.hidden, rows) if len(rows) else rows
        return None

    def _in_blocks(self, leaf: Leaf, blocks: int) -> Rows:
        """Return the rows in which all fragments occur, looking for one of them in some blocks."""
        columns, starts, size = leaf.segment.columns, leaf.segment.starts, leaf.segment.block_rows
        fragment, fragments = self._rarest(leaf), self.question.fragments
        rows: list[int] = []
        for first, end in runs(blocks):
            span = first * size, min(end * size, len(starts) - 1)
            if end - first < _LONG_RUN:
                find_rows(columns.text, starts, fragment, span, rows)
            else:
                rows += _rows_with(columns, fragment, span).tolist()
        found = np.array(rows, np.intp) if rows else NO_ROWS
        return self._named(columns, found, fragments) if len(fragments) > 1 else found

    def _in_window(self, leaf: Leaf, window: tuple[int, int], meeting: Mask | None) -> Rows:
        """Return the rows of a window that match."""
        columns, fragments = leaf.segment.columns, self.question.fragments
        rows = _rows_with(columns, self._rarest(leaf), window) if fragments else np.arange(*window)
        rows = (
            self._kept(columns, leaf.hidden, rows) if meeting is None else self._members(columns, rows[meeting[rows]])
        )
        return self._named(columns, rows, fragments) if len(fragments) > 1 else rows

    def _rarest(self, leaf: Leaf) -> bytes:
        """Return the fragment that the fewest blocks may hold."""
        fragments = self.question.fragments
        if len(fragments) < 2:
            return fragments[0] if fragments else b""
        table = leaf.segment.table
        return min(fragments, key=lambda fragment: blocks_with(table, self.grams_of[fragment]).bit_count())

    def _meeting(self, leaf: Leaf) -> Mask:
        """Tell of every row of the segment whether it meets the conditions apart from names and ids."""
        columns = leaf.segment.columns
        meeting = columns.born_first <= self.question.born_by
        if self.question.asks_birth:
            meeting &= columns.born_last >= self.question.born_since
        if self.allowed is not None:
            meeting &= self.allowed[columns.flags]
        if leaf.hidden is not None:
            meeting &= ~leaf.hidden
        return meeting

    def _kept(self, columns: Columns, hidden: Mask | None, rows: Rows) -> Rows:
        """Return those of the rows that meet the conditions apart from the name."""
        if hidden is not None and len(rows):
            rows = rows[~hidden[rows]]
        if self.allowed is not None and len(rows):
            rows = rows[self.allowed[columns.flags[rows]]]
        if self.question.asks_birth and len(rows):
            rows = rows[columns.born_first[rows] <= self.question.born_by]
            rows = rows[columns.born_last[rows] >= self.question.born_since]
        return self._members(columns, rows)

    def _members(self, columns: Columns, rows: Rows) -> Rows:
        """Return those of the rows whose ids are asked for."""
        if self.among is None or not len(rows):
            return rows
        return rows[self.among.places_of(columns.head[rows], columns.tail[rows]) >= 0]

    def _named(self, columns: Columns, rows: Rows, fragments: Sequence[bytes]) -> Rows:
        """Return those of the rows in which all fragments occur in one name."""
        if not fragments or not len(rows):
            return rows
        if len(fragments) > 1:
            return np.array([row for row in rows.tolist() if self._is_named(columns, row)], np.intp)
        find, fragment = columns.text.find, fragments[0]
        spans = zip(rows.tolist(), columns.starts[rows].tolist(), columns.starts[rows + 1].tolist(), strict=True)
        return np.array([row for row, start, end in spans if find(fragment, start, end) >= 0], np.intp)

    def _is_named(self, columns: Columns, row: int) -> bool:
        text, fragments = columns.row_text(row), self.question.fragments
        for fragment in fragments:
            if fragment not in text:
                return False
        if not columns.flags[row] & SEVERAL:
            return True
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
    is_next = np.ones(len(rows), np.bool_)
    np.not_equal(rows[1:], rows[:-1], out=is_next[1:])
    return rows[is_next]
