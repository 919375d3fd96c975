"""PostgreSQL by its driver alone, the floor: one table in plain, a prepared statement for each question.

It decides nothing, audits nothing, seals nothing and keeps no history; MRN and social security number are columns with
indexes. What comes back becomes an object of a class of its own. The pool resets each connection that is given back, as
it does unless it is told not to.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

import asyncpg

from benchmarks.peers import CONNECTIONS, PAGE, SOMEBODY, Listed, Place

if TYPE_CHECKING:
    from benchmarks.people import Person

_MAKE = """
CREATE TABLE patients (
    id uuid PRIMARY KEY,
    mrn text NOT NULL UNIQUE,
    ssn text NOT NULL,
    family text NOT NULL,
    given text NOT NULL,
    born date NOT NULL,
    gender text NOT NULL,
    status text NOT NULL,
    phone text NOT NULL,
    email text NOT NULL,
    line text NOT NULL,
    city text NOT NULL,
    state text NOT NULL,
    postal_code text NOT NULL,
    notes text NOT NULL,
    created_at timestamptz NOT NULL,
    created_by uuid NOT NULL,
    updated_at timestamptz NOT NULL,
    updated_by uuid NOT NULL,
    version integer NOT NULL
);
CREATE INDEX ON patients (ssn);
CREATE INDEX ON patients (family);
CREATE INDEX ON patients (born);
CREATE INDEX ON patients (status);
"""


@dataclass(frozen=True, slots=True)
class PlainPatient:
    """A whole row."""

    id: UUID
    mrn: str
    ssn: str
    family: str
    given: str
    born: date
    gender: str
    status: str
    phone: str
    email: str
    line: str
    city: str
    state: str
    postal_code: str
    notes: str
    created_at: datetime
    created_by: UUID
    updated_at: datetime
    updated_by: UUID
    version: int


COLUMNS = PlainPatient.__slots__
_SELECT = " ".join(("SELECT", ", ".join(COLUMNS), "FROM patients"))
_READ = f"{_SELECT} WHERE id = $1"
_PAGE = f"{_SELECT} WHERE id > $1 ORDER BY id LIMIT {PAGE}"
_COUNT = "SELECT count(*) FROM patients"
_VALUES = ", ".join(f"${place + 1}" for place in range(len(COLUMNS)))
_CREATE = " ".join(("INSERT INTO patients (", ", ".join(COLUMNS), f") VALUES ({_VALUES})"))
_READ_TO_CHANGE = f"{_READ} FOR UPDATE"
_UPDATE = "UPDATE patients SET line = $2, updated_at = $3, version = version + 1 WHERE id = $1"


def row_of(identity: UUID, person: "Person", at: datetime) -> tuple[Any, ...]:
    """Return somebody as a row."""
    return (
        *(identity, person.mrn, person.ssn, person.family, person.given, person.born, person.gender.value),
        *(person.status.value, person.phone, person.email, person.line, person.city, person.state, person.postal_code),
        *(person.notes, at, SOMEBODY, at, SOMEBODY, 1),
    )


@dataclass(frozen=True, slots=True)
class RawPeer:
    """One side, over a pool of connections each of which prepares a statement when it first has it."""

    pool: Any

    async def prepare(self) -> None:
        await self.pool.execute(_MAKE)

    async def load(self, people: Sequence[tuple[UUID, "Person"]]) -> None:
        at = datetime.now(UTC)
        records = [row_of(identity, person, at) for identity, person in people]
        await self.pool.copy_records_to_table("patients", records=records, columns=COLUMNS)

    async def read(self, identity: UUID) -> PlainPatient:
        return PlainPatient(*await self.pool.fetchrow(_READ, identity))

    async def page(self, after: str) -> Listed:
        async with self.pool.acquire() as connection:
            rows = await connection.fetch(_PAGE, UUID(after) if after else UUID(int=0))
            total = await connection.fetchval(_COUNT)
        return Listed([PlainPatient(*row) for row in rows], total, str(rows[-1]["id"]) if len(rows) == PAGE else "")

    async def create(self, person: "Person", identity: UUID) -> None:
        await self.pool.execute(_CREATE, *row_of(identity, person, datetime.now(UTC)))

    async def update(self, identity: UUID, line: str) -> None:
        async with self.pool.acquire() as connection, connection.transaction():
            PlainPatient(*await connection.fetchrow(_READ_TO_CHANGE, identity))
            await connection.execute(_UPDATE, identity, line, datetime.now(UTC))


_pool: Callable[..., Any] = asyncpg.create_pool


@asynccontextmanager
async def opened(place: Place) -> AsyncIterator[RawPeer]:
    """Open this side."""
    address = place.url.replace("+asyncpg", "")
    async with _pool(address, min_size=0, max_size=CONNECTIONS) as pool:
        yield RawPeer(pool)
