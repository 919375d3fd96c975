"""What is measured of one server process, in a process of its own.

    python -m benchmarks.probe < job.json

A job names a practice, the fragments, and what to measure: `start`, how long the index takes until a first search is
answered and how much memory it adds; `compare`, both sides' answers; `hold`, how long single steps hold the event loop;
`memory`, an index alone over names that no database holds. The report is JSON on standard output.
"""

import asyncio
import gc
import json
import logging
import sys
import time
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import asdict, replace
from datetime import date
from functools import partial
from random import Random
from typing import Any

import uvloop

from benchmarks.comparing import PAGE, Question, by_class, desk, questions, sides, summary
from benchmarks.driver import Connection, connected
from benchmarks.fragments import Fragment, FragmentClass
from benchmarks.loading import Practice
from benchmarks.measuring import memory_bytes, percentile
from benchmarks.people import People
from benchmarks.watchdog import watched
from clarity.api.server import favour_the_loop, set_aside_what_exists
from clarity.application.patients import PatientService
from clarity.application.ports import PatientFilter
from clarity.application.ports.search import IndexChange, IndexEntry, Reach
from clarity.application.services import Services
from clarity.bootstrap import Opened, new_telemetry, operator, running, today
from clarity.domain.errors import WarmingUp
from clarity.domain.ids import PatientId
from clarity.domain.names import HumanName, search_text_of
from clarity.domain.patients import Patient, PatientQuery, PatientStatus
from clarity.domain.people import Gender
from clarity.domain.records import Label
from clarity.persistence.changes import SqlChangeFeed
from clarity.persistence.trail_guard import MIGRATING
from clarity.search.index import NameIndex
from clarity.search.question import Question as IndexQuestion
from clarity.search.streaming import StreamingSearch
from clarity.serving import serving

_PATIENCE_SECONDS = 600.0
_TOUCHED = 400
_SEARCHERS = 4
_BATCH = 1_000


@asynccontextmanager
async def served(practice: Practice) -> AsyncIterator[Services]:
    """Serve as `clarity serve` does, but for the sockets; begin when a search is answered."""
    async with serving(practice.settings, new_telemetry()) as services:
        set_aside_what_exists()  # as the server does when it listens
        await answered(services.patients)
        yield services


async def answered(patients: PatientService) -> None:
    """Return once a search is answered."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while time.monotonic() < deadline:
        with suppress(WarmingUp):
            await patients.search(desk(), PatientQuery(name="nobody at all"), at_most=PAGE)
            return
    raise TimeoutError("the search index was not there in time")


async def start(practice: Practice, patients: int) -> dict[str, Any]:
    """Start once, and say how long it took and how much memory was added.

    What else a server opens, the code that answers a request and that which fills an index are loaded before the first
    look at the memory, by an index of some hundred patients that is thrown away again. The last look is taken when the
    snapshot was written.
    """
    async with running(practice.settings, new_telemetry(), _of_a_few) as services:
        await services.patients.search(operator(), PatientQuery(mrn="10000000"), at_most=PAGE)
    gc.collect()
    before, began, processor = memory_bytes(), time.perf_counter(), time.process_time()
    async with served(practice) as services:
        seconds, processor = time.perf_counter() - began, time.process_time() - processor
        await _saved(practice)
        gc.collect()
        grown = memory_bytes() - before
        index: Any = services.patients.search_index
        return {
            "seconds": round(seconds, 2),
            "processor_seconds": round(processor, 2),
            "bytes_per_patient": round(grown / patients, 1),
            "bytes_per_patient_at_peak": round((memory_bytes("VmHWM") - before) / patients, 1),
            "bytes_per_patient_by_its_own_account": round(index.memory_bytes / patients, 1),
            "note": index.note,
        }


@asynccontextmanager
async def _of_a_few(opened: Opened) -> AsyncIterator[StreamingSearch]:
    """Open a search that streams, when an index was filled with a few, and asked."""
    feed, index = SqlChangeFeed(opened.database, opened.keyring), NameIndex()
    async with feed.all_since(None) as stream:
        await index.load(_first(stream.batches))
    everybody = Reach(frozenset(Label), frozenset())
    asked = IndexQuestion.of(PatientQuery(name="mar"), date(2026, 3, 14))
    await index.find(asked, everybody, after=None, at_most=PAGE, judge=_nobody)
    yield StreamingSearch(partial(today, opened.settings))


async def _first(batches: AsyncIterator[Sequence[IndexChange]]) -> AsyncIterator[Sequence[IndexChange]]:
    async for batch in batches:
        yield batch
        return


async def _saved(practice: Practice) -> None:
    """Return once there is a snapshot for the next start."""
    file = practice.settings.search_snapshot_path
    assert file is not None
    for _ in range(int(10 * _PATIENCE_SECONDS)):
        if file.exists():
            return
        await asyncio.sleep(0.1)


async def compare(practice: Practice, fragments: Sequence[Fragment], rounds: int) -> dict[str, Any]:
    """Ask both sides for pages in order of names, then with ages too."""
    async with AsyncExitStack() as stack:
        services = await stack.enter_async_context(served(practice))
        both = await sides(stack, services, practice, today(practice.settings))
        pages = await both.compare(questions(fragments, ages=False), rounds)
        ages = await both.compare(questions(fragments, ages=True), rounds)
        return {
            "pages": summary(pages),
            "classes": by_class(pages),
            "ages": summary(ages),
            "by_fragment": [
                {
                    **asdict(entry.question.fragment),
                    "ours_ms": round(percentile(entry.ours, 0.5), 2),
                    "peer_ms": round(percentile(entry.peer, 0.5), 2) if entry.peer else None,
                    "replanning_peer_ms": round(percentile(entry.replanned, 0.5), 2) if entry.replanned else None,
                }
                for entry in pages
            ],
            "different_pages": [entry.question.fragment.text for entry in (*pages, *ages) if not entry.same],
        }


async def hold(practice: Practice, fragments: Sequence[Fragment], renamed: int) -> dict[str, Any]:
    """Watch the event loop while some search, and others rename patients and touch hundreds of records at once.

    It ends when so many were `renamed`: more than the index keeps beside its segments, so that it merges meanwhile.
    """
    asked = questions(fragments, ages=False) + questions(fragments, ages=True)
    async with served(practice) as services, connected(practice.owner_url) as owner:
        index: Any = services.patients.search_index
        stopping = asyncio.Event()
        with watched() as steps:
            others = [
                asyncio.create_task(_search_on(services.patients, asked[number::_SEARCHERS], stopping))
                for number in range(_SEARCHERS)
            ]
            others.append(asyncio.create_task(_touch_on(owner, stopping)))
            written = await _rename(services.patients, renamed)
            stopping.set()
            *searches, touched = await asyncio.gather(*others)
        return {
            "longest_block_ms": round(steps.longest_ms, 2),
            "longest_with_waits_for_a_core_ms": round(steps.longest_with_waits_ms, 2),
            "longest_collection_ms": round(steps.longest_collection_ms, 2),
            "steps": steps.count,
            "long_steps_ms": dict(sorted(steps.over.items(), key=lambda item: -item[1])),
            "searches": sum(searches),
            "renamed": written,
            "touched": touched,
            "refreshes": index.refreshes,
            "note": index.note,
        }


async def _search_on(patients: PatientService, asked: Sequence[Question], stopping: asyncio.Event) -> int:
    done = 0
    while not stopping.is_set():
        await patients.search(desk(), asked[done % len(asked)].query, at_most=PAGE)
        done += 1
    return done


async def _rename(patients: PatientService, enough: int) -> int:
    """Give patients the family name of the one before, until there are enough changes or no more patients."""
    cursor, renamed, family = "", 0, "Alcantar"
    while renamed < enough:
        page = await patients.list(operator(), PatientFilter(), cursor=cursor, at_most=100)
        for patient in page.items:
            names = (replace(patient.name, family=family),)
            family = patient.name.family
            edit = partial(_with_names, names)
            await patients.change(operator(), patient.id, edit, version=patient.version)
            renamed += 1
        cursor = page.next_cursor
        if not cursor:
            break
    return renamed


def _with_names(names: tuple[HumanName, ...], patient: Patient) -> Patient:
    return replace(patient, names=names)


async def _touch_on(owner: Connection, stopping: asyncio.Event) -> int:
    """Stamp some hundred records as changed, again and again, as an import in another process would."""
    touched = 0
    while not stopping.is_set():
        async with owner.transaction():
            await owner.execute(MIGRATING)
            done = await owner.execute(
                "UPDATE patients SET key_generation = key_generation"
                " WHERE id IN (SELECT id FROM patients ORDER BY id DESC LIMIT $1)",
                _TOUCHED,
            )
        touched += int(done.split()[-1])
        with suppress(TimeoutError):
            await asyncio.wait_for(stopping.wait(), 0.5)
    return touched


async def names_alone(count: int, seed: int, fragments: Sequence[Fragment]) -> dict[str, Any]:
    """Build an index over names that no database holds, and look for every fragment in it."""
    people = People(count, seed)
    gc.collect()
    before, began = memory_bytes(), time.perf_counter()
    index = NameIndex()
    await index.load(_entries(people))
    built = time.perf_counter() - began
    del people
    gc.collect()
    grown = memory_bytes() - before
    day = date(2026, 3, 14)
    asked = [IndexQuestion.of(question.query, day) for question in questions(fragments, ages=False)]
    times = []
    for question in asked * 3:
        began = time.perf_counter()
        await index.find(question, Reach(frozenset(Label), frozenset()), after=None, at_most=PAGE, judge=_nobody)
        times.append((time.perf_counter() - began) * 1000)
    return {
        "patients": count,
        "built_s": round(built, 1),
        "bytes_per_patient": round(grown / count, 1),
        "bytes_per_patient_by_its_own_account": round(index.memory() / count, 1),
        "ms": {"p50": round(percentile(times, 0.5), 3), "p95": round(percentile(times, 0.95), 3)},
    }


async def _nobody(doubtful: Collection[PatientId]) -> Collection[PatientId]:
    del doubtful
    return ()


async def _entries(people: People) -> AsyncIterator[Sequence[IndexEntry]]:
    random = Random(people.count)
    for first in range(0, people.count, _BATCH):
        families, given = people.names(first, first + _BATCH)
        born = people.born[first : first + _BATCH].tolist()
        yield [
            IndexEntry(
                id=random.randbytes(16),
                version=1,
                family=family,
                given=called,
                names=(search_text_of(family, called),),
                born_first=day,
                born_last=day,
                status=PatientStatus.ACTIVE,
                label=Label.NORMAL,
                gender=Gender.UNKNOWN,
                birth_sex=None,
                changed=1_700_000_000_000_000 + first,
            )
            for family, called, day in zip(families, given, born, strict=True)
        ]


async def run(job: dict[str, Any]) -> dict[str, Any]:
    """Do what a job asks for."""
    fragments = [Fragment(one["text"], FragmentClass(one["kind"]), one["patients"]) for one in job["fragments"]]
    if job["what"] == "memory":
        return await names_alone(job["patients"], job["seed"], fragments)
    practice = Practice(**job["practice"])
    if job["what"] == "start":
        return await start(practice, job["patients"])
    if job["what"] == "compare":
        return await compare(practice, fragments, job["rounds"])
    return await hold(practice, fragments, job["renamed"])


def main() -> None:
    logging.getLogger("clarity").setLevel(logging.ERROR)  # that statements are slow is what is looked at here
    job = json.load(sys.stdin)
    # As the server does before it begins.
    set_aside_what_exists()
    favour_the_loop()
    # The watchdog sees every step of asyncio's own loop alone; a server runs on uvloop.
    loop = asyncio.new_event_loop if job["what"] == "hold" else uvloop.new_event_loop
    with asyncio.Runner(loop_factory=loop) as runner:
        report = runner.run(run(job))
    json.dump(report, sys.stdout)


if __name__ == "__main__":
    main()
