"""One unit of an import, written in one unit of work."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from operator import attrgetter

from clarity.application.admission import admit, admit_new, require_right
from clarity.application.imports.charts import ChartIntake
from clarity.application.imports.incoming import (
    Caregivers,
    Incoming,
    IncomingPatient,
    IncomingTies,
    Place,
)
from clarity.application.imports.merging import merged, require_same_patient
from clarity.application.imports.report import Taken
from clarity.application.imports.staff import Staff, find_by_terms, known_by, matches, source_term
from clarity.application.ports import BeginWork, Clock, Work
from clarity.application.retry import retrying
from clarity.domain.access import Action, Actor
from clarity.domain.audit import Attempt
from clarity.domain.errors import (
    Conflict,
    DanglingReference,
    DuplicateIdentifier,
    DuplicateMrn,
    Forbidden,
    NotFound,
    StaleWrite,
    Transient,
)
from clarity.domain.identifiers import IndexTerm
from clarity.domain.ids import PatientId, PractitionerId
from clarity.domain.patients import Patient
from clarity.domain.practitioners import Practitioner
from clarity.domain.records import Resource


@dataclass(slots=True)
class Intake:
    """One unit on its way in. `place` is what is being worked on, for whoever has to say what went wrong."""

    begin: BeginWork
    now: Clock
    actor: Actor
    unit: Incoming
    place: Place = field(init=False)
    _away: set[PractitionerId] = field(default_factory=set, init=False)
    _met: Mapping[PractitionerId, Practitioner] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        self.place = self.unit.place

    @retrying
    async def run(self) -> Taken:
        """Write the unit and return what that did."""
        taken = Taken()
        self.place = self.unit.place
        unit = self.unit
        if not (unit.practitioners or unit.patients or unit.ties or unit.specialties or unit.records):
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
                await self._take_records(work, known, taken)
        except DuplicateMrn:
            raise
        except (StaleWrite, DuplicateIdentifier):
            # Another import brought, or somebody changed, the same record since it was read here.
            raise Transient from None
        return taken

    async def _take_practitioners(self, work: Work, taken: Taken) -> dict[IndexTerm, PractitionerId]:
        """Write the practitioners that are new or changed; return all of the unit by their sources."""
        terms = [term for incoming in self.unit.practitioners for term in known_by(incoming.practitioner)]
        terms += [said.holder for said in self.unit.specialties]
        staff = Staff(await find_by_terms(work, terms))
        for incoming in self.unit.practitioners:
            self.place = incoming.place
            staff.take(incoming.practitioner)
        staff.specialise(self.unit.specialties)
        self._met = staff.after
        self._away = {one.id for one in staff.after.values() if not one.active}
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
                # In folders, a first specialty comes after its holder, and belongs to their arrival.
                is_rest = not self.unit.practitioners and staff.before[practitioner.id].specialty is None
                taken.practitioners.changed += not is_rest
            else:
                await work.practitioners.add(practitioner)
                taken.practitioners.added += 1
        met = {one.id for one in staff.met}
        taken.practitioners.unchanged += len(self.unit.practitioners) - sum(one.id in met for one in written)
        taken.invalid_npis.update(one.id for one in staff.met if one.npi and not one.npi_valid)
        return {source_term(source): one.id for one in staff.met for source in one.sources} | staff.aliases

    async def _take_patient(
        self, work: Work, incoming: IncomingPatient, known: Mapping[IndexTerm, PractitionerId], taken: Taken
    ) -> None:
        """Add a patient nobody has met, or bring a known one in step with the source."""
        patient = incoming.patient
        patient.require_born(self.now())
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
        require_same_patient(stored, patient)
        spoken_of = merged(stored, patient, team)
        if spoken_of.changed_from(stored):
            # The source knows nothing of the records that were merged into this one.
            for merge in await work.duplicates.merges_into(owner):
                spoken_of = merge.moved.kept_in(spoken_of, stored)
        await self._save(work, stored, spoken_of, taken)

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

    async def _take_records(self, work: Work, known: Mapping[IndexTerm, PractitionerId], taken: Taken) -> None:
        """Write the records in charts, now that everybody they are about is here."""
        if not self.unit.records:
            return
        terms = {one.practitioner for one in self.unit.records if one.practitioner is not None}
        practitioners = {term: self._met[known[term]] for term in terms if term in known}
        unknown = sorted(terms - practitioners.keys(), key=attrgetter("kind", "text"))
        found = await find_by_terms(work, unknown)
        for term in unknown:
            met = [one for one in found if matches(one, term)]
            if len(met) == 1:
                practitioners[term] = met[0]
        charts = ChartIntake(work, self.actor, self.now(), taken.records, self._work_on, practitioners)
        await charts.take(self.unit.records)

    def _work_on(self, place: Place) -> None:
        self.place = place

    async def _open(self, work: Work, owner: PatientId) -> Patient:
        sealed = await work.patients.get(owner)
        try:
            return work.patients.open(admit(work, self.actor, Action.IMPORT, sealed, at=self.now()))
        except NotFound:
            if sealed.standing is not None and sealed.standing.deleted:
                gone = "this patient was deleted or merged here, and an import does not bring them back"
                raise Conflict(gone) from None
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
        found = await find_by_terms(work, unknown)
        team = {known[term] for term in caregivers if term in known}
        for term in unknown:
            candidates = [one.id for one in found if matches(one, term)]
            if len(candidates) != 1:
                self.place = caregivers[term]
                raise DanglingReference
            team.add(candidates[0])
        # Whoever does not work here any more joins no care team; those who are in one stay.
        self._away |= {one.id for one in found if not one.active}
        return frozenset(team - self._away)
