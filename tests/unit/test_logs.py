"""The log of a server: what libraries say cannot carry content into it."""

import logging

import pytest

from clarity.cli.logs import Guarded


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
