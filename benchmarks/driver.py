"""PostgreSQL by its driver alone, which is not annotated."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeAlias

import asyncpg
from sqlalchemy import make_url

Connection: TypeAlias = Any
_connect: Callable[..., Awaitable[Connection]] = asyncpg.connect


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[Connection]:
    """Connect to a server that listens on a socket in a folder."""
    place = make_url(url)
    connection = await _connect(
        host=place.query["host"], user=place.username, password=place.password, database=place.database
    )
    try:
        yield connection
    finally:
        await connection.close()
