"""How often something may be tried, counted in this process."""

import math
import time
from collections.abc import Callable, Mapping
from hashlib import blake2b
from secrets import token_bytes

from limits import parse
from limits.aio.storage import Storage
from limits.aio.strategies import FixedWindowRateLimiter

from clarity.application.break_glass import BREAK_GLASS
from clarity.application.credentials import FAILURES_FROM_ADDRESS
from clarity.application.passwords import LINKS_FROM_ADDRESS, RESETS_FROM_ADDRESS, RESETS_OF_ACCOUNT
from clarity.application.rates import REQUESTS_FROM_ADDRESS, REQUESTS_OF_ACCOUNT
from clarity.application.second_factors import CODES_OF_ACCOUNT, PASSWORDS_AGAIN
from clarity.application.sessions import (
    ATTEMPTS_ON_ACCOUNT,
    LOG_INS_FROM_ADDRESS,
    REFRESHES_FROM_ADDRESS,
    REFUSALS_TOLD,
)
from clarity.domain.errors import TooMany

# From one address, an account is tried at most 5,760 times a day, which is nothing against 15 characters. A whole
# clinic may share an address, so the limits for an address alone are those of a busy morning.
RULES = {
    ATTEMPTS_ON_ACCOUNT: "20 per 5 minutes",
    LOG_INS_FROM_ADDRESS: "60 per minute",
    REFRESHES_FROM_ADDRESS: "300 per minute",
    FAILURES_FROM_ADDRESS: "60 per minute",
    REFUSALS_TOLD: "1 per minute",
    # Three of a million codes are good at a time, so whoever has the password needs about a year for an even chance,
    # and is in the trail all the while (ADR 0018).
    CODES_OF_ACCOUNT: "30 per hour",
    PASSWORDS_AGAIN: "10 per 5 minutes",
    # Nobody's mailbox is flooded, and whoever asks for somebody else's link takes no more than an hour of theirs.
    RESETS_OF_ACCOUNT: "4 per hour",
    RESETS_FROM_ADDRESS: "30 per 10 minutes",
    LINKS_FROM_ADDRESS: "60 per minute",
    "ssn-search": "30 per minute",
    # More than a night in an emergency room needs, and too few to leaf through the practice.
    BREAK_GLASS: "20 per hour",
    # Nobody reads twenty records a second, minute after minute; a program that went astray asks for them.
    REQUESTS_OF_ACCOUNT: "1200 per minute",
    REQUESTS_FROM_ADDRESS: "6000 per minute",
}

COUNTERS = 2**14
"""How many counters a rule has. Together they take about 5 MB when all are in use."""


class MemoryRateLimit:
    """`RateLimit` for one process: so many attempts in a window that begins with the first of them.

    Who tries is reduced to one of `COUNTERS` numbers under a key that only this process has, so the memory is
    bounded and holds no names. Two that fall on one counter share its window: the price is a refusal too many now
    and then, never an attempt too many.
    """

    def __init__(self, rules: Mapping[str, str] = RULES, *, clock: Callable[[], float] = time.monotonic) -> None:
        """Limit by `rules`, "20 per 5 minutes" for each thing that may be tried, "" for what is not limited.

        `clock` returns seconds.
        """
        self._rules = {what: parse(rule) if rule else None for what, rule in rules.items()}
        self._limiter = FixedWindowRateLimiter(_Windows(clock))
        self._clock = clock
        self._key = token_bytes(32)

    async def hit(self, what: str, who: str) -> None:
        """Count one attempt at `what` by `who`, or raise `TooMany`. Raises `KeyError` if there is no such rule."""
        rule = self._rules[what]
        if rule is None:
            return
        counter = self._counter_of(who)
        if not await self._limiter.hit(rule, what, counter):
            window = await self._limiter.get_window_stats(rule, what, counter)
            raise TooMany(max(1, math.ceil(window.reset_time - self._clock())))

    def _counter_of(self, who: str) -> str:
        digest = blake2b(who.encode("utf-8", "surrogatepass"), digest_size=8, key=self._key).digest()
        return str(int.from_bytes(digest, "big") % COUNTERS)


class _Windows(Storage):
    """The counters, each with the instant its window ends.

    The library's own memory walks through every counter with each attempt, which would make an attack on
    the log-in an attack on the whole process.
    """

    STORAGE_SCHEME = None

    def __init__(self, clock: Callable[[], float]) -> None:
        super().__init__()
        self._clock = clock
        self._windows: dict[str, tuple[int, float]] = {}

    @property
    def base_exceptions(self) -> tuple[type[Exception], ...]:
        """Nothing here can fail."""
        return ()

    async def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        """Add to a counter and return it; the first addition opens a window of `expiry` seconds."""
        count = await self.get(key)
        ends = self._windows[key][1] if count else self._clock() + expiry
        self._windows[key] = (count + amount, ends)
        return count + amount

    async def get(self, key: str) -> int:
        """Return a counter, 0 once its window has ended."""
        count, ends = self._windows.get(key, (0, 0.0))
        return count if self._clock() < ends else 0

    async def get_expiry(self, key: str) -> float:
        """Return when the window ends."""
        return self._windows[key][1]

    async def check(self) -> bool:
        """Tell that counting works."""
        return True

    async def reset(self) -> int:
        """Close every window and return how many counters there were."""
        count = len(self._windows)
        self._windows.clear()
        return count

    async def clear(self, key: str) -> None:
        """Close one window."""
        self._windows.pop(key, None)
