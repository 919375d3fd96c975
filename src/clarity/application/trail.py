"""The use-cases on the trail: who saw a patient, who did what, for those who answer for it."""

import json
import struct
from collections.abc import AsyncIterator, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

from clarity.application.admission import require_right
from clarity.application.pages import Page, page_size
from clarity.application.ports import BeginReading, Clock, Cursors, TrailCount, TrailFormat, TrailPage, Work
from clarity.application.retry import retrying
from clarity.domain.access import ANONYMOUS, INDEXER, OPERATOR, SENDER, WATCH, Action, Actor
from clarity.domain.audit import Attempt
from clarity.domain.dates import instant_of, microseconds_of
from clarity.domain.errors import Invalid, NotFound
from clarity.domain.ids import AccountId, EventId
from clarity.domain.records import Resource
from clarity.domain.trail import EVERYTHING, ExportFormat, TrailEntry, TrailLine, TrailPlace, TrailQuery

CHUNK = 500
"""How many events an export reads at a time, and tells of in one event of its own, by count and digest."""

NAMES = {
    ANONYMOUS: "nobody logged in",
    OPERATOR: "operator",
    SENDER: "outbox",
    WATCH: "watch",
    INDEXER: "indexer",
}
"""What those are called who act without an account."""

# FHIR makes up to 200 resources of an event. Whatever else the server does waits while some are written.
_WRITTEN_AT_ONCE = 5
# So many times an export looks on for what is rare before it lets the trail say that it did.
_LOOKS = 20
_MICROSECOND = timedelta(microseconds=1)
_PLACE = struct.Struct(">q16sI?")


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportPiece:
    """A part of an export: its bytes, and how many events were written with it and before it."""

    data: bytes = field(repr=False)
    events: int


@dataclass(frozen=True, slots=True)
class TrailService:
    """The use-cases on the trail. Each leaves an event, with the patient if the question was about one.

    Raises `Forbidden` for everybody but compliance officers and the system.
    """

    reading: BeginReading
    cursors: Cursors
    now: Clock
    formats: Mapping[ExportFormat, TrailFormat]

    @retrying
    async def list(
        self, actor: Actor, query: TrailQuery = EVERYTHING, *, cursor: str = "", at_most: int = 50
    ) -> Page[TrailLine]:
        """Return the events that meet `query`, as they were written.

        A page may have fewer than asked for, even none, and a `next_cursor`: then what it looked for is rare. They are
        counted when the first page is asked for.
        """
        asked = _checked(query)
        spelt = _spelt(asked)
        context = b"trail" + actor.id.bytes + spelt
        after, count = _place(self.cursors.open(cursor, context)) if cursor else (None, None)
        size = page_size(at_most)
        async with self.reading(snapshot=True) as work:
            attempt = self._attempt(work, actor, Action.LIST, asked)
            page = await work.trail.find_page(asked, after=after, at_most=size)
            attempt.ids = tuple(entry.place.id for entry in page.entries)
            if count is None:
                count = await _counted(work, asked, page)
            lines = await _told(work, page.entries)
        next_cursor = self.cursors.seal(_sealable(page.resume, count), context) if page.resume else ""
        return Page(items=lines, next_cursor=next_cursor, count=count.count, exact=count.exact)

    @retrying
    async def account_named(self, actor: Actor, email: str) -> AccountId:
        """Return the account with an e-mail address, to ask what it did. Raises `NotFound` if there is none."""
        async with self.reading() as work:
            attempt = self._attempt(work, actor, Action.LIST, EVERYTHING)
            attempt.query_mac = work.query_mac(b"trail of " + email.casefold().encode())
            found = await work.accounts.find_by_email(email)
            if found is None:
                raise NotFound
            return found.account.id

    async def export(self, actor: Actor, query: TrailQuery, form: ExportFormat) -> AsyncIterator[ExportPiece]:
        """Yield the events that meet `query` and have happened by now, the oldest first, written as `form`.

        Where a clock was ahead, some are dated later than now: those are yielded too. Each piece is in the trail before
        it is handed out. If the trail fails, so does the export, in its middle: whoever passes it on must not end it as
        if it were whole.
        """
        writer, asked = self.formats[form], _checked(query)
        # What it adds to the trail itself is later, or an export would never end.
        end = await self._end()
        asked = replace(asked, until=end if asked.until is None else min(asked.until, end), oldest_first=True)
        after: TrailPlace | None = None
        written, head = 0, writer.head()
        while True:
            lines, after = await self._chunk(actor, asked, after)
            for some in _some_at_a_time(lines):
                written += len(some)
                yield ExportPiece(data=head + writer.written(some), events=written)
                head = b""
            if after is None:
                return

    @retrying
    async def _end(self) -> datetime:
        """Return the first instant beyond all that has happened by now."""
        now = self.now()
        async with self.reading() as work:
            latest = await work.trail.latest()
        return now if latest is None or latest <= now else latest + _MICROSECOND

    @retrying
    async def _chunk(
        self, actor: Actor, query: TrailQuery, after: TrailPlace | None
    ) -> tuple[tuple[TrailLine, ...], TrailPlace | None]:
        """Return the next events of an export and behind which place it goes on."""
        async with self.reading(snapshot=True) as work:
            attempt = self._attempt(work, actor, Action.EXPORT, query)
            page = await work.trail.find_page(query, after=after, at_most=CHUNK)
            for _ in range(_LOOKS):
                if page.entries or page.resume is None:
                    break
                page = await work.trail.find_page(query, after=page.resume, at_most=CHUNK)
            attempt.ids = tuple(entry.place.id for entry in page.entries)
            return await _told(work, page.entries), page.resume

    def _attempt(self, work: Work, actor: Actor, action: Action, query: TrailQuery) -> Attempt:
        attempt = Attempt(
            actor=actor, action=action, at=self.now(), resource=Resource.AUDIT_EVENT, patient=query.patient
        )
        if query != EVERYTHING:
            attempt.query_mac = work.query_mac(b"trail" + _spelt(query))
        require_right(work.note(attempt), action)
        return attempt


def _some_at_a_time(lines: Sequence[TrailLine]) -> Iterator[Sequence[TrailLine]]:
    """Yield a few lines after the others; of none, that there are none: an export of nothing has a header."""
    for start in range(0, len(lines) or 1, _WRITTEN_AT_ONCE):
        yield lines[start : start + _WRITTEN_AT_ONCE]


async def _counted(work: Work, query: TrailQuery, page: TrailPage) -> TrailCount:
    if page.resume is None:
        return TrailCount(count=len(page.entries), exact=True)
    return await work.trail.count(query)


async def _told(work: Work, entries: Sequence[TrailEntry]) -> tuple[TrailLine, ...]:
    """Return entries with the names of those who acted, all of them asked for at once."""
    actors = {entry.event.actor for entry in entries if entry.event is not None}
    accounts = {one.id: one for one in await work.accounts.find(_accounts(actors))}
    lines = []
    for entry in entries:
        actor = None if entry.event is None else AccountId(entry.event.actor)
        if actor is not None and (account := accounts.get(actor)):
            lines.append(TrailLine(entry=entry, name=account.name, email=account.email))
        else:
            lines.append(TrailLine(entry=entry, name="" if actor is None else NAMES.get(actor, "")))
    return tuple(lines)


def _accounts(actors: Collection[UUID]) -> list[AccountId]:
    return [AccountId(one) for one in sorted(actors) if one not in NAMES]


def _checked(query: TrailQuery) -> TrailQuery:
    """Return `query` with its instants in UTC, or raise `Invalid` if no event could meet it."""
    checked = replace(query, since=_in_utc("since", query.since), until=_in_utc("until", query.until))
    if checked.since is not None and checked.until is not None and checked.since >= checked.until:
        raise Invalid("until", "must be after since")
    return checked


def _in_utc(name: str, instant: datetime | None) -> datetime | None:
    try:
        return None if instant is None else instant.astimezone(UTC)
    except OverflowError:
        raise Invalid(name, "is not an instant of our calendar in UTC") from None


def _spelt(query: TrailQuery) -> bytes:
    """Return `query` in one spelling."""
    return json.dumps(
        {
            "patient": str(query.patient or ""),
            "actor": str(query.actor or ""),
            "since": None if query.since is None else microseconds_of(query.since),
            "until": None if query.until is None else microseconds_of(query.until),
            "actions": sorted(map(int, query.actions)),
            "resources": sorted(map(int, query.resources)),
            "outcomes": sorted(map(int, query.outcomes)),
            "request": str(query.request or ""),
            "oldest_first": query.oldest_first,
        }
    ).encode()


def _sealable(place: TrailPlace, count: TrailCount) -> bytes:
    return _PLACE.pack(microseconds_of(place.at), place.id.bytes, count.count, count.exact)


def _place(sealed: bytes) -> tuple[TrailPlace, TrailCount]:
    at, event, count, exact = _PLACE.unpack(sealed)
    place = TrailPlace(instant_of(at), EventId(UUID(bytes=event)))
    return place, TrailCount(count=count, exact=exact)
