"""Figures are for whoever has the token, and without one for this machine; no label is what somebody sent."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI
from httpx import ASGITransport, AsyncClient, Response
from prometheus_client.parser import text_string_to_metric_families

from clarity.security.keyring import Keyring
from clarity.telemetry.metrics import Metrics
from clarity.telemetry.observer import Telemetry
from tests.api.clinic import Clinic, code, opened_clinic, told
from tests.practice import memory_practice

TOKEN = "a token for figures"
CANARY = "Quetzalcoatl"
LABELS = {
    "method": {"DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "other"},
    "check": {"database", "tables", "keys", "trail"},
    "generation": {"0", "1", "2"},  # of the garbage collector
}


def figures(checks: Mapping[str, bool]) -> bytes:
    return f"ready {sum(checks.values())}\n".encode()


async def asked(app: FastAPI, host: str = "127.0.0.1", **headers: str) -> Response:
    """Ask for the figures from an address."""
    transport = ASGITransport(app, client=(host, 40_000))
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    async with AsyncClient(transport=transport, base_url="http://clinic.test") as http:
        return await http.get("/metrics", headers=sent)


@asynccontextmanager
async def with_figures(keyring: Keyring, token: str = "") -> AsyncIterator[FastAPI]:
    async with opened_clinic(memory_practice(), keyring, figures=figures, metrics_token=token) as clinic:
        yield clinic.app


async def test_without_a_token_they_are_for_this_machine_and_there_is_nothing_for_others(keyring: Keyring) -> None:
    async with with_figures(keyring) as app:
        for host in ("127.0.0.1", "127.8.9.10", "::1", "::ffff:127.0.0.1"):
            answer = await asked(app, host)
            assert (answer.status_code, answer.text) == (200, "ready 4\n")
            assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
            assert answer.headers["cache-control"] == "no-store"
        async with AsyncClient(transport=ASGITransport(app), base_url="http://clinic.test") as http:
            absent = told(await http.get("/nothing-here"))
        for host in ("192.0.2.7", "10.0.0.1", "2001:db8::1", "::ffff:192.0.2.7", "elsewhere", ""):
            refused = await asked(app, host)
            assert told(refused) == absent
            assert code(refused) == "not-found"


async def test_a_proxy_on_this_machine_is_not_this_machine(keyring: Keyring) -> None:
    async with with_figures(keyring) as app:
        for header in ("X-Forwarded-For", "Forwarded", "X-Real-IP", "Via", "X-Forwarded-Host", "X-Forwarded-Proto"):
            assert (await asked(app, **{header: "127.0.0.1"})).status_code == 404


async def test_with_a_token_it_has_to_be_shown_from_everywhere(keyring: Keyring) -> None:
    async with with_figures(keyring, TOKEN) as app:
        for host in ("127.0.0.1", "192.0.2.7"):
            assert (await asked(app, host, Authorization=f"Bearer {TOKEN}")).status_code == 200
            for shown in ("", f"Bearer {TOKEN}x", f"Bearer {TOKEN[:-1]}", f"Basic {TOKEN}", "Bearer ", TOKEN):
                refused = await asked(app, host, **({"Authorization": shown} if shown else {}))
                assert code(refused) == "unauthenticated"
                assert refused.headers["www-authenticate"] == "Bearer"
        assert TOKEN not in repr(app.state.options)


async def test_no_label_is_what_somebody_sent(keyring: Keyring) -> None:
    telemetry = Telemetry(Metrics("1"))
    seeing: dict[str, Any] = {"observer": telemetry, "figures": telemetry.metrics.text}
    async with opened_clinic(memory_practice(), keyring, **seeing) as clinic:
        await sent_everywhere(clinic)
        answer = await asked(clinic.app)
        templates = {"none", "/openapi.json", *clinic.app.openapi()["paths"]}
    assert CANARY.lower() not in answer.text.lower()
    seen = set()
    for family in text_string_to_metric_families(answer.text):
        for sample in family.samples:
            for name, value in sample.labels.items():
                seen.add(name)
                assert value in LABELS.get(name, {value})
                assert name != "route" or value in templates
                assert name != "status" or value.isdecimal() or value == "none"
    assert (
        {"method", "route", "status"} <= seen <= {"method", "route", "status", "le", "version", *LABELS, "verb", "kind"}
    )


async def sent_everywhere(clinic: Clinic) -> None:
    """Send something recognisable wherever a request has room for it."""
    nobody = clinic.caller()
    for method in ("GET", "POST", "PATCH", CANARY.upper()):
        for path in (f"/patients/{CANARY}", f"/{CANARY}", f"/patients?cursor={CANARY}", "/sessions"):
            headers = {"User-Agent": CANARY, "X-Request-Id": CANARY, "traceparent": CANARY, "Host": CANARY}
            await nobody.request(method, path, headers=headers, content=f'{{"email": "{CANARY}"}}')
