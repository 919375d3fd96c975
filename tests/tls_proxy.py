"""A proxy that speaks TLS for a PostgreSQL which does not: it ends it, and passes everything on as it is."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from sqlalchemy import make_url

from clarity.persistence.engine import EngineOptions

_SSL_REQUEST_BYTES = 8
_CHUNK = 65_536


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(_CHUNK):
            writer.write(data)
            await writer.drain()
    writer.close()


async def _reach(options: EngineOptions) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    url = make_url(options.url)
    host, port = str(url.query.get("host") or url.host), url.port or 5432
    if host.startswith("/"):
        return await asyncio.open_unix_connection(f"{host}/.s.PGSQL.{port}")
    return await asyncio.open_connection(host, port)


@asynccontextmanager
async def tls_before(options: EngineOptions, certificate: Path | None) -> AsyncIterator[int]:
    """Listen on a port of 127.0.0.1 for the server of `options` while the block runs, and yield the port.

    Without a `certificate` it says that it has no TLS, and passes on what is said in plain words.
    """
    serving: set[asyncio.Task[None]] = set()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        serving.add(asyncio.create_task(serve(reader, writer)))

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        to_server = None
        try:
            await reader.readexactly(_SSL_REQUEST_BYTES)
            writer.write(b"N" if certificate is None else b"S")
            if certificate is not None:
                context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
                context.load_cert_chain(certificate)
                await writer.start_tls(context)
            from_server, to_server = await _reach(options)
            await asyncio.gather(_pump(reader, to_server), _pump(from_server, writer))
        except (OSError, asyncio.IncompleteReadError):
            pass  # the client turned away
        finally:
            for end in (writer, to_server):
                if end is not None:
                    end.close()

    listening = await asyncio.start_server(accept, "127.0.0.1", 0)
    try:
        yield listening.sockets[0].getsockname()[1]
    finally:
        listening.close()
        for task in serving:
            task.cancel()
        await asyncio.gather(*serving, return_exceptions=True)
