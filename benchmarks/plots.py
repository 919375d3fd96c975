"""The drawings of what the benchmarks found, each from the object that a benchmark printed."""

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from benchmarks.audit import SIDES as TRAILS
from benchmarks.copying import FORMS, INDEXED
from benchmarks.growth import Bars, Line, barred, drawn
from benchmarks.peers.without import EVERYTHING, PROMISES
from benchmarks.search import plot as plot_of_search
from benchmarks.side import OPERATIONS

Found: TypeAlias = Mapping[str, Any]
COLOURS = {
    "ours": "#0b6e4f",
    "raw": "#8a8a8a",
    "orm": "#b3541e",
    "encrypted": "#c9a227",
    "django": "#2f6690",
    "postgresql": "#0b6e4f",
    "sqlite": "#2f6690",
    "naive": "#b3541e",
}
NAMES = {
    "ours": "Clarity",
    "raw": "asyncpg, plain",
    "orm": "ORM, plain",
    "encrypted": "ORM, encrypted columns",
    "django": "Django, encrypted fields",
    "postgresql": "the trail, PostgreSQL",
    "sqlite": "the trail, SQLite",
    "naive": "a commit for each event",
}
_MANY = ("#0b6e4f", "#b3541e", "#2f6690", "#c9a227")


def service(found: Found) -> dict[str, str]:
    """Draw how many times as many a second each side does as ours, and how ours does as the practice grows."""
    rates = {side: [one["loads"][f"{what}_32"]["per_s"] for what in OPERATIONS] for side, one in found["sides"].items()}
    sides = [
        Bars(NAMES[side], COLOURS[side], [rate / ours for rate, ours in zip(each, rates["ours"], strict=True)])
        for side, each in rates.items()
    ]
    title = "Times as many a second as Clarity, 32 in flight (more is faster)"
    plots = {"service": barred(title, "times", OPERATIONS, sides, line=1.0, ratios=True)}
    if sizes := found["growth"]["sides"]:
        lines = [
            Line(
                f"{what}, {share}",
                colour,
                dashes,
                [(float(size), loads[f"{what}_32"][f"{share}_ms"]) for size, loads in sizes.items()],
            )
            for what, colour in (("read", COLOURS["ours"]), ("create", COLOURS["orm"]))
            for share, dashes in (("p50", ""), ("p99", "6 4"))
        ]
        plots["service-growth"] = drawn("Clarity by the number of patients, 32 in flight", "patients", "ms", lines)
    return plots


def http(found: Found) -> dict[str, str]:
    """Draw how many requests a second each side answers, by the most that ask at once."""
    asked = [one for one in found["runs"] if one["in_flight"] == 32] or found["runs"]
    groups = [f"{one['asked']}, {one['processes']} process" + "es" * (one["processes"] > 1) for one in asked]
    names = list(asked[0]["sides"])
    sides = [
        Bars(NAMES[name], COLOURS[name], [one["sides"][name]["per_s"]["median"] for one in asked]) for name in names
    ]
    return {"http": barred("Requests a second over HTTP", "a second", groups, sides)}


def audit(found: Found) -> dict[str, str]:
    """Draw the events a second of each trail, by how many wait at once."""
    lines = [
        Line(
            NAMES[side],
            COLOURS[side],
            "",
            [(float(level), one["per_s"]) for level, one in found["levels"][side].items()],
        )
        for side in TRAILS
    ]
    return {"audit": drawn("Durable events of reads a second", "in flight", "events a second", lines)}


def bulk(found: Found) -> dict[str, str]:
    """Draw rows a second by COPY, of every form."""
    sides = [
        Bars(name, colour, [found["copied"][f"{form}{end}"]["rows_per_s"] for form in FORMS])
        for name, colour, end in (("primary key only", _MANY[0], ""), ("tables in use", _MANY[1], INDEXED))
    ]
    groups = [form.replace("_", " ") for form in FORMS]
    return {"bulk": barred("Patients a second, made in Python and sent by COPY", "rows a second", groups, sides)}


def promises(found: Found) -> dict[str, str]:
    """Draw the price of each promise."""
    builds = [build for build in (*PROMISES, EVERYTHING) if build in found["spreads"]]
    sides = [
        Bars(what, colour, [found["spreads"][build][what]["price"]["median"] for build in builds])
        for what, colour in zip(OPERATIONS, _MANY, strict=True)
    ]
    groups = [build.replace("_", " ") for build in builds]
    return {"promises": barred("Share of the processor's time that each promise takes", "share", groups, sides)}


def search(found: Found) -> dict[str, str]:
    """Draw how a page of a search grows, if that was measured."""
    return {"search-growth": plot_of_search(dict(found))} if len(found["growth"]) > 1 else {}


PLOTS: dict[str, Callable[[Found], dict[str, str]]] = {
    "service": service,
    "http": http,
    "audit": audit,
    "bulk": bulk,
    "promises": promises,
    "search": search,
}
"""What draws the plots of a benchmark, by the names of their files."""
