"""Texts that are searched for words, and ranked by how well they answer."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from clarity.domain.full_text import Question, Snippet


class Text(NamedTuple):
    """What is searched: what a text is called, and what it says."""

    title: str
    body: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TextFound:
    """One of several texts, by its place among them, with some of it; `as_spelt` unless typos had to be forgiven."""

    place: int
    as_spelt: bool
    title: Snippet
    body: Snippet


@dataclass(frozen=True, slots=True, kw_only=True)
class TextsFound:
    """Some of the texts that answer a question, the best first, and how many there are in all."""

    texts: tuple[TextFound, ...]
    count: int


class FullText(Protocol):
    """Search in texts that are at hand. Nothing of them is kept, and nothing written anywhere."""

    async def find(self, texts: Sequence[Text], question: Question, *, skip: int, at_most: int) -> TextsFound:
        """Return the texts that have all terms of `question`, the best first, of equals the earlier given.

        Case and accents make no difference, nor do the endings of English words. Those with a term that is spelt
        otherwise, as far as it forgives, come behind all others. How good an answer is depends on `texts` alone.
        Others are served meanwhile. Raises `Invalid` if it cannot be answered.
        """
        ...
