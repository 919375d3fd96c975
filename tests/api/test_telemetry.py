"""Whatever fails, what is seen of a server has nothing in it of what was asked and found."""

import asyncio
import logging
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field, replace
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
from httpx import ASGITransport, AsyncClient
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from sqlalchemy import event, text
from sqlalchemy.engine import Engine

import clarity
from clarity.application.ports.telemetry import Unobserved
from clarity.cli.logs import Guarded, GuardedJson
from clarity.domain.ids import RequestId
from clarity.domain.names import HumanName
from clarity.persistence.engine import EngineOptions, connect
from clarity.security.keyring import Keyring
from clarity.telemetry.metrics import Metrics
from clarity.telemetry.observer import Telemetry
from clarity.telemetry.traces import Traces
from tests.api.clinic import Clinic, opened_clinic
from tests.api.conftest import charted
from tests.builders import a_patient, new_id
from tests.canaries import hits
from tests.practice import memory_practice, sql_practice

FAMILY, GIVEN, MRN, EMAIL, NOTES = "Quetzalcoatl", "Nezahual", "MRN-471147", "ixchel@canary.example", "hears the rain"
CANARIES = {FAMILY, GIVEN, MRN, EMAIL, NOTES, "472-74-7147"}


class Records(logging.Handler):
    """Keeps every record, of libraries too."""

    def __init__(self) -> None:
        super().__init__()
        self.kept: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a record."""
        self.kept.append(record)


@dataclass(slots=True)
class Seen:
    """Everything that can be seen of a server without its keys."""

    clinic: Clinic
    telemetry: Telemetry
    spans: InMemorySpanExporter
    records: list[logging.LogRecord]
    statements: list[str] = field(default_factory=list)

    def places(self) -> Iterable[bytes]:
        """Yield all of it as bytes."""
        yield self.telemetry.metrics.text({})
        for span in self.spans.get_finished_spans():
            yield span.to_json().encode()
        for formatter in (Guarded(), GuardedJson()):
            for record in self.records:
                yield formatter.format(record).encode()
        for statement in self.statements:
            yield statement.encode()


@pytest.fixture
async def seen(
    database_options: EngineOptions, keyring: Keyring, caplog: pytest.LogCaptureFixture
) -> AsyncIterator[Seen]:
    """Return a server on each database, of which everything is slow and so is told."""
    caplog.set_level(logging.INFO)
    logging.getLogger().addHandler(records := Records())
    spans, provider = InMemorySpanExporter(), TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(spans))
    telemetry = Telemetry(Metrics("1"), Traces(provider))
    slow = replace(database_options, slow_statement_ms=0.0001, long_transaction_ms=0.0001, statement_timeout_ms=5_000)
    database = connect(slow, telemetry)
    statements: list[str] = []

    def remember(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        statements.append(statement)

    event.listen(Engine, "before_cursor_execute", remember)
    try:
        async with (
            sql_practice(database, keyring) as practice,
            opened_clinic(practice, keyring, observer=telemetry) as clinic,
        ):
            yield Seen(clinic, telemetry, spans, records.kept, statements)
    finally:
        logging.getLogger().removeHandler(records)
        event.remove(Engine, "before_cursor_execute", remember)
        await database.dispose()


async def test_no_content_is_seen_of_a_server_whatever_fails(seen: Seen) -> None:
    clinic = seen.clinic
    patient = a_patient(
        name=HumanName(family=FAMILY, given=(GIVEN,)), mrn=MRN, ssn="472-74-7147", email=EMAIL, notes=NOTES
    )
    chart = await charted(clinic, patient)
    http = chart.clinician
    assert (await chart.view()).json()["names"][0]["family"] == FAMILY
    statuses = [
        (await http.post("/patients/search", json={"name": FAMILY})).status_code,
        (await http.post("/patients/similar", json={"name": FAMILY, "born": "1985"})).status_code,
        (
            await http.get(f"/patients/{new_id()}", headers={"traceparent": FAMILY, "baggage": f"name={FAMILY}"})
        ).status_code,
        (await http.get(f"/patients/{MRN}?name={FAMILY}")).status_code,
        (await chart.replace({"names": [{"family": 7, "given": [NOTES]}], "notes": {"text": NOTES}})).status_code,
        (await http.post("/sessions", json={"email": EMAIL, "password": f"{NOTES} {FAMILY}"})).status_code,
        (await (await clinic.front_desk()).post("/patients", json=a_registration())).status_code,
    ]
    await clinic.practice.broken(chart.patient.id)
    statuses.append((await chart.view()).status_code)
    clinic.practice.refuse_events()
    statuses.append((await chart.view()).status_code)
    statuses.append(await cancelled(chart.view()))
    assert clinic.practice.database is not None
    async with clinic.practice.database.writing() as session:
        with pytest.raises(Exception, match="nowhere"):
            await session.execute(text("SELECT :name FROM nowhere"), {"name": FAMILY})
    assert statuses == [200, 200, 404, 404, 422, 401, 409, 500, 503, 1]
    assert hits(CANARIES, seen.places()) == set()
    assert_everything_was_told(seen)


@dataclass(slots=True)
class Parents(Unobserved):
    """Remembers what was named as the parent of each request."""

    named: list[str] = field(default_factory=list)

    def request(self, request: RequestId, method: str, parent: str = "") -> Unobserved:
        self.named.append(parent)
        return self


async def test_the_parent_of_a_trace_is_a_trusted_proxys_to_name(keyring: Keyring) -> None:
    parents, named = Parents(), {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}
    seeing: dict[str, Any] = {"observer": parents, "trusted_proxies": [ip_network("192.0.2.1")]}
    async with opened_clinic(memory_practice(), keyring, **seeing) as clinic:
        for host in ("192.0.2.1", "192.0.2.2"):
            transport = ASGITransport(clinic.app, client=(host, 40_000))
            async with AsyncClient(transport=transport, base_url="http://clinic.test", headers=named) as http:
                await http.get("/health")
                await http.get("/health", headers=[*named.items(), *named.items()])
    assert parents.named == [named["traceparent"], "", "", ""]


def a_registration() -> dict[str, Any]:
    """Return a registration with an MRN that somebody has."""
    return {
        "names": [{"family": FAMILY, "given": [GIVEN]}],
        "born": "1985-12-10",
        "identifiers": [{"kind": "mrn", "value": MRN}],
    }


async def cancelled(asking: Any) -> int:
    """Ask, be gone before the answer, and return how many went."""
    task = asyncio.ensure_future(asking)
    await asyncio.sleep(0)
    task.cancel()
    return len(await asyncio.gather(task, return_exceptions=True))


def assert_everything_was_told(seen: Seen) -> None:
    """Check that what was searched is what there is to search."""
    told = "\n".join(record.getMessage() for record in seen.records)
    for line in (
        "slow statement request=",
        "long transaction request=",
        "route=/api/v1/patients/{patient_id} status=500",
    ):
        assert line in told
    names = {span.name for span in seen.spans.get_finished_spans()}
    assert {"GET /api/v1/patients/{patient_id}", "SELECT patients", "INSERT audit_events", "COMMIT", "audit"} <= names
    fields: list[dict[str, Any]] = [getattr(record, "fields", {}) for record in seen.records]
    traces = {one["trace"] for one in fields if "trace" in one}
    assert traces <= {f"{span.context.trace_id:032x}" for span in seen.spans.get_finished_spans() if span.context}
    assert len(traces) > 5
    # Whose lines stand in the log as they are, has to be ours: a class of ours may log in the name of its library.
    ours = [record for record in seen.records if record.name.startswith("clarity")]
    assert all(Path(clarity.__file__).parent in Path(record.pathname).parents for record in ours)
    assert any("FROM patients" in statement for statement in seen.statements)
