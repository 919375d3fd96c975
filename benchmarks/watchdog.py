"""Watches how long single steps hold an event loop."""

import asyncio
import gc
import os
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Self


@dataclass(slots=True)
class Steps:
    """The steps an event loop took. What the thread waited for a core is not the step's doing, and is not counted."""

    longest_ms: float = 0.0
    longest_with_waits_ms: float = 0.0
    count: int = 0
    over: dict[str, float] = field(default_factory=dict)
    """The longest of each kind of step that took more than `loud_ms`, by what ran."""
    loud_ms: float = 3.0
    longest_collection_ms: float = 0.0
    """The longest time of the processor that Python took to look for garbage, in whatever step."""

    def note(self, seconds: float, waited_seconds: float, handle: asyncio.Handle) -> None:
        """Enter one step."""
        held_ms = max(0.0, seconds - waited_seconds) * 1000
        self.count += 1
        self.longest_with_waits_ms = max(self.longest_with_waits_ms, seconds * 1000)
        self.longest_ms = max(self.longest_ms, held_ms)
        if held_ms > self.loud_ms:
            name = _name_of(handle)
            self.over[name] = max(self.over.get(name, 0.0), round(held_ms, 2))


@contextmanager
def watched() -> Iterator[Steps]:
    """Measure every step of the loop that runs in this thread, one of asyncio's own, while the block runs.

    The kernel tells how long a thread was ready to run and had no core. That is the doing of other programs, and does
    not count; nor does it while the step waited for another thread of this process, which had none.
    """
    handles: Any = asyncio.Handle
    run = handles._run
    steps, thread, active = Steps(), threading.get_ident(), True
    with _collections(steps), ExitStack() as stack:
        clocks = _Clocks(stack)

        def timed(handle: asyncio.Handle) -> None:
            if threading.get_ident() != thread:
                run(handle)
                return
            before = clocks.read()
            run(handle)
            if active:  # the step in which the block ends is not the loop's own
                steps.note(*clocks.read().since(before), handle)

        handles._run = timed
        try:
            yield steps
        finally:
            active = False
            handles._run = run


class _Reading(NamedTuple):
    """What the clocks say, in seconds."""

    wall: float
    processor: float
    ready: float
    """How long this thread waited for a core."""
    others_ready: float
    """How long the others of this process did, taken together."""

    def since(self, before: Self) -> tuple[float, float]:
        """Return how many seconds went by, and how many of them went by for want of a core."""
        wall = self.wall - before.wall
        ready = self.ready - before.ready
        rest = max(0.0, wall - (self.processor - before.processor) - ready)
        return wall, ready + min(rest, max(0.0, self.others_ready - before.others_ready))


class _Clocks:
    """The clocks of this thread, and what the kernel tells of all threads of the process."""

    def __init__(self, stack: ExitStack) -> None:
        """Leave it to `stack` to close what is opened."""
        self._stack = stack
        self._own = threading.get_native_id()
        self._files: dict[int, int] = {}

    def read(self) -> _Reading:
        """Return what they say now."""
        ready = {thread: self._ready(thread) for one in threading.enumerate() if (thread := one.native_id)}
        own = ready.pop(self._own)
        return _Reading(time.perf_counter(), time.thread_time(), own, sum(ready.values()))

    def _ready(self, thread: int) -> float:
        """Return how long a thread was ready to run and had no core; 0 if it has ended."""
        try:
            if thread not in self._files:
                self._files[thread] = os.open(f"/proc/self/task/{thread}/schedstat", os.O_RDONLY)
                self._stack.callback(os.close, self._files[thread])
            return int(os.pread(self._files[thread], 64, 0).split()[1]) / 1e9
        except OSError:
            return 0.0


@contextmanager
def _collections(steps: Steps) -> Iterator[None]:
    began = 0.0

    def heard(phase: str, _info: dict[str, int]) -> None:
        nonlocal began
        if phase == "start":
            began = time.thread_time()
        else:
            steps.longest_collection_ms = max(steps.longest_collection_ms, (time.thread_time() - began) * 1000)

    gc.callbacks.append(heard)
    try:
        yield
    finally:
        gc.callbacks.remove(heard)


def _name_of(handle: asyncio.Handle) -> str:
    callback: Any = getattr(handle, "_callback", None)
    owner = getattr(callback, "__self__", None)
    if isinstance(owner, asyncio.Task):
        return str(getattr(owner.get_coro(), "__qualname__", owner.get_name()))
    return str(getattr(callback, "__qualname__", type(callback).__name__))
