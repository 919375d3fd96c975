"""Statements of which PostgreSQL's driver is asked itself, since they run with every search.

What lies before the driver takes twice as long as a page of records takes the driver and the server together. Such a
statement is built like all others, and compiled once; the watch is told of it as of any other.
"""

from collections.abc import Callable, Sequence
from time import perf_counter
from typing import Any

from asyncpg.exceptions import PostgresError
from sqlalchemy import ClauseElement, Dialect
from sqlalchemy.dialects.postgresql import asyncpg
from sqlalchemy.ext.asyncio import AsyncConnection

from clarity.persistence.watch import shape_of, watch_of

_dialect: Callable[[], Dialect] = asyncpg.dialect


class DirectStatement:
    """A statement whose parameters and results are what the driver takes and gives: ids, instants, numbers, bytes."""

    def __init__(self, statement: ClauseElement) -> None:
        """Compile it. A parameter that has a value of its own is asked for it each time."""
        self._compiled: Any = statement.compile(dialect=_dialect())
        self._text = str(self._compiled)
        self._shape = shape_of(self._text)

    async def rows(self, connection: AsyncConnection, **values: Any) -> Sequence[Any] | None:
        """Return the rows, or `None` if the connection is in a transaction, which the driver may not know of yet.

        Raises the driver's own errors, which `translated` knows.
        """
        adapted: Any = (await connection.get_raw_connection()).dbapi_connection
        if not adapted.autocommit:
            return None
        watch, kind = watch_of(connection)
        parameters = self._compiled.construct_params(values)
        began = perf_counter()
        try:
            rows: Sequence[Any] = await adapted.driver_connection.fetch(
                self._text, *[parameters[name] for name in self._compiled.positiontup]
            )
        except BaseException as exc:
            watch.failed(self._shape, kind, perf_counter() - began, exc)
            if not isinstance(exc, PostgresError):
                # Nobody knows what state it is in, nor whether an answer is still to come.
                await connection.invalidate()
            raise
        watch.answered(self._shape, kind, perf_counter() - began)
        return rows
