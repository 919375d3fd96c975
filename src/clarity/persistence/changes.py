"""What changed in the records of patients since somebody last looked, by whomever and in whatever process.

Triggers stamp each change of a row with the number of its transaction, on SQLite with a count of changes. From that,
and from what was going on when somebody looked last, one statement tells what they have not seen.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any, NamedTuple, Protocol

from sqlalchemy.ext.asyncio import AsyncConnection

from clarity.application.ports.search import Changes, ChangeStream, Horizon, IndexChange, Tally
from clarity.application.ports.telemetry import Kind
from clarity.domain.errors import HorizonLost, TimedOut, Unavailable
from clarity.persistence.engine import Database
from clarity.persistence.errors import translated
from clarity.persistence.index_entries import IndexEntries
from clarity.persistence.watch import Watch, shape_of
from clarity.security.keyring import Keyring

MOST_AT_ONCE = 500
"""More changes than these are better streamed."""

# So many rows are opened in less than two milliseconds, and then others have their turn.
_ROWS_IN_A_STEP = 100
_ROWS_IN_A_FETCH = 1_000


class Seen(NamedTuple):
    """Which store it was, where it stood, and the rows that changed before that, as `StampedRow` has them."""

    store: bytes
    place: str
    rows: Sequence[Any]


class Stamps(Protocol):
    """How one kind of database says what changed, on one connection to it."""

    async def since(self, place: str, at_most: int) -> Seen:
        """Return what changed since the store stood at `place`, or `at_most` rows of that."""
        ...

    async def begin(self) -> Seen:
        """Let what follows see one state of the store, and return where that stands."""
        ...

    def stream(self, place: str) -> AsyncGenerator[Sequence[Any]]:
        """Yield all that changed since the store stood at `place`; every row if that is ""."""
        ...

    async def tally(self) -> Tally:
        """Add up the rows that are neither tombstones nor forgotten."""
        ...

    def follows(self, before: str, after: str) -> bool:
        """Tell whether a store that stood at `before` can stand at `after` later."""
        ...


def _sql(text: str, **parts: str) -> str:
    """Return a statement put together from parts that are all written here."""
    for name, part in parts.items():
        text = text.replace(f"{{{name}}}", part)
    return text


_COLUMNS = "p.version, p.status, p.guarded, {changed}, p.sealed, p.key_generation, k.kek_generation, k.wrapped"
_KEYED = "LEFT JOIN data_keys AS k ON k.subject_id = p.id AND k.generation = p.key_generation"
# The forgotten are few: to take them off is quicker than to look for the key of everybody.
_TALLY = """
    SELECT there.records - gone.records, there.versions - gone.versions, there.instants - gone.instants FROM
      (SELECT {sums} FROM patients AS p WHERE p.status <> 'deleted') AS there,
      (SELECT {sums} FROM patients AS p
        JOIN data_keys AS k ON k.subject_id = p.id AND k.generation = p.key_generation
        WHERE k.wrapped IS NULL AND p.status <> 'deleted') AS gone
"""
_SUMS = (
    "count(*) AS records, coalesce(sum(p.version), 0) AS versions, coalesce(sum({changed} & 4294967295), 0) AS instants"
)

_PG_COLUMNS = "uuid_send(p.id) AS id, " + _sql(
    _COLUMNS, changed="(extract(epoch FROM p.updated_at) * 1000000)::bigint AS changed"
)
# As a double, which is exact to a quarter of a microsecond, and several times as fast as a numeric.
_PG_TALLY = _sql(_TALLY, sums=_sql(_SUMS, changed="(date_part('epoch', p.updated_at) * 1000000)::bigint"))
# A restored dump brings numbers of another cluster, which here lie in the future: without the upper bound they would
# come again with every look. Who was still at work when somebody looked last wrote with a number below the horizon.
_PG_CHANGED = """
    SELECT * FROM patients
    WHERE changed_in >= $1::bigint AND changed_in < pg_snapshot_xmax(pg_current_snapshot())::text::bigint
    UNION ALL SELECT * FROM patients WHERE changed_in = ANY ($2::bigint[])
"""
# What another cluster, another database, an earlier state of this one or another table in the place of this one would
# have otherwise. A server that was promoted, or brought back to an earlier instant, is on a timeline of its own. One
# that crashed counts its own doings anew, and may give numbers again that it had given to who was rolled back.
_PG_PRESENT = """
    SELECT pg_current_snapshot()::text AS place, concat_ws('/', system_identifier,
      left(pg_walfile_name(pg_current_wal_insert_lsn()), 8),
      extract(epoch FROM pg_stat_get_bgwriter_stat_reset_time()),
      (SELECT oid FROM pg_database WHERE datname = current_database()),
      pg_relation_filenode('patients'::regclass)) AS store
    FROM pg_control_system()
"""
_PG_SINCE = _sql(
    """
    SELECT store, place, changed.* FROM ({present}) AS present LEFT JOIN (
      SELECT {columns} FROM ({changed} LIMIT $3::bigint) AS p {keyed}
    ) AS changed ON true
    """,
    present=_PG_PRESENT,
    changed=_PG_CHANGED,
    columns=_PG_COLUMNS,
    keyed=_KEYED,
)
_PG_BEGUN = _sql("SELECT store, place FROM ({present}) AS present", present=_PG_PRESENT)
_PG_STREAM = _sql("SELECT {columns} FROM patients AS p {keyed}", columns=_PG_COLUMNS, keyed=_KEYED)
_PG_STREAM_SINCE = _sql(
    "SELECT {columns} FROM ({changed}) AS p {keyed}", columns=_PG_COLUMNS, changed=_PG_CHANGED, keyed=_KEYED
)
# One plan for good, made before there are statistics: by the indexes, however few rows there seem to be.
_PG_PLAN = "; ".join(
    [
        "SET plan_cache_mode = force_generic_plan",
        *(f"SET enable_{scan} = off" for scan in ("seqscan", "bitmapscan", "hashjoin", "mergejoin")),
    ]
)


class PostgresStamps:
    """The numbers of transactions, of which a snapshot tells those that had ended.

    Asks the driver itself: what lies before it would double the time of a statement that finds nothing.
    """

    def __init__(self, driver: Any, watch: Watch) -> None:
        """Ask over `driver` and tell `watch`."""
        self._driver = driver
        self._watch = watch
        self._shape = shape_of(_PG_SINCE)
        self._planned = False

    async def since(self, place: str, at_most: int) -> Seen:
        """Return what committed after the snapshot `place` was taken."""
        if not self._planned:
            await self._driver.execute(_PG_PLAN)
            self._planned = True
        _, first, unfinished = _parts_of(place)
        began = perf_counter()
        rows: list[Any] = await self._driver.fetch(_PG_SINCE, first, unfinished, at_most)
        self._watch.answered(self._shape, Kind.READ, perf_counter() - began)
        store, now = rows[0][0], rows[0][1]
        return Seen(store.encode(), now, [] if rows[0][2] is None else [row[2:] for row in rows])

    async def begin(self) -> Seen:
        """Begin a transaction that sees the database as it is now."""
        await self._driver.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        store, place = await self._driver.fetchrow(_PG_BEGUN)
        return Seen(store.encode(), place, ())

    async def stream(self, place: str) -> AsyncGenerator[Sequence[Any]]:
        """Yield rows as the server reads them."""
        if place:
            _, first, unfinished = _parts_of(place)
            cursor = await self._driver.cursor(_PG_STREAM_SINCE, first, unfinished)
        else:
            cursor = await self._driver.cursor(_PG_STREAM)
        coming = asyncio.ensure_future(cursor.fetch(_ROWS_IN_A_FETCH))
        try:
            while rows := await coming:
                # The server reads on while these are opened.
                coming = asyncio.ensure_future(cursor.fetch(_ROWS_IN_A_FETCH))
                yield rows
        finally:
            coming.cancel()
            await asyncio.gather(coming, return_exceptions=True)

    async def tally(self) -> Tally:
        """Count them."""
        return Tally(*map(int, await self._driver.fetchrow(_PG_TALLY)))

    def follows(self, before: str, after: str) -> bool:
        """Tell whether as many transactions have begun."""
        return _parts_of(after)[1] >= _parts_of(before)[1]


def _parts_of(snapshot: str) -> tuple[int, int, list[int]]:
    """Return the parts of a `pg_snapshot`: its lowest number, the first not yet given, and those still at work."""
    try:
        lowest, first, unfinished = snapshot.split(":")
        return int(lowest), int(first), [int(number) for number in unfinished.split(",") if number]
    except ValueError:
        raise HorizonLost from None  # another kind of store


_FILE_COLUMNS = "p.id, " + _sql(_COLUMNS, changed="p.updated_at")
_FILE_SINCE = _sql(
    """
    SELECT store_id, counter, {columns} FROM search_clock
    LEFT JOIN patients AS p ON p.changed_in > ? {keyed} LIMIT ?
    """,
    columns=_FILE_COLUMNS,
    keyed=_KEYED,
)
_FILE_TALLY = _sql(_TALLY, sums=_sql(_SUMS, changed="p.updated_at"))
_FILE_STREAM = _sql(
    "SELECT {columns} FROM patients AS p {keyed} WHERE p.changed_in > ?", columns=_FILE_COLUMNS, keyed=_KEYED
)


class SqliteStamps:
    """The counts of changes. One writes at a time, so that what has a lower count was committed before."""

    def __init__(self, connection: AsyncConnection) -> None:
        """Ask over `connection`."""
        self._connection = connection

    async def since(self, place: str, at_most: int) -> Seen:
        """Return what was counted behind `place`."""
        found = await self._connection.exec_driver_sql(_FILE_SINCE, (_count_of(place), at_most))
        rows: Sequence[Any] = found.all()
        store, count = rows[0][0], rows[0][1]
        return Seen(store, str(count), [] if rows[0][2] is None else [row[2:] for row in rows])

    async def begin(self) -> Seen:
        """Begin a transaction that sees the file as it is now."""
        await self._connection.exec_driver_sql("BEGIN")
        store, count = await self._one("SELECT store_id, counter FROM search_clock")
        return Seen(store, str(count), ())

    async def stream(self, place: str) -> AsyncGenerator[Sequence[Any]]:
        """Yield rows as they are read from the file."""
        driver: Any = (await self._connection.get_raw_connection()).driver_connection
        cursor = await driver.execute(_FILE_STREAM, (_count_of(place) if place else -1,))
        while rows := await cursor.fetchmany(_ROWS_IN_A_FETCH):
            yield rows

    async def tally(self) -> Tally:
        """Count them."""
        return Tally(*await self._one(_FILE_TALLY))

    def follows(self, before: str, after: str) -> bool:
        """Tell whether as much was counted."""
        return _count_of(after) >= _count_of(before)

    async def _one(self, statement: str) -> Any:
        return (await self._connection.exec_driver_sql(statement)).one()


def _count_of(place: str) -> int:
    try:
        return int(place)
    except ValueError:
        raise HorizonLost from None


@dataclass(slots=True)
class SqlChangeFeed:
    """`ChangeFeed` over a connection of its own, which nobody who needs many at once can take from it.

    A connection that broke is closed and made anew.
    """

    database: Database
    keys: Keyring
    most_at_once: int = MOST_AT_ONCE
    _connection: AsyncConnection | None = field(default=None, init=False)
    _stamps: Stamps | None = field(default=None, init=False)
    _alone: asyncio.Lock = field(default_factory=asyncio.Lock, init=False)

    async def since(self, horizon: Horizon) -> Changes:
        """Return what was committed after `horizon` was taken."""
        async with self._alone:
            was_open = self._stamps is not None
            try:
                seen = await self._ask(horizon)
            except TimedOut:
                raise
            except Unavailable:
                if not was_open:
                    raise
                # The server may have been started anew since then, and be there.
                seen = await self._ask(horizon)
        complete = len(seen.rows) <= self.most_at_once
        changed: list[IndexChange] = []
        if complete and seen.rows:
            async for some in _opened(IndexEntries(self.keys), seen.rows):
                changed += some
        return Changes(Horizon(seen.store, seen.place), changed, complete=complete)

    @asynccontextmanager
    async def all_since(self, horizon: Horizon | None) -> AsyncIterator[ChangeStream]:
        """Stream all changes since `horizon`, or every record, over a connection for this alone."""
        with translated():
            connection = await self.database.changes_connection()
        try:
            with translated():
                stamps = await self._stamps_on(connection)
                seen = await stamps.begin()
            if horizon is not None:
                _require_same(stamps, horizon, seen)
            place = "" if horizon is None else horizon.place
            async with aclosing(self._streamed(stamps, place)) as batches:
                yield ChangeStream(Horizon(seen.store, seen.place), batches)
        finally:
            await _leave(connection)

    async def tally(self) -> Tally:
        """Add up the records that were neither taken away nor forgotten."""
        with translated():
            connection = await self.database.changes_connection()
        try:
            with translated():
                return await (await self._stamps_on(connection)).tally()
        finally:
            await _leave(connection)

    async def aclose(self) -> None:
        """Close the connection."""
        connection, self._connection, self._stamps = self._connection, None, None
        if connection is not None:
            await _leave(connection)

    async def _ask(self, horizon: Horizon) -> Seen:
        try:
            with translated():
                if self._stamps is None:
                    self._connection = await self.database.changes_connection()
                    self._stamps = await self._stamps_on(self._connection)
                seen = await self._stamps.since(horizon.place, self.most_at_once + 1)
            _require_same(self._stamps, horizon, seen)
        except HorizonLost:
            raise
        except BaseException:
            # Whatever state the connection is in, a new one starts clean.
            await self.aclose()
            raise
        return seen

    async def _stamps_on(self, connection: AsyncConnection) -> Stamps:
        if self.database.dialect_name == "sqlite":
            return SqliteStamps(connection)
        driver: Any = (await connection.get_raw_connection()).driver_connection
        return PostgresStamps(driver, self.database.watch)

    async def _streamed(self, stamps: Stamps, place: str) -> AsyncGenerator[Sequence[IndexChange]]:
        entries = IndexEntries(self.keys)
        with translated():
            async with aclosing(stamps.stream(place)) as fetched:
                async for rows in fetched:
                    async for some in _opened(entries, rows):
                        yield some


async def _opened(entries: IndexEntries, rows: Sequence[Any]) -> AsyncIterator[Sequence[IndexChange]]:
    for first in range(0, len(rows), _ROWS_IN_A_STEP):
        yield entries.of(rows[first : first + _ROWS_IN_A_STEP])
        await asyncio.sleep(0)


def _require_same(stamps: Stamps, horizon: Horizon, seen: Seen) -> None:
    """Raise `HorizonLost` if the horizon was taken of another store, or of a later state of this one."""
    if seen.store != horizon.store or not stamps.follows(horizon.place, seen.place):
        raise HorizonLost


async def _leave(connection: AsyncConnection) -> None:
    """Close a connection, whatever state it is in; taking leave of it politely might hang."""
    with suppress(Exception):
        await connection.invalidate()
        await connection.close()
