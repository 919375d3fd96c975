"""What is asked over HTTP is the same for every side, and the figures are those of the rounds."""

import json
import sys
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from uuid_utils.compat import uuid7

from benchmarks import http
from benchmarks.http import Measurement, Plan, Runs
from benchmarks.load import Tally
from benchmarks.measuring import arguments
from benchmarks.peers import Place
from benchmarks.people import People
from benchmarks.places import Places
from benchmarks.servers import KINDS, OURS, Side
from clarity.api.patients.shapes import RegistrationIn
from clarity.config import Settings
from clarity.domain.ids import PatientId
from clarity.persistence.engine import EngineOptions
from tests.servers import PostgresDatabases

[SOMEBODY] = People(1).some(0, 1)
DATABASE = "postgresql+asyncpg://owner:s%40cret@/people?host=/srv/somewhere"


def side(name: str, token: str = "") -> Side:
    return Side(name, Place(DATABASE, DATABASE, "/srv/data"), token)


def parted(request: bytes) -> tuple[list[str], bytes]:
    head, _, body = request.partition(b"\r\n\r\n")
    return head.decode().split("\r\n"), body


def test_ours_registers_the_very_patient() -> None:
    identity = PatientId(uuid7())
    body = json.dumps(KINDS["ours"].body(SOMEBODY))
    registered = RegistrationIn.model_validate_json(body).patient(identity)
    expected = SOMEBODY.patient(identity, with_ssn=True)
    names = ("names", "born", "gender", "birth_sex", "identifiers", "telecoms", "addresses")
    assert [getattr(registered, name) for name in names] == [getattr(expected, name) for name in names]


def test_the_peer_behind_fastapi_takes_the_body_and_keeps_all_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCHMARK_DATABASE_URL", DATABASE)
    app = import_module("benchmarks.peers.orm_app")
    body = KINDS["orm"].body(SOMEBODY)
    assert app.PatientIn.model_validate(body).model_dump(mode="json") == body


def test_both_peers_are_given_the_same() -> None:
    assert KINDS["orm"].body(SOMEBODY) == KINDS["django"].body(SOMEBODY)


@pytest.mark.parametrize("name", KINDS)
def test_a_request_is_whole(name: str) -> None:
    asked, nothing = parted(side(name).get("?limit=50"))
    assert asked == [f"GET {KINDS[name].path}?limit=50 HTTP/1.1", "Host: 127.0.0.1"]
    assert nothing == b""
    head, body = parted(side(name, "abc").post(SOMEBODY))
    assert head[0] == f"POST {KINDS[name].path} HTTP/1.1"
    assert {"Authorization: Bearer abc", f"Content-Length: {len(body)}"} <= set(head)
    assert json.loads(body) == KINDS[name].body(SOMEBODY)


def test_a_peer_is_told_nothing_of_ours() -> None:
    assert OURS.items() <= side("ours").environment.items()
    assert side("orm").environment["BENCHMARK_DATABASE_URL"] == DATABASE
    assert OURS.keys().isdisjoint(side("orm").environment)


def test_what_is_set_of_ours_are_settings() -> None:
    assert {name.lower() for name in OURS} <= set(Settings.model_fields)


@pytest.mark.parametrize(("pooled", "kept"), [(True, 0), (False, None)])
def test_django_keeps_its_connections(monkeypatch: pytest.MonkeyPatch, *, pooled: bool, kept: int | None) -> None:
    monkeypatch.setenv("BENCHMARK_DATABASE_URL", DATABASE)
    monkeypatch.delenv("BENCHMARK_POOL", raising=False)
    if pooled:
        monkeypatch.setenv("BENCHMARK_POOL", "yes")
    module = "benchmarks.peers.django_project.settings"
    monkeypatch.delitem(sys.modules, module, raising=False)
    database: Mapping[str, Any] = import_module(module).DATABASES["default"]
    where = {name: database[name] for name in ("NAME", "USER", "PASSWORD", "HOST")}
    assert where == {"NAME": "people", "USER": "owner", "PASSWORD": "s@cret", "HOST": "/srv/somewhere"}
    assert (database["CONN_MAX_AGE"], "pool" in database["OPTIONS"]) == (kept, pooled)


def runs(*rounds: tuple[float, float, float]) -> Runs:
    made = Runs()
    for per_s, p99, cpu in rounds:
        made.add({"good_per_s": per_s, "good_ms": {"p50": 1.0, "p95": 2.0, "p99": p99}}, cpu)
    return made


def test_figures_are_the_medians_of_ratios_round_by_round() -> None:
    measured = measurement()
    measured.runs[1, "get", 32] = {
        "ours": runs((100, 9, 2.0), (90, 9, 2.0), (200, 9, 2.0)),
        "orm": runs((100, 9, 1.0), (100, 9, 1.0), (100, 9, 4.0)),
    }
    measured.runs[1, "get", 64] = {"ours": runs((1, 30, 1.0)), "orm": runs((1, 20, 1.0))}
    found = measured.compared()
    assert {name: spread.median for name, spread in found.items() if spread} == {
        "get_vs_orm": 1.0,
        "get_processor_over_orm": 2.0,
        "p99_ratio_64": 1.5,
    }
    assert found["get_vs_orm"] is not None
    assert found["get_vs_orm"].by_round == (1.0, 0.9, 2.0)


def measurement() -> Measurement:
    return Measurement(
        Plan.of(options("--quick")),
        places=Places(PostgresDatabases(EngineOptions(url=DATABASE), ""), Path()),
        people=(),
    )


def options(*given: str) -> Any:
    parser = arguments(http.__doc__ or "")
    parser.add_argument("--rounds", type=int, default=5)
    return parser.parse_args(given)


@pytest.mark.parametrize("given", [(), ("--quick",)])
def test_whatever_is_judged_is_asked(given: tuple[str, ...]) -> None:
    plan = Plan.of(options(*given))
    assert {(1, "get", 32), (1, "get", 64)} <= set(plan.questions)
    assert {workers for workers, _, _ in plan.questions} == set(plan.workers)


@pytest.mark.parametrize("rounds", ["0", "10", "many"])
def test_a_senseless_number_of_rounds_is_refused(rounds: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["http", "--rounds", rounds])
    with pytest.raises(SystemExit):
        http.main()


def test_whoever_is_patient_counts_late_answers_as_good() -> None:
    waited = [Tally(1.0), Tally(1.0, patience_seconds=5.0)]
    for tally in waited:
        tally.answered(200, 1.5, 0.5)
    assert [(len(tally.good), tally.late) for tally in waited] == [(0, 1), (1, 0)]
