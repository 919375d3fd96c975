"""The rows of a new patient. PostgreSQL takes them in one statement: each takes more time before it than in it."""

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

from sqlalchemy import BigInteger, BindParameter, Insert, Select, bindparam, column, func, insert, select
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.asyncio import AsyncSession

from clarity.persistence.direct import DirectStatement, on_postgresql, within
from clarity.persistence.keys import DataKeyRow
from clarity.persistence.patients.tables import PatientIdentifierRow, PatientRow
from clarity.persistence.tables import Base, table_of

Values = Mapping[str, Any]

_KEY = ("subject_id", "generation", "kek_generation", "wrapped", "created_at")
_PATIENT = (
    *("id", "status", "guarded", "version", "sealed", "key_generation"),
    *("created_at", "created_by", "updated_at", "updated_by"),
)
_IDENTIFIER = ("id", "patient_id", "kind", "generation_a", "digest_a", "since_version")


def _named(rows: type[Base], name: str) -> str:
    return f"{rows.__tablename__}_{name}"


def _one(rows: type[Base], names: Sequence[str]) -> Insert:
    return insert(table_of(rows)).values({name: bindparam(_named(rows, name)) for name in names})


def _several(rows: type[Base], names: Sequence[str]) -> Insert:
    columns = [table_of(rows).c[name] for name in names]
    arrays: list[BindParameter[Any]] = [bindparam(_named(rows, one.name), type_=ARRAY(one.type)) for one in columns]
    told = func.unnest(*arrays).table_valued(*(column(one.name, one.type) for one in columns), name="told")
    return insert(table_of(rows)).from_select(names, select(told.render_derived()))


def _at_once() -> Select[Any]:
    """Return the statement that waits for one's turns and inserts everything.

    PostgreSQL inserts last what nobody selects from, so that whoever waits for their turn holds nothing yet.
    """
    turns = select(func.pg_advisory_xact_lock(func.unnest(bindparam("locks", type_=ARRAY(BigInteger)))))
    return turns.add_cte(
        _one(DataKeyRow, _KEY).cte("new_key"),
        _one(PatientRow, _PATIENT).cte("new_patient"),
        _several(PatientIdentifierRow, _IDENTIFIER).cte("new_identifiers"),
    )


_AT_ONCE = DirectStatement(_at_once())


async def write_newcomer(
    session: AsyncSession, key: Values, patient: Values, identifiers: Sequence[Values], *, locks: Sequence[int]
) -> None:
    """Insert a data key, a patient and their identifiers, after whoever else holds one of `locks`.

    Breaks a unique index if an identifier is taken. SQLite has one writer, who waited already.
    """
    if on_postgresql(session):
        values = chain(
            ((_named(DataKeyRow, name), key[name]) for name in _KEY),
            ((_named(PatientRow, name), patient[name]) for name in _PATIENT),
            ((_named(PatientIdentifierRow, name), [row[name] for row in identifiers]) for name in _IDENTIFIER),
        )
        await within(session, _AT_ONCE, **dict(values), locks=locks)
        return
    await session.execute(insert(table_of(DataKeyRow)), key)
    await session.execute(insert(table_of(PatientRow)), patient)
    if identifiers:
        await session.execute(insert(table_of(PatientIdentifierRow)), identifiers)
