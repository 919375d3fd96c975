"""Looking at everything needed is bounded, done once for all who ask, and says nothing but what is wrong."""

import asyncio

import pytest

from clarity.application.readiness import Lookout, Readiness
from clarity.domain.errors import PoolExhausted, Unavailable


class Thing:
    """Something that is looked at."""

    def __init__(self, trouble: str = "", error: Exception | None = None, *, hangs: bool = False) -> None:
        self.trouble = trouble
        self.error = error
        self.looks = 0
        self.answers = asyncio.Event()
        if not hangs:
            self.answers.set()

    async def __call__(self) -> dict[str, str]:
        self.looks += 1
        await self.answers.wait()
        if self.error is not None:
            raise self.error
        return {"database": "", "tables": self.trouble}


def lookout_over(thing: Thing, *, good_for_seconds: float = 0) -> Lookout:
    return Lookout({("database", "tables"): thing}, timeout_seconds=0.05, good_for_seconds=good_for_seconds)


async def test_what_is_wrong_is_said_and_nothing_of_what_is_well() -> None:
    ready = await lookout_over(Thing("are behind this version"))()
    assert ready.checks == {"database": True, "tables": False}
    assert ready.reasons == {"tables": "are behind this version"}


def test_a_note_keeps_nobody_from_being_ready_and_gives_way_to_trouble() -> None:
    assert Readiness({"tables": ""}, {"tables": "are ahead"}).reasons == {"tables": "are ahead"}
    assert Readiness({"tables": ""}, {"tables": "are ahead"}).checks == {"tables": True}
    assert Readiness({"tables": "are behind"}, {"tables": "are ahead"}).reasons == {"tables": "are behind"}


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (PoolExhausted(), "has no connection free"),
        (Unavailable(), "does not answer"),
        (ValueError("Lovelace"), "does not answer"),
    ],
)
async def test_what_fails_is_not_ready_and_its_message_is_kept(error: Exception, reason: str) -> None:
    ready = await lookout_over(Thing(error=error))()
    assert ready.reasons == {"database": reason, "tables": "is not known"}


async def test_what_hangs_keeps_nobody_waiting_and_is_not_asked_twice() -> None:
    thing = Thing(hangs=True)
    lookout = lookout_over(thing)
    async with asyncio.timeout(2):
        for _ in range(3):
            assert (await lookout()).reasons["database"] == "does not answer in time"
    assert thing.looks == 1
    thing.answers.set()
    assert (await lookout()).reasons == {}
    assert (await lookout()).reasons == {}
    assert thing.looks == 2
    await lookout.aclose()


async def test_whoever_asks_within_a_second_is_told_the_same() -> None:
    thing = Thing()
    lookout = lookout_over(thing, good_for_seconds=60)
    assert {tuple((await ready).checks.items()) for ready in [lookout() for _ in range(5)]} == {
        (("database", True), ("tables", True))
    }
    assert thing.looks == 1


async def test_nobody_is_left_looking() -> None:
    lookout = lookout_over(Thing(hangs=True))
    await lookout()
    await lookout.aclose()
    assert [task for task in asyncio.all_tasks() if task.get_name().startswith("look at")] == []
