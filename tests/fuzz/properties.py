"""Properties tried with made-up examples (Hypothesis): those of the suite many times over, and the fuzzing targets."""

import re
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import seed as seeded
from hypothesis import strategies as st

from tests.fuzz.answers import CANARY
from tests.fuzz.findings import Findings, kept_bytes
from tests.fuzz.targets import TARGETS, Target
from tests.fuzz.twins import asked, machine

_TESTS = Path(__file__).parents[1]
_AT_A_TIME = 200
_PIECES = [
    CANARY,
    "\u0000",
    "\ud800",
    "\u202e",
    "\u0130",
    "\ufb01",
    "\U0001f600",
    "İ",
    "9" * 400,
    "-1",
    "0001-01-01",
    "9999-12-31T23:59:59-14:00",
    "1985-02-30",
    "|",
    "#",
    "urn:uuid:",
    "Patient/",
    "%00",
    "?sslmode=",
    "clarity_",
    ".",
    "=",
]
_json = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(max_size=20)
    | st.sampled_from(_PIECES),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


def fuzz(names: Sequence[str], seconds: float, seed: int, findings: Findings) -> None:
    """Try the targets for a third of the time, the fake beside the real thing, and the suite's own properties."""
    share = seconds / 3 / max(1, len(names))
    for number, name in enumerate(names):
        _try(TARGETS[name], share, seed + number, findings)
    _try_twins(seconds / 3, seed, findings)
    _try_suite(seconds / 3, seed, findings)


def _try_twins(seconds: float, seed: int, findings: Findings) -> None:
    """Compare a practice in memory with one on SQLite until the time is over."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        seed += 1
        try:
            machine(seed)()
        except Exception as exc:
            findings.add(f"twins differ: {str(exc).partition(chr(10))[0][:120]}", str(exc)[:4_000], {"seed": seed})
            break
    findings.tried["requests to a practice in memory and one on SQLite"] += sum(asked.values())
    print(f"  memory beside SQLite: {sum(asked.values()):,} requests, {dict(sorted(asked.items()))}", flush=True)


def _try(target: Target, seconds: float, seed: int, findings: Findings) -> None:
    """Call one target with mutations of its seeds and with made-up bytes, until the time is over."""
    seeds = list(target.seeds()) or [b""]
    until = time.monotonic() + seconds
    tried = 0

    def call(data: bytes) -> None:
        nonlocal tried
        tried += 1
        last[0] = data
        target.function(data)

    last = [b""]
    while time.monotonic() < until:
        seed += 1
        try:
            _property(call, seeds, seed)()
        except Exception as exc:  # whatever it is, it is what is looked for
            told = f"{type(exc).__name__} at {_place(exc)}"
            findings.add(
                f"{target.name}: {told}", f"{told}: {exc}"[:500], {"target": target.name, "input": kept_bytes(last[0])}
            )
            break
    findings.tried[f"runs of {target.name} (Hypothesis)"] += tried
    print(f"  {target.name}: {tried:,} examples", flush=True)


def _property(call: Callable[[bytes], None], seeds: Sequence[bytes], seed: int) -> Callable[[], None]:
    @seeded(seed)
    @settings(
        max_examples=_AT_A_TIME,
        deadline=None,
        database=None,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )
    @given(_mutations(seeds))
    def holds(data: bytes) -> None:
        call(data)

    return holds


def _mutations(seeds: Sequence[bytes]) -> st.SearchStrategy[bytes]:
    """Return bytes near to a seed, and some that are not."""
    pieces = st.sampled_from([piece.encode("utf-8", "surrogatepass") for piece in _PIECES]) | st.binary(max_size=8)

    @st.composite
    def mutated(draw: st.DrawFn) -> bytes:
        data = bytearray(draw(st.sampled_from(seeds)))
        for _ in range(draw(st.integers(0, 4))):
            start = draw(st.integers(0, len(data)))
            data[start : start + draw(st.integers(0, 12))] = draw(pieces)
        return bytes(data)

    return mutated() | st.binary(max_size=200) | st.text(max_size=80).map(lambda text: text.encode("utf-8", "replace"))


def _place(exc: BaseException) -> str:
    """Return the innermost place in our code that an exception came from."""
    places = []
    trace = exc.__traceback__
    while trace is not None:
        name = trace.tb_frame.f_code.co_filename
        if found := re.search(r"(clarity|tests)/.*", name):
            places.append(f"{found[0]}:{trace.tb_lineno}")
        trace = trace.tb_next
    return places[-1] if places else "elsewhere"


def _try_suite(seconds: float, seed: int, findings: Findings) -> None:
    """Run the properties of the test suite with many more examples than it has time for."""
    command = [
        *(sys.executable, "-m", "pytest", "-q", "-p", "tests.fuzz.more_examples", "-p", "no:cacheprovider"),
        *(f"--fuzz-seconds={seconds:.0f}", f"--fuzz-seed={seed}"),
        *sorted(str(path) for path in _TESTS.rglob("test_*.py") if "@given" in path.read_text()),
    ]
    ran = subprocess.run(command, capture_output=True, text=True, check=False, cwd=_TESTS.parent)
    tried = re.search(r"^fuzzed: (\d+) rounds, (\d+) examples$", ran.stdout, re.MULTILINE)
    if tried is None:
        findings.add("the properties of the suite did not run", ran.stdout[-2_000:] + ran.stderr[-2_000:], {})
        return
    findings.tried["rounds of the properties of the test suite"] += int(tried[1])
    findings.tried["examples for the properties of the test suite (at most)"] += int(tried[2])
    print(f"  {tried[0]}", flush=True)
    for failed in re.findall(r"^FAILED (\S+)", ran.stdout, re.MULTILINE):
        findings.add(f"property {failed}", ran.stdout[-4_000:], {"test": failed, "output": ran.stdout[-20_000:]})
