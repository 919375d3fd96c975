"""What takes the same time whatever was found."""

import asyncio
import time
from datetime import timedelta

import pytest

from clarity.application.pacing import paced


@pytest.mark.parametrize("work_seconds", [0.0, 0.03])
async def test_what_is_paced_takes_the_pace_whatever_it_does(work_seconds: float) -> None:
    began = time.monotonic()
    async with paced(timedelta(seconds=0.06)):
        await asyncio.sleep(work_seconds)
    assert time.monotonic() - began >= 0.059


async def test_a_failure_is_paced_too() -> None:
    began = time.monotonic()
    with pytest.raises(KeyError):
        async with paced(timedelta(seconds=0.06)):
            raise KeyError
    assert time.monotonic() - began >= 0.059


async def test_without_a_pace_nothing_waits() -> None:
    began = time.monotonic()
    async with paced(timedelta(0)):
        pass
    assert time.monotonic() - began < 0.05
