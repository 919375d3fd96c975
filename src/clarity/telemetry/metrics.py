"""Figures for Prometheus. Every label has a closed set of values: templates, verbs, codes, never what a client sent."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info
from prometheus_client.exposition import generate_latest
from prometheus_client.gc_collector import GCCollector
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from clarity.application.ports.telemetry import (
    End,
    GateSource,
    IndexState,
    Kind,
    PoolSource,
    SealSource,
    SearchSource,
    Shape,
    TrailSource,
)

# Seconds. Answers of a millisecond and of half a minute both matter; between them two or three to each power of ten.
_REQUEST_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_STATEMENT_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_STATUSES = {int(status): str(int(status)) for status in HTTPStatus}
_GONE = "none"
"""The status of an answer that nobody waited for."""


@dataclass(slots=True)
class Sources:
    """What is asked when figures are asked for; nothing is there before the practice was opened."""

    pools: PoolSource | None = None
    trail: TrailSource | None = None
    seals: SealSource | None = None
    gate: GateSource | None = None
    search: SearchSource | None = None
    checks: Mapping[str, bool] = field(default_factory=dict)
    outbox_waiting: int | None = None


class Metrics:
    """The figures of one server."""

    def __init__(self, version: str) -> None:
        self.sources = Sources()
        registry = self._registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        GCCollector(registry=registry)
        registry.register(_Asked(self.sources))
        Info("clarity_build", "What runs.", registry=registry).info({"version": version})

        def counter(name: str, meaning: str, *labels: str) -> Counter:
            return Counter(f"clarity_{name}", meaning, labels, registry=registry)

        def histogram(
            name: str, meaning: str, *labels: str, buckets: Sequence[float] = _STATEMENT_BUCKETS
        ) -> Histogram:
            return Histogram(f"clarity_{name}", meaning, labels, registry=registry, buckets=buckets)

        self._requests = counter("requests", "Requests answered.", "method", "route", "status")
        self._request_seconds = histogram(
            "request_seconds", "How long answers took.", "method", "route", buckets=_REQUEST_BUCKETS
        )
        self._in_flight = Gauge("clarity_requests_in_flight", "Requests being answered.", registry=registry)
        self._statements = histogram("statement_seconds", "How long statements took.", "verb", "kind")
        self._slow = counter("slow_statements", "Statements slower than DB_SLOW_STATEMENT_MS.", "verb", "kind")
        self._errors = counter("statement_errors", "Statements that failed, by class of SQLSTATE.", "error", "kind")
        self._cancelled = counter("cancelled_statements", "Statements ended at their time limit.", "verb", "kind")
        self._transactions = histogram("transaction_seconds", "How long units of work took.", "kind", "end")
        self._long = counter("long_transactions", "Units of work longer than DB_LONG_TRANSACTION_MS.", "kind")
        self._commits = histogram("commit_seconds", "How long COMMITs took.")
        self._waits = histogram("connection_wait_seconds", "How long connections were waited for.", "pool")
        self._timeouts = counter("connection_timeouts", "Connections that did not come in time.", "pool")
        self._trail_waits = histogram("audit_wait_seconds", "How long answers waited for the trail.")
        self._unrecorded = counter("audit_waits_failed", "Answers that were withheld for want of the trail.")
        # What could happen is there from the first, so that an alert on it finds a series before it does.
        for kind in (Kind.READ, Kind.WRITE):
            self._long.labels(kind.value)
        for kind in Kind:
            self._slow.labels("SELECT", kind.value)
            self._cancelled.labels("SELECT", kind.value)
        self._counters: dict[tuple[Counter, *tuple[str, ...]], Counter] = {}
        self._histograms: dict[tuple[Histogram, *tuple[str, ...]], Histogram] = {}

    def text(self, checks: Mapping[str, bool]) -> bytes:
        """Return all figures as Prometheus reads them, and which `checks` of `/ready` hold."""
        self.sources.checks = checks
        return generate_latest(_WithoutInstants(self._registry))

    def request_began(self) -> None:
        """Count a request in."""
        self._in_flight.inc()

    def request_ended(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count a request out."""
        self._in_flight.dec()
        self._count(self._requests, method, route, _STATUSES.get(status, _GONE))
        self._observe(seconds, self._request_seconds, method, route)

    def statement(self, shape: Shape, kind: Kind, seconds: float, *, slow: bool) -> None:
        """Count a statement."""
        self._observe(seconds, self._statements, shape.verb, kind.value)
        if slow:
            self._count(self._slow, shape.verb, kind.value)

    def failed_statement(self, shape: Shape, kind: Kind, seconds: float, error: str, *, cancelled: bool) -> None:
        """Count a statement that failed."""
        self._observe(seconds, self._statements, shape.verb, kind.value)
        self._count(self._errors, error, kind.value)
        if cancelled:
            self._count(self._cancelled, shape.verb, kind.value)

    def transaction(self, kind: Kind, seconds: float, end: End, *, long: bool) -> None:
        """Count a unit of work."""
        self._observe(seconds, self._transactions, kind.value, end.value)
        if long:
            self._count(self._long, kind.value)

    def commit(self, seconds: float) -> None:
        """Count a COMMIT."""
        self._commits.observe(seconds)

    def connection(self, pool: str, seconds: float, *, in_time: bool) -> None:
        """Count a connection that was asked for."""
        self._observe(seconds, self._waits, pool)
        if not in_time:
            self._count(self._timeouts, pool)

    def recorded(self, seconds: float, *, durable: bool) -> None:
        """Count a wait for the trail."""
        self._trail_waits.observe(seconds)
        if not durable:
            self._unrecorded.inc()

    # What the library does to find a series again takes longer than counting in it.

    def _count(self, counter: Counter, *labels: str) -> None:
        child = self._counters.get((counter, *labels))
        if child is None:
            child = self._counters[counter, *labels] = counter.labels(*labels)
        child.inc()

    def _observe(self, seconds: float, histogram: Histogram, *labels: str) -> None:
        child = self._histograms.get((histogram, *labels))
        if child is None:
            child = self._histograms[histogram, *labels] = histogram.labels(*labels)
        child.observe(seconds)


@dataclass(frozen=True, slots=True)
class _WithoutInstants(Collector):
    """Everything but the instants at which series were made: they would double the number of series for nobody."""

    inner: Collector

    def collect(self) -> Iterable[Metric]:
        """Return the rest."""
        for family in self.inner.collect():
            family.samples = [sample for sample in family.samples if not sample.name.endswith("_created")]
            yield family


class _Asked(Collector):
    """Figures that somebody else keeps: they are asked when Prometheus asks."""

    def __init__(self, sources: Sources) -> None:
        self._sources = sources

    def collect(self) -> Iterable[Metric]:
        """Return what the sources say now."""
        sources = self._sources
        if sources.pools is not None:
            yield from _of_pools(sources.pools)
        if sources.trail is not None:
            yield from _of_trail(sources.trail)
        if sources.seals is not None:
            seals = sources.seals
            yield _counted("seals", "Values sealed.", seals.seals)
            yield _counted("opens", "Sealed values opened.", seals.opens)
            yield _counted("open_failures", "Sealed values that did not open.", seals.failures)
        if sources.search is not None:
            yield from _of_search(sources.search)
        if sources.gate is not None:
            gate = sources.gate
            yield GaugeMetricFamily("clarity_requests_worked_on", "Requests let in.", value=gate.inside)
            yield GaugeMetricFamily("clarity_requests_waiting", "Requests that wait to be let in.", value=gate.waiting)
            yield _counted("requests_shed", "Requests turned away because there were too many.", gate.shed)
        ready = GaugeMetricFamily(
            "clarity_ready", "Whether something needed is there, as /ready says.", labels=["check"]
        )
        for check, holds in sources.checks.items():
            ready.add_metric([check], float(holds))
        yield ready
        if sources.outbox_waiting is not None:
            yield GaugeMetricFamily(
                "clarity_outbox_waiting", "Messages that were not sent yet.", value=sources.outbox_waiting
            )


def _of_pools(source: PoolSource) -> Iterable[Metric]:
    states = source.pools()
    figures: tuple[tuple[str, str, Callable[[Any], int]], ...] = (
        ("size", "Connections the pool keeps.", lambda state: state.size),
        ("idle", "Connections that are open and not in use.", lambda state: state.idle),
        ("in_use", "Connections in use.", lambda state: state.in_use),
        ("overflow", "Connections beyond the size of the pool.", lambda state: state.overflow),
        ("waiting", "Who waits for a connection.", lambda state: state.waiting),
    )
    for name, meaning, figure in figures:
        family = GaugeMetricFamily(f"clarity_pool_{name}", meaning, labels=["pool"])
        for state in states:
            family.add_metric([state.name], figure(state))
        yield family


def _of_trail(trail: TrailSource) -> Iterable[Metric]:
    yield GaugeMetricFamily("clarity_audit_queue_depth", "Events that are not durable yet.", value=trail.depth)
    yield GaugeMetricFamily(
        "clarity_audit_delay_seconds", "How long the oldest of them has waited.", value=trail.delay_seconds
    )
    yield _counted("audit_events", "Events made durable outside transactions.", trail.events_written)
    yield _counted("audit_batches", "Batches they went in.", trail.batches_written)
    yield _counted("audit_failures", "Events refused, given up or turned away.", trail.failures)


def _of_search(search: SearchSource) -> Iterable[Metric]:
    states = GaugeMetricFamily("clarity_search_index_state", "What the search index does.", labels=["state"])
    for state in IndexState:
        states.add_metric([state], float(state == search.state))
    yield states
    yield GaugeMetricFamily("clarity_search_index_patients", "Patients in the search index.", value=search.patients)
    yield GaugeMetricFamily("clarity_search_index_bytes", "Memory of the search index.", value=search.memory_bytes)
    yield GaugeMetricFamily(
        "clarity_search_index_lag_seconds", "How long ago it was up to date for certain.", value=search.lag_seconds
    )
    yield _counted("search_index_refreshes", "Times the search index was brought up to date.", search.refreshes)
    yield _counted("search_index_rebuilds", "Times it was built anew while it served.", search.rebuilds)


def _counted(name: str, meaning: str, value: int) -> Metric:
    return CounterMetricFamily(f"clarity_{name}", meaning, value=value)
