"""One run of something for all who wait for it."""

import asyncio
from collections.abc import Awaitable, Callable
from contextvars import Context


class Joining:
    """Runs something for whoever comes, one run after the other, each begun after all had come whom it is for.

    Who comes while one runs waits for the next, together with all who come meanwhile: of what changed before they came,
    a run that had begun may have missed something.
    """

    def __init__(self, run: Callable[[], Awaitable[None]]) -> None:
        """Let `run` be what is run."""
        self._run = run
        self._now: asyncio.Task[None] | None = None
        self._next: asyncio.Task[None] | None = None

    async def __call__(self) -> None:
        """Return once a run has ended that began after this was called; raises what that raised.

        Whoever is cancelled meanwhile does not take it from the others.
        """
        await self.ended(self.join())

    def join(self) -> asyncio.Task[None]:
        """Return a run that has not begun, for `ended`; it begins while whoever called does something else."""
        if self._next is None:
            # In a context of its own: what it logs and traces is not the first caller's alone.
            self._next = asyncio.get_running_loop().create_task(self._turn(self._now), context=Context())
            self._next.add_done_callback(_heard)
        return self._next

    async def ended(self, joined: asyncio.Task[None]) -> None:
        """Return once a run that was joined has ended; raises what that raised."""
        await asyncio.wait((joined,))
        joined.result()

    async def aclose(self) -> None:
        """Leave nothing running."""
        tasks = [task for task in (self._now, self._next) if task is not None]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    async def _turn(self, before: asyncio.Task[None] | None) -> None:
        if before is not None and not before.done():
            await asyncio.wait((before,))
        self._now, self._next = self._next, None
        try:
            await self._run()
        finally:
            if self._now is asyncio.current_task():
                self._now = None


def _heard(run: asyncio.Task[None]) -> None:
    """Take note of how a run ended: all who waited for it may be gone."""
    if not run.cancelled():
        run.exception()
