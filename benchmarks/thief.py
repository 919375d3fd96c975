"""A thief's attack on tokens of names, without any key.

The thief has a snapshot: for each patient a set of opaque tokens. They know how names are distributed, as anybody does
who has a census. Equal trigrams have equal tokens, so how often a token occurs, and together with which others, gives
away which trigram it stands for:

1. Tokens and trigrams are described by what does not depend on their labels: how often they occur, and how often
   together with their most frequent companions. The most frequent of those that are each other's best match are the
   first anchors.
2. Each token is compared with each trigram by how often it occurs together with the anchors, in units of what chance
   would do (the square roots of counts). The pairs that are each other's best match are the next anchors, more each
   time. So errors are corrected on the way, and in the end all that can be told apart have been matched.
3. What became of a patient's tokens is compared with the trigrams of every given and family name.

The thief states a name only where it explains what they made of the patient's tokens: of the trigrams on either side,
at least `CERTAIN` are on both. A name counts as read if it was stated and is the patient's whole name.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

CERTAIN = 0.75
_MOST_TOKENS = 4_000
_COMPANIONS = 40
_FIRST_ANCHORS = 30
_ROUNDS = 16
_CANDIDATES = 5

Matrix: TypeAlias = npt.NDArray[np.float64]
Places: TypeAlias = npt.NDArray[np.int64]
Name: TypeAlias = tuple[str, str]
"""Given name and family name, folded."""


def trigrams_of(name: str) -> frozenset[str]:
    """Return the trigrams of a folded name as `pg_trgm` has them: two spaces before each word, and one behind it."""
    padded = [f"  {word} " for word in name.split()]
    return frozenset(word[start : start + 3] for word in padded for start in range(len(word) - 2))


@dataclass(frozen=True, slots=True)
class Distribution:
    """What the thief knows: given and family names, folded, and what share of people has each."""

    given: Sequence[str]
    given_shares: Matrix
    family: Sequence[str]
    family_shares: Matrix


class Thief:
    """Knows a distribution of names, and reads what they can of tokens."""

    def __init__(self, known: Distribution) -> None:
        """Work out how often each trigram occurs, and each two of them together."""
        self.known = known
        names = [*known.given, *known.family]
        trigrams = {gram: place for place, gram in enumerate(sorted({g for name in names for g in trigrams_of(name)}))}
        self._given, self._family = (_membership(kind, trigrams) for kind in (known.given, known.family))
        self._together = _expected(self._given, known.given_shares, self._family, known.family_shares)

    def names(self, tokens: Sequence[frozenset[bytes]]) -> list[Name | None]:
        """Return for each patient the name that the thief states, if they state one.

        A token that one patient alone has occurs no more often than any other such, and there is nothing to match.
        """
        counts = Counter(token for some in tokens for token in some)
        frequent = sorted(
            (token for token, count in counts.items() if count > 1), key=lambda token: (-counts[token], token)
        )
        places = {token: place for place, token in enumerate(frequent[:_MOST_TOKENS])}
        held = [np.array(sorted(places[token] for token in some if token in places), dtype=np.int64) for some in tokens]
        if not places:
            return [None] * len(tokens)
        meaning = _matched(_observed(held, len(places)), self._together * len(tokens))
        explained: dict[bytes, Name | None] = {}
        for some in held:
            if some.tobytes() not in explained:
                explained[some.tobytes()] = self._explained(meaning[some])
        return [explained[some.tobytes()] for some in held]

    def _explained(self, meanings: Places) -> Name | None:
        """Return the name that explains some trigrams, if there is one that does."""
        decoded = np.zeros(len(self._together))
        decoded[meanings[meanings >= 0]] = 1
        best, stated = CERTAIN, None
        for given in _likeliest(decoded, self._given):
            for family in _likeliest(decoded, self._family):
                needed = np.maximum(self._given[:, given], self._family[:, family])
                share = np.minimum(needed, decoded).sum() / np.maximum(needed, decoded).sum()
                if share >= best:
                    best, stated = share, (self.known.given[given], self.known.family[family])
        return stated


def _membership(names: Sequence[str], trigrams: Mapping[str, int]) -> Matrix:
    """Return 1 for each trigram (rows) that a name (columns) has."""
    members = np.zeros((len(trigrams), len(names)))
    for column, name in enumerate(names):
        members[[trigrams[gram] for gram in trigrams_of(name)], column] = 1
    return members


def _expected(given: Matrix, given_shares: Matrix, family: Matrix, family_shares: Matrix) -> Matrix:
    """Return the share of people whose whole name has each two trigrams; on the diagonal, each one."""
    lacking: Matrix = np.ones(len(given))
    neither = np.ones((len(given), len(given)))
    for members, shares in ((given, given_shares), (family, family_shares)):
        both = (members * shares) @ members.T
        has = np.diag(both)
        neither = neither * (1 - has[:, None] - has[None, :] + both)
        lacking = lacking * (1 - has)
    together: Matrix = 1 - lacking[:, None] - lacking[None, :] + neither
    return np.maximum(together, 0)


def _observed(held: Sequence[Places], count: int) -> Matrix:
    """Return how many patients have each two tokens; on the diagonal, each one."""
    seen = np.zeros((count, count))
    for some in held:
        seen[np.ix_(some, some)] += 1
    return seen


def _matched(seen: Matrix, expected: Matrix) -> Places:
    """Return the place of the trigram that each token is taken for, -1 for none."""
    frequent, roots, expected_roots = np.diag(seen), np.sqrt(seen), np.sqrt(expected)
    likeness = 20 * _distances(_companions(seen), _companions(expected))
    apart = 2 * (np.diag(roots)[:, None] - np.diag(expected_roots)[None, :])
    tokens, grams = _mutual(likeness + 0.5 * apart**2 / (1 + 0.02 * frequent[:, None]), frequent, _FIRST_ANCHORS)
    for number in range(_ROUNDS):
        rows = np.hstack([roots[:, tokens], np.diag(roots)[:, None]])
        columns = np.hstack([expected_roots[:, grams], np.diag(expected_roots)[:, None]])
        most = _FIRST_ANCHORS + (len(seen) - _FIRST_ANCHORS) * (number + 1) // _ROUNDS
        tokens, grams = _mutual(_distances(rows, columns), frequent, most)
    meaning = np.full(len(seen), -1, dtype=np.int64)
    meaning[tokens] = grams
    return meaning


def _companions(together: Matrix) -> Matrix:
    """Return for each row how likely its most frequent companions are beside it, the likeliest first."""
    beside = together / np.maximum(np.diag(together), 1e-9)[:, None]
    np.fill_diagonal(beside, 0)
    found = np.zeros((len(together), _COMPANIONS))
    likeliest = -np.sort(-beside, axis=1)[:, :_COMPANIONS]
    found[:, : likeliest.shape[1]] = likeliest
    return found


def _distances(rows: Matrix, columns: Matrix) -> Matrix:
    """Return the square of the distance of each row to each of `columns`."""
    distances: Matrix = (rows**2).sum(1)[:, None] + (columns**2).sum(1)[None, :] - 2 * rows @ columns.T
    return distances


def _mutual(cost: Matrix, frequent: Matrix, most: int) -> tuple[Places, Places]:
    """Return the pairs that are each other's best match, those of the most frequent tokens."""
    best = cost.argmin(axis=1)
    tokens = np.flatnonzero(cost.argmin(axis=0)[best] == np.arange(len(best)))
    chosen = tokens[np.argsort(-frequent[tokens], kind="stable")][: max(most, 1)]
    return chosen, best[chosen]


def _likeliest(decoded: Matrix, members: Matrix) -> Places:
    """Return the places of the names of which the greatest shares were decoded."""
    return np.argsort(-(decoded @ members) / members.sum(axis=0), kind="stable")[:_CANDIDATES]
