"""Migrations under a server that serves, and two servers on one database."""

import asyncio
from collections.abc import Awaitable, Callable

from sqlalchemy import make_url

from clarity.api.patients.shapes import EXAMPLE
from clarity.domain.errors import StaleWrite, Unavailable
from clarity.persistence import migrations
from clarity.persistence.engine import Database, EngineOptions
from clarity.persistence.trail_guard import check_guard
from clarity.security.keyring import Keyring
from tests.api.clinic import opened_clinic
from tests.builders import a_patient
from tests.practice import sql_practice
from tests.servers import PostgresDatabases, opened

_WHAT_MAY_BE_SENT_AGAIN = (Unavailable, StaleWrite)


async def test_requests_end_well_or_may_be_sent_again_while_the_tables_are_migrated(
    postgres: PostgresDatabases, postgresql: Database, postgresql_options: EngineOptions, keyring: Keyring
) -> None:
    owner, role = postgres.as_owner(postgresql_options), make_url(postgresql_options.url).username or ""
    async with sql_practice(postgresql, keyring) as practice:
        ada, bob = [await practice.stored(a_patient()) for _ in range(2)]
        ended = asyncio.Event()
        well: dict[str, int] = {}

        async def go_on(name: str, ask: Callable[[], Awaitable[object]]) -> None:
            while not ended.is_set():
                try:
                    await ask()
                except _WHAT_MAY_BE_SENT_AGAIN:
                    continue
                well[name] = well.get(name, 0) + 1

        requests = [
            asyncio.create_task(go_on("viewed", lambda: practice.opened(ada.id))),
            asyncio.create_task(go_on("changed", lambda: practice.changed(bob.id, notes="Sleeps well."))),
            asyncio.create_task(go_on("registered", lambda: practice.stored(a_patient()))),
        ]
        await migrations.downgrade(owner, "0002", app_role=role)
        await migrations.upgrade(owner, app_role=role)
        during = dict(well)
        while not all(well.get(name, 0) > during.get(name, 0) for name in ("viewed", "changed", "registered")):
            await asyncio.sleep(0)
            assert not any(request.done() for request in requests)
        ended.set()
        await asyncio.gather(*requests)
        assert (await practice.opened(ada.id)).id == ada.id
    async with postgresql.writing() as session:
        assert await check_guard(await session.connection()) == []


async def test_what_one_server_does_the_other_sees_and_neither_does_again(
    database: Database, database_options: EngineOptions, keyring: Keyring
) -> None:
    async with (
        opened(database_options) as another,
        sql_practice(database, keyring) as here,
        sql_practice(another, keyring) as there,
        opened_clinic(here, keyring) as one,
        opened_clinic(there, keyring) as other,
    ):
        desk = await one.front_desk()
        beside = other.caller(desk.headers["Authorization"].removeprefix("Bearer "))
        key = {"Idempotency-Key": "one-and-the-same"}
        answers = [await client.post("/patients", json=EXAMPLE, headers=key) for client in (desk, beside, desk)]
        assert [answer.status_code for answer in answers] == [201] * 3
        (patient,) = {answer.json()["id"] for answer in answers}
        for client, version, gender in ((desk, 1, "other"), (beside, 2, "unknown"), (desk, 3, "female")):
            seen = {"If-Match": f'"{version}"'}
            changed = await client.patch(f"/patients/{patient}", json={"gender": gender}, headers=seen)
            assert changed.status_code == 200, changed.text
            stale = await client.patch(f"/patients/{patient}", json={"gender": "male"}, headers=seen)
            assert stale.status_code == 412
            for reader in (desk, beside):
                assert (await reader.get(f"/patients/{patient}")).json()["gender"] == gender
        at_once = [client.post("/patients", json=EXAMPLE, headers=key) for client in (desk, beside) for _ in range(3)]
        assert {answer.json()["id"] for answer in await asyncio.gather(*at_once)} == {patient}
