"""Requests over HTTP while the network between the application and PostgreSQL fails, and what becomes of them after."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

import pytest
from httpx import AsyncClient, Response
from sqlalchemy import QueuePool, func, select, text

from clarity.bootstrap import opened_trail, units_of_work
from clarity.domain.access import Action, Role
from clarity.domain.audit import Outcome
from clarity.domain.records import Resource
from clarity.persistence import direct, engine
from clarity.persistence.direct import DirectStatement
from clarity.persistence.engine import Database, EngineOptions
from clarity.persistence.idempotency import IdempotencyKeyRow
from clarity.persistence.patients.tables import PatientRow
from clarity.security.keyring import Keyring
from tests.api.clinic import code, opened_clinic
from tests.builders import a_patient
from tests.practice import events_in, sql_practice
from tests.proxies import AtCommit, FaultProxy, proxied
from tests.servers import opened

BODY = {
    "names": [{"family": "Lovelace", "given": ["Ada"], "use": "official"}],
    "born": "1985-12-10",
    "gender": "female",
}
KEY = {"Idempotency-Key": "k1"}


@dataclass(frozen=True, slots=True)
class Practised:
    """A front desk over a practice whose database is reached through `proxy`; `direct` is the same one, without."""

    proxy: FaultProxy
    desk: AsyncClient
    database: Database
    direct: Database

    async def register(self) -> Response:
        """Register the same patient, by the same key."""
        return await self.desk.post("/patients", json=BODY, headers=KEY)

    async def count(self, rows: Any = PatientRow) -> int:
        """Count rows, past the proxy."""
        async with self.direct.reading() as session:
            return int(await session.scalar(select(func.count()).select_from(rows)) or 0)

    async def ends(self, action: Action) -> list[Outcome]:
        """Return how the trail says that attempts at something with patients ended."""
        events = await events_in(self.direct)
        return [one.outcome for one in events if (one.resource, one.action) == (Resource.PATIENT, action)]

    def idle(self) -> bool:
        """Tell whether every connection is back in the pool."""
        pool = self.database.writing.kw["bind"].sync_engine.pool
        assert isinstance(pool, QueuePool)
        return pool.checkedout() == 0


@asynccontextmanager
async def practised(options: EngineOptions, keyring: Keyring, **limits: Any) -> AsyncIterator[Practised]:
    async with (
        asyncio.timeout(30),
        proxied(options) as proxy,
        opened(replace(proxy.options, **limits)) as database,
        opened(options) as direct,
        sql_practice(database, keyring) as practice,
        opened_clinic(practice, keyring) as clinic,
    ):
        desk = await clinic.logged_in(Role.FRONT_DESK)
        yield Practised(proxy, desk, database, direct)


@pytest.mark.parametrize(("how", "kept"), [(AtCommit.CUT_BEFORE, 0), (AtCommit.CUT_AFTER, 1)])
async def test_a_connection_lost_in_a_commit_is_told_and_the_key_finds_out(
    postgresql_options: EngineOptions, keyring: Keyring, how: AtCommit, kept: int
) -> None:
    async with practised(postgresql_options, keyring) as at:
        at.proxy.strike(how)
        lost = await at.register()
        assert (lost.status_code, code(lost)) == (503, "outcome-unknown")
        assert "Retry-After" in lost.headers
        assert await at.count() == kept
        made = await at.register()
        assert made.status_code == 201
        assert await at.count() == await at.count(IdempotencyKeyRow) == 1
        assert (await at.register()).json()["id"] == made.json()["id"]
        assert Outcome.UNKNOWN in await at.ends(Action.REGISTER)
        assert (await at.ends(Action.REGISTER)).count(Outcome.SUCCEEDED) == 1
        assert at.idle()


async def test_a_connection_lost_before_a_commit_leaves_nothing_and_may_be_tried_again(
    postgresql_options: EngineOptions, keyring: Keyring, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with practised(postgresql_options, keyring) as at:
        run = vars(direct)["_within"]

        def reset(session: Any, statement: DirectStatement, values: list[Any]) -> Any:
            if "INSERT INTO patients " in statement.text:
                monkeypatch.undo()
                at.proxy.reset()
            return run(session, statement, values)

        monkeypatch.setattr(direct, "_within", reset)
        lost = await at.register()
        assert (lost.status_code, code(lost)) == (503, "unavailable")
        assert await at.count() == await at.count(IdempotencyKeyRow) == 0
        assert await at.ends(Action.REGISTER) == [Outcome.FAILED]
        assert (await at.register()).status_code == 201
        assert at.idle()


async def test_a_network_that_passes_nothing_on_is_waited_for_no_longer_than_the_limits(
    postgresql_options: EngineOptions, keyring: Keyring, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "_GRACE_SECONDS", 0.1)
    async with practised(
        postgresql_options, keyring, statement_timeout_ms=200, connect_timeout_seconds=0.3, pool_timeout_seconds=0.3
    ) as at:
        at.proxy.blackhole()
        began = time.monotonic()
        answers = await asyncio.gather(*(at.desk.get("/patients") for _ in range(4)))
        assert {answer.status_code for answer in answers} == {503}
        assert time.monotonic() - began < 5
        at.proxy.heal()
        assert (await at.desk.get("/patients")).status_code == 200
        assert at.idle()


async def test_who_finds_every_connection_taken_is_told_in_time_and_none_is_lost(
    postgresql_options: EngineOptions, keyring: Keyring
) -> None:
    async with practised(postgresql_options, keyring, pool_size=1, max_overflow=0, pool_timeout_seconds=0.2) as at:
        at.proxy.strike(AtCommit.HOLD)
        held = asyncio.create_task(at.register())
        await at.proxy.struck.wait()
        began = time.monotonic()
        refused = await at.desk.get("/patients")
        assert (refused.status_code, code(refused)) == (503, "busy")
        assert time.monotonic() - began < 3
        at.proxy.release()
        assert (await held).status_code == 201
        assert (await at.desk.get("/patients")).json()["total"]["count"] == 1
        assert at.idle()


@pytest.mark.parametrize("fault", ["blackhole", "reset"])
async def test_a_trail_that_cannot_be_reached_discloses_nothing_and_recovers(
    postgresql_options: EngineOptions, keyring: Keyring, fault: str
) -> None:
    async with (
        asyncio.timeout(30),
        opened(postgresql_options) as database,
        proxied(postgresql_options) as proxy,
        opened(replace(proxy.options, connect_timeout_seconds=0.3)) as far,
        opened_trail(far, keyring, timeout_seconds=0.5) as trail,
        sql_practice(database, keyring) as near,
    ):
        ada = await near.stored(a_patient())
        units = units_of_work(database, keyring, trail)
        practice = replace(near, begin=units.begin, reading=units.reading)
        async with opened_clinic(practice, keyring) as clinic:
            desk = await clinic.logged_in(Role.FRONT_DESK)
            getattr(proxy, fault)()
            answers = await asyncio.gather(*(desk.get(f"/patients/{ada.id}") for _ in range(3)))
            if fault == "blackhole":
                assert {(answer.status_code, code(answer)) for answer in answers} == {(503, "trail-unavailable")}
                assert b"Lovelace" not in b"".join(answer.content for answer in answers)
                proxy.heal()
                answers = [await desk.get(f"/patients/{ada.id}")]
            assert {answer.status_code for answer in answers} == {200}
            told = [event for event in await events_in(database) if event.patient == ada.id]
            assert sum(event.action is Action.VIEW for event in told) >= len(answers)


async def test_a_deadlock_and_a_statement_that_a_migration_invalidated_are_tried_again(
    postgresql_options: EngineOptions, keyring: Keyring, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with practised(postgresql_options, keyring) as at:
        made = (await at.register()).json()["id"]
        run = vars(direct)["_within"]
        seen: list[str] = []

        def lose(session: Any, statement: DirectStatement, values: list[Any]) -> Any:
            if "UPDATE patients " in statement.text and len(seen) < 3:
                state = ("40P01", "40001", "0A000")[len(seen)]
                seen.append(state)
                raising = DirectStatement(text(f"DO $$ BEGIN RAISE EXCEPTION 'lost' USING ERRCODE = '{state}'; END $$"))
                return run(session, raising, [])
            return run(session, statement, values)

        monkeypatch.setattr(direct, "_within", lose)
        changed = await at.desk.patch(
            f"/patients/{made}",
            json={"gender": "other"},
            headers={"If-Match": '"1"', "Content-Type": "application/merge-patch+json"},
        )
        assert (changed.status_code, changed.headers["ETag"]) == (200, '"2"')
        assert seen == ["40P01", "40001", "0A000"]
        ends = await at.ends(Action.CHANGE)
        assert ends.count(Outcome.SUCCEEDED) == 1
        assert at.idle()
