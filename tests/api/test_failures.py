"""What happens when something fails: nothing is shown, nothing is said of whom it was about, and it can be found."""

import logging
import re
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from unittest.mock import MagicMock

import pytest
from starlette.types import Message, Receive, Scope, Send

from clarity.api.middleware import Answering
from clarity.application.ports import Work
from clarity.application.services import Services
from clarity.domain.audit import Outcome
from clarity.domain.errors import CannotOpen, OutcomeUnknown, PoolExhausted, StorageFailed
from clarity.domain.patients import Patient
from tests.api.clinic import Chart, Clinic, code, seen
from tests.builders import a_name, a_patient, new_id
from tests.canaries import hits

SECRET = "Zqcanaryson"


def secret_patient(chart: Chart) -> Patient:
    """Return another patient of the same clinician, about whom nothing may get out."""
    return a_patient(name=a_name(SECRET), notes=f"About {SECRET}.", care_team=frozenset({chart.practitioner.id}))


def logged(caplog: pytest.LogCaptureFixture) -> str:
    """Return what was logged, besides by the client that the test calls with."""
    return "\n".join(record.getMessage() for record in caplog.records if not record.name.startswith("http"))


def services_of(clinic: Clinic) -> Services:
    """Return the services the API runs on."""
    services: Services = clinic.app.state.services
    return services


class Failing:
    """Units of work that fail before anything is done in them."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def begin(self, *, snapshot: bool = False) -> AbstractAsyncContextManager[Work]:
        raise self.error


async def test_nothing_is_shown_while_the_trail_cannot_be_written(clinic: Clinic, chart: Chart) -> None:
    patient = await clinic.practice.stored(secret_patient(chart))
    clinic.practice.refuse_events()
    for answer in (
        await chart.clinician.get(f"/patients/{patient.id}"),
        await chart.clinician.get("/patients"),
        await chart.clinician.get(f"/patients/{patient.id}/history"),
        await chart.clinician.post("/patients/search", json={"name": SECRET}),
        await chart.clinician.post("/patients/similar", json={"name": SECRET}),
    ):
        assert (answer.status_code, code(answer)) == (503, "trail-unavailable")
        assert answer.headers["retry-after"] == "5"
        assert SECRET not in answer.text


async def test_a_refusal_that_cannot_be_remembered_is_not_given(clinic: Clinic, chart: Chart) -> None:
    stranger, _ = await clinic.clinician()
    clinic.practice.refuse_events()
    assert (await stranger.get(chart.path)).status_code == 503


@pytest.mark.parametrize(("error", "kind"), [(PoolExhausted(), "busy"), (OutcomeUnknown(), "outcome-unknown")])
async def test_what_cannot_be_served_now_says_when(
    memory_clinic: Clinic, memory_chart: Chart, error: Exception, kind: str
) -> None:
    services, failing = services_of(memory_clinic), Failing(error)
    patients = replace(services.patients, begin=failing.begin, reading=failing.begin)
    memory_clinic.app.state.services = replace(services, patients=patients)
    for answer in (
        await memory_chart.view(),
        await memory_chart.clinician.patch(memory_chart.path, json={"notes": SECRET}, headers=seen(1)),
    ):
        assert (answer.status_code, code(answer)) == (503, kind)
        assert answer.headers["retry-after"] == "1"
        assert SECRET not in answer.text


async def test_a_damaged_record_is_an_error_with_a_reference_and_harms_no_other(
    clinic: Clinic, chart: Chart, caplog: pytest.LogCaptureFixture
) -> None:
    patient = await clinic.practice.stored(secret_patient(chart))
    await clinic.practice.broken(patient.id)
    caplog.clear()
    with caplog.at_level(logging.DEBUG):
        answer = await chart.clinician.get(f"/patients/{patient.id}")
    assert (answer.status_code, code(answer)) == (500, "cannot-open")
    reference = answer.json()["reference"]
    assert reference == answer.headers["x-request-id"]
    assert SECRET not in answer.text
    assert f"request={reference} cause=clarity.domain.errors.CannotOpen" in logged(caplog)
    assert not hits([SECRET, str(patient.id)], [logged(caplog).encode()])
    events = [event for event in await clinic.practice.events() if str(event.request) == reference]
    assert [(event.patient, event.outcome) for event in events] == [(patient.id, Outcome.FAILED)]
    assert (await chart.view()).status_code == 200
    for page in (await chart.clinician.get("/patients"), await chart.clinician.post("/patients/search", json={})):
        assert [item["id"] for item in page.json()["items"]] == [str(chart.patient.id)]


class ForeignError(Exception):
    """An error of some library, which quotes what it was given."""


ERRORS = (
    ForeignError(SECRET),
    ValueError(SECRET),
    KeyError(SECRET),
    RecursionError(SECRET),
    StorageFailed("22001"),
    CannotOpen(),
)


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
async def test_what_nobody_foresaw_is_logged_without_a_word_of_it(
    memory_clinic: Clinic, memory_chart: Chart, error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    error.__cause__ = ForeignError(SECRET)
    services = services_of(memory_clinic)
    patients = replace(services.patients, begin=Failing(error).begin)
    memory_clinic.app.state.services = replace(services, patients=patients)
    with caplog.at_level(logging.DEBUG):
        answer = await memory_chart.clinician.patch(memory_chart.path, json={"notes": SECRET}, headers=seen(1))
    assert answer.status_code == 500
    assert code(answer) == ("cannot-open" if isinstance(error, CannotOpen) else "internal")
    assert answer.json()["reference"] == answer.headers["x-request-id"]
    assert SECRET not in answer.text
    log = logged(caplog)
    assert f"request={answer.headers['x-request-id']} cause=" in log
    for told in (type(error).__name__, "ForeignError", "application/patients.py", "api/patients/routes.py"):
        assert told in log
    assert not hits([SECRET, str(memory_chart.patient.id)], [log.encode()])


async def test_each_request_leaves_one_line_that_names_nobody(
    memory_clinic: Clinic, memory_chart: Chart, caplog: pytest.LogCaptureFixture
) -> None:
    nobody = memory_clinic.caller()
    with caplog.at_level(logging.DEBUG):
        answers = [
            await memory_chart.view(),
            await nobody.get(f"/no-such-thing/{SECRET}", params={"name": SECRET}),
            await nobody.request(SECRET.upper(), memory_chart.path),
            await memory_chart.clinician.post("/patients/search", json={"name": SECRET}),
            await memory_chart.clinician.post("/patients/similar", json={"name": SECRET}),
        ]
    lines = [record.getMessage() for record in caplog.records if record.name == "clarity.api.requests"]
    expected = (
        ("GET", "/api/v1/patients/{patient_id}", 200),
        ("GET", "none", 404),
        ("other", "/api/v1/patients/{patient_id}", 405),
        ("POST", "/api/v1/patients/search", 200),
        ("POST", "/api/v1/patients/similar", 200),
    )
    for line, answer, (method, route, status) in zip(lines, answers, expected, strict=True):
        prefix = f"request={answer.headers['x-request-id']} method={method} route={route} status={status} duration_ms="
        assert line.startswith(prefix), line
        assert re.fullmatch(r"\d+\.\d", line.removeprefix(prefix))
    assert not hits([SECRET, str(memory_chart.patient.id), memory_chart.patient.name.family], [logged(caplog).encode()])


class Overhearing:
    """A provider of telemetry that somebody set up in this process."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def __getattr__(self, name: str) -> object:
        self.asked.append(name)
        return lambda *_, **__: MagicMock()


async def test_telemetry_of_the_framework_hears_nothing(memory_chart: Chart, monkeypatch: pytest.MonkeyPatch) -> None:
    provider = Overhearing()
    for name in (
        "trace.get_tracer_provider",
        "metrics.get_meter_provider",
        "_logs.get_logger_provider",
        "_logs._internal.get_logger_provider",
    ):
        monkeypatch.setattr(f"opentelemetry.{name}", lambda: provider)
    await memory_chart.clinician.patch(memory_chart.path, json={"notes": SECRET}, headers=seen(1))
    assert provider.asked == []


async def test_a_failure_after_the_answer_began_is_not_told_as_another(caplog: pytest.LogCaptureFixture) -> None:
    sent: list[Message] = []

    async def half_an_answer(_: Scope, __: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise ForeignError(SECRET)

    async def receive() -> Message:
        return {"type": "http.request"}

    async def send(message: Message) -> None:
        sent.append(message)

    answering = Answering(half_an_answer, new_id, "/api")
    await answering({"type": "http", "method": "GET", "path": "/", "headers": []}, receive, send)
    assert [message["type"] for message in sent] == ["http.response.start"]
    assert "ForeignError" in logged(caplog)
    assert SECRET not in logged(caplog)
