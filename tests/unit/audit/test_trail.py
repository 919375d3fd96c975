"""Group commit: whoever is told that an event is durable can rely on it, whatever the store does."""

import asyncio
import hmac
import logging
from collections.abc import Iterator, Sequence
from contextvars import ContextVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clarity.application.ports import EventStore, Trail
from clarity.audit.encoding import Notary, decode
from clarity.audit.trail import BATCH_SIZE, CAPACITY, PAUSES_SECONDS, TIMEOUT_SECONDS, GroupCommitTrail
from clarity.domain.audit import AuditEvent, Entry
from clarity.domain.errors import TrailUnavailable
from tests.unit.audit.events import an_event
from tests.unit.audit.scripted_store import Fault, ScriptedStore

NOTARY = Notary(lambda leaf: hmac.digest(b"key", leaf, "sha256"))
UNKNOWN_OUTCOMES = [
    Fault.BREAKS_BEFORE_COMMIT,
    Fault.BREAKS_AFTER_COMMIT,
    Fault.SOCKET_DIES,
    Fault.DRIVER_CANCELS,
    Fault.HANGS,
    Fault.HANGS_AFTER_COMMIT,
]


def a_trail(
    store: EventStore,
    *,
    timeout_seconds: float = TIMEOUT_SECONDS,
    capacity: int = CAPACITY,
    batch_size: int = BATCH_SIZE,
    pauses_seconds: Sequence[float] = (0.0, 0.0),
) -> GroupCommitTrail:
    """Return a trail that tries three times and wastes no time between its tries."""
    return GroupCommitTrail(
        store,
        NOTARY.certify,
        timeout_seconds=timeout_seconds,
        capacity=capacity,
        batch_size=batch_size,
        pauses_seconds=pauses_seconds,
    )


def recording(trail: Trail, *events: AuditEvent) -> "asyncio.Task[None]":
    return asyncio.create_task(trail.record(events))


async def outcomes(*tasks: "asyncio.Task[None]") -> list[BaseException | None]:
    return await asyncio.gather(*tasks, return_exceptions=True)


async def behind_a_slow_batch(trail: GroupCommitTrail, store: ScriptedStore) -> "asyncio.Task[None]":
    """Record one event into a store whose next append is slow; whatever is recorded now has to queue."""
    first = recording(trail, an_event())
    assert await store.begun.get() == 1
    return first


def flusher() -> "asyncio.Task[None]":
    """Return the task that writes."""
    [task] = [task for task in asyncio.all_tasks() if task.get_name() == "audit-trail"]
    return task


async def test_recording_ends_when_the_event_is_durable_and_not_before() -> None:
    store = ScriptedStore(Fault.SLOW)
    trail = a_trail(store)
    event = an_event()
    task = recording(trail, event)
    await store.begun.get()
    assert not task.done()
    assert not store.rows
    store.gate.set()
    await task
    assert store.rows[event.id] == NOTARY.certify(event)
    assert decode(store.rows[event.id].encoded) == event


async def test_what_gathers_during_a_batch_is_the_next_batch() -> None:
    store = ScriptedStore(Fault.SLOW)
    trail = a_trail(store)
    first = await behind_a_slow_batch(trail, store)
    others = [recording(trail, an_event()) for _ in range(20)]
    await asyncio.sleep(0)
    store.gate.set()
    await asyncio.gather(first, *others)
    assert [len(batch) for batch in store.batches] == [1, 20]


async def test_a_batch_has_a_bound_and_does_not_part_what_was_recorded_together() -> None:
    store = ScriptedStore(Fault.SLOW)
    trail = a_trail(store, batch_size=10)
    first = await behind_a_slow_batch(trail, store)
    others = [recording(trail, *(an_event() for _ in range(4))) for _ in range(5)]
    await asyncio.sleep(0)
    store.gate.set()
    await asyncio.gather(first, *others)
    assert [len(batch) for batch in store.batches] == [1, 8, 8, 4]


async def test_more_than_a_batch_recorded_together_is_written_in_parts() -> None:
    store = ScriptedStore()
    events = [an_event() for _ in range(25)]
    await a_trail(store, batch_size=10).record(events)
    assert store.inserted == [event.id for event in events]
    assert max(map(len, store.batches)) <= 10


@pytest.mark.parametrize("fault", UNKNOWN_OUTCOMES)
async def test_a_batch_of_unknown_outcome_is_sent_again_and_stored_once(fault: Fault) -> None:
    store = ScriptedStore(fault)
    events = [an_event() for _ in range(3)]
    # A hang is given half of the time, so the other half is what the machine may be slow by.
    trail = a_trail(store, timeout_seconds=0.5)
    await asyncio.gather(*(trail.record([event]) for event in events))
    assert [len(batch) for batch in store.batches] == [3, 3]
    assert sorted(store.inserted) == sorted(event.id for event in events)


async def test_a_store_that_stays_away_is_given_up_and_returned_to() -> None:
    store = ScriptedStore(*[Fault.BREAKS_BEFORE_COMMIT] * 3)
    trail = a_trail(store)
    with pytest.raises(TrailUnavailable):
        await trail.record([an_event()])
    assert len(store.batches) == 3
    assert trail.healthy  # a trail that called itself unhealthy would get no event to find out better
    await trail.record([event := an_event()])
    assert store.inserted == [event.id]


async def test_tries_are_spaced_by_the_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    monkeypatch.setattr(asyncio, "sleep", sleep)
    trail = a_trail(ScriptedStore(*[Fault.SOCKET_DIES] * 9), pauses_seconds=PAUSES_SECONDS)
    with pytest.raises(TrailUnavailable):
        await trail.record([an_event()])
    assert tuple(slept) == PAUSES_SECONDS
    assert sum(slept) < TIMEOUT_SECONDS


async def test_who_waits_too_long_is_refused_while_the_event_may_still_be_written() -> None:
    # Each hang ends after half the time a caller waits, so the caller is gone before the third has ended.
    store = ScriptedStore(*[Fault.HANGS] * 3)
    trail = a_trail(store, timeout_seconds=0.02, pauses_seconds=(0.0,) * 3)
    event = an_event()
    with pytest.raises(TrailUnavailable):
        await trail.record([event])
    assert not store.rows
    await flusher()
    assert store.inserted == [event.id]


async def test_a_full_queue_refuses_at_once() -> None:
    store = ScriptedStore(Fault.SLOW)
    trail = a_trail(store, capacity=3)
    first = await behind_a_slow_batch(trail, store)
    second = recording(trail, an_event(), an_event())
    await asyncio.sleep(0)
    assert trail.depth == 3
    refused = recording(trail, an_event())
    await asyncio.sleep(0)
    assert isinstance(refused.exception(), TrailUnavailable)
    store.gate.set()
    await asyncio.gather(first, second)
    assert len(store.inserted) == 3
    await trail.record([an_event()])


async def test_more_than_the_queue_holds_passes_alone() -> None:
    store = ScriptedStore()
    await a_trail(store, capacity=3).record([an_event() for _ in range(4)])
    assert len(store.inserted) == 4


async def test_a_cancelled_caller_takes_nothing_along() -> None:
    store = ScriptedStore(Fault.SLOW)
    trail = a_trail(store)
    first = await behind_a_slow_batch(trail, store)
    leaver, stayer = recording(trail, left := an_event()), recording(trail, stayed := an_event())
    await asyncio.sleep(0)
    first.cancel()
    leaver.cancel()
    store.gate.set()
    await stayer
    assert leaver.cancelled()
    assert len(store.inserted) == 3
    assert {left.id, stayed.id} <= set(store.inserted)


async def test_one_poisonous_event_fails_its_caller_and_nobody_else(caplog: pytest.LogCaptureFixture) -> None:
    store = ScriptedStore(Fault.SLOW)
    trail = a_trail(store)
    first = await behind_a_slow_batch(trail, store)
    events = [an_event() for _ in range(16)]
    store.poison = {events[11].id}
    tasks = [recording(trail, *events[start : start + 2]) for start in range(0, 16, 2)]
    await asyncio.sleep(0)
    store.gate.set()
    await first
    ends = await outcomes(*tasks)
    assert [type(end) for end in ends] == [type(None)] * 5 + [TrailUnavailable] + [type(None)] * 2
    assert {event.id for event in events} - set(store.inserted) == store.poison
    await trail.record([an_event()])
    assert str(events[11].id) in caplog.text
    assert "RuntimeError" in caplog.text
    assert "Ada" not in caplog.text


async def test_a_store_that_goes_away_while_the_culprit_is_sought_is_given_up() -> None:
    store = ScriptedStore(Fault.NONE, *[Fault.SOCKET_DIES] * 3)
    trail = a_trail(store)
    events = [an_event() for _ in range(8)]
    store.poison = {events[0].id}
    with pytest.raises(TrailUnavailable):
        await trail.record(events)
    assert len(store.batches) == 4
    await trail.record([an_event()])


class _Breaks(logging.Filter):
    """A log filter with a fault in it, which nobody foresees."""

    def filter(self, record: logging.LogRecord) -> bool:
        raise ZeroDivisionError


@pytest.fixture
def _broken_log() -> Iterator[None]:
    log = logging.getLogger("clarity.audit.trail")
    fault = _Breaks()
    log.addFilter(fault)
    yield
    log.removeFilter(fault)


@pytest.mark.usefixtures("_broken_log")
async def test_a_flusher_that_dies_fails_who_waits_and_is_replaced() -> None:
    asyncio.get_running_loop().set_exception_handler(lambda *_: None)  # its last words break too
    store = ScriptedStore(Fault.SLOW)
    trail = a_trail(store, batch_size=1)
    poison, queued = an_event(), an_event()
    store.poison = {poison.id}
    tasks = [recording(trail, poison), recording(trail, queued)]
    await store.begun.get()
    store.gate.set()
    assert [type(end) for end in await outcomes(*tasks)] == [TrailUnavailable] * 2
    await trail.record([later := an_event()])
    assert store.inserted == [queued.id, later.id]
    assert trail.depth == 0


async def test_a_flusher_that_is_cancelled_fails_who_waits_and_the_next_event_finds_another() -> None:
    store = ScriptedStore(Fault.SLOW)
    trail = a_trail(store)
    first = await behind_a_slow_batch(trail, store)
    second = recording(trail, an_event())
    await asyncio.sleep(0)
    flusher().cancel()
    assert [type(end) for end in await outcomes(first, second)] == [TrailUnavailable] * 2
    assert trail.depth == 0
    await trail.record([an_event()])


async def test_closing_writes_what_waits_and_takes_no_more() -> None:
    store = ScriptedStore(Fault.SLOW)
    trail = a_trail(store, batch_size=2)
    tasks = [await behind_a_slow_batch(trail, store), *(recording(trail, an_event()) for _ in range(9))]
    await asyncio.sleep(0)
    closing = asyncio.create_task(trail.aclose())
    await asyncio.sleep(0)
    with pytest.raises(TrailUnavailable):
        await trail.record([an_event()])
    assert store.times_closed == 0
    store.gate.set()
    await closing
    assert await outcomes(*tasks) == [None] * 10
    assert len(store.inserted) == 10
    assert store.times_closed == 1


async def test_closing_does_not_wait_for_a_store_that_hangs() -> None:
    store = ScriptedStore(*[Fault.HANGS] * 100)
    trail = a_trail(store, timeout_seconds=0.02, pauses_seconds=(0.0,) * 100, batch_size=1)
    tasks = [recording(trail, an_event()) for _ in range(3)]
    await store.begun.get()
    await trail.aclose()
    assert [type(end) for end in await outcomes(*tasks)] == [TrailUnavailable] * 3
    assert trail.depth == 0
    assert store.times_closed == 1


async def test_closing_an_unused_trail_closes_the_store() -> None:
    store = ScriptedStore()
    await a_trail(store).aclose()
    assert store.times_closed == 1


async def test_depth_delay_and_health_say_how_the_trail_is_doing() -> None:
    store = ScriptedStore(Fault.SLOW)
    trail = a_trail(store)
    assert (trail.depth, trail.delay_seconds, trail.healthy) == (0, 0.0, True)
    first = await behind_a_slow_batch(trail, store)
    assert (trail.depth, trail.healthy) == (1, True)
    assert 0 < trail.delay_seconds < TIMEOUT_SECONDS
    store.gate.set()
    await first
    assert (trail.depth, trail.delay_seconds, trail.healthy) == (0, 0.0, True)
    await trail.aclose()
    assert not trail.healthy


async def test_a_trail_is_unhealthy_while_its_store_is_away() -> None:
    store = ScriptedStore(Fault.SOCKET_DIES, Fault.SLOW)
    trail = a_trail(store)
    task = recording(trail, an_event())
    assert [await store.begun.get(), await store.begun.get()] == [1, 1]
    assert not trail.healthy
    store.gate.set()
    await task
    assert trail.healthy


async def test_a_trail_is_unhealthy_when_events_wait_longer_than_callers_do() -> None:
    store = ScriptedStore(*[Fault.HANGS] * 3)
    trail = a_trail(store, timeout_seconds=0.0)
    with pytest.raises(TrailUnavailable):
        await trail.record([an_event()])
    assert trail.depth == 1
    assert not trail.healthy
    await trail.aclose()


async def test_what_cannot_be_encoded_is_never_queued() -> None:
    store = ScriptedStore()
    trail = a_trail(store)
    with pytest.raises(ValueError, match="audit event"):
        await trail.record([an_event(), unencodable()])
    assert trail.depth == 0
    assert not store.batches


def unencodable() -> AuditEvent:
    event = an_event()
    object.__setattr__(event, "version", -1)
    return event


async def test_nothing_to_record_is_recorded_at_once() -> None:
    store = ScriptedStore(Fault.HANGS)
    await a_trail(store).record([])
    assert not store.batches


async def test_an_event_recorded_twice_is_stored_once() -> None:
    store = ScriptedStore()
    trail = a_trail(store)
    event = an_event()
    await asyncio.gather(trail.record([event]), trail.record([event]))
    await trail.record([event])
    assert store.inserted == [event.id]


async def test_the_flusher_does_not_speak_for_whoever_came_first() -> None:
    request: ContextVar[str] = ContextVar("request", default="nobody's")
    seen: list[str] = []

    class Store(ScriptedStore):
        async def append(self, entries: Sequence[Entry]) -> None:
            seen.append(request.get())
            await super().append(entries)

    request.set("mine")
    await a_trail(Store()).record([an_event()])
    assert seen == ["nobody's"]


@settings(max_examples=60, deadline=None)
@given(
    faults=st.lists(st.sampled_from([fault for fault in Fault if fault is not Fault.SLOW]), max_size=12),
    calls=st.lists(st.integers(1, 5), min_size=1, max_size=20),
    poison=st.sets(st.integers(0, 30), max_size=3),
    impatient=st.sets(st.integers(0, 19), max_size=3),
    batch_size=st.integers(1, 8),
)
def test_whatever_is_acknowledged_is_stored_once(
    faults: list[Fault], calls: list[int], poison: set[int], impatient: set[int], batch_size: int
) -> None:
    async def run() -> None:
        store = ScriptedStore(*faults)
        trail = a_trail(store, timeout_seconds=0.01, batch_size=batch_size)
        together = [[an_event() for _ in range(number)] for number in calls]
        everything = [event for events in together for event in events]
        store.poison = {everything[place].id for place in poison if place < len(everything)}
        tasks = [recording(trail, *events) for events in together]
        await asyncio.sleep(0)
        for place in impatient:
            if place < len(tasks):
                tasks[place].cancel()
        ends = await outcomes(*tasks)
        await trail.aclose()
        acknowledged = [event for events, end in zip(together, ends, strict=True) if end is None for event in events]
        assert {event.id for event in acknowledged} <= set(store.inserted)
        assert len(store.inserted) == len(set(store.inserted))
        assert store.poison.isdisjoint(store.inserted)
        assert {type(end) for end in ends} <= {type(None), TrailUnavailable, asyncio.CancelledError}
        assert trail.depth == 0

    asyncio.run(run())
