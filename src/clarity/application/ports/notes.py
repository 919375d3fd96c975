"""Where clinical notes are kept."""

from collections.abc import Sequence
from datetime import date
from typing import NamedTuple, Protocol

from clarity.application.ports.charts import ChartRepository
from clarity.domain.access import Scope
from clarity.domain.ids import NoteId
from clarity.domain.notes import Note, NoteFilter
from clarity.domain.records import Sealed


class DueNote(NamedTuple):
    """A note, still closed, and the day by which the first open request to amend it has to be decided."""

    due_on: date
    record: Sealed


class NoteRepository(ChartRepository[Note, NoteFilter], Protocol):
    """The clinical notes. `save` raises `Conflict` for what may not follow what was opened, such as another body.

    So does `follow` for a note that did not come from the source that the entity names.

    Of a note that was signed, `history` leaves out to all but its author what it was as a draft.
    """

    async def find_due(self, scope: Scope, *, after: tuple[date, NoteId] | None, at_most: int) -> Sequence[DueNote]:
        """Return at most `at_most` notes in `scope` of which requests for amendment are open, behind `after`.

        They are in order of their days, then of their ids. How they stand is not told yet, and those of patients whose
        records ended in a merge may be among them whoever asks: `standing_as` tells.
        """
        ...

    def standing_as(self, record: Sealed, whose: Sealed) -> Sealed:
        """Return a note that `find_due` found, to stand as the record of the patient whose it is now, `whose`."""
        ...

    def is_covered(self, scope: Scope, record: Sealed) -> bool:
        """Tell whether `scope` covers a note by its exact labels; `True` if it does not open, for whoever reports that.

        It is opened for that, unaudited.
        """
        ...
