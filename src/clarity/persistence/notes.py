"""Clinical notes, and their table."""

from collections.abc import Iterable, Sequence
from datetime import date
from uuid import UUID

from sqlalchemy import CheckConstraint, ColumnElement, Date, ForeignKey, Index, and_, exists, or_, select, text
from sqlalchemy.orm import Mapped, mapped_column

from clarity.application.admission import Admitted
from clarity.application.ports import DueNote, RecordRevision
from clarity.domain.access import Reason, Scope, decide
from clarity.domain.errors import CannotOpen
from clarity.domain.ids import NoteId
from clarity.domain.notes import Note, NoteFilter, NoteStatus
from clarity.domain.records import TOMBSTONE, Resource, Sealed
from clarity.persistence.charts import ChartTable, SealedChartRecord, SqlChartRepository, standing_as
from clarity.persistence.keys import DataKeys
from clarity.persistence.patients.tables import PatientRow
from clarity.persistence.records import Written
from clarity.persistence.scopes import in_scope
from clarity.persistence.sealing import SealedRecord
from clarity.persistence.tables import Base, SealedColumns

_AWAITED = text("amendment_due_on IS NOT NULL")


class NoteRow(SealedColumns, Base):
    """A note. While its status is "draft" it exists for its author alone; `addendum_to` is the note that it adds to.

    `amendment_due_on` is the day by which the first of the patient's open requests to amend it has to be decided.
    """

    drafted = True

    __tablename__ = "notes"
    __table_args__ = (
        CheckConstraint("version >= 1", name="version"),
        CheckConstraint("status IN ('draft', 'signed', 'deleted')", name="status"),
        CheckConstraint("addendum_to IS NULL OR addendum_to <> id", name="addendum_to"),
        Index(None, "patient_id", "id"),
        Index(None, "amendment_due_on", "id", postgresql_where=_AWAITED, sqlite_where=_AWAITED),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    patient_id: Mapped[UUID] = mapped_column(ForeignKey("patients.id"))
    addendum_to: Mapped[UUID | None] = mapped_column(ForeignKey("notes.id"), index=True)
    amendment_due_on: Mapped[date | None] = mapped_column(Date)


class NoteTable(ChartTable[Note, NoteFilter]):
    """The notes. What stands in columns of their own is sealed too, and has to be the same."""

    beside = (NoteRow.addendum_to, NoteRow.amendment_due_on)

    def __init__(self, keys: DataKeys) -> None:
        super().__init__(NoteRow, Note, Resource.NOTE, keys)

    def chosen(self, conditions: NoteFilter) -> Iterable[ColumnElement[bool]]:
        """Return what `conditions` ask of columns."""
        if conditions.status is not None:
            yield NoteRow.status == conditions.status.value
        if conditions.addendum_to is not None:
            yield NoteRow.addendum_to == conditions.addendum_to

    def written(self, entity: Note) -> Written:
        """Return what is written of a note beside the seal."""
        beside = {"addendum_to": entity.addendum_to, "amendment_due_on": entity.due_on}
        return Written(status=entity.status, label=entity.label, beside=beside)

    def open_entity(self, record: SealedChartRecord) -> Note:
        """Return the note inside, or raise `CannotOpen`."""
        note = super().open_entity(record)
        if (note.addendum_to, note.due_on) != tuple(record.beside):
            raise CannotOpen
        return note


class SqlNoteRepository(SqlChartRepository[Note, NoteFilter]):
    """`NoteRepository` over one session."""

    async def save(self, entity: Note) -> Note:
        """Write the next version of a note that this unit of work opened, if it may follow that one."""
        if (opened := self._opened.get(entity.id)) is not None:
            entity.require_follows(opened.entity)
        return await super().save(entity)

    async def follow(self, entity: Note) -> Note:
        """Write what the source of an imported note says of it now, if it was imported from there."""
        if (opened := self._opened.get(entity.id)) is not None:
            entity.require_corrects(opened.entity)
        return await super().follow(entity)

    async def find_due(self, scope: Scope, *, after: tuple[date, NoteId] | None, at_most: int) -> Sequence[DueNote]:
        """Return notes of which requests for amendment are open, those that are due first."""
        rows = NoteRow
        # How an actor stands to somebody whose record was merged, the record that it went into tells.
        merged = exists(select(PatientRow.id).where(PatientRow.id == rows.patient_id, PatientRow.status == TOMBSTONE))
        asked = and_(rows.amendment_due_on.is_not(None), or_(in_scope(scope, rows, rows.patient_id), merged))
        if after is not None:
            day, note = after
            later_that_day = and_(rows.amendment_due_on == day, rows.id > note)
            asked = and_(asked, or_(rows.amendment_due_on > day, later_that_day))
        found = self.table.fetched.where(asked).order_by(rows.amendment_due_on, rows.id).limit(at_most)
        records = [self.table.record_of(row) for row in await self.session.execute(found)]
        return [DueNote(record.beside[1], record) for record in records]

    def standing_as(self, record: Sealed, whose: Sealed) -> Sealed:
        """Return a note that `find_due` found, to stand as the patient's record does."""
        if not isinstance(record, SealedChartRecord) or not isinstance(whose, SealedRecord):
            return Sealed(resource=self.resource, id=record.id, patient=record.patient)
        return standing_as(record, whose)

    def is_covered(self, scope: Scope, record: Sealed) -> bool:
        """Tell whether `scope` covers a note by its exact labels; `True` if it does not open."""
        if not isinstance(record, SealedChartRecord) or not decide(scope, record).allowed:
            return False
        return self._may_be_shown(scope, record, None)

    def _revision(self, admitted: Admitted, record: SealedRecord) -> RecordRevision[Note] | Reason:
        """Return a version, or why it is not for the actor: drafts exist for their author alone."""
        revision = super()._revision(admitted, record)
        if isinstance(revision, Reason) or revision.record.status is not NoteStatus.DRAFT:
            return revision
        return revision if revision.record.author == admitted.attempt.actor.id else Reason.NO_TIE
