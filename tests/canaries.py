"""Looking for what must not be there: known content in files, whatever writes them."""

import base64
import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

_ZEROS = re.compile(rb"\x00{64,}")
# Shorter needles turn up by chance in megabytes of ciphertext.
_LEAST_BYTES = 6


def spellings(text: str) -> set[bytes]:
    """Return the bytes by which `text` would be recognised: UTF-8, UTF-16, JSON's escapes, hexadecimal, base64."""
    plain = text.encode()
    escaped = json.dumps(text)[1:-1].encode()
    found = {
        plain,
        escaped,
        text.encode("utf-16-le"),
        plain.hex().encode(),
        text.upper().encode(),
        text.lower().encode(),
    }
    found |= {base64.b64encode(b" " * shift + plain)[2 * shift : -4] for shift in range(3)}
    return {spelling for spelling in found if len(spelling) >= _LEAST_BYTES}


def hits(needles: Iterable[str], places: Iterable[bytes], *, every_spelling: int = 25) -> set[str]:
    """Return those of `needles` that occur in any of `places`: all of them as UTF-8, the first ones however spelt."""
    spelt = {needle.encode(): needle for needle in needles}
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


def content_of_resource(resource: dict[str, Any]) -> set[str]:
    """Return the names, identifiers, streets, telephone numbers and e-mails in a FHIR Patient or Practitioner."""
    found = {part for name in resource.get("name", ()) for part in (name.get("family", ""), *name.get("given", ()))}
    found |= {identifier.get("value", "") for identifier in resource.get("identifier", ())}
    found |= {telecom.get("value", "") for telecom in resource.get("telecom", ())}
    found |= {line for address in resource.get("address", ()) for line in address.get("line", ())}
    found |= {extension["valueString"] for extension in resource.get("extension", ()) if "valueString" in extension}
    return {text for text in found if len(text) >= _LEAST_BYTES}
