"""What the benchmarks of bulk, trail and promises compute, and what is written of all of them."""

import json
import re
from argparse import Namespace
from collections import Counter
from contextlib import ExitStack
from datetime import UTC, datetime
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from uuid_utils.compat import uuid7

from benchmarks import audit, bulk, bundles, pages, promises, report
from benchmarks.copying import SIDES, Sent, plain_row
from benchmarks.growth import Bars, barred
from benchmarks.measuring import Bound
from benchmarks.peers import PACKAGES, side_named, without
from benchmarks.peers.raw import COLUMNS
from benchmarks.people import People
from benchmarks.side import OPERATIONS
from clarity.audit.encoding import decode, encode
from clarity.bootstrap import operator
from clarity.domain.access import Action, Role, Scope
from clarity.domain.ids import PatientId
from clarity.domain.records import Resource, Standing

MACHINE = {
    "cores": 2,
    "processor": "made up",
    "memory_gb": 8,
    "system": "Linux",
    "python": "3.11",
    "load_average_1m": 0.1,
    "packages": {"asyncpg": "1"},
}


def some_found(**more: Any) -> dict[str, Any]:
    """Return what a benchmark of the trail might print."""
    bounds = {name: bound.told() for name, bound in audit.BOUNDS.items()}
    one = {"per_s": 9_000.0, "p50_ms": 1.0, "p99_ms": 12.0, "cpu_ms_each": 0.02}
    return {
        "read_events_per_s": 9_000.0,
        "p99_ms": 8.0,
        "bounds": bounds,
        "missed": ["read_events_per_s"],
        "quick": False,
        "spreads": {"p99_ms": {"median": 8.0, "least": 7.0, "greatest": 9.5, "by_round": [7.0, 8.0, 9.5]}},
        "levels": {side: {"64": one} for side in audit.SIDES},
        "breakdown_us": {"making": 1.5},
        "machine": MACHINE,
        "settings": {"fsync": "on"},
        **more,
    }


def test_an_event_of_a_read_is_one_that_the_trail_takes() -> None:
    event = audit.event_of_a_read()
    assert (event.action, event.role, event.ids) == (Action.VIEW, Role.FRONT_DESK, (event.patient,))
    assert event.fields
    assert decode(encode(event)) == event


def test_a_bundle_has_as_many_resources_as_it_says_and_refers_to_its_own() -> None:
    [first, second] = (bundles.bundle_of(person) for person in People(2).some(0, 2))
    counted = Counter(entry["resource"]["resourceType"] for entry in first["entry"])
    assert counted == {**bundles.OF_EACH, "Patient": 1, "Practitioner": 3, "Organization": 3}
    assert counted.total() == bundles.resources_in_a_bundle() == 300
    own, others = ({entry["fullUrl"] for entry in bundle["entry"]} for bundle in (first, second))
    assert len(own) == 300
    assert len(own & others) <= 2 * bundles.STAFF
    assert set(_references(first)) - {"#referral"} <= own


def _references(value: Any) -> list[str]:
    if isinstance(value, list):
        return [found for one in value for found in _references(one)]
    if not isinstance(value, dict):
        return []
    return [one for name, found in value.items() for one in ([found] if name == "reference" else _references(found))]


def test_a_plain_row_has_everything_that_is_sealed_of_a_person() -> None:
    [person] = People(1).some(0, 1)
    row = plain_row(person.patient(PatientId(uuid7()), with_ssn=True), datetime(2026, 3, 14, tzinfo=UTC))
    found = dict(zip(COLUMNS, row, strict=True))
    for name in ("mrn", "ssn", "family", "given", "born", "phone", "email", "line", "city", "postal_code", "notes"):
        assert found[name] == getattr(person, name)


def test_sealed_rows_are_compared_with_plain_ones_in_tables_alike() -> None:
    rates = {"plain": 100.0, "plain_indexed": 50.0, "sealed": 40.0, "sealed_indexed": 25.0}
    sent = {side: [Sent(rates.get(side, 10.0), 1.0)] * 3 for side in SIDES}
    found = {name: spread.median for name, spread in bulk.copy_ratios(sent).items()}
    assert (found["sealed"], found["sealed_indexed"]) == (0.4, 0.5)
    assert (found["sealed_whole"], found["sealed_whole_indexed"]) == (0.1, 0.2)
    assert not any(name.startswith("plain") for name in found)


def test_what_is_read_is_told_from_what_is_stored() -> None:
    imports = [bulk.Imported(300, 4, seconds, 0.2) for seconds in (0.1, 0.2, 0.4)]
    assert bulk.described(imports) == {
        "resources": 300,
        "stored": 4,
        "resources_per_s": 1_500,
        "stored_per_s": 20,
        "cpu_ms_for_each_stored": 50,
    }
    assert "cpu_ms_for_each_stored" not in bulk.described([bulk.Imported(300, 0, 0.1, 0.1)])


def test_a_price_is_the_share_that_goes_when_the_promise_goes() -> None:
    kept = {what: [{"cpu_ms_each": 2.0, "per_s": 100.0}] * 2 for what in OPERATIONS}
    less = {what: [{"cpu_ms_each": 1.5, "per_s": 125.0}, {"cpu_ms_each": 2.5, "per_s": 100.0}] for what in OPERATIONS}
    found = promises.prices({promises.NOTHING: kept, "audit": less})
    assert set(found) == {"audit"}
    price = found["audit"]["read"]["price"]
    assert (price.least, price.median, price.greatest) == (-0.25, 0, 0.25)
    assert found["audit"]["page"]["throughput_without"].median == 1.125


def test_a_build_without_a_promise_leaves_the_process_as_it_was() -> None:
    scope = Scope(actor=operator(), action=Action.VIEW, resource=Resource.PATIENT, at=datetime(2026, 3, 14, tzinfo=UTC))
    gone = PatientId(uuid7()), Standing(deleted=True)
    with ExitStack() as stack:
        for one in without.Build(without.EVERYTHING).replaced():
            stack.enter_context(one)
        assert scope.before_opening(*gone).allowed
    assert not scope.before_opening(*gone).allowed
    assert list(without.Build(promises.NOTHING).replaced()) == []
    assert callable(side_named("ours_without_audit"))


def test_bars_stand_beside_each_other_and_have_their_names() -> None:
    sides = [Bars("ours & <more>", "#000", [1.0, 2.0]), Bars("theirs", "#111", [None, -0.5])]
    drawing = barred("A title", "times", ["read", "page"], sides, line=1.0)
    words = [unescape(text) for text in re.findall(r"<text[^>]*>([^<]*)</text>", drawing)]
    assert {"A title", "ours & <more>", "theirs", "read", "page"} <= set(words)
    heights = [float(height) for height in re.findall(r'<rect[^>]* height="([^"]*)"', drawing)]
    assert len(heights) == 1 + 3 + 2
    assert min(heights) > 0


def test_a_page_says_what_was_missed() -> None:
    text = pages.page({"audit": some_found()}, {"audit": ["audit"]})
    assert "| `read_events_per_s` | 9,000 |  | at least 10000 | **no** |" in text
    assert "| `p99_ms` | 8 | 7 to 9.5 | at most 10 | yes |" in text
    assert "](plots/audit.svg)" in text
    assert pages.verdict(some_found(missed=[]), "read_events_per_s") == "not judged"
    assert pages.verdict(some_found(read_events_per_s=None, missed=[]), "read_events_per_s") == "not measured"
    quick = pages.page({"audit": some_found(quick=True, missed=[])}, {})
    assert "nothing of what it measures" in quick
    assert "yes" not in quick


def test_the_short_table_stands_between_its_markers() -> None:
    table = pages.short({"audit": some_found()})
    text = f"before\n{pages.BEGIN}\nold\n{pages.END}\nbehind"
    once = pages.between_markers(text, table)
    assert once == f"before\n{pages.BEGIN}\n{table}\n{pages.END}\nbehind"
    assert pages.between_markers(once, table) == once
    for wrong in ("nothing", f"{pages.END}{pages.BEGIN}", text + text):
        with pytest.raises(ValueError, match="there must be"):
            pages.between_markers(wrong, table)


def test_a_report_is_written_anew_from_what_was_kept(tmp_path: Path) -> None:
    (tmp_path / "audit.json").write_text(json.dumps(some_found(quick=True, missed=[])))
    options = report.options_of(["--quick", "--again", "--folder", str(tmp_path)])
    assert report.report(options) == 0
    assert (tmp_path / "results.md").read_text().startswith("# Results")
    assert (tmp_path / "plots/audit.svg").read_text().startswith("<svg ")


def test_a_benchmark_that_crashes_fails_the_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "run", lambda *_, **__: False)
    options = Namespace(quick=True, folder=tmp_path / "new", only=["audit"], again=False)
    assert report.report(options) == 1
    assert not (tmp_path / "new" / "results.md").exists()


def test_every_benchmark_that_is_run_is_there_and_described() -> None:
    assert set(pages.SHORT) | {"promises"} == set(pages.TITLES)
    assert all((Path(report.__file__).parent / f"{name}.py").exists() for name in pages.TITLES)
    readme = (Path(report.__file__).parent / "README.md").read_text()
    assert all(f"python -m benchmarks.{name}" in readme for name in pages.TITLES)
    assert set(PACKAGES) == {"ours", "raw", "orm", "encrypted", "django"}


@pytest.mark.parametrize(
    ("value", "text"), [(None, "-"), (12_345.6, "12,346"), (0.1234, "0.123"), (0, "0"), (True, "True"), ("a", "a")]
)
def test_figures_are_shown_as_one_reads_them(value: object, text: str) -> None:
    assert pages.shown(value) == text
    assert str(Bound(at_most=3)) == "at most 3"
