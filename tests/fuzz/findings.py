"""What a run found: said once for each kind, kept as a small file, and repeatable."""

import json
import re
from base64 import b64encode
from collections import Counter
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any


@dataclass(slots=True)
class Findings:
    """Everything that went wrong, in `folder`, and how much was tried.

    A finding that is alike another, `kind` for kind, is counted and not kept: the first is as good as the hundredth.
    """

    folder: Path
    tried: Counter[str] = field(default_factory=Counter)
    answers: Counter[int] = field(default_factory=Counter)
    skipped: list[str] = field(default_factory=list)
    _kinds: Counter[str] = field(default_factory=Counter)

    def add(self, kind: str, told: str, case: dict[str, Any]) -> None:
        """Note one thing that went wrong, `told` in words, and keep what led to it."""
        self._kinds[kind] += 1
        if self._kinds[kind] > 1:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        name = re.sub(r"[^a-z0-9]+", "-", kind.lower()).strip("-")[:80]
        path = self.folder / f"{name}-{sha256(kind.encode()).hexdigest()[:8]}.json"
        path.write_text(json.dumps({"kind": kind, "told": told, **case}, indent=1, ensure_ascii=True) + "\n")
        print(f"  FOUND {kind}\n    {told.strip()[:600]}\n    again: make fuzz ARGS='--again {path}'", flush=True)

    @property
    def kinds(self) -> dict[str, int]:
        """How often each kind of thing went wrong."""
        return dict(self._kinds)

    def __str__(self) -> str:
        """Say in a few lines what was tried and what was found."""
        tried = [f"  {count:>9,} {what}" for what, count in sorted(self.tried.items())]
        answers = "  answers: " + ", ".join(f"{status} {count:,}" for status, count in sorted(self.answers.items()))
        found = [f"  {count:>9,} × {kind}" for kind, count in sorted(self._kinds.items())]
        skipped = [f"  left out: {what}" for what in self.skipped]
        verdict = f"{len(self._kinds)} kinds of fault found, kept in {self.folder}:" if found else "Nothing found."
        return "\n".join(["Tried", *tried, *([answers] if self.answers else []), *skipped, verdict, *found])


def kept_bytes(content: bytes) -> dict[str, str]:
    """Return bytes as a file of JSON can hold them, readable where they are text."""
    try:
        return {"text": content.decode()}
    except UnicodeDecodeError:
        return {"base64": b64encode(content).decode()}
