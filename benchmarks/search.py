"""How fast a page of a search by name is, beside PostgreSQL on plaintext names with every index it can use.

    python -m benchmarks.search [--quick] [--json] [--patients 1000000] [--seed N] [--rounds 5] [--no-peer] [--growth]
        [--plot FILE]

Starts one PostgreSQL server, Debian's if it has `pg_trgm`, set up as a good administrator would, and fills two
databases on it with the same people (`benchmarks/people.py`): a practice, sealed, and the peer's table, in plain
(`benchmarks/peer.py`). Nothing is kept between runs. Then, each in a process of its own (`benchmarks/probe.py`):

1. A server starts without a snapshot of its index, and once more with it: how long until a first search is answered,
   and how much memory that adds.
2. 64 fragments of names (`benchmarks/fragments.py`), a page of 50 in order of names, are asked of both in turns. Ours
   come from `PatientService.search` as the front desk: refreshed, decided, opened, durably audited. The peer's come
   from the driver, by a prepared statement. Both return whole records as objects, and the same ones, which is checked.
   Then the same with an age range.
3. An event loop is watched while four search, one renames patients and another process touches hundreds at once; three
   times, of which the one counts whose longest step was the shortest: what a step of ours takes, it takes each time.

With `--growth` or `--plot`, steps 1 and 2 are done at each power of ten from 10,000 on, and then the index alone is
filled with ten million names. `parts_s` says how long each part took.

For each fragment the median of the rounds counts. `page_ratio_p50` is the median over the fragments of ours by that of
the peer's, `page_ratio_p95` likewise; `worst_class_ratio_p50` is the greatest such ratio of a class of fragments.
The peer's statements are prepared, and PostgreSQL decides by itself when one plan is to do for all fragments, as it
does for whoever uses a driver that prepares. The same is measured with `plan_cache_mode = force_custom_plan`, which
plans for each fragment anew: the figures that begin with `replanning`. They have no bounds.
The bound on `bytes_per_patient` holds from 200,000 patients on: with fewer, what a server takes for itself is the most.
Exits with 1 if a figure misses its bound or the pages differ.
"""

import asyncio
import json
import sys
from argparse import Namespace
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any

from benchmarks.fragments import fragments_among
from benchmarks.growth import Line, drawn
from benchmarks.loading import Practice, load
from benchmarks.measuring import Bound, arguments, machine, said, say, told
from benchmarks.measuring import missed as beyond
from benchmarks.people import SEED, People
from benchmarks.stores import DEBIAN, prepared, programs_with_trigrams, shown_settings, size_of

BOUNDS = {
    "page_ratio_p50": Bound(at_most=0.7),
    "page_ratio_p95": Bound(at_most=0.2),
    "worst_class_ratio_p50": Bound(at_most=3),
    "age_name_ratio_p50": Bound(at_most=1),
    "bytes_per_patient": Bound(at_most=150),
    "start_from_snapshot_s": Bound(at_most=3),
    "start_cold_s": Bound(at_most=15),
    "longest_block_ms": Bound(at_most=5),
}
_SMALLEST, _NAMES_ALONE = 10_000, 10_000_000
_FULL, _QUICK = 1_000_000, 2_000
_RENAMED, _RENAMED_QUICKLY = 1_500, 50
_WATCHED = 3
# A server grows by some seven megabytes while it begins to serve: among fewer, they are more than what is measured.
_ENOUGH = 200_000


@dataclass(slots=True)
class Parts:
    """Says what is done, and how long each part took in seconds."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def timed(self, what: str) -> Iterator[None]:
        """Time what is done in the block."""
        say(what)
        began = perf_counter()
        yield
        self.seconds[what] = round(perf_counter() - began, 1)


async def probed(what: str, **job: object) -> dict[str, Any]:
    """Measure in a process of its own."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "benchmarks.probe"), stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    said, _ = await process.communicate(json.dumps({"what": what, **job}).encode())
    assert process.returncode == 0
    report: dict[str, Any] = json.loads(said)
    return report


def sizes(patients: int, *, growing: bool) -> list[int]:
    """Return `patients`, behind the powers of ten from 10,000 on below that if growth is to show."""
    found, size = [], _SMALLEST if growing else patients
    while size < patients:
        found.append(size)
        size *= 10
    return [*found, patients]


async def measure(options: Namespace) -> dict[str, Any]:
    parts, people = Parts(), People(options.patients, options.seed)
    fragments = fragments_among(people, options.seed)
    described = [asdict(fragment) for fragment in fragments]
    if options.peer and programs_with_trigrams() is None:
        say(f"No PostgreSQL with pg_trgm under {DEBIAN}: the peer is skipped.")
    async with prepared(options.seed, with_peer=options.peer) as practice:
        growth, loaded = [], 0
        for size in sizes(options.patients, growing=options.growth):
            with parts.timed(f"{size} patients: loading"):
                await load(practice, loaded, size)
            loaded = size
            growth.append(await _at_size(practice, described, size, options.rounds, parts))
        with parts.timed("watching the event loop"):
            renamed = _RENAMED_QUICKLY if options.quick else _RENAMED
            watched = [
                await probed("hold", practice=asdict(practice), fragments=described, renamed=renamed)
                for _ in range(1 if options.quick else _WATCHED)
            ]
            held = min(watched, key=lambda one: float(one["longest_block_ms"]))
        settings = await shown_settings(practice)
        stored = {"ours": await size_of(practice.owner_url)}
        if practice.peer_url:
            stored["peer"] = await size_of(practice.peer_url)
    alone = None
    if options.growth:
        with parts.timed("ten million names in memory"):
            alone = await probed("memory", fragments=described, patients=_NAMES_ALONE, seed=options.seed)
    figures = figures_of(growth[-1], held)
    found = told(
        figures,
        BOUNDS,
        options,
        patients=options.patients,
        seed=options.seed,
        growth=growth,
        names_alone=alone,
        held=held,
        longest_block_ms_each=[one["longest_block_ms"] for one in watched],
        fragments=described,
        stored_bytes=stored,
        settings=settings,
        parts_s=parts.seconds,
        machine=machine(("clarity", "asyncpg", "numpy", "uvloop")),
    )
    return {**found, "missed": [] if options.quick else missed(figures, growth)}


async def _at_size(
    practice: Practice, fragments: Sequence[dict[str, Any]], size: int, rounds: int, parts: Parts
) -> dict[str, Any]:
    """Measure starts and pages with as many patients as are there now."""
    job = {"practice": asdict(practice), "fragments": fragments, "patients": size, "rounds": rounds}
    with parts.timed(f"{size} patients: starting without a snapshot"):
        cold = await probed("start", **job)
    with parts.timed(f"{size} patients: starting with one"):
        warm = await probed("start", **job)
    with parts.timed(f"{size} patients: searching"):
        found = await probed("compare", **job)
    file = practice.settings.search_snapshot_path
    if file is not None:
        file.unlink(missing_ok=True)  # the next start is to be without one again
    return {"patients": size, "cold": cold, "warm": warm, **found}


def figures_of(largest: dict[str, Any], held: dict[str, Any]) -> dict[str, Any]:
    """Return the figures that have bounds, and what stands beside them; none where there is no peer."""
    pages, classes = largest["pages"], largest["classes"]
    ratios = [one["ratio_p50"] for one in classes.values() if one["ratio_p50"] is not None]
    return {
        "page_ratio_p50": pages["ratio_p50"],
        "page_ratio_p95": pages["ratio_p95"],
        "worst_class_ratio_p50": max(ratios, default=None),
        "worst_ms": pages["ours_ms"]["worst"],
        "worst_ms_of_peer": pages["peer_ms"]["worst"] if pages["peer_ms"] else None,
        "age_name_ratio_p50": largest["ages"]["ratio_p50"],
        "replanning_page_ratio_p50": pages["replanning_ratio_p50"],
        "replanning_page_ratio_p95": pages["replanning_ratio_p95"],
        "bytes_per_patient": largest["cold"]["bytes_per_patient"],
        "start_from_snapshot_s": largest["warm"]["seconds"],
        "start_cold_s": largest["cold"]["seconds"],
        "longest_block_ms": held["longest_block_ms"],
    }


def missed(figures: dict[str, Any], growth: Sequence[dict[str, Any]]) -> list[str]:
    """Return what does not hold: figures above their bounds, and fragments of which the two sides gave other pages.

    What was not measured, for lack of a peer, misses nothing; nor does the memory for each of a few patients.
    """
    few = growth[-1]["patients"] < _ENOUGH
    bounds = {name: bound for name, bound in BOUNDS.items() if not (few and name == "bytes_per_patient")}
    return beyond(figures, bounds) + [f"other page: {text}" for size in growth for text in size["different_pages"]]


def plot(found: dict[str, Any]) -> str:
    """Return the growth as a drawing."""
    lines = []
    for side, colour in (("ours", "#0b6e4f"), ("peer", "#b3541e")):
        for share, dashes in (("p50", ""), ("p95", "6 4")):
            points = [
                (size["patients"], size["pages"][f"{side}_ms"][share])
                for size in found["growth"]
                if size["pages"][f"{side}_ms"]
            ]
            lines.append(Line(f"{'Clarity' if side == 'ours' else 'pg_trgm, plain'}, {share}", colour, dashes, points))
    if alone := found["names_alone"]:
        lines.append(Line("index alone, p50", "#555555", "2 3", [(alone["patients"], alone["ms"]["p50"])]))
    return drawn("A page of 50 in order of names, by the number of patients", "patients", "ms", lines)


def show(found: Mapping[str, Any]) -> None:
    print(f"\n{found['patients']} patients, seed {found['seed']}")
    print(f"{'worst_ms':24} {found['worst_ms']:>10}   peer {found['worst_ms_of_peer']}")
    largest = found["growth"][-1]
    for kind, one in {**largest["classes"], "all": largest["pages"], "with ages": largest["ages"]}.items():
        peer = one["peer_ms"] or {"p50": "-", "p95": "-", "worst": "-"}
        ours = one["ours_ms"]
        print(
            f"{kind:10} ours {ours['p50']:>8} {ours['p95']:>8} {ours['worst']:>8} ms"
            f"   peer {peer['p50']:>8} {peer['p95']:>8} {peer['worst']:>8} ms   ratio {one['ratio_p50']}"
            f"  by round {one['ratio_p50_by_round']}; replanning {one['replanning_peer_ms']}"
        )
    for size in found["growth"]:
        pages = size["pages"]
        print(f"{size['patients']:>9} patients: ours {pages['ours_ms']}, peer {pages['peer_ms']}")
    if found["names_alone"]:
        print(f"index alone: {found['names_alone']}")
    print(", ".join(f"{part} {seconds} s" for part, seconds in found["parts_s"].items()))


def main() -> int:
    parser = arguments(__doc__)
    parser.add_argument("--patients", type=int, default=_FULL, help="how many patients (default 1,000,000)")
    parser.add_argument("--seed", type=int, default=SEED, help=f"what the names follow from (default {SEED})")
    parser.add_argument("--rounds", type=int, default=5, help="how often each search is timed (default 5)")
    parser.add_argument("--no-peer", dest="peer", action="store_false", help="leave out PostgreSQL on plaintext")
    parser.add_argument("--growth", action="store_true", help="measure smaller practices and ten million names too")
    parser.add_argument("--plot", type=Path, help="do so, and write the growth as an SVG drawing to this file")
    options = parser.parse_args()
    options.growth |= options.plot is not None
    if not 1_000 <= options.patients <= _NAMES_ALONE or not 1 <= options.rounds <= 50:
        parser.error("--patients is 1,000 to 10,000,000, --rounds 1 to 50")
    if options.quick:
        options.patients, options.rounds, options.growth = _QUICK, 1, False
    found = asyncio.run(measure(options))
    if options.plot:
        options.plot.write_text(plot(found))
    return said(found, options, show)


if __name__ == "__main__":
    sys.exit(main())
