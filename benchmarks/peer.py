"""The peer: PostgreSQL on plaintext, with every index a good administrator would give it, and nothing else to do.

It decides nothing, audits nothing, seals nothing, and speaks to the database through the driver with prepared
statements. Its table has the same people, and the names folded as ours, so both give the same page.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any
from uuid import UUID

from benchmarks.driver import Connection
from benchmarks.people import Person
from clarity.demo.people import STATE
from clarity.domain.access import OPERATOR
from clarity.domain.names import fold

TABLE = "people"
_MAKE = f"""
CREATE EXTENSION IF NOT EXISTS pg_trgm;
CREATE TABLE {TABLE} (
    id uuid PRIMARY KEY,
    family text NOT NULL,
    given text NOT NULL,
    family_folded text NOT NULL,
    given_folded text NOT NULL,
    folded text NOT NULL,
    born date NOT NULL,
    gender text NOT NULL,
    status text NOT NULL,
    mrn text NOT NULL,
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
"""
INDEXES = {
    "people_folded": f"CREATE INDEX people_folded ON {TABLE} USING gin (folded gin_trgm_ops)",
    "people_in_order": f"CREATE INDEX people_in_order ON {TABLE} (family_folded, given_folded, id)",
    "people_born": f"CREATE INDEX people_born ON {TABLE} (born)",
    "people_status": f"CREATE INDEX people_status ON {TABLE} (status)",
}
COLUMNS = (
    *("id", "family", "given", "family_folded", "given_folded", "folded", "born", "gender", "status", "mrn"),
    *("phone", "email", "line", "city", "state", "postal_code", "notes"),
    *("created_at", "created_by", "updated_at", "updated_by", "version"),
)
SHOWN = tuple(name for name in COLUMNS if not name.endswith("folded"))
_SELECT = " ".join(("SELECT", ", ".join(SHOWN), "FROM", TABLE))
_WILD = str.maketrans({"%": r"\%", "_": r"\_", "\\": r"\\"})


@dataclass(frozen=True, slots=True)
class PlainPatient:
    """A whole record of the peer's."""

    id: UUID
    family: str
    given: str
    born: date
    gender: str
    status: str
    mrn: str
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


def row_of(identity: UUID, person: Person, at: datetime) -> tuple[Any, ...]:
    """Return somebody as a row of the peer's table."""
    family, given = fold(person.family), fold(person.given)
    return (
        *(identity, person.family, person.given, family, given, f"{given} {family}", person.born, person.gender.value),
        *(person.status.value, str(10_000_000 + person.number), person.phone, person.email, person.line, person.city),
        *(STATE, person.postal_code, person.notes, at, OPERATOR, at, OPERATOR, 1),
    )


async def make_table(connection: Connection) -> None:
    """Make the table, without its indexes. Needs the extension."""
    await connection.execute(_MAKE)


async def build_indexes(connection: Connection) -> None:
    """Build every index anew, and gather statistics."""
    for name, definition in INDEXES.items():
        await connection.execute(f"DROP INDEX IF EXISTS {name}")
        await connection.execute(definition)
    await connection.execute(f"VACUUM ANALYZE {TABLE}")


def statement(words: int, *, ages: bool) -> str:
    """Return the query for the first page of those who have each of some fragments, and are born in some years."""
    conditions = [f"folded LIKE ${position + 1}" for position in range(words)]
    if ages:
        conditions.append(f"born BETWEEN ${words + 1} AND ${words + 2}")
    return f"{_SELECT} WHERE {' AND '.join(conditions)} ORDER BY family_folded, given_folded, id LIMIT 50"


def pattern(word: str) -> str:
    """Return what a folded name is like that has `word` in it."""
    return f"%{word.translate(_WILD)}%"


@dataclass(slots=True)
class Peer:
    """Searches over one connection, by statements that are prepared once."""

    connection: Connection
    _prepared: dict[tuple[int, bool], Any]

    @classmethod
    async def prepared(cls, connection: Connection) -> "Peer":
        """Prepare the statements for one and two words, with and without ages."""
        statements = {
            (words, ages): await connection.prepare(statement(words, ages=ages))
            for words in (1, 2)
            for ages in (False, True)
        }
        return cls(connection, statements)

    async def search(self, words: Sequence[str], born: tuple[date, date] | None = None) -> list[PlainPatient]:
        """Return the first page."""
        rows = await self._prepared[len(words), born is not None].fetch(*map(pattern, words), *(born or ()))
        return [PlainPatient(*row) for row in rows]
