"""How fast many records come in: FHIR files through the use-case of importing, and sealed rows by COPY.

    python -m benchmarks.bulk [--quick] [--json] [--rounds 5] [--data FOLDER]

**Import.** What `clarity import` does, in one process beside PostgreSQL, on files that are made first
(`benchmarks/bundles.py`): a bundle of 300 resources for each patient. Of these a patient, up to three practitioners and
seven prescriptions are stored, sealed and audited in one transaction for a bundle; encounters are read for who cares
for whom, conditions for what a medicine is for; all others are checked, counted by type and not stored, since they have
no place here yet. So there are two figures: resources that were read, decided on and accounted for in a second
(`resources_per_s`), and records that were stored in a second (`stored_per_s`). Beside them `patients_per_s`: files with
patients and nothing else, of which all are stored, each in a transaction of its own; and `again_per_s`, the same
bundles once more, which changes nothing. Each round imports into an empty practice; that as many records are in the
database as were said to be, and that every resource was counted, is checked. With `--data`, or where CLARITY_TEST_DATA
or ../shared/data has Synthea's own files, these are imported too: `of_synthea`.

**COPY.** See `benchmarks/copying.py`. `copy_ratio` is rows a second of `sealed` over those of `plain`, both in tables
without secondary indexes, by as many processes as there are cores. `copy_ratios` has all the others: what it costs to
make a key for each patient, and digests to find them by, and how it is with the indexes in use. `steps_us` is what each
step takes of the processor for one patient.
"""

import asyncio
import logging
import os
import sys
import tempfile
import time
from argparse import Namespace
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from benchmarks.bundles import write_bundles, write_patients
from benchmarks.copying import FORMS, INDEXED, SIDES, Senders, Sent, Targets, senders, steps_us
from benchmarks.driver import connected
from benchmarks.loading import Practice, Writer
from benchmarks.measuring import Bound, Spread, arguments, in_turns, machine, ratios, said, say, told
from benchmarks.people import SEED, People
from benchmarks.stores import settings_for_this_machine, shown_settings
from clarity.application.imports import BadInput, ImportReport, Incoming
from clarity.application.services import Services
from clarity.bootstrap import operator, running
from clarity.upkeep import fhir_inputs, make_keys
from tests.servers import PostgresDatabases, postgres_server

BOUNDS = {"resources_per_s": Bound(at_least=5_000), "copy_ratio": Bound(at_least=0.4)}
_BUNDLES, _PATIENTS, _ROWS_EACH = 150, 500, 20_000
_QUICK_BUNDLES, _QUICK_PATIENTS, _QUICK_ROWS_EACH = 8, 20, 1_000
_STEPS = 5_000
_STORED = (
    "SELECT (SELECT count(*) FROM patients) + (SELECT count(*) FROM practitioners)"
    " + (SELECT count(*) FROM appointments) + (SELECT count(*) FROM prescriptions) + (SELECT count(*) FROM notes)"
)
_HERE = Path(__file__).resolve().parent.parent


@dataclass(frozen=True, slots=True)
class Imported:
    """What one import came to."""

    resources: int
    stored: int
    seconds: float
    cpu_seconds: float

    @property
    def resources_per_s(self) -> float:
        return round(self.resources / self.seconds, 1)

    @property
    def stored_per_s(self) -> float:
        return round(self.stored / self.seconds, 1)


@dataclass(frozen=True, slots=True)
class Files:
    """What is imported, and how many resources that is."""

    folder: Path
    resources: int


@dataclass(slots=True)
class Databases:
    """Makes empty practices on one server."""

    databases: PostgresDatabases
    folder: Path
    made: int = 0

    async def practice(self) -> Practice:
        """Make another."""
        name = await self.databases.create(beside=True)
        self.made += 1
        folder = str(self.folder / str(self.made))
        urls = self.databases.application_of(name).url, self.databases.owner_of(name).url
        practice = Practice(folder, *urls, "", SEED)
        make_keys(practice.settings)
        return practice

    async def plain(self) -> str:
        """Make a database without any tables, and return how its owner connects."""
        self.made += 1
        name = f"plain_{self.made}"
        await self.databases.run(f"CREATE DATABASE {name} TEMPLATE template0 ENCODING 'UTF8'")
        return self.databases.owner_of(name).url


@asynccontextmanager
async def served() -> AsyncIterator[Databases]:
    """Run a server."""
    with (
        postgres_server(settings_for_this_machine()) as server,
        tempfile.TemporaryDirectory(prefix="clarity-bulk-") as folder,
    ):
        databases = PostgresDatabases(server, "file_copy")
        await databases.prepare()
        yield Databases(databases, Path(folder))


async def imported(practice: Practice, files: Files, *, again: bool = False) -> Imported:
    """Import files as `clarity import` does, and check what it said."""
    async with running(practice.settings.unhurried()) as services:
        report, seconds, processor = await _timed(services, files.folder)
    assert report.ok, f"not all could be imported: {report.bad[0]}"
    tallies = (report.patients, report.practitioners, *report.records.values())
    counted = sum(tally.added + tally.changed + tally.unchanged for tally in tallies)
    counted += report.unplaced.total() + report.left_out.total()
    assert counted == files.resources, f"of {files.resources} resources {counted} were accounted for"
    assert report.changed_nothing == again, "what was new is not what was expected to be"
    stored = sum(tally.added for tally in tallies)
    if not again:
        assert stored == await _rows(practice), "not as many records are stored as were said to be"
    return Imported(counted, stored, seconds, processor)


async def _timed(services: Services, folder: Path) -> tuple[ImportReport, float, float]:
    inputs = fhir_inputs([folder], source="benchmark", strict=False)
    began, processor = time.perf_counter(), time.process_time()
    report = await services.imports.run(operator(), inputs)
    return report, time.perf_counter() - began, time.process_time() - processor


async def _rows(practice: Practice) -> int:
    async with connected(practice.owner_url) as connection:
        return int(await connection.fetchval(_STORED))


def synthea_files(named: Path | None) -> Files | None:
    """Return Synthea's own files, if they are here."""
    data = Path(os.environ.get("CLARITY_TEST_DATA") or _HERE.parent / "shared" / "data")
    folder = named or data / "synthea-r4"
    if not folder.is_dir():
        return None
    units = fhir_inputs([folder], source="benchmark", strict=False).units()
    return Files(folder, sum(_resources_in(unit) for unit in units))


def _resources_in(unit: Incoming | BadInput) -> int:
    if isinstance(unit, BadInput):
        return 0
    kept = len(unit.practitioners) + len(unit.patients) + len(unit.records)
    return kept + sum(unit.unplaced.values()) + sum(unit.left_out.values())


def written(folder: Path, write: Callable[..., int], count: int) -> Files:
    """Write files of so many people."""
    folder.mkdir()
    return Files(folder, write(folder, People(count).some(0, count)))


async def measure_import(databases: Databases, options: Namespace, rounds: int) -> dict[str, list[Imported]]:
    """Import each kind of files in each round, all of them once before they count."""
    bundles, patients = (_QUICK_BUNDLES, _QUICK_PATIENTS) if options.quick else (_BUNDLES, _PATIENTS)
    kinds = {
        "bundles": written(databases.folder / "bundles", write_bundles, bundles),
        "patients": written(databases.folder / "patients", write_patients, patients),
    }
    synthea = None if options.quick else synthea_files(options.data)
    if synthea is not None:
        kinds["synthea"] = synthea
    found: dict[str, list[Imported]] = {name: [] for name in (*kinds, "again")}
    for number, kind in in_turns(list(kinds), rounds + 1):
        say(f"round {number} of {rounds}: importing {kind}" if number else f"warming up: importing {kind}")
        practice = await databases.practice()
        once = await imported(practice, kinds[kind])
        again = await imported(practice, kinds[kind], again=True) if kind == "bundles" else None
        if number:
            found[kind].append(once)
            found["again"] += [again] if again else []
    return found


async def measure_copy(databases: Databases, rounds: int, each: int) -> dict[str, list[Sent]]:
    """Send rows of every side in each round, all of them once before they count."""
    targets = Targets(
        sealed=await databases.practice(),
        sealed_indexed=await databases.practice(),
        plain_url=await databases.plain(),
        plain_indexed_url=await databases.plain(),
    )
    await targets.prepare()
    found: dict[str, list[Sent]] = {side: [] for side in SIDES}
    with senders(targets, os.cpu_count() or 1, each) as all_of_them:
        for number, side in in_turns(SIDES, rounds + 1):
            sent = await _turn(all_of_them, side)
            if number:
                found[side].append(sent)
    return found


async def _turn(all_of_them: Senders, side: str) -> Sent:
    say(f"copying {side}")
    return await all_of_them.turn(side)


def copy_ratios(sent: Mapping[str, Sequence[Sent]]) -> dict[str, Spread]:
    """Return how rows a second of each sealed form stand to the plain ones in tables alike, round by round."""
    per_s = {side: [one.rows_per_s for one in turns] for side, turns in sent.items()}
    forms = [form for form in FORMS if form != "plain"]
    return {
        f"{form}{end}": ratios(per_s[f"{form}{end}"], per_s[f"plain{end}"]) for end in ("", INDEXED) for form in forms
    }


async def measure(options: Namespace) -> dict[str, Any]:
    rounds = 1 if options.quick else options.rounds
    async with served() as databases:
        files = await measure_import(databases, options, rounds)
        sent = await measure_copy(databases, rounds, _QUICK_ROWS_EACH if options.quick else _ROWS_EACH)
        practice = await databases.practice()
        steps = steps_us(Writer.of(practice.settings), People(_STEPS), 500 if options.quick else _STEPS)
        settings = await shown_settings(practice)
    copied = copy_ratios(sent)
    spreads = {
        "resources_per_s": Spread.of([one.resources_per_s for one in files["bundles"]]),
        "stored_per_s": Spread.of([one.stored_per_s for one in files["bundles"]]),
        "patients_per_s": Spread.of([one.stored_per_s for one in files["patients"]]),
        "again_per_s": Spread.of([one.resources_per_s for one in files["again"]]),
        "copy_ratio": copied["sealed"],
    }
    return told(
        {name: spread.median for name, spread in spreads.items()},
        BOUNDS,
        options,
        spreads={name: spread._asdict() for name, spread in spreads.items()},
        imports={name: described(some) for name, some in files.items()},
        of_synthea=described(files["synthea"]) if "synthea" in files else None,
        copy_ratios={name: spread._asdict() for name, spread in copied.items()},
        copied={side: _medians(turns) for side, turns in sent.items()},
        steps_us=steps,
        processes=os.cpu_count(),
        rounds=rounds,
        settings=settings,
        machine=machine(("asyncpg", "sqlalchemy", "cryptography", "msgspec")),
    )


def described(imports: Sequence[Imported]) -> dict[str, Any]:
    """Return the medians of some imports of the same files."""
    of = {
        name: Spread.of([getattr(one, name) for one in imports]).median for name in ("resources_per_s", "stored_per_s")
    }
    cpu = Spread.of([1000 * one.cpu_seconds / max(one.stored, 1) for one in imports]).median
    first = imports[0]
    beside = {"cpu_ms_for_each_stored": cpu} if first.stored else {}
    return {"resources": first.resources, "stored": first.stored, **of, **beside}


def _medians(turns: Sequence[Sent]) -> dict[str, float]:
    names = [field.name for field in fields(Sent)]
    return {name: Spread.of([getattr(turn, name) for turn in turns]).median for name in names}


def show(found: Mapping[str, Any]) -> None:
    print(f"\n{'import of':12}{'resources':>10}{'stored':>8}{'resources/s':>14}{'stored/s':>10}")
    for name, one in found["imports"].items():
        figures = f"{one['resources_per_s']:>14}{one['stored_per_s']:>10}"
        print(f"{name:12}{one['resources']:>10}{one['stored']:>8}{figures}")
    print(f"\n{'COPY of':28}{'rows/s':>10}{'cpu us':>10}{'to plain':>10}")
    for side, one in found["copied"].items():
        ratio = found["copy_ratios"].get(side, {"median": ""})["median"]
        print(f"{side:28}{one['rows_per_s']:>10.0f}{one['cpu_us']:>10}{ratio!s:>10}")
    print("us of the processor for a patient: " + ", ".join(f"{name} {us}" for name, us in found["steps_us"].items()))


def main() -> int:
    parser = arguments(__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="how often each side has its turn (default 5)")
    parser.add_argument("--data", type=Path, help="a folder with files of Synthea's, to be imported beside those made")
    options = parser.parse_args()
    if not 1 <= options.rounds <= 50:
        parser.error("--rounds is 1 to 50")
    logging.getLogger("clarity").setLevel(logging.ERROR)  # that statements are slow is what is looked at here
    return said(asyncio.run(measure(options)), options, show)


if __name__ == "__main__":
    sys.exit(main())
