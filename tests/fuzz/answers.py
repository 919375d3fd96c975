"""What every answer of the API must be, whoever asks for whatever."""

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote, urlsplit

from clarity.api.middleware import SAFE_HEADERS
from clarity.api.options import ROOT
from clarity.api.problems import MEDIA_TYPE, ProblemOut
from clarity.domain.errors import NotFound

CANARY = "zqcanary7f3e"
"""Stands in much of what is sent, and so nowhere but in records and in what shows them."""

_ABSENT = f'{{"type":"urn:clarity:problem:not-found","title":"{NotFound.__doc__}","status":404}}'
_PROBLEM_TYPE = re.compile(r"urn:clarity:problem:[a-z][a-z-]+")
# Shorter pieces occur by chance in what the API says of itself.
_LEAST_LENGTH = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """One request and its answer.

    `url` is what was asked for, `operation` the name of what it was meant for and `template` its path.
    """

    operation: str
    role: str
    method: str
    url: str
    template: str = ""
    sent: dict[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    status: int
    headers: dict[str, str] = field(repr=False)
    content: bytes = field(repr=False)

    @property
    def is_error(self) -> bool:
        """Whether something was wrong."""
        return self.status >= 400

    @property
    def request_id(self) -> str:
        """The number that the answer was given."""
        return self.headers.get("x-request-id", "")


def faults_of(exchange: Exchange, own_words: str) -> Iterator[str]:
    """Return what is wrong with an answer. `own_words` is all that the API says of itself."""
    if exchange.status >= 500 and exchange.status != 503:
        yield f"answered with {exchange.status}"
    if not exchange.request_id:
        yield "has no X-Request-Id"
    if exchange.headers.get("x-content-type-options") != "nosniff":
        yield "may be sniffed"
    if urlsplit(exchange.url).path.startswith(f"{ROOT}/") and exchange.headers.get("cache-control") != "no-store":
        yield "may be stored by whoever passes it on"
    if exchange.status == 204 and exchange.content:
        yield "has content where it says none"
    if exchange.is_error and exchange.operation != "is_ready":
        yield from _faults_of_problem(exchange)
        yield from _repetitions(exchange, own_words)


def _faults_of_problem(exchange: Exchange) -> Iterator[str]:
    if exchange.method == "HEAD":
        return
    if exchange.headers.get("content-type") != MEDIA_TYPE:
        yield f"{exchange.status} is no problem, but {exchange.headers.get('content-type')}"
        return
    try:
        problem = ProblemOut.model_validate_json(exchange.content)
    except ValueError as exc:
        yield f"{exchange.status} is a problem of another form: {exc}"
        return
    if problem.status != exchange.status:
        yield f"{exchange.status} says that it is {problem.status}"
    if not _PROBLEM_TYPE.fullmatch(problem.type):
        yield f"{exchange.status} has no type of ours"
    if exchange.status == 422 and not problem.errors and problem.detail is None:
        yield "422 does not say what is wrong"
    if exchange.status in {429, 503} and not exchange.headers.get("retry-after", "").isdecimal():
        yield f"{exchange.status} does not say when to come again"
    if exchange.status == 401 and exchange.headers.get("www-authenticate") != "Bearer":
        yield "401 does not say how to log in"
    if exchange.status == 404 and exchange.content.decode() != _ABSENT:
        yield "404 tells more than that there is none"


def _repetitions(exchange: Exchange, own_words: str) -> Iterator[str]:
    """Tell whether a problem holds anything that was sent."""
    # What is always the same may be sent by chance, or by whoever has learnt it from us.
    ours = {"x-request-id", "date", "server", "www-authenticate", *(name.decode() for name, _ in SAFE_HEADERS)}
    answer = exchange.content.decode("utf-8", "replace") + " ".join(
        value for name, value in exchange.headers.items() if name not in ours
    )
    for text in _sent(exchange):
        for spelling in {text, json.dumps(text)[1:-1]}:
            if len(spelling) >= _LEAST_LENGTH and spelling in answer and spelling not in own_words:
                yield f"{exchange.status} repeats what was sent"
                return


def _sent(exchange: Exchange) -> Iterator[str]:
    """Return every text in a request."""
    parts = urlsplit(exchange.url)
    yield from (unquote(part) for part in parts.path.split("/"))
    yield from (unquote(part) for pair in parts.query.split("&") for part in pair.split("="))
    yield from (value for name, value in exchange.sent.items() if name.lower() not in {"host", "content-type"})
    try:
        yield from texts_in(json.loads(exchange.body))
    except (ValueError, RecursionError):
        yield exchange.body.decode("utf-8", "replace")


def texts_in(value: Any) -> Iterator[str]:
    """Return every text in a JSON value, names of fields included."""
    waiting = [value]
    while waiting:
        one = waiting.pop()
        if isinstance(one, str):
            yield one
        elif isinstance(one, dict):
            yield from one
            waiting.extend(one.values())
        elif isinstance(one, list):
            waiting.extend(one)


def own_words_of(document: dict[str, Any], more: Iterable[str] = ()) -> str:
    """Return all that the API says of itself, as one text."""
    return " ".join([json.dumps(document, ensure_ascii=False), *texts_in(document), *more])
