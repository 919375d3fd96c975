"""The search of a server: it answers from an index of names in memory, brought up to date before each answer."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from contextlib import asynccontextmanager, suppress
from contextvars import Context
from dataclasses import dataclass, replace
from datetime import date
from functools import partial
from itertools import islice
from math import ceil
from time import monotonic
from typing import Final, Self
from uuid import UUID

from clarity.application.ports import Found, FoundAlike, PatientFilter, PatientSearch, Work
from clarity.application.ports.search import (
    Absence,
    ChangeFeed,
    Changes,
    Horizon,
    IndexChange,
    IndexEntry,
    IndexGap,
    Reach,
)
from clarity.application.ports.telemetry import IndexState
from clarity.domain.access import Scope
from clarity.domain.errors import HorizonLost, TimedOut, WarmingUp
from clarity.domain.ids import PatientId
from clarity.domain.likeness import SimilarQuery
from clarity.domain.patients import Patient, PatientQuery
from clarity.search.index import NameIndex
from clarity.search.joining import Joining
from clarity.search.question import Question
from clarity.search.snapshot import Snapshot

IDLE_SECONDS: Final = 5.0
"""How often changes are looked for while nobody searches, so that names that were forgotten leave memory."""

PATIENCE_SECONDS: Final = 3.0
"""How long a search waits for an index that is not there yet."""

_EVERYBODY = PatientQuery()
_PAUSE_SECONDS = 1.0
# It takes a millisecond or two, and all searches wait for it together: on a connection that is silent, in vain.
_LONGEST_LOOK_SECONDS = 5.0
# A snapshot that lies further behind than this is written anew, so that a start after a crash stays short.
_CHANGES_PER_SNAPSHOT = 10_000
_LONGEST_SAVE_SECONDS = 60.0
_LAST_SAVE_SECONDS = 3.0
_LAST_LOOK_SECONDS = 1.0
# Of records that do not open, so many are looked up in a search; there are none unless something is badly wrong.
_MOST_UNOPENED = 100
_FEW = 100
_TALLIES = 5
_LONGEST_RETRY_SECONDS = 30

_log = logging.getLogger(__name__)

RecordRun = Callable[[int], Awaitable[None]]
"""Makes it durable in the trail that so many records were taken in."""


@dataclass(slots=True)
class _Progress:
    """How far a warm-up is. `total` is how many records there were when it began."""

    began: float
    total: int = 0
    done: int = 0

    @property
    def percent(self) -> int:
        """How much of it is done."""
        return min(100, 100 * self.done // self.total) if self.total else 0

    @property
    def seconds_left(self) -> float:
        """How long it should still take; 0 as long as nothing tells."""
        return (monotonic() - self.began) * max(0, self.total - self.done) / self.done if self.done else 0.0


class ResidentSearch:
    """`PatientSearch` from memory, as fresh as the database, for the one event loop that it runs in.

    Each `find` first joins a refresh that began after it did: it sees what any process committed before. While there is
    no index, a search waits a little and then raises `WarmingUp`; there is no partial answer. Exact identifiers go to
    `streaming`, since a blind index has chosen a handful of records for it.
    """

    def __init__(
        self,
        feed: ChangeFeed,
        streaming: PatientSearch,
        record_run: RecordRun,
        *,
        today: Callable[[], date],
        snapshot: Snapshot | None = None,
        idle_seconds: float = IDLE_SECONDS,
        patience_seconds: float = PATIENCE_SECONDS,
    ) -> None:
        """Tell ages by `today`, the day in the practice; without a `snapshot`, every start opens every record."""
        self._feed = feed
        self._streaming = streaming
        self._record_run = record_run
        self._today = today
        self._snapshot = snapshot
        self._idle_seconds = idle_seconds
        self._patience_seconds = patience_seconds
        self.state = IndexState.LOADING if snapshot else IndexState.BUILDING
        self.refreshes = 0
        """How often it was brought up to date."""
        self.rebuilds = 0
        """How often it was built anew while it served, since the database was another or an earlier one."""
        self._index: NameIndex | None = None
        self._horizon: Horizon | None = None
        self._fresh_at = monotonic()
        self._progress = _Progress(monotonic())
        self._refresh = Joining(self._refresh_once)
        self._serving = asyncio.Event()
        self._called = asyncio.Event()
        self._unsaved = 0
        self._forgotten: set[bytes] = set()
        self._times_forgotten = 0
        self._has_served = False
        self._is_quiet = False
        """Whether nothing had changed when that was looked for last."""

    @property
    def patients(self) -> int:
        """How many patients are in the index; those taken in so far, while it is not there yet."""
        return self._progress.done if self._index is None else self._index.size

    @property
    def memory_bytes(self) -> int:
        """How much memory the index takes."""
        return 0 if self._index is None else self._index.memory()

    @property
    def lag_seconds(self) -> float:
        """How long ago the index was up to date for certain."""
        return monotonic() - self._fresh_at

    @property
    def trouble(self) -> str:
        """Why no search can be answered, "" once one could: if the index is lost later, all else goes on."""
        return "" if self._has_served else self.note

    @property
    def note(self) -> str:
        """The state, the size, and how far behind it may be.

        Anybody may read it without logging in, so that sizes are rough: when a small practice takes somebody in, or
        gives somebody up, is nobody's business.
        """
        if self._index is None:
            return f"{self.state}: {self._progress.percent} % of the patients"
        size, megabytes = roughly(self.patients), self.memory_bytes / 1_000_000
        return f"{self.state}: {size} patients, {megabytes:.0f} MB, {self.lag_seconds:.1f} s behind at most"

    def needs_snapshot(self, query: PatientQuery | SimilarQuery) -> bool:
        """Tell that only what `streaming` answers has to be of one state with what is shown."""
        return isinstance(query, PatientQuery) and bool(query.terms)

    async def find(
        self, work: Work, scope: Scope, query: PatientQuery, *, after: tuple[str, ...] | None, at_most: int
    ) -> Found:
        """Return the page behind the sort key `after` of the patients in `scope` that match `query`.

        Raises `WarmingUp` if the index is not there in time.
        """
        if query.terms:
            return await self._streaming.find(work, scope, query, after=after, at_most=at_most)
        question = Question.of(query, self._today())

        async def judge(doubtful: Collection[PatientId]) -> Collection[PatientId]:
            return await work.patients.admissible(scope, doubtful)

        async def ask(index: NameIndex) -> Found:
            reach = await _reach(work, scope, query)
            return await index.find(question, reach, after=after, at_most=at_most, judge=judge)

        # Whoever may have to wait long holds no connection meanwhile.
        asks_elsewhere = _is_tied(scope) or query.practitioner is not None
        index, found = await (self._asked(ask) if asks_elsewhere else self._asked_meanwhile(ask))
        return replace(found, unopened=await _unopened(work, scope, query, index)) if index.unopened else found

    async def _asked(self, ask: Callable[[NameIndex], Awaitable[Found]]) -> tuple[NameIndex, Found]:
        """Return the index with all in it that was committed before this was called, and its answer."""
        index = await self.fresh()
        return index, await ask(index)

    async def _asked_meanwhile(self, ask: Callable[[NameIndex], Awaitable[Found]]) -> tuple[NameIndex, Found]:
        """Return the same. While the database is asked what changed, the index is asked as it is.

        What it says counts if nothing had changed, as it mostly has not; where it lately has, nobody tries.
        """
        index = self._index
        if index is None or not self._is_quiet:
            return await self._asked(ask)
        leaves, joined = index.leaves, self._refresh.join()
        await asyncio.sleep(0)  # the question of what changed goes out
        found = await ask(index)
        try:
            await self._refresh.ended(joined)
        except HorizonLost:
            return await self._asked(ask)
        return index, found if index.leaves is leaves else await ask(index)

    async def similar(self, work: Work, scope: Scope, query: SimilarQuery, *, at_most: int) -> FoundAlike:
        """Return the patients in `scope` whose names are most like what was heard. Raises as `find` does."""
        index = await self.fresh()
        reach = await _reach(work, scope, _EVERYBODY)
        found = await index.similar(query, reach, at_most=at_most, judge=partial(work.patients.admissible, scope))
        return replace(found, unopened=await _unopened(work, scope, _EVERYBODY, index)) if index.unopened else found

    def score(self, query: SimilarQuery, patient: Patient) -> float:
        """Return from 0 to 1 how much a patient is like what was heard."""
        return self._streaming.score(query, patient)

    async def fresh(self) -> NameIndex:
        """Return the index with all in it that was committed before this was called. Raises `WarmingUp`."""
        ends = monotonic() + self._patience_seconds
        while True:
            await self._served(ends)
            with suppress(HorizonLost):
                await self._refresh()
            if self._index is not None:
                return self._index

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Self]:
        """Keep an index meanwhile, and a snapshot of it for the next start.

        Begins as soon as the index is there, or would be too long in coming: of a small practice nobody has to wait.
        """
        keeper = asyncio.get_running_loop().create_task(self._keep(), name="search-index", context=Context())
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._patience_seconds):
                    await self._serving.wait()
            yield self
        finally:
            keeper.cancel()
            await asyncio.wait((keeper,))
            await self._look_once_more()
            await self._refresh.aclose()
            if self._unsaved:
                await self._save(_LAST_SAVE_SECONDS)

    async def _look_once_more(self) -> None:
        """See who was forgotten since the last look: what is on disk may stay there for long."""
        with suppress(Exception):
            async with asyncio.timeout(_LAST_LOOK_SECONDS):
                await self._refresh()

    async def _served(self, ends: float) -> None:
        """Wait for the index until `ends`, and raise `WarmingUp` then."""
        if self._serving.is_set():
            return
        try:
            async with asyncio.timeout(ends - monotonic()):
                await self._serving.wait()
        except TimeoutError:
            seconds = ceil(self._progress.seconds_left)
            raise WarmingUp(min(max(seconds, 1), _LONGEST_RETRY_SECONDS)) from None

    async def _keep(self) -> None:
        """Build, refresh and save, until cancelled. What fails is logged, and tried again after a pause."""
        while True:
            try:
                if self._index is None:
                    await self._warm_up()
                if self._unsaved >= _CHANGES_PER_SNAPSHOT:
                    await self._save(_LONGEST_SAVE_SECONDS)
                await self._wait()
                await self._refresh()
            except HorizonLost:
                continue
            except Exception as exc:
                _log.error("the search index waits: %s", type(exc).__name__)
                await asyncio.sleep(_PAUSE_SECONDS)

    async def _wait(self) -> None:
        """Wait until it is time for a refresh that nobody asked for, or somebody calls."""
        with suppress(TimeoutError):
            async with asyncio.timeout(self._idle_seconds):
                await self._called.wait()
        self._called.clear()

    async def _warm_up(self) -> None:
        """Load the index or build it, and serve once the trail says so."""
        began = monotonic()
        loaded = await self._loaded()
        index, horizon = loaded or await self._built()
        await self._recorded(index.size)
        self._index, self._horizon, self._fresh_at = index, horizon, monotonic()
        self.state, self._has_served = IndexState.SERVING, True
        self._serving.set()
        how = "loaded" if loaded else "built"
        _log.info("the search index is %s: %d patients in %.1f s", how, index.size, monotonic() - began)
        if not loaded:
            self._unsaved = _CHANGES_PER_SNAPSHOT

    async def _recorded(self, count: int) -> None:
        """Return once the trail says that so many records were taken in; nobody is answered before."""
        while True:
            try:
                return await self._record_run(count)
            except Exception as exc:
                _log.error("the search index waits for the trail: %s", type(exc).__name__)
                await asyncio.sleep(_PAUSE_SECONDS)

    async def _built(self) -> tuple[NameIndex, Horizon]:
        self.state = IndexState.REBUILDING if self._has_served else IndexState.BUILDING
        self._progress = _Progress(monotonic())
        index = NameIndex()
        # Meanwhile, since it takes a second to count a million.
        counting = asyncio.create_task(self._count())
        try:
            async with self._feed.all_since(None) as stream:
                await index.load(self._counted(stream.batches))
                return index, stream.horizon
        finally:
            counting.cancel()
            await asyncio.wait((counting,))

    async def _count(self) -> None:
        """Find out how far the warm-up has to go. It goes on without that if it cannot be told."""
        with suppress(Exception):
            self._progress.total = (await self._feed.tally()).records

    async def _counted(self, batches: AsyncIterator[Sequence[IndexChange]]) -> AsyncIterator[Sequence[IndexChange]]:
        async for batch in batches:
            self._progress.done += len(batch)
            yield batch

    async def _loaded(self) -> tuple[NameIndex, Horizon] | None:
        """Return the index of the snapshot, brought up to date; `None` if there is none, or none of this database."""
        if self._snapshot is None or self._has_served:
            return None
        self.state = IndexState.LOADING
        loaded = await self._snapshot.load()
        if loaded is None:
            return None
        index, horizon = loaded
        self._progress = _Progress(monotonic(), index.size, index.size)
        try:
            if (reached := await self._caught_up(index, horizon)) is not None:
                return index, reached
            _log.warning("the snapshot of the search index is thrown away: it is not what the database holds")
        except HorizonLost:
            _log.warning("the snapshot of the search index is thrown away: it is of another database, or a later state")
        await self._snapshot.discard()
        return None

    async def _caught_up(self, index: NameIndex, horizon: Horizon) -> Horizon | None:
        """Bring a loaded index up to date and compare it with the table; `None` if they differ.

        They are counted one after the other. While others write, they are counted again, and if that does not end, the
        snapshot is not trusted.
        """
        horizon = await self._advance(index, horizon)
        for _ in range(_TALLIES):
            before, there = index.tally(), await self._feed.tally()
            horizon = await self._advance(index, horizon)
            if index.tally() == before:
                return horizon if before == there else None
        return None

    async def _refresh_once(self) -> None:
        index, horizon = self._index, self._horizon
        if index is None or horizon is None:
            raise HorizonLost  # by the run before, while this one waited
        began = monotonic()
        try:
            self._horizon = await self._advance(index, horizon)
        except HorizonLost:
            _log.warning("the search index is built anew: the database is another, or an earlier state of it")
            self._serving.clear()
            self._index, self._horizon = None, None
            self.state = IndexState.REBUILDING
            self.rebuilds += 1
            self._called.set()
            raise
        self._fresh_at = began
        self.refreshes += 1

    async def _advance(self, index: NameIndex, horizon: Horizon) -> Horizon:
        """Take in what changed since `horizon`, and return the horizon behind that."""
        changes = await self._changes_since(horizon)
        self._is_quiet = changes.complete and not changes.changed
        if changes.complete:
            await self._take_in(index, changes.changed)
            return changes.horizon
        async with self._feed.all_since(horizon) as stream:
            async for batch in stream.batches:
                await self._take_in(index, batch)
            return stream.horizon

    async def _changes_since(self, horizon: Horizon) -> Changes:
        try:
            async with asyncio.timeout(_LONGEST_LOOK_SECONDS):
                return await self._feed.since(horizon)
        except TimeoutError:
            raise TimedOut from None

    async def _take_in(self, index: NameIndex, changes: Sequence[IndexChange]) -> None:
        if not changes:
            return
        forgotten = {one.id for one in changes if isinstance(one, IndexGap) and one.why is Absence.FORGOTTEN}
        await index.apply(changes)
        self._unsaved += len(changes)
        # A key that came back from a backup may be destroyed again.
        self._forgotten.difference_update(one.id for one in changes if isinstance(one, IndexEntry))
        if not forgotten <= self._forgotten:
            self._forgotten |= forgotten
            self._times_forgotten += 1
            # Without waiting for anything else: the file has a name that nobody is to read any more.
            if self._snapshot is not None:
                await self._snapshot.discard()
            self._unsaved += _CHANGES_PER_SNAPSHOT
            self._called.set()

    async def _save(self, within_seconds: float) -> None:
        """Write a snapshot of what the index holds now."""
        if self._snapshot is None or self._index is None or self._horizon is None:
            return
        times_forgotten, unsaved = self._times_forgotten, self._unsaved
        try:
            saved = await self._snapshot.save(self._index, self._horizon, within_seconds=within_seconds)
            # What cannot be written now is written at the end, or after as many changes again.
            self._unsaved -= unsaved if saved else unsaved - 1
        finally:
            if self._times_forgotten > times_forgotten:
                # It was being written when somebody was forgotten, and took the place of what was removed for that.
                await self._snapshot.discard()
                self._unsaved += _CHANGES_PER_SNAPSHOT


def roughly(number: int) -> str:
    """Return a number to two digits; of a small one, only that it is."""
    if number < _FEW:
        return f"fewer than {_FEW}"
    unit = 10 ** (len(str(number)) - 2)
    return f"about {round(number / unit) * unit}"


async def _reach(work: Work, scope: Scope, query: PatientQuery) -> Reach:
    """Return which records a search may find, the ties of its caller as they are now.

    Whose care team somebody is on, and for whom they broke the glass, is never in the index.
    """
    if not _is_tied(scope) and query.practitioner is None:
        free = scope.covered_freely
        return Reach(free, scope.covered - free)
    conditions = PatientFilter(practitioner=query.practitioner)
    among = await work.patients.ids_in(scope, conditions)
    free = scope.covered_freely | scope.covered_once_tied
    return Reach(free, scope.covered - free, among)


def _is_tied(scope: Scope) -> bool:
    """Tell whether it takes ties to be in a scope."""
    return scope.right.exists and not scope.right.everybodys


async def _unopened(work: Work, scope: Scope, query: PatientQuery, index: NameIndex) -> tuple[PatientId, ...]:
    """Return the records in scope that could not be compared with `query`, as far as they are few."""
    some = frozenset(PatientId(UUID(bytes=one)) for one in islice(index.unopened, _MOST_UNOPENED))
    conditions = PatientFilter(status=query.status, practitioner=query.practitioner, patients=some)
    return tuple(sorted(await work.patients.ids_in(scope, conditions)))
