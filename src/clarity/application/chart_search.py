"""Search for words in one patient's chart: opened, read through, and ranked, all of it anew each time."""

import asyncio
from collections.abc import Callable, Iterable
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import tzinfo
from enum import StrEnum
from typing import Any, Final, NamedTuple
from uuid import UUID

from clarity.application.admission import admit_each
from clarity.application.charts import Charting
from clarity.application.pages import Page, page_size
from clarity.application.ports import BeginReading, Chart, Clock, Cursors, FullText, Text, TextFound, Work
from clarity.application.retry import retrying
from clarity.domain.access import Action, Actor, scope_of
from clarity.domain.audit import Attempt
from clarity.domain.charts import ChartRecord
from clarity.domain.dates import PartialDate
from clarity.domain.errors import Invalid
from clarity.domain.full_text import Question, Snippet
from clarity.domain.ids import PatientId
from clarity.domain.medications import Prescription
from clarity.domain.notes import Note
from clarity.domain.records import Label, Notice, Sealed
from clarity.domain.values import Confidential

MOST_RECORDS: Final = 5_000
MOST_CHARACTERS: Final = 20_000_000
"""How much one search reads through, of what the caller may see. It takes about a second and a half of a processor."""

# Each may hold the texts of a whole chart.
_AT_ONCE: Final = 2


class RecordKind(StrEnum):
    """What of a chart is searched."""

    NOTE = "note"
    PRESCRIPTION = "prescription"


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class RecordFound(Confidential):
    """A record that answers a question: what it is, and where in it stands what was asked for.

    `day` is the one that a note is about, or on which it was signed, or a prescription begins. It is `as_spelt` unless
    typos had to be forgiven.
    """

    kind: RecordKind
    id: UUID
    patient: PatientId
    day: PartialDate | None
    status: str
    label: Label
    title: Snippet
    snippet: Snippet
    as_spelt: bool
    notice: Notice | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ChartFound(Page[RecordFound]):
    """Some of the records that answer a question, the best answers first.

    `looked_through` is how many were read. Unless it is `complete` there are more in the chart, the oldest of their
    kind, or some that could not be read.
    """

    looked_through: int
    complete: bool


class _Looked(NamedTuple):
    """A record that was read, still to be admitted, and what it says."""

    kind: RecordKind
    record: Sealed
    text: Text


@dataclass(slots=True)
class _Budget:
    """How much more may be read, and whether anything was left out."""

    records: int = MOST_RECORDS
    characters: int = MOST_CHARACTERS
    complete: bool = True

    def allows(self, text: Text) -> bool:
        """Tell whether one more text may be read, and count it."""
        size = len(text.title) + len(text.body)
        if self.records < 1 or self.characters < size:
            self.complete = False
            return False
        self.records, self.characters = self.records - 1, self.characters - size
        return True


@dataclass(frozen=True, slots=True, kw_only=True)
class ChartSearchService:
    """The search of a chart. It is one unit of work and leaves an audit event for each kind of record.

    `zone` is that of the practice, by which a note has its day.
    """

    reading: BeginReading
    full_text: FullText
    cursors: Cursors
    now: Clock
    zone: tzinfo
    _turn: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(_AT_ONCE), init=False, repr=False)

    @retrying
    async def search(
        self,
        actor: Actor,
        patient: PatientId,
        query: str,
        *,
        kinds: Iterable[RecordKind] = RecordKind,
        cursor: str = "",
        at_most: int = 20,
    ) -> ChartFound:
        """Return the records of a patient that have all of what `query` asks for, as `Question.parse` reads it.

        Only what the actor may see is read, and has a part in the order. No more than `MOST_RECORDS` and
        `MOST_CHARACTERS` are, prescriptions first, then notes, the latest recorded first. Raises `NotFound` if there is
        no such patient, or not all of the kinds are for the actor, and `Invalid` for a query that asks for nothing.
        """
        question = Question.parse(query)
        asked = tuple(kind for kind in _READERS if kind in set(kinds))
        if not asked:
            raise Invalid("kinds", f"must name at least one of {', '.join(RecordKind)}")
        spelt = "|".join(("search", *asked, *query.lower().split())).encode()
        context = b"|".join((b"chart", actor.id.bytes, patient.bytes, spelt))
        skip = int.from_bytes(self.cursors.open(cursor, context)) if cursor else 0
        size = page_size(at_most)
        async with self._turn, self.reading(snapshot=True) as work:
            shelves = {kind: _Shelf(work, actor, self, _READERS[kind]) for kind in asked}
            budget, looked = _Budget(), list[_Looked]()
            charts = {kind: await shelf.admitted(patient, spelt) for kind, shelf in shelves.items()}
            for kind, (attempt, chart) in charts.items():
                looked += await shelves[kind].read(kind, attempt, chart, budget)
            answer = await self.full_text.find([one.text for one in looked], question, skip=skip, at_most=size)
            shown = [looked[one.place] for one in answer.texts]
            opened: dict[UUID, ChartRecord] = {}
            for kind, (attempt, _) in charts.items():
                opened |= shelves[kind].opened(attempt, (one.record for one in shown if one.kind is kind))
            items = tuple(
                shelves[one.kind].found(one, opened[one.record.id], text)
                for one, text in zip(shown, answer.texts, strict=True)
                if one.record.id in opened
            )
        behind = skip + len(answer.texts)
        more = behind < answer.count and bool(answer.texts)
        return ChartFound(
            items=items,
            next_cursor=self.cursors.seal(behind.to_bytes(4), context) if more else "",
            count=answer.count,
            exact=budget.complete,
            looked_through=len(looked),
            complete=budget.complete,
        )


class _Reader(NamedTuple):
    """Where the records of a kind are, what of one is searched, and the day that it is put down to."""

    records: Callable[[Work], Any]
    text: Callable[[Any], Text]
    day: Callable[[Any, tzinfo], PartialDate | None]


class _Shelf:
    """What `actor` searches of one kind of record, within one unit of work."""

    def __init__(self, work: Work, actor: Actor, service: ChartSearchService, reader: _Reader) -> None:
        self._work, self._reader, self._zone = work, reader, service.zone
        self._charting: Charting[Any, Any] = Charting(work, reader.records(work), actor, service.now())

    async def admitted(self, patient: PatientId, spelt: bytes) -> tuple[Attempt, Chart]:
        """Admit the actor to the records of a patient, and note what they look for."""
        attempt, chart = await self._charting.chart(Action.SEARCH, patient)
        attempt.query_mac = self._work.query_mac(spelt)
        return attempt, chart

    async def read(self, kind: RecordKind, attempt: Attempt, chart: Chart, budget: _Budget) -> list[_Looked]:
        """Read what of a chart the actor may see, as far as the budget goes."""
        charting, found = self._charting, list[_Looked]()
        scope = scope_of(charting.actor, attempt.action, charting.records.resource, at=charting.at)
        async with aclosing(charting.records.read_through(scope, chart)) as records:
            async for record, entity in records:
                if entity is None:
                    budget.complete = False
                    continue
                text = self._reader.text(entity)
                if not budget.allows(text):
                    break
                found.append(_Looked(kind, record, text))
        return found

    def opened(self, attempt: Attempt, records: Iterable[Sealed]) -> dict[UUID, ChartRecord]:
        """Admit the actor to what is shown, and return it by its id."""
        return {one.id: one for one in self._charting.open_each(admit_each(attempt, records))}

    def found(self, looked: _Looked, record: ChartRecord, text: TextFound) -> RecordFound:
        """Return what is told of a record that was found."""
        return RecordFound(
            kind=looked.kind,
            id=record.id,
            patient=record.patient,
            day=self._reader.day(record, self._zone),
            status=record.status,
            label=record.label,
            title=text.title,
            snippet=text.body,
            as_spelt=text.as_spelt,
            notice=record.notice,
        )


def _text_of_prescription(one: Prescription) -> Text:
    dosages = (one.dosage, *(former.dosage for former in one.former))
    said = (
        one.indication,
        *(text for dosage in dosages for text in (dosage.instruction, dosage.as_needed_for)),
        *(ingredient.name for ingredient in one.ingredients),
        *(hold.reason for hold in one.holds),
        "" if one.end is None else one.end.reason,
        one.mistake,
        one.prescribed_by,
    )
    return Text(one.name, "\n".join(dict.fromkeys(filter(None, said))))


def _text_of_note(note: Note) -> Text:
    return Text(note.title, "\n".join(filter(None, (note.body, note.encounter, note.written_by))))


def _day_of_note(note: Note, zone: tzinfo) -> PartialDate | None:
    at = note.about or note.signed_at
    return None if at is None else PartialDate.of(at.astimezone(zone).date())


# What is short comes first: no note keeps a prescription from being read.
_READERS: dict[RecordKind, _Reader] = {
    RecordKind.PRESCRIPTION: _Reader(
        records=lambda work: work.prescriptions,
        text=_text_of_prescription,
        day=lambda one, _: one.start,
    ),
    RecordKind.NOTE: _Reader(records=lambda work: work.notes, text=_text_of_note, day=_day_of_note),
}
