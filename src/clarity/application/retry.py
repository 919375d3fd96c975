"""Trying again what lost a race: serialization failures, deadlocks, statements invalidated by a migration."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from functools import wraps
from typing import ParamSpec, TypeVar

from clarity.domain.errors import Transient

_ATTEMPTS = 5
_FIRST_PAUSE_SECONDS = 0.01

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
        for earlier in range(_ATTEMPTS - 1):
            try:
                return await use_case(*args, **kwargs)
            except Transient:
                await asyncio.sleep(random.uniform(0, _FIRST_PAUSE_SECONDS * 2**earlier))
        return await use_case(*args, **kwargs)

    return attempt
