"""Tables that spreadsheets open."""

import csv
import io
from collections.abc import Iterable

# What a spreadsheet would take for a formula, the wide forms of the signs too (OWASP, "CSV Injection").
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")


def comma_separated(rows: Iterable[Iterable[str]]) -> bytes:
    """Return rows as comma-separated values (RFC 4180), which a spreadsheet shows and does not carry out."""
    text = io.StringIO(newline="")
    csv.writer(text).writerows([_harmless(cell) for cell in row] for row in rows)
    return text.getvalue().encode()


def _harmless(cell: str) -> str:
    """Return `cell` so that no program takes it for a formula: behind an apostrophe, which says that it is text."""
    return f"'{cell}" if cell.startswith(_FORMULA) else cell
