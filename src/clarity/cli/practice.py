"""The practice a command works in: opened before it begins, closed when it ends."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

from clarity.application.services import Services

if TYPE_CHECKING:
    # At run time a command loads the adapters when it needs them, and `--help` never does.
    from clarity.upkeep import Settings

Result = TypeVar("Result")


def read_settings() -> "Settings":
    """Read the settings. Raises `Misconfigured`."""
    from clarity.upkeep import load_settings

    return load_settings()


def in_practice(settings: "Settings", act: Callable[[Services], Awaitable[Result]]) -> Result:
    """Open the practice, act in it, close it, and return what came of it.

    Raises `Misconfigured` if its keys are not there or do not fit, or its tables are behind.
    """
    from clarity.bootstrap import running
    from clarity.upkeep import require_practice

    async def run() -> Result:
        await require_practice(settings)
        async with running(settings) as services:
            return await act(services)

    return asyncio.run(run())
