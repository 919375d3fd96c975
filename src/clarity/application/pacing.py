"""Answers that take the same time whatever was found."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

# Event loops wake up at whole milliseconds. Chance spreads what is rounded, so that its mean tells nothing.
_SPREAD_SECONDS = 0.004


@asynccontextmanager
async def paced(pace: timedelta) -> AsyncIterator[None]:
    """Let what is done inside end no sooner than after `pace`, whether it ends well or raises. Zero is no pace at all.

    For what takes longer in one case than in another because more is stored; either case should stay below the pace.
    """
    loop = asyncio.get_running_loop()
    ends = loop.time() + pace.total_seconds() + random.uniform(0, _SPREAD_SECONDS)
    try:
        yield
    finally:
        if pace:
            await asyncio.sleep(max(0.0, ends - loop.time()))
