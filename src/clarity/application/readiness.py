"""Whether a server can do its work now: looked at together, in bounded time, and not anew for everybody who asks."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from time import monotonic

from clarity.domain.errors import PoolExhausted

Look = Callable[[], Awaitable[Mapping[str, str]]]
"""Looks at some things and returns what is wrong with each, "" if nothing is. It says nothing of anybody."""

_UNKNOWN = "is not known"


@dataclass(frozen=True, slots=True)
class Readiness:
    """What was looked at, by name, and what is wrong with it, "" where nothing is.

    A note says what an operator should know of something that is well enough to go on.
    """

    found: Mapping[str, str]
    notes: Mapping[str, str] = field(default_factory=dict)

    @property
    def checks(self) -> dict[str, bool]:
        """Whether each thing is as it has to be."""
        return {name: not trouble for name, trouble in self.found.items()}

    @property
    def reasons(self) -> dict[str, str]:
        """What is wrong, or worth knowing."""
        worth_knowing = {name: note for name, note in self.notes.items() if note}
        return {**worth_knowing, **{name: trouble for name, trouble in self.found.items() if trouble}}


class Lookout:
    """Looks at everything that is needed, at most once a second whoever asks.

    What does not answer in time is not ready, and is not asked again before it did: a database that hangs keeps neither
    a probe waiting, nor a connection for each of them.
    """

    def __init__(
        self,
        looks: Mapping[tuple[str, ...], Look],
        *,
        timeout_seconds: float = 2.0,
        good_for_seconds: float = 1.0,
    ) -> None:
        """Have all `looks` done at the same time, each for the things it is named by; the first of these is asked."""
        self.notes: dict[str, str] = {}
        """What an operator should know besides, by the name of the thing."""
        self._looks = dict(looks)
        self._timeout_seconds = timeout_seconds
        self._good_for_seconds = good_for_seconds
        self._running: dict[tuple[str, ...], asyncio.Task[Mapping[str, str]]] = {}
        self._found: dict[str, str] = {}
        self._next = 0.0
        self._turn = asyncio.Lock()

    def watch(self, names: tuple[str, ...], look: Look) -> None:
        """Have a further `look` done, as those from the beginning."""
        self._looks[names] = look

    async def __call__(self) -> Readiness:
        """Return how everything stands, as of now or a second ago."""
        async with self._turn:
            if monotonic() >= self._next:
                self._found = await self._look()
                self._next = monotonic() + self._good_for_seconds
        return Readiness(dict(self._found), dict(self.notes))

    async def aclose(self) -> None:
        """Leave nobody looking."""
        for task in self._running.values():
            task.cancel()
        if self._running:
            await asyncio.wait(self._running.values(), timeout=self._timeout_seconds)

    async def _look(self) -> dict[str, str]:
        for names, look in self._looks.items():
            if names not in self._running:
                self._running[names] = asyncio.create_task(_looking(look), name=f"look at {names[0]}")
        # Not cancelled when time is over: what hangs would then be waited for all the same.
        await asyncio.wait(self._running.values(), timeout=self._timeout_seconds)
        found: dict[str, str] = {}
        for names in self._looks:
            task = self._running[names]
            found |= _found_by(task, names)
            if task.done():
                del self._running[names]
        return found


async def _looking(look: Look) -> Mapping[str, str]:
    return await look()


def _found_by(task: asyncio.Task[Mapping[str, str]], names: tuple[str, ...]) -> Mapping[str, str]:
    if task.done() and not task.cancelled() and task.exception() is None:
        return task.result()
    trouble = "does not answer in time"
    if task.done():
        exhausted = not task.cancelled() and isinstance(task.exception(), PoolExhausted)
        trouble = "has no connection free" if exhausted else "does not answer"
    return {name: trouble if name == names[0] else _UNKNOWN for name in names}
