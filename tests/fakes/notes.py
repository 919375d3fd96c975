"""Clinical notes, in dictionaries."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import date

from clarity.application.admission import Admitted
from clarity.application.ports import DueNote, RecordRevision
from clarity.domain.access import Reason, Scope, decide
from clarity.domain.ids import NoteId
from clarity.domain.notes import Note, NoteFilter, NoteStatus
from clarity.domain.records import Resource, Sealed
from clarity.persistence.ledger import Ledger
from tests.fakes.charts import MemoryChartRepository
from tests.fakes.patients import MemoryTables


class MemoryNoteRepository(MemoryChartRepository[Note, NoteFilter]):
    """`NoteRepository` over `MemoryTables`."""

    def __init__(self, tables: MemoryTables, ledger: Ledger) -> None:
        def meets(note: Note, conditions: NoteFilter) -> bool:
            return conditions.met_by(note)

        super().__init__(tables, ledger, Resource.NOTE, drafted=True, meets=meets)

    async def save(self, entity: Note) -> Note:
        if entity.id in self._opened:
            before, _ = self._opened[entity.id]
            entity.require_follows(before)
        return await super().save(entity)

    async def follow(self, entity: Note) -> Note:
        if entity.id in self._opened:
            before, _ = self._opened[entity.id]
            entity.require_corrects(before)
        return await super().follow(entity)

    async def find_due(self, scope: Scope, *, after: tuple[date, NoteId] | None, at_most: int) -> Sequence[DueNote]:
        del scope
        due = sorted(
            (note.due_on, note.id)
            for note in (versions[-1].entity for versions in self._all.values())
            if note.due_on is not None
        )
        behind = [(day, note) for day, note in due if after is None or (day, note) > after][:at_most]
        return [DueNote(day, self._unowned(note)) for day, note in behind]

    def _unowned(self, note: NoteId) -> Sealed:
        entity = self._all[note][-1].entity
        return Sealed(resource=Resource.NOTE, id=note, patient=entity.patient, version=entity.version)

    def standing_as(self, record: Sealed, whose: Sealed) -> Sealed:
        if whose.standing is None:
            return replace(record, standing=None)
        return self._sealed(self._all[record.id], whose)

    def is_covered(self, scope: Scope, record: Sealed) -> bool:
        if not decide(scope, record).allowed:
            return False
        if record.patient in self.tables.broken:
            return True
        labels, consents = self._labels(record, self._all[record.id][-1].entity), self._consents(record)
        return all(scope.after_opening(record, label, consents).allowed for label in labels)

    async def history(
        self, admitted: Admitted, *, before: int | None = None, at_most: int = 50
    ) -> Sequence[RecordRevision[Note]]:
        actor = admitted.attempt.actor.id
        found = await super().history(admitted, before=before, at_most=at_most)
        shown = [one for one in found if one.record.status is not NoteStatus.DRAFT or one.record.author == actor]
        if len(shown) < len(found):
            self.ledger.note(admitted.withheld(Reason.NO_TIE))
        return shown
