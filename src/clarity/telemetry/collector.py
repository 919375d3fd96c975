"""Sending traces to a collector. Loaded only where one is named, since it needs the extra `telemetry`."""

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

# A collector that hangs must not keep a server from ending.
_EXPORT_SECONDS = 5


def provider(endpoint: str, version: str) -> TracerProvider:
    """Return what sends spans to the collector at `endpoint`, from a thread of its own."""
    exporter = OTLPSpanExporter(endpoint=f"{endpoint.rstrip('/')}/v1/traces", timeout=_EXPORT_SECONDS)
    # Made by hand: what detects resources would tell of the machine, its command line and its user.
    resource = Resource({"service.name": "clarity", "service.version": version})
    made = TracerProvider(resource=resource, shutdown_on_exit=False)
    made.add_span_processor(BatchSpanProcessor(exporter))
    return made
