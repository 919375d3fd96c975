"""The first few of many by age or last change, and the bounds outside which nobody can be one of them any more."""

from typing import NamedTuple

import numpy as np

from clarity.domain.patients import sort_key
from clarity.search.columns import Mask, Rows, key_of
from clarity.search.question import Question
from clarity.search.segments import Leaf

_LEAST, _MOST = -(2**62), 2**62


class Ranked(NamedTuple):
    """Somebody who matches, as they compare with others; the least comes first."""

    value: int
    turn: int
    """When their leaf had its turn."""
    position: int
    """Which of their leaf they are in the order of names, the one in which turns are taken."""
    leaf: int
    slot: int


class Ranking:
    """The first `most` behind a sort key `after`, out of leaves that take turns in the order of names.

    Descending, everything is the other way round, the order of names among those of one age included.
    """

    def __init__(self, question: Question, after: tuple[str, ...] | None, most: int) -> None:
        self._sort, self._descending, self._most = question.sort, question.descending, most
        self._first: list[Ranked] = []
        self.key = None if after is None else key_of_cursor(after)
        """The place of `after` in the order of names."""
        # Texts of keys are complements to a number, which is the text for nought.
        nought = int(sort_key(question.sort, ("", "", ""), 0, 0)[0])
        self._cursor = None if after is None else nought - int(after[0])

    @property
    def places(self) -> list[tuple[int, int]]:
        """The first of those added, leaf and slot, in order."""
        return [(one.leaf, one.slot) for one in self._first]

    @property
    def bounds(self) -> tuple[int, int]:
        """The least and the greatest value somebody can have who is to be one of the first."""
        least, most = _LEAST, _MOST
        if self._cursor is not None:
            least, most = (self._cursor, most) if self._descending else (least, self._cursor)
        if len(self._first) < self._most:
            return least, most
        # Of those with the value of the last, whoever comes now comes after it.
        last = self._first[-1].value
        return (least, last - 1) if self._descending else (1 - last, most)

    def behind(self, leaf: Leaf, slots: Rows, against: int) -> Rows:
        """Return those of the slots, all within the bounds, that are behind the cursor.

        `against` tells whether the leaf comes before (negative), holds or comes after the cursor in the order of names.
        """
        if self.key is None or self._cursor is None or not len(slots):
            return slots
        ties: Mask = leaf.values(self._sort, slots) == self._cursor
        if not ties.any():
            return slots
        if against:
            return slots if (against > 0) is not self._descending else slots[~ties]
        is_behind = leaf.is_behind(slots, self.key, descending=self._descending)
        return slots[~ties | is_behind]

    def ranked(self, leaf: Leaf, place: int, slots: Rows, doubts: Mask | None) -> tuple[list[Ranked], list[Ranked]]:
        """Return the first of the slots of the leaf at `place`, in order, and the doubtful ones between them."""
        values = leaf.values(self._sort, slots)
        if self._descending:
            slots, values = slots[::-1], values[::-1]
            doubts = None if doubts is None else doubts[::-1]
        else:
            values = -values
        order = np.argsort(values, kind="stable")
        is_doubtful = np.zeros(len(order), np.bool_) if doubts is None else doubts[order]
        free = np.flatnonzero(~is_doubtful)[: self._most]
        end = free[-1] if len(free) == self._most else len(order)
        doubtful = np.flatnonzero(is_doubtful[:end])
        turn = -place if self._descending else place

        def built(some: Rows) -> list[Ranked]:
            chosen = order[some]
            triples = zip(values[chosen].tolist(), chosen.tolist(), slots[chosen].tolist(), strict=True)
            return [Ranked(value, turn, position, place, slot) for value, position, slot in triples]

        return built(free), built(doubtful)

    def wants(self, one: Ranked) -> bool:
        """Tell whether somebody would be one of the first."""
        return len(self._first) < self._most or one < self._first[-1]

    def add(self, some: list[Ranked]) -> None:
        """Let some in, as far as they are of the first."""
        if some:
            self._first = sorted(self._first + some)[: self._most]


def key_of_cursor(after: tuple[str, ...]) -> bytes:
    """Return the place of a sort key of any order in the order of names."""
    family, given, patient = after[-3:]
    return key_of(family, given, bytes.fromhex(patient))
