"""The log of a server: what libraries say cannot carry content into it."""

import json
import logging
from uuid import UUID

import pytest

from clarity.api import logs
from clarity.cli.logs import Guarded, GuardedJson
from clarity.domain.ids import RequestId

REQUEST = RequestId(UUID("0199a0c2-41aa-7d02-8f7c-5e2b9c6d1a08"))
TRACE = "0af7651916cd43dd8448eb211c80319c"


def line(name: str, message: str, *values: object, cause: BaseException | None = None) -> str:
    """Return what stands in the log of one record."""
    info = (type(cause), cause, None) if cause else None
    return Guarded().format(logging.LogRecord(name, logging.WARNING, __file__, 1, message, values, info))


def test_our_own_lines_are_as_they_were_written() -> None:
    assert line("clarity.api", "status=%d route=%s", 200, "/ready").endswith(
        "WARNING clarity.api status=200 route=/ready"
    )


@pytest.mark.parametrize(
    "message",
    [
        "could not send %s",
        "Task exception was never retrieved\nfuture: <Task exception=ValueError('Lovelace')>",
        "Exception in callback Request.answer('Lovelace')",
        "refused {'family': 'Lovelace'}",
        "refused ['Lovelace']",
        'unknown "Lovelace"',
    ],
)
def test_of_others_only_the_words_are_kept(message: str) -> None:
    formatted = line("asyncio", message, *(["Lovelace"] if "%s" in message else []), cause=ValueError("Lovelace"))
    assert "Lovelace" not in formatted
    assert message.split(maxsplit=1)[0] in formatted
    assert formatted.endswith("cause=builtins.ValueError")


def test_a_name_that_only_begins_like_ours_is_not_ours() -> None:
    assert "Lovelace" not in line("claritypatients", "opened %s", "Lovelace")


def test_a_request_is_one_line_with_its_trace(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "clarity")
    logs.answered(REQUEST, "GET", "/ready", 200, 0.0123)
    logs.answered(REQUEST, "LOVELACE", "none", 404, 0.0123, trace=TRACE)
    first, second = (Guarded().format(record) for record in caplog.records)
    assert first.endswith(f"request={REQUEST} method=GET route=/ready status=200 duration_ms=12.3")
    assert second.endswith(f"method=other route=none status=404 duration_ms=12.3 trace={TRACE}")


def test_as_json_the_same_has_keys(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "clarity")
    logs.answered(REQUEST, "GET", "/ready", 200, 0.0123, trace=TRACE)
    line = json.loads(GuardedJson().format(caplog.records[0]))
    assert line.pop("time").endswith("Z")
    assert line == {
        "level": "INFO",
        "logger": "clarity.api.requests",
        "message": f"request={REQUEST} method=GET route=/ready status=200 duration_ms=12.3 trace={TRACE}",
        "request": str(REQUEST),
        "method": "GET",
        "route": "/ready",
        "status": 200,
        "duration_ms": 12.3,
        "trace": TRACE,
    }


def test_as_json_others_are_guarded_just_the_same() -> None:
    record = logging.LogRecord("asyncpg", logging.WARNING, __file__, 1, "refused %s", ("Lovelace",), None)
    record.fields = {"name": "Lovelace"}
    line = GuardedJson().format(record)
    assert "Lovelace" not in line
    assert json.loads(line)["message"] == "refused"


@pytest.mark.parametrize("formatter", [Guarded(), GuardedJson()])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\x0b", "\x1b[2K", "\u2028", "\x85"])
def test_a_record_is_one_line_whatever_stands_in_it(formatter: Guarded, end: str) -> None:
    message = f"a path with{end}INFO clarity.api.requests request=forged"
    line = formatter.format(logging.LogRecord("clarity.cli", logging.INFO, __file__, 1, message, (), None))
    assert line.isprintable()
    assert len(line.splitlines()) == 1
