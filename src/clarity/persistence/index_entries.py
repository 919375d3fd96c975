"""From sealed rows of patients to what a search index holds of them: as little as it needs, as fast as it can be."""

from collections.abc import Iterable
from datetime import date
from functools import lru_cache
from typing import NamedTuple
from uuid import UUID

import msgspec

from clarity.application.ports.search import Absence, IndexChange, IndexEntry, IndexGap
from clarity.domain.dates import PartialDate
from clarity.domain.errors import CannotOpen, Invalid
from clarity.domain.names import NameUse, search_text_of, sort_key_of
from clarity.domain.patients import PatientStatus, called_first
from clarity.domain.people import BirthSex, Gender
from clarity.domain.records import Label
from clarity.domain.values import Confidential
from clarity.persistence.keys import DataKeys
from clarity.persistence.registry import number_of
from clarity.security.envelope import Place
from clarity.security.keyring import WrappedKey

_SCHEMA = b"\x01"
# As many names are remembered folded as there are in a large country's list of common ones.
_FOLDED = 1 << 16


class StampedRow(NamedTuple):
    """A row of a patient with the key that opens it, as the drivers return it: its id as bytes, instants as numbers.

    `changed` is `updated_at` in microseconds since 1970 in UTC. `wrapped` is `None` if the key was destroyed.
    """

    id: bytes
    version: int
    status: str
    guarded: bool
    changed: int
    sealed: bytes
    key_generation: int
    kek_generation: int | None
    wrapped: bytes | None


class _Name(msgspec.Struct, frozen=True, gc=False):
    """The part of a name that is searched."""

    family: str = ""
    given: tuple[str, ...] = ()
    text: str = ""
    use: NameUse | None = None

    __repr__ = Confidential.__repr__


class _Born(msgspec.Struct, frozen=True, gc=False):
    """A date as the content has it."""

    year: int
    month: int | None = None
    day: int | None = None

    __repr__ = Confidential.__repr__


class _Content(msgspec.Struct, frozen=True, gc=False):
    """The part of the content that an index holds; reading only it is much faster than reading all."""

    names: tuple[_Name, ...]
    born: _Born
    gender: Gender = Gender.UNKNOWN
    birth_sex: BirthSex | None = None
    label: Label = Label.NORMAL

    __repr__ = Confidential.__repr__


class IndexEntries:
    """Opens rows of patients for an index, one after the other, past whatever remembers keys."""

    def __init__(self, keys: DataKeys) -> None:
        """Open with `keys`."""
        self._keys = keys
        self._numbers = number_of("patients")
        self._content = msgspec.msgpack.Decoder(_Content)

    def of(self, rows: Iterable[StampedRow]) -> list[IndexChange]:
        """Return what an index holds of each of `rows`, or why it holds nothing."""
        return [self._change_of(row) for row in rows]

    def _change_of(self, row: StampedRow) -> IndexChange:
        patient, version, status, guarded, changed, *_ = row
        if status == PatientStatus.DELETED:
            return IndexGap(patient, version, Absence.DELETED)
        try:
            content = self._content_of(row)
            first = called_first(name.use for name in content.names)
            keys = [_sort_key(name.family, name.given, name.text) for name in content.names]
            keys.insert(0, keys.pop(first))
            born_first, born_last = _span(content.born.year, content.born.month, content.born.day)
        except (CannotOpen, Invalid, msgspec.DecodeError, UnicodeDecodeError, RecursionError, IndexError):
            return IndexGap(patient, version, Absence.UNOPENED if row[-1] is not None else Absence.FORGOTTEN)
        # The bit beside the seal is whoever writes the table's to change; the stricter of the two holds.
        label = Label.RESTRICTED if guarded and content.label is Label.NORMAL else content.label
        return IndexEntry(
            id=patient,
            version=version,
            family=keys[0][0],
            given=keys[0][1],
            names=tuple([search_text_of(*key) for key in keys]),
            born_first=born_first,
            born_last=born_last,
            status=PatientStatus(status),
            label=label,
            gender=content.gender,
            birth_sex=content.birth_sex,
            changed=changed,
        )

    def _content_of(self, row: StampedRow) -> _Content:
        patient, version, _, _, _, sealed, generation, kek_generation, wrapped = row
        if wrapped is None or kek_generation is None:
            raise CannotOpen
        owner = UUID(bytes=patient)
        key = self._keys.unwrap(WrappedKey(owner, generation, kek_generation, wrapped))
        plaintext = key.open(Place(*self._numbers, owner, owner, version), sealed)
        if plaintext[:1] != _SCHEMA:
            raise CannotOpen
        return self._content.decode(plaintext[1:])


@lru_cache(maxsize=_FOLDED)
def _sort_key(family: str, given: tuple[str, ...], text: str) -> tuple[str, str]:
    return sort_key_of(family, given, text)


@lru_cache(maxsize=_FOLDED)
def _span(year: int, month: int | None, day: int | None) -> tuple[int, int]:
    born = PartialDate(year, month, day)
    return date.toordinal(born.first), date.toordinal(born.last)
