"""What practitioners are trained in, which FHIR says of the roles they have."""

from collections.abc import Callable, Iterator

from clarity.application.imports import IncomingSpecialty, Place
from clarity.domain.errors import Invalid
from clarity.domain.identifiers import NPI_SYSTEM, IndexKind, IndexTerm
from clarity.domain.people import Concept
from clarity.fhir import resources
from clarity.fhir.datatypes import read_concept


class Specialties:
    """The specialties in one bundle, or in the files that belong together: the first that is said of somebody.

    `find` returns what finds the practitioner a reference leads to, and raises `Invalid` if it leads nowhere.
    """

    def __init__(self, system: str, find: Callable[[str], IndexTerm | None]) -> None:
        self._system = system
        self._find = find
        self._said: list[tuple[resources.RoleReference, Concept, Place]] = []

    def add(self, role: resources.PractitionerRole, place: Place) -> None:
        """Gather the specialty of a role that is held still; its second and further ones are left out."""
        if role.practitioner is None or role.active is False:
            return
        concepts = map(read_concept, role.specialty)
        specialty = next((concept for concept in concepts if concept is not None), None)
        if specialty is not None:
            self._said.append((role.practitioner, specialty, place))

    def settle(self) -> Iterator[IncomingSpecialty]:
        """Yield each specialty, once, with whom it is said of. A role of nobody who is known says nothing."""
        told: set[IndexTerm] = set()
        for reference, specialty, place in self._said:
            term = self._holder(reference)
            if term is not None and term not in told:
                told.add(term)
                yield IncomingSpecialty(term, specialty, self._system, place)
        self._said.clear()

    def _holder(self, reference: resources.RoleReference) -> IndexTerm | None:
        if reference.reference:
            try:
                return self._find(reference.reference)
            except Invalid:
                return None
        number = reference.identifier
        if number is not None and number.system == NPI_SYSTEM and number.value:
            return IndexTerm(IndexKind.NPI, number.value)
        return None
