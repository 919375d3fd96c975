"""The accounting of disclosures on paper and as a table."""

import csv
import re
import zlib
from base64 import a85decode
from dataclasses import replace
from datetime import date, timedelta
from io import StringIO
from typing import Any

import pytest

from clarity.domain.disclosures import Accounting, AccountingPeriod, Disclosure, Means, Series
from clarity.domain.ids import DisclosureId, PatientId
from clarity.printing.accountings import COLUMNS, PaperPress
from clarity.printing.characters import Characters
from tests.builders import NOW, TODAY, new_id

PRESS = PaperPress()


def a_disclosure(**content: Any) -> Disclosure:
    whole: dict[str, Any] = {
        "id": DisclosureId(new_id()),
        "patient": PatientId(new_id()),
        "made_on": TODAY - timedelta(days=30),
        "recipient": "County Health Department",
        "address": "426 SW Stark Street",
        "what": "Diagnosis of a reportable disease",
        "purpose": "Required by state law",
        "means": Means.FAX,
        "recorded_at": NOW,
        "recorded_by": new_id(),
        **content,
    }
    return Disclosure(**whole)


def an_accounting(*disclosures: Disclosure, name: str = "Ada Lovelace") -> Accounting:
    return Accounting(
        patient=PatientId(new_id()),
        name=name,
        practice="Harbor Psychiatry",
        period=AccountingPeriod(date(2020, 3, 14), TODAY),
        given_on=TODAY,
        disclosures=disclosures,
    )


def words_in(document: bytes) -> str:
    """Return what is drawn on the pages, of which letters of ASCII keep their codes."""
    texts = list[bytes]()
    for encoded in re.findall(rb"/ASCII85Decode /FlateDecode \].*?stream\s+(.*?)endstream", document, re.DOTALL):
        content = zlib.decompress(a85decode(b"<~" + encoded.strip(), adobe=True))
        texts += re.findall(rb"\(((?:\\.|[^()\\])*)\) Tj", content)
    joined = b" ".join(re.sub(rb"\\([()\\])", rb"\1", text) for text in texts)
    return " ".join(joined.decode("latin-1").split())


def test_a_patient_reads_to_whom_what_and_why() -> None:
    series = Series(last_on=TODAY, frequency="monthly", number=2)
    shown = words_in(
        PRESS.pdf(
            an_accounting(
                a_disclosure(),
                a_disclosure(
                    recipient="Circuit Court", address="", purpose="", request="Subpoena 26-117", series=series
                ),
            )
        )
    )
    for text in (
        *("Accounting of disclosures", "Harbor Psychiatry", "Ada Lovelace", "March 14, 2020 to March 14, 2026"),
        *("2 entries", "February 12, 2026", "County Health Department", "426 SW Stark Street", "Required by state law"),
        *("Circuit Court", "Address not known", "Subpoena 26-117", "monthly, 2 times in all", "45 CFR 164.528"),
        *("What this list leaves out", "Page 1 of 1"),
    ):
        assert text in shown
    assert "could not print" not in shown


def test_an_empty_accounting_says_so() -> None:
    assert "nothing that has to be listed" in words_in(PRESS.pdf(an_accounting()))


def test_a_document_has_its_title_and_its_language_and_nothing_of_the_patient_beside_the_text() -> None:
    document = PRESS.pdf(an_accounting(a_disclosure()))
    assert b"/Lang (en-US)" in document
    assert b"/DisplayDocTitle true" in document
    assert b"/Title (Accounting of disclosures)" in document
    assert b"Lovelace" not in document


def test_what_cannot_be_printed_is_shown_as_numbers_and_named() -> None:
    document = PRESS.pdf(an_accounting(a_disclosure(recipient="\u05ea\u05dc \u0160ipek"), name="\u674e\u660e Lovelace"))
    shown = words_in(document)
    assert "[U+674E U+660E] Lovelace" in shown
    assert "[U+05EA U+05DC]" in shown
    assert "Characters we could not print" in shown
    assert "U+05DC hebrew letter lamed" in shown
    assert "U+0160" not in shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Ada", "Ada"),
        ("e\u0301", "\u00e9"),
        ("\u017b\u00f3\u0142w", "\u017b\u00f3\u0142w"),
        ("\u0410\u043d\u043d\u0430", "\u0410\u043d\u043d\u0430"),
        ("a\u674eb", "a[U+674E]b"),
        ("\u202eabc", "[U+202E]abc"),
        ("\u0645\u0646", "[U+0645 U+0646]"),
        ("a\t\u00a0 b\r\nc", "a b\nc"),
    ],
)
def test_characters_stand_as_they_are_or_as_their_numbers(text: str, shown: str) -> None:
    printable = {*range(0x20, 0x7F), *range(0xA1, 0x180), *range(0x400, 0x500), *range(0x600, 0x700), 0x202E}
    assert Characters(printable).shown(text) == shown


def test_an_entry_longer_than_a_page_is_printed_whole() -> None:
    long = a_disclosure(recipient="Z" * 1000, address="a\n" * 120, what="x " * 120, purpose="<b>&" * 60)
    shown = words_in(PRESS.pdf(an_accounting(long, a_disclosure(what="The next one"))))
    assert shown.count("x") >= 120
    assert sum(len(run) for run in re.findall(r"Z+", shown)) == 1000
    assert "The next one" in shown
    assert shown.replace(" ", "").count("<b>&") == 60


def test_a_table_has_a_line_for_each_and_no_formula() -> None:
    formula = a_disclosure(
        recipient="=HYPERLINK(1)", address="+1 503", what="-", purpose="@x", made_on=date(2026, 1, 2)
    )
    series = replace(a_disclosure(), series=Series(last_on=TODAY, frequency="weekly", number=4))
    table = PRESS.csv(an_accounting(formula, series)).decode()
    head, first, second = csv.reader(StringIO(table, newline=""))
    assert tuple(head) == COLUMNS
    assert first == ["2026-01-02", "", "", "", "'=HYPERLINK(1)", "'+1 503", "'-", "'@x", ""]
    assert second[1:4] == ["2026-03-14", "weekly", "4"]
    assert table.count("\r\n") == 3
