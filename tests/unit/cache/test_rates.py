"""How often something may be tried."""

from dataclasses import dataclass

import pytest

from clarity.application import sessions
from clarity.cache.rates import COUNTERS, RULES, MemoryRateLimit
from clarity.domain.errors import TooMany


@dataclass
class Watch:
    seconds: float = 1000.0

    def __call__(self) -> float:
        return self.seconds


async def tried(limit: MemoryRateLimit, who: str, times: int, what: str = "knock") -> int:
    """Return how many of so many attempts were allowed."""
    allowed = 0
    for _ in range(times):
        try:
            await limit.hit(what, who)
        except TooMany:
            continue
        allowed += 1
    return allowed


def held_by(limit: MemoryRateLimit) -> list[object]:
    """Return everything that is kept in the attributes and containers of `limit`."""
    held: list[object] = [limit]
    for one in held:
        if isinstance(one, dict):
            held += [*one, *one.values()]
        elif isinstance(one, tuple | list):
            held += one
        elif type(one).__module__.startswith(("clarity", "limits")):
            held += getattr(one, "__dict__", {}).values()
    return held


async def test_attempts_beyond_the_limit_are_refused_and_told_how_long_to_wait() -> None:
    watch = Watch()
    limit = MemoryRateLimit({"knock": "3 per minute"}, clock=watch)
    assert await tried(limit, "ada", 3) == 3
    watch.seconds += 20.5
    with pytest.raises(TooMany) as refusal:
        await limit.hit("knock", "ada")
    assert refusal.value.retry_after_seconds == 40


async def test_a_window_ends_when_its_time_is_over_however_often_one_tried_in_it() -> None:
    watch = Watch()
    limit = MemoryRateLimit({"knock": "3 per minute"}, clock=watch)
    assert await tried(limit, "ada", 50) == 3
    watch.seconds += 59.9
    assert await tried(limit, "ada", 50) == 0
    watch.seconds += 0.2
    assert await tried(limit, "ada", 50) == 3


async def test_what_is_tried_and_who_tries_are_counted_apart() -> None:
    limit = MemoryRateLimit({"knock": "3 per minute", "ring": "2 per minute"})
    assert await tried(limit, "ada", 9) == 3
    assert await tried(limit, "ada", 9, "ring") == 2
    assert await tried(limit, "bob", 9) == 3


async def test_memory_stays_bounded_however_many_try() -> None:
    limit = MemoryRateLimit({"knock": "1000000 per day"})
    for number in range(3 * COUNTERS):
        await limit.hit("knock", f"visitor {number}")
    sizes = [len(held) for held in held_by(limit) if isinstance(held, dict)]
    assert COUNTERS // 2 < max(sizes) <= COUNTERS


async def test_nobody_who_tried_can_be_read_from_memory() -> None:
    limit = MemoryRateLimit({"knock": "3 per minute"})
    await limit.hit("knock", "ada.lovelace@example.org")
    texts = [held for held in held_by(limit) if isinstance(held, str)]
    assert any("knock" in text for text in texts)
    assert not any("lovelace" in text for text in texts)


async def test_two_processes_count_the_same_visitor_differently() -> None:
    limits = [MemoryRateLimit({"knock": "1 per minute"}) for _ in range(40)]
    visitors = [f"visitor {number}" for number in range(200)]
    collisions = [sum([1 - await tried(limit, visitor, 1) for visitor in visitors]) for limit in limits]
    assert len(set(collisions)) > 1, "with one key for all, the same visitors would collide everywhere"


async def test_text_that_has_no_bytes_is_counted_like_any_other() -> None:
    limit = MemoryRateLimit({"knock": "3 per minute"})
    assert await tried(limit, "\ud800", 9) == 3


async def test_everything_that_sessions_limit_has_a_rule() -> None:
    limit = MemoryRateLimit()
    limited = (
        sessions.ATTEMPTS_ON_ACCOUNT,
        sessions.LOG_INS_FROM_ADDRESS,
        sessions.REFRESHES_FROM_ADDRESS,
        sessions.REFUSALS_TOLD,
    )
    assert set(limited) < set(RULES)
    for what in limited:
        await limit.hit(what, "198.51.100.7")


async def test_what_has_no_rule_is_not_let_through() -> None:
    with pytest.raises(KeyError):
        await MemoryRateLimit().hit("a rule nobody wrote", "ada")
