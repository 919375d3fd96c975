"""Search in texts that are at hand: what is found, in which order, and what of it is shown."""

import sqlite3
from time import process_time

import pytest

from clarity.application.ports import Text
from clarity.domain.errors import Invalid
from clarity.domain.full_text import Question, Snippet
from clarity.persistence.full_text import SqliteFullText

NOTES = [
    Text("Third visit", "Reports depression and insomnia. Started sertraline 50 mg."),
    Text("Intake", "Deprssion since youth; naïve to medication.\nPlan: follow-up in four weeks."),
    Text("Discharge", "Depressive episode resolved. Hallucinations denied."),
    Text("Sertraline 50 MG Oral Tablet", "for depressed mood"),
    Text("Call", "Weeks of rain, all four of them, and O'Brien won't fly to Kraków."),
]


def marked(snippet: Snippet) -> list[str]:
    return [snippet.text[start:end] for start, end in snippet.matches]


async def found(query: str, texts: list[Text] = NOTES, *, skip: int = 0, at_most: int = 10) -> list[int]:
    answer = await SqliteFullText().find(texts, Question.parse(query), skip=skip, at_most=at_most)
    return [one.place for one in answer.texts]


@pytest.mark.parametrize(
    ("query", "places"),
    [
        ("insomnia", {0}),
        ("DEPRESSION", {0, 1, 2, 3}),
        ('"depression"', {0, 2, 3}),
        ("depression insomnia", {0}),
        ("depressi*", {0, 2, 3}),
        ("in*", {0, 1}),
        ("hallucinaton", {2}),
        ("hallu*", {2}),
        ('"four weeks"', {1}),
        ("weeks four", {1, 4}),
        ("follow-up", {1}),
        ("follow-u*", {1}),
        ("naive", {1}),
        ("KRAKÓW", {4}),
        ("o'brien", {4}),
        ("50", {0, 3}),
        ("51", set()),
        ("setraline", {0, 3}),
        ("absent", set()),
        ("mood rain", set()),
    ],
)
async def test_what_has_all_terms_is_found_whatever_its_case_accents_and_endings(query: str, places: set[int]) -> None:
    assert set(await found(query)) == places


@pytest.mark.parametrize(
    "query", ["AND", "NOT mood", "NEAR(mood", "title:intake", "mood OR", "^mood", "{x}", "*x", "a+b"]
)
async def test_no_word_is_a_command(query: str) -> None:
    await found(query)


async def test_what_is_spelt_as_asked_stands_first_and_titles_weigh_more() -> None:
    answer = await SqliteFullText().find(NOTES, Question.parse("sertraline"), skip=0, at_most=10)
    assert [(one.place, one.as_spelt) for one in answer.texts] == [(3, True), (0, True)]
    assert marked(answer.texts[0].title) == ["Sertraline"]
    assert marked(answer.texts[1].body) == ["sertraline"]
    answer = await SqliteFullText().find(NOTES, Question.parse("depression"), skip=0, at_most=10)
    assert [(one.place, one.as_spelt) for one in answer.texts][-1] == (1, False)
    assert marked(answer.texts[-1].body) == ["Deprssion"]


async def test_pages_follow_each_other_and_count_all() -> None:
    texts = [Text(f"Visit {number}", "calm") for number in range(7)]
    pages = [await SqliteFullText().find(texts, Question.parse("calm"), skip=skip, at_most=3) for skip in (0, 3, 6, 9)]
    assert [[one.place for one in page.texts] for page in pages] == [[0, 1, 2], [3, 4, 5], [6], []]
    assert {page.count for page in pages} == {7}


async def test_a_match_deep_in_a_long_text_is_shown_also_across_what_is_looked_at_at_a_time() -> None:
    for lead in range(1_700, 2_100, 7):
        body = "x " * (lead // 2) + "early morning waking " + "y " * 3_000
        answer = await SqliteFullText().find([Text("", body)], Question.parse('"morning waking"'), skip=0, at_most=1)
        assert marked(answer.texts[0].body) == ["morning waking"], lead


async def test_many_matches_in_a_long_text_take_no_more_than_their_number() -> None:
    body = "mood was low " * 70_000
    began = process_time()
    answer = await SqliteFullText().find([Text("", body)], Question.parse("mood"), skip=0, at_most=1)
    assert marked(answer.texts[0].body)[:2] == ["mood", "mood"]
    assert process_time() - began < 2


async def test_what_the_index_says_of_a_query_is_not_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise sqlite3.OperationalError("fts5: syntax error near CANARY")

    monkeypatch.setattr("clarity.persistence.full_text.sqlite3.connect", broken)
    with pytest.raises(Invalid) as raised:
        await found("CANARY")
    assert "CANARY" not in str(raised.value)
    assert raised.value.__suppress_context__
