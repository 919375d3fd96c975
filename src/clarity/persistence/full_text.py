"""Search in texts that are at hand, by the full-text index of SQLite in memory; no database has a part in it."""

import asyncio
import re
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Final, NamedTuple
from unicodedata import combining, normalize

from rapidfuzz import process
from rapidfuzz.distance import OSA

from clarity.application.ports.full_text import Text, TextFound, TextsFound
from clarity.domain.errors import Invalid
from clarity.domain.full_text import MAX_QUERY, Question, Snippet, Span, Term, snippet_of

_TITLE_WEIGHT: Final = 4.0
_BODY_WEIGHT: Final = 1.0
_STEMS = """
CREATE VIRTUAL TABLE stems USING fts5(title, body, content='', tokenize='porter unicode61 remove_diacritics 2')
"""
_WORDS = """
CREATE VIRTUAL TABLE words USING fts5(
    title, body, content='', detail=none, columnsize=0, tokenize='unicode61 remove_diacritics 2'
)
"""
_SHOWN = "CREATE VIRTUAL TABLE shown USING fts5(text, tokenize='porter unicode61 remove_diacritics 2')"
# Of words that begin alike or are spelt alike, as many are looked for as somebody may have meant.
_MOST_ALIKE: Final = 32
_MOST_BEGINNINGS: Final = 500
# So short a beginning is one of the stem too, and too many words may have it to name them.
_BEGINS_STEM: Final = 3
# Passages share as much as a question may be long, so that a phrase is whole in one of them.
_PASSAGE: Final = 2_000
# Characters that no text here may have.
_OPEN, _CLOSE = "\x02", "\x03"
_MARKED = re.compile(f"{_OPEN}([^{_CLOSE}]*){_CLOSE}")


@dataclass(frozen=True, slots=True)
class SqliteFullText:
    """`FullText` by FTS5, over a database in memory that lasts as long as the question.

    It works in a thread, and mostly outside the lock of the interpreter.
    """

    async def find(self, texts: Sequence[Text], question: Question, *, skip: int, at_most: int) -> TextsFound:
        """Return the texts that have all terms of `question`, the best first."""
        return await asyncio.to_thread(_find, texts, question, skip, at_most)


def _find(texts: Sequence[Text], question: Question, skip: int, at_most: int) -> TextsFound:
    try:
        with closing(sqlite3.connect(":memory:", isolation_level=None)) as memory:
            memory.execute("PRAGMA temp_store = MEMORY")
            memory.execute("PRAGMA journal_mode = OFF")
            return _Index(memory, texts).found(question, skip, at_most)
    except sqlite3.Error:
        # Its own message may repeat what was asked for.
        raise Invalid("query", "cannot be looked for; ask with fewer or other words") from None


class _Index:
    """The stems of some texts, and, once they are asked for, their words."""

    def __init__(self, memory: sqlite3.Connection, texts: Sequence[Text]) -> None:
        self._memory, self._texts = memory, texts
        self._vocabulary: list[str] | None = None
        memory.execute(_STEMS)
        self._fill("INSERT INTO stems (rowid, title, body) VALUES (?, ?, ?)", _numbered(texts))

    def found(self, question: Question, skip: int, at_most: int) -> TextsFound:
        exactly = [self._expression(term) for term in question.terms]
        forgiving = [self._forgiving(term, exact) for term, exact in zip(question.terms, exactly, strict=True)]
        places = dict.fromkeys(self._ranked(" AND ".join(exactly)), True)
        if forgiving != exactly:
            places |= {one: False for one in self._ranked(" AND ".join(forgiving)) if one not in places}
        shown = list(places.items())[skip : skip + at_most]
        return TextsFound(texts=self._shown(shown, " OR ".join(forgiving)), count=len(places))

    def _fill(self, statement: str, rows: Iterable[tuple[object, ...]]) -> None:
        self._memory.execute("BEGIN")
        self._memory.executemany(statement, rows)
        self._memory.execute("COMMIT")

    def _ranked(self, expression: str) -> list[int]:
        ranked = "SELECT rowid FROM stems WHERE stems MATCH ? ORDER BY bm25(stems, ?, ?), rowid"
        return [place for (place,) in self._memory.execute(ranked, (expression, _TITLE_WEIGHT, _BODY_WEIGHT))]

    def _expression(self, term: Term) -> str:
        """Return what finds a term as it is spelt."""
        if not term.begins:
            return _quoted(term.text)
        if len(term.text) <= _BEGINS_STEM or not term.text.isalnum():
            return f"{_quoted(term.text)} *"
        # The stem of a beginning is not the beginning of a stem, so that words are looked up that begin with it.
        beginning = _folded(term.text)
        words = [word for word in self._words() if word.startswith(beginning)][:_MOST_BEGINNINGS]
        return _any(words or [term.text])

    def _forgiving(self, term: Term, exactly: str) -> str:
        """Return what finds a term as it is spelt, or as it may be misspelt."""
        if not term.typos:
            return exactly
        near = process.extract(
            _folded(term.text), self._words(), scorer=OSA.distance, score_cutoff=term.typos, limit=_MOST_ALIKE
        )
        return f"({exactly} OR {_any([word for word, _, _ in near])})" if near else exactly

    def _words(self) -> list[str]:
        """Return the words that are in the texts, the commonest first."""
        if self._vocabulary is None:
            self._memory.execute(_WORDS)
            self._fill("INSERT INTO words (rowid, title, body) VALUES (?, ?, ?)", _numbered(self._texts))
            self._memory.execute("CREATE VIRTUAL TABLE vocabulary USING fts5vocab(words, row)")
            words = self._memory.execute("SELECT term FROM vocabulary ORDER BY doc DESC, term")
            self._vocabulary = [word for (word,) in words]
        return self._vocabulary

    def _shown(self, places: Sequence[tuple[int, bool]], expression: str) -> tuple[TextFound, ...]:
        """Return texts with the passage of each that has the most of what is looked for."""
        passages = [one for place, _ in places for one in _passages(place, self._texts[place])]
        self._memory.execute(_SHOWN)
        pieces = ((number, _piece(one, self._texts[one.place])) for number, one in enumerate(passages))
        self._fill("INSERT INTO shown (rowid, text) VALUES (?, ?)", pieces)
        ranked = "SELECT rowid FROM shown WHERE shown MATCH ? ORDER BY bm25(shown), rowid"
        best: dict[tuple[int, bool], int] = {}
        for (number,) in self._memory.execute(ranked, (expression,)):
            best.setdefault((passages[number].place, passages[number].of_title), number)

        def snippet(place: int, *, of_title: bool) -> Snippet:
            text = self._texts[place].title if of_title else self._texts[place].body
            number = best.get((place, of_title))
            matches = () if number is None else self._matches(number, passages[number].start, expression)
            return Snippet(text=text, matches=matches) if of_title else snippet_of(text, matches)

        return tuple(
            TextFound(
                place=place,
                as_spelt=as_spelt,
                title=snippet(place, of_title=True),
                body=snippet(place, of_title=False),
            )
            for place, as_spelt in places
        )

    def _matches(self, number: int, start: int, expression: str) -> tuple[Span, ...]:
        """Return where what is looked for stands in the text of which a passage begins at `start`."""
        marked = "SELECT highlight(shown, 0, ?, ?) FROM shown WHERE shown MATCH ? AND rowid = ?"
        (text,) = self._memory.execute(marked, (_OPEN, _CLOSE, expression, number)).fetchone()
        matches, marks = list[Span](), 0
        for match in _MARKED.finditer(text):
            first = start + match.start() - marks
            marks += len(_OPEN) + len(_CLOSE)
            matches.append(Span(first, start + match.end() - marks))
        return tuple(matches)


def _numbered(texts: Sequence[Text]) -> Iterator[tuple[object, ...]]:
    return ((place, *text) for place, text in enumerate(texts))


class _Passage(NamedTuple):
    """A piece of the body of a text, or its title. What it marks in longer ones takes the square of their length."""

    place: int
    of_title: bool
    start: int


def _passages(place: int, text: Text) -> Iterator[_Passage]:
    yield _Passage(place, of_title=True, start=0)
    for start in range(0, len(text.body), _PASSAGE - MAX_QUERY):
        yield _Passage(place, of_title=False, start=start)


def _piece(passage: _Passage, text: Text) -> str:
    return text.title if passage.of_title else text.body[passage.start : passage.start + _PASSAGE]


def _folded(text: str) -> str:
    """Return a word as the index has it: in small letters without accents."""
    return "".join(character for character in normalize("NFD", text.lower()) if not combining(character))


def _quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'


def _any(words: Sequence[str]) -> str:
    return "(" + " OR ".join(map(_quoted, words)) + ")"
