"""The patients of one unit of work."""

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from operator import attrgetter
from typing import Any, NamedTuple

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from clarity.application.admission import Admitted, Shown, anybody
from clarity.application.pages import COUNTED_EXACTLY
from clarity.application.ports import CountedPage, FoundHolds, Held, PatientFilter, Revision
from clarity.domain.access import Action, Reason, Scope, decide
from clarity.domain.duplicates import Moved, moving, require_merged, watched
from clarity.domain.errors import CannotOpen, Conflict, StaleWrite, UnauditedAccess
from clarity.domain.identifiers import IndexKind, IndexTerm
from clarity.domain.ids import PatientId, PractitionerId
from clarity.domain.patients import LegalHold, Patient, PatientCard, Removal, hidden_by
from clarity.domain.records import Label, Resource, Sealed
from clarity.domain.retention import Kept, Retention
from clarity.persistence.care_team import change_care_team, past_care_teams
from clarity.persistence.duplicates.watch import DuplicateWatch
from clarity.persistence.identifiers import IdentifierTable
from clarity.persistence.keys import key_columns
from clarity.persistence.ledger import Ledger
from clarity.persistence.patients.lists import Asked, PatientLists
from clarity.persistence.patients.mapping import PatientTable, written
from clarity.persistence.patients.newcomers import write_newcomer
from clarity.persistence.patients.tables import PatientRow
from clarity.persistence.records import as_stored
from clarity.persistence.sealing import SealedRecord

_ROWS_AT_A_TIME = 500
# A record and its consents open in a tenth of a millisecond; whoever else is served has their turn between some.
_OPENED_IN_A_STEP = 10


class _Read(NamedTuple):
    """What this unit of work opened: what was in the row, and what the caller was shown of it."""

    content: Any
    record: SealedRecord
    shown: Shown
    admitted: Admitted


class _Opened(NamedTuple):
    """The same for whoever writes, with the whole patient, whom no read makes."""

    patient: Patient
    record: SealedRecord
    shown: Shown
    admitted: Admitted


@dataclass(frozen=True, slots=True)
class SqlPatientRepository:
    """`PatientRepository` over one session. Enters in the ledger every patient it hands out or writes."""

    session: AsyncSession
    table: PatientTable
    identifiers: IdentifierTable
    lists: PatientLists
    ledger: Ledger
    watch: DuplicateWatch
    _read: dict[PatientId, _Read] = field(default_factory=dict, init=False)

    async def get(self, patient: PatientId) -> Sealed:
        """Fetch one record by its id."""
        found = await self.table.find(self.session, patient)
        return found or Sealed(resource=Resource.PATIENT, id=patient, patient=patient)

    async def get_many(self, patients: Sequence[PatientId]) -> list[Sealed]:
        """Fetch the records that exist among `patients`, in their order."""
        if not patients:
            return []  # nobody was found: half of what such a search costs
        # A page is in order of names, which a log of statements with their parameters is not to have.
        records = await self.table.find_some(self.session, sorted(patients, key=attrgetter("bytes")))
        return [records[patient] for patient in patients if patient in records]

    async def find_page(
        self, scope: Scope, conditions: PatientFilter, *, after: PatientId | None, at_most: int
    ) -> list[Sealed]:
        """Return at most `at_most` records in `scope` in order of their ids, those behind `after`."""
        page: list[Sealed] = []
        chosen = self.lists.chosen(self.table.fetched, scope, conditions)
        async for record in self._in_order(chosen, after=after, at_a_time=at_most):
            if self._may_be_shown(scope, record):
                page.append(self._as_asked(scope, record))
                if len(page) == at_most:
                    break
        return page

    async def find_ids(self, scope: Scope, conditions: PatientFilter) -> AsyncIterator[PatientId]:
        """Return the id of every record in `scope`, as far as that is known unopened."""
        result = await self.session.stream_scalars(self.lists.chosen(select(PatientRow.id), scope, conditions))
        async for ids in result.partitions(_ROWS_AT_A_TIME):
            for one in ids:
                yield PatientId(one)

    async def ids_in(self, scope: Scope, conditions: PatientFilter) -> frozenset[PatientId]:
        """Return the id of every record in `scope` in one statement, as far as that is known unopened."""
        result = await self.session.execute(self.lists.chosen(select(PatientRow.id), scope, conditions))
        found: set[PatientId] = set()
        for some in result.scalars().partitions(_ROWS_AT_A_TIME):
            found.update(map(PatientId, some))
            await asyncio.sleep(0)  # whoever cares for thousands keeps nobody else waiting
        return frozenset(found)

    async def find_counted_page(
        self, scope: Scope, conditions: PatientFilter, *, after: PatientId | None, at_most: int
    ) -> CountedPage:
        """Return what `find_page` does, with how many there are in all."""
        if scope.right.guarded:
            page = await self.find_page(scope, conditions, after=after, at_most=at_most)
            return CountedPage.of(page, await self._count(scope, conditions, enough=COUNTED_EXACTLY + 1))
        asked = Asked(scope, conditions, after, at_most)
        rows, count = await self.lists.page(self.session, asked, COUNTED_EXACTLY + 1)
        return CountedPage.of([self._as_asked(scope, self.table.record_of(row)) for row in rows], count)

    async def count(self, scope: Scope, conditions: PatientFilter) -> int:
        """Return how many records in `scope` meet `conditions`."""
        return await self._count(scope, conditions)

    async def _count(self, scope: Scope, conditions: PatientFilter, *, enough: int | None = None) -> int:
        """Return how many there are, those that are guarded opened to tell, or stop where there are `enough`."""
        counted = self.lists.counted(scope, conditions, enough)
        count: int = (await self.session.execute(counted)).scalar_one()
        if not scope.right.guarded or count == enough:
            return count
        guarded = self.lists.chosen(self.table.fetched, scope, conditions).where(PatientRow.guarded.is_(True))
        async for record in self._in_order(guarded, after=None, at_a_time=_ROWS_AT_A_TIME):
            count += self._may_be_shown(scope, record)
            if count == enough:
                break
        return count

    async def unsafe_bulk_open(
        self, scope: Scope, conditions: PatientFilter
    ) -> AsyncIterator[tuple[Sealed, PatientCard | None]]:
        """Open every record in `scope` that meets `conditions`, for comparison inside the search alone."""
        result = await self.session.stream(self.lists.chosen(self.table.fetched, scope, conditions))
        async for rows in result.partitions(_ROWS_AT_A_TIME):
            for row in rows:
                record = self.table.record_of(row)
                try:
                    card, label = self.table.open_card(record)
                    if scope.after_opening(record, label, self.table.consents_of(record)).allowed:
                        yield record, card
                except CannotOpen:
                    yield record, None

    async def admissible(self, scope: Scope, patients: Collection[PatientId]) -> frozenset[PatientId]:
        """Return those of `patients` whose records `scope` covers, by their exact labels and their consents too."""
        found: set[PatientId] = set()
        asked = sorted(patients)
        for start in range(0, len(asked), _ROWS_AT_A_TIME):
            some = PatientFilter(patients=frozenset(asked[start : start + _ROWS_AT_A_TIME]))
            rows = await self.session.execute(self.lists.chosen(self.table.fetched, scope, some))
            for records in rows.partitions(_OPENED_IN_A_STEP):
                judged = map(self.table.record_of, records)
                found |= {record.patient for record in judged if self._covers(scope, record)}
                await asyncio.sleep(0)
        return frozenset(found)

    async def find_by_source(self, source: str) -> PatientId | None:
        """Return the patient that came from this resource of another system, if there is one."""
        owners = self.identifiers.owners_of(IndexTerm(IndexKind.SOURCE, source))
        found = (await self.session.scalars(owners)).first()
        return None if found is None else PatientId(found)

    def open(self, admitted: Admitted, *, provided: Callable[[Patient], bool] = anybody) -> Patient:
        """Return the patient inside, with the fields it was admitted for."""
        record = as_stored(admitted)
        content = self.table.read(record)
        if provided is not anybody:
            admitted.require(met=provided(self.table.patient_of(content, record, admitted.care_team)))
        shown = admitted.check_label(content.label, self.table.consents_of(record))
        # What is hidden never comes to be in the patient that is handed out.
        hidden = hidden_by(shown.fields)
        patient = self.table.patient_of(content, record, admitted.care_team, hidden, shown.notice)
        self.ledger.disclose(record.resource, record.patient)
        self._read[record.patient] = _Read(content, record, shown, admitted)
        return patient

    async def add(self, patient: Patient) -> Patient:
        """Store a new patient as version 1 under a data key of their own."""
        saved = patient.at_version(1)
        wrapped, key = self.table.keys.new_data_key(saved.id)
        gained, by = watched(saved.terms), self.identifiers.remembering()
        await write_newcomer(
            self.session,
            key_columns(wrapped, self.ledger.stamp().at),
            self.table.new_row(self.ledger, key, saved.id, saved, written(saved, saved.filled)),
            by.new_rows(saved.id, saved.terms),
            locks=by.locks_of(gained),
        )
        await change_care_team(self.session, saved.id, before=frozenset(), after=saved.care_team, version=1)
        await self.watch.look(saved.id, gained, by)
        return saved

    async def save(self, patient: Patient, *, lose_sight: bool = False) -> Patient:
        """Write a patient that this unit of work opened as its next version and return it."""
        opened = self._opened_at(patient)
        complete = patient.with_hidden_of(opened.patient, opened.shown.fields)
        shown = opened.shown
        if complete.label is not opened.patient.label:
            consents = self.table.consents_of(opened.record)
            shown = opened.admitted.check_relabel(complete.label, consents, lose_sight=lose_sight)
        saved = complete.at_version(await self._replace(opened, complete))
        await self._write_ties(opened.patient, saved)
        return _as_shown(saved, shown)

    def check_label(self, admitted: Admitted) -> None:
        """Raise `NotFound` if the exact label of the admitted record forbids it."""
        record = as_stored(admitted)
        admitted.check_label(self.table.label_of(record), self.table.consents_of(record))

    def require_also(self, admitted: Admitted, action: Action) -> None:
        """Raise `Forbidden` unless whoever was admitted may do `action` to the record too, by its exact label."""
        record = as_stored(admitted)
        admitted.require_also(action, self.table.label_of(record), self.table.consents_of(record))

    def kept(self, admitted: Admitted, rule: Retention) -> Kept:
        """Return what `rule` says of the admitted record."""
        record = as_stored(admitted)
        return rule.of(self.table.open_patient(record, admitted.care_team), record.written_at)

    async def remove(self, patient: Patient, removal: Removal) -> None:
        """Turn a patient that this unit of work opened into a tombstone, its last version saying why."""
        opened = self._opened_at(patient)
        removed = replace(opened.patient, removal=removal, care_team=frozenset())
        version = await self._replace(opened, removed)
        await self._write_ties(opened.patient, replace(_untied(removed), version=version))

    async def restore(self, patient: Patient) -> Patient:
        """Undo the removal of a patient that this unit of work opened."""
        opened = self._opened_at(patient)
        removed = opened.patient
        if removed.removal is None:
            raise Conflict("the record was not removed")
        before = removed.version - 1
        teams = await past_care_teams(self.session, removed.id, [before])
        restored = replace(removed, removal=None, care_team=teams[before])
        restored = replace(restored, version=await self._replace(opened, restored))
        await self._write_ties(_untied(removed), restored)
        return _as_shown(restored, opened.shown)

    async def absorb(self, survivor: Patient, duplicate: Patient, removal: Removal) -> Moved:
        """Take away the record of `duplicate`, add to `survivor` what they lack, and return that.

        Both were opened by this unit of work, and both are merged whole.
        """
        mine, theirs = self._opened_at(survivor), self._opened_at(duplicate)
        moved = moving(mine.patient, theirs.patient, removal.at)
        whole = moved.added_to(mine.patient)
        consents = self.table.consents_of(mine.record)
        if whole.label is Label.PART2 and any(consent.holds_at(removal.at) for consent in consents()):
            # They were given for one of the two records, to whoever treated the patient by it.
            raise Conflict("the surviving record has consents in force: withdraw them, and record them anew afterwards")
        await self.remove(duplicate, removal)
        return replace(moved, version=await self._rewrite(mine, whole))

    async def give_back(self, survivor: Patient, duplicate: Patient, moved: Moved) -> None:
        """Take back from `survivor` what is left of `moved`, and restore the record of `duplicate`."""
        mine, theirs = self._opened_at(survivor), self._opened_at(duplicate)
        require_merged(theirs.patient, survivor.id)
        await self._rewrite(mine, moved.taken_from(mine.patient))
        await self.restore(duplicate)

    async def find_holds(self, scope: Scope, *, after: PatientId | None, at_most: int) -> FoundHolds:
        """Return at most `at_most` legal holds in order of their records' ids, and how many there are in all."""
        found: list[Held] = []
        count = behind = 0
        chosen = self.lists.chosen(self.table.fetched, scope, PatientFilter())
        async for record in self._in_order(chosen, after=None, at_a_time=_ROWS_AT_A_TIME):
            hold = self._hold_on(scope, record)
            if hold is None:
                continue
            count += 1
            if after is not None and record.patient <= after:
                continue
            behind += 1
            if behind <= at_most:
                self.ledger.disclose(record.resource, record.patient)
                found.append(Held(patient=record.patient, hold=hold))
        return FoundHolds(holds=tuple(found), count=count, more=behind > at_most)

    async def history(self, admitted: Admitted, *, before: int | None = None, at_most: int = 50) -> list[Revision]:
        """Return the versions of the admitted record below `before`, the newest first."""
        current = as_stored(admitted)
        # Also where the present version is not asked for: whoever may not see the record may not see what it was.
        self.check_label(admitted)
        revisions: list[Revision] = []
        withheld: set[Reason] = set()
        while wanted := at_most - len(revisions):
            records = await self.table.versions(self.session, current, before=before, at_most=wanted)
            teams = await past_care_teams(self.session, current.patient, [record.version for record in records])
            for record in records:
                self._enter_revision(admitted, record, teams[record.version], revisions, withheld)
            if len(records) < wanted:
                break
            before = records[-1].version
        for reason in sorted(withheld):
            self.ledger.note(admitted.withheld(reason))
        self.ledger.disclose(current.resource, current.patient)
        return revisions

    def _enter_revision(
        self,
        admitted: Admitted,
        record: SealedRecord,
        care_team: frozenset[PractitionerId],
        revisions: list[Revision],
        withheld: set[Reason],
    ) -> None:
        """Add a version to `revisions`, or why its own label forbids it to `withheld`."""
        patient = self.table.open_patient(record, care_team)
        decision = admitted.judged(patient.label, self.table.consents_of(record))
        if not decision.allowed:
            withheld.add(decision.reason)
            return
        revisions.append(
            Revision(
                patient=_as_shown(patient, admitted.shown(patient.label, decision)),
                version=record.version,
                written_at=record.written_at,
                written_by=record.written_by,
            )
        )

    def _hold_on(self, scope: Scope, record: SealedRecord) -> LegalHold | None:
        """Return the hold on a record that `scope` covers; one that does not open is for others to report."""
        try:
            hold, label = self.table.open_hold(record)
            allowed = scope.after_opening(record, label, self.table.consents_of(record)).allowed
        except CannotOpen:
            return None
        return hold if allowed else None

    def may_show(self, scope: Scope, record: Sealed) -> bool:
        """Tell whether `scope` covers a record that was fetched here, by its exact label too."""
        decision = decide(scope, record)
        return decision.allowed and isinstance(record, SealedRecord) and self._may_be_shown(scope, record)

    def _covers(self, scope: Scope, record: SealedRecord, *, unopened: bool = False) -> bool:
        """Tell whether `scope` covers an existing record by its exact label; `unopened` if it does not open."""
        try:
            label = self.table.label_of(record)
            return scope.after_opening(record, label, self.table.consents_of(record)).allowed
        except CannotOpen:
            return unopened

    def _may_be_shown(self, scope: Scope, record: SealedRecord) -> bool:
        """Tell whether the exact label lets `scope` cover a record; one that does not open is for others to report."""
        return record.standing is None or not record.standing.guarded or self._covers(scope, record, unopened=True)

    async def _in_order(
        self, statement: Any, *, after: PatientId | None, at_a_time: int
    ) -> AsyncIterator[SealedRecord]:
        """Fetch the records behind `after` in order of their ids, some at a time.

        Where the first do not suffice, because many are withheld, more are fetched at a time.
        """
        while True:
            page = statement if after is None else statement.where(PatientRow.id > after)
            rows = (await self.session.execute(page.order_by(PatientRow.id).limit(at_a_time))).all()
            for row in rows:
                yield self.table.record_of(row)
            if len(rows) < at_a_time:
                return
            after, at_a_time = rows[-1].id, max(at_a_time, _ROWS_AT_A_TIME)

    def _as_asked(self, scope: Scope, record: SealedRecord) -> SealedRecord:
        """Return a record as of the kind that `scope` is of: somebody's identifiable one, or not."""
        return record if record.resource is scope.resource else replace(record, resource=scope.resource)

    def _opened_at(self, patient: Patient) -> _Opened:
        """Return what was opened of `patient`; raises `StaleWrite` if that was another version."""
        read = self._read.get(patient.id)
        if read is None:
            raise UnauditedAccess
        content, record, shown, admitted = read
        if record.version != patient.version:
            raise StaleWrite
        return _Opened(self.table.patient_of(content, record, admitted.care_team), record, shown, admitted)

    async def _rewrite(self, opened: _Opened, patient: Patient) -> int:
        """Write `patient` whole as the version behind the one that was opened, with its ties; return its number."""
        version = await self._replace(opened, patient)
        await self._write_ties(opened.patient, replace(patient, version=version))
        return version

    async def _replace(self, opened: _Opened, patient: Patient) -> int:
        """Write `patient` as the version behind the one that was opened, and return its number."""
        beside = written(patient, patient.changed_from(opened.patient))
        return await self.table.replace(self.session, self.ledger, opened.record, patient, beside)

    async def _write_ties(self, before: Patient, after: Patient) -> None:
        """Bring identifiers and care team in step with the patient at the version of `after`."""
        had, has, by, version = before.terms, after.terms, self.identifiers.remembering(), after.version
        gained = watched(has - had)
        await self.watch.take_turns(gained, by)
        await by.change(self.session, after.id, before=had, after=has, version=version)
        await change_care_team(self.session, after.id, before=before.care_team, after=after.care_team, version=version)
        await self.watch.look(after.id, gained, by)


def _untied(patient: Patient) -> Patient:
    """Return a patient with nothing left that ties their record to others, but where it came from."""
    return replace(patient, identifiers=(), telecoms=(), care_team=frozenset())


def _as_shown(patient: Patient, shown: Shown) -> Patient:
    notice = shown.notice
    seen, as_it_was = patient.only(shown.fields), notice is patient.notice
    return seen if as_it_was else replace(seen, notice=notice)
