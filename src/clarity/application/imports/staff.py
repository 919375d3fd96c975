"""Telling practitioners apart who come from several sources."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from clarity.application.imports.incoming import IncomingSpecialty
from clarity.application.ports import Work
from clarity.domain.identifiers import IndexKind, IndexTerm
from clarity.domain.ids import PractitionerId
from clarity.domain.practitioners import Practitioner
from clarity.domain.values import MAX_ITEMS

# One statement compares this many terms: SQLite nests a chain of alternatives no deeper than 1,000.
_TERMS_AT_A_TIME = 50


class Staff:
    """The practitioners a unit is about: as they are stored (`before`), and as they will be (`after`), by id."""

    def __init__(self, stored: Iterable[Practitioner]) -> None:
        self.before = {one.id: one for one in stored}
        self.after = dict(self.before)
        self.aliases: dict[IndexTerm, PractitionerId] = {}
        self._by_source = {source: one.id for one in self.before.values() for source in one.sources}
        self._by_npi = {one.npi: one.id for one in self.before.values() if one.npi_valid}

    @property
    def met(self) -> list[Practitioner]:
        """Those the unit named, as they will be."""
        return [self.after[one] for one in dict.fromkeys(self.aliases.values())]

    def take(self, incoming: Practitioner) -> None:
        """Add a practitioner, or bring the known one in step with the source.

        The first source of a practitioner is the one that is followed. Another one that has somebody with the
        same NPI is remembered, and changes nothing: else two sources that differ would take turns at it, and
        importing again would never come to rest.
        """
        source = incoming.sources[0]
        by_npi = self._by_npi.get(incoming.npi) if incoming.npi_valid else None
        identity = self._by_source.get(source, by_npi) or incoming.id
        known = self.after.get(identity)
        if known is None:
            self.after[identity] = incoming
        elif not known.sources or known.sources[0] == source:
            self.after[identity] = replace(
                incoming,
                id=known.id,
                version=known.version,
                sources=known.sources or incoming.sources,
                specialty=known.specialty,
                # Who was sent away here is not taken back by a source that does not know.
                active=known.active and incoming.active,
            )
        elif source not in known.sources and len(known.sources) < MAX_ITEMS:
            self.after[identity] = replace(known, sources=(*known.sources, source))
        self._by_source[source] = identity
        if incoming.npi_valid:
            self._by_npi.setdefault(incoming.npi, identity)
        self.aliases[source_term(source)] = identity

    def specialise(self, specialties: Iterable[IncomingSpecialty]) -> None:
        """Note what practitioners are trained in. The source that is followed decides; any other fills in a blank.

        Of nobody who is known, or of several with one number, nothing is noted.
        """
        by_npi: dict[str, list[PractitionerId]] = {}
        for one in self.after.values():
            by_npi.setdefault(one.npi.strip(), []).append(one.id)
        for said in specialties:
            term = said.holder
            is_source = term.kind is IndexKind.SOURCE
            found = [self._by_source.get(term.text)] if is_source else by_npi.get(term.text.strip(), [])
            if len(found) == 1 and found[0] is not None:
                known = self.after[found[0]]
                followed = bool(known.sources) and known.sources[0].startswith(f"{said.system}|")
                if followed or known.specialty is None:
                    self.after[known.id] = replace(known, specialty=said.specialty)


async def find_by_terms(work: Work, terms: Sequence[IndexTerm]) -> list[Practitioner]:
    """Return the practitioners that have any of `terms`, each once."""
    found: dict[PractitionerId, Practitioner] = {}
    for start in range(0, len(terms), _TERMS_AT_A_TIME):
        for one in await work.practitioners.find_by_terms(terms[start : start + _TERMS_AT_A_TIME]):
            found[one.id] = one
    return list(found.values())


def source_term(source: str) -> IndexTerm:
    """Return the term by which what came from `source` is found."""
    return IndexTerm(IndexKind.SOURCE, source)


def known_by(practitioner: Practitioner) -> Iterator[IndexTerm]:
    """Yield the terms that tell who it is: the source, and the NPI unless it fails its check digit."""
    yield source_term(practitioner.sources[0])
    if practitioner.npi_valid:
        yield IndexTerm(IndexKind.NPI, practitioner.npi)


def matches(practitioner: Practitioner, term: IndexTerm) -> bool:
    """Tell whether a term leads to this practitioner."""
    if term.kind is IndexKind.NPI:
        return practitioner.npi.strip() == term.text.strip()
    return term.text in practitioner.sources
