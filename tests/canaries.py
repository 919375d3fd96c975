"""Looking for what must not be there: known content in files, logs, refusals, errors, whatever writes them.

Every test is watched. Builders and callers `plant` the content that they make up; what comes out where none may be is
handed to `saw`: the log, the text of every error of ours, the answers that refuse something, metrics, and what commands
print beside their results. At the end of the test nothing planted may be in any of it. The files of SQLite are looked
through at the end of each test that had one, those of PostgreSQL, its log included, at the end of the run.
"""

import base64
import json
import logging
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from clarity.cli.logs import Guarded

_ZEROS = re.compile(rb"\x00{64,}")
# Shorter needles turn up by chance in megabytes of ciphertext.
_LEAST_BYTES = 6


def spellings(text: str) -> set[bytes]:
    """Return the bytes by which `text` would be recognised: UTF-8, UTF-16, JSON's escapes, hexadecimal, base64."""
    plain = text.encode(errors="surrogatepass")
    escaped = json.dumps(text)[1:-1].encode()
    found = {
        plain,
        escaped,
        text.encode("utf-16-le", errors="surrogatepass"),
        plain.hex().encode(),
        text.upper().encode(errors="surrogatepass"),
        text.lower().encode(errors="surrogatepass"),
    }
    found |= {base64.b64encode(b" " * shift + plain)[2 * shift : -4] for shift in range(3)}
    return {spelling for spelling in found if len(spelling) >= _LEAST_BYTES}


def hits(needles: Iterable[str], places: Iterable[bytes], *, every_spelling: int = 25) -> set[str]:
    """Return those of `needles` that occur in any of `places`: all of them as UTF-8, the first ones however spelt."""
    spelt = {needle.encode(errors="surrogatepass"): needle for needle in needles}
    spelt |= {spelling: needle for needle in sorted(needles)[:every_spelling] for spelling in spellings(needle)}
    return {needle for place in places for spelling, needle in spelt.items() if spelling in place}


def contents(*roots: Path) -> Iterator[bytes]:
    """Return the names and the bytes of every file below `roots`, with long runs of zeros cut short."""
    for root in roots:
        for path in sorted(root.rglob("*")) if root.is_dir() else [root]:
            if path.is_file():
                yield path.name.encode()
                # Databases make files longer than what they hold; the rest is zeros, which nobody's name contains.
                yield _ZEROS.sub(b"\x00", path.read_bytes())


def hits_in_files(needles: Iterable[str], *roots: Path) -> set[str]:
    """Return those of `needles` that stand as UTF-8 in a file below `roots`, of a server that may be running still."""
    found = set()
    wanted = {needle: needle.encode(errors="surrogatepass") for needle in needles}
    for path in (path for root in roots for path in root.rglob("*")):
        with suppress(OSError):  # sockets, and what the server just removed
            data = path.read_bytes() if path.is_file() else b""
            found |= {needle for needle, plain in wanted.items() if plain in data}
    return found


def content_of_resource(resource: dict[str, Any]) -> set[str]:
    """Return the names, identifiers, streets, telephone numbers and e-mails in a FHIR Patient or Practitioner.

    Of an order of a medicine, the medicine.
    """
    if "medicationCodeableConcept" in resource:
        return {str(resource["medicationCodeableConcept"]["text"])}
    found = {part for name in resource.get("name", ()) for part in (name.get("family", ""), *name.get("given", ()))}
    found |= {identifier.get("value", "") for identifier in resource.get("identifier", ())}
    found |= {telecom.get("value", "") for telecom in resource.get("telecom", ())}
    found |= {line for address in resource.get("address", ()) for line in address.get("line", ())}
    found |= {extension["valueString"] for extension in resource.get("extension", ()) if "valueString" in extension}
    return {text for text in found if len(text) >= _LEAST_BYTES}


# Of a property tested with hundreds of examples the latest ones do.
_MOST_PLANTED = 100
_LONGEST = 200
_OF_CONTENT = frozenset(
    {
        *("family", "given", "text", "notes", "value", "ssn", "email", "mrn", "name", "lines", "city", "maiden"),
        *("password", "current", "new", "token", "refresh_token", "access_token", "code", "secret"),
        *("title", "body", "encounter", "why", "told"),
        *("summary", "payload", "indication", "instruction", "as_needed_for", "prescribed_by", "why"),
        *("reason", "note", "what", "from_whom", "to_whom", "document", "signed_by", "basis", "affiliation"),
    }
)
"""The fields of requests whose texts are somebody's, and not words of ours."""


@dataclass(slots=True)
class Watch:
    """What was planted while a test ran, and what came out where it must not be, by place."""

    planted: dict[str, None] = field(default_factory=dict)
    seen: list[tuple[str, str]] = field(default_factory=list)

    def plant(self, *texts: str) -> None:
        """Let `texts` be looked for; those too short to be recognised are not."""
        for text in texts:
            if _LEAST_BYTES <= len(text) <= _LONGEST:
                self.planted.pop(text, None)
                self.planted[text] = None
        while len(self.planted) > _MOST_PLANTED:
            del self.planted[next(iter(self.planted))]

    def leaks(self) -> set[tuple[str, str]]:
        """Return what was planted and came out, each with the place."""
        needles = list(self.planted)
        places: dict[str, list[bytes]] = {}
        for place, text in self.seen:
            places.setdefault(place, []).append(text.encode(errors="surrogatepass"))
        return {(place, needle) for place, texts in places.items() for needle in hits(needles, [b"\n".join(texts)])}


_watches: list[Watch] = []


def plant(*texts: str) -> None:
    """Let content that a test makes up be looked for until the test ends."""
    if _watches:
        _watches[-1].plant(*texts)


def plant_content(sent: object) -> None:
    """Plant whatever is somebody's in a request, by the names of its fields."""
    if isinstance(sent, dict):
        for name, value in sent.items():
            if name in _OF_CONTENT:
                plant(*(one for one in (value if isinstance(value, list) else [value]) if isinstance(one, str)))
            plant_content(value)
    elif isinstance(sent, list):
        for item in sent:
            plant_content(item)


def saw(place: str, text: str) -> None:
    """Hand over what came out in a place where no content may be."""
    if _watches:
        _watches[-1].seen.append((place, text))


def planted() -> list[str]:
    """Return what is looked for now."""
    return list(_watches[-1].planted) if _watches else []


@contextmanager
def watching() -> Iterator[Watch]:
    """Watch while the block runs; what leaked in it raises `AssertionError` at its end."""
    watch = Watch()
    _watches.append(watch)
    try:
        yield watch
    finally:
        _watches.remove(watch)
    leaks = sorted(watch.leaks())
    assert not leaks, f"content leaked: {leaks}"


class LogWatch(logging.Handler):
    """Hands over each line of the log as the server would write it."""

    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(Guarded())

    def emit(self, record: logging.LogRecord) -> None:
        """Hand over one line."""
        saw("the log", self.format(record))
