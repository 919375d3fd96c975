"""What somebody looks for in texts: words, phrases, and beginnings of words."""

import re
from dataclasses import dataclass
from typing import Final, NamedTuple, Self
from unicodedata import normalize

from clarity.domain.errors import Invalid
from clarity.domain.values import Confidential, require_text

MAX_QUERY: Final = 200
MAX_TERMS: Final = 16

_PIECE = re.compile(r'"([^"]*)"?|([^\s"]+)')
_SHORTEST_BEGINNING: Final = 2
_ONE_TYPO_FROM: Final = 5
_TWO_TYPOS_FROM: Final = 8


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Term(Confidential):
    """One thing that a text must have: a word or several in a row, or with `begins` a word that begins so.

    A `quoted` one is taken as it is spelt; others may be misspelt in the text, or here.
    """

    text: str
    begins: bool = False
    quoted: bool = False

    @property
    def typos(self) -> int:
        """How many letters may be missing, wrong, too many or in the wrong order.

        One from five letters on, two from eight. What Elasticsearch calls AUTO begins with three and six, and turns
        too many short words into others. In what has digits, such as a dose or a code, nothing is forgiven.
        """
        if self.quoted or self.begins or not self.text.isalpha() or len(self.text) < _ONE_TYPO_FROM:
            return 0
        return 1 if len(self.text) < _TWO_TYPOS_FROM else 2


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Question(Confidential):
    """The terms that a text must have, all of them."""

    terms: tuple[Term, ...]

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return what `text` asks for: words, "phrases" in quotation marks, and beginnings such as depr*.

        Raises `Invalid` if that is nothing, or too much.
        """
        require_text("query", text, at_most=MAX_QUERY)
        text = normalize("NFC", text)
        terms: dict[tuple[str, bool, bool], Term] = {}
        for match in _PIECE.finditer(text):
            phrase, word = match.groups()
            quoted, begins = phrase is not None, phrase is None and word.endswith("*")
            spelt = phrase if quoted else word.rstrip("*")
            if not any(character.isalnum() for character in spelt):
                continue
            if begins and len(spelt) < _SHORTEST_BEGINNING:
                raise Invalid("query", f"must have {_SHORTEST_BEGINNING} letters before a *")
            lower = spelt.lower()
            terms[lower, begins, quoted] = Term(text=lower, begins=begins, quoted=quoted)
        if not 1 <= len(terms) <= MAX_TERMS:
            raise Invalid("query", f"must have from 1 to {MAX_TERMS} words or phrases")
        return cls(terms=tuple(terms.values()))


class Span(NamedTuple):
    """Where something stands in a text: its first character, and the one behind its last."""

    start: int
    end: int


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Snippet(Confidential):
    """Some of a text, and where in it stands what was looked for."""

    text: str
    matches: tuple[Span, ...] = ()


_LEAD: Final = 60
_WIDTH: Final = 240


def snippet_of(text: str, matches: tuple[Span, ...]) -> Snippet:
    """Return the piece of a text with the most `matches`, which are in order; its beginning if there are none.

    Line ends and tabs are spaces in it, and an ellipsis stands where something was left out.
    """
    start = _best_start(matches)
    start = max(0, start - _LEAD) if start > _LEAD else 0
    if start:
        start = _behind_space(text, start, start + _LEAD)
    end = min(len(text), start + _WIDTH)
    if end < len(text):
        end = max(text.rfind(" ", start + _WIDTH // 2, end), 0) or end
    before, after = "…" if start else "", "…" if end < len(text) else ""
    shift = len(before) - start
    shown = tuple(Span(one.start + shift, min(one.end, end) + shift) for one in matches if start <= one.start < end)
    return Snippet(text=before + text[start:end].translate(_SPACES) + after, matches=shown)


_SPACES = {ord(character): " " for character in "\t\n\r\x0b\x0c\x85\u2028\u2029"}


def _best_start(matches: tuple[Span, ...]) -> int:
    """Return where the first of the closest matches begins: of all that fit into one snippet, the most."""
    best, most, last = 0, 0, 0
    for first, match in enumerate(matches):
        while last < len(matches) and matches[last].end - match.start <= _WIDTH - _LEAD:
            last += 1
        if last - first > most:
            best, most = match.start, last - first
    return best if most else (matches[0].start if matches else 0)


def _behind_space(text: str, start: int, at_most: int) -> int:
    space = text.find(" ", start, at_most)
    return start if space < 0 else space + 1
