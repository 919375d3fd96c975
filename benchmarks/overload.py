"""What one server does when four times as much is asked of it as it can do, and what it would do without its gate.

    python -m benchmarks.overload [--quick] [--json] [--seconds 10] [--times 4] [--no-peer]

Starts a PostgreSQL of its own and `clarity serve`, each in its own process, and the load in a third
(`benchmarks/load.py`). Sixty per cent of the requests view a patient, twenty list, twenty register somebody.

1. The peak, once the server is warm: clients that always ask again, 8, 15 and 30 of them, 4 s each; the best rate of
   good answers is the peak. An answer is good if it is 2xx within a second of the instant its request was due.
2. Four times the peak, at instants that do not wait for answers.
3. At once thereafter the clients of the peak again: how long until a second is as good as the peak, less five per cent.
4. When all clients have left: what the server still holds that it has no use for.

`goodput_ratio` is the good answers a second of step 2 over the peak, `shed_ms_p99` how long those wait who are told
503. `connections_leaked` counts sockets beyond those before that are not to the database, connections that the pool
waits to be given back, and those that no pool knows beyond the trail's and the search index's. What the pool keeps is
none of them: since reads are gathered, it seldom has all its connections open before the overload. The peer is the same
server under the same load, with MAX_CONCURRENT_REQUESTS and MAX_WAITING_REQUESTS beyond reach.

All three processes share the machine's cores, so the load is paid for by the server it measures: its share of a core is
given beside the others'. Limits by account and address are off, since one account and one address ask for everybody.
Exits with 1 if a figure misses its bound.
"""

import asyncio
import json
import os
import sys
import tempfile
import time
from argparse import Namespace
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import asyncpg
from httpx import AsyncClient
from pydantic import SecretStr
from sqlalchemy import make_url

from benchmarks.measuring import Bound, arguments, machine, said, told
from clarity.bootstrap import operator, running
from clarity.config import Settings
from clarity.domain.access import Role
from clarity.upkeep import has_keys, make_keys
from tests.servers import PostgresDatabases, postgres_server
from tests.serving import Clinic, figures
from tests.shells import PASSWORD, surroundings

BOUNDS = {
    "goodput_ratio": Bound(at_least=0.8),
    "shed_ms_p99": Bound(at_most=1_000),
    "connections_leaked": Bound(at_most=0),
    "recovered_s": Bound(at_most=5),
}

_EMAIL = "desk@clinic.example"
_PATIENTS = 200
_CLIENTS = (8, 15, 30)
_PEAK_SECONDS = 4.0
_AFTER_SECONDS = 6.0
# Until then the server has opened the connections to the database that it needs, and each has prepared all statements.
_WARM_UP_SECONDS = 3.0
_QUICK_SHARE = 0.2
# The trail's, and the one on which the search index asks what changed.
_OF_NO_POOL = 2
_NO_LIMITS = {"MAX_CONCURRENT_REQUESTS": "1000000", "MAX_WAITING_REQUESTS": "1000000", "MAX_CONNECTIONS": "10000"}
_FULL_SPEED = 0.95
_BUCKETS_A_SECOND = 4
# Everything that a practice's server does to be durable; the tests' own settings leave it out.
_DURABLE = {"fsync": "on", "full_page_writes": "on", "autovacuum": "on", "max_connections": "100"}


@dataclass(frozen=True, slots=True)
class Held:
    """What a server holds open but for what its pool keeps.

    These are `sockets` that are not to the database, connections to it that are `in_use`, and those `of_no_pool`.
    """

    sockets: int
    in_use: int
    of_no_pool: int

    def leaked(self, before: "Held") -> int:
        """Return how much of it is of no use to a server that does nothing."""
        return max(0, self.sockets - before.sockets) + max(0, self.in_use) + max(0, self.of_no_pool - _OF_NO_POOL)


@dataclass(slots=True)
class Measured:
    """A server under way, the load for it, and the database it keeps its records in."""

    pid: int
    database_url: str
    job: dict[str, Any]

    async def run(self, *phases: dict[str, Any]) -> list[dict[str, Any]]:
        """Carry out phases, and add to each report what share of a core each process took."""
        job = {**self.job, "phases": phases}
        server, everything = _cpu_seconds(self.pid), _machine_seconds()
        began = time.perf_counter()
        load = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "benchmarks.load"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        said, _ = await load.communicate(json.dumps(job).encode())
        assert load.returncode == 0
        answer = json.loads(said)
        seconds = time.perf_counter() - began
        self.job["first_number"] += 1_000_000
        self.job["seed"] += 10
        reports: list[dict[str, Any]] = answer["phases"]
        cores = {
            "server": (_cpu_seconds(self.pid) - server) / seconds,
            "load": answer["cpu_seconds"] / seconds,
            "whole_machine": (_machine_seconds() - everything) / seconds,
        }
        for report in reports:
            report["cores"] = {name: round(share, 2) for name, share in cores.items()}
        return reports

    async def held(self) -> Held:
        """Return what the server holds open for its clients and of its database."""
        async with AsyncClient(base_url=self.job["address"], timeout=30) as http:
            told = await figures(http)
        [connected] = await _asked(
            self.database_url,
            "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'clarity' AND datname = current_database()",
        )
        in_use = told["clarity_pool_in_use"]
        of_no_pool = connected - in_use - told["clarity_pool_idle"]
        return Held(_sockets(self.pid) - connected, in_use, of_no_pool)

    async def at_rest(self, before: Held | None = None) -> Held:
        """Return what is held once that stays as it is and nothing is leaked, or after as long as one might wait."""
        held = await self.held()
        for _ in range(32):
            await asyncio.sleep(0.25)
            last, held = held, await self.held()
            if held == last and not (before and held.leaked(before)):
                break
        return held


_connect: Callable[..., Awaitable[Any]] = asyncpg.connect


async def _asked(url: str, question: str) -> asyncpg.Record:
    place = make_url(url)
    connection = await _connect(
        host=place.query["host"], user=place.username, password=place.password, database=place.database
    )
    try:
        record: asyncpg.Record = await connection.fetchrow(question)
    finally:
        await connection.close()
    return record


def _sockets(pid: int) -> int:
    return sum(file.is_socket() for file in Path(f"/proc/{pid}/fd").iterdir())


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _machine_seconds() -> float:
    """Return how long the cores of the machine have been busy, whoever with."""
    user, nice, system, _idle, _wait, irq, soft, *_ = map(int, Path("/proc/stat").read_text().split()[1:9])
    return (user + nice + system + irq + soft) / os.sysconf("SC_CLK_TCK")


@asynccontextmanager
async def serving(folder: Path, database_url: str, **limits: str) -> AsyncIterator[Measured]:
    """Serve a practice with some patients, by one account for the front desk."""
    settings = Settings(data_dir=folder / "data", async_database_uri=SecretStr(database_url))
    fresh = not has_keys(settings)
    if fresh:
        make_keys(settings)
        async with running(settings) as services:
            await services.accounts.add(operator(), email=_EMAIL, name="Desk", role=Role.FRONT_DESK, password=PASSWORD)
    environment = surroundings() | {
        "DATA_DIR": str(settings.data_dir),
        "ASYNC_DATABASE_URI": database_url,
        "REQUESTS_PER_MINUTE_OF_ACCOUNT": "0",
        "REQUESTS_PER_MINUTE_FROM_ADDRESS": "0",
        **limits,
    }
    async with Clinic(folder, environment).serving() as (server, address), AsyncClient(base_url=address) as client:
        opened = await client.post("/api/v1/sessions", json={"email": _EMAIL, "password": PASSWORD}, timeout=30)
        token = opened.json()["access_token"]
        client.headers["Authorization"] = f"Bearer {token}"
        patients = await _patients(client, make=_PATIENTS if fresh else 0)
        job = {"address": address, "token": token, "patients": patients, "seed": 1}
        yield Measured(server.pid, database_url, {**job, "first_number": 1 if fresh else 500_000_000})


async def _patients(client: AsyncClient, *, make: int) -> list[str]:
    for number in range(make):
        body = {
            "names": [{"family": f"Seed{number}", "given": ["Kim"]}],
            "born": "1979-11-30",
            "identifiers": [{"kind": "mrn", "value": f"SEED-{number}"}],
        }
        answer = await client.post("/api/v1/patients", json=body)
        assert answer.status_code == 201, answer.text
    listed = await client.get("/api/v1/patients", params={"limit": 100})
    return [item["id"] for item in listed.json()["items"]]


def _warm_up(share: float) -> dict[str, Any]:
    return {"clients": max(_CLIENTS), "seconds": _WARM_UP_SECONDS * share}


async def peak_of(server: Measured, share: float) -> dict[str, Any]:
    """Return the best of a few closed phases, after one that warms up; each takes `share` of its time."""
    phases = [{"clients": clients, "seconds": _PEAK_SECONDS * share} for clients in _CLIENTS]
    _, *reports = await server.run(_warm_up(share), *phases)
    best = max(range(len(reports)), key=lambda number: reports[number]["good_per_s"])
    return {**reports[best], "clients": _CLIENTS[best]}


async def overloaded(server: Measured, peak: dict[str, Any], options: Namespace, share: float) -> dict[str, Any]:
    """Offer so many times the peak, then the peak itself, and say what became of it."""
    before = await server.at_rest()
    over, after = await server.run(
        {"rate": options.times * peak["good_per_s"], "seconds": options.seconds * share},
        {"clients": peak["clients"], "seconds": _AFTER_SECONDS * share},
    )
    held = await server.at_rest(before)
    return {
        "goodput_ratio": round(over["good_per_s"] / peak["good_per_s"], 3),
        "shed_ms_p99": over["shed_ms"]["p99"],
        "connections_leaked": held.leaked(before),
        "recovered_s": _recovered(after["per_s"], _FULL_SPEED * peak["good_per_s"]),
        "overload": over,
        "after": after,
        "held": {"before": asdict(before), "after": asdict(held)},
    }


def _recovered(per_s: list[int], full_speed: float) -> float | None:
    """Return after how many seconds a second began that was as good as full speed; none if none was."""
    for first in range(len(per_s) - _BUCKETS_A_SECOND + 1):
        if sum(per_s[first : first + _BUCKETS_A_SECOND]) / _BUCKETS_A_SECOND >= full_speed:
            return first / _BUCKETS_A_SECOND
    return None


async def measure(options: Namespace) -> dict[str, Any]:
    share = _QUICK_SHARE if options.quick else 1.0
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="clarity-overload-")))
        postgres = PostgresDatabases(stack.enter_context(postgres_server(_DURABLE)), "file_copy")
        await postgres.prepare()
        url = postgres.application_of(await postgres.create()).url
        [version] = await _asked(url, "SHOW server_version")
        async with serving(folder, url) as server:
            peak = await peak_of(server, share)
            protected = await overloaded(server, peak, options, share)
        unprotected = None
        if options.peer and not options.quick:
            async with serving(folder, url, **_NO_LIMITS) as server:
                await server.run(_warm_up(share))
                unprotected = await overloaded(server, peak, options, share)
    found = told(
        {name: protected[name] for name in BOUNDS},
        BOUNDS,
        options,
        peak_per_s=peak["good_per_s"],
        times=options.times,
        peak=peak,
        protected=protected,
        unprotected=unprotected,
        settings={"server_version": version, **_DURABLE},
        machine=machine(("clarity", "uvicorn", "uvloop", "fastapi", "asyncpg")),
    )
    if protected["recovered_s"] is None and not options.quick:
        found["missed"].append("recovered_s")  # it was measured: it never was as good again
    return found


def show(found: Mapping[str, Any]) -> None:
    peak = found["peak"]
    print(
        f"\npeak: {found['peak_per_s']:.0f} good answers a second with {peak['clients']} clients, cores {peak['cores']}"
    )
    print(f"\nunder {found['times']:g} times that{'':14}{'limited':>12}{'unlimited':>12}")
    runs = [found["protected"], found["unprotected"] or {}]
    for name in BOUNDS:
        print(f"{name:<34}{runs[0].get(name)!s:>12}{runs[1].get(name, '-')!s:>12}")
    for title, name in (
        ("good", "good"),
        ("late", "late"),
        ("refused", "shed"),
        ("broken", "broken"),
        ("unsent", "unsent"),
    ):
        print(f"{title:<34}" + "".join(f"{run['overload'][name] if run else '-':>12}" for run in runs))
    for name in ("p50", "p99"):
        title = f"good answers, {name} in ms"
        print(f"{title:<34}" + "".join(f"{run['overload']['good_ms'][name] if run else '-':>12}" for run in runs))


def main() -> int:
    parser = arguments(__doc__)
    parser.add_argument(
        "--seconds", type=float, default=10.0, help="how long the overload lasts (default 10, at most 20)"
    )
    parser.add_argument("--times", type=float, default=4.0, help="how many times the peak is offered (default 4)")
    parser.add_argument("--no-peer", dest="peer", action="store_false", help="leave out the server without limits")
    options = parser.parse_args()
    if not 1 <= options.seconds <= 20 or not 0 < options.times <= 10:
        parser.error("--seconds is 1 to 20, --times at most 10")
    return said(asyncio.run(measure(options)), options, show)


if __name__ == "__main__":
    sys.exit(main())
