"""From an entity to its sealed bytes and back, for every kind of record that belongs to a patient."""

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields, is_dataclass
from datetime import datetime
from functools import cache
from typing import Any, Generic, TypeVar, get_type_hints
from uuid import UUID

import msgspec

from clarity.domain.errors import CannotOpen, Invalid
from clarity.domain.records import Sealed
from clarity.domain.values import Confidential
from clarity.persistence.consents.tables import SealedRegister
from clarity.persistence.registry import number_of
from clarity.security.envelope import Place
from clarity.security.keyring import WrappedKey
from clarity.security.vault import DataKey

Entity = TypeVar("Entity")
Shape = TypeVar("Shape")


@dataclass(frozen=True, slots=True, kw_only=True)
class SealedRecord(Sealed):
    """A fetched row with its ciphertext, and the wrapped key and the consents that the same statement returned."""

    ciphertext: bytes
    wrapped: WrappedKey | None
    written_at: datetime
    written_by: UUID
    consents: SealedRegister | None = None


class SealedMapper(Generic[Entity]):
    """Maps the content of an `entity` to one sealed value.

    Content is every field of the dataclass but those in `outside`, which have columns of their own. It is
    written as msgpack behind one byte for the version of the schema; fields that have their default are left
    out, so a field added later with a default opens old records.
    """

    schema = 1

    def __init__(self, entity: type[Entity], table: str, *, outside: frozenset[str]) -> None:
        """Bind to a `table` that has its permanent number in the registry."""
        shape: Any = entity
        self._numbers = number_of(table)
        self._names = tuple(item.name for item in fields(shape) if item.name not in outside)
        self._content = msgspec.msgpack.Decoder(content_of(entity, self._names))
        self._encoder = msgspec.msgpack.Encoder()

    def seal(self, key: DataKey, entity: Entity, *, row: UUID, version: int) -> bytes:
        """Return the content of `entity` sealed for one version of one row of the key's patient."""
        content = {name: value for name, value in sparse(entity).items() if name in self._names}
        plaintext = bytes([self.schema]) + self._encoder.encode(content)
        return key.seal(self._place(row, key.subject, version), plaintext)

    def open(self, key: DataKey, record: SealedRecord) -> dict[str, Any]:
        """Return the content by field, or raise `CannotOpen`."""
        content = self.decode(key, record, self._content)
        return {name: getattr(content, name) for name in self._names}

    def decode(self, key: DataKey, record: SealedRecord, decoder: msgspec.msgpack.Decoder[Shape]) -> Shape:
        """Return what `decoder` makes of the content, or raise `CannotOpen`."""
        plaintext = key.open(self._place(record.id, record.patient, record.version), record.ciphertext)
        if plaintext[:1] != bytes([self.schema]):
            raise CannotOpen
        try:
            return decoder.decode(memoryview(plaintext)[1:])
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, Invalid):
            raise CannotOpen from None

    def _place(self, row: UUID, patient: UUID, version: int) -> Place:
        table, column = self._numbers
        return Place(table=table, column=column, row=row, subject=patient, version=version)


def content_of(entity: type[Any], names: tuple[str, ...]) -> type[msgspec.Struct]:
    """Return a struct with some of the fields of a dataclass, their types and defaults."""
    hints = get_type_hints(entity)
    by_name = {item.name: item for item in fields(entity)}
    members: list[Any] = [
        (name, hints[name]) if by_name[name].default is MISSING else (name, hints[name], by_name[name].default)
        for name in names
    ]
    hidden = {"__repr__": Confidential.__repr__}
    return msgspec.defstruct(
        f"{entity.__name__}Content", members, namespace=hidden, frozen=True, kw_only=True, gc=False
    )


def sparse(entity: Any) -> dict[str, Any]:
    """Return the fields of a dataclass that differ from their defaults, nested ones likewise."""
    found: dict[str, Any] = {}
    for name, default in _defaults_of(entity.__class__).items():
        value = getattr(entity, name)
        if value != default:
            found[name] = _sparse_value(value)
    return found


def _sparse_value(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()  # msgpack's own timestamps would lose the offset from UTC
    if isinstance(value, tuple):
        return [_sparse_value(item) for item in value]
    return sparse(value) if _is_record(value.__class__) else value


@cache
def _is_record(kind: type[Any]) -> bool:
    return is_dataclass(kind)


@cache
def _defaults_of(entity: Any) -> Mapping[str, Any]:
    return {item.name: item.default for item in fields(entity)}
