"""Trying again what lost a race: serialization failures, deadlocks, statements invalidated by a migration."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from dataclasses import dataclass
from functools import wraps
from typing import ParamSpec, TypeVar

from clarity.application.ports import RateLimit
from clarity.domain.errors import Transient

_ATTEMPTS = 5
_FIRST_PAUSE_SECONDS = 0.01

_counted: ContextVar[set[tuple[str, str]] | None] = ContextVar("counted", default=None)
"""What was counted in the use-case that is being run, and runs again if it loses a race."""

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


def retrying(use_case: Callable[Parameters, Awaitable[Result]]) -> Callable[Parameters, Awaitable[Result]]:
    """Run a use-case again, up to five times in all, while it raises `Transient`.

    The use-case must be one unit of work, so that nothing of a failed run remains. Pauses double and are
    jittered over their whole length, so that those who collided do not meet again (Brooker, "Exponential
    Backoff and Jitter", 2015).
    """

    @wraps(use_case)
    async def attempt(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Result:
        counted = _counted.get()
        outside = _counted.set(set() if counted is None else counted)
        try:
            for earlier in range(_ATTEMPTS - 1):
                try:
                    return await use_case(*args, **kwargs)
                except Transient:
                    await asyncio.sleep(random.uniform(0, _FIRST_PAUSE_SECONDS * 2**earlier))
            return await use_case(*args, **kwargs)
        finally:
            _counted.reset(outside)

    return attempt


@dataclass(frozen=True, slots=True)
class CountedOnce:
    """`RateLimit` that counts what is tried in a retried use-case once, however often that has to run."""

    limits: RateLimit

    async def hit(self, what: str, who: str) -> None:
        """Count one attempt at `what` by `who`, or raise `TooMany`."""
        counted = _counted.get()
        if counted is None:
            await self.limits.hit(what, who)
        elif (what, who) not in counted:
            counted.add((what, who))
            await self.limits.hit(what, who)
