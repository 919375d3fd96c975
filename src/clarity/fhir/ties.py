"""Who cares for whom: gathered while reading, settled once everybody who may be meant has been read."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from clarity.application.imports import BadInput, Caregivers, IncomingTies, Place
from clarity.domain.errors import Invalid
from clarity.domain.identifiers import NPI_SYSTEM, IndexKind, IndexTerm
from clarity.fhir import resources
from clarity.fhir.references import Directory, Known, parse_reference
from clarity.fhir.resources import CareTeamStatus, EncounterStatus

_NEVER_HAPPENED = (EncounterStatus.CANCELLED, EncounterStatus.ENTERED_IN_ERROR)
_NOT_AT_WORK = (CareTeamStatus.PROPOSED, CareTeamStatus.INACTIVE, CareTeamStatus.ENTERED_IN_ERROR)


@dataclass(slots=True, repr=False)
class _Subject:
    """Somebody who is cared for: where that is first said, and by whom, as the references are written."""

    place: Place
    caregivers: dict[str, Place] = field(default_factory=dict)


class Ties:
    """Who cares for whom in one bundle, or in the files that belong together.

    Holds references only, so that it stays small beside what it is gathered from. `system` is the name of the
    source. A reference is dangling if it has to lead to a resource of this input and does not; where it may
    lead to one imported before, the use-case finds out.
    """

    def __init__(self, system: str, directory: Directory) -> None:
        self._system = system
        self._directory = directory
        self._roles: dict[Known, str] = {}
        self._said: dict[str, _Subject] = {}
        self._settled: dict[str, _Subject] = {}

    def add_role(self, role: Known, resource: resources.PractitionerRole) -> None:
        """Remember which practitioner a role stands for."""
        if resource.practitioner is not None and resource.practitioner.reference:
            self._roles[role] = resource.practitioner.reference

    def add_encounter(self, encounter: resources.Encounter, place: Place) -> None:
        """Gather who took part in an encounter, unless it never happened."""
        if encounter.status not in _NEVER_HAPPENED:
            subject = self._subject(encounter.subject, replace(place, element="Encounter.subject"))
            for number, participant in enumerate(encounter.participant):
                element = f"Encounter.participant.{number}.individual"
                self._add(subject, participant.individual, replace(place, element=element))

    def add_care_team(self, care_team: resources.CareTeam, place: Place) -> None:
        """Gather the members of a care team that is at work."""
        if care_team.status not in _NOT_AT_WORK:
            subject = self._subject(care_team.subject, replace(place, element="CareTeam.subject"))
            for number, participant in enumerate(care_team.participant):
                element = f"CareTeam.participant.{number}.member"
                self._add(subject, participant.member, replace(place, element=element))

    def settle(self) -> Iterator[BadInput]:
        """Find out which patients are meant; yield what leads nowhere. To be called when all has been read."""
        while self._said:
            text, subject = self._said.popitem()
            try:
                source = self._patient(text)
            except Invalid as exc:
                yield _bad(subject.place, exc)
                continue
            if source is None:
                caregivers = self._caregivers(subject)
                if isinstance(caregivers, BadInput):
                    yield caregivers
            elif (settled := self._settled.get(source)) is None:
                self._settled[source] = subject
            else:
                settled.caregivers = subject.caregivers | settled.caregivers

    def of(self, source: str) -> Caregivers | BadInput:
        """Return those who care for a patient, once, or the first reference among them that leads nowhere."""
        subject = self._settled.pop(source, None)
        return {} if subject is None else self._caregivers(subject)

    def practitioner(self, text: str) -> IndexTerm | None:
        """Return what finds the practitioner a reference leads to, or `None` if it leads to somebody else.

        Raises `Invalid` if it leads to nobody. To be called when all has been read.
        """
        return self._practitioner(text)

    def patient(self, text: str) -> str | None:
        """Return the source of the patient a reference leads to, or `None` if it leads to somebody else.

        Raises `Invalid` if it leads to nobody. To be called when all has been read.
        """
        return self._patient(text)

    def rest(self) -> Iterator[IncomingTies | BadInput]:
        """Yield, once, those who care for patients that nobody has asked for with `of`."""
        while self._settled:
            source, subject = self._settled.popitem()
            caregivers = self._caregivers(subject)
            yield caregivers if isinstance(caregivers, BadInput) else IncomingTies(source, caregivers, subject.place)

    def _subject(self, reference: resources.Reference | None, place: Place) -> _Subject:
        text = reference.reference if reference is not None else ""
        return self._said.setdefault(text, _Subject(place))

    def _add(self, subject: _Subject, reference: resources.Reference | None, place: Place) -> None:
        if reference is not None and reference.reference:
            subject.caregivers.setdefault(reference.reference, place)

    def _patient(self, text: str) -> str | None:
        """Return the source of the patient a reference leads to, or `None` if the subject is no patient."""
        reference = parse_reference(text) if text else None
        if reference is None:
            return None
        known = self._directory.find(reference)
        if known is None and reference.type == "Patient" and reference.id:
            known = Known(reference.type, reference.id)  # of an earlier import, perhaps
        if known is not None:
            return known.source(self._system) if known.type == "Patient" else None
        if reference.type in {"Patient", ""}:
            raise Invalid("", "refers to nobody in this input")
        return None

    def _caregivers(self, subject: _Subject) -> Caregivers | BadInput:
        caregivers = {}
        for text, place in subject.caregivers.items():
            try:
                term = self._practitioner(text)
            except Invalid as exc:
                return _bad(place, exc)
            if term is not None:
                caregivers[term] = place
        return caregivers

    def _practitioner(self, text: str, *, in_role: bool = True) -> IndexTerm | None:
        """Return what finds the practitioner a reference leads to, or `None` if it leads to somebody else."""
        reference = parse_reference(text)
        if reference is None:
            return None
        known = self._directory.find(reference)
        if known is not None and known in self._roles:
            return self._practitioner(self._roles[known], in_role=False) if in_role else None
        if known is None and reference.type == "Practitioner" and reference.id:
            known = Known(reference.type, reference.id)  # of an earlier import, perhaps
        if known is not None:
            is_one = known.type == "Practitioner"
            return IndexTerm(IndexKind.SOURCE, known.source(self._system)) if is_one else None
        if reference.type == "Practitioner" and reference.system in {NPI_SYSTEM, None}:
            return IndexTerm(IndexKind.NPI, reference.value)
        if reference.type in {"Practitioner", ""}:
            raise Invalid("", "refers to nobody in this input")
        return None


def _bad(place: Place, exc: Invalid) -> BadInput:
    return BadInput(place, f"{place.element}: {exc.rule}")
