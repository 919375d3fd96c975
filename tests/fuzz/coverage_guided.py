"""Targets called with bytes that are changed towards what was not reached yet (Atheris, that is libFuzzer).

    python -m tests.fuzz.coverage_guided TARGET FOLDER [libFuzzer's own arguments]

runs one target in this process, as libFuzzer wants it; `fuzz` runs some of them, each in a process of its own.
"""

import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from hashlib import sha256
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

from tests.fuzz.findings import Findings, kept_bytes

_MOST_BYTES = 30_000
_MOST_MB = 2_048
_SLOW_SECONDS = 20


def fuzz(names: Sequence[str], seconds: float, seed: int, findings: Findings) -> None:
    """Run targets for `seconds` in all, and note how each one ended that did not end well."""
    if find_spec("atheris") is None:
        findings.skipped.append("coverage-guided fuzzing: atheris comes as a wheel for Linux on x86_64 alone")
        return
    share = max(1, int(seconds / max(1, len(names))))
    for name in names:
        with tempfile.TemporaryDirectory(prefix="clarity-fuzz-") as folder:
            _run_one(name, share, seed, Path(folder), findings)


def _run_one(name: str, seconds: int, seed: int, folder: Path, findings: Findings) -> None:
    found = folder / "found"
    found.mkdir()
    limits = (
        f"-max_total_time={seconds}",
        f"-seed={seed % 2**31}",
        f"-max_len={_MOST_BYTES}",
        f"-rss_limit_mb={_MOST_MB}",
        f"-timeout={_SLOW_SECONDS}",
        f"-artifact_prefix={found}/",
        "-print_final_stats=1",
        "-verbosity=0",
    )
    command = [sys.executable, "-m", "tests.fuzz.coverage_guided", name, str(folder / "corpus"), *limits]
    ran = subprocess.run(
        command, capture_output=True, check=False, text=True, errors="replace", timeout=seconds * 3 + 120
    )
    runs = re.search(r"stat::number_of_executed_units:\s*(\d+)", ran.stderr)
    findings.tried[f"runs of {name} (Atheris)"] += int(runs[1]) if runs else 0
    print(f"  {name}: {int(runs[1]) if runs else 0:,} runs in {seconds} s", flush=True)
    for artefact in sorted(found.iterdir()):
        told = _last_words(ran.stdout + ran.stderr)
        findings.add(f"{name}: {told}", told, {"target": name, "input": kept_bytes(artefact.read_bytes())})
    if ran.returncode and not any(found.iterdir()):
        findings.add(f"{name} did not run", (ran.stderr or ran.stdout)[-2_000:], {"target": name})


def _last_words(output: str) -> str:
    """Return the exception that ended a run, with the place in our code that it came from."""
    raised = re.findall(
        r"^(?:[\w.]*\.)?(\w+(?:Error|Exception|Fault|Exit|Interrupt)|\w+)(: .*)?$", output, re.MULTILINE
    )
    places = re.findall(r'File ".*?/((?:clarity|tests)/[^"]+)", line (\d+)', output)
    trace = output.partition("Uncaught Python exception")[2]
    first = next((line.strip() for line in trace.splitlines()[1:] if line.strip() and "=" not in line[:3]), "")
    error = first or next((f"{kind}{rest}" for kind, rest in reversed(raised) if rest), "ended by libFuzzer")
    return f"{error[:200]} at {places[-1][0]}:{places[-1][1]}" if places else error[:200]


def _seed_corpus(name: str, folder: Path) -> None:
    targets = import_module("tests.fuzz.targets").TARGETS
    folder.mkdir(parents=True, exist_ok=True)
    for seed in targets[name].seeds():
        (folder / sha256(seed).hexdigest()[:16]).write_bytes(seed)


def main(arguments: Sequence[str]) -> None:
    """Run one target until libFuzzer ends the process."""
    atheris = import_module("atheris")
    name, folder, *options = arguments
    # What is imported in here is compiled anew with counters, so nothing of ours may have been imported before.
    with atheris.instrument_imports(include=["clarity"], enable_loader_override=False):
        targets = import_module("tests.fuzz.targets")
    _seed_corpus(name, Path(folder))
    atheris.Setup([sys.argv[0], *options, folder], targets.TARGETS[name].function)
    atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv[1:])
