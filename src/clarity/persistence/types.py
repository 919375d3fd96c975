"""Column types that mean the same on PostgreSQL and on SQLite."""

from datetime import datetime
from typing import Any, Protocol
from uuid import UUID
from weakref import WeakKeyDictionary

import msgspec
from sqlalchemy import BigInteger, Dialect, LargeBinary, Text
from sqlalchemy.dialects import postgresql
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import TypeDecorator

from clarity.domain.dates import instant_of, microseconds_of
from clarity.persistence.registry import number_of


class _UuidBytes(TypeDecorator[UUID]):
    """A UUID as its 16 bytes."""

    impl = LargeBinary(16)
    cache_ok = True

    def process_bind_param(self, value: UUID | None, dialect: Dialect) -> bytes | None:
        """Return the 16 bytes."""
        del dialect
        return None if value is None else value.bytes

    def process_result_value(self, value: bytes | None, dialect: Dialect) -> UUID | None:
        """Return the UUID."""
        del dialect
        return None if value is None else UUID(bytes=value)


class _Microseconds(TypeDecorator[datetime]):
    """An instant as integer microseconds since 1970 in UTC."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> int | None:
        """Return the microseconds."""
        del dialect
        return None if value is None else microseconds_of(value)

    def process_result_value(self, value: int | None, dialect: Dialect) -> datetime | None:
        """Return the instant, in UTC."""
        del dialect
        return None if value is None else instant_of(value)


# The variant stands on the SQLite side, so that the drivers' own conversion is all that PostgreSQL pays for.
Uuid16 = postgresql.UUID(as_uuid=True).with_variant(_UuidBytes(), "sqlite")
Instant = postgresql.TIMESTAMP(timezone=True).with_variant(_Microseconds(), "sqlite")


class SystemSeal(Protocol):
    """Sealing for what belongs to no patient."""

    def seal(self, table: int, column: int, plaintext: bytes) -> bytes:
        """Return `plaintext` sealed for one column."""
        ...

    def open(self, table: int, column: int, sealed: bytes) -> bytes:
        """Return the plaintext, or raise `CannotOpen`."""
        ...


# A dialect belongs to one engine, so two databases in one process keep their own keys.
_SEALS: WeakKeyDictionary[Dialect, SystemSeal] = WeakKeyDictionary()


def use_system_seal(dialect: Dialect, seal: SystemSeal) -> None:
    """Let the encrypted columns of the engine that has this `dialect` seal and open with `seal`."""
    _SEALS[dialect] = seal


class EncryptedJSON(TypeDecorator[Any]):
    """Any value `msgspec` can write as JSON, sealed under the system key and bound to its table and column.

    The column needs its permanent number in the registry, and comes back as `shape`. It cannot be compared
    in SQL: the same value is sealed differently each time.
    """

    impl = LargeBinary
    cache_ok = True

    def __init__(self, table: str, column: str, shape: Any = Any) -> None:
        """Bind to one column."""
        super().__init__()
        self.table, self.column, self.shape = table, column, shape

    def process_bind_param(self, value: Any, dialect: Dialect) -> bytes | None:
        """Seal a value on its way to the database."""
        if value is None:
            return None
        return _SEALS[dialect].seal(*number_of(self.table, self.column), msgspec.json.encode(value))

    def process_result_value(self, value: bytes | None, dialect: Dialect) -> Any:
        """Open a value on its way from the database, or raise `CannotOpen`."""
        if value is None:
            return None
        plaintext = _SEALS[dialect].open(*number_of(self.table, self.column), value)
        return msgspec.json.decode(plaintext, type=self.shape)


class EncryptedString(EncryptedJSON):
    """A text, sealed like `EncryptedJSON`."""

    cache_ok = True

    def __init__(self, table: str, column: str) -> None:
        """Bind to one column."""
        super().__init__(table, column, str)


class _IdSet(TypeDecorator[frozenset[UUID]]):
    """Ids gathered into one value: an array on PostgreSQL, hexadecimal digits joined by commas on SQLite."""

    impl = Text
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> Any:
        """Choose the type of the result for `dialect`."""
        if dialect.name == "postgresql":
            return dialect.type_descriptor(postgresql.ARRAY(postgresql.UUID(as_uuid=True)))
        return dialect.type_descriptor(Text())

    def process_result_value(self, value: Any, dialect: Dialect) -> frozenset[UUID]:
        """Return the ids."""
        if not value:
            return frozenset()
        return frozenset(value) if dialect.name == "postgresql" else frozenset(map(UUID, value.split(",")))


class GatheredIds(FunctionElement[frozenset[UUID]]):
    """The aggregate of a column of ids: all of them as one value."""

    type = _IdSet()
    inherit_cache = True


@compiles(GatheredIds)
def _array_agg(element: GatheredIds, compiler: SQLCompiler, **kw: Any) -> str:
    return f"array_agg({compiler.process(element.clauses, **kw)})"


@compiles(GatheredIds, "sqlite")
def _group_concat(element: GatheredIds, compiler: SQLCompiler, **kw: Any) -> str:
    return f"group_concat(hex({compiler.process(element.clauses, **kw)}))"
