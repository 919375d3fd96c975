"""The permanent numbers of tables and sealed columns.

A ciphertext is bound to the numbers of its table and column, so a number is never changed and never used
again. Tables of applications built on this package take numbers from `FIRST_FREE` on with `register`.
"""

from typing import NamedTuple

FIRST_FREE = 10_000


class SealedColumn(NamedTuple):
    """Where a ciphertext belongs, as numbers."""

    table: int
    column: int


_TABLES = {
    "patients": 1,
    "practitioners": 2,
    "accounts": 3,
    "consents": 4,
    "break_glass": 5,
    "duplicate_reviews": 6,
    "sessions": 7,
    "second_factors": 8,
    "credentials": 9,
    "outbox_messages": 10,
    "disclosures": 11,
    "appointments": 12,
    "notes": 13,
    "prescriptions": 14,
    "interactions": 15,
}
_COLUMNS = {
    ("patients", "sealed"): 1,
    ("practitioners", "sealed"): 1,
    ("accounts", "email"): 1,
    ("accounts", "name"): 2,
    ("accounts", "password_hash"): 3,
    ("consents", "sealed"): 1,
    ("break_glass", "sealed"): 1,
    ("duplicate_reviews", "sealed"): 1,
    ("sessions", "client"): 1,
    ("second_factors", "secret"): 1,
    ("credentials", "name"): 1,
    ("credentials", "scopes"): 2,
    ("outbox_messages", "content"): 1,
    ("disclosures", "sealed"): 1,
    ("appointments", "sealed"): 1,
    ("notes", "sealed"): 1,
    ("prescriptions", "sealed"): 1,
    ("interactions", "sealed"): 1,
}


def register(table: str, number: int, *, columns: tuple[str, ...] = ("sealed",)) -> None:
    """Give a table of your own its permanent `number`, and its sealed columns theirs in order from 1.

    Raises `ValueError` if the number is below `FIRST_FREE` or either is taken.
    """
    if number < FIRST_FREE or number in _TABLES.values() or table in _TABLES:
        message = (
            f"table {table!r} or its number {number} is reserved or taken; numbers of your own begin at {FIRST_FREE}"
        )
        raise ValueError(message)
    _TABLES[table] = number
    _COLUMNS.update({(table, column): position for position, column in enumerate(columns, start=1)})


def number_of(table: str, column: str = "sealed") -> SealedColumn:
    """Return the numbers of a sealed column; raises `KeyError` if it was never registered."""
    return SealedColumn(_TABLES[table], _COLUMNS[table, column])
