"""Which characters the fonts of this package can print, and what stands for the others."""

import re
import unicodedata
from collections.abc import Container
from dataclasses import dataclass, field
from itertools import groupby

# These are written from right to left, or join their letters, which whoever draws one character after the other
# gets wrong without anybody noticing.
_NOT_IN_A_ROW = frozenset({"R", "AL", "AN", "RLE", "RLO", "RLI"})
_SPACES = re.compile(r"[^\S\n]+")


@dataclass(slots=True)
class Characters:
    """Writes texts in `printable` characters, and remembers whether all of them were."""

    printable: Container[int]
    missing: dict[str, str] = field(default_factory=dict)

    def shown(self, text: str) -> str:
        """Return `text` with what cannot be printed as its numbers in Unicode: "[U+674E U+660E]"."""
        composed = _SPACES.sub(" ", unicodedata.normalize("NFC", text).replace("\r\n", "\n").replace("\r", "\n"))
        return "".join(
            "".join(run) if can_be_printed else self._numbers("".join(run))
            for can_be_printed, run in groupby(composed, self._can_be_printed)
        )

    def _can_be_printed(self, character: str) -> bool:
        if character in "\n ":
            return True
        return ord(character) in self.printable and unicodedata.bidirectional(character) not in _NOT_IN_A_ROW

    def _numbers(self, run: str) -> str:
        self.missing |= {character: unicodedata.name(character, "without a name") for character in run}
        return f"[{' '.join(f'U+{ord(character):04X}' for character in run)}]"
