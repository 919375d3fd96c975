"""The judge of a soak objects to whatever is not as it must be, and to nothing else."""

import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.soak.history import Attempt, End, Historian, Kind, read
from tests.soak.judging import Effect, Stored, Written, objections
from tests.soak.nemesis import faults_of, order

REGISTERED = Attempt(
    number=1, intent="c0-1", kind=Kind.REGISTER, keyed=True, end=End.OK, status=201, request="r1", record="ada"
)
CHANGED = Attempt(
    number=2,
    intent="c0-2",
    kind=Kind.LABEL,
    subject="ada",
    seen=1,
    end=End.OK,
    status=204,
    request="r2",
    record="ada",
    version=2,
)
VIEWED = Attempt(number=3, intent="c0-3", kind=Kind.VIEW, end=End.OK, status=200, request="r3", shown=("ada",))
FIRST = Written(table="patients", record="ada", version=1, digest=b"1")
SECOND = Written(table="patients", record="ada", version=2, digest=b"2")
MADE = Effect(kind=Kind.REGISTER, record="ada", version=1, intent="c0-1", request="r1")
LABELLED = Effect(kind=Kind.LABEL, record="ada", version=2, request="r2")
HISTORY = [REGISTERED, CHANGED, VIEWED]
STORED = Stored(
    effects=(MADE, LABELLED),
    versions=(FIRST, SECOND),
    told=(FIRST, SECOND),
    shown={"r3": frozenset({"ada"})},
    keys=("ada",),
)


def refused(attempt: Attempt, **told: Any) -> Attempt:
    """Return how the same attempt would have been refused."""
    return replace(attempt, end=End.FAIL, status=412, record="", version=0, **told)


def lost(attempt: Attempt) -> Attempt:
    """Return the same attempt without an answer."""
    return replace(attempt, end=End.UNKNOWN, status=0, request="", record="", version=0)


def test_nothing_is_objected_to_what_is_as_it_must_be() -> None:
    assert objections(HISTORY, STORED) == []


@pytest.mark.parametrize("there", [True, False])
def test_what_nobody_knows_the_end_of_is_there_once_or_not_at_all(*, there: bool) -> None:
    stored = STORED if there else replace(STORED, effects=(MADE,), versions=(FIRST,), told=(FIRST,))
    assert objections([REGISTERED, lost(CHANGED)], stored) == []


def test_a_change_that_changed_nothing_made_no_version() -> None:
    stored = replace(STORED, effects=(MADE,), versions=(FIRST,), told=(FIRST,))
    assert objections([REGISTERED, replace(CHANGED, version=1)], stored) == []


def test_of_a_request_that_came_again_one_answer_is_enough() -> None:
    again = replace(REGISTERED, number=9, request="r9")
    assert objections([lost(REGISTERED), again, CHANGED, VIEWED], STORED) == []


TWIN = replace(MADE, record="bob", request="r9")
BROKEN: dict[str, tuple[list[Attempt], Stored, str]] = {
    "a lost change": (
        HISTORY,
        replace(STORED, effects=(MADE,), versions=(FIRST,), told=(FIRST,)),
        "label c0-2 was acknowledged, and is not there",
    ),
    "a lost record": (
        [REGISTERED],
        Stored(keys=("ada",), effects=()),
        "register c0-1 was acknowledged, and is not there",
    ),
    "a doubled unknown": (
        [lost(REGISTERED), CHANGED],
        replace(STORED, effects=(MADE, LABELLED, TWIN)),
        "register c0-1 was done 2 times",
    ),
    "a doubled acknowledged one": (
        HISTORY,
        replace(STORED, effects=(MADE, TWIN, LABELLED)),
        "register c0-1 was done 2 times",
    ),
    "a failure that was done": ([REGISTERED, refused(CHANGED)], STORED, "label c0-2 failed, and was done: ada at 2"),
    "a failure that was done unheard": (
        [refused(replace(REGISTERED, request="r9"))],
        replace(STORED, effects=(replace(MADE, request=""),), keys=()),
        "register c0-1 failed each time, and was done",
    ),
    "what nobody asked for": ([REGISTERED, VIEWED], STORED, "nobody asked for label of ada at version 2"),
    "another record than was said": (
        [replace(REGISTERED, record="bob"), CHANGED],
        replace(STORED, keys=("ada", "bob")),
        "register c0-1 was said to be bob, and is ada",
    ),
    "another version than was said": (
        [REGISTERED, replace(CHANGED, version=3)],
        STORED,
        "label c0-2 was said to be at 3, and is at 2",
    ),
    "something else than was asked for": (
        [REGISTERED, replace(CHANGED, kind=Kind.CARE_TEAM)],
        STORED,
        "care-team c0-2 was done as something else",
    ),
    "a key that is gone": (HISTORY, replace(STORED, keys=()), "c0-1 made ada with a key, and 0 keys name it"),
    "a key of nothing": (
        HISTORY,
        replace(STORED, keys=("ada", "eve")),
        "a key names eve, which is not there",
    ),
    "a disclosure without an event": (
        HISTORY,
        replace(STORED, shown={}),
        "view r3 showed 1 records without an event",
    ),
    "a version without an event": (
        HISTORY,
        replace(STORED, told=(FIRST,)),
        "patients ada is at version 2 without an event",
    ),
    "an event without a version": (
        HISTORY,
        replace(STORED, versions=(FIRST, replace(SECOND, digest=b"other"))),
        "an event tells of version 2 of patients ada, which is not stored so",
    ),
    "a gap": (
        HISTORY,
        replace(STORED, versions=(FIRST, replace(SECOND, version=3))),
        "patients ada has the versions [1, 3]",
    ),
    "an unforeseen error": (
        [*HISTORY, replace(VIEWED, end=End.UNKNOWN, status=500, shown=())],
        STORED,
        "view c0-3 was answered by 500",
    ),
    "a connection that is left": (HISTORY, replace(STORED, connections=2), "2 connections are left"),
    "content where it must not be": (
        HISTORY,
        replace(STORED, leaks=("server-0.log",)),
        "content was found in server-0.log",
    ),
}


@pytest.mark.parametrize(("history", "stored", "objection"), BROKEN.values(), ids=BROKEN)
def test_the_judge_objects(history: list[Attempt], stored: Stored, objection: str) -> None:
    assert objection in objections(history, stored)


def test_a_history_is_read_as_it_was_written_and_what_did_not_end_is_unknown(tmp_path: Path) -> None:
    historian = Historian(tmp_path / "history.jsonl")
    viewed = historian.invoke("c0-1", Kind.VIEW, subject="ada")
    ended = historian.complete(viewed, End.OK, status=200, request="r1", shown=("ada",))
    begun = historian.invoke("c0-2", Kind.CHANGE, subject="ada", seen=1)
    historian.close()
    assert read((tmp_path / "history.jsonl").read_text().splitlines()) == [ended, begun]
    assert begun.end is End.UNKNOWN


def test_every_fault_has_its_turn() -> None:
    names = list(faults_of("postgresql"))
    assert set(order(names, len(names), random.Random(1))) == set(names)
    assert len(order(names, 3, random.Random(1))) == 3
