"""What is looked for in texts, and what of a text is shown."""

import pytest

from clarity.domain.errors import Invalid
from clarity.domain.full_text import MAX_QUERY, Question, Span, Term, snippet_of


def test_words_phrases_and_beginnings_are_asked_for() -> None:
    asked = Question.parse('Sleep "early  waking" depr* sleep - "open')
    assert [(one.text, one.begins, one.quoted) for one in asked.terms] == [
        ("sleep", False, False),
        ("early  waking", False, True),
        ("depr", True, False),
        ("open", False, True),
    ]


@pytest.mark.parametrize("query", ["", "  ", '""', "-- ?", "a*", "x" * (MAX_QUERY + 1), "a\x00b", "\ud800", "a b " * 9])
def test_what_asks_for_nothing_or_too_much_is_refused(query: str) -> None:
    if query == "a b " * 9:
        query = " ".join(map(str, range(17)))
    with pytest.raises(Invalid, match="query"):
        Question.parse(query)


@pytest.mark.parametrize(
    ("term", "typos"),
    [
        (Term(text="mood"), 0),
        (Term(text="sleep"), 1),
        (Term(text="insomnia"), 2),
        (Term(text="insomnia", quoted=True), 0),
        (Term(text="insomnia", begins=True), 0),
        (Term(text="f32.10000"), 0),
    ],
)
def test_longer_words_may_be_misspelt(term: Term, typos: int) -> None:
    assert term.typos == typos
    assert term.text not in repr(term)


def test_a_snippet_shows_where_most_of_it_stands() -> None:
    text = "one " * 100 + "here\nhere " + "two " * 200 + "here"
    places = [at for at in range(len(text)) if text.startswith("here", at)]
    found = snippet_of(text, tuple(Span(at, at + 4) for at in places))
    assert [found.text[start:end] for start, end in found.matches] == ["here", "here"]
    assert found.text.startswith("…one")
    assert found.text.endswith("two…")
    assert "\n" not in found.text
    assert len(found.text) < 300


@pytest.mark.parametrize("text", ["", "short", "x" * 5_000, "é" * 300 + " end"])
def test_a_snippet_of_what_has_no_match_is_its_beginning(text: str) -> None:
    found = snippet_of(text, ())
    assert found.matches == ()
    assert text.startswith(found.text.removesuffix("…"))


def test_a_match_that_is_longer_than_a_snippet_ends_with_it() -> None:
    (shown,) = snippet_of("a" * 100 + " " + "b" * 1_000, (Span(101, 1_101),)).matches
    assert 0 < shown.start < shown.end <= 300
