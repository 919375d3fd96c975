"""What many ask for at once is asked for together, and none of them is worse off for it."""

import asyncio
from collections.abc import Mapping, Sequence

import pytest

from clarity.domain.errors import TimedOut, Unavailable
from clarity.persistence.gathering import AT_ONCE, MOST_AT_ONCE, MOST_KEYS, Gathering


class Store:
    """Answers with what is stored when it is asked, once it is let."""

    def __init__(self) -> None:
        self.stored: dict[int, str] = {}
        self.asked: list[list[int]] = []
        self.trouble: BaseException | None = None
        self.let_go = asyncio.Event()
        self.let_go.set()

    async def ask(self, keys: Sequence[int]) -> Mapping[int, str]:
        self.asked.append(list(keys))
        answers = {key: self.stored[key] for key in keys if key in self.stored}
        await self.let_go.wait()
        if self.trouble is not None:
            raise self.trouble
        return answers


async def settled() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_who_asks_together_is_answered_by_one_statement_that_names_nothing_twice() -> None:
    store = Store()
    store.stored = {1: "one", 2: "two"}
    gathering = Gathering(store.ask)
    answers = await asyncio.gather(*[gathering(key) for key in (1, 2, 1, 3)])
    assert answers == ["one", "two", "one", None]
    assert store.asked == [[1, 2, 3]]


async def test_who_comes_while_statements_are_under_way_sees_what_was_stored_meanwhile() -> None:
    store = Store()
    store.let_go.clear()
    gathering = Gathering(store.ask)
    earlier = []
    for _ in range(AT_ONCE):
        earlier.append(asyncio.create_task(gathering(1)))
        await settled()
    assert len(store.asked) == AT_ONCE
    store.stored[1] = "one"
    later = asyncio.create_task(gathering(1))
    await settled()
    assert len(store.asked) == AT_ONCE
    store.let_go.set()
    assert await asyncio.gather(*earlier) == [None] * AT_ONCE
    assert await later == "one"


async def test_a_statement_asks_for_so_many_at_most() -> None:
    store = Store()
    gathering = Gathering(store.ask)
    await asyncio.gather(*[gathering(key) for key in range(3 * MOST_KEYS + 1)])
    assert sorted(key for some in store.asked for key in some) == list(range(3 * MOST_KEYS + 1))
    assert max(map(len, store.asked)) == MOST_KEYS


async def test_whoever_is_cancelled_takes_nothing_from_the_others() -> None:
    store = Store()
    store.stored = {1: "one", 2: "two"}
    store.let_go.clear()
    gathering = Gathering(store.ask)
    first, second = (asyncio.create_task(gathering(key)) for key in (1, 2))
    await settled()
    first.cancel()
    await settled()
    store.let_go.set()
    assert await second == "two"
    with pytest.raises(asyncio.CancelledError):
        await first
    assert store.asked == [[1, 2]]


async def test_what_goes_wrong_is_raised_to_all_who_asked_and_to_nobody_later() -> None:
    store = Store()
    store.trouble = TimedOut()
    gathering = Gathering(store.ask)
    raised = await asyncio.gather(*[gathering(key) for key in (1, 2)], return_exceptions=True)
    assert [type(one) for one in raised] == [TimedOut, TimedOut]
    store.trouble = None
    assert await gathering(1) is None


async def test_a_cancellation_that_is_the_drivers_ends_nobody_who_waits() -> None:
    store = Store()
    store.trouble = asyncio.CancelledError()
    gathering = Gathering(store.ask)
    with pytest.raises(Unavailable):
        await gathering(1)
    store.trouble = None
    assert await gathering(1) is None


async def test_who_waits_when_it_is_closed_is_told() -> None:
    store = Store()
    store.let_go.clear()
    gathering = Gathering(store.ask)
    waiting = [asyncio.create_task(gathering(1))]
    await settled()
    waiting += [asyncio.create_task(gathering(key)) for key in range(3 * MOST_KEYS)]
    await settled()
    await gathering.aclose()
    assert all(isinstance(one, Unavailable) for one in await asyncio.gather(*waiting, return_exceptions=True))


async def test_nobody_waits_for_a_statement_that_takes_long_and_so_many_are_under_way_at_most() -> None:
    store = Store()
    store.let_go.clear()
    gathering = Gathering(store.ask, long_seconds=0.05)
    waiting = []
    for count in range(1, MOST_AT_ONCE + 1):
        waiting.append(asyncio.create_task(gathering(count)))
        async with asyncio.timeout(5):
            while len(store.asked) < count:
                await asyncio.sleep(0.005)
    waiting.append(asyncio.create_task(gathering(0)))
    await asyncio.sleep(0.1)
    assert len(store.asked) == MOST_AT_ONCE
    store.let_go.set()
    async with asyncio.timeout(5):
        await asyncio.gather(*waiting)


async def test_who_asks_again_in_the_step_in_which_all_statements_ended_is_answered() -> None:
    store = Store()
    store.let_go.clear()
    gathering = Gathering(store.ask)

    async def twice(key: int) -> str | None:
        await gathering(key)
        return await gathering(key)

    asking: list[asyncio.Task[str | None]] = [asyncio.create_task(twice(0))]
    await settled()
    for key in range(1, AT_ONCE):
        asking.append(asyncio.create_task(gathering(key)))
        await settled()
    store.let_go.set()
    async with asyncio.timeout(2):
        await asyncio.gather(*asking)


async def test_who_is_behind_a_full_statement_that_hangs_is_asked_for_by_another() -> None:
    store = Store()
    store.let_go.clear()
    gathering = Gathering(store.ask, long_seconds=0.01)
    waiting = [asyncio.create_task(gathering(key)) for key in range(3 * MOST_KEYS + 1)]
    async with asyncio.timeout(5):
        while len(store.asked) < 4:
            await asyncio.sleep(0.005)
    assert sorted(key for some in store.asked for key in some) == list(range(3 * MOST_KEYS + 1))
    store.let_go.set()
    await asyncio.gather(*waiting)


async def test_nothing_is_asked_for_whoever_is_gone() -> None:
    store = Store()
    store.let_go.clear()
    gathering = Gathering(store.ask, long_seconds=60)
    asking = []
    for key in range(AT_ONCE):
        asking.append(asyncio.create_task(gathering(key)))
        await settled()
    gone = [asyncio.create_task(gathering(key)) for key in range(100, 300)]
    await settled()
    for task in gone:
        task.cancel()
    asking.append(asyncio.create_task(gathering(AT_ONCE)))
    await settled()
    store.let_go.set()
    await asyncio.gather(*asking)
    assert store.asked == [[key] for key in range(AT_ONCE + 1)]


async def test_who_asks_what_is_closed_is_told() -> None:
    gathering = Gathering(Store().ask)
    asking = asyncio.create_task(gathering(1))
    await asyncio.sleep(0)
    await gathering.aclose()
    for answer in (asking, gathering(1)):
        with pytest.raises(Unavailable):
            await answer


async def test_whose_fault_it_is_fails_alone() -> None:
    async def ask(keys: Sequence[int]) -> Mapping[int, str]:
        if 5 in keys:
            raise ValueError
        return dict.fromkeys(keys, "well")

    gathering = Gathering(ask, is_of_one=lambda exc: isinstance(exc, ValueError))
    answers = await asyncio.gather(*[gathering(key) for key in range(10)], return_exceptions=True)
    assert [type(one) for one in answers] == [ValueError if key == 5 else str for key in range(10)]


async def test_nothing_begins_while_it_is_closed() -> None:
    async def hang(_keys: Sequence[int]) -> Mapping[int, str]:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0.05)  # to leave takes a while
        return {}

    gathering = Gathering(hang, long_seconds=0.01)
    asking = [asyncio.create_task(gathering(key)) for key in range(5 * MOST_KEYS)]
    await settled()
    await gathering.aclose()
    assert all(isinstance(one, Unavailable) for one in await asyncio.gather(*asking, return_exceptions=True))
    assert len(asyncio.all_tasks()) == 1
