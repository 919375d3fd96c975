"""The patients of one unit of work."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from sqlalchemy import bindparam, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from clarity.application.admission import Admitted
from clarity.application.ports import PatientFilter, Revision
from clarity.domain.access import Scope
from clarity.domain.errors import CannotOpen, StaleWrite, UnauditedAccess
from clarity.domain.identifiers import IndexKind, IndexTerm
from clarity.domain.ids import PatientId, PractitionerId
from clarity.domain.patients import Patient, PatientCard, PatientField, PatientStatus
from clarity.domain.records import Resource, Sealed
from clarity.persistence.history import RecordVersionRow, keep_version
from clarity.persistence.identifiers import IdentifierTable
from clarity.persistence.keys import DataKeyRow, wrapped_key
from clarity.persistence.ledger import Ledger
from clarity.persistence.patients.mapping import PatientMapper
from clarity.persistence.patients.tables import CareTeamRow, PatientRow
from clarity.persistence.registry import number_of
from clarity.persistence.scopes import cared_for_by, in_scope
from clarity.persistence.sealing import SealedRecord
from clarity.persistence.tables import UNTRACKED, write_one
from clarity.persistence.types import GatheredIds

_CARE_TEAM = (
    select(GatheredIds(CareTeamRow.practitioner_id))
    .where(CareTeamRow.patient_id == PatientRow.id, CareTeamRow.until_version.is_(None))
    .scalar_subquery()
    .label("care_team")
)
_SEALED = (
    select(
        PatientRow.id,
        PatientRow.status,
        PatientRow.guarded,
        PatientRow.version,
        PatientRow.sealed,
        PatientRow.key_generation,
        PatientRow.created_by,
        PatientRow.updated_at,
        PatientRow.updated_by,
        DataKeyRow.kek_generation,
        DataKeyRow.wrapped,
        _CARE_TEAM,
    )
    .select_from(PatientRow)
    .outerjoin(
        DataKeyRow,
        (DataKeyRow.subject_id == PatientRow.id) & (DataKeyRow.generation == PatientRow.key_generation),
    )
)
_ONE = _SEALED.where(PatientRow.id == bindparam("patient"))
_ROWS_AT_A_TIME = 500


@dataclass(frozen=True, slots=True)
class _Opened:
    """What this unit of work opened: the whole patient, the row it came from, and what the caller was shown."""

    patient: Patient
    record: SealedRecord
    shown: PatientField


@dataclass(frozen=True, slots=True)
class SqlPatientRepository:
    """`PatientRepository` over one session. Enters in the ledger every patient it hands out or writes."""

    session: AsyncSession
    mapper: PatientMapper
    identifiers: IdentifierTable
    ledger: Ledger
    _opened: dict[PatientId, _Opened] = field(default_factory=dict, init=False)

    async def get(self, patient: PatientId) -> Sealed:
        """Fetch one record by its id."""
        row = (await self.session.execute(_ONE, {"patient": patient})).first()
        if row is None:
            return Sealed(resource=Resource.PATIENT, id=patient, patient=patient)
        return self.mapper.to_record(row)

    async def get_many(self, patients: Sequence[PatientId]) -> list[Sealed]:
        """Fetch the records that exist among `patients`, in their order."""
        rows = await self.session.execute(_SEALED.where(PatientRow.id.in_(patients)))
        records = {row.id: self.mapper.to_record(row) for row in rows}
        return [records[patient] for patient in patients if patient in records]

    async def find_page(
        self, scope: Scope, conditions: PatientFilter, *, after: PatientId | None, at_most: int
    ) -> list[Sealed]:
        """Return at most `at_most` records in `scope` in order of their ids, those behind `after`."""
        statement = self._chosen(_SEALED, scope, conditions)
        if after is not None:
            statement = statement.where(PatientRow.id > after)
        rows = await self.session.execute(statement.order_by(PatientRow.id).limit(at_most))
        return [self.mapper.to_record(row) for row in rows]

    async def count(self, scope: Scope, conditions: PatientFilter) -> int:
        """Return how many records in `scope` meet `conditions`."""
        statement = self._chosen(select(func.count()).select_from(PatientRow), scope, conditions)
        return int((await self.session.execute(statement)).scalar_one())

    async def unsafe_bulk_open(
        self, scope: Scope, conditions: PatientFilter
    ) -> AsyncIterator[tuple[Sealed, PatientCard | None]]:
        """Open every record in `scope` that meets `conditions`, for comparison inside the search alone."""
        statement = self._chosen(_SEALED, scope, conditions)
        result = await self.session.stream(statement)
        async for rows in result.partitions(_ROWS_AT_A_TIME):
            for row in rows:
                record = self.mapper.to_record(row)
                try:
                    yield record, self.mapper.open_card(record)
                except CannotOpen:
                    yield record, None

    async def find_by_source(self, source: str) -> PatientId | None:
        """Return the patient that came from this resource of another system, if there is one."""
        owners = self.identifiers.owners_of(IndexTerm(IndexKind.SOURCE, source))
        found = (await self.session.scalars(owners)).first()
        return None if found is None else PatientId(found)

    def open(self, admitted: Admitted) -> Patient:
        """Return the patient inside, with the fields it was admitted for."""
        record = _as_stored(admitted)
        patient = self.mapper.open(record, admitted.care_team)
        admitted.check_label(patient.label)
        self.ledger.disclose(Resource.PATIENT, patient.id)
        self._opened[patient.id] = _Opened(patient, record, admitted.fields)
        return patient.only(admitted.fields)

    async def add(self, patient: Patient) -> Patient:
        """Store a new patient as version 1 under a data key of their own."""
        stamp = self.ledger.stamp()
        saved = replace(patient, version=1)
        wrapped, key = self.mapper.keys.new_data_key(saved.id)
        columns = self.mapper.seal(key, saved)
        await self.session.execute(
            insert(DataKeyRow).values(
                subject_id=saved.id,
                generation=wrapped.generation,
                kek_generation=wrapped.kek_generation,
                wrapped=wrapped.wrapped,
                created_at=stamp.at,
            )
        )
        await self.session.execute(
            insert(PatientRow).values(
                id=saved.id,
                created_at=stamp.at,
                created_by=stamp.by,
                updated_at=stamp.at,
                updated_by=stamp.by,
                **columns,
            )
        )
        await self._write_ties(saved, terms_before=frozenset(), team_before=frozenset())
        self.ledger.change(Resource.PATIENT, saved.id, version=1, sealed=columns["sealed"], fields=int(saved.filled))
        return saved

    async def save(self, patient: Patient) -> Patient:
        """Write a patient that this unit of work opened as its next version and return it."""
        opened = self._opened_at(patient)
        complete = patient.with_hidden_of(opened.patient, opened.shown)
        saved = await self._replace(opened, complete, status=complete.status)
        await self._write_ties(saved, terms_before=opened.patient.terms, team_before=opened.patient.care_team)
        return saved.only(opened.shown)

    async def delete(self, patient: Patient) -> None:
        """Turn a patient that this unit of work opened into a tombstone."""
        opened = self._opened_at(patient)
        gone = replace(opened.patient, identifiers=(), telecoms=(), care_team=frozenset())
        buried = await self._replace(opened, opened.patient, status=PatientStatus.DELETED)
        await self._write_ties(
            replace(gone, version=buried.version),
            terms_before=opened.patient.terms,
            team_before=opened.patient.care_team,
        )

    async def history(self, admitted: Admitted, *, before: int | None = None, at_most: int = 50) -> list[Revision]:
        """Return the versions of the admitted record below `before`, the newest first."""
        current = _as_stored(admitted)
        records = [current] if before is None or current.version < before else []
        records += await self._older(current, before=before or current.version, at_most=at_most - len(records))
        teams = await self._teams_of(current.patient)
        revisions = []
        for record in records:
            team = frozenset(
                who for who, since, until in teams if since <= record.version and _ends_after(until, record)
            )
            patient = self.mapper.open(record, team)
            admitted.check_label(patient.label)
            revisions.append(
                Revision(
                    patient=patient.only(admitted.fields),
                    version=record.version,
                    written_at=record.written_at,
                    written_by=record.written_by,
                )
            )
        self.ledger.disclose(Resource.PATIENT, current.patient)
        return revisions

    def _chosen(self, statement: Any, scope: Scope, conditions: PatientFilter) -> Any:
        statement = statement.where(in_scope(scope))
        if conditions.status is not None:
            statement = statement.where(PatientRow.status == conditions.status.value)
        if conditions.practitioner is not None:
            statement = statement.where(cared_for_by(conditions.practitioner))
        for term in conditions.terms:
            statement = statement.where(PatientRow.id.in_(self.identifiers.owners_of(term)))
        return statement

    def _opened_at(self, patient: Patient) -> _Opened:
        """Return what was opened of `patient`; raises `StaleWrite` if that was another version."""
        opened = self._opened.get(patient.id)
        if opened is None:
            raise UnauditedAccess
        if opened.record.version != patient.version:
            raise StaleWrite
        return opened

    async def _replace(self, opened: _Opened, patient: Patient, *, status: PatientStatus) -> Patient:
        """Keep the version that was opened, and write `patient` as the next if nobody did meanwhile."""
        stamp = self.ledger.stamp()
        saved = replace(patient, version=patient.version + 1)
        columns = self.mapper.seal(self.mapper.key_of(opened.record), saved) | {"status": status.value}
        await self.session.execute(keep_version(PatientRow, saved.id, patient.version, patient="id"))
        statement = (
            update(PatientRow)
            .where(PatientRow.id == saved.id, PatientRow.version == patient.version)
            .values(updated_at=stamp.at, updated_by=stamp.by, **columns)
        )
        await write_one(self.session, statement)
        changed = saved.changed_from(opened.patient)
        self.ledger.change(
            Resource.PATIENT, saved.id, version=saved.version, sealed=columns["sealed"], fields=int(changed)
        )
        return saved

    async def _write_ties(
        self, patient: Patient, *, terms_before: frozenset[IndexTerm], team_before: frozenset[PractitionerId]
    ) -> None:
        """Bring identifiers and care team in step with `patient` at its version."""
        await self.identifiers.change(
            self.session, patient.id, before=terms_before, after=patient.terms, version=patient.version
        )
        joined, left = patient.care_team - team_before, team_before - patient.care_team
        if joined:
            await self.session.execute(
                insert(CareTeamRow),
                [
                    {"patient_id": patient.id, "practitioner_id": who, "since_version": patient.version}
                    for who in sorted(joined)
                ],
            )
        if left:
            statement = update(CareTeamRow).where(
                CareTeamRow.patient_id == patient.id,
                CareTeamRow.practitioner_id.in_(left),
                CareTeamRow.until_version.is_(None),
            )
            await self.session.execute(statement.values(until_version=patient.version), execution_options=UNTRACKED)

    async def _older(self, current: SealedRecord, *, before: int, at_most: int) -> list[SealedRecord]:
        table, column = number_of("patients")
        rows = await self.session.execute(
            select(
                RecordVersionRow.version,
                RecordVersionRow.sealed,
                RecordVersionRow.key_generation,
                RecordVersionRow.written_at,
                RecordVersionRow.written_by,
                DataKeyRow.kek_generation,
                DataKeyRow.wrapped,
            )
            .outerjoin(
                DataKeyRow,
                (DataKeyRow.subject_id == RecordVersionRow.patient_id)
                & (DataKeyRow.generation == RecordVersionRow.key_generation),
            )
            .where(
                RecordVersionRow.table_number == table,
                RecordVersionRow.column_number == column,
                RecordVersionRow.row_id == current.id,
                RecordVersionRow.version < before,
            )
            .order_by(RecordVersionRow.version.desc())
            .limit(at_most)
        )
        return [
            replace(
                current,
                version=row.version,
                ciphertext=row.sealed,
                wrapped=wrapped_key(row, current.patient),
                written_at=row.written_at,
                written_by=row.written_by,
            )
            for row in rows
        ]

    async def _teams_of(self, patient: PatientId) -> list[tuple[PractitionerId, int, int | None]]:
        statement = select(CareTeamRow.practitioner_id, CareTeamRow.since_version, CareTeamRow.until_version).where(
            CareTeamRow.patient_id == patient
        )
        rows = await self.session.execute(statement)
        return [(PractitionerId(who), since, until) for who, since, until in rows]


def _ends_after(until: int | None, record: SealedRecord) -> bool:
    return until is None or record.version < until


def _as_stored(admitted: Admitted) -> SealedRecord:
    """Return the admitted record as this package fetched it."""
    if not isinstance(admitted.record, SealedRecord):
        raise CannotOpen
    return admitted.record
