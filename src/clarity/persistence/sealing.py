"""From an entity to its sealed bytes and back, for every kind of record that belongs to a patient."""

from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, fields, is_dataclass
from datetime import datetime
from functools import cache, reduce
from inspect import getattr_static
from operator import attrgetter, or_
from types import MemberDescriptorType, UnionType
from typing import Any, Generic, TypeVar, Union, get_args, get_origin, get_type_hints
from uuid import UUID

import msgspec

from clarity.domain.errors import CannotOpen, Invalid
from clarity.domain.ids import PatientId
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

    @property
    def person(self) -> PatientId:
        """Whose record it is now: the patient, or the one into whose record theirs was merged."""
        standing = self.standing
        return self.patient if standing is None or standing.person is None else standing.person


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
        self._built = _Built(entity, self._names)
        self._schema = bytes([self.schema])
        self._sparse = Sparse(entity, self._names)
        self._encoder = msgspec.msgpack.Encoder(enc_hook=str)

    def seal(self, key: DataKey, entity: Entity, *, row: UUID, version: int) -> bytes:
        """Return the content of `entity` sealed for one version of one row of the key's patient."""
        return key.seal(self._place(row, key.subject, version), self.content(entity))

    def content(self, entity: Entity) -> bytes:
        """Return what of `entity` is to be sealed."""
        return self._schema + self._encoder.encode(self._sparse.form(entity))

    def open(self, key: DataKey, record: SealedRecord, **outside: Any) -> Entity:
        """Return the entity inside `record`, with the fields `outside` as they are given, or raise `CannotOpen`."""
        content = self.decode(key, record, self._content)
        try:
            return self._built.of(content, outside)
        except Invalid:
            raise CannotOpen from None

    def decode(self, key: DataKey, record: SealedRecord, decoder: msgspec.msgpack.Decoder[Shape]) -> Shape:
        """Return what `decoder` makes of the content, or raise `CannotOpen`."""
        plaintext = key.open(self._place(record.id, record.patient, record.version), record.ciphertext)
        if plaintext[:1] != self._schema:
            raise CannotOpen
        try:
            return decoder.decode(memoryview(plaintext)[1:])
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, Invalid):
            raise CannotOpen from None

    def _place(self, row: UUID, patient: UUID, version: int) -> Place:
        table, column = self._numbers
        return Place(table, column, row, patient, version)


class _Built(Generic[Entity]):
    """Entities of a dataclass, made of the fields that were sealed and of those that were not.

    Where all are slots, they are filled past the constructor, which takes three times as long, and obey the same rules.
    """

    def __init__(self, entity: type[Entity], sealed: tuple[str, ...]) -> None:
        """Take the fields in `sealed` of what was sealed."""
        shape: Any = entity
        slots = {item.name: getattr_static(entity, item.name, None) for item in fields(shape)}
        factories = any(item.default_factory is not MISSING or not item.init for item in fields(shape))
        self._entity = entity
        self._names = sealed
        self._is_filled = not factories and all(isinstance(slot, MemberDescriptorType) for slot in slots.values())
        self._sealed = [(attrgetter(name), slots.pop(name)) for name in sealed]
        self._outside = slots
        self._defaults = {
            item.name: item.default for item in fields(shape) if item.name in slots and item.default is not MISSING
        }
        self._obey: Callable[[Entity], None] | None = getattr(entity, "__post_init__", None)

    def of(self, content: Any, given: Mapping[str, Any]) -> Entity:
        """Return the entity, or raise `Invalid`. A field that is neither sealed nor `given` has its default."""
        outside = {**self._defaults, **given}
        if not self._is_filled or outside.keys() != self._outside.keys():
            return self._entity(**given, **{name: getattr(content, name) for name in self._names})
        entity = object.__new__(self._entity)
        for take, slot in self._sealed:
            slot.__set__(entity, take(content))
        for name, slot in self._outside.items():
            slot.__set__(entity, outside[name])
        if self._obey is not None:
            self._obey(entity)
        return entity


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


class Sparse:
    """The fields of a dataclass that differ from their defaults, nested ones likewise, in a form `msgspec` encodes."""

    def __init__(self, entity: type[Any], names: tuple[str, ...]) -> None:
        """Take of an `entity` the fields in `names`."""
        self._form = _sparse_form(entity, names)

    def form(self, entity: Any) -> Any:
        """Return what to encode, with `str` for what an encoder does not know."""
        try:
            return msgspec.convert(entity, self._form, from_attributes=True, dec_hook=_in_words)
        except msgspec.ValidationError:  # whose message may name the value
            raise TypeError(f"a {type(entity).__name__} holds what it is not declared to hold") from None


class _Words(str):
    """An instant as text: msgpack's own timestamps would lose the offset from UTC."""

    __slots__ = ()


def _in_words(_kind: Any, instant: datetime) -> _Words:
    return _Words(instant.isoformat())


def _sparse_form(entity: type[Any], names: tuple[str, ...]) -> type[msgspec.Struct]:
    hints = get_type_hints(entity)
    defaults = {item.name: item.default for item in fields(entity)}
    members: list[Any] = [
        (name, _written(hints[name])) if defaults[name] is MISSING else (name, _written(hints[name]), defaults[name])
        for name in names
    ]
    return msgspec.defstruct(f"Sparse{entity.__name__}", members, kw_only=True, omit_defaults=True, gc=False)


def _written(hint: Any) -> Any:
    """Return how a value of the type `hint` is written."""
    if hint is datetime:
        return _Words
    nested: Any = hint
    if is_dataclass(hint):
        return _nested_form(nested)
    parts = tuple(part if part is Ellipsis else _written(part) for part in get_args(hint))
    if get_origin(hint) in {Union, UnionType}:
        return reduce(or_, parts)
    return get_origin(hint)[parts] if parts else hint


@cache
def _nested_form(kind: Any) -> type[msgspec.Struct]:
    return _sparse_form(kind, tuple(item.name for item in fields(kind)))
