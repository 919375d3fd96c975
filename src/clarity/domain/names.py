"""Names of people, and the folding that lets a name be found however it is typed."""

import unicodedata
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final
from zlib import crc32

from clarity.domain.dates import PartialDate
from clarity.domain.errors import Invalid
from clarity.domain.values import Confidential, allow_text, allow_texts, require_few

# Letters that Unicode does not decompose into a base letter and a mark, though readers take them for one.
_LETTERS = str.maketrans(
    {
        "ø": "o",
        "ł": "l",
        "đ": "d",
        "ð": "d",
        "þ": "th",
        "æ": "ae",
        "œ": "oe",
        "ı": "i",
        "ħ": "h",
        "ŧ": "t",
        "ŋ": "n",
    }
)
# The last come along when a name is copied from a text that is written from right to left.
_DROPPED = dict.fromkeys(
    map(
        ord,
        "'’‘ʼʻ`´.,·\u0640\u200b\u200c\u200d\u2060\ufeff"
        "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069",
    )
)
_SPACED = dict.fromkeys(map(ord, "-‐‑‒–—−\u00ad"), " ")
_PUNCTUATION = {**_DROPPED, **_SPACED}
FOLDING: Final = f"{crc32(repr((_LETTERS, _PUNCTUATION)).encode()):08x} {unicodedata.unidata_version}"
"""Tells by which tables `fold` folds: what was folded by others, and kept, is not to be compared."""

_UNSPACED_SCRIPTS = ("CJK ", "HIRAGANA", "KATAKANA", "HANGUL", "BOPOMOFO")


def fold(text: str) -> str:
    """Return `text` as it is compared: no case, no accents, no apostrophes or full stops, hyphens as single spaces.

    Compatibility forms (ligatures, full width) count as the plain letters. Folding twice changes nothing.
    """
    text = text.translate(_PUNCTUATION)
    if text.isascii():
        return " ".join(text.casefold().split())
    text = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", text).casefold())
    bare = "".join(char for char in text if not unicodedata.category(char).startswith("M"))
    bare = unicodedata.normalize("NFKC", bare.translate(_LETTERS))
    return " ".join(bare.translate(_PUNCTUATION).split())


def fragments_of(text: str) -> tuple[str, ...]:
    """Return the fragments a search text asks for: its words, folded; empty if there is nothing to compare."""
    return tuple(dict.fromkeys(folded for word in text.split() if (folded := fold(word))))


class NameUse(StrEnum):
    """What a name is used for (FHIR R4, name-use)."""

    USUAL = "usual"
    OFFICIAL = "official"
    TEMP = "temp"
    NICKNAME = "nickname"
    ANONYMOUS = "anonymous"
    OLD = "old"
    MAIDEN = "maiden"


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Period(Confidential):
    """The days from `start` to `end`, both included; an absent bound is open."""

    start: PartialDate | None = None
    end: PartialDate | None = None

    def __post_init__(self) -> None:
        """Raise `Invalid` if it ends before it starts."""
        if self.start and self.end and self.end.last < self.start.first:
            raise Invalid("end", "must not be before the start")


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class HumanName(Confidential):
    """A name of a person: in parts, or as `text` where the parts are not known."""

    family: str = ""
    given: tuple[str, ...] = ()
    prefix: tuple[str, ...] = ()
    suffix: tuple[str, ...] = ()
    text: str = ""
    use: NameUse | None = None
    period: Period | None = None

    def __post_init__(self) -> None:
        """Raise `Invalid` if there is nothing to call the person by, or a part is not text."""
        for field in ("given", "prefix", "suffix"):
            parts: tuple[str, ...] = getattr(self, field)
            require_few(field, parts, at_most=20)
            allow_texts(field, parts, at_most=200)
        allow_text("family", self.family, at_most=200)
        allow_text("text", self.text)
        if not (self.family.strip() or self.text.strip() or any(part.strip() for part in self.given)):
            raise Invalid("family", "a name needs a family name, a given name or a text")

    def __str__(self) -> str:
        """Write the name as it is said: prefix, given names, family name, suffix."""
        parts = (*self.prefix, *self.given, self.family, *self.suffix)
        return " ".join(part for part in parts if part) if self.family or self.given else self.text

    @property
    def sort_key(self) -> tuple[str, str]:
        """The folded family name and given names: the order of a card index."""
        return sort_key_of(self.family, self.given, self.text)

    @property
    def search_text(self) -> str:
        """The folded name in which fragments are looked for; one line for each way of writing it."""
        return search_text_of(*self.sort_key)

    def has(self, fragments: tuple[str, ...]) -> bool:
        """Tell whether every folded fragment occurs in this name, in any order."""
        text = self.search_text
        return all(fragment in text for fragment in fragments)


def sort_key_of(family: str, given: Iterable[str], text: str, fold: Callable[[str], str] = fold) -> tuple[str, str]:
    """Return the folded family name and given names of a name in parts; its folded `text` if there are none.

    Whoever folds many may bring a `fold` that remembers.
    """
    folded, spoken = fold(family), fold(" ".join(given))
    return (folded, spoken) if folded or spoken else (fold(text), "")


def search_text_of(family: str, given: str) -> str:
    """Return the text in which fragments of a name with this sort key are looked for.

    Scripts written without spaces are also searched as one word, family name first, on a line of its own.
    """
    spoken = f"{given} {family}".strip()
    if not family or not given or spoken.isascii() or not _is_unspaced(family):
        return spoken
    return f"{spoken}\n{family}{given.replace(' ', '')}"


def _is_unspaced(text: str) -> bool:
    return any(unicodedata.name(char, "").startswith(_UNSPACED_SCRIPTS) for char in text)
