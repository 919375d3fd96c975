"""Traces for OpenTelemetry: how long each part of an answer took, and nothing of what was asked or found.

Nothing is instrumented by itself: libraries' own instrumentation records statements, addresses and exceptions. Of an
exception the type is told at most, and that of our own.
"""

import re
from collections.abc import Mapping
from contextvars import Token
from importlib import import_module
from time import time_ns
from typing import TYPE_CHECKING

from opentelemetry import context, trace
from opentelemetry.trace import NonRecordingSpan, Span, SpanContext, SpanKind, Status, StatusCode, TraceFlags
from opentelemetry.util.types import AttributeValue

from clarity.application.ports.telemetry import End, Kind, Shape
from clarity.domain.errors import Misconfigured
from clarity.domain.ids import RequestId

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

_PARENT = re.compile(r"00-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})", re.ASCII)
"""W3C Trace Context, 3.2. What else comes along, `tracestate` and `baggage`, is free text and left where it is."""
_SAMPLED = 0x01
_NANOSECONDS = 1_000_000_000


class Traces:
    """The traces of one server."""

    def __init__(self, provider: trace.TracerProvider) -> None:
        self._tracer = provider.get_tracer("clarity")

    def request(self, request: RequestId, method: str, parent: str) -> "TracedRequest":
        """Begin the span of a request, below `parent` if that is one."""
        span = self._tracer.start_span(
            method,
            context=_context_of(parent),
            kind=SpanKind.SERVER,
            attributes={"http.request.method": method, "clarity.request_id": str(request)},
            record_exception=False,
            set_status_on_exception=False,
        )
        return TracedRequest(span, method)

    def statement(self, shape: Shape, kind: Kind, seconds: float, error: str = "") -> None:
        """Tell of a statement that ended now."""
        attributes: dict[str, AttributeValue] = {
            "db.operation.name": shape.verb,
            "clarity.tables": shape.tables,
            "clarity.kind": kind.value,
        }
        self._past(f"{shape.verb} {shape.tables[0] if shape.tables else ''}".rstrip(), seconds, attributes, error)

    def transaction(self, kind: Kind, seconds: float, end: End) -> None:
        """Tell of a unit of work that ended now."""
        error = "" if end is End.DONE else end.value
        self._past("unit of work", seconds, {"clarity.kind": kind.value, "clarity.end": end.value}, error)

    def commit(self, seconds: float) -> None:
        """Tell of a COMMIT that ended now."""
        self._past("COMMIT", seconds, {}, "")

    def recorded(self, seconds: float, *, durable: bool) -> None:
        """Tell of a wait for the trail that ended now."""
        self._past("audit", seconds, {}, "" if durable else "trail unavailable")

    def _past(self, name: str, seconds: float, attributes: Mapping[str, AttributeValue], error: str) -> None:
        """Tell of something that is over, below whatever span the task is in."""
        if not trace.get_current_span().is_recording():
            return  # what no request asked for, such as the trail's own writing
        ended = time_ns()
        span = self._tracer.start_span(
            name,
            attributes=attributes,
            start_time=ended - int(seconds * _NANOSECONDS),
            record_exception=False,
            set_status_on_exception=False,
        )
        _end(span, error, ended)


class TracedRequest:
    """The span of a request, current until it has ended."""

    __slots__ = ("_method", "_span", "_token", "trace")

    def __init__(self, span: Span, method: str) -> None:
        self._span = span
        self._method = method
        self._token: Token[context.Context] = context.attach(trace.set_span_in_context(span))
        self.trace = f"{span.get_span_context().trace_id:032x}"

    def ended(self, route: str, status: int) -> None:
        """Name the span by its route, and end it."""
        context.detach(self._token)
        self._span.update_name(f"{self._method} {route}")
        self._span.set_attributes({"http.route": route, "http.response.status_code": status})
        _end(self._span, str(status) if status >= 500 else "", None)


def _end(span: Span, error: str, at: int | None) -> None:
    if error:
        span.set_attribute("error.type", error)
        span.set_status(Status(StatusCode.ERROR))
    span.end(at)


def _context_of(parent: str) -> context.Context:
    """Return a context in which only the parent stands, if it is one: no baggage, and nothing of other requests."""
    found = _PARENT.fullmatch(parent)
    if found is None:
        return context.Context()
    identity = SpanContext(
        trace_id=int(found[1], 16),
        span_id=int(found[2], 16),
        is_remote=True,
        trace_flags=TraceFlags(int(found[3], 16) & _SAMPLED),
    )
    return trace.set_span_in_context(NonRecordingSpan(identity), context.Context())


def exporting(endpoint: str, version: str) -> "TracerProvider":
    """Return what sends spans to a collector, over OTLP by HTTP. Raises `Misconfigured` if the extra is missing."""
    try:
        collector = import_module("clarity.telemetry.collector")
    except ImportError:
        raise Misconfigured(
            "OTEL_EXPORTER_OTLP_ENDPOINT is set, but traces need the extra `telemetry`; install clarity[telemetry]"
        ) from None
    provider: TracerProvider = collector.provider(endpoint, version)
    return provider
