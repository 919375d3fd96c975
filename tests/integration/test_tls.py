"""Where the server is to be verified, no other is told the password."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from sqlalchemy import text

from clarity.config import DatabaseAddress
from clarity.domain.errors import Misconfigured, Unavailable
from clarity.persistence.engine import EngineOptions, unpooled
from clarity.persistence.errors import translated
from tests.certificates import Authority

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
        with pytest.raises(Unavailable):
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
