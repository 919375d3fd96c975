"""Watches how long single steps hold an event loop."""

import asyncio
import gc
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


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

    The kernel tells how long the thread was ready and had no core (`/proc`, schedstat); where it does not, nothing is
    taken off.
    """
    handles: Any = asyncio.Handle
    run = handles._run
    steps, thread, active = Steps(), threading.get_ident(), True
    with _waiting_clock() as waited, _collections(steps):

        def timed(handle: asyncio.Handle) -> None:
            if threading.get_ident() != thread:
                run(handle)
                return
            waited_before, began = waited(), time.perf_counter()
            run(handle)
            if active:  # the step in which the block ends is not the loop's own
                steps.note(time.perf_counter() - began, waited() - waited_before, handle)

        handles._run = timed
        try:
            yield steps
        finally:
            active = False
            handles._run = run


@contextmanager
def _waiting_clock() -> Iterator[Any]:
    file = Path("/proc/thread-self/schedstat")
    if not file.exists():
        yield lambda: 0.0
        return
    descriptor = os.open(file, os.O_RDONLY)
    try:
        yield lambda: int(os.pread(descriptor, 64, 0).split()[1]) / 1e9
    finally:
        os.close(descriptor)


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
