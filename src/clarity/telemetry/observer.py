"""One place that is told everything: it counts, and traces if somebody collects traces."""

from dataclasses import dataclass, field

from clarity.application.ports.telemetry import End, GateSource, Kind, Shape
from clarity.domain.ids import RequestId
from clarity.telemetry.metrics import Metrics
from clarity.telemetry.traces import TracedRequest, Traces


@dataclass(slots=True)
class Telemetry:
    """`DatabaseObserver` and `RequestObserver` of one server."""

    metrics: Metrics
    traces: Traces | None = None

    def statement(self, shape: Shape, kind: Kind, seconds: float, *, slow: bool = False) -> None:
        """Tell of a statement that was answered."""
        self.metrics.statement(shape, kind, seconds, slow=slow)
        if self.traces:
            self.traces.statement(shape, kind, seconds)

    def failed_statement(self, shape: Shape, kind: Kind, seconds: float, error: str, *, cancelled: bool) -> None:
        """Tell of a statement that was not."""
        self.metrics.failed_statement(shape, kind, seconds, error, cancelled=cancelled)
        if self.traces:
            self.traces.statement(shape, kind, seconds, error)

    def transaction(self, kind: Kind, seconds: float, end: End, *, long: bool) -> None:
        """Tell of a unit of work that ended."""
        self.metrics.transaction(kind, seconds, end, long=long)
        if self.traces:
            self.traces.transaction(kind, seconds, end)

    def commit(self, seconds: float) -> None:
        """Tell how long a COMMIT took."""
        self.metrics.commit(seconds)
        if self.traces:
            self.traces.commit(seconds)

    def connection(self, pool: str, seconds: float, *, in_time: bool) -> None:
        """Tell how long somebody waited for a connection."""
        self.metrics.connection(pool, seconds, in_time=in_time)

    def recorded(self, seconds: float, *, durable: bool) -> None:
        """Tell how long somebody waited for the trail."""
        self.metrics.recorded(seconds, durable=durable)
        if self.traces:
            self.traces.recorded(seconds, durable=durable)

    def request(self, request: RequestId, method: str, parent: str = "") -> "WatchedRequest":
        """Tell that a request begins."""
        self.metrics.request_began()
        traced = self.traces.request(request, method, parent) if self.traces else None
        return WatchedRequest(self.metrics, method, traced)

    def watch(self, gate: GateSource) -> None:
        """Ask the gate from now on how many are inside."""
        self.metrics.sources.gate = gate


@dataclass(frozen=True, slots=True)
class WatchedRequest:
    """`Watched`."""

    _metrics: Metrics = field(repr=False)
    _method: str
    _traced: TracedRequest | None

    @property
    def trace(self) -> str:
        """The id of its trace, "" if there is none."""
        return self._traced.trace if self._traced else ""

    def ended(self, route: str, status: int, seconds: float) -> None:
        """Tell how it ended."""
        self._metrics.request_ended(self._method, route, status, seconds)
        if self._traced:
            self._traced.ended(route, status)
