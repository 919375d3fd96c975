"""Clinical notes, and their table."""

from collections.abc import Iterable
from uuid import UUID

from sqlalchemy import CheckConstraint, ColumnElement, ForeignKey, Index
from sqlalchemy.orm import Mapped, mapped_column

from clarity.domain.notes import Note, NoteFilter
from clarity.domain.records import Resource
from clarity.persistence.charts import ChartTable
from clarity.persistence.keys import DataKeys
from clarity.persistence.tables import Base, SealedColumns


class NoteRow(SealedColumns, Base):
    """A note. While its status is "draft" it exists for its author alone; `addendum_to` is the note that it adds to."""

    drafted = True

    __tablename__ = "notes"
    __table_args__ = (
        CheckConstraint("version >= 1", name="version"),
        CheckConstraint("status IN ('draft', 'signed', 'deleted')", name="status"),
        CheckConstraint("addendum_to IS NULL OR addendum_to <> id", name="addendum_to"),
        Index(None, "patient_id", "id"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    patient_id: Mapped[UUID] = mapped_column(ForeignKey("patients.id"))
    addendum_to: Mapped[UUID | None] = mapped_column(ForeignKey("notes.id"), index=True)


class NoteTable(ChartTable[Note, NoteFilter]):
    """The notes."""

    def __init__(self, keys: DataKeys) -> None:
        super().__init__(NoteRow, Note, Resource.NOTE, keys)

    def chosen(self, conditions: NoteFilter) -> Iterable[ColumnElement[bool]]:
        """Return what `conditions` ask of columns."""
        if conditions.status is not None:
            yield NoteRow.status == conditions.status.value
        if conditions.addendum_to is not None:
            yield NoteRow.addendum_to == conditions.addendum_to
