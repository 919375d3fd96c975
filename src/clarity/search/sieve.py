"""Which blocks of all segments can hold a fragment, asked of all of them at once."""

from collections.abc import Sequence
from operator import is_
from typing import Final

import numpy as np
from numpy.typing import NDArray

from clarity.domain.values import Confidential
from clarity.search.grams import ALL_BLOCKS

MOST_KEPT: Final = 2_048
"""Of so many grams it is remembered where they occur: with a million patients, a thousand bytes for each."""


class Sieve(Confidential):
    """The tables of some segments, in their order. Segments do not change; where they do, there is another sieve."""

    def __init__(self, tables: Sequence[memoryview]) -> None:
        """Ask `tables`, each of which has the blocks of one segment for each gram."""
        self._tables = tables
        self._kept: dict[int, NDArray[np.uint64]] = {}

    @property
    def memory(self) -> int:
        """How many bytes it takes beside the tables."""
        return 8 * len(self._tables) * len(self._kept)

    def is_of(self, tables: Sequence[memoryview]) -> bool:
        """Tell whether these are the very tables that are asked."""
        return len(tables) == len(self._tables) and all(map(is_, tables, self._tables))

    def blocks_with(self, grams: Sequence[int]) -> list[int]:
        """Return of each segment the blocks in which all `grams` occur, as bits: all blocks if there are no grams."""
        if not grams or not self._tables:
            return [ALL_BLOCKS] * len(self._tables)
        blocks: list[int] = np.bitwise_and.reduce([self._blocks(gram) for gram in grams]).tolist()
        return blocks

    def _blocks(self, gram: int) -> NDArray[np.uint64]:
        kept = self._kept.get(gram)
        if kept is None:
            if len(self._kept) >= MOST_KEPT:
                self._kept.clear()
            kept = self._kept[gram] = np.array([table[gram] for table in self._tables], np.uint64)
        return kept
