"""Where the server is to be verified, no other is told the password."""

import asyncio
import os
import shutil
import socket
import ssl
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from pydantic import SecretStr
from sqlalchemy import make_url, text

from clarity.bootstrap import engine_options
from clarity.config import DatabaseAddress, Environment, Settings
from clarity.domain.errors import Misconfigured, Unavailable
from clarity.persistence.engine import EngineOptions, unpooled
from clarity.persistence.errors import translated
from clarity.security.keyring import Keyring
from clarity.upkeep import look_at_database
from tests.builders import a_patient
from tests.certificates import Authority
from tests.practice import sql_practice
from tests.servers import opened, postgres_server
from tests.tls_proxy import tls_before

DEBIAN = Path("/usr/lib/postgresql/15/bin")
NOBODY = 65534
PASSWORD = b"hunter2-b1f5e8"
SSL_REQUEST = 8
ASK_FOR_THE_PASSWORD = b"R" + (8).to_bytes(4) + (3).to_bytes(4)


@asynccontextmanager
async def server(certificate: Path | None) -> AsyncIterator[tuple[int, bytearray]]:
    """Speak as much of PostgreSQL's protocol as it takes to be told a password, and remember all that was said."""
    heard = bytearray()

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readexactly(SSL_REQUEST)
            writer.write(b"N" if certificate is None else b"S")
            if certificate is not None:
                context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
                context.load_cert_chain(certificate)
                await writer.start_tls(context)
            length = int.from_bytes(await reader.readexactly(4))
            await reader.readexactly(length - 4)
            writer.write(ASK_FOR_THE_PASSWORD)
            heard.extend(await reader.read(1000))
        except (OSError, asyncio.IncompleteReadError):
            pass  # the client turned away
        finally:
            writer.close()

    listening = await asyncio.start_server(listen, "127.0.0.1", 0)
    try:
        yield listening.sockets[0].getsockname()[1], heard
    finally:
        listening.close()


async def ask(port: int, parameters: str) -> None:
    """Connect as the settings say, and be told why that failed."""
    url = f"postgresql://clarity_app:{PASSWORD.decode()}@localhost:{port}/clarity?{parameters}"
    address = DatabaseAddress.parse(url)
    engine = unpooled(EngineOptions(url=address.url, tls=address.tls_context(), connect_timeout_seconds=5))
    with translated():
        async with engine.connect() as connection:
            await connection.execute(text("SELECT 1"))


async def test_the_server_that_is_meant_is_told_the_password(tmp_path: Path) -> None:
    authority = Authority.new()
    root = authority.write(tmp_path / "root.pem")
    async with server(authority.issue("localhost", tmp_path / "server.pem")) as (port, heard):
        with pytest.raises(Unavailable):  # since it hangs up then
            await ask(port, f"sslmode=verify-full&sslrootcert={root}")
    assert PASSWORD in heard


@pytest.mark.parametrize(
    ("parameters", "host", "said"),
    [
        ("sslmode=verify-full&sslrootcert=ROOT", "elsewhere.example", "Hostname mismatch"),
        ("sslmode=verify-full&sslrootcert=OTHER", "localhost", "self-signed|unable to get|certificate signature"),
        ("sslmode=verify-full", "localhost", "unable to get"),
        ("sslmode=verify-ca&sslrootcert=OTHER", "localhost", "self-signed|unable to get|certificate signature"),
        ("sslmode=require&sslrootcert=OTHER", "localhost", "self-signed|unable to get|certificate signature"),
    ],
)
async def test_another_server_is_not_told_the_password(tmp_path: Path, parameters: str, host: str, said: str) -> None:
    authority = Authority.new()
    for name, value in (("ROOT", authority), ("OTHER", Authority.new())):
        parameters = parameters.replace(name, str(value.write(tmp_path / name)))
    async with server(authority.issue(host, tmp_path / "server.pem")) as (port, heard):
        with pytest.raises(Misconfigured, match=rf"TLS certificate .*({said})"):
            await ask(port, parameters)
    assert not heard


@pytest.mark.parametrize("mode", ["require", "verify-ca", "verify-full"])
async def test_a_server_without_tls_is_not_told_the_password(mode: str) -> None:
    async with server(None) as (port, heard):
        with pytest.raises(Misconfigured, match="speaks no TLS"):
            await ask(port, f"sslmode={mode}")
    assert not heard


@pytest.mark.parametrize("parameters", ["sslmode=require", "sslmode=verify-ca&sslrootcert=ROOT"])
async def test_what_does_not_verify_who_answers_tells_the_password_to_whoever_does(
    tmp_path: Path, parameters: str
) -> None:
    authority = Authority.new()
    root = authority.write(tmp_path / "root.pem")
    async with server(authority.issue("elsewhere.example", tmp_path / "server.pem")) as (port, heard):
        with pytest.raises(Unavailable):
            await ask(port, parameters.replace("ROOT", str(root)))
    assert PASSWORD in heard


def test_a_certificate_that_cannot_be_read_is_named_without_the_address(tmp_path: Path) -> None:
    (tmp_path / "root.pem").write_text("no certificate")
    for path in (tmp_path / "root.pem", tmp_path / "nowhere.pem"):
        address = DatabaseAddress.parse(f"postgresql://u:secret@h/d?sslmode=verify-full&sslrootcert={path}")
        with pytest.raises(Misconfigured, match="certificate or key of the database's address cannot be read"):
            address.tls_context()


# A server that is one


@pytest.fixture
def settings(postgresql_options: EngineOptions, tmp_path: Path) -> Callable[[int, str], Settings]:
    """Return how the settings of a practice say that its database is at a port of this machine."""

    def at(port: int, parameters: str) -> Settings:
        url = make_url(postgresql_options.url).set(host="localhost", port=port, query={}, drivername="postgresql")
        address = SecretStr(f"{url.render_as_string(hide_password=False)}?{parameters}")
        return Settings(data_dir=tmp_path / "data", async_database_uri=address)

    return at


async def test_the_right_server_is_worked_with(
    settings: Callable[[int, str], Settings], postgresql_options: EngineOptions, tmp_path: Path, keyring: Keyring
) -> None:
    authority = Authority.new()
    root = authority.write(tmp_path / "root.pem")
    async with tls_before(postgresql_options, authority.issue("localhost", tmp_path / "server.pem")) as port:
        verified = settings(port, f"sslmode=verify-full&sslrootcert={root}")
        async with opened(engine_options(verified)) as database, sql_practice(database, keyring) as practice:
            ada = await practice.stored(a_patient())
            assert (await practice.opened(ada.id)).id == ada.id
            assert len(await practice.events()) == 2
        found = await look_at_database(verified)
    assert found.problems == found.unguarded == ()
    assert not found.tls  # the server itself sees none of it


async def test_nobody_works_with_another(
    settings: Callable[[int, str], Settings], postgresql_options: EngineOptions, tmp_path: Path
) -> None:
    right, wrong = Authority.new(), Authority.new()
    root, other = right.write(tmp_path / "root.pem"), wrong.write(tmp_path / "other.pem")
    elsewhere = right.issue("elsewhere.example", tmp_path / "elsewhere.pem")
    here = right.issue("localhost", tmp_path / "here.pem")
    for certificate, trusted in ((here, other), (elsewhere, root), (None, root)):
        async with tls_before(postgresql_options, certificate) as port:
            with pytest.raises(Misconfigured):
                await look_at_database(settings(port, f"sslmode=verify-full&sslrootcert={trusted}"))


@pytest.mark.parametrize("environment", [Environment.STAGING, Environment.PRODUCTION])
@pytest.mark.parametrize(
    "parameters", ["", "sslmode=prefer", "sslmode=require", "sslmode=verify-ca&sslrootcert=/r.pem"]
)
def test_where_it_matters_both_addresses_have_to_be_verified(environment: Environment, parameters: str) -> None:
    weak = SecretStr(f"postgresql://app:dusk-harbour-9@db.example/clarity?{parameters}")
    strong = SecretStr("postgresql://owner:dusk-harbour-9@db.example/clarity?sslmode=verify-full")
    serving = Settings(environment=environment, async_database_uri=weak, migration_database_uri=strong)
    with pytest.raises(Misconfigured, match="ASYNC_DATABASE_URI: TLS does not verify who answers"):
        serving.check_start()
    migrating = Settings(environment=environment, async_database_uri=strong, migration_database_uri=weak)
    for check in (migrating.check_start, migrating.check_migration):
        with pytest.raises(Misconfigured, match="MIGRATION_DATABASE_URI: TLS does not verify who answers"):
            check()


@pytest.mark.skipif(not DEBIAN.is_dir(), reason="Debian's PostgreSQL is not installed here")
async def test_a_server_with_tls_of_its_own_is_worked_with(tmp_path: Path) -> None:
    authority = Authority.new()
    root = authority.write(tmp_path / "root.pem")
    certificate = authority.issue("localhost", Path(tempfile.mkdtemp()) / "server.pem")
    try:
        _give_to_the_server(certificate)
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        listening = {"ssl": "on", "listen_addresses": "127.0.0.1", "port": str(port)}
        files = {"ssl_cert_file": str(certificate), "ssl_key_file": str(certificate)}
        with postgres_server({**listening, **files}, programs=DEBIAN):
            for mode, trusted in (("verify-full", True), ("disable", False)):
                url = SecretStr(f"postgresql://postgres@localhost:{port}/postgres?sslmode={mode}&sslrootcert={root}")
                found = await look_at_database(Settings(data_dir=tmp_path, async_database_uri=url))
                assert found.tls is trusted
            strange = Authority.new().write(tmp_path / "strange.pem")
            url = SecretStr(
                f"postgresql://postgres@localhost:{port}/postgres?sslmode=verify-full&sslrootcert={strange}"
            )
            with pytest.raises(Misconfigured):
                await look_at_database(Settings(data_dir=tmp_path, async_database_uri=url))
    finally:
        shutil.rmtree(certificate.parent)


def _give_to_the_server(certificate: Path) -> None:
    """Let the user that the server runs as read its certificate and key, and nobody else."""
    if os.geteuid() == 0:
        for path in (certificate.parent, certificate):
            os.chown(path, NOBODY, NOBODY)
    certificate.chmod(0o600)
