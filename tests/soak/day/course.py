"""What is asked of a practice in the course of a day, and how often."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

HOURS: Final = 24


class Thing(StrEnum):
    """What people do."""

    LOG_IN = "log in"
    VIEW = "view"
    LIST = "list"
    SEARCH = "search"
    HISTORY = "history"
    REGISTER = "register"
    CHANGE = "change"

    @property
    def reads(self) -> bool:
        """Tell whether it discloses patients and changes nothing."""
        return self in {Thing.VIEW, Thing.LIST, Thing.SEARCH, Thing.HISTORY}


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A part of the day: until which hour, its share of the requests of the busiest hour, and what they are by weight.

    At the full hours in `imports` another process imports patients.
    """

    name: str
    until: int
    load: float
    things: Mapping[Thing, int]
    imports: tuple[int, ...] = ()


_WATCH = {Thing.VIEW: 50, Thing.LIST: 35, Thing.HISTORY: 15}
_ARRIVALS = {Thing.LOG_IN: 3, Thing.SEARCH: 30, Thing.VIEW: 40, Thing.LIST: 10, Thing.REGISTER: 7, Thing.CHANGE: 10}
_WORK = {Thing.LOG_IN: 1, Thing.SEARCH: 20, Thing.VIEW: 50, Thing.LIST: 10, Thing.HISTORY: 5, Thing.CHANGE: 14}

DAY: Final = (
    Part(name="night", until=7, load=0.03, things=_WATCH),
    Part(name="morning rush", until=10, load=1.0, things=_ARRIVALS),
    Part(name="forenoon", until=12, load=0.7, things=_WORK),
    Part(name="noon", until=13, load=0.2, things=_WORK),
    Part(name="afternoon", until=17, load=0.8, things=_ARRIVALS),
    Part(name="evening", until=22, load=0.15, things=_WORK, imports=(18, 19, 20)),
    Part(name="late", until=HOURS, load=0.03, things=_WATCH),
)


def part_at(hour: float) -> Part:
    """Return the part of the day at an hour; whatever comes after the last is the last."""
    return next((part for part in DAY if hour < part.until), DAY[-1])
