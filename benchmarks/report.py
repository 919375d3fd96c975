"""Every benchmark in turn, and what they found as one page with plots.

    python -m benchmarks.report [--quick] [--folder bench-results] [--only NAME ...] [--again]

Each runs in a process of its own, and what it prints is kept as NAME.json in a folder. Of these objects come
`benchmarks/results.md`, the plots beside it, and the short table of the README. With `--only`, those that are named are
run, and of the others counts what an earlier run left in the folder; with `--again`, none is run. A run of all takes an
hour on two cores, and wants nothing else to go on meanwhile.

With `--quick`, each is tried for some seconds and no bound counts; page and plots are written to the folder and nothing
else is touched. Exits with 1 if a benchmark crashes, or, unless it is quick, misses a bound. A benchmark that needs
packages that are not installed says so and leaves out what needs them.
"""

import json
import subprocess
import sys
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from benchmarks.measuring import say
from benchmarks.pages import TITLES, between_markers, page, short
from benchmarks.peers import PACKAGES, is_there
from benchmarks.plots import PLOTS

_HERE = Path(__file__).resolve().parent
_MORE = {"service": ("--growth",), "search": ("--growth",)}
"""What is asked of a benchmark beyond what it does by itself, when all is measured."""
_LONGEST_SECONDS, _LONGEST_QUICK_SECONDS = 3_600, 120
_AT_ONCE_QUICKLY = 2


def run(name: str, folder: Path, *, quick: bool) -> bool:
    """Run one benchmark and keep what it prints; return whether it found something."""
    command = [sys.executable, "-m", f"benchmarks.{name}", "--json", *(("--quick",) if quick else _MORE.get(name, ()))]
    began = time.perf_counter()
    try:
        ended = subprocess.run(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE if quick else None,
            timeout=_LONGEST_QUICK_SECONDS if quick else _LONGEST_SECONDS,
            cwd=_HERE.parent,
            check=False,
        )
    except subprocess.TimeoutExpired:
        say(f"{name} took too long")
        return False
    try:
        found = json.loads(ended.stdout)
    except json.JSONDecodeError:
        # What crashes exits with 1 too, as does what misses a bound; but it has printed no object.
        say(f"{name} ended with {ended.returncode}\n{(ended.stderr or b'').decode(errors='replace')}")
        return False
    missed = "" if quick else f"; missed: {', '.join(found['missed']) or 'nothing'}"
    say(f"{name}: {time.perf_counter() - began:.0f} s{missed}")
    (folder / f"{name}.json").write_bytes(ended.stdout)
    return True


def kept(folder: Path) -> dict[str, dict[str, Any]]:
    """Return what the benchmarks found, of this run or an earlier one."""
    files = {name: folder / f"{name}.json" for name in TITLES}
    return {name: json.loads(file.read_text()) for name, file in files.items() if file.exists()}


def write_page(found: Mapping[str, Mapping[str, Any]], folder: Path) -> None:
    """Write the page, with its plots beside it."""
    plots = {name: draw(found[name]) for name, draw in PLOTS.items() if name in found}
    (folder / "plots").mkdir(parents=True, exist_ok=True)
    for drawings in plots.values():
        for name, drawing in drawings.items():
            (folder / "plots" / f"{name}.svg").write_text(drawing)
    (folder / "results.md").write_text(page(found, {name: list(drawings) for name, drawings in plots.items()}))


def report(options: Namespace) -> int:
    """Run what is to be run, and write what came of it."""
    folder: Path = options.folder
    folder.mkdir(parents=True, exist_ok=True)
    absent = [name for name in PACKAGES if not is_there(name)]
    if absent:
        say(f"not installed, and left out: {', '.join(absent)} (`make bench` installs what they need)")
    if options.only is None:
        for name in TITLES:
            (folder / f"{name}.json").unlink(missing_ok=True)
    names = [] if options.again else options.only or list(TITLES)
    # Where no bound counts, one may start while another works; otherwise nothing else is to go on.
    with ThreadPoolExecutor(_AT_ONCE_QUICKLY if options.quick else 1) as pool:
        ended = pool.map(lambda name: run(name, folder, quick=options.quick), names)
    crashed = [name for name, good in zip(names, ended, strict=True) if not good]
    found = kept(folder)
    if found:
        write_page(found, folder if options.quick else _HERE)
        if not options.quick:
            readme = _HERE.parent / "README.md"
            readme.write_text(between_markers(readme.read_text(), short(found)))
    missed = [f"{name}: {figure}" for name, one in found.items() for figure in one["missed"]]
    for line in (*(f"crashed: {name}" for name in crashed), *(f"missed: {one}" for one in missed)):
        say(line)
    return 1 if crashed or missed else 0


def options_of(argv: Sequence[str] | None = None) -> Namespace:
    """Return what is asked for."""
    parser = ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--quick", action="store_true", help="try whether all run; no bound counts")
    parser.add_argument("--folder", type=Path, help="where what they print is kept (default bench-results)")
    parser.add_argument("--only", nargs="+", choices=TITLES, metavar="NAME", help="which are run (default all)")
    parser.add_argument("--again", action="store_true", help="run none, and write the page anew")
    options = parser.parse_args(argv)
    options.folder = options.folder or Path("bench-quick" if options.quick else "bench-results")
    if options.again:
        options.only = options.only or []
    return options


if __name__ == "__main__":
    sys.exit(report(options_of()))
