"""Requests that no client library would send: bytes on a socket, made by chance from what has gone wrong elsewhere."""

import gzip
import json
import random
import socket
from collections.abc import Callable
from http.client import HTTPException, HTTPResponse
from typing import Any
from urllib.parse import urlsplit

from tests.fuzz.answers import CANARY, Exchange, faults_of, own_words_of
from tests.fuzz.findings import Findings
from tests.fuzz.practice import FuzzedPractice
from tests.fuzz.requests import KINDS, kept

_SECONDS = 20.0
_METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "TRACE", "CONNECT", "PROPFIND", "get", "QUERY"]
_TYPES = [
    "application/json",
    "application/json; charset=utf-16",
    "application/json;charset=latin-1",
    "APPLICATION/JSON",
    "application/merge-patch+json",
    "application/problem+json",
    "multipart/form-data; boundary=x",
    "application/x-www-form-urlencoded",
    "text/plain",
    "",
    ";",
    f"{CANARY}/{CANARY}",
    "application/json, text/plain",
]
_ENCODINGS = ["identity", "gzip", "deflate", "br", CANARY, "gzip, gzip", ""]
_HEADERS: list[tuple[str, str]] = [
    ("Accept", CANARY),
    ("Accept", "text/html;q=0"),
    ("Accept-Encoding", "gzip"),
    ("Authorization", "Bearer"),
    ("Authorization", "Basic " + CANARY),
    ("Authorization", "bearer " + CANARY),
    ("Connection", "Upgrade"),
    ("Cookie", f"{CANARY}={CANARY}; ="),
    ("Expect", "100-continue"),
    ("Forwarded", f"for={CANARY}"),
    ("If-Match", "*"),
    ("If-Match", '"1", "2"'),
    ("If-Match", f'W/"{CANARY}"'),
    ("If-Match", '"99999999999"'),
    ("If-Match", '"' + "1" * 5_000 + '"'),
    ("If-None-Match", "*"),
    ("Idempotency-Key", CANARY),
    ("Idempotency-Key", "\x7f" * 300),
    ("Origin", f"https://{CANARY}.example"),
    ("Range", "bytes=0-0"),
    ("Transfer-Encoding", "identity"),
    ("Upgrade", "websocket"),
    ("X-Forwarded-For", f"{CANARY}, 127.0.0.1"),
    ("X-Forwarded-Host", CANARY),
    ("X-HTTP-Method-Override", "DELETE"),
    ("X-Request-Id", CANARY),
    ("\u00e9", CANARY),
    (CANARY, "\u00e9\u00ff"),
]
_PATHS: list[Callable[[str], str]] = [
    lambda path: path,
    lambda path: path + "/",
    lambda path: path.replace("/", "//"),
    lambda path: path + "/../" + CANARY,
    lambda path: path + "/%2e%2e/%2f",
    lambda path: path + "%00",
    lambda path: path + "/%ff%fe",
    lambda path: path + f"?{CANARY}={CANARY}",
    lambda path: path + "?limit=0&limit=5",
    lambda path: path + "?cursor=%00%ff",
    lambda path: path + "?" + "a=b&" * 500,
    lambda path: path + "?limit=" + "9" * 5_000,
    lambda path: path.upper(),
    lambda path: path + ";" + CANARY,
    lambda path: f"http://{CANARY}.example" + path,
    lambda path: path + "#" + CANARY,
]


def _bodies(example: Any, chance: random.Random) -> bytes:
    """Return a body that is near to `example`, or to nothing."""
    plain = json.dumps(example).encode()
    name = chance.choice([*example, "a"]) if isinstance(example, dict) else "a"
    texts: list[Callable[[], bytes]] = [
        lambda: plain,
        lambda: b"",
        lambda: b"null",
        lambda: b"[" * 100_000,
        lambda: b'{"a":' * 50_000,
        lambda: b'{"' + name.encode() + b'":' + b"[" * 2_000 + b"]" * 2_000 + b"}",
        lambda: b'{"' + name.encode() + b'":' + b"9" * 5_000 + b"}",
        lambda: b'{"' + name.encode() + b'":1e400}',
        lambda: b'{"' + name.encode() + b'":NaN}',
        lambda: b'{"' + name.encode() + b'":"\\ud800"}',
        lambda: b'{"' + name.encode() + b'":"\\u0000"}',
        lambda: b'{"' + name.encode() + b'":"' + CANARY.encode() + b'\xff"}',
        lambda: b'{"' + name.encode() + b'":"' + "\U0001f600\u202e".encode() * 3_000 + b'"}',
        lambda: b'{"a":1,"a":2}',
        lambda: b"\xef\xbb\xbf" + plain,
        lambda: plain.decode().encode("utf-16"),
        lambda: plain + b"\0",
        lambda: plain[: len(plain) // 2],
        lambda: gzip.compress(plain),
        lambda: b"--x\r\nContent-Disposition: form-data; name=a\r\n\r\n" + CANARY.encode() + b"\r\n--x--",
        lambda: json.dumps({name: example}).encode(),
        lambda: json.dumps([example] * 50).encode(),
        lambda: json.dumps({**example, name: chance.choice(_WRONG)}).encode() if isinstance(example, dict) else plain,
        lambda: chance.randbytes(200),
    ]
    return chance.choice(texts)()


_WRONG: list[Any] = [
    None,
    True,
    -1,
    2**63,
    1.5,
    "",
    " ",
    "\u0000",
    CANARY,
    [],
    {},
    [[]],
    [None],
    {"a": None},
    "9" * 70_000,
]


class Oddities:
    """Makes odd requests for operations of one practice."""

    def __init__(self, practice: FuzzedPractice, document: dict[str, Any], findings: Findings, seed: int) -> None:
        """Ask `practice`, whose API says of itself what stands in `document`."""
        self._practice = practice
        self._findings = findings
        self._chance = random.Random(seed)
        self._own_words = own_words_of(document, ("Bearer", "CONNECT", "DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT"))
        self._examples = list(_operations(document))

    def ask(self, role: str) -> None:
        """Make one request as a role, and judge its answer."""
        chance = self._chance
        name, template, method, example = chance.choice(self._examples)
        path = template
        for parameter, kind in KINDS.items():
            path = path.replace("{" + parameter + "}", chance.choice(self._practice.known.get(kind) or [CANARY]))
        path = path.replace("{", "%7B").replace("}", "%7D")
        target = chance.choice(_PATHS)(path) if chance.random() < 0.25 else path
        method = chance.choice(_METHODS) if chance.random() < 0.15 else method
        body = _bodies(example, chance) if example is not None or chance.random() < 0.2 else b""
        headers = self._headers(role, method)
        request = self._request(method, target, headers, body)
        self._findings.tried[f"odd requests on {self._practice.database}"] += 1
        answer = self._answer(request, method)
        if answer is None:
            return
        status, told, content = answer
        exchange = Exchange(
            operation=f"odd {name}",
            template=template,
            role=role,
            method=method,
            url=f"{self._practice.address}{target}" if target.startswith("/") else target,
            sent=dict(headers),
            body=body,
            status=status,
            headers=told,
            content=content,
        )
        self._findings.answers[status] += 1
        if _is_the_servers(exchange):
            return
        for fault in faults_of(exchange, self._own_words):
            self._findings.add(f"{exchange.operation} {fault}", fault, kept(exchange, self._practice))

    def _headers(self, role: str, method: str) -> list[tuple[str, str]]:
        chance = self._chance
        headers = [("Host", urlsplit(self._practice.address).netloc)]
        if token := self._practice.token(role):
            headers.append(("Authorization", f"Bearer {token}"))
        usual = "application/merge-patch+json" if method == "PATCH" else "application/json"
        headers.append(("Content-Type", usual if chance.random() < 0.6 else chance.choice(_TYPES)))
        if chance.random() < 0.4:
            headers.append(("If-Match", '"1"'))
        if chance.random() < 0.15:
            headers.append(("Content-Encoding", chance.choice(_ENCODINGS)))
        headers += chance.sample(_HEADERS, chance.choice([0, 0, 1, 2]))
        return headers

    def _request(self, method: str, target: str, headers: list[tuple[str, str]], body: bytes) -> bytes:
        chance = self._chance
        framing = (
            "length" if chance.random() < 0.9 else chance.choice(["chunks", "broken chunks", "short", "long", "two"])
        )
        head = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in headers), "Connection: close"]
        length = {"short": max(0, len(body) - 3), "long": len(body) + 10}.get(framing, len(body))
        if "chunks" in framing:
            head.append("Transfer-Encoding: chunked")
            size = b"%x" % len(body) if framing == "chunks" else b"zz"
            body = size + b"\r\n" + body + b"\r\n0\r\n\r\n" if body or framing != "chunks" else b"0\r\n\r\n"
        else:
            head.append(f"Content-Length: {length}")
        if framing == "two":
            head.append(f"Content-Length: {length + 1}")
        return "\r\n".join([*head, "", ""]).encode("utf-8", "replace") + body

    def _answer(self, request: bytes, method: str) -> tuple[int, dict[str, str], bytes] | None:
        """Return the answer; `None` if the connection ended without one, which is an answer to what is no HTTP."""
        where = urlsplit(self._practice.address)
        with socket.create_connection((where.hostname, where.port), timeout=_SECONDS) as connection:
            try:
                connection.sendall(request)
                connection.shutdown(socket.SHUT_WR)
                response = HTTPResponse(connection, method=method if method == "HEAD" else None)
                response.begin()
                content = response.read()
            except TimeoutError:
                self._findings.add(
                    "odd request without an answer", "nothing came", {"input": request.decode("latin-1")}
                )
                return None
            except (HTTPException, OSError):
                return None
            return response.status, {name.lower(): value for name, value in response.getheaders()}, content


def _is_the_servers(exchange: Exchange) -> bool:
    """Tell whether what came is no HTTP in the eyes of the server, which then answers before the application."""
    return exchange.status == 400 and "x-request-id" not in exchange.headers and CANARY not in str(exchange.content)


def _operations(document: dict[str, Any]) -> Any:
    schemas = document["components"]["schemas"]
    for template, operations in document["paths"].items():
        for method, operation in operations.items():
            content = operation.get("requestBody", {}).get("content", {})
            example = None
            for media in content.values():
                shape = schemas.get(media["schema"].get("$ref", "").rpartition("/")[2], {})
                example = shape.get("examples", [{}])[0]
            yield operation["operationId"], template, method.upper(), example
