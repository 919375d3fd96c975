"""What the benchmarks compute is what they say they compute."""

import asyncio
import hmac
import time
from collections import Counter
from datetime import UTC, date, datetime
from xml.etree import ElementTree as ET

import numpy as np
import pytest

from benchmarks import leakage, peer, search
from benchmarks.comparing import Question, Timed, by_class, questions, summary
from benchmarks.fragments import LONGEST, Fragment, FragmentClass, fragments_among
from benchmarks.growth import Line, drawn
from benchmarks.measuring import percentile
from benchmarks.people import People
from benchmarks.thief import Distribution, Thief, trigrams_of
from benchmarks.watchdog import watched

COMMON = Fragment("mar", FragmentClass.COMMON, 9)
ABSENT = Fragment("mxr", FragmentClass.ABSENT, 0)


def test_more_people_change_nobody() -> None:
    few, more = People(50), People(400)
    assert list(few.some(0, 50)) == list(more.some(0, 50))
    assert few.names(0, 50) == more.names(0, 50)
    assert more.pairs().sum() == 400


def test_fragments_are_sixteen_of_each_class_and_as_frequent_as_they_say() -> None:
    people = People(5_000)
    families, given = people.names(0, 5_000)
    names = [f"{called} {family}" for called, family in zip(given, families, strict=True)]
    found = fragments_among(people)
    assert Counter(one.kind for one in found) == dict.fromkeys(FragmentClass, 16)
    for one in found:
        counted = one.text in names if " " in one.text else any(one.text in name for name in names)
        assert counted == (one.kind is not FragmentClass.ABSENT)
        assert len(one.text) <= LONGEST
        expected = names.count(one.text) if " " in one.text else sum(one.text in name for name in names)
        assert one.patients == expected
    for length in range(1, LONGEST + 1):
        of_length = [one for one in found if len(one.text) == length and one.kind is not FragmentClass.FULL_NAME]
        assert Counter(one.kind for one in of_length).total() == 6
        common = [one.patients for one in of_length if one.kind is FragmentClass.COMMON]
        assert min(common) >= max(one.patients for one in of_length if one.kind is FragmentClass.RARE)


def test_percentiles_lie_between_neighbours() -> None:
    assert percentile([4, 1, 3, 2], 0.5) == 2.5
    assert percentile([1, 2, 3], 1.0) == 3
    assert percentile([7], 0.95) == 7


def test_ratios_are_of_medians_of_rounds() -> None:
    timed = [
        Timed(Question(COMMON), ours=[1, 2, 90], peer=[4, 4, 4]),
        Timed(Question(ABSENT), ours=[3, 3, 3], peer=[1, 1, 100]),
    ]
    assert summary(timed)["ratio_p50"] == 1.0  # of 2.5 and 2.5
    assert {kind: one["ratio_p50"] for kind, one in by_class(timed).items()} == {"common": 0.5, "absent": 3.0}
    assert summary([Timed(Question(COMMON), ours=[1, 2])])["ratio_p50"] is None


def test_ages_are_the_same_days_of_birth_on_both_sides() -> None:
    [question] = questions([COMMON], ages=True)
    assert question.ages == (18, 29)
    assert question.born(date(2026, 3, 14)) == (date(1996, 3, 15), date(2008, 3, 14))
    assert Question(COMMON).born(date(2026, 3, 14)) is None
    assert Question(COMMON, (17, 20)).born(date(2024, 2, 29)) == (date(2003, 3, 1), date(2007, 2, 28))


def test_the_peer_looks_for_wild_cards_as_letters() -> None:
    assert peer.pattern("50%_a\\") == r"%50\%\_a\\%"
    assert "folded LIKE $1 AND folded LIKE $2 AND born BETWEEN $3 AND $4" in peer.statement(2, ages=True)
    assert len(peer.PlainPatient.__slots__) == len(peer.SHOWN)


@pytest.mark.parametrize(
    ("changed", "missing"),
    [
        ({}, []),
        ({"page_ratio_p50": 0.71}, ["page_ratio_p50"]),
        ({"page_ratio_p50": None, "page_ratio_p95": None}, []),
        ({"longest_block_ms": 5.01, "bytes_per_patient": 151}, ["bytes_per_patient", "longest_block_ms"]),
    ],
)
def test_a_figure_above_its_bound_is_missed(changed: dict[str, float | None], missing: list[str]) -> None:
    figures = {**{name: bound.at_most for name, bound in search.BOUNDS.items()}, **changed}
    assert search.missed(figures, [{"patients": 200_000, "different_pages": []}]) == missing
    assert search.missed(figures, [{"patients": 200_000, "different_pages": ["mar"]}]) == [*missing, "other page: mar"]
    few = [{"patients": 20_000, "different_pages": []}]
    assert search.missed(figures, few) == [name for name in missing if name != "bytes_per_patient"]


def test_growth_is_measured_at_each_power_of_ten() -> None:
    assert search.sizes(1_000, growing=True) == [1_000]
    assert search.sizes(20_000, growing=True) == [10_000, 20_000]
    assert search.sizes(1_000_000, growing=True) == [10_000, 100_000, 1_000_000]
    assert search.sizes(1_000_000, growing=False) == [1_000_000]


def test_a_drawing_has_a_line_and_a_word_for_each_side() -> None:
    lines = [Line("ours & <more>", "#000", "", [(10_000, 2.5), (1e6, 4)]), Line("none", "#111", "", [])]
    drawing = drawn("A page", "patients", "ms", lines)
    words = [element.text for element in ET.fromstring(drawing).iter("{http://www.w3.org/2000/svg}text")]  # noqa: S314
    assert {"ours & <more>", "10,000", "1,000,000"} <= set(words)
    assert "none" not in words


async def test_the_watchdog_tells_what_held_the_loop() -> None:
    async def hog() -> None:
        ends = time.thread_time() + 0.02
        while time.thread_time() < ends:
            pass

    with watched() as steps:
        await asyncio.sleep(0)
        await asyncio.create_task(hog())
    seen = steps.count
    await asyncio.sleep(0)
    assert steps.longest_ms >= 20
    assert any("hog" in name for name in steps.over)
    assert steps.count == seen


def test_the_thief_reads_tokens_of_trigrams_and_nothing_of_what_is_unlike() -> None:
    everybody = leakage.known_names()
    given, family = everybody.given_shares[:60], everybody.family_shares[:60]
    known = Distribution(everybody.given[:60], given / given.sum(), everybody.family[:60], family / family.sum())
    random = np.random.default_rng(7)
    firsts = random.choice(known.given, 2_000, p=known.given_shares).tolist()
    lasts = random.choice(known.family, 2_000, p=known.family_shares).tolist()
    names = list(zip(firsts, lasts, strict=True))
    thief = Thief(known)
    tokens = leakage.token_store(names, b"any key")
    assert tokens[0] == frozenset(
        hmac.digest(b"any key", g.encode(), "sha256")[:8] for g in trigrams_of(" ".join(names[0]))
    )
    assert leakage.read(thief.names(tokens), names)["read"] > 0.25
    unlike = [frozenset({b"day %d" % (number // 50), b"id %d" % number, b"active"}) for number in range(2_000)]
    assert leakage.read(thief.names(unlike), names) == {"stated": 0.0, "read": 0.0}
    assert thief.names([frozenset()] * 3) == [None] * 3


def test_of_ciphertext_only_the_length_is_a_token() -> None:
    at = datetime(2026, 3, 14, 9, 26, 53, tzinfo=UTC)
    assert list(leakage.tokens_of("sealed", b"secret")) == ["6"]
    assert list(leakage.tokens_of("digest_a", b"secret")) == ["b'secret'"]
    assert [repr(at), "2026-03-14T09:26+00:00", "2026-03-14"] == list(leakage.tokens_of("created_at", at))


def test_columns_are_attacked_together_and_where_patients_are_alike_alone() -> None:
    stored = [
        {"a.day": frozenset({b"a.day=%d" % (number // 3)}), "a.id": frozenset({b"a.id=%d" % number})}
        for number in range(30)
    ]
    assert set(leakage.attacks_on(stored)) == {"all columns", "a.day"}
