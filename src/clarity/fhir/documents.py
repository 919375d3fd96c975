"""Documents as FHIR R4 resources, of which those in plain text become notes.

Lost on the way in: narrative, `meta`, identifiers, categories, custodians, who authenticated a document, how documents
relate to each other, formats, and all forms of a document but the first that is text.
"""

import re
from base64 import b64decode
from binascii import Error as NotBase64
from codecs import lookup
from datetime import UTC, datetime, time

from clarity.application.imports import NOBODY, IncomingRecord, LeftOut
from clarity.domain.dates import PartialDate
from clarity.domain.errors import Invalid
from clarity.domain.ids import NoteId, PatientId
from clarity.domain.notes import MAX_TITLE, Note, NoteKind
from clarity.domain.people import Concept
from clarity.domain.records import Label
from clarity.domain.values import within
from clarity.fhir import resources
from clarity.fhir.charting import Chartable, digest_of, in_words_of_fhir, label_of, read_when
from clarity.fhir.datatypes import read_concept
from clarity.fhir.resources import CompositionStatus, DocumentStatus

_TEXTS = ("text/markdown", "text/plain")
_CHARSET = re.compile(r'charset\s*=\s*"?([A-Za-z0-9._:-]{1,40})"?', re.ASCII)
_CHARSETS = frozenset({"utf-8", "ascii", "iso8859-1", "iso8859-15", "cp1252", "utf-16"})
# LOINC, of which 78263-1 and 78306-8 are from the US Behavioral Health Profiles 0.1.0. Any other is a progress note: a
# "history and physical note" (34117-2), too, since some systems write one at every visit.
_KINDS = {"18842-5": NoteKind.DISCHARGE, "78263-1": NoteKind.DISCHARGE, "78306-8": NoteKind.INTAKE}
_LOINC = "http://loinc.org"
_ELEMENTS = {
    "about": "context.period.start",
    "body": "content.attachment.data",
    "encounter": "context.encounter",
    "label": "securityLabel",
    "source_type": "type",
    "title": "type",
    "written_by": "author",
}


def read_document(resource: resources.DocumentReference, about: Chartable) -> IncomingRecord | LeftOut:
    """Return the note of a `DocumentReference` resource, or why there is none. Raises `Invalid` naming the element."""
    label = label_of(resource.meta, resource.security_label)
    if reason := _unfit(resource, label):
        return about.left_out(reason)
    subject = about.subject(resource.subject)
    if subject is None:
        return about.left_out("of no patient")
    body = _text(resource)
    if body is None:
        return about.left_out("without text of its own")
    if not body.strip():
        return about.left_out("empty")
    with within("type"):
        kind = read_concept(resource.type)
    when, written = _when(resource)
    author = resource.author[0] if resource.author else None
    with in_words_of_fhir(_ELEMENTS):
        record = Note(
            id=NoteId(about.around.new_id()),
            patient=PatientId(NOBODY),
            kind=_kind(kind),
            title=_title(resource, kind),
            body=body,
            about=when if isinstance(when, datetime) else None,
            about_day=when if isinstance(when, PartialDate) else None,
            encounter=next((one.reference for one in resource.context.encounter), ""),
            written_by="; ".join(one.display for one in resource.author if one.display),
            sources=(about.source,),
            source_type=kind,
            source_digest=digest_of(resource),
            signed_at=written,
            label=label,
        )
    return about.incoming(record, subject=subject, at=when, practitioner=about.practitioner(author))


def _unfit(resource: resources.DocumentReference, label: Label) -> str:
    """Return why a document is no note of ours, whatever it says; "" if it may be."""
    in_error = resource.doc_status is CompositionStatus.ENTERED_IN_ERROR
    if in_error or resource.status is DocumentStatus.ENTERED_IN_ERROR:
        return "entered in error"
    if resource.doc_status is CompositionStatus.PRELIMINARY:
        return "preliminary"
    return "psychotherapy note" if label is Label.PSYCHOTHERAPY else ""


def _when(resource: resources.DocumentReference) -> tuple[datetime | PartialDate, datetime]:
    """Return when what a document tells of took place, as exactly as that is known, and when it was written."""
    dated = read_when("date", resource.date)
    period = resource.context.period
    began = read_when("context.period.start", period.start) if period is not None else None
    when = began or dated
    if when is None:
        raise Invalid("date", "is missing")
    return when, _instant_of(dated or when)


def _instant_of(when: datetime | PartialDate) -> datetime:
    return when if isinstance(when, datetime) else datetime.combine(when.first, time(), UTC)


def _text(resource: resources.DocumentReference) -> str | None:
    """Return what a document says in the first of its forms that is text, or `None` if none is."""
    for number, content in enumerate(resource.content):
        attachment = content.attachment
        kind, _, parameters = attachment.content_type.partition(";")
        if attachment.data and kind.strip().lower() in _TEXTS:
            with within(f"content.{number}.attachment"):
                return _decoded(attachment.data, parameters)
    return None


def _decoded(data: str, parameters: str) -> str:
    try:
        content = b64decode("".join(data.split()), validate=True)
    except (NotBase64, ValueError):
        raise Invalid("data", "is not base64") from None
    named = _CHARSET.search(parameters)
    try:
        charset = lookup(named[1] if named else "utf-8").name
    except LookupError:
        charset = ""
    if charset not in _CHARSETS:
        raise Invalid("contentType", "names a character set that is not known here")
    try:
        return content.decode(charset).removeprefix("\ufeff")
    except UnicodeDecodeError:
        raise Invalid("data", "is not text in the character set that contentType names") from None


def _kind(kind: Concept | None) -> NoteKind:
    codes = [coding.code for coding in kind.codings if coding.system == _LOINC] if kind is not None else []
    return next((_KINDS[code] for code in codes if code in _KINDS), NoteKind.PROGRESS)


def _title(resource: resources.DocumentReference, kind: Concept | None) -> str:
    """Return the first of what may be a title: one line that is not too long."""
    titles = (*(one.attachment.title for one in resource.content), resource.description, str(kind or ""))
    return next((one for one in titles if one.strip() and len(one) <= MAX_TITLE and one.isprintable()), "")
