"""What is asked when a name was heard, and not read: whose name is like it."""

import json
from dataclasses import dataclass, field
from datetime import date
from typing import Final

from clarity.domain.dates import PartialDate
from clarity.domain.errors import Invalid
from clarity.domain.names import fold
from clarity.domain.patients import Patient
from clarity.domain.values import Confidential, require_text

MOST_ALIKE: Final = 50
"""How many patients are shown at most: whoever would read on does better to ask for the date of birth."""

MAX_WORDS: Final = 10

# No two words that are alike have less than 0.56, so that whoever was born otherwise comes after all who were not.
_BORN_NEARLY: Final = 0.55
_BORN_OTHERWISE: Final = 0.5


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class SimilarQuery(Confidential):
    """A name as it was heard, and the date of birth as far as it is known, which decides between those alike.

    Each of `words` has to be like a word of one and the same name of a patient.
    """

    name: str
    born: PartialDate | None = None
    words: tuple[str, ...] = field(default=(), init=False, compare=False)
    """The words of the name, folded, each once."""

    def __post_init__(self) -> None:
        """Raise `Invalid` if there is nothing that a name could be compared with, or more than a name has."""
        require_text("name", self.name, at_most=200)
        folded = fold(self.name).split()
        words = tuple(dict.fromkeys(word for word in folded if any(map(str.isalnum, word))))
        if not words:
            raise Invalid("name", "must have a letter")
        if len(words) > MAX_WORDS:
            raise Invalid("name", f"must have at most {MAX_WORDS} words")
        object.__setattr__(self, "words", words)

    @property
    def normalised(self) -> bytes:
        """What is asked, in one spelling for each meaning, which is never that of a search by fragments."""
        asked = {"alike": " ".join(sorted(self.words)), "born": str(self.born or "")}
        return json.dumps(asked, sort_keys=True, ensure_ascii=False).encode()

    def weight_of_birth(self, first: date, last: date) -> float:
        """Return what a birth between two days, both included, leaves of the likeness of the names.

        1 where it can be the one asked for, or none is; 0.55 where one of year, month and day differs, or month and day
        are exchanged; 0.5 otherwise.
        """
        if self.born is None or (self.born.first <= last and first <= self.born.last):
            return 1.0
        asked = self.born.first
        if first != last or asked != self.born.last:
            return _BORN_OTHERWISE
        differing = (asked.year != first.year) + (asked.month != first.month) + (asked.day != first.day)
        exchanged = (asked.year, asked.month, asked.day) == (first.year, first.day, first.month)
        return _BORN_NEARLY if differing == 1 or exchanged else _BORN_OTHERWISE


@dataclass(frozen=True, slots=True)
class Resembling:
    """A patient whose name is like the one that was heard, and how much, up to 1."""

    patient: Patient
    score: float
