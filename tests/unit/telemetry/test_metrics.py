"""Figures count what they say, and are written as Prometheus reads them."""

import re
from dataclasses import dataclass
from pathlib import Path

import yaml
from prometheus_client.parser import text_string_to_metric_families

from clarity.application.ports.telemetry import End, IndexState, Kind, PoolState, Shape
from clarity.domain.ids import RequestId
from clarity.telemetry.metrics import Metrics
from clarity.telemetry.observer import Telemetry
from tests.builders import new_id

ROOT = Path(__file__).parents[3]
SELECT = Shape("SELECT", ("patients",))


def figures(metrics: Metrics) -> dict[str, float]:
    """Return every sample by its name and labels."""
    return {
        f"{sample.name}{{{','.join(f'{name}={value}' for name, value in sorted(sample.labels.items()))}}}": sample.value
        for family in text_string_to_metric_families(metrics.text({"database": True, "trail": False}).decode())
        for sample in family.samples
    }


@dataclass(frozen=True, slots=True)
class Kept:
    """Whatever keeps figures of its own."""

    depth: int = 7
    delay_seconds: float = 1.5
    events_written: int = 40
    batches_written: int = 4
    failures: int = 2
    trouble: str = ""
    seals: int = 5
    opens: int = 6
    inside: int = 8
    waiting: int = 9
    shed: int = 10
    state: IndexState = IndexState.SERVING
    patients: int = 11
    memory_bytes: int = 1_100
    lag_seconds: float = 0.5
    refreshes: int = 12
    rebuilds: int = 1

    def pools(self) -> list[PoolState]:
        return [PoolState("reading", 5, 4, 6, 1, 3)]


def test_a_request_is_counted_while_it_lasts_and_when_it_ended() -> None:
    telemetry = Telemetry(Metrics("1.2.3"))
    watched = telemetry.request(RequestId(new_id()), "GET")
    assert figures(telemetry.metrics)["clarity_requests_in_flight{}"] == 1
    watched.ended("/api/v1/patients/{patient_id}", 404, 0.02)
    found = figures(telemetry.metrics)
    assert found["clarity_requests_in_flight{}"] == 0
    assert found["clarity_requests_total{method=GET,route=/api/v1/patients/{patient_id},status=404}"] == 1
    assert found["clarity_request_seconds_bucket{le=0.025,method=GET,route=/api/v1/patients/{patient_id}}"] == 1
    assert found["clarity_build_info{version=1.2.3}"] == 1
    assert watched.trace == ""


def test_an_answer_that_nobody_waited_for_has_no_status() -> None:
    telemetry = Telemetry(Metrics("1"))
    for status in (0, 799):
        telemetry.request(RequestId(new_id()), "GET").ended("/ready", status, 0.1)
    assert figures(telemetry.metrics)["clarity_requests_total{method=GET,route=/ready,status=none}"] == 2


def test_what_happens_at_the_database_is_counted() -> None:
    telemetry = Telemetry(Metrics("1"))
    telemetry.statement(SELECT, Kind.READ, 0.3, slow=True)
    telemetry.failed_statement(SELECT, Kind.WRITE, 30, "57", cancelled=True)
    telemetry.transaction(Kind.WRITE, 2, End.LOST_RACE, long=True)
    telemetry.commit(0.01)
    telemetry.connection("reading", 0.2, in_time=False)
    telemetry.recorded(0.1, durable=False)
    found = figures(telemetry.metrics)
    for name in (
        "clarity_statement_seconds_count{kind=read,verb=SELECT}",
        "clarity_slow_statements_total{kind=read,verb=SELECT}",
        "clarity_statement_seconds_count{kind=write,verb=SELECT}",
        "clarity_statement_errors_total{error=57,kind=write}",
        "clarity_cancelled_statements_total{kind=write,verb=SELECT}",
        "clarity_transaction_seconds_count{end=lost race,kind=write}",
        "clarity_long_transactions_total{kind=write}",
        "clarity_commit_seconds_count{}",
        "clarity_connection_timeouts_total{pool=reading}",
        "clarity_audit_wait_seconds_count{}",
        "clarity_audit_waits_failed_total{}",
    ):
        assert found[name] == 1, name


def test_others_are_asked_when_figures_are_asked_for() -> None:
    metrics = Metrics("1")
    sources, kept = metrics.sources, Kept()
    sources.pools = sources.trail = sources.seals = sources.gate = sources.search = kept
    sources.outbox_waiting = 11
    found = figures(metrics)
    assert {
        "clarity_pool_size{pool=reading}": 5,
        "clarity_pool_idle{pool=reading}": 4,
        "clarity_pool_in_use{pool=reading}": 6,
        "clarity_pool_overflow{pool=reading}": 1,
        "clarity_pool_waiting{pool=reading}": 3,
        "clarity_audit_queue_depth{}": 7,
        "clarity_audit_delay_seconds{}": 1.5,
        "clarity_audit_events_total{}": 40,
        "clarity_audit_batches_total{}": 4,
        "clarity_audit_failures_total{}": 2,
        "clarity_seals_total{}": 5,
        "clarity_opens_total{}": 6,
        "clarity_open_failures_total{}": 2,
        "clarity_requests_worked_on{}": 8,
        "clarity_requests_waiting{}": 9,
        "clarity_requests_shed_total{}": 10,
        "clarity_outbox_waiting{}": 11,
        "clarity_ready{check=database}": 1,
        "clarity_ready{check=trail}": 0,
    }.items() <= found.items()


def test_what_an_alert_asks_for_is_there_before_it_happens() -> None:
    found = figures(Metrics("1"))
    assert found["clarity_long_transactions_total{kind=write}"] == 0
    assert found["clarity_cancelled_statements_total{kind=read,verb=SELECT}"] == 0
    assert found["clarity_audit_waits_failed_total{}"] == 0
    assert not [name for name in found if "_created" in name]


def every_figure() -> set[str]:
    """Return the name of every figure of ours, as it is in the first line that Prometheus reads of it."""
    metrics = Metrics("1")
    sources, kept = metrics.sources, Kept()
    sources.pools = sources.trail = sources.seals = sources.gate = sources.search = kept
    sources.outbox_waiting = 0
    return set(re.findall(r"^# TYPE (clarity_\w+)", metrics.text({"database": True}).decode(), flags=re.MULTILINE))


def test_every_figure_is_explained_to_operators() -> None:
    watching = (
        (ROOT / "docs/operations.md").read_text().split("\n| Figure |", maxsplit=1)[1].split("\n\n", maxsplit=1)[0]
    )
    explained = [
        name for row in watching.splitlines() for name in re.findall(r"`(clarity_\w+)`", row.split("|")[1:2][0])
    ]
    assert sorted(explained) == sorted(every_figure())


def test_every_alert_is_about_a_figure_there_is() -> None:
    rules = yaml.safe_load((ROOT / "examples/alerts.yml").read_text())["groups"][0]["rules"]
    for rule in rules:
        for name in re.findall(r"clarity_\w+", rule["expr"]):
            assert {name, name.removesuffix("_count")} & every_figure(), name
        assert rule["annotations"]["summary"]


def test_two_servers_in_one_process_count_apart() -> None:
    one, another = Metrics("1"), Metrics("1")
    one.commit(1)
    assert figures(another)["clarity_commit_seconds_count{}"] == 0
