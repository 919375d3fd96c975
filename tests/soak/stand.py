"""The practice that a soak is about: a database, servers over it, a proxy between them, and accounts to call with."""

import asyncio
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from httpx import AsyncClient, HTTPError
from pydantic import SecretStr
from sqlalchemy import make_url, text

from clarity.bootstrap import operator, running
from clarity.config import Settings
from clarity.domain.access import Role
from clarity.persistence.engine import EngineOptions
from clarity.upkeep import make_keys
from tests.builders import a_practitioner
from tests.canaries import contents, hits
from tests.proxies import FaultProxy, proxied
from tests.servers import PostgresDatabases, PostgresServer, migrated_file, opened, postgres_files
from tests.shells import PASSWORD, surroundings
from tests.soak.clients import FAMILY, Plan
from tests.soak.judging import Stored
from tests.soak.stored import MAIL, read_stored

_READY_SECONDS = 120.0
_DRAIN_SECONDS = 60.0
# Whatever is in the way, a request ends within the time that a client waits; so faults are noticed soon.
_LIMITS = {
    "DB_STATEMENT_TIMEOUT_MS": "2000",
    "DB_POOL_TIMEOUT": "2",
    "DB_IDLE_IN_TRANSACTION_TIMEOUT_MS": "4000",
    "AUDIT_TIMEOUT_SECONDS": "2",
    "REQUEST_TIMEOUT_SECONDS": "8",
    "ACCESS_TOKEN_TTL_SECONDS": "86400",
    "SESSION_IDLE_MINUTES": "1440",
    "SESSION_TTL_HOURS": "24",
    "REQUESTS_PER_MINUTE_OF_ACCOUNT": "0",
    "REQUESTS_PER_MINUTE_FROM_ADDRESS": "0",
}
# Nothing that was acknowledged may depend on a write that the disk has not seen.
_DURABLE = {"fsync": "on", "full_page_writes": "on", "autovacuum": "on", "track_activity_query_size": "16384"}
_CONNECTIONS = "SELECT count(*) FROM pg_stat_activity WHERE usename = :role AND "


@dataclass(slots=True)
class Server:
    """One process of `clarity serve`, on a port that stays when it is started again."""

    folder: Path
    name: str
    port: int
    environment: dict[str, str]
    process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it; it is not ready yet."""
        with (self.folder / f"{self.name}.log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "clarity", "serve", "--port", str(self.port)],
                cwd=self.folder,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        assert self.process is not None
        self.process.send_signal(number)

    async def ended(self) -> int:
        """Wait until it has ended and return its status, or kill it if it does not in time."""
        assert self.process is not None
        deadline = time.monotonic() + _DRAIN_SECONDS
        while (status := self.process.poll()) is None:
            if time.monotonic() > deadline:
                self.process.kill()
                self.process.wait()
                raise TimeoutError(f"{self.name} did not stop within {_DRAIN_SECONDS:.0f} s of SIGTERM")
            await asyncio.sleep(0.02)
        return status

    def end(self) -> None:
        """End it, however it is."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()


@dataclass(slots=True)
class Stand:
    """Everything that faults happen to. `postgres` and `proxy` are `None` on SQLite."""

    folder: Path
    direct: EngineOptions
    settings: Settings
    servers: list[Server]
    postgres: PostgresServer | None = None
    databases: PostgresDatabases | None = None
    proxy: FaultProxy | None = None
    found: list[str] = field(default_factory=list)

    @property
    def dialect(self) -> str:
        """Return "postgresql" or "sqlite"."""
        return self.direct.dialect_name

    async def ready(self) -> float:
        """Wait until every server says that it is ready and return the seconds that took; start those that ended."""
        began = time.monotonic()
        async with AsyncClient(timeout=3, trust_env=False) as http:
            for server in self.servers:
                while not await self._is_ready(http, server):
                    if time.monotonic() - began > _READY_SECONDS:
                        raise TimeoutError(f"{server.name} was not ready again within {_READY_SECONDS:.0f} s")
                    await asyncio.sleep(0.05)
        return time.monotonic() - began

    async def _is_ready(self, http: AsyncClient, server: Server) -> bool:
        assert server.process is not None
        if server.process.poll() is not None:
            self.found.append(f"{server.name} ended by itself, with status {server.process.returncode}")
            server.start()
        try:
            # Only a read that is audited finds out whether the trail works again.
            return (await http.get(f"{server.address}/ready")).is_success
        except HTTPError:
            return False

    async def stop(self) -> int:
        """Stop every server as an operator does, and return how many connections were left, before or after."""
        assert self.postgres is None or self.databases is not None
        stuck = await self._connections("state LIKE 'idle in transaction%'")
        # Each keeps its pool, and one connection of the trail.
        spare = len(self.servers) * (self.settings.db_pool_size + 2)
        many = max(0, await self._connections("true") - spare)
        for server in self.servers:
            server.signal(signal.SIGTERM)
        for server in self.servers:
            await server.ended()
        left = await self._connections("true")
        return stuck + many + left

    async def _connections(self, condition: str) -> int:
        """Return how many connections of the application meet a condition; what is ending gets a moment for it."""
        if self.databases is None:
            return 0
        statement = text(_CONNECTIONS + condition).bindparams(role=self.databases.role)
        count = 0
        async with opened(self.databases.server) as database, database.reading() as session:
            for _ in range(30):
                count = int(await session.scalar(statement) or 0)
                if not count:
                    break
                await asyncio.sleep(0.1)
        return count

    async def leaks(self) -> tuple[str, ...]:
        """Return the files in which content of patients is found, and the statistics of PostgreSQL if they hold any."""
        needles = {FAMILY, MAIL, "Tlalli"}
        places = [*self.folder.glob("*.log"), *self.folder.glob("data/clarity.db*")]
        if self.postgres is not None:
            places += [self.postgres.log, *(path for path in self.postgres.data.rglob("*") if path.is_file())]
        found = {str(path.name) for path in places if hits(needles, contents(path))}
        statements = await self._statements()
        return tuple(sorted(found | ({"pg_stat_statements"} if hits(needles, [statements]) else set())))

    async def _statements(self) -> bytes:
        """Return what `pg_stat_statements` remembers, if this server has it."""
        if self.databases is None or "shared_preload_libraries" not in (
            self.postgres.settings if self.postgres else {}
        ):
            return b""
        async with opened(self.databases.as_owner(self.direct)) as database, database.writing() as session:
            await session.execute(text("CREATE EXTENSION IF NOT EXISTS pg_stat_statements"))
            return "\n".join(await session.scalars(text("SELECT query FROM pg_stat_statements"))).encode()

    async def stored(self, connections: int, leaks: tuple[str, ...]) -> Stored:
        """Read everything that is judged, past the proxy."""
        settings = _directed(self.settings, self.direct)
        async with running(settings) as services, opened(self.direct) as database:
            return await read_stored(services, database, leaks=leaks, connections=connections)

    def complaints(self) -> list[str]:
        """Return what the logs of the servers say that they must not: errors that nobody foresaw."""
        found = list(self.found)
        for path in sorted(self.folder.glob("server-*.log")):
            log = path.read_text(errors="replace")
            found += [f"{path.name}: {line[:200]}" for line in re.findall(r".*Traceback.*", log)[:3]]
        return found


@asynccontextmanager
async def standing(folder: Path, *, dialect: str, servers: int, programs: Path | None) -> AsyncIterator[Stand]:
    """Set everything up while the block runs."""
    async with AsyncExitStack() as stack:
        stand = await (_on_postgresql(stack, folder, programs) if dialect == "postgresql" else _on_sqlite(folder))
        make_keys(stand.settings)
        reached = stand.proxy.options if stand.proxy else stand.direct
        environment = surroundings() | _LIMITS | {"DATA_DIR": str(stand.settings.data_dir)}
        environment |= {"ASYNC_DATABASE_URI": _spelt(reached), "PYTHONFAULTHANDLER": "1"}
        for number in range(servers):
            stand.servers.append(Server(folder, f"server-{number}", _free_port(), environment))
        for server in stand.servers:
            stack.callback(server.end)
        yield stand


async def _on_postgresql(stack: AsyncExitStack, folder: Path, programs: Path | None) -> Stand:
    settings = dict(_DURABLE)
    if programs is not None and any(programs.parent.rglob("pg_stat_statements.so")):
        settings["shared_preload_libraries"] = "pg_stat_statements"
    postgres = stack.enter_context(postgres_files(settings, programs=programs, port=_free_port()))
    postgres.start()
    databases = PostgresDatabases(postgres.options, "wal_log")
    await databases.prepare()
    direct = databases.application_of(await databases.create())
    proxy = await stack.enter_async_context(proxied(direct))
    own = _directed(Settings(data_dir=folder / "data"), direct)
    return Stand(folder, direct, own, [], postgres, databases, proxy)


async def _on_sqlite(folder: Path) -> Stand:
    (folder / "data").mkdir(mode=0o700)
    path = await asyncio.to_thread(migrated_file, folder / "data" / "clarity.db")
    direct = EngineOptions(url=f"sqlite+aiosqlite:///{path}")
    return Stand(folder, direct, _directed(Settings(data_dir=folder / "data"), direct), [])


def _directed(settings: Settings, options: EngineOptions) -> Settings:
    return settings.model_copy(update={"async_database_uri": SecretStr(_spelt(options))})


def _spelt(options: EngineOptions) -> str:
    """Return an address as settings have it."""
    url = make_url(options.url)
    if url.get_backend_name() == "sqlite":
        return options.url
    query = {"sslmode": "disable", "connect_timeout": "3"}
    return url.update_query_dict(query).render_as_string(hide_password=False)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


async def planned(stand: Stand, *, clients: int, seed: int, pause_seconds: float) -> Plan:
    """Make accounts, log them in, and return what the clients need."""
    emails: dict[str, tuple[Role, Any]] = {"desk": (Role.FRONT_DESK, None), "administrator": (Role.ADMINISTRATOR, None)}
    async with running(_directed(stand.settings, stand.direct)) as services:
        team = [(await services.practitioners.register(operator(), a_practitioner())).id for _ in range(2)]
        emails["clinician"] = (Role.CLINICIAN, team[0])
        for number in range(clients):
            other = await services.practitioners.register(operator(), a_practitioner())
            emails[f"glass-c{number}"] = (Role.CLINICIAN, other.id)
        for name, (role, practitioner) in emails.items():
            await services.accounts.add(
                operator(),
                email=f"{name}@clinic.example",
                name=name,
                role=role,
                password=PASSWORD,
                practitioner=practitioner,
            )
    tokens = {}
    async with AsyncClient(base_url=stand.servers[0].address, timeout=20, trust_env=False) as http:
        for name in emails:
            body = {"email": f"{name}@clinic.example", "password": PASSWORD}
            answer = await http.post("/api/v1/sessions", json=body)
            tokens[name] = answer.raise_for_status().json()["access_token"]
    return Plan(
        addresses=tuple(server.address for server in stand.servers),
        tokens=tokens,
        practitioners=tuple(map(str, team)),
        clients=clients,
        seed=seed,
        pause_seconds=pause_seconds,
        history=str(stand.folder / "history.jsonl"),
    )
