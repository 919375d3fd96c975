"""Who a request comes from, which name it was sent to, which page it came from, and how many there are of it."""

from dataclasses import replace
from ipaddress import ip_network
from typing import Any

import pytest
from httpx import ASGITransport, AsyncClient
from starlette.types import Receive, Scope, Send

from clarity.api.proxies import TrustedProxies
from clarity.application.rates import REQUESTS_FROM_ADDRESS, REQUESTS_OF_ACCOUNT
from clarity.application.retry import CountedOnce, retrying
from clarity.cache.rates import RULES, MemoryRateLimit
from clarity.domain.errors import TooMany, Transient
from clarity.security.keyring import Keyring
from tests.api.clinic import Clinic, code, opened_clinic
from tests.practice import memory_practice

PROXIES = tuple(map(ip_network, ("10.0.0.0/8", "192.0.2.7/32", "fd00::/8")))


async def seen(peer: tuple[str, int] | None, *headers: tuple[str, str], local: bool = False) -> tuple[str | None, str]:
    """Return the address and the scheme that a request seems to come from and by."""
    scopes: list[Scope] = []

    async def app(scope: Scope, _: Receive, __: Send) -> None:
        scopes.append(scope)

    async def nothing(*_: object) -> Any:
        pytest.fail("nothing is received or sent")

    raw = [(name.encode(), value.encode()) for name, value in headers]
    scope = {"type": "http", "client": peer, "scheme": "http", "headers": raw}
    await TrustedProxies(app, PROXIES, local=local)(scope, nothing, nothing)
    client = scopes[0]["client"]
    return client and client[0], scopes[0]["scheme"]


FOR, PROTO = "x-forwarded-for", "x-forwarded-proto"


@pytest.mark.parametrize(
    ("peer", "headers", "client", "scheme"),
    [
        ("203.0.113.9", [(FOR, "198.51.100.1"), (PROTO, "https")], "203.0.113.9", "http"),
        ("127.0.0.1", [(FOR, "198.51.100.1"), (PROTO, "https")], "127.0.0.1", "http"),
        ("10.0.0.1", [], "10.0.0.1", "http"),
        ("10.0.0.1", [(FOR, "198.51.100.1"), (PROTO, "https")], "198.51.100.1", "https"),
        ("10.0.0.1", [(FOR, "6.6.6.6, 198.51.100.1")], "198.51.100.1", "http"),
        ("10.0.0.1", [(FOR, "6.6.6.6"), (FOR, "198.51.100.1")], "198.51.100.1", "http"),
        ("10.0.0.1", [(FOR, "6.6.6.6, 198.51.100.1, 10.9.9.9, 192.0.2.7")], "198.51.100.1", "http"),
        ("10.0.0.1", [(FOR, "10.1.1.1, 10.2.2.2")], "10.1.1.1", "http"),
        ("10.0.0.1", [(FOR, "198.51.100.1, nonsense, 10.2.2.2")], "10.2.2.2", "http"),
        ("10.0.0.1", [(FOR, "unknown")], "10.0.0.1", "http"),
        ("10.0.0.1", [(FOR, "198.51.100.1:4711")], "198.51.100.1", "http"),
        ("10.0.0.1", [(FOR, "[2001:db8::5]:4711")], "2001:db8::5", "http"),
        ("10.0.0.1", [(FOR, "::ffff:198.51.100.1")], "198.51.100.1", "http"),
        ("::ffff:10.0.0.1", [(FOR, "198.51.100.1")], "198.51.100.1", "http"),
        ("fd00::1", [(FOR, "2001:db8::5")], "2001:db8::5", "http"),
        ("10.0.0.1", [(PROTO, "https, http")], "10.0.0.1", "http"),
        ("10.0.0.1", [(PROTO, "gopher")], "10.0.0.1", "http"),
        ("10.0.0.1", [("forwarded", "for=6.6.6.6;proto=https"), ("x-real-ip", "6.6.6.6")], "10.0.0.1", "http"),
    ],
)
async def test_trusted_proxies_say_who_the_client_is_and_nobody_else_does(
    peer: str, headers: list[tuple[str, str]], client: str, scheme: str
) -> None:
    assert await seen((peer, 1), *headers) == (client, scheme)


async def test_a_peer_without_address_is_trusted_if_that_is_said() -> None:
    for peer in (None, ("", 0)):
        assert (await seen(peer, (FOR, "6.6.6.6")))[0] in {None, ""}
        assert (await seen(peer, (FOR, "198.51.100.1"), local=True))[0] == "198.51.100.1"


def caller(clinic: Clinic, address: str, **headers: str) -> AsyncClient:
    transport = ASGITransport(clinic.app, client=(address, 40_000))
    return AsyncClient(transport=transport, base_url="http://clinic.test/api/v1", headers=headers)


async def test_limits_count_by_the_address_that_a_trusted_proxy_names(keyring: Keyring) -> None:
    async with opened_clinic(memory_practice(), keyring, trusted_proxies=PROXIES) as clinic:
        clinic.app.state.services = limited(clinic, {REQUESTS_FROM_ADDRESS: "2 per minute"})

        async def asked(peer: str, said: str) -> int:
            answer = await caller(clinic, peer, **{"X-Forwarded-For": said}).get("/me")
            if answer.status_code == 429:
                assert code(answer) == "too-many"
                assert 1 <= int(answer.headers["retry-after"]) <= 60
            return answer.status_code

        assert [await asked("10.0.0.1", f"6.6.6.{number}, 198.51.100.1") for number in range(3)] == [401, 401, 429]
        assert await asked("10.0.0.1", "198.51.100.2") == 401
        assert [await asked("203.0.113.9", f"6.6.6.{number}") for number in range(3)] == [401, 401, 429]
        assert (await caller(clinic, "203.0.113.9").get("http://clinic.test/health")).status_code == 200


def limited(clinic: Clinic, rules: dict[str, str]) -> Any:
    return replace(clinic.app.state.services, limits=MemoryRateLimit({**RULES, **rules}))


async def test_an_account_asks_so_often_wherever_it_asks_from(memory_clinic: Clinic) -> None:
    memory_clinic.app.state.services = limited(memory_clinic, {REQUESTS_OF_ACCOUNT: "3 per minute"})
    one, other = await memory_clinic.front_desk(), await memory_clinic.front_desk()
    answers = [await one.get("/patients") for _ in range(4)]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
    assert code(answers[-1]) == "too-many"
    assert (await other.get("/patients")).status_code == 200
    elsewhere = caller(memory_clinic, "203.0.113.9", Authorization=one.headers["Authorization"])
    assert (await elsewhere.get("/patients")).status_code == 429


async def test_zero_is_no_limit() -> None:
    limits = MemoryRateLimit({REQUESTS_OF_ACCOUNT: ""})
    for _ in range(2_000):
        await limits.hit(REQUESTS_OF_ACCOUNT, "somebody")


async def test_what_runs_again_is_not_counted_again() -> None:
    limits, runs = CountedOnce(MemoryRateLimit({"x": "2 per minute"})), []

    @retrying
    async def use_case() -> None:
        await limits.hit("x", "somebody")
        runs.append(True)
        if len(runs) < 5:
            raise Transient

    await use_case()
    assert len(runs) == 5
    await use_case()
    with pytest.raises(TooMany):
        await use_case()
    with pytest.raises(TooMany):
        await limits.hit("x", "somebody")


async def test_only_our_names_are_answered(keyring: Keyring) -> None:
    async with opened_clinic(memory_practice(), keyring, allowed_hosts=("clinic.test", "[::1]")) as clinic:
        nobody = clinic.caller()
        for host in ("clinic.test", "CLINIC.test:8000", "[::1]:8000"):
            assert (await nobody.get("/me", headers={"Host": host})).status_code == 401, host
        for host in (
            "evil.test",
            "clinic.test.evil.test",
            "clinic.test@evil.test",
            "clinic.test:80@evil.test",
            "[::1]evil.test",
            "",
        ):
            refused = await nobody.get("/me", headers={"Host": host})
            assert (refused.status_code, code(refused)) == (421, "misdirected"), host
        assert (await nobody.get("http://clinic.test/health", headers={"Host": "10.0.0.1:8000"})).status_code == 200


ORIGIN = "https://app.example.org"


async def test_pages_of_other_origins_are_told_nothing_by_default(memory_clinic: Clinic) -> None:
    nobody = memory_clinic.caller()
    asked = {"Origin": ORIGIN, "Access-Control-Request-Method": "GET"}
    for answer in (await nobody.get("/me", headers=asked), await nobody.options("/me", headers=asked)):
        assert not [name for name in answer.headers if name.startswith("access-control")]


async def test_pages_of_an_origin_that_was_named_may_call(keyring: Keyring) -> None:
    async with opened_clinic(memory_practice(), keyring, cors_origins=(ORIGIN,)) as clinic:
        nobody = clinic.caller()
        preflight = {"Origin": ORIGIN, "Access-Control-Request-Method": "PATCH"}
        allowed = await nobody.options("/patients", headers=preflight)
        assert (allowed.status_code, allowed.content) == (204, b"")
        assert allowed.headers["access-control-allow-origin"] == ORIGIN
        assert "If-Match" in allowed.headers["access-control-allow-headers"]
        assert "PATCH" in allowed.headers["access-control-allow-methods"]
        answer = await nobody.get("/me", headers={"Origin": ORIGIN})
        assert answer.headers["access-control-allow-origin"] == ORIGIN
        assert {"ETag", "X-Request-Id", "Retry-After"} <= set(
            answer.headers["access-control-expose-headers"].split(", ")
        )
        for origin in ("https://evil.example", "null", f"{ORIGIN}.evil.example", ORIGIN.upper(), f"{ORIGIN}:443"):
            for refused in (
                await nobody.get("/me", headers={"Origin": origin}),
                await nobody.options("/me", headers={**preflight, "Origin": origin}),
            ):
                assert "access-control-allow-origin" not in refused.headers, origin
                assert refused.headers["vary"] == "Origin"
        assert "access-control-allow-credentials" not in {*answer.headers, *allowed.headers}


async def test_every_answer_has_the_headers_that_keep_it_data(keyring: Keyring) -> None:
    async with opened_clinic(memory_practice(), keyring, secure=True) as clinic:
        nobody = clinic.caller()
        for answer in (
            await nobody.get("/me"),
            await nobody.get("/nothing"),
            await nobody.delete("/me"),
            await nobody.post("/sessions", content=b"x" * 70_000),
            await nobody.get("http://clinic.test/health"),
            await nobody.get("http://clinic.test/openapi.json"),
        ):
            told = answer.headers
            assert told["x-content-type-options"] == "nosniff"
            assert told["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"
            assert told["referrer-policy"] == "no-referrer"
            assert told["cross-origin-resource-policy"] == "same-origin"
            assert told["strict-transport-security"].startswith("max-age=")
            assert "server" not in told


async def test_who_came_by_https_is_told_to_stay_there(keyring: Keyring) -> None:
    async with opened_clinic(memory_practice(), keyring, trusted_proxies=PROXIES) as clinic:
        for peer, proto, told in (
            ("10.0.0.1", "https", True),
            ("10.0.0.1", "http", False),
            ("203.0.113.9", "https", False),
        ):
            answer = await caller(clinic, peer, **{"X-Forwarded-Proto": proto}).get("/me")
            assert ("strict-transport-security" in answer.headers) is told
