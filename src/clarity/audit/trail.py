"""Group commit: what many requests have to say in the trail is made durable in one go."""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from contextvars import Context
from dataclasses import dataclass, field
from itertools import chain
from time import monotonic

from clarity.application.cancellation import is_of_this_task
from clarity.application.ports import EventStore
from clarity.domain.audit import AuditEvent, Entry
from clarity.domain.errors import ClarityError, TrailUnavailable, Unavailable
from clarity.domain.ids import EventId

TIMEOUT_SECONDS = 5.0
CAPACITY = 10_000
BATCH_SIZE = 500
PAUSES_SECONDS = (0.0, 0.05, 0.1, 0.2, 0.4, 0.8, 1.0, 1.0)
"""The pause before each new try; none before the first, as a connection may have died while it was idle."""

# After these nobody knows whether the batch was written, so it is sent again. A time-out is an `OSError`, and
# a driver may cancel whoever waits for a connection that broke.
_OUTCOME_UNKNOWN = (Unavailable, OSError, asyncio.CancelledError)

_log = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class _Call:
    """What one caller recorded; `durable` ends with whether it is."""

    entries: list[Entry]
    durable: asyncio.Future[bool]
    since: float = field(default_factory=monotonic)

    def settle(self, *, durable: bool) -> None:
        """Let the caller go on, if it still waits."""
        if not self.durable.done():
            self.durable.set_result(durable)


class GroupCommitTrail:
    """The port `Trail` over an `EventStore`, for the one event loop that it is used in.

    One task writes, and only while there is something to write. It takes what gathered while the batch before
    was on its way: batches are small when little happens, large when much does, and no timer delays anybody.

    Who gets `TrailUnavailable` discloses nothing, yet their events may be written all the same: later, or in
    a batch whose outcome nobody learnt. Such an event tells of a disclosure that was prepared and did not
    take place, which harms nobody; what must never be is a disclosure without an event.
    """

    def __init__(
        self,
        store: EventStore,
        certify: Callable[[AuditEvent], Entry],
        *,
        timeout_seconds: float = TIMEOUT_SECONDS,
        capacity: int = CAPACITY,
        batch_size: int = BATCH_SIZE,
        pauses_seconds: Sequence[float] = PAUSES_SECONDS,
    ) -> None:
        """Let callers wait `timeout_seconds` at most, and at most `capacity` events wait with them."""
        self._store = store
        self._certify = certify
        self._timeout_seconds = timeout_seconds
        self._capacity = capacity
        self._batch_size = batch_size
        self._pauses_seconds = tuple(pauses_seconds)
        self._queue: deque[_Call] = deque()
        self._batch: deque[_Call] = deque()
        self._depth = 0
        self.events_written = 0
        """How many events were made durable, since the trail was opened."""
        self.batches_written = 0
        """In how many batches."""
        self.failures = 0
        """How many events were refused, given up or turned away."""
        self._flusher: asyncio.Task[None] | None = None
        self._expiry: asyncio.TimerHandle | None = None
        self._failing = False
        self._closed = False

    @property
    def depth(self) -> int:
        """How many events are not durable yet."""
        return self._depth

    @property
    def delay_seconds(self) -> float:
        """How long the oldest of them has waited; 0 if there are none."""
        oldest = next(iter(self._batch or self._queue), None)
        return 0.0 if oldest is None else monotonic() - oldest.since

    @property
    def healthy(self) -> bool:
        """Whether an event recorded now should be durable in time."""
        return not self.trouble

    @property
    def trouble(self) -> str:
        """Why an event recorded now would not be durable in time, "" if it should be.

        A trail that nobody uses is healthy: only an event can find out, and none comes while we say no.
        """
        if self._closed:
            return "is closed"
        if self._depth >= self._capacity:
            return "has a full queue"
        if self._depth and self._failing:
            return "cannot be written"
        return "is stuck" if self.delay_seconds > self._timeout_seconds else ""

    async def record(self, events: Sequence[AuditEvent]) -> None:
        """Return once the events are durable. Raises `TrailUnavailable` if they are not in time.

        It raises at once if the queue is full. Raises `ValueError` if an event cannot be encoded.
        """
        if not events:
            return
        call = self._enqueue([self._certify(event) for event in events])
        # Being cancelled cancels this future and nothing else: the entries stay in the queue.
        if not await call.durable:
            raise TrailUnavailable

    async def aclose(self) -> None:
        """Write what waits, for as long as a caller would wait, give up what is left and close the store."""
        self._closed = True
        with suppress(TimeoutError):
            async with asyncio.timeout(self._timeout_seconds):
                while self._flusher is not None:
                    await asyncio.wait((self._flusher,))
        if self._flusher is not None:
            self._flusher.cancel()
            await asyncio.wait((self._flusher,), timeout=self._timeout_seconds)
        if self._expiry is not None:
            self._expiry.cancel()
        with suppress(TimeoutError):
            async with asyncio.timeout(self._timeout_seconds):
                await self._store.aclose()

    def _enqueue(self, entries: list[Entry]) -> _Call:
        # A call larger than the capacity passes when it is alone: it would never fit otherwise.
        full = self._depth > 0 and self._depth + len(entries) > self._capacity
        if full or self._closed:
            self.failures += len(entries)
            raise TrailUnavailable
        call = _Call(entries, asyncio.get_running_loop().create_future())
        self._queue.append(call)
        self._depth += len(entries)
        if self._flusher is None:
            self._start()
        if self._expiry is None:
            self._expiry = asyncio.get_running_loop().call_later(self._timeout_seconds, self._expire)
        return call

    def _expire(self) -> None:
        """Let those go who have waited for so long, and look again when the next will have. Their entries stay.

        One timer for all costs each caller nothing.
        """
        self._expiry = None
        now = monotonic()
        for call in chain(self._batch, self._queue):
            left = call.since + self._timeout_seconds - now
            if left > 0:
                self._expiry = asyncio.get_running_loop().call_later(left, self._expire)
                return
            call.settle(durable=False)

    def _start(self) -> None:
        # In a context of its own, or everything it logs would carry the request id of whoever came first.
        self._flusher = asyncio.get_running_loop().create_task(self._flush(), name="audit-trail", context=Context())
        self._flusher.add_done_callback(self._ended)

    def _ended(self, flusher: asyncio.Task[None]) -> None:
        """Leave nobody waiting for a flusher that is no more, and start another if there is work for it."""
        self._flusher = None
        trouble = None if flusher.cancelled() else flusher.exception()
        if flusher.cancelled():  # by `aclose`, or because the loop ends
            self._refuse(self._batch)
            self._refuse(self._queue)
        elif trouble is not None:
            # It may have died of the batch in its hands, so that one is not tried again.
            self._refuse(self._batch)
            for call in self._queue:
                call.settle(durable=False)
        if self._queue:
            self._start()
        if trouble is not None:
            _log.critical("The flusher of the audit trail died: %s", _safe(trouble))

    def _refuse(self, calls: deque[_Call]) -> None:
        """Tell the callers that their events are not durable, and forget them."""
        while calls:
            call = calls.popleft()
            call.settle(durable=False)
            self._depth -= len(call.entries)
            self.failures += len(call.entries)

    async def _flush(self) -> None:
        while self._queue:
            self._take_batch()
            entries = [entry for call in self._batch for entry in call.entries]
            try:
                refused = await self._write(entries)
            except TrailUnavailable:
                self._refuse(self._batch)
                continue
            while self._batch:
                call = self._batch.popleft()
                call.settle(durable=not refused or refused.isdisjoint(entry.event.id for entry in call.entries))
                self._depth -= len(call.entries)

    def _take_batch(self) -> None:
        """Move calls from the queue into the batch until it is full; one larger than a batch goes alone."""
        size = 0
        while self._queue and (size == 0 or size + len(self._queue[0].entries) <= self._batch_size):
            call = self._queue.popleft()
            self._batch.append(call)
            size += len(call.entries)

    async def _write(self, entries: Sequence[Entry]) -> set[EventId]:
        """Make `entries` durable and return the ids of those that the store refuses.

        What it refuses together is halved until the culprit stands alone, so that one entry cannot keep the
        others out. Raises `TrailUnavailable` if the store cannot be reached.
        """
        if len(entries) <= self._batch_size:
            refusal = await self._append(entries)
            if refusal is None:
                self.batches_written += 1
                self.events_written += len(entries)
                return set()
            if len(entries) == 1:
                culprit = entries[0].event.id
                self.failures += 1
                _log.error("The audit trail refuses event %s: %s", culprit, _safe(refusal))
                return {culprit}
        middle = len(entries) // 2
        return await self._write(entries[:middle]) | await self._write(entries[middle:])

    async def _append(self, entries: Sequence[Entry]) -> BaseException | None:
        """Append `entries`, again if need be, and return why the store refuses them, if it does.

        Raises `TrailUnavailable` after the last try.
        """
        trouble = await self._attempt(entries)
        for pause_seconds in self._pauses_seconds:
            if not isinstance(trouble, _OUTCOME_UNKNOWN):
                break
            self._failing = True
            await asyncio.sleep(pause_seconds)
            trouble = await self._attempt(entries)
        self._failing = trouble is not None
        if isinstance(trouble, _OUTCOME_UNKNOWN):
            _log.error("The audit trail gave up a batch of %d events: %s", len(entries), _safe(trouble))
            raise TrailUnavailable
        return trouble

    async def _attempt(self, entries: Sequence[Entry]) -> BaseException | None:
        """Append once. What went wrong is a value, and so is a cancellation that is the driver's and not ours."""
        try:
            # Half of what callers wait, so that after a hang there is time for another try.
            async with asyncio.timeout(self._timeout_seconds / 2):
                await self._store.append(entries)
        except asyncio.CancelledError as exc:
            if is_of_this_task():
                raise
            return exc
        except Exception as exc:
            return exc
        return None


def _safe(trouble: BaseException) -> str:
    """Return what may be logged of an error: ours as it is; of others, which may quote values, the type."""
    return str(trouble) if isinstance(trouble, ClarityError) else type(trouble).__name__
