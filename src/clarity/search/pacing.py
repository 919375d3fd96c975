"""Long work in short steps, so that whoever else is served by the process does not wait for it."""

import asyncio
from time import perf_counter

STEP_SECONDS = 0.001
"""How long work goes on before others have a turn. One more piece may follow that was begun in time."""


class Pace:
    """Lets others have a turn between the pieces of long work: `if pace.is_due: await pace.rest()`."""

    __slots__ = ("_due",)

    def __init__(self) -> None:
        self._due = perf_counter() + STEP_SECONDS

    @property
    def is_due(self) -> bool:
        """Whether the work has gone on for a step."""
        return perf_counter() >= self._due

    async def rest(self) -> None:
        """Let others have their turn."""
        await asyncio.sleep(0)
        self._due = perf_counter() + STEP_SECONDS
