"""What resources that become records in charts have in common: whose they are, when, by whom, and how confidential."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time
from hashlib import sha256

import msgspec
from msgspec import Raw

from clarity.application.imports import Charted, IncomingRecord, LeftOut, Place
from clarity.application.ports import NewId
from clarity.domain.dates import PartialDate
from clarity.domain.errors import Invalid
from clarity.domain.identifiers import IndexTerm
from clarity.domain.people import Concept
from clarity.domain.records import Label
from clarity.domain.values import Confidential, within
from clarity.fhir import resources
from clarity.fhir.datatypes import read_concept, read_date_time
from clarity.fhir.decoding import decode
from clarity.fhir.references import Known, parse_reference
from clarity.fhir.ties import Ties

# Confidentiality and ActCode of HL7 Terminology. Other labels there say of what a record tells, and not who may see it.
_LABELS = {
    "R": Label.RESTRICTED,
    "V": Label.RESTRICTED,
    "42CFRPart2": Label.PART2,
    "PSYTHPN": Label.PSYCHOTHERAPY,
}
_STRICTEST_FIRST = (Label.PSYCHOTHERAPY, Label.PART2, Label.RESTRICTED)


class Meanings:
    """What resources mean that others refer to for it, such as medicines. Those that are alike are kept once."""

    def __init__(self) -> None:
        self._by_url: dict[str, Concept] = {}
        self._by_name: dict[tuple[str, str], Concept] = {}
        self._alike: dict[Concept, Concept] = {}

    def add(self, name: str, resource: bytes | Raw, full_url: str) -> None:
        """Remember what a resource of type `name` means."""
        coded = decode(resource, resources.Coded)
        with within("code"):
            concept = read_concept(coded.code)
        if concept is None:
            return
        concept = self._alike.setdefault(concept, concept)
        if full_url:
            self._by_url[full_url] = concept
        if coded.id:
            self._by_name[name, coded.id] = concept

    def find(self, text: str) -> Concept | None:
        """Return what the resource means that a reference leads to, if it was read. Raises `Invalid` for no reference.

        Of an identifier, nothing is found.
        """
        reference = parse_reference(text) if text else None
        if reference is None:
            return None
        return self._by_url.get(reference.url) or self._by_name.get((reference.type, reference.id))


@dataclass(frozen=True, slots=True, repr=False)
class Surroundings(Confidential):
    """What else it takes to understand a resource: the others, the day on which it is read, and new ids."""

    ties: Ties
    meanings: Meanings
    today: date
    new_id: NewId


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Chartable(Confidential):
    """A resource of a chart on its way to a record: what it goes by, where it stands, and what is around it."""

    known: Known
    source: str
    place: Place
    around: Surroundings

    def incoming(
        self,
        record: Charted,
        *,
        subject: str,
        at: datetime | PartialDate,
        practitioner: IndexTerm | None = None,
        element: str = "",
    ) -> IncomingRecord:
        """Return the record as the use-case takes it.

        `at` is the day or the instant of what it tells of, and `element` where it refers to a practitioner without whom
        there is no such record.
        """
        instant = datetime.combine(at.first, time(), UTC) if isinstance(at, PartialDate) else at
        return IncomingRecord(
            record=record,
            subject=subject,
            at=instant,
            place=self.place,
            practitioner=practitioner,
            reference=replace(self.place, element=f"{self.known.type}.{element}") if element else None,
        )

    def left_out(self, reason: str) -> LeftOut:
        """Return that the resource is not imported, and why."""
        return LeftOut(self.known.type, reason)

    def subject(self, reference: resources.Reference | None) -> str | None:
        """Return the source of the patient whose it is, `None` for nobody's. Raises `Invalid` naming the element."""
        text = reference.reference if reference is not None else ""
        with within("subject"):
            if not text:
                raise Invalid("", "is missing")
            return self.around.ties.patient(text)

    def practitioner(self, reference: resources.Reference | None) -> IndexTerm | None:
        """Return what finds the practitioner whom a reference leads to, if it does; where it leads, somebody may be."""
        if reference is None or not reference.reference:
            return None
        try:
            return self.around.ties.practitioner(reference.reference)
        except Invalid:
            return None


def digest_of(resource: resources.Element, *more: object) -> bytes:
    """Return the SHA-256 of what was understood of a resource, and of what it refers to."""
    return sha256(b"\0".join(map(msgspec.json.encode, (resource, *more)))).digest()


def label_of(meta: resources.Meta, concepts: Iterable[resources.CodeableConcept] = ()) -> Label:
    """Return how confidential a resource is, by its security labels."""
    codings = (*meta.security, *(coding for concept in concepts for coding in concept.coding))
    found = {_LABELS[coding.code] for coding in codings if coding.code in _LABELS}
    return next((label for label in _STRICTEST_FIRST if label in found), Label.NORMAL)


def read_when(field: str, text: str) -> datetime | PartialDate | None:
    """Return the instant that a `dateTime` names, or the day if it has no time; `None` if it is empty."""
    if not text:
        return None
    with within(field):
        day, instant = read_date_time(text)
    return day if instant is None else instant


def words_for(concepts: Iterable[resources.CodeableConcept | None]) -> str:
    """Return some meanings in words."""
    found = (read_concept(concept) for concept in concepts)
    return "; ".join(dict.fromkeys(str(concept) for concept in found if concept is not None))


def all_of(concepts: Iterable[resources.CodeableConcept | None]) -> Concept | None:
    """Return some meanings as one, with all their codes, and their words where there are several."""
    found = [concept for concept in map(read_concept, concepts) if concept is not None]
    if len(found) < 2:
        return found[0] if found else None
    codings = tuple(dict.fromkeys(coding for concept in found for coding in concept.codings))
    return Concept(codings=codings, text="; ".join(dict.fromkeys(map(str, found))))


@contextmanager
def in_words_of_fhir(elements: Mapping[str, str]) -> Iterator[None]:
    """Let an `Invalid` that names a field of ours name the element of FHIR that it was made of."""
    try:
        yield
    except Invalid as exc:
        head, dot, rest = exc.field.partition(".")
        raise Invalid(f"{elements.get(head, head)}{dot}{rest}", exc.rule) from None
