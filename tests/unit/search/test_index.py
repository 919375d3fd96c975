"""The index of names finds who a plain scan would find, in its order, whatever changed meanwhile."""

import asyncio
import gc
from collections.abc import AsyncIterator, Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from time import thread_time
from typing import TypeVar
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from clarity.application.pages import COUNTED_EXACTLY
from clarity.application.ports.search import (
    Absence,
    Found,
    IndexChange,
    IndexEntry,
    IndexGap,
    Reach,
    instant_in_tally,
)
from clarity.domain.dates import PartialDate, microseconds_of
from clarity.domain.ids import PatientId
from clarity.domain.names import HumanName, NameUse
from clarity.domain.patients import PatientCard, PatientQuery, PatientSort, PatientStatus, called_by
from clarity.domain.people import BirthSex, Gender
from clarity.domain.records import Label
from clarity.search.index import NameIndex
from clarity.search.question import Question
from clarity.search.segments import KeptPart

Value = TypeVar("Value")

TODAY = date(2024, 2, 29)
EVERYBODY = Reach(frozenset(Label), frozenset())


@dataclass(frozen=True, kw_only=True)
class Person:
    """A patient as a search that opens records sees them."""

    card: PatientCard
    status: PatientStatus
    label: Label
    version: int

    @property
    def entry(self) -> IndexEntry:
        card = self.card
        family, given_ = called_by(card.names).sort_key
        first = called_by(card.names).search_text
        others = [name.search_text for name in card.names if name is not called_by(card.names)]
        return IndexEntry(
            id=card.id.bytes,
            version=self.version,
            family=family,
            given=given_,
            names=(first, *others),
            born_first=card.born.first.toordinal(),
            born_last=card.born.last.toordinal(),
            status=self.status,
            label=self.label,
            gender=card.gender,
            birth_sex=card.birth_sex,
            changed=microseconds_of(card.changed_at),
        )


def scanned(
    people: Iterable[Person],
    query: PatientQuery,
    reach: Reach,
    allowed: Collection[PatientId],
    after: tuple[str, ...] | None,
    at_most: int,
    counted_exactly: int,
) -> Found:
    """Return what `find` should: everybody is compared, and everything sorted."""
    matches = sorted(
        (
            (person.card.sort_key(query), person.card.id)
            for person in people
            if person.card.matches(query, TODAY)
            and query.status in {None, person.status}
            and (person.label in reach.free or (person.label in reach.judged and person.card.id in allowed))
            and (reach.among is None or person.card.id in reach.among)
        ),
        reverse=query.descending,
    )
    behind = [
        match for match in matches if after is None or (match[0] < after if query.descending else match[0] > after)
    ]
    return Found(
        patients=tuple(patient for _, patient in behind[:at_most]),
        keys=tuple(key for key, _ in behind[:at_most]),
        count=min(len(matches), counted_exactly),
        exact=len(matches) <= counted_exactly,
        more=len(behind) > at_most,
    )


async def found(
    index: NameIndex,
    query: PatientQuery,
    reach: Reach = EVERYBODY,
    *,
    allowed: Collection[PatientId] = (),
    after: tuple[str, ...] | None = None,
    at_most: int = 50,
) -> Found:
    async def judge(doubtful: Collection[PatientId]) -> Collection[PatientId]:
        assert 0 < len(doubtful) <= 256
        return [patient for patient in doubtful if patient in allowed]

    return await index.find(Question.of(query, TODAY), reach, after=after, at_most=at_most, judge=judge)


async def batched(changes: Sequence[IndexChange], size: int = 5) -> AsyncIterator[Sequence[IndexChange]]:
    for low in range(0, len(changes), size):
        yield changes[low : low + size]


PARTS = (
    "García Márquez", "garcia", "O'Brien", "O’Brien", "D'Amore-Smith", "STRAUẞ", "Łukasz", "Søren", "Nguyễn Thị",
    "مُحَمَّد", "محـــمد", "王", "小明", "김", "민준", "ｱｲｳ", "ﬁne", "Æsop", "👩‍⚕️", "%_", "'; DROP TABLE patients;--", "\\",
    "a", "aa", "ab", "ba", "Ana", "", "'", "e\u0301", "x" * 70, "Anna-Maria", "ÿ", "ﷺ",
)  # fmt: skip
texts = st.one_of(st.sampled_from(PARTS), st.text(st.sampled_from("abÁ-' 王م"), max_size=6))
names = st.builds(
    lambda family, given_, text, use: HumanName(family=family, given=given_, text=text.strip() or "?", use=use),
    texts,
    st.lists(texts, max_size=2).map(tuple),
    texts,
    st.sampled_from([None, NameUse.OFFICIAL, NameUse.OLD, NameUse.MAIDEN]),
)
days = st.dates(date(1890, 1, 1), date(2024, 3, 1)) | st.sampled_from([date(2004, 2, 29), date(2003, 2, 28), TODAY])
births = st.one_of(
    days.map(PartialDate.of),
    days.map(lambda day: PartialDate(day.year)),
    days.map(lambda day: PartialDate(day.year, 2)),
)
ids = st.integers(0, 30).map(lambda number: PatientId(UUID(int=(number % 5) << 64 | number // 5)))
people = st.builds(
    Person,
    card=st.builds(
        PatientCard,
        id=ids,
        names=st.lists(names, min_size=1, max_size=3).map(tuple),
        born=births,
        gender=st.sampled_from(Gender),
        birth_sex=st.sampled_from([None, *BirthSex]),
        changed_at=st.integers(0, 3).map(lambda second: datetime(2024, 1, 1, tzinfo=UTC) + timedelta(seconds=second)),
    ),
    status=st.sampled_from([PatientStatus.ACTIVE, PatientStatus.DISCHARGED, PatientStatus.DECEASED]),
    label=st.sampled_from(Label),
    version=st.just(1),
)


def mostly_not(values: Iterable[Value]) -> st.SearchStrategy[Value | None]:
    """Return one of the values or, mostly, none: conditions add up, and few would be left to compare."""
    return st.sampled_from([*values, *(None for _ in range(12))])


queries = st.builds(
    lambda name, ages, born, **conditions: PatientQuery(
        name=name, min_age=ages[0], max_age=ages[1], born_from=born[0], born_to=born[1], **conditions
    ),
    st.one_of(
        st.just(""),
        texts,
        st.tuples(texts, texts).map(" ".join),
        st.sampled_from(["a b", "b", "م", "小", "an ga", "王小"]),
    ),
    st.sampled_from([*[(None, None)] * 5, (0, 20), (20, None), (None, 20), (119, 150)]),
    st.one_of(*[st.just((None, None))] * 5, st.tuples(days, days).map(sorted), st.tuples(days, st.none())),
    gender=mostly_not(Gender),
    birth_sex=mostly_not(BirthSex),
    status=mostly_not([PatientStatus.ACTIVE, PatientStatus.DECEASED]),
    sort=st.sampled_from(PatientSort),
    descending=st.booleans(),
)
labels = st.frozensets(st.sampled_from(Label))
reaches = st.one_of(st.just(EVERYBODY), st.builds(Reach, labels, labels, st.none() | st.frozensets(ids, max_size=12)))
# Somebody as they are from now on, or that they are not there any more.
changes = st.lists(people | st.tuples(ids, st.sampled_from(Absence)), min_size=4, max_size=60)


class Clinic:
    """The people and the index, in step."""

    def __init__(self, index: NameIndex) -> None:
        self.index = index
        self.people: dict[PatientId, Person] = {}
        self.unopened: dict[PatientId, int] = {}
        self.versions: dict[PatientId, int] = {}

    def change(self, change: Person | tuple[PatientId, Absence]) -> IndexChange:
        """Change somebody, and return what the index is told."""
        patient = change.card.id if isinstance(change, Person) else change[0]
        version = self.versions[patient] = self.versions.get(patient, 0) + 1
        self.people.pop(patient, None)
        self.unopened.pop(patient, None)
        if isinstance(change, Person):
            person = self.people[patient] = replace(change, version=version)
            return person.entry
        if change[1] is Absence.UNOPENED:
            self.unopened[patient] = version
        return IndexGap(patient.bytes, version, change[1], changed=version)

    def check(self) -> None:
        """Compare what is counted."""
        assert self.index.size == len(self.people)
        assert self.index.unopened == {patient.bytes for patient in self.unopened}
        versions = [person.version for person in self.people.values()]
        instants = [person.entry.changed for person in self.people.values()]
        assert self.index.tally() == (
            len(self.people) + len(self.unopened),
            sum(versions) + sum(self.unopened.values()),
            sum(map(instant_in_tally, (*instants, *self.unopened.values()))),
        )


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(st.data())
def test_whatever_changed_the_index_finds_what_a_scan_finds(data: st.DataObject) -> None:
    asyncio.run(_compared(data))


@pytest.mark.soak
@settings(max_examples=1_000, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(st.data())
def test_whatever_changed_for_long_the_index_finds_what_a_scan_finds(data: st.DataObject) -> None:
    asyncio.run(_compared(data))


async def _compared(data: st.DataObject) -> None:
    bound = data.draw(st.sampled_from([3, COUNTED_EXACTLY]))
    index = NameIndex(
        segment_rows=data.draw(st.sampled_from([4, 16, 8_192])),
        leaf_changes=data.draw(st.sampled_from([3, 50])),
        counted_exactly=bound,
    )
    clinic = Clinic(index)
    told = [clinic.change(change) for change in data.draw(changes)]
    latest = {change.id: change for change in told}
    await clinic.index.load(batched(list(latest.values())))
    clinic.check()
    for _ in range(data.draw(st.integers(1, 3))):
        told = [clinic.change(change) for change in data.draw(changes)]
        for low in range(0, len(told), 7):
            await clinic.index.apply(told[low : low + 7])
        clinic.check()
    restored = NameIndex(segment_rows=4, leaf_changes=3, counted_exactly=bound)
    await restored.restore([KeptPart.of_bytes(part.to_bytes()) for part in clinic.index.parts()])
    assert restored.tally() == clinic.index.tally()
    for query in data.draw(st.lists(queries, min_size=3, max_size=6)):
        reach = data.draw(reaches)
        allowed = data.draw(st.frozensets(ids, max_size=12))
        after = None
        for at_most in (1, 3, 50):
            expected = scanned(clinic.people.values(), query, reach, allowed, after, at_most, bound)
            for tried in (index, restored):
                assert await found(tried, query, reach, allowed=allowed, after=after, at_most=at_most) == expected
            after = expected.keys[-1] if expected.keys else after


def entry_of(number: int, name: str, *, version: int = 1, label: Label = Label.NORMAL, changed: int = 0) -> IndexEntry:
    """Return somebody with a family and a given name, "Lovelace Ada"."""
    family, _, given_ = name.lower().partition(" ")
    return IndexEntry(
        id=(number << 64 | number * 7919).to_bytes(16, "big"),
        version=version,
        family=family,
        given=given_,
        names=(f"{given_} {family}".strip(),),
        born_first=720_000 + number % 40,
        born_last=720_000 + number % 40,
        status=PatientStatus.ACTIVE,
        label=label,
        gender=Gender.FEMALE,
        birth_sex=None,
        changed=changed,
    )


def crowd(size: int) -> list[IndexEntry]:
    """Return people with names of all kinds of lengths and letters, some of them common."""
    families = ["smith", *(f"{chr(97 + n % 26)}{'aeiou'[n % 5]}{chr(97 + n // 26 % 26)}son" for n in range(700))]
    givens = ["maria", "michael", *(f"{'bcdfgh'[n % 6]}{'aeiou'[n % 5]}{n % 7}{chr(97 + n % 23)}a" for n in range(300))]
    return [
        entry_of(n, f"{families[n * n % 7919 % len(families)]} {givens[n * 31 % len(givens)]}", changed=n % 5)
        for n in range(size)
    ]


async def test_of_somebody_taken_away_no_text_stays() -> None:
    index = NameIndex()
    await index.load(batched([entry_of(1, "Lovelace Ada"), entry_of(2, "Hopper Grace")]))
    for why in (Absence.FORGOTTEN, Absence.DELETED, Absence.UNOPENED):
        await index.apply([entry_of(1, "Lovelace Ada", version=2)])
        await index.apply([entry_of(3, "Lovelace Ada")])
        await index.apply([IndexGap(entry_of(1, "").id, 3, why), IndexGap(entry_of(3, "").id, 1, why)])
        assert not [part for part in index.parts() if b"lovelace" in part.to_bytes()]
        assert not [leaf for leaf in index.leaves if b"lovelace" in leaf.segment.columns.text + leaf.young.text]
        index = NameIndex()
        await index.load(batched([entry_of(1, "Lovelace Ada"), entry_of(2, "Hopper Grace")]))


async def test_what_comes_last_counts_whatever_its_version() -> None:
    index = NameIndex()
    await index.apply([entry_of(1, "Lovelace Ada", version=5), entry_of(1, "Byron Ada", version=4)])
    assert index.tally()[:2] == (1, 4)
    assert (await found(index, PatientQuery(name="byron"))).count == 1
    await index.apply([IndexGap(entry_of(1, "").id, 6, Absence.FORGOTTEN)])
    assert index.tally() == (0, 0, 0)
    await index.apply([entry_of(1, "Lovelace Ada", version=5)])
    assert (await found(index, PatientQuery(name="lovelace"))).count == 1
    await index.apply([IndexGap(entry_of(1, "").id, 3, Absence.DELETED)])
    assert index.tally() == (0, 0, 0)


async def test_a_search_sees_the_state_in_which_it_began() -> None:
    index = NameIndex(segment_rows=4)
    await index.load(batched([entry_of(n, "Lovelace Ada", label=Label.RESTRICTED) for n in range(12)]))

    async def judge(doubtful: Collection[PatientId]) -> Collection[PatientId]:
        await index.apply([IndexGap(entry_of(n, "").id, 2, Absence.DELETED) for n in range(12)])
        return doubtful

    reach = Reach(frozenset(), frozenset({Label.RESTRICTED}))
    question = Question.of(PatientQuery(name="ada"), TODAY)
    assert (await index.find(question, reach, after=None, at_most=50, judge=judge)).count == 12
    assert (await index.find(question, reach, after=None, at_most=50, judge=judge)).count == 0


async def test_those_in_doubt_are_judged_a_few_at_a_time_and_once() -> None:
    index = NameIndex()
    await index.load(batched([entry_of(n, "Lovelace Ada", label=Label.RESTRICTED) for n in range(3_000)], 500))
    asked: list[PatientId] = []

    async def judge(doubtful: Collection[PatientId]) -> Collection[PatientId]:
        assert len(doubtful) <= 256
        asked.extend(doubtful)
        return [patient for patient in doubtful if patient.int % 7]

    for sort in PatientSort:
        asked.clear()
        question = Question.of(PatientQuery(name="ada", sort=sort), TODAY)
        reach = Reach(frozenset(), frozenset({Label.RESTRICTED}))
        page = await index.find(question, reach, after=None, at_most=50, judge=judge)
        assert (page.count, page.exact, len(page.patients)) == (COUNTED_EXACTLY, False, 50)
        assert all(patient.int % 7 for patient in page.patients)
        assert len(asked) == len(set(asked)) < 2_500


@pytest.mark.parametrize("sort", PatientSort)
@pytest.mark.parametrize("descending", [False, True])
async def test_pages_of_many_follow_each_other(sort: PatientSort, *, descending: bool) -> None:
    index, everybody = NameIndex(segment_rows=512), crowd(4_000)
    await index.load(batched(everybody, 500))
    await index.apply([entry_of(n, "smithson zoe", changed=n % 5) for n in range(4_000, 4_100)])
    query = PatientQuery(name="s", sort=sort, descending=descending)
    pages: list[tuple[str, ...]] = []
    after = None
    while True:
        page = await found(index, query, after=after, at_most=97)
        pages += page.keys
        if not page.more:
            break
        after = page.keys[-1]
    matches = [entry for entry in everybody if "s" in entry.names[0]]
    assert len(set(pages)) == len(pages) == len(matches) + 100
    assert pages == sorted(pages, reverse=descending)


async def test_no_step_is_long_and_no_patient_takes_much_memory() -> None:
    """The bounds are generous for a busy machine; the benchmark has the figures."""
    everybody, index, longest = crowd(30_000), NameIndex(), 0.0

    async def watch() -> None:
        nonlocal longest
        while True:
            began = thread_time()
            await asyncio.sleep(0)
            longest = max(longest, thread_time() - began)

    gc.collect()
    gc.disable()  # what other tests left behind is not a step of the index
    try:
        watching = asyncio.create_task(watch())
        await index.load(batched(everybody, 500))
        await index.apply([renamed(entry) for entry in everybody[:500]])
        for name in ("", "s", "qx", "mari", "smith", "a e"):
            for sort in PatientSort:
                await found(index, PatientQuery(name=name, sort=sort, min_age=1))
        watching.cancel()
    finally:
        gc.enable()
    assert longest < 0.02
    assert index.memory() / index.size < 120


def renamed(entry: IndexEntry) -> IndexEntry:
    return entry._replace(version=entry.version + 1, family="renamed", names=(f"{entry.given} renamed",))
