"""Two processes, of which one revokes while the other serves: the next request in the other is refused."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import pytest
from httpx import AsyncClient, Timeout
from pydantic import SecretStr

from clarity.application.services import Services
from clarity.bootstrap import operator, running
from clarity.config import Settings
from clarity.domain.access import Role
from clarity.upkeep import make_keys
from tests.builders import new_id
from tests.fakes.accounts import code_of
from tests.serving import Clinic
from tests.shells import PASSWORD, surroundings

_ROOT = "/api/v1"


@dataclass(slots=True)
class TwoServers:
    """Two servers over one practice, and the use-cases in this process, which is a third."""

    services: Services
    one: AsyncClient
    other: AsyncClient
    emails: list[str] = field(default_factory=list)

    async def logged_in(self, email: str = "") -> tuple[str, dict[str, str]]:
        """Log in at the first server, by default to a new account; return the e-mail address and the header."""
        if not email:
            email = f"{new_id().hex}@clinic.example"
            await self.services.accounts.add(
                operator(), email=email, name="Desk", role=Role.FRONT_DESK, password=PASSWORD
            )
        answer = await self.one.post(f"{_ROOT}/sessions", json={"email": email, "password": PASSWORD})
        assert answer.status_code == 201, answer.text
        return email, {"Authorization": f"Bearer {answer.json()['access_token']}"}


@pytest.fixture
async def servers(tmp_path: Path, database_url: str) -> AsyncIterator[TwoServers]:
    settings = Settings(data_dir=tmp_path / "data", async_database_uri=SecretStr(database_url))
    make_keys(settings)
    clinic = Clinic(tmp_path, surroundings() | {"DATA_DIR": str(settings.data_dir), "ASYNC_DATABASE_URI": database_url})
    async with AsyncExitStack() as stack:
        services = await stack.enter_async_context(running(settings))
        clients = []
        for _ in range(2):
            _, address = await stack.enter_async_context(clinic.serving())
            client = AsyncClient(base_url=address, timeout=Timeout(30.0))
            clients.append(await stack.enter_async_context(client))
        one, other = clients
        yield TwoServers(services, one, other)


Revoking = Callable[[TwoServers, str, dict[str, str]], Awaitable[None]]


async def logging_out(servers: TwoServers, _email: str, header: dict[str, str]) -> None:
    assert (await servers.one.delete(f"{_ROOT}/sessions/current", headers=header)).status_code == 204


async def ending_it_from_another_session(servers: TwoServers, email: str, _header: dict[str, str]) -> None:
    _, another = await servers.logged_in(email)
    assert (await servers.one.delete(f"{_ROOT}/me/sessions", headers=another)).status_code == 204


async def enrolling_a_second_factor_elsewhere(servers: TwoServers, email: str, _header: dict[str, str]) -> None:
    _, another = await servers.logged_in(email)
    factor = f"{_ROOT}/me/second-factor"
    enrolment = await servers.one.post(factor, json={"password": PASSWORD}, headers=another)
    code = code_of(enrolment.json()["secret"], datetime.now(UTC))
    assert (await servers.one.post(f"{factor}/confirm", json={"code": code}, headers=another)).status_code == 200


async def disabling_the_account(servers: TwoServers, email: str, _header: dict[str, str]) -> None:
    await servers.services.accounts.disable(operator(), email)


async def changing_the_role(servers: TwoServers, email: str, _header: dict[str, str]) -> None:
    await servers.services.accounts.change_role(operator(), email, Role.RESEARCHER)


async def changing_the_password_elsewhere(servers: TwoServers, email: str, _header: dict[str, str]) -> None:
    _, another = await servers.logged_in(email)
    change = {"current": PASSWORD, "new": "another river, other ferns"}
    assert (await servers.one.post(f"{_ROOT}/me/password", json=change, headers=another)).status_code == 204


async def giving_another_password(servers: TwoServers, email: str, _header: dict[str, str]) -> None:
    await servers.services.accounts.reset_password(operator(), email, "another river, other ferns")


async def ending_all_as_the_operator(servers: TwoServers, email: str, _header: dict[str, str]) -> None:
    await servers.services.open_sessions.end_all_of(operator(), email)


async def taking_the_second_factor_away(servers: TwoServers, email: str, _header: dict[str, str]) -> None:
    await servers.services.second_factors.remove_of(operator(), email)


WAYS: tuple[Revoking, ...] = (
    logging_out,
    ending_it_from_another_session,
    enrolling_a_second_factor_elsewhere,
    disabling_the_account,
    changing_the_role,
    changing_the_password_elsewhere,
    giving_another_password,
    ending_all_as_the_operator,
    taking_the_second_factor_away,
)


async def test_what_one_process_revokes_the_other_refuses_with_the_next_request(servers: TwoServers) -> None:
    for revoke in WAYS:
        email, header = await servers.logged_in()
        answered: list[tuple[float, int]] = []
        stop = asyncio.Event()

        async def go_on(
            header: dict[str, str] = header,
            answered: list[tuple[float, int]] = answered,
            stop: asyncio.Event = stop,
        ) -> None:
            while not stop.is_set():
                began = time.monotonic()
                answer = await servers.other.get(f"{_ROOT}/me", headers=header)
                answered.append((began, answer.status_code))

        clients = [asyncio.create_task(go_on()) for _ in range(3)]
        while len(answered) < 5:
            await asyncio.sleep(0)
        assert {status for _, status in answered} == {200}, revoke.__name__
        await revoke(servers, email, header)
        revoked = time.monotonic()
        before = len(answered)
        while len(answered) < before + 10:
            await asyncio.sleep(0)
        stop.set()
        await asyncio.gather(*clients)
        after = [status for began, status in answered if began >= revoked]
        assert after, revoke.__name__
        assert set(after) == {401}, revoke.__name__
