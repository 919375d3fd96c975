"""Compares how long two answers take that nobody should tell apart: a refusal and an absence, and log-ins that fail.

    python -m tests.timing [--requests 2000] [--on sqlite|postgresql]

Each comparison asks its two questions in turn, in an order drawn by lot for each pair, so that whatever else the
machine does falls on both. What is compared are means over all pairs, with a confidence interval of 99 % for their
difference. They differ beyond noise if that interval leaves out zero, and the difference is more than 2 % of the mean,
which is less than what any network adds by itself. Then the exit status is 1. "Unclear" means that the interval is
wider than those 2 %: the machine was busy, or the requests too few.

A pair with an answer among the slowest 1 % of its kind is left out with its partner: those are pauses of the machine.
"""

import argparse
import asyncio
import random
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, contextmanager, nullcontext
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from httpx import ASGITransport, AsyncClient, Response
from pydantic import SecretStr

from clarity.api.app import create_app
from clarity.api.options import ApiOptions
from clarity.application.services import Services
from clarity.bootstrap import operator, running
from clarity.config import Settings
from clarity.domain.access import Role
from clarity.domain.ids import PatientId
from clarity.domain.records import Label
from clarity.upkeep import make_keys
from tests.builders import TODAY, a_patient, a_practitioner, new_id
from tests.practice import Practice
from tests.servers import migrated_file, postgres_databases

_PASSWORD = "quiet ferns along the river"
_WRONG = "loud ferns along the river"
_Z_99 = 2.576
_PERCENT_ALLOWED = 2.0
# An Argon2 hash takes longer than anything else in a request: fewer requests show as much.
_REQUESTS_PER_HASH = 25

Ask = Callable[[], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two questions whose answers should take the same time."""

    title: str
    one: Ask
    other: Ask
    requests: int


@dataclass(frozen=True, slots=True)
class Finding:
    """What a comparison found, in microseconds: both means, their difference and half of its confidence interval."""

    title: str
    requests: int
    one: float
    other: float
    half: float

    @property
    def difference(self) -> float:
        """How much longer the other takes."""
        return self.other - self.one

    @property
    def beyond_noise(self) -> bool:
        """Whether somebody could tell the two apart."""
        return abs(self.difference) > max(self.half, self.allowed)

    @property
    def allowed(self) -> float:
        """How much they may differ."""
        return self.one * _PERCENT_ALLOWED / 100

    def __str__(self) -> str:
        """Say it in one line."""
        verdict = "DIFFERENT" if self.beyond_noise else "alike" if self.half <= self.allowed else "unclear"
        return (
            f"{verdict:9} {self.title}: {self.one:,.1f} and {self.other:,.1f} µs, difference {self.difference:+,.1f}"
            f" ± {self.half:,.1f} µs (99 %, {self.requests} requests each)"
        )


class Unlimited:
    """`RateLimit` that allows everything: what is limited is not what is measured."""

    async def hit(self, what: str, who: str) -> None:
        """Allow it."""


async def compared(comparison: Comparison) -> Finding:
    """Ask both questions of a comparison again and again."""
    pairs: list[tuple[float, float]] = []
    answers: set[tuple[int, bytes]] = set()
    for _ in range(comparison.requests):
        taken = [0.0, 0.0]
        for which in random.sample((0, 1), 2):
            ask = (comparison.one, comparison.other)[which]
            began = time.perf_counter()
            answer = await ask()
            taken[which] = (time.perf_counter() - began) * 1e6
            answers.add((answer.status_code, answer.content))
        pairs.append((taken[0], taken[1]))
    if len(answers) != 1:
        raise AssertionError(f"{comparison.title}: the answers themselves differ")
    return _finding(comparison.title, pairs)


def _finding(title: str, pairs: Sequence[tuple[float, float]]) -> Finding:
    slowest = [sorted(times)[int(len(pairs) * 0.99) - 1] for times in zip(*pairs, strict=True)]
    kept = [(one, other) for one, other in pairs if one <= slowest[0] and other <= slowest[1]]
    differences = [other - one for one, other in kept]
    half = _Z_99 * statistics.stdev(differences) / len(kept) ** 0.5
    ones, others = zip(*kept, strict=True)
    return Finding(title, len(pairs), statistics.fmean(ones), statistics.fmean(others), half)


@dataclass(frozen=True, slots=True)
class House:
    """A practice with what is asked for: patients who are not the caller's, and accounts in every state."""

    services: Services
    client: AsyncClient

    async def comparisons(self, requests: int) -> list[Comparison]:
        """Return everything that is compared."""
        await self._account("here@clinic.example")
        await self._account("gone@clinic.example")
        await self.services.accounts.disable(operator(), "gone@clinic.example")
        clinician, desk = await self._clinician(), await self._account("desk@clinic.example")
        refused, guarded = await self._patient(Label.NORMAL), await self._patient(Label.RESTRICTED)
        log_ins = max(20, requests // _REQUESTS_PER_HASH)
        return [
            Comparison("two absent patients", self._view(clinician), self._view(clinician), requests),
            Comparison("absent and refused", self._view(clinician), self._view(clinician, refused), requests),
            Comparison("absent and guarded", self._view(desk), self._view(desk, guarded), requests),
            Comparison("unknown account and wrong password", self._log_in("x"), self._log_in("here"), log_ins),
            Comparison("unknown account and disabled", self._log_in("x"), self._log_in("gone"), log_ins),
            Comparison(
                "unknown account and disabled, with its password",
                self._log_in("x", _PASSWORD),
                self._log_in("gone", _PASSWORD),
                log_ins,
            ),
            Comparison("password reset, unknown and known", self._reset("x"), self._reset("here"), requests // 4),
            Comparison("password reset, unknown and disabled", self._reset("x"), self._reset("gone"), requests // 4),
        ]

    async def _account(self, email: str, role: Role = Role.FRONT_DESK, **links: Any) -> dict[str, str]:
        """Make an account and return the header of a session of it."""
        await self.services.accounts.add(
            operator(), email=email, name="Somebody", role=role, password=_PASSWORD, **links
        )
        credentials = {"email": email, "password": _PASSWORD}
        opened = (await self.client.post("/sessions", json=credentials)).json()
        return {"Authorization": f"Bearer {opened['access_token']}"}

    async def _clinician(self) -> dict[str, str]:
        practitioner = await self._practice.employed(a_practitioner())
        return await self._account("clinician@clinic.example", Role.CLINICIAN, practitioner=practitioner.id)

    async def _patient(self, label: Label) -> PatientId:
        return (await self._practice.stored(a_patient(notes="Sleeps badly. " * 20, label=label))).id

    @property
    def _practice(self) -> Practice:
        async def no_events() -> list[Any]:
            return []

        async def nothing(_patient: PatientId) -> None:
            return None

        return Practice(self.services.accounts.begin, self.services.accounts.reading, no_events, lambda: None, nothing)

    def _view(self, header: dict[str, str], patient: PatientId | None = None) -> Ask:
        async def ask() -> Response:
            return await self.client.get(f"/patients/{patient or new_id()}", headers=header)

        return ask

    def _reset(self, name: str) -> Ask:
        async def ask() -> Response:
            return await self.client.post("/password-resets", json={"email": f"{name}@clinic.example"})

        return ask

    def _log_in(self, name: str, password: str = _WRONG) -> Ask:
        async def ask() -> Response:
            email = f"{name}@clinic.example"
            return await self.client.post("/sessions", json={"email": email, "password": password})

        return ask


def unlimited(services: Services) -> Services:
    """Return the same use-cases without their limits."""
    changed = {
        field.name: replace(service, limits=Unlimited())
        for field in fields(services)
        if hasattr(service := getattr(services, field.name), "limits")
    }
    return replace(services, **changed)


@asynccontextmanager
async def opened(settings: Settings) -> AsyncIterator[House]:
    """Open a practice, with the API in this process: what a network adds is not what is measured."""
    # A session of the measurement itself should last as long as it does.
    async with running(settings) as limited:
        services = unlimited(limited)

        @asynccontextmanager
        async def open_services() -> AsyncIterator[Services]:
            yield services

        app = create_app(open_services, ApiOptions(today=lambda: TODAY))
        transport = ASGITransport(app, client=("198.51.100.7", 40_000))
        async with (
            app.router.lifespan_context(app),
            AsyncClient(transport=transport, base_url="http://clinic.test/api/v1") as client,
        ):
            yield House(services, client)


async def measure(settings: Settings, requests: int) -> list[Finding]:
    """Compare everything over one practice, printing each finding as it comes."""
    findings = []
    async with opened(settings) as house:
        for comparison in await house.comparisons(requests):
            findings.append(finding := await compared(comparison))
            print(finding, flush=True)
    return findings


@contextmanager
def _postgresql() -> Any:
    with postgres_databases() as databases:
        yield databases.application_of(asyncio.run(databases.create())).url


def main(arguments: Sequence[str]) -> int:
    """Measure and return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.timing", description=__doc__.partition("\n")[0])
    parser.add_argument("--requests", type=int, default=2_000, help="how many requests of each kind; 2,000 by default")
    parser.add_argument("--on", choices=("sqlite", "postgresql"), default="sqlite", help="which database")
    chosen = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="clarity-timing-") as name:
        folder = Path(name)
        on_file = nullcontext(f"sqlite:///{folder}/practice.db")
        with on_file if chosen.on == "sqlite" else _postgresql() as url:
            if chosen.on == "sqlite":
                migrated_file(folder / "practice.db")
            settings = Settings(
                data_dir=folder / "data",
                async_database_uri=SecretStr(url),
                session_idle_minutes=1_440,
                access_token_ttl_seconds=86_400,
            )
            make_keys(settings)
            findings = asyncio.run(measure(settings, chosen.requests))
    return 1 if any(finding.beyond_noise for finding in findings) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
