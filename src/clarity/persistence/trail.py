"""The trail of one unit of work, to read: each page is taken from the ends of indexes, however long the trail is."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from operator import ge, gt, le, lt
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Select, and_, literal, or_, select, text, tuple_, union_all
from sqlalchemy.ext.asyncio import AsyncSession

from clarity.application.ports import TrailCount, TrailPage
from clarity.domain.audit import Entry, Outcome
from clarity.domain.ids import EventId, PatientId
from clarity.domain.records import Resource
from clarity.domain.trail import TrailEntry, TrailPlace, TrailQuery
from clarity.persistence.audit import AuditEventRow, AuditSubjectRow, event_values
from clarity.persistence.break_glass.tables import BreakGlassRow
from clarity.persistence.disclosures.tables import DisclosureRow
from clarity.persistence.duplicates.tables import DuplicateRow
from clarity.persistence.ledger import Ledger

Examine = Callable[[bytes, bytes, bytes], tuple[Entry | None, bool]]
"""Reads canonical bytes with their leaf hash and MAC, and tells whether they belong together."""

MOST_LOOKED_AT = 5_000
"""How many events of one index a page looks at for what no index is for, before it says where to go on."""

MOST_COUNTED = 1_000
"""Up to how many events are counted; beyond, it is said that there are at least so many."""

_BEGINNING, _END = datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, tzinfo=UTC)
_EVENTS = AuditEventRow
_COLUMNS = (
    _EVENTS.id,
    _EVENTS.at,
    _EVENTS.actor_id,
    _EVENTS.role,
    _EVENTS.action,
    _EVENTS.resource,
    _EVENTS.outcome,
    _EVENTS.patient_id,
    _EVENTS.request_id,
    _EVENTS.encoded,
    _EVENTS.leaf,
    _EVENTS.mac,
)
# Written out, so that the partial index on what did not succeed is seen to cover it.
_DID_NOT_SUCCEED = text("outcome <> 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stretch:
    """A part of the trail that one index has in order: the rows whose column `key` has a `value`, by `at` and `id`.

    With `leading`, the key takes part in each comparison and in the order. That leaves PostgreSQL no other index: where
    it guesses that many rows have the value, it would rather walk the whole trail by time, and may walk for long.
    """

    at: Any
    id: Any
    rest: tuple[ColumnElement[bool], ...]
    """The conditions that the index does not know of, on the columns of events."""
    key: Any = None
    value: Any = None
    leading: bool = False
    where: tuple[Any, ...] = ()
    """What else the index is confined to."""
    records: frozenset[UUID] = frozenset()
    """The records of which these events are said to name one among several."""

    def places(self, query: TrailQuery, after: TrailPlace | None) -> Select[Any]:
        """Select the places of these events in order, those behind `after`."""
        conditions = [*self.where, *self._ends()]
        if query.since is not None:
            conditions.append(self._compared(ge, query.since))
        if query.until is not None:
            conditions.append(self._compared(lt, query.until))
        if after is not None:
            # The first condition is the index's own; the other only sorts out what is of the same instant.
            onward, beyond = (ge, gt) if query.oldest_first else (le, lt)
            conditions.append(self._compared(onward, after.at))
            conditions.append(or_(beyond(self.at, after.at), beyond(self.id, after.id)))
        order = (self.key, self.at, self.id) if self.leading else (self.at, self.id)
        statement = select(self.at.label("at"), self.id.label("id")).where(*conditions)
        return statement.order_by(*_ordered(query, *order))

    def _ends(self) -> list[Any]:
        """Return the conditions that the key has its value."""
        if self.key is None:
            return []
        if not self.leading:
            return [self.key == self.value]
        return [self._compared(ge, _BEGINNING), self._compared(lt, _END)]

    def _compared(self, compare: Callable[[Any, Any], Any], instant: datetime) -> Any:
        if not self.leading:
            return compare(self.at, instant)
        value = tuple_(literal(self.value, self.key.type), literal(instant, self.at.type))
        return compare(tuple_(self.key, self.at), value)

    def looked_at(self, query: TrailQuery, after: TrailPlace | None, at_most: int) -> Select[Any]:
        """Select as many places as a page that wants `at_most` looks at."""
        return self.places(query, after).limit(MOST_LOOKED_AT if self.rest else at_most)

    def found(self, query: TrailQuery, after: TrailPlace | None, at_most: int, columns: Sequence[Any]) -> Select[Any]:
        """Select at most `at_most` events that meet all of `query`. Of one that is gone, only the place is left."""
        places = self.looked_at(query, after, at_most).subquery()
        statement = select(places.c.id.label("place_id"), places.c.at.label("place_at"), *columns)
        statement = statement.select_from(places).join(_EVENTS, _EVENTS.id == places.c.id, isouter=True)
        if self.rest:
            statement = statement.where(or_(_EVENTS.id.is_(None), and_(*self.rest)))
        return statement.order_by(*_ordered(query, places.c.at, places.c.id)).limit(at_most)


@dataclass(frozen=True, slots=True)
class SqlTrailReader:
    """`TrailReader` over one session. Enters in the ledger every event it hands out."""

    session: AsyncSession
    ledger: Ledger
    examine: Examine

    async def find_page(self, query: TrailQuery, *, after: TrailPlace | None, at_most: int) -> TrailPage:
        """Return at most `at_most` events that meet `query`, those behind `after`."""
        rows: dict[UUID, tuple[Any, frozenset[UUID]]] = {}
        horizon: TrailPlace | None = None
        for stretch in await self._stretches(query):
            statement = stretch.found(query, after, at_most + 1, _COLUMNS)
            found = (await self.session.execute(statement)).all()
            rows |= {row.place_id: (row, stretch.records) for row in found}
            if stretch.rest and len(found) <= at_most:
                horizon = _nearest(query, horizon, await self._end_of(stretch, query, after))
        entries = list(self._entries(query, rows.values(), horizon))
        shown = entries[:at_most]
        for entry in shown:
            self.ledger.disclose(Resource.AUDIT_EVENT, entry.place.id)
        return TrailPage(entries=tuple(shown), resume=shown[-1].place if len(entries) > at_most else horizon)

    async def latest(self) -> datetime | None:
        """Return the instant of the latest event, from the end of an index."""
        return await self.session.scalar(select(_EVENTS.at).order_by(_EVENTS.at.desc()).limit(1))

    async def count(self, query: TrailQuery) -> TrailCount:
        """Return how many events meet `query`, exactly if they are few and soon found."""
        known: set[UUID] = set()
        exact = True
        for stretch in await self._stretches(query):
            statement = stretch.found(query, None, MOST_COUNTED + 1, ())
            found = (await self.session.scalars(statement)).all()
            known |= set(found[:MOST_COUNTED])
            exact = exact and len(found) <= MOST_COUNTED
            exact = exact and not (stretch.rest and await self._end_of(stretch, query, None))
        return TrailCount(count=len(known), exact=exact)

    async def _end_of(self, stretch: _Stretch, query: TrailQuery, after: TrailPlace | None) -> TrailPlace | None:
        """Return the last place that a page looks at, or `None` if it sees the end of the stretch."""
        last = stretch.places(query, after).offset(MOST_LOOKED_AT - 1).limit(1)
        row = (await self.session.execute(last)).first()
        return None if row is None else TrailPlace(row.at, EventId(row.id))

    def _entries(
        self, query: TrailQuery, rows: Iterable[tuple[Any, frozenset[UUID]]], horizon: TrailPlace | None
    ) -> Iterator[TrailEntry]:
        """Yield what was found in order, as far as every stretch was looked at."""
        in_order = sorted(rows, key=lambda one: (one[0].place_at, one[0].place_id), reverse=not query.oldest_first)
        for row, records in in_order:
            place = TrailPlace(row.place_at, EventId(row.place_id))
            if horizon is None or _nearest(query, horizon, place) == place:
                yield self._entry(place, row, records)

    def _entry(self, place: TrailPlace, row: Any, records: frozenset[UUID]) -> TrailEntry:
        entry, genuine = (None, False) if row.id is None else self.examine(row.encoded, row.leaf, row.mac)
        if entry is None:
            return TrailEntry(place=place, event=None, verified=False)
        repeated = all(getattr(row, name) == value for name, value in event_values(entry).items())
        # What names a record among several stands in a table of its own, and has to be what the event says.
        named = not records or (not records.isdisjoint(entry.event.ids) and entry.event.at == place.at)
        return TrailEntry(place=place, event=entry.event, verified=genuine and repeated and named)

    async def _stretches(self, query: TrailQuery) -> list[_Stretch]:
        """Return the parts of the trail in which every event that meets `query` is: those of the index that fits best.

        Each event may stand in several of them.
        """
        rest = _conditions(query)
        if query.patient is not None:
            del rest["patient"]
            others = tuple(rest.values())
            return [
                self._of_events(others, key=_EVENTS.patient_id, value=query.patient),
                self._of_subjects(query.patient, others),
                *self._of_records(await self._records_of(query.patient), others),
            ]
        if query.request is not None:
            del rest["request"]
            # They are few, and the index knows nothing of time.
            return [
                _Stretch(
                    at=_EVENTS.at, id=_EVENTS.id, rest=tuple(rest.values()), key=_EVENTS.request_id, value=query.request
                )
            ]
        if query.actor is not None:
            del rest["actor"]
            return [self._of_events(tuple(rest.values()), key=_EVENTS.actor_id, value=query.actor)]
        if query.outcomes and Outcome.SUCCEEDED not in query.outcomes:
            del rest["outcomes"]
            others = tuple(rest.values())
            return [
                self._of_events(others, key=_EVENTS.outcome, value=int(one), where=(_DID_NOT_SUCCEED,))
                for one in sorted(query.outcomes)
            ]
        return [_Stretch(at=_EVENTS.at, id=_EVENTS.id, rest=tuple(rest.values()))]

    def _of_events(self, rest: tuple[ColumnElement[bool], ...], **chosen: Any) -> _Stretch:
        return _Stretch(at=_EVENTS.at, id=_EVENTS.id, rest=rest, leading=self._leads, **chosen)

    def _of_subjects(self, record: UUID, rest: tuple[ColumnElement[bool], ...]) -> _Stretch:
        rows = AuditSubjectRow
        return _Stretch(
            at=rows.at,
            id=rows.event_id,
            rest=rest,
            leading=self._leads,
            key=rows.record_id,
            value=record,
            records=frozenset({record}),
        )

    def _of_records(self, records: frozenset[UUID], rest: tuple[ColumnElement[bool], ...]) -> Iterator[_Stretch]:
        """Yield the events that name any of some records: in one statement, though no index has them in order.

        The lists of review queues that named one are few. An OFFSET keeps PostgreSQL from walking the whole trail by
        time for want of that order.
        """
        if records:
            rows = AuditSubjectRow
            named = select(rows.at, rows.event_id).where(rows.record_id.in_(records)).distinct().offset(0).subquery()
            yield _Stretch(at=named.c.at, id=named.c.event_id, rest=rest, records=records)

    @property
    def _leads(self) -> bool:
        return self.session.get_bind().dialect.name == "postgresql"

    async def _records_of(self, patient: PatientId) -> frozenset[UUID]:
        """Return the records of a patient that lists name by ids of their own, and not by the patient's."""
        tables = (
            select(BreakGlassRow.id).where(BreakGlassRow.patient_id == patient),
            select(DisclosureRow.id).where(DisclosureRow.patient_id == patient),
            select(DuplicateRow.id).where(or_(DuplicateRow.patient_id == patient, DuplicateRow.other_id == patient)),
        )
        return frozenset(await self.session.scalars(union_all(*tables)))


def _conditions(query: TrailQuery) -> dict[str, ColumnElement[bool]]:
    """Return the conditions of `query` on the columns of events, by the name of what they are about."""
    conditions: dict[str, ColumnElement[bool]] = {}
    if query.patient is not None:
        conditions["patient"] = _EVENTS.patient_id == query.patient
    if query.actor is not None:
        conditions["actor"] = _EVENTS.actor_id == query.actor
    if query.request is not None:
        conditions["request"] = _EVENTS.request_id == query.request
    if query.actions:
        conditions["actions"] = _EVENTS.action.in_(sorted(map(int, query.actions)))
    if query.resources:
        conditions["resources"] = _EVENTS.resource.in_(sorted(map(int, query.resources)))
    if query.outcomes:
        conditions["outcomes"] = _EVENTS.outcome.in_(sorted(map(int, query.outcomes)))
    return conditions


def _ordered(query: TrailQuery, *columns: Any) -> tuple[Any, ...]:
    return columns if query.oldest_first else tuple(column.desc() for column in columns)


def _nearest(query: TrailQuery, one: TrailPlace | None, other: TrailPlace | None) -> TrailPlace | None:
    """Return which of two places comes first in the order of `query`."""
    if one is None or other is None:
        return one or other
    first = min if query.oldest_first else max
    return first(one, other, key=lambda place: (place.at, place.id))
