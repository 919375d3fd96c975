"""Whoever a plain scan finds by a name that was heard, the index finds, whatever changed meanwhile."""

import asyncio
from collections.abc import Collection, Iterable
from dataclasses import replace
from datetime import UTC, datetime
from random import Random
from uuid import UUID

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from clarity.application.pages import COUNTED_EXACTLY
from clarity.application.ports.search import FoundAlike, Reach
from clarity.domain.dates import PartialDate
from clarity.domain.ids import PatientId
from clarity.domain.likeness import SimilarQuery
from clarity.domain.names import HumanName
from clarity.domain.patients import PatientCard, PatientQuery, PatientStatus
from clarity.domain.records import Label
from clarity.search.index import NameIndex
from clarity.search.likeness import HeardName
from tests.unit.search.test_index import EVERYBODY, Clinic, Person, batched, changes, ids, reaches

HEARD = (
    "garsia",
    "Garcia Marques",
    "obrian",
    "Ana",
    "anna marie",
    "a",
    "ab",
    "nguyen",
    "王小明",
    "小",
    "محمود",
    "straus",
    "x" * 70,
)
SMITH = HumanName(family="Smith", given=("Ann",))
queries = st.builds(
    lambda name, born: SimilarQuery(name=name, born=PartialDate.parse(born) if born else None),
    st.sampled_from(HEARD),
    st.sampled_from(["", "2004-02-29", "2003"]),
)


def scanned(
    people: Iterable[Person], query: SimilarQuery, reach: Reach, allowed: Collection[PatientId], at_most: int
) -> tuple[list[PatientId], int]:
    """Return who is most like it, and how many are, by comparing everybody."""
    heard = HeardName.of(query)
    ranked = []
    for person in people:
        card = person.card
        if person.label not in reach.free | (reach.judged if card.id in allowed else frozenset()):
            continue
        if reach.among is not None and card.id not in reach.among:
            continue
        if score := heard.score_of(card.names, card.born.first, card.born.last):
            ranked.append((-score, card.sort_key(PatientQuery()), card.id))
    return [patient for _, _, patient in sorted(ranked)[:at_most]], len(ranked)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(st.data())
def test_whatever_changed_the_index_finds_who_is_alike(data: st.DataObject) -> None:
    asyncio.run(_compared(data))


async def _compared(data: st.DataObject) -> None:
    clinic = Clinic(NameIndex(segment_rows=data.draw(st.sampled_from([4, 9, 8_192])), leaf_changes=3))
    told = {change.id: change for change in map(clinic.change, data.draw(changes))}
    await clinic.index.load(batched(list(told.values())))
    await clinic.index.apply([clinic.change(change) for change in data.draw(changes)])
    allowed = data.draw(st.frozensets(ids, max_size=12))

    async def judge(doubtful: Collection[PatientId]) -> Collection[PatientId]:
        assert 0 < len(doubtful) <= 256
        return [patient for patient in doubtful if patient in allowed]

    for query in data.draw(st.lists(queries, min_size=3, max_size=6)):
        reach = data.draw(reaches)
        for at_most in (1, 3, 50):
            expected, count = scanned(clinic.people.values(), query, reach, allowed, at_most)
            found = await clinic.index.similar(query, reach, at_most=at_most, judge=judge)
            assert found == FoundAlike(patients=tuple(expected), count=count, exact=True)


async def test_whoever_is_out_of_reach_is_like_nobody_and_whoever_is_in_doubt_is_judged() -> None:
    index, chance = NameIndex(), Random(7)
    one, other, doubtful, hidden = (
        Person(card=replace(a_card(chance), names=(SMITH,)), status=PatientStatus.ACTIVE, label=label, version=1)
        for label in (Label.NORMAL, Label.NORMAL, Label.RESTRICTED, Label.PSYCHOTHERAPY)
    )
    await index.load(batched([person.entry for person in (one, other, doubtful, hidden)]))
    allowed = {doubtful.card.id}

    async def judge(asked: Collection[PatientId]) -> Collection[PatientId]:
        assert list(asked) == [doubtful.card.id]
        return allowed & set(asked)

    async def found(among: frozenset[PatientId] | None) -> set[PatientId]:
        reach = Reach(frozenset({Label.NORMAL}), frozenset({Label.RESTRICTED}), among)
        page = await index.similar(SimilarQuery(name="smyth"), reach, at_most=50, judge=judge)
        assert page.count == len(page.patients)
        return set(page.patients)

    assert await found(None) == {one.card.id, other.card.id, doubtful.card.id}
    assert await found(frozenset({one.card.id, doubtful.card.id, hidden.card.id})) == {one.card.id, doubtful.card.id}
    allowed.clear()
    assert await found(None) == {one.card.id, other.card.id}


async def test_of_more_than_are_counted_the_best_are_still_found() -> None:
    index = NameIndex(segment_rows=64, leaf_changes=3)
    chance = Random(7)
    entries = {
        (one := Person(card=a_card(chance), status=PatientStatus.ACTIVE, label=Label.NORMAL, version=1)).card.id: one
        for _ in range(3 * COUNTED_EXACTLY)
    }
    await index.load(batched([person.entry for person in entries.values()], 500))
    for heard in ("smith", "smyth", "a", "ab smith", "li", "smithsonian"):
        query = SimilarQuery(name=heard, born=PartialDate(1985))
        for at_most in (3, 50):
            expected, count = scanned(entries.values(), query, EVERYBODY, (), at_most)
            found = await index.similar(query, EVERYBODY, at_most=at_most, judge=nobody)
            assert found.patients == tuple(expected), heard
            assert (found.count, found.exact) == (min(count, COUNTED_EXACTLY), count <= COUNTED_EXACTLY), heard


async def nobody(doubtful: Collection[PatientId]) -> Collection[PatientId]:
    """Find that nobody may be found of whom that is in doubt."""
    del doubtful
    return ()


def a_card(chance: Random) -> PatientCard:
    """Return somebody called more or less like others."""
    family = "".join(chance.choice(letters) for letters in ("s", "mn", "iy", "tdh", ("h", "", "hson")))
    given = "".join(chance.choice(letters) for letters in ("abl", "ib", ("", "na", "a")))
    return PatientCard(
        id=PatientId(UUID(int=chance.getrandbits(128))),
        names=(HumanName(family=family, given=(given,)),),
        born=PartialDate(chance.randint(1980, 1990)),
        changed_at=datetime(2024, 1, 1, tzinfo=UTC),
    )
