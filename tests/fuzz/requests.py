"""Requests made from what the API says of itself (schemathesis), as each role, against a server of its own."""

import re
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID
from zlib import crc32

import schemathesis
from schemathesis.core.failures import Failure
from schemathesis.core.transport import Response
from schemathesis.engine import events, from_schema
from schemathesis.generation.case import Case
from schemathesis.generation.modes import GenerationMode
from schemathesis.hooks import GLOBAL_HOOK_DISPATCHER, HookContext
from schemathesis.openapi.checks import UnsupportedMethodResponse

from clarity.api.options import ROOT
from tests.fuzz.answers import CANARY, Exchange, faults_of, own_words_of
from tests.fuzz.findings import Findings, kept_bytes
from tests.fuzz.practice import FuzzedPractice

_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
# What a canary would make into something else: dates, numbers, ids, words of ours.
_FORMED = re.compile(r"[\d:+.TZ-]{4,}|[0-9a-f-]{32,36}|[a-z]+(-[a-z]+)?(:[a-z-]+)?")
KINDS = {
    "patient_id": "patients",
    "practitioner_id": "practitioners",
    "account_id": "accounts",
    "review_id": "duplicates",
    "glass_id": "glasses",
    "consent_id": "consents",
    "credential_id": "credentials",
    "session_id": "sessions",
    "disclosure_id": "disclosures",
    "event_id": "events",
}
_IN_BODIES = {"patient": "patients", "practitioner": "practitioners"}
# How often an id is one that is there, and not made up.
_OFTEN = 0.7
# What is wrong with these answers is judged by `answers`, in our own words, and for unforeseen methods too.
_LEFT_OUT = (
    # What is valid by its form may break a rule that no schema can say.
    "positive_data_acceptance",
    # These make up stories about records that others may see or delete; the tests of the suite know who may.
    "use_after_free",
    "ensure_resource_availability",
    "object_level_authorization",
    # 401 for everybody without a token is asked by the role that has none.
    "ignored_auth",
)


@dataclass(slots=True)
class Session:
    """One role's requests to one practice."""

    practice: FuzzedPractice
    role: str
    document: dict[str, Any]
    findings: Findings
    seed: int
    seconds: int
    most: int
    answered: dict[UUID, Exchange] = field(default_factory=dict)
    statuses: Counter[tuple[str, int]] = field(default_factory=Counter)
    own_words: str = field(init=False)
    cases: int = 0
    # The version at which a record was last seen, by its path.
    _versions: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Note what the API says of itself."""
        self.own_words = own_words_of(self.document, ("Bearer",))

    def run(self) -> None:
        """Ask until the time is over, or enough was asked."""
        schema = schemathesis.openapi.from_dict(self.document, config=self._config())
        engine = from_schema(schema)
        with self._hooked(), warnings.catch_warnings():
            # The library speaks of what its generators could do better, and its dependencies of each other.
            warnings.simplefilter("ignore")
            stream = engine.execute()
            for event in stream:
                if isinstance(event, events.NonFatalError) and not self._is_over(event):
                    self.findings.add(
                        f"schemathesis: {event.label}", f"{event.info.title}: {event.info.message}", {"role": self.role}
                    )
                if isinstance(event, events.FatalError):
                    raise event.exception
                if self.cases >= self.most:
                    stream.stop()

    def _is_over(self, event: events.NonFatalError) -> bool:
        return self.cases >= self.most or "time" in event.info.title.lower()

    def _config(self) -> schemathesis.Config:
        bound = {f"path.{name}": kind for name, kind in KINDS.items() if self.practice.known.get(kind)}
        bound |= {f"body.{name}": kind for name, kind in _IN_BODIES.items() if self.practice.known.get(kind)}
        bound |= {"query.practitioner": "practitioners", "query.patient": "patients", "query.actor": "accounts"}
        bound["header.If-Match"] = "versions"
        words = {kind: {"values": ids} for kind, ids in self.practice.known.items() if ids}
        words["versions"] = {"values": [f'"{version}"' for version in range(1, 6)]}
        return schemathesis.Config.from_dict(
            {
                "seed": self.seed,
                "max-time": self.seconds,
                "base-url": self.practice.address,
                "continue-on-failure": True,
                "request-timeout": 30,
                "dictionaries": words,
                "parameters": {
                    name: {"dictionary": kind, "probability": _OFTEN} for name, kind in bound.items() if kind in words
                },
                "generation": {
                    "mode": "all",
                    "max-examples": 20,
                    "no-shrink": True,
                    "database": "none",
                    "with-security-parameters": self.role == "none",
                },
                "checks": {
                    **{name: {"enabled": False} for name in _LEFT_OUT},
                    "not_a_server_error": {"expected-statuses": ["2xx", "3xx", "4xx", "503"]},
                    "negative_data_rejection": {"expected-statuses": ["4xx", "503"]},
                    "missing_required_header": {"expected-statuses": ["4xx", "503"]},
                },
            }
        )

    @contextmanager
    def _hooked(self) -> Iterator[None]:
        """Look at each request and answer while the block runs."""

        # Hooks are marked by the library, which a method of an object with slots cannot be.
        @schemathesis.hook
        def before_call(context: HookContext, case: Case[Any], kwargs: dict[str, Any]) -> None:
            self._prepare(case)

        @schemathesis.hook
        def after_call(context: HookContext, case: Case[Any], response: Response) -> None:
            self._judge(case, response)

        @schemathesis.hook
        def filter_failure(context: HookContext, failure: Failure, case: Case[Any], response: Response) -> bool:
            self._note(failure, case, response)
            return False  # for itself it was nothing, so that it looks on

        try:
            yield
        finally:
            GLOBAL_HOOK_DISPATCHER.unregister_all()

    def _prepare(self, case: Case[Any]) -> None:
        """Show who asks, and plant what must not come back."""
        if token := self.practice.token(self.role):
            case.headers["Authorization"] = f"Bearer {token}"
        # What breaks a schema on purpose stays as it is; a canary might mend it.
        if case.meta is not None and case.meta.generation.mode is GenerationMode.POSITIVE:
            case.body = planted(case.body)
            seen = self._versions.get(_record_in(case.formatted_path))
            if seen and "If-Match" in case.headers:
                case.headers["If-Match"] = seen
        case.headers.setdefault("X-Canary", CANARY)

    def _judge(self, case: Case[Any], response: Response) -> None:
        """Look at an answer with our own eyes."""
        self.cases += 1
        exchange = self._exchange(case, response)
        self.statuses[exchange.operation, exchange.status] += 1
        self.findings.answers[exchange.status] += 1
        if exchange.request_id:
            self.answered[UUID(exchange.request_id)] = replace(exchange, sent={}, body=b"", content=b"")
        if etag := exchange.headers.get("etag"):
            self._versions[_record_in(exchange.url)] = etag
        if exchange.status == 401:
            self.practice.forget(self.role)
        for fault in faults_of(exchange, self.own_words):
            self._found(f"{exchange.operation} {fault}", fault, exchange)

    def _note(self, failure: Failure, case: Case[Any], response: Response) -> None:
        """Note what schemathesis found."""
        exchange = self._exchange(case, response)
        # "/patients/search" is also a path of "/patients/{patient_id}", where it names nobody.
        if isinstance(failure, UnsupportedMethodResponse) and exchange.status == 404 and self._has_twin(exchange):
            return
        kind = f"{exchange.operation} {failure.title} ({exchange.status})"
        self._found(kind, f"{failure.message}\n{getattr(failure, 'validation_message', '')}", exchange)

    def _exchange(self, case: Case[Any], response: Response) -> Exchange:
        body = response.request.body or b""
        definition = case.operation.definition.raw
        return Exchange(
            operation=str(definition.get("operationId", case.operation.label)),
            template=case.operation.path,
            role=self.role,
            method=str(response.request.method),
            url=str(response.request.url),
            sent={str(name): _text(value) for name, value in response.request.headers.items()},
            body=body if isinstance(body, bytes) else str(body).encode("utf-8", "surrogatepass"),
            status=response.status_code,
            headers={name.lower(): values[0] for name, values in response.headers.items()},
            content=response.content or b"",
        )

    def _has_twin(self, exchange: Exchange) -> bool:
        """Tell whether another operation has the method and the path of a request."""
        path = urlsplit(exchange.url).path
        return any(
            exchange.method.lower() in operations and re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", template), path)
            for template, operations in self.document["paths"].items()
        )

    def _found(self, kind: str, told: str, exchange: Exchange) -> None:
        self.findings.add(kind, f"{told}\n    {exchange.method} {exchange.url}", kept(exchange, self.practice))


def _record_in(url: str) -> str:
    """Return the id of the record that a path begins with."""
    found = _UUID.search(urlsplit(url).path)
    return found[0] if found else ""


def _text(value: str | bytes) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else value


def planted(value: Any) -> Any:
    """Return a JSON value with canaries in about half of its texts that have no form of their own."""
    if isinstance(value, str):
        if len(value) < 3 or _FORMED.fullmatch(value) or crc32(value.encode("utf-8", "surrogatepass")) % 2:
            return value
        return f"{CANARY} {value}"
    if isinstance(value, dict):
        return {name: planted(one) for name, one in value.items()}
    return [planted(one) for one in value] if isinstance(value, list) else value


def kept(exchange: Exchange, practice: FuzzedPractice) -> dict[str, Any]:
    """Return an exchange as it is kept: without a token, and with places for the ids, which differ in each practice."""
    url = exchange.url.removeprefix(practice.address)
    for kind, ids in practice.known.items():
        for position, identity in enumerate(ids):
            url = url.replace(identity, f"<{kind} {position}>")
    sent = {name: value for name, value in exchange.sent.items() if name.lower() not in {"authorization", "host"}}
    return {
        "database": practice.database,
        "role": exchange.role,
        "method": exchange.method,
        "template": exchange.template,
        "url": url,
        "headers": sent,
        "body": kept_bytes(exchange.body),
        "status": exchange.status,
        "answer": kept_bytes(exchange.content),
    }


def unaudited(practice: FuzzedPractice, sessions: Iterable[Session]) -> Iterator[tuple[str, Exchange]]:
    """Return the answers that should have left an event, and have not."""
    audited = {event.request for event in practice.events()}
    for session in sessions:
        for request, exchange in session.answered.items():
            if _leaves_an_event(exchange) and request not in audited:
                yield f"{exchange.operation} left no event ({exchange.status})", exchange


def _leaves_an_event(exchange: Exchange) -> bool:
    """Tell whether an answer shows or changes something, or refuses it to somebody who is known.

    What lies outside of `ROOT` shows nothing of anybody. An id that is none, or a method that there is not, is refused
    by its form alone.
    """
    if not exchange.template.startswith(ROOT):
        return False
    if 200 <= exchange.status < 300 or exchange.status in {403, 412}:
        return True
    segments = urlsplit(exchange.url).path.removeprefix(ROOT).split("/")[2:]
    named = [segment for segment in segments if _UUID.fullmatch(segment)]
    return exchange.status == 404 and bool(named) and len(named) >= exchange.template.count("{")
