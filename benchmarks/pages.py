"""What the benchmarks found, as a page of Markdown and as the short table of the README."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

from benchmarks.copying import SIDES as COPIED
from benchmarks.measuring import Bound
from benchmarks.plots import NAMES
from benchmarks.side import OPERATIONS

Found: TypeAlias = Mapping[str, Any]
BEGIN, END = "<!-- benchmarks: begin -->", "<!-- benchmarks: end -->"
TITLES = {
    "service": "Reads, pages, new patients and changes, through the use-cases",
    "http": "The same over HTTP",
    "bulk": "Many records at once",
    "audit": "The trail",
    "promises": "What each promise costs",
    "search": "A page of a search by name",
    "leakage": "What a thief reads",
    "overload": "Four times as much as one process can do",
}
"""Each benchmark, in the order in which they are run, with what it is about."""

SHORT = {
    "service": {
        "read_vs_orm": "reads a second, over SQLAlchemy's ORM on plaintext",
        "read_vs_raw": "reads a second, over the bare driver on plaintext",
        "page_vs_orm": "pages of 50, over the ORM",
        "create_vs_orm": "new patients, with identifiers and audit, over the ORM without",
        "growth_read": "a read among a million patients, over one among ten thousand",
        "idle_read_ms_over_raw": "a single read, longer than the bare driver's by ms",
    },
    "http": {
        "get_vs_orm": "requests a second for a patient, over the ORM behind FastAPI",
        "p99_ratio_64": "the slowest of a hundred with 64 at once, over the same",
    },
    "bulk": {
        "resources_per_s": "FHIR resources a second, read and accounted for",
        "stored_per_s": "of these, records a second that have a place here and are stored",
        "copy_ratio": "sealed rows a second by COPY, over plain ones",
    },
    "audit": {
        "read_events_per_s": "durable events of reads a second",
        "p99_ms": "and how long the slowest of a hundred waits, in ms",
    },
    "search": {
        "page_ratio_p50": "a page of a search in a million names, over `pg_trgm` on plaintext: median",
        "page_ratio_p95": "the same, the slowest of twenty",
    },
    "leakage": {"names_read": "share of names that a thief of the database reads"},
    "overload": {"goodput_ratio": "good answers under four times the load, over those at the peak"},
}
"""What the README shows of each benchmark, in words."""


def table(heads: Sequence[str], rows: Iterable[Sequence[object]], *, words: int = 1) -> str:
    """Return a table; but for the first columns, which are `words`, what stands in it is to the right."""
    sides = ["---"] * words + ["---:"] * (len(heads) - words)
    lines = [heads, sides, *([shown(cell) for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def shown(value: object) -> str:
    """Return a figure as one reads it."""
    if value is None:
        return "-"
    if isinstance(value, bool | str):
        return str(value)
    if isinstance(value, int | float):
        return f"{value:,.0f}" if abs(value) >= 1_000 else f"{value:.3g}"
    return str(value)


def verdict(found: Found, name: str) -> str:
    """Return whether a figure is within its bound; nothing where it has none, or none counts."""
    bound, figure = found["bounds"].get(name), found.get(name)
    if bound is None or found["quick"]:
        return ""
    if name in found["missed"]:
        return "**no**"
    if figure is None:
        return "not measured"
    return "yes" if Bound(**bound).holds(figure) else "not judged"


def figures(found: Found) -> str:
    """Return the figures with their spreads and bounds; those without a bound if they have a spread."""
    spreads = {name: one for name, one in found.get("spreads", {}).items() if "median" in one}
    names = dict.fromkeys([*found["bounds"], *(name for name in spreads if name in found)])
    rows = []
    for name in names:
        spread, bound = spreads.get(name), found["bounds"].get(name)
        between = f"{shown(spread['least'])} to {shown(spread['greatest'])}" if spread else ""
        rows.append((f"`{name}`", found.get(name), between, Bound(**bound) if bound else "", verdict(found, name)))
    return table(("Figure", "median", "rounds", "bound", "met"), rows) if rows else ""


def _service(found: Found) -> Iterator[str]:
    rows = [
        (NAMES[side], *(one["loads"][f"{what}_32"]["per_s"] for what in OPERATIONS), one["start_s"], memory)
        for side, one in found["sides"].items()
        for memory in (one["memory_bytes_at_start"] / 2**20,)
    ]
    yield "A second, 32 in flight; seconds to the first answer; MB then:"
    yield table(("", *OPERATIONS, "start", "memory"), rows)
    cpu = [
        (NAMES[side], *(one["loads"][f"{what}_32"]["cpu_ms_each"] for what in OPERATIONS))
        for side, one in found["sides"].items()
    ]
    yield "Processor time of the side's process for each, ms:"
    yield table(("", *OPERATIONS), cpu)
    levels = ("read_1", "read_8", "read_64")
    late = [
        (NAMES[side], *(one["loads"][name][part] for name in levels for part in ("p50_ms", "p99_ms")))
        for side, one in found["sides"].items()
    ]
    yield "How long a read takes with 1, 8 and 64 in flight, ms:"
    yield table(("", "1: p50", "p99", "8: p50", "p99", "64: p50", "p99"), late)
    grown = [
        (int(size), *(loads[f"{what}_32"][part] for what in ("read", "create") for part in ("p50_ms", "p99_ms")))
        for size, loads in found["growth"]["sides"].items()
    ]
    if grown:
        yield "Clarity by the number of patients, 32 in flight, ms:"
        yield table(("patients", "read: p50", "p99", "new: p50", "p99"), grown)


def _http(found: Found) -> Iterator[str]:
    parts = ("per_s", "p50_ms", "p95_ms", "p99_ms", "cpu_ms_each")
    rows = [
        (one["asked"], one["processes"], one["in_flight"], NAMES[name], *(run[part]["median"] for part in parts))
        for one in found["runs"]
        for name, run in one["sides"].items()
    ]
    yield table(("Asked", "processes", "at once", "side", "a second", "p50 ms", "p95", "p99", "processor ms"), rows)


def _bulk(found: Found) -> Iterator[str]:
    names = ("resources", "stored", "resources_per_s", "stored_per_s")
    rows = [(kind, *(one[name] for name in names)) for kind, one in found["imports"].items()]
    yield table(("Import of", "resources", "stored", "resources a second", "stored a second"), rows)
    copied = [
        (side, found["copied"][side]["rows_per_s"], found["copied"][side]["cpu_us"], ratio.get("median"))
        for side in COPIED
        for ratio in (found["copy_ratios"].get(side, {}),)
    ]
    yield table(("COPY of", "rows a second", "processor us for each", "to plain"), copied)
    yield "Processor time for one patient, µs: " + ", ".join(f"{name} {us}" for name, us in found["steps_us"].items())


def _audit(found: Found) -> Iterator[str]:
    parts = ("per_s", "p50_ms", "p99_ms", "cpu_ms_each")
    rows = [
        (level, NAMES[side], *(one[part] for part in parts))
        for side, levels in found["levels"].items()
        for level, one in levels.items()
    ]
    yield table(("In flight", "side", "events a second", "p50 ms", "p99 ms", "processor ms"), rows)
    yield "Processor time for one event, µs: " + ", ".join(f"{name} {us}" for name, us in found["breakdown_us"].items())


def _promises(found: Found) -> Iterator[str]:
    rows = [
        (build, *(f"{price['median']:.0%} ({price['least']:.0%} to {price['greatest']:.0%})" for price in prices))
        for build, each in found["spreads"].items()
        for prices in ([each[what]["price"] for what in OPERATIONS],)
    ]
    yield "The share of the processor's time that goes into it:"
    yield table(("Without", *OPERATIONS), rows)
    rows = [(build, *(each[what] for what in OPERATIONS)) for build, each in found["throughput_without"].items()]
    yield "How many times as many a second there are without it:"
    yield table(("Without", *OPERATIONS), rows)


def _search(found: Found) -> Iterator[str]:
    parts = ("p50", "p95", "worst")
    largest = found["growth"][-1]
    rows = []
    for kind, one in {**largest["classes"], "all": largest["pages"], "with ages": largest["ages"]}.items():
        peer = one["peer_ms"] or dict.fromkeys(parts)
        rows.append((kind, *(one["ours_ms"][part] for part in parts), *(peer[part] for part in parts)))
    yield f"{found['patients']:,} patients; a page of 50 in milliseconds:"
    yield table(("Fragments", "Clarity p50", "p95", "worst", "`pg_trgm` p50", "p95", "worst"), rows)


def _overload(found: Found) -> Iterator[str]:
    rows = [
        (name, *(run[part] for part in ("goodput_ratio", "shed_ms_p99", "connections_leaked", "recovered_s")))
        for name, run in (("limited", found["protected"]), ("unlimited", found["unprotected"]))
        if run
    ]
    yield f"The peak is {shown(found['peak_per_s'])} good answers a second."
    yield table(("Server", "goodput ratio", "refusals p99 ms", "leaked", "recovered s"), rows)


_BESIDE: dict[str, Callable[[Found], Iterator[str]]] = {
    "service": _service,
    "http": _http,
    "bulk": _bulk,
    "audit": _audit,
    "promises": _promises,
    "search": _search,
    "overload": _overload,
}


def page(found: Mapping[str, Found], plots: Mapping[str, Sequence[str]]) -> str:
    """Return everything that was found, with the names of the plots of each benchmark."""
    any_of_them = next(iter(found.values()))["machine"]
    named = ("cores", "processor", "memory_gb", "system", "python")
    parts = [
        "# Results",
        "Written by `make bench`; [README.md](README.md) says how to read it and what it does not show.",
        table(("Machine", ""), [(name.replace("_", " "), str(any_of_them[name])) for name in named]),
        *(part for name in TITLES if name in found for part in _section(name, found[name], plots.get(name, ()))),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _section(name: str, found: Found, plots: Sequence[str]) -> Iterator[str]:
    yield f"## {TITLES[name]}"
    yield f"`python -m benchmarks.{name}{' --quick' if found['quick'] else ''}`, load average {_load(found)}"
    if found["quick"]:
        yield "A quick run: it shows that the benchmark runs, and nothing of what it measures."
    yield figures(found)
    yield from (f"![{TITLES[name]}](plots/{plot}.svg)" for plot in plots)
    if name in _BESIDE:
        yield from _BESIDE[name](found)
    packages = ", ".join(f"{package} {version}" for package, version in found["machine"]["packages"].items())
    settings = ", ".join(f"{setting} {value}" for setting, value in found.get("settings", {}).items())
    yield ". ".join(part for part in (packages, settings) if part)


def _load(found: Found) -> str:
    return str(found["machine"]["load_average_1m"])


def short(found: Mapping[str, Found]) -> str:
    """Return the short table."""
    rows = [
        (
            f"[{name}](benchmarks/results.md)",
            words,
            f"{shown(one.get(figure))}",
            _bound(one, figure),
            verdict(one, figure),
        )
        for name, each in SHORT.items()
        if (one := found.get(name))
        for figure, words in each.items()
    ]
    return table(("Benchmark", "Figure", "", "bound", "met"), rows, words=2)


def _bound(found: Found, figure: str) -> str:
    bound = found["bounds"].get(figure)
    return str(Bound(**bound)) if bound else ""


def between_markers(text: str, part: str) -> str:
    """Return `text` with another part between the markers. Raises `ValueError` if they are not there once each."""
    before, begins, rest = text.partition(BEGIN)
    _, ends, after = rest.partition(END)
    if not begins or not ends or BEGIN in rest or END in after:
        raise ValueError(f"there must be {BEGIN} once, and {END} once behind it")
    return f"{before}{BEGIN}\n{part}\n{END}{after}"
