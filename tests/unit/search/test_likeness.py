"""Names that were heard find the names that were meant, and few others."""

from pathlib import Path

import pytest
from faker.providers.person.en_US import Provider as American
from faker.providers.person.es_ES import Provider as Spanish
from faker.providers.person.vi_VN import Provider as Vietnamese
from hypothesis import given
from hypothesis import strategies as st

from clarity.domain.dates import PartialDate
from clarity.domain.errors import Invalid
from clarity.domain.likeness import SimilarQuery
from clarity.domain.names import HumanName, fold
from clarity.domain.patients import PatientQuery
from clarity.search.likeness import HeardName, HeardWord
from tests.builders import TODAY

MISHEARD = [
    (heard, meant)
    for meant, *variants in map(str.split, Path(__file__).with_name("misheard.txt").read_text("utf-8").splitlines())
    for heard in variants
]
"""How names are written by somebody who heard them, and how they were meant, folded."""

NAMES = sorted(
    {
        word
        for provider in (American, Spanish, Vietnamese)
        for kind in ("first_names", "first_names_male", "first_names_female", "last_names", "last_names_male")
        for name in getattr(provider, kind, ())
        for word in fold(name).split()
    }
)

words = st.text(st.sampled_from("abcdeghinostuy'é王小明محد1"), max_size=9).map(fold).filter(bool)


def likeness(heard: str, meant: str) -> float:
    """Return how much a word is like another."""
    return HeardWord.of(heard).likeness(meant)


def test_nine_of_ten_names_that_were_misheard_are_found() -> None:
    found = sum(likeness(heard, meant) > 0 for heard, meant in MISHEARD)
    assert found / len(MISHEARD) > 0.92


def test_few_others_are_taken_for_a_name() -> None:
    asked = NAMES[::40]
    others = sum(len(HeardWord.of(word).among(NAMES)) - 1 for word in asked)
    assert others / len(asked) < 7


@pytest.mark.parametrize(
    ("heard", "meant"),
    [
        ("katharine", "catherine"),
        ("shawn", "sean"),
        ("nwin", "nguyen"),
        ("garsia", "garcia"),
        ("smyth", "smith"),
        ("maier", "meyer"),
        ("محمود", "محمد"),
        ("王小朋", "王小明"),
    ],
)
def test_what_was_heard_is_like_what_was_meant(heard: str, meant: str) -> None:
    assert 0.5 < likeness(heard, meant) < 0.9


@pytest.mark.parametrize(
    ("heard", "other"), [("王", "李"), ("小明", "小红"), ("ng", "le"), ("a", "e"), ("😀", "😎"), ("12", "13")]
)
def test_short_words_are_like_what_holds_them_and_nothing_else(heard: str, other: str) -> None:
    assert likeness(heard, other) == 0
    assert likeness(heard, heard) == 1
    assert likeness(heard, f"{heard}{other}") == 0.95


@given(words, words)
def test_likeness_is_between_none_and_the_same(heard: str, word: str) -> None:
    found = likeness(heard, word)
    assert 0 <= found <= 1
    assert (found == 1) == (heard == word)
    assert (found >= 0.9) == (heard in word)
    assert found == 0 or found > 0.56


@given(words, st.lists(words, max_size=20))
def test_many_words_are_compared_as_one_is(heard: str, others: list[str]) -> None:
    one_by_one = {word: found for word in others if (found := likeness(heard, word))}
    assert HeardWord.of(heard).among(others) == one_by_one


@given(st.lists(words, min_size=1, max_size=3), st.lists(words, min_size=1, max_size=3), words)
def test_who_is_found_by_fragments_is_found_by_likeness_too(asked: list[str], given: list[str], family: str) -> None:
    text = " ".join(asked)
    if not any(map(str.isalnum, text)):
        return
    name = HumanName(family=family, given=tuple(given))
    score = HeardName.of(SimilarQuery(name=text)).score_of([name], TODAY, TODAY)
    exact = name.has(PatientQuery(name=text).fragments)
    assert (score >= 0.9) == exact


@pytest.mark.parametrize(
    ("born", "weight"),
    [
        ("1985-04-12", 1.0),
        ("1985-04", 1.0),
        ("1985", 1.0),
        ("1985-12-04", 0.55),
        ("1984-04-12", 0.55),
        ("1985-04-13", 0.55),
        ("1984-04-13", 0.5),
        ("1984", 0.5),
    ],
)
def test_a_birth_weighs_by_how_far_it_agrees(born: str, weight: float) -> None:
    query, day = SimilarQuery(name="Ada", born=PartialDate.parse(born)), PartialDate.parse("1985-04-12")
    assert query.weight_of_birth(day.first, day.last) == weight


@pytest.mark.parametrize(
    ("name", "rule"),
    [
        ("", "must not be empty"),
        (" \t", "must not be empty"),
        ("z" * 201, "must be at most 200 characters"),
        ("'-.,", "must have a letter"),
        ("%_;", "must have a letter"),
        ("a\0b", "must not contain control characters"),
        ("\ud800", "must not contain control characters"),
        ("a b c d e f g h i j k", "must have at most 10 words"),
    ],
)
def test_what_is_no_name_is_refused(name: str, rule: str) -> None:
    with pytest.raises(Invalid) as refused:
        SimilarQuery(name=name)
    assert (refused.value.field, refused.value.rule) == ("name", rule)


def test_nothing_that_was_heard_is_printed() -> None:
    heard = HeardName.of(SimilarQuery(name="zqcanary"))
    assert "zqcanary" not in f"{heard!r} {heard.query!r} {heard.words!r}"
