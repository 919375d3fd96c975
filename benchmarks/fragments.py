"""The 64 fragments of names that are looked for, chosen from the names by a rule."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from itertools import islice, product
from string import ascii_lowercase, digits

import numpy as np
import numpy.typing as npt

from benchmarks.people import FAMILY, GIVEN, SEED, People, Table
from clarity.domain.names import fold

LONGEST = 8
_EACH = 2
_FULL_NAMES = LONGEST * _EACH


class FragmentClass(StrEnum):
    """Why a fragment is in the list."""

    COMMON = "common"
    RARE = "rare"
    ABSENT = "absent"
    FULL_NAME = "full name"


@dataclass(frozen=True, slots=True)
class Fragment:
    """What is typed into the search field, and how many people have it in their name."""

    text: str
    kind: FragmentClass
    patients: int

    @property
    def words(self) -> list[str]:
        return self.text.split()


def fragments_among(people: People, seed: int = SEED) -> list[Fragment]:
    """Choose sixteen fragments of each class, for the first three two of each length from 1 to 8.

    Common: the two that most people have. Rare: of those that somebody has, the one that fewest have, and the one at
    the lowest tenth; the first in the alphabet where several are equally rare. Absent: a common fragment with its last
    letter mistyped so that nobody has it; of a single letter, which everybody's names have, a digit. Full name: given
    and family name of at most eight letters with the space, drawn by the seed.
    """
    pairs = people.pairs()
    counts = _counts(pairs)
    chosen: list[Fragment] = []
    for length in range(1, LONGEST + 1):
        present = sorted(
            (text for text, count in counts.items() if len(text) == length and count),
            key=lambda text: (counts[text], text),
        )
        common = present[: -_EACH - 1 : -1]
        chosen += [Fragment(text, FragmentClass.COMMON, counts[text]) for text in common]
        chosen += [
            Fragment(text, FragmentClass.RARE, counts[text]) for text in (present[0], present[len(present) // 10 or 1])
        ]
        absent = islice((text for text in _mistyped(reversed(present)) if not counts.get(text)), _EACH)
        chosen += [Fragment(text, FragmentClass.ABSENT, 0) for text in absent]
    chosen += _full_names(pairs, seed)
    return sorted(chosen, key=lambda fragment: list(FragmentClass).index(fragment.kind))


def _counts(pairs: npt.NDArray[np.int64]) -> dict[str, int]:
    """Return how many people have each fragment in one of their names, or would if they had other names."""
    given, family = _holders(GIVEN), _holders(FAMILY)
    of_given, of_family = pairs.sum(axis=1), pairs.sum(axis=0)
    counts = {}
    for text in given.keys() | family.keys():
        rows, columns = given.get(text, []), family.get(text, [])
        both = pairs[np.ix_(rows, columns)].sum() if rows and columns else 0
        counts[text] = int(of_given[rows].sum() + of_family[columns].sum() - both)
    return counts


def _holders(table: Table) -> dict[str, list[int]]:
    """Return for each fragment the places of the names that have it."""
    holders: dict[str, list[int]] = {}
    for place, name in enumerate(table.names):
        for part in {*_parts(fold(name))}:
            holders.setdefault(part, []).append(place)
    return holders


def _parts(name: str) -> Iterator[str]:
    for length, start in product(range(1, LONGEST + 1), range(len(name))):
        if start + length <= len(name) and " " not in (part := name[start : start + length]):
            yield part


def _mistyped(texts: Iterator[str]) -> Iterator[str]:
    for text in texts:
        if len(text) == 1:
            yield from digits
        else:
            # One for each text, or both would be the same but for a letter.
            yield text[:-1] + ascii_lowercase[-1 - sum(text.encode()) % 8]


def _full_names(pairs: npt.NDArray[np.int64], seed: int) -> list[Fragment]:
    found = []
    for row, column in zip(*np.nonzero(pairs), strict=True):
        text = fold(f"{GIVEN.names[row]} {FAMILY.names[column]}")
        if len(text) <= LONGEST:
            found.append(Fragment(text, FragmentClass.FULL_NAME, int(pairs[row, column])))
    drawn = np.random.default_rng(seed).permutation(len(found))[:_FULL_NAMES]
    return sorted((found[position] for position in drawn), key=lambda fragment: fragment.text)
