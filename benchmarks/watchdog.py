"""Watches how long single steps hold an event loop."""

import asyncio
import gc
import resource
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
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

    The kernel tells whether the thread gave its core up by itself, as who sleeps, blocks or waits for a lock does: then
    all of the step counts. Otherwise, what it did not run for is what others took its core for, other programs or, on a
    rented machine, other machines.
    """
    handles: Any = asyncio.Handle
    run = handles._run
    steps, thread, active = Steps(), threading.get_ident(), True
    with _collections(steps):

        def timed(handle: asyncio.Handle) -> None:
            if threading.get_ident() != thread:
                run(handle)
                return
            before = _Clocks.read()
            run(handle)
            if active:  # the step in which the block ends is not the loop's own
                steps.note(*_Clocks.read().since(before), handle)

        handles._run = timed
        try:
            yield steps
        finally:
            active = False
            handles._run = run


class _Clocks(NamedTuple):
    """What the clocks of this thread say."""

    wall: float
    processor: float
    given_up: int
    """How often the thread gave its core up by itself."""

    @classmethod
    def read(cls) -> Self:
        """Return what they say now."""
        given_up = resource.getrusage(resource.RUSAGE_THREAD).ru_nvcsw
        return cls(time.perf_counter(), time.thread_time(), given_up)

    def since(self, before: Self) -> tuple[float, float]:
        """Return how many seconds went by, and how many of them others had the core."""
        wall = self.wall - before.wall
        waited = wall - (self.processor - before.processor) if self.given_up == before.given_up else 0.0
        return wall, max(0.0, waited)


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
