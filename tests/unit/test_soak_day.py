"""The judge of a day objects to whatever is not as it must be, and to nothing else."""

from collections.abc import Callable
from dataclasses import replace
from xml.etree import ElementTree as ET

import pytest

from benchmarks.growth import Line, followed
from tests.soak.day.course import DAY, HOURS, Thing, part_at
from tests.soak.day.judging import MOST_GROWTH_BYTES, Attempt, Day, Sample, Stored, Written, growth_bytes

MEGABYTE = 2**20


def samples(memory_mb: Callable[[int], float], count: int = 240) -> list[Sample]:
    """Return how a server stood every 15 seconds for an hour."""
    return [
        Sample(15.0 * number, int(memory_mb(number) * MEGABYTE), connections=12, queue=0, answered=number, health_ms=2)
        for number in range(count)
    ]


def warm(number: int) -> float:
    """Return the megabytes of a server that warms up, and of which some samples are anything."""
    return 160 + min(number, 100) / 10 + (128 if number % 5 == 0 else 0)


VIEWED = Attempt(Thing.VIEW, 200, "", "r1", 0.01)
REGISTERED = Attempt(Thing.REGISTER, 201, "", "r2", 0.01)
CHANGED = Attempt(Thing.CHANGE, 200, "", "r3", 0.01)
LOST_RACE = Attempt(Thing.CHANGE, 412, "stale-write", "r4", 0.01)
FIRST, SECOND = Written("ada", 1, "desk-1@clinic.example"), Written("ada", 2, "desk-2@clinic.example")
GOOD = Day(
    samples=samples(warm),
    attempts=[VIEWED, REGISTERED, CHANGED, LOST_RACE],
    written=[FIRST, SECOND],
    stored={"ada": Stored(2, "desk-2@clinic.example"), "bob": Stored(1, ""), "eve": Stored(1, "")},
    recorded={"r1", "r2", "r3"},
    reads=["r1"],
    leaked=0,
    queue=0,
    before=1,
    imported=1,
)


def test_a_day_on_which_all_went_well_is_not_objected_to() -> None:
    assert GOOD.objections() == []


def test_a_change_that_nobody_knows_the_end_of_may_have_made_a_version_more() -> None:
    stored = {**GOOD.stored, "ada": Stored(3, "desk-3@clinic.example")}
    assert replace(GOOD, stored=stored).objections() == []


def leaking(number: int) -> float:
    """Return the megabytes of a server that leaks twelve in the second half."""
    return warm(number) + number / 10


BAD: dict[str, tuple[Day, str]] = {
    "memory grows": (
        replace(GOOD, samples=samples(leaking)),
        "memory grew by 11.9 MB in the second half, of 10 allowed",
    ),
    "connections are left": (replace(GOOD, leaked=2), "2 connections and sockets are held without use"),
    "events wait": (replace(GOOD, queue=3), "3 events wait in the queue of the trail"),
    "an error": (
        replace(GOOD, attempts=[*GOOD.attempts, Attempt(Thing.SEARCH, 503, "overloaded", "r5", 0.1)]),
        "1 of search were answered by 503 overloaded",
    ),
    "no answer": (
        replace(GOOD, attempts=[*GOOD.attempts, Attempt(Thing.CHANGE, 0, "", "", 30)]),
        "1 of change were answered by nobody",
    ),
    "a lost patient": (
        replace(GOOD, stored={"bob": Stored(1, ""), "eve": Stored(1, ""), "max": Stored(1, "")}),
        "2 of 2 acknowledged writes are not there",
    ),
    "a lost version": (
        replace(GOOD, stored={**GOOD.stored, "ada": Stored(1, FIRST.email)}),
        "1 of 2 acknowledged writes are not there",
    ),
    "another content": (
        replace(GOOD, stored={**GOOD.stored, "ada": Stored(2, FIRST.email)}),
        "1 of 2 acknowledged writes are not there",
    ),
    "a version twice": (replace(GOOD, written=[FIRST, SECOND, SECOND]), "1 versions were acknowledged twice"),
    "a patient too many": (
        replace(GOOD, stored={**GOOD.stored, "max": Stored(1, "")}),
        "there are 4 patients, and should be 3",
    ),
    "a read without an event": (
        replace(GOOD, recorded={"r2", "r3"}, reads=[]),
        "1 of 3 answers have no event",
    ),
    "a write without an event": (replace(GOOD, recorded={"r1", "r3"}), "1 of 3 answers have no event"),
    "an event twice": (replace(GOOD, reads=["r1", "r1"]), "2 events tell of 1 reads that were answered"),
    "an event of another read": (replace(GOOD, reads=["r9"]), "1 events tell of 1 reads that were answered"),
    "what happened elsewhere": (
        replace(GOOD, complaints=["an import ended with status 1"]),
        "an import ended with status 1",
    ),
}


@pytest.mark.parametrize(("day", "objection"), BAD.values(), ids=BAD)
def test_the_judge_of_a_day_objects(day: Day, objection: str) -> None:
    assert objection in day.objections()


def test_an_event_of_what_was_not_answered_harms_nobody() -> None:
    attempts = [*GOOD.attempts, Attempt(Thing.VIEW, 503, "timed-out", "r5", 30)]
    found = replace(GOOD, attempts=attempts, reads=["r1", "r5"]).objections()
    assert found == ["1 of view were answered by 503 timed-out"]


def test_growth_is_of_the_second_half_whatever_single_samples_are() -> None:
    assert growth_bytes(samples(warm)) == 0
    assert growth_bytes(samples(leaking)) == pytest.approx(11.9 * MEGABYTE)
    assert growth_bytes(samples(lambda number: 160 + number / 100)) < MOST_GROWTH_BYTES
    assert growth_bytes(samples(warm, count=1)) == 0


def test_the_course_of_a_day_has_a_part_for_each_hour_and_all_that_people_do() -> None:
    ends = [part.until for part in DAY]
    assert ends == sorted(set(ends))
    assert ends[-1] == HOURS
    assert [part_at(hour).name for hour in (0, 6.9, 7, 12.5, 23.9, 24.1)] == [
        "night",
        "night",
        "morning rush",
        "noon",
        "late",
        "late",
    ]
    assert {thing for part in DAY for thing in part.things} == set(Thing)
    assert all(part_at(hour) is part for part in DAY for hour in part.imports)


def test_what_is_followed_over_a_day_is_drawn_below_each_other() -> None:
    lines = [Line("memory", "#000", "", [(0, 160), (12, 170), (24, 165)]), Line("queue", "#111", "", [(0, 0), (24, 0)])]
    drawing = ET.fromstring(followed("A day", "time", {0: "00:00", 24: "24:00"}, lines))  # noqa: S314
    words = [element.text for element in drawing.iter("{http://www.w3.org/2000/svg}text")]
    assert {"A day", "time", "memory", "queue", "200"} <= set(words)
    assert words.count("24:00") == 2
    assert len(list(drawing.iter("{http://www.w3.org/2000/svg}polyline"))) == 2
