"""Importing what other systems know: patients, practitioners, and who cares for whom."""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from clarity.application.admission import admit, admit_new, require_right
from clarity.application.ports import BeginWork, Clock, Work
from clarity.application.retry import retrying
from clarity.domain.access import Action, Actor
from clarity.domain.audit import Attempt
from clarity.domain.errors import (
    CannotOpen,
    Conflict,
    DanglingReference,
    DuplicateIdentifier,
    DuplicateMrn,
    Forbidden,
    Invalid,
    NotFound,
    StaleWrite,
    StorageFailed,
    Transient,
)
from clarity.domain.identifiers import Identifier, IdentifierKind, IndexKind, IndexTerm
from clarity.domain.ids import PatientId, PractitionerId
from clarity.domain.patients import Patient
from clarity.domain.practitioners import Practitioner
from clarity.domain.records import Resource
from clarity.domain.values import MAX_ITEMS

# One statement compares this many terms: SQLite nests a chain of alternatives no deeper than 1,000.
_TERMS_AT_A_TIME = 50


@dataclass(frozen=True, slots=True)
class InputLabel:
    """Which file something came from: its place in the list, from 1, and the first 12 hex digits of its SHA-256.

    File names carry patients' names, so `path` is for the operator's own terminal and for nothing else.
    """

    position: int
    digest: str
    path: str = field(default="", repr=False, compare=False)

    def __str__(self) -> str:
        """Name the file without its path."""
        return f"input {self.position} ({self.digest})"


@dataclass(frozen=True, slots=True)
class Place:
    """Where in the inputs something stands: the entry of a bundle or the line of a file, from 1, and the element."""

    label: InputLabel
    entry: int | None = None
    element: str = ""

    def __str__(self) -> str:
        """Name the place without any content."""
        return f"{self.label}, entry {self.entry}" if self.entry is not None else str(self.label)


@dataclass(frozen=True, slots=True)
class BadInput:
    """What could not be imported, and why; neither says what stands there.

    `patients` and `practitioners` are how many of them came with it, as far as it could be read. `unresolved`
    says that it refers to somebody who may come with a later input.
    """

    place: Place
    problem: str
    patients: int = 0
    practitioners: int = 0
    unresolved: bool = False

    def __str__(self) -> str:
        """Name the place and the problem."""
        return f"{self.place}: {self.problem}"


Caregivers = Mapping[IndexTerm, Place]
"""The terms by which those who care for a patient are found (source or NPI), and where each is referred to."""


@dataclass(frozen=True, slots=True)
class IncomingPractitioner:
    """A practitioner as another system knows them, with one source."""

    practitioner: Practitioner
    place: Place


@dataclass(frozen=True, slots=True)
class IncomingPatient:
    """A patient as another system knows them, with one source and no care team but `caregivers`."""

    patient: Patient
    caregivers: Caregivers = field(repr=False)
    place: Place


@dataclass(frozen=True, slots=True)
class IncomingTies:
    """Those who care for a patient who does not come along: `source` says who it is."""

    source: str = field(repr=False)
    caregivers: Caregivers = field(repr=False)
    place: Place


@dataclass(frozen=True, slots=True, kw_only=True)
class Incoming:
    """What is imported together or not at all.

    `unplaced` counts by type what has no place here yet. `again` reads the same once more, where that is
    cheaper than to keep it.
    """

    place: Place
    practitioners: tuple[IncomingPractitioner, ...] = ()
    patients: tuple[IncomingPatient, ...] = ()
    ties: tuple[IncomingTies, ...] = ()
    unplaced: Mapping[str, int] = field(default_factory=dict)
    again: "Callable[[], Incoming | BadInput] | None" = field(default=None, repr=False, compare=False)


class Inputs(Protocol):
    """Everything one import reads."""

    @property
    def expected(self) -> int:
        """How many units there are, as far as that is known by now; it grows while large inputs are read."""
        ...

    def units(self) -> Iterator[Incoming | BadInput]:
        """Read the inputs, one unit at a time; a bad one never ends the others."""
        ...


@dataclass(slots=True, kw_only=True)
class Tally:
    """What became of the records of one kind."""

    added: int = 0
    changed: int = 0
    unchanged: int = 0
    refused: int = 0

    def add(self, other: "Tally") -> None:
        """Count what `other` counted."""
        self.added += other.added
        self.changed += other.changed
        self.unchanged += other.unchanged
        self.refused += other.refused


@dataclass(frozen=True, slots=True)
class Taken:
    """What importing one unit did. `invalid_npis` are the practitioners whose NPI fails its check digit."""

    patients: Tally = field(default_factory=Tally)
    practitioners: Tally = field(default_factory=Tally)
    invalid_npis: set[PractitionerId] = field(default_factory=set)


@dataclass(slots=True)
class ImportReport:
    """What an import did, over all its inputs."""

    patients: Tally = field(default_factory=Tally)
    practitioners: Tally = field(default_factory=Tally)
    unplaced: Counter[str] = field(default_factory=Counter)
    invalid_npis: set[PractitionerId] = field(default_factory=set)
    bad: list[BadInput] = field(default_factory=list)
    units: int = 0

    @property
    def ok(self) -> bool:
        """Whether everything could be imported."""
        return not self.bad

    @property
    def changed_nothing(self) -> bool:
        """Whether everything was here before."""
        written = (self.patients.added, self.patients.changed, self.practitioners.added, self.practitioners.changed)
        return self.ok and not any(written)

    def add(self, unit: Incoming, taken: Taken) -> None:
        """Count a unit that was imported."""
        self.units += 1
        self.patients.add(taken.patients)
        self.practitioners.add(taken.practitioners)
        self.invalid_npis |= taken.invalid_npis
        self.unplaced.update(unit.unplaced)

    def add_bad(self, bad: BadInput) -> None:
        """Count a unit that was refused."""
        self.units += 1
        self.bad.append(bad)
        self.patients.refused += bad.patients
        self.practitioners.refused += bad.practitioners


Progress = Callable[[int, int], None]
"""Told after each unit how many are done, and how many are expected by now."""


@dataclass(frozen=True, slots=True)
class ImportService:
    """The use-cases of importing."""

    begin: BeginWork
    now: Clock

    async def run(self, actor: Actor, inputs: Inputs, *, on_progress: Progress | None = None) -> ImportReport:
        """Import one unit after the other, each in a transaction of its own, and return what was done.

        A unit that refers to somebody unknown is tried once more when all others are through, so the order of
        the inputs does not matter. Importing again what is here already changes nothing. Raises `Forbidden`,
        and `Unavailable` if the database is gone: then what is done stands, and importing again completes it.
        """
        report = ImportReport()
        waiting: list[Callable[[], Incoming | BadInput]] = []
        units = inputs.units()
        while (unit := await asyncio.to_thread(next, units, None)) is not None:
            outcome = await self._outcome(actor, unit)
            if isinstance(unit, Incoming) and isinstance(outcome, BadInput) and outcome.unresolved and unit.again:
                waiting.append(unit.again)
                continue
            _count(report, unit, outcome)
            if on_progress is not None:
                on_progress(report.units, inputs.expected)
        for again in waiting:
            unit = await asyncio.to_thread(again)
            _count(report, unit, await self._outcome(actor, unit))
            if on_progress is not None:
                on_progress(report.units, inputs.expected)
        return report

    async def take(self, actor: Actor, unit: Incoming) -> Taken | BadInput:
        """Import one unit in one transaction; what is wrong with the unit itself is returned, not raised."""
        intake = _Intake(self.begin, self.now, actor, unit)
        try:
            return await intake.run()
        except Transient:
            return _refused(unit, unit.place, "others kept changing the same records; import it again")
        except DanglingReference:
            problem = f"{intake.place.element}: refers to nobody who is known here"
            return _refused(unit, intake.place, problem, unresolved=True)
        except (CannotOpen, Conflict, Invalid, StorageFailed) as exc:
            return _refused(unit, intake.place, str(exc))

    async def _outcome(self, actor: Actor, unit: Incoming | BadInput) -> Taken | BadInput:
        return unit if isinstance(unit, BadInput) else await self.take(actor, unit)


def _count(report: ImportReport, unit: Incoming | BadInput, outcome: Taken | BadInput) -> None:
    if isinstance(outcome, BadInput):
        report.add_bad(outcome)
    elif isinstance(unit, Incoming):
        report.add(unit, outcome)


def _refused(unit: Incoming, place: Place, problem: str, *, unresolved: bool = False) -> BadInput:
    return BadInput(
        place,
        problem,
        patients=len(unit.patients),
        practitioners=len(unit.practitioners),
        unresolved=unresolved,
    )


@dataclass(slots=True)
class _Intake:
    """One unit on its way in. `place` is what is being worked on, for whoever has to say what went wrong."""

    begin: BeginWork
    now: Clock
    actor: Actor
    unit: Incoming
    place: Place = field(init=False)

    def __post_init__(self) -> None:
        self.place = self.unit.place

    @retrying
    async def run(self) -> Taken:
        """Write the unit and return what that did."""
        taken = Taken()
        if not (self.unit.practitioners or self.unit.patients or self.unit.ties):
            return taken
        try:
            async with self.begin() as work:
                known = await self._take_practitioners(work, taken)
                for patient in self.unit.patients:
                    self.place = patient.place
                    await self._take_patient(work, patient, known, taken)
                for ties in self.unit.ties:
                    self.place = ties.place
                    await self._take_ties(work, ties, known, taken)
        except DuplicateMrn:
            raise
        except (StaleWrite, DuplicateIdentifier):
            # Another import brought, or somebody changed, the same record since it was read here.
            raise Transient from None
        return taken

    async def _take_practitioners(self, work: Work, taken: Taken) -> dict[IndexTerm, PractitionerId]:
        """Write the practitioners that are new or changed; return all of the unit by their sources."""
        staff = _Staff(await self._find_practitioners(work, self.unit.practitioners))
        for incoming in self.unit.practitioners:
            self.place = incoming.place
            staff.take(incoming.practitioner)
        written = [one for one in staff.after.values() if one != staff.before.get(one.id)]
        if written:
            attempt = Attempt(
                actor=self.actor,
                action=Action.IMPORT,
                at=self.now(),
                resource=Resource.PRACTITIONER,
                ids=tuple(practitioner.id for practitioner in written),
            )
            require_right(work.note(attempt), Action.IMPORT)
        for practitioner in written:
            if practitioner.id in staff.before:
                await work.practitioners.save(practitioner)
                taken.practitioners.changed += 1
            else:
                await work.practitioners.add(practitioner)
                taken.practitioners.added += 1
        taken.practitioners.unchanged += len(self.unit.practitioners) - len(written)
        taken.invalid_npis.update(one.id for one in staff.met if one.npi and not one.npi_valid)
        return {_source_term(source): one.id for one in staff.met for source in one.sources} | staff.aliases

    async def _find_practitioners(self, work: Work, incoming: Iterable[IncomingPractitioner]) -> list[Practitioner]:
        terms = [term for one in incoming for term in _known_by(one.practitioner)]
        return await _find_by_terms(work, terms)

    async def _take_patient(
        self, work: Work, incoming: IncomingPatient, known: Mapping[IndexTerm, PractitionerId], taken: Taken
    ) -> None:
        """Add a patient nobody has met, or bring a known one in step with the source."""
        patient = incoming.patient
        owner = await work.patients.find_by_source(patient.sources[0])
        if owner is None:
            admit_new(work, self.actor, Action.IMPORT, Resource.PATIENT, patient.id, at=self.now())
            team = await self._resolve(work, incoming.caregivers, known)
            await work.patients.add(replace(patient, care_team=team))
            taken.patients.added += 1
            return
        stored = await self._open(work, owner)
        team = await self._resolve(work, incoming.caregivers, known)
        self.place = incoming.place
        _require_same_patient(stored, patient)
        await self._save(work, stored, _merged(stored, patient, team), taken)

    async def _take_ties(
        self, work: Work, ties: IncomingTies, known: Mapping[IndexTerm, PractitionerId], taken: Taken
    ) -> None:
        """Add caregivers to a patient who was imported before."""
        owner = await work.patients.find_by_source(ties.source)
        if owner is None:
            raise DanglingReference
        stored = await self._open(work, owner)
        team = await self._resolve(work, ties.caregivers, known)
        await self._save(work, stored, replace(stored, care_team=stored.care_team | team), taken)

    async def _open(self, work: Work, owner: PatientId) -> Patient:
        sealed = await work.patients.get(owner)
        try:
            return work.patients.open(admit(work, self.actor, Action.IMPORT, sealed, at=self.now()))
        except NotFound:
            if sealed.standing is not None and sealed.standing.deleted:
                raise Conflict("this patient was deleted here, and an import does not bring them back") from None
            raise Forbidden from None

    async def _save(self, work: Work, stored: Patient, merged: Patient, taken: Taken) -> None:
        if merged.changed_from(stored):
            await work.patients.save(merged)
            taken.patients.changed += 1
        else:
            taken.patients.unchanged += 1

    async def _resolve(
        self, work: Work, caregivers: Caregivers, known: Mapping[IndexTerm, PractitionerId]
    ) -> frozenset[PractitionerId]:
        """Return who the terms lead to; raises `DanglingReference` for one that leads to nobody, or to several."""
        unknown = [term for term in caregivers if term not in known]
        found = await _find_by_terms(work, unknown)
        team = {known[term] for term in caregivers if term in known}
        for term in unknown:
            matches = [one.id for one in found if _matches(one, term)]
            if len(matches) != 1:
                self.place = caregivers[term]
                raise DanglingReference
            team.add(matches[0])
        return frozenset(team)


class _Staff:
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
        elif known.sources[:1] == (source,):
            self.after[identity] = replace(incoming, id=known.id, version=known.version, sources=known.sources)
        elif source not in known.sources and len(known.sources) < MAX_ITEMS:
            self.after[identity] = replace(known, sources=(*known.sources, source))
        self._by_source[source] = identity
        if incoming.npi_valid:
            self._by_npi.setdefault(incoming.npi, identity)
        self.aliases[_source_term(source)] = identity


async def _find_by_terms(work: Work, terms: Sequence[IndexTerm]) -> list[Practitioner]:
    """Return the practitioners that have any of `terms`, each once."""
    found: dict[PractitionerId, Practitioner] = {}
    for start in range(0, len(terms), _TERMS_AT_A_TIME):
        for one in await work.practitioners.find_by_terms(terms[start : start + _TERMS_AT_A_TIME]):
            found[one.id] = one
    return list(found.values())


def _source_term(source: str) -> IndexTerm:
    return IndexTerm(IndexKind.SOURCE, source)


def _known_by(practitioner: Practitioner) -> Iterator[IndexTerm]:
    """Yield the terms that tell who it is: the source, and the NPI unless it fails its check digit."""
    yield _source_term(practitioner.sources[0])
    if practitioner.npi_valid:
        yield IndexTerm(IndexKind.NPI, practitioner.npi)


def _matches(practitioner: Practitioner, term: IndexTerm) -> bool:
    if term.kind is IndexKind.NPI:
        return practitioner.npi.strip() == term.text.strip()
    return term.text in practitioner.sources


def _require_same_patient(stored: Patient, incoming: Patient) -> None:
    """Raise `Conflict` if both have medical record numbers, and none in common: ids of two systems collided."""
    known, came = ({(mrn.system, mrn.value) for mrn in patient.mrns} for patient in (stored, incoming))
    if known and came and known.isdisjoint(came):
        raise Conflict("this source id belongs to a patient with another MRN; name the source with --source")


def _merged(stored: Patient, incoming: Patient, team: frozenset[PractitionerId]) -> Patient:
    """Return the stored patient with what the source says.

    What only this practice says stays: notes, label, discharge, contacts and insurances the source does not
    have, medical record numbers of its own. Caregivers are added and never taken away: an encounter shows
    who cared for somebody, not who no longer does.
    """
    return replace(
        incoming,
        id=stored.id,
        version=stored.version,
        identifiers=_with_own_mrns(stored, incoming),
        contacts=incoming.contacts or stored.contacts,
        insurances=incoming.insurances or stored.insurances,
        notes=stored.notes,
        discharged=stored.discharged,
        label=stored.label,
        sources=stored.sources,
        care_team=stored.care_team | team,
    )


def _with_own_mrns(stored: Patient, incoming: Patient) -> tuple[Identifier, ...]:
    ours = tuple(mrn for mrn in stored.mrns if not mrn.system)
    theirs = any(one.kind is IdentifierKind.MRN and not one.system for one in incoming.identifiers)
    return incoming.identifiers if theirs else (*incoming.identifiers, *ours)
