"""Patients, practitioners and idempotency keys in dictionaries."""

from collections.abc import AsyncIterator, Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from typing import Any
from uuid import UUID

from clarity.application.admission import Admitted, Shown, anybody
from clarity.application.ports import (
    Answered,
    Clock,
    CountedPage,
    FoundHolds,
    Held,
    PatientFilter,
    Revision,
    SourcedRecord,
)
from clarity.domain.access import Action, Consent, ConsentRegister, Scope, decide
from clarity.domain.audit import Attempt
from clarity.domain.break_glass import BreakGlass
from clarity.domain.disclosures import Disclosure, ExportReason
from clarity.domain.duplicates import MOST_SHARING, Duplicate, Moved, in_order, moving, require_merged, watched
from clarity.domain.errors import (
    CannotOpen,
    Conflict,
    DuplicateIdentifier,
    DuplicateMrn,
    DuplicateNpi,
    ReusedKey,
    StaleWrite,
    UnauditedAccess,
)
from clarity.domain.identifiers import IndexKind, IndexTerm
from clarity.domain.ids import BreakGlassId, ClosureId, DisclosureId, DuplicateId, PatientId, PractitionerId
from clarity.domain.patients import Patient, PatientCard, PatientStatus, Removal
from clarity.domain.practitioners import EVERYBODY, Practitioner, PractitionerQuery
from clarity.domain.records import Label, Resource, Sealed, Standing
from clarity.domain.retention import Kept, Retention
from clarity.domain.schedule import Closure
from clarity.persistence.ledger import Ledger
from clarity.security.normalise import NORMALISERS
from tests.builders import NOW, new_id


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredVersion:
    """One version of a patient as the memory keeps it."""

    patient: Patient
    author: UUID
    written_at: datetime
    written_by: UUID

    @property
    def deleted(self) -> bool:
        """Whether this version is a tombstone."""
        return self.patient.removal is not None


@dataclass(slots=True)
class MemoryTables:
    """Everything a practice holds. A unit of work writes to a copy, which takes its place at the end."""

    patients: dict[PatientId, tuple[StoredVersion, ...]] = field(default_factory=dict)
    practitioners: dict[PractitionerId, Practitioner] = field(default_factory=dict)
    answered: dict[tuple[UUID, str], tuple[bytes, Answered]] = field(default_factory=dict)
    consents: dict[PatientId, ConsentRegister] = field(default_factory=dict)
    broken_glass: dict[BreakGlassId, BreakGlass] = field(default_factory=dict)
    duplicates: dict[DuplicateId, Duplicate] = field(default_factory=dict)
    disclosures: dict[DisclosureId, Disclosure] = field(default_factory=dict)
    export_reasons: list[ExportReason] = field(default_factory=list)
    access_reports: dict[date, datetime] = field(default_factory=dict)
    charts: dict[Resource, dict[UUID, tuple[Any, ...]]] = field(default_factory=dict)
    closures: dict[ClosureId, Closure] = field(default_factory=dict)
    sources: dict[str, SourcedRecord] = field(default_factory=dict)
    clock: Clock = lambda: NOW
    broken: frozenset[PatientId] = frozenset()

    def copy(self) -> "MemoryTables":
        """Return tables that can be changed without changing these."""
        return MemoryTables(
            patients=dict(self.patients),
            practitioners=dict(self.practitioners),
            answered=dict(self.answered),
            consents=dict(self.consents),
            broken_glass=dict(self.broken_glass),
            duplicates=dict(self.duplicates),
            disclosures=dict(self.disclosures),
            export_reasons=list(self.export_reasons),
            access_reports=dict(self.access_reports),
            charts={resource: dict(records) for resource, records in self.charts.items()},
            closures=dict(self.closures),
            sources=dict(self.sources),
            clock=self.clock,
            broken=self.broken,
        )

    def sealed(self, stored: StoredVersion) -> Sealed:
        """Return a stored patient as a record still closed."""
        patient = stored.patient
        return Sealed(
            resource=Resource.PATIENT,
            id=patient.id,
            patient=patient.id,
            standing=Standing(
                care_team=patient.care_team,
                guarded=patient.label is not Label.NORMAL,
                deleted=stored.deleted,
                emergencies=self.emergencies_of(patient.id),
            ),
            version=patient.version,
        )

    def emergencies_of(self, patient: PatientId) -> frozenset[UUID]:
        """Return the accounts that broke the glass for a patient and still may see them, by the clock."""
        now = self.clock()
        return frozenset(
            one.account for one in self.broken_glass.values() if one.patient == patient and one.holds_at(now)
        )

    def consents_of(self, patient: PatientId) -> Callable[[], tuple[Consent, ...]]:
        """Return what returns the consents of a patient."""
        return lambda: self.consents[patient].consents if patient in self.consents else ()


@dataclass(slots=True)
class MemoryPatientRepository:
    """`PatientRepository` over `MemoryTables`."""

    tables: MemoryTables
    ledger: Ledger
    _shown: dict[PatientId, tuple[Patient, Shown, Admitted]] = field(default_factory=dict)

    async def get(self, patient: PatientId) -> Sealed:
        versions = self.tables.patients.get(patient)
        if versions is None:
            return Sealed(resource=Resource.PATIENT, id=patient, patient=patient)
        return self.tables.sealed(versions[-1])

    async def get_many(self, patients: Sequence[PatientId]) -> list[Sealed]:
        known = (patient for patient in patients if patient in self.tables.patients)
        return [self.tables.sealed(self.tables.patients[patient][-1]) for patient in known]

    async def find_page(
        self, scope: Scope, conditions: PatientFilter, *, after: PatientId | None, at_most: int
    ) -> list[Sealed]:
        found = self._chosen(scope, conditions)
        page = [one for one in found if after is None or one.patient.id > after][:at_most]
        return [replace(self.tables.sealed(one), resource=scope.resource) for one in page]

    async def find_counted_page(
        self, scope: Scope, conditions: PatientFilter, *, after: PatientId | None, at_most: int
    ) -> CountedPage:
        page = await self.find_page(scope, conditions, after=after, at_most=at_most)
        return CountedPage.of(page, await self.count(scope, conditions))

    async def find_ids(self, scope: Scope, conditions: PatientFilter) -> AsyncIterator[PatientId]:
        for versions in self.tables.patients.values():
            stored = versions[-1]
            if _meets(stored.patient, conditions) and decide(scope, self.tables.sealed(stored)).allowed:
                yield stored.patient.id

    async def ids_in(self, scope: Scope, conditions: PatientFilter) -> frozenset[PatientId]:
        return frozenset([patient async for patient in self.find_ids(scope, conditions)])

    async def count(self, scope: Scope, conditions: PatientFilter) -> int:
        return len(self._chosen(scope, conditions))

    async def unsafe_bulk_open(
        self, scope: Scope, conditions: PatientFilter
    ) -> AsyncIterator[tuple[Sealed, PatientCard | None]]:
        for stored in self._chosen(scope, conditions):
            patient = stored.patient
            card = PatientCard(
                id=patient.id,
                names=patient.names,
                born=patient.born,
                gender=patient.gender,
                birth_sex=patient.birth_sex,
                identifiers=patient.identifiers,
                changed_at=stored.written_at,
            )
            yield self.tables.sealed(stored), None if patient.id in self.tables.broken else card

    async def admissible(self, scope: Scope, patients: Collection[PatientId]) -> frozenset[PatientId]:
        chosen = self._chosen(scope, PatientFilter(patients=frozenset(patients)))
        return frozenset(stored.patient.id for stored in chosen if stored.patient.id not in self.tables.broken)

    async def find_by_source(self, source: str) -> PatientId | None:
        return next(
            (patient for patient, versions in self.tables.patients.items() if source in versions[-1].patient.sources),
            None,
        )

    def open(self, admitted: Admitted, *, provided: Callable[[Patient], bool] = anybody) -> Patient:
        patient = self.tables.patients[admitted.record.patient][admitted.record.version - 1].patient
        if patient.id in self.tables.broken:
            raise CannotOpen
        admitted.require(met=provided(patient))
        shown = admitted.check_label(patient.label, self.tables.consents_of(patient.id))
        self.ledger.disclose(admitted.record.resource, patient.id)
        self._shown[patient.id] = (patient, shown, admitted)
        return _as_shown(patient, shown)

    async def add(self, patient: Patient) -> Patient:
        stamp = self.ledger.stamp()
        saved = replace(patient, version=1)
        self._require_unique(saved)
        self.tables.patients[saved.id] = (
            StoredVersion(patient=saved, author=stamp.by, written_at=stamp.at, written_by=stamp.by),
        )
        self.ledger.change(Resource.PATIENT, saved.id, version=1, fields=int(saved.filled))
        self._look(saved, watched(saved.terms))
        return saved

    async def save(self, patient: Patient, *, lose_sight: bool = False) -> Patient:
        original, shown, admitted = self._original_of(patient)
        complete = patient.with_hidden_of(original, shown.fields)
        if complete.label is not original.label:
            consents = self.tables.consents_of(patient.id)
            shown = admitted.check_relabel(complete.label, consents, lose_sight=lose_sight)
        return _as_shown(self._replace(original, complete), shown)

    def check_label(self, admitted: Admitted) -> None:
        patient = admitted.record.patient
        if patient in self.tables.broken:
            raise CannotOpen
        admitted.check_label(self.tables.patients[patient][-1].patient.label, self.tables.consents_of(patient))

    def require_also(self, admitted: Admitted, action: Action) -> None:
        patient = admitted.record.patient
        label = self.tables.patients[patient][-1].patient.label
        admitted.require_also(action, label, self.tables.consents_of(patient))

    def kept(self, admitted: Admitted, rule: Retention) -> Kept:
        stored = self.tables.patients[admitted.record.patient][admitted.record.version - 1]
        return rule.of(stored.patient, stored.written_at)

    async def remove(self, patient: Patient, removal: Removal) -> None:
        original, *_ = self._original_of(patient)
        self._replace(original, replace(original, removal=removal, care_team=frozenset()))

    async def restore(self, patient: Patient) -> Patient:
        original, shown, _ = self._original_of(patient)
        if original.removal is None:
            raise Conflict("the record was not removed")
        before = self.tables.patients[original.id][original.version - 2].patient
        restored = replace(original, removal=None, care_team=before.care_team)
        return _as_shown(self._replace(original, restored), shown)

    async def find_holds(self, scope: Scope, *, after: PatientId | None, at_most: int) -> FoundHolds:
        held = [
            Held(patient=stored.patient.id, hold=stored.patient.legal_hold)
            for stored in self._chosen(scope, PatientFilter())
            if stored.patient.legal_hold is not None and stored.patient.id not in self.tables.broken
        ]
        behind = [one for one in held if after is None or one.patient > after]
        for one in behind[:at_most]:
            self.ledger.disclose(Resource.PATIENT, one.patient)
        return FoundHolds(holds=tuple(behind[:at_most]), count=len(held), more=len(behind) > at_most)

    async def history(self, admitted: Admitted, *, before: int | None = None, at_most: int = 50) -> list[Revision]:
        versions = self.tables.patients[admitted.record.patient]
        consents = self.tables.consents_of(admitted.record.patient)
        admitted.check_label(versions[-1].patient.label, consents)
        self.ledger.disclose(Resource.PATIENT, admitted.record.id)
        revisions: list[Revision] = []
        withheld = set()
        for stored in reversed(versions):
            if len(revisions) == at_most or (before is not None and stored.patient.version >= before):
                continue
            decision = admitted.judged(stored.patient.label, consents)
            if not decision.allowed:
                withheld.add(decision.reason)
                continue
            revisions.append(
                Revision(
                    patient=_as_shown(stored.patient, admitted.shown(stored.patient.label, decision)),
                    version=stored.patient.version,
                    written_at=stored.written_at,
                    written_by=stored.written_by,
                )
            )
        for reason in sorted(withheld):
            self.ledger.note(admitted.withheld(reason))
        return revisions

    def _chosen(self, scope: Scope, conditions: PatientFilter) -> list[StoredVersion]:
        current = sorted((versions[-1] for versions in self.tables.patients.values()), key=lambda one: one.patient.id)
        return [stored for stored in current if _meets(stored.patient, conditions) and self._is_in(scope, stored)]

    def _is_in(self, scope: Scope, stored: StoredVersion) -> bool:
        consents = self.tables.consents_of(stored.patient.id)
        return scope.after_opening(self.tables.sealed(stored), stored.patient.label, consents).allowed

    def _original_of(self, patient: Patient) -> tuple[Patient, Shown, Admitted]:
        if patient.id not in self._shown:
            raise UnauditedAccess
        if self.tables.patients[patient.id][-1].patient.version != patient.version:
            raise StaleWrite
        return self._shown[patient.id]

    def _replace(self, original: Patient, patient: Patient) -> Patient:
        stamp = self.ledger.stamp()
        saved = replace(patient, version=patient.version + 1)
        self._require_unique(saved)
        versions = self.tables.patients[saved.id]
        now = StoredVersion(patient=saved, author=versions[0].author, written_at=stamp.at, written_by=stamp.by)
        self.tables.patients[saved.id] = (*versions, now)
        changed = saved.changed_from(original)
        self.ledger.change(Resource.PATIENT, saved.id, version=saved.version, fields=int(changed))
        if saved.removal is None:
            known = watched(original.terms) if original.removal is None else frozenset()
            self._look(saved, watched(saved.terms) - known)
        return saved

    def _look(self, patient: Patient, gained: frozenset[IndexTerm]) -> None:
        """Open a review for each living patient who has one of the identifiers that `patient` has just gained."""
        pairs: dict[tuple[PatientId, PatientId], set[IndexKind]] = {}
        for term in {_folded(term) for term in gained} - {None}:
            others = [
                versions[-1].patient.id
                for versions in self.tables.patients.values()
                if versions[-1].patient.id != patient.id and not versions[-1].deleted
                if term in {_folded(other) for other in versions[-1].patient.terms}
            ]
            if term is not None and len(others) <= MOST_SHARING:
                for other in others:
                    pairs.setdefault(in_order(patient.id, other), set()).add(term.kind)
        known = {(one.patient, one.other): one for one in self.tables.duplicates.values()}
        occasion = self.ledger.attempts[-1]
        for (one, other), kinds in sorted(pairs.items()):
            if (one, other) in known:
                review = known[one, other]
                collided = review.collided(kinds, occasion.at)
                if collided is review:
                    continue
            else:
                kept = tuple(sorted(kinds))
                collided = Duplicate(
                    id=DuplicateId(new_id()), patient=one, other=other, kinds=kept, opened_at=occasion.at
                )
            attempt = Attempt(
                actor=occasion.actor,
                action=Action.REGISTER,
                at=occasion.at,
                resource=Resource.DUPLICATE,
                patient=one,
                ids=(collided.id,),
            )
            self.ledger.note(attempt)
            self.tables.duplicates[collided.id] = replace(collided, version=collided.version + 1)
            self.ledger.change(Resource.DUPLICATE, collided.id, version=collided.version + 1)

    async def absorb(self, survivor: Patient, duplicate: Patient, removal: Removal) -> Moved:
        mine, *_ = self._original_of(survivor)
        theirs, *_ = self._original_of(duplicate)
        moved = moving(mine, theirs, removal.at)
        whole = moved.added_to(mine)
        consents = self.tables.consents_of(mine.id)()
        if whole.label is Label.PART2 and any(consent.holds_at(removal.at) for consent in consents):
            raise Conflict("the surviving record has consents in force: withdraw them, and record them anew afterwards")
        await self.remove(duplicate, removal)
        return replace(moved, version=self._replace(mine, whole).version)

    async def give_back(self, survivor: Patient, duplicate: Patient, moved: Moved) -> None:
        mine, *_ = self._original_of(survivor)
        theirs, *_ = self._original_of(duplicate)
        require_merged(theirs, mine.id)
        self._replace(mine, moved.taken_from(mine))
        await self.restore(duplicate)

    def _require_unique(self, patient: Patient) -> None:
        mine = {_folded(term) for term in patient.terms if term.kind.unique}
        for versions in self.tables.patients.values():
            other = versions[-1]
            if other.patient.id == patient.id:
                continue
            theirs = {_folded(term) for term in other.patient.terms}
            taken = {term for term in mine & theirs if term and (not other.deleted or term.kind is IndexKind.SOURCE)}
            if any(term.kind is IndexKind.MRN for term in taken):
                raise DuplicateMrn
            if taken:
                raise DuplicateIdentifier


@dataclass(slots=True)
class MemoryPractitionerRepository:
    """`PractitionerRepository` over `MemoryTables`."""

    tables: MemoryTables
    ledger: Ledger

    async def find(self, practitioners: Sequence[PractitionerId]) -> list[Practitioner]:
        return [self.tables.practitioners[one] for one in practitioners if one in self.tables.practitioners]

    async def find_page(
        self, query: PractitionerQuery = EVERYBODY, *, after: PractitionerId | None, at_most: int
    ) -> list[Practitioner]:
        found = sorted(await self._meeting(query), key=lambda one: one.id)
        return [one for one in found if after is None or one.id > after][:at_most]

    async def count(self, query: PractitionerQuery = EVERYBODY) -> int:
        return len(await self._meeting(query))

    async def _meeting(self, query: PractitionerQuery) -> list[Practitioner]:
        known = list(self.tables.practitioners.values())
        candidates = known if query.term is None else await self.find_by_terms([query.term])
        return [one for one in candidates if query.matches(one)]

    async def claim_npi(self, npi: str, by: PractitionerId) -> None:
        if any(one.id != by for one in await self.find_by_terms([IndexTerm(IndexKind.NPI, npi)])):
            raise DuplicateNpi

    async def find_by_terms(self, terms: Sequence[IndexTerm]) -> list[Practitioner]:
        wanted = {_folded(term) for term in terms}
        return [one for one in self.tables.practitioners.values() if wanted & {_folded(term) for term in one.terms}]

    async def add(self, practitioner: Practitioner) -> Practitioner:
        self.ledger.stamp()
        sources = {source for one in self.tables.practitioners.values() for source in one.sources}
        if sources & set(practitioner.sources):
            raise DuplicateIdentifier
        saved = replace(practitioner, version=1)
        self.tables.practitioners[saved.id] = saved
        self.ledger.change(Resource.PRACTITIONER, saved.id, version=1)
        return saved

    async def save(self, practitioner: Practitioner) -> Practitioner:
        self.ledger.stamp()
        if self.tables.practitioners[practitioner.id].version != practitioner.version:
            raise StaleWrite
        saved = replace(practitioner, version=practitioner.version + 1)
        self.tables.practitioners[saved.id] = saved
        self.ledger.change(Resource.PRACTITIONER, saved.id, version=saved.version)
        return saved


@dataclass(slots=True)
class MemoryIdempotencyKeys:
    """`IdempotencyKeys` over `MemoryTables`."""

    tables: MemoryTables

    async def find(self, actor: UUID, key: str, request: bytes) -> Answered | None:
        if (actor, key) not in self.tables.answered:
            return None
        first, answered = self.tables.answered[actor, key]
        if first != request:
            raise ReusedKey
        return answered

    async def add(self, actor: UUID, key: str, request: bytes, answered: Answered) -> None:
        self.tables.answered[actor, key] = (request, answered)


def _as_shown(patient: Patient, shown: Shown) -> Patient:
    return replace(patient.only(shown.fields), notice=shown.notice)


def _meets(patient: Patient, conditions: PatientFilter) -> bool:
    status: PatientStatus | None = conditions.status
    terms = {_folded(term) for term in patient.terms} - {None}
    return (
        (status is None or patient.status is status)
        and (conditions.practitioner is None or conditions.practitioner in patient.care_team)
        and (conditions.patients is None or patient.id in conditions.patients)
        and all(_folded(term) in terms for term in conditions.terms)
    )


def _folded(term: IndexTerm) -> IndexTerm | None:
    """Return the term in its normal spelling, or `None` if it says nothing."""
    text = NORMALISERS[term.kind].apply(term.text, "US")
    return IndexTerm(term.kind, text) if text else None
