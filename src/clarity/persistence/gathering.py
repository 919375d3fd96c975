"""Statements that ask at once for what many wait for, as the trail writes at once what many have to say."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextvars import Context
from typing import Generic, TypeVar

from clarity.domain.errors import Unavailable

Key = TypeVar("Key")
Answer = TypeVar("Answer")

AT_ONCE = 2
"""How many statements are under way together: while one is answered, what the one before brought is worked on."""

MOST_KEYS = 64
"""Of so many keys one statement asks at most: its answer is taken in by one step of the loop."""


class Gathering(Generic[Key, Answer]):
    """Asks for the keys of all who wait, in as few statements as that takes; nobody waits for others to come.

    Each statement begins after all had come whom it is for, so that whoever asks sees what was committed before.
    Whoever is cancelled meanwhile takes nothing from the others, and what is raised is raised to all it was asked for.
    """

    def __init__(self, ask: Callable[[Sequence[Key]], Awaitable[Mapping[Key, Answer]]]) -> None:
        """Let `ask` return the answers to some different keys; those that it leaves out have none."""
        self._ask = ask
        self._waiting: deque[tuple[Key, asyncio.Future[Answer | None]]] = deque()
        self._asking: set[asyncio.Task[None]] = set()

    async def __call__(self, key: Key) -> Answer | None:
        """Return the answer to `key`, or `None` if it has none; raises what asking raised."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Answer | None] = loop.create_future()
        self._waiting.append((key, answer))
        if len(self._asking) < AT_ONCE:
            # In a context of its own: what it logs and traces is not the first caller's alone.
            task = loop.create_task(self._ask_on(), context=Context())
            self._asking.add(task)
            task.add_done_callback(self._asking.discard)
        return await answer

    async def aclose(self) -> None:
        """Leave nothing running, and nobody waiting."""
        for task in self._asking:
            task.cancel()
        if self._asking:
            await asyncio.wait(self._asking)
        self._answer(self._take(len(self._waiting)), Unavailable())

    async def _ask_on(self) -> None:
        task = asyncio.current_task()
        try:
            while self._waiting:
                some = self._take(min(len(self._waiting), MOST_KEYS))
                outcome: Mapping[Key, Answer] | Exception = Unavailable()  # of a cancellation, the driver's or ours
                try:
                    outcome = await self._ask(list(dict.fromkeys(key for key, _ in some)))
                except Exception as exc:
                    outcome = exc
                except asyncio.CancelledError:
                    if task is not None and task.cancelling():
                        raise
                finally:
                    self._answer(some, outcome)
        finally:
            # In the very step in which nobody was seen to wait: who comes in the next must start another.
            if task is not None:
                self._asking.discard(task)

    def _take(self, count: int) -> list[tuple[Key, asyncio.Future[Answer | None]]]:
        return [self._waiting.popleft() for _ in range(count)]

    def _answer(
        self, some: Sequence[tuple[Key, asyncio.Future[Answer | None]]], outcome: Mapping[Key, Answer] | Exception
    ) -> None:
        for key, answer in some:
            if answer.done():
                continue  # whoever waited for it is gone
            if isinstance(outcome, Exception):
                answer.set_exception(outcome)
            else:
                answer.set_result(outcome.get(key))
