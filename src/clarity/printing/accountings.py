"""Accountings of disclosures: as a document for the patient, and as a table."""

from dataclasses import dataclass, field
from threading import Lock

from clarity.application.spreadsheets import comma_separated
from clarity.domain.disclosures import Accounting, Disclosure

COLUMNS = ("date", "last_date", "frequency", "number", "recipient", "address", "description", "purpose", "request")


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
        return comma_separated([COLUMNS, *map(_line, accounting.disclosures)])


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
