"""What Clarity is measured beside keeps the same of the same people, and what comes of it is computed as it says."""

import asyncio
import json
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib import import_module
from typing import Any
from uuid import UUID

import pytest
from uuid_utils.compat import uuid7

from benchmarks import service
from benchmarks.measuring import Bound, Spread, arguments, closed, in_turns, missed, ratios, said, told
from benchmarks.peers import PAGE, Listed, Place, is_there, orm, raw
from benchmarks.people import People, Person
from benchmarks.places import identified
from benchmarks.side import Job, Tasks
from clarity.domain.identifiers import IdentifierKind
from clarity.domain.ids import PatientId

AT = datetime(2026, 3, 14, 9, 26, tzinfo=UTC)


class MemoryPeer:
    """A side that keeps people in memory, and remembers what it was asked."""

    def __init__(self, people: Sequence[tuple[UUID, Person]]) -> None:
        """Have some people."""
        self.people = dict(people)
        self.read_ids: list[UUID] = []
        self.pages: list[str] = []
        self.lines: list[str] = []
        self.made: list[Person] = []

    async def prepare(self) -> None: ...

    async def load(self, people: Sequence[tuple[UUID, Person]]) -> None: ...

    async def read(self, identity: UUID) -> Person:
        self.read_ids.append(identity)
        return self.people[identity]

    async def page(self, after: str) -> Listed:
        self.pages.append(after)
        behind = sorted(one for one in self.people if str(one) > after)
        items = [plain(one, self.people[one]) for one in behind[:PAGE]]
        return Listed(items, len(self.people), str(behind[PAGE - 1]) if len(behind) > PAGE else "")

    async def create(self, person: Person, identity: UUID) -> None:
        assert identity not in self.people
        self.made.append(person)

    async def update(self, identity: UUID, line: str) -> None:
        assert identity in self.people
        self.lines.append(line)


def plain(identity: UUID, person: Person) -> raw.PlainPatient:
    return raw.PlainPatient(*raw.row_of(identity, person, AT))


def job(people: Sequence[tuple[UUID, Person]]) -> Job:
    return Job("memory", Place("", "", ""), [str(one) for one, _ in people], len(people), 7)


async def test_a_load_does_each_thing_once_and_never_more_at_a_time_than_it_should() -> None:
    done: Counter[int] = Counter()
    now = most = 0

    async def operation(number: int) -> None:
        nonlocal now, most
        now += 1
        most = max(most, now)
        await asyncio.sleep(0.001)
        now -= 1
        done[number] += 1

    load = await closed(operation, 4, 50, first=10)
    assert done == Counter(range(10, 60))
    assert most == 4
    assert load.count == 50
    assert load.per_s == pytest.approx(50 / load.seconds, rel=0.1)
    assert 0 <= load.p50_ms <= load.p95_ms <= load.p99_ms <= 1000 * load.seconds
    assert 0 <= load.cpu_ms_each * 50 <= 1000 * load.seconds + 50


async def test_a_load_that_fails_says_so() -> None:
    async def operation(number: int) -> None:
        raise LookupError(number)

    with pytest.raises(LookupError):
        await closed(operation, 2, 5)


def test_each_round_has_every_side_once_and_another_begins() -> None:
    turns = list(in_turns(["a", "b", "c"], 4))
    assert turns[:6] == [(0, "a"), (0, "b"), (0, "c"), (1, "b"), (1, "c"), (1, "a")]
    assert turns[9:] == [(3, "a"), (3, "b"), (3, "c")]


def test_ratios_are_of_rounds_and_their_median_counts() -> None:
    spread = ratios([10, 30, 20], [10, 10, 10])
    assert spread == Spread(2.0, 1.0, 3.0, (1.0, 3.0, 2.0))


def test_bounds_hold_at_their_ends_and_what_was_not_measured_misses_nothing() -> None:
    bounds = {"a": Bound(at_least=2), "b": Bound(at_most=0.8), "c": Bound(at_least=1)}
    assert missed({"a": 2, "b": 0.8, "c": None}, bounds) == []
    assert missed({"a": 1.99, "b": 0.81}, bounds) == ["a", "b"]
    assert [str(bound) for bound in bounds.values()] == ["at least 2", "at most 0.8", "at least 1"]


@pytest.mark.parametrize(("asked", "code"), [(["--json"], 1), (["--json", "--quick"], 0), ([], 1)])
def test_only_a_whole_run_is_judged(asked: list[str], code: int, capsys: pytest.CaptureFixture[str]) -> None:
    options = arguments("What it measures.\n\nMore.").parse_args(asked)
    found = told({"a": 1.0}, {"a": Bound(at_least=2)}, options, rounds=1)

    def show(found: Mapping[str, Any]) -> None:
        sys.stdout.write(f"{found['a']} beside\n")

    assert said(found, options, show) == code
    printed = capsys.readouterr().out
    if options.json:
        assert json.loads(printed) == found
        assert found["bounds"] == {"a": {"at_least": 2}}
        assert found["missed"] == ([] if options.quick else ["a"])
    else:
        assert "at least 2" in printed
        assert printed.endswith("1.0 beside\nmissed: a\n")


def test_people_have_numbers_of_their_own_and_every_side_keeps_the_same_of_them() -> None:
    people = list(People(1_300).some(0, 1_300))
    for name in ("mrn", "ssn", "phone", "email"):
        assert len({getattr(person, name) for person in people}) == 1_300
    identity, person = uuid7(), people[1_234]
    row, content = plain(identity, person), orm.content_of(person)
    assert content == {name: getattr(row, name) for name in content}
    patient = person.patient(PatientId(identity), with_ssn=True)
    assert {one.kind: one.value for one in patient.identifiers} == {
        IdentifierKind.MRN: row.mrn,
        IdentifierKind.SSN: row.ssn,
    }
    assert len(person.patient(PatientId(identity)).identifiers) == 1
    [home] = patient.addresses
    assert (patient.name.family, *patient.name.given) == (row.family, row.given)
    assert (*home.lines, home.city, home.state, home.postal_code) == (row.line, row.city, row.state, row.postal_code)
    assert [telecom.value for telecom in patient.telecoms] == [row.phone, row.email]
    assert patient.notes == row.notes


def test_the_tables_of_the_orm_have_a_column_for_everything_and_one_for_each_number() -> None:
    patients, numbers = (each.__table__ for each in (orm.Patient, orm.Identifier))
    assert {*patients.columns.keys(), "mrn", "ssn"} == set(raw.COLUMNS)
    assert set(numbers.columns.keys()) == {"id", "patient_id", "kind", "value"}


@pytest.mark.skipif(not is_there("encrypted"), reason="what it is measured beside is not installed")
def test_what_is_known_of_a_patient_stands_in_encrypted_columns_that_open_again() -> None:
    encrypted = import_module("benchmarks.peers.encrypted")
    columns = encrypted.Patient.__table__.columns
    inside = {column.name for column in columns if type(column.type).__name__ == "StringEncryptedType"}
    assert inside == set(orm.content_of(next(People(1).some(0, 1)))) - {"status"}
    dialect = orm.engine_of("postgresql+asyncpg://@/nowhere").dialect
    family, number = columns["family"].type, encrypted.Identifier.__table__.columns["value"].type
    first, second = (family.process_bind_param("Lovelace", dialect) for _ in range(2))
    assert "Lovelace" not in first
    assert first != second
    assert family.process_result_value(first, dialect) == "Lovelace"
    # What has to be found and unique always becomes the same.
    assert number.process_bind_param("123", dialect) == number.process_bind_param("123", dialect)


async def test_every_side_is_asked_for_the_same_in_the_same_order() -> None:
    people = list(identified(People(120)))
    sides = [MemoryPeer(people), MemoryPeer(people)]
    for peer in sides:
        tasks = Tasks(peer, job(people))
        await tasks.first()
        assert (await tasks.run({"do": "warm"}))["pages"] == 3
        for what, in_flight, count in (("read", 2, 10), ("read", 1, 20), ("page", 2, 5), ("update", 2, 6)):
            load = await tasks.run({"do": what, "in_flight": in_flight, "count": count})
            assert (load["count"], load["in_flight"]) == (count, in_flight)
            assert load["memory_bytes"] > 0
    ours, theirs = sides
    assert ours.read_ids == theirs.read_ids
    assert set(ours.read_ids[1:121]) == set(ours.people)  # everybody, before anything counts
    assert ours.pages == theirs.pages
    assert set(ours.pages) == {"", *(str(sorted(ours.people)[place]) for place in (49, 99))}
    assert len(set(ours.lines)) == len(ours.lines) == 6 + 3


async def test_nobody_is_created_twice_nor_was_there_before() -> None:
    people = list(identified(People(40)))
    peer = MemoryPeer(people)
    tasks = Tasks(peer, job(people))
    for count in (5, 7):
        await tasks.run({"do": "create", "in_flight": 3, "count": count})
    numbers = [person.number for person in peer.made]
    assert numbers == list(range(40, 40 + 5 + 2 + 7 + 3))


async def test_a_look_tells_whose_records_came() -> None:
    people = list(identified(People(60)))
    look = await Tasks(MemoryPeer(people), job(people)).run({"do": "look"})
    first = sorted(people)[:PAGE]
    assert look["total"] == 60
    assert look["ids"] == [str(identity) for identity, _ in first]
    assert look["families"] == [person.family for _, person in first]


def answers(per_s: float, cpu_ms: float, alone_ms: float) -> service.Answers:
    """Return what a side might have answered in two rounds, the second of half the speed."""
    return {
        load.name: [
            {"per_s": per_s / slower, "cpu_ms_each": cpu_ms, "p50_ms": alone_ms * slower, "connections": 15}
            for slower in (1, 2)
        ]
        for load in service.LOADS
    }


def test_figures_stand_for_ours_over_the_peers() -> None:
    rates, processor = service.compared({"ours": answers(300, 0.5, 1.0), "raw": answers(600, 0.1, 0.25)})
    assert rates["read_vs_raw"].median == 0.5
    assert processor["create_vs_raw"].median == 0.2
    assert rates["idle_read_ms_over_raw"].by_round == (0.75, 1.5)
    assert "read_vs_orm" not in rates


def test_growth_is_how_much_longer_it_takes_among_the_most_than_among_ten_thousand() -> None:
    shown_only = {"1000": answers(9_000, 0.1, 1), "100000": answers(1, 9, 1)}
    sizes = {"10000": answers(300, 0.5, 1), "1000000": answers(200, 0.6, 1), **shown_only}
    spreads = service.grown(sizes)["growth_read"]
    assert {by: spread.median for by, spread in spreads.items()} == {"by_the_clock": 1.5, "by_the_processor": 1.2}


def test_arguments_are_checked(capsys: pytest.CaptureFixture[str]) -> None:
    for asked in (["--patients", "5"], ["--rounds", "0"], ["--sides", "mongo"]):
        with pytest.raises(SystemExit):
            service.options_of(asked)
    assert "--rounds 1 to 20" in capsys.readouterr().err
    quick = service.options_of(["--quick", "--sides", "orm"])
    assert (quick.sides, quick.rounds) == (["ours", "orm"], 1)
    assert quick.patients < service.options_of([]).patients == 10_000
    assert service.options_of(["--sides"]).sides == ["ours"]
