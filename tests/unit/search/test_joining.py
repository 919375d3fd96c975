"""Whoever joins gets the end of a run that began after they came, and shares it."""

import asyncio

import pytest

from clarity.domain.errors import Unavailable
from clarity.search.joining import Joining


class Counted:
    """Something that takes as long as it is told to; each run notes its number when it begins."""

    def __init__(self) -> None:
        self.begun = 0
        self.let_end = asyncio.Event()
        self.fails = False

    async def __call__(self) -> None:
        self.begun += 1
        await self.let_end.wait()
        if self.fails:
            raise Unavailable


async def soon() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_a_hundred_who_come_together_share_one_run() -> None:
    counted = Counted()
    counted.let_end.set()
    joining = Joining(counted)
    await asyncio.gather(*(joining() for _ in range(100)))
    assert counted.begun == 1
    await joining()
    assert counted.begun == 2


async def test_who_comes_while_one_runs_waits_for_the_next_with_all_who_come_meanwhile() -> None:
    counted = Counted()
    joining = Joining(counted)
    first = asyncio.create_task(joining())
    await soon()
    later = [asyncio.create_task(joining()) for _ in range(100)]
    await soon()
    assert counted.begun == 1
    counted.let_end.set()
    await first
    assert not any(task.done() for task in later)
    await asyncio.gather(*later)
    assert counted.begun == 2


async def test_who_is_gone_takes_nothing_from_the_others() -> None:
    counted = Counted()
    joining = Joining(counted)
    gone, stays = asyncio.create_task(joining()), asyncio.create_task(joining())
    await soon()
    gone.cancel()
    await soon()
    counted.let_end.set()
    await stays
    assert gone.cancelled()
    assert counted.begun == 1


async def test_what_fails_fails_for_all_who_share_it_and_for_nobody_after() -> None:
    counted = Counted()
    counted.fails = True
    joining = Joining(counted)
    both = [asyncio.create_task(joining()) for _ in range(2)]
    await soon()
    counted.let_end.set()
    for task in both:
        with pytest.raises(Unavailable):
            await task
    counted.fails = False
    await joining()
    assert counted.begun == 2


async def test_a_failure_that_nobody_waits_for_is_no_warning() -> None:
    counted = Counted()
    counted.fails = True
    joining = Joining(counted)
    gone = asyncio.create_task(joining())
    await soon()
    gone.cancel()
    counted.let_end.set()
    await soon()
    counted.fails = False
    await joining()


async def test_closing_leaves_nothing_running() -> None:
    counted = Counted()
    joining = Joining(counted)
    waiting = [asyncio.create_task(joining()) for _ in range(2)]
    await soon()
    waiting.append(asyncio.create_task(joining()))
    await soon()
    await joining.aclose()
    assert all(
        isinstance(end, asyncio.CancelledError) for end in await asyncio.gather(*waiting, return_exceptions=True)
    )
    assert counted.begun == 1
