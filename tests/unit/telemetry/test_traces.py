"""Traces tell how long each part of an answer took, and take nothing over from whom nobody trusts."""

import sys

import pytest
from opentelemetry import baggage, context
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from clarity.application.ports.telemetry import End, Kind, Shape
from clarity.domain.errors import Misconfigured
from clarity.domain.ids import RequestId
from clarity.telemetry.metrics import Metrics
from clarity.telemetry.observer import Telemetry
from clarity.telemetry.traces import Traces, exporting
from tests.builders import new_id

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
SELECT = Shape("SELECT", ("patients", "data_keys"))


@pytest.fixture
def spans() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
def telemetry(spans: InMemorySpanExporter) -> Telemetry:
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(spans))
    return Telemetry(Metrics("1"), Traces(provider))


def by_name(spans: InMemorySpanExporter) -> dict[str, ReadableSpan]:
    return {span.name: span for span in spans.get_finished_spans()}


def test_what_a_request_waits_for_stands_below_it(telemetry: Telemetry, spans: InMemorySpanExporter) -> None:
    request = RequestId(new_id())
    watched = telemetry.request(request, "GET")
    telemetry.statement(SELECT, Kind.READ, 0.002)
    telemetry.failed_statement(Shape("BEGIN", ()), Kind.WRITE, 0.001, "40", cancelled=False)
    telemetry.commit(0.003)
    telemetry.transaction(Kind.WRITE, 0.004, End.LOST_RACE, long=False)
    telemetry.recorded(0.005, durable=False)
    watched.ended("/api/v1/patients/{patient_id}", 503, 0.01)
    telemetry.statement(SELECT, Kind.TRAIL, 0.001)  # no request asked for that
    found = by_name(spans)
    whole = found.pop("GET /api/v1/patients/{patient_id}")
    assert set(found) == {"SELECT patients", "BEGIN", "COMMIT", "unit of work", "audit"}
    assert whole.context is not None
    assert watched.trace == f"{whole.context.trace_id:032x}"
    for span in found.values():
        assert span.parent == whole.context
        assert not span.events
    assert dict(whole.attributes or {}) == {
        "http.request.method": "GET",
        "clarity.request_id": str(request),
        "http.route": "/api/v1/patients/{patient_id}",
        "http.response.status_code": 503,
        "error.type": "503",
    }
    assert dict(found["SELECT patients"].attributes or {}) == {
        "db.operation.name": "SELECT",
        "clarity.tables": ("patients", "data_keys"),
        "clarity.kind": "read",
    }
    errors = {name: (span.attributes or {}).get("error.type") for name, span in found.items() if not span.status.is_ok}
    assert errors == {"BEGIN": "40", "unit of work": "lost race", "audit": "trail unavailable"}
    commit = found["COMMIT"]
    assert commit.start_time is not None
    assert commit.end_time is not None
    assert commit.end_time - commit.start_time == 3_000_000


def test_a_trusted_parent_is_taken_and_nothing_else_of_it(telemetry: Telemetry, spans: InMemorySpanExporter) -> None:
    token = context.attach(baggage.set_baggage("patient", "Lovelace"))
    telemetry.request(RequestId(new_id()), "GET", PARENT).ended("/ready", 200, 0.01)
    context.detach(token)
    (span,) = spans.get_finished_spans()
    assert span.parent is not None
    assert f"{span.parent.trace_id:032x}" == PARENT[3:35]
    assert not span.parent.trace_state
    assert "Lovelace" not in span.to_json()


@pytest.mark.parametrize(
    "parent",
    [
        "",
        "Lovelace",
        PARENT.upper(),
        PARENT + "-more",
        f"00-{'0' * 32}-b7ad6b7169203331-01",
        PARENT.replace("00-", "ff-", 1),
    ],
)
def test_what_is_no_parent_begins_a_trace(parent: str, telemetry: Telemetry, spans: InMemorySpanExporter) -> None:
    telemetry.request(RequestId(new_id()), "GET", parent).ended("/ready", 200, 0.01)
    (span,) = spans.get_finished_spans()
    assert span.parent is None


def test_one_request_leaves_nothing_current_for_the_next(telemetry: Telemetry, spans: InMemorySpanExporter) -> None:
    for _ in range(2):
        telemetry.request(RequestId(new_id()), "GET").ended("/ready", 200, 0.01)
    assert [span.parent for span in spans.get_finished_spans()] == [None, None]


def test_a_collector_needs_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "clarity.telemetry.collector", raising=False)
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    with pytest.raises(Misconfigured, match="clarity\\[telemetry\\]"):
        exporting("http://127.0.0.1:4318", "1")


def test_what_is_sent_to_a_collector_says_nothing_of_the_machine() -> None:
    provider = exporting("http://127.0.0.1:4318/", "1")
    try:
        assert dict(provider.resource.attributes) == {"service.name": "clarity", "service.version": "1"}
    finally:
        provider.shutdown()
