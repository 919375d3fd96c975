"""Looking for what must not be there: known content in files, whatever writes them."""

import base64
import gzip
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

_CHUNK_BYTES = 1 << 24
# Shorter needles turn up by chance in megabytes of ciphertext.
_LEAST_BYTES = 6


def spellings(text: str) -> set[bytes]:
    """Return the byte strings by which `text` would be recognised: UTF-8, UTF-16, JSON's escapes, hexadecimal, base64."""
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


def hits(needles: Iterable[str], places: Iterable[bytes]) -> set[str]:
    """Return those of `needles` that occur in any of `places`, in whatever spelling."""
    spelt = {spelling: needle for needle in needles for spelling in spellings(needle)}
    return {needle for place in places for spelling, needle in spelt.items() if spelling in place}


def contents(*roots: Path) -> Iterator[bytes]:
    """Return the bytes of every file below `roots`, gzip opened, large ones in overlapping parts."""
    for root in roots:
        for path in sorted(root.rglob("*")) if root.is_dir() else [root]:
            if path.is_file():
                yield path.name.encode()
                data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
                yield from (data[start : start + _CHUNK_BYTES + 1_000] for start in range(0, len(data), _CHUNK_BYTES))


def content_of_resource(resource: dict[str, Any]) -> set[str]:
    """Return the names, identifiers, streets, telephone numbers and e-mails in a FHIR Patient or Practitioner."""
    found = {part for name in resource.get("name", ()) for part in (name.get("family", ""), *name.get("given", ()))}
    found |= {identifier.get("value", "") for identifier in resource.get("identifier", ())}
    found |= {telecom.get("value", "") for telecom in resource.get("telecom", ())}
    found |= {line for address in resource.get("address", ()) for line in address.get("line", ())}
    found |= {extension["valueString"] for extension in resource.get("extension", ()) if "valueString" in extension}
    return {text for text in found if len(text) >= _LEAST_BYTES}
