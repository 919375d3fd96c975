"""How much one name is like another: within a few letters, or by its sound.

Two words are alike if one holds the other, if few letters differ, or if they sound alike:

- *letters*: an optimal string alignment of no edit for words of one or two letters, of one edit up to five, of two
  beyond (the bounds that Elasticsearch calls AUTO; four slips of five are one letter too many, too few, another, or two
  exchanged: Damerau 1964, CACM 7(3)). The length is that of the word that was asked for.
- *sound*: the same Metaphone (Philips 1990) where a quarter of the letters agree, or the same Soundex (Russell 1918)
  where half of them do. Both are made for English; ADR 0036 has what was measured of them. They judge words of the
  letters a to z alone: other scripts are compared by letters.

All words are folded as `fold` does. What is compared is content and is neither kept nor printed.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date
from operator import mul
from typing import Final, Self

import jellyfish
from rapidfuzz.distance import OSA
from rapidfuzz.process import extract

from clarity.domain.likeness import SimilarQuery
from clarity.domain.names import HumanName
from clarity.domain.values import Confidential

WORDS_AT_A_TIME: Final = 1_024
"""So many words are compared with one in well under two milliseconds."""

_SOUNDS_ALIKE: Final = 0.25
_SOUNDS_ALIKE_COARSELY: Final = 0.5
_FRAGMENT: Final = 0.9
"""Whatever is exact stands above whatever is not."""

_MOST_REMEMBERED: Final = 50_000


@dataclass(frozen=True, slots=True, repr=False)
class HeardWord(Confidential):
    """One word of what was asked for, made ready to be compared with many."""

    text: str
    edits: int
    metaphone: str
    soundex: str

    @classmethod
    def of(cls, text: str) -> Self:
        """Return a folded word made ready."""
        edits = 0 if len(text) < 3 else 1 if len(text) < 6 else 2
        sounds = _is_spelt(text)
        return cls(text, edits, _metaphone(text) if sounds else "", jellyfish.soundex(text) if sounds else "")

    def likeness(self, word: str) -> float:
        """Return how much a word is like this one: 1 if it is the same, 0 if they are not alike.

        A word that holds this one has 0.9 and up, the more of it this one is. Another has 0.9 times the share of
        letters that agree; half of what that lacks of 0.9 is made up for if the words sound alike.
        """
        if self.text in word:
            return _FRAGMENT + (1 - _FRAGMENT) * len(self.text) / len(word)
        closeness: float = OSA.normalized_similarity(self.text, word, score_cutoff=_SOUNDS_ALIKE)
        if closeness == 0:
            return 0.0
        if self._sounds_like(word, closeness):
            return _FRAGMENT * (1 + closeness) / 2
        distance = round((1 - closeness) * max(len(self.text), len(word)))
        return _FRAGMENT * closeness if distance <= self.edits else 0.0

    def among(self, words: Sequence[str]) -> dict[str, float]:
        """Return those of some words that are alike, each with its likeness. Takes time in proportion to them."""
        close = extract(self.text, words, scorer=OSA.normalized_similarity, score_cutoff=_SOUNDS_ALIKE, limit=None)
        candidates = {word for word, *_ in close}
        candidates.update(word for word in words if self.text in word)
        return {word: likeness for word in candidates if (likeness := self.likeness(word))}

    def _sounds_like(self, word: str, closeness: float) -> bool:
        if not self.metaphone or not _is_spelt(word):
            return False
        return self.metaphone == _metaphone(word) or (
            closeness >= _SOUNDS_ALIKE_COARSELY and self.soundex == jellyfish.soundex(word)
        )


@dataclass(frozen=True, slots=True, repr=False)
class HeardName(Confidential):
    """A name as it was heard, made ready to be compared with those of many patients.

    What was found of a word is remembered, up to a bound, since the words of names come again and again.
    """

    query: SimilarQuery
    words: tuple[HeardWord, ...]
    _known: dict[str, tuple[float, ...]] = field(default_factory=dict, init=False)

    @classmethod
    def of(cls, query: SimilarQuery) -> Self:
        """Return what was asked made ready."""
        return cls(query, tuple(map(HeardWord.of, query.words)))

    def score(self, names: Iterable[str], first: date, last: date) -> float:
        """Return from 0 to 1 how much a patient with some names, as search texts, and a span of birth is like it.

        The best of the names counts. Of a name, each word that was asked for finds the word most like it, and they
        count by their letters; one that finds none makes it 0. Who has all of them exactly has 0.9 and up, others have
        less. What is below a thousandth is cut off.
        """
        best = max((self._score_of(name) for name in names), default=0.0)
        return math.floor(1_000 * best * self.query.weight_of_birth(first, last)) / 1_000 if best else 0.0

    def score_of(self, names: Iterable[HumanName], first: date, last: date) -> float:
        """Return the same of names as a record has them."""
        return self.score((name.search_text for name in names), first, last)

    def _score_of(self, name: str) -> float:
        found = [self._likeness(word) for word in name.split()]
        best = [max(likenesses) for likenesses in zip(*found, strict=True)]
        return self.weighed(best) if best and all(best) else 0.0

    def weighed(self, best: Sequence[float]) -> float:
        """Return the likeness of a name, given that of the best word for each that was heard."""
        share = 1.0
        if min(best) < _FRAGMENT:
            share = _FRAGMENT
            best = [one if one >= _FRAGMENT else one / _FRAGMENT for one in best]
        letters = [len(word.text) for word in self.words]
        return share * math.fsum(map(mul, best, letters)) / sum(letters)

    def _likeness(self, word: str) -> tuple[float, ...]:
        known = self._known.get(word)
        if known is None:
            if len(self._known) >= _MOST_REMEMBERED:
                self._known.clear()
            known = self._known[word] = tuple(heard.likeness(word) for heard in self.words)
        return known


def _is_spelt(word: str) -> bool:
    """Tell whether a word is of letters that have a sound for the algorithms."""
    return word.isascii() and word.isalpha()


def _metaphone(word: str) -> str:
    """Return the sound of a word, after the two spellings of Vietnamese names that English has another sound for."""
    respelt = "n" + word[2:] if word.startswith("ng") else word
    return jellyfish.metaphone(respelt.replace("uy", "wi"))
