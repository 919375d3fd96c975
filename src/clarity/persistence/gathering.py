"""Statements that ask at once for what many wait for, as the trail writes at once what many have to say."""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextvars import Context
from time import monotonic
from typing import Any, Generic, TypeVar

from clarity.application.cancellation import is_of_this_task
from clarity.domain.errors import Unavailable

Key = TypeVar("Key")
Answer = TypeVar("Answer")

AT_ONCE = 2
"""How many statements are under way together: while one is answered, what the one before brought is worked on."""

MOST_AT_ONCE = 8
"""How many are at most, those included that take long: others need not wait for what does not come."""

LONG_SECONDS = 0.1
"""How long a statement takes that is not waited for; it should take a thousandth of a second."""

MOST_KEYS = 64
"""Of so many keys one statement asks at most: its answer is taken in by one step of the loop."""


class Gathering(Generic[Key, Answer]):
    """Asks for the keys of all who wait, in as few statements as that takes; nobody waits for others to come.

    Each statement begins after all had come whom it is for, so that whoever asks sees what was committed before.
    Whoever is cancelled meanwhile takes nothing from the others, and what is raised is raised to all it was asked for,
    or to the one whose fault it is.
    """

    def __init__(
        self,
        ask: Callable[[Sequence[Key]], Awaitable[Mapping[Key, Answer]]],
        *,
        is_of_one: Callable[[Exception], bool] = lambda _exc: False,
        long_seconds: float = LONG_SECONDS,
    ) -> None:
        """Let `ask` return the answers to some different keys; those that it leaves out have none.

        `is_of_one` tells of what it raises whether one key alone may be at fault.
        """
        self._ask = ask
        self._is_of_one = is_of_one
        self._long_seconds = long_seconds
        self._waiting: OrderedDict[asyncio.Future[Answer | None], Key] = OrderedDict()
        self._asking: dict[asyncio.Task[None], float | None] = {}
        """What is under way, and since when; `None` of what begins in the next step, with all who wait then."""
        self._look: asyncio.TimerHandle | None = None
        self._closed = False

    async def __call__(self, key: Key) -> Answer | None:
        """Return the answer to `key`, or `None` if it has none; raises what asking raised."""
        if self._closed:
            raise Unavailable
        answer: asyncio.Future[Answer | None] = asyncio.get_running_loop().create_future()
        self._waiting[answer] = key
        self._see_to_it()
        try:
            return await answer
        except asyncio.CancelledError:
            self._waiting.pop(answer, None)
            raise

    async def aclose(self) -> None:
        """Leave nothing running, and nobody waiting. Whoever asks later is told that it is closed by `Unavailable`."""
        self._closed = True
        if self._look is not None:
            self._look.cancel()
        self._answer(self._waiting, Unavailable())
        self._waiting.clear()
        for task in self._asking:
            task.cancel()
        if self._asking:
            await asyncio.wait(self._asking)

    def _see_to_it(self) -> None:
        """Begin a statement for those who wait, unless those under way will soon have ended; then look again."""
        loop, long_ago = asyncio.get_running_loop(), monotonic() - self._long_seconds
        soon = [began for began in self._asking.values() if began is None or began > long_ago]
        if None in soon:
            return
        if len(soon) < AT_ONCE and len(self._asking) < MOST_AT_ONCE:
            # In a context of its own: what it logs and traces is not the first caller's alone.
            self._asking[loop.create_task(self._ask_on(), context=Context())] = None
        elif self._look is None:
            self._look = loop.call_later(self._long_seconds, self._look_again)

    def _look_again(self) -> None:
        self._look = None
        if self._waiting:
            self._see_to_it()

    async def _ask_on(self) -> None:
        task: Any = asyncio.current_task()
        try:
            while some := self._take():
                self._asking[task] = monotonic()
                if self._waiting:  # more than one statement asks for
                    self._see_to_it()
                await self._settle(some)
        finally:
            # In the very step in which nobody was seen to wait: who comes in the next must start another.
            del self._asking[task]

    async def _settle(self, some: Mapping[asyncio.Future[Answer | None], Key]) -> None:
        """Ask for all, and if one of them is at fault, by halves, until that one stands alone."""
        outcome: Mapping[Key, Answer] | Exception = Unavailable()  # of a cancellation, the driver's or ours
        keys = list(dict.fromkeys(some.values()))
        try:
            outcome = await self._ask(keys)
        except Exception as exc:
            if len(keys) > 1 and self._is_of_one(exc):
                first = set(keys[: len(keys) // 2])
                await self._settle({answer: key for answer, key in some.items() if key in first})
                await self._settle({answer: key for answer, key in some.items() if key not in first})
            outcome = exc
        except asyncio.CancelledError:
            if is_of_this_task():
                raise
        finally:
            self._answer(some, outcome)

    def _take(self) -> dict[asyncio.Future[Answer | None], Key]:
        """Take as many as one statement asks for out of the queue; not for whoever is about to leave it."""
        some: dict[asyncio.Future[Answer | None], Key] = {}
        while self._waiting and len(some) < MOST_KEYS:
            answer, key = self._waiting.popitem(last=False)
            if not answer.done():
                some[answer] = key
        return some

    def _answer(
        self, some: Mapping[asyncio.Future[Answer | None], Key], outcome: Mapping[Key, Answer] | Exception
    ) -> None:
        for answer, key in some.items():
            if answer.done():
                continue  # whoever waited for it is gone
            if isinstance(outcome, Exception):
                answer.set_exception(outcome)
            else:
                answer.set_result(outcome.get(key))
