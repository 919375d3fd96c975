"""Removes each guard of docs/guards.md from a copy of the tree, one at a time, and expects its test to fail.

    python -m tests.mutate_guards [PART OF A GUARD'S NAME ...]

A removal is a small change of one file. It counts as noticed if its test fails: an error in collecting the tests does
not count, nor does one that was failing before. The tree itself is never touched.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.guards import REMOVALS, Removal

ROOT = Path(__file__).parents[1]
SOURCE = Path("src/clarity")
_COPIED = ("src", "tests", "examples", "docs", "pyproject.toml")
_FAILED = 1  # the exit status of pytest for tests that ran and failed
_SECONDS = 180.0  # for one test
_SECONDS_MORE = 5.0  # for each other one, where all of them run at once
_AT_ONCE = 2


def main(wanted: Sequence[str]) -> int:
    """Remove the guards whose names have any of `wanted` in them, by default all, and return the exit status."""
    chosen = [one for one in REMOVALS if not wanted or any(part.lower() in one.guard.lower() for part in wanted)]
    if not chosen:
        print("No guard of tests/guards.py has a name with any of these words in it.")
        return 2
    tests = sorted({one.test for one in chosen})
    with tempfile.TemporaryDirectory(prefix="clarity-guards-") as name:
        folder = Path(name)
        trees = [copied(folder / str(number)) for number in range(_AT_ONCE)]
        print(f"{len(tests)} tests hold {len(chosen)} guards; first, all of them as they are.", flush=True)
        status, output = run(trees[0], tests)
        if status != 0:
            print(output)
            return status
        with ThreadPoolExecutor(_AT_ONCE) as threads:
            shares = threads.map(lambda number: told(removed(trees[number], chosen[number::_AT_ONCE])), range(_AT_ONCE))
            unnoticed = sum(shares)
    print(f"\n{len(chosen) - unnoticed} of {len(chosen)} removals were noticed.")
    return 1 if unnoticed else 0


def told(problems: Iterable[str]) -> int:
    """Print what nobody noticed as soon as that is known, since all together take long, and return how many it were."""
    number = 0
    for problem in problems:
        print(f"\n{problem}", flush=True)
        number += 1
    return number


def copied(tree: Path) -> Path:
    """Copy what the tests need into a new folder."""
    for name in _COPIED:
        there = ROOT / name
        if there.is_dir():
            shutil.copytree(there, tree / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            tree.mkdir(exist_ok=True)
            shutil.copy(there, tree / name)
    return tree


def removed(tree: Path, removals: Sequence[Removal]) -> Iterator[str]:
    """Remove each guard in a tree, one at a time, and yield what nobody noticed."""
    for removal in removals:
        path = tree / SOURCE / removal.path
        whole = path.read_text() if path.exists() else ""
        if whole.count(removal.old) != 1:
            yield f"{removal.guard}: {removal.path} does not have once what is to be removed"
            continue
        path.write_text(whole.replace(removal.old, removal.new))
        try:
            status, output = run(tree, [removal.test])
        finally:
            path.write_text(whole)
        if status != _FAILED:
            last = output.strip().rpartition("\n")[2]
            yield f"{removal.guard}: {removal.test} ended with {status} ({last})"
        else:
            print(".", end="", flush=True)


def run(tree: Path, tests: Sequence[str]) -> tuple[int, str]:
    """Run tests in a tree up to the first failure; return the exit status of pytest and what it printed."""
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-x",
        "-p",
        "no:cacheprovider",
        "-p",
        "no:randomly",
        "-k",
        "not postgresql",
        "-m",
        "",  # those too that the suite leaves to a soak on this database
    ]
    command += [f"tests/{test}" for test in tests]
    seconds = _SECONDS + _SECONDS_MORE * (len(tests) - 1)
    # In front of the installed package, which is the tree that must not be touched.
    environment = {**os.environ, "PYTHONPATH": str(tree / "src"), "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        ended = subprocess.run(
            command, cwd=tree, env=environment, capture_output=True, text=True, timeout=seconds, check=False
        )
    except subprocess.TimeoutExpired:
        return -1, "took too long"
    return ended.returncode, ended.stdout + ended.stderr


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
