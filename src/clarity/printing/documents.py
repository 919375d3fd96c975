"""The accounting of disclosures as a PDF: for a patient to read, not for a lawyer."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cache
from html import escape
from io import BytesIO
from pathlib import Path
from typing import Any

from reportlab.lib.colors import HexColor
from reportlab.lib.enums import TA_LEFT
from reportlab.lib.pagesizes import LETTER
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import inch
from reportlab.pdfbase.pdfmetrics import registerFont, registerFontFamily
from reportlab.pdfbase.ttfonts import TTFont
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import KeepTogether, Paragraph, SimpleDocTemplate, Spacer, Table, TableStyle

from clarity.domain.disclosures import Accounting, Disclosure
from clarity.printing.characters import Characters

TITLE = "Accounting of disclosures"
_FONTS = Path(__file__).with_name("fonts")
_PLAIN, _BOLD = "ClaritySans", "ClaritySans-Bold"
_INK, _FAINT, _RULE, _SHADE = HexColor("#1b1f24"), HexColor("#57606a"), HexColor("#c9d1d9"), HexColor("#eef2f6")
_MARGIN = 0.75 * inch
_PADDING = 6  # of the frame in which reportlab sets a page
_EDGE = _MARGIN + _PADDING
_WIDTH = LETTER[0] - 2 * _EDGE
_COLUMNS = ("When", "Who received it", "What they received", "Why")
_SHARES = (0.17, 0.27, 0.28, 0.28)
_MONTHS = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)
_LINES = re.compile(r"\n+")

_LEFT_OUT = (
    ("to treat you, to be paid for it, or to run this practice", "(a)(1)(i)"),
    ("to you", "(a)(1)(ii)"),
    ("in passing, where something that is allowed could not be done without it", "(a)(1)(iii)"),
    ("because you, or somebody who may sign for you, allowed it in writing", "(a)(1)(iv)"),
    ("to people involved in your care, to let your family know, or for a list of patients", "(a)(1)(v)"),
    ("for national security or intelligence", "(a)(1)(vi)"),
    ("to a prison, or to officers who had you in custody", "(a)(1)(vii)"),
    ("as part of a limited set of data, without your name and address", "(a)(1)(viii)"),
    ("before this practice had to follow these rules", "(a)(1)(ix)"),
)
_SUSPENDED = (
    "An agency that oversees health care, or a law enforcement official, may also ask us not to tell you for a time"
    " about what they received (45 CFR 164.528(a)(2)). This list would look the same whether or not anybody has asked."
)
_ASK_AGAIN = (
    "You may ask for such a list at any time, for any part of the last six years. The first in twelve months is free of"
    " charge (45 CFR 164.528(c)(2))."
)
_ASK_US = "If something here is wrong, or you have a question, ask the compliance officer of {practice}."
_COMPLAIN = (
    "You may also complain to us, or to the Secretary of the U.S. Department of Health and Human Services (45 CFR"
    " 160.306). Nobody may treat you worse for it."
)
_RIGHTS = (_ASK_AGAIN, _ASK_US, _COMPLAIN)


@dataclass(frozen=True, slots=True)
class _Styles:
    """How paragraphs look."""

    plain: Any
    small: Any
    title: Any
    heading: Any
    bullet: Any
    head: Any


@cache
def _styles() -> _Styles:
    """Return the styles, having made the fonts known."""
    registerFont(TTFont(_PLAIN, str(_FONTS / "DejaVuSans.ttf")))
    registerFont(TTFont(_BOLD, str(_FONTS / "DejaVuSans-Bold.ttf")))
    registerFontFamily(_PLAIN, normal=_PLAIN, bold=_BOLD, italic=_PLAIN, boldItalic=_BOLD)
    plain = ParagraphStyle(
        "plain",
        fontName=_PLAIN,
        bulletFontName=_PLAIN,
        fontSize=9.5,
        leading=13,
        textColor=_INK,
        alignment=TA_LEFT,
        splitLongWords=1,
    )
    return _Styles(
        plain=plain,
        small=ParagraphStyle("small", plain, fontSize=8.5, leading=11.5),
        title=ParagraphStyle("title", plain, fontName=_BOLD, fontSize=19, leading=24, spaceAfter=4),
        heading=ParagraphStyle("heading", plain, fontName=_BOLD, fontSize=11, leading=15, spaceBefore=13, spaceAfter=4),
        bullet=ParagraphStyle("bullet", plain, leftIndent=12, bulletIndent=1, spaceAfter=2),
        head=ParagraphStyle("head", plain, fontName=_BOLD, fontSize=8.5, leading=11.5),
    )


@cache
def _printable() -> frozenset[int]:
    """Return the characters that are in both fonts."""
    faces = [TTFont(name, str(_FONTS / f"DejaVuSans{weight}.ttf")).face for name, weight in (("", ""), ("b", "-Bold"))]
    return frozenset.intersection(*(frozenset(face.charToGlyph) for face in faces))


def print_accounting(accounting: Accounting) -> bytes:
    """Return the document. Each page says how many there are, so that a lost one is missed."""
    pages, _ = _drawn(accounting, of=0)
    return _drawn(accounting, of=pages)[1]


def _drawn(accounting: Accounting, *, of: int) -> tuple[int, bytes]:
    written, characters = BytesIO(), Characters(_printable())
    styles, practice = _styles(), characters.shown(accounting.practice)

    def footer(canvas: Canvas, document: SimpleDocTemplate) -> None:
        canvas.saveState()
        canvas.setFont(_PLAIN, 8)
        canvas.setFillColor(_FAINT)
        canvas.drawString(_EDGE, 0.5 * inch, f"{TITLE} · {_told(accounting.given_on)}")
        canvas.drawRightString(LETTER[0] - _EDGE, 0.5 * inch, f"Page {document.page} of {of}")
        canvas.restoreState()

    document = SimpleDocTemplate(
        written,
        pagesize=LETTER,
        leftMargin=_MARGIN,
        rightMargin=_MARGIN,
        topMargin=0.6 * inch,
        bottomMargin=_MARGIN,
        title=TITLE,
        author=accounting.practice,
        subject="45 CFR 164.528",
        creator="Clarity",
        lang="en-US",
        displayDocTitle=True,
        initialFontName=_PLAIN,
    )
    story = [*_opening(accounting, practice, characters, styles), *_list(accounting, characters, styles)]
    story += [*_closing(practice, styles), *_of_missing(characters, styles)]
    document.build(story, onFirstPage=footer, onLaterPages=footer)
    return document.page, written.getvalue()


def _opening(accounting: Accounting, practice: str, characters: Characters, styles: _Styles) -> Iterator[Any]:
    period = accounting.period
    facts = (
        ("Prepared for", f"<b>{_text(accounting.name, characters)}</b>"),
        ("Prepared by", escape(practice)),
        ("Prepared on", _told(accounting.given_on)),
        ("For the time", f"{_told(period.since)} to {_told(period.until)}"),
    )
    yield Paragraph(TITLE, styles.title)
    yield Paragraph("To whom we gave information about your health, and why", styles.plain)
    yield Spacer(0, 12)
    yield Table(
        [[Paragraph(title, styles.small), Paragraph(fact, styles.plain)] for title, fact in facts],
        colWidths=(1.1 * inch, _WIDTH - 1.1 * inch),
        style=TableStyle(
            [
                ("VALIGN", (0, 0), (-1, -1), "TOP"),
                ("LEFTPADDING", (0, 0), (-1, -1), 0),
                ("TOPPADDING", (0, 0), (-1, -1), 1),
                ("BOTTOMPADDING", (0, 0), (-1, -1), 1),
            ]
        ),
        hAlign="LEFT",
        splitInRow=1,
    )
    yield Spacer(0, 12)


def _list(accounting: Accounting, characters: Characters, styles: _Styles) -> Iterator[Any]:
    if not accounting.disclosures:
        yield Paragraph("<b>In this time there is nothing that has to be listed.</b>", styles.plain)
        return
    count = len(accounting.disclosures)
    noun = "entry" if count == 1 else "entries"
    yield Paragraph(
        f"The list has {count} {noun}, the oldest first. You have a right to it under 45 CFR 164.528.", styles.plain
    )
    yield Spacer(0, 8)
    rows = [[Paragraph(title, styles.head) for title in _COLUMNS]]
    rows += [[Paragraph(cell, styles.small) for cell in _cells(one, characters)] for one in accounting.disclosures]
    yield Table(
        rows,
        colWidths=[share * _WIDTH for share in _SHARES],
        style=TableStyle(
            [
                ("VALIGN", (0, 0), (-1, -1), "TOP"),
                ("BACKGROUND", (0, 0), (-1, 0), _SHADE),
                ("LINEBELOW", (0, 0), (-1, -1), 0.6, _RULE),
                ("LEFTPADDING", (0, 0), (-1, -1), 5),
                ("RIGHTPADDING", (0, 0), (-1, -1), 5),
                ("TOPPADDING", (0, 0), (-1, -1), 5),
                ("BOTTOMPADDING", (0, 0), (-1, -1), 6),
            ]
        ),
        repeatRows=1,
        splitInRow=1,
    )


def _cells(one: Disclosure, characters: Characters) -> Sequence[str]:
    recipient, address = _text(one.recipient, characters), _text(one.address, characters)
    purpose = _text(one.purpose, characters)
    if one.request.strip():
        asked = f"At a written request, of which a copy goes with this list: {_text(one.request, characters)}"
        purpose = f"{purpose}<br/>{asked}" if purpose else asked
    return (
        _when(one, characters),
        f"<b>{recipient}</b><br/>{address or 'Address not known'}",
        _text(one.what, characters),
        purpose,
    )


def _when(one: Disclosure, characters: Characters) -> str:
    series = one.series
    if series is None:
        return _told(one.made_on)
    often = [_text(series.frequency, characters)] if series.frequency.strip() else []
    often += [f"{series.number} times in all"] if series.number else []
    return f"{_told(one.made_on)} to {_told(series.last_on)}<br/>{', '.join(often)}"


def _closing(practice: str, styles: _Styles) -> Iterator[Any]:
    bullets = [
        Paragraph(f"{text} <font size='8' color='#57606a'>{paragraph}</font>", styles.bullet, bulletText="•")
        for text, paragraph in _LEFT_OUT
    ]
    first = Paragraph("The law (45 CFR 164.528) does not ask us to list information that we gave:", styles.plain)
    yield KeepTogether([Paragraph("What this list leaves out", styles.heading), first, Spacer(0, 3), *bullets])
    yield Spacer(0, 4)
    yield Paragraph(_SUSPENDED, styles.plain)
    rights = [Paragraph(escape(right.format(practice=practice)), styles.bullet, bulletText="•") for right in _RIGHTS]
    yield KeepTogether([Paragraph("What you can do", styles.heading), *rights])


def _of_missing(characters: Characters, styles: _Styles) -> Iterator[Any]:
    """Say which characters could not be printed: a name that is cut silently is somebody else's."""
    if not characters.missing:
        return
    named = "; ".join(f"U+{ord(one):04X} {name.lower()}" for one, name in sorted(characters.missing.items())[:40])
    more = "; and others" if len(characters.missing) > 40 else ""
    yield Paragraph("Characters we could not print", styles.heading)
    yield Paragraph(
        "Some names or words here have characters that our printing does not have. In their place stand their numbers,"
        " in brackets. The same list as a table (CSV) has them as they are written; ask us for it."
        f" They are: {escape(named)}{more}.",
        styles.plain,
    )


def _text(text: str, characters: Characters) -> str:
    """Return a text of the record as the markup of a paragraph."""
    return _LINES.sub("<br/>", escape(characters.shown(text.strip()), quote=False))


def _told(day: date) -> str:
    return f"{_MONTHS[day.month - 1]} {day.day}, {day.year}"
