"""From an entity to its sealed bytes and back, for every kind of record that belongs to a patient."""

from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, fields, is_dataclass
from datetime import datetime
from functools import cache, reduce
from inspect import getattr_static
from operator import or_
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
        names = tuple(item.name for item in fields(shape) if item.name not in outside)
        self._made = _Made(entity, names)
        self._content = msgspec.msgpack.Decoder(self._made.content)
        self._schema = bytes([self.schema])
        self._sparse = Sparse(entity, names)
        self._encoder = msgspec.msgpack.Encoder(enc_hook=str)

    def seal(self, key: DataKey, entity: Entity, *, row: UUID, version: int) -> bytes:
        """Return the content of `entity` sealed for one version of one row of the key's patient."""
        return key.seal(self._place(row, key.subject, version), self.content(entity))

    def content(self, entity: Entity) -> bytes:
        """Return what of `entity` is to be sealed."""
        return self._schema + self._encoder.encode(self._sparse.form(entity))

    def open(self, key: DataKey, record: SealedRecord, **outside: Any) -> Entity:
        """Return the entity inside `record`, with the fields `outside` as they are given, or raise `CannotOpen`."""
        return self.entity_of(self.read(key, record), outside)

    def read(self, key: DataKey, record: SealedRecord) -> Any:
        """Return what `entity_of` makes entities of, or raise `CannotOpen`. Its attributes are the fields sealed."""
        return self.decode(key, record, self._content)

    def entity_of(self, content: Any, given: Mapping[str, Any]) -> Entity:
        """Return the entity that `read` found, or raise `CannotOpen`. A field that is `given` is so, sealed or not."""
        try:
            return self._made.of(content, given)
        except (msgspec.ValidationError, Invalid):
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


class _Made(Generic[Entity]):
    """Entities of a dataclass, made of the fields that were sealed and of those that were not.

    Where all its fields are slots, rules are not asked again, nor those of what is nested in it: whatever opens was
    sealed here, of an entity that obeyed them (ADR 0040).
    """

    def __init__(self, entity: type[Entity], sealed: tuple[str, ...]) -> None:
        """Take the fields in `sealed` of what was sealed."""
        shape: Any = entity
        by_name = {item.name: item for item in fields(shape)}
        self._entity = entity
        self._sealed = sealed
        self._names = by_name.keys()
        self._outside = by_name.keys() - sealed
        defaults = {name: by_name[name].default for name in self._outside}
        self._defaults = {name: default for name, default in defaults.items() if default is not MISSING}
        self._past_rules, self.content = None, content_of(shape, sealed)
        """What is to be decoded."""
        if _is_of_slots(shape):
            self._past_rules, self.content = _past_rules(shape, sealed), content_of(shape, sealed, _plain)
            self._put = {name: getattr_static(entity, name).__set__ for name in by_name}

    def of(self, content: Any, given: Mapping[str, Any]) -> Entity:
        """Return the entity. A field that is neither sealed nor `given` has its default."""
        put = given if given.keys() >= self._outside else {**self._defaults, **given}
        if self._past_rules is None or not self._names >= put.keys() >= self._outside:
            return self._entity(**{name: getattr(content, name) for name in self._sealed} | {**put})
        entity: Entity = msgspec.convert(content, self._past_rules, from_attributes=True)
        for name, value in put.items():
            self._put[name](entity, value)
        return entity


def _as_it_is(hint: Any) -> Any:
    return hint


@cache
def content_of(entity: Any, names: tuple[str, ...], shaped: Callable[[Any], Any] = _as_it_is) -> type[msgspec.Struct]:
    """Return a struct with some of the fields of a dataclass, their types as `shaped` and their defaults."""
    hidden = {"__repr__": Confidential.__repr__}
    members = _members(entity, names, shaped)
    return msgspec.defstruct(
        f"{entity.__name__}Content", members, namespace=hidden, frozen=True, kw_only=True, gc=False
    )


class Sparse:
    """The fields of a dataclass that differ from their defaults, nested ones likewise, in a form `msgspec` encodes."""

    def __init__(self, entity: Any, names: tuple[str, ...]) -> None:
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


@cache
def _sparse_form(entity: Any, names: tuple[str, ...]) -> type[msgspec.Struct]:
    members = _members(entity, names, _written)
    return msgspec.defstruct(f"Sparse{entity.__name__}", members, kw_only=True, omit_defaults=True, gc=False)


def _written(hint: Any) -> Any:
    """Return how a value of the type `hint` is written."""
    if hint is datetime:
        return _Words
    kind: Any = hint
    return _nested_form(kind) if is_dataclass(hint) else _with_parts(hint, _written)


@cache
def _nested_form(kind: Any) -> type[msgspec.Struct]:
    return _sparse_form(kind, tuple(item.name for item in fields(kind)))


def _plain(hint: Any) -> Any:
    """Return how a value of the type `hint` is read: what would be made past its rules is a struct first.

    `msgspec` makes a dataclass of what is sparse in five times as long as a struct, and one of a struct in twice.
    """
    return _plain_form(hint) if _is_of_slots(hint) else _with_parts(hint, _plain)


@cache
def _plain_form(kind: Any) -> type[msgspec.Struct]:
    return content_of(kind, tuple(item.name for item in fields(kind)), _plain)


def _past(hint: Any) -> Any:
    """Return the type `hint` with what is made past its rules."""
    return _past_rules(hint) if _is_of_slots(hint) else _with_parts(hint, _past)


@cache
def _past_rules(kind: Any, names: tuple[str, ...] | None = None) -> Any:
    """Return a class in whose place `msgspec` makes a `kind`, with the fields in `names` or all, and asks no rule.

    What it makes is of a class that has no rules, and becomes the `kind` where those would be asked.
    """
    become, hints = object.__dict__["__class__"].__set__, get_type_hints(kind)
    chosen = {item.name: item for item in fields(kind) if names is None or item.name in names}
    inside = {
        "__slots__": (),
        "__annotations__": {name: _past(hints[name]) for name in chosen},
        "__dataclass_fields__": chosen,
        "__post_init__": lambda made: become(made, kind),
    }
    return type(f"Sealed{kind.__name__}", (kind,), inside)


@cache
def _is_of_slots(hint: Any) -> bool:
    """Tell whether it is a dataclass that has nothing but the slots of its fields, which all are given."""
    if not isinstance(hint, type) or not is_dataclass(hint) or hint.__dictoffset__:
        return False
    kept = {
        name for base in hint.__mro__ for name, slot in vars(base).items() if isinstance(slot, MemberDescriptorType)
    }
    return kept == {item.name for item in fields(hint) if item.init and item.default_factory is MISSING}


def _members(entity: type[Any], names: tuple[str, ...], shaped: Callable[[Any], Any]) -> list[Any]:
    """Return some of the fields of a dataclass as `msgspec` defines them, their types as `shaped`."""
    hints = get_type_hints(entity)
    defaults = {item.name: item.default for item in fields(entity)}
    return [
        (name, shaped(hints[name])) if defaults[name] is MISSING else (name, shaped(hints[name]), defaults[name])
        for name in names
    ]


def _with_parts(hint: Any, shaped: Callable[[Any], Any]) -> Any:
    """Return a type with what it is made of as `shaped`."""
    parts = tuple(part if part is Ellipsis else shaped(part) for part in get_args(hint))
    if get_origin(hint) in {Union, UnionType}:
        return reduce(or_, parts)
    return get_origin(hint)[parts] if parts else hint
