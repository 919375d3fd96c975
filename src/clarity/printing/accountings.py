"""Accountings of disclosures: as a document for the patient, and as a table."""

import csv
from dataclasses import dataclass, field
from io import StringIO
from threading import Lock

from clarity.domain.disclosures import Accounting, Disclosure

COLUMNS = ("date", "last_date", "frequency", "number", "recipient", "address", "description", "purpose", "request")
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


@dataclass(frozen=True, slots=True)
class PaperPress:
    """`AccountingPress` with the fonts of this package."""

    # What draws keeps the fonts it used in one place for the whole process.
    _turn: Lock = field(default_factory=Lock, repr=False)

    def pdf(self, accounting: Accounting) -> bytes:
        """Return a document for the patient to read."""
        # What sets pages takes longer to load than most commands take, and few of them print.
        from clarity.printing.documents import print_accounting

        with self._turn:
            return print_accounting(accounting)

    def csv(self, accounting: Accounting) -> bytes:
        """Return a table with one line for each disclosure."""
        written = StringIO(newline="")
        lines = csv.writer(written, lineterminator="\r\n")
        lines.writerow(COLUMNS)
        lines.writerows([_cell(value) for value in _line(one)] for one in accounting.disclosures)
        return written.getvalue().encode()


def _line(one: Disclosure) -> tuple[str, ...]:
    series = one.series
    return (
        str(one.made_on),
        str(series.last_on) if series else "",
        series.frequency if series else "",
        str(series.number) if series and series.number else "",
        one.recipient,
        one.address,
        one.what,
        one.purpose,
        one.request,
    )


def _cell(text: str) -> str:
    """Return `text` so that no program takes it for a formula: behind an apostrophe, which says that it is text."""
    return f"'{text}" if text.startswith(_FORMULA) else text
